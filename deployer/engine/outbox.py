"""Delivers what the store's outbox holds: at least once, with an id, never in the way of a rollout.

Owns one thread for each target, and when a delivery is tried again or given up. Must not know what the
messages mean, nor how a target is reached. Invariant: a message is behind a target's cursor only once the
target took it, or its failure is in the store; what a crash cuts off is sent again with the same id; no
target waits for another one, and nothing waits for a target.

A target that takes nothing is left alone for a while, and all that is for it waits in the store; a message
that a target does not take is tried again on its own while the others go on. Who is refused again and again,
or for days, is a dead letter: kept, shown, and delivered again if a person wants it.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from deployer.adapters.store import StoreError
from deployer.core.redact import one_line
from deployer.core.scrub import first
from deployer.engine.targets import Away, Gone, LockedOut, LogTarget, OutboxStore, Patience, Refused, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from deployer.adapters.store import OutboxRow
    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.core.status import Status

_BATCH = 100
"""Rows in memory at a time, for each target."""

_SETTLE_SECONDS = 0.1
"""What was delivered within so long is marked in one commit: a crash repeats no more than that."""

_SAFETY_SECONDS = 30.0
"""Between looks that nobody asked for: a store that was unavailable is retried, nothing more."""

_JOIN_SECONDS = 1.0
"""How long a stop waits for deliveries under way. The log takes microseconds; a forge is cut off."""

_WHY = 500
"""Characters of a reason."""

_KEPT = timedelta(days=30)
"""For which messages are kept that everybody has taken: there are ten of each rollout, and more."""

_TIDY_SECONDS = 6 * 3600.0
"""Between two removals of those."""

_PATIENCE = Patience()

__all__ = ["Away", "Gone", "LockedOut", "LogTarget", "Outbox", "Patience", "Refused", "Target"]

log = structlog.get_logger(__name__)


class Outbox:
    """The threads. `start` and `stop` once each; a listener of the passes."""

    def __init__(
        self,
        store: OutboxStore,
        targets: Sequence[Target] = (LogTarget(),),
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
        patience: Patience = _PATIENCE,
    ) -> None:
        """Take the store, and the targets, each of another name."""
        self.targets = tuple(targets)
        self._deliveries: Counter[tuple[str, str]] = Counter()
        audiences: dict[str, set[str]] = {}
        for target in targets:
            audiences.setdefault(target.audience, set()).add(target.name)
        self._workers = {
            target.name: _Worker(
                store,
                target,
                self._deliveries,
                peers=frozenset(audiences[target.audience]),
                now=now,
                jitter=jitter,
                patience=patience,
            )
            for target in targets
        }

    def start(self) -> None:
        """Start the threads; what an earlier process left is delivered first."""
        for worker in self._workers.values():
            worker.start()

    def recorded(self, record: Record, event: Event) -> None:  # noqa: ARG002 - a `Listener` of the passes
        """Look soon: an event became durable, perhaps with a message. Never blocks."""
        for worker in self._workers.values():
            of = worker.target.environments
            if of is None or record.environment in of:
                worker.wake.set()

    def observed(self, status: Status) -> None:
        """Look soon where a published status may tell something. Never blocks."""
        for worker in self._workers.values():
            if worker.target.hears_of(status):
                worker.wake.set()

    def wake(self, names: Collection[str] | None = None) -> None:
        """Have these targets looked after now, as far as they are not left alone; None is all."""
        for name, worker in self._workers.items():
            if names is None or name in names:
                worker.wake.set()

    def deliveries(self) -> Mapping[tuple[str, str], int]:
        """How many since the start, by target and by what came of it: delivered, failed, dead."""
        return dict(self._deliveries)

    def leave(self) -> None:
        """Begin nothing more to elsewhere, and hold nothing against who is cut off from now on.

        Others who ask the same forge may cut it off before `stop` does.
        """
        for worker in self._workers.values():
            if not worker.target.is_here:
                worker.leave()

    def stop(self) -> None:
        """Stop. What is not delivered stays in the store for the next start."""
        for worker in self._workers.values():
            worker.stop()
        deadline = time.monotonic() + _JOIN_SECONDS
        for worker in self._workers.values():
            worker.join(max(0.0, deadline - time.monotonic()))

    def deliver_all(self) -> None:
        """Deliver, in this thread, what is due now. Raises what the store does."""
        for worker in self._workers.values():
            worker.round()


class _Worker:
    """Delivers to one target: one thread at a time, so that the order of its messages is kept."""

    def __init__(
        self,
        store: OutboxStore,
        target: Target,
        counts: Counter[tuple[str, str]],
        *,
        peers: frozenset[str],
        now: Callable[[], datetime],
        jitter: Callable[[], float],
        patience: Patience,
    ) -> None:
        self.target = target
        self.wake = threading.Event()
        self._store = store
        self._counts = counts
        self._peers = peers
        self._now = now
        self._jitter = jitter
        self._patience = patience
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"outbox-{target.name}", daemon=True)
        # As the store has it, read once: nobody else writes it. `None` until then.
        self._failures: int | None = None
        self._lockouts = 0
        self._left_until: datetime | None = None
        self._tidy_at = -math.inf

    def start(self) -> None:
        self._thread.start()

    def leave(self) -> None:
        self._stopping.set()
        self.wake.set()

    def stop(self) -> None:
        self.leave()
        self.target.interrupt()

    def join(self, seconds: float) -> None:
        if self._thread.is_alive():
            self._thread.join(seconds)

    def round(self) -> float:
        """Deliver what is due; return in how many seconds more may be."""
        self._know()
        while (left := self._left()) <= 0.0:
            rows = self._store.due(self.target.name, self.target.audience, self._now(), _BATCH)
            if not rows or not self._deliver(rows):
                break
        else:
            return left
        if (left := self._left()) > 0.0:
            return left
        at = self._store.next_at(self.target.name)
        wait = (at - self._now()).total_seconds() if at is not None else _SAFETY_SECONDS
        return min(max(wait, 0.0), _SAFETY_SECONDS)

    def tidy(self) -> None:
        """Remove what everybody took long ago, now and then; a part at a time, as passes write, too."""
        now = time.monotonic()
        if now < self._tidy_at:
            return
        self._tidy_at = now + _TIDY_SECONDS
        before = self._now() - _KEPT
        while not self._stopping.is_set():
            if self._store.forget(self.target.audience, self._peers, before=before, limit=_BATCH) < _BATCH:
                break

    def _know(self) -> None:
        if self._failures is None:
            found = self._store.register(self.target.name, self.target.audience)
            self._failures, self._left_until = found.attempts, found.next_at

    def _left(self) -> float:
        """Seconds for which the target is still left alone."""
        if self._left_until is None:
            return 0.0
        left = (self._left_until - self._now()).total_seconds()
        # A clock that was set back must not silence it for longer than any pause.
        return left if left <= 2 * max(self._patience.longest, 3600.0) else 0.0

    def _deliver(self, rows: Sequence[OutboxRow]) -> bool:
        """Deliver these in their order; whether the next ones may follow."""
        taken: list[OutboxRow] = []
        since = time.monotonic()
        try:
            for row in rows:
                if self._stopping.is_set() and not self.target.is_here:
                    return False
                try:
                    self.target.deliver(row)
                except Refused as error:
                    self._settle(taken)
                    self._refused(row, error.why)
                except LockedOut as error:
                    self._settle(taken)
                    return self._away(error, is_locked=True)
                except Away as error:
                    self._settle(taken)
                    return self._away(error)
                except Exception as error:
                    # Whatever a target does must not end the thread: the message stays, and is tried again.
                    log.exception("delivery_crashed", target=self.target.name, message_id=row.id)
                    self._settle(taken)
                    return self._away(Away(f"deployer failed on it ({type(error).__name__}): see its log"))
                else:
                    taken.append(row)
                if time.monotonic() - since >= _SETTLE_SECONDS:
                    self._settle(taken)
                    since = time.monotonic()
        finally:
            self._settle(taken)
        return True

    def _settle(self, taken: list[OutboxRow]) -> None:
        if not taken:
            return
        self._store.settle(self.target.name, taken, self._now())
        self._counts[self.target.name, "delivered"] += len(taken)
        taken.clear()
        if self._failures:
            log.info("delivery_goes_on", target=self.target.name)
        self._failures, self._lockouts, self._left_until = 0, 0, None

    def _refused(self, row: OutboxRow, why: str) -> None:
        if self._stopping.is_set():
            return
        failures, why = row.attempts + 1, _clean(why)
        is_dead = failures >= self._patience.refusals
        pause = 0.0 if is_dead else self._patience.pause(failures, self._jitter())
        self._store.refuse(
            self.target.name, row, why=why, at=self._now() + timedelta(seconds=pause), is_dead=is_dead
        )
        self._counts[self.target.name, "failed"] += 1
        if is_dead:
            self._died(1, why)
        else:
            log.warning("delivery_refused", target=self.target.name, message_id=row.id, why=why)

    def _away(self, error: Away, *, is_locked: bool = False) -> bool:
        """Leave the target alone for a while. False: nothing follows now."""
        if self._stopping.is_set():
            return False
        self._failures = (self._failures or 0) + 1
        self._lockouts = self._lockouts + 1 if is_locked else 0
        pause = self._patience.pause(self._failures, self._jitter())
        pause = max(pause, error.retry_after or 0.0)
        now, name, why = self._now(), self.target.name, _clean(error.why)
        self._left_until = now + timedelta(seconds=pause)
        self._store.pause(name, why=why, until=self._left_until)
        self._counts[name, "failed"] += 1
        if self._failures == 1:
            log.warning("delivery_waits", target=name, why=why)
        if self._lockouts >= self._patience.lockouts or isinstance(error, Gone):
            self._died(self._store.bury(name, self.target.audience, why=why, at=now), why)
            self._lockouts = 0
        else:
            before = now - timedelta(seconds=self._patience.age)
            self._died(self._store.bury(name, self.target.audience, why=why, at=now, before=before), why)
        return False

    def _died(self, count: int, why: str) -> None:
        if count:
            self._counts[self.target.name, "dead"] += count
            log.error("dead_letters", target=self.target.name, count=count, why=why)

    def _run(self) -> None:
        while True:
            is_last = self._stopping.is_set()
            wait = _SAFETY_SECONDS
            self.wake.clear()
            if not is_last or self.target.is_here:
                try:
                    wait = self.round()
                    self.tidy()
                except StoreError as error:
                    if not self._stopping.is_set():
                        log.warning("outbox_waits", target=self.target.name, error=str(error))
                except Exception:
                    # Nobody would deliver to it any more.
                    log.exception("outbox_crashed", target=self.target.name)
            if is_last:
                return
            self.wake.wait(wait)


def _clean(why: str) -> str:
    return one_line(first(why, frozenset(), _WHY))
