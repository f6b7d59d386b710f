"""Two weeks of a team's seven environments, for the pictures in docs/pages.md: the same each time.

Owns the story, and a clock that runs as fast as it is told. Git is a value and the clusters are fakes; what
decides, records and tells is the real thing: passes, store, read models, service, pages.
"""

from __future__ import annotations

import hashlib
import json
import random
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from deployer.adapters.git import Lane
from deployer.adapters.store import SqlStore
from deployer.adapters.store.search import Search
from deployer.core import sentences
from deployer.core.approvals import ApprovalRule
from deployer.core.gates import Gating, Rules
from deployer.core.status import Freshness
from deployer.core.types import Absent, Desired, Person, Policy, Release, Revision, ServeConfig
from deployer.core.windows import Fixed, Recurring
from deployer.engine.promoting import Done, Outcome, Plan
from deployer.engine.reconcile import After, Reconciler
from deployer.engine.ways import Edge, Prepared
from deployer.settings import explained, load
from deployer.web import Hub, Passes, Service
from deployer.web.models import Models
from deployer.web.promotions import Promotions
from tests.e2e.browser import made_up
from tests.support.fake_cluster import FakeCluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from deployer.core.types import Wanted
    from tests.e2e.browser.made_up import Served

START = datetime(2026, 11, 9, 7, 30, tzinfo=UTC)
END = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
"""The pictures are of this moment."""

NAMES = ("production", "staging", "dev", "embeddings", "ranker", "fraud", "sandbox")

SETTINGS = """\
state_dir: /var/lib/deployer
server:
  listen: 127.0.0.1:8700
  public_url: https://deployer.example.com
repositories:
  serve-configs:
    url: https://git.example.com/ml/serve-configs.git
environments:
"""
_ENVIRONMENT = """\
  {name}:
    repository: serve-configs
    branch: main
    path: environments/{name}
    cluster:
      address: http://ray-{name}.example.com:8265
"""

_ADA, _LIN, _GRACE = (
    Person(name=name, email=f"{name.split()[0].lower()}@example.com")
    for name in ("Ada Byron", "Lin Wei", "Grace Otieno")
)

CHANGES: tuple[tuple[Person, str, dict[str, Any]], ...] = (
    (_ADA, "raise the price of mangoes (#127)", {"price": 4}),
    (_LIN, "use the quantized sentiment model", {"model": "sentiment-q8"}),
    (_GRACE, "serve oranges from three replicas", {"replicas": 3}),
    (_ADA, "lower the price again", {"price": 3}),
    (_LIN, "move to the new runtime image (#131)", {"image": "2026-11"}),
    (_GRACE, "sell autumn mangoes at a lower price", {"price": 2.5}),
    (_LIN, "go back to two replicas of the orange stand", {"replicas": 2}),
    (_ADA, "sentiment: batch requests of 8", {"model": "sentiment-q8-b8"}),
)
BROKEN: tuple[Person, str, dict[str, Any]] = (
    _LIN,
    "give the mangoes away (#134)",
    {"price": -1, "fail": True},
)


class Showcase:
    """The world of the pictures."""

    def __init__(self, folder: Path) -> None:
        """Begin two weeks ago, with nothing deployed, and no gate anywhere."""
        self.rules: dict[str, Rules] = {}
        self.chance = random.Random(20261123)
        self.folder = folder
        self.clock = START
        self.store = SqlStore.open(folder / "deployer.db")
        self.hub = Hub()
        self.clusters = {name: FakeCluster(now=self._seconds) for name in NAMES}
        self.git: dict[str, Wanted] = {}
        self.trouble: dict[str, str] = {}
        self.options: dict[str, dict[str, Any]] = {name: {"price": 3, "replicas": 2} for name in NAMES}
        self.passes = Passes()
        self._reconciler = Reconciler(
            store=self.store,
            sources=self,
            clusters=self.clusters,
            now=self.now,
            listeners=[self.passes, self.hub],
            gating=self.gating,
        )
        self.runs_passes = self.passes.of(self._reconciler)
        self.service = Service(
            store=self.store,
            sources=cast("Any", self),
            clusters=self.clusters,
            passes=self.passes,
            repositories=dict.fromkeys(NAMES, "serve-configs"),
            rules=lambda name: self.gating(name, None).rules,
            commit=self._reconciler.commit,
            enqueue=lambda _name: None,
            now=self.now,
        )

    def gating(self, environment: str, _commit: str | None) -> Gating:
        """Its gates."""
        return Gating(rules=self.rules.get(environment, Rules()))

    def now(self) -> datetime:
        """What the clock shows."""
        return self.clock

    def _seconds(self) -> float:
        return (self.clock - START).total_seconds()

    # --- git --------------------------------------------------------------------------------------------

    def wanted(self, environment: str) -> Wanted:
        """What git wants."""
        nothing = f"There is no folder environments/{environment} on main of serve-configs."
        return self.git.setdefault(environment, Absent(why=nothing))

    def runs(self, environment: str, ray_version: str) -> bool:
        """Everything is checked for it."""
        return True

    def compared(self, environment: str, since: Revision | None) -> bool:
        """Everything is compared."""
        return True

    def freshness(self, environment: str) -> Freshness:
        """When git was seen."""
        trouble = self.trouble.get(environment)
        seen_at = self.clock - timedelta(minutes=41) if trouble else self.clock - timedelta(seconds=6)
        return Freshness(seen_at=seen_at, trouble=trouble)

    def push(self, name: str, author: Person, subject: str, **changed: Any) -> str:
        """Somebody pushes a change of some options; the commit."""
        options = self.options[name] = {**self.options[name], **changed}
        if "fail" not in changed:
            options.pop("fail", None)
            options["price"] = max(options["price"], 2)
        text = json.dumps(_config(options), sort_keys=True, separators=(",", ":"))
        commit = hashlib.sha1(f"{name} {self.clock} {text}".encode(), usedforsecurity=False).hexdigest()
        written = self.clock - timedelta(minutes=self.chance.randrange(3, 90))
        self.git[name] = Desired(
            release=Release(
                revision=Revision(
                    commit=commit, author=author, committer=author, subject=subject, committed_at=written
                ),
                config=ServeConfig(text=text, digest=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"),
            ),
            policy=Policy(soak=self.chance.choice((20.0, 40.0, 90.0))),
        )
        return commit

    # --- time -------------------------------------------------------------------------------------------

    def look(self, name: str) -> float:
        """Run one pass; after how many seconds the next is due."""
        match self.runs_passes.run(name):
            case After(seconds=seconds):
                return seconds
            case _:
                return 0.0

    def settle(self, name: str) -> None:
        """Run passes until a rollout that has to come has come, and is over, and what follows from it."""
        rested = 0
        while rested < 3:
            self.clock += timedelta(seconds=self.look(name))
            rested = 0 if self.store.load(name).rollout else rested + 1

    def until(self, name: str, phase: str) -> None:
        """Run passes until the rollout in flight is in this phase."""
        while True:
            pause = self.look(name)
            rollout = self.store.views(name)[name][1]["rollout"]
            if rollout and rollout["phase"] == phase:
                return
            self.clock += timedelta(seconds=pause)

    def wait_until(self, moment: datetime) -> None:
        """Let time pass in which nothing happens."""
        self.clock = max(self.clock, moment)


def _config(options: dict[str, Any]) -> dict[str, Any]:
    """The fruit market with these options."""
    runtime_env: dict[str, Any] = {"env_vars": {"MODEL": options.get("model", "sentiment-base")}}
    if "image" in options:
        runtime_env["env_vars"]["IMAGE"] = options["image"]
    price = {key: options[key] for key in ("price", "fail") if key in options}
    stands = [
        {"name": "MangoStand", "num_replicas": 3, "user_config": price},
        {"name": "OrangeStand", "num_replicas": options["replicas"]},
        {"name": "FruitMarket", "num_replicas": 2},
    ]
    fruit = {
        "name": "fruit",
        "import_path": "market.fruit:app",
        "route_prefix": "/fruit",
        "runtime_env": runtime_env,
        "args": {"start_seconds": options.get("start_seconds", 4)},
        "deployments": stands,
    }
    sentiment = {
        "name": "sentiment",
        "import_path": "market.sentiment:app",
        "route_prefix": "/sentiment",
        "deployments": [{"name": "Classifier", "num_replicas": 2}],
    }
    return {"applications": [fruit, sentiment]}


def _tell(world: Showcase) -> None:
    """The fortnight: changes in all of them, and then how each comes to stand where it does."""
    world.look("sandbox")
    moment = START
    for number in range(58):
        name = NAMES[:-1][number % 6]
        moment += timedelta(minutes=world.chance.randrange(90, 480))
        if moment > END - timedelta(hours=20):
            break
        world.wait_until(moment)
        author, subject, changed = CHANGES[world.chance.randrange(len(CHANGES))]
        if number > 12 and world.chance.random() < 0.12:
            author, subject, changed = BROKEN
        seconds = world.chance.choice((3, 4, 6, 11, 25))
        world.push(name, author, subject, start_seconds=seconds, **changed)
        world.settle(name)

    world.wait_until(END - timedelta(hours=18))
    for name in ("production", "dev", "embeddings", "ranker", "fraud"):
        subject = "use the quantized sentiment model (#129)"
        world.push(name, _LIN, subject, model="sentiment-q9", price=3.5, start_seconds=4)
        world.settle(name)
    world.wait_until(END - timedelta(hours=4, minutes=12))
    reason = "the sale is on until six"
    world.service.pause("ranker", seconds=None, actor="lin (token 3f2a9c1b)", reason=reason, dry_run=False)
    world.push("ranker", _GRACE, "serve oranges from five replicas", replicas=5, image="2026-11c")
    world.settle("ranker")
    world.wait_until(END - timedelta(hours=3, minutes=48))
    author, subject, changed = BROKEN
    world.push("production", author, subject, **changed)
    world.settle("production")
    world.wait_until(END - timedelta(minutes=22))
    world.clusters["fraud"].sick = True
    world.settle("fraud")
    world.wait_until(END - timedelta(seconds=40))
    world.push("staging", *CHANGES[4][:2], image="2026-11b", start_seconds=35)
    world.until("staging", "start")
    world.clock += timedelta(seconds=9)
    for name in NAMES:
        world.look(name)
    world.wait_until(END)


class Promoter:
    """Says what would be promoted, as if the branches were those of the last good releases."""

    def __init__(self, world: Showcase) -> None:
        """Three of the world's environments in a line."""
        self._world = world
        url = "https://git.example.com/ml/serve-configs.git"
        self.edges = {
            target: Edge(
                source=source,
                target=target,
                repository="serve-configs",
                url=url,
                branch=f"env/{target}",
                auto=auto,
            )
            for source, target, auto in (("dev", "staging", True), ("staging", "production", False))
        }

    def plan(self, target: str) -> Plan:
        """The newest that is good in the source; the target has what was good there before."""
        edge, store = self.edges[target], self._world.store
        good = store.good_releases(edge.source)
        revisions = tuple(dict.fromkeys(one.release.revision for one in good))
        ahead = () if edge.auto else revisions[:4]
        head = revisions[0 if edge.auto else 4].commit
        lane = Lane(head=head, ahead=ahead, in_the_way=(), is_more=False)
        return Plan(edge=edge, chosen=good[0], prepared=Prepared(lane=lane), commands=(), can_push=True)

    def promote(self, target: str, **_order: object) -> Done:
        """What would be done."""
        plan = self.plan(target)
        what = sentences.name(plan.chosen.release)
        message = f"{what}, {plan.chosen.rollout}, would be pushed to branch {plan.edge.branch} of {target}."
        return Done(outcome=Outcome.PLANNED, message=message, plan=plan)


def _tell_of_gates(world: Showcase) -> None:
    """Then: a team that lets nothing into production by itself, and two commits that wait for it."""
    people = frozenset({"ada", "grace", "lin"})
    office = Recurring(cron="0 9 * * MON-THU", duration=9 * 3600.0, time_zone="Europe/Berlin")
    christmas = Fixed(
        begins=datetime(2026, 12, 18, tzinfo=UTC), ends=datetime(2027, 1, 4, tzinfo=UTC), reason="Christmas"
    )
    rules = Rules(approvals=ApprovalRule(required=2, people=people), windows=(office,), freezes=(christmas,))
    world.rules = {"production": rules, "embeddings": replace(rules, manual=True)}
    for name, author, subject in (
        ("production", _GRACE, "sell autumn mangoes at a lower price (#135)"),
        ("embeddings", _LIN, "use the new tokenizer (#136)"),
    ):
        world.push(name, author, subject, price=2.25, image="2026-11d")
        for _ in range(3):
            world.look(name)


def _doctor() -> dict[str, Any]:
    """What is wrong with it: nearly nothing."""
    found: list[tuple[str, str, str, str, str | None]] = [
        ("settings", "/etc/deployer/deployer.yaml", "ok", "7 environments, 1 repository.", None),
        ("git", "serve-configs", "ok", "https://git.example.com/ml/serve-configs.git answers.", None),
        *(("clusters", name, "ok", "Ray 2.60.0 answers; Serve runs.", None) for name in NAMES[:-2]),
        (
            "clusters",
            "fraud",
            "warn",
            "Ray 2.60.0 answers; fruit is UNHEALTHY.",
            "`deployer status fraud` says more.",
        ),
        ("clock", "this machine", "ok", "It is right to the second.", None),
    ]
    keys = ("group", "subject", "state", "says", "next_step")
    states = [state for _, _, state, _, _ in found]
    return {
        "findings": [{**dict(zip(keys, one, strict=True)), "seconds": None} for one in found],
        "passed": states.count("ok"),
        "warnings": states.count("warn"),
        "failed": 0,
        "skipped": 0,
    }


@contextmanager
def served(folder: Path, *, has_gates: bool = False) -> Iterator[Served]:
    """Serve the pages of it, in the `with` block, as of `END`. `has_gates`: two of them wait for gates."""
    settings_file = folder / "deployer.yaml"
    settings_file.write_text(SETTINGS + "".join(_ENVIRONMENT.format(name=name) for name in NAMES))
    settings = load(settings_file, {})
    world = Showcase(folder)
    with closing(world.store):
        _tell(world)
        if has_gates:
            _tell_of_gates(world)
        models = Models(
            settings=settings,
            explained=[
                replace(one, origin=one.origin.replace(str(folder), "/etc/deployer"))
                for one in explained(settings, settings_file, {})
            ],
            store=world.store,
            search=Search(world.store.database),
            sources=cast("Any", world),
            look=world.service.observe,
            doctor=_doctor,
            now=world.now,
            gating=world.gating,
        )
        promotions = Promotions(cast("Any", Promoter(world)), world.service, models)
        with made_up.served(
            folder,
            models,
            names=NAMES,
            service=world.service,
            hub=world.hub,
            promotions=promotions,
            now=world.now,
        ) as found:
            yield found
