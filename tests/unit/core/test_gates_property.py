"""No order of events lets a deploy start with a closed gate, and every closed gate says what opens it.

The rules push, promote, approve, reject, override, freeze, prove and break, in any order; every decision is
compared with books that know nothing of the gates (`gate_book.py`, `gated_world.py`). The second half shows
that this can fail: each gate is left out, or got wrong, in turn, and that must be noticed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from deployer.core import decide as policy
from deployer.core.approvals import ApprovalRule
from deployer.core.gates import AtForge, CheckState, ForgeCheck, GateState, Rules, Verdict
from tests.support.build import START, at
from tests.unit.core.gate_book import FORGE_NAMES, FREEZES, ORDER, PEOPLE, WINDOWS, Time
from tests.unit.core.gate_faults import FAULTS
from tests.unit.core.gate_promises import unexplained
from tests.unit.core.gated_world import CONFIGS, OTHERS, POLICIES, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.engine.reconcile import Policy as Decide

SKIPS = ("requires", "checks", "freezes", "windows", "drift", "capacity")
CHECKS = ("ci/test", "build (3.11)")
ENDS = ("pushed", "copied", "proposed", "failed", "asked")
"""How a promotion stands."""

HAPPENS = ("sees", "tries", "good", "fails", "takes back")
"""In another environment."""

people = st.sampled_from(PEOPLE)
configs, policies = st.sampled_from(sorted(CONFIGS)), st.sampled_from(sorted(POLICIES))
windows = st.lists(st.sampled_from(WINDOWS), min_size=1, max_size=2, unique=True).map(tuple)
freezes = st.lists(st.sampled_from(FREEZES), min_size=1, max_size=2, unique=True).map(tuple)
some_people = st.lists(people, min_size=1, max_size=3, unique=True)
one_gate = st.sampled_from(["", "who merged", *ORDER])
"""The one that nobody opens."""
skips = st.lists(st.sampled_from(SKIPS), unique=True)
states = st.sampled_from(list(CheckState))
forges = st.none() | st.builds(
    AtForge,
    checks=st.dictionaries(st.sampled_from(CHECKS), st.builds(ForgeCheck, state=states)),
    made_by=st.lists(st.sampled_from([*FORGE_NAMES.values(), "somebody"]), max_size=2).map(tuple),
    trouble=st.sampled_from([None, None, None, "the forge at https://forge answered 503"]),
)
approval_rules = st.builds(
    ApprovalRule,
    required=st.integers(1, 2),
    people=st.frozensets(people, min_size=2),
    prevent_self_approval=st.booleans(),
    expire_after=st.sampled_from([60.0, 1e6]),
    forge=st.just({who: (name,) for who, name in FORGE_NAMES.items()}),
    reviews=st.booleans(),
)
some = st.sets(st.sampled_from(ORDER), min_size=1, max_size=3) | st.just(set(ORDER))


@st.composite
def all_rules(draw: st.DrawFn) -> tuple[Rules, tuple[Time, ...], tuple[Time, ...]]:
    """One to three gates, or all of them: the rules of the others, the windows, the freezes."""
    names = draw(some)

    def of(name: str, strategy: st.SearchStrategy[Any], none: object) -> Any:
        return draw(strategy) if name in names else none

    waits = st.sampled_from([0.0, 30.0, 600.0])
    rules = Rules(
        requires=of("requires", st.dictionaries(st.sampled_from(OTHERS), waits, min_size=1), {}),
        checks=of("checks", st.lists(st.sampled_from(CHECKS), min_size=1, unique=True).map(tuple), ()),
        approvals=of("approvals", approval_rules, None),
        manual="manual" in names,
        drift="drift" in names,
        capacity="capacity" in names,
    )
    return rules, of("windows", windows, ()), of("freezes", freezes, ())


class Days(RuleBasedStateMachine):
    """Most days: commits come, and people do what opens the gates. `decide` is what the passes go by."""

    decide: Decide = staticmethod(policy.decide)

    @initialize(rules=all_rules(), name=st.sampled_from(["one", "pair"]))
    def begin(self, rules: tuple[Any, Any, Any], name: str) -> None:
        """Something is good here and elsewhere, and then there are gates."""
        self.world = World(decide=type(self).decide)
        self.world.push(name, "plain", "ada", "ada")
        self.world.follows("us", "good")
        self.world.steps(12)
        self.world.operate(*rules)

    @rule(who=some_people, overrides=st.booleans(), but=one_gate, passes=st.integers(1, 6))
    def help(self, who: list[str], overrides: bool, but: str, passes: int) -> None:
        """Everybody does what opens the gates, or overrides them, all but one."""
        world = self.world
        self.prepare(but)
        if not overrides:
            for name in world.book.rules.requires if but != "requires" else ():
                world.follows(name, "good")
            states = dict.fromkeys(CHECKS, CheckState.SUCCESS)
            states |= {CHECKS[0]: CheckState.FAILURE} if but == "checks" else {}
            checks = {name: ForgeCheck(state=state) for name, state in states.items()}
            world.at_forge(AtForge(checks=checks, made_by=("somebody",)) if but != "who merged" else None)
        world.steps(2)
        shut = world.closed()
        times = [gate.next_check for gate in shut if gate.next_check is not None and gate.name != but]
        if times and not overrides:
            world.seconds = max(world.seconds, (max(times) - START).total_seconds())
        if but != "manual":
            skip = [gate.name for gate in shut if gate.name in SKIPS and gate.name != but]
            world.sync(who[0], skip if overrides else [])
        world.steps(1)
        for one in who:
            world.say(one, rejects=but == "approvals" and one == who[-1])
        world.steps(passes)

    @rule(
        name=configs,
        author=people,
        who=some_people,
        overrides=st.booleans(),
        but=one_gate,
        passes=st.integers(1, 12),
    )
    def push_and_help(
        self, name: str, author: str, who: list[str], overrides: bool, but: str, passes: int
    ) -> None:
        """Both; also while another one is on its way, or while that is not over."""
        self.prepare(but)
        self.world.push(name, "plain", author, author)
        self.world.steps(2)
        self.help(who, overrides, but, passes)

    @rule(rules=all_rules(), name=configs, who=some_people, but=one_gate, how=st.sampled_from(["", *ENDS]))
    def one_day(self, rules: tuple[Any, Any, Any], name: str, who: list[str], but: str, how: str) -> None:
        """The gates are others, and a commit comes to its end through them, or not."""
        self.world.operate(*rules)
        self.prepare(but)
        self.world.push(name, "plain", who[0], who[0])
        if how:
            self.world.promote("eve", "us", [one for one in SKIPS if one != but], how)
        self.world.steps(2)
        self.help(who, overrides=False, but=but, passes=8)
        if not how:
            self.help(who, overrides=True, but=but, passes=8)

    @rule(
        rule=st.none() | approval_rules,
        name=configs,
        who=some_people,
        seconds=st.sampled_from([5.0, 60.0, 700.0]),
        then=st.sampled_from(["", "edit", "no room", "who merged"]),
    )
    def another_day(
        self, rule: ApprovalRule | None, name: str, who: list[str], seconds: float, then: str
    ) -> None:
        """What people have approved waits until somebody says when; meanwhile something changes."""
        world = self.world
        world.operate(Rules(approvals=rule, manual=True, capacity=True, drift=rule is None))
        self.prepare("")
        world.push(name, "plain", "ada", "ada")
        world.at_forge(AtForge() if then != "who merged" else None)
        world.steps(2)
        for one in who:
            world.say(one, rejects=False)
        world.seconds += seconds
        if then == "edit":
            world.by_hand("edit")
        if then == "no room":
            world.fake.free = {"CPU": 0.0}
        world.sync("ada", [])
        world.steps(6)

    @rule(passes=st.integers(1, 8))
    def lose_state(self, passes: int) -> None:
        """Ray's head is replaced, whatever the gates say."""
        self.world.lose_state()
        self.world.steps(passes)

    def prepare(self, but: str) -> None:
        """The cluster as a deploy wants it, but for one gate; and nobody keeps it paused."""
        self.world.fake.reachable = True
        self.world.ask("resume")
        self.world.fake.free = {"CPU": 0.0 if but == "capacity" else 8.0}
        self.world.by_hand("edit" if but == "drift" else "undo")


class Gated(Days):
    """Whatever else can happen before and beside a deploy."""

    # --- git, and the operator ---------------------------------------------------------------------------

    @rule(name=configs, how=policies, author=people, committer=people, passes=st.integers(0, 8))
    def push(self, name: str, how: str, author: str, committer: str, passes: int) -> None:
        """A commit with any config; it is looked at, or overtaken before that."""
        self.world.push(name, how, author, committer)
        self.world.steps(passes)

    @rule(rules=all_rules())
    def operate(self, rules: tuple[Any, Any, Any]) -> None:
        """The daemon is started with other gates."""
        self.world.operate(*rules)
        self.world.steps(1)

    @rule(who=people, source=st.sampled_from(OTHERS), skip=skips, how=st.sampled_from(ENDS))
    def promote(self, who: str, source: str, skip: list[str], how: str) -> None:
        """What is wanted was promoted, or was to be."""
        self.world.promote(who, source, skip, how)

    # --- people ------------------------------------------------------------------------------------------

    @rule(who=people, rejects=st.booleans(), review=st.sampled_from(["", "1"]), passes=st.integers(0, 3))
    def say(self, who: str, rejects: bool, review: str, passes: int) -> None:
        """Somebody approves or rejects what waits, by command or by a review."""
        self.world.say(who, rejects=rejects, review=review)
        self.world.steps(passes)

    @rule(who=st.sampled_from([*PEOPLE, "mallory"]), rejects=st.booleans(), data=st.data())
    def said(self, who: str, rejects: bool, data: st.DataObject) -> None:
        """An opinion of a plan that is another one by now, or never was one, or of who may not."""
        plan = data.draw(st.sampled_from(["sha256:other", *self.world.book.plans]))
        self.world.said(who, plan, rejects=rejects)

    @rule(who=people, skip=skips, passes=st.integers(0, 3))
    def sync(self, who: str, skip: list[str], passes: int) -> None:
        """Somebody wants it now, with gates skipped or none."""
        self.world.sync(who, skip)
        self.world.steps(passes)

    @rule(
        what=st.sampled_from(["pause", "resume", "retry", "rollback"]),
        seconds=st.sampled_from([None, 20.0]),
    )
    def ask(self, what: str, seconds: float | None) -> None:
        """Of the person on call."""
        self.world.ask(what, seconds=seconds)

    # --- what others tell --------------------------------------------------------------------------------

    @rule(forge=forges)
    def forge(self, forge: AtForge | None) -> None:
        """The forge says something else of what is wanted."""
        self.world.at_forge(forge)

    @rule(name=st.sampled_from(OTHERS), what=st.sampled_from(HAPPENS))
    def elsewhere(self, name: str, what: str) -> None:
        """In another environment."""
        self.world.follows(name, what)

    # --- the cluster, and time ---------------------------------------------------------------------------

    @rule(what=st.sampled_from(["edit", "delete one", "delete all", "undo"]), passes=st.integers(0, 2))
    def by_hand(self, what: str, passes: int) -> None:
        """Somebody changes the cluster by hand, or undoes that."""
        self.world.by_hand(what)
        self.world.steps(passes)

    @rule(reachable=st.booleans())
    def network(self, reachable: bool) -> None:
        """The cluster goes out of sight, or comes back."""
        self.world.fake.reachable = reachable

    @rule(free=st.sampled_from([None, 0.0, 1.0, 8.0]))
    def room(self, free: float | None) -> None:
        """More or less of the cluster is free, or nobody tells."""
        self.world.fake.free = None if free is None else {"CPU": free}

    @rule(passes=st.integers(1, 10))
    def run(self, passes: int) -> None:
        """Some passes."""
        self.world.steps(passes)

    @rule(seconds=st.sampled_from([10.0, 30.0, 100.0, 700.0, 3600.0]))
    def wait(self, seconds: float) -> None:
        """Windows open, freezes end, approvals expire."""
        self.world.seconds += seconds
        self.world.steps(1)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Only errors are logged: a run has thousands of passes."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


TestGated = pytest.mark.timeout(10 * settings().max_examples)(Gated.TestCase)
TestGated.settings = settings(max_examples=max(50, settings().max_examples // 2), stateful_step_count=30)
"""Half as many runs as others have: each has 30 steps, most of which are some passes, and takes 0.15 s."""


SOON = {
    "holds up a restore": 2,
    "holds up a rollback": 2,
    "passes over a rejection": 2,
    "skips though it was not pushed": 3,
}
"""Where a search begins that shows the fault within a second or two, found by trial; 1 for all others."""


def search(decide: Decide, begin: int) -> None:
    """Raise where a promise breaks: a bounded search, the same every time."""

    class Searched(Days):
        pass

    Searched.decide = staticmethod(decide)
    how = settings(
        max_examples=300,
        stateful_step_count=8,
        deadline=None,
        derandomize=False,
        database=None,
        phases=(Phase.generate,),
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(begin)(Searched), settings=how)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_seeded_fault_is_caught(fault: str) -> None:
    """The books notice each of these: the property is not decoration."""
    decide, promise = FAULTS[fault]
    with pytest.raises(AssertionError, match=promise):
        search(decide, SOON.get(fault, 1))


@pytest.mark.parametrize(
    ("evidence", "next_check", "lacks"),
    [
        ("It is closed.", None, "does not tell what opens it"),
        ("`deployer sync staging` opens it", None, "has no sentence"),
        ("It is closed.\n`deployer sync staging` opens it.", None, "has no sentence"),
        ("", None, "has no sentence"),
        ("It opens then.", 10, "tells a time that is over"),
    ],
)
def test_a_closed_gate_that_explains_nothing_is_noticed(
    evidence: str, next_check: float | None, lacks: str
) -> None:
    """Neither a sentence without what opens it, nor a time in the past, is an explanation."""
    gate = GateState(
        name="windows",
        verdict=Verdict.CLOSED,
        evidence=evidence,
        next_check=at(next_check) if next_check is not None else None,
    )
    assert lacks in str(unexplained(gate, at(10)))
