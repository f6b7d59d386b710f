"""The policy of `decide`: one parameter per line of its table, then the edges of lines 1 to 17."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core import body, gates, rest
from deployer.core import decide as module
from deployer.core.actions import Action, KeepLog, Note, Probe, Put, Wait
from deployer.core.body import applications
from deployer.core.decide import POLICY, RETRY_SECONDS, decide, rejected, unanswered
from deployer.core.errors import Problem
from deployer.core.events import (
    Applied,
    Cancelled,
    Checked,
    DriftClass,
    Drifted,
    Event,
    Failed,
    FailureClass,
    Healthy,
    Kind,
    LogSource,
    LostSight,
    Observed,
    Paused,
    Refused,
    RegainedSight,
    Resubmitted,
    Resumed,
    RetryAsked,
    RollbackAsked,
    Seen,
    Started,
    Superseded,
)
from deployer.core.gates import Gating, Proof, Rules
from deployer.core.judge import see
from deployer.core.live import Deployment, Live, Replica, Unreachable, Unreadable
from deployer.core.record import Record, Result, evolve
from deployer.core.types import Absent, Check, Deadlines, Invalid, NotRead, Policy, Release
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
    revision,
    running,
    seen,
    started,
)

if TYPE_CHECKING:
    from deployer.core.live import Observation
    from deployer.core.types import Wanted

A, B, C = release("a"), release("b"), release("c")
TWO = release("two", "fruit", "math", "salad")
EMPTY = Record(environment="staging")
SILENT = Unreachable(why="cannot reach http://ray: connection refused.")
QUICK = Policy(stability_window=10, soak=20)
CHECKED = Policy(stability_window=0, soak=20, checks=(Check(app="fruit", path="/", retries=2),))
LOG = LogSource(replica="r1", node_id="n1", path="serve/r1.log")

A_GOOD = (seen(A), started(A), applied(), *ended_well())
B_STARTED = (*A_GOOD, seen(B, 20), started(B, 2, second=20))
B_APPLIED = (*B_STARTED, applied(2, 21))
B_FAILED = (*B_APPLIED, failed(2), held(2))
ROLLING_BACK = (*B_FAILED, started(A, 3, Kind.ROLLBACK, 30), applied(3, 31))
ROLLED_BACK = (*ROLLING_BACK, *ended_well(3, 40))
NO_ROOM = (
    *(*B_APPLIED, failed(2, failure_class=FailureClass.CAPACITY), started(A, 3, Kind.ROLLBACK, 30)),
    *(applied(3, 31), *ended_well(3, 40)),
)
LOST = Drifted(at=at(50), drift=DriftClass.LOST, what="Nothing is there.")
PAUSED = Paused(at=at(41), actor="ada", reason="a demo")

UPDATING = deployment(status="UPDATING", status_trigger="CONFIG_UPDATE_STARTED", running=0)
HOMELESS = replace(UPDATING, replicas=(Replica(replica_id="r", state="STARTING"),))
NO_PLACE = (
    "Deployment 'D' in application 'fruit' has 1 replicas that have taken more than 30s to be scheduled."
    ' Resources required for each replica: {"GPU": 1}, total resources available: {}.'
)


def busy(what: Release, *deployments: Deployment, **more: Any) -> Live:
    """The release is on its way there."""
    return running(what, status="DEPLOYING", deployments=deployments, **more)


def looked(cluster: Live, second: float, *history: Event) -> Record:
    """The record after these events and a look at the cluster."""
    record = record_of(*history)
    rollout = record.rollout
    assert rollout is not None
    sighting = see(cluster, rollout)
    return evolve(
        record,
        Observed(
            at=at(second),
            rollout=rollout.id,
            states=sighting.states,
            settled=sighting.settled,
            sick=sighting.sick,
            phase=sighting.phase.value if sighting.phase else "",
        ),
    )


def b_with(policy: Policy, second: float = 22, cluster: Live | None = None) -> Record:
    """B was applied under this policy at second 21, and then looked at."""
    history = (*A_GOOD, seen(B, 20), started(B, 2, second=20, policy=policy), applied(2, 21))
    return looked(cluster or running(B), second, *history)


def healthy_b(policy: Policy) -> Record:
    """B is settled since second 22 and healthy since 32."""
    return evolve(b_with(policy), Healthy(at=at(32), rollout="staging#2"))


def checked(number: int, *, passed: bool = False) -> Checked:
    """One attempt of the check, at second 32 + number."""
    return Checked(
        at=at(32 + number), rollout="staging#2", check=0, passed=passed, message="GET / answered 500", ms=9
    )


def kinds(action: Action) -> list[str]:
    """Give the types of the events that the action notes."""
    assert isinstance(action, Note), action
    return [event.type for event in action.events]


def waits(action: Action) -> str:
    """Give the reason to wait."""
    assert isinstance(action, Wait), action
    return action.reason


def noted(wanted: Wanted, cluster: Observation, record: Record, second: float) -> Record:
    """The record after what one decision notes."""
    action = decide(wanted, cluster, record, at(second))
    assert isinstance(action, Note), action
    for event in action.events:
        record = evolve(record, event)
    return record


EDITED = running(A, stamp=9.0)
EDITED = replace(EDITED, apps={"fruit": replace(EDITED.apps["fruit"], config={"name": "fruit"})})
FAILING = running(B, status="DEPLOY_FAILED", message="x\nValueError: bad price", deployments=())
ASKED = RollbackAsked(at=at(40), actor="ada", reason="slow", release=C, made_good="staging#0")
SIGHTLESS = LostSight(at=at(25), rollout="staging#2", why="x")
GONE = Absent(why="Branch env/staging is gone.")
UNREAD = NotRead(why="First look under way.")
ONE_LEFT = release("one", "fruit")
THREE_GOOD = (seen(TWO), started(TWO, before={}), applied(), *ended_well())

Case = tuple["Wanted", "Observation", Record, float]
LINES: list[Case] = [
    (desired(A), live(), EMPTY, 5),
    (desired(A), SILENT, record_of(*A_GOOD), 50),
    (desired(B), busy(B), record_of(*B_APPLIED, SIGHTLESS), 99),
    (desired(A), running(A), record_of(*A_GOOD, replace(PAUSED, until=at(60))), 60),
    (desired(A), running(A), record_of(*A_GOOD, ASKED), 41),
    (desired(C), busy(B), record_of(*B_APPLIED, seen(C, 25)), 26),
    (desired(B), running(B), record_of(*B_STARTED), 26),
    (desired(B), running(A, stamp=1.0), record_of(*B_STARTED), 26),
    (desired(B), running(C), record_of(*B_APPLIED), 26),
    (desired(B), busy(A), record_of(*B_APPLIED, failed(2, log=LOG), held(2), *ROLLING_BACK[-2:]), 32),
    (desired(B), busy(B), record_of(*B_APPLIED), 26),
    (desired(B), FAILING, looked(FAILING, 22, *B_APPLIED), 26),
    (desired(B), busy(B, UPDATING), looked(busy(B, UPDATING), 22, *B_APPLIED), 1223),
    (desired(B), running(B), b_with(QUICK), 32),
    (desired(B), running(B), healthy_b(CHECKED), 32),
    (desired(B), running(B), healthy_b(QUICK), 52),
    (desired(B), busy(B), looked(busy(B), 22, *B_APPLIED), 26),
    (desired(B), running(B), record_of(*B_FAILED), 31),
    (desired(A), live(), record_of(*A_GOOD), 50),
    (desired(A), live(), noted(desired(A), live(), record_of(*A_GOOD), 50), 55),
    (desired(B), running(A), record_of(*A_GOOD, seen(B)), 50),
    (desired(A), EDITED, noted(desired(A), EDITED, record_of(*A_GOOD), 50), 50),
    (GONE, running(A), record_of(*A_GOOD, Refused(at=at(30), message=GONE.why)), 50),
    (desired(B), running(A), record_of(*A_GOOD, seen(B), PAUSED), 50),
    (desired(A), running(A), record_of(*A_GOOD), 50),
    (desired(B), running(A), record_of(*ROLLED_BACK), 50),
    (desired(B), running(A), record_of(*NO_ROOM), 50),
    (desired(A), running(A), record_of(*ROLLING_BACK, seen(A, 50), failed(3, 60)), 70),
    (desired(ONE_LEFT), running(TWO), record_of(*THREE_GOOD, seen(ONE_LEFT)), 50),
    (desired(A), live(app("fruit", source="imperative")), record_of(seen(A)), 50),
    (desired(B), running(A), record_of(*A_GOOD, seen(B)), 50),
]

SHUT = Gating(rules=Rules(manual=True, requires={"dev": 60.0}))
GATED = len(POLICY)
"""The line of a closed gate."""


@pytest.mark.parametrize(
    ("number", "case"),
    [
        pytest.param(number, case, id=f"{number}: {condition}")
        for number, (case, (condition, _)) in enumerate(zip(LINES, POLICY, strict=True), start=1)
    ],
)
def test_each_line_of_the_policy_decides(number: int, case: Case) -> None:
    """The first line that fits; its number is what `deployer explain` shows."""
    wanted, observation, record, second = case
    gating = SHUT if number == GATED else gates.NONE

    assert decide(wanted, observation, record, at(second), gating=gating).line == number


def test_nothing_but_a_deploy_of_what_git_wants_waits_for_a_gate() -> None:
    """Neither a rollback, a restore or a heal, nor what is in flight; only what would begin, or overtake."""
    starts = {6: 11, 21: GATED, GATED: GATED}
    for number, (wanted, observation, record, second) in enumerate(LINES, start=1):
        action = decide(wanted, observation, record, at(second), gating=SHUT)

        assert action.line == starts.get(number, number)


def test_a_closed_gate_is_told_with_what_else_is_closed() -> None:
    """And it is looked at again when it may open by itself, if that is soon."""
    record = record_of(*A_GOOD, seen(B))
    action = decide(desired(B), running(A), record, at(50), gating=SHUT)
    told = f'{B.revision.short} "commit b" waits for the gate requires. Nothing is known of dev yet'
    assert waits(action) == f"{told}: it is looked at again by itself. Also closed: manual."
    soon = Gating(rules=Rules(requires={"dev": 60.0}), proofs={"dev": Proof(good_since=at(0))})
    action = decide(desired(B), running(A), record, at(50), gating=soon)
    assert isinstance(action, Wait)
    assert action.seconds == 10
    assert kinds(decide(desired(B), running(A), record, at(60), gating=soon)) == ["started"]


def test_the_policy_has_exactly_the_lines_that_the_code_gives() -> None:
    """Neither a line that never decides nor a decision without a line."""
    pattern = re.compile(r"line=(\d+)|_wait\((\d+)|return \(?(\d+), sentences")
    sources = [Path(one.__file__ or "").read_text() for one in (module, rest)]
    given = {int(next(filter(None, found))) for text in sources for found in pattern.findall(text)}

    assert given == set(range(1, len(POLICY) + 1))


class TestNews:
    """Line 1."""

    def test_a_new_release_is_noted_with_its_author(self) -> None:
        """What git wants is a fact before anything follows from it."""
        action = decide(desired(A), live(), EMPTY, at(5))

        assert action == Note(line=1, events=(Seen(at=at(5), actor="Ada <ada@example.com>", release=A),))

    def test_it_is_noted_even_when_the_cluster_is_silent(self) -> None:
        """Git and the cluster are two things."""
        assert kinds(decide(desired(A), SILENT, EMPTY, at(5))) == ["seen"]

    def test_an_invalid_file_is_refused_once(self) -> None:
        """The same refusal is one fact, not one per pass."""
        problem = Problem(
            file="environments/staging/serve_config.yaml", line=4, column=5, message="unknown key"
        )
        wanted = Invalid(revision=revision("x"), problems=(problem, problem))
        record, events, action = decided(wanted, running(A), record_of(*A_GOOD), 50)

        (event,) = events
        assert isinstance(event, Refused)
        assert event.message == "environments/staging/serve_config.yaml:4:5: unknown key (and 1 more)"
        assert "Push a fix." in waits(action)
        assert decided(wanted, running(A), record, 51)[1] == ()

    def test_a_vanished_branch_is_refused_and_changes_nothing(self) -> None:
        """Removal in git causes no deletion by itself."""
        _, events, action = decided(GONE, running(A), record_of(*A_GOOD), 50)

        assert [event.type for event in events] == ["refused"]
        assert "is live" in waits(action)

    def test_coming_back_from_a_refusal_is_news(self) -> None:
        """After a refusal the good release is seen again, so that the refusal ends."""
        refused = Refused(at=at(40), message="gone")

        assert kinds(decide(desired(A), running(A), record_of(*A_GOOD, refused), at(50))) == ["seen"]

    def test_an_unread_repository_is_no_news(self) -> None:
        """Nothing is known, so nothing is said of it."""
        action = decide(UNREAD, running(A), record_of(*A_GOOD), at(50))

        assert waits(action) == 'First look under way. 86f7e43 "commit a" is live.'


class TestSight:
    """Lines 2 and 3: a cluster that cannot be seen is never a reason to roll back."""

    @pytest.mark.parametrize("observation", [SILENT, Unreadable(why="It answers with a login page.")])
    def test_idle(self, observation: Unreachable | Unreadable) -> None:
        """With nothing in flight there is nothing to note."""
        assert observation.why[1:] in waits(decide(desired(A), observation, record_of(*A_GOOD), at(50)))

    def test_what_git_says_wrong_is_not_hidden_by_a_silent_cluster(self) -> None:
        """Two things are broken, and each wants a person."""
        record = record_of(*A_GOOD, Refused(at=at(40), message="x.yaml:4:5: unknown key"))

        assert waits(decide(UNREAD, SILENT, record, at(50))).endswith(
            "Nothing is changed until it answers. x.yaml:4:5: unknown key."
        )

    def test_an_applied_rollout_loses_sight_once(self) -> None:
        """The moment is durable, because deadlines stand still from there."""
        record, events, action = decided(desired(B), SILENT, record_of(*B_APPLIED), 25)
        assert events == (LostSight(at=at(25), rollout="staging#2", why=SILENT.why),)
        assert isinstance(action, Wait)

        after = decide(desired(B), SILENT, record, at(99_999))
        assert "nothing is rolled back because of it" in waits(after)

    def test_a_pending_rollout_only_waits(self) -> None:
        """No deadline runs before Applied."""
        assert isinstance(decide(desired(B), SILENT, record_of(*B_STARTED), at(99_999)), Wait)

    def test_sight_regained_is_noted_and_the_blind_time_does_not_count(self) -> None:
        """An outage longer than all deadlines does not fail the rollout."""
        history = (*B_APPLIED, observed(2, 22, phase="build"), SIGHTLESS)
        _, events, action = decided(desired(B), busy(B), record_of(*history), 50_000)

        assert events[0] == RegainedSight(at=at(50_000), rollout="staging#2")
        assert [event.type for event in events[1:]] == ["observed"]
        assert isinstance(action, Wait)


class TestPersons:
    """Lines 4 and 5."""

    def test_a_pause_ends_by_itself(self) -> None:
        """Also in the middle of a rollout; not before its time."""
        paused = replace(PAUSED, until=at(60))
        assert decide(desired(A), running(A), record_of(*A_GOOD, paused), at(60)) == Note(
            line=4, events=(Resumed(at=at(60), reason="the pause was over"),)
        )
        record = looked(busy(B), 22, *B_APPLIED, paused)
        assert isinstance(decide(desired(B), busy(B), record, at(59)), Wait)
        assert kinds(decide(desired(B), busy(B), record, at(60))) == ["resumed"]

    def test_a_rollback_that_was_asked_for_starts_at_once(self) -> None:
        """Also while the environment is paused; by the person, and with the reason."""
        action = decide(desired(A), running(A), record_of(*A_GOOD, PAUSED, ASKED), at(42))

        assert isinstance(action, Note)
        (start,) = action.events
        assert isinstance(start, Started)
        assert (start.kind, start.release, start.trigger) == (Kind.ROLLBACK, C, "asked for")
        assert (start.actor, start.reason, start.rollout) == ("ada", "slow", "staging#2")

    def test_it_ends_what_is_in_flight(self) -> None:
        """In one transaction, whatever that is."""
        action = decide(desired(B), busy(B), record_of(*B_APPLIED, ASKED), at(42))

        assert kinds(action) == ["cancelled", "started"]
        assert isinstance(action, Note)
        assert action.events[0] == Cancelled(at=at(42), actor="ada", reason="slow", rollout="staging#2")
        start = action.events[1]
        assert isinstance(start, Started)
        assert (start.rollout, start.release, start.before) == ("staging#3", C, {"fruit": 2.0})

    def test_it_waits_for_a_cluster_that_can_be_seen(self) -> None:
        """And is not forgotten."""
        assert isinstance(decide(desired(A), SILENT, record_of(*A_GOOD, ASKED), at(42)), Wait)


class TestBlindAtRest:
    """Line 2, with nothing in flight."""

    def test_it_is_told_after_a_minute_and_once(self) -> None:
        """Nothing else is: nobody may notice that nothing could be healed or deployed."""
        record = record_of(*A_GOOD)
        assert isinstance(decide(desired(A), replace(SILENT, seconds=59.9), record, at(50)), Wait)

        action = decide(desired(A), replace(SILENT, seconds=61.5), record, at(50))
        what = "The cluster has not been seen for 62 s: cannot reach http://ray: connection refused."
        told = Drifted(at=at(50), drift=DriftClass.UNKNOWN, what=what)
        assert action == Note(line=2, events=(told,))
        assert isinstance(decide(desired(A), replace(SILENT, seconds=99), evolve(record, told), at(90)), Wait)

        _, events, _ = decided(desired(A), running(A), evolve(record, told), 99)
        assert [event.type for event in events] == ["drift_ended"]

    @pytest.mark.parametrize(
        "history", [(), B_APPLIED, (*ROLLING_BACK, failed(3))], ids=["nothing", "in flight", "degraded"]
    )
    def test_not_where_something_else_is_told(self, history: tuple[Event, ...]) -> None:
        """A rollout that cannot be seen has its own fact, and what is DEGRADED is known to be."""
        _, events, _ = decided(UNREAD, replace(SILENT, seconds=99), record_of(*history), 99)

        assert "drifted" not in [event.type for event in events]


class TestOvertaking:
    """Line 6."""

    def test_a_newer_digest_overtakes_a_deploy(self) -> None:
        """Newest wins, in one transaction, and the good release stays what it was."""
        record = record_of(*B_APPLIED, seen(C, 25))
        action = decide(desired(C), busy(B), record, at(26))

        assert kinds(action) == ["superseded", "started"]
        assert isinstance(action, Note)
        superseded, start = action.events
        assert superseded == Superseded(at=at(26), rollout="staging#2", by=C.revision.commit)
        assert isinstance(start, Started)
        assert (start.rollout, start.kind, start.release) == ("staging#3", Kind.DEPLOY, C)
        assert start.before == {"fruit": 2.0}
        assert start.actor == "Ada <ada@example.com>"

    @pytest.mark.parametrize(
        ("record", "cluster"),
        [
            pytest.param(record_of(*B_STARTED, seen(C)), running(A, stamp=1.0), id="its PUT has no answer"),
            pytest.param(
                looked(busy(B, HOMELESS), 22, *B_APPLIED, seen(C)), busy(B, HOMELESS), id="it is stuck"
            ),
            pytest.param(evolve(healthy_b(QUICK), seen(C)), running(B), id="it soaks"),
        ],
    )
    def test_at_once(self, record: Record, cluster: Live) -> None:
        """Nothing is waited for that nobody wants any more."""
        assert kinds(decide(desired(C), cluster, record, at(33))) == ["superseded", "started"]

    @pytest.mark.parametrize(
        ("wanted", "more"),
        [
            pytest.param(desired(replace(C, config=B.config)), (), id="the same digest by another commit"),
            pytest.param(UNREAD, (), id="git is not known"),
            pytest.param(desired(C), (PAUSED,), id="paused"),
        ],
    )
    def test_what_does_not_overtake(self, wanted: Wanted, more: tuple[Event, ...]) -> None:
        """A deploy goes on."""
        record, events, action = decided(wanted, busy(B), record_of(*B_APPLIED, *more), 26)

        assert "superseded" not in [event.type for event in events]
        assert isinstance(action, Wait)
        assert record.rollout is not None

    def test_a_held_digest_does_not_overtake(self) -> None:
        """Not even while something else is being deployed; but a retry does."""
        history = (*ROLLED_BACK, seen(C), started(C, 4), applied(4, 41), seen(B))
        assert isinstance(decided(desired(B), busy(C), record_of(*history), 42)[2], Wait)

        asked = RetryAsked(at=at(42), actor="ada", digest=B.digest)
        action = decide(desired(B), busy(C), record_of(*history, asked), at(42))
        assert kinds(action) == ["superseded", "started"]

    def test_what_harms_somebody_else_does_not_overtake(self) -> None:
        """It would have to wait, and meanwhile nothing would be deployed."""
        shared = busy(B)
        theirs = app("theirs", config={"name": "theirs", "route_prefix": "/"}, route_prefix="/")
        shared = replace(shared, apps={**shared.apps, "theirs": theirs})
        there = release("c", {"name": "fruit", "import_path": "x:y", "route_prefix": "/"})
        record = record_of(*B_APPLIED, seen(there))

        assert isinstance(decided(desired(there), shared, record, 26)[2], Wait)

    def test_a_rollback_is_not_overtaken(self) -> None:
        """It is finished first; its own deadline bounds it."""
        record = record_of(*ROLLING_BACK, seen(C, 32))

        assert isinstance(decided(desired(C), busy(A), record, 33)[2], Wait)

    def test_an_unrelated_commit_lets_nothing_overtake_a_restore(self) -> None:
        """The same digest by another commit, or git in disorder meanwhile, makes it no newer."""
        known = record_of(*A_GOOD, seen(C, 19), started(A, 2, Kind.RESTORE, 20), applied(2, 21))
        later = replace(C, revision=replace(C.revision, commit="f" * 40))
        record = evolve(evolve(known, Refused(at=at(25), message="x")), seen(later, 30))

        assert isinstance(decided(desired(later), busy(A), record, 32)[2], Wait)

    @pytest.mark.parametrize("kind", [Kind.RESTORE, Kind.HEAL])
    @pytest.mark.parametrize("history", [(), (applied(2, 21),)], ids=["its PUT has no answer", "it is stuck"])
    def test_a_fix_overtakes_a_repair(self, kind: Kind, history: tuple[Event, ...]) -> None:
        """Whoever pushes while it is stuck, for want of room maybe, does not wait for its deadline."""
        record = record_of(*A_GOOD, started(A, 2, kind, 20), *history, seen(C, 22))
        action = decide(desired(C), busy(A), record, at(32))

        assert kinds(action) == ["superseded", "started"]
        assert isinstance(action, Note)
        start = action.events[1]
        assert isinstance(start, Started)
        assert (start.kind, start.release) == (Kind.DEPLOY, C)
        assert evolve(evolve(record, action.events[0]), start).good == A

    def test_a_restore_goes_before_what_git_wanted_already(self) -> None:
        """Nothing serves: first what is known to work."""
        record = record_of(*A_GOOD, seen(C, 19), started(A, 2, Kind.RESTORE, 20), applied(2, 21))

        assert isinstance(decided(desired(C), busy(A), record, 32)[2], Wait)

    @pytest.mark.parametrize("held_too", [False, True], ids=["paused", "held"])
    def test_what_may_not_be_deployed_does_not_overtake_a_repair(self, held_too: bool) -> None:
        """What would wait at rest waits here."""
        wanted, before = (B, ROLLED_BACK) if held_too else (C, (*A_GOOD, PAUSED))
        number = 4 if held_too else 2
        record = record_of(*before, started(A, number, Kind.HEAL, 50), applied(number, 51), seen(wanted, 52))

        assert isinstance(decided(desired(wanted), busy(A), record, 53)[2], Wait)


class TestSending:
    """Lines 7, 8 and 9."""

    def test_a_pending_put_is_sent(self) -> None:
        """The intent is durable: send it, with everybody else's applications."""
        record = record_of(seen(A), started(A, nonce="n1"))
        assert record.rollout is not None
        theirs = app(
            "theirs", config={"name": "theirs", "import_path": "their:app", "route_prefix": "/theirs"}
        )
        action = decide(desired(A), live(theirs), record, at(1))

        assert isinstance(action, Put)
        assert action.rollout == record.rollout
        assert action.body == body.compose(A, "n1", live(theirs), {"fruit"})
        assert [one["name"] for one in action.body["applications"]] == ["fruit", "theirs"]

    def test_one_that_would_harm_somebody_else_waits(self) -> None:
        """They may have come between the intent and the PUT."""
        action = decide(desired(A), live(app("theirs")), record_of(seen(A), started(A)), at(1))

        assert action.line == 8
        assert "theirs" in waits(action)

    def test_a_rollback_that_cannot_be_sent_has_a_deadline(self) -> None:
        """Then it is DEGRADED, loudly: somebody has to act anyway."""
        record = record_of(*B_FAILED, started(A, 3, Kind.ROLLBACK, 30, policy=Policy(rollback_deadline=60)))
        theirs = replace(busy(B), apps={**busy(B).apps, "theirs": app("theirs")})
        assert decide(desired(B), theirs, record, at(90)).line == 8

        action = decide(desired(B), theirs, record, at(91))
        assert (action.line, kinds(action)) == (13, ["failed"])
        assert isinstance(action, Note)
        assert isinstance(failed_now := action.events[0], Failed)
        assert failed_now.failure.failure_class is FailureClass.DEADLINE
        assert failed_now.failure.message.startswith("not sent within 1m: Application theirs ")

    def test_nor_may_one_go_unanswered_for_ever(self) -> None:
        """A Serve whose controller is dead for good answers each PUT with 500, and each GET with 200."""
        record = record_of(*B_FAILED, started(A, 3, Kind.ROLLBACK, 30, policy=Policy(rollback_deadline=60)))
        assert unanswered(record, "HTTP 500", at(90)) == ()
        assert unanswered(record_of(*B_STARTED), "HTTP 500", at(9999)) == ()
        assert unanswered(record_of(*A_GOOD), "HTTP 500", at(9999)) == ()

        (event,) = unanswered(record, "HTTP 500", at(91))
        assert isinstance(event, Failed)
        assert event.failure.message == "not sent within 1m: HTTP 500"

    def test_a_neighbour_s_application_is_never_deleted(self) -> None:
        """Not even if our policy claims it."""
        record = record_of(seen(A), started(A, policy=Policy(owns=("fruit", "theirs"))))
        theirs = app(
            "theirs", config={"name": "theirs", "import_path": "their:app", "route_prefix": "/theirs"}
        )
        action = decide(desired(A), live(theirs), record, at(1), {"theirs": "production"})

        assert isinstance(action, Put)
        assert [one["name"] for one in action.body["applications"]] == ["fruit", "theirs"]

    def test_a_pending_put_found_on_the_cluster_is_applied(self) -> None:
        """After a crash or a lost answer: read back, do not guess."""
        action = decide(desired(A), running(A, stamp=2.0), record_of(seen(A), started(A)), at(1))

        expected = Applied(at=at(1), rollout="staging#1", session="session_1", read_back=True)
        assert action == Note(line=7, events=(expected,))

    @pytest.mark.parametrize(
        "cluster",
        [
            pytest.param(running(A, stamp=1.0), id="its stamp is the one from before"),
            pytest.param(
                live(app("fruit", config={"name": "fruit"}, last_deployed_time_s=2.0)),
                id="a key of ours is not there",
            ),
        ],
    )
    def test_what_does_not_prove_our_put(self, cluster: Live) -> None:
        """When in doubt the identical PUT is repeated, which restarts nothing."""
        assert isinstance(decide(desired(A), cluster, record_of(seen(A), started(A)), at(1)), Put)

    def test_a_release_without_applications_can_be_applied(self) -> None:
        """Nothing on the cluster proves its PUT: it is sent, and then there is nothing to wait for."""
        nothing = replace(A, config=replace(A.config, text='{"applications":[]}', digest="sha256:0"))
        record = record_of(seen(nothing), started(nothing, before={}))
        action = decide(desired(nothing), live(), record, at(1))
        assert isinstance(action, Put)
        assert action.body == {"applications": []}

        quick = Policy(stability_window=0, soak=0)
        record = record_of(seen(nothing), started(nothing, before={}, policy=quick), applied())
        record, events, action = decided(desired(nothing), live(), record, 2)
        assert [event.type for event in events] == ["observed", "healthy", "good"]
        assert waits(action) == '86f7e43 "commit a" is live.'

    @pytest.mark.parametrize(
        ("cluster", "why"),
        [
            (live(), "fruit is not on the cluster"),
            (running(B, stamp=1.0), "fruit still shows the deploy before ours"),
            (running(B, source="imperative"), "fruit was taken over by `serve run`"),
            (running(C), "fruit shows another config than the one sent (args)"),
            (
                live(app("fruit", last_deployed_time_s=9.0)),
                "fruit shows another config than the one sent (args)",
            ),
        ],
    )
    def test_a_put_that_did_not_hold_is_intended_again(self, cluster: Live, why: str) -> None:
        """The intent of the repeated PUT is durable too, with the stamps of now."""
        action = decide(desired(B), cluster, record_of(*B_APPLIED), at(24))

        assert isinstance(action, Note)
        (event,) = action.events
        assert isinstance(event, Resubmitted)
        assert (event.cause, event.is_retry) == (why, False)

    def test_applications_stamped_apart_are_not_one_put(self) -> None:
        """Each PUT stamps all applications that it lists alike."""
        record = record_of(seen(TWO), started(TWO, before={}), applied())
        together = running(TWO)
        apart = {**together.apps, "math": replace(together.apps["math"], last_deployed_time_s=9.0)}
        action = decide(desired(TWO), replace(together, apps=apart), record, at(9))

        assert isinstance(action, Note)
        assert isinstance(action.events[0], Resubmitted)
        assert action.events[0].cause == "the applications were not deployed together"

    def test_a_repeated_put_waits_longer_each_time(self) -> None:
        """Somebody who keeps overwriting ours is not fought every quarter of a second."""
        again = Resubmitted(at=at(24), rollout="staging#2", cause="x", before={"fruit": 5.0})
        record = record_of(*B_APPLIED, again, applied(2, 24))

        early = decide(desired(B), live(), record, at(27))
        assert "our PUT does not hold: fruit is not on the cluster" in waits(early)
        assert kinds(decide(desired(B), live(), record, at(29))) == ["resubmitted"]

    def test_a_fight_that_lasts_ends_at_the_deadline(self) -> None:
        """The deadline counts from the first Applied, less the time in which all was well."""
        again = Resubmitted(at=at(2300), rollout="staging#2", cause="x")
        record = record_of(*B_APPLIED, again, applied(2, 2300))
        assert kinds(decide(desired(B), live(), record, at(2302))) == ["failed", "held"]

        settled = observed(2, 22, settled=True)
        record = record_of(*B_APPLIED, settled, again, applied(2, 2300))
        assert isinstance(decide(desired(B), live(), record, at(2302)), Wait)


class TestLog:
    """Line 10."""

    def test_it_is_kept_once(self) -> None:
        """During the rollback, once its PUT was taken."""
        history = (*B_APPLIED, failed(2, log=LOG), held(2), *ROLLING_BACK[-2:])
        record = record_of(*history)

        assert decide(desired(B), busy(A), record, at(32)) == KeepLog(
            line=10, rollout="staging#2", source=LOG
        )

    def test_a_rollback_goes_before(self) -> None:
        """Evidence is no reason to leave a failed release where it is."""
        record = record_of(*B_APPLIED, failed(2, log=LOG), held(2))

        _, events, action = decided(desired(B), running(B), record, 31)
        assert [event.type for event in events] == ["started"]
        assert isinstance(action, Put)

    def test_at_rest_too(self) -> None:
        """Where nothing is rolled back."""
        record = record_of(seen(A), started(A), applied(), failed(1, log=LOG), held(1))

        assert isinstance(decide(desired(A), running(A), record, at(31)), KeepLog)


class TestTimeline:
    """Line 11."""

    def moments(self, *looks: tuple[float, Live]) -> list[bool]:
        """Whether each look at B is noted as another moment."""
        record, found = record_of(*B_APPLIED), []
        for second, cluster in looks:
            record, events, _ = decided(desired(B), cluster, record, second)
            found.append("observed" in [event.type for event in events])
        return found

    def test_the_same_state_is_noted_once(self) -> None:
        """The counts of replicas change all the time, and make no moment."""
        one = busy(B, replace(UPDATING, target_replicas=4))
        more = busy(
            B, deployment(status="UPDATING", status_trigger="CONFIG_UPDATE_STARTED", running=2, target=4)
        )

        assert self.moments((22, one), (23, one), (24, more)) == [True, False, False]

    @pytest.mark.parametrize(
        "after",
        [
            pytest.param(running(B, deployments=(UPDATING,)), id="status of the application"),
            pytest.param(busy(B), id="deployments"),
            pytest.param(busy(B, deployment(status="UPSCALING", running=0)), id="status of a deployment"),
            pytest.param(busy(B, replace(UPDATING, status_trigger="AUTOSCALING")), id="trigger"),
            pytest.param(busy(B, HOMELESS), id="phase"),
            pytest.param(busy(B, replace(UPDATING, message=NO_PLACE)), id="what Serve says"),
            pytest.param(
                busy(B, replace(UPDATING, message="Retrying 59 more time(s)", target_replicas=20)),
                id="failed starts",
            ),
            pytest.param(running(B), id="settled"),
        ],
    )
    def test_another_state_is_a_moment(self, after: Live) -> None:
        """What changed is evidence, also that Serve begins to say why it waits."""
        off = Policy(fail_fast_after=0)
        history = (*A_GOOD, seen(B, 20), started(B, 2, second=20, policy=off), applied(2, 21))
        record, _, _ = decided(desired(B), busy(B, UPDATING), record_of(*history), 22)
        _, events, _ = decided(desired(B), after, record, 23)

        assert [event.type for event in events] == ["observed"]

    def test_other_replicas_make_a_moment_once_all_are_there(self) -> None:
        """One was replaced."""
        others = deployment(replicas=(Replica(replica_id="other", state="RUNNING", node_id="n1"),))

        assert self.moments((22, running(B)), (23, running(B)), (24, running(B, deployments=(others,)))) == [
            True,
            False,
            True,
        ]

    def test_the_first_look_after_a_put_is_one(self) -> None:
        """Its phases count from there, although nothing looks different."""
        stuck = busy(B, HOMELESS)
        again = Resubmitted(at=at(40), rollout="staging#2", cause="x", before={"fruit": 1.5})
        record = evolve(evolve(looked(stuck, 22, *B_APPLIED), again), applied(2, 41))
        record, events, _ = decided(desired(B), stuck, record, 42)
        assert [event.type for event in events] == ["observed"]

        _, events, _ = decided(desired(B), stuck, record, 42 + 301)
        assert isinstance(events[0], Failed)
        assert events[0].failure.failure_class is FailureClass.CAPACITY


class TestFailing:
    """Line 12."""

    def test_deploy_failed_fails_and_holds(self) -> None:
        """In one transaction, with Serve's reason and the timeline."""
        record = looked(FAILING, 22, *B_APPLIED)
        action = decide(desired(B), FAILING, record, at(40))

        assert kinds(action) == ["failed", "held"]
        assert isinstance(action, Note)
        failure, hold = action.events
        assert isinstance(failure, Failed)
        assert record.rollout is not None
        assert failure.failure.timeline == record.rollout.timeline
        assert hold.reason == "fruit: ValueError: bad price"

    def test_a_failed_rollback_holds_nothing(self) -> None:
        """The good release stays good."""
        broken = running(A, status="DEPLOY_FAILED", message="x", deployments=())
        _, events, _ = decided(desired(B), broken, record_of(*ROLLING_BACK), 40)

        assert [event.type for event in events] == ["observed", "failed"]

    def test_a_failed_deploy_of_the_good_release_holds_nothing(self) -> None:
        """The cluster is sick for its own reasons; holding would hold the way back."""
        overtaken = Superseded(at=at(25), rollout="staging#2", by="a")
        record = record_of(*B_APPLIED, seen(A), overtaken, started(A, 3), applied(3, 26))
        broken = running(A, status="DEPLOY_FAILED", message="x", deployments=())
        _, events, action = decided(desired(A), broken, record, 40)

        assert [event.type for event in events] == ["observed", "failed", "drifted"]
        assert action.line == 28

    def test_a_failed_start_ends_a_first_deploy_after_two(self) -> None:
        """Where a good release serves, after one."""
        message = "A replica failed to start with exception. Retrying {} more time(s). Error:\nOSError: x"
        first = record_of(seen(A), started(A), applied())
        for record, what, ends in ((first, A, [False, True]), (record_of(*B_APPLIED), B, [True, True])):
            for left, end in zip((2, 1), ends, strict=True):
                cluster = busy(what, replace(UPDATING, message=message.format(left)))
                _, events, _ = decided(desired(what), cluster, record, 30)
                assert ("failed" in [event.type for event in events]) == end


class TestRuntimeEnv:
    """Line 12: what depends on the network is tried once more."""

    BROKEN = running(
        B,
        status="DEPLOY_FAILED",
        message="Runtime env setup for app 'fruit' failed:\nOSError: x",
        deployments=(),
    )

    def test_it_is_tried_once_more(self) -> None:
        """Ten seconds after it was seen, however long it took; as another version, or Ray does not try."""
        record, _, _ = decided(desired(B), busy(B), record_of(*B_APPLIED), 22)
        record, events, action = decided(desired(B), self.BROKEN, record, 72)
        assert [event.type for event in events] == ["observed"]
        assert action == Wait(
            line=12,
            reason='deploying e9d71f5 "commit b": fruit: OSError: x; tried once more in 10 s',
            seconds=2.0,
        )

        late = decide(desired(B), self.BROKEN, record, at(72 + RETRY_SECONDS))
        assert isinstance(late, Note)
        (again,) = late.events
        assert again == Resubmitted(
            at=at(82),
            rollout="staging#2",
            cause="fruit: OSError: x",
            before={"fruit": 2.0},
            is_retry=True,
            nonce="staging#2.1",
        )

        record = evolve(evolve(record, again), applied(2, 82))
        assert record.rollout is not None
        assert record.rollout.nonce == "staging#2.1"
        sent = applications(B, "staging#2.1")["fruit"]
        broken = replace(self.BROKEN.apps["fruit"], last_deployed_time_s=3.0, config=sent)
        again_broken = replace(self.BROKEN, apps={"fruit": broken})
        _, events, _ = decided(desired(B), again_broken, record, 90)
        assert [event.type for event in events][:3] == ["observed", "failed", "held"]
        assert isinstance(events[1], Failed)
        assert events[1].failure.failure_class is FailureClass.RUNTIME_ENV

    def test_the_wait_counts_from_the_first_look_that_showed_it(self) -> None:
        """Another application of the release may still be on its way."""
        two = release("b", "fruit", "math")
        history = (*A_GOOD, seen(two), started(two, 2, before={}), applied(2, 21))

        def cluster(math: str) -> Live:
            found = running(two, deployments=())
            return replace(
                found,
                apps={
                    "fruit": replace(
                        found.apps["fruit"], status="DEPLOY_FAILED", message="Runtime env setup"
                    ),
                    "math": replace(found.apps["math"], status=math),
                },
            )

        record, _, _ = decided(desired(two), cluster("DEPLOYING"), record_of(*history), 30)
        record, _, _ = decided(desired(two), cluster("RUNNING"), record, 38)

        assert kinds(decide(desired(two), cluster("RUNNING"), record, at(40))) == ["resubmitted"]

    @pytest.mark.parametrize("kind", [Kind.ROLLBACK, Kind.HEAL])
    def test_only_a_deploy(self, kind: Kind) -> None:
        """A rollback is one attempt."""
        broken = running(A, status="DEPLOY_FAILED", message="Runtime env setup", deployments=())
        record = record_of(*A_GOOD, started(A, 2, kind), applied(2, 21))

        assert "failed" in [event.type for event in decided(desired(A), broken, record, 30)[1]]


class TestDeadlines:
    """Line 13."""

    @pytest.mark.parametrize(
        ("cluster", "limit", "failure_class", "message"),
        [
            pytest.param(
                busy(B),
                600,
                FailureClass.DEADLINE,
                "not healthy within 10m (build): fruit DEPLOYING",
                id="build",
            ),
            pytest.param(
                busy(B, HOMELESS),
                300,
                FailureClass.CAPACITY,
                "no room for a replica within 5m: fruit DEPLOYING: D 0/1 UPDATING",
                id="schedule",
            ),
            pytest.param(
                busy(B, replace(HOMELESS, message=NO_PLACE)),
                300,
                FailureClass.CAPACITY,
                f"no room for a replica within 5m: {NO_PLACE}",
                id="schedule, and Serve says for what",
            ),
            pytest.param(
                busy(B, UPDATING),
                1200,
                FailureClass.DEADLINE,
                "not healthy within 20m (start): fruit DEPLOYING: D 0/1 UPDATING",
                id="start",
            ),
        ],
    )
    def test_each_phase_has_its_own(
        self, cluster: Live, limit: float, failure_class: FailureClass, message: str
    ) -> None:
        """From when the phase began. Want of room is the cluster's fault, and holds nothing."""
        record = looked(cluster, 30, *B_APPLIED)
        assert isinstance(decide(desired(B), cluster, record, at(30 + limit)), Wait)

        action = decide(desired(B), cluster, record, at(30 + limit + 1))
        assert isinstance(action, Note)
        event = action.events[0]
        assert isinstance(event, Failed)
        assert (event.failure.failure_class, event.failure.message) == (failure_class, message)
        assert ("held" in kinds(action)) == (failure_class is FailureClass.DEADLINE)

    def test_serve_s_words_about_room_come_later(self) -> None:
        """After 30 s; they are in the failure although nothing else changed."""
        record, _, _ = decided(desired(B), busy(B, HOMELESS), record_of(*B_APPLIED), 22)
        told = busy(B, replace(HOMELESS, message=NO_PLACE))
        record, _, _ = decided(desired(B), told, record, 53)
        _, events, _ = decided(desired(B), told, record, 22 + 301)

        assert isinstance(events[0], Failed)
        assert events[0].failure.message.endswith(NO_PLACE)

    def test_all_phases_together_have_one(self) -> None:
        """Phases that take turns do not go on for ever."""
        policy = Policy(deadlines=Deadlines(build=10, schedule=10, start=10))
        history = (*A_GOOD, seen(B, 20), started(B, 2, second=20, policy=policy), applied(2, 21))
        record = record_of(*history)
        for second in range(22, 52, 2):
            cluster = busy(B, HOMELESS if second % 4 else UPDATING)
            record, events, _ = decided(desired(B), cluster, record, second)
            assert [event.type for event in events] == ["observed"]

        _, events, _ = decided(desired(B), busy(B, UPDATING), record, 52)
        assert isinstance(events[1], Failed)
        assert events[1].failure.message.startswith("not healthy within 30s (start)")

    def test_a_break_late_in_a_long_soak_is_no_deadline(self) -> None:
        """The time in which it was settled does not count: it did what it should."""
        policy = Policy(stability_window=0, soak=7200, max_flaps=3)
        record, _, _ = decided(desired(B), running(B), b_with(policy), 22)
        broken = running(B, deployments=(deployment(status="UNHEALTHY", running=0),), status="UNHEALTHY")
        record, events, action = decided(desired(B), broken, record, 5000)
        assert [event.type for event in events] == ["observed"]
        assert isinstance(action, Wait)

        record, events, action = decided(desired(B), running(B), record, 5010)
        assert isinstance(action, Wait)
        assert "soaking for 2h more" in action.reason

    def test_a_rollback_has_one_deadline(self) -> None:
        """Ten minutes unless the policy says otherwise, whatever it waits for."""
        stuck = busy(A, HOMELESS)
        record = looked(stuck, 32, *ROLLING_BACK)

        assert isinstance(decide(desired(B), stuck, record, at(31 + 600)), Wait)
        assert kinds(decide(desired(B), stuck, record, at(31 + 601))) == ["failed"]

    @pytest.mark.parametrize("kind", [Kind.RESTORE, Kind.HEAL])
    def test_a_repair_has_those_of_a_deploy(self, kind: Kind) -> None:
        """It may have to start everything."""
        record = looked(busy(A, UPDATING), 22, *A_GOOD, started(A, 2, kind, 20), applied(2, 21))

        assert isinstance(decide(desired(A), busy(A, UPDATING), record, at(22 + 1200)), Wait)
        assert kinds(decide(desired(A), busy(A, UPDATING), record, at(22 + 1201))) == ["failed"]

    @pytest.mark.parametrize(("elapsed", "seconds"), [(0, 0.1), (5, 0.25), (20, 1.0), (500, 2.0), (-60, 0.1)])
    def test_looks_grow_rarer(self, elapsed: float, seconds: float) -> None:
        """Fast just after the PUT, then in proportion to the time waited; a clock gone back does no harm."""
        action = decide(desired(B), busy(B), looked(busy(B), 22, *B_APPLIED), at(21 + elapsed))

        assert action == Wait(
            line=17, reason='deploying e9d71f5 "commit b": fruit DEPLOYING', seconds=seconds
        )


class TestHealthyCheckedSoakedGood:
    """Lines 14 to 17."""

    def test_the_window_the_soak_and_good(self) -> None:
        """Serve's RUNNING and HEALTHY is where it begins."""
        record, events, action = decided(desired(B), running(B), record_of(*B_APPLIED), 22)
        assert [event.type for event in events] == ["observed"]
        assert action == Wait(
            line=17,
            reason='deploying e9d71f5 "commit b": RUNNING and HEALTHY; watched for 30 s more',
            seconds=0.1,
        )
        assert isinstance(decide(desired(B), running(B), record, at(51.9)), Wait)

        record, events, action = decided(desired(B), running(B), record, 52)
        assert [event.type for event in events] == ["healthy"]
        assert waits(action) == 'deploying e9d71f5 "commit b": healthy; soaking for 2m more'

        record, events, action = decided(desired(B), running(B), record, 172)
        assert [event.type for event in events] == ["good"]
        assert waits(action) == 'e9d71f5 "commit b" is live.'
        assert record.good == B

    def test_it_looks_when_the_time_is_up(self) -> None:
        """Not up to 2 s later."""
        action = decide(desired(B), running(B), b_with(QUICK), at(31.95))
        assert isinstance(action, Wait)
        assert action.seconds == pytest.approx(0.05)

        action = decide(desired(B), running(B), b_with(QUICK), at(31.999))
        assert isinstance(action, Wait)
        assert action.seconds == 0.01

    @pytest.mark.parametrize("kind", [Kind.ROLLBACK, Kind.RESTORE, Kind.HEAL])
    def test_what_is_brought_back_is_good_as_soon_as_it_runs(self, kind: Kind) -> None:
        """It has proved itself before: no window, no checks, no soak."""
        record = record_of(*A_GOOD, started(A, 2, kind, 20, policy=CHECKED), applied(2, 21))
        _, events, _ = decided(desired(A), running(A), record, 22)

        assert [event.type for event in events] == ["observed", "healthy", "good"]

    def test_checks_come_before_the_soak(self) -> None:
        """Each is made until it passes; then the soak begins."""
        record = healthy_b(CHECKED)
        check = CHECKED.checks[0]
        assert record.rollout is not None
        assert decide(desired(B), running(B), record, at(32)) == Probe(
            line=15, rollout=record.rollout, index=0, check=check
        )

        record = evolve(record, checked(1))
        action = decide(desired(B), running(B), record, at(33.1))
        assert (action.line, waits(action)) == (
            15,
            'deploying e9d71f5 "commit b": checking (1 of 3 attempts failed): GET / answered 500',
        )
        assert isinstance(action, Wait)
        assert action.seconds == pytest.approx(0.4)
        assert isinstance(decide(desired(B), running(B), record, at(33.5)), Probe)

        record = evolve(record, checked(2))
        assert isinstance(decide(desired(B), running(B), record, at(34.9)), Wait)
        assert isinstance(decide(desired(B), running(B), record, at(35)), Probe)

        passed = evolve(record, checked(3, passed=True))
        assert "soaking for 20 s more" in waits(decide(desired(B), running(B), passed, at(35)))
        assert kinds(decide(desired(B), running(B), passed, at(55))) == ["good"]

    def test_a_check_out_of_retries_fails(self) -> None:
        """And holds, with what was answered."""
        record = healthy_b(CHECKED)
        for number in (1, 2, 3):
            record = evolve(record, checked(number))
        action = decide(desired(B), running(B), record, at(35))

        assert (kinds(action), action.line) == (["failed", "held"], 15)
        assert isinstance(action, Note)
        assert isinstance(action.events[0], Failed)
        assert action.events[0].failure.failure_class is FailureClass.CHECKS
        assert action.events[0].failure.message == "GET / answered 500"

    def test_a_flap_in_the_soak_fails(self) -> None:
        """With its own class."""
        broken = running(B, deployments=(deployment(status="UNHEALTHY", running=0),), status="UNHEALTHY")
        _, events, _ = decided(desired(B), broken, healthy_b(QUICK), 40)

        assert [event.type for event in events[:3]] == ["observed", "failed", "held"]
        assert isinstance(events[1], Failed)
        assert events[1].failure.failure_class is FailureClass.FLAPPING

    def test_a_clock_that_went_back_only_waits(self) -> None:
        """Longer than meant, and no harm done."""
        assert isinstance(decide(desired(B), running(B), b_with(QUICK), at(-50)), Wait)


class TestRejected:
    """A 400 at the PUT."""

    def test_it_fails_and_holds(self) -> None:
        """Serve may have applied half of it, which the rollback heals."""
        record = record_of(*B_STARTED)
        events = rejected(record, "1 validation error", at(21))
        assert [event.type for event in events] == ["failed", "held"]
        for event in events:
            record = evolve(record, event)
        assert record.last is not None
        assert record.last.result is Result.FAILED
        assert record.last.failure is not None
        assert record.last.failure.failure_class is FailureClass.CONFIG

        assert kinds(decide(desired(B), running(A), record, at(22))) == ["started"]

    def test_without_a_rollout_it_is_a_bug(self) -> None:
        """Nothing can be rejected that was not sent."""
        with pytest.raises(ValueError, match="no rollout is in flight"):
            rejected(EMPTY, "x", at(0))
