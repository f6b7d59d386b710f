"""The work queue against a model so naive that it is plainly right: it keeps every delay ever asked for."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from deployer.engine.workqueue import Schedule

keys = st.sampled_from("abcd")
"""Few keys, so that adds, runs and delays of one key meet often."""
seconds = st.sampled_from([0.25, 1.0, 1.0, 2.0, 5.0, 30.0])


class Model:
    """What the queue should do, with every delay ever asked for kept in a list."""

    def __init__(self) -> None:
        """Begin empty."""
        self.ready: list[str] = []
        self.running: set[str] = set()
        self.again: list[tuple[str, bool]] = []
        self.delays: list[tuple[float, str]] = []

    def add(self, key: str, *, front: bool) -> None:
        """Forget its delays; queue it once, or note it for after its run."""
        self.delays = [delay for delay in self.delays if delay[1] != key]
        if key in self.running:
            self.again.append((key, front))
        elif front:
            self.ready = [key, *(other for other in self.ready if other != key)]
        elif key not in self.ready:
            self.ready.append(key)

    def add_at(self, key: str, due_at: float) -> None:
        """Keep every delay, unless the key will run anyway."""
        if key not in self.ready and key not in dict(self.again):
            self.delays.append((due_at, key))

    def due(self, now: float) -> None:
        """Add all that are due, by time."""
        for due_at, key in sorted(self.delays):
            if due_at <= now:
                self.add(key, front=False)

    def take(self) -> str | None:
        """Hand out the first."""
        if not self.ready:
            return None
        key = self.ready.pop(0)
        self.running.add(key)
        return key

    def done(self, key: str) -> None:
        """Queue it again if it was asked for, at the front if any of those was."""
        self.running.remove(key)
        fronts = [front for added, front in self.again if added == key]
        self.again = [entry for entry in self.again if entry[0] != key]
        if fronts:
            self.add(key, front=any(fronts))


class QueueMachine(RuleBasedStateMachine):
    """Triggers, workers and the clock take turns in any order."""

    def __init__(self) -> None:
        """Begin with both empty, and nothing owed: asked for and not yet taken."""
        super().__init__()
        self.schedule = Schedule()
        self.model = Model()
        self.now = 100.0
        self.owed: set[str] = set()

    @rule(key=keys, front=st.booleans())
    def add(self, key: str, front: bool) -> None:
        """A trigger or a person asks for a key."""
        before = len(self.model.ready)
        self.model.add(key, front=front)
        assert self.schedule.add(key, front=front) == (len(self.model.ready) > before)
        self.owed.add(key)

    @rule(key=keys, delay=seconds)
    def add_after(self, key: str, delay: float) -> None:
        """A pass asks to be repeated later."""
        self.model.add_at(key, self.now + delay)
        self.schedule.add_at(key, self.now + delay)
        self.owed.add(key)

    @rule(passed=seconds)
    def time_passes(self, passed: float) -> None:
        """The timer looks at the clock."""
        self.now += passed
        before = len(self.model.ready)
        self.model.due(self.now)
        assert self.schedule.due(self.now) == len(self.model.ready) - before

    @rule()
    def take(self) -> None:
        """A worker asks for a key."""
        key = self.schedule.take()
        assert key == self.model.take()
        if key is not None:
            self.owed.discard(key)

    @precondition(lambda self: self.model.running)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        """Any one of the running passes ends."""
        key = data.draw(st.sampled_from(sorted(self.model.running)))
        self.model.done(key)
        assert self.schedule.done(key) == (key in self.model.ready)

    @precondition(lambda self: self.model.delays or self.model.again)
    @rule()
    def clear(self) -> None:
        """The daemon stops."""
        self.schedule.clear()
        self.model.ready.clear()
        self.model.again.clear()
        self.model.delays.clear()
        self.owed.clear()

    @invariant()
    def the_same_keys_are_ready_in_the_same_order(self) -> None:
        """What workers will be handed is what the model says."""
        assert list(self.schedule._queued) == self.model.ready
        assert self.schedule.depth() == len(self.model.ready)
        assert self.schedule.idle() == (not self.model.ready and not self.model.running)

    @invariant()
    def it_wakes_for_the_earliest_delay_and_for_nothing_else(self) -> None:
        """The timer has the right time to wait for."""
        assert self.schedule.next_due() == min((due_at for due_at, _ in self.model.delays), default=None)

    @invariant()
    def no_key_is_in_two_places(self) -> None:
        """Never queued and running; never delayed and to run anyway."""
        queued, running, again = self.schedule._queued, self.schedule._running, self.schedule._again
        delayed = self.schedule._due_at
        assert not queued.keys() & running
        assert again.keys() <= running
        assert not delayed.keys() & (queued.keys() | again.keys())

    @invariant()
    def what_is_owed_is_somewhere(self) -> None:
        """What was asked for is queued, to run again, or delayed; nothing else is."""
        somewhere = self.schedule._queued.keys() | self.schedule._again.keys() | self.schedule._due_at.keys()
        assert self.owed == somewhere

    @invariant()
    def the_heap_stays_small(self) -> None:
        """Dropped delays do not pile up."""
        assert len(self.schedule._heap) <= 2 * len("abcd")

    def teardown(self) -> None:
        """Once the world is quiet, everything that was asked for has run and nothing is left."""
        self.schedule.due(self.now + 1e6)
        for key in sorted(self.model.running):
            self.schedule.done(key)
        while (ready := self.schedule.take()) is not None:
            self.owed.discard(ready)
            self.schedule.done(ready)
        assert self.owed == set()
        assert self.schedule.idle()
        assert self.schedule.next_due() is None


QueueMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestQueueMachine = QueueMachine.TestCase
