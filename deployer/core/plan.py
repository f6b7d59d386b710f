"""The plan: what a new config changes, in one line for logs and people.

Owns which changes are named, in which words. Must not know what a change does on the cluster. Invariant:
it says `no change` exactly for the same digest, it is one line of visible characters and of bounded length,
and it never shows a value that can be secret.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from deployer.core.redact import Path, is_secret, one_line
from deployer.core.scrub import scrub

if TYPE_CHECKING:
    from deployer.core.types import ServeConfig

CHANGES = 5
"""More of a kind are counted, not named: a plan is one line of a log."""
VALUE_WIDTH = 40
PATH_WIDTH = 100
"""Characters of a value and of a path that are shown."""

_ABSENT = object()


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
        f"~ {_cut(one_line(name), PATH_WIDTH)}: {', '.join(change for _, change in group)}"
        for name, group in groupby(changes[:CHANGES], key=lambda change: change[0])
    ]
    return " | ".join(parts) + _more(len(changes))


def _names(sign: str, names: list[str]) -> str:
    shown = ", ".join(f"{sign} {_cut(one_line(name), PATH_WIDTH)}" for name in names[:CHANGES])
    return shown + _more(len(names))


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
    for path, before, after in _differences(old, new, ()):
        shown = path[1:] if path[0] == "deployments" and len(path) > 1 else path
        where = _cut(one_line(".".join(str(key) for key in shown)), PATH_WIDTH)
        yield f"{where} {_change(path, before, after)}"


def _differences(old: object, new: object, path: Path) -> Iterator[tuple[Path, object, object]]:
    """Every value that differs, with its path. A mapping that is new or gone is taken apart as well."""
    before, after = _inside(old, new), _inside(new, old)
    if before is not None and after is not None:
        for key in sorted({*before, *after}):
            yield from _differences(before.get(key, _ABSENT), after.get(key, _ABSENT), (*path, key))
    elif old is _ABSENT or new is _ABSENT or json.dumps(old) != json.dumps(new):
        # As JSON, because to Python 1, 1.0 and true are equal.
        yield path, old, new


def _inside(value: object, other: object) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return value
    return {} if value is _ABSENT and isinstance(other, Mapping) and other else None


def _change(path: Path, before: object, after: object) -> str:
    if is_secret(path) or "runtime_env" in path or _holds_secret(before) or _holds_secret(after):
        return "added" if before is _ABSENT else "removed" if after is _ABSENT else "changed"
    old, new = _show(before), _show(after)
    return f"{old} -> {new}" if old != new else "changed"


def _holds_secret(value: object) -> bool:
    match value:
        case list():
            return any(_holds_secret(item) for item in value)
        case dict():
            return any(
                is_secret((key,)) or key == "runtime_env" or _holds_secret(value[key]) for key in value
            )
        case _:
            return False


def _show(value: object) -> str:
    if value is _ABSENT:
        return "unset"
    return _cut(one_line(scrub(json.dumps(value, ensure_ascii=False), frozenset())), VALUE_WIDTH)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."
