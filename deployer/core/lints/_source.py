"""Where in a file its texts begin and end, as they are written.

Owns the way back from a document to the characters of its scalars. Must not know what the values mean.
Invariant: what stands inside quotes or a block of text is never taken for a comment.

PyYAML has read the file already, and `Document` knows where each scalar begins. So nothing is parsed here:
of a quoted scalar the closing quote is looked for, of a block its last indented line. A plain scalar hides
nothing, because ` #` ends it. One thing has no place in a document, and so is not seen: a value of a mapping
that is written inside `<<` itself and overridden beside it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from deployer.core.redact import Path
from deployer.core.textfile import Place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.document import Document

# What may stand between the mark of a scalar and the scalar: an anchor, a tag, line breaks, comments.
_PROPERTIES = re.compile(r"(?:(?:&[0-9A-Za-z_-]+|(![^ \t\n]*))[ \t\n]+(?:#[^\n]*\n[ \t\n]*)*)*")
_QUOTED = {
    '"': re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL),
    "'": re.compile(r"'[^']*(?:''[^']*)*'"),
}
_BLANK = " \n\u2028\u2029"
"""What a block of text can begin with before its first line that holds anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A key or a value that is no collection: where its mark is, and where its first character.

    `start` counts characters of `Source.text`. `tagged`: a `!` says what it is to be read as.
    """

    path: Path
    value: object
    is_key: bool
    place: Place
    start: int
    tagged: bool


class Source:
    """The text of a document, and its scalars."""

    def __init__(self, document: Document) -> None:
        """Take the document."""
        self.text = "\n".join(document.file.lines)
        self._document = document
        self._lines = document.file.lines
        self._offsets = [0, *accumulate(len(line) + 1 for line in self._lines)]
        # By place: what is aliased comes once for each path, and comments may stand between it and its mark.
        self._starts: dict[Place, tuple[int, bool]] = {}

    def offset(self, line: int, column: int) -> int:
        """Where in `text` this place is; both from 0."""
        return self._offsets[line] + column

    def scalars(self) -> Iterator[Scalar]:
        """Every key and every scalar value. One that is aliased comes once for each path."""
        yield from self._walk(self._document.value, ())

    def _walk(self, value: object, path: Path) -> Iterator[Scalar]:
        match value:
            case dict():
                for key, inner in value.items():
                    here = (*path, key)
                    yield self._scalar(here, key, self._document.key_marks[here], is_key=True)
                    yield from self._walk(inner, here)
            case list():
                for index, inner in enumerate(value):
                    yield from self._walk(inner, (*path, index))
            case _:
                yield self._scalar(path, value, self._document.marks[path], is_key=False)

    def _scalar(self, path: Path, value: object, place: Place, *, is_key: bool) -> Scalar:
        if place not in self._starts:
            line, column = place
            properties = _PROPERTIES.match(self.text, self.offset(line - 1, column - 1))
            assert properties is not None  # noqa: S101 - for mypy: it matches even nothing
            self._starts[place] = properties.end(), properties[1] is not None
        start, tagged = self._starts[place]
        return Scalar(path=path, value=value, is_key=is_key, place=place, start=start, tagged=tagged)

    def hidden(self) -> list[tuple[int, int]]:
        """The stretches of `text` in which `#` starts no comment: quoted texts, and the lines of blocks."""
        spans = set()
        # Once for each place: 18,000 aliases of one long block took minutes.
        for scalar in {(scalar.place, scalar.is_key): scalar for scalar in self.scalars()}.values():
            first = self.text[scalar.start : scalar.start + 1]
            if first in _QUOTED and (quoted := _QUOTED[first].match(self.text, scalar.start)):
                spans.add(quoted.span())
            elif first in {"|", ">"}:
                spans.add(self._block(scalar))
        return sorted(spans)

    def _block(self, scalar: Scalar) -> tuple[int, int]:
        """The lines below the header of a block of text, whose header may be followed by a comment."""
        header = bisect_right(self._offsets, scalar.start) - 1
        first = after = header + 1
        value = scalar.value if isinstance(scalar.value, str) else "!!int and the like are never empty"
        content = value.lstrip(_BLANK)
        if content:
            while not self._lines[after].strip(" "):
                after += 1
            # More than the indentation of the block only if a digit in its header gives that.
            leading = value[: len(value) - len(content)]
            extra = len(leading) - len(leading.rstrip(" "))
            indentation = _indentation(self._lines[after]) - extra
            while after < len(self._lines) and _belongs(self._lines[after], indentation):
                after += 1
        return self._offsets[first], self._offsets[after]


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _belongs(line: str, indentation: int) -> bool:
    return not line.strip(" ") or _indentation(line) >= indentation
