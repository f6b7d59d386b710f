"""A release, copied into the file of the next environment.

Owns what that file is to say then: by application and deployment name, field by field, and the list of what
changes, for people. Must not know git or forges. Invariant: what stays in the target is untouched; the file
that comes out is a valid Serve config that says exactly what was worked out; and no text holds a value that
can be secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer.core import serve_config, yaml_edit
from deployer.core.compare import by_name
from deployer.core.copy_fields import DEPLOYMENTS, FieldPolicy, check_field
from deployer.core.copy_message import message, promoted_from
from deployer.core.diff import ABSENT, VALUE_WIDTH, cut, described, differences, dotted, shown
from deployer.core.errors import InvalidConfig
from deployer.core.redact import one_line
from deployer.core.scrub import scrub
from deployer.core.yaml_edit import CannotCopy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.redact import Path

__all__ = [
    "CannotCopy", "Change", "Copy", "FieldPolicy", "check_field", "copy", "message", "promoted_from",
]  # fmt: skip

_APPLICATIONS = "applications"
_FIRST = ("name", "route_prefix", "import_path")
_DEFAULTS = FieldPolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that changes in the target, for people: nothing in it is secret, or more than one line.

    `where` is `fruit`, `fruit / MangoStand` or `cluster-wide`, `field` its path with dots: "" where all of it
    is added or removed. `old` and `new` are shortened values. Where they may not be shown `old` is "", and
    `new` is `added`, `removed` or `changed`.
    """

    where: str
    field: str = ""
    old: str = ""
    new: str

    def __str__(self) -> str:
        """Render as `fruit / MangoStand user_config.price: 3 -> 4`, or `math: added`."""
        values = f"{self.old} -> {self.new}" if self.old else self.new
        return f"{self.where} {self.field}: {values}" if self.field else f"{self.where}: {values}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """The target's file as it is to be, and what is other in it than before.

    `kept` are the fields that differ between the source and the target, and stay: `fruit / MangoStand
    num_replicas`. Without changes `data` is what it was.
    """

    data: bytes = field(repr=False)
    changes: tuple[Change, ...]
    kept: tuple[str, ...]


def copy(
    source: Mapping[str, Any],
    target: bytes,
    file: str,
    *,
    base: Mapping[str, Any] | None = None,
    policy: FieldPolicy = _DEFAULTS,
) -> Copy:
    """Copy a config into the file of another environment.

    `source` is the body of the release (`ServeConfig.body()`), `base` the one of the release that was copied
    last; None: not known, and then nothing is removed that only the target has. `file` is the target's name
    in messages. Raises InvalidConfig if the target is no valid file as it is, and CannotCopy if it cannot be
    changed to say what it should.
    """
    reading = serve_config.read(target, file)
    before, written = reading.config.body(), reading.document.value
    is_old_form = _APPLICATIONS not in written
    merged = _Merge(policy).whole(source, before if is_old_form else written, base or {})
    wanted = serve_config.canonical(merged)
    after = wanted.body()
    kept = tuple(_kept(after, source))
    if wanted.digest == reading.config.digest:
        return Copy(data=target, changes=(), kept=kept)
    if is_old_form:
        why = (
            f"{file}:1: this file is in the single-application form, which Serve no longer takes, and nothing"
            " is copied into that. Write it as a list below `applications:`, and promote again."
        )
        raise CannotCopy(why)
    data = yaml_edit.edit(target, file, merged)
    try:
        serve_config.read(data, file)
    except InvalidConfig as error:
        problem = error.problems[0]
        why = (
            f"{file}: with what comes from the release it would not be valid, at line {problem.line} of what"
            f" it would be: {problem.message}. Change what moves and what stays (`move`, `keep`), or edit the"
            " file by hand."
        )
        raise CannotCopy(why) from None
    return Copy(data=data, changes=tuple(_changes(before, after)), kept=kept)


# --- what it is to say ---------------------------------------------------------------------------------


class _Merge:
    """Makes one config of two, by what moves."""

    def __init__(self, policy: FieldPolicy) -> None:
        self._policy = policy

    def whole(
        self, source: Mapping[str, Any], target: Mapping[str, Any], base: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The config that the target is to have: `base` is the source's at the last copy."""
        merged = self._fields(source, target, _APPLICATIONS)
        merged[_APPLICATIONS] = [
            self._application(theirs, ours, had) if theirs and ours else ours or _laid_out(theirs)
            for theirs, ours, had in _matched(source, target, base, _APPLICATIONS)
        ]
        return merged

    def _application(
        self, source: Mapping[str, Any], target: Mapping[str, Any], base: Mapping[str, Any]
    ) -> dict[str, Any]:
        merged = self._fields(source, target, DEPLOYMENTS)
        is_kept = DEPLOYMENTS in self._policy.keep
        deployments = [
            self._field(theirs, ours, (DEPLOYMENTS,)) if theirs and ours else ours or _laid_out(theirs)
            for theirs, ours, _ in _matched(source, target, {} if is_kept else base, DEPLOYMENTS)
            if ours or not is_kept
        ]
        if deployments or DEPLOYMENTS in target:
            merged[DEPLOYMENTS] = deployments
        return merged

    def _fields(self, source: Mapping[str, Any], target: Mapping[str, Any], items: str) -> dict[str, Any]:
        """All fields but the list of what is in it: that is still the target's, and behind what is new."""
        keys = [*target]
        at = keys.index(items) if items in target else len(keys)
        keys[at:at] = [key for key in source if key not in target and key != items]
        merged = {key: target[key] if key == items else self._both(source, target, (), key) for key in keys}
        return {key: value for key, value in merged.items() if value is not ABSENT}

    def _both(
        self, source: Mapping[str, Any], target: Mapping[str, Any], path: tuple[str, ...], key: str
    ) -> Any:  # noqa: ANN401 - a value, or ABSENT
        return self._field(source.get(key, ABSENT), target.get(key, ABSENT), (*path, key))

    def _field(self, source: object, target: object, path: tuple[str, ...]) -> Any:  # noqa: ANN401 - as above
        """What the field at this path is to be; ABSENT: it is not to be there."""
        winner = source if self._policy.moves(path) else target
        theirs, ours = _inside(source), _inside(target)
        if theirs is None or ours is None or not self._policy.is_divided(path):
            return winner
        inner = {key: self._both(theirs, ours, path, key) for key in {**ours, **theirs}}
        merged = {key: value for key, value in inner.items() if value is not ABSENT}
        return merged if merged or isinstance(winner, Mapping) else winner


def _inside(value: object) -> Mapping[str, Any] | None:
    """The fields in a field: none in one that is not there, or empty. None where it is something else."""
    if isinstance(value, Mapping):
        return value
    return {} if value is None or value is ABSENT else None


def _matched(
    source: Mapping[str, Any], target: Mapping[str, Any], base: Mapping[str, Any], items: str
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]]:
    """The named items that are to be in the target, each as it is in all three: `{}` where it is not.

    In the target's order. One that is new comes behind the one that it is behind in the source.
    """
    theirs, ours, had = (by_name(one.get(items)) for one in (source, target, base))
    names = [name for name in ours if name in theirs or name not in had]
    at = len(names)
    for name in theirs:
        if name in ours:
            at = names.index(name) + 1
        else:
            names.insert(at, name)
            at += 1
    for name in names:
        yield theirs.get(name, {}), ours.get(name, {}), had.get(name, {})


def _laid_out(item: Mapping[str, Any]) -> dict[str, Any]:
    """An application or a deployment in the order in which people write one."""
    first = [key for key in _FIRST if key in item]
    laid_out = {key: item[key] for key in (*first, *item) if key != DEPLOYMENTS}
    if DEPLOYMENTS in item:
        laid_out[DEPLOYMENTS] = [_laid_out(deployment) for deployment in item[DEPLOYMENTS]]
    return laid_out


# --- what changes, for people --------------------------------------------------------------------------


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for where, old, new in _places(before, after):
        if old is ABSENT or new is ABSENT:
            yield Change(where=where, new="added" if old is ABSENT else "removed")
        else:
            for path, one, other in differences(old, new, ()):
                yield _change(where, path, one, other)


def _change(where: str, path: Path, old: object, new: object) -> Change:
    words = described(path, old, new)
    if words in {"added", "removed", "changed"}:
        return Change(where=where, field=dotted(path), new=words)
    return Change(where=where, field=dotted(path), old=_value(old), new=_value(new))


def _value(value: object) -> str:
    if value is ABSENT:
        return "unset"
    return cut(one_line(scrub(json.dumps(value, ensure_ascii=False), frozenset())), VALUE_WIDTH)


def _kept(after: Mapping[str, Any], source: Mapping[str, Any]) -> Iterator[str]:
    for where, ours, theirs in _places(after, source):
        if ours is ABSENT or theirs is ABSENT:
            yield f"{where} ({'not here' if ours is ABSENT else 'only here'})"
        else:
            for path, _, _ in differences(ours, theirs, ()):
                yield f"{where} {dotted(path)}"


def _places(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Everything with fields of its own in two bodies, with its name for people, as it is in both.

    That is the cluster, the applications and the deployments. One of which there is only one is ABSENT in the
    other, and what is in it is left out.
    """
    yield "cluster-wide", _without(old, _APPLICATIONS), _without(new, _APPLICATIONS)
    for name, one, other in _pairs(old, new, _APPLICATIONS):
        if one is ABSENT or other is ABSENT:
            yield shown(name), one, other
            continue
        yield shown(name), _without(one, DEPLOYMENTS), _without(other, DEPLOYMENTS)
        for inner, deployment, another in _pairs(one, other, DEPLOYMENTS):
            yield f"{shown(name)} / {shown(inner)}", deployment, another


def _pairs(old: Mapping[str, Any], new: Mapping[str, Any], items: str) -> Iterator[tuple[str, Any, Any]]:
    before, after = by_name(old.get(items)), by_name(new.get(items))
    for name in {**before, **after}:
        yield name, before.get(name, ABSENT), after.get(name, ABSENT)


def _without(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: inner for name, inner in value.items() if name != key}
