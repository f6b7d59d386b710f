"""`evolve` is the only definition of a legal history."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import get_args

import pytest

from deployer.core.errors import IllegalEvent
from deployer.core.events import (
    DAEMON_LOG,
    Approved,
    Cancelled,
    Checked,
    DriftClass,
    Drifted,
    DriftEnded,
    Event,
    FailureClass,
    Good,
    Healthy,
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
    State,
    Superseded,
    SyncAsked,
)
from deployer.core.record import (
    Attempts,
    Drift,
    Finished,
    Go,
    Hold,
    Promotion,
    Pushing,
    Record,
    Result,
    Rollout,
    Skip,
    evolve,
    fold,
)
from deployer.core.types import Check, Policy, Release
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

A, B, C = release("a"), release("b", "fruit", "math"), release("c")
ONE = "staging#1"
CHECKED = Policy(checks=(Check(app="fruit", path="/"), Check(app="fruit", path="/two")))
DEPLOYED = (started(A), applied(), *ended_well())
B_APPLIED = (*DEPLOYED, started(B, 2), applied(2))
FAILED_B = (*B_APPLIED, failed(2))
HELD_B = (*FAILED_B, held(2))
ROLLED_BACK = (*HELD_B, started(A, 3, Kind.ROLLBACK), applied(3), *ended_well(3))
LOG = LogSource(replica="r1", node_id="n1", path="serve/replica_D.log")
NO_ROOM = failed(2, failure_class=FailureClass.CAPACITY)
LOST = LostSight(at=at(2), rollout=ONE, why="x")
HEALTHY = ended_well()[1]
GOOD = ended_well()[2]
RETRY_B = RetryAsked(at=at(40), actor="ada", digest=B.digest)
EDITED = Drifted(at=at(40), drift=DriftClass.EDITED, what="fruit has another config.")


def resubmitted(second: float = 6, *, is_retry: bool = False) -> Resubmitted:
    """One more PUT is intended."""
    return Resubmitted(at=at(second), rollout=ONE, cause="x", before={"fruit": 3.0}, is_retry=is_retry)


def checked(*, passed: bool, check: int = 0, second: float = 12) -> Checked:
    """One attempt of a check."""
    return Checked(at=at(second), rollout=ONE, check=check, passed=passed, message="GET / said so", ms=12.5)


def asked(what: Release, second: float = 40, reason: str = "") -> RollbackAsked:
    """A person wants it back."""
    return RollbackAsked(at=at(second), actor="ada", reason=reason, release=what, made_good=ONE)


def rollout_of(*events: Event) -> Rollout:
    """The rollout in flight after these events."""
    rollout = record_of(*events).rollout
    assert rollout is not None
    return rollout


class TestLegal:
    """What a history adds up to."""

    def test_seen_and_refused(self) -> None:
        """A refusal stands until git wants something again."""
        refused = Refused(at=at(1), message="gone")

        assert record_of(seen(A), refused).refused == refused
        assert record_of(refused, seen(A, 2)).refused is None

    def test_a_rollout_from_start_to_good(self) -> None:
        """Every step leaves what `decide` needs."""
        record = record_of(seen(B), started(B, nonce="n", leaving=("r1",)), applied(second=5))
        rollout = record.rollout
        assert rollout is not None
        assert (rollout.applied_at, rollout.put_at, rollout.pending) == (at(5), at(5), False)
        assert (rollout.nonce, rollout.leaving, record.session) == ("n", ("r1",), "session_1")

        for event in ended_well():
            record = evolve(record, event)
        assert record == Record(
            environment="staging",
            sequence=6,
            rollouts=1,
            seen=B,
            seen_at=at(0),
            good=B,
            good_rollout=ONE,
            good_at=at(10),
            good_nonce="n",
            last=Finished(
                id=ONE,
                kind=Kind.DEPLOY,
                release=B,
                policy=Policy(),
                result=Result.GOOD,
                finished_at=at(10),
                wanted=B.revision.commit,
                is_log_kept=True,
                nonce="n",
            ),
            apps=frozenset({"fruit", "math"}),
            session="session_1",
        )

    def test_the_way_back_keeps_how_it_is_judged(self) -> None:
        """What is brought back is judged by the policy that it became good with."""
        policy = Policy(rollback_deadline=7)

        assert record_of(started(A, policy=policy), applied(), *ended_well()).good_policy == policy

    def test_the_applications_on_the_cluster(self) -> None:
        """From the intent on they may be there; after a good rollout the others are gone."""
        record = record_of(*DEPLOYED, started(B, 2))
        assert record.apps == {"fruit", "math"}

        record = record_of(*DEPLOYED, started(B, 2), applied(2), *ended_well(2), started(A, 3))
        assert record.apps == {"fruit", "math"}
        assert fold("x", ()).apps == frozenset()
        after = record_of(*B_APPLIED, *ended_well(2), started(A, 3), applied(3), *ended_well(3))
        assert after.apps == {"fruit"}

    @pytest.mark.parametrize(
        ("session", "kept"), [("session_2", "session_2"), (None, "session_1")], ids=["told", "not told"]
    )
    def test_the_session_is_that_of_the_last_put(self, session: str | None, kept: str) -> None:
        """Ray 2.9.3 does not name its session."""
        assert record_of(*DEPLOYED, started(B, 2), applied(2, session=session)).session == kept

    def test_a_resubmitted_rollout_keeps_its_first_applied(self) -> None:
        """Deadlines count from there, however often the PUT is repeated."""
        record = record_of(started(A), applied(second=5), resubmitted())
        assert record.rollout is not None
        assert (record.rollout.pending, record.rollout.puts, record.rollout.retries) == (True, 2, 0)
        assert record.rollout.before == {"fruit": 3.0}

        rollout = evolve(record, applied(second=7)).rollout
        assert rollout is not None
        assert (rollout.applied_at, rollout.put_at) == (at(5), at(7))

    def test_a_retry_is_counted(self) -> None:
        """A runtime environment is tried once more, not for ever."""
        assert rollout_of(started(A), applied(), resubmitted(is_retry=True)).retries == 1

    def test_what_was_replaced_has_to_prove_itself_anew(self) -> None:
        """Somebody else's PUT replaced what had soaked: window, checks and soak begin again."""
        history = (
            started(A, policy=CHECKED),
            applied(),
            observed(second=2, settled=True),
            replace(HEALTHY, at=at(10)),
            checked(passed=True),
            resubmitted(20),
        )
        rollout = rollout_of(*history)
        assert (rollout.settled_since, rollout.healthy_at, rollout.soak_since) == (None, None, None)
        assert (rollout.checks, rollout.was_settled, rollout.phase_since) == ({}, False, None)
        assert rollout.steady == timedelta(seconds=18)

        again = rollout_of(*history, applied(second=21), observed(second=22, settled=True))
        assert (again.settled_since, again.soak_since) == (at(22), None)

    def test_blind_time_adds_up(self) -> None:
        """Two outages, one of them with a clock that went back."""
        found = RegainedSight(at=at(40), rollout=ONE)
        record = record_of(
            *(started(A), applied(), replace(LOST, at=at(10)), found),
            *(replace(LOST, at=at(50)), replace(found, at=at(45)), replace(LOST, at=at(60))),
        )
        assert record.rollout is not None
        assert (record.rollout.blind, record.rollout.blind_since) == (timedelta(seconds=30), at(60))

    def test_blind_time_counts_neither_for_nor_against_a_rollout(self) -> None:
        """The stability window, the soak, the phase and a spell of UNHEALTHY stand still meanwhile."""
        soaking = (started(A), applied(), observed(second=2, settled=True), replace(HEALTHY, at=at(5)))
        outage = (replace(LOST, at=at(6)), RegainedSight(at=at(106), rollout=ONE))
        rollout = rollout_of(*soaking, *outage)
        assert (rollout.settled_since, rollout.soak_since) == (at(102), at(105))
        assert (rollout.phase_since, rollout.sick_since) == (at(102), None)

        sick = rollout_of(*soaking[:3], observed(second=4, sick=True), *outage)
        assert (sick.sick_since, sick.phase_since, sick.settled_since) == (at(104), at(104), None)

    def test_superseded_and_cancelled_end_a_rollout(self) -> None:
        """And the next may start in the same breath."""
        for event, result in (
            (Superseded(at=at(3), rollout=ONE, by="b"), Result.SUPERSEDED),
            (Cancelled(at=at(3), rollout=ONE), Result.CANCELLED),
        ):
            record = record_of(started(A), event, started(B, 2))

            assert record.last is not None
            assert (record.last.result, record.last.is_log_kept) == (result, True)
            assert record.rollout is not None
            assert record.rollout.id == "staging#2"

    def test_a_log_is_wanted_until_it_is_kept(self) -> None:
        """Only where the failure names one."""
        without = record_of(*B_APPLIED, failed(2)).last
        assert without is not None
        assert without.is_log_kept

        record = record_of(*B_APPLIED, failed(2, log=LOG))
        assert record.last is not None
        assert not record.last.is_log_kept

        after = evolve(record, LogKept(at=at(31), rollout="staging#2", source=LOG, text="boom"))
        assert after.last is not None
        assert after.last.is_log_kept

    def test_a_pause_is_replaced_and_ends(self) -> None:
        """The last one counts."""
        first, second = (
            Paused(at=at(1), actor="ada"),
            Paused(at=at(2), actor="lin", until=at(9)),
        )

        assert record_of(first, second).paused == second
        assert record_of(first, Resumed(at=at(3))).paused is None


class TestTimeline:
    """What is seen of a rollout."""

    def test_a_phase_counts_from_its_first_moment(self) -> None:
        """Another moment in the same phase does not start its deadline anew."""
        build, start = observed(second=2, phase="build"), observed(second=30, phase="start")

        assert rollout_of(started(A), applied(), build, replace(build, at=at(9))).phase_since == at(2)
        assert rollout_of(started(A), applied(), build, start).phase_since == at(30)

    def test_settled_counts_from_the_last_break(self) -> None:
        """A moment that is settled too does not start the window anew; a break does."""
        first = observed(second=2, settled=True)
        history = (started(A), applied(), first, replace(first, at=at(5)))
        rollout = rollout_of(*history)
        assert (rollout.settled_since, rollout.was_settled, rollout.steady) == (at(2), True, timedelta())

        broken = rollout_of(*history, observed(second=8))
        assert (broken.settled_since, broken.flaps, broken.steady) == (None, 0, timedelta(seconds=6))

        again = rollout_of(*history, observed(second=8), observed(second=9, settled=True))
        assert (again.settled_since, again.steady) == (at(9), timedelta(seconds=6))

    def test_sickness_before_it_was_settled_is_no_flap(self) -> None:
        """But its spell is timed."""
        sick = observed(second=2, sick=True)
        rollout = rollout_of(started(A), applied(), sick, replace(sick, at=at(4)))

        assert (rollout.flaps, rollout.sick_since) == (0, at(2))

    def test_each_spell_after_it_was_settled_is_a_flap(self) -> None:
        """Seen UNHEALTHY twice in a row is one spell."""
        well, sick = observed(second=2, settled=True), observed(second=3, sick=True)
        history = (started(A), applied(), well, sick, replace(sick, at=at(4)))
        assert rollout_of(*history).flaps == 1
        assert rollout_of(*history, replace(well, at=at(5))).sick_since is None
        assert rollout_of(*history, replace(well, at=at(5)), replace(sick, at=at(6))).flaps == 2

    def test_a_flap_that_nobody_saw_starts_the_window_and_the_soak_anew(self) -> None:
        """Settled before and after, and sick in between: it was not stable."""
        history = (started(A), applied(), observed(second=2, settled=True), replace(HEALTHY, at=at(5)))
        missed = observed(second=20, settled=True, sick=True)
        rollout = rollout_of(*history, missed)
        assert (rollout.flaps, rollout.sick_since) == (1, None)
        assert (rollout.settled_since, rollout.soak_since) == (at(20), at(20))
        assert rollout.steady == timedelta(seconds=18)

        after = rollout_of(*history, missed, observed(second=21, settled=True))
        assert (after.flaps, after.settled_since, after.soak_since) == (1, at(20), at(20))

    @pytest.mark.parametrize(
        ("replicas", "target", "goes_on"),
        [
            pytest.param("others", 2, False, id="as many others"),
            pytest.param("others", 3, True, id="scaled"),
            pytest.param("", 2, True, id="not all there"),
            pytest.param("these", 2, True, id="the same"),
        ],
    )
    def test_what_was_replaced_starts_the_window_and_the_soak_anew(
        self, replicas: str, target: int, goes_on: bool
    ) -> None:
        """Whatever Serve calls it: what runs now has not run for the whole window."""

        def moment(second: float, replicas: str, target: int) -> Event:
            one = State(app="fruit", deployment="D", status="HEALTHY", target=target, replicas=replicas)
            return observed(second=second, settled=True, states=(one, State(app="math", status="RUNNING")))

        history = (started(A), applied(), moment(2, "these", 2), replace(HEALTHY, at=at(5)))
        rollout = rollout_of(*history, moment(20, replicas, target))

        assert (rollout.settled_since, rollout.soak_since) == (
            (at(2), at(5)) if goes_on else (at(20), at(20))
        )
        assert rollout.flaps == 0

    def test_the_soak_restarts_when_it_is_settled_again(self) -> None:
        """Healthy time only."""
        history = (started(A), applied(), observed(second=2, settled=True), replace(HEALTHY, at=at(5)))
        assert rollout_of(*history).soak_since == at(5)
        assert rollout_of(*history, observed(second=9)).soak_since is None
        assert rollout_of(*history, observed(second=9), observed(second=12, settled=True)).soak_since == at(
            12
        )

    def test_a_clock_that_went_back_makes_no_negative_time(self) -> None:
        """What was settled stays so for no time at all."""
        history = (started(A), applied(), observed(second=20, settled=True), observed(second=5))

        assert rollout_of(*history).steady == timedelta()

    def test_its_length_is_bounded(self) -> None:
        """The beginning and the end are kept; the events have all of it."""
        moments = [
            observed(second=number, states=(State(app="fruit", status=str(number)),)) for number in range(100)
        ]
        timeline = rollout_of(started(A), applied(), *moments).timeline
        seconds = [(moment.at - at(0)).total_seconds() for moment in timeline]

        assert seconds == [*range(10), *range(70, 100)]
        assert timeline[-1].states == (State(app="fruit", status="99"),)


class TestChecks:
    """Attempts, and the soak after them."""

    HISTORY = (started(A, policy=CHECKED), applied(), *ended_well()[:2])

    def test_attempts_add_up(self) -> None:
        """By the check's place in the policy; the soak begins with the last attempt."""
        rollout = rollout_of(
            *self.HISTORY,
            checked(passed=False),
            checked(passed=True, second=14),
            checked(passed=False, check=1),
        )

        assert rollout.checks == {
            0: Attempts(made=2, passed=True, last_at=at(14), message="GET / said so"),
            1: Attempts(made=1, passed=False, last_at=at(12), message="GET / said so"),
        }
        assert rollout_of(*self.HISTORY, checked(passed=True)).soak_since == at(12)

    def test_an_answer_to_a_rollout_that_is_not_settled_starts_no_soak(self) -> None:
        """It broke while the request was under way."""
        assert rollout_of(*self.HISTORY, observed(second=11), checked(passed=True)).soak_since is None


class TestHolds:
    """Which digests are held, and for how long."""

    def test_a_failed_deploy_can_be_held(self) -> None:
        """The hold names release, reason and rollout."""
        record = record_of(started(A), applied(), failed(), held())

        assert record.held == (
            Hold(release=A, reason="fruit / D: ValueError: bad price", since=at(30), rollout=ONE),
        )
        assert record.hold_of(A.digest) == record.held[0]
        assert record.hold_of(B.digest) is None

    def test_a_retry_lets_one_rollout_through(self) -> None:
        """And is used up by its start."""
        record = record_of(*ROLLED_BACK, RETRY_B)
        assert record.held[0].may_retry

        after = evolve(record, started(B, 4))
        assert not after.held[0].may_retry
        assert after.hold_of(B.digest) is not None

    def test_a_retry_that_fails_holds_anew(self) -> None:
        """With the new reason, and once."""
        record = record_of(*ROLLED_BACK, RETRY_B, started(B, 4), applied(4), failed(4, 60), held(4, 60))

        assert [(hold.since, hold.rollout, hold.may_retry) for hold in record.held] == [
            (at(60), "staging#4", False)
        ]

    def test_a_retry_that_ends_well_ends_the_hold(self) -> None:
        """It is good now."""
        assert record_of(*ROLLED_BACK, RETRY_B, started(B, 4), applied(4), *ended_well(4)).held == ()

    @pytest.mark.parametrize("news", [seen(C, 50), Refused(at=at(50), message="x.yaml:1:1: no")])
    def test_a_retry_that_had_no_turn_is_over_when_git_wants_something_else(self, news: Event) -> None:
        """Or a revert would bring back, months later, what nobody asks for any more."""
        record = record_of(*ROLLED_BACK, RETRY_B)
        again = evolve(record, seen(replace(B, revision=C.revision), 50)).hold_of(B.digest)
        assert again is not None
        assert again.may_retry

        gone = evolve(evolve(record, news), seen(B, 60)).hold_of(B.digest)
        assert gone is not None
        assert not gone.may_retry

    def test_a_wait_for_room_is_over_when_git_wants_something_else(self) -> None:
        """What comes back later is a new wish."""
        starved = fold("staging", (*DEPLOYED, seen(B), started(B, 2), applied(2), NO_ROOM))
        assert starved.starved is not None
        assert evolve(starved, seen(replace(B, revision=C.revision), 50)).starved == starved.starved
        assert evolve(starved, seen(C, 50)).starved is None

    def test_a_retry_that_is_superseded_leaves_the_hold(self) -> None:
        """It proved nothing."""
        overtaken = Superseded(at=at(50), rollout="staging#4", by="c")
        record = record_of(*ROLLED_BACK, RETRY_B, started(B, 4), overtaken, started(C, 5))

        hold = record.hold_of(B.digest)
        assert hold is not None
        assert not hold.may_retry

    def test_a_retry_ends_a_stall_and_gives_a_new_budget(self) -> None:
        """Whatever keeps the environment from acting by itself is over."""
        healed = (started(A, 3, Kind.HEAL, 30), applied(3), failed(3, 40))
        record = fold("staging", (*DEPLOYED, seen(B), started(B, 2), applied(2), NO_ROOM, *healed))
        assert record.starved is not None
        assert record.repairs == (at(30),)
        assert record.last is not None
        assert record.last.wanted == B.revision.commit

        record = evolve(record, RETRY_B)
        assert (record.starved, record.repairs) == (None, ())
        assert record.last is not None
        assert record.last.wanted is None
        assert record_of(RETRY_B).last is None


class TestRollbackAsked:
    """A person's rollback holds what it leaves."""

    ONCE_GOOD = (*DEPLOYED, started(C, 2), applied(2), *ended_well(2))

    def test_it_holds_what_git_wants_and_what_was_live(self) -> None:
        """Never the target, which is the current release from now on."""
        record = record_of(*self.ONCE_GOOD, seen(B), asked(A, reason="it is slow"))

        assert (record.good, record.good_rollout) == (A, ONE)
        assert record.asked == asked(A, reason="it is slow")
        assert {hold.digest for hold in record.held} == {C.digest, B.digest}
        assert {(hold.reason, hold.by_person, hold.rollout) for hold in record.held} == {
            ("rolled back by ada: it is slow", True, "staging#2")
        }

    def test_the_release_is_judged_and_sent_as_when_it_was_good(self) -> None:
        """Not as the one that was live."""
        policy = Policy(rollback_deadline=7)
        record = record_of(*self.ONCE_GOOD, replace(asked(A), policy=policy, nonce="staging#1"))

        assert (record.good_policy, record.good_nonce) == (policy, "staging#1")

    def test_it_holds_what_is_in_flight(self) -> None:
        """A person who goes back in the middle of a rollout does not want it again."""
        record = record_of(*DEPLOYED, started(B, 2), asked(A))

        assert [(hold.digest, hold.reason) for hold in record.held] == [(B.digest, "rolled back by ada")]

    def test_a_hold_that_is_there_stays_and_its_retry_ends(self) -> None:
        """The failure is the better reason; and the person wants the target now, not the retry."""
        record = record_of(*ROLLED_BACK, seen(B), RETRY_B, started(C, 4), asked(A))

        holds = {hold.digest: hold for hold in record.held}
        assert not holds[B.digest].by_person
        assert not holds[B.digest].may_retry
        assert holds[C.digest].by_person

    def test_waiting_for_room_and_drift_are_over(self) -> None:
        """Both are about what is left."""
        record = record_of(*DEPLOYED, started(B, 2), applied(2), NO_ROOM, EDITED, asked(A))

        assert (record.starved, record.drift) == (None, None)

    def test_the_rollback_that_starts_answers_it(self) -> None:
        """It is asked for once."""
        assert record_of(*self.ONCE_GOOD, asked(A), started(A, 3, Kind.ROLLBACK)).asked is None


class TestRoom:
    """A release that found no room."""

    def test_tries_add_up_by_digest(self) -> None:
        """Another digest that found none starts from one."""
        twice = (*B_APPLIED, NO_ROOM, started(B, 3), applied(3), failed(3, 60, FailureClass.CAPACITY))
        record = record_of(*twice)
        assert record.starved is not None
        assert (record.starved.digest, record.starved.tries, record.starved.since) == (B.digest, 2, at(60))

        other = record_of(*twice, started(C, 4), applied(4), failed(4, 90, FailureClass.CAPACITY))
        assert other.starved is not None
        assert (other.starved.digest, other.starved.tries) == (C.digest, 1)

    def test_what_is_free_is_remembered_until_the_next_try(self) -> None:
        """A failed try measures anew."""
        record = record_of(*B_APPLIED, NO_ROOM, Measured(at=at(31), free={"CPU": 1.0}))
        assert record.starved is not None
        assert record.starved.free == {"CPU": 1.0}

        again = fold(
            "staging", (*B_APPLIED, NO_ROOM, started(B, 3), applied(3), replace(NO_ROOM, rollout="staging#3"))
        )
        assert again.starved is not None
        assert (again.starved.free, again.starved.tries) == (None, 2)

    def test_it_ends_with_another_deploy_and_not_with_a_rollback(self) -> None:
        """The rollback belongs to the failure."""
        starved = (*B_APPLIED, NO_ROOM)

        assert record_of(*starved, started(A, 3, Kind.ROLLBACK)).starved is not None
        assert record_of(*starved, started(C, 3)).starved is None

    def test_it_ends_when_it_became_good(self) -> None:
        """Whoever brought it there; another release that becomes good does not end it."""
        starved = (*B_APPLIED, NO_ROOM)

        assert record_of(*starved, started(B, 3), applied(3), *ended_well(3)).starved is None
        back = (started(A, 3, Kind.ROLLBACK), applied(3), *ended_well(3))
        assert record_of(*starved, *back).starved is not None

    def test_a_restore_without_room_is_none_of_it(self) -> None:
        """It is tried again on its own."""
        record = record_of(
            *DEPLOYED, started(A, 2, Kind.RESTORE), applied(2), failed(2, failure_class=FailureClass.CAPACITY)
        )

        assert record.starved is None


class TestDrift:
    """How the cluster differs, and the repairs."""

    def test_it_is_known_since_its_class_began(self) -> None:
        """Another place of the same class does not restart the grace."""
        more = replace(EDITED, at=at(50), what="math has another config.")
        record = record_of(*DEPLOYED, EDITED, more)
        assert record.drift == Drift(drift=DriftClass.EDITED, what="math has another config.", since=at(40))

        other = replace(EDITED, at=at(60), drift=DriftClass.LOST)
        changed = evolve(record, other).drift
        assert changed is not None
        assert changed.since == at(60)
        assert evolve(record, DriftEnded(at=at(60))).drift is None

    def test_a_rollout_ends_it(self) -> None:
        """What comes after is looked at anew."""
        assert record_of(*DEPLOYED, EDITED, started(A, 2, Kind.HEAL)).drift is None

    def test_repairs_are_those_of_the_last_hour(self) -> None:
        """Heals and restores alike; other rollouts are none."""
        record = record_of(*DEPLOYED)
        for number, (second, kind) in enumerate(
            [(100, Kind.HEAL), (2000, Kind.RESTORE), (3700, Kind.HEAL), (3800, Kind.DEPLOY)], start=2
        ):
            what = A if kind is not Kind.DEPLOY else B
            record = evolve(record, started(what, number, kind, second))
            record = evolve(record, Cancelled(at=at(second + 1), rollout=f"staging#{number}"))

        assert record.repairs == (at(2000), at(3700))


# --- what is said before a deploy ----------------------------------------------------------------------


def approved(what: Release, second: float = 50, who: str = "lin", plan: str = "sha256:plan") -> Approved:
    """A person approves what it would do."""
    return Approved(
        at=at(second), actor=f"{who} (token x)", plan=plan, digest=what.digest, commit=what.revision.commit
    )


def rejected(what: Release, second: float = 60, who: str = "lin") -> Rejected:
    """A person rejects it."""
    return Rejected(
        at=at(second),
        actor=f"{who} (token x)",
        reason="too dear",
        plan="sha256:plan",
        digest=what.digest,
        commit=what.revision.commit,
    )


PROMOTION = PromotionAsked(
    at=at(40),
    actor="ada (token x)",
    reason="fire",
    source="dev",
    rollout="dev#3",
    commit="c0ffee",
    skipped=("windows",),
)
PUSHED = Promoted(at=at(41), commit="c0ffee", branch="env/staging", before="badcafe")
OPENED = Proposed(at=at(41), commit="c0ffee", branch="main", head="badcafe", number=7, url="https://forge/7")
NOT_PUSHED = PromotionFailed(at=at(41), commit="c0ffee", why="The branch is protected.")


def test_what_people_say_of_a_plan_is_kept_each_ones_last_word() -> None:
    """Of whatever plan, until git wants another config."""
    record = record_of(seen(A), approved(A, 50), approved(A, 51, who="bob"), rejected(A, 60))
    assert [(one.by, one.is_approval, one.reason) for one in record.opinions] == [
        ("bob", True, ""),
        ("lin", False, "too dear"),
    ]
    both = evolve(record, approved(A, 70, plan="sha256:other"))
    assert [(one.by, one.plan) for one in both.opinions] == [("bob", "sha256:plan"), ("lin", "sha256:other")]
    same = replace(seen(A, 80), release=replace(A, revision=B.revision))
    assert evolve(both, same).opinions == both.opinions
    assert evolve(both, seen(B, 80)).opinions == ()


def test_a_promotion_is_asked_for_and_then_done_or_not() -> None:
    """By whom, why, and with what skipped."""
    asked_for = record_of(PROMOTION).promotion
    assert asked_for == Promotion(
        source="dev",
        rollout="dev#3",
        commit="c0ffee",
        by="ada",
        at=at(40),
        reason="fire",
        skipped=("windows",),
    )
    done, failed_ = record_of(PROMOTION, PUSHED).promotion, record_of(PROMOTION, NOT_PUSHED).promotion
    assert done == replace(asked_for, result=Pushing.PROMOTED)
    assert record_of(PROMOTION, PUSHED, replace(PROMOTION, commit="badcafe")).promoted == (done,)
    assert record_of(PROMOTION, NOT_PUSHED).promoted == ()
    often: list[Event] = [PROMOTION, PUSHED] * 25
    assert len(record_of(*often).promoted) == 20
    assert failed_ == replace(asked_for, result=Pushing.FAILED, why="The branch is protected.")


def test_a_promotion_brings_its_commit_and_what_was_made_of_it() -> None:
    """A copy of it, or the top of a pull request for it: both count as what was promoted."""
    copied = record_of(PROMOTION, replace(PUSHED, copied="badcafe")).promoted[-1]
    assert (copied.result, copied.commits) == (Pushing.PROMOTED, ("c0ffee", "badcafe"))
    record = record_of(replace(PROMOTION, by_pull_request=True), OPENED)
    proposed = record.promotion
    assert proposed is not None
    assert record.promoted == (proposed,)
    assert (proposed.result, proposed.url, proposed.by_pull_request) == (
        Pushing.PROPOSED,
        "https://forge/7",
        True,
    )
    assert proposed.commits == ("c0ffee", "badcafe")
    merged = evolve(record, replace(PUSHED, copied="deadbeef"))
    assert merged.promotion is not None
    assert merged.promoted == (merged.promotion,)
    assert merged.promotion.commits == ("c0ffee", "deadbeef", "badcafe")
    assert (merged.promotion.result, merged.promotion.number) == (Pushing.PROMOTED, 7)
    closed = evolve(record, NOT_PUSHED)
    assert closed.promotion is not None
    assert (closed.promotion.result, closed.promoted) == (Pushing.FAILED, (proposed,))


def test_a_pull_request_outlasts_a_promotion_that_failed_behind_it() -> None:
    """It is still there to be merged or closed; the next one that is opened takes its place."""
    opened = record_of(replace(PROMOTION, by_pull_request=True), OPENED)
    proposed = opened.promotion
    assert (opened.proposal, opened.unended) == (proposed, None)
    asked = evolve(opened, replace(PROMOTION, commit="badcafe"))
    failed_ = evolve(asked, replace(NOT_PUSHED, commit="badcafe"))
    for record in (asked, failed_):
        assert (record.proposal, record.promoted) == (proposed, (proposed,))
    assert failed_.promotion is not None
    assert failed_.promotion.result is Pushing.FAILED
    merged = evolve(failed_, PUSHED)
    assert (merged.proposal, merged.promotion) == (None, failed_.promotion)
    assert [(one.commit, one.result) for one in merged.promoted] == [("c0ffee", Pushing.PROMOTED)]
    closed = evolve(failed_, NOT_PUSHED)
    assert (closed.proposal, closed.promoted, closed.promotion) == (None, (proposed,), failed_.promotion)
    replaced = evolve(asked, replace(OPENED, commit="badcafe"))
    assert replaced.unended is None
    assert replaced.proposal == replaced.promotion
    assert replaced.proposal is not None
    assert replaced.proposal.commit == "badcafe"


def test_a_commit_that_is_proposed_and_promoted_again_has_one_end() -> None:
    """It is the later wish that failed; and what was pushed is in the pull request as well."""
    opened = record_of(replace(PROMOTION, by_pull_request=True), OPENED)
    again = evolve(opened, replace(PROMOTION, at=at(50)))
    failed_ = evolve(again, NOT_PUSHED)
    assert failed_.proposal == opened.promotion
    pushed = evolve(again, PUSHED)
    assert pushed.proposal is None
    assert [one.result for one in pushed.promoted] == [Pushing.PROPOSED, Pushing.PROMOTED]


def test_a_review_is_remembered_longer_than_what_it_said() -> None:
    """What git wants changes, and takes the opinions along; no review is used twice."""
    said = replace(approved(A, 50), review="7 lin-gh approved")
    record = record_of(seen(A), said, seen(B, 60))
    assert record.opinions == ()
    assert record.reviews == ("7 lin-gh approved",)
    assert [one.review for one in record_of(seen(A), said).opinions] == ["7 lin-gh approved"]
    assert [one.review for one in record_of(seen(A), approved(A, 50)).opinions] == [""]
    assert record_of(seen(A), approved(A, 50)).reviews == ()


def test_the_last_wish_to_deploy_is_kept_until_something_is_good() -> None:
    """With the commit that it is for."""
    wish = SyncAsked(at=at(50), actor="ada (token x)", digest=A.digest, commit="c0ffee", skipped=("drift",))
    expected = Go(digest=A.digest, commit="c0ffee", by="ada", at=at(50), reason="", skipped=("drift",))
    assert record_of(seen(A), wish).go == expected
    assert record_of(wish, started(A), applied()).go == expected
    assert record_of(wish, *DEPLOYED).go is None
    more = replace(wish, reason="fire", skipped=("windows",))
    both = record_of(seen(A), wish, more, replace(wish, actor="bob", skipped=())).go
    kept = (
        Skip(by="ada", reason="", skipped=("drift",)),
        Skip(by="ada", reason="fire", skipped=("windows",)),
    )
    assert both == replace(expected, by="bob", skipped=(), kept=kept)
    assert both.skips == (*kept, Skip(by="bob", reason="", skipped=()))
    # A gate has one who skipped it, or the list would grow with each wish.
    again = record_of(seen(A), wish, more, *[replace(more, reason=f"fire {n}") for n in range(9)]).go
    assert again == replace(expected, reason="fire 8", skipped=("windows",), kept=kept[:1])
    other = record_of(seen(A), wish, replace(more, commit="badcafe")).go
    assert other == replace(expected, commit="badcafe", skipped=("windows",), reason="fire")
    heal = (started(A, 2, Kind.HEAL), applied(2), *ended_well(2))
    healed = record_of(*DEPLOYED, seen(B, 40), approved(B), replace(wish, digest=B.digest), *heal)
    assert healed.go == replace(expected, digest=B.digest)
    assert len(healed.opinions) == 1
    assert record_of(*DEPLOYED, seen(A, 40), approved(A), *heal).opinions == ()


ILLEGAL: list[tuple[str, tuple[Event, ...], Event]] = [
    *(("it is of the daemon", (), event) for event in OF_THE_DAEMON),
    ("another rollout is in flight", (started(A),), started(B, 2)),
    ("the id is out of order", (), started(A, 2)),
    ("its digest is held", HELD_B, started(B, 3)),
    ("no rollout is in flight", (), applied()),
    ("staging#1 is in flight", (started(A),), applied(2)),
    ("no PUT was intended", (started(A), applied()), applied()),
    ("a PUT is already intended", (started(A),), resubmitted()),
    ("sight is already lost", (started(A), LOST), LOST),
    ("sight was not lost", (started(A),), RegainedSight(at=at(3), rollout=ONE)),
    ("its PUT has no outcome yet", (started(A),), observed()),
    ("its PUT has no outcome yet", (started(A),), HEALTHY),
    ("it is not settled", (started(A), applied()), HEALTHY),
    ("it is not settled", (started(A), applied(), observed()), HEALTHY),
    ("it was not healthy yet", (started(A, policy=CHECKED), applied()), checked(passed=True)),
    ("there is no such check", (started(A), applied(), *ended_well()[:2]), checked(passed=True)),
    ("there is no such check", TestChecks.HISTORY, checked(passed=True, check=2)),
    ("there is no such check", TestChecks.HISTORY, checked(passed=True, check=-1)),
    ("that check passed already", (*TestChecks.HISTORY, checked(passed=True)), checked(passed=True)),
    ("it was never healthy", (started(A), applied(), observed(settled=True)), GOOD),
    (
        "it was never healthy",
        (started(A), applied(), *ended_well()[:2], resubmitted(20), applied(), observed(settled=True)),
        GOOD,
    ),
    ("no rollout is in flight", DEPLOYED, failed(1)),
    ("that rollout did not just fail", (), held(1)),
    ("that rollout did not just fail", DEPLOYED, held(1)),
    ("that rollout did not just fail", FAILED_B, held(1)),
    (
        "only a failed deploy holds its digest",
        (*FAILED_B, started(A, 3, Kind.ROLLBACK), applied(3), failed(3)),
        held(3),
    ),
    ("a good digest is never held", (*DEPLOYED, started(A, 2), applied(2), failed(2)), held(2)),
    ("that rollout's log is not wanted", (), LogKept(at=at(1), rollout=ONE, source=LOG, text="")),
    (
        "that rollout's log is not wanted",
        FAILED_B,
        LogKept(at=at(1), rollout="staging#2", source=LOG, text=""),
    ),
    (
        "that rollout's log is not wanted",
        (started(A), applied(), failed(1, log=LOG)),
        LogKept(at=at(1), rollout="staging#2", source=LOG, text=""),
    ),
    ("no rollout is in flight", (), Superseded(at=at(1), rollout=ONE, by="b")),
    ("no rollout is in flight", (), Cancelled(at=at(1), rollout=ONE)),
    ("a rollout is in flight", (*DEPLOYED, started(B, 2)), EDITED),
    ("there is no current release", (), EDITED),
    ("there was no drift", DEPLOYED, DriftEnded(at=at(1))),
    ("nothing waits for resources", DEPLOYED, Measured(at=at(1), free={})),
    ("it is not paused", DEPLOYED, Resumed(at=at(1))),
    ("its digest is held", HELD_B, asked(B)),
    ("git wants something else", DEPLOYED, approved(B)),
    ("git wants something else", DEPLOYED, rejected(B)),
    ("that was not asked for", DEPLOYED, PUSHED),
    ("that was not asked for", (PROMOTION, PUSHED), PUSHED),
    ("that was not asked for", (PROMOTION,), replace(PUSHED, commit="another")),
    ("that was not asked for", DEPLOYED, NOT_PUSHED),
    ("that was not asked for", (PROMOTION, OPENED), OPENED),
    ("that was not asked for", (PROMOTION, OPENED, NOT_PUSHED), NOT_PUSHED),
    ("that was not asked for", (PROMOTION, OPENED, PUSHED), PUSHED),
]


@pytest.mark.parametrize(
    ("why", "history", "event"),
    ILLEGAL,
    ids=[f"{number}-{event.type}-{why}" for number, (why, _, event) in enumerate(ILLEGAL)],
)
def test_illegal(why: str, history: tuple[Event, ...], event: Event) -> None:
    """Everything that would break a promise is refused, and says why."""
    record = record_of(*history)

    with pytest.raises(
        IllegalEvent, match=f"{event.type} cannot follow event {len(history)} of staging: {why}"
    ):
        evolve(record, event)


def test_what_happens_to_the_daemon_is_in_a_log_of_its_own() -> None:
    """And what it refused is in that of the environment, or there: neither changes anything."""
    for environment, events in (
        (DAEMON_LOG, (COMMAND_REFUSED, *OF_THE_DAEMON)),
        ("staging", (COMMAND_REFUSED,)),
    ):
        record = fold(environment, events)
        assert record == Record(environment=environment, sequence=len(events))


def test_every_event_that_can_be_illegal_is() -> None:
    """A new event is added to the list above, or here with the reason that it always makes sense."""
    always = {"seen", "refused", "paused", "retry_asked", "sync_asked", "promotion_asked", "command_refused"}

    types = {kind.__dataclass_fields__["type"].default for kind in get_args(Event)}
    assert {event.type for _, _, event in ILLEGAL} | always == types


def test_the_events_that_end_a_rollout_name_it() -> None:
    """`Good` of another rollout does not end this one."""
    with pytest.raises(IllegalEvent, match="staging#1 is in flight"):
        evolve(record_of(started(A), applied(), *ended_well()[:2]), Good(at=at(11), rollout="staging#7"))
    with pytest.raises(IllegalEvent, match="staging#1 is in flight"):
        evolve(
            record_of(started(A), applied(), observed(settled=True)), Healthy(at=at(11), rollout="staging#7")
        )
