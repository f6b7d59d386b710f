"""An unkind world around real passes: a git that says anything, a cluster that breaks, a process that dies.

The passes, `decide`, `evolve` are the real ones. Git is a value, the store is in memory (its contract suite
also runs on the real one), and so is the cluster. Every PUT is checked against the promises as it is sent.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core import decide as policy
from deployer.core.events import (
    Applied,
    Failed,
    FailureClass,
    Good,
    Kind,
    LostSight,
    RegainedSight,
    Started,
)
from deployer.core.live import Live, Observation
from deployer.core.record import Record, Rollout, fold
from deployer.core.types import Absent, Deadlines, Desired, NotRead, Policy, Release, ServeConfig, Wanted
from deployer.engine.reconcile import After, BackOff, Outcome, Reconciler
from deployer.engine.reconcile import Policy as Decide
from tests.support.build import START, revision
from tests.support.fake_cluster import FakeCluster
from tests.support.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from deployer.core.events import Event

NAME = "staging"
POLICY = Policy(deadlines=Deadlines(build=60, schedule=30, start=120), rollback_deadline=120)


class Crash(BaseException):
    """The process dies here: nothing that handles errors may run."""


def config_of(*apps: dict[str, Any]) -> ServeConfig:
    """The canonical config of these applications."""
    text = json.dumps({"applications": list(apps)}, sort_keys=True, separators=(",", ":"))
    return ServeConfig(text=text, digest=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


def fruit(import_path: str = "good:app", **more: Any) -> dict[str, Any]:
    """One application; what it does is chosen by its import path (see `FakeCluster`)."""
    return {"name": "fruit", "import_path": import_path, "route_prefix": "/fruit", **more}


MATH = {"name": "math", "import_path": "good:app", "route_prefix": "/math"}
CONFIGS = {
    "good-1": config_of(fruit(args={"version": "1"})),
    "good-2": config_of(fruit(args={"version": "2"})),
    "two-apps": config_of(fruit(args={"version": "1"}), MATH),
    "import-error": config_of(fruit("import_error:app")),
    "constructor-raises": config_of(fruit("constructor_raises:app")),
    "reconfigure-raises": config_of(
        fruit(deployments=[{"name": "D", "user_config": {"fail": True}}], args={"version": "1"})
    ),
    "never-starts": config_of(fruit("slow:app")),
}
GOOD = ("good-1", "good-2", "two-apps")
FOREIGN = config_of({"name": "theirs", "import_path": "good:app", "route_prefix": "/theirs"})


class Broken(BaseException):
    """A promise was broken. Not an `Exception`, because a pass survives those."""


def demand(condition: object, promise: str) -> None:
    """Stop everything if the promise is broken."""
    if not condition:
        raise Broken(promise)


@dataclass
class CheckedCluster:
    """The fake cluster, with every PUT checked against the promises and with places to die at."""

    world: World
    inner: FakeCluster
    seen: Observation | None = None
    die_before_put: bool = False
    die_after_put: bool = False

    def observe(self) -> Observation:
        """Look, and remember what was seen."""
        self.seen = self.inner.observe()
        return self.seen

    def apply(self, rollout: Rollout) -> None:
        """Check, then PUT."""
        record = self.world.store.load(NAME)
        demand(record.rollout == rollout, "a PUT without a recorded rollout")
        demand(rollout.pending, "a PUT without a pending intent")
        demand(record.hold_of(rollout.release.digest) is None, "a PUT of a held digest")
        demand(isinstance(self.seen, Live), "a PUT to a cluster that was not seen")
        assert isinstance(self.seen, Live)
        listed = rollout.release.config.applications().keys()
        deleted = {
            name
            for name, app in self.seen.apps.items()
            if app.source != "imperative" and app.status != "DELETING" and name not in listed
        }
        demand(deleted <= record.apps, f"a PUT that deletes somebody else's {deleted - record.apps}")
        if self.die_before_put:
            self.die_before_put = False
            raise Crash
        self.inner.apply(rollout)
        if self.die_after_put:
            self.die_after_put = False
            raise Crash


@dataclass
class CrashingStore(MemoryStore):
    """The store in memory, with every event checked and with places to die at."""

    world: World
    die_before_commit: bool = False
    die_after_commit: bool = False

    def __post_init__(self) -> None:
        """Start empty."""
        super().__init__()

    def commit(self, record: Record, events: Sequence[Event], messages: Sequence[str] = ()) -> Record:
        """Commit, or die on either side of it."""
        if self.die_before_commit:
            self.die_before_commit = False
            raise Crash
        for event in events:
            self.world.check_event(record, event)
        after = super().commit(record, events, messages)
        if self.die_after_commit:
            self.die_after_commit = False
            raise Crash
        return after


@dataclass
class World:
    """One environment, its git, its cluster, and the daemon that is restarted whenever it dies."""

    decide: Decide = policy.decide
    seconds: float = 0.0
    git: Wanted = field(default_factory=lambda: NotRead(why="First look under way."))
    pushes: int = 0
    crashes: int = 0

    def __post_init__(self) -> None:
        """Build the parts."""
        self.store = CrashingStore(world=self)
        self.fake = FakeCluster(now=lambda: self.seconds)
        self.cluster = CheckedCluster(world=self, inner=self.fake)
        self.outcome: Outcome = After(seconds=0)
        self._restart()

    def wanted(self, environment: str) -> Wanted:
        """What git says now (the `Sources` port)."""
        return self.git

    def now(self) -> datetime:
        """The world's time."""
        return START + timedelta(seconds=self.seconds)

    def push(self, config: str) -> None:
        """A new commit with this config."""
        self.pushes += 1
        release = Release(revision=revision(f"push {self.pushes}"), config=CONFIGS[config])
        self.git = Desired(release=release, policy=POLICY)

    def vanish(self) -> None:
        """The branch is deleted."""
        self.git = Absent(why="Branch env/staging is gone.")

    def run_pass(self) -> None:
        """One pass; a crash in it restarts the daemon."""
        try:
            self.outcome = self.daemon.run(NAME)
            demand(not getattr(self.outcome, "is_bug", False), f"a pass failed: {self.outcome}")
        except Crash:
            self.crashes += 1
            self._restart()

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        self.fake.advance(seconds)

    def step(self) -> None:
        """Wait as long as the last pass asked for, then run the next."""
        match self.outcome:
            case After(seconds=seconds):
                self.advance(seconds)
            case BackOff():
                self.advance(5.0)
            case _:
                self.advance(0.05)
        self.run_pass()

    def steps(self, count: int) -> None:
        """So many steps, checked after each."""
        for _ in range(count):
            self.step()
            self.check()

    def record(self) -> Record:
        """The stored record."""
        return self.store.load(NAME)

    def check(self) -> None:
        """The invariants that hold after every step."""
        record = self.record()
        history = self.store.events.get(NAME, [])
        assert fold(NAME, history) == record, "the record is not the fold of its events"
        good = record.good
        assert good is None or record.hold_of(good.digest) is None, "a held digest is good"

    def check_event(self, record: Record, event: Event) -> None:
        """What must be true of the world when a fact is written."""
        live = self.cluster.seen
        match event:
            case Started(kind=Kind.DEPLOY, release=release):
                demand(not policy.is_live(record, release.digest), "a rollout of what is live already")
            case Failed(failure=failure):
                demand(isinstance(live, Live), "a failure of a cluster that was not seen")
                if failure.failure_class is FailureClass.DEADLINE:
                    demand(self.sighted_seconds(event.rollout) >= POLICY.deadlines.build, "an early deadline")
            case Good():
                rollout = record.rollout
                assert rollout is not None
                assert isinstance(live, Live)
                for name, sent in rollout.release.config.applications().items():
                    app = live.apps.get(name)
                    demand(
                        app is not None and app.config == sent, f"{name} is called good with another config"
                    )
                    demand(
                        app is not None and app.status == "RUNNING", f"{name} is called good but not RUNNING"
                    )
            case _:
                pass

    def sighted_seconds(self, rollout: str) -> float:
        """How long the rollout has been applied with the cluster in sight, from the events alone."""
        applied, lost, blind = None, None, 0.0
        for event in self.store.events[NAME]:
            if getattr(event, "rollout", None) != rollout:
                continue
            if isinstance(event, Applied):
                applied = applied or event.at
            elif isinstance(event, LostSight):
                lost = event.at
            elif isinstance(event, RegainedSight):
                assert lost is not None
                blind += (event.at - lost).total_seconds()
        return (self.now() - applied).total_seconds() - blind if applied else 0.0

    def be_kind(self) -> None:
        """Everything outside works from now on."""
        self.fake.reachable = True
        self.fake.sick = False
        self.fake.drop_answer_once = False
        self.fake.reject_next = None
        self.fake.ignore_next_put = False
        self.store.die_before_commit = self.store.die_after_commit = False
        self.cluster.die_before_put = self.cluster.die_after_put = False

    def settle(self) -> None:
        """In a quiet, kind world the passes reach a fixed point that is right, in bounded steps."""
        self.be_kind()
        if isinstance(self.git, NotRead):
            self.vanish()
        for _ in range(600):
            before = self.record()
            self.step()
            self.check()
            is_idle = isinstance(self.outcome, After) and self.outcome.seconds >= policy.IDLE_SECONDS
            if is_idle and self.record() == before:
                break
        else:
            pytest.fail(f"no fixed point: {self.store.views.get(NAME)}")
        self.check_rest()

    def check_rest(self) -> None:
        """At rest: what git wants, or the good release, or a stall with a reason."""
        record = self.record()
        message = str(self.store.views[NAME]["message"])
        assert message
        if record.rollout is not None:
            assert "would delete" in message, f"at rest in the middle of {record.rollout.id}: {message}"
            return
        if isinstance(self.git, Desired):
            digest = self.git.release.digest
            if policy.is_live(record, digest):
                assert self.git.release.config == CONFIGS[self.config_name(digest)]
                return
            is_stalled = policy.is_stalled(record)
            is_held = record.hold_of(digest) is not None
            is_blocked = "would delete" in message
            assert is_held or is_stalled or is_blocked, f"neither live nor held nor stalled: {message}"
        assert not policy.needs_rollback(record), f"left on a failed release: {message}"

    def config_name(self, digest: str) -> str:
        """The name of the config with this digest."""
        return next(name for name, config in CONFIGS.items() if config.digest == digest)

    def _restart(self) -> None:
        """A new process over the same store."""
        self.daemon = Reconciler(
            store=self.store,
            sources=self,
            clusters={NAME: self.cluster},
            now=self.now,
            policy=self.decide,
        )
