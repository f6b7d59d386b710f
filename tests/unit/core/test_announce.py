"""The sentences that go out: a snapshot of each."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from deployer.core.announce import announcement
from deployer.core.events import (
    DAEMON,
    Approved,
    Cancelled,
    Checked,
    DriftClass,
    Drifted,
    DriftEnded,
    Event,
    FailureClass,
    Kind,
    LogKept,
    LogSource,
    LostSight,
    Measured,
    Paused,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Proposed,
    Refused,
    RegainedSight,
    Rejected,
    Resubmitted,
    Resumed,
    RetryAsked,
    RollbackAsked,
    Seen,
    Superseded,
    SyncAsked,
)
from deployer.core.record import Record, evolve
from deployer.core.types import Policy
from tests.support.build import (
    applied,
    at,
    ended_well,
    failed,
    held,
    observed,
    record_of,
    release,
    seen,
    started,
)
from tests.support.daemon_events import COMMAND_REFUSED, OF_THE_DAEMON

A, B = release("a"), release("b")
MUTABLE = release(
    "m", {"name": "fruit", "runtime_env": {"working_dir": "https://git.example.com/fruit/main.zip"}}
)
A_GOOD = (started(A), applied(), *ended_well(1, 12))
B_IN_FLIGHT = (*A_GOOD, started(B, 2), applied(2))
OFF = (*A_GOOD, started(B, 2, policy=Policy(rollback=False)), applied(2))
CAPACITY = failed(2, 12, FailureClass.CAPACITY)
LOG = LogSource(replica="r1", node_id="n1", path="serve/r1.log")
PROMOTION = PromotionAsked(
    at=at(1), actor="ada (token x)", source="dev", rollout="dev#3", commit="c0ffee1234"
)
AGAIN = (
    *(*B_IN_FLIGHT, failed(2), held(2), started(A, 3, Kind.ROLLBACK), applied(3), *ended_well(3, 40)),
    *(RetryAsked(at=at(41), actor="ada", digest=B.digest), started(B, 4), applied(4)),
)

ANNOUNCED: list[tuple[str, tuple[Event, ...], Event, str]] = [
    (
        "a deploy is good",
        (started(A), applied(), *ended_well(1, 12)[:2]),
        ended_well(1, 12)[2],
        'deploy staging#1: 86f7e43 "commit a" is live after 12 s.',
    ),
    (
        "a rollback is good",
        (*A_GOOD, started(A, 2, Kind.ROLLBACK), applied(2), *ended_well(2)[:2]),
        ended_well(2)[2],
        'rollback staging#2: 86f7e43 "commit a" is live again after 10 s.',
    ),
    (
        "a restore is good",
        (*A_GOOD, started(A, 2, Kind.RESTORE), applied(2), *ended_well(2)[:2]),
        ended_well(2)[2],
        'restore staging#2: 86f7e43 "commit a" is restored after 10 s.',
    ),
    (
        "a heal is good",
        (*A_GOOD, started(A, 2, Kind.HEAL), applied(2), *ended_well(2)[:2]),
        ended_well(2)[2],
        'heal staging#2: 86f7e43 "commit a" is healed after 10 s.',
    ),
    (
        "a deploy failed",
        B_IN_FLIGHT,
        failed(2),
        'deploy staging#2: e9d71f5 "commit b" failed: fruit / D: ValueError: bad price.'
        ' Rolling back to 86f7e43 "commit a".',
    ),
    (
        "the way back may not be the way back",
        (started(MUTABLE), applied(), *ended_well(), started(B, 2), applied(2)),
        failed(2),
        'deploy staging#2: e9d71f5 "commit b" failed: fruit / D: ValueError: bad price.'
        ' Rolling back to 6b0d31c "commit m". Its code may not be what it was:'
        " https://git.example.com/fruit/main.zip names no version or commit.",
    ),
    (
        "rollback is off",
        OFF,
        failed(2),
        'deploy staging#2: e9d71f5 "commit b" failed: fruit / D: ValueError: bad price.'
        " Rollback is off: the cluster was left on it. Push a fix.",
    ),
    (
        "there was no room",
        B_IN_FLIGHT,
        CAPACITY,
        'deploy staging#2: e9d71f5 "commit b" failed: fruit / D: ValueError: bad price.'
        ' Back to 86f7e43 "commit a". It is not held: it is tried again when more resources are free.',
    ),
    (
        "there was no room, and rollback is off",
        OFF,
        CAPACITY,
        'deploy staging#2: e9d71f5 "commit b" failed: fruit / D: ValueError: bad price.'
        " It is not held: it is tried again when more resources are free.",
    ),
    (
        "there was no room for the first deploy",
        (started(A), applied()),
        failed(1, failure_class=FailureClass.CAPACITY),
        'deploy staging#1: 86f7e43 "commit a" failed: fruit / D: ValueError: bad price.'
        " It is not held: it is tried again when more resources are free.",
    ),
    (
        "the first deploy failed",
        (started(A), applied()),
        failed(1),
        'deploy staging#1: 86f7e43 "commit a" failed: fruit / D: ValueError: bad price.'
        " There is no good release to go back to. Push a fix.",
    ),
    (
        "the good release failed",
        (*A_GOOD, started(A, 2), applied(2)),
        failed(2),
        'deploy staging#2: 86f7e43 "commit a" failed: fruit / D: ValueError: bad price.'
        " There is no good release to go back to. Push a fix.",
    ),
    (
        "a rollback failed",
        (*A_GOOD, started(A, 2, Kind.ROLLBACK), applied(2)),
        failed(2),
        'rollback staging#2: 86f7e43 "commit a" failed: fruit / D: ValueError: bad price.'
        " The environment is DEGRADED; nothing is tried again until somebody acts.",
    ),
    (
        "a restore failed",
        (*A_GOOD, started(A, 2, Kind.RESTORE), applied(2)),
        failed(2),
        'restore staging#2: 86f7e43 "commit a" failed: fruit / D: ValueError: bad price.'
        " Serve goes on with it by itself; where it gives up, it is tried again.",
    ),
    (
        "overtaken",
        (started(A), applied()),
        Superseded(at=at(2), rollout="staging#1", by=B.revision.commit),
        'deploy staging#1: 86f7e43 "commit a" was overtaken by e9d71f5.',
    ),
    (
        "cancelled",
        (started(A), applied()),
        Cancelled(at=at(2), actor="ada", rollout="staging#1"),
        'deploy staging#1: 86f7e43 "commit a" was cancelled by ada.',
    ),
    (
        "out of sight",
        (started(A), applied()),
        LostSight(at=at(2), rollout="staging#1", why="cannot reach http://ray: connection refused"),
        "deploy staging#1: Cannot reach http://ray: connection refused."
        " Nothing is rolled back because of it.",
    ),
    (
        "in sight again",
        (started(A), applied(), LostSight(at=at(2), rollout="staging#1", why="x")),
        RegainedSight(at=at(3), rollout="staging#1"),
        "deploy staging#1: The cluster answers again; the rollout goes on.",
    ),
    ("refused", (), Refused(at=at(2), message="x.yaml:4:5: unknown key"), "x.yaml:4:5: unknown key"),
    (
        "a remark",
        (),
        Seen(at=at(2), release=A, notes=("The old format was wrapped.",)),
        '86f7e43 "commit a": The old format was wrapped.',
    ),
    (
        "lost",
        A_GOOD,
        Drifted(at=at(2), drift=DriftClass.LOST, what="fruit is gone."),
        "fruit is gone. The good release is brought back.",
    ),
    (
        "lost while paused",
        (*A_GOOD, Paused(at=at(1), actor="ada")),
        Drifted(at=at(2), drift=DriftClass.LOST, what="fruit is gone."),
        "fruit is gone. The good release is brought back; while the environment is paused, only on a new Ray"
        " head.",
    ),
    (
        "a retry of what is held found no room",
        AGAIN,
        failed(4, 50, FailureClass.CAPACITY),
        f'deploy staging#4: {B.revision.short} "commit b" failed: fruit / D: ValueError: bad price.'
        ' Back to 86f7e43 "commit a". It stays held.',
    ),
    (
        "drifted",
        A_GOOD,
        Drifted(at=at(2), drift=DriftClass.EDITED, what="fruit has another config."),
        "drift: fruit has another config.",
    ),
    ("no drift any more", A_GOOD, DriftEnded(at=at(2)), "The cluster runs the current release again."),
    (
        "paused",
        (),
        Paused(at=at(2), actor="ada", reason="a demo"),
        "Paused by ada (a demo), until somebody resumes it.",
    ),
    (
        "paused for a time",
        (),
        Paused(at=at(2), actor="ada", until=at(3600)),
        "Paused by ada, until 2026-11-22 11:42 UTC.",
    ),
    ("resumed", (), Resumed(at=at(2), actor="ada"), "Resumed by ada."),
    (
        "retried",
        (),
        RetryAsked(at=at(2), actor="ada", reason="flaky index", digest=A.digest),
        "ada asked for one more try (flaky index).",
    ),
    (
        "rolled back by hand",
        (),
        RollbackAsked(at=at(2), actor="ada", reason="slow", release=A, made_good="staging#1"),
        'ada asked for 86f7e43 "commit a" back (slow).',
    ),
    (
        "approved",
        (seen(A),),
        Approved(at=at(2), actor="lin (token x)", plan="sha256:0", digest=A.digest, commit="c0ffee1234"),
        "c0ffee1 is approved, for what it would do now (sha256:0), by lin (token x).",
    ),
    (
        "rejected",
        (seen(A),),
        Rejected(
            at=at(2),
            actor="lin (token x)",
            reason="too dear",
            plan="sha256:0",
            digest=A.digest,
            commit="c0ffee1234",
        ),
        "c0ffee1 is rejected, for what it would do now (sha256:0), by lin (token x) (too dear).",
    ),
    (
        "wanted now",
        (seen(A),),
        SyncAsked(at=at(2), actor="ada (local)", reason="fire", digest=A.digest, commit="c0ffee1234"),
        "c0ffee1 is to be deployed, by ada (local) (fire).",
    ),
    (
        "promoted",
        (PROMOTION,),
        Promoted(at=at(2), commit="c0ffee1234", branch="env/staging"),
        "env/staging was pushed to c0ffee1, as a new branch, by ada.",
    ),
    (
        "proposed",
        (PROMOTION,),
        Proposed(
            at=at(2), commit="c0ffee1234", branch="main", head="deadbeef12", number=7, url="https://forge/7"
        ),
        "Pull request #7 to main is open with c0ffee1: https://forge/7",
    ),
    (
        "promoted, by a pull request that outlasted the next promotion",
        (
            PROMOTION,
            Proposed(at=at(2), commit="c0ffee1234", branch="env/staging", head="dead", number=7, url="x"),
            replace(PROMOTION, actor="lin (token y)", commit="badcafe"),
            PromotionFailed(at=at(2), commit="badcafe", why="The branch is protected."),
        ),
        Promoted(at=at(2), actor=DAEMON, commit="c0ffee1234", branch="env/staging"),
        "env/staging was pushed to c0ffee1, as a new branch, by ada.",
    ),
    (
        "not promoted",
        (PROMOTION,),
        PromotionFailed(at=at(2), commit="c0ffee1234", why="The branch is protected."),
        "c0ffee1 could not be promoted: The branch is protected.",
    ),
]


def sick(second: float) -> Drifted:
    """Something is UNHEALTHY."""
    return Drifted(at=at(second), drift=DriftClass.SICK, what="fruit is UNHEALTHY.")


def test_what_is_sick_now_and_then_is_told_once_an_hour() -> None:
    """It would be a message at every look, for days; and that it is well again where it was told."""
    record, told = record_of(*A_GOOD), []
    for event in (
        *(sick(10), sick(20), DriftEnded(at=at(80)), sick(95), DriftEnded(at=at(160))),
        *(sick(3609), sick(3610), DriftEnded(at=at(3700))),
    ):
        told.append(announcement(record, event) is not None)
        record = evolve(record, event)

    assert told == [True, False, True, False, False, False, True, True]


SILENT: list[Event] = [
    COMMAND_REFUSED,
    *OF_THE_DAEMON,
    PROMOTION,
    seen(A),
    started(A),
    applied(),
    observed(),
    Resubmitted(at=at(2), rollout="staging#1", cause="x"),
    ended_well()[1],
    Checked(at=at(2), rollout="staging#1", check=0, passed=False, message="x", ms=1),
    held(1),
    LogKept(at=at(2), rollout="staging#1", source=LOG, text=""),
    Measured(at=at(2), free={}),
]


@pytest.mark.parametrize(
    ("history", "event", "sentence"),
    [pytest.param(history, event, sentence, id=name) for name, history, event, sentence in ANNOUNCED],
)
def test_announcements(history: tuple[Event, ...], event: Event, sentence: str) -> None:
    """Endings, refusals and what persons do are told, with cause and next step."""
    assert announcement(record_of(*history), event) == f"staging: {sentence}"


@pytest.mark.parametrize("event", SILENT, ids=lambda event: event.type)
def test_steps_in_between_are_not_told(event: Event) -> None:
    """They are in the status, and in the log."""
    assert announcement(record_of(started(A), applied()), event) is None


def test_every_event_is_considered() -> None:
    """A new event is announced or listed as one that is not."""
    listed = {type(event) for event in SILENT} | {type(event) for _, _, event, _ in ANNOUNCED}

    assert listed == set(get_args(Event))


def test_an_event_of_a_rollout_that_is_not_there_is_not_told() -> None:
    """There is nothing to say of it."""
    assert announcement(Record(environment="staging"), ended_well()[2]) is None
