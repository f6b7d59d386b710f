"""An environment behind any gates, in a world that opens and closes them in any order.

The passes, `decide`, `evolve`, what people may wish, and what other environments prove are the real ones. The
store and the cluster are in memory (their contract suites run on the real ones too), git and the forge are
values. Every decision is compared with the books of `gate_book.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from deployer.core import commands, consent, decide, gates
from deployer.core.events import (
    Approved,
    Event,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Proposed,
    Rejected,
)
from deployer.core.gates import GateState, Rules
from deployer.core.live import Live, Observation
from deployer.core.status import Freshness, Status
from deployer.core.types import Deadlines, Desired, NotRead, OnDrift, Person, Policy, Release, Wanted
from deployer.engine.gating import Gatings
from deployer.engine.reconcile import BackOff, GiveUp, Reconciler
from deployer.engine.reconcile import Policy as Decide
from tests.support.build import START, config, revision
from tests.support.fake_cluster import FakeCluster
from tests.support.memory_store import MemoryStore
from tests.unit.core.gate_book import Book, Time, configs, fits
from tests.unit.core.gate_elsewhere import Elsewhere
from tests.unit.core.gate_promises import Judge
from tests.unit.machine.ledger import Broken, demand

if TYPE_CHECKING:
    from datetime import datetime

    from deployer.core.checks import Answer
    from deployer.core.events import LogSource
    from deployer.core.gates import AtForge
    from deployer.core.record import Record, Rollout
    from deployer.core.types import Check, Revision

HERE, OTHERS = "production", ("us", "eu")


def _app(name: str, version: str, cpus: float, import_path: str = "good:app") -> dict[str, Any]:
    deployment = {"name": "D", "ray_actor_options": {"num_cpus": cpus}}
    return {
        "name": name,
        "import_path": import_path,
        "route_prefix": f"/{name}",
        "args": {"version": version},
        "deployments": [deployment],
    }


CONFIGS = {
    "one": config(_app("fruit", "1", 1)),
    "two": config(_app("fruit", "2", 1)),
    "big": config(_app("fruit", "2", 3)),
    "pair": config(_app("fruit", "1", 1), _app("math", "1", 1)),
    "raises": config(_app("fruit", "1", 1, "constructor_raises:app")),
    "slow": config(_app("fruit", "1", 1, "slow:app")),
}
PLAIN = Policy(
    stability_window=1, soak=2, deadlines=Deadlines(build=30, schedule=30, start=60), drift=OnDrift.ALERT
)
POLICIES = {
    "plain": PLAIN,
    "no-rollback": replace(PLAIN, rollback=False),
    "heals": replace(PLAIN, drift=OnDrift.HEAL),
}


@dataclass
class _Cluster:
    """The fake, which tells what it was sent."""

    fake: FakeCluster
    book: Book
    body: Mapping[str, Any] | None = None

    def observe(self, *, resources: bool = False) -> Observation:
        """Look once."""
        return self.fake.observe(resources=resources)

    def apply(self, rollout: Rollout, body: Mapping[str, Any]) -> None:
        """PUT."""
        self.fake.apply(rollout, body)
        self.body = body
        self.book.sent = {one["name"]: one for one in body["applications"]}

    def remember(self, config: Mapping[str, Any]) -> None:
        """Keep its secrets."""

    def probe(self, check: Check, live: Live) -> Answer:
        """No policy here has checks."""
        return self.fake.probe(check, live)

    def log_tail(self, source: LogSource) -> str:
        """The end of a log."""
        return self.fake.log_tail(source)


@dataclass
class World:
    """All of it. `decide` is what the passes decide with."""

    decide: Decide = decide.decide
    seconds: float = 0.0
    due: float = 0.0
    commits: int = 0
    git: Wanted = field(default_factory=lambda: NotRead(why="the first look is under way"))
    status: Status | None = None
    made: dict[str, Release] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Build the parts."""
        self.store, self.book = MemoryStore(), Book()
        self.fake = FakeCluster(now=lambda: self.seconds)
        self.cluster = _Cluster(self.fake, self.book)
        self.digests: dict[str, str] = {}
        self.elsewhere = {name: Elsewhere(name, self.store, self.digests) for name in OTHERS}
        self.judge = Judge(environment=HERE, decide=self.decide, book=self.book, elsewhere=self.elsewhere)
        self.operate(Rules())

    # --- what the daemon asks ----------------------------------------------------------------------------

    def wanted(self, environment: str) -> Wanted:
        """What git says."""
        return self.git

    def compared(self, environment: str, since: Revision | None) -> bool:
        """It was."""
        return True

    def runs(self, environment: str, ray_version: str) -> bool:
        """It fits."""
        return True

    def freshness(self, environment: str) -> Freshness:
        """Nothing is known of when."""
        return Freshness()

    def of(self, environment: str, commit: str) -> AtForge | None:
        """What the forge says."""
        return self.book.forge.get(commit)

    def want(self, environment: str, commit: str) -> None:
        """It is asked by rules."""

    def now(self) -> datetime:
        """The time."""
        return START + timedelta(seconds=self.seconds)

    def recorded(self, record: Record, event: Event) -> None:
        """Write it into the books."""
        self.book.take(event)

    def observed(self, status: Status) -> None:
        """Keep the newest, and what each plan was shown for."""
        self.status = status
        plan = next((gate.plan for gate in status.gates if gate.plan is not None), None)
        if plan is not None and status.cluster is not None and status.wanted is not None:
            assert isinstance(self.git, Desired)
            shown = fits(status.wanted, self.git.policy, status.cluster)
            demand(self.book.plans.setdefault(plan, shown) == shown, "one plan for two effects")

    # --- what happens ------------------------------------------------------------------------------------

    def operate(self, rules: Rules, windows: Sequence[Time] = (), freezes: Sequence[Time] = ()) -> None:
        """The operator starts the daemon with these gates."""
        book = self.book
        book.windows, book.freezes = tuple(windows), tuple(freezes)
        book.rules = replace(
            rules,
            windows=tuple(one.span for one in windows),
            freezes=tuple(one.span for one in freezes),
        )
        self.gatings = Gatings({HERE: book.rules}, self.store, lambda _: None, self.now, self)
        self.passes = Reconciler(
            store=self.store,
            sources=self,
            clusters={HERE: self.cluster},
            now=self.now,
            listeners=[self],
            policy=self.judge,
            gating=self.gatings.of,
        )
        self.due = self.seconds

    def push(self, name: str, policy: str, author: str, committer: str) -> None:
        """A new commit, for all environments."""
        self.commits += 1
        made = replace(
            revision(f"push {self.commits}"),
            author=Person(name=author.title(), email=f"{author}@example.com"),
            committer=Person(name=committer.title(), email=f"{committer}@example.com"),
        )
        release = self.know(Release(revision=made, config=CONFIGS[name]), author, committer)
        self.git = Desired(release=release, policy=POLICIES[policy])
        self.due = self.seconds

    def know(self, release: Release, *makers: str) -> Release:
        """There is such a commit."""
        commit = release.revision.commit
        self.made[commit], self.digests[commit] = release, release.digest
        self.book.makers[commit] = frozenset(makers)
        return release

    def steps(self, count: int) -> None:
        """So many passes, each when it is due."""
        for _ in range(count):
            self.seconds = max(self.seconds, self.due)
            try:
                outcome = self.passes.run(HERE)
            except Broken as broken:
                raise AssertionError(*broken.args) from None
            assert not isinstance(outcome, GiveUp), outcome
            assert not (isinstance(outcome, BackOff) and outcome.is_bug), outcome
            pause = 5.0 if isinstance(outcome, BackOff) else getattr(outcome, "seconds", 0.05)
            self.due = self.seconds + pause

    def commit(self, *events: Event) -> None:
        """Make them durable."""
        self.passes.commit(self.store.load(HERE), events)
        self.due = self.seconds

    def wish(self, answer: commands.Answer) -> bool:
        """What a person may have is done; whether they may."""
        if isinstance(answer, commands.Accepted) and answer.events:
            self.commit(*answer.events)
        return isinstance(answer, commands.Accepted)

    def ask(self, what: str, who: str = "ada", seconds: float | None = None) -> bool:
        """Of the commands that are no gate's."""
        record, now, why = self.store.load(HERE), self.now(), f"wish {what}"
        until = now + timedelta(seconds=seconds) if seconds else None
        match what:
            case "pause":
                return self.wish(commands.pause(record, until=until, actor=who, reason=why, now=now))
            case "resume":
                return self.wish(commands.resume(record, actor=who, reason=why, now=now))
            case "retry":
                return self.wish(commands.retry(record, actor=who, reason=why, now=now))
            case _:
                releases = self.store.good_releases(HERE)
                return self.wish(
                    commands.rollback(record, to=None, releases=releases, actor=who, reason=why, now=now)
                )

    def sync(self, who: str, skip: Sequence[str]) -> bool:
        """`deployer sync --skip`."""
        answer = consent.go(
            self.store.load(HERE),
            self.book.rules,
            skip=skip,
            may_override=True,
            actor=f"{who} (token x)",
            reason="it burns",
            now=self.now(),
        )
        return self.wish(answer)

    def say(self, who: str, *, rejects: bool, review: str = "") -> bool:
        """`deployer approve`, `deployer reject`, or a review, of what was seen last."""
        status = self.status
        found = status.gates if status is not None else ()
        current = next((gate.plan for gate in found if gate.plan is not None), None)
        answer = consent.approve(
            self.store.load(HERE),
            self.book.rules,
            plan=current or "none",
            current=current,
            of=status.wanted.digest if status is not None and status.wanted is not None else None,
            actor=f"{who} (token x)",
            login=who,
            reason="I looked",
            now=self.now(),
            rejects=rejects,
            review=review,
        )
        return self.wish(answer)

    def said(self, who: str, plan: str, *, rejects: bool) -> None:
        """An opinion that came by: for another plan, from anybody."""
        seen = self.store.load(HERE).seen
        if seen is not None:
            kind = Rejected if rejects else Approved
            digest, commit = seen.digest, seen.revision.commit
            self.commit(
                kind(at=self.now(), actor=f"{who} (token x)", plan=plan, digest=digest, commit=commit)
            )

    def promote(self, who: str, source: str, skip: Sequence[str], how: str) -> None:
        """What is wanted came by a promotion from there, or was to come by one."""
        if not isinstance(self.git, Desired):
            return
        commit, now, actor = self.git.release.revision.commit, self.now(), f"{who} (token x)"
        is_copy = how in {"copied", "proposed"}
        of = self.know(replace(self.git.release, revision=revision(f"of {commit}")), who) if is_copy else None
        origin = of.revision.commit if of is not None else commit
        asked = PromotionAsked(
            at=now,
            actor=actor,
            reason="it burns",
            source=source,
            rollout=f"{source}#1",
            commit=origin,
            skipped=tuple(skip),
        )
        match how:
            case "pushed":
                self.commit(asked, Promoted(at=now, commit=origin, branch="b"))
            case "copied":
                self.commit(asked, Promoted(at=now, commit=origin, branch="b", copied=commit))
            case "proposed":
                url = "https://forge/1"
                self.commit(
                    asked, Proposed(at=now, commit=origin, branch="b", head=commit, number=1, url=url)
                )
            case "failed":
                self.commit(asked, PromotionFailed(at=now, commit=origin, why="It is protected."))
            case _:
                self.commit(asked)

    def by_hand(self, what: str) -> None:
        """Somebody changes what is ours, or PUTs again what we sent."""
        was, self.fake.reachable = self.fake.reachable, True
        live = self.fake.observe()
        self.fake.reachable = was
        assert isinstance(live, Live)
        there = configs(live, bare=False)
        match what:
            case "undo" if self.cluster.body is not None:
                there = {one["name"]: one for one in self.cluster.body["applications"]}
            case "edit" if there:
                there["fruit"] = {**there.get("fruit", _app("fruit", "1", 1)), "args": {"version": "by hand"}}
            case "delete one" if there:
                del there[min(there)]
            case "delete all":
                there = {}
            case _:
                return
        self.fake.foreign_put({"applications": list(there.values())})

    def lose_state(self) -> None:
        """Ray's head is replaced."""
        self.fake.lose_state()
        self.book.sent = None

    def closed(self) -> tuple[GateState, ...]:
        """What the last pass found closed."""
        return gates.closed(self.status.gates) if self.status is not None else ()

    def at_forge(self, forge: AtForge | None) -> None:
        """The forge says this of what is wanted; None: it was not asked since the daemon started."""
        if isinstance(self.git, Desired):
            commit = self.git.release.revision.commit
            self.book.forge.pop(commit, None)
            if forge is not None:
                self.book.forge[commit] = forge

    def follows(self, name: str, what: str) -> None:
        """Another environment follows the same branch, or has what this is a copy of."""
        if isinstance(self.git, Desired):
            commit = self.git.release.revision.commit
            release = self.made[self.book.origins.get((name, commit), commit)]
            self.elsewhere[name].happens(release, what, self.now())
