"""Which settings are in effect, and where each of them came from: for people who ask why.

Owns the list. Must not check anything: `load` has. Invariant: it shows no secret, because there is none in
the settings but the names of the files that hold them; a URL is scrubbed all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.core import yaml
from deployer.core.fields import dotted
from deployer.core.scrub import plain, scrub
from deployer.settings import _find as find
from deployer.settings import _variables as variables
from deployer.settings._group import Group

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.core.redact import Path as Keys
    from deployer.settings._models import Settings

DEFAULT = "default"
"""The origin of what nobody set."""

_SHORT = frozenset({"environment", "emails"})
"""The keys that are meant where their group is no mapping: `promote_from: staging`, and a list of e-mails."""

Value = str | int | float | bool | list[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One value: its key with dots, as it is in effect, and where it came from.

    `origin` is `<file>:<line>`, `environment variable <name>`, or `default`.
    """

    key: str
    value: Value
    origin: str


def explained(settings: Settings, path: Path | None, env: Mapping[str, str]) -> list[Setting]:
    """Every setting, in the order of the settings. `path` and `env` are those that `load` made them of.

    Raises InvalidConfig if the file cannot be read any more.
    """
    file, data = find.read(path, env)
    document = yaml.load(data, str(file), keys_as_written=True)
    raw = document.value if isinstance(document.value, dict) else {}
    by_variable, _ = variables.override(raw, env)

    def origin(keys: Keys) -> str:
        if keys[-1] in _SHORT and not isinstance(_written(raw, keys[:-1]), dict):
            keys = keys[:-1]
        # A variable counts more than the file.
        if keys in by_variable:
            return f"environment variable {by_variable[keys]}"
        is_written = keys in document.marks
        return f"{file}:{document.problem(keys, '').line}" if is_written else DEFAULT

    return [
        Setting(key=dotted(keys), value=value, origin=origin(keys)) for keys, value in _leaves((), settings)
    ]


def _written(raw: object, keys: Keys) -> object:
    """What the file and the variables have there; None if nothing."""
    for key in keys:
        raw = raw.get(key) if isinstance(raw, dict) else None
    return raw


def _leaves(keys: Keys, value: object) -> Iterator[tuple[Keys, Value]]:
    """The values that are no groups of others."""
    match value:
        case Group():
            for key, name in zip(type(value).keys(), type(value).model_fields, strict=True):
                yield from _leaves((*keys, key), getattr(value, name))
        case Mapping() if value:
            for name, inner in value.items():
                yield from _leaves((*keys, name), inner)
        case tuple() if value and isinstance(value[0], Group):
            for index, inner in enumerate(value):
                yield from _leaves((*keys, index), inner)
        case list() | tuple() | frozenset():
            yield keys, [_shown(item) for item in value]
        case bool() | int() | float() | None:
            yield keys, value
        case _:
            yield keys, _shown(value)


def _shown(value: object) -> str:
    return scrub(plain(str(value)), frozenset())
