"""`evolve` is the only definition of a legal history."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from deployer.core.errors import IllegalEvent
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
    LostSight,
    Refused,
    RegainedSight,
    Resubmitted,
    Seen,
    Started,
    Superseded,
)
from deployer.core.record import Finished, Hold, Record, Result, evolve
from deployer.core.types import Policy
from tests.support.build import at, record_of, release

A, B = release("a"), release("b", "fruit", "math")
FAILURE = Failure(failure_class=FailureClass.CODE, message="boom")


def start(number: int = 1, what: object = A, kind: Kind = Kind.DEPLOY) -> Started:
    """A rollout's intent."""
    return Started(
        at=at(number),
        rollout=f"staging#{number}",
        kind=kind,
        release=what,  # type: ignore[arg-type]
        policy=Policy(),
        trigger="push",
        before={"fruit": 1.0},
    )


def applied(number: int = 1, second: float = 5) -> Applied:
    """Its PUT was taken."""
    return Applied(at=at(second), rollout=f"staging#{number}")


def fail(number: int) -> Failed:
    """It failed."""
    return Failed(at=at(9), rollout=f"staging#{number}", failure=FAILURE)


def good(number: int = 1) -> tuple[Healthy, Good]:
    """It became healthy, and good."""
    return Healthy(at=at(8), rollout=f"staging#{number}"), Good(at=at(9), rollout=f"staging#{number}")


class TestLegal:
    """What a history adds up to."""

    def test_seen_and_refused(self) -> None:
        """A refusal stands until git wants something again."""
        refused = Refused(at=at(1), message="gone")

        assert record_of(Seen(at=at(0), release=A), refused).refused == refused
        assert record_of(refused, Seen(at=at(2), release=A)).refused is None

    def test_a_rollout_from_start_to_good(self) -> None:
        """Every step leaves what `decide` needs."""
        record = record_of(Seen(at=at(0), release=B), start(1, B), applied())
        rollout = record.rollout
        assert rollout is not None
        assert (rollout.applied_at, rollout.put_at, rollout.pending) == (at(5), at(5), False)

        record = evolve(evolve(record, good()[0]), good()[1])
        assert record == Record(
            environment="staging",
            sequence=5,
            rollouts=1,
            seen=B,
            good=B,
            good_rollout="staging#1",
            good_at=at(9),
            last=Finished(
                id="staging#1",
                kind=Kind.DEPLOY,
                release=B,
                policy=Policy(),
                result=Result.GOOD,
                finished_at=at(9),
                wanted=B.revision.commit,
            ),
            apps=frozenset({"fruit", "math"}),
        )

    def test_a_resubmitted_rollout_keeps_its_first_applied(self) -> None:
        """Deadlines count from there, however often the PUT is repeated."""
        again = Resubmitted(at=at(6), rollout="staging#1", cause="x", before={"fruit": 3.0})
        record = record_of(start(), applied(), again)
        assert record.rollout is not None
        assert (record.rollout.pending, record.rollout.puts, record.rollout.before) == (
            True,
            2,
            {"fruit": 3.0},
        )

        rollout = evolve(record, applied(second=7)).rollout
        assert rollout is not None
        assert (rollout.applied_at, rollout.put_at) == (at(5), at(7))

    def test_blind_time_adds_up(self) -> None:
        """Two outages, one of them with a clock that went back."""
        lost, found = (
            LostSight(at=at(10), rollout="staging#1", why="x"),
            RegainedSight(at=at(40), rollout="staging#1"),
        )
        record = record_of(
            start(), applied(), lost, found, replace(lost, at=at(50)), replace(found, at=at(45)), lost
        )
        assert record.rollout is not None
        assert (record.rollout.blind, record.rollout.blind_since) == (timedelta(seconds=30), at(10))

    def test_a_failed_deploy_can_be_held(self) -> None:
        """The hold names digest, reason and rollout."""
        held = Held(at=at(9), rollout="staging#1", reason="boom")
        record = record_of(start(), applied(), fail(1), held)

        assert record.held == (Hold(release=A, reason="boom", since=at(9), rollout="staging#1"),)
        assert record.hold_of(A.digest) == record.held[0]
        assert record.hold_of(B.digest) is None
        assert record.last is not None
        assert record.last.failure == FAILURE

    def test_superseded_ends_a_rollout(self) -> None:
        """And the next may start in the same breath."""
        record = record_of(start(), Superseded(at=at(3), rollout="staging#1", by="b"), start(2, B))

        assert record.last is not None
        assert record.last.result is Result.SUPERSEDED
        assert record.rollout is not None
        assert record.rollout.id == "staging#2"


DEPLOYED = (start(), applied(), *good())
FAILED_B = (*DEPLOYED, start(2, B), applied(2), fail(2))

ILLEGAL: list[tuple[str, tuple[Event, ...], Event]] = [
    ("another rollout is in flight", (start(),), start(2, B)),
    ("the id is out of order", (), start(2)),
    (
        "its digest is held",
        (*FAILED_B, Held(at=at(9), rollout="staging#2")),
        start(3, B),
    ),
    ("no rollout is in flight", (), applied()),
    ("staging#1 is in flight", (start(),), applied(2)),
    ("no PUT was intended", (start(), applied()), applied()),
    ("a PUT is already intended", (start(),), Resubmitted(at=at(1), rollout="staging#1", cause="x")),
    (
        "sight is already lost",
        (start(), LostSight(at=at(2), rollout="staging#1", why="x")),
        LostSight(at=at(3), rollout="staging#1", why="x"),
    ),
    ("sight was not lost", (start(),), RegainedSight(at=at(3), rollout="staging#1")),
    ("its PUT has no outcome yet", (start(),), good()[0]),
    ("it was never healthy", (start(), applied()), good()[1]),
    ("that rollout did not just fail", (), Held(at=at(9), rollout="staging#1")),
    ("that rollout did not just fail", DEPLOYED, Held(at=at(9), rollout="staging#1")),
    ("that rollout did not just fail", FAILED_B, Held(at=at(9), rollout="staging#1")),
    (
        "only a failed deploy holds its digest",
        (*FAILED_B, start(3, A, Kind.ROLLBACK), applied(3), fail(3)),
        Held(at=at(9), rollout="staging#3"),
    ),
    (
        "a good digest is never held",
        (*DEPLOYED, start(2, A), applied(2), fail(2)),
        Held(at=at(9), rollout="staging#2"),
    ),
    (
        "it is held already",
        (*FAILED_B, Held(at=at(9), rollout="staging#2")),
        Held(at=at(9), rollout="staging#2"),
    ),
]


@pytest.mark.parametrize(
    ("why", "history", "event"),
    ILLEGAL,
    ids=[f"{number}-{why}" for number, (why, _, _) in enumerate(ILLEGAL)],
)
def test_illegal(why: str, history: tuple[Event, ...], event: Event) -> None:
    """Everything that would break a promise is refused, and says why."""
    record = record_of(*history)

    with pytest.raises(
        IllegalEvent, match=f"{event.type} cannot follow event {len(history)} of staging: {why}"
    ):
        evolve(record, event)
