"""Stories that chance alone tells too rarely: the rules that bring about what the promises are about.

A `Stories` is a state machine by itself, in which each seeded fault shows within seconds. `Machine` in
`test_machine.py` adds everything that can come between.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from deployer.core import decide as policy
from deployer.core.checks import Answer
from deployer.core.events import Kind
from tests.unit.machine.configs import CONFIGS, GOOD, NEIGHBOUR, POLICIES, STAGING, app
from tests.unit.machine.world import World

if TYPE_CHECKING:
    from deployer.core.record import Record
    from deployer.engine.reconcile import Policy as Decide


def soaks(record: Record) -> bool:
    """Whether the rollout in flight is healthy already."""
    return record.rollout is not None and record.rollout.healthy_at is not None


def is_on_its_way_back(record: Record) -> bool:
    """Whether a rollback is in flight."""
    return record.rollout is not None and record.rollout.kind is Kind.ROLLBACK


class Stories(RuleBasedStateMachine):
    """The rules. `decide` is what the passes decide with; `looked_for`: see `World`."""

    decide: Decide = staticmethod(policy.decide)
    looked_for: str | None = None

    @initialize(shared=st.booleans())
    def begin(self, shared: bool) -> None:
        """A daemon that has not looked at git yet, with or without a second environment."""
        self.world = World(decide=type(self).decide, looked_for=type(self).looked_for, is_shared=shared)

    @rule()
    def run_to_rest(self) -> None:
        """Passes until nothing is in flight."""
        self.world.steps(3)
        self.world.until(lambda record: record.rollout is None)

    @rule(is_seen=st.booleans())
    def flap(self, is_seen: bool) -> None:
        """All that runs is unhealthy for some seconds."""
        self.world.fake.sick = True
        self.world.steps(2 if is_seen else 0)
        self.world.advance(0.5)
        self.world.fake.sick = False

    @rule(config=st.sampled_from(GOOD), is_accepted=st.booleans())
    def force_push(self, config: str, is_accepted: bool) -> None:
        """The branch is rewritten; a person may say that it is meant, or it is put right by the next push."""
        self.world.force_push(self.fresh(config))
        self.run_to_rest()
        if is_accepted:
            self.world.ask("retry")
            self.run_to_rest()

    @rule(is_failing=st.booleans())
    def answers(self, is_failing: bool) -> None:
        """The application answers its check with an error, or no longer."""
        if is_failing:
            self.world.fake.answers["/fruit"] = Answer(seconds=0.1, status=500)
        else:
            self.world.fake.answers.clear()

    @rule(config=st.sampled_from([*GOOD, "never-starts"]), steps=st.integers(2, 4))
    def blackout(self, config: str, steps: int) -> None:
        """In the middle of a rollout the cluster is out of sight for longer than any deadline."""
        self.world.push(self.fresh(config))
        self.world.steps(steps)
        self.out_of_sight(1000.0)

    @rule(config=st.sampled_from(GOOD), how=st.sampled_from(["plain", "checked", "forgiving"]))
    def blackout_in_soak(self, config: str, how: str) -> None:
        """The same while it soaks."""
        self.world.push(self.fresh(config), how)
        self.world.until(soaks)
        self.out_of_sight(1000.0)

    @rule(config=st.sampled_from(GOOD))
    def downtime(self, config: str) -> None:
        """The daemon dies between the intent and the PUT, and is down for longer than any deadline."""
        self.world.push(self.fresh(config))
        self.world.die("before put")
        self.world.until(lambda _: not self.world.clusters["staging"].die_before_put, 10)
        self.world.advance(1000.0)
        self.world.steps(6)

    @rule(mine=st.sampled_from(GOOD), theirs=st.sampled_from(GOOD))
    def overwritten(self, mine: str, theirs: str) -> None:
        """Somebody PUTs another config by hand in the middle of a rollout, and it is up at once."""
        self.world.push(self.fresh(mine))
        self.world.until(lambda record: record.rollout is not None and not record.rollout.pending, 10)
        self.world.fake.foreign_put(CONFIGS[theirs].body())
        self.world.advance(20.0)
        self.run_to_rest()

    @rule(config=st.sampled_from(GOOD))
    def fails_its_check(self, config: str) -> None:
        """A release runs well, and answers its check with an error."""
        self.answers(is_failing=True)
        self.world.push(self.fresh(config), "checked")
        self.run_to_rest()
        self.run_to_rest()
        self.answers(is_failing=False)

    @rule(config=st.sampled_from(GOOD))
    def beside_others(self, config: str) -> None:
        """Others have an application there when a release is deployed."""
        self.world.others_put(lambda there: there.update(theirs=app("theirs")))
        self.world.push(self.fresh(config))
        self.run_to_rest()

    @rule(config=st.sampled_from(GOOD))
    def pushed_in_a_pause(self, config: str) -> None:
        """A release waits for the end of a pause."""
        self.world.ask("pause")
        self.world.push(self.fresh(config))
        self.world.steps(4)
        self.world.ask("resume")
        self.run_to_rest()

    @rule(
        gates=st.sets(st.sampled_from(["requires", "manual", "approvals"]), min_size=1).map(frozenset),
        config=st.sampled_from([*GOOD, "import-error"]),
        wishes=st.lists(st.sampled_from(["sync", "approve", "reject"]), max_size=3),
        is_proved=st.booleans(),
    )
    def gated(self, gates: frozenset[str], config: str, wishes: list[str], is_proved: bool) -> None:
        """A release waits for gates, of which some open."""
        self.world.push("good-1")
        self.run_to_rest()
        self.world.set_gates(gates, is_proved=is_proved)
        self.world.push(self.fresh(config))
        self.world.steps(3)
        for wish in wishes:
            self.world.ask(wish)
            self.world.steps(2)
        self.run_to_rest()
        self.run_to_rest()

    @rule(bad=st.sampled_from(["import-error", "constructor-raises"]), is_lost=st.booleans())
    def gated_rescue(self, bad: str, is_lost: bool) -> None:
        """All gates close while a release is on its way that fails; or the cluster loses its state."""
        self.world.push("good-1")
        self.run_to_rest()
        self.world.push(bad)
        self.world.until(lambda record: record.rollout is not None and not record.rollout.pending, 10)
        self.world.set_gates(frozenset({"requires", "manual", "approvals"}), is_proved=False)
        self.run_to_rest()
        self.run_to_rest()
        if is_lost:
            self.world.fake.lose_state()
            self.world.steps(4)

    @rule(config=st.sampled_from(GOOD))
    def fixed_in_a_pause(self, config: str) -> None:
        """A release fails in a pause, and is left so; its fix, pushed meanwhile, could not overtake it."""
        self.world.push("never-starts", "no-rollback")
        self.world.until(lambda record: record.rollout is not None and not record.rollout.pending, 10)
        self.world.ask("pause")
        self.world.push(self.fresh(config))
        self.world.until(lambda record: record.rollout is None, 150)
        self.world.ask("resume")
        self.run_to_rest()

    @rule(config=st.sampled_from(GOOD), is_lost=st.booleans())
    def trouble_in_soak(self, config: str, is_lost: bool) -> None:
        """A rollout is healthy, and then it is not."""
        self.world.push(self.fresh(config), "checked")
        self.world.until(soaks)
        if is_lost:
            self.world.fake.lose_state()
        else:
            self.flap(is_seen=True)
        self.run_to_rest()

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

    @rule(what=st.sampled_from(["edit", "delete one", "add"]))
    def edited_in_a_pause(self, what: str) -> None:
        """A person pauses the daemon in order to try something on the cluster."""
        self.drift(how="plain", what=what, times=1, is_paused=True)

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
        self.world.ask("resume")

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

    @rule(bad=st.sampled_from(["import-error", "no-room"]), is_lost=st.booleans())
    def no_way_back(self, bad: str, is_lost: bool) -> None:
        """A release fails that must not be rolled back; perhaps the cluster loses its state then."""
        self.world.push("good-1")
        self.run_to_rest()
        self.world.push(bad, "no-rollback")
        self.run_to_rest()
        self.run_to_rest()
        if is_lost:
            self.world.fake.lose_state()
        self.world.steps(4)
        self.run_to_rest()

    @rule(
        bad=st.sampled_from(["import-error", "no-room"]),
        is_deaf=st.booleans(),
        meanwhile=st.sampled_from([None, "good-2", "import-error"]),
    )
    def no_way_back_works(self, bad: str, is_deaf: bool, meanwhile: str | None) -> None:
        """A rollback fails: nothing can start any more, or no PUT is answered. Something is pushed in it."""
        self.world.push("good-1")
        self.run_to_rest()
        self.world.push(bad)
        self.world.until(lambda record: record.rollout is not None and not record.rollout.pending, 10)
        self.world.is_deaf = is_deaf
        self.world.until(is_on_its_way_back, 200)
        self.world.fake.sick = not is_deaf
        if meanwhile:
            self.world.push(meanwhile)
        self.world.until(lambda record: record.rollout is None, 100)
        self.world.steps(4)
        self.world.is_deaf = self.world.fake.sick = False
        # There is room by now.
        self.world.fake.free = {"CPU": 64.0}
        self.world.steps(10)

    @rule(
        before=st.sampled_from(["two-apps", "three-apps", "import-error"]),
        after=st.sampled_from(["good-1", "empty"]),
    )
    def shrinks(self, before: str, after: str) -> None:
        """A commit has fewer applications than the one before, or none."""
        self.world.push(before)
        self.run_to_rest()
        self.world.push(after)
        self.run_to_rest()

    @rule(slow=st.sampled_from(["never-starts", "no-room"]), config=st.sampled_from(GOOD))
    def overtakes(self, slow: str, config: str) -> None:
        """The fix is pushed while the release before is stuck."""
        self.world.push(slow)
        self.world.until(lambda record: record.rollout is not None and not record.rollout.pending, 10)
        self.world.push(self.fresh(config))
        self.world.steps(6)

    @rule(bad=st.sampled_from(["import-error", "constructor-raises"]), config=st.sampled_from(GOOD))
    def forgotten_wish(self, bad: str, config: str) -> None:
        """A person wants a held release tried again; git wants another one first, and then that again."""
        self.world.push("good-1")
        self.run_to_rest()
        self.world.push(bad)
        self.run_to_rest()
        self.run_to_rest()
        self.world.ask("pause")
        self.world.ask("retry")
        self.world.push(self.fresh(config))
        self.world.steps(2)
        self.world.ask("resume")
        self.run_to_rest()
        self.world.push(bad)
        self.run_to_rest()

    @rule()
    def takes_what_is_there(self) -> None:
        """Somebody else has an application whose name a later commit adds."""
        self.world.push("good-1")
        self.run_to_rest()
        self.world.by_hand("add")
        self.world.push("two-apps")
        self.run_to_rest()
        self.world.others_put(lambda there: there.pop("math", None))

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
        self.world.push(self.fresh("good-2"), how)
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

    def fresh(self, config: str) -> str:
        """This config, or the next one if it is the current release already."""
        good = self.world.record().good
        if good is None or good.digest != CONFIGS[config].digest:
            return config
        return GOOD[(GOOD.index(config) + 1) % len(GOOD)] if config in GOOD else config

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
        # Where a run was cut short, hypothesis takes no verdict of it any more.
        if hasattr(self, "world") and not self.world.is_broken and sys.exception() is None:
            self.world.settle()
