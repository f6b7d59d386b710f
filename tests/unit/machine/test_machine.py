"""Passes in an unkind world: whatever happens in whatever order, the promises hold.

The rules push, break, heal, lose, ask and crash; every event, PUT and look is checked as it happens (see
`ledger.py`), and `settle` checks that a quiet world comes to the right rest. The second half shows that the
machine can fail: each seeded fault of the policy (`faults.py`) must be caught.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import structlog
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
from deployer.core.checks import Answer
from deployer.core.types import Desired
from tests.unit.machine.configs import CONFIGS, GOOD, NAMES, NEIGHBOUR, NEIGHBOURS, POLICIES, STAGING, app
from tests.unit.machine.faults import FAULTS
from tests.unit.machine.ledger import Broken
from tests.unit.machine.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from deployer.core.record import Record
    from deployer.engine.reconcile import Policy as Decide

CRASHES = ["before commit", "after commit", "before put", "after put", "in a probe"]


def rests(record: Record) -> bool:
    """Whether nothing is in flight, and something was."""
    return record.rollout is None and record.last is not None


def soaks(record: Record) -> bool:
    """Whether the rollout in flight is healthy already."""
    return record.rollout is not None and record.rollout.healthy_at is not None


class Machine(RuleBasedStateMachine):
    """The rules. `decide` is what the passes decide with."""

    decide: Decide = staticmethod(policy.decide)

    @initialize(shared=st.booleans())
    def begin(self, shared: bool) -> None:
        """A daemon that has not looked at git yet, with or without a second environment."""
        self.world = World(decide=type(self).decide, is_shared=shared)

    # --- git ---------------------------------------------------------------------------------------------

    @rule(config=st.sampled_from(sorted(CONFIGS)), how=st.sampled_from(sorted(POLICIES)))
    def push(self, config: str, how: str) -> None:
        """A commit with any config, new or seen before, under a new revision."""
        self.world.push(config, how)

    @precondition(lambda self: self.world.is_shared)
    @rule(config=st.sampled_from(sorted(NEIGHBOURS)))
    def push_neighbour(self, config: str) -> None:
        """A commit for the second environment."""
        self.world.push(config, name=NEIGHBOUR)

    @precondition(lambda self: isinstance(self.world.git["staging"], Desired))
    @rule(how=st.sampled_from([None, *sorted(POLICIES)]))
    def push_readme(self, how: str | None) -> None:
        """A commit that changes nothing of what runs, but perhaps how it is judged."""
        git = self.world.git["staging"]
        assert isinstance(git, Desired)
        same = next(name for name, known in POLICIES.items() if known == git.policy)
        self.world.push(NAMES[git.release.digest], how or same)

    @rule()
    def vanish(self) -> None:
        """The branch is deleted."""
        self.world.vanish()

    # --- time --------------------------------------------------------------------------------------------

    @rule(steps=st.integers(1, 12))
    def run(self, steps: int) -> None:
        """Some passes, as far apart as they ask for."""
        self.world.steps(steps)

    @rule()
    def run_to_rest(self) -> None:
        """Passes until nothing is in flight."""
        self.world.steps(3)
        self.world.until(lambda record: record.rollout is None)

    @rule(seconds=st.sampled_from([0.1, 3.0, 40.0, 1000.0]))
    def wait(self, seconds: float) -> None:
        """The daemon is busy, or down, for a while."""
        self.world.advance(seconds)

    @rule(seconds=st.sampled_from([-60.0, -2.0, 2.0, 60.0, 600.0]))
    def clock(self, seconds: float) -> None:
        """Somebody sets the clock of the daemon's machine."""
        self.world.jump(seconds)

    # --- the cluster -------------------------------------------------------------------------------------

    @rule(reachable=st.booleans())
    def network(self, reachable: bool) -> None:
        """The cluster goes out of sight, or comes back."""
        self.world.fake.reachable = reachable

    @rule(sick=st.booleans())
    def sickness(self, sick: bool) -> None:
        """The cluster fails everything for its own reasons, or recovers."""
        self.world.fake.sick = sick

    @rule(is_seen=st.booleans())
    def flap(self, is_seen: bool) -> None:
        """All that runs is unhealthy for some seconds."""
        self.world.fake.sick = True
        self.world.steps(2 if is_seen else 0)
        self.world.advance(0.5)
        self.world.fake.sick = False

    @rule()
    def lose_state(self) -> None:
        """Ray's head is restarted."""
        self.world.fake.lose_state()

    @rule(is_failing=st.booleans())
    def answers(self, is_failing: bool) -> None:
        """The application answers its check with an error, or no longer."""
        if is_failing:
            self.world.fake.answers["/fruit"] = Answer(seconds=0.1, status=500)
        else:
            self.world.fake.answers.clear()

    @rule()
    def drop_answer(self) -> None:
        """The next PUT is applied and its answer lost."""
        self.world.fake.drop_answer_once = True

    @rule()
    def ignore_put(self) -> None:
        """The next PUT is answered 200 and ignored, as while Serve shuts down."""
        self.world.fake.ignore_next_put = True

    @rule(is_half=st.booleans())
    def reject(self, is_half: bool) -> None:
        """The next PUT is refused, as a whole or half-way."""
        text = "RuntimeError: controller" if is_half else "1 validation error for ServeDeploySchema"
        self.world.fake.reject_next = text

    @rule(free=st.sampled_from([None, 0.0, 4.0, 8.0]))
    def resources(self, free: float | None) -> None:
        """More or less of the cluster is free, or nobody tells."""
        self.world.fake.free = None if free is None else {"CPU": free}

    # --- other people ------------------------------------------------------------------------------------

    @rule(version=st.sampled_from(["1", "2"]))
    def foreign_put(self, version: str) -> None:
        """Others PUT an application of their own, and take care of everybody's."""

        def change(there: dict[str, Any]) -> None:
            there["theirs"] = app("theirs", args={"version": version})

        self.world.others_put(change)

    @rule()
    def foreign_delete(self) -> None:
        """Others delete theirs."""
        self.world.others_put(lambda there: there.pop("theirs", None))

    @rule(config=st.sampled_from(["theirs", *GOOD]))
    def careless_put(self, config: str) -> None:
        """Somebody deploys a file as if the cluster were theirs alone."""
        body = {"applications": [app("theirs")]} if config == "theirs" else CONFIGS[config].body()
        self.world.fake.foreign_put(body)

    @rule(name=st.sampled_from(["fruit", "math", "berry", "theirs"]))
    def serve_run(self, name: str) -> None:
        """Somebody starts an application with `serve run`."""
        self.world.fake.serve_run(name)

    @rule(what=st.sampled_from(["edit", "delete one", "delete all", "add"]))
    def by_hand(self, what: str) -> None:
        """Somebody changes what is ours."""
        self.world.by_hand(what)

    # --- the person on call ------------------------------------------------------------------------------

    @rule(wish=st.sampled_from(["pause", "resume", "retry", "rollback"]))
    def ask(self, wish: str) -> None:
        """A person asks for something."""
        self.world.ask(wish)

    @rule(seconds=st.sampled_from([1.0, 60.0, 1000.0]))
    def pause_for(self, seconds: float) -> None:
        """A pause with an end."""
        self.world.ask("pause", seconds)

    # --- the process -------------------------------------------------------------------------------------

    @rule(where=st.sampled_from(CRASHES))
    def crash(self, where: str) -> None:
        """The daemon dies there next time; the next pass is a new process."""
        self.world.die(where)

    # --- stories that chance alone tells too rarely ------------------------------------------------------

    @rule(config=st.sampled_from([*GOOD, "never-starts"]), steps=st.integers(2, 4))
    def blackout(self, config: str, steps: int) -> None:
        """In the middle of a rollout the cluster is out of sight for longer than any deadline."""
        self.world.push(config)
        self.world.steps(steps)
        self.out_of_sight(1000.0)

    @rule(config=st.sampled_from(GOOD), how=st.sampled_from(["plain", "checked", "forgiving"]))
    def blackout_in_soak(self, config: str, how: str) -> None:
        """The same while it soaks."""
        self.world.push(config, how)
        self.world.until(soaks)
        self.out_of_sight(1000.0)

    @rule(config=st.sampled_from(GOOD))
    def downtime(self, config: str) -> None:
        """The daemon dies between the intent and the PUT, and is down for longer than any deadline."""
        self.world.push(config)
        self.world.die("before put")
        self.world.until(lambda _: not self.world.clusters["staging"].die_before_put, 10)
        self.world.advance(1000.0)
        self.world.steps(6)

    @rule(mine=st.sampled_from(GOOD), theirs=st.sampled_from(GOOD))
    def overwritten(self, mine: str, theirs: str) -> None:
        """Somebody PUTs another config by hand in the middle of a rollout, and it is up at once."""
        self.world.push(mine)
        self.world.steps(2)
        self.world.fake.foreign_put(CONFIGS[theirs].body())
        self.world.advance(20.0)
        self.world.steps(2)

    @rule(config=st.sampled_from(GOOD), then=st.sampled_from(["flap", "fail", "lose"]))
    def trouble_in_soak(self, config: str, then: str) -> None:
        """A rollout is healthy, and then it is not."""
        self.world.push(config, "checked")
        self.world.until(soaks)
        match then:
            case "flap":
                self.flap(is_seen=True)
                self.world.steps(30)
            case "fail":
                self.answers(is_failing=True)
            case _:
                self.world.fake.lose_state()
        self.world.steps(6)

    @rule(config=st.sampled_from(GOOD))
    def regretted(self, config: str) -> None:
        """A person rolls back what is good, or does so while it is on its way."""
        self.world.push(config)
        self.run_to_rest()
        self.world.ask("rollback")
        self.run_to_rest()
        self.world.steps(4)

    @rule(what=st.sampled_from(["edit", "delete one", "add"]))
    def fight(self, what: str) -> None:
        """Two that are sure of themselves: the daemon heals, and somebody edits again."""
        self.drift(how="one-heal", what=what, times=3, is_paused=False)

    @rule(
        how=st.sampled_from(sorted(POLICIES)),
        what=st.sampled_from(["edit", "delete one", "delete all", "add"]),
        times=st.integers(1, 4),
        is_paused=st.booleans(),
    )
    def drift(self, how: str, what: str, times: int, is_paused: bool) -> None:
        """Somebody changes what is ours again and again, in a pause or not."""
        self.world.push("two-apps", how)
        self.run_to_rest()
        if is_paused:
            self.world.ask("pause")
        for _ in range(times):
            self.world.by_hand(what)
            self.world.advance(15.0)
            self.run_to_rest()

    @rule(
        bad=st.sampled_from(["import-error", "no-room", "environment-fails"]),
        wish=st.sampled_from(["retry", "rollback"]),
    )
    def second_chance(self, bad: str, wish: str) -> None:
        """A release fails; a person wants it again, or wants the way back; then time goes by."""
        self.world.push("good-1")
        self.run_to_rest()
        self.world.push(bad)
        self.run_to_rest()
        self.run_to_rest()
        self.world.ask(wish)
        self.run_to_rest()
        self.world.steps(4)

    @rule(bad=st.sampled_from(["import-error", "constructor-raises", "no-room"]))
    def lost_while_held(self, bad: str) -> None:
        """Git wants what is held, and the cluster loses its state."""
        self.world.push("good-1")
        self.run_to_rest()
        self.world.push(bad)
        self.run_to_rest()
        self.run_to_rest()
        self.world.fake.lose_state()
        self.world.steps(4)

    @precondition(lambda self: self.world.is_shared)
    @rule(first=st.booleans())
    def both_want_it(self, first: bool) -> None:
        """Two environments want an application of the same name, one after the other."""
        ours, theirs = ("good-1", STAGING), ("berry-takes-fruit", NEIGHBOUR)
        for config, name in (ours, theirs) if first else (theirs, ours):
            self.world.push(config, name=name)
            self.run_to_rest()

    @rule(times=st.integers(1, 2), how=st.sampled_from(["plain", "forgiving"]))
    def unsteady(self, times: int, how: str) -> None:
        """A release runs, and is unhealthy for some seconds, once or twice, before it is good."""
        self.world.push("good-1")
        self.run_to_rest()
        self.world.push("good-2", how)
        for _ in range(times):
            self.world.until(
                lambda record: record.rollout is None or record.rollout.settled_since is not None
            )
            self.flap(is_seen=True)
        self.run_to_rest()

    @rule()
    def settle(self) -> None:
        """The world turns quiet and kind."""
        self.world.settle()

    def out_of_sight(self, seconds: float) -> None:
        """The cluster cannot be seen for so long."""
        self.world.fake.reachable = False
        self.world.steps(2)
        self.world.advance(seconds)
        self.world.fake.reachable = True
        self.world.steps(2)

    @invariant()
    def promises(self) -> None:
        """Checked after every rule."""
        if hasattr(self, "world"):
            for name in self.world.names:
                self.world.check(name)

    def teardown(self) -> None:
        """Every run ends in a quiet world."""
        if hasattr(self, "world") and not self.world.is_broken:
            self.world.settle()


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Only errors are logged: a run has thousands of passes."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


TestMachine = Machine.TestCase
"""100 runs of 50 steps; `make machine` runs 5,000."""


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
