"""What changes in the text of a YAML file when one thing in it is replaced, added or removed.

Owns the characters: commas, dashes, indentation, line ends, and which comments go with what is removed. Must
not know why it is changed. Invariant: only the text of what changes is touched. Whether the result says what
is meant is not known here: who splices reads it again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn

from deployer.core import yaml_tree
from deployer.core.yaml_tree import Lines
from deployer.core.yaml_write import Style, block, entry, flow, item, items, key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from deployer.core.yaml_tree import Child

_COMMA = re.compile(r"[ \t]*,[ \t]*")
_REST_OF_LINE = re.compile(r"[ \t]*,?[ \t]*(?:#.*)?")


class CannotCopy(Exception):  # noqa: N818 - named by what the controller does next: ask a person
    """A file that is not changed, with the reason as a sentence: file, line, cause, next step. No value."""

    def __init__(self, why: str) -> None:
        """Take the sentence."""
        self.why = why
        super().__init__(why)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """Characters of the text, and what comes in their place."""

    start: int
    end: int
    text: str


class Splice:
    """Collects edits of a text that `yaml.load` has taken. `file` is its name in messages.

    What is inside of something is to be changed before what is added behind it.
    """

    def __init__(self, text: str, file: str) -> None:
        """Take the text."""
        self.tree = yaml_tree.read(text)
        self._file = file
        self._text = text
        self._lines = Lines(text)
        # A dictionary for its order: what an alias names is changed once, however often it is used.
        self._edits: dict[_Edit, None] = {}

    def result(self) -> str:
        """The text with all edits made."""
        parts: list[str] = []
        done = 0
        for edit in self._sorted():
            if edit.start < done and edit.text:
                self.decline(self.line_of(edit.start), "is to be changed in two ways at once")
            parts += [self._text[done : edit.start], edit.text]
            done = max(done, edit.end)
        return "".join([*parts, self._text[done:]])

    def line_of(self, index: int) -> int:
        """The line of a place, from 1."""
        return self._lines.number(index) + 1

    def line_before(self, line: int) -> int:
        """The line of the text that became this one of the result, or the next one to it."""
        moved = 0
        for edit in self._sorted():
            is_in_line = self._lines.column(edit.start) > 0
            if line < self.line_of(edit.start) + moved + is_in_line:
                break
            moved += Lines(edit.text).count - Lines(self._text[edit.start : edit.end]).count
        return max(1, line - moved)

    def decline(self, line: int, why: str) -> NoReturn:
        """Refuse to change this line: `why` is half a sentence about it."""
        if self.tree.is_shared:
            why += (
                ". Write out what is shared (by `&`, `*` or `<<`) where it differs, or edit the file by hand"
            )
        else:
            why += ". Edit the file by hand"
        message = f"{self._file}:{line}: this {why}."
        raise CannotCopy(message)

    # --- one thing is replaced ----------------------------------------------------------------------

    def replace(self, child: Child, value: object) -> None:
        """Let a child have this value. What was an inner block goes with its comments."""
        old, after = child.value, child.after
        if after is None:
            self._decline_at(child)
        head, lines = self._written(child, value)
        below = self._below(lines)
        is_below = self._lines.number(old.start) > self._lines.number(after)
        if old.is_block and child.key is not None and is_below:
            self._edit(after, after, f" {head}" if head else "")
            self._edit(self._lines.end(after), self._lines.end(old.end), below)
        elif old.is_block:
            self._edit(old.start if head else after, self._lines.end(old.end), head + below)
        elif head:
            self._edit(old.start, old.end, " " * (old.start == old.end) + head)
            self._edit(self._lines.end(old.end), self._lines.end(old.end), below)
        else:
            self._edit(old.start if is_below else after, old.end, "")
            self._edit(self._lines.end(old.end), self._lines.end(old.end), below)

    def _written(self, child: Child, value: object) -> tuple[str, list[str]]:
        """The value as it is to stand there: what comes behind the colon or the dash, and the lines below."""
        old = child.value
        style = self._style(child, self._quote(old.start) or self._quote(child.start))
        anchor = f"&{old.anchor} " if old.anchor is not None else ""
        if child.in_flow or anchor or (old.is_flow and old.children):
            return anchor + flow(value, style.quote), []
        if child.key is not None:
            return block(value, self._lines.column(child.start), style)
        is_empty = old.start == old.end
        return item(value, self._lines.column(old.start) + is_empty, style)

    # --- something is added -------------------------------------------------------------------------

    def add_entries(self, holder: Child, behind: int, added: Mapping[str, Any]) -> None:
        """Add these to a mapping, behind this one of its entries."""
        one = holder.value.children[behind]
        style = self._style(holder, self._quote(one.start))
        if one.in_flow:
            pairs = [f"{key(name, style.quote)}: {flow(value, style.quote)}" for name, value in added.items()]
            self._add_in_flow(one, pairs)
        else:
            column = self._lines.column(one.start)
            lines = chain.from_iterable(entry(name, value, column, style) for name, value in added.items())
            self._add_below(one, lines)

    def add_items(self, holder: Child, behind: int | None, before: int, added: Sequence[Any]) -> None:
        """Add these to a list, behind this one of its items; None: before that one, which stays the next."""
        one = holder.value.children[before if behind is None else behind]
        style = self._style(holder, self._quote(one.value.start))
        if one.in_flow:
            texts = [flow(value, style.quote) for value in added]
            if behind is None:
                self._edit(one.start, one.start, "".join(f"{text}, " for text in texts))
            else:
                self._add_in_flow(one, texts)
            return
        column = self._lines.column(one.start)
        lines = [*items([*added], column, style)]
        if behind is not None:
            self._add_below(one, lines)
            return
        text = "".join(line + self._lines.newline for line in lines)
        if self._is_first(one):
            start = self._lines.start(self._top(holder, before))
            self._edit(start, start, text)
        else:
            self._edit(one.start, one.start, text[column:] + " " * column)

    def _add_below(self, one: Child, lines: Iterator[str] | list[str]) -> None:
        end = self._lines.end(one.end)
        self._edit(end, end, self._below(lines))

    def _add_in_flow(self, one: Child, texts: list[str]) -> None:
        if not self._has_own_lines(one, one):
            self._edit(one.end, one.end, "".join(f", {text}" for text in texts))
            return
        has_comma = _COMMA.match(self._text, one.end) is not None
        self._edit(one.end, one.end, "" if has_comma else ",")
        indent = " " * self._lines.column(one.start)
        lines = ",\n".join(indent + text for text in texts) + "," * has_comma
        self._add_below(one, lines.split("\n"))

    # --- something is removed -----------------------------------------------------------------------

    def remove(self, holder: Child, removed: Sequence[int]) -> None:
        """Remove these children, but not all: with the comment lines above each that belong to it."""
        children = holder.value.children
        for index in removed:
            if children[index].after is None:
                self._decline_at(children[index])
        for first, last in _runs(removed):
            if children[first].in_flow:
                self._remove_in_flow(holder, first, last)
            elif self._is_first(children[first]):
                is_top = self._top(holder, first) == 0
                for index in range(first, last + 1):
                    self._remove_lines(holder, index, children[index], is_top=is_top)
            else:
                # The first ones of a block that begins behind a dash; what follows moves up there.
                end, following = self._lines.end(children[last].end), children[last + 1].start
                has_comment = "#" in self._text[end:following]
                self._edit(children[first].start, end if has_comment else following, "")

    def _remove_in_flow(self, holder: Child, first: int, last: int) -> None:
        one, other = holder.value.children[first], holder.value.children[last]
        comma = _COMMA.match(self._text, other.end)
        before = holder.value.children[first - 1].end if first else one.start
        if self._has_own_lines(one, other):
            self._remove_lines(holder, first, other, is_top=False)
        elif comma is not None:
            self._edit(one.start, comma.end(), "")
        elif _COMMA.fullmatch(self._text, before, one.start):
            self._edit(before, other.end, "")
        else:
            # The comma that stays, on another line, may end a list as well.
            self._edit(one.start, other.end, "")

    def _remove_lines(self, holder: Child, first: int, last: Child, *, is_top: bool) -> None:
        """With the line break above them, as the last line may have none; at the top with the one below."""
        start = self._lines.start(self._top(holder, first))
        if is_top:
            self._edit(start, self._lines.next(last.end), "")
        else:
            self._edit(self._lines.end_above(start), self._lines.end(last.end), "")

    def _top(self, holder: Child, index: int) -> int:
        """The first line of the comments right above a child that are indented as it is, or its own."""
        child = holder.value.children[index]
        column = self._lines.column(child.start)
        floor = holder.value.children[index - 1].end if index else holder.after
        highest = -1 if floor is None else self._lines.number(floor)
        top = self._lines.number(child.start)
        while top - 1 > highest and re.match(rf" {{{column}}}#", self._lines.text(top - 1)):
            top -= 1
        return top

    # --- how the file is written --------------------------------------------------------------------

    def _style(self, around: Child, quote: str) -> Style:
        """As what is around is indented, or else the first that is in the file."""
        found: dict[str, int] = {}
        for name in ("step", "offset", "gap"):
            measured = chain(self._measured(around), self._measured(self.tree.root))
            found[name] = next((columns for what, columns in measured if what == name), 2)
        return Style(**found, quote=quote, literal=self._text.endswith(self._lines.newline))

    def _measured(self, child: Child) -> Iterator[tuple[str, int]]:
        """Columns of `Style`, of all that is in a child."""
        inner = child.value
        if not inner.is_block or not inner.children:
            return
        if child.key is not None:
            columns = self._lines.column(inner.children[0].start) - self._lines.column(child.start)
            yield "step" if inner.is_mapping else "offset", columns
        for one in inner.children:
            columns = self._lines.column(one.value.start) - self._lines.column(one.start)
            if one.key is None and one.value.start == one.start + max(columns, 2):
                yield "gap", columns
            yield from self._measured(one)

    def _quote(self, index: int) -> str:
        character = self._text[index : index + 1]
        return character if character in {'"', "'"} else ""

    def _is_first(self, child: Child) -> bool:
        return not self._lines.before(child.start).strip()

    def _has_own_lines(self, first: Child, last: Child) -> bool:
        end = self._lines.end(last.end)
        return self._is_first(first) and _REST_OF_LINE.fullmatch(self._text, last.end, end) is not None

    def _below(self, lines: Iterator[str] | list[str]) -> str:
        return "".join(self._lines.newline + line for line in lines)

    def _edit(self, start: int, end: int, text: str) -> None:
        self._edits[_Edit(start=start, end=end, text=text)] = None

    def _sorted(self) -> list[_Edit]:
        return sorted(self._edits, key=lambda edit: (edit.start, edit.end))

    def _decline_at(self, child: Child) -> NoReturn:
        message = (
            f"{self._file}:{self.line_of(child.start)}: this is written in a way that deployer cannot edit."
            " Write it as `key: value`, or edit the file by hand."
        )
        raise CannotCopy(message)


def _runs(indexes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The first and the last of each row of numbers that follow one another."""
    first = None
    for index, number in enumerate(indexes):
        first = number if first is None else first
        if number + 1 not in indexes[index + 1 : index + 2]:
            yield first, number
            first = None
