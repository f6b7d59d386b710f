"""Legal histories for the tests of the store: what the engine would commit, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from deployer.core.events import (
    Applied,
    Event,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    Observed,
    Seen,
    Started,
    State,
    Superseded,
)
from deployer.core.types import Policy, Release
from tests.support.build import at, release

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from deployer.core.messages import Told
    from deployer.core.record import Record

BROKEN = Failure(failure_class=FailureClass.CODE, message="no module named torch", detail="Traceback ...")
Batch = tuple[Event, ...]


class Committing(Protocol):
    """What the histories need of a store."""

    def commit(self, record: Record, events: Sequence[Event], messages: Sequence[Told] = ()) -> Record:
        """Append."""


def started(record: Record, what: Release, kind: Kind = Kind.DEPLOY, follows: str | None = None) -> Started:
    """The next rollout of this environment."""
    return Started(
        at=at(record.sequence),
        rollout=record.next_rollout_id(),
        kind=kind,
        release=what,
        policy=Policy(),
        trigger="push" if kind is Kind.DEPLOY else "failure",
        before={"fruit": 0.1 + 0.2},
        follows=follows,
    )


def settled(rollout: str, now: datetime) -> Observed:
    """Everything was seen to run."""
    states = (State(app="fruit", status="RUNNING"),)
    return Observed(at=now, rollout=rollout, states=states, settled=True)


def good(record: Record, what: Release) -> list[Batch]:
    """A deploy that ends well."""
    rollout = record.next_rollout_id()
    now = at(record.sequence)
    return [
        (Seen(at=now, actor="Ada <ada@example.com>", release=what),),
        (started(record, what),),
        (Applied(at=now, rollout=rollout, session="session_1"),),
        (settled(rollout, now),),
        (Healthy(at=now, rollout=rollout),),
        (Good(at=now, rollout=rollout),),
    ]


def failing(record: Record, what: Release) -> list[Batch]:
    """A deploy that fails; its digest is held."""
    rollout = record.next_rollout_id()
    now = at(record.sequence)
    return [
        (Seen(at=now, release=what), started(record, what)),
        (Applied(at=now, rollout=rollout),),
        (
            Failed(at=now, rollout=rollout, failure=BROKEN),
            Held(at=now, rollout=rollout, reason=BROKEN.message),
        ),
    ]


def rollback(record: Record) -> list[Batch]:
    """The way back to the good release, after a failed deploy."""
    assert record.good is not None
    assert record.last is not None
    rollout = record.next_rollout_id()
    now = at(record.sequence)
    return [
        (started(record, record.good, Kind.ROLLBACK, follows=record.last.id),),
        (
            Applied(at=now, rollout=rollout),
            settled(rollout, now),
            Healthy(at=now, rollout=rollout),
            Good(at=now, rollout=rollout),
        ),
    ]


def overtaken(record: Record, name: str) -> Batch:
    """A whole rollout in one batch of three events."""
    what = release(name)
    return (
        Seen(at=at(record.sequence), release=what),
        started(record, what),
        Superseded(at=at(record.sequence), rollout=record.next_rollout_id(), by="sha256:next"),
    )


def play(store: Committing, record: Record, batches: Iterable[Batch]) -> Record:
    """Commit batch after batch, with a message for each ending; return the last record."""
    for batch in batches:
        ending = batch[-1]
        messages = [f"{ending.type} at {record.sequence}"] if isinstance(ending, Good | Held) else []
        record = store.commit(record, batch, messages)
    return record


def story(store: Committing, record: Record) -> Record:
    """A good deploy, a failed one, and the rollback after it: three rollouts."""
    record = play(store, record, good(record, release("one")))
    record = play(store, record, failing(record, release("two")))
    return play(store, record, rollback(record))
