"""Whose turn it is on a cluster that environments share.

Owns the turns. Must not know what is done in one, nor threads that wait: who does not get a turn goes away,
and is woken when it is theirs. Invariant: at most one environment has the turn on a cluster, and the turn
goes from one to the next in the order in which they asked, so that nobody starves.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class _Turn:
    """One shared cluster. Not thread-safe."""

    def __init__(self) -> None:
        """Nobody has it."""
        self.holder: str | None = None
        self.waiting: OrderedDict[str, None] = OrderedDict()


class Turns:
    """The turns of all shared clusters. For any thread; an environment must not ask for two at once."""

    def __init__(self, neighbours: Mapping[str, tuple[str, ...]], wake: Callable[[str], None]) -> None:
        """Nobody has a turn yet. `neighbours` has, for each environment, the others on its cluster.

        `wake` is called with the one that has got the turn after waiting for it, and must not wait itself.
        """
        self._wake = wake
        self._lock = threading.Lock()
        self._turns: dict[str, _Turn] = {}
        for environment, others in neighbours.items():
            if others and environment not in self._turns:
                self._turns |= dict.fromkeys((environment, *others), _Turn())

    def take(self, environment: str) -> bool:
        """Whether this environment has the turn now; `give` must follow. If not, it is woken for its own."""
        turn = self._turns.get(environment)
        if turn is None:
            return True
        with self._lock:
            if turn.holder is None:
                turn.holder = environment
            elif turn.holder != environment:
                turn.waiting.setdefault(environment)
            return turn.holder == environment

    def give(self, environment: str) -> None:
        """Give the turn to whoever has waited longest."""
        turn = self._turns.get(environment)
        if turn is None:
            return
        with self._lock:
            turn.holder = turn.waiting.popitem(last=False)[0] if turn.waiting else None
            woken = turn.holder
        if woken is not None:
            self._wake(woken)
