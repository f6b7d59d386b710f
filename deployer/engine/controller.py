"""Owns the threads: starts them in order, hands names to passes, drains and stops.

Must not know what a pass decides. Invariant: one environment's pass never runs twice at once (the queue
keeps that), and a stop never waits for the outside world: a PUT that is cut off has its intent in the
store, and the next start reads back what became of it.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol, assert_never

import structlog

from deployer.engine.reconcile import After, Again, BackOff, GiveUp, NotYet, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.engine.outbox import Outbox
    from deployer.engine.systemd import Notifier
    from deployer.engine.workqueue import WorkQueue

_SPREAD_SECONDS = 0.02
"""Between the first passes of two environments: 500 at once gave the last ones a lateness of 6 s (trial)."""

_DRAIN_SECONDS = 2.0
"""How long a stop waits for passes under way. SIGTERM must end within 5 s; passes take milliseconds unless
a cluster hangs, and then waiting longer would not help."""

_QUIET_SECONDS = 45.0
"""Without a finished pass for so long, progress must be shown by a young running pass. Idle environments are
looked at every 15 s, so three looks in a row are missing."""

_LONGEST_PASS_SECONDS = 180.0
"""A pass may take a GET and a PUT with all their time-outs (10 + 10 + 120 s); an older one hangs."""

_TICK_SECONDS = 1.0
"""Between looks at whether passes still make progress."""

log = structlog.get_logger(__name__)


class Passes(Protocol):
    """What the controller needs of the reconciler."""

    def run(self, environment: str) -> Outcome:
        """Run one pass."""


class SourceThreads(Protocol):
    """What the controller needs of the git sources."""

    def start(self) -> None:
        """Start looking; each find is enqueued."""

    def stop(self, timeout_seconds: float) -> None:
        """End every look within the time."""


class Controller:
    """The engine's threads. `start` and `stop` once each."""

    def __init__(
        self,
        *,
        environments: Sequence[str],
        passes: Passes,
        queue: WorkQueue,
        sources: SourceThreads,
        outbox: Outbox,
        notifier: Notifier,
        workers: int,
    ) -> None:
        """Take the parts. `workers` is the most passes at once; more than environments are never started."""
        self._environments = tuple(environments)
        self._passes = passes
        self._queue = queue
        self._sources = sources
        self._outbox = outbox
        self._notifier = notifier
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(min(workers, len(self._environments)))
        ]
        self._running: dict[str, float] = {}
        self._finished_at = time.monotonic()
        self._stop = threading.Event()

    def start(self) -> None:
        """Start everything; when it returns, the first pass of every environment has been scheduled."""
        self._queue.start()
        self._outbox.start()
        self._sources.start()
        for position, environment in enumerate(self._environments):
            self._queue.add_after(environment, position * _SPREAD_SECONDS)
        for thread in self._threads:
            thread.start()
        count = len(self._environments)
        self._notifier.status(f"watching {count} environment{'' if count == 1 else 's'}")
        self._notifier.ready()
        log.info("ready", environments=len(self._environments), workers=len(self._threads))

    def request_stop(self) -> None:
        """Ask `run_until_stopped` to return. Safe in a signal handler."""
        self._stop.set()

    def run_until_stopped(self) -> None:
        """Wait for the stop, feeding systemd's watchdog while passes make progress."""
        every = min(_TICK_SECONDS, (self._notifier.watchdog_seconds or _TICK_SECONDS) / 3)
        while not self._stop.wait(every):
            if self.makes_progress():
                self._notifier.watchdog()

    def makes_progress(self) -> bool:
        """Whether a pass finished lately, or one is running that is too young to be called hanging."""
        now = time.monotonic()
        if now - self._finished_at < _QUIET_SECONDS:
            return True
        return any(now - started < _LONGEST_PASS_SECONDS for started in list(self._running.values()))

    def stop(self) -> None:
        """Take no more work, wait a moment for passes under way, stop every thread that can be stopped.

        A pass that hangs in a request is left behind: its thread is a daemon thread, and whatever it was
        doing has its intent in the store.
        """
        self._notifier.stopping()
        self._queue.shutdown()
        deadline = time.monotonic() + _DRAIN_SECONDS
        self._sources.stop(_DRAIN_SECONDS)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._outbox.stop()
        self._queue.stop()
        left = sorted(self._running)
        log.info("stopped", left_behind=left)

    def _work(self) -> None:
        while (environment := self._queue.get()) is not None:
            self._running[environment] = time.monotonic()
            try:
                outcome = self._passes.run(environment)
                self._schedule(environment, outcome)
            finally:
                self._running.pop(environment, None)
                self._finished_at = time.monotonic()
                self._queue.done(environment)

    def _schedule(self, environment: str, outcome: Outcome) -> None:
        """The one switch over what follows a pass."""
        match outcome:
            case Again():
                self._queue.forget(environment)
                self._queue.add(environment)
            case After(seconds=seconds):
                self._queue.forget(environment)
                self._queue.add_after(environment, seconds)
            case NotYet(seconds=seconds):
                self._queue.add_after(environment, seconds)
            case BackOff():
                self._queue.add_backoff(environment)
            case GiveUp(why=why):
                log.critical("gave_up", environment=environment, why=why)
            case _:
                assert_never(outcome)
