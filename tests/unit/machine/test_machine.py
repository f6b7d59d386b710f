"""Passes in an unkind world: whatever happens in whatever order, the promises hold.

The rules push, break, heal, lose and crash; the invariants are checked after each of them, every PUT is
checked as it is sent, and `settle` checks that a quiet world comes to the right rest. The second half shows
that the machine can fail: each seeded fault of the policy must be caught.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from deployer.core import decide as policy
from deployer.core.actions import Action, Note, Put, Wait
from deployer.core.events import Failed, Good, Healthy, Held, Kind, Started
from deployer.core.live import Live, Observation
from deployer.core.types import Desired, Wanted
from tests.unit.machine.world import CONFIGS, FOREIGN, GOOD, Broken, World

if TYPE_CHECKING:
    from datetime import datetime

    from deployer.core.record import Record
    from deployer.engine.reconcile import Policy as Decide


class Machine(RuleBasedStateMachine):
    """The rules. `decide` is what the passes decide with."""

    decide: Decide = staticmethod(policy.decide)

    @initialize()
    def begin(self) -> None:
        """A daemon that has not looked at git yet."""
        self.world = World(decide=type(self).decide)

    @rule(config=st.sampled_from(sorted(CONFIGS)))
    def push(self, config: str) -> None:
        """A commit with any config, new or seen before, under a new revision."""
        self.world.push(config)

    @precondition(lambda self: isinstance(self.world.git, Desired))
    @rule()
    def push_readme(self) -> None:
        """A commit that changes nothing for this environment."""
        git = self.world.git
        assert isinstance(git, Desired)
        self.world.push(self.world.config_name(git.release.digest))

    @rule()
    def vanish(self) -> None:
        """The branch is deleted."""
        self.world.vanish()

    @rule(steps=st.integers(1, 12))
    def run(self, steps: int) -> None:
        """Some passes, as far apart as they ask for."""
        self.world.steps(steps)

    @rule(seconds=st.sampled_from([0.1, 3.0, 40.0, 1000.0]))
    def wait(self, seconds: float) -> None:
        """The daemon is busy, or down, for a while."""
        self.world.advance(seconds)

    @rule(reachable=st.booleans())
    def network(self, reachable: bool) -> None:
        """The cluster goes out of sight, or comes back."""
        self.world.fake.reachable = reachable

    @rule(sick=st.booleans())
    def sickness(self, sick: bool) -> None:
        """The cluster fails everything for its own reasons, or recovers."""
        self.world.fake.sick = sick

    @rule()
    def lose_state(self) -> None:
        """Ray's head is restarted."""
        self.world.fake.lose_state()

    @rule(config=st.sampled_from(["foreign", *GOOD]))
    def foreign_put(self, config: str) -> None:
        """Somebody else PUTs by hand: their own applications, or one of our configs."""
        chosen = FOREIGN if config == "foreign" else CONFIGS[config]
        self.world.fake.foreign_put(chosen.body())

    @rule()
    def drop_answer(self) -> None:
        """The next PUT is applied and its answer lost."""
        self.world.fake.drop_answer_once = True

    @rule()
    def ignore_put(self) -> None:
        """The next PUT is answered 200 and ignored, as while Serve shuts down."""
        self.world.fake.ignore_next_put = True

    @rule()
    def reject(self) -> None:
        """The next PUT is refused."""
        self.world.fake.reject_next = "1 validation error for ServeDeploySchema"

    @rule(where=st.sampled_from(["before commit", "after commit", "before put", "after put"]))
    def crash(self, where: str) -> None:
        """The daemon dies there next time; the next pass is a new process."""
        match where:
            case "before commit":
                self.world.store.die_before_commit = True
            case "after commit":
                self.world.store.die_after_commit = True
            case "before put":
                self.world.cluster.die_before_put = True
            case _:
                self.world.cluster.die_after_put = True

    @rule(config=st.sampled_from(GOOD), steps=st.integers(2, 4))
    def blackout(self, config: str, steps: int) -> None:
        """In the middle of a rollout the cluster is out of sight for longer than any deadline."""
        self.world.push(config)
        self.world.steps(steps)
        self.world.fake.reachable = False
        self.world.steps(2)
        self.world.advance(1000.0)
        self.world.fake.reachable = True
        self.world.steps(2)

    @rule(config=st.sampled_from(GOOD))
    def downtime(self, config: str) -> None:
        """The daemon dies between the intent and the PUT, and is down for longer than any deadline."""
        self.world.push(config)
        self.world.cluster.die_before_put = True
        self.world.steps(3)
        self.world.advance(1000.0)
        self.world.steps(2)

    @rule(mine=st.sampled_from(GOOD), theirs=st.sampled_from(GOOD))
    def overwritten(self, mine: str, theirs: str) -> None:
        """Somebody PUTs another config by hand in the middle of a rollout, and it is up at once."""
        self.world.push(mine)
        self.world.steps(2)
        self.world.fake.foreign_put(CONFIGS[theirs].body())
        self.world.advance(20.0)
        self.world.steps(2)

    @rule()
    def settle(self) -> None:
        """The world turns quiet and kind."""
        self.world.settle()

    @invariant()
    def promises(self) -> None:
        """Checked after every rule."""
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        """Every run ends in a quiet world."""
        if hasattr(self, "world"):
            self.world.settle()


TestMachine = Machine.TestCase
"""100 runs of 50 steps; `make machine` runs 5,000."""


# --- seeded faults: each is one line of the policy got wrong --------------------------------------------


def ignores_holds(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
    """A held digest is deployed again."""
    return policy.decide(wanted, live, replace(record, held=()), now)


def rolls_back_when_blind(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
    """A cluster that cannot be seen fails its rollout."""
    rollout = record.rollout
    if rollout is not None and rollout.applied_at is not None and not isinstance(live, Live):
        return policy.rejected(record, "unreachable", now)
    return policy.decide(wanted, live, record, now)


def trusts_stale_status(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
    """RUNNING is believed without asking whose PUT it belongs to."""
    rollout = record.rollout
    is_applied = rollout is not None and not rollout.pending and rollout.blind_since is None
    if rollout is not None and is_applied and isinstance(live, Live):
        apps = [live.apps.get(name) for name in rollout.release.config.applications()]
        if all(app is not None and app.status == "RUNNING" for app in apps):
            return Note(
                events=(Healthy(at=now, rollout=rollout.id), Good(at=now, rollout=rollout.id)),
            )
    return policy.decide(wanted, live, record, now)


def counts_blind_time(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
    """The deadline runs on while the cluster cannot be seen."""
    rollout = record.rollout
    if rollout is not None:
        record = replace(record, rollout=replace(rollout, blind=timedelta()))
    return policy.decide(wanted, live, record, now)


def counts_from_the_start(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
    """The deadline counts from the start of the rollout, not from Applied."""
    rollout = record.rollout
    if rollout is not None and rollout.applied_at is not None:
        record = replace(record, rollout=replace(rollout, applied_at=rollout.started_at))
    return policy.decide(wanted, live, record, now)


def never_repeats_a_put(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
    """A PUT that did not hold is waited for until the deadline, then blamed on the release."""
    action = policy.decide(wanted, live, record, now)
    if isinstance(action, Note) and any(event.type == "resubmitted" for event in action.events):
        return Wait(reason="waiting", seconds=policy.IDLE_SECONDS)
    return action


def forgets_the_rollback(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
    """A failed deploy is left where it is."""
    action = policy.decide(wanted, live, record, now)
    is_rollback = isinstance(action, Note) and any(
        isinstance(event, Started) and event.kind is Kind.ROLLBACK for event in action.events
    )
    return Wait(reason="left alone", seconds=policy.IDLE_SECONDS) if is_rollback else action


def holds_after_a_failed_rollback(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
    """Whatever fails is held, the way back too."""
    action = policy.decide(wanted, live, record, now)
    if isinstance(action, Note) and isinstance(action.events[-1], Failed):
        rollout = action.events[-1].rollout
        return Note(events=(*action.events, Held(at=now, rollout=rollout)))
    return action


def deploys_every_commit(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
    """A commit with the same config becomes a rollout: a sick cluster makes it reject its good release."""
    action = policy.decide(wanted, live, record, now)
    is_idle = isinstance(action, Wait) and isinstance(wanted, Desired) and isinstance(live, Live)
    last = record.last
    if is_idle and isinstance(wanted, Desired) and last is not None and record.rollout is None:
        is_new = last.release.revision != wanted.release.revision
        if is_new and last.release.digest == wanted.release.digest:
            return Note(
                events=(
                    Started(
                        at=now,
                        rollout=record.next_rollout_id(),
                        kind=Kind.DEPLOY,
                        release=wanted.release,
                        policy=wanted.policy,
                        trigger="push",
                    ),
                )
            )
    return action


def puts_before_the_intent(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
    """An applied rollout is sent again whenever the cluster looks different, without an intent."""
    action = policy.decide(wanted, live, record, now)
    if isinstance(action, Note) and record.rollout and any(e.type == "resubmitted" for e in action.events):
        return Put(rollout=record.rollout)
    return action


def deletes_foreign_apps(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
    """The whole set is replaced, whoever owns it."""
    names = live.apps.keys() if isinstance(live, Live) else set()
    return policy.decide(wanted, live, replace(record, apps=record.apps | names), now)


FAULTS = [
    ignores_holds,
    rolls_back_when_blind,
    trusts_stale_status,
    counts_blind_time,
    counts_from_the_start,
    never_repeats_a_put,
    forgets_the_rollback,
    holds_after_a_failed_rollback,
    deploys_every_commit,
    puts_before_the_intent,
    deletes_foreign_apps,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_seeded_fault_is_caught(fault: Decide) -> None:
    """The machine finds each of these within a bounded search: its invariants are not decoration."""

    class Faulty(Machine):
        decide = staticmethod(fault)

    search = settings(
        max_examples=2000,
        stateful_step_count=40,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises((Broken, AssertionError, pytest.fail.Exception)):
        run_state_machine_as_test(Faulty, settings=search)
