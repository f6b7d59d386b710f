"""Keeps what is to be delivered to whom: messages, how far each target is, and what it did not take.

Owns the tables `outbox`, `targets` and `deliveries`. Must not know what a message means, nor when a delivery
is worth another try. Invariant: whatever a target has taken is behind its cursor once `settle` returns, and
whatever is behind the cursor without a row in `deliveries` was taken, dropped by a person, or made moot by a
newer message under the same key: nothing else is ever removed. One worker at a time delivers to a target.

A target costs one row, however much waits for it: a dead one is a cursor that stands still. Ids grow in the
order of the commits, because SQLite has one writer at a time; nothing can appear behind a cursor.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, exists, func, insert, literal, select, update

from deployer.adapters.store import codec
from deployer.adapters.store.letters import DEAD, PENDING, TARGET, Letters, TargetState, target_state
from deployer.adapters.store.tables import DELIVERIES, EVENTS, OUTBOX, TARGETS
from deployer.core.messages import as_message

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import Connection, Row

    from deployer.core.messages import Told

_NEWER = OUTBOX.alias("newer")
_IS_MOOT = exists().where(
    OUTBOX.c.key != "",
    _NEWER.c.audience == OUTBOX.c.audience,
    _NEWER.c.key == OUTBOX.c.key,
    _NEWER.c.id > OUTBOX.c.id,
)
"""A newer message says what this one would have said, or says otherwise."""

_FRESH = (
    select(OUTBOX, literal(0).label("attempts"))
    .where(
        OUTBOX.c.audience == bindparam("audience"),
        OUTBOX.c.id > bindparam("cursor"),
        ~_IS_MOOT,
    )
    .order_by(OUTBOX.c.id)
    .limit(bindparam("count"))
)
_RETRIED = (
    select(OUTBOX, DELIVERIES.c.attempts)
    .join(DELIVERIES, DELIVERIES.c.outbox_id == OUTBOX.c.id)
    .where(
        DELIVERIES.c.target == bindparam("target"),
        DELIVERIES.c.state == PENDING,
        DELIVERIES.c.next_at <= bindparam("now"),
        ~_IS_MOOT,
    )
    .order_by(OUTBOX.c.id)
    .limit(bindparam("count"))
)
_NEXT = (
    select(func.min(DELIVERIES.c.next_at))
    .join(OUTBOX, OUTBOX.c.id == DELIVERIES.c.outbox_id)
    .where(DELIVERIES.c.target == bindparam("target"), DELIVERIES.c.state == PENDING, ~_IS_MOOT)
)
_ADD = insert(OUTBOX)
_NEWEST_MARK = (
    select(OUTBOX.c.mark)
    .where(OUTBOX.c.audience == bindparam("audience"), OUTBOX.c.key == bindparam("key"))
    .order_by(OUTBOX.c.id.desc())
    .limit(1)
)
_NEWEST_EVENT = (
    select(EVENTS.c.id, EVENTS.c.sequence)
    .where(EVENTS.c.environment == bindparam("environment"))
    .order_by(EVENTS.c.sequence.desc())
    .limit(1)
)
_OF_TARGET = update(TARGETS).where(TARGETS.c.name == bindparam("target"))
_TAKEN = _OF_TARGET.values(
    cursor=func.max(TARGETS.c.cursor, bindparam("upto")),
    attempts=0,
    next_at=None,
    last_error="",
    delivered_at=bindparam("now"),
)
_PASSED = _OF_TARGET.values(cursor=func.max(TARGETS.c.cursor, bindparam("upto")))
_PAUSED = _OF_TARGET.values(
    attempts=TARGETS.c.attempts + 1, next_at=bindparam("at"), last_error=bindparam("why")
)
_DONE = delete(DELIVERIES).where(
    DELIVERIES.c.target == bindparam("target"), DELIVERIES.c.outbox_id == bindparam("id")
)
_MOOT = delete(DELIVERIES).where(
    DELIVERIES.c.target == bindparam("target"),
    DELIVERIES.c.outbox_id < bindparam("id"),
    DELIVERIES.c.outbox_id.in_(
        select(OUTBOX.c.id).where(
            OUTBOX.c.audience == bindparam("audience"), OUTBOX.c.key == bindparam("key")
        )
    ),
)
_ADD_DELIVERY = insert(DELIVERIES)
_KEEP_DELIVERY = (
    update(DELIVERIES)
    .where(DELIVERIES.c.target == bindparam("of"), DELIVERIES.c.outbox_id == bindparam("id"))
    .values(
        state=bindparam("new_state"),
        attempts=DELIVERIES.c.attempts + 1,
        next_at=bindparam("at"),
        last_error=bindparam("why"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """A message that is to be delivered. `id` lets a receiver drop a repeated one.

    `attempts` is how often its target refused this very message. `is_retry`: it is behind the cursor.
    """

    id: int
    event_id: int
    created_at: datetime
    environment: str
    kind: str
    audience: str
    key: str
    message: str
    payload: Mapping[str, Any]
    attempts: int = 0
    is_retry: bool = False


class OutboxStore(Letters):
    """The outbox for the workers of targets. Thread-safe; writing needs the daemon's own database."""

    def register(self, target: str, audience: str, *, begins_now: bool = False) -> TargetState:
        """Know this target from now on, and say how it stands.

        A new one begins with the oldest message there is for its audience, or with what comes from now on.
        """
        with self._database.reading() as connection:
            found = connection.execute(TARGET, {"target": target}).first()
        if found is None:
            with self._database.writing() as connection:
                newest = select(func.coalesce(func.max(OUTBOX.c.id), 0)).where(OUTBOX.c.audience == audience)
                cursor = connection.execute(newest).scalar_one() if begins_now else 0
                row = {"name": target, "cursor": cursor, "attempts": 0, "last_error": ""}
                connection.execute(insert(TARGETS), row)
            return TargetState(
                name=target, cursor=cursor, attempts=0, next_at=None, why="", delivered_at=None
            )
        return target_state(found)

    def due(self, target: str, audience: str, now: datetime, limit: int) -> list[OutboxRow]:
        """What may be delivered now, the oldest first: what is tried again, then what is new."""
        with self._database.reading() as connection:
            place = {"target": target, "now": codec.stamp(now), "count": limit}
            rows = [_row(one, is_retry=True) for one in connection.execute(_RETRIED, place)]
            if len(rows) < limit:
                cursor = connection.execute(TARGET, {"target": target}).one().cursor
                place = {"audience": audience, "cursor": cursor, "count": limit - len(rows)}
                rows += [_row(one) for one in connection.execute(_FRESH, place)]
        return sorted(rows, key=lambda row: row.id)

    def next_at(self, target: str) -> datetime | None:
        """When the first of those is due that this target did not take; None if there is none."""
        with self._database.reading() as connection:
            found = connection.execute(_NEXT, {"target": target}).scalar_one()
        return None if found is None else codec.unstamp(found)

    def settle(self, target: str, taken: Sequence[OutboxRow], now: datetime) -> None:
        """The target took these: durable once it returns. Whatever they make moot is gone with them."""
        if not taken:
            return
        with self._database.writing() as connection:
            fresh = max((row.id for row in taken if not row.is_retry), default=0)
            connection.execute(_TAKEN, {"target": target, "upto": fresh, "now": codec.stamp(now)})
            retried = [{"target": target, "id": row.id} for row in taken if row.is_retry]
            if retried:
                connection.execute(_DONE, retried)
            _forget_moot(connection, target, taken)

    def refuse(self, target: str, row: OutboxRow, *, why: str, at: datetime, is_dead: bool = False) -> None:
        """The target did not take this one; the others go on. It is due again `at`, or dead since then."""
        state = DEAD if is_dead else PENDING
        with self._database.writing() as connection:
            _forget_moot(connection, target, [row])
            if row.is_retry:
                kept = {"of": target, "id": row.id, "new_state": state, "why": why}
                connection.execute(_KEEP_DELIVERY, {**kept, "at": codec.stamp(at)})
                return
            connection.execute(_PASSED, {"target": target, "upto": row.id})
            connection.execute(
                _ADD_DELIVERY,
                {
                    "outbox_id": row.id,
                    "target": target,
                    "state": state,
                    "attempts": 1,
                    "next_at": codec.stamp(at),
                    "last_error": why,
                },
            )

    def pause(self, target: str, *, why: str, until: datetime) -> None:
        """The target takes nothing until then. Durable once it returns: a restart does not ask earlier."""
        with self._database.writing() as connection:
            connection.execute(_PAUSED, {"target": target, "why": why, "at": codec.stamp(until)})

    def bury(
        self, target: str, audience: str, *, why: str, at: datetime, before: datetime | None = None
    ) -> int:
        """Make dead letters of all that waits for this target, or of what is older; return how many.

        What a newer message has made moot is just passed.
        """
        with self._database.writing() as connection:
            cursor = connection.execute(TARGET, {"target": target}).one().cursor
            old = [OUTBOX.c.created_at < codec.stamp(before)] if before is not None else []
            waiting = [OUTBOX.c.audience == audience, OUTBOX.c.id > cursor, *old]
            upto = connection.execute(select(func.max(OUTBOX.c.id)).where(*waiting)).scalar_one()
            retried = select(OUTBOX.c.id).where(OUTBOX.c.id == DELIVERIES.c.outbox_id, *old)
            count = connection.execute(
                update(DELIVERIES)
                .where(DELIVERIES.c.target == target, DELIVERIES.c.state == PENDING, retried.exists())
                .values(state=DEAD, next_at=codec.stamp(at), last_error=why)
            ).rowcount
            if upto is None:
                return count
            dead = select(
                OUTBOX.c.id,
                literal(target),
                literal(DEAD),
                literal(1),
                literal(codec.stamp(at)),
                literal(why),
            ).where(*waiting, ~_IS_MOOT)
            names = ("outbox_id", "target", "state", "attempts", "next_at", "last_error")
            count += connection.execute(insert(DELIVERIES).from_select(names, dead)).rowcount
            connection.execute(_PASSED, {"target": target, "upto": upto})
        return count

    def forget(self, audience: str, targets: Collection[str], *, before: datetime, limit: int) -> int:
        """Remove messages from before that time which all these targets are done with; return how many.

        At most so many, the oldest first. `targets` are all that the audience has. What one of them did not
        take, and may be given again, stays.
        """
        done = select(func.min(TARGETS.c.cursor)).where(TARGETS.c.name.in_(sorted(targets)))
        kept = exists().where(DELIVERIES.c.outbox_id == OUTBOX.c.id)
        old = (
            select(OUTBOX.c.id)
            .where(
                OUTBOX.c.audience == audience,
                OUTBOX.c.id <= done.scalar_subquery(),
                OUTBOX.c.created_at < codec.stamp(before),
                ~kept,
            )
            .order_by(OUTBOX.c.id)
            .limit(limit)
        )
        with self._database.writing() as connection:
            return connection.execute(delete(OUTBOX).where(OUTBOX.c.id.in_(old))).rowcount

    def everything(self, limit: int) -> list[OutboxRow]:
        """Every message there is, the oldest first."""
        with self._database.reading() as connection:
            query = select(OUTBOX, literal(0).label("attempts")).order_by(OUTBOX.c.id).limit(limit)
            return [_row(row) for row in connection.execute(query)]


def write(
    connection: Connection,
    environment: str,
    given: Sequence[Told],
    *,
    at: str,
    event_id: int,
) -> None:
    """Add messages within the transaction that makes them true.

    One that says what the newest under its key says already is left out.
    """
    for one in map(as_message, given):
        place = {"audience": one.audience, "key": one.key}
        if one.mark and connection.scalar(_NEWEST_MARK, place) == one.mark:
            continue
        connection.execute(
            _ADD,
            {
                "event_id": event_id,
                "created_at": at,
                "environment": environment,
                "message": one.text,
                "kind": one.kind,
                "audience": one.audience,
                "key": one.key,
                "mark": one.mark,
                "payload": json.dumps(one.payload),
            },
        )


def write_observed(
    connection: Connection, environment: str, given: Sequence[Told], *, at: str, sequence: int
) -> None:
    """Add what was seen, if the environment's log still ends at `sequence`.

    Else an event has come between, which has told something newer already.
    """
    newest = connection.execute(_NEWEST_EVENT, {"environment": environment}).first()
    if newest is not None and newest.sequence == sequence:
        write(connection, environment, given, at=at, event_id=newest.id)


def _forget_moot(connection: Connection, target: str, rows: Sequence[OutboxRow]) -> None:
    keyed = [
        {"target": target, "id": row.id, "audience": row.audience, "key": row.key} for row in rows if row.key
    ]
    if keyed:
        connection.execute(_MOOT, keyed)


def _row(row: Row[Any], *, is_retry: bool = False) -> OutboxRow:
    return OutboxRow(
        id=row.id,
        event_id=row.event_id,
        created_at=codec.unstamp(row.created_at),
        environment=row.environment,
        kind=row.kind,
        audience=row.audience,
        key=row.key,
        message=row.message,
        payload=json.loads(row.payload),
        attempts=row.attempts,
        is_retry=is_retry,
    )
