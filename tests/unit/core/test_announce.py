"""The sentences that go out: a snapshot of each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from deployer.core import sentences
from deployer.core.announce import announcement
from deployer.core.events import (
    Applied,
    Event,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Kind,
    Refused,
    Seen,
    Started,
    Superseded,
)
from deployer.core.record import Record
from deployer.core.types import Policy, Release
from tests.support.build import at, record_of, release

A, B = release("a"), release("b")
FAILURE = Failure(failure_class=FailureClass.CODE, message="fruit / D: ValueError: bad price")


def flight(
    what: Release, number: int, kind: Kind = Kind.DEPLOY, policy: Policy | None = None
) -> tuple[Event, ...]:
    """A rollout whose PUT was taken."""
    rollout = f"staging#{number}"
    start = Started(
        at=at(0), rollout=rollout, kind=kind, release=what, policy=policy or Policy(), trigger="push"
    )
    return start, Applied(at=at(1), rollout=rollout)


def good(number: int) -> tuple[Event, ...]:
    """It became healthy, and good."""
    return Healthy(at=at(12), rollout=f"staging#{number}"), Good(at=at(12), rollout=f"staging#{number}")


def failed(number: int) -> Failed:
    """It failed."""
    return Failed(at=at(12), rollout=f"staging#{number}", failure=FAILURE)


A_GOOD = (*flight(A, 1), *good(1))


@pytest.mark.parametrize(
    ("history", "event", "sentence"),
    [
        (
            flight(A, 1),
            good(1)[1],
            'staging: deploy staging#1: 86f7e43 "commit a" is live after 12 s.',
        ),
        (
            (*A_GOOD, *flight(A, 2, Kind.ROLLBACK)),
            good(2)[1],
            'staging: rollback staging#2: 86f7e43 "commit a" is live again after 12 s.',
        ),
        (
            (*A_GOOD, *flight(B, 2)),
            failed(2),
            'staging: deploy staging#2: e9d71f5 "commit b" failed: fruit / D: ValueError: bad price.'
            ' Rolling back to 86f7e43 "commit a".',
        ),
        (
            (*A_GOOD, *flight(B, 2, policy=Policy(rollback=False))),
            failed(2),
            'staging: deploy staging#2: e9d71f5 "commit b" failed: fruit / D: ValueError: bad price.'
            " Rollback is off: the cluster was left on it. Push a fix.",
        ),
        (
            flight(A, 1),
            failed(1),
            'staging: deploy staging#1: 86f7e43 "commit a" failed: fruit / D: ValueError: bad price.'
            " There is no good release to go back to. Push a fix.",
        ),
        (
            (*A_GOOD, *flight(A, 2)),
            failed(2),
            'staging: deploy staging#2: 86f7e43 "commit a" failed: fruit / D: ValueError: bad price.'
            " There is no good release to go back to. Push a fix.",
        ),
        (
            (*A_GOOD, *flight(A, 2, Kind.ROLLBACK)),
            failed(2),
            'staging: rollback staging#2: 86f7e43 "commit a" failed: fruit / D: ValueError: bad price.'
            " The environment is DEGRADED; nothing is tried again until a new commit is pushed.",
        ),
        (
            flight(A, 1),
            Superseded(at=at(2), rollout="staging#1", by=B.revision.commit),
            'staging: deploy staging#1: 86f7e43 "commit a" was overtaken by e9d71f5.',
        ),
        ((), Refused(at=at(2), message="x.yaml:4:5: unknown key"), "staging: x.yaml:4:5: unknown key"),
        ((), Seen(at=at(2), release=A), None),
        (
            (),
            Seen(at=at(2), release=A, notes=("The old format was wrapped.",)),
            'staging: 86f7e43 "commit a": The old format was wrapped.',
        ),
        (flight(A, 1), Applied(at=at(2), rollout="staging#1"), None),
    ],
)
def test_announcements(history: tuple[Event, ...], event: Event, sentence: str | None) -> None:
    """Endings and refusals are told, with cause and next step; steps in between are not."""
    assert announcement(record_of(*history), event) == sentence


def test_an_empty_record_announces_nothing_but_refusals() -> None:
    """There is nothing to say of a rollout that is not there."""
    assert announcement(Record(environment="staging"), good(1)[1]) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.84, "0.8 s"), (9.96, "10.0 s"), (31.4, "31 s"), (312.4, "5m12s")]
)
def test_how_long_it_took(seconds: float, text: str) -> None:
    """As exact as a person needs."""
    assert sentences.took(timedelta(seconds=seconds)) == text
