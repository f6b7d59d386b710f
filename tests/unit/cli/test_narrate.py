"""What the demo tells a person: each step once, and nothing that is no news."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

import click
import pytest

from deployer.cli.narrate import Narrator
from deployer.core import sentences
from deployer.core.events import (
    Applied,
    Approved,
    Cancelled,
    Checked,
    CommandRefused,
    DaemonStarted,
    DaemonStopped,
    DriftClass,
    Drifted,
    DriftEnded,
    Event,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    LogKept,
    LogSource,
    LostSight,
    Measured,
    Observed,
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
    Started,
    StoreRestored,
    Superseded,
    SyncAsked,
    TokenCreated,
    TokenRevoked,
)
from deployer.core.record import Record, Rollout
from deployer.core.status import Health, Mode, Status, Sync
from deployer.core.types import Policy, Release
from tests.support import build
from tests.support.daemon_events import (
    COMMAND_REFUSED,
    STARTED,
    STOPPED,
    STORE_RESTORED,
    TOKEN_CREATED,
    TOKEN_REVOKED,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST = build.release("first")
SECOND = build.release("second")
FAILURE = Failure(failure_class=FailureClass.CODE, message="fruit / Mango: ValueError")
SOURCE = LogSource(replica="r1", node_id="n1", path="serve/r1.log")
AT = build.START


def rollout(kind: Kind = Kind.DEPLOY, release: Release = FIRST) -> Rollout:
    """A rollout in flight."""
    return Rollout(
        id="staging#1", kind=kind, release=release, policy=Policy(), trigger="push", started_at=AT, before={}
    )


def record(*, good: Release | None = None, flying: Rollout | None = None, name: str = "staging") -> Record:
    """The record before an event."""
    return Record(environment=name, good=good, rollout=flying)


def status(message: str, of: Record) -> Status:
    """How far it is."""
    return Status(
        environment=of.environment,
        sync=Sync.SYNCED,
        health=Health.HEALTHY,
        mode=Mode.AUTO,
        message=message,
        since=None,
        live=None,
        wanted=None,
        phase=None,
        cluster=None,
        record=of,
        line=1,
        seconds=1.0,
    )


class Screen:
    """What was printed, without the time of day and the colours."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        """Take a line."""
        _, _, rest = click.unstyle(line).partition("  ")
        self.lines.append(" ".join(rest.split()))


ROLLOUT = "staging#1"
PLAN, COMMIT = f"sha256:{'a' * 64}", "c0ffee1" + "0" * 33
SAID: Mapping[type, tuple[Event, str | None]] = {
    Seen: (Seen(at=AT, release=SECOND, notes=("An old form.",)), "fetched {second} by Ada. An old form."),
    Refused: (Refused(at=AT, message="f:1:1: no."), "refused f:1:1: no. What runs is not touched."),
    Started: (
        Started(
            at=AT,
            rollout=ROLLOUT,
            kind=Kind.HEAL,
            release=FIRST,
            policy=Policy(),
            trigger="drift",
            plan="~ fruit",
        ),
        "heal staging#1 {first}: ~ fruit",
    ),
    Resubmitted: (
        Resubmitted(at=AT, rollout=ROLLOUT, cause="it is gone"),
        "again the config is sent once more: it is gone",
    ),
    Applied: (
        Applied(at=AT, rollout=ROLLOUT),
        "applied the cluster took the config; waiting until it is healthy",
    ),
    LostSight: (
        LostSight(at=AT, rollout=ROLLOUT, why="It hangs."),
        "no sight It hangs. The deadlines stand still.",
    ),
    RegainedSight: (RegainedSight(at=AT, rollout=ROLLOUT), "sight the cluster answers again"),
    Observed: (Observed(at=AT, rollout=ROLLOUT, states=(), settled=True), None),
    Healthy: (
        Healthy(at=AT, rollout=ROLLOUT),
        "healthy every application RUNNING, every deployment HEALTHY, and stayed so",
    ),
    Checked: (
        Checked(at=AT, rollout=ROLLOUT, check=0, passed=False, message="GET / answered 500", ms=1.0),
        "check failed: GET / answered 500",
    ),
    Good: (Good(at=build.at(90), rollout=ROLLOUT), "good {first} is live after 1m30s"),
    Failed: (Failed(at=AT, rollout=ROLLOUT, failure=FAILURE), "FAILED fruit / Mango: ValueError"),
    Held: (
        Held(at=AT, rollout=ROLLOUT),
        "held staging#1 is not tried again; the next new config deploys by itself",
    ),
    LogKept: (
        LogKept(at=AT, rollout=ROLLOUT, source=SOURCE, text="", reason="it is gone"),
        "log the log of replica r1 could not be had: it is gone",
    ),
    Superseded: (Superseded(at=AT, rollout=ROLLOUT, by="1234567890"), "overtaken by 1234567"),
    Cancelled: (
        Cancelled(at=AT, rollout=ROLLOUT, actor="lin"),
        "cancelled the rollout is ended by lin",
    ),
    Drifted: (Drifted(at=AT, drift=DriftClass.EDITED, what="fruit was edited"), "drift fruit was edited"),
    DriftEnded: (DriftEnded(at=AT), "drift the cluster runs the current release again"),
    Measured: (Measured(at=AT, free={"CPU": 1.0}), None),
    Paused: (
        Paused(at=AT, actor="lin", reason="exam week", until=AT),
        "paused by lin (exam week) until 10:42 UTC",
    ),
    Resumed: (Resumed(at=AT, actor="lin"), "resumed by lin"),
    RetryAsked: (RetryAsked(at=AT, actor="lin", digest="d"), "retry asked by lin"),
    RollbackAsked: (
        RollbackAsked(at=AT, actor="lin", reason="it hurts", release=FIRST, made_good=ROLLOUT),
        "rollback to {first}, asked by lin (it hurts)",
    ),
    Approved: (
        Approved(at=AT, actor="lin", plan=PLAN, digest="d", commit=COMMIT),
        f"approved {COMMIT[:7]} is approved, for what it would do now ({PLAN[:19]}), by lin",
    ),
    Rejected: (
        Rejected(at=AT, actor="lin", reason="too late", plan=PLAN, digest="d", commit=COMMIT),
        f"rejected {COMMIT[:7]} is rejected, for what it would do now ({PLAN[:19]}), by lin (too late)",
    ),
    SyncAsked: (
        SyncAsked(at=AT, actor="lin", digest="d", commit=COMMIT, skipped=("windows",)),
        f"sync {COMMIT[:7]} is to be deployed without waiting for windows, by lin",
    ),
    PromotionAsked: (
        PromotionAsked(at=AT, actor="lin", source="dev", rollout="dev#3", commit=COMMIT),
        f"promote {COMMIT[:7]}, which is dev#3 in dev, is to be promoted, by lin",
    ),
    Promoted: (
        Promoted(at=AT, commit=COMMIT, branch="env/staging"),
        f"promote env/staging was pushed to {COMMIT[:7]}, as a new branch.",
    ),
    Proposed: (
        Proposed(at=AT, commit=COMMIT, branch="main", head=COMMIT, number=7, url="https://forge/7"),
        f"promote Pull request #7 to main is open with {COMMIT[:7]}: https://forge/7",
    ),
    PromotionFailed: (
        PromotionFailed(at=AT, commit=COMMIT, why="the server refuses it"),
        f"promote {COMMIT[:7]} could not be promoted: the server refuses it.",
    ),
    CommandRefused: (
        COMMAND_REFUSED,
        "refused `rollback` was refused: staging is not known to be good, by lin (token 3)",
    ),
    DaemonStarted: (STARTED, "daemon deployer 1.2.3 started, with 1 environment."),
    DaemonStopped: (STOPPED, "daemon deployer was stopped, in order."),
    TokenCreated: (TOKEN_CREATED, "daemon The token t3 of lin gives the role viewer in dev, staging."),
    TokenRevoked: (TOKEN_REVOKED, "daemon The token t3 of lin counts no more."),
    StoreRestored: (STORE_RESTORED, "daemon The store was restored from a backup of 1,024 events."),
}


def say(event: Event, before: Record) -> list[str]:
    """What is printed of a fact, given the record before it."""
    screen = Screen()
    Narrator(screen.write).recorded(before, event)
    return screen.lines


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_every_fact_has_a_line_or_is_told_by_the_status(kind: type) -> None:
    """No new fact can be forgotten here."""
    event, said = SAID[kind]
    expected = said and said.format(first=sentences.name(FIRST), second=sentences.name(SECOND))
    assert say(event, record(flying=rollout())) == ([f"staging {expected}"] if expected else [])


def test_what_else_a_line_says() -> None:
    """Of a deploy its plan, of a config found there that it was found, of a way back that it is one."""
    start = Started(
        at=AT,
        rollout=ROLLOUT,
        kind=Kind.DEPLOY,
        release=FIRST,
        policy=Policy(),
        trigger="push",
        plan="+ fruit",
    )
    assert say(start, record()) == [f"staging plan staging#1 {sentences.name(FIRST)}: + fruit"]
    found = Applied(at=AT, rollout=ROLLOUT, read_back=True)
    assert say(found, record()) == ["staging applied found on the cluster; it need not be sent again"]
    back = record(flying=rollout(Kind.ROLLBACK))
    assert say(Good(at=build.at(5), rollout=ROLLOUT), back) == [
        f"staging good {sentences.name(FIRST)} is live again after 5.0 s"
    ]
    kept = LogKept(at=AT, rollout=ROLLOUT, source=SOURCE, text="Traceback")
    assert say(kept, record()) == ["staging log the end of the log of replica r1 is kept with the rollout"]
    passed = Checked(at=AT, rollout=ROLLOUT, check=0, passed=True, message="GET / answered 200", ms=1.0)
    assert say(passed, record()) == ["staging check passed: GET / answered 200"]
    assert say(Paused(at=AT, actor="lin"), record()) == ["staging paused by lin until somebody resumes it"]


def test_a_commit_that_changes_nothing_here_is_told_by_the_status() -> None:
    """On a branch that several environments read, every commit reaches each of them."""
    assert say(Seen(at=AT, release=FIRST), record(good=FIRST)) == []
    assert say(Seen(at=AT, release=SECOND), record(good=FIRST)) != []


def test_what_git_and_serve_say_cannot_move_the_cursor() -> None:
    """Colours, line breaks and the like in a message are taken out."""
    assert say(Refused(at=AT, message="a\x1b[2Jb\nc"), record()) == [
        "staging refused ab c What runs is not touched."
    ]


def test_a_wait_is_told_once_and_again_when_something_changed() -> None:
    """What is left of a wait is no news; after a fact the wait is told anew."""
    screen = Screen()
    narrator = Narrator(screen.write)
    flying = record(flying=rollout())
    prefix = sentences.progressing(rollout(), "")
    for text in (
        "soaking for 1m2s more",
        "soaking for 59 s more",
        "soaking for 0.3 s more",
        "fruit 1/2",
        "fruit 2/2",
    ):
        narrator.observed(status(f"{prefix}{text}", flying))
    assert screen.lines == [
        "staging waiting soaking for 1m2s more",
        "staging waiting fruit 1/2",
        "staging waiting fruit 2/2",
    ]
    narrator.recorded(flying, Observed(at=AT, rollout=ROLLOUT, states=(), settled=True))
    narrator.observed(status(f"{prefix}fruit 2/2", flying))
    assert len(screen.lines) == 3
    narrator.recorded(flying, RegainedSight(at=AT, rollout=ROLLOUT))
    narrator.observed(status(f"{prefix}fruit 2/2", flying))
    assert screen.lines[3:] == ["staging sight the cluster answers again", "staging waiting fruit 2/2"]


def test_settled_is_said_once_after_the_last_first_rollout() -> None:
    """When each environment has had one, well or badly, and its status has been told."""
    screen = Screen()
    narrator = Narrator(
        screen.write,
        environments=("staging", "production"),
        on_settled=lambda: screen.lines.append("settled"),
    )
    staging, production = record(), record(name="production")
    narrator.observed(status("Nothing was ever deployed here.", production))
    narrator.recorded(staging, Good(at=AT, rollout=ROLLOUT))
    narrator.observed(status("It is live.", staging))
    narrator.recorded(production, Failed(at=AT, rollout="production#1", failure=FAILURE))
    assert "settled" not in screen.lines
    narrator.observed(status("It is held.", production))
    assert screen.lines[-2:] == ["production status It is held.", "settled"]

    narrator.recorded(record(good=FIRST), Good(at=AT, rollout=ROLLOUT))
    narrator.observed(status("Another is live.", staging))
    assert screen.lines.count("settled") == 1
