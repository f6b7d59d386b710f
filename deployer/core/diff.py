"""What differs between two configs, line by line, with what each line does to the replicas that run.

Owns the lines of a plan: by application and deployment name, never by position. Must not know where the two
configs come from, nor how a line looks. Invariant: no line shows a value that can be secret, and two configs
have no lines exactly if Serve would make the same of both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from deployer.core import restart
from deployer.core.compare import by_name
from deployer.core.redact import Path, is_secret, one_line
from deployer.core.restart import Effects, Restart
from deployer.core.scrub import scrub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.restart import AppEffect, Change

VALUE_WIDTH = 40
PATH_WIDTH = 100
"""Characters of a value and of a path that are shown."""

ABSENT = object()
"""The value of an option that is not set."""


class Sign(StrEnum):
    """How a line begins."""

    ADD = "+"
    REMOVE = "-"
    CHANGE = "~"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that differs.

    `application` is "" for an option of the whole cluster, `deployment` for one of the application. `option`
    is its path with dots, "" where all of an application is added or removed. `change` is `3 -> 7`, or
    `changed` where the values may not be shown. `note` says what is surprising, as half a sentence.
    """

    sign: Sign
    application: str
    deployment: str = ""
    option: str = ""
    change: str = ""
    restart: Restart
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What differs between two configs, and what becomes of the applications of both."""

    lines: tuple[Line, ...]
    effects: Effects

    @property
    def added(self) -> tuple[str, ...]:
        """The applications that are new."""
        return self._which(Restart.ADD)

    @property
    def removed(self) -> tuple[str, ...]:
        """Those that go."""
        return self._which(Restart.DELETE)

    @property
    def changed(self) -> tuple[str, ...]:
        """Those of both in which something differs."""
        names = {line.application for line in self.lines} - {"", *self.added, *self.removed}
        return tuple(sorted(names))

    def _which(self, what: Restart) -> tuple[str, ...]:
        return tuple(sorted(name for name, effect in self.effects.apps.items() if effect.restart is what))


def diff(old: Mapping[str, Any], new: Mapping[str, Any], ray_version: str) -> Diff:
    """Compare two bodies of a PUT, in the multi-application form, as this Ray does."""
    effects = restart.whole(old, new, ray_version)
    before, after = _applications(old), _applications(new)
    lines = [*_top_level(old, new, effects.top)]
    for name in sorted({**before, **after}):
        lines += _application(name, before.get(name), after.get(name), effects.apps[name])
    return Diff(lines=tuple(lines), effects=effects)


def _top_level(old: Mapping[str, Any], new: Mapping[str, Any], changes: tuple[Change, ...]) -> Iterator[Line]:
    for change in changes:
        for path, before, after in differences(_at(old, change.path), _at(new, change.path), change.path):
            yield _line("", "", path, (before, after), change)


def _application(
    name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None, effect: AppEffect
) -> Iterator[Line]:
    if old is None or new is None:
        yield Line(
            sign=Sign.ADD if old is None else Sign.REMOVE, application=shown(name), restart=effect.restart
        )
        return
    was, will = by_name(old.get("deployments")), by_name(new.get("deployments"))
    for change in effect.changes:
        deployment = change.deployment or ""
        if change.path == ("deployments",):
            yield Line(
                sign=Sign.CHANGE,
                application=shown(name),
                option="deployments",
                change="in another order",
                restart=change.restart,
                note=change.note,
            )
            continue
        before: object = was.get(deployment, {}) if deployment else old
        after: object = will.get(deployment, {}) if deployment else new
        for path, one, other in differences(_at(before, change.path), _at(after, change.path), change.path):
            yield _line(name, deployment, path, (one, other), change)


def _line(
    application: str, deployment: str, path: Path, values: tuple[object, object], change: Change
) -> Line:
    before, after = values
    return Line(
        sign=Sign.ADD if before is ABSENT else Sign.REMOVE if after is ABSENT else Sign.CHANGE,
        application=shown(application),
        deployment=shown(deployment),
        option=dotted(path),
        change=described(path, before, after),
        restart=change.restart,
        note=change.note,
    )


def _applications(body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {app.get("name", "default"): app for app in body.get("applications") or ()}


def _at(value: object, path: Path) -> object:
    for key in path:
        value = value.get(key, ABSENT) if isinstance(value, Mapping) else ABSENT
    return value


def differences(old: object, new: object, path: Path) -> Iterator[tuple[Path, object, object]]:
    """Every value that differs, with its path. A mapping that is new or gone is taken apart as well."""
    before, after = _inside(old, new), _inside(new, old)
    if before is not None and after is not None:
        for key in sorted({*before, *after}):
            yield from differences(before.get(key, ABSENT), after.get(key, ABSENT), (*path, key))
    elif old is ABSENT or new is ABSENT or json.dumps(old) != json.dumps(new):
        # As JSON, because to Python 1, 1.0 and true are equal.
        yield path, old, new


def _inside(value: object, other: object) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return value
    return {} if value is ABSENT and isinstance(other, Mapping) and other else None


def described(path: Path, before: object, after: object) -> str:
    """The change in a few words: `3 -> 7`, or without the values where one can be secret."""
    if is_secret(path) or "runtime_env" in path or _holds_secret(before) or _holds_secret(after):
        return "added" if before is ABSENT else "removed" if after is ABSENT else "changed"
    old, new = _value(before), _value(after)
    return f"{old} -> {new}" if old != new else "changed"


def dotted(path: Path) -> str:
    """The path as it is shown."""
    return cut(one_line(".".join(str(key) for key in path)), PATH_WIDTH)


def shown(name: str) -> str:
    """A name as it is shown."""
    return cut(one_line(name), PATH_WIDTH)


def cut(text: str, width: int) -> str:
    """The text, or its beginning."""
    return text if len(text) <= width else text[: width - 3] + "..."


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


def _value(value: object) -> str:
    if value is ABSENT:
        return "unset"
    return cut(one_line(scrub(json.dumps(value, ensure_ascii=False), frozenset())), VALUE_WIDTH)
