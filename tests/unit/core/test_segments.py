"""The names of sealed segments, and what must follow what."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.core import segments
from deployer.core.audit import Anchor
from deployer.core.merkle import Frontier
from deployer.core.raw_log import RawEvent, UnreadableLog
from deployer.core.segments import Segment
from tests.support.note_signer import NoteSigner

SIGNER = NoteSigner("ada")


def tree(size: int, salt: bytes = b"") -> Frontier:
    """Over so many leaves."""
    made = Frontier()
    for number in range(size):
        made.append(salt + bytes([number]))
    return made


def anchor(size: int, salt: bytes = b"") -> Anchor:
    """The checkpoint of it."""
    return Anchor(place="x:1", note=SIGNER.note("log", size, tree(size, salt).root))


def test_segments_are_found_by_name_in_the_order_of_their_ids() -> None:
    """Not in that of the names, and nothing else is one."""
    names = [
        "segment-100-250.jsonl.gz",
        "segment-1-99.jsonl.gz",
        "segment-1-99.checkpoint",
        "segment.jsonl.gz.new",
        "segment-0-9.jsonl.gz",
        "segment-01-9.jsonl.gz",
        "segment-1-\u0662.jsonl.gz",
    ]
    there = segments.found(names)

    assert there == [Segment(first=1, last=99), Segment(first=100, last=250)]
    assert [one.name for one in there] == ["segment-1-99", "segment-100-250"]


def test_a_frontier_is_read_with_and_without_its_end_of_line() -> None:
    """And a damaged one is named."""
    text = tree(5).text
    assert segments.frontier(f"{text}\n", "segment-6-9").root == tree(5).root
    assert segments.frontier(text, "segment-6-9").size == 5
    with pytest.raises(UnreadableLog, match=r"^segment-6-9\.frontier is damaged$"):
        segments.frontier(f"{text}\n\n", "segment-6-9")


FIRST, SECOND = Segment(first=1, last=5), Segment(first=6, last=9)


def test_segments_that_follow_one_another_are_taken() -> None:
    """The first of all, the first that is there, and the next one."""
    segments.require_next(FIRST, anchor(5), tree(0), None)
    segments.require_next(SECOND, anchor(9), tree(5), None)
    segments.require_next(SECOND, anchor(9), tree(5), (FIRST, anchor(5)))


@pytest.mark.parametrize(
    ("part", "note", "frontier", "before", "why"),
    [
        (SECOND, anchor(8), tree(5), None, "the checkpoint of segment-6-9 is of 8 events"),
        (replace(SECOND, last=4), anchor(4), tree(5), None, "the checkpoint of segment-6-4 is of 4 events"),
        (SECOND, anchor(9), tree(4), None, "the frontier of segment-6-9 is of 4 events"),
        (
            SECOND,
            anchor(9),
            tree(5),
            (Segment(first=1, last=3), anchor(3)),
            "no segment has the ids 4 to 5",
        ),
        (
            SECOND,
            anchor(9),
            tree(5),
            (Segment(first=1, last=6), anchor(6)),
            "segment-6-9 begins before segment-1-6 ends",
        ),
        (
            SECOND,
            anchor(9),
            tree(5),
            (FIRST, anchor(5, b"x")),
            "segment-6-9 goes on from another log than segment-1-5",
        ),
    ],
)
def test_what_does_not_follow_is_refused(
    part: Segment, note: Anchor, frontier: Frontier, before: tuple[Segment, Anchor] | None, why: str
) -> None:
    """With the segment, and what is wrong with it."""
    with pytest.raises(UnreadableLog) as caught:
        segments.require_next(part, note, frontier, before)
    assert str(caught.value) == why


def test_a_segment_has_no_more_events_than_its_name_says() -> None:
    """Those behind its last are covered by no checkpoint of it."""
    event = RawEvent(6, "a", 1, "seen", "", "", "", "", "", "", "")
    assert list(segments.within(SECOND, [event] * 4)) == [event] * 4
    assert list(segments.within(SECOND, [event])) == [event]
    with pytest.raises(UnreadableLog, match="it has more events than its name says"):
        list(segments.within(SECOND, [event] * 5))
