"""The log of a store as a Merkle tree, read as it grows.

Owns how it is read, and whether it is still the log that was read before. Must not sign, nor know where
anything is anchored. Invariant: the tree only grows; what does not go on from what was read raises Misfit;
and between two reads whoever else wants the store, or the processor, has their turn.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from deployer.core import anchoring
from deployer.core.anchoring import Misfit
from deployer.core.events import DAEMON_LOG
from deployer.core.merkle import Frontier

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.adapters.store.leaves import Leaves
    from deployer.core.anchoring import Kept, KeptNote, Loss

_ROWS = 1000
"""Events read at a time: 2 ms, and 3 to hash them."""


class AnchoredLog:
    """One thread uses it. Every method may raise StoreError, and what `rest` does."""

    def __init__(self, name: str, leaves: Leaves, *, rest: Callable[[float], None]) -> None:
        """Take the log's name and its hashes. `rest` is called between two reads, with how long one took."""
        self._name = name
        self._leaves = leaves
        self._rest = rest
        self._tree = Frontier()
        self._end: tuple[object, object] | None = None
        self._roots: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        """How many events were read."""
        return self._tree.size

    @property
    def root(self) -> bytes:
        """The root over them."""
        return self._tree.root

    def read_on(self, mark: int = 0) -> None:
        """Read what is new. `mark` is a size whose root will be asked for. Raises Misfit."""
        if self._end is not None and self._leaves.after(self.size - 1, 1) != [self._end]:
            message = f"the event with id {self.size:,} is not there any more as it was read"
            raise Misfit(message)
        newest = self._leaves.newest()
        if self.size < mark < newest:
            self._grow(self._tree, mark)
            self._roots[mark] = self.root
        self._grow(self._tree, newest)

    def fits(self, kept: KeptNote) -> bool:
        """Whether a checkpoint is of this log; False if it was given up. Raises Misfit."""
        size = kept.note.checkpoint.size
        root = self._root_at(size) if kept.note.checkpoint.origin == self._name else None
        try:
            return anchoring.fits(kept, self._name, self.size, root)
        except Misfit as error:
            if not error.is_proof:
                raise
        return anchoring.fits(kept, self._name, self.size, root, self._losses())

    def left_of(self, kept: KeptNote) -> int:
        """How many events were left when what this covers was given up, which `fits` said that it was."""
        left = anchoring.excused(kept, self._losses())
        assert left is not None  # noqa: S101 - for mypy: `fits` asked the same
        return left

    def remembers(self, known: Kept) -> None:
        """See that it is not shorter than what is remembered, where no checkpoint is left. Raises Misfit."""
        if known.size > self.size:
            anchoring.remembers(known, self.size, self._losses())

    def _losses(self) -> list[Loss]:
        """What people gave up. Only where something does not fit: it takes a walk over the whole log."""
        return anchoring.losses(self._leaves.events(DAEMON_LOG, "store_restored"))

    def _root_at(self, size: int) -> bytes | None:
        if size == self.size:
            return self.root
        if size > self.size:
            return None
        if size not in self._roots:
            # Where nobody remembers what was signed last: read it all again.
            tree = Frontier()
            self._grow(tree, size)
            self._roots[size] = tree.root
        return self._roots[size]

    def _grow(self, tree: Frontier, size: int) -> None:
        while tree.size < size:
            began = time.monotonic()
            rows = self._leaves.after(tree.size, min(_ROWS, size - tree.size))
            anchoring.grow(tree, rows)
            if not rows:
                message = f"its newest event has id {size:,}, and none comes after event {tree.size:,}"
                raise Misfit(message)
            if tree is self._tree:
                self._end = rows[-1]
            self._rest(time.monotonic() - began)
