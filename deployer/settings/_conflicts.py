"""What is wrong between groups: the rules that no single value, and no group by itself, can break.

Owns those rules, but for promotion and gates (`_promotions`). Must not know files, lines or variables.
Invariant: they are held against what was written, so that one wrong value hides no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.settings import _addresses as addresses
from deployer.settings import _promotions as promotions
from deployer.settings import _values as values
from deployer.settings._written import dotted, mapping, normal, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deployer.core.redact import Path as Keys

_FOLLOWED = ("branch", "tags", "commit")


def conflicts(raw: object, base: values.Base) -> Iterator[tuple[Keys, str]]:
    """Where something is wrong, and a sentence."""
    yield from _exposed(mapping(raw, "server"), base)
    yield from promotions.conflicts(raw, base)
    yield from _told(raw)
    repositories = mapping(raw, "repositories")
    owners: dict[tuple[str | None, ...], str] = {}
    for name in mapping(raw, "environments"):
        keys = ("environments", name)
        environment = mapping(mapping(raw, "environments"), name)
        repository = environment.get("repository")
        if isinstance(repository, str) and repositories and repository not in repositories:
            place = (*keys, "repository")
            yield place, unknown(place, "repository", repository, repositories)

        given = [key for key in _FOLLOWED if environment.get(key) is not None]
        if isinstance(mapping(raw, "environments")[name], dict) and not given:
            message = (
                f"{dotted(keys)}.branch is missing: add it (or tags, or commit), as in `branch: env/staging`"
            )
            yield (*keys, "branch"), message
        for key in given[1:]:
            message = f"{dotted(keys)}.{key}: {given[0]} already says what is deployed: remove one of them"
            yield (*keys, key), message
        signatures = mapping(environment, "signatures")
        is_asked = "signatures" in environment and signatures.get("verify") != "none"
        if is_asked and not _signers(signatures):
            what = f"{dotted(keys)}.signatures does not say who may sign"
            message = f"{what}: add allowed_signers_file or gpg_keyring_file"
            yield (*keys, "signatures"), message

        url = mapping(repositories, str(repository)).get("url")
        folder = (
            normal(values.repository_url, url, base),
            _followed(environment, base),
            normal(values.folder, environment.get("path"), base),
            normal(_cluster_key, mapping(environment, "cluster").get("address"), base),
        )
        if all(folder):
            other = owners.setdefault(folder, name)
            if other != name:
                message = (
                    f"{dotted(keys)} reads the same folder of the same branch as {other}, for the same"
                    " cluster, so both would own the same applications: give each a folder, a branch or a"
                    " cluster of its own"
                )
                yield (*keys, "path"), message


def _exposed(server: Mapping[str, Any], base: values.Base) -> Iterator[tuple[Keys, str]]:
    """What is wrong with a daemon that others can reach and nothing protects."""
    listened = normal(addresses.listen, server.get("listen"), base)
    is_protected = server.get("tls") is not None or server.get("trusted_proxy") is not None
    if listened is not None and not addresses.is_loopback(listened) and not is_protected:
        message = (
            "server.listen is an address that other machines reach, and tokens could be read on their way to"
            " it: add server.tls (cert_file and key_file), or server.trusted_proxy where a proxy in front"
            " speaks https; or listen on 127.0.0.1, and use an ssh tunnel"
        )
        yield ("server", "listen"), message


def _told(raw: object) -> Iterator[tuple[Keys, str]]:
    """Routes that name an environment which is none."""
    environments, notify = mapping(raw, "environments"), mapping(raw, "notify")
    for name in notify:
        for key in ("environments", "always"):
            listed = mapping(notify, name).get(key)
            if isinstance(listed, str):
                # As a variable has it.
                listed = [part.strip() for part in listed.split(",")]
            for one in listed if isinstance(listed, list) else ():
                if isinstance(one, str) and environments and one not in environments:
                    keys = ("notify", name, key)
                    yield keys, unknown(keys, "environment", one, environments)


def _followed(environment: Mapping[str, Any], base: values.Base) -> str | None:
    """What is followed, so that two environments that follow the same have the same; None if it is wrong."""
    tags = mapping(environment, "tags")
    if tags:
        return f"tags {tags.get('pattern')} {tags.get('versions')}"
    return normal(values.branch, environment.get("branch"), base) or normal(
        values.commit, environment.get("commit"), base
    )


def _signers(signatures: Mapping[str, Any]) -> bool:
    return any(signatures.get(key) is not None for key in ("allowed_signers_file", "gpg_keyring_file"))


def _cluster_key(address: str, base: values.Base) -> str:
    return values.cluster_key(values.cluster_address(address, base))
