"""The sentence of every event, and the story that a rollout's events make."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from deployer.core.events import (
    Applied,
    Approved,
    Cancelled,
    Checked,
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
    State,
    Superseded,
    SyncAsked,
)
from deployer.core.status import _phase, status, view
from deployer.core.telling import CheckResult, says, story, unseen
from deployer.core.types import Check, Policy, Release
from tests.support.build import applied, at, desired, live, observed, record_of, release, started
from tests.support.daemon_events import (
    COMMAND_REFUSED,
    STARTED,
    STOPPED,
    STORE_RESTORED,
    TOKEN_CREATED,
    TOKEN_REVOKED,
)

ROLLOUT = "staging#1"
SOURCE = LogSource(replica="r1", node_id="n1", path="serve/r1.log")
UPDATING = State(app="fruit", status="UPDATING", deployment="Mango", running=1, target=3)


SENTENCES: list[tuple[Event, str]] = [
    (Seen(at=at(0), release=release("one")), 'Git wants fe05bcd "commit one".'),
    (
        Seen(
            at=at(0),
            release=release("one"),
            notes=("An old format.",),
            superseded=("a", "b"),
            rewritten="the branch was rewritten",
        ),
        'Git wants fe05bcd "commit one". 2 commits before it were never deployed.'
        " It does not follow from what was deployed (the branch was rewritten). An old format.",
    ),
    (Refused(at=at(0), message="no such branch"), "No such branch. What runs was not touched."),
    (
        started(release("one"), plan="+ fruit"),
        'Deploy fe05bcd "commit one" began as staging#1 (push): + fruit',
    ),
    (
        started(release("one"), kind=Kind.ROLLBACK, trigger="staging#0 failed"),
        'Rollback to fe05bcd "commit one" began as staging#1 (staging#0 failed)',
    ),
    (
        Resubmitted(at=at(0), rollout=ROLLOUT, cause="somebody else wrote"),
        "The config is sent once more: somebody else wrote.",
    ),
    (applied(), "The cluster took the config."),
    (
        Applied(at=at(0), rollout=ROLLOUT, read_back=True),
        "The config was found on the cluster, so it need not be sent again.",
    ),
    (
        LostSight(at=at(0), rollout=ROLLOUT, why="nothing answers"),
        "Nothing answers. The deadlines stand still until it answers again.",
    ),
    (RegainedSight(at=at(0), rollout=ROLLOUT), "The cluster answers again; the deadlines go on."),
    (observed(settled=True), "Every application is RUNNING, every deployment HEALTHY and complete."),
    (observed(), "Nothing of it is there."),
    (
        observed(
            states=(
                State(app="fruit", status="DEPLOYING", says="Building"),
                replace(UPDATING, failed_starts=2),
                UPDATING,
                UPDATING,
                UPDATING,
            )
        ),
        "fruit DEPLOYING: Building; fruit / Mango UPDATING 1 of 3 replicas, 2 failed to start;"
        " fruit / Mango UPDATING 1 of 3 replicas; fruit / Mango UPDATING 1 of 3 replicas; and 1 more.",
    ),
    (Healthy(at=at(0), rollout=ROLLOUT), "It stayed healthy for the whole stability window."),
    (
        Checked(at=at(0), rollout=ROLLOUT, check=0, passed=True, message="GET /: 200", ms=3.4),
        "A check passed in 3 ms: GET /: 200.",
    ),
    (
        Checked(at=at(0), rollout=ROLLOUT, check=0, passed=False, message="GET /: 500", ms=3.6),
        "A check failed in 4 ms: GET /: 500.",
    ),
    (Good(at=at(0), rollout=ROLLOUT), "The release is good: it is the way back from the next one."),
    (
        Failed(
            at=at(0),
            rollout=ROLLOUT,
            failure=Failure(failure_class=FailureClass.CODE, message="fruit: ValueError"),
        ),
        "It failed (code): fruit: ValueError.",
    ),
    (Held(at=at(0), rollout=ROLLOUT), "Its config is held: it is not tried again on its own."),
    (
        LogKept(at=at(0), rollout=ROLLOUT, source=SOURCE, text="Traceback"),
        "The end of the log of replica r1 is kept as evidence.",
    ),
    (
        LogKept(at=at(0), rollout=ROLLOUT, source=SOURCE, text="", reason="the node is gone"),
        "The log of replica r1 could not be had.",
    ),
    (Superseded(at=at(0), rollout=ROLLOUT, by="c0ffee1234"), "It was overtaken by c0ffee1."),
    (Cancelled(at=at(0), rollout=ROLLOUT, actor="ada"), "It was ended before it came to its end."),
    (
        Drifted(at=at(0), drift=DriftClass.EDITED, what="fruit has another config."),
        "The cluster drifted (edited): fruit has another config.",
    ),
    (DriftEnded(at=at(0)), "The cluster runs the current release again."),
    (Measured(at=at(0), free={"GPU": 1.0, "CPU": 2.5}), "Free on the cluster: CPU 2.5, GPU 1."),
    (Measured(at=at(0), free={}), "Free on the cluster: nothing."),
    (Paused(at=at(0)), "The automation is paused until somebody resumes it."),
    (Paused(at=at(0), until=at(3600)), "The automation is paused until 2026-11-22 11:42 UTC."),
    (Resumed(at=at(0)), "The automation goes on."),
    (
        RetryAsked(at=at(0), digest="sha256:0123456789abcdef"),
        "One more try of sha256:0123456789ab is wanted.",
    ),
    (
        RetryAsked(at=at(0), digest="", accepts="c0ffee1234"),
        "c0ffee1 is wanted, although it does not follow from what was deployed.",
    ),
    (
        RollbackAsked(at=at(0), release=release("one"), made_good="staging#1"),
        'fe05bcd "commit one", which staging#1 made good, is wanted back.',
    ),
    (
        Approved(at=at(0), plan="sha256:0123456789abcdef", digest="d", commit="c0ffee1234"),
        "c0ffee1 is approved, for what it would do now (sha256:0123456789ab).",
    ),
    (
        Rejected(at=at(0), plan="sha256:0123456789abcdef", digest="d", commit="c0ffee1234"),
        "c0ffee1 is rejected, for what it would do now (sha256:0123456789ab).",
    ),
    (SyncAsked(at=at(0), digest="d", commit="c0ffee1234"), "c0ffee1 is to be deployed."),
    (
        SyncAsked(at=at(0), digest="d", commit="c0ffee1234", skipped=("windows", "drift")),
        "c0ffee1 is to be deployed without waiting for windows, drift.",
    ),
    (
        PromotionAsked(at=at(0), source="dev", rollout="dev#3", commit="c0ffee1234"),
        "c0ffee1, which is dev#3 in dev, is to be promoted.",
    ),
    (
        Promoted(at=at(0), commit="c0ffee1234", branch="env/production", before="badcafe123"),
        "env/production was pushed from badcafe to c0ffee1.",
    ),
    (
        Promoted(at=at(0), commit="c0ffee1234", branch="env/production"),
        "env/production was pushed to c0ffee1, as a new branch.",
    ),
    (
        Promoted(at=at(0), commit="c0ffee1234", branch="main", before="badcafe123", copied="deadbeef12"),
        "What c0ffee1 says is on main now, by deadbee.",
    ),
    (
        Proposed(
            at=at(0), commit="c0ffee1234", branch="main", head="deadbeef12", number=7, url="https://forge/7"
        ),
        "Pull request #7 to main is open with c0ffee1: https://forge/7",
    ),
    (
        PromotionFailed(at=at(0), commit="c0ffee1234", why="the branch is protected"),
        "c0ffee1 could not be promoted: the branch is protected.",
    ),
    (COMMAND_REFUSED, "`rollback` was refused: staging is not known to be good."),
    (STARTED, "deployer 1.2.3 started, with 1 environment."),
    (replace(STARTED, clusters={}), "deployer 1.2.3 started, with 0 environments."),
    (STOPPED, "deployer was stopped, in order."),
    (TOKEN_CREATED, "The token t3 of lin gives the role viewer in dev, staging."),
    (
        replace(TOKEN_CREATED, environments=None, expires_at=at(0)),
        f"The token t3 of lin gives the role viewer in every environment, until {at(0):%Y-%m-%d %H:%M} UTC.",
    ),
    (TOKEN_REVOKED, "The token t3 of lin counts no more."),
    (STORE_RESTORED, "The store was restored from a backup of 1,024 events."),
    (
        replace(STORE_RESTORED, lost=1, signed=1025),
        "The store was restored from a backup of 1,024 events; 1 event after them was given up.",
    ),
    (
        replace(STORE_RESTORED, events=1, lost=1200),
        "The store was restored from a backup of 1 event; 1,200 events after them were given up.",
    ),
    (
        replace(STORE_RESTORED, lost=None),
        "The store was restored from a backup of 1,024 events; what came after them could not be counted, and"
        " was given up.",
    ),
]


@pytest.mark.parametrize(
    ("event", "sentence"), [pytest.param(*one, id=f"{n}-{one[0].type}") for n, one in enumerate(SENTENCES)]
)
def test_an_event_says_what_happened(event: Event, sentence: str) -> None:
    """In one sentence, which is a snapshot."""
    assert says(event) == sentence


def test_every_type_of_event_has_a_sentence() -> None:
    """None was forgotten here, so none is without."""
    assert {type(event) for event, _ in SENTENCES} == set(get_args(Event))


def test_a_sentence_is_one_line_whatever_others_wrote() -> None:
    """A subject, a message of Serve's, a branch name: none turns the line, or ends it."""
    hostile = replace(release("one").revision, subject="evil\n\x1b[31m\u202e<b>")
    event = Seen(at=at(0), release=Release(revision=hostile, config=release("one").config))

    assert says(event) == 'Git wants fe05bcd "evil\\n\\x1b[31m\\u202e<b>".'


# --- the story -----------------------------------------------------------------------------------------

CHECKS = Policy(checks=(Check(app="fruit", path="/a"), Check(app="fruit", path="/b")))


def checked(index: int, second: float, *, passed: bool = True) -> Checked:
    """One attempt of a check."""
    message = "200" if passed else "500"
    return Checked(at=at(second), rollout=ROLLOUT, check=index, passed=passed, message=message, ms=second)


def phases_of(*events: Event) -> list[tuple[str, float | None]]:
    """The names of the phases, and how long each took."""
    return [(phase.name, phase.seconds) for phase in story(events).phases]


def test_the_phases_of_a_rollout_that_ends_well() -> None:
    """From the intent to the end, each from where the one before ended."""
    events: tuple[Event, ...] = (
        started(release("one"), policy=CHECKS),
        applied(second=1),
        observed(second=2, phase="build"),
        observed(second=5, phase="schedule"),
        observed(second=6, phase="start"),
        observed(second=10, settled=True),
        Healthy(at=at(40), rollout=ROLLOUT),
        checked(0, 41),
        checked(1, 42, passed=False),
        checked(1, 43),
        Good(at=at(163), rollout=ROLLOUT),
    )
    found = story(events)

    assert [(phase.name, phase.seconds) for phase in found.phases] == [
        ("applying", 2),
        ("build", 3),
        ("schedule", 1),
        ("start", 4),
        ("stabilize", 30),
        ("check", 3),
        ("soak", 120),
    ]
    assert [step.phase for step in found.steps][-4:] == ["check", "check", "soak", "soak"]
    assert [step.event for step in found.steps] == list(events)
    assert found.checks == (
        CheckResult(app="fruit", path="/a", passed=True, attempts=1, message="200", ms=41),
        CheckResult(app="fruit", path="/b", passed=True, attempts=2, message="200", ms=43),
    )


def test_without_checks_it_soaks_at_once() -> None:
    """A phase that has nothing to do is none."""
    healthy = (started(release("one")), applied(), observed(settled=True), Healthy(at=at(9), rollout=ROLLOUT))
    assert phases_of(*healthy)[-1] == ("soak", None)


def test_a_rollout_in_flight_is_in_its_last_phase() -> None:
    """Which has no end yet."""
    assert phases_of(started(release("one")), applied(second=1), observed(second=2)) == [
        ("applying", 2),
        ("start", None),
    ]


def test_what_breaks_goes_back() -> None:
    """A settled rollout that breaks starts again; a healthy one that is settled again goes on checking."""
    healthy: tuple[Event, ...] = (
        started(release("one"), policy=CHECKS),
        applied(second=1),
        observed(second=2, settled=True),
        observed(second=3, sick=True),
        observed(second=4, settled=True),
        Healthy(at=at(34), rollout=ROLLOUT),
        observed(second=35, sick=True),
        observed(second=36, settled=True),
    )
    names = [name for name, _ in phases_of(*healthy)]
    assert names == ["applying", "stabilize", "start", "stabilize", "check", "start", "check"]


def test_one_more_put_begins_anew() -> None:
    """Checks and health count for nothing of what was replaced."""
    found = story(
        (
            started(release("one"), policy=CHECKS),
            applied(second=1),
            observed(second=2, settled=True),
            Healthy(at=at(32), rollout=ROLLOUT),
            checked(0, 33),
            Resubmitted(at=at(34), rollout=ROLLOUT, cause="somebody else wrote"),
            Applied(at=at(35), rollout=ROLLOUT),
            observed(second=36, settled=True),
        )
    )
    assert [phase.name for phase in found.phases][-3:] == ["applying", "start", "stabilize"]
    assert [check.attempts for check in found.checks] == [0, 0]


@pytest.mark.parametrize(
    "end",
    [
        Good(at=at(9), rollout=ROLLOUT),
        Failed(
            at=at(9), rollout=ROLLOUT, failure=Failure(failure_class=FailureClass.DEADLINE, message="late")
        ),
        Superseded(at=at(9), rollout=ROLLOUT, by="next"),
        Cancelled(at=at(9), rollout=ROLLOUT),
    ],
    ids=lambda event: event.type,
)
def test_an_end_belongs_to_the_phase_that_it_came_in(end: Event) -> None:
    """And what comes after it to none: a digest that is held, a log that is kept."""
    found = story((started(release("one")), end, Held(at=at(10), rollout=ROLLOUT)))

    assert [step.phase for step in found.steps] == ["applying", "applying", ""]
    assert [(phase.name, phase.seconds) for phase in found.phases] == [("applying", 9)]


def test_a_clock_that_went_back_makes_no_negative_time() -> None:
    """It takes nothing then."""
    assert phases_of(started(release("one"), second=10), Cancelled(at=at(4), rollout=ROLLOUT)) == [
        ("applying", 0)
    ]


def test_the_phases_are_those_that_the_status_names() -> None:
    """After each event of a history the story is in the phase that `status` derives from the record."""
    history: list[Event] = [
        started(release("one"), policy=CHECKS),
        applied(second=1),
        observed(second=2, phase="build"),
        LostSight(at=at(3), rollout=ROLLOUT, why="nothing answers"),
        RegainedSight(at=at(4), rollout=ROLLOUT),
        observed(second=5, settled=True),
        observed(second=6, sick=True),
        observed(second=7, settled=True),
        Healthy(at=at(37), rollout=ROLLOUT),
        checked(0, 38, passed=False),
        checked(0, 39),
        Resubmitted(at=at(40), rollout=ROLLOUT, cause="somebody else wrote"),
        Applied(at=at(41), rollout=ROLLOUT),
        observed(second=42, settled=True),
        Healthy(at=at(72), rollout=ROLLOUT),
        observed(second=73, sick=True),
        observed(second=74, settled=True),
        checked(0, 75),
        checked(1, 76),
    ]
    for count in range(1, len(history) + 1):
        events = history[:count]
        assert story(events).steps[-1].phase == _phase(record_of(*events)), events[-1]


def test_what_was_never_seen_has_every_field_of_a_status() -> None:
    """So that nobody needs to ask whether there is one."""
    seen = view(status(desired(release("one")), live(), record_of(), at(0)))
    assert unseen("staging").keys() == {*seen, "observed_at"}
    assert unseen("staging")["environment"] == "staging"
