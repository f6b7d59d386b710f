"""Where everything in a YAML file stands: each key, value, dash and colon, by its place in the text.

Owns the way from PyYAML's events to places, and the geometry of lines. Must not know what the values are:
that is for `yaml.load`, which has to take the text first (its limits hold here, too). Invariant: what a node
spans is what a person would say: a block ends with its last word, not with the comments below it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

# PyYAML's own line breaks.
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_LAST_BREAK = re.compile(rf"(?:{_BREAK.pattern})\Z")
_COLON = re.compile(r"[ \t]*:")
# A block of text that keeps its blank lines: they are part of it.
_KEEPS = re.compile(r"[|>]\d?\+|[|>]\+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A value or a key, from its first character (that of its anchor or tag, if it has one) to its last.

    `text` is that of a single value; one that is not there (`key:`) spans nothing. `children` are those of a
    mapping or a list: in flow style (`{}`, `[]`; `is_flow`), or as a block. `is_block` is such a block, or
    text that begins with `|` or `>`. `alias` is the name behind a `*`.
    """

    start: int
    end: int
    anchor: str | None = None
    alias: str | None = None
    text: str = ""
    children: tuple[Child, ...] = ()
    is_flow: bool = False
    is_block: bool = False
    is_mapping: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """An entry of a mapping, or an item of a list (`key` is None).

    `start` is that of its key or its dash, `after` is behind its colon or its dash; None where there is none,
    as in `{a, b}`, at a `?` and at the top of the file.
    """

    start: int
    after: int | None
    key: Node | None = None
    value: Node
    in_flow: bool = False

    @property
    def end(self) -> int:
        """Behind its last character."""
        return self.value.end


class Lines:
    """The lines of a text: where they begin and end. `newline` is how the first one ends."""

    def __init__(self, text: str) -> None:
        """Take the text."""
        breaks = [*_BREAK.finditer(text)]
        self.newline = breaks[0][0] if breaks else "\n"
        self._text = text
        self._starts = [0, *(found.end() for found in breaks)]
        self._ends = [*(found.start() for found in breaks), len(text)]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._starts)

    def number(self, index: int) -> int:
        """The line of a place, from 0."""
        return bisect_right(self._starts, index) - 1

    def column(self, index: int) -> int:
        """How far from the beginning of its line a place is."""
        return index - self._starts[self.number(index)]

    def start(self, number: int) -> int:
        """Where this line begins."""
        return self._starts[number]

    def end(self, index: int) -> int:
        """Where the line of this place ends, before its line break."""
        return self._ends[self.number(index)]

    def end_above(self, index: int) -> int:
        """Where the line above that of this place ends; there is one."""
        return self._ends[self.number(index) - 1]

    def next(self, index: int) -> int:
        """Where the line after that of this place begins; the end of the text, if there is none."""
        following = self.number(index) + 1
        return self._starts[following] if following < len(self._starts) else len(self._text)

    def before(self, index: int) -> str:
        """What stands on the line of this place before it."""
        return self._text[self._starts[self.number(index)] : index]

    def text(self, number: int) -> str:
        """A line, without its break."""
        return self._text[self._starts[number] : self._ends[number]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A file: what stands in it, and who has each anchor."""

    root: Child
    anchors: dict[str, Child]

    @property
    def is_shared(self) -> bool:
        """Whether something may stand in the file once, and be meant in more places."""
        return bool(self.anchors)


def read(text: str) -> Tree:
    """The places of a text that `yaml.load` has taken, and that says something."""
    reader = _Reader(text)
    return Tree(root=reader.root(), anchors=reader.anchors)


def _end(event: Any) -> int:  # noqa: ANN401 - each event has other attributes
    end: int = event.end_mark.index
    return end


class _Reader:
    def __init__(self, text: str) -> None:
        self.anchors: dict[str, Child] = {}
        self._text = text
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.SafeLoader)
        self._dashes = [
            token.start_mark.index
            for token in yaml.scan(text, Loader=yaml.SafeLoader)
            if isinstance(token, yaml.BlockEntryToken)
        ]

    def root(self) -> Child:
        event = next(self._events)
        while isinstance(event, yaml.StreamStartEvent | yaml.DocumentStartEvent):
            event = next(self._events)
        return self._child(Child(start=event.start_mark.index, after=None, value=self._node(event)))

    def _child(self, child: Child) -> Child:
        if child.value.anchor is not None:
            self.anchors[child.value.anchor] = child
        return child

    def _node(self, event: Any) -> Node:  # noqa: ANN401 - each event has other attributes
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.AliasEvent):
            return Node(start=start, end=end, alias=event.anchor)
        if isinstance(event, yaml.ScalarEvent):
            is_block = event.style in {"|", ">"}
            end = self._end_of_block(start, end) if is_block else end
            # JSON writes an emoji as two halves, and `yaml.load` reads them as one character.
            text = event.value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            return Node(start=start, end=end, anchor=event.anchor, text=text, is_block=is_block)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        read = self._entry if is_mapping else self._item
        children: list[Child] = []
        while not isinstance(last := next(self._events), yaml.CollectionEndEvent):
            children.append(self._child(read(last, in_flow=event.flow_style)))
        # `[a: 1]` holds a mapping without braces.
        has_end = event.flow_style and end > start
        return Node(
            start=start,
            end=_end(last) if has_end else children[-1].end,
            anchor=event.anchor,
            children=tuple(children),
            is_flow=event.flow_style,
            is_block=not event.flow_style,
            is_mapping=is_mapping,
        )

    def _entry(self, event: Any, *, in_flow: bool) -> Child:  # noqa: ANN401 - as above
        key = self._node(event)
        colon = _COLON.match(self._text, key.end)
        value = self._node(next(self._events))
        after = colon.end() if colon and colon.end() <= value.start else None
        return Child(start=key.start, after=after, key=key, value=value, in_flow=in_flow)

    def _item(self, event: Any, *, in_flow: bool) -> Child:  # noqa: ANN401 - as above
        value = self._node(event)
        if in_flow:
            return Child(start=value.start, after=value.start, value=value, in_flow=True)
        dash = self._dashes[bisect_left(self._dashes, value.start) - 1]
        return Child(start=dash, after=dash + 1, value=value)

    def _end_of_block(self, start: int, end: int) -> int:
        """A block of text ends for PyYAML where the next thing begins."""
        written = self._text[start:end]
        if _KEEPS.search(_BREAK.split(written, 1)[0]):
            return start + len(_LAST_BREAK.sub("", written))
        return start + len(written.rstrip())
