"""What people are told, and the JSON that scripts rely on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.core.events import (
    Applied,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    Seen,
    Started,
)
from deployer.core.live import Live, Unreachable
from deployer.core.record import Record
from deployer.core.status import Health, Mode, Sync, status, view
from deployer.core.times import timestamp
from deployer.core.types import Absent, NotRead, Policy, Release
from tests.support.build import app, at, deployment, desired, live, record_of, release, running

A, B = release("a"), release("b")
EMPTY = Record(environment="staging")


def started(what: Release, number: int = 1, kind: Kind = Kind.DEPLOY) -> Started:
    """A rollout's intent."""
    return Started(
        at=at(number),
        rollout=f"staging#{number}",
        kind=kind,
        release=what,
        policy=Policy(),
        trigger="push",
        before={"fruit": 1.0},
    )


def applied(number: int = 1) -> Applied:
    """Its PUT was taken."""
    return Applied(at=at(number), rollout=f"staging#{number}")


def good(number: int = 1) -> tuple[Healthy, Good]:
    """It became healthy, and good."""
    return Healthy(at=at(9), rollout=f"staging#{number}"), Good(at=at(9), rollout=f"staging#{number}")


def failed(number: int) -> tuple[Failed, Held]:
    """It failed."""
    failure = Failure(failure_class=FailureClass.CODE, message="boom")
    rollout = f"staging#{number}"
    return Failed(at=at(20), rollout=rollout, failure=failure), Held(
        at=at(20), rollout=rollout, reason="boom"
    )


A_GOOD = record_of(Seen(at=at(0), release=A), started(A), applied(), *good())
DEPLOYING_B = record_of(
    Seen(at=at(0), release=A), started(A), applied(), *good(), Seen(at=at(1), release=B), started(B, 2)
)
B_FAILED = record_of(
    *(Seen(at=at(0), release=A), started(A), applied(), *good()),
    *(Seen(at=at(1), release=B), started(B, 2), applied(2), *failed(2)),
)
FIRST_FAILED = record_of(Seen(at=at(0), release=A), started(A), applied(), *failed(1))
SICK = deployment(status="UNHEALTHY", running=0)
SCALING = deployment(status="UPSCALING", running=1, target=2)


@pytest.mark.parametrize(
    ("wanted", "observed", "record", "expected"),
    [
        pytest.param(desired(A), running(A), A_GOOD, (Sync.SYNCED, Health.HEALTHY, Mode.AUTO), id="live"),
        pytest.param(
            desired(A),
            running(A, deployments=(SCALING,)),
            A_GOOD,
            (Sync.SYNCED, Health.HEALTHY, Mode.AUTO),
            id="autoscaling",
        ),
        pytest.param(
            desired(A),
            running(A, status="DEPLOYING"),
            A_GOOD,
            (Sync.SYNCED, Health.PROGRESSING, Mode.AUTO),
            id="blink",
        ),
        pytest.param(
            desired(A),
            running(A, deployments=(SICK,)),
            A_GOOD,
            (Sync.SYNCED, Health.DEGRADED, Mode.AUTO),
            id="sick deployment",
        ),
        pytest.param(
            desired(A),
            running(A, status="UNHEALTHY"),
            A_GOOD,
            (Sync.SYNCED, Health.DEGRADED, Mode.AUTO),
            id="sick",
        ),
        pytest.param(desired(A), live(), A_GOOD, (Sync.OUT_OF_SYNC, Health.MISSING, Mode.AUTO), id="lost"),
        pytest.param(
            desired(A),
            Unreachable(why="x"),
            A_GOOD,
            (Sync.UNKNOWN, Health.UNKNOWN, Mode.AUTO),
            id="unreachable",
        ),
        pytest.param(
            desired(B),
            running(A),
            DEPLOYING_B,
            (Sync.OUT_OF_SYNC, Health.PROGRESSING, Mode.AUTO),
            id="deploying",
        ),
        pytest.param(
            desired(B), running(B), B_FAILED, (Sync.OUT_OF_SYNC, Health.DEGRADED, Mode.HELD), id="failed"
        ),
        pytest.param(
            desired(A),
            running(A),
            FIRST_FAILED,
            (Sync.OUT_OF_SYNC, Health.DEGRADED, Mode.HELD),
            id="first failed",
        ),
        pytest.param(
            NotRead(why="x"), running(A), A_GOOD, (Sync.UNKNOWN, Health.HEALTHY, Mode.AUTO), id="git not read"
        ),
        pytest.param(
            Absent(why="x"),
            running(A),
            A_GOOD,
            (Sync.OUT_OF_SYNC, Health.HEALTHY, Mode.AUTO),
            id="branch gone",
        ),
        pytest.param(
            desired(A), live(), EMPTY, (Sync.OUT_OF_SYNC, Health.MISSING, Mode.AUTO), id="nothing yet"
        ),
        pytest.param(
            desired(A),
            live(app("theirs")),
            EMPTY,
            (Sync.OUT_OF_SYNC, Health.MISSING, Mode.WAITING),
            id="foreign",
        ),
    ],
)
def test_the_three_words(
    wanted: object, observed: Live, record: Record, expected: tuple[Sync, Health, Mode]
) -> None:
    """Sync, health and mode are derived, each from what it is about."""
    state = status(wanted, observed, record, at(30))  # type: ignore[arg-type]

    assert (state.sync, state.health, state.mode) == expected


def test_the_sentence_of_an_action() -> None:
    """Between a decision and its effect there is a sentence too."""
    assert status(desired(A), live(), EMPTY, at(1)).message == "Noting seen."
    pending = status(desired(B), running(A, stamp=1.0), DEPLOYING_B, at(30))
    assert pending.message == 'deploying e9d71f5 "commit b": sending the config to the cluster'


def test_live_while_deploying_and_after_a_failure() -> None:
    """The good release serves until a rollout failed and was not undone."""
    assert status(desired(B), running(A, stamp=1.0), DEPLOYING_B, at(30)).live == A
    assert status(desired(B), running(B), B_FAILED, at(30)).live is None
    assert status(desired(B), live(), EMPTY, at(30)).since is None


def test_the_json_of_a_rollout_in_flight() -> None:
    """The documented shape, whole."""
    one = app("fruit", "DEPLOYING", message="m", deployments=(deployment(running=1, target=2, message="n"),))
    record = replace(DEPLOYING_B, held=B_FAILED.held)
    shown = view(status(desired(B), live(one, proxies={"n1": "HEALTHY"}), record, at(30)))

    assert shown == {
        "environment": "staging",
        "sync": "OutOfSync",
        "health": "Progressing",
        "mode": "held",
        "message": 'deploying e9d71f5 "commit b": sending the config to the cluster',
        "since": "2026-11-22T10:42:02.000Z",
        "live": {
            "release": "staging#1",
            "revision": A.revision.commit,
            "digest": A.digest,
            "subject": "commit a",
            "author": "Ada <ada@example.com>",
        },
        "wanted": {
            "revision": B.revision.commit,
            "digest": B.digest,
            "subject": "commit b",
            "author": "Ada <ada@example.com>",
        },
        "rollout": {
            "id": "staging#2",
            "kind": "deploy",
            "phase": "applying",
            "started_at": "2026-11-22T10:42:02.000Z",
        },
        "held": [
            {
                "digest": B.digest,
                "revision": B.revision.commit,
                "reason": "boom",
                "since": "2026-11-22T10:42:20.000Z",
            }
        ],
        "apps": [
            {
                "name": "fruit",
                "status": "DEPLOYING",
                "message": "m",
                "deployments": [
                    {
                        "name": "D",
                        "status": "HEALTHY",
                        "message": "n",
                        "target_replicas": 2,
                        "running_replicas": 1,
                    }
                ],
            }
        ],
        "cluster": {
            "ray_version": "2.60.0",
            "session": "session_1",
            "serve_started": True,
            "proxies": {"n1": "HEALTHY"},
        },
    }


def test_the_json_of_nothing() -> None:
    """Null, not missing keys."""
    shown = view(status(NotRead(why="x"), Unreachable(why="y"), EMPTY, at(0)))

    assert (shown["live"], shown["wanted"], shown["rollout"], shown["since"]) == (None, None, None, None)
    assert (shown["held"], shown["apps"], shown["cluster"]) == ([], [], None)


def test_the_phase_after_applied() -> None:
    """Derived from the record, not stored."""
    record = record_of(Seen(at=at(0), release=A), started(A), applied())
    shown = view(status(desired(A), running(A, status="DEPLOYING"), record, at(2)))

    assert shown["rollout"]["phase"] == "waiting"


def test_timestamps() -> None:
    """RFC 3339 in UTC."""
    assert timestamp(at(1.5)) == "2026-11-22T10:42:01.500Z"
    assert timestamp(None) is None
