"""What a file says, and where it says it.

Owns the tree of plain values that was read, and the way from a value back to its place in the file. Must not
know the file's syntax, nor what the values mean. Invariant: every value and every key has a place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer.core.redact import Path
from deployer.core.textfile import Place, TextFile

if TYPE_CHECKING:
    from deployer.core.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What a file says (None if it says nothing), and where it says it.

    `value` is made of dict, list, str, int, float, bool and None, and JSON can hold it. `marks` is where
    each value starts, `key_marks` where its key does. A merged or aliased value is where it was written.
    """

    value: Any = field(repr=False)
    marks: Mapping[Path, Place] = field(repr=False)
    key_marks: Mapping[Path, Place] = field(repr=False)
    file: TextFile

    def problem(self, path: Path, message: str, *, at_key: bool = False) -> Problem:
        """A problem with the value at `path`, or with its key. Nothing there: with what should hold it."""
        while path not in self.marks:
            path = path[:-1]
        at = self.key_marks.get(path) if at_key else None
        return self.file.problem(at or self.marks[path], message)


def kind(value: object) -> str:
    """What a value is, in the words of a person."""
    match value:
        case None:
            return "nothing (null)"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case _:
            return "a mapping"
