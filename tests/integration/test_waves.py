"""Fifty clusters in five waves, each of which requires the one before: passes of one reconciler, one clock.

The clusters are in memory, and so is the store (their contract suites run on the real ones too), but where
the pages are read: those of the real application, over a real store, with the waves of a settings file.
"""

from __future__ import annotations

import heapq
import logging
import re
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
import structlog
import yaml

from deployer.adapters.store import SqlStore
from deployer.adapters.store.search import Search
from deployer.core import commands
from deployer.core.events import Good, Held, Kind, Started
from deployer.core.gates import Rules, Verdict
from deployer.core.status import Freshness
from deployer.core.types import Deadlines, Policy
from deployer.engine.gating import Gatings
from deployer.engine.reconcile import After, BackOff, Reconciler
from deployer.settings import gate_rules
from deployer.web import app as application
from deployer.web import pages
from deployer.web.access import RIGHTS, Caller, Role
from deployer.web.hub import Hub
from deployer.web.models import Models
from deployer.web.site import Site
from tests.support.asgi import ask
from tests.support.build import at, desired, release
from tests.support.fake_cluster import FakeCluster
from tests.support.memory_store import MemoryStore
from tests.support.page_reader import Read
from tests.support.settings_files import read

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.core.status import Status
    from deployer.core.types import Release, Revision, Wanted
    from deployer.settings import Settings

A, B, C = release("a"), release("b"), release("c")
pytestmark = pytest.mark.timeout(300)

POLICY = Policy(stability_window=1.0, soak=1.0, deadlines=Deadlines(build=20, schedule=20, start=20))
WAVES = [[f"cluster-{wave * 10 + number:02}" for number in range(10)] for wave in range(5)]
SECONDS = 60.0
"""For so long a commit must be good in every cluster of the wave before."""
THROUGH = 500.0
"""In so many seconds a commit goes through all waves, if nothing stops it: it takes 260. So for what is to be
stopped it is long enough as well."""
RULES = {
    name: Rules(requires=dict.fromkeys(before, SECONDS)) for before, wave in pairwise(WAVES) for name in wave
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Only errors are logged: a run has thousands of passes."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    yield
    structlog.reset_defaults()


class Fleet:
    """All of it. Passes run when they are due. `memory` is the store, unless another is given."""

    def __init__(self, store: SqlStore | None = None, rules: Mapping[str, Rules] = RULES) -> None:
        """Nothing runs anywhere; git wants A everywhere."""
        self.seconds = 0.0
        self.names = [name for wave in WAVES for name in wave]
        self.hub = Hub()
        self.memory = MemoryStore()
        self.store = store or self.memory
        self.clusters = {name: FakeCluster(now=lambda: self.seconds) for name in self.names}
        self.statuses: dict[str, Status] = {}
        self.gatings = Gatings(rules, self.store, self.wake, lambda: at(self.seconds))
        self.due = [(0.0, name) for name in self.names]
        self.passes = Reconciler(
            store=self.store,
            sources=self,
            clusters=self.clusters,
            now=lambda: at(self.seconds),
            listeners=[self, self.hub, self.gatings],
            gating=self.gatings.of,
        )
        self.push(A)

    def push(self, what: Release) -> None:
        """One commit, which all of them follow."""
        self.git: Wanted = desired(what, POLICY)
        for name in self.names:
            self.wake(name)

    def wake(self, environment: str) -> None:
        """A pass is asked for."""
        heapq.heappush(self.due, (self.seconds, environment))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.seconds + seconds
        while self.due[0][0] <= end:
            due, name = heapq.heappop(self.due)
            self.seconds = max(self.seconds, due)
            # Who was woken has an older pass in the list, which is now too many.
            self.due = [one for one in self.due if one[1] != name]
            heapq.heapify(self.due)
            match self.passes.run(name):
                case After(seconds=pause):
                    again = self.seconds + pause
                case BackOff(why=why, is_bug=is_bug):
                    assert not is_bug, why
                    again = self.seconds + 5
                case _:
                    again = self.seconds
            heapq.heappush(self.due, (again, name))
        self.seconds = end

    def started(self, name: str, what: Release) -> list[float]:
        """When deploys of it began there."""
        return [
            (event.at - at(0)).total_seconds()
            for event in self.memory.events.get(name, [])
            if isinstance(event, Started) and event.kind is Kind.DEPLOY and event.release == what
        ]

    def good_since(self, name: str, what: Release) -> float | None:
        """When it became good there."""
        record = self.store.load(name)
        return (record.good_at - at(0)).total_seconds() if record.good == what and record.good_at else None

    # --- the ports ---------------------------------------------------------------------------------------

    def wanted(self, environment: str) -> Wanted:
        """The same everywhere."""
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

    def recorded(self, record: Record, event: Event) -> None:
        """A cluster that failed a release is well again at once, so that the way back is open."""
        if isinstance(event, Held):
            self.clusters[record.environment].sick = False

    def observed(self, status: Status) -> None:
        """Keep the newest."""
        self.statuses[status.environment] = status


def test_a_commit_goes_from_wave_to_wave_when_it_has_proved_itself() -> None:
    """In none it begins before it was good in all of the wave before for so long; and it is not late."""
    fleet = Fleet()
    fleet.run(THROUGH)
    for before, wave in pairwise(WAVES):
        proved = max(fleet.good_since(name, A) or float("inf") for name in before) + SECONDS
        for name in wave:
            (began,) = fleet.started(name, A)
            assert proved <= began <= proved + 1


def test_a_failure_in_a_wave_stops_those_after_it() -> None:
    """Which say where it failed; its wave goes on, as nothing stands before that; and the fix reaches all."""
    fleet = Fleet()
    fleet.run(THROUGH)
    fleet.clusters["cluster-13"].sick = True
    fleet.push(B)
    fleet.run(2 * THROUGH)

    assert all(fleet.good_since(name, B) for name in WAVES[0])
    assert all(fleet.good_since(name, B) for name in WAVES[1] if name != "cluster-13")
    assert fleet.store.load("cluster-13").hold_of(B.digest) is not None
    for wave in WAVES[2:]:
        for name in wave:
            assert fleet.started(name, B) == []
            assert fleet.good_since(name, A) is not None
    third, fourth = (fleet.statuses[wave[0]].gates for wave in WAVES[2:4])
    assert [gate.verdict for gate in (*third, *fourth)] == [Verdict.CLOSED] * 2
    assert third[0].evidence.startswith("It is held in cluster-13: ")
    assert "cluster-20 wants it, and has not made it good" in fourth[0].evidence

    fleet.push(C)
    fleet.run(THROUGH)
    assert all(fleet.good_since(name, C) for name in fleet.names)


def test_a_proof_that_is_lost_while_others_wait_opens_nothing() -> None:
    """A commit is rolled back in the first wave while the second waits for its time to be over."""
    fleet = Fleet()
    fleet.run(THROUGH)
    fleet.push(B)
    fleet.run(30)
    proved = [name for name in WAVES[0] if fleet.good_since(name, B)]
    assert proved == WAVES[0]

    record = fleet.store.load("cluster-00")
    answer = commands.rollback(
        record,
        to=None,
        releases=fleet.store.good_releases("cluster-00"),
        actor="ada",
        reason="it is wrong",
        now=at(fleet.seconds),
    )
    assert isinstance(answer, commands.Accepted)
    fleet.passes.commit(record, answer.events)
    fleet.wake("cluster-00")
    fleet.run(THROUGH)
    assert fleet.good_since("cluster-00", A) is not None
    assert not any(fleet.started(name, B) for wave in WAVES[1:] for name in wave)
    assert any(isinstance(event, Good) for event in fleet.memory.events["cluster-00"])


# --- what people read --------------------------------------------------------------------------------------


class Pages:
    """The pages of the real application over a fleet, for one who may everything."""

    def __init__(self, fleet: Fleet, store: SqlStore, settings: Settings) -> None:
        """Make it of the read models over the store."""
        nothing: Any = None
        models = Models(
            settings=settings,
            explained=(),
            store=store,
            search=Search(store.database),
            sources=fleet,
            look=lambda name: fleet.clusters[name].observe(),
            doctor=dict,
            now=lambda: at(fleet.seconds),
            gating=fleet.gatings.of,
        )
        site = Site(
            environments=tuple(settings.environments),
            service=nothing,
            models=models,
            hub=fleet.hub,
            tokens=nothing,
            answers=nothing,
            ready=lambda: None,
            promotions=nothing,
            write=lambda _event: None,
            outbox=nothing,
        )
        render = pages.Renderer(now=lambda: at(fleet.seconds), strict=True)
        self._app = application.make(site, [pages.router(site, render)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stand where the guard does."""
        rights = RIGHTS[Role.ADMIN]
        scope["state"]["caller"] = Caller(
            name="ada", how="session", token="3f2a9c1b", rights=rights, environments=None
        )
        await self._app(scope, receive, send)

    def html(self, path: str) -> str:
        """A page, which must be a good one."""
        answer = ask(self, "GET", path, [("accept", "text/html")])
        assert answer.status == 200, answer.text
        assert Read.of(answer.text).complaints() == [], path
        return answer.text

    def rows(self, query: str = "") -> dict[str, str]:
        """What is read of each environment on the first page, in its order; beside the summary, as ""."""
        head, *found = re.split(r'(?=<li id="env-)', self.html(f"/{query}"))
        told = re.search(r'<p id="summary".*?</p>', head, re.DOTALL)
        assert told is not None
        rows = {row.partition('"env-')[2].partition('"')[0]: words(row) for row in found}
        return {"": words(told[0]), **rows}

    def environment(self, name: str) -> str:
        """What is read on the page of an environment, but for the whole policy, which every page has."""
        html = self.html(f"/env/{name}")
        return words(re.sub(r'<details id="policy">.*?</details>', "", html, flags=re.DOTALL))


def words(html: str) -> str:
    """What is read there, on one line."""
    return " ".join("".join(Read.of(html, is_part=True).text).split())


def settings_of_waves(folder: Path) -> Settings:
    """The settings file of it: every environment from one template."""

    def one(name: str, before: list[str]) -> dict[str, Any]:
        gates = {"gates": {"requires": dict.fromkeys(before, f"{SECONDS:g}s")}} if before else {}
        cluster = {"address": f"http://ray-{name}:8265"}
        return {"repository": "configs", "branch": "main", "path": "serve", "cluster": cluster, **gates}

    text = {
        "repositories": {"configs": {"url": "https://git.example.com/configs.git"}},
        "environments": {name: one(name, before) for before, wave in pairwise([[], *WAVES]) for name in wave},
    }
    return read(folder / "deployer.yaml", yaml.safe_dump(text, sort_keys=False))


A_IS = f'{A.revision.short} "{A.revision.subject}"'
B_IS = f'{B.revision.short} "{B.revision.subject}"'
FAULT = "OSError: [Errno 28] No space left on device"
WAITS = f"{B_IS} waits for the gate requires."


@pytest.mark.timeout(600)
def test_a_failure_in_a_wave_and_what_it_stops_are_read_in_the_pages(tmp_path: Path) -> None:
    """Where it failed and why, who waits for that, and that nobody does once it is mended."""
    settings = settings_of_waves(tmp_path)
    rules = {name: gate_rules(settings, name) for name in settings.environments}
    with closing(SqlStore.open(tmp_path / "deployer.db")) as store:
        fleet = Fleet(store, rules)
        shown = Pages(fleet, store, settings)
        fleet.run(300)
        assert shown.rows()[""] == "50 environments: 50 healthy."

        fleet.clusters["cluster-13"].sick = True
        fleet.push(B)
        fleet.run(4 * SECONDS)

        told, *rows = shown.rows().items()
        assert told == ("", "50 environments: 1 held, 30 waiting, 19 healthy.")
        third_to_fifth = [name for wave in WAVES[2:] for name in wave]
        others = [name for wave in WAVES[:2] for name in wave if name != "cluster-13"]
        assert [name for name, _ in rows] == ["cluster-13", *third_to_fifth, *others]
        read_of = dict(rows)
        for name in others:
            assert f"{name} HealthySyncedauto {B.revision.short} {B.revision.subject} Ada" in read_of[name]
            assert "Why?" not in read_of[name]
        assert (
            f"cluster-13 HealthyOutOfSyncheld: rolled back from {B.revision.short}" in read_of["cluster-13"]
        )
        assert f"(fruit / D: {FAULT}) and is held. {A_IS} is live. Push a fix" in read_of["cluster-13"]
        for number, wave in enumerate(WAVES[2:], start=2):
            first = WAVES[number - 1][0]
            stuck = f"{first} wants it, and has not made it good"
            why = "It is held in cluster-13:" if number == 2 else stuck
            for name in wave:
                stands = f"{name} HealthyOutOfSyncwaiting {A.revision.short} {A.revision.subject} Ada"
                assert stands in read_of[name]
                assert f"git wants {B.revision.short} {B.revision.subject}" in read_of[name]
                assert f"{WAITS} {why}" in read_of[name]
                assert (FAULT in read_of[name]) is (number == 2)
                assert "#2" not in read_of[name]
        assert list(shown.rows("?q=held")) == ["", "cluster-13"]
        assert list(shown.rows("?q=waiting")) == ["", *third_to_fifth]

        good = shown.environment("cluster-00")
        assert f"{B_IS} is live. Release Live {B.revision.short}" in good
        assert "Why is it like this? Git wants what is live: wait." in good
        after = shown.environment("cluster-10")
        assert f"#2 deploy good {B.revision.short} {B.revision.subject}" in after
        failed = shown.environment("cluster-13")
        assert f"{B.revision.short} failed at " in failed
        assert "Why is it not deploying? What git wants is held: wait." in failed
        assert f"#2 deploy failed {B.revision.short} {B.revision.subject}code: fruit / D: {FAULT}" in failed
        assert f"closed held {B.revision.short} failed at " in failed
        for name, why in (
            ("cluster-20", "It is held in cluster-13: "),
            ("cluster-30", "cluster-20 wants it,"),
            ("cluster-40", "cluster-30 wants it,"),
        ):
            waiting = shown.environment(name)
            assert "Why is it not deploying? A gate is closed: wait until it opens" in waiting
            assert f"{WAITS} {why}" in waiting
            assert f"closed requires {why}" in waiting
            assert "closed held upstream The same config failed in cluster-13, where it is held: " in waiting
            assert f"#1 deploy good {A.revision.short}" in waiting
            assert "#2" not in waiting

        fleet.push(C)
        fleet.run(300)
        assert shown.rows()[""] == "50 environments: 50 healthy."
        assert f'{C.revision.short} "{C.revision.subject}" is live.' in shown.environment("cluster-40")
