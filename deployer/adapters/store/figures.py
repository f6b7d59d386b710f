"""Counts over the store, for metrics: rollouts by how they ended, messages not yet delivered, bytes on disk.

Owns the questions whose answers are numbers. Must not write, nor decode anything. Invariant: works while the
daemon writes, on connections of its own; what is asked at each scrape reads an index, and nothing that grows
with the history.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from deployer.adapters.store import codec
from deployer.adapters.store.letters import Letters, Waiting
from deployer.adapters.store.sqlite import Database
from deployer.adapters.store.tables import EVENTS, ROLLOUTS

if TYPE_CHECKING:
    from pathlib import Path

_FILES = ("", "-wal", "-shm")
"""What SQLite keeps beside one another."""

_GROUP = (ROLLOUTS.c.environment, ROLLOUTS.c.kind, ROLLOUTS.c.result)
_NEWEST = (
    select(*_GROUP, func.count().label("count"), func.max(ROLLOUTS.c.started_event).label("newest"))
    .group_by(*_GROUP)
    .subquery()
)
# Counted on an index; only the newest row of each group is read for its end.
_ENDED = (
    select(
        _NEWEST.c.environment,
        _NEWEST.c.kind,
        _NEWEST.c.result,
        _NEWEST.c.count.label("count_"),
        ROLLOUTS.c.finished_at,
    )
    .join(ROLLOUTS, ROLLOUTS.c.started_event == _NEWEST.c.newest)
    .where(ROLLOUTS.c.finished_at.is_not(None))
)


_NEWEST_EVENT = select(func.max(EVENTS.c.id))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How many rollouts of one kind ended in one way, and when the newest of them did."""

    environment: str
    kind: str
    result: str
    count: int
    newest_at: datetime


class Figures:
    """The store for counting. Thread-safe."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet. The file has this version's schema: the daemon has opened its store."""
        self._path = path
        self._database = Database(path, read_only=True)
        self._outbox = Letters(self._database)

    def close(self) -> None:
        """Close every connection. Later calls raise StoreUnavailable; closing again does nothing."""
        self._database.close()

    def ended(self) -> list[Ended]:
        """All rollouts that ended, counted. Walks one index: for the start, not for every scrape."""
        with self._database.reading() as connection:
            rows = connection.execute(_ENDED).all()
        return [
            Ended(
                environment=row.environment,
                kind=row.kind,
                result=row.result,
                count=row.count_,
                newest_at=codec.unstamp(row.finished_at),
            )
            for row in rows
        ]

    def waiting(self, target: str, audience: str) -> Waiting:
        """The messages that wait to be delivered to this target, and its dead letters."""
        return self._outbox.waiting(target, audience)

    def newest_event(self) -> int:
        """The id of the newest event; they have no gaps, so it is also how many there are."""
        with self._database.reading() as connection:
            return connection.execute(_NEWEST_EVENT).scalar() or 0

    def size_bytes(self) -> int:
        """What the store takes on disk, with SQLite's log. What cannot be seen counts nothing."""
        size = 0
        for suffix in _FILES:
            with suppress(OSError):
                size += self._path.with_name(self._path.name + suffix).stat().st_size
        return size
