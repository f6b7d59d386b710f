"""Is the code that a config names always the same code?

Owns the guess which code addresses can change under a release. Must not fetch anything. Invariant: a guess
that is wrong costs a remark, never a rollout.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from deployer.core.redact import one_line
from deployer.core.scrub import scrub

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deployer.core.redact import Path
    from deployer.core.types import Release

_COMMIT_OR_DIGEST = re.compile(r"(?<![0-9a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{7,64}(?![0-9a-f])")
_VERSION = re.compile(r"(?<![0-9])v?[0-9]+\.[0-9]+")
_MOVING = re.compile(r"(?i)(?<![a-z])(head|main|master|latest|trunk|develop|heads)(?![a-z])")
_LENGTH = 120
"""Characters of an address that are shown."""


def changeable(release: Release) -> tuple[str, ...]:
    """The code addresses of a release that may name other code tomorrow: without a commit, digest or version.

    Serve fetches them anew when it needs them, so that an old config can bring new code (measured, 2.60).
    """
    found = dict.fromkeys(
        uri
        for application in release.config.applications().values()
        for _, uri in addresses(application)
        if may_change(uri)
    )
    return tuple(found)


def addresses(application: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Each code address of an application and of its deployments, with its path in the application."""
    envs: list[tuple[Path, object]] = [(("runtime_env",), application.get("runtime_env"))]
    for index, deployment in enumerate(application.get("deployments") or ()):
        options = deployment.get("ray_actor_options") or {}
        path: Path = ("deployments", index, "ray_actor_options", "runtime_env")
        envs.append((path, options.get("runtime_env")))
    for path, env in envs:
        if isinstance(env, dict):
            modules = env.get("py_modules")
            named: list[tuple[Path, object]] = [((*path, "working_dir"), env.get("working_dir"))]
            if isinstance(modules, list):
                named += [((*path, "py_modules", index), module) for index, module in enumerate(modules)]
            yield from ((here, uri) for here, uri in named if isinstance(uri, str) and "://" in uri)


def may_change(uri: str) -> bool:
    """Whether this address may name other code tomorrow."""
    path = uri.partition("://")[2].partition("/")[2]
    if uri.startswith("gcs://"):
        # Ray names what it stores itself by its content.
        return False
    if _MOVING.search(path):
        return True
    return not _COMMIT_OR_DIGEST.search(path) and not _VERSION.search(path)


def shown(uri: str) -> str:
    """An address for people: without a user, a password or a query, and not too long."""
    scheme, _, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    text = one_line(
        scrub(f"{scheme}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}", frozenset())
    )
    return text if len(text) <= _LENGTH else f"{text[: _LENGTH - 1]}…"
