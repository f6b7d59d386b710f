"""What happens to the daemon itself, and what it refused to do, into the audit log.

Owns when that is written. Must not decide anything, nor know who asks. Invariant: who is refused again and
again fills no disk: the same refusal is written once a minute; and a log that cannot be written keeps nobody
from being told why, nor from revoking a token.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

import structlog

from deployer.adapters.store import Conflict, StoreError
from deployer.core.events import DAEMON_LOG, CommandRefused
from deployer.core.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from deployer.core.events import Event
    from deployer.core.record import Record

_ATTEMPTS = 20
"""To commit an event between the passes of an environment, which commit a few times a second at most."""

_AGAIN_SECONDS = 60.0

_KNOWN = 1_000
"""Refusals that are remembered: of as many persons and commands as may come within a minute."""

_WHY = 2_000
"""Characters of a sentence."""

log = structlog.get_logger(__name__)


class Store(Protocol):
    """What it needs of the store."""

    def load(self, environment: str) -> Record:
        """The record of an environment."""

    def commit(self, record: Record, events: Sequence[Event]) -> Record:
        """Append events."""


class Journal:
    """The daemon's own log, and the refusals in those of environments. Thread-safe."""

    def __init__(
        self,
        store: Store,
        *,
        environments: Collection[str],
        commit: Callable[[Record, Sequence[Event]], Record],
        now: Callable[[], datetime],
    ) -> None:
        """Take the store, for the daemon's own log, and `commit`, which also tells who listens."""
        self._store = store
        self._environments = frozenset(environments)
        self._commit = commit
        self._now = now
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, str, str], float] = OrderedDict()

    def write(self, event: Event) -> None:
        """Append to the daemon's own log: durable once it returns. Raises what the store does."""
        with self._lock:
            self._append(DAEMON_LOG, event, self._store.commit)

    def refused(self, environment: str, command: str, actor: str, why: str, reason: str = "") -> None:
        """A command of a person was refused. Never raises: they are told all the same.

        What is asked of no environment of this daemon is in its own log.
        """
        where = environment if environment in self._environments else DAEMON_LOG
        told = one_line(why)[:_WHY]
        if not self._is_news((where, command, actor, told)):
            return
        event = CommandRefused(
            at=self._now(), actor=actor, reason=one_line(reason), command=command, why=told
        )
        try:
            if where == DAEMON_LOG:
                self.write(event)
            else:
                self._append(where, event, self._commit)
        except StoreError as error:
            log.warning("refusal_not_recorded", environment=where, command=command, error=str(error))

    def _is_news(self, key: tuple[str, str, str, str]) -> bool:
        at = time.monotonic()
        with self._lock:
            before = self._known.pop(key, None)
            is_news = before is None or at - before >= _AGAIN_SECONDS
            self._known[key] = at if is_news or before is None else before
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
        return is_news

    def _append(self, where: str, event: Event, commit: Callable[[Record, Sequence[Event]], Record]) -> None:
        for attempt in range(1, _ATTEMPTS + 1):
            record = self._store.load(where)
            try:
                commit(record, (event,))
            except Conflict:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return
