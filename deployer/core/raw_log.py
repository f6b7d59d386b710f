"""The log as it is stored: every event with the very text that its hash covers, as JSON Lines.

Owns the names and the order of an event's columns, and its line. Must not know what an event means, nor
where it is stored. Invariant: a line holds the stored text of each column, not a reading of it, so that
whoever has only the file can compute every hash; and it is ASCII, so that no commit message does anything
to a terminal.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class RawEvent(NamedTuple):
    """One row of the log. What a damaged one holds can be of any type, so `audit.verify` looks."""

    id: int
    environment: str
    sequence: int
    type: str
    at: str
    actor: str
    reason: str
    rollout: str
    data: str
    previous_hash: str
    hash: str

    @property
    def chained(self) -> tuple[str | int, ...]:
        """What its hash covers: all but the id and the two hashes."""
        return self[1:9]


class UnreadableLog(Exception):  # noqa: N818 - says how far the log can be read, not that it is an error
    """Whoever reads the events cannot go on. The message is a clause without a full stop, quoting nothing."""


def lines(events: Iterable[RawEvent]) -> Iterator[str]:
    """A line for each, with its end, made one by one."""
    return (f"{json.dumps(event._asdict())}\n" for event in events)


def events(lines: Iterable[bytes]) -> Iterator[RawEvent]:
    """The events of these lines, read one by one. The types of their values are not looked at.

    Raises UnreadableLog at the first line that is no event.
    """
    for number, line in enumerate(lines, start=1):
        try:
            # Decoded here: given bytes, `json` would take UTF-16 as well.
            found: Any = json.loads(line.decode(), object_pairs_hook=_once)
        except (ValueError, RecursionError):
            message = f"line {number} is not JSON"
            raise UnreadableLog(message) from None
        if not isinstance(found, dict) or found.keys() != set(RawEvent._fields):
            message = f"line {number} is not an object with {', '.join(RawEvent._fields)}"
            raise UnreadableLog(message)
        yield RawEvent(**found)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Of two members with one name, one reader of JSON takes this one, another that one."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found
