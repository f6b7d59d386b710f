"""An unkind world around real passes: a git that says anything, a cluster that breaks, a process that dies.

The passes, `decide`, `evolve` are the real ones. Git is a value, the store is in memory (its contract suite
also runs on the real one), and so is the cluster. Two environments of one daemon share the cluster with other
people. Each has a ledger that compares all of it with the promises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from hypothesis import reject

from deployer.adapters.serve import Rejected, Unclear
from deployer.core import commands, consent, gates, lineage
from deployer.core import decide as policy
from deployer.core.approvals import ApprovalRule
from deployer.core.gates import Gating, Proof, Rules
from deployer.core.live import App, Live, Observation
from deployer.core.record import Record, Rollout, evolve, fold
from deployer.core.rest import IDLE_SECONDS
from deployer.core.rollouts import is_live
from deployer.core.status import Freshness, Status
from deployer.core.types import Absent, Desired, Lineage, NotRead, Release, Wanted
from deployer.engine.reconcile import After, BackOff, GiveUp, Outcome, Reconciler
from deployer.engine.reconcile import Policy as Decide
from tests.support.build import START, revision
from tests.support.fake_cluster import FakeCluster
from tests.support.memory_store import MemoryStore
from tests.unit.machine.configs import ALL, NAMES, NEIGHBOUR, POLICIES, STAGING, app
from tests.unit.machine.ledger import Broken, Ledger, demand
from tests.unit.machine.sight import runs_config_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from deployer.core.checks import Answer
    from deployer.core.events import Event, LogSource
    from deployer.core.messages import Told
    from deployer.core.types import Check, Revision

_FINE_SECONDS = 0.5
"""Between two looks of the ledgers at the cluster: nothing in it lasts for less, but for one tick."""

_FINE_LOOKS = 80
"""So many in one wait; the rest of a longer one is looked at every 10 s."""

_LOST = 20
"""The line of the policy about a cluster that lost its state."""

_PASSES = 1500
"""In which a quiet world must come to rest: a retry for want of room is an hour away, at 15 s a pass."""


class Crash(BaseException):
    """The process dies here: nothing that handles errors may run."""


@dataclass
class CheckedCluster:
    """The fake cluster as one environment has it: every PUT is checked, and there are places to die at."""

    world: World
    name: str
    seen: Observation | None = None
    die_before_put: bool = False
    die_after_put: bool = False
    die_in_probe: bool = False

    def observe(self, *, resources: bool = False) -> Observation:
        """Look, and remember what was seen."""
        self.seen = self.world.fake.observe(resources=resources)
        self.world.ledgers[self.name].looked(self.seen, self.world.seconds)
        return self.seen

    def apply(self, rollout: Rollout, body: Mapping[str, Any]) -> None:
        """Check, then PUT."""
        recorded = self.world.store.load(self.name).rollout
        demand(recorded is not None and recorded.id == rollout.id, "a PUT of another rollout than recorded")
        assert self.seen is not None
        if self.die_before_put:
            self.die_before_put = False
            raise Crash
        ledger = self.world.ledgers[self.name]
        ledger.sending(rollout.id, body, self.seen)
        if self.world.is_deaf:
            message = "It is not known whether the cluster took the config: it answered 500."
            raise Unclear(message)
        try:
            self.world.fake.apply(rollout, body)
        except Rejected:
            ledger.got_400 = True
            raise
        if self.die_after_put:
            self.die_after_put = False
            raise Crash

    def remember(self, config: Mapping[str, Any]) -> None:
        """Keep its secrets."""
        self.world.fake.remember(config)

    def probe(self, check: Check, live: Live) -> Answer:
        """One attempt of a check."""
        answer = self.world.fake.probe(check, live)
        if self.die_in_probe:
            self.die_in_probe = False
            raise Crash
        rollout = self.world.store.load(self.name).rollout
        assert rollout is not None
        index = rollout.policy.checks.index(check)
        self.world.ledgers[self.name].probed(index, passed=answer.status == check.status)
        return answer

    def log_tail(self, source: LogSource) -> str:
        """The end of a log."""
        return self.world.fake.log_tail(source)


@dataclass
class CrashingStore(MemoryStore):
    """The store in memory, with every event checked and with places to die at."""

    world: World
    die_before_commit: bool = False
    die_after_commit: bool = False

    def __post_init__(self) -> None:
        """Start empty."""
        super().__init__()

    def commit(self, record: Record, events: Sequence[Event], messages: Sequence[Told] = ()) -> Record:
        """Commit, or die on either side of it."""
        if self.die_before_commit:
            self.die_before_commit = False
            raise Crash
        name = record.environment
        for event in events:
            self.world.ledgers[name].take(
                event,
                self.world.clusters[name].seen,
                self.world.apps(),
                self.world.now(),
                self.world.seconds,
            )
        after = super().commit(record, events, messages)
        if self.die_after_commit:
            self.die_after_commit = False
            raise Crash
        return after


@dataclass
class World:
    """Two environments, their git, their cluster, and the daemon that is restarted whenever it dies."""

    decide: Decide = policy.decide
    looked_for: str | None = None
    """The promise that is expected to be broken (a regular expression): if it is another one, look on."""
    is_shared: bool = False
    """Whether the second environment is there."""
    seconds: float = 0.0
    skew: float = 0.0
    """How far the daemon's clock is ahead of the world's."""
    is_deaf: bool = False
    """Whether Serve's controller is dead: a GET is answered as ever, a PUT with 500 and not done."""
    is_broken: bool = False
    """Whether a promise was broken in a pass: the books are of no use after that."""
    gates: frozenset[str] = frozenset()
    """The gates that the first environment has: `requires`, `manual`, `approvals`."""
    is_proved: bool = True
    """Whether the other environment that `requires` names says that what git wants is good."""
    pushes: int = 0
    crashes: int = 0
    statuses: dict[str, Status] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Build the parts."""
        self.names = (STAGING, NEIGHBOUR) if self.is_shared else (STAGING,)
        self.git: dict[str, Wanted] = dict.fromkeys(self.names, NotRead(why="First look under way."))
        self.ledgers = {name: Ledger(name=name) for name in self.names}
        for name, ledger in self.ledgers.items():
            ledger.neighbours = [other for n, other in self.ledgers.items() if n != name]
        self.store = CrashingStore(world=self)
        self.fake = FakeCluster(now=lambda: self.seconds)
        self.clusters = {name: CheckedCluster(world=self, name=name) for name in self.names}
        self._restart()

    # --- what the daemon asks ----------------------------------------------------------------------------

    def compared(self, environment: str, since: Revision | None) -> bool:
        """What it gives out was compared with whatever came before."""
        return True

    def freshness(self, environment: str) -> Freshness:
        """Nothing is known of when."""
        return Freshness()

    def runs(self, environment: str, ray_version: str) -> bool:
        """Whatever is wanted here fits every Ray."""
        return True

    def wanted(self, environment: str) -> Wanted:
        """What git says now (the `Sources` port)."""
        return self.git[environment]

    def gating(self, environment: str, commit: str | None) -> Gating:
        """What a deploy has to wait for."""
        if environment != STAGING:
            return gates.NONE
        rule = ApprovalRule(required=1, people=frozenset({"ada"}), prevent_self_approval=False)
        rules = Rules(
            requires={"dev": 0.0} if "requires" in self.gates else {},
            manual="manual" in self.gates,
            approvals=rule if "approvals" in self.gates else None,
        )
        proof = (
            Proof(good_since=START - timedelta(days=1)) if self.is_proved else Proof(why="It failed there.")
        )
        return Gating(rules=rules, proofs={"dev": proof} if commit is not None else {})

    def set_gates(self, names: frozenset[str], *, is_proved: bool = True) -> None:
        """The operator has other rules from now on; the ledger knows them too."""
        self.gates, self.is_proved = names, is_proved
        ledger = self.ledgers[STAGING]
        ledger.gates = names - {"requires"} if is_proved else names
        self.due[STAGING] = min(self.due[STAGING], self.seconds)

    def now(self) -> datetime:
        """The daemon's time."""
        return START + timedelta(seconds=self.seconds + self.skew)

    def recorded(self, record: Record, event: Event) -> None:
        """Nothing to do (the `Listener` port)."""

    def observed(self, status: Status) -> None:
        """Keep the newest (the `Listener` port)."""
        self.statuses[status.environment] = status

    # --- what people do ----------------------------------------------------------------------------------

    def push(self, config: str, policy: str = "plain", name: str = STAGING) -> None:
        """A new commit with this config."""
        self.pushes += 1
        release = Release(revision=revision(f"push {self.pushes}"), config=ALL[config])
        self.git[name] = self.ledgers[name].git = Desired(release=release, policy=POLICIES[policy])
        self.due[name] = self.seconds

    def force_push(self, config: str, policy: str = "plain") -> None:
        """Another history, which does not hold what git wanted last: a person has to accept it."""
        ledger, seen = self.ledgers[STAGING], self.record().seen
        self.push(config, policy)
        pushed = self.git[STAGING]
        assert isinstance(pushed, Desired)
        if seen is not None:
            why = "branch env/staging was rewritten"
            pushed = replace(pushed, lineage=Lineage(since=seen.revision.commit, rewritten=why))
            self.git[STAGING] = ledger.rewritten = pushed
            ledger.git = None

    def vanish(self, name: str = STAGING) -> None:
        """The branch is deleted."""
        self.git[name] = Absent(why=f"Branch env/{name} is gone.")
        self.ledgers[name].git = None

    def others_put(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Somebody else reads the declarative applications, changes them, and PUTs them all."""
        there = {
            name: dict(app.config)
            for name, app in self.apps().items()
            if app.source == "declarative" and app.status != "DELETING" and app.config is not None
        }
        change(there)
        self.fake.foreign_put({"applications": list(there.values())})

    def ask(self, wish: str, until: float | None = None) -> None:
        """A person asks for something through the daemon, which may die of it."""
        record, now = self.record(), self.now()
        who, why = "ada", f"wish {wish}"
        match wish:
            case "pause":
                end = now + timedelta(seconds=until) if until else None
                answer = commands.pause(record, until=end, actor=who, reason=why, now=now)
            case "resume":
                answer = commands.resume(record, actor=who, reason=why, now=now)
            case "retry":
                answer = commands.retry(record, actor=who, reason=why, now=now)
            case "sync":
                rules = self.gating(STAGING, "").rules
                answer = consent.go(
                    record, rules, skip=(), may_override=False, actor=who, reason=why, now=now
                )
            case "approve" | "reject":
                answer = consent.approve(
                    record,
                    self.gating(STAGING, "").rules,
                    plan=self.plan() or "none",
                    current=self.plan(),
                    of=self.plan_of(),
                    actor=who,
                    login=who,
                    reason=why,
                    now=now,
                    rejects=wish == "reject",
                )
            case _:
                releases = self.store.good_releases(STAGING)
                answer = commands.rollback(record, to=None, releases=releases, actor=who, reason=why, now=now)
        if isinstance(answer, commands.Accepted) and answer.events:
            try:
                self.daemon.commit(record, answer.events)
            except Crash:
                self._died()
            except Broken as broken:
                self.break_off(str(broken))
            self.due[STAGING] = self.seconds

    def plan(self) -> str | None:
        """The plan that the last pass found waiting for approvals."""
        found = self.statuses[STAGING].gates if STAGING in self.statuses else ()
        return next((gate.plan for gate in found if gate.plan is not None), None)

    def plan_of(self) -> str | None:
        """The config that it is the plan of."""
        seen = self.statuses[STAGING].record.seen if STAGING in self.statuses else None
        return seen.digest if seen is not None else None

    def by_hand(self, what: str) -> None:
        """Somebody changes what is ours, and nothing else."""

        def change(there: dict[str, Any]) -> None:
            ours = [name for name in ("fruit", "math", "tea") if name in there]
            match what:
                case "add":
                    there["math"] = app("math", args={"by": "hand"})
                case "edit" if ours:
                    there[ours[-1]]["args"] = {"version": "by hand"}
                case "delete one" if ours:
                    del there[ours[-1]]
                case "delete all":
                    for name in ours:
                        del there[name]
                case _:
                    # Nothing of ours is there to be changed.
                    pass

        self.others_put(change)

    def die(self, where: str) -> None:
        """The daemon dies there the next time."""
        match where:
            case "before commit":
                self.store.die_before_commit = True
            case "after commit":
                self.store.die_after_commit = True
            case "before put":
                self.clusters[STAGING].die_before_put = True
            case "after put":
                self.clusters[STAGING].die_after_put = True
            case _:
                self.clusters[STAGING].die_in_probe = True

    def jump(self, seconds: float) -> None:
        """The daemon's clock is set."""
        self.skew += seconds
        for ledger in self.ledgers.values():
            ledger.jumped(seconds)

    # --- time --------------------------------------------------------------------------------------------

    def advance(self, seconds: float) -> None:
        """Let time pass; the ledgers watch what the cluster does."""
        end = self.seconds + seconds
        is_watched = any(ledger.rollout for ledger in self.ledgers.values())
        while is_watched and self.seconds < end - 1e-9:
            left = end - self.seconds
            coarse = min(10.0, left - _FINE_LOOKS * _FINE_SECONDS)
            self.seconds += max(min(_FINE_SECONDS, left), coarse)
            apps = self.apps()
            for ledger in self.ledgers.values():
                ledger.watch(apps, self.seconds)
        self.seconds = end

    def step(self) -> str:
        """Wait until the next pass is due, and run it; the environment's name."""
        name = min(self.names, key=self.due.__getitem__)
        self.advance(max(0.0, self.due[name] - self.seconds))
        self.run_pass(name)
        return name

    def steps(self, count: int) -> None:
        """So many steps, checked after each."""
        for _ in range(count):
            self.check(self.step())

    def until(self, condition: Callable[[Record], bool], passes: int = 60) -> None:
        """Steps until the record is so, or so many."""
        for _ in range(passes):
            if condition(self.record()):
                break
            self.steps(1)

    def run_pass(self, name: str) -> None:
        """One pass; a crash in it restarts the daemon."""
        try:
            outcome = self.daemon.run(name)
        except Crash:
            self._died()
            return
        except Broken as broken:
            self.break_off(str(broken))
        self.require(not getattr(outcome, "is_bug", False), f"a pass failed: {outcome}")
        self.require(not isinstance(outcome, GiveUp), f"a pass gave up: {outcome}")
        self.due[name] = self.seconds + _pause(outcome)

    # --- what is checked ---------------------------------------------------------------------------------

    def require(self, condition: object, promise: str) -> None:
        """As `demand`, outside a pass."""
        if not condition:
            self.break_off(promise)

    def break_off(self, promise: str) -> NoReturn:
        """A promise was broken: an error that hypothesis makes smaller, if it is what is looked for."""
        self.is_broken = True
        if self.looked_for is not None and re.search(self.looked_for, promise) is None:
            reject()
        raise AssertionError(promise)

    def record(self, name: str = STAGING) -> Record:
        """The stored record."""
        return self.store.load(name)

    def apps(self) -> Mapping[str, App]:
        """What the cluster runs, whether or not it can be seen."""
        was, self.fake.reachable = self.fake.reachable, True
        live = self.fake.observe()
        self.fake.reachable = was
        assert isinstance(live, Live)
        return live.apps

    def check(self, name: str = STAGING) -> None:
        """The invariants that hold after every step."""
        record = self.record(name)
        history = self.store.events.get(name, [])
        # The whole fold is for the end: here, the newest events on top of what was compared before.
        known, count = self._folded.get(name, (Record(environment=name), 0))
        for event in history[count:]:
            known = evolve(known, event)
        self._folded[name] = (known, len(history))
        self.require(known == record, "the record is not the fold of its events")
        good = record.good
        self.require(good is None or record.hold_of(good.digest) is None, "a held digest is good")

    def be_kind(self) -> None:
        """Everything outside works from now on."""
        self.fake.reachable = True
        self.fake.sick = False
        self.is_deaf = False
        self.fake.drop_answer_once = False
        self.fake.reject_next = None
        self.fake.ignore_next_put = False
        self.fake.answers.clear()
        # What is required elsewhere is so; nobody is there to approve anything.
        self.set_gates(self.gates & {"requires"})
        self.store.die_before_commit = self.store.die_after_commit = False
        for cluster in self.clusters.values():
            cluster.die_before_put = cluster.die_after_put = cluster.die_in_probe = False

    def settle(self) -> None:
        """In a quiet, kind world the passes reach a fixed point that is right, in bounded steps."""
        self.be_kind()
        for name in self.names:
            if isinstance(self.git[name], NotRead):
                self.vanish(name)
        resting: set[str] = set()
        for _ in range(_PASSES):
            before = {name: self.record(name).sequence for name in self.names}
            name = self.step()
            self.check(name)
            # A restore that waits for its time has not come to rest.
            is_idle = self.due[name] >= self.seconds + IDLE_SECONDS and self.statuses[name].line != _LOST
            if self.record(name).sequence != before[name] or not is_idle:
                resting.clear()
            else:
                resting.add(name)
            if len(resting) == len(self.names):
                break
        else:
            for name, status in self.statuses.items():
                lost = isinstance(status.cluster, Live) and self.ledgers[name].is_lost(status.cluster)
                self.require(not lost, f"a cluster that lost its state is left so: {status.message}")
            self.break_off(f"no fixed point: {[status.message for status in self.statuses.values()]}")
        for name in self.names:
            self.require(fold(name, self.store.events.get(name, [])) == self.record(name), "the fold differs")
            self.check_rest(name)

    def check_rest(self, name: str) -> None:
        """At rest: what git wants, or the good release, or a stall with a reason."""
        record, status, ledger = self.record(name), self.statuses[name], self.ledgers[name]
        assert status.message
        assert isinstance(status.cluster, Live)
        live, git = status.cluster, self.git[name]
        if record.rollout is not None:
            self.require(status.line == 8, f"at rest in the middle of {record.rollout.id}: {status.message}")
            return
        # Not even a pause keeps a failed release on the cluster.
        resting = ledger.resting
        is_bad = resting is not None and resting.release.digest in ledger.failed
        if is_bad and resting is not None and ledger.good is not None and resting.policy.rollback:
            is_back = runs_config_of(ledger.good, live.apps) or ledger.gave_up
            self.require(is_back, f"left on a failed release: {status.message}")
        self.require(not ledger.is_lost(live), f"a cluster that lost its state is left so: {status.message}")
        drift = record.drift
        if record.good is not None and is_live(record, record.good.digest) and drift is None:
            is_kept = record.good_policy.drift.value == "ignore" or runs_config_of(record.good, live.apps)
            is_ours = isinstance(git, Desired) and git.release.digest == record.good.digest
            is_ignored = is_ours and isinstance(git, Desired) and git.policy.drift.value == "ignore"
            self.require(is_kept or is_ignored, f"it does not run what it should: {status.message}")
        if drift is not None:
            self.require(
                drift.what[1:-1] in status.message, f"drift that nobody is told of: {status.message}"
            )
        if isinstance(git, Desired) and isinstance(lineage.admitted(git, record), Desired):
            digest = git.release.digest
            is_right = is_live(record, digest) and git.release.config == ALL[NAMES[digest]]
            is_held = record.hold_of(digest) is not None
            reasons = (
                is_right,
                is_held,
                ledger.is_done_with(digest),
                record.paused,
                record.starved,
                status.line >= 29,
            )
            self.require(any(reasons), f"neither live nor held nor stalled: {status.message}")

    def _died(self) -> None:
        self.crashes += 1
        for ledger in self.ledgers.values():
            ledger.died()
        self._restart()

    def _restart(self) -> None:
        """A new process over the same store."""
        if not hasattr(self, "_folded"):
            self._folded: dict[str, tuple[Record, int]] = {}
        others = {name: tuple(n for n in self.names if n != name) for name in self.names}
        self.due = dict.fromkeys(self.names, self.seconds)
        self.daemon = Reconciler(
            store=self.store,
            sources=self,
            clusters=self.clusters,
            now=self.now,
            listeners=[self],
            neighbours=others if self.is_shared else None,
            policy=self.decide,
            gating=self.gating,
        )


def _pause(outcome: Outcome) -> float:
    match outcome:
        case After(seconds=seconds):
            return seconds
        case BackOff():
            return 5.0
        case _:
            return 0.05
