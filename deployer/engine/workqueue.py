"""The keyed work queue: which environment gets the next pass, and when.

Owns the order of the keys, their delays and their back-off, and the one thread that waits on the clock.
Must not know what a key stands for or what is done with it. Invariant: a key that is being worked on is
never handed out a second time, and an `add` is never lost: a pass that began before it is followed by one
more.

`Schedule` is the whole behaviour, without threads and with time as an argument; `WorkQueue` puts a lock,
the waiting and the clock around it. The idea is client-go's `util/workqueue`: its queue and processing
sets are `queued` and `running` here, and its dirty set is `queued` plus `again`.
"""

from __future__ import annotations

import heapq
import math
import random
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIRST_BACKOFF_SECONDS = 0.1
BACKOFF_FACTOR = 4
LONGEST_BACKOFF_SECONDS = 15.0
"""0.1, 0.4, 1.6, 6.4, then 15 s each: a blip costs nothing that a person notices, and after an outage of any
length every environment is looked at again within 18 s. 50 clusters that swallow packets, at a connect
time-out of 3 s, keep 10 of the 32 workers busy at that pace: the others are still served."""
BACKOFF_JITTER = 0.2
"""Each delay is within 20 % of its step, also at the cap, so that what failed together comes back apart."""

LONGEST_NAP_SECONDS = 3600.0
"""The longest single wait of the timer thread. It is woken for every earlier delay, so this is only a bound:
`Condition.wait` overflows on absurd figures, and a lost wake-up would cost an hour, not for ever."""

JOIN_SECONDS = 1.0
"""How long `stop` waits for the timer thread, which holds nothing and only has heap steps to finish."""


class Schedule:
    """The pure queue. Not thread-safe; its methods take the time where they need it.

    A key is in at most one of `queued` (ready, in order) and `running`; `again` are running keys that must
    run once more. A key that will run anyway has no delay: the pass sees everything there is to see, and
    says itself when to look next.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self._queued: OrderedDict[str, None] = OrderedDict()
        self._running: set[str] = set()
        self._again: dict[str, bool] = {}  # the value: at the front
        self._due_at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # may hold entries that `_due_at` no longer confirms

    def add(self, key: str, *, front: bool = False) -> bool:
        """The key must run once from now on. True if that makes it ready for a worker.

        Adding a queued key again changes nothing, except that `front` moves it up. The newest front key
        comes first. A pending delay of the key is dropped.
        """
        self._due_at.pop(key, None)
        if key in self._running:
            self._again[key] = front or self._again.get(key, False)
            return False
        is_new = key not in self._queued
        self._queued.setdefault(key)
        if front:
            self._queued.move_to_end(key, last=False)
        return is_new

    def add_at(self, key: str, due_at: float) -> None:
        """The key must run once at `due_at` or later. Of several times for one key the earliest counts."""
        will_run_anyway = key in self._queued or key in self._again
        if will_run_anyway or self._due_at.get(key, math.inf) <= due_at:
            return
        self._due_at[key] = due_at
        heapq.heappush(self._heap, (due_at, key))
        # Overtaken entries stay in the heap until their time. Rebuilding once they are the majority keeps it
        # within twice the number of keys at a constant cost per call.
        if len(self._heap) > 2 * len(self._due_at):
            self._heap = [(when, delayed) for delayed, when in self._due_at.items()]
            heapq.heapify(self._heap)

    def due(self, now: float) -> int:
        """Add every key whose time has come, earliest first. Returns how many became ready."""
        ready = 0
        while (due_at := self.next_due()) is not None and due_at <= now:
            _, key = heapq.heappop(self._heap)
            ready += self.add(key)
        return ready

    def next_due(self) -> float | None:
        """The earliest time that any key waits for."""
        while self._heap:
            due_at, key = self._heap[0]
            if self._due_at.get(key) == due_at:
                return due_at
            heapq.heappop(self._heap)
        return None

    def take(self) -> str | None:
        """Hand out the first ready key; it runs until `done`."""
        if not self._queued:
            return None
        key, _ = self._queued.popitem(last=False)
        self._running.add(key)
        return key

    def done(self, key: str) -> bool:
        """The key's pass ended. True if it is ready again, because it was added meanwhile.

        Raises ValueError if it was not running: that is a bug of the caller, and to ignore it would let
        one key run twice at once.
        """
        if key not in self._running:
            message = f"{key!r} is reported done, but it is not running"
            raise ValueError(message)
        self._running.remove(key)
        if key not in self._again:
            return False
        return self.add(key, front=self._again.pop(key))

    def clear(self) -> None:
        """Forget everything but what is running."""
        self._queued.clear()
        self._again.clear()
        self._due_at.clear()
        self._heap.clear()

    def depth(self) -> int:
        """How many keys are ready and have no worker yet."""
        return len(self._queued)

    def idle(self) -> bool:
        """Nothing is ready and nothing runs; delays may be pending."""
        return not self._queued and not self._running


class Backoff:
    """The growing delays of keys that keep failing. Not thread-safe."""

    def __init__(self, jitter: Callable[[], float]) -> None:
        """Begin with no failures. `jitter` gives numbers from 0 up to, not including, 1."""
        self._jitter = jitter
        self._step_seconds: dict[str, float] = {}  # the next one, before jitter

    def next_seconds(self, key: str) -> float:
        """The delay after one more failure of this key."""
        step = self._step_seconds.get(key, FIRST_BACKOFF_SECONDS)
        self._step_seconds[key] = min(step * BACKOFF_FACTOR, LONGEST_BACKOFF_SECONDS)
        return step * (1 + BACKOFF_JITTER * (2 * self._jitter() - 1))

    def forget(self, key: str) -> None:
        """The key is well: its next failure waits the shortest time again."""
        self._step_seconds.pop(key, None)


class WorkQueue:
    """`Schedule` for threads: triggers add keys, workers get them, one timer thread waits for delays.

    Workers wait without a time-out, because 500 timed waits cost 28.9 s of CPU where one thread on the
    clock cost 4.1 s; what ends their wait is a key or `shutdown`. Every method may be called from any thread.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Begin empty, with the timer thread not yet running.

        `monotonic` gives seconds; `jitter` gives numbers from 0 up to, not including, 1.
        """
        self._monotonic = monotonic
        self._schedule = Schedule()
        self._backoff = Backoff(jitter)
        self._is_shut_down = False
        self._lock = threading.Lock()
        self._ready = threading.Condition(self._lock)  # for the workers: a key is ready
        self._sooner = threading.Condition(self._lock)  # for the timer: a delay ends before its nap does
        self._timer = threading.Thread(target=self._wait_on_the_clock, name="workqueue-timer", daemon=True)

    def start(self) -> None:
        """Start the timer thread, once. Until then delays do not fire."""
        self._timer.start()

    def add(self, key: str, *, front: bool = False) -> None:
        """Run the key as soon as a worker is free; `front` (a person waits) goes before all that is queued.

        Queued already: once is enough. Running now: once more after that. A pending delay, also one from
        back-off, is dropped: a new commit does not wait for it.
        """
        with self._lock:
            if not self._is_shut_down and self._schedule.add(key, front=front):
                self._ready.notify()

    def add_after(self, key: str, seconds: float) -> None:
        """Run the key after `seconds`, or earlier if anything else asks for it.

        Of several delays the earliest counts, and none counts if the key is queued (or to run again)
        anyway: that pass says when to look next. A delay set while the key runs, as a pass does at its
        end, stays. Raises ValueError unless `seconds` is a finite number; 0 or less means now.
        """
        if not math.isfinite(seconds):
            message = f"the delay of {key!r} must be a number of seconds, not {seconds}"
            raise ValueError(message)
        if seconds <= 0:
            self.add(key)
            return
        with self._lock:
            self._delay(key, seconds)

    def add_backoff(self, key: str) -> float:
        """Run the key after its next back-off delay, and return that delay in seconds, for the log."""
        with self._lock:
            seconds = self._backoff.next_seconds(key)
            self._delay(key, seconds)
            return seconds

    def forget(self, key: str) -> None:
        """Reset the key's back-off, because a pass went well."""
        with self._lock:
            self._backoff.forget(key)

    def get(self, timeout: float | None = None) -> str | None:
        """Wait for a key and hand it out; `done` must follow. None after `timeout` seconds or at shutdown."""
        with self._lock:
            self._ready.wait_for(lambda: self._is_shut_down or self._schedule.depth() > 0, timeout)
            return self._schedule.take()

    def done(self, key: str) -> None:
        """The pass of this key ended. Raises ValueError if the key was not handed out."""
        with self._lock:
            if self._schedule.done(key):
                self._ready.notify()

    def depth(self) -> int:
        """How many keys are ready and have no worker yet."""
        with self._lock:
            return self._schedule.depth()

    def idle(self) -> bool:
        """Nothing is ready and nothing runs. After `shutdown`: the last pass has ended."""
        with self._lock:
            return self._schedule.idle()

    def shutdown(self) -> None:
        """Hand out nothing more, at once and for good: every `get` returns None, every add is ignored.

        Nothing is lost by this: a key is only a name, and the next start looks at every name.
        """
        with self._lock:
            self._is_shut_down = True
            self._schedule.clear()
            self._ready.notify_all()
            self._sooner.notify()

    def stop(self) -> None:
        """Shut down and wait for the timer thread to end. May be called twice, and before `start`."""
        self.shutdown()
        if self._timer.ident is not None:
            self._timer.join(JOIN_SECONDS)

    def _delay(self, key: str, seconds: float) -> None:
        """With the lock held: set the delay, and wake the timer if it would sleep too long."""
        if self._is_shut_down:
            return
        earliest = self._schedule.next_due()
        due_at = self._monotonic() + seconds
        self._schedule.add_at(key, due_at)
        if earliest is None or due_at < earliest:
            self._sooner.notify()

    def _wait_on_the_clock(self) -> None:
        with self._lock:
            while not self._is_shut_down:
                now = self._monotonic()
                self._ready.notify(self._schedule.due(now))
                next_due = self._schedule.next_due()
                nap_seconds = LONGEST_NAP_SECONDS if next_due is None else next_due - now
                self._sooner.wait(min(nap_seconds, LONGEST_NAP_SECONDS))
