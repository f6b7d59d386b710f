"""Which events are of rollouts that ended in one way, as conditions of a SELECT.

Owns how they are found part by part of the log: that a result is rare or frequent is not known to an index
of events, and a walk through all of them would take seconds. Must not run anything. Invariant: a part has
every event of such a rollout between its two ends, also of one that began before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, union_all

from deployer.adapters.store.tables import EVENTS, RECORDS, ROLLOUTS
from deployer.core.record import Result

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement, ScalarSelect, Select

    from deployer.adapters.store.filters import EventFilter

_NOT_OF: dict[str | None, str | None] = {
    "seen": None,
    **{end.value: end.value for end in (Result.GOOD, Result.FAILED, Result.SUPERSEDED, Result.CANCELLED)},
}
"""What a rollout's result must be to have an event of this frequent or last type; None: it is of none."""


_LAST = 2
"""Rollouts of an environment that began before an event, and may have later ones: see `of_rollouts`."""


def edge(wanted: EventFilter, place: int | None, count: int) -> Select[Any]:
    """Where the part of the log ends that has the next `count` rollouts which ended as asked.

    With `after` it begins at `place` and goes on to later ones, before which it ends; else it ends before
    `place` (None: with the log), goes back to earlier ones, and begins with the last of them.
    """
    started = ROLLOUTS.c.started_event
    query = select(started).where(*_rollouts(wanted)).limit(1)
    if wanted.after is not None:
        return query.where(started >= place).order_by(started).offset(count)
    if place is not None:
        query = query.where(started < place)
    return query.order_by(started.desc()).offset(count - 1)


def of_rollouts(wanted: EventFilter, low: int, high: int | None) -> list[ColumnElement[bool]]:
    """The event is of a rollout that ended as asked, and in the part of the log that is looked at.

    There are those rollouts that began in this part; and, as each environment has one rollout at a time and
    is told no more of one that ended once the next has ended, the two that began last before it.
    """
    started, number = ROLLOUTS.c.started_event, plain(EVENTS.c.id)
    # By their starts: an index has those beside the result, and the rows themselves are long.
    begun = select(started).where(*_rollouts(wanted), started >= low)
    conditions = [number >= low]
    if high is not None:
        begun = begun.where(started < high)
        conditions.append(number < high)
    records = select(RECORDS.c.environment).where(*_in(RECORDS.c.environment, wanted))
    # None began before the first event.
    earlier = range(_LAST if low > 1 else 0)
    before = [records.with_only_columns(_before(low, nth)).select_from(RECORDS) for nth in earlier]
    chosen = ROLLOUTS.alias("chosen")
    rollouts = select(chosen.c.id).where(
        chosen.c.started_event.in_(union_all(begun, *before)), chosen.c.result == wanted.result
    )
    return [EVENTS.c.rollout.in_(rollouts), *conditions]


def is_of_one(result: str) -> ColumnElement[bool]:
    """The event is of a rollout that ended so: looked up for each event that something else found."""
    conditions = (ROLLOUTS.c.id == EVENTS.c.rollout, ROLLOUTS.c.result == result)
    return select(ROLLOUTS.c.id).where(*conditions).correlate(EVENTS).exists()


def is_never(wanted: EventFilter) -> bool:
    """Whether no event of the type can be of a rollout that ended so. It would take a walk of all to see."""
    if wanted.result is None:
        return False
    return _NOT_OF.get(wanted.type, wanted.result) != wanted.result


def plain(number: Column[int]) -> ColumnElement[int]:
    """The number, without what is known of its order: no index is chosen for it."""
    return number.op("+", return_type=number.type)(0)


def _before(low: int, nth: int) -> ScalarSelect[int]:
    """Of each environment of the records: the start of the last rollout before this event, or one earlier."""
    one = ROLLOUTS.alias("earlier")
    return (
        select(one.c.started_event)
        .where(one.c.environment == RECORDS.c.environment, one.c.started_event < low)
        .order_by(one.c.started_event.desc())
        .limit(1)
        .offset(nth)
        .correlate(RECORDS)
        .scalar_subquery()
    )


def _rollouts(wanted: EventFilter) -> list[ColumnElement[bool]]:
    """The rollout ended as asked, in an environment that is asked for."""
    return [ROLLOUTS.c.result == wanted.result, *_in(ROLLOUTS.c.environment, wanted)]


def _in(column: Column[str], wanted: EventFilter) -> list[ColumnElement[bool]]:
    if wanted.environment is not None:
        return [column == wanted.environment]
    if wanted.environments is not None:
        # Without an index of environments: each would be looked up, and all of them then sorted.
        return [column.concat("").in_(sorted(wanted.environments))]
    return []
