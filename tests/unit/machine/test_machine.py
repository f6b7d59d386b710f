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
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
    run_state_machine_as_test,
)

from deployer.core import decide as policy
from deployer.core.types import Desired
from tests.unit.machine.configs import CONFIGS, GOOD, NAMES, NEIGHBOUR, NEIGHBOURS, POLICIES, app
from tests.unit.machine.faults import FAULTS
from tests.unit.machine.stories import Stories

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from deployer.engine.reconcile import Policy as Decide

EXAMPLES = 600
"""Of one search. Most faults show within ten; which need hundreds changes with every line of the policy."""

SOON = {
    "counts_any_approval": 7,
    "counts_blind_time": 2,
    "never_repeats_a_put": 2,
    "restores_what_git_says": 2,
}
"""Where a search begins that shows the fault soon, found by trial; 1 for all others. Any other finds it as
well: the four took up to two minutes each, and half a minute all together so."""

CRASHES = ["before commit", "after commit", "before put", "after put", "in a probe"]


class Machine(Stories):
    """The stories, and everything that can come between."""

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

    @rule(deaf=st.booleans())
    def deafness(self, deaf: bool) -> None:
        """Serve's controller dies for good: no PUT is answered; or it is there again."""
        self.world.is_deaf = deaf

    @rule()
    def lose_state(self) -> None:
        """Ray's head is restarted."""
        self.world.fake.lose_state()

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

    @rule(wish=st.sampled_from(["sync", "approve", "reject"]))
    def say(self, wish: str) -> None:
        """A person says something of what waits, or of nothing."""
        self.world.ask(wish)

    @rule(
        gates=st.sets(st.sampled_from(["requires", "manual", "approvals"])).map(frozenset),
        is_proved=st.booleans(),
    )
    def other_gates(self, gates: frozenset[str], is_proved: bool) -> None:
        """The operator changes the rules."""
        self.world.set_gates(gates, is_proved=is_proved)

    # --- the process -------------------------------------------------------------------------------------

    @rule(where=st.sampled_from(CRASHES))
    def crash(self, where: str) -> None:
        """The daemon dies there next time; the next pass is a new process."""
        self.world.die(where)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Only errors are logged: a run has thousands of passes."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


# Twenty times as long as a run takes on an idle machine; `make machine` has more of them.
TestMachine = pytest.mark.timeout(6 * settings().max_examples)(Machine.TestCase)
TestMachine.settings = settings(stateful_step_count=30)
"""100 runs of 30 steps, most of which are many passes: half a minute, and many of them on a machine that does
other things. `make machine` has 5,000 runs."""


def search(decide: Decide, looked_for: str | None = None, begin: int = 1) -> None:
    """Raise where the promise that is looked for, or any, breaks: a bounded search, the same every time."""

    class Searched(Stories):
        pass

    Searched.decide, Searched.looked_for = staticmethod(decide), looked_for
    how = settings(
        max_examples=EXAMPLES,
        stateful_step_count=10,
        deadline=None,
        derandomize=False,
        database=None,
        phases=(Phase.generate,),
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(begin)(Searched), settings=how)


NAMED: dict[str, Decide] = {getattr(one, "__name__", ""): one for one in FAULTS}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMED)
def test_a_seeded_fault_is_caught(name: str) -> None:
    """The machine finds that each of these breaks its promise: its invariants are not decoration."""
    fault = NAMED[name]
    with pytest.raises(AssertionError, match=FAULTS[fault]):
        search(fault, FAULTS[fault], SOON.get(name, 1))


# Of the real policy `TestMachine` above searches more in less time: fewer examples, with more steps.
@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_same_search_finds_nothing_in_the_real_policy() -> None:
    """So what it finds in the others is the fault."""
    search(policy.decide)
