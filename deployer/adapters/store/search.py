"""Reads the store for the faces: the newest rollouts of every environment, history and log with filters.

Owns the SELECTs that go over many rows. Must not write, nor know what is made of the answer. Invariant:
whatever is asked, a page costs no more than one walk along an index, and no config is read: what comes out
can hold no secret value.

Pages go by the id of an event (for a rollout: of the one that started it). Ids only grow, so a page is the
same however many are added after it, and clocks that go back do not matter.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import bindparam, func, select

from deployer.adapters.store import codec, ended
from deployer.adapters.store.errors import StoreCorrupt
from deployer.adapters.store.filters import (
    EventFilter,
    Known,
    RolloutFilter,
    by_actor,
    event_ids,
    in_period,
    is_by_result,
    rollout_conditions,
)
from deployer.adapters.store.tables import EVENTS, MENTIONS, RECORDS, ROLLOUTS, VIEWS
from deployer.core.events import DAEMON, Event
from deployer.core.history import Entry
from deployer.core.record import Result
from deployer.core.types import ServeConfig

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from sqlalchemy import ColumnElement, Row

    from deployer.adapters.store.sqlite import Database

    AnyRow = Row[*tuple[Any, ...]]

T = TypeVar("T")

_SHORT = 20_000
"""Events of a period that are sorted sooner (10 ms) than others are walked through."""

_MORE = 16
"""Times as many rollouts in each further part of the log, where the first did not have the whole page. Each
part asks for the rollouts before it in every environment, so a rare result must not take many of them."""

_REST = 3
"""From this part on all that is left is one part: to find where the next would end takes a walk through all
rollouts. But for rollouts that ended well, which are most of them."""

_NEWEST = select(func.max(EVENTS.c.id))
# `+ 0`, or SQLite would walk the table from its end to find the greatest, row by row.
_LAST_BEFORE = select(func.max(EVENTS.c.id.op("+")(0))).where(EVENTS.c.at < bindparam("until"))
_ALL_SINCE = select(func.count(), func.min(EVENTS.c.id.op("+")(0))).where(EVENTS.c.at >= bindparam("until"))
_AT = select(EVENTS.c.at).where(EVENTS.c.id == bindparam("id"))
# Not DISTINCT: SQLite would walk the whole index of environments for it.
_CHANGED = select(EVENTS.c.environment).where(EVENTS.c.id > bindparam("after"))

# The start of the oldest bar of each environment by one short walk, where a window function would sort all
# 100,000 rollouts (measured: 12 ms against 290 ms).
_OLDEST_BAR = (
    select(ROLLOUTS.c.started_event)
    .where(ROLLOUTS.c.environment == RECORDS.c.environment)
    .order_by(ROLLOUTS.c.started_event.desc())
    .limit(1)
    .offset(bindparam("more"))
    .correlate(RECORDS)
    .scalar_subquery()
)
_BARS = (
    select(
        ROLLOUTS.c.environment,
        ROLLOUTS.c.id,
        ROLLOUTS.c.kind,
        ROLLOUTS.c.result,
        ROLLOUTS.c.started_at,
        ROLLOUTS.c.finished_at,
    )
    .select_from(RECORDS)
    .join(
        ROLLOUTS,
        (ROLLOUTS.c.environment == RECORDS.c.environment)
        & (ROLLOUTS.c.started_event >= func.coalesce(_OLDEST_BAR, 0)),
    )
    .where(RECORDS.c.environment.in_(bindparam("environments", expanding=True)))
    .order_by(ROLLOUTS.c.started_event)
)
_LOOKS = select(VIEWS.c.environment, VIEWS.c.at)
_VIEWS = select(VIEWS.c.environment, VIEWS.c.at, VIEWS.c.data).where(
    VIEWS.c.environment.in_(bindparam("environments", expanding=True))
)
_ROLLOUT = select(ROLLOUTS.c.started_event, ROLLOUTS.c.data).where(ROLLOUTS.c.id == bindparam("id"))
_GOOD_BEFORE = (
    select(ROLLOUTS.c.data)
    .where(
        ROLLOUTS.c.environment == bindparam("environment"),
        ROLLOUTS.c.started_event < bindparam("before"),
        ROLLOUTS.c.result == Result.GOOD.value,
    )
    .order_by(ROLLOUTS.c.started_event.desc())
    .limit(1)
)
_OF_ROLLOUT = select(EVENTS).where(EVENTS.c.rollout == bindparam("rollout")).order_by(EVENTS.c.id)
_SEEN_BEFORE = (
    select(EVENTS)
    .join(MENTIONS, MENTIONS.c.event_id == EVENTS.c.id)
    .where(
        MENTIONS.c.digest == bindparam("digest"),
        EVENTS.c.environment == bindparam("environment"),
        EVENTS.c.type == "seen",
        EVENTS.c.id < bindparam("before"),
    )
    .order_by(EVENTS.c.id.desc())
    .limit(1)
)
_SAW = (
    select(EVENTS.c.environment)
    .distinct()
    .join(MENTIONS, MENTIONS.c.event_id == EVENTS.c.id)
    .where(MENTIONS.c.digest == bindparam("digest"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A rollout as one bar of many. Times as they are stored (`codec.stamp`)."""

    id: str
    kind: str
    result: str
    started_at: str
    finished_at: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A rollout and its place in the history: the id of the event that started it."""

    place: int
    entry: Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """An event as it stands in the log. The configs in it are empty but for their digests."""

    id: int
    environment: str
    sequence: int
    rollout: str
    hash: str
    event: Event


class Search:
    """What the faces ask of the store. Thread-safe, also while the daemon writes."""

    def __init__(self, database: Database, *, short: int = _SHORT) -> None:
        """Take an open database with this version's schema. `short` is for tests: fewer events."""
        self._database = database
        self._short = short

    @property
    def database(self) -> Database:
        """The open database, for what else is asked of it (`Moments`)."""
        return self._database

    # --- all environments at once --------------------------------------------------------------------

    def newest_event(self) -> int:
        """The id of the newest event of all; 0 before the first."""
        with self._database.reading() as connection:
            return connection.execute(_NEWEST).scalar_one() or 0

    def changed_since(self, event: int) -> frozenset[str]:
        """The environments that have newer events than this one."""
        with self._database.reading() as connection:
            return frozenset(connection.scalars(_CHANGED, {"after": event}))

    def bars(self, environments: Collection[str], count: int) -> dict[str, list[Bar]]:
        """The newest rollouts of each, oldest first; those without any are left out."""
        values = {"environments": list(environments), "more": count - 1}
        found: dict[str, list[Bar]] = {}
        with self._database.reading() as connection:
            for environment, id_, kind, result, started_at, finished_at in connection.execute(_BARS, values):
                bar = Bar(id=id_, kind=kind, result=result, started_at=started_at, finished_at=finished_at)
                found.setdefault(environment, []).append(bar)
        return found

    def looks(self, environment: str | None = None) -> dict[str, str]:
        """When each environment, or this one, was last looked at. What was seen is not read."""
        query = _LOOKS if environment is None else _LOOKS.where(VIEWS.c.environment == environment)
        with self._database.reading() as connection:
            return {name: at for name, at in connection.execute(query).all()}  # noqa: C416 - rows are no tuples

    def views(self, environments: Collection[str]) -> dict[str, tuple[str, str]]:
        """Of each: when it was looked at, and the status as JSON text; those never looked at are left out."""
        with self._database.reading() as connection:
            rows = connection.execute(_VIEWS, {"environments": list(environments)}).all()
        return {name: (at, data) for name, at, data in rows}

    def saw(self, digest: str) -> frozenset[str]:
        """The environments in which git ever wanted this digest, or somebody wanted it back."""
        with self._database.reading() as connection:
            return frozenset(connection.scalars(_SAW, {"digest": digest}))

    # --- rollouts --------------------------------------------------------------------------------------

    def rollouts(self, wanted: RolloutFilter, *, limit: int, before: int | None = None) -> list[Placed]:
        """The newest that fit, newest first; only those before this place, if one is given."""
        conditions = rollout_conditions(wanted)
        if conditions is None:
            return []
        if before is not None:
            conditions.append(ROLLOUTS.c.started_event < before)
        # First the places, from an index that has every column that is filtered by; then the few rows.
        places = select(ROLLOUTS.c.started_event).where(*conditions)
        places = places.order_by(ROLLOUTS.c.started_event.desc()).limit(limit)
        query = (
            select(ROLLOUTS.c.id, ROLLOUTS.c.started_event, ROLLOUTS.c.data)
            .where(ROLLOUTS.c.started_event.in_(places))
            .order_by(ROLLOUTS.c.started_event.desc())
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [self._placed(row) for row in rows]

    def rollout(self, rollout: str) -> Placed | None:
        """The rollout of this id."""
        with self._database.reading() as connection:
            row = connection.execute(_ROLLOUT, {"id": rollout}).one_or_none()
        return None if row is None else self._placed(row)

    def good_before(self, environment: str, place: int) -> Entry | None:
        """The rollout that was the last to end well before the one at this place began."""
        with self._database.reading() as connection:
            row = connection.execute(_GOOD_BEFORE, {"environment": environment, "before": place}).first()
        return None if row is None else self._entry(row.data)

    # --- the log ---------------------------------------------------------------------------------------

    def events_of(self, rollout: str) -> list[Logged]:
        """All of a rollout's events, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(_OF_ROLLOUT, {"rollout": rollout}).all()
        return [self._logged(row) for row in rows]

    def seen_before(self, environment: str, digest: str, event: int) -> Logged | None:
        """When git was last seen to want this digest, before this event."""
        values = {"environment": environment, "digest": digest, "before": event}
        with self._database.reading() as connection:
            row = connection.execute(_SEEN_BEFORE, values).first()
        return None if row is None else self._logged(row)

    def events(self, wanted: EventFilter, *, limit: int) -> list[Logged]:
        """The newest that fit, newest first; with `after`, the oldest after that one, oldest first."""
        known = Known(
            is_short=self._are_few(in_period(wanted)),
            is_rare_actor=self._is_rare(wanted),
            end=self._end(wanted),
        )
        if not is_by_result(wanted, known):
            return self._page(wanted, limit, known)
        found: list[Logged] = []
        for part in self._parts(wanted, limit, known):
            found += self._page(wanted, limit - len(found), part)
            if len(found) >= limit:
                break
        return found

    def _page(self, wanted: EventFilter, limit: int, known: Known) -> list[Logged]:
        ids = event_ids(wanted, limit, known)
        if ids is None:
            return []
        order = EVENTS.c.id if wanted.after is not None else EVENTS.c.id.desc()
        query = select(EVENTS).where(EVENTS.c.id.in_(ids)).order_by(order).limit(limit)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [self._logged(row) for row in rows]

    def _parts(self, wanted: EventFilter, limit: int, known: Known) -> Iterator[Known]:
        """The parts of the log that may have the page, from where it begins, each with some rollouts.

        Each rollout has an event, so that the first part is enough, unless other filters take events away.
        """
        is_forward = wanted.after is not None
        last = None if known.end is None else known.end + 1
        high = min((one for one in (wanted.before, last) if one is not None), default=None)
        place, count = high if wanted.after is None else wanted.after + 1, limit
        for number in itertools.count(1):
            edge = None
            if number < _REST or wanted.result == Result.GOOD.value:
                with self._database.reading() as connection:
                    edge = connection.execute(ended.edge(wanted, place, count)).scalar_one_or_none()
            low_high = (place, edge) if is_forward else (edge, place)
            yield replace(known, low=low_high[0] or 0, high=low_high[1])
            if edge is None or (is_forward and high is not None and edge >= high):
                return
            place, count = edge, count * _MORE

    def _are_few(self, conditions: Sequence[ColumnElement[bool]]) -> bool:
        """Whether few events fit; no conditions are not few."""
        if not conditions:
            return False
        some = select(EVENTS.c.id).where(*conditions).limit(self._short).subquery()
        with self._database.reading() as connection:
            return connection.execute(select(func.count()).select_from(some)).scalar_one() < self._short

    def _is_rare(self, wanted: EventFilter) -> bool:
        """Whether few events are of the actor. Only asked where rollouts of a result are the other choice."""
        if wanted.result is None or wanted.actor is None or wanted.actor == DAEMON:
            return False
        return all(self._are_few(conditions) for conditions in by_actor(wanted.actor))

    def _end(self, wanted: EventFilter) -> int | None:
        """The last id of the period asked for; None if no period ends, or few events came later.

        Clocks go back, so before it there can be events that are not of the period.
        """
        if wanted.until is None or self._are_few([EVENTS.c.at >= codec.stamp(wanted.until)]):
            return None
        until = {"until": codec.stamp(wanted.until)}
        with self._database.reading() as connection:
            newest = connection.execute(_NEWEST).scalar_one() or 0
            middle = connection.execute(_AT, {"id": newest // 2}).scalar_one_or_none()
            if middle is not None and middle < until["until"]:
                # The shorter part is walked: if no clock went back, what came later has all the last ids.
                count, first = connection.execute(_ALL_SINCE, until).one()
                if first == newest - count + 1:
                    return int(first) - 1
            # 0 if there is none, as no event has this id.
            return connection.execute(_LAST_BEFORE, until).scalar_one() or 0

    # --- decoding --------------------------------------------------------------------------------------

    def _placed(self, row: AnyRow) -> Placed:
        return Placed(place=row.started_event, entry=self._entry(row.data))

    def _entry(self, data: str) -> Entry:
        return self._decode(codec.ENTRY, data, "a rollout")

    def _logged(self, row: AnyRow) -> Logged:
        return Logged(
            id=row.id,
            environment=row.environment,
            sequence=row.sequence,
            rollout=row.rollout,
            hash=row.hash,
            event=self._decode(codec.EVENT, row.data, f"event {row.sequence} of {row.environment}"),
        )

    def _decode(self, form: codec.Codec[T], data: str, what: str) -> T:
        try:
            return form.decode(data, _unread)
        except codec.Unreadable as error:
            message = (
                f"{self._database.path}: cannot read {what}: {error}. A newer version of deployer wrote it, "
                "or it was changed. Install the version that wrote it, or restore a backup."
            )
            raise StoreCorrupt(message) from error


def _unread(digest: str) -> ServeConfig:
    """A config that nobody needs to read: a thousand of them would cost as many reads, and hold secrets."""
    return ServeConfig(text="", digest=digest)
