"""The policy of `decide`, one parameter per line of its table and per edge of a line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.core.actions import Note, Put, Wait
from deployer.core.decide import IDLE_SECONDS, decide, rejected
from deployer.core.errors import Problem
from deployer.core.events import (
    Applied,
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
from deployer.core.live import Replica, Unreachable, Unreadable
from deployer.core.record import Record, Result, evolve
from deployer.core.types import Absent, Deadlines, Invalid, NotRead, Policy, Release
from tests.support.build import app, at, deployment, desired, live, record_of, release, revision, running

A, B, C = release("a"), release("b"), release("c")
POLICY = Policy()
EMPTY = Record(environment="staging")
SILENT = Unreachable(why="cannot reach http://ray: connection refused.")


def seen(what: Release, second: float = 0) -> Seen:
    """Git wants it."""
    return Seen(at=at(second), release=what)


def started(
    what: Release,
    number: int = 1,
    kind: Kind = Kind.DEPLOY,
    second: float = 0,
    policy: Policy = POLICY,
    before: dict[str, float] | None = None,
) -> Started:
    """A rollout's intent."""
    return Started(
        at=at(second),
        rollout=f"staging#{number}",
        kind=kind,
        release=what,
        policy=policy,
        trigger="push",
        before=before if before is not None else {"fruit": 1.0},
    )


def applied(number: int = 1, second: float = 1) -> Applied:
    """Its PUT was taken."""
    return Applied(at=at(second), rollout=f"staging#{number}", session="session_1")


def ended_well(number: int = 1, second: float = 10) -> tuple[Healthy, Good]:
    """It became healthy, and good."""
    rollout = f"staging#{number}"
    return Healthy(at=at(second), rollout=rollout), Good(at=at(second), rollout=rollout)


def failed(number: int, second: float = 30) -> Failed:
    """It failed."""
    failure = Failure(failure_class=FailureClass.CODE, message="fruit / D: ValueError: bad price")
    return Failed(at=at(second), rollout=f"staging#{number}", failure=failure)


def held(number: int, second: float = 30) -> Held:
    """Its digest is held."""
    return Held(at=at(second), rollout=f"staging#{number}", reason="fruit / D: ValueError: bad price")


A_GOOD = (seen(A), started(A), applied(), *ended_well())
B_APPLIED = (*A_GOOD, seen(B, 20), started(B, 2, second=20), applied(2, 21))
B_FAILED = (*B_APPLIED, failed(2), held(2))
ROLLING_BACK = (*B_FAILED, started(A, 3, Kind.ROLLBACK, 30), applied(3, 31))


def kinds(action: object) -> list[str]:
    """Give the types of the events that the action notes."""
    assert isinstance(action, Note), action
    return [event.type for event in action.events]


class TestNews:
    """Line 1."""

    def test_a_new_release_is_noted_with_its_author(self) -> None:
        """What git wants is a fact before anything follows from it."""
        action = decide(desired(A), live(), EMPTY, at(5))

        assert action == Note(events=(Seen(at=at(5), actor="Ada <ada@example.com>", release=A),))

    def test_it_is_noted_even_when_the_cluster_is_silent(self) -> None:
        """Git and the cluster are two things."""
        assert kinds(decide(desired(A), SILENT, EMPTY, at(5))) == ["seen"]

    def test_an_invalid_file_is_refused_once(self) -> None:
        """The same refusal is one fact, not one per pass."""
        problem = Problem(
            file="environments/staging/serve_config.yaml", line=4, column=5, message="unknown key"
        )
        wanted = Invalid(revision=revision("x"), problems=(problem, problem))
        first = decide(wanted, running(A), record_of(*A_GOOD), at(50))
        assert isinstance(first, Note)
        (event,) = first.events

        assert isinstance(event, Refused)
        assert event.message == "environments/staging/serve_config.yaml:4:5: unknown key (and 1 more)"
        second = decide(wanted, running(A), record_of(*A_GOOD, event), at(51))
        assert isinstance(second, Wait)
        assert "Push a fix." in second.reason

    def test_a_vanished_branch_is_refused_and_changes_nothing(self) -> None:
        """Removal in git causes no deletion by itself."""
        wanted = Absent(why="Branch env/staging is gone from serve-configs.")
        first = decide(wanted, running(A), record_of(*A_GOOD), at(50))
        assert kinds(first) == ["refused"]
        assert isinstance(first, Note)

        second = decide(wanted, running(A), record_of(*A_GOOD, *first.events), at(51))
        assert isinstance(second, Wait)
        assert "is live" in second.reason

    def test_coming_back_from_a_refusal_is_news(self) -> None:
        """After a refusal the good release is seen again, so that the refusal ends."""
        refused = Refused(at=at(40), message="gone")

        assert kinds(decide(desired(A), running(A), record_of(*A_GOOD, refused), at(50))) == ["seen"]

    def test_an_unread_repository_is_no_news(self) -> None:
        """Nothing is known, so nothing is said of it."""
        action = decide(NotRead(why="First look under way."), running(A), record_of(*A_GOOD), at(50))

        assert isinstance(action, Wait)
        assert action.reason.startswith("First look under way.")


class TestSight:
    """Lines 2 and 3: a cluster that cannot be seen is never a reason to roll back."""

    @pytest.mark.parametrize("observation", [SILENT, Unreadable(why="It answers with a login page.")])
    def test_idle(self, observation: Unreachable | Unreadable) -> None:
        """With nothing in flight there is nothing to note."""
        action = decide(desired(A), observation, record_of(*A_GOOD), at(50))

        assert isinstance(action, Wait)
        assert observation.why[1:] in action.reason

    def test_what_git_says_wrong_is_not_hidden_by_a_silent_cluster(self) -> None:
        """Two things are broken, and each wants a person."""
        record = record_of(*A_GOOD, Refused(at=at(40), message="x.yaml:4:5: unknown key"))
        action = decide(NotRead(why="x"), SILENT, record, at(50))

        assert isinstance(action, Wait)
        assert action.reason.endswith("Nothing is changed until it answers. x.yaml:4:5: unknown key.")

    def test_an_applied_rollout_loses_sight_once(self) -> None:
        """The moment is durable, because deadlines stand still from there."""
        record = record_of(*B_APPLIED)
        action = decide(desired(B), SILENT, record, at(25))
        assert action == Note(events=(LostSight(at=at(25), rollout="staging#2", why=SILENT.why),))
        assert isinstance(action, Note)

        after = decide(desired(B), SILENT, evolve(record, action.events[0]), at(99_999))
        assert isinstance(after, Wait)
        assert "nothing is rolled back because of it" in after.reason

    def test_a_pending_rollout_only_waits(self) -> None:
        """No deadline runs before Applied."""
        record = record_of(*A_GOOD, seen(B), started(B, 2))

        assert isinstance(decide(desired(B), SILENT, record, at(99_999)), Wait)

    def test_sight_regained_is_noted_and_the_blind_time_does_not_count(self) -> None:
        """An outage longer than the deadline does not fail the rollout."""
        lost = LostSight(at=at(25), rollout="staging#2", why="x")
        record = record_of(*B_APPLIED, lost)
        busy = running(B, status="DEPLOYING")
        action = decide(desired(B), busy, record, at(50_000))
        assert action == Note(events=(RegainedSight(at=at(50_000), rollout="staging#2"),))
        assert isinstance(action, Note)

        assert isinstance(decide(desired(B), busy, evolve(record, action.events[0]), at(50_001)), Wait)


class TestInFlight:
    """Lines 4 to 11."""

    def test_a_newer_digest_overtakes_a_deploy(self) -> None:
        """Newest wins, in one transaction, and the good release stays what it was."""
        record = record_of(*B_APPLIED, seen(C, 25))
        action = decide(desired(C), running(B, status="DEPLOYING"), record, at(26))

        assert kinds(action) == ["superseded", "started"]
        assert isinstance(action, Note)
        superseded, start = action.events
        assert superseded == Superseded(at=at(26), rollout="staging#2", by=C.revision.commit)
        assert isinstance(start, Started)
        assert (start.rollout, start.kind, start.release) == ("staging#3", Kind.DEPLOY, C)
        assert start.before == {"fruit": 2.0}
        assert start.actor == "Ada <ada@example.com>"

    def test_a_newer_digest_overtakes_a_pending_deploy_too(self) -> None:
        """A PUT that never gets an answer does not block the fix."""
        record = record_of(*A_GOOD, seen(B), started(B, 2), seen(C))

        assert kinds(decide(desired(C), running(A, stamp=1.0), record, at(26))) == ["superseded", "started"]

    @pytest.mark.parametrize(
        ("wanted", "why"),
        [
            (desired(replace(C, config=B.config)), "same digest, newer revision"),
            (NotRead(why="x"), "git is not known"),
        ],
    )
    def test_what_does_not_overtake(self, wanted: object, why: str) -> None:
        """A deploy goes on."""
        record = record_of(*B_APPLIED, seen(replace(C, config=B.config)))

        assert isinstance(decide(wanted, running(B, status="DEPLOYING"), record, at(26)), Wait), why  # type: ignore[arg-type]

    def test_a_held_digest_does_not_overtake(self) -> None:
        """Not even while something else is being deployed."""
        record = record_of(*ROLLING_BACK, *ended_well(3, 40), seen(C), started(C, 4), applied(4, 41), seen(B))

        assert isinstance(decide(desired(B), running(C, status="DEPLOYING"), record, at(42)), Wait)

    def test_what_would_delete_foreign_applications_does_not_overtake(self) -> None:
        """Nobody else's applications are deleted."""
        record = record_of(*B_APPLIED, seen(C))
        other = running(B, status="DEPLOYING")
        shared = replace(other, apps={**other.apps, "theirs": app("theirs")})

        assert isinstance(decide(desired(C), shared, record, at(26)), Wait)

    def test_a_rollback_is_not_overtaken(self) -> None:
        """It is finished first; its own deadline bounds it."""
        record = record_of(*ROLLING_BACK, seen(C))

        assert isinstance(decide(desired(C), running(A, status="DEPLOYING"), record, at(32)), Wait)

    def test_a_pending_put_is_sent(self) -> None:
        """The intent is durable: send it."""
        record = record_of(seen(A), started(A))

        assert decide(desired(A), live(), record, at(1)) == Put(rollout=record.rollout)  # type: ignore[arg-type]

    def test_a_pending_put_that_would_delete_foreign_applications_waits(self) -> None:
        """They may have come between the intent and the PUT."""
        record = record_of(seen(A), started(A))
        action = decide(desired(A), live(app("theirs")), record, at(1))

        assert isinstance(action, Wait)
        assert "theirs" in action.reason

    def test_a_pending_put_found_on_the_cluster_is_applied(self) -> None:
        """After a crash or a lost answer: read back, do not guess."""
        record = record_of(seen(A), started(A))
        action = decide(desired(A), running(A, stamp=2.0), record, at(1))

        expected = Applied(at=at(1), rollout="staging#1", session="session_1", read_back=True)
        assert action == Note(events=(expected,))

    def test_the_same_config_from_before_is_not_our_put(self) -> None:
        """Its stamp is the one from before: it proves nothing."""
        record = record_of(seen(A), started(A))

        assert isinstance(decide(desired(A), running(A, stamp=1.0), record, at(1)), Put)

    def test_a_config_that_lacks_a_key_of_ours_is_not_our_put(self) -> None:
        """When in doubt the identical PUT is repeated, which restarts nothing."""
        record = record_of(seen(A), started(A))
        short = live(app("fruit", config={"name": "fruit"}, last_deployed_time_s=2.0))

        assert isinstance(decide(desired(A), short, record, at(1)), Put)

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
    def test_a_put_that_did_not_hold_is_intended_again(self, cluster: object, why: str) -> None:
        """The intent of the repeated PUT is durable too, with the stamps of now."""
        action = decide(desired(B), cluster, record_of(*B_APPLIED), at(24))  # type: ignore[arg-type]

        assert isinstance(action, Note)
        (event,) = action.events
        assert isinstance(event, Resubmitted)
        assert event.cause == why

    def test_applications_stamped_apart_are_not_one_put(self) -> None:
        """Each PUT stamps all applications that it lists alike."""
        two = release("two", "fruit", "math")
        record = record_of(seen(two), started(two, before={}), applied())
        together = running(two)
        apart = replace(
            together, apps={**together.apps, "math": replace(together.apps["math"], last_deployed_time_s=9.0)}
        )

        action = decide(desired(two), apart, record, at(9))
        assert isinstance(action, Note)
        assert isinstance(action.events[0], Resubmitted)
        assert action.events[0].cause == "the applications were not deployed together"

    def test_a_repeated_put_waits_longer_each_time(self) -> None:
        """Somebody who keeps overwriting ours is not fought every quarter of a second."""
        again = Resubmitted(at=at(24), rollout="staging#2", cause="x", before={"fruit": 5.0})
        record = record_of(*B_APPLIED, again, applied(2, 24))

        early = decide(desired(B), live(), record, at(27))
        assert isinstance(early, Wait)
        assert "our PUT does not hold: fruit is not on the cluster" in early.reason
        assert kinds(decide(desired(B), live(), record, at(29))) == ["resubmitted"]

    def test_a_fight_that_lasts_ends_at_the_deadline(self) -> None:
        """The deadline counts from the first Applied."""
        again = Resubmitted(at=at(2300), rollout="staging#2", cause="x")
        record = record_of(*B_APPLIED, again, applied(2, 2300))

        assert kinds(decide(desired(B), live(), record, at(2302))) == ["failed", "held"]

    def test_all_healthy_ends_well(self) -> None:
        """RUNNING, HEALTHY, our stamp, our config."""
        action = decide(desired(B), running(B), record_of(*B_APPLIED), at(40))

        assert action == Note(events=ended_well(2, 40))

    def test_deploy_failed_fails_and_holds(self) -> None:
        """In one transaction, with Serve's reason."""
        broken = running(B, status="DEPLOY_FAILED", message="x\nValueError: bad price", deployments=())
        action = decide(desired(B), broken, record_of(*B_APPLIED), at(40))

        assert kinds(action) == ["failed", "held"]
        assert isinstance(action, Note)
        assert action.events[1].reason == "fruit: ValueError: bad price"

    def test_a_failed_rollback_holds_nothing(self) -> None:
        """The good release stays good."""
        broken = running(A, status="DEPLOY_FAILED", message="x", deployments=())

        assert kinds(decide(desired(B), broken, record_of(*ROLLING_BACK), at(40))) == ["failed"]

    def test_a_failed_deploy_of_the_good_release_holds_nothing(self) -> None:
        """The cluster is sick for its own reasons; holding would hold the way back."""
        record = record_of(
            *B_APPLIED, seen(A), Superseded(at=at(25), rollout="staging#2", by="a"), started(A, 3)
        )
        record = evolve(record, applied(3, 26))
        broken = running(A, status="DEPLOY_FAILED", message="x", deployments=())

        assert kinds(decide(desired(A), broken, record, at(40))) == ["failed"]

    @pytest.mark.parametrize(
        ("cluster", "limit"),
        [
            (running(B, status="DEPLOYING", deployments=()), 600),
            (
                running(
                    B,
                    status="DEPLOYING",
                    deployments=(
                        deployment(
                            status="UPDATING", replicas=(Replica(replica_id="r", state="STARTING"),), target=1
                        ),
                    ),
                ),
                900,
            ),
            (running(B, status="DEPLOYING", deployments=(deployment(status="UPDATING", running=0),)), 2100),
        ],
        ids=["build", "schedule", "start"],
    )
    def test_each_phase_has_its_deadline(self, cluster: object, limit: float) -> None:
        """They add up, counted from Applied (second 21)."""
        record = record_of(*B_APPLIED)

        assert isinstance(decide(desired(B), cluster, record, at(21 + limit)), Wait)  # type: ignore[arg-type]
        action = decide(desired(B), cluster, record, at(21 + limit + 1))  # type: ignore[arg-type]
        assert kinds(action) == ["failed", "held"]
        assert isinstance(action, Note)
        event = action.events[0]
        assert isinstance(event, Failed)
        assert event.failure.failure_class is FailureClass.DEADLINE

    def test_a_rollback_has_one_deadline(self) -> None:
        """Ten minutes unless the policy says otherwise."""
        busy = running(A, status="DEPLOYING", deployments=(deployment(status="UPDATING", running=0),))
        record = record_of(*ROLLING_BACK)

        assert isinstance(decide(desired(B), busy, record, at(31 + 600)), Wait)
        assert kinds(decide(desired(B), busy, record, at(31 + 601))) == ["failed"]

    @pytest.mark.parametrize(
        ("elapsed", "seconds"), [(0, 0.25), (5, 0.25), (20, 1.0), (500, 2.0), (-60, 0.25)]
    )
    def test_looks_grow_rarer(self, elapsed: float, seconds: float) -> None:
        """Fast just after the PUT, then in proportion to the time waited; a clock gone back does no harm."""
        busy = running(B, status="DEPLOYING", deployments=())
        action = decide(desired(B), busy, record_of(*B_APPLIED), at(21 + elapsed))

        assert action == Wait(reason='deploying e9d71f5 "commit b": fruit DEPLOYING', seconds=seconds)


class TestIdle:
    """Lines 12 to 18."""

    def test_a_failed_deploy_is_rolled_back(self) -> None:
        """To the newest good release, from the record, whatever git wants meanwhile."""
        record = record_of(*B_FAILED, seen(C, 31))
        action = decide(desired(C), running(B, stamp=7.0), record, at(32))

        assert kinds(action) == ["started"]
        assert isinstance(action, Note)
        (event,) = action.events
        assert isinstance(event, Started)
        assert (event.kind, event.release, event.follows) == (Kind.ROLLBACK, A, "staging#2")
        assert (event.before, event.trigger, event.actor) == ({"fruit": 7.0}, "staging#2 failed", "deployer")

    def test_rollback_can_be_turned_off(self) -> None:
        """Then the failed release stays, held and loud, and the next good one still deploys."""
        off = Policy(rollback=False)
        record = record_of(*A_GOOD, seen(B), started(B, 2, policy=off), applied(2), failed(2), held(2))
        action = decide(desired(B), running(B), record, at(40))
        assert isinstance(action, Wait)
        assert "The cluster was left on it" in action.reason

        assert kinds(decide(desired(C), running(B), evolve(record, seen(C)), at(41))) == ["started"]

    def test_what_is_live_is_left_alone(self) -> None:
        """A commit that changes nothing for this environment deploys nothing."""
        readme = replace(B, config=A.config)
        record = record_of(*A_GOOD, seen(readme))
        action = decide(desired(readme), running(A), record, at(50))

        assert isinstance(action, Wait)
        assert action.seconds == IDLE_SECONDS
        assert action.reason == 'e9d71f5 "commit b" has the config that is live since 86f7e43 "commit a".'

    def test_live_as_itself(self) -> None:
        """The plain good state."""
        action = decide(desired(A), running(A), record_of(*A_GOOD), at(50))

        assert action == Wait(reason='86f7e43 "commit a" is live.', seconds=IDLE_SECONDS)

    def test_lost_applications_are_said(self) -> None:
        """What was live and is gone is not called live."""
        action = decide(desired(A), live(), record_of(*A_GOOD), at(50))

        assert isinstance(action, Wait)
        assert "no longer runs fruit" in action.reason

    def test_a_held_digest_waits_under_any_commit(self) -> None:
        """A cherry-pick has another commit and the same digest."""
        record = record_of(*ROLLING_BACK, *ended_well(3, 40))
        pick = replace(C, config=B.config)
        action = decide(desired(pick), running(A), evolve(record, seen(pick)), at(50))

        assert isinstance(action, Wait)
        assert action.reason == (
            "e9d71f5 failed at 10:42 UTC (fruit / D: ValueError: bad price) and is held."
            ' 86f7e43 "commit a" is live. The next new config deploys by itself.'
        )

    def test_a_first_deploy_that_fails_stays_loud(self) -> None:
        """There is nothing to go back to, and it says so."""
        record = record_of(seen(A), started(A), applied(), failed(1), held(1))
        action = decide(desired(A), running(A), record, at(50))

        assert isinstance(action, Wait)
        assert "There is no good release to go back to." in action.reason

    def test_a_failed_rollback_is_final_until_a_new_digest(self) -> None:
        """Loud, and no loop; but a fix is accepted."""
        record = record_of(*ROLLING_BACK, failed(3, 60))
        action = decide(desired(B), running(A), record, at(70))
        assert isinstance(action, Wait)
        assert 'Rolling back to 86f7e43 "commit a" failed too' in action.reason
        assert "DEGRADED" in action.reason

        assert kinds(decide(desired(C), running(A), evolve(record, seen(C)), at(71))) == ["started"]

    def test_the_good_release_is_tried_again_only_when_somebody_pushed(self) -> None:
        """A revert pushed during the rollback waits; a revert pushed after its failure deploys."""
        record = record_of(*ROLLING_BACK, seen(A, 50), failed(3, 60))
        action = decide(desired(A), running(A), record, at(70))
        assert isinstance(action, Wait)
        assert "DEGRADED" in action.reason

        revert = replace(C, config=A.config)
        assert kinds(decide(desired(revert), running(A), evolve(record, seen(revert)), at(71))) == ["started"]

    def test_nothing_read_yet_and_nothing_deployed(self) -> None:
        """The first seconds of a daemon."""
        action = decide(NotRead(why="First look under way."), live(), EMPTY, at(0))

        assert action == Wait(
            reason="First look under way. Nothing was ever deployed here.", seconds=IDLE_SECONDS
        )

    def test_foreign_applications_are_never_deleted(self) -> None:
        """The PUT that would delete them is not sent, and the sentence says what to do."""
        record = record_of(seen(A))
        action = decide(desired(A), live(app("theirs"), app("run", source="imperative")), record, at(1))

        assert isinstance(action, Wait)
        assert "the cluster runs theirs, which this environment never deployed" in action.reason

    def test_applications_on_their_way_out_are_not_foreign(self) -> None:
        """DELETING is somebody's decision already."""
        cluster = live(app("theirs", "DELETING"))

        assert kinds(decide(desired(A), cluster, record_of(seen(A)), at(1))) == ["started"]

    def test_own_former_applications_are_not_foreign(self) -> None:
        """What this environment put there, it may remove."""
        both = release("both", "fruit", "math")
        record = record_of(seen(both), started(both, before={}), applied(), *ended_well(), seen(A))
        action = decide(desired(A), running(both), record, at(50))

        assert kinds(action) == ["started"]

    def test_a_deploy_starts_with_its_policy(self) -> None:
        """The rollout carries how it is judged, so that a restart judges the same."""
        policy = Policy(deadlines=Deadlines(build=1))
        action = decide(desired(A, policy), live(app("fruit")), record_of(seen(A)), at(1))

        assert isinstance(action, Note)
        (event,) = action.events
        assert isinstance(event, Started)
        assert (event.policy, event.before, event.plan) == (policy, {"fruit": 1.0}, "+ fruit")


class TestRejected:
    """A 400 at the PUT."""

    def test_it_fails_and_holds(self) -> None:
        """Serve may have applied half of it, which the rollback heals."""
        record = record_of(*A_GOOD, seen(B), started(B, 2))
        note = rejected(record, "1 validation error", at(21))

        assert kinds(note) == ["failed", "held"]
        after = record
        for event in note.events:
            after = evolve(after, event)
        assert after.last is not None
        assert after.last.result is Result.FAILED
        assert kinds(decide(desired(B), running(A), after, at(22))) == ["started"]

    def test_without_a_rollout_it_is_a_bug(self) -> None:
        """Nothing can be rejected that was not sent."""
        with pytest.raises(ValueError, match="no rollout is in flight"):
            rejected(EMPTY, "x", at(0))
