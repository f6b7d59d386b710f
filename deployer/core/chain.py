"""The hash chain that makes an edit of the audit log visible.

Owns how one row of an environment's log is bound to the row before it, and how a log is checked. Must not
know where the rows are kept. Invariant: two different lists of fields never give the same bytes to hash,
because every field is written with its type and its length before it.

The chain finds an edited, inserted, moved or missing row. Against somebody who writes the whole log anew,
from the edit to its end, only a copy of the newest hash kept elsewhere helps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

GENESIS = "0" * 64
"""The previous hash of an environment's first event."""

_DOMAIN = b"deployer-event-v1"
"""First into every hash, so that no hash made for something else can ever stand in the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One row of a log: its place (from 1), everything it says, and the two hashes stored with it."""

    sequence: int
    fields: Sequence[str | int]
    previous: str
    hash: str


def link(previous: str, fields: Sequence[str | int]) -> str:
    """The hash of a row that says `fields` and follows the row with the hash `previous`: 64 hex digits."""
    framed = [_START, _framed(b"p", previous.encode())]
    for field in fields:
        if isinstance(field, str):
            content = field.encode()
            length = len(content)
            framed += (_TEXT[length] if length < _SHORT else _header(b"s", length), content)
        else:
            framed.append(_framed(b"i", str(field).encode()))
    return hashlib.sha256(b"".join(framed)).hexdigest()


def verify(rows: Iterable[Link], length: int | None = None) -> int | None:
    """The first sequence of one environment's log that is not as it was written; None if all are.

    `rows` come in order of their sequence. `length` is how many there must be, if that is known from
    elsewhere: only so is a log found whose end was cut off.
    """
    previous = GENESIS
    expected = 1
    for row in rows:
        intact = (
            row.sequence == expected and row.previous == previous and row.hash == link(previous, row.fields)
        )
        if not intact:
            return expected
        previous = row.hash
        expected += 1
    return None if length is None or length == expected - 1 else expected


def _framed(tag: bytes, content: bytes) -> bytes:
    return _header(tag, len(content)) + content


def _header(tag: bytes, length: int) -> bytes:
    return tag + length.to_bytes(8, "big")


_SHORT = 2048
_TEXT = tuple(_header(b"s", length) for length in range(_SHORT))
"""What stands before a text of each of these lengths: to make it anew took a third of a verification."""

_START = _framed(b"d", _DOMAIN)
