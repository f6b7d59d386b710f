"""The policy for an environment at rest: lines 18 to 30."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core import body
from deployer.core.actions import KeepLog, Note, Put, Wait
from deployer.core.decide import decide
from deployer.core.events import (
    DriftClass,
    Drifted,
    DriftEnded,
    Event,
    FailureClass,
    Kind,
    LogSource,
    Measured,
    Paused,
    Refused,
    Resumed,
    RetryAsked,
    Started,
)
from deployer.core.record import Record, evolve
from deployer.core.rest import IDLE_SECONDS
from deployer.core.types import Absent, Deadlines, Desired, NotRead, OnDrift, Policy, Release
from tests.support.build import (
    app,
    applied,
    at,
    config,
    decided,
    deployment,
    desired,
    ended_well,
    failed,
    held,
    live,
    record_of,
    release,
    running,
    seen,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.core.actions import Action
    from deployer.core.live import Live

A, B, C = release("a"), release("b"), release("c")
EMPTY = Record(environment="staging")
LOG = LogSource(replica="r1", node_id="n1", path="serve/r1.log")
A_GOOD = (seen(A), started(A), applied(), *ended_well())
B_APPLIED = (*A_GOOD, seen(B, 20), started(B, 2, second=20), applied(2, 21))
B_FAILED = (*B_APPLIED, failed(2), held(2))
ROLLING_BACK = (*B_FAILED, started(A, 3, Kind.ROLLBACK, 30), applied(3, 31))
ROLLED_BACK = (*ROLLING_BACK, *ended_well(3, 40))
STARVED = (
    *(*B_APPLIED, failed(2, failure_class=FailureClass.CAPACITY), started(A, 3, Kind.ROLLBACK, 30)),
    *(applied(3, 31), *ended_well(3, 40)),
)
PAUSED = Paused(at=at(41), actor="ada", reason="a demo")
RETRY_B = RetryAsked(at=at(45), actor="ada", digest=B.digest)
LOST_WORDS = "Nothing of the release is on the cluster any more: fruit."
EDITED_WORDS = "fruit has another config than the release, first at args."


def edited(second: float = 9.0) -> Live:
    """Somebody deployed another config of our application by hand."""
    return running(C, stamp=second)


def new_head() -> Live:
    """Ray was started anew, and Serve with nothing on it."""
    return live(session="session_2")


def wanting(policy: Policy) -> Desired:
    """Git wants A, under this policy."""
    return desired(A, policy)


def only(action: Action) -> Event:
    """The one fact that it notes."""
    assert isinstance(action, Note), action
    (event,) = action.events
    return event


def start(action: Action) -> Started:
    """The rollout that it starts."""
    event = only(action)
    assert isinstance(event, Started), event
    return event


def waits(action: Action, line: int) -> str:
    """The reason to wait, of this line."""
    assert isinstance(action, Wait), action
    assert action.line == line, action
    return action.reason


def after(wanted: Desired, cluster: Live, *history: Event, second: float = 50) -> tuple[Record, Action]:
    """What the facts make of this history, drift noted."""
    record, events, action = decided(wanted, cluster, record_of(*history), second)
    assert {event.type for event in events} <= {"drifted", "drift_ended", "measured", "seen"}, events
    return record, action


def drifted(cluster: Live, *more: Event, wanted: Desired | None = None, second: float = 50) -> Record:
    """A is good, and this is noted of the cluster."""
    record = record_of(*A_GOOD, *more)
    event = only(decide(wanted or desired(A), cluster, record, at(second)))
    assert isinstance(event, Drifted)
    return evolve(record, event)


def repaired(
    record: Record, kind: Kind, number: int, second: float, *, well: bool = True, **more: Any
) -> Record:
    """The same after such a repair."""
    ending = ended_well(number, second) if well else (failed(number, second, **more),)
    for event in (started(A, number, kind, second), applied(number, second), *ending):
        record = evolve(record, event)
    return record


class TestRollback:
    """Line 18."""

    @pytest.mark.parametrize("more", [(), (PAUSED,), (seen(C, 31),)], ids=["plain", "paused", "newer digest"])
    def test_it_goes_first(self, more: tuple[Event, ...]) -> None:
        """To the newest good release, from the record, whatever git wants, waits or is drifted meanwhile."""
        cluster = running(B, stamp=7.0)
        event = start(decide(desired(C), cluster, evolve(record_of(*B_FAILED, *more), seen(C, 31)), at(32)))

        assert (event.kind, event.release, event.follows) == (Kind.ROLLBACK, A, "staging#2")
        assert (event.before, event.trigger, event.actor) == ({"fruit": 7.0}, "staging#2 failed", "deployer")

    def test_also_where_the_cluster_lost_everything(self) -> None:
        """There is nothing to restore but what is rolled back to."""
        assert start(decide(desired(B), new_head(), record_of(*B_FAILED), at(32))).kind is Kind.ROLLBACK

    def test_it_can_be_turned_off(self) -> None:
        """Then the failed release stays, held and loud, and the next good one still deploys."""
        off = Policy(rollback=False)
        record = record_of(*A_GOOD, seen(B), started(B, 2, policy=off), applied(2), failed(2), held(2))
        reason = waits(decide(desired(B), running(B), record, at(40)), 26)
        assert 'The cluster was left on it; the last good release is 86f7e43 "commit a".' in reason

        assert start(decide(desired(C), running(B), evolve(record, seen(C)), at(41))).release == C

    def test_a_log_is_kept_at_rest(self) -> None:
        """Where nothing is rolled back, before anything else."""
        record = record_of(seen(A), started(A), applied(), failed(1, log=LOG), held(1))

        assert decide(desired(A), live(), record, at(40)) == KeepLog(line=10, rollout="staging#1", source=LOG)


class TestDriftNews:
    """Line 19."""

    def test_it_is_noted_once_per_change(self) -> None:
        """Not per look; another place is news, and so is its end."""
        record = drifted(edited())
        assert record.drift is not None
        assert (record.drift.drift, record.drift.what) == (DriftClass.EDITED, EDITED_WORDS)

        other = replace(edited(), apps={"fruit": replace(edited().apps["fruit"], source="imperative")})
        event = only(decide(desired(A), other, record, at(51)))
        assert isinstance(event, Drifted)
        assert event.what == "fruit was replaced by a `serve run`."
        assert only(decide(desired(A), running(A), record, at(52))) == DriftEnded(at=at(52))

    @pytest.mark.parametrize(
        ("history", "wanted"),
        [
            pytest.param((), NotRead(why="x"), id="nothing is good yet"),
            pytest.param((*ROLLING_BACK, failed(3, 60)), desired(B), id="left on a failed release"),
        ],
    )
    def test_where_there_is_no_current_release(self, history: tuple[Event, ...], wanted: Any) -> None:
        """Nothing can differ from it."""
        _, events, action = decided(wanted, live(), record_of(*history), 70)

        assert events == ()
        assert isinstance(action, Wait)

    def test_it_is_told_while_git_wants_nothing(self) -> None:
        """And while what it wants is held."""
        gone = Absent(why="Branch env/staging is gone.")
        ignoring = (*A_GOOD[:1], started(A, policy=Policy(drift=OnDrift.ALERT)), *A_GOOD[2:])
        record = record_of(*ignoring, Refused(at=at(30), message=gone.why))
        _, _, action = decided(gone, edited(), record, 50)

        assert waits(action, 23).startswith(EDITED_WORDS)

    def test_what_is_sick_stays_known_for_a_while(self) -> None:
        """What flaps would be new at every look."""
        ill = running(A, status="UNHEALTHY")
        record, _ = after(desired(A), ill, *A_GOOD)
        assert isinstance(decide(desired(A), running(A), record, at(109)), Wait)
        assert isinstance(only(decide(desired(A), running(A), record, at(110))), DriftEnded)

    def test_ignore_means_all_but_a_lost_state(self) -> None:
        """Nobody who ignores edits means that nothing need serve."""
        ignore = wanting(Policy(drift=OnDrift.IGNORE))
        record, action = after(ignore, edited(), *A_GOOD)
        assert record.drift is None
        assert waits(action, 25) == '86f7e43 "commit a" is live.'

        record, action = after(ignore, live(), *A_GOOD)
        assert record.drift is not None
        assert record.drift.drift is DriftClass.LOST

    def test_what_was_noted_ends_when_it_is_ignored(self) -> None:
        """The policy is that of the newest commit."""
        record = drifted(edited(), PAUSED)

        assert only(decide(wanting(Policy(drift=OnDrift.IGNORE)), edited(), record, at(60))) == DriftEnded(
            at=at(60)
        )


class TestRestore:
    """Line 20."""

    def test_a_new_head_is_restored_at_once(self) -> None:
        """Nothing serves; the current release comes back, not what git wants."""
        record, events, action = decided(desired(B), new_head(), record_of(*A_GOOD, seen(B)), 50)

        assert [event.type for event in events] == ["drifted", "started"]
        event = events[1]
        assert isinstance(event, Started)
        assert (event.kind, event.release, event.trigger, event.actor) == (
            *(Kind.RESTORE, A, "drift"),
            "deployer",
        )
        assert event.reason.startswith("The Ray head is another one (session session_2)")
        assert isinstance(action, Put)
        assert record.repairs == (at(50),)

    @pytest.mark.parametrize(
        ("wanted", "more"),
        [
            pytest.param(desired(A), PAUSED, id="paused"),
            pytest.param(NotRead(why="x"), Refused(at=at(30), message="x"), id="git is not known"),
        ],
    )
    def test_nothing_is_in_its_way(self, wanted: Any, more: Event) -> None:
        """A person who paused did not mean that nothing should serve."""
        _, events, action = decided(wanted, new_head(), record_of(*A_GOOD, more), 50)

        assert [event.type for event in events] == ["drifted", "started"]
        assert isinstance(action, Put)

    def test_an_empty_list_in_the_same_session_has_a_grace(self) -> None:
        """Somebody may be in the middle of a shutdown and a deploy."""
        record, action = after(desired(A), live(), *A_GOOD)
        assert waits(action, 20) == f'{LOST_WORDS} 86f7e43 "commit a" is restored at 10:42:55 UTC.'
        assert isinstance(action, Wait)
        assert action.seconds == 5.0

        assert isinstance(decide(desired(A), live(), record, at(54.9)), Wait)
        assert start(decide(desired(A), live(), record, at(55))).kind is Kind.RESTORE

    def test_it_waits_while_paused_if_the_head_is_the_same(self) -> None:
        """Deleting everything may be what the pause is for."""
        record, action = after(desired(A), live(), *A_GOOD, PAUSED, second=99)

        assert waits(action, 24).startswith(f"{LOST_WORDS} It is not healed while the environment is paused.")
        assert isinstance(decide(desired(A), live(), record, at(999)), Wait)

    def test_an_old_ray_tells_no_session(self) -> None:
        """There the list is all there is."""
        history = (seen(A), started(A), applied(session=None), *ended_well())
        record, action = after(desired(A), live(session=None), *history)

        assert isinstance(action, Wait)
        assert start(decide(desired(A), live(session=None), record, at(55))).kind is Kind.RESTORE

    def test_one_after_the_other_waits_longer_each_time(self) -> None:
        """15 s, then twice as long each time, and never given up."""
        record, second = record_of(*A_GOOD), 100.0
        for number, pause in enumerate([0, 15, 30, 60, 120, 240, 480, 900, 900], start=2):
            second += pause
            if pause:
                record, _, action = decided(desired(A), new_head(), record, second - 0.1)
                assert isinstance(action, Wait), number
                assert action.seconds == pytest.approx(0.1)
            record, _, action = decided(desired(A), new_head(), record, second)
            assert isinstance(action, Put), number
            ending = ended_well(number, second) if number % 2 else (failed(number, second),)
            for event in (applied(number, second), *ending):
                record = evolve(record, event)

    @pytest.mark.parametrize("failure_class", [FailureClass.CODE, FailureClass.DEADLINE])
    def test_what_serve_gave_up_on_is_restored_again(self, failure_class: FailureClass) -> None:
        """With another version, since Serve does not try the same one again."""
        record = repaired(drifted(new_head()), Kind.RESTORE, 2, 60, well=False, failure_class=failure_class)
        broken = running(A, status="DEPLOY_FAILED", deployments=())
        record, events, action = decided(desired(A), broken, record, 70)
        assert [event.type for event in events] == ["drifted"]
        assert waits(action, 20).endswith("is restored at 10:43:15 UTC.")

        event = start(decide(desired(A), broken, record, at(75)))
        assert (event.kind, event.nonce) == (Kind.RESTORE, "staging#3")

    def test_what_is_still_on_its_way_is_left_alone(self) -> None:
        """Serve goes on by itself after our deadline."""
        record = repaired(drifted(new_head()), Kind.RESTORE, 2, 60, well=False)
        _, _, action = decided(desired(A), running(A, status="DEPLOYING", deployments=()), record, 999)

        assert waits(action, 28) == (
            'Restoring 86f7e43 "commit a" failed at 10:43 UTC (fruit / D: ValueError: bad price).'
            " Serve goes on with it by itself; where it gives up, it is tried again."
        )
        _, _, action = decided(desired(A), running(A), record, 1200)
        assert waits(action, 25) == '86f7e43 "commit a" is live.'

    def test_the_newest_policy_judges_it(self) -> None:
        """Who gave it more time to start did so in the same digest."""
        slow = Policy(deadlines=Deadlines(build=600, schedule=300, start=7200))
        _, events, _ = decided(desired(A, slow), new_head(), record_of(*A_GOOD), 50)

        assert isinstance(events[-1], Started)
        assert events[-1].policy == slow

    @pytest.mark.parametrize(
        ("history", "restored"),
        [
            pytest.param(
                (
                    *A_GOOD,
                    seen(B),
                    started(B, 2, policy=Policy(rollback=False)),
                    applied(2),
                    failed(2),
                    held(2),
                ),
                True,
                id="a deploy failed, and rollback is off",
            ),
            pytest.param((*A_GOOD, started(A, 2), applied(2), failed(2)), True, id="a redeploy failed"),
            pytest.param((*ROLLING_BACK, failed(3)), False, id="a rollback failed: a person has to act"),
        ],
    )
    def test_also_after_what_failed(self, history: tuple[Event, ...], restored: bool) -> None:
        """Nothing serves, whatever went before."""
        record = record_of(*history)
        assert record.seen is not None
        _, events, _ = decided(desired(record.seen), new_head(), record, 50)

        kinds = [event.kind for event in events if isinstance(event, Started)]
        assert kinds == ([Kind.RESTORE] if restored else [])

    def test_what_it_was_sent_with_is_no_drift(self) -> None:
        """A repair that failed had a nonce that is not the good one's."""
        record = record_of(*A_GOOD)
        for event in (started(A, 2, Kind.RESTORE, 60, nonce="staging#2"), applied(2, 61), failed(2, 70)):
            record = evolve(record, event)
        sent = {
            **A.config.applications()["fruit"],
            "runtime_env": {"env_vars": {"DEPLOYER_NONCE": "staging#2"}},
        }
        cluster = live(app("fruit", "DEPLOYING", config=sent, deployments=()))

        assert decided(desired(A), cluster, record, 80)[1] == ()


class TestDeploy:
    """Line 21."""

    def test_it_starts_with_its_policy(self) -> None:
        """The rollout carries how it is judged, so that a restart judges the same."""
        policy = Policy(deadlines=Deadlines(build=1))
        event = start(decide(desired(A, policy), live(app("fruit")), record_of(seen(A)), at(1)))

        assert (event.policy, event.before, event.plan) == (policy, {"fruit": 1.0}, "+ fruit")
        assert (event.kind, event.trigger, event.actor) == (
            *(Kind.DEPLOY, "push"),
            "Ada <ada@example.com>",
        )

    def test_it_goes_before_a_heal(self) -> None:
        """What is about to be replaced is not repaired first."""
        record = evolve(drifted(edited(), PAUSED), seen(B))
        record = replace(record, paused=None)

        assert start(decide(desired(B), edited(), record, at(60))).release == B

    def test_applications_on_their_way_out_are_in_nobody_s_way(self) -> None:
        """DELETING is somebody's decision already."""
        cluster = live(app("theirs", "DELETING"))

        assert start(decide(desired(A), cluster, record_of(seen(A)), at(1))).release == A

    def test_own_former_applications_are_not_foreign(self) -> None:
        """What this environment put there, it may remove."""
        both = release("both", "fruit", "math")
        record = record_of(seen(both), started(both, before={}), applied(), *ended_well(), seen(A))

        assert start(decide(desired(A), running(both), record, at(50))).release == A

    def test_a_failed_rollback_is_final_until_somebody_acts(self) -> None:
        """Loud, and no loop; but a fix is accepted, and so is a retry."""
        record = record_of(*ROLLING_BACK, failed(3, 60))
        reason = waits(decide(desired(B), running(A), record, at(70)), 26)
        assert 'Rolling back to 86f7e43 "commit a" failed too' in reason
        assert "DEGRADED" in reason

        assert start(decide(desired(C), running(A), evolve(record, seen(C)), at(71))).release == C
        assert start(decide(desired(B), running(A), evolve(record, RETRY_B), at(71))).release == B

    def test_what_could_not_overtake_a_deploy_that_failed_is_deployed(self) -> None:
        """It was pushed under a pause, say, and there is nothing to go back to."""
        tried = (seen(A), started(A), applied(), replace(PAUSED, at=at(5)), seen(C, 6), failed(), held())
        resumed = record_of(*tried, Resumed(at=at(50), actor="ada"))

        assert start(decide(desired(C), running(A), resumed, at(51))).release == C

    def test_what_was_pushed_while_a_rollback_failed_is_deployed(self) -> None:
        """It is news, and has not failed."""
        record = record_of(*ROLLING_BACK, seen(C, 32), failed(3, 60))
        assert start(decide(desired(C), running(A), record, at(70))).release == C

        for same in (A, B):
            record = record_of(*ROLLING_BACK, seen(same, 32), failed(3, 60))
            assert isinstance(decide(desired(same), running(A), record, at(70)), Wait)

    def test_the_good_release_is_tried_again_only_when_somebody_acts(self) -> None:
        """A revert pushed during the rollback waits; one pushed after its failure deploys (or a retry)."""
        record = record_of(*ROLLING_BACK, seen(A, 50), failed(3, 60))
        assert "DEGRADED" in waits(decide(desired(A), running(A), record, at(70)), 28)

        revert = replace(C, config=A.config)
        event = start(decide(desired(revert), running(A), evolve(record, seen(revert)), at(71)))
        assert (event.kind, event.nonce) == (Kind.DEPLOY, "staging#4")
        asked = evolve(record, RetryAsked(at=at(70), actor="ada", digest=A.digest))
        assert start(decide(desired(A), running(A), asked, at(71))).release == A


class TestHeal:
    """Line 22."""

    @pytest.mark.parametrize(
        ("cluster", "what"),
        [
            pytest.param(edited(), EDITED_WORDS, id="edited"),
            pytest.param(
                running(A, source="imperative"), "fruit was replaced by a `serve run`.", id="taken over"
            ),
        ],
    )
    def test_it_brings_the_current_release_back(self, cluster: Live, what: str) -> None:
        """With the reason."""
        event = start(decide(desired(A), cluster, drifted(cluster), at(50)))

        assert (event.kind, event.release, event.reason) == (Kind.HEAL, A, what)

    def test_what_is_missing_is_healed(self) -> None:
        """Some of it; all of it is a restore."""
        both = release("both", "fruit", "math")
        record = record_of(seen(both), started(both, before={}), applied(), *ended_well())
        cluster = running(release("x", "fruit"))
        record, events, _ = decided(desired(both), cluster, record, 50)

        assert [event.type for event in events] == ["drifted", "started"]
        assert isinstance(events[1], Started)
        assert events[1].kind is Kind.HEAL

    def test_the_current_release_is_healed_while_the_wanted_one_is_held(self) -> None:
        """Not HEAD."""
        _, events, _ = decided(desired(B), edited(), record_of(*ROLLED_BACK), 50)

        assert isinstance(events[-1], Started)
        assert (events[-1].kind, events[-1].release) == (Kind.HEAL, A)

    @pytest.mark.parametrize(
        ("policy", "more", "line", "says"),
        [
            pytest.param(
                Policy(drift=OnDrift.ALERT),
                (),
                25,
                f"{EDITED_WORDS} The policy says `drift: alert`, so it is left as it is."
                ' 86f7e43 "commit a" is live.',
                id="alert",
            ),
            pytest.param(
                Policy(),
                (PAUSED,),
                24,
                f"{EDITED_WORDS} It is not healed while the environment is paused.",
                id="paused",
            ),
        ],
    )
    def test_it_is_left(self, policy: Policy, more: tuple[Event, ...], line: int, says: str) -> None:
        """And said."""
        _, action = after(wanting(policy), edited(), *A_GOOD, *more)

        assert waits(action, line).startswith(says)

    @pytest.mark.parametrize(
        ("deployments", "status", "drift", "says"),
        [
            pytest.param(
                (deployment(status="UNHEALTHY"),),
                "UNHEALTHY",
                DriftClass.SICK,
                "fruit/D is UNHEALTHY. Serve tries to start it again by itself;"
                ' `deployer logs staging` may say why. 86f7e43 "commit a" is live.',
                id="sick",
            ),
            pytest.param(
                (deployment(),),
                "PONDERING",
                DriftClass.UNKNOWN,
                "fruit has a status that is not known: 'PONDERING'. Nothing is changed because of it."
                ' 86f7e43 "commit a" is live.',
                id="unknown",
            ),
        ],
    )
    def test_what_no_put_heals(self, deployments: Any, status: str, drift: DriftClass, says: str) -> None:
        """The config is as sent: sending it again changes nothing."""
        record, action = after(desired(A), running(A, status=status, deployments=deployments), *A_GOOD)

        assert record.drift is not None
        assert record.drift.drift is drift
        assert waits(action, 25) == says

    def test_the_budget(self) -> None:
        """So many in an hour, restores counted; then it says so, until a person retries."""
        record = record_of(*A_GOOD)
        for number, second in ((2, 100), (3, 200), (4, 300)):
            record, _, action = decided(desired(A), edited(), record, second)
            assert isinstance(action, Put)
            for event in (applied(number, second), *ended_well(number, second)):
                record = evolve(record, event)

        record, _, action = decided(desired(A), edited(), record, 400)
        assert waits(action, 25).startswith(f"{EDITED_WORDS} It was healed or restored 3 times within")
        retried = evolve(record, RetryAsked(at=at(401), actor="ada", digest=A.digest))
        assert start(decide(desired(A), edited(), retried, at(402))).kind is Kind.HEAL

        assert isinstance(decide(desired(A), edited(), record, at(3699)), Wait)
        assert start(decide(desired(A), edited(), record, at(3700))).kind is Kind.HEAL

    def test_the_newest_policy_for_the_same_digest_counts(self) -> None:
        """A commit that only changes environment.yaml starts no rollout, and is obeyed all the same."""
        record = drifted(edited(), wanted=wanting(Policy(drift=OnDrift.ALERT)))
        assert isinstance(decide(wanting(Policy(drift=OnDrift.ALERT)), edited(), record, at(60)), Wait)
        assert start(decide(NotRead(why="x"), edited(), record, at(60))).kind is Kind.HEAL

    def test_a_heal_that_serve_gave_up_on_is_made_again(self) -> None:
        """Within the budget, and as another version."""
        record = repaired(drifted(edited()), Kind.HEAL, 2, 60, well=False)
        broken = running(A, status="DEPLOY_FAILED", deployments=())
        _, events, _ = decided(desired(A), broken, record, 70)

        assert [event.type for event in events] == ["drifted", "started"]
        assert isinstance(events[1], Started)
        assert (events[1].kind, events[1].nonce) == (Kind.HEAL, "staging#3")

    def test_what_is_in_its_way(self) -> None:
        """Somebody took our prefix: no rollout is begun that would only stand in the way of a fix."""
        at_root = release("root", "math", {"name": "fruit", "import_path": "x:y", "route_prefix": "/"})
        record = record_of(seen(at_root), started(at_root, before={}), applied(), *ended_well())
        there = running(release("x", "math"))
        theirs = app("theirs", config={"name": "theirs", "route_prefix": "/"}, route_prefix="/")
        cluster = replace(there, apps={**there.apps, "theirs": theirs})
        _, _, action = decided(desired(at_root), cluster, record, 50)

        assert waits(action, 30).startswith("fruit is not on the cluster any more. ")
        assert "wants the route prefix /, and so does theirs" in waits(action, 30)


class TestWaiting:
    """Lines 23 to 30."""

    def test_nothing_read_yet_and_nothing_deployed(self) -> None:
        """The first seconds of a daemon."""
        action = decide(NotRead(why="First look under way."), live(), EMPTY, at(0))

        assert action == Wait(
            line=23, reason="First look under way. Nothing was ever deployed here.", seconds=IDLE_SECONDS
        )

    @pytest.mark.parametrize(
        ("until", "words", "seconds"),
        [
            (None, "until somebody resumes it", IDLE_SECONDS),
            (at(9999), "until 2026-11-22 13:28 UTC", IDLE_SECONDS),
            (at(52), "until 2026-11-22 10:42 UTC", 2.0),
        ],
    )
    def test_paused(self, until: Any, words: str, seconds: float) -> None:
        """It says by whom, why and how to end it; and looks again when it is over."""
        record = record_of(*A_GOOD, seen(B), replace(PAUSED, until=until))
        action = decide(desired(B), running(A), record, at(50))

        assert action == Wait(
            line=24,
            reason=f"Paused by ada at 10:42 UTC (a demo), {words}: nothing is deployed or healed."
            " `deployer resume staging` ends it.",
            seconds=seconds,
        )

    def test_what_is_live_is_left_alone(self) -> None:
        """A commit that changes nothing for this environment deploys nothing."""
        readme = replace(B, config=A.config)
        action = decide(desired(readme), running(A), record_of(*A_GOOD, seen(readme)), at(50))

        assert action == Wait(
            line=25,
            reason='e9d71f5 "commit b" has the config that is live since 86f7e43 "commit a".',
            seconds=IDLE_SECONDS,
        )

    def test_what_needs_a_restart_of_serve_is_said(self) -> None:
        """Serve takes such a change with a 200 and ignores it."""
        body = {**A.config.body(), "http_options": {"port": 8100}}
        text = str(body).replace("'", '"')
        other = replace(A, config=replace(A.config, text=text))
        record = record_of(seen(other), started(other), applied(), *ended_well())
        cluster = running(other)
        action = decide(
            desired(other), replace(cluster, options={"http_options": {"port": 8000}}), record, at(50)
        )

        assert waits(action, 25) == (
            '86f7e43 "commit a" is live. Needs a restart of Serve, which ignores such a change while it runs:'
            " http_options.port is 8000, the file says 8100."
        )

    def test_a_held_digest_waits_under_any_commit(self) -> None:
        """A cherry-pick has another commit and the same digest."""
        pick = replace(C, config=B.config)
        action = decide(desired(pick), running(A), record_of(*ROLLED_BACK, seen(pick)), at(50))

        assert waits(action, 26) == (
            "e9d71f5 failed at 10:42 UTC (fruit / D: ValueError: bad price) and is held."
            ' 86f7e43 "commit a" is live. Push a fix, or `deployer retry staging --reason ...`.'
        )

    def test_a_retry_lets_it_through_once(self) -> None:
        """Re-armed by the next failure."""
        record = record_of(*ROLLED_BACK, RETRY_B)
        assert start(decide(desired(B), running(A), record, at(50))).release == B

        again = record_of(*ROLLED_BACK, RETRY_B, started(B, 4), applied(4), failed(4), held(4))
        back = (started(A, 5, Kind.ROLLBACK), applied(5), *ended_well(5))
        for event in back:
            again = evolve(again, event)
        waits(decide(desired(B), running(A), again, at(90)), 26)

    def test_a_first_deploy_that_fails_stays_loud(self) -> None:
        """There is nothing to go back to, and it says so."""
        record = record_of(seen(A), started(A), applied(), failed(1), held(1))

        assert "There is no good release to go back to." in waits(
            decide(desired(A), running(A), record, at(50)), 26
        )

    @pytest.mark.parametrize(
        ("before", "after_", "waits_"),
        [
            pytest.param("a", "", True, id="the only one"),
            pytest.param("a b", "a", False, id="one of two"),
            pytest.param("a b c", "a", True, id="two of three"),
            pytest.param("a b c d e f g", "a b c d e", False, id="two of seven"),
            pytest.param("a b c d e f g", "a b c d", True, id="three of seven"),
            pytest.param("a b", "c d", True, id="renamed"),
            pytest.param("a", "b", False, id="the only one renamed"),
        ],
    )
    def test_removing_most_applications_waits(self, before: str, after_: str, waits_: bool) -> None:
        """More than one and more than 30 %, or all."""
        old = replace(release("old", *before.split()))
        new = release("new", *after_.split()) if after_ else replace(A, config=nothing())
        record = record_of(seen(old), started(old, before={}), applied(), *ended_well(), seen(new))
        action = decide(desired(new), running(old), record, at(50))
        if not waits_:
            assert start(action).release == new
            return
        gone = ", ".join(sorted({*before.split()} - {*after_.split()}))
        assert f"waits: it removes {gone}, and Serve would delete" in waits(action, 29)

        allowed = desired(new, Policy(allow_delete=True))
        assert start(decide(allowed, running(old), record, at(50))).release == new

    def test_what_is_ours_is_not_emptied_before_anything_is_good(self) -> None:
        """A new state directory, or a first deploy that failed: an empty list is a mistake there too."""
        three, one = release("three", "a", "b", "c"), release("one", "a")
        empty = replace(A, config=nothing())
        there = running(three)
        owns = Policy(owns=("a", "b", "c"))
        adopting = decide(desired(empty, owns), there, record_of(seen(empty)), at(50))
        assert "removes a, b, c" in waits(adopting, 29)
        adopting = decide(desired(one, owns), there, record_of(seen(one)), at(50))
        assert "removes b, c" in waits(adopting, 29)

        tried = (seen(three), started(three), applied(), failed(), held())
        emptied = decide(desired(empty), there, record_of(*tried, seen(empty)), at(50))
        assert "removes a, b, c" in waits(emptied, 29)
        assert start(decide(desired(one), there, record_of(*tried, seen(one)), at(50))).release == one

    def test_a_first_deploy_removes_nothing(self) -> None:
        """There is no release to compare with."""
        empty = replace(A, config=nothing())

        assert start(decide(desired(empty), live(), record_of(seen(empty)), at(1))).release == empty

    @pytest.mark.parametrize(
        ("cluster", "policy", "neighbours", "says"),
        [
            pytest.param(
                live(app("fruit", source="imperative")),
                Policy(),
                {},
                "Application fruit was started on the cluster with `serve run`",
                id="a serve run of that name",
            ),
            pytest.param(
                live(),
                Policy(),
                {"fruit": "production"},
                "Application fruit belongs to environment production on the same cluster",
                id="a neighbour's",
            ),
            pytest.param(
                live(),
                Policy(owns=("fruit", "math")),
                {"math": "production"},
                "`owns` in environment.yaml claims math, which belongs to environment production on the same"
                " cluster: take it out of one of the two.",
                id="a neighbour's is claimed",
            ),
        ],
    )
    def test_obstacles(self, cluster: Live, policy: Policy, neighbours: Mapping[str, str], says: str) -> None:
        """Nothing is begun that would harm somebody else."""
        action = decide(desired(A, policy), cluster, record_of(seen(A)), at(1), neighbours)

        assert waits(action, 30).startswith('86f7e43 "commit a" waits: ')
        assert says in waits(action, 30)


class TestRoom:
    """Line 27: what found no room."""

    def cluster(self, **free: float) -> Live:
        """A runs, and so much is free."""
        return replace(running(A), free=free)

    def measured(self, **free: float) -> Record:
        """So much was free after the try, which ended at second 30."""
        return record_of(*STARVED, Measured(at=at(40), free=free))

    def test_it_is_measured_first(self) -> None:
        """When all is as before again."""
        record, events, action = decided(desired(B), self.cluster(CPU=2.0), record_of(*STARVED), 40)
        assert events == (Measured(at=at(40), free={"CPU": 2.0}),)
        assert waits(action, 27) == (
            'e9d71f5 "commit b" found no room on the cluster and is tried again not before 10:43 UTC, and'
            " when more resources are free; `deployer retry staging --reason ...` tries at once."
            ' 86f7e43 "commit a" is live.'
        )
        assert decided(desired(B), self.cluster(CPU=2.0), record, 41)[1] == ()

    @pytest.mark.parametrize(
        ("free", "second", "tries"),
        [
            pytest.param({"CPU": 3.0, "memory": 5.0}, 90, True, id="more is free, and time has passed"),
            pytest.param({"CPU": 3.0, "memory": 5.0}, 89, False, id="more is free, but it is too early"),
            pytest.param({"CPU": 2.0, "GPU": 1.0, "memory": 5.0}, 90, True, id="a new kind"),
            pytest.param({"CPU": 2.0, "memory": 5.0}, 99_999, False, id="as much as before"),
            pytest.param({"CPU": 1.0, "memory": 5.0}, 99_999, False, id="less"),
            pytest.param(
                {"CPU": 2.0, "memory": 99.0, "object_store_memory": 9.0, "node:10.0.0.1": 1.0},
                99_999,
                False,
                id="memory and names of nodes vary",
            ),
        ],
    )
    def test_it_is_tried_again_when_more_is_free(
        self, free: dict[str, float], second: float, tries: bool
    ) -> None:
        """Each try stops old replicas: not on the mere passing of time."""
        record = self.measured(CPU=2.0, memory=5.0)
        action = decide(desired(B), self.cluster(**free), record, at(second))
        if tries:
            event = start(action)
            assert (event.release, event.trigger, event.nonce) == (B, "there may be room now", "")
        else:
            assert "when more resources are free" in waits(action, 27)

    @pytest.mark.parametrize(("told_before", "told_now"), [(False, False), (True, False)])
    def test_where_nobody_tells_what_is_free_time_is_the_only_sign(
        self, told_before: bool, told_now: bool
    ) -> None:
        """Ten times as long."""
        record = self.measured(CPU=2.0) if told_before else record_of(*STARVED)
        assert isinstance(decide(desired(B), running(A), record, at(629)), Wait)

        assert start(decide(desired(B), running(A), record, at(630))).release == B

    def test_each_try_waits_longer(self) -> None:
        """A minute, then two."""
        record = self.measured(CPU=2.0)
        again = (
            *(started(B, 4, second=100), applied(4, 101), failed(4, 400, FailureClass.CAPACITY)),
            *(started(A, 5, Kind.ROLLBACK, 400), applied(5, 401), *ended_well(5, 410)),
            Measured(at=at(411), free={"CPU": 2.0}),
        )
        for event in again:
            record = evolve(record, event)
        assert isinstance(decide(desired(B), self.cluster(CPU=9.0), record, at(519)), Wait)

        assert start(decide(desired(B), self.cluster(CPU=9.0), record, at(520))).release == B

    def test_a_retry_does_not_wait(self) -> None:
        """A person knows better."""
        record = evolve(self.measured(CPU=2.0), RETRY_B)

        assert start(decide(desired(B), self.cluster(CPU=2.0), record, at(50))).release == B

    def test_it_does_not_keep_another_digest_waiting(self) -> None:
        """Something smaller may fit."""
        record = evolve(self.measured(CPU=2.0), seen(C))

        assert start(decide(desired(C), self.cluster(CPU=2.0), record, at(50))).release == C

    def test_a_first_deploy_without_room_waits_for_it_too(self) -> None:
        """It is not held, and not a stall."""
        record = record_of(seen(A), started(A), applied(), failed(1, failure_class=FailureClass.CAPACITY))

        assert waits(decide(desired(A), running(C), record, at(50)), 27).endswith(
            "`deployer retry staging --reason ...` tries at once."
        )

    @pytest.mark.parametrize("failure_class", [FailureClass.CAPACITY, FailureClass.DEADLINE])
    def test_what_came_up_by_itself_proves_itself(self, failure_class: FailureClass) -> None:
        """Serve went on with it; the same PUT with the same nonce restarts nothing."""
        again = (*A_GOOD, started(A, 2, nonce="n1"), applied(2), failed(2, failure_class=failure_class))
        first = (seen(A), started(A, nonce="n1"), applied(), failed(1, failure_class=FailureClass.CAPACITY))
        history = first if failure_class is FailureClass.CAPACITY else again
        sent = replace(A, config=config(body.applications(A, "n1")["fruit"]))
        up = running(sent)
        event = start(decide(desired(A), up, record_of(*history), at(50)))
        assert (event.kind, event.release, event.nonce) == (Kind.DEPLOY, A, "n1")

        for other in (
            running(sent, status="DEPLOYING"),
            running(sent, deployments=(deployment(status="UPDATING"),)),
            live(),
        ):
            _, events, _ = decided(desired(A), other, record_of(*history), 50)
            assert not [one for one in events if isinstance(one, Started) and one.kind is Kind.DEPLOY]

    def test_a_rollback_that_failed_is_final_here_too(self) -> None:
        """The environment is DEGRADED, with room or without."""
        history = (*STARVED[:-3], failed(3, 60))
        assert waits(decide(desired(B), running(A), record_of(*history), at(9999)), 28)

    def test_what_is_in_the_way_is_in_the_way_when_there_is_room(self) -> None:
        """Somebody may have taken the name meanwhile."""
        record = self.measured(CPU=2.0)
        action = decide(desired(B), self.cluster(CPU=9.0), record, at(90), {"fruit": "production"})

        waits(action, 30)


def nothing() -> Any:
    """The config without any application."""
    return replace(A.config, text='{"applications":[]}', digest="sha256:0")


def test_a_release_without_applications_is_at_rest() -> None:
    """Nothing is lost of it, whatever the cluster runs or however often its head is replaced."""
    empty = replace(A, config=nothing())
    record = record_of(seen(empty), started(empty, before={}), applied(), *ended_well())
    for cluster in (live(), new_head(), live(serve_started=False), live(app("theirs"))):
        _, events, action = decided(desired(empty), cluster, record, 50)
        assert events == ()
        waits(action, 25)


def test_the_capacity_of_a_cluster_that_others_use_is_not_ours() -> None:
    """Their PUT sets it for everybody: no drift, and no fight over it."""
    alone = replace(running(A), target_capacity=50.0)
    assert decided(desired(A), alone, record_of(*A_GOOD), 50)[1][0].type == "drifted"

    theirs = app("theirs", config={"name": "theirs"})
    shared = replace(alone, apps={**alone.apps, "theirs": theirs})
    assert decided(desired(A), shared, record_of(*A_GOOD), 50)[1] == ()
    run = replace(alone, apps={**alone.apps, "theirs": replace(theirs, source="imperative")})
    assert decided(desired(A), run, record_of(*A_GOOD), 50)[1][0].type == "drifted"


def test_times_of_the_past_are_no_waits() -> None:
    """A pause that ends this very moment is waited for a moment, not for a negative time."""
    record = record_of(*A_GOOD, replace(PAUSED, until=at(50) + timedelta(milliseconds=1)))
    action = decide(desired(A), running(A), record, at(50))

    assert isinstance(action, Wait)
    assert action.seconds == 0.01


def test_every_release_here_differs() -> None:
    """Otherwise the tests above would prove nothing."""
    assert len({one.digest for one in (A, B, C)}) == len({A.digest, B.digest, C.digest}) == 3
    assert isinstance(A, Release)
