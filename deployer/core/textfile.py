"""A text file that a person wrote: its lines, its places, and how to point at one.

Owns decoding, line numbers and the snippet with a caret. Must not know the file's syntax. Invariant: a
snippet never shows what is hidden, and nothing in it moves the caret or the terminal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deployer.core.errors import InvalidConfig, Problem
from deployer.core.redact import mentions_secret
from deployer.core.scrub import REDACTED

Place = tuple[int, int]
"""Where something is in a file: line and column, both from 1."""

MAX_PROBLEMS = 50
"""More are one mistake repeated, and nobody reads them."""
SNIPPET_WIDTH = 100
"""Columns of a source line that are shown: it fits a terminal, and a minified file is one line."""

# PyYAML's own line breaks, so that its line numbers are ours.
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")

# `user:password` of a URL. Starred out one for one, unlike by `scrub`, so that every column stays.
_LOGIN = re.compile(r"(?<=://)[^\s/'\"<>]+(?=@)")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file's name and text, and its lines as they may be shown: the same, but for passwords in URLs.

    `hidden` says from which column on a line may not be shown (both from 0). It is None while that is not
    known; then no line is shown if any of them names a secret.
    """

    name: str
    text: str = field(repr=False)
    lines: tuple[str, ...] = field(repr=False)
    hidden: Mapping[int, int] | None = field(default=None, repr=False)

    def place(self, index: int) -> Place:
        """Where the character at this index of the text is."""
        before = _BREAK.split(self.text[:index])
        return len(before), len(before[-1]) + 1

    def problem(self, place: Place, message: str) -> Problem:
        """A problem at this place, with the line and a caret below it."""
        line, column = place
        snippet = self._snippet(line - 1, column - 1)
        return Problem(file=self.name, line=line, column=column, message=message, snippet=snippet)

    def _snippet(self, line: int, column: int) -> str:
        if self.hidden is None and mentions_secret(self.text):
            return ""
        text = self.lines[line]
        end = (self.hidden or {}).get(line, len(text))
        column = min(column, end)
        # Only the part that is shown is ever copied: a bad file can have thousands of problems on one line.
        start = max(0, min(column - SNIPPET_WIDTH // 2, end - SNIPPET_WIDTH))
        shown = text[start : min(end, start + SNIPPET_WIDTH)]
        if end < len(text) and end <= start + SNIPPET_WIDTH:
            shown += REDACTED
        if not shown.strip():
            return ""
        if not shown.isprintable():
            # One for one, so that the caret stays under its character.
            shown = "".join(character if character.isprintable() else " " for character in shown)
        return f"    {shown.rstrip()}\n    {' ' * (column - start)}^"


def decode(data: bytes, name: str) -> TextFile:
    """Read bytes as UTF-8, with or without a byte order mark. Raises InvalidConfig if they are not that."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The codec's positions count from behind the mark, as those in its `object` do.
        good, bad = error.object[: error.start], error.object[error.start]
        before = _BREAK.split(good.decode())
        message = f"not UTF-8: byte 0x{bad:02x} does not belong here. Save the file as UTF-8"
        problem = Problem(file=name, line=len(before), column=len(before[-1]) + 1, message=message)
        raise invalid([problem]) from None
    shown = _LOGIN.sub(lambda login: "*" * len(login[0]), text)
    return TextFile(name=name, text=text, lines=tuple(_BREAK.split(shown)))


def invalid(problems: Iterable[Problem]) -> InvalidConfig:
    """The error that carries these problems: each once, in the file's order, and no more than are read."""
    found = sorted(dict.fromkeys(problems), key=lambda problem: (problem.line, problem.column))
    if len(found) > MAX_PROBLEMS:
        more = f"and {len(found) - MAX_PROBLEMS} more problems"
        found[MAX_PROBLEMS:] = [Problem(file=found[0].file, line=0, column=0, message=more)]
    return InvalidConfig(tuple(found))
