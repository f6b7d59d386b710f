"""Tells people what waits for whom, and what nobody took; and does with a dead letter what they want.

Owns the questions about the tables `targets` and `deliveries`, and the end of a dead letter. Must not deliver
anything, nor know what a message means. Invariant: only a dead letter is changed here, so that a worker is
never in the way of a person, nor a person of a worker.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, func, select, update

from deployer.adapters.store import codec
from deployer.adapters.store.tables import DELIVERIES, OUTBOX, TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row, Select

    from deployer.adapters.store.sqlite import Database

PENDING, DEAD = "pending", "dead"

_LISTED = 1_000
"""Dead letters that are listed at once. More are counted."""

TARGET = select(TARGETS).where(TARGETS.c.name == bindparam("target"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """How a target stands. `attempts` failed in a row because it takes nothing, the last one because `why`.

    `next_at` is when it is asked again. `delivered_at` is when it last took something.
    """

    name: str
    cursor: int
    attempts: int
    next_at: datetime | None
    why: str
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A message that a target did not take, and is not offered any more. `why` is a sentence."""

    id: int
    target: str
    environment: str
    kind: str
    message: str
    created_at: datetime
    died_at: datetime
    attempts: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What waits for a target: how many messages, since when the oldest, and how many are dead letters."""

    count: int
    oldest_at: datetime | None
    dead: int


class Letters:
    """What waits, and what was given up, in an open database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database

    def targets(self) -> list[TargetState]:
        """Every target that there ever was, by name."""
        with self._database.reading() as connection:
            return [target_state(row) for row in connection.execute(select(TARGETS).order_by(TARGETS.c.name))]

    def waiting(self, target: str, audience: str) -> Waiting:
        """What waits for this target. What is moot by now is counted until the target is past it."""
        with self._database.reading() as connection:
            found = connection.execute(TARGET, {"target": target}).first()
            cursor = found.cursor if found is not None else 0
            fresh = connection.execute(
                select(func.count().label("count_"), func.min(OUTBOX.c.id).label("oldest")).where(
                    OUTBOX.c.audience == audience, OUTBOX.c.id > cursor
                )
            ).one()
            kept = connection.execute(
                select(
                    DELIVERIES.c.state,
                    func.count().label("count_"),
                    func.min(DELIVERIES.c.outbox_id).label("oldest"),
                )
                .where(DELIVERIES.c.target == target)
                .group_by(DELIVERIES.c.state)
            ).all()
            by_state = {row.state: row for row in kept}
            pending, dead = by_state.get(PENDING), by_state.get(DEAD)
            oldest = min(
                (one.oldest for one in (fresh, pending) if one is not None and one.oldest is not None),
                default=None,
            )
            at = connection.execute(
                select(OUTBOX.c.created_at).where(OUTBOX.c.id == oldest)
            ).scalar_one_or_none()
        return Waiting(
            count=fresh.count_ + (pending.count_ if pending is not None else 0),
            oldest_at=None if at is None else codec.unstamp(at),
            dead=dead.count_ if dead is not None else 0,
        )

    def letters(self, limit: int = _LISTED) -> list[Letter]:
        """The dead letters, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(_letters().limit(limit)).all()
        return [_letter(row) for row in rows]

    def letters_of(self, ids: Sequence[int]) -> list[Letter]:
        """The dead letters of these messages, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(_letters().where(OUTBOX.c.id.in_(ids))).all()
        return [_letter(row) for row in rows]

    def revive(self, letters: Sequence[Letter], now: datetime) -> None:
        """Have these offered again, as often as if they were new. What is dead no more is let be."""
        with self._database.writing() as connection:
            for one in letters:
                connection.execute(
                    update(DELIVERIES)
                    .where(_is(one))
                    .values(state=PENDING, attempts=0, next_at=codec.stamp(now))
                )

    def drop(self, letters: Sequence[Letter]) -> None:
        """Forget that these were not delivered. The messages themselves stay."""
        with self._database.writing() as connection:
            for one in letters:
                connection.execute(delete(DELIVERIES).where(_is(one)))


def _is(one: Letter) -> Any:  # noqa: ANN401 - a condition, whose type is SQLAlchemy's own
    return and_(
        DELIVERIES.c.target == one.target, DELIVERIES.c.outbox_id == one.id, DELIVERIES.c.state == DEAD
    )


def _letters() -> Select[Any]:
    return (
        select(
            OUTBOX,
            DELIVERIES.c.target,
            DELIVERIES.c.attempts,
            DELIVERIES.c.next_at,
            DELIVERIES.c.last_error,
        )
        .join(DELIVERIES, DELIVERIES.c.outbox_id == OUTBOX.c.id)
        .where(DELIVERIES.c.state == DEAD)
        .order_by(OUTBOX.c.id.desc(), DELIVERIES.c.target)
    )


def target_state(row: Row[Any]) -> TargetState:
    """How it stands, as a row of its table says."""
    return TargetState(
        name=row.name,
        cursor=row.cursor,
        attempts=row.attempts,
        next_at=None if row.next_at is None else codec.unstamp(row.next_at),
        why=row.last_error,
        delivered_at=None if row.delivered_at is None else codec.unstamp(row.delivered_at),
    )


def _letter(row: Row[Any]) -> Letter:
    return Letter(
        id=row.id,
        target=row.target,
        environment=row.environment,
        kind=row.kind,
        message=row.message,
        created_at=codec.unstamp(row.created_at),
        died_at=codec.unstamp(row.next_at),
        attempts=row.attempts,
        why=row.last_error,
    )
