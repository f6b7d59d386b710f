"""How a rollout begins and how it fails."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core import rollouts
from deployer.core.events import Failure, FailureClass, Kind, RollbackAsked, Superseded
from deployer.core.record import Record
from deployer.core.types import Policy
from tests.support.build import (
    app,
    applied,
    at,
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
    from deployer.core.live import Live

A, B, C = release("a"), release("b"), release("c")
EMPTY = Record(environment="staging")
A_GOOD = (started(A), applied(), *ended_well())
B_FAILED = (*A_GOOD, started(B, 2), applied(2), failed(2), held(2))
ROLLING_BACK = (*B_FAILED, started(A, 3, Kind.ROLLBACK), applied(3))
ROLLED_BACK = (*ROLLING_BACK, *ended_well(3))
ASKED = RollbackAsked(at=at(40), actor="ada", reason="slow", release=C, made_good="staging#0")


def with_nonce(nonce: str, **more: Any) -> Live:
    """The cluster runs A as it was sent with this nonce."""
    config = {**A.config.applications()["fruit"], "runtime_env": {"env_vars": {"DEPLOYER_NONCE": nonce}}}
    return live(app("fruit", config={**config, **more}))


class TestNonce:
    """What makes the same config another version to Serve."""

    def nonce(self, what: Any, record: Record, cluster: Live | None = None) -> str:
        """The nonce of a deploy of `what`."""
        return rollouts.deploy(desired(what), cluster or modern(), record, at(50)).nonce

    def test_none_where_it_is_another_version_already(self) -> None:
        """A new config; one that failed, after the cluster went back to another."""
        assert self.nonce(B, record_of(*A_GOOD)) == ""
        assert self.nonce(B, record_of(*ROLLED_BACK)) == ""

    def test_what_failed_as_it_is_gets_one(self) -> None:
        """Serve does not try again what failed to start if it gets the identical config."""
        assert self.nonce(B, record_of(*B_FAILED)) == "staging#3"
        rolling = record_of(*ROLLING_BACK, failed(3, 60))
        assert self.nonce(A, rolling) == "staging#4"

    def test_the_last_one_that_ended_counts(self) -> None:
        """Something else ran in between."""
        overtaken = Superseded(at=at(50), rollout="staging#3", by="a")

        assert self.nonce(B, record_of(*B_FAILED, started(C, 3), overtaken)) == ""

    @pytest.mark.parametrize("kind", [Kind.HEAL, Kind.RESTORE])
    def test_a_repair_that_failed_gets_one(self, kind: Kind) -> None:
        """As everything that failed as it is."""
        record = record_of(*A_GOOD, started(A, 2, kind), applied(2), failed(2))

        assert rollouts.repair(kind, modern(), record, Policy(), at(50)).nonce == "staging#3"

    def test_what_found_no_room_gets_none(self) -> None:
        """It did not fail to start: the replicas that found room are to stay."""
        record = record_of(*A_GOOD, started(B, 2), applied(2), failed(2, failure_class=FailureClass.CAPACITY))

        assert self.nonce(B, record) == ""

    def test_the_good_release_keeps_its_own(self) -> None:
        """So that the replicas of it which still run are kept."""
        good = record_of(started(A, nonce="n1"), applied(), *ended_well())
        assert self.nonce(A, good) == "n1"
        assert self.nonce(B, good) == ""

        failing = record_of(started(A, nonce="n1"), applied(), *ended_well(), *B_FAILED[-4:])
        assert rollouts.rollback(modern(), failing, at(50)).nonce == "n1"
        assert rollouts.repair(Kind.HEAL, modern(), good, Policy(), at(50)).nonce == "n1"

    def test_an_old_ray_needs_one_where_an_option_would_stick(self) -> None:
        """Before 2.60 what a config added stays when a later one omits it."""
        extra = {"deployments": [{"name": "D", "user_config": {"price": 5}}]}
        edited = live(app("fruit", config={**A.config.applications()["fruit"], **extra}))
        record = record_of(*A_GOOD)
        assert rollouts.repair(Kind.HEAL, edited, record, Policy(), at(50)).nonce == "staging#2"
        assert rollouts.repair(Kind.HEAL, modern(edited), record, Policy(), at(50)).nonce == ""

    def test_also_where_it_was_sent_with_one(self) -> None:
        """The good release's own nonce makes it the version that is there."""
        record = record_of(started(A, nonce="n1"), applied(), *ended_well())
        extra = {"deployments": [{"name": "D", "user_config": {"price": 5}}]}

        assert rollouts.repair(Kind.HEAL, with_nonce("n1"), record, Policy(), at(50)).nonce == "n1"
        assert (
            rollouts.repair(Kind.HEAL, with_nonce("n1", **extra), record, Policy(), at(50)).nonce
            == "staging#2"
        )


def modern(cluster: Live | None = None) -> Live:
    """The cluster with a Ray that takes options back which a config no longer sets."""
    return replace(cluster or running(A), restores_unset_options=True)


class TestLeaving:
    """The replicas that must be gone in the end."""

    def test_those_of_the_code_that_is_replaced(self) -> None:
        """Only those of a deploy from the current release."""
        assert rollouts.deploy(desired(B), running(A), record_of(*A_GOOD), at(50)).leaving == ("r0",)
        assert (
            rollouts.deploy(desired(B), running(A), record_of(*ROLLING_BACK, failed(3)), at(50)).leaving == ()
        )
        assert rollouts.rollback(running(A), record_of(*B_FAILED), at(50)).leaving == ()
        assert rollouts.deploy(desired(A), running(A), record_of(seen(A)), at(50)).leaving == ()

    def test_also_where_the_current_release_was_sent_with_a_nonce(self) -> None:
        """It is part of the code's version."""
        record = record_of(started(A, nonce="n1"), applied(), *ended_well())

        assert rollouts.deploy(desired(B), with_nonce("n1"), record, at(50)).leaving == ("r0",)
        assert rollouts.deploy(desired(B), running(A), record, at(50)).leaving == ()


class TestIsLive:
    """Whether a digest is the current release, and nothing failed to reach or to leave it."""

    HEALING = (*A_GOOD, started(A, 2, Kind.HEAL), applied(2), failed(2))
    RESTORING = (*A_GOOD, started(A, 2, Kind.RESTORE), applied(2), failed(2))

    @pytest.mark.parametrize(
        ("history", "expected"),
        [
            pytest.param((), False, id="nothing yet"),
            pytest.param(A_GOOD, True, id="good"),
            pytest.param((*A_GOOD, started(B, 2)), False, id="in flight"),
            pytest.param(B_FAILED, False, id="left on a failed deploy"),
            pytest.param(ROLLED_BACK, True, id="rolled back"),
            pytest.param((*ROLLING_BACK, failed(3)), False, id="the rollback failed"),
            pytest.param(HEALING, True, id="a heal of it failed"),
            pytest.param(RESTORING, True, id="a restore of it failed"),
        ],
    )
    def test_is_live(self, history: tuple[Any, ...], expected: bool) -> None:
        """A repair that failed leaves the current release what it was."""
        record = record_of(*history)

        assert rollouts.is_live(record, A.digest) == expected
        assert not rollouts.is_live(record, B.digest)

    def test_a_failed_repair(self) -> None:
        """A heal or a restore, and nothing else."""
        for history in (self.HEALING, self.RESTORING):
            record = record_of(*history)
            assert rollouts.failed_repair(record) == record.last
        for others in ((), A_GOOD, B_FAILED, (*ROLLING_BACK, failed(3)), self.HEALING[:-1]):
            assert rollouts.failed_repair(record_of(*others)) is None


def test_a_stall_ends_when_somebody_pushes() -> None:
    """The last deploy or rollback failed, and git wants the very same commit; a repair does not stall."""
    stalled = record_of(seen(B), *ROLLING_BACK, failed(3))
    assert rollouts.is_stalled(stalled)
    assert not rollouts.is_stalled(replace(stalled, seen=C))
    assert not rollouts.is_stalled(replace(stalled, seen=None))
    assert not rollouts.is_stalled(record_of(*ROLLING_BACK, failed(3)))
    assert not rollouts.is_stalled(record_of(*A_GOOD))
    assert not rollouts.is_stalled(EMPTY)
    healing = (seen(A), *A_GOOD, started(A, 2, Kind.HEAL), applied(2), failed(2))
    assert not rollouts.is_stalled(record_of(*healing))


def test_what_is_owned() -> None:
    """What was deployed, and what the policy claims; a neighbour's never."""
    record = record_of(
        started(release("x", "fruit"), policy=Policy(owns=("math",))), applied(), *ended_well()
    )

    assert rollouts.owned(record) == {"fruit", "math"}
    assert rollouts.owned(record, Policy(owns=("salad",))) == {"fruit", "salad"}
    assert rollouts.owned(record, neighbours={"math": "production"}) == {"fruit"}


def test_a_rollback_says_what_it_answers() -> None:
    """And what changes by it: from what failed."""
    both = release("both", "fruit", "math")
    record = record_of(*A_GOOD, started(both, 2), applied(2), failed(2), held(2))
    event = rollouts.rollback(running(both), record, at(50))

    assert (event.follows, event.trigger, event.plan) == (
        "staging#2",
        "staging#2 failed",
        '~ fruit: args.api_key added, args.version unset -> "a", route_prefix "/fruit" -> unset | - math',
    )


def test_an_asked_rollback_goes_from_what_was_last() -> None:
    """By the person who asked."""
    event = rollouts.asked_rollback(running(A), record_of(*A_GOOD, ASKED), at(50))

    assert (event.release, event.actor, event.reason, event.follows) == (C, "ada", "slow", None)
    assert event.plan == '~ fruit: args.version "a" -> "c"'


def test_a_first_rollback_by_hand_has_nothing_to_compare_with() -> None:
    """The release is all that is known."""
    assert rollouts.asked_rollback(live(), record_of(ASKED), at(50)).plan == "+ fruit"


class TestFail:
    """What follows from a failure."""

    @pytest.mark.parametrize("failure_class", list(FailureClass))
    def test_a_deploy_is_held_unless_there_was_no_room(self, failure_class: FailureClass) -> None:
        """With the failure as the reason, and the timeline as evidence."""
        record = record_of(*A_GOOD, started(B, 2), applied(2), observed(2))
        events = rollouts.fail(record, Failure(failure_class=failure_class, message="boom"), at(9))

        assert len(events) == (1 if failure_class is FailureClass.CAPACITY else 2)
        assert record.rollout is not None
        assert events[0].failure.timeline == record.rollout.timeline  # type: ignore[union-attr]  # it is Failed
        assert all(event.reason == "boom" for event in events[1:])

    @pytest.mark.parametrize("kind", [Kind.ROLLBACK, Kind.RESTORE, Kind.HEAL])
    def test_what_is_brought_back_is_not(self, kind: Kind) -> None:
        """It would hold the way back."""
        record = record_of(*A_GOOD, started(A, 2, kind), applied(2))

        assert len(rollouts.fail(record, Failure(failure_class=FailureClass.CODE, message="x"), at(9))) == 1


@pytest.mark.parametrize("begin", [rollouts.rollback, rollouts.asked_rollback])
def test_what_nobody_needs_does_not_start(begin: Any) -> None:
    """A bug that asks for it ends here."""
    with pytest.raises(ValueError, match=r"nothing needs a rollback|nobody asked for a rollback"):
        begin(live(), record_of(*A_GOOD), at(50))


def test_nothing_is_repaired_that_was_never_good() -> None:
    """A bug that asks for it ends here."""
    with pytest.raises(ValueError, match="there is no good release"):
        rollouts.repair(Kind.HEAL, live(), EMPTY, Policy(), at(50))


@pytest.mark.parametrize(("tries", "seconds"), [(0, 2), (1, 2), (2, 4), (5, 32), (6, 60), (10_000, 60)])
def test_pauses_double_up_to_a_limit(tries: int, seconds: float) -> None:
    """Also after more tries than a float could double."""
    assert rollouts.pause_after(tries, first=2, longest=60).total_seconds() == seconds
