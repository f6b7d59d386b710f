"""Delivers what the store's outbox holds: at least once, in order, never in the way of a rollout.

Owns the delivery loop. Must not know what the messages mean. Invariant: a row is marked delivered only
after its target took it, so a crash in between sends it again with the same id.

The one target of this version is the log: an operator's journal gets one sentence for every ending of a
rollout, also for one that a crash cut off between its commit and its message.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import structlog

from deployer.adapters.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.core.status import Status

_BATCH = 100
"""Rows per look. They are one line each."""

_SAFETY_SECONDS = 30.0
"""Between looks that nobody asked for: a store that was unavailable is retried, nothing more."""

_JOIN_SECONDS = 1.0
"""How long a stop waits for a delivery under way. The log takes microseconds."""

log = structlog.get_logger(__name__)


class Row(Protocol):
    """One message of the outbox."""

    @property
    def id(self) -> int:
        """The id that a receiver may use to drop a repeated message."""

    @property
    def environment(self) -> str:
        """Whose message it is."""

    @property
    def message(self) -> str:
        """The sentence."""


class OutboxStore(Protocol):
    """What the outbox needs of the store."""

    def undelivered(self, limit: int) -> Sequence[Row]:
        """The oldest rows not yet delivered."""

    def mark_delivered(self, ids: Sequence[int]) -> None:
        """Durable once it returns."""

    def mark_failed(self, ids: Sequence[int]) -> None:
        """Count an attempt; the rows stay. Durable once it returns."""


def to_log(row: Row) -> None:
    """Deliver to the log."""
    log.info("announced", environment=row.environment, message_id=row.id, message=row.message)


class Outbox:
    """One thread that delivers when woken, and now and then by itself."""

    def __init__(self, store: OutboxStore, deliver: Callable[[Row], None] = to_log) -> None:
        """Take the store, and the target: `deliver` returns once the target took the message."""
        self._store = store
        self._deliver = deliver
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Start the thread; what an earlier process left is delivered first."""
        self._wake.set()
        self._thread.start()

    def recorded(self, record: Record, event: Event) -> None:  # noqa: ARG002 - a `Listener` of the passes
        """Look soon: an event became durable, perhaps with a message. Never blocks."""
        self._wake.set()

    def observed(self, status: Status) -> None:
        """Nothing to deliver: a wait writes nothing."""

    def stop(self) -> None:
        """Stop. What is not delivered stays in the store for the next start."""
        self._stopping.set()
        self._wake.set()
        self._thread.join(_JOIN_SECONDS)

    def deliver_all(self) -> int:
        """Deliver what there is now; return how many. One that fails ends the round: order is kept."""
        count = 0
        while rows := self._store.undelivered(_BATCH):
            for row in rows:
                try:
                    self._deliver(row)
                except Exception:
                    # Whatever a target does must not end the thread: the message stays, and is tried again.
                    log.exception("delivery_failed", message_id=row.id)
                    self._store.mark_failed([row.id])
                    return count
                self._store.mark_delivered([row.id])
                count += 1
        return count

    def _run(self) -> None:
        while True:
            self._wake.wait(_SAFETY_SECONDS)
            self._wake.clear()
            try:
                self.deliver_all()
            except StoreError as error:
                if not self._stopping.is_set():
                    log.warning("outbox_waits", error=str(error))
            if self._stopping.is_set():
                return
