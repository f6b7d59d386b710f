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
    from collections.abc import Iterator

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
        uri for app in release.config.applications().values() for uri in _addresses(app) if _may_change(uri)
    )
    return tuple(found)


def _addresses(app: dict[str, Any]) -> Iterator[str]:
    options = [deployment.get("ray_actor_options") or {} for deployment in app.get("deployments") or ()]
    envs = [app.get("runtime_env"), *(one.get("runtime_env") for one in options)]
    for env in envs:
        if isinstance(env, dict):
            modules = env.get("py_modules")
            named = [env.get("working_dir"), *(modules if isinstance(modules, list) else ())]
            yield from (uri for uri in named if isinstance(uri, str) and "://" in uri)


def _may_change(uri: str) -> bool:
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
