"""The Merkle tree over the whole log, as Certificate Transparency builds it (RFC 6962, section 2.1).

Owns the hashes of leaves and nodes, and the frontier: what must be kept of a tree so that it can grow. Must
not know what a leaf is of. Invariant: one list of leaves has one root, whatever way it was computed; a leaf
is never taken for a node, because each is hashed with a byte of its own before it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

HASH_BYTES = 32

EMPTY = hashlib.sha256().digest()
"""The root of a tree without leaves."""

_TEXT = re.compile(r"(0|[1-9][0-9]{0,18}) ([A-Za-z0-9+/]*={0,2})", re.ASCII)


class InvalidFrontier(ValueError):  # noqa: N818 - says what was wrong with the text, not that it is an error
    """The text is not what `Frontier.text` writes."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of what stands above two others."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaves: Iterable[bytes]) -> bytes:
    """The root over the data of these leaves."""
    frontier = Frontier()
    for data in leaves:
        frontier.append(data)
    return frontier.root


class Frontier:
    """A tree as far as it matters for what is yet to come: the roots of its full parts, the largest first.

    At most 64 hashes, however large the tree is. It is the one thing here that changes: a log only grows.
    """

    __slots__ = ("_peaks", "_size")

    def __init__(self) -> None:
        """A tree without leaves."""
        self._size = 0
        self._peaks: list[bytes] = []

    @property
    def size(self) -> int:
        """How many leaves there are."""
        return self._size

    @property
    def root(self) -> bytes:
        """The root over all of them."""
        if not self._peaks:
            return EMPTY
        result = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            result = node_hash(peak, result)
        return result

    @property
    def text(self) -> str:
        """All of it as one line, for `parse`: the number of leaves, and the hashes in base64."""
        return f"{self._size} {base64.b64encode(b''.join(self._peaks)).decode()}"

    @classmethod
    def parse(cls, text: str) -> Frontier:
        """The tree of which this is the `text`. Raises InvalidFrontier."""
        found = _TEXT.fullmatch(text)
        if found is None:
            message = "this is not the state of a Merkle tree: it is to be a number of leaves and base64"
            raise InvalidFrontier(message)
        frontier = cls()
        frontier._size = int(found[1])
        hashes = base64.b64decode(found[2]) if len(found[2]) % 4 == 0 else b""
        frontier._peaks = [hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)]
        expected = frontier._size.bit_count() * HASH_BYTES
        if len(hashes) != expected or frontier.text != text:
            message = (
                f"this is not the state of a Merkle tree: {frontier._size} leaves need {expected} bytes of"
                f" hashes, in base64 as it is always written"
            )
            raise InvalidFrontier(message)
        return frontier

    def append(self, data: bytes) -> None:
        """Add a leaf with this data."""
        new = leaf_hash(data)
        # As with 0111 + 1 = 1000: each full part of the same size is joined with what was made of the last.
        full = self._size
        while full & 1:
            new = node_hash(self._peaks.pop(), new)
            full >>= 1
        self._peaks.append(new)
        self._size += 1
