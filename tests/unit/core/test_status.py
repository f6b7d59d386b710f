"""What people are told, and the JSON that scripts rely on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core.actions import Probe
from deployer.core.events import (
    Checked,
    DriftClass,
    Drifted,
    Failed,
    Failure,
    FailureClass,
    Healthy,
    Kind,
    LogSource,
    Moment,
    Paused,
    RetryAsked,
    State,
)
from deployer.core.live import Unreachable
from deployer.core.record import Record
from deployer.core.status import Health, Mode, Sync, status, view
from deployer.core.times import timestamp
from deployer.core.types import Absent, Check, NotRead, Policy
from tests.support.build import (
    app,
    applied,
    at,
    decided,
    deployment,
    desired,
    ended_well,
    failed,
    held,
    live,
    observed,
    record_of,
    release,
    running,
    seen,
    started,
)

if TYPE_CHECKING:
    from deployer.core.events import Event
    from deployer.core.live import Live

A, B = release("a"), release("b")
EMPTY = Record(environment="staging")
GOOD = (seen(A), started(A), applied(), *ended_well(1, 9))
A_GOOD = record_of(*GOOD)
B_STARTED = (*GOOD, seen(B, 10), started(B, 2, second=12))
DEPLOYING_B = record_of(*B_STARTED)
FAILED_B = (*B_STARTED, applied(2, 13), failed(2, 20), held(2, 20))
B_FAILED = record_of(*FAILED_B)
ROLLING_BACK = (*FAILED_B, started(A, 3, Kind.ROLLBACK, 21), applied(3, 21))
ROLLED_BACK = (*ROLLING_BACK, *ended_well(3, 25))
FIRST_FAILED = record_of(seen(A), started(A), applied(), failed(1), held(1))
NO_ROOM = record_of(
    *FAILED_B[:-2], failed(2, 20, FailureClass.CAPACITY), *ROLLING_BACK[-2:], *ended_well(3, 25)
)
SICK = deployment(status="UNHEALTHY", running=0)
SCALING = deployment(status="UPSCALING", running=1, target=2)
SYNCED, OUT = Sync.SYNCED, Sync.OUT_OF_SYNC


def drifted(drift: DriftClass, *more: Event) -> Record:
    """A is good, and this was noted of the cluster."""
    return record_of(*GOOD, *more, Drifted(at=at(20), drift=drift, what="Something differs."))


def repair_failed(kind: Kind) -> Record:
    """A is good, and a repair of it failed."""
    return record_of(*GOOD, started(A, 2, kind, 20), applied(2, 20), failed(2, 25))


@pytest.mark.parametrize(
    ("wanted", "cluster", "record", "expected"),
    [
        pytest.param(desired(A), running(A), A_GOOD, (SYNCED, Health.HEALTHY, Mode.AUTO), id="live"),
        pytest.param(
            desired(A),
            running(A, deployments=(SCALING,)),
            A_GOOD,
            (SYNCED, Health.HEALTHY, Mode.AUTO),
            id="autoscaling",
        ),
        pytest.param(
            desired(A),
            running(A, status="DEPLOYING"),
            A_GOOD,
            (SYNCED, Health.PROGRESSING, Mode.AUTO),
            id="blink",
        ),
        pytest.param(
            desired(A),
            running(A, deployments=(SICK,)),
            drifted(DriftClass.SICK),
            (SYNCED, Health.DEGRADED, Mode.AUTO),
            id="sick: as it was sent, but does not serve",
        ),
        pytest.param(
            desired(A),
            running(A, status="UNHEALTHY"),
            A_GOOD,
            (SYNCED, Health.DEGRADED, Mode.AUTO),
            id="sick, before it is noted",
        ),
        pytest.param(
            desired(A), live(), A_GOOD, (OUT, Health.MISSING, Mode.AUTO), id="gone, before it is noted"
        ),
        pytest.param(
            desired(A), live(), drifted(DriftClass.LOST), (OUT, Health.MISSING, Mode.AUTO), id="lost"
        ),
        pytest.param(
            desired(A),
            running(B),
            drifted(DriftClass.EDITED),
            (OUT, Health.HEALTHY, Mode.AUTO),
            id="edited: serves, but not what git wants",
        ),
        pytest.param(
            desired(A),
            running(A),
            drifted(DriftClass.UNKNOWN),
            (SYNCED, Health.HEALTHY, Mode.AUTO),
            id="unknown",
        ),
        pytest.param(
            desired(A),
            Unreachable(why="x"),
            A_GOOD,
            (Sync.UNKNOWN, Health.UNKNOWN, Mode.AUTO),
            id="unreachable",
        ),
        pytest.param(
            desired(B), running(A), DEPLOYING_B, (OUT, Health.PROGRESSING, Mode.AUTO), id="deploying"
        ),
        pytest.param(desired(B), running(B), B_FAILED, (OUT, Health.DEGRADED, Mode.HELD), id="failed"),
        pytest.param(
            desired(B),
            running(A),
            record_of(*ROLLED_BACK),
            (OUT, Health.HEALTHY, Mode.HELD),
            id="rolled back",
        ),
        pytest.param(
            desired(B),
            running(A),
            record_of(*ROLLED_BACK, RetryAsked(at=at(26), digest=B.digest)),
            (OUT, Health.HEALTHY, Mode.AUTO),
            id="a retry was asked for",
        ),
        pytest.param(
            desired(A), running(A), FIRST_FAILED, (OUT, Health.DEGRADED, Mode.HELD), id="first failed"
        ),
        pytest.param(
            desired(A),
            running(A),
            record_of(*ROLLING_BACK, seen(A), failed(3)),
            (OUT, Health.DEGRADED, Mode.WAITING),
            id="stalled: waits for a person",
        ),
        pytest.param(
            desired(A),
            running(A),
            repair_failed(Kind.RESTORE),
            (SYNCED, Health.HEALTHY, Mode.AUTO),
            id="a restore failed, and it came up after all",
        ),
        pytest.param(
            desired(A),
            running(A, status="DEPLOY_FAILED"),
            repair_failed(Kind.HEAL),
            (SYNCED, Health.DEGRADED, Mode.AUTO),
            id="a heal failed",
        ),
        pytest.param(
            desired(B),
            running(A),
            record_of(*GOOD, seen(B), Paused(at=at(20), actor="ada")),
            (OUT, Health.HEALTHY, Mode.PAUSED),
            id="paused",
        ),
        pytest.param(desired(B), running(A), NO_ROOM, (OUT, Health.HEALTHY, Mode.WAITING), id="no room"),
        pytest.param(
            NotRead(why="x"), running(A), A_GOOD, (Sync.UNKNOWN, Health.HEALTHY, Mode.AUTO), id="git not read"
        ),
        pytest.param(
            Absent(why="x"), running(A), A_GOOD, (OUT, Health.HEALTHY, Mode.ORPHANED), id="branch gone"
        ),
        pytest.param(desired(A), live(), EMPTY, (OUT, Health.MISSING, Mode.AUTO), id="nothing yet"),
        pytest.param(
            desired(A),
            live(app("fruit", source="imperative")),
            record_of(seen(A)),
            (OUT, Health.MISSING, Mode.WAITING),
            id="in somebody's way",
        ),
        pytest.param(
            desired(A),
            live(app("theirs")),
            record_of(seen(A), started(A)),
            (OUT, Health.PROGRESSING, Mode.WAITING),
            id="in somebody's way in the middle of it",
        ),
    ],
)
def test_the_three_words(
    wanted: Any, cluster: Live, record: Record, expected: tuple[Sync, Health, Mode]
) -> None:
    """Sync, health and mode are derived, each from what it is about."""
    state = status(wanted, cluster, record, at(30))

    assert (state.sync, state.health, state.mode) == expected


def test_the_neighbours_count() -> None:
    """What is said and what is done are decided on the same facts."""
    neighbours = {"fruit": "production"}
    state = status(desired(A), live(), record_of(seen(A)), at(1), neighbours)

    assert (state.mode, state.line, state.seconds) == (Mode.WAITING, 30, 15.0)


class TestSentence:
    """Between a decision and its effect there is a sentence too."""

    def test_a_wait_is_its_reason(self) -> None:
        """Nothing else is added."""
        state = status(desired(A), running(A), A_GOOD, at(30))

        assert (state.message, state.line, state.seconds) == ('86f7e43 "commit a" is live.', 25, 15.0)

    def test_a_note(self) -> None:
        """Names what is written."""
        state = status(desired(A), live(), EMPTY, at(1))

        assert (state.message, state.line, state.seconds) == ("Noting seen.", 1, None)

    def test_a_put(self) -> None:
        """Names the release."""
        pending = status(desired(B), running(A, stamp=1.0), DEPLOYING_B, at(30))

        assert pending.message == 'deploying e9d71f5 "commit b": sending the config to the cluster'

    def test_a_probe(self) -> None:
        """Names the request."""
        policy = Policy(stability_window=0, checks=(Check(app="fruit", path="/one"),))
        history = (seen(A), started(A, policy=policy), applied())
        record, _, action = decided(desired(A), running(A), record_of(*history), 5)
        assert isinstance(action, Probe)

        message = status(desired(A), running(A), record, at(5)).message
        assert message == 'deploying 86f7e43 "commit a": checking GET /one'

    def test_a_log(self) -> None:
        """Names the replica."""
        log = LogSource(replica="r1", node_id="n1", path="serve/r1.log")
        record = record_of(seen(A), started(A), applied(), failed(1, log=log), held(1))

        assert status(desired(A), running(A), record, at(31)).message == "Reading the log of r1."


def test_live_while_deploying_and_after_a_failure() -> None:
    """The good release serves until a rollout failed and was not undone; no repair that failed counts."""
    assert status(desired(B), running(A, stamp=1.0), DEPLOYING_B, at(30)).live == A
    assert status(desired(B), running(B), B_FAILED, at(30)).live is None
    assert status(desired(A), running(A), repair_failed(Kind.RESTORE), at(30)).live == A
    assert status(desired(B), live(), EMPTY, at(30)).since is None
    assert status(desired(A), running(A), A_GOOD, at(30)).since == at(9)


CHECKED = Policy(checks=(Check(app="fruit", path="/one"), Check(app="fruit", path="/two")))
APPLIED = (seen(A), started(A, policy=CHECKED), applied())
HEALTHY = (*APPLIED, observed(settled=True), Healthy(at=at(11), rollout="staging#1"))


def checked(check: int, *, passed: bool = True) -> Checked:
    """One attempt."""
    return Checked(
        at=at(12), rollout="staging#1", check=check, passed=passed, message="GET / answered 200", ms=1.5
    )


@pytest.mark.parametrize(
    ("history", "phase"),
    [
        pytest.param(GOOD, None, id="at rest"),
        pytest.param(APPLIED[:-1], "applying", id="not sent"),
        pytest.param(APPLIED, "applying", id="not looked at"),
        pytest.param((*APPLIED, observed(phase="build")), "build", id="build"),
        pytest.param((*APPLIED, observed(phase="schedule")), "schedule", id="schedule"),
        pytest.param((*APPLIED, observed(phase="start")), "start", id="start"),
        pytest.param((*APPLIED, observed(settled=True)), "stabilize", id="settled"),
        pytest.param(HEALTHY, "check", id="healthy"),
        pytest.param((*HEALTHY, checked(0), checked(1, passed=False)), "check", id="one check passed"),
        pytest.param((*HEALTHY, checked(0), checked(1)), "soak", id="all checks passed"),
        pytest.param((*HEALTHY, observed(phase="start", sick=True)), "start", id="a flap"),
    ],
)
def test_the_phase(history: tuple[Event, ...], phase: str | None) -> None:
    """Derived from the record, not stored."""
    shown = view(status(desired(A), Unreachable(why="x"), record_of(*history), at(20)))

    assert (shown["rollout"] and shown["rollout"]["phase"]) == phase


def test_the_json_of_a_rollout_in_flight() -> None:
    """The documented shape, whole."""
    states = (
        State(app="fruit", status="DEPLOYING"),
        State(app="fruit", deployment="D", status="UPDATING", running=1, target=2, failed_starts=1, says="x"),
    )
    history = (
        *(*GOOD, seen(B, 10), started(B, 2, second=12, policy=CHECKED), applied(2, 13)),
        observed(2, 14, phase="start", states=states),
        Paused(at=at(15), actor="ada", reason="a demo", until=at(99)),
    )
    one = app("fruit", "DEPLOYING", message="m", deployments=(deployment(running=1, target=2, message="n"),))
    record = replace(record_of(*history), held=B_FAILED.held)
    cluster = live(one, app("theirs"), proxies={"n1": "HEALTHY"})
    shown = view(status(desired(B), cluster, record, at(30)))

    assert shown == {
        "environment": "staging",
        "sequence": 11,
        "sync": "OutOfSync",
        "health": "Progressing",
        "mode": "paused",
        "message": "Noting resubmitted.",
        "since": "2026-11-22T10:42:12.000Z",
        "live": {
            "release": "staging#1",
            "revision": A.revision.commit,
            "digest": A.digest,
            "subject": "commit a",
            "author": "Ada <ada@example.com>",
            "committer": "Ada <ada@example.com>",
            "co_authors": [],
            "merged": None,
            "pull_request": None,
            "tag": None,
        },
        "wanted": {
            "revision": B.revision.commit,
            "digest": B.digest,
            "subject": "commit b",
            "author": "Ada <ada@example.com>",
            "committer": "Ada <ada@example.com>",
            "co_authors": [],
            "merged": None,
            "pull_request": None,
            "tag": None,
        },
        "rollout": {
            "id": "staging#2",
            "kind": "deploy",
            "phase": "start",
            "started_at": "2026-11-22T10:42:12.000Z",
            "timeline": [
                {
                    "at": "2026-11-22T10:42:14.000Z",
                    "phase": "start",
                    "states": [
                        {
                            "app": "fruit",
                            "deployment": None,
                            "status": "DEPLOYING",
                            "running": 0,
                            "target": None,
                            "failed_starts": 0,
                            "message": "",
                        },
                        {
                            "app": "fruit",
                            "deployment": "D",
                            "status": "UPDATING",
                            "running": 1,
                            "target": 2,
                            "failed_starts": 1,
                            "message": "x",
                        },
                    ],
                }
            ],
            "checks": [
                {"app": "fruit", "path": "/one", "passed": None, "attempts": 0, "message": ""},
                {"app": "fruit", "path": "/two", "passed": None, "attempts": 0, "message": ""},
            ],
        },
        "held": [
            {
                "digest": B.digest,
                "revision": B.revision.commit,
                "reason": "fruit / D: ValueError: bad price",
                "since": "2026-11-22T10:42:20.000Z",
            }
        ],
        "paused": {
            "by": "ada",
            "reason": "a demo",
            "since": "2026-11-22T10:42:15.000Z",
            "until": "2026-11-22T10:43:39.000Z",
        },
        "drift": None,
        "starved": None,
        "last_failure": None,
        "git": {"seen_at": None, "trouble": None},
        "policy": {"line": 9, "seconds": None},
        "gates": [],
        "promotion": None,
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
        "foreign": ["theirs"],
        "cluster": {
            "ray_version": "2.60.0",
            "session": "session_1",
            "serve_started": True,
            "proxies": {"n1": "HEALTHY"},
        },
    }


def test_the_json_of_checks() -> None:
    """How each stands."""
    record = record_of(*HEALTHY, checked(0, passed=False), checked(0))
    shown = view(status(desired(A), Unreachable(why="x"), record, at(20)))

    assert shown["rollout"]["checks"][0] == {
        "app": "fruit",
        "path": "/one",
        "passed": True,
        "attempts": 2,
        "message": "GET / answered 200",
    }


def test_the_json_of_a_failure() -> None:
    """Why the last rollout failed, with what was seen before; also while the rollback runs."""
    moment = Moment(at=at(5), states=(State(app="fruit", status="DEPLOYING"),), settled=True)
    failure = Failure(
        failure_class=FailureClass.CODE, message="boom", detail="Traceback ...", timeline=(moment,)
    )
    event = Failed(at=at(20), rollout="staging#2", failure=failure)
    record = record_of(*FAILED_B[:-2], event, held(2, 20), *ROLLING_BACK[-2:])
    shown = view(status(desired(B), Unreachable(why="x"), record, at(30)))["last_failure"]

    (seen_before,) = shown.pop("timeline")
    assert (seen_before["at"], seen_before["phase"]) == ("2026-11-22T10:42:05.000Z", None)
    assert shown == {
        "rollout": "staging#2",
        "class": "code",
        "message": "boom",
        "detail": "Traceback ...",
    }
    ended = view(status(desired(B), running(A), record_of(*ROLLED_BACK), at(30)))
    assert ended["last_failure"] is None


def test_the_json_of_drift_and_of_want_of_room() -> None:
    """What it is, and since when."""
    shown = view(status(desired(A), running(B), drifted(DriftClass.EDITED), at(30)))
    assert shown["drift"] == {
        "class": "edited",
        "message": "Something differs.",
        "since": "2026-11-22T10:42:20.000Z",
    }
    shown = view(status(desired(B), running(A), NO_ROOM, at(30)))
    assert shown["starved"] == {"digest": B.digest, "tries": 1, "since": "2026-11-22T10:42:20.000Z"}


def test_the_json_of_nothing() -> None:
    """Null, not missing keys."""
    shown = view(status(NotRead(why="x"), Unreachable(why="y"), EMPTY, at(0)))

    for key in (
        "live",
        "wanted",
        "rollout",
        "since",
        "paused",
        "drift",
        "starved",
        "last_failure",
        "cluster",
    ):
        assert shown[key] is None, key
    assert (shown["held"], shown["apps"], shown["foreign"]) == ([], [], [])
    assert shown.keys() == view(status(desired(A), running(A), A_GOOD, at(30))).keys()


def test_what_git_wants_is_not_foreign() -> None:
    """An application of that name is shown, whoever has put it there."""
    shown = view(status(desired(A), live(app("fruit"), app("theirs")), record_of(seen(A)), at(1)))

    assert ([one["name"] for one in shown["apps"]], shown["foreign"]) == (["fruit"], ["theirs"])


def test_timestamps() -> None:
    """RFC 3339 in UTC."""
    assert timestamp(at(1.5)) == "2026-11-22T10:42:01.500Z"
    assert timestamp(None) is None
