"""What an environment's events add up to, and the only definition of a legal history: `evolve`.

Owns the record and its fold. Must not know the cluster, git, or what should happen next. Invariant:
`evolve` accepts exactly the histories that keep the promises (at most one rollout in flight, an intent
before every outcome, a held digest is never the way back); everything else raises `IllegalEvent`.
The stored record is a cache of this fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from typing import assert_never

from deployer.core.errors import IllegalEvent
from deployer.core.events import (
    Applied,
    Event,
    Failed,
    Failure,
    Good,
    Healthy,
    Held,
    Kind,
    LostSight,
    Refused,
    RegainedSight,
    Resubmitted,
    Seen,
    Started,
    Superseded,
)
from deployer.core.types import Policy, Release


class Result(StrEnum):
    """How a rollout stands in the history."""

    IN_PROGRESS = "in_progress"
    GOOD = "good"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A rollout in flight.

    `applied_at` is the first `Applied` (deadlines count from it), `put_at` the last one; `pending` is
    True while a PUT is intended whose outcome is not recorded. `puts` counts intents. `blind_since` is
    when the cluster stopped answering, `blind` how long it had not answered before that, in total.
    """

    id: str
    kind: Kind
    release: Release
    policy: Policy
    trigger: str
    started_at: datetime
    before: Mapping[str, float]
    follows: str | None = None
    pending: bool = True
    puts: int = 1
    applied_at: datetime | None = None
    put_at: datetime | None = None
    healthy_at: datetime | None = None
    blind_since: datetime | None = None
    blind: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last rollout that ended. `wanted` is the commit that git wanted at that moment, if known."""

    id: str
    kind: Kind
    release: Release
    policy: Policy
    result: Result
    finished_at: datetime
    failure: Failure | None = None
    wanted: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A digest that failed here, with the release that brought it and the rollout that showed it."""

    release: Release
    reason: str
    since: datetime
    rollout: str

    @property
    def digest(self) -> str:
        """The held digest."""
        return self.release.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An environment's memory: everything `decide` needs of the past.

    `sequence` counts the events folded in. `rollouts` counts the rollouts started. `seen` is the
    release git wanted last; `refused` is what git said since that cannot be deployed. `good` is the
    newest good release: the way back; `good_rollout` made it so at `good_at`. `apps` are the
    application names this environment ever put on the cluster.
    """

    environment: str
    sequence: int = 0
    rollouts: int = 0
    seen: Release | None = None
    refused: Refused | None = None
    good: Release | None = None
    good_rollout: str | None = None
    good_at: datetime | None = None
    rollout: Rollout | None = None
    last: Finished | None = None
    held: tuple[Hold, ...] = ()
    apps: frozenset[str] = field(default_factory=frozenset)

    def hold_of(self, digest: str) -> Hold | None:
        """The hold on this digest, if it is held."""
        return next((hold for hold in self.held if hold.digest == digest), None)

    def next_rollout_id(self) -> str:
        """The id that the next `Started` must carry."""
        return f"{self.environment}#{self.rollouts + 1}"


def fold(environment: str, events: Iterable[Event]) -> Record:
    """Fold a whole history into its record. Raises IllegalEvent where the history is not legal."""
    return reduce(evolve, events, Record(environment=environment))


def evolve(record: Record, event: Event) -> Record:
    """The record after one more event. Raises IllegalEvent if the event cannot follow this history."""
    return replace(_evolve(record, event), sequence=record.sequence + 1)


def _evolve(record: Record, event: Event) -> Record:
    match event:
        case Seen():
            return replace(record, seen=event.release, refused=None)
        case Refused():
            return replace(record, refused=event)
        case Started():
            return _started(record, event)
        case Resubmitted():
            rollout = _in_flight(record, event)
            _require(not rollout.pending, record, event, "a PUT is already intended")
            return replace(
                record,
                rollout=replace(rollout, pending=True, before=event.before, puts=rollout.puts + 1),
            )
        case Applied():
            rollout = _in_flight(record, event)
            _require(rollout.pending, record, event, "no PUT was intended")
            applied_at = rollout.applied_at or event.at
            return replace(
                record,
                rollout=replace(rollout, pending=False, applied_at=applied_at, put_at=event.at),
            )
        case LostSight():
            rollout = _in_flight(record, event)
            _require(rollout.blind_since is None, record, event, "sight is already lost")
            return replace(record, rollout=replace(rollout, blind_since=event.at))
        case RegainedSight():
            rollout = _in_flight(record, event)
            return replace(record, rollout=_regain(record, event, rollout))
        case Healthy():
            rollout = _in_flight(record, event)
            _require(not rollout.pending, record, event, "its PUT has no outcome yet")
            return replace(record, rollout=replace(rollout, healthy_at=event.at))
        case Good():
            return _good(record, event)
        case Failed():
            rollout = _in_flight(record, event)
            return _finish(record, rollout, Result.FAILED, event.at, event.failure)
        case Held():
            return _held(record, event)
        case Superseded():
            rollout = _in_flight(record, event)
            return _finish(record, rollout, Result.SUPERSEDED, event.at)
        case _:
            assert_never(event)


def _started(record: Record, event: Started) -> Record:
    _require(record.rollout is None, record, event, "another rollout is in flight")
    _require(event.rollout == record.next_rollout_id(), record, event, "the id is out of order")
    _require(record.hold_of(event.release.digest) is None, record, event, "its digest is held")
    return replace(
        record,
        rollouts=record.rollouts + 1,
        apps=record.apps.union(event.release.config.applications()),
        rollout=Rollout(
            id=event.rollout,
            kind=event.kind,
            release=event.release,
            policy=event.policy,
            trigger=event.trigger,
            started_at=event.at,
            before=event.before,
            follows=event.follows,
        ),
    )


def _regain(record: Record, event: RegainedSight, rollout: Rollout) -> Rollout:
    if rollout.blind_since is None:
        raise _illegal(record, event, "sight was not lost")
    # A clock that went back must not lengthen a deadline into the past.
    gap = max(event.at - rollout.blind_since, timedelta())
    return replace(rollout, blind_since=None, blind=rollout.blind + gap)


def _good(record: Record, event: Good) -> Record:
    rollout = _in_flight(record, event)
    _require(rollout.healthy_at is not None, record, event, "it was never healthy")
    finished = _finish(record, rollout, Result.GOOD, event.at)
    return replace(finished, good=rollout.release, good_rollout=rollout.id, good_at=event.at)


def _held(record: Record, event: Held) -> Record:
    last = record.last
    if last is None or last.id != event.rollout or last.result is not Result.FAILED:
        raise _illegal(record, event, "that rollout did not just fail")
    _require(last.kind is Kind.DEPLOY, record, event, "only a failed deploy holds its digest")
    is_good = record.good is not None and record.good.digest == last.release.digest
    _require(not is_good, record, event, "a good digest is never held")
    _require(record.hold_of(last.release.digest) is None, record, event, "it is held already")
    hold = Hold(release=last.release, reason=event.reason, since=event.at, rollout=event.rollout)
    return replace(record, held=(*record.held, hold))


def _finish(
    record: Record, rollout: Rollout, result: Result, at: datetime, failure: Failure | None = None
) -> Record:
    finished = Finished(
        id=rollout.id,
        kind=rollout.kind,
        release=rollout.release,
        policy=rollout.policy,
        result=result,
        finished_at=at,
        failure=failure,
        wanted=record.seen.revision.commit if record.seen else None,
    )
    return replace(record, rollout=None, last=finished)


def _in_flight(record: Record, event: Event) -> Rollout:
    rollout = record.rollout
    if rollout is None:
        raise _illegal(record, event, "no rollout is in flight")
    _require(getattr(event, "rollout", None) == rollout.id, record, event, f"{rollout.id} is in flight")
    return rollout


def _require(condition: bool, record: Record, event: Event, why: str) -> None:  # noqa: FBT001 - an assertion
    if not condition:
        raise _illegal(record, event, why)


def _illegal(record: Record, event: Event, why: str) -> IllegalEvent:
    return IllegalEvent(f"{event.type} cannot follow event {record.sequence} of {record.environment}: {why}")
