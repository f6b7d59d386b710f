"""Sealed segments: years of the log in files of their own, each with what is needed to verify it alone.

Owns their names, their order, and what must stand beside each: the checkpoint of its last event, and the
tree over all events before its first. Must not read a file, nor judge an event. Invariant: segments that
follow one another are read as one log; where one is missing, or has more than its name says, which no
checkpoint of it covers, the log cannot be read on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.core.merkle import Frontier, InvalidFrontier
from deployer.core.raw_log import UnreadableLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deployer.core.audit import Anchor
    from deployer.core.raw_log import RawEvent

EVENTS, CHECKPOINT, FRONTIER = ".jsonl.gz", ".checkpoint", ".frontier"
"""What the names of a segment's three files end with."""

_NAME = re.compile(r"segment-([1-9][0-9]{0,17})-([1-9][0-9]{0,17})\.jsonl\.gz", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Segment:
    """The events with these ids, both of them in it."""

    first: int
    last: int

    @property
    def name(self) -> str:
        """With which the names of its files begin."""
        return f"segment-{self.first}-{self.last}"


def found(names: Iterable[str]) -> list[Segment]:
    """The segments whose events are in files of these names, in their order. Other names are passed over."""
    matches = map(_NAME.fullmatch, names)
    return sorted(Segment(first=int(one[1]), last=int(one[2])) for one in matches if one)


def frontier(text: str, name: str) -> Frontier:
    """What stands in the frontier of the segment with this name. Raises UnreadableLog."""
    try:
        return Frontier.parse(text.removesuffix("\n"))
    except InvalidFrontier:
        message = f"{name}{FRONTIER} is damaged"
        raise UnreadableLog(message) from None


def require_next(
    segment: Segment, anchor: Anchor, tree: Frontier, before: tuple[Segment, Anchor] | None
) -> None:
    """Return if a segment is what its files say, and goes on from the one before it. Raises UnreadableLog.

    `anchor` is its checkpoint, and `tree` its frontier; `before` is the segment before it, with its own.
    """
    if segment.last < segment.first or anchor.note.checkpoint.size != segment.last:
        message = f"the checkpoint of {segment.name} is of {anchor.note.checkpoint.size:,} events"
        raise UnreadableLog(message)
    if tree.size != segment.first - 1:
        message = f"the frontier of {segment.name} is of {tree.size:,} events"
        raise UnreadableLog(message)
    if before is None:
        return
    last = before[0].last
    if segment.first > last + 1:
        message = f"no segment has the ids {last + 1} to {segment.first - 1}"
        raise UnreadableLog(message)
    if segment.first <= last:
        message = f"{segment.name} begins before {before[0].name} ends"
        raise UnreadableLog(message)
    if tree.root != before[1].note.checkpoint.root:
        message = f"{segment.name} goes on from another log than {before[0].name}"
        raise UnreadableLog(message)


def within(segment: Segment, events: Iterable[RawEvent]) -> Iterator[RawEvent]:
    """The events of a segment. Raises UnreadableLog where more come than its name says."""
    for id_, event in enumerate(events, start=segment.first):
        if id_ > segment.last:
            message = "it has more events than its name says"
            raise UnreadableLog(message)
        yield event
