"""What is made once for everybody who listens to the same, and kept until it is of an older version.

Owns what is kept, and the one lane in which it is made. Must not know what it is. Invariant: however many
listen, one thread at a time makes things for them, and that for a fifth of the time at most: what it takes is
taken from the passes, for there is one interpreter. Where a machine is busy, making takes longer and so do
the rests, so that passes are the last to suffer.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from fastapi.concurrency import run_in_threadpool

from deployer.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")

_REST = 4.0
"""So many times as long as a thing was made the next one waits. For 200 who listen to 500 environments, of
which 33 change a second, 0.06 s of each are needed, and nobody notices; 100 pages that come back at once take
some 3 s."""

_LONGEST_REST_SECONDS = 1.0

_LANES: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
"""A lock is of one event loop. The daemon has one; tests have many."""


_OVER: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Future[None]] = WeakKeyDictionary()


class Ended(Problem):
    """The faces stop, and what was asked for is not made any more."""

    def __init__(self) -> None:
        """As an answer, where one is still given."""
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, "This daemon stops: try again in a moment.")


def end() -> None:
    """Nobody waits any more for what is to be made. In the event loop's thread."""
    over = _over()
    if not over.done():
        over.set_result(None)


def _over() -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    return _OVER.setdefault(loop, loop.create_future())


async def _in_its_turn(make: Callable[[], T]) -> T:
    """In a thread, when those before are made and the passes had their time."""
    lane = _LANES.setdefault(asyncio.get_running_loop(), asyncio.Lock())
    await lane.acquire()
    began = time.monotonic()
    try:
        return await run_in_threadpool(make)
    finally:
        rest = min(_REST * (time.monotonic() - began), _LONGEST_REST_SECONDS)
        asyncio.get_running_loop().call_later(rest, lane.release)


class Cache(Generic[T]):
    """What was made last, by key, with the version that it is of. Thread-safe."""

    def __init__(self, kept: int) -> None:
        """Keep so many; who was not asked for longest goes first."""
        self._lock = threading.Lock()
        self._kept = kept
        self._made: OrderedDict[Hashable, tuple[Hashable, T]] = OrderedDict()
        self._under_way: dict[Hashable, asyncio.Future[T]] = {}

    def found(self, key: Hashable, version: Hashable) -> T | None:
        """What was made of this version."""
        with self._lock:
            entry = self._made.get(key)
            if entry is None or entry[0] != version:
                return None
            self._made.move_to_end(key)
            return entry[1]

    def put(self, key: Hashable, version: Hashable, value: T) -> T:
        """Keep it."""
        with self._lock:
            self._made[key] = (version, value)
            self._made.move_to_end(key)
            while len(self._made) > self._kept:
                self._made.popitem(last=False)
        return value

    def get(self, key: Hashable, version: Hashable, make: Callable[[], T]) -> T:
        """What was made of this version, or now is."""
        found = self.found(key, version)
        return self.put(key, version, make()) if found is None else found

    async def soon(self, key: Hashable, version: Hashable, make: Callable[[], T]) -> T:
        """The same for the event loop: made once, in a thread, for however many wait for it. Raises Ended."""
        found = self.found(key, version)
        if found is not None:
            return found
        task = self._under_way.get((key, version))
        if task is None:
            task = asyncio.ensure_future(_in_its_turn(lambda: self.get(key, version, make)))
            self._under_way[key, version] = task
            task.add_done_callback(lambda _: self._under_way.pop((key, version), None))
        # Who leaves does not take it away from those who stay.
        ends: set[asyncio.Future[Any]] = {task, _over()}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Ended
        return task.result()
