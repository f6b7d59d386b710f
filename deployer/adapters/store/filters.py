"""Which rollouts and which events a person asks for, as conditions of a SELECT.

Owns how a filter becomes conditions, and which index is used. Must not run anything. Invariant: what people
type is only ever a bound parameter, and every combination of filters is answered by a walk along an index.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, literal, or_, select, union_all

from deployer.adapters.store import codec, ended
from deployer.adapters.store.ended import plain
from deployer.adapters.store.tables import EVENTS, MENTIONS, ROLLOUTS
from deployer.core.events import DAEMON

if TYPE_CHECKING:
    from sqlalchemy import Column, ColumnElement, Select

_SHA256 = "sha256:"
_HASH = re.compile(rf"(?:{_SHA256})?[0-9a-f]{{1,64}}")
_AFTER_HEX = "g"
"""Sorts after every hex digit, so that `ab <= x < abg` are all that begin with `ab`."""

_FEW = 20
"""Environments of which each is looked up by itself. Of more, some of the newest events are soon found."""

_FREQUENT = frozenset({"seen", "started", "applied", "observed", "checked", "healthy", "good"})
"""Types of events of which there are several for every rollout, or one: others are rare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutFilter:
    """Which rollouts. `environments` are those that may be seen; everything else narrows that down.

    `kinds` are several, where `kind` is one. `author` is all of `Ada <ada@example.com>`, or what stands
    before the `<`. `revision` and `digest` may be the first digits. `since` and `until` are of the start;
    `until` itself is not in.
    """

    environments: Collection[str] | None = None
    environment: str | None = None
    kind: str | None = None
    kinds: tuple[str, ...] = ()
    result: str | None = None
    author: str | None = None
    digest: str | None = None
    revision: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events. As `RolloutFilter`; `actor` is all of `ada (local)`, or what stands before the bracket.

    `revision` and `digest` also find the events of the rollouts that were of them; `result` only those of
    rollouts that ended so.
    """

    environments: Collection[str] | None = None
    environment: str | None = None
    actor: str | None = None
    type: str | None = None
    result: str | None = None
    rollout: str | None = None
    revision: str | None = None
    digest: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    after: int | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What was found out about the log before a page of it is asked for.

    `is_short`: few events are in the period asked for. `is_rare_actor`: few are of the actor. `end` is the
    last id of the period, where many came later, so that those are not walked through. `low` and `high` are
    the part of the log that is looked at, the first id and the one after the last, where it is looked for by
    the result of rollouts.
    """

    is_short: bool = False
    is_rare_actor: bool = False
    end: int | None = None
    low: int = 0
    high: int | None = None


def rollout_conditions(wanted: RolloutFilter) -> list[ColumnElement[bool]] | None:
    """The conditions; None if nothing can fit."""
    if _is_hidden(wanted.environment, wanted.environments):
        return None
    conditions: list[ColumnElement[bool]] = []
    if wanted.environment is not None:
        conditions.append(ROLLOUTS.c.environment == wanted.environment)
    elif wanted.environments is not None:
        # Without the index of environments, which would be walked for each of them and then sorted.
        conditions.append(ROLLOUTS.c.environment.concat("").in_(sorted(wanted.environments)))
    equal = ((ROLLOUTS.c.kind, wanted.kind), (ROLLOUTS.c.result, wanted.result))
    conditions += [column == value for column, value in equal if value is not None]
    if wanted.kinds:
        conditions.append(ROLLOUTS.c.kind.in_(wanted.kinds))
    if wanted.author is not None:
        conditions.append(_named(ROLLOUTS.c.author, wanted.author, " <"))
    if wanted.revision is not None:
        conditions.append(_begins(ROLLOUTS.c.revision, wanted.revision))
    if wanted.digest is not None:
        conditions.append(_begins(ROLLOUTS.c.digest, _digest(wanted.digest)))
    if wanted.since is not None:
        conditions.append(ROLLOUTS.c.started_at >= codec.stamp(wanted.since))
    if wanted.until is not None:
        conditions.append(ROLLOUTS.c.started_at < codec.stamp(wanted.until))
    return conditions


def event_ids(wanted: EventFilter, limit: int, known: Known) -> Select[Any] | None:
    """The ids of one page; None if nothing can fit.

    SQLite chooses among indexes without knowing how many rows have which value, and the wrong choice walks
    half a million. So one condition is chosen here to be looked up, the most telling one that is asked for,
    and the others only filter: `column || ''` has no index.
    """
    if _is_nothing(wanted):
        return None
    lead = _lead(wanted, known)
    filters = list(_event_filters(wanted, lead))
    number = plain(EVENTS.c.id) if lead == "result" else EVENTS.c.id
    order = number if wanted.after is not None else number.desc()
    pages = [
        select(EVENTS.c.id)
        .where(*looked_up, *filters, *_bounds(wanted, known, is_range=len(looked_up) > 1))
        .order_by(order)
        .limit(limit)
        .subquery()
        for looked_up in _looked_up(wanted, lead, known)
    ]
    parts = [select(page.c.id) for page in pages]
    return parts[0] if len(parts) == 1 else select(union_all(*parts).subquery().c.id)


def is_by_result(wanted: EventFilter, known: Known) -> bool:
    """Whether the log is looked at part by part: those of the rollouts that ended as asked."""
    return not _is_nothing(wanted) and _lead(wanted, known) == "result"


def by_actor(actor: str) -> list[list[ColumnElement[bool]]]:
    """The conditions on the actor, which an index has; each stands for a page of its own."""
    exact: list[ColumnElement[bool]] = [EVENTS.c.actor == actor]
    # Each bracket, and the character after it: what begins so lies between the two.
    pairs = ((" (", " )"), (" <", " ="))
    return [exact, *([EVENTS.c.actor >= actor + a, EVENTS.c.actor < actor + b] for a, b in pairs)]


def _bounds(wanted: EventFilter, known: Known, *, is_range: bool) -> Iterable[ColumnElement[bool]]:
    """Between which ids to look. Beside a range of another column they must not be what is looked up."""
    number = plain(EVENTS.c.id) if is_range else EVENTS.c.id
    if known.end is not None:
        yield number <= known.end
    if wanted.after is not None:
        yield number > wanted.after
    if wanted.before is not None:
        yield number < wanted.before


def _lead(wanted: EventFilter, known: Known) -> str:
    """What is looked up: the condition that is likely to leave the fewest."""
    is_rare = wanted.type is not None and wanted.type not in _FREQUENT
    order = (
        ("rollout", wanted.rollout is not None),
        ("release", wanted.revision is not None or wanted.digest is not None),
        ("period", known.is_short),
        ("type", is_rare),
        ("actor", known.is_rare_actor),
        ("result", wanted.result is not None),
        ("environment", wanted.environment is not None),
        ("environments", wanted.environments is not None and len(wanted.environments) <= _FEW),
        ("actor", wanted.actor is not None and wanted.actor != DAEMON),
        ("type", wanted.type is not None),
        ("actor", wanted.actor is not None),
    )
    return next((name for name, is_asked in order if is_asked), "time")


def _looked_up(wanted: EventFilter, lead: str, known: Known) -> list[list[ColumnElement[bool]]]:
    """The condition for the index; more than one stand for a page each."""
    match lead:
        case "rollout":
            return [[EVENTS.c.rollout == wanted.rollout]]
        case "release":
            return [_of_release(wanted)]
        case "period":
            return [[EVENTS.c.id.in_(select(EVENTS.c.id).where(*in_period(wanted)))]]
        case "type":
            return [[EVENTS.c.type == wanted.type]]
        case "environment":
            return [[EVENTS.c.environment == wanted.environment]]
        case "result":
            return [ended.of_rollouts(wanted, known.low, known.high)]
        case "actor":
            return by_actor(str(wanted.actor))
        case "environments":
            return [[EVENTS.c.environment == name] for name in sorted(wanted.environments or ())]
        case _:
            return [[]]


def in_period(wanted: EventFilter) -> list[ColumnElement[bool]]:
    """The conditions on the time, which an index has; none if no period is asked for."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.since is not None:
        conditions.append(EVENTS.c.at >= codec.stamp(wanted.since))
    if wanted.until is not None:
        conditions.append(EVENTS.c.at < codec.stamp(wanted.until))
    return conditions


def _of_release(wanted: EventFilter) -> list[ColumnElement[bool]]:
    """The event is about the release, or of a rollout that was of it."""
    mentioned: list[ColumnElement[bool]] = []
    deployed: list[ColumnElement[bool]] = []
    if wanted.revision is not None:
        mentioned.append(_begins(MENTIONS.c.revision, wanted.revision))
        deployed.append(_begins(ROLLOUTS.c.revision, wanted.revision))
    if wanted.digest is not None:
        mentioned.append(_begins(MENTIONS.c.digest, _digest(wanted.digest)))
        deployed.append(_begins(ROLLOUTS.c.digest, _digest(wanted.digest)))
    starts = select(ROLLOUTS.c.started_event).where(*deployed)
    begun = EVENTS.alias("begun")
    rollouts = select(begun.c.rollout).where(begun.c.id.in_(starts))
    of_rollouts = EVENTS.alias("of_rollouts")
    ids = union_all(
        select(MENTIONS.c.event_id).where(*mentioned),
        select(of_rollouts.c.id).where(of_rollouts.c.rollout.in_(rollouts)),
    )
    return [EVENTS.c.id.in_(ids)]


def _event_filters(wanted: EventFilter, lead: str) -> Iterable[ColumnElement[bool]]:
    """The conditions that are not looked up."""
    if wanted.environment is not None and lead != "environment":
        yield EVENTS.c.environment.concat("") == wanted.environment
    if wanted.environment is None and wanted.environments is not None and lead != "environments":
        yield EVENTS.c.environment.concat("").in_(sorted(wanted.environments))
    if wanted.type is not None and lead != "type":
        # The index of rollouts has the type as well.
        column = EVENTS.c.type if lead in {"rollout", "result"} else EVENTS.c.type.concat("")
        yield column == wanted.type
    if wanted.actor is not None and lead != "actor":
        yield _named(EVENTS.c.actor, wanted.actor, " (", " <")
    if wanted.result is not None and lead != "result":
        yield ended.is_of_one(wanted.result)
    if lead == "rollout" and (wanted.revision is not None or wanted.digest is not None):
        yield from _of_release(wanted)
    if wanted.since is not None and lead != "period":
        yield EVENTS.c.at.concat("") >= codec.stamp(wanted.since)
    if wanted.until is not None and lead != "period":
        yield EVENTS.c.at.concat("") < codec.stamp(wanted.until)


def _is_nothing(wanted: EventFilter) -> bool:
    """Whether no event can fit, which need not be looked for."""
    return _is_hidden(wanted.environment, wanted.environments) or ended.is_never(wanted)


def _is_hidden(environment: str | None, visible: Collection[str] | None) -> bool:
    """Whether nothing can be shown: what is asked for may not be seen, or nothing may."""
    if visible is None:
        return False
    return not visible if environment is None else environment not in visible


def _named(column: Column[str], name: str, *ends: str) -> ColumnElement[bool]:
    """The column is this name, or begins with it and one of these."""
    begins = [name + end for end in ends]
    # Not LIKE: what people type may hold its wildcards.
    starts = [func.substr(column, 1, literal(len(begin))) == begin for begin in begins]
    return or_(column.concat("") == name, *starts)


def _begins(column: Column[str], value: str) -> ColumnElement[bool]:
    """The column is this value or, if these are digits of a hash, begins with them."""
    value = value.lower()
    if _HASH.fullmatch(value) is None:
        return column == value
    return and_(column >= value, column < value + _AFTER_HEX)


def _digest(value: str) -> str:
    return value if value.startswith(_SHA256) else _SHA256 + value
