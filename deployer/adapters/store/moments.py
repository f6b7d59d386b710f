"""Reads the store for one question: what was live in an environment at a moment, and who brought it.

Owns the SELECTs that find the few rows of which `core.past` and `core.provenance` tell. Must not decide what
they mean. Invariant: everything is read in one transaction, by a search in an index; and what is told is
what all rows together would tell, but for what `_NEAR` bounds.

A moment is looked for by bisection, over ids of events: the index of an environment's rollouts has no time.
Where a clock was set back a time came twice, and the later one, in the log's order, is meant: that is found
if the clock was set back over fewer rollouts than are read at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, or_, select

from deployer.adapters.store import codec
from deployer.adapters.store.search import Search
from deployer.adapters.store.tables import EVENTS, MENTIONS, ROLLOUTS
from deployer.core import past
from deployer.core.events import Kind, Observed, SyncAsked
from deployer.core.provenance import Provenance, provenance
from deployer.core.record import Result

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

    from deployer.adapters.store.search import AnyRow, Logged, Placed
    from deployer.adapters.store.sqlite import Database
    from deployer.core.events import Event

_PAGE = 20
"""Rollouts that are read at a time: mostly the live one and the next are among them."""

_NEAR = 2000
"""Events of the environment, before and after a deploy began, among which a promotion is looked for by its
copy or its merge: the log can be searched for the commit that was promoted, not for these. 200 rollouts."""

_LAST = 2**63 - 1
"""The greatest id that there can be."""

_OPINIONS = ("approved", "rejected")
_GO = "sync_asked"
_PROMOTIONS = ("promotion_asked", "promoted", "proposed", "promotion_failed")

_ENVIRONMENT = ROLLOUTS.c.environment == bindparam("environment")
_OF_ENVIRONMENT = EVENTS.c.environment == bindparam("environment")
_NEWEST_FIRST = ROLLOUTS.c.started_event.desc()
_NOT_AFTER = ROLLOUTS.c.started_event <= bindparam("place")
_ROWS = (
    select(ROLLOUTS.c.id, ROLLOUTS.c.started_event, ROLLOUTS.c.data)
    .where(_ENVIRONMENT)
    .limit(bindparam("count"))
)
_IS_GOOD = and_(ROLLOUTS.c.result == Result.GOOD.value, ROLLOUTS.c.finished_at <= bindparam("at"))
_IS_RELEASE = and_(ROLLOUTS.c.digest == bindparam("digest"), ROLLOUTS.c.revision == bindparam("revision"))

# When the last of the first so many rollouts began.
_BEGAN = (
    select(ROLLOUTS.c.started_event, ROLLOUTS.c.started_at)
    .where(_ENVIRONMENT, _NOT_AFTER)
    .order_by(_NEWEST_FIRST)
    .limit(1)
)
_BACK = _ROWS.where(_NOT_AFTER).order_by(_NEWEST_FIRST)
_ON = _ROWS.where(ROLLOUTS.c.started_event > bindparam("place")).order_by(ROLLOUTS.c.started_event)
_OTHER = _BACK.where(ROLLOUTS.c.digest != bindparam("digest"))
_IS_NO_DEPLOY = and_(ROLLOUTS.c.kind != Kind.DEPLOY.value, ROLLOUTS.c.started_at <= bindparam("at"))
_WAY_BACK = _BACK.where(or_(_IS_NO_DEPLOY, _IS_GOOD))
_MADE_GOOD = _BACK.where(_IS_GOOD, _IS_RELEASE)
_BROUGHT = _BACK.where(ROLLOUTS.c.kind == Kind.DEPLOY.value, _IS_RELEASE)
_GOOD_SINCE = (
    select(EVENTS)
    .join(ROLLOUTS, ROLLOUTS.c.id == EVENTS.c.rollout)
    .where(
        _ENVIRONMENT,
        ROLLOUTS.c.started_event > bindparam("after"),
        ROLLOUTS.c.started_event < bindparam("place"),
        ROLLOUTS.c.digest == bindparam("digest"),
        ROLLOUTS.c.result == Result.GOOD.value,
        EVENTS.c.type.concat("") == "good",
    )
    .order_by(_NEWEST_FIRST)
    .limit(1)
)

# `column || ''` has no index: see `filters`.
_OBSERVED = (
    select(EVENTS)
    .where(
        EVENTS.c.rollout == bindparam("rollout"),
        EVENTS.c.type.concat("") == "observed",
        EVENTS.c.at.concat("") <= bindparam("at"),
    )
    .order_by(EVENTS.c.id.desc())
    .limit(1)
)
_WANTED_ANOTHER = (
    select(EVENTS)
    .join(MENTIONS, MENTIONS.c.event_id == EVENTS.c.id)
    .where(
        _OF_ENVIRONMENT,
        EVENTS.c.id < bindparam("place"),
        EVENTS.c.type.concat("") == "seen",
        MENTIONS.c.digest.concat("") != bindparam("digest"),
    )
    .order_by(EVENTS.c.id.desc())
    .limit(1)
)


def _mentioned(*conditions: ColumnElement[bool]) -> Select[Any]:
    """The events of the environment that mention something, and have one of these types."""
    return (
        select(EVENTS)
        .join(MENTIONS, MENTIONS.c.event_id == EVENTS.c.id)
        .where(
            *conditions,
            EVENTS.c.environment.concat("") == bindparam("environment"),
            EVENTS.c.type.concat("").in_(bindparam("types", expanding=True)),
        )
    )


_OF_DIGEST = _mentioned(
    MENTIONS.c.digest == bindparam("digest"),
    MENTIONS.c.event_id > bindparam("after"),
    MENTIONS.c.event_id < bindparam("place"),
)
_OF_COMMITS = _mentioned(MENTIONS.c.revision.in_(bindparam("revisions", expanding=True)))


def _near(*, is_before: bool) -> Select[Any]:
    """The promotions among the events around a place."""
    side = EVENTS.c.id < bindparam("place") if is_before else EVENTS.c.id > bindparam("place")
    order = EVENTS.c.id.desc() if is_before else EVENTS.c.id
    some = select(EVENTS.c.id).where(_OF_ENVIRONMENT, side).order_by(order).limit(_NEAR)
    return select(EVENTS).where(
        EVENTS.c.id.in_(some), EVENTS.c.type.concat("").in_(bindparam("types", expanding=True))
    )


_BEFORE, _AFTER = _near(is_before=True), _near(is_before=False)


class Moments(Search):
    """What was live, and when. Thread-safe, also while the daemon writes."""

    def __init__(self, database: Database, *, page: int = _PAGE) -> None:
        """Take an open database with this version's schema. `page` is for tests: fewer rollouts."""
        super().__init__(database)
        self._rollouts_of_a_page = page

    def at(
        self, environment: str, at: datetime, shown: Callable[[Event], Event] = lambda event: event
    ) -> tuple[past.Past, Provenance | None]:
        """What was live at this moment, and who brought that release; None if nothing was, or nobody knows.

        `shown` is an event as the caller may see it.
        """
        # Also what only another calendar has, as the year 10000.
        stamp = codec.stamp(at)
        with self._database.reading() as connection:
            question = _Question(
                connection,
                self._placed,
                self._logged,
                environment=environment,
                stamp=stamp,
                shown=shown,
                page=self._rollouts_of_a_page,
            )
            return question.answer()


class _Question:
    """One question, in one transaction."""

    def __init__(
        self,
        connection: Connection,
        placed: Callable[[AnyRow], Placed],
        logged: Callable[[AnyRow], Logged],
        *,
        environment: str,
        stamp: str,
        shown: Callable[[Event], Event],
        page: int,
    ) -> None:
        self._connection = connection
        self._as_placed = placed
        self._as_logged = logged
        self._environment = environment
        self._stamp = stamp
        self._at = codec.unstamp(stamp)
        self._shown = shown
        self._page = page
        self._found: dict[int, Placed] = {}

    def answer(self) -> tuple[past.Past, Provenance | None]:
        place = self._place()
        self._look_on(place)
        self._look_back(place)
        found = self._told()
        live = self._placed(found)
        newest = max(self._found, default=0)
        self._look_for_way_back(newest)
        if live is None:
            return self._told(), None
        self._look_for_other(live)
        found = self._told()
        if past.is_judging(found):
            found = past.with_seen(found, self._last_seen(live))
        return found, self._who(live)

    def _told(self) -> past.Past:
        entries = [self._found[place].entry for place in sorted(self._found)]
        return past.was_live(self._environment, entries, self._at)

    def _placed(self, found: past.Past) -> Placed | None:
        """The live rollout with its place."""
        rollout = found.live.rollout.id if found.live is not None else None
        return next((one for one in self._found.values() if one.entry.id == rollout), None)

    def _place(self) -> int:
        """The place of a rollout that had begun by then, where the next one had not; 0 if none had."""
        newest, began = self._began(_LAST)
        if began <= self._stamp:
            return newest
        # Up to `low` all that is known of began by then; what is at `high` did not.
        low, high = 0, newest
        while high - low > 1:
            middle = (low + high) // 2
            place, began = self._began(middle)
            if place <= low or began <= self._stamp:
                low = middle
            else:
                high = place
        return low

    def _began(self, place: int) -> tuple[int, str]:
        """Place and start of the last rollout up to this place; 0 if there is none."""
        row = self._connection.execute(_BEGAN, {"environment": self._environment, "place": place}).first()
        return (0, "") if row is None else (row.started_event, row.started_at)

    def _look_on(self, place: int) -> None:
        """Take what began after it, until the cluster took one of these, after the moment."""
        while page := self._take(_ON, place=place, count=self._page):
            place = page[-1].place
            taken = [one.entry.applied_at for one in page if one.entry.applied_at is not None]
            if taken and taken[-1] > self._at:
                return

    def _look_back(self, place: int) -> None:
        """Take it and what began before it, until the cluster had taken one of these by then."""
        while page := self._take(_BACK, place=place, count=self._page):
            place = page[-1].place - 1
            if any(one.entry.applied_at is not None and one.entry.applied_at <= self._at for one in page):
                return

    def _look_for_other(self, live: Placed) -> None:
        """Take the newest with another config that the cluster took before it, and the first after that."""
        digest, place = live.entry.release.digest, live.place
        other = self._take(_OTHER, place=place, digest=digest)
        while other and other[0].entry.applied_at is None:
            other = self._take(_OTHER, place=other[0].place - 1, digest=digest)
        place = other[0].place if other else 0
        while page := self._take(_ON, place=place, count=self._page):
            place = page[-1].place
            if any(one.entry.applied_at is not None for one in page):
                return

    def _look_for_way_back(self, newest: int) -> None:
        """Take the newest that was good by then, or no deploy, and of its release what had made it good."""
        for one in self._take(_WAY_BACK, place=newest, at=self._stamp):
            release = one.entry.release
            self._take(
                _MADE_GOOD,
                place=one.place,
                at=self._stamp,
                digest=release.digest,
                revision=release.revision,
            )

    def _last_seen(self, live: Placed) -> Observed | None:
        """What was last seen of the live rollout by then."""
        rows = self._events(_OBSERVED, rollout=live.entry.id, at=self._stamp)
        return next((event for event in rows.values() if isinstance(event, Observed)), None)

    def _who(self, live: Placed) -> Provenance | None:
        """Who brought the live release, with the newest deploy of it up to the live rollout."""
        release = live.entry.release
        brought = self._rows(_BROUGHT, place=live.place, digest=release.digest, revision=release.revision)
        if not brought:
            return None
        deploy = brought[0]
        return self._provenance(deploy)

    def _provenance(self, deploy: Placed) -> Provenance:
        release, place = deploy.entry.release, deploy.place
        revisions = [release.revision, *([release.merged] if release.merged is not None else [])]
        events = self._events(_OF_COMMITS, revisions=revisions, types=(_GO, *_PROMOTIONS))
        wishes = [number for number, event in events.items() if isinstance(event, SyncAsked)]
        about: dict[str, Any] = {"place": place, "digest": release.digest}
        another = self._events(_WANTED_ANOTHER, **about)
        after = max(another, default=0)
        events |= self._events(_OF_DIGEST, **about, after=after, types=_OPINIONS)
        # What was said before the same config became good was for that deploy.
        events |= self._events(_GOOD_SINCE, **about, after=min((after, *wishes)))
        events |= self._events(_BEFORE, place=place, types=_PROMOTIONS)
        events |= self._events(_AFTER, place=place, types=_PROMOTIONS)
        told = [(number, self._shown(events[number])) for number in sorted(events)]
        return provenance(
            deploy.entry,
            [event for number, event in told if number < place],
            [event for number, event in told if number > place],
        )

    def _take(self, query: Select[Any], **values: object) -> list[Placed]:
        """These rollouts, which are told of from now on; one, unless `count` says how many."""
        found = self._rows(query, **values)
        self._found |= {one.place: one for one in found}
        return found

    def _rows(self, query: Select[Any], **values: object) -> list[Placed]:
        values = {"environment": self._environment, "count": 1, **values}
        return [self._as_placed(row) for row in self._connection.execute(query, values)]

    def _events(self, query: Select[Any], **values: object) -> dict[int, Event]:
        """By their ids."""
        values["environment"] = self._environment
        found = (self._as_logged(row) for row in self._connection.execute(query, values))
        return {one.id: one.event for one in found}
