"""Typed values out of a document, by their path, and every problem with them.

Owns the words for a value of the wrong kind and for a key that does not belong. Must not know what the keys
mean. Invariant: a key is obeyed or it is a problem; one that was skipped in silence would promise what nobody
does.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from deployer.core import durations
from deployer.core.document import Document, kind
from deployer.core.redact import Path, quote

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.core.errors import Problem

EACH = "[]"
"""In the path of a group: any item of a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of a mapping that are obeyed."""

    obeyed: tuple[str, ...]


class Fields:
    """Looks values up in the document, and collects what is wrong with it.

    What is not there has the default that is asked with, and so has a group or a list in which everything is
    commented out.
    """

    def __init__(self, document: Document, groups: Mapping[Path, Keys]) -> None:
        """Take the document, and the keys of every mapping in it that is not one value."""
        self.problems: list[Problem] = []
        self._document = document
        self._groups = groups
        self._values: dict[Path, Any] = {}
        self._items: dict[Path, list[Path]] = {}
        self._sort((), document.value)

    def __contains__(self, path: Path) -> bool:
        """Whether a value stands at this path."""
        return path in self._values

    def wrong(self, path: Path, message: str) -> None:
        """Say what is wrong at this path: at the value, or at the key of what is no value."""
        self.problems.append(self._document.problem(path, message, at_key=path not in self._values))

    def value(self, path: Path) -> Any:  # noqa: ANN401 - anything that YAML can say and JSON can hold
        """The value at this path, whatever it is; it must be there."""
        return self._values[path]

    def items(self, path: Path) -> Sequence[Path]:
        """The paths of a list's items that are mappings."""
        return self._items.get(path, ())

    def seconds(self, path: Path, default: float, *, zero: bool = False, most: float | None = None) -> float:
        """The duration at this path; nothing at all (`0s`) only with `zero`."""
        if path not in self._values:
            return default
        value = self._values[path]
        if isinstance(value, int | float) and not isinstance(value, bool):
            # Also `1:30`, which YAML 1.1 reads as 90.
            self.wrong(path, f"{dotted(path)} needs a unit: write it as 30s, 10m or 1h30m")
        elif not isinstance(value, str):
            self.wrong(path, f"{dotted(path)} is a duration such as 30s, 10m or 1h30m, not {kind(value)}")
        else:
            try:
                seconds = durations.parse(value)
            except ValueError as error:
                self.wrong(path, f"{dotted(path)}: {error}")
                return default
            if not seconds and not zero:
                self.wrong(path, f"{dotted(path)} must be longer than nothing")
            elif most is not None and seconds > most:
                self.wrong(path, f"{dotted(path)} must not be longer than {durations.render(most)}")
            else:
                return seconds
        return default

    def count(self, path: Path, default: int, *, least: int = 0, most: int | None = None) -> int:
        """The whole number at this path."""
        value = self._values.get(path, default)
        limits = f"of {least} or more" if most is None else f"from {least} to {most}"
        if not isinstance(value, int) or isinstance(value, bool):
            what = "a fraction" if isinstance(value, float) else kind(value)
            self.wrong(path, f"{dotted(path)} is a whole number {limits}, not {what}")
        elif value < least or (most is not None and value > most):
            self.wrong(path, f"{dotted(path)} must be a whole number {limits}")
        else:
            return value
        return default

    def switch(self, path: Path, *, default: bool) -> bool:
        """The true or false at this path."""
        value = self._values.get(path, default)
        if isinstance(value, bool):
            return value
        self.wrong(path, f"{dotted(path)} is true or false, not {kind(value)}")
        return default

    def choice(self, path: Path, default: str, choices: Sequence[str]) -> str:
        """The one of the choices at this path."""
        value = self._values.get(path, default)
        if isinstance(value, str) and value in choices:
            return value
        *others, last = choices
        found = quote(value) if isinstance(value, str) else kind(value)
        self.wrong(path, f"{dotted(path)} is {', '.join(others)} or {last}, not {found}")
        return default

    def text(self, path: Path) -> str:
        """The text at this path, which must be there and not be empty. "" if it is not, and said."""
        value = self._values.get(path)
        if isinstance(value, str) and value:
            return value
        if path not in self._values:
            self.wrong(path[:-1], f"{dotted(path)} is missing: add it")
        elif value in ("", None):
            self.wrong(path, f"{dotted(path)} is empty: give it a value")
        else:
            self.wrong(path, f"{dotted(path)} is text, not {kind(value)}: quote it")
        return ""

    def names(self, path: Path) -> tuple[str, ...]:
        """The list of names at this path: one or more, each once. None at all if it is not there."""
        values = self._values.get(path)
        if values is None:
            return ()
        if not isinstance(values, list):
            self.wrong(path, f"{dotted(path)} is a list of names, not {kind(values)}")
            return ()
        if not values:
            self.wrong(path, f"{dotted(path)} is an empty list: name one or more, or remove the line")
        # A dictionary for its order: to look 19,000 names up in a list takes 5 s.
        names: dict[str, None] = {}
        for index, name in enumerate(values):
            if not isinstance(name, str) or not name:
                found = "empty text" if name == "" else kind(name)
                self.wrong((*path, index), f"{dotted(path)} is a list of names, and this is {found}")
            elif name in names:
                self.wrong((*path, index), f"{quote(name)} stands in {dotted(path)} twice: remove one")
            else:
                names[name] = None
        return tuple(names)

    def _sort(self, path: Path, value: object) -> None:
        """Sort the values below a mapping by path, and say which keys do not belong there."""
        keys = self._groups[_group(path)]
        if value is None and not (path and isinstance(path[-1], int)):
            return
        if not isinstance(value, dict):
            what = f"{dotted(path)} is" if path else "this file is"
            self.wrong(path, f"{what} a mapping with the keys {', '.join(keys.obeyed)}, not {kind(value)}")
            return
        for key, item in value.items():
            here = (*path, key)
            if _group(here) in self._groups:
                self._sort(here, item)
            elif (*_group(here), EACH) in self._groups:
                self._sort_list(here, item)
            elif key in keys.obeyed:
                self._values[here] = item
            else:
                close = get_close_matches(key, keys.obeyed, n=1)
                known = f"known here: {', '.join(keys.obeyed)}"
                hint = f"did you mean {quote(close[0])}?" if close else known
                self.wrong(here, f"unknown key {quote(key)} ({hint})")

    def _sort_list(self, path: Path, value: object) -> None:
        if value is None:
            return
        if not isinstance(value, list):
            self.wrong(path, f"{dotted(path)} is a list, not {kind(value)}: begin each item with `- `")
            return
        for index, item in enumerate(value):
            here = (*path, index)
            self._sort(here, item)
            if isinstance(item, dict):
                self._items.setdefault(path, []).append(here)


def dotted(path: Path) -> str:
    """The path as it stands in a sentence: `checks[0].expect.status`."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")


def _group(path: Path) -> Path:
    return tuple(EACH if isinstance(key, int) else key for key in path)
