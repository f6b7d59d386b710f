"""The plan: what a new config changes, in one line for logs and people.

Owns which changes are named, in which words. Must not know what a change does on the cluster. Invariant:
it says `no change` exactly for the same digest, it is one line of visible characters and of bounded length,
and it never shows a value that can be secret.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from deployer.core.diff import described, differences, dotted, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deployer.core.types import ServeConfig

CHANGES = 5
"""More of a kind are counted, not named: a plan is one line of a log."""


def summary(old: ServeConfig | None, new: ServeConfig) -> str:
    """The change from `old` (None: nothing was deployed before) to `new`.

    `~ fruit: MangoStand.num_replicas 1 -> 3 | + math | - old`, by application and deployment name.
    """
    if old is None:
        return _names("+", sorted(new.applications()))
    if old.digest == new.digest:
        return "no change"
    before, after = old.applications(), new.applications()
    changes = [("cluster-wide", change) for change in _changes(_top_level(old), _top_level(new))]
    for name in sorted(before.keys() & after.keys()):
        changes += [(name, change) for change in _application_changes(before[name], after[name])]
    parts = [_changed(changes), _names("+", sorted(after.keys() - before.keys()))]
    parts.append(_names("-", sorted(before.keys() - after.keys())))
    return " | ".join(part for part in parts if part)


def _changed(changes: list[tuple[str, str]]) -> str:
    parts = [
        f"~ {shown(name)}: {', '.join(change for _, change in group)}"
        for name, group in groupby(changes[:CHANGES], key=lambda change: change[0])
    ]
    return " | ".join(parts) + _more(len(changes))


def _names(sign: str, names: list[str]) -> str:
    listed = ", ".join(f"{sign} {shown(name)}" for name in names[:CHANGES])
    return listed + _more(len(names))


def _more(count: int) -> str:
    return f" and {count - CHANGES} more" if count > CHANGES else ""


def _top_level(config: ServeConfig) -> dict[str, Any]:
    return {key: value for key, value in config.body().items() if key != "applications"}


def _application_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    yield from _changes(_by_deployment(old), _by_deployment(new))
    before, after = ([item["name"] for item in side.get("deployments", [])] for side in (old, new))
    if [name for name in before if name in after] != [name for name in after if name in before]:
        # Serve's code version can depend on their order (2.60).
        yield "order of the deployments"


def _by_deployment(application: Mapping[str, Any]) -> Mapping[str, Any]:
    if not application.get("deployments"):
        return application
    deployments = {
        item["name"]: {key: value for key, value in item.items() if key != "name"}
        for item in application["deployments"]
    }
    return {**application, "deployments": deployments}


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for path, before, after in differences(old, new, ()):
        below = path[1:] if path[0] == "deployments" and len(path) > 1 else path
        yield f"{dotted(below)} {described(path, before, after)}"
