"""The read models over a real store on disk: what the API and the pages show."""

from __future__ import annotations

import json
import random
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from deployer.adapters.serve import ServeCluster
from deployer.adapters.store import SqlStore
from deployer.adapters.store.filters import EventFilter
from deployer.adapters.store.search import Search
from deployer.core.errors import Problem as Fault
from deployer.core.events import (
    Cancelled,
    Checked,
    Failed,
    LogKept,
    LogSource,
    Paused,
    RetryAsked,
    RollbackAsked,
    Seen,
)
from deployer.core.history import to_json
from deployer.core.redact import mask
from deployer.core.scrub import REDACTED
from deployer.core.status import status, view
from deployer.core.types import Absent, Check, Desired, Invalid, NotRead, Policy, Rewritten, Unverified
from deployer.settings import explained
from deployer.web.models import Models
from deployer.web.problems import Problem
from tests.contract.histories import Batch, failing, good, play, rollback, started, story
from tests.support import large_store
from tests.support.build import at, desired, release, revision, running
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_ray_http import FakeRay
from tests.support.settings_files import NO_ENV, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from deployer.adapters.store.reader import StoredEvent
    from deployer.core.history import Entry
    from deployer.core.live import Observation
    from deployer.core.record import Record
    from deployer.core.types import Release, Wanted

CANARY = large_store.SECRET


class Git:
    """What git says, as the threads that follow it publish it."""

    def __init__(self) -> None:
        """It was not read yet."""
        self.says: dict[str, Wanted] = {}

    def wanted(self, environment: str) -> Wanted:
        """What it wants."""
        return self.says.get(environment, NotRead(why="the first look at repository configs is under way"))


@dataclass
class Site:
    """A store, what git says, a cluster, and the models over them."""

    store: SqlStore
    git: Git
    models: Models
    ray: FakeRay
    path: Path

    def publish(
        self,
        environment: str,
        wanted: Wanted | None = None,
        live: Observation | None = None,
        second: float = 900,
    ) -> None:
        """Publish the status, as a pass does at its end."""
        record = self.store.load(environment)
        cluster = live or running(record.good or release("one"))
        seen = status(wanted or self.git.wanted(environment), cluster, record, at(second))
        self.store.publish(environment, view(seen), at(second))


def settings_of(names: list[str], address: str) -> str:
    """Settings with these environments, all on one cluster."""
    return yaml.safe_dump(
        {
            "repositories": {"configs": {"url": "https://git.example.com/configs.git"}},
            "environments": {
                name: {
                    "repository": "configs",
                    "branch": "main",
                    "path": name,
                    "cluster": {"address": address},
                }
                for name in names
            },
        },
        sort_keys=False,
    )


def standing(store: SqlStore, path: Path, names: list[str], ray: FakeRay, now: datetime) -> Site:
    """A site over a store that is there."""
    file = path / "deployer.yaml"
    settings = read(file, settings_of(names, ray.address))
    cluster = ServeCluster(ray.address, token_file=None, ca_file=None, serve_address=None)
    git = Git()

    def look(_environment: str) -> Observation:
        return cluster.observe(resources=True)

    models = Models(
        settings=settings,
        explained=explained(settings, file, NO_ENV),
        store=store,
        search=Search(store.database),
        sources=git,
        look=look,
        doctor=lambda: {"findings": []},
        now=lambda: now,
    )
    return Site(store=store, git=git, models=models, ray=ray, path=path)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """One with two environments that have no history."""
    with (
        FakeRay(FakeCluster(), lambda _arrival, _moment: True) as ray,
        closing(SqlStore.open(tmp_path / "deployer.db")) as store,
    ):
        yield standing(store, tmp_path, ["staging", "production"], ray, at(1000))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One with 22 environments and some 14 rollouts of each, which nobody changes."""
    path = tmp_path_factory.mktemp("old")
    names = large_store.make(path / "deployer.db", environments=22, rollouts=14, seed=4)
    with (
        FakeRay(FakeCluster(), lambda _arrival, _moment: True) as ray,
        closing(SqlStore.open(path / "deployer.db")) as store,
    ):
        yield standing(store, path, names, ray, large_store.END)


# --- the generator -----------------------------------------------------------------------------------------


def test_the_made_up_store_is_one(old: Site) -> None:
    """Its chains are whole, its records are the folds, and it holds what was asked for."""
    entries = old.store.history(limit=10_000)
    names = {entry.environment for entry in entries}

    assert len(names) == 22
    assert len(entries) >= 22 * 14 * 0.9
    assert {entry.kind.value for entry in entries} == {"deploy", "rollback", "heal", "restore"}
    assert {entry.result.value for entry in entries} >= {"good", "failed", "superseded", "cancelled"}
    old.store.check()
    for name in names:
        assert old.store.verify(name) is None


# --- environments --------------------------------------------------------------------------------------


def test_an_environment_that_nobody_looked_at_is_there_all_the_same(site: Site) -> None:
    """With every field, and in the order of the settings."""
    first, second = site.models.environments(None)

    assert [first["environment"], second["environment"]] == ["staging", "production"]
    assert (first["health"], first["bars"], first["observed_at"]) == ("Unknown", [], None)
    assert "not looked" in first["message"]


def test_environments_are_those_that_may_be_seen(site: Site) -> None:
    """And none where none may be."""
    assert [one["environment"] for one in site.models.environments({"production"})] == ["production"]
    assert site.models.environments(frozenset()) == []


def test_what_is_shown_is_what_was_published_last(site: Site) -> None:
    """A status and the bars are read anew once there is something newer, whoever wrote it."""
    record = story(site.store, site.store.load("staging"))
    site.publish("staging", desired(release("one")))
    before = site.models.environments({"staging"})[0]
    assert [(bar["id"], bar["kind"], bar["result"]) for bar in before["bars"]] == [
        ("staging#1", "deploy", "good"),
        ("staging#2", "deploy", "failed"),
        ("staging#3", "rollback", "good"),
    ]
    assert before["observed_at"] == "2026-11-22T10:57:00.000Z"

    with closing(SqlStore.open(site.path / "deployer.db")) as another:
        record = another.commit(record, [started(record, release("four"))])
    flying = site.models.environments(None)[0]["bars"][-1]
    assert (flying["result"], flying["took_seconds"]) == ("in_progress", None)

    assert record.rollout is not None
    end = record.rollout.started_at + timedelta(seconds=7)
    site.store.commit(record, [Cancelled(at=end, rollout="staging#4")])
    site.publish("staging", Absent(why="There is no branch main."), second=901)
    after, other = site.models.environments(None)
    assert (after["bars"][-1]["result"], after["bars"][-1]["took_seconds"]) == ("cancelled", 7.0)
    assert (after["mode"], other["bars"]) == ("orphaned", [])
    # Nothing has changed since, so that what was made of it can be kept.
    assert site.models.environments(None)[0] is after


def test_bars_are_the_last_twenty_rollouts(old: Site) -> None:
    """Of each environment, oldest first."""
    for shown in old.models.environments(None):
        entries = old.store.history(shown["environment"], limit=20)[::-1]
        assert [bar["id"] for bar in shown["bars"]] == [entry.id for entry in entries]
        assert [bar["took_seconds"] for bar in shown["bars"]] == [entry.took_seconds for entry in entries]
        told = [to_json(entry)["started_at"] for entry in entries]
        assert [bar["started_at"] for bar in shown["bars"]] == told


def test_one_environment_with_all_that_its_page_needs(site: Site) -> None:
    """Status, newest rollouts, good releases, gates, and what git says."""
    story(site.store, site.store.load("staging"))
    site.git.says["staging"] = desired(release("two"))
    site.publish("staging")
    found = site.models.environment("staging")

    assert found["mode"] == "held"
    assert [one["id"] for one in found["rollouts"]] == ["staging#3", "staging#2", "staging#1"]
    assert [(one["rollout"], one["is_live"]) for one in found["releases"]] == [
        ("staging#3", True),
        ("staging#1", True),
    ]
    assert found["git"]["digest"] == release("two").digest
    assert found["git"]["problem"] is None
    assert [bar["id"] for bar in found["bars"]] == ["staging#1", "staging#2", "staging#3"]


@pytest.mark.parametrize(
    ("wanted", "commit", "problem"),
    [
        (NotRead(why="git has not answered"), None, "git has not answered"),
        (Absent(why="There is no branch main."), None, "There is no branch main."),
        (
            Invalid(revision=revision("x"), problems=(Fault(file="f", line=1, column=1, message="bad key"),)),
            revision("x").commit,
            "cannot be deployed: f:1",
        ),
        (
            Unverified(revision=revision("x"), commit="x", why="nobody signed it"),
            revision("x").commit,
            "nobody signed it",
        ),
        (Rewritten(revision=revision("x"), why="it was rewritten"), revision("x").commit, "it was rewritten"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_git_says_why_nothing_can_be_deployed(
    site: Site, wanted: Wanted, commit: str | None, problem: str
) -> None:
    """As one sentence beside the commit, and the gate of git is closed."""
    site.git.says["staging"] = wanted
    site.publish("staging")
    found = site.models.environment("staging")

    assert (found["git"]["revision"], found["git"]["digest"]) == (commit, None)
    assert problem in found["git"]["problem"]
    gate = found["gates"][0]
    assert (gate["name"], gate["verdict"]) == ("git", "closed")
    with pytest.raises(Problem) as refused:
        site.models.plan("staging")
    assert refused.value.status == 409


# --- gates ---------------------------------------------------------------------------------------------


def closed(site: Site, environment: str = "staging") -> dict[str, str]:
    """The closed gates, with their evidence."""
    return {
        gate["name"]: gate["evidence"]
        for gate in site.models.gates(environment)
        if gate["verdict"] == "closed"
    }


def test_every_gate_is_told_open_or_closed(site: Site) -> None:
    """In one order, with evidence for each."""
    story(site.store, site.store.load("staging"))
    site.git.says["staging"] = desired(release("one"))
    site.publish("staging")
    gates = site.models.gates("staging")

    assert [gate["name"] for gate in gates] == [
        "git",
        "cluster",
        "paused",
        "held",
        "held upstream",
        "in flight",
        "policy",
    ]
    assert {gate["verdict"] for gate in gates} == {"open"}
    assert all(gate["evidence"].endswith(".") and gate["next_check"] is None for gate in gates)


def test_the_gates_that_the_record_closes(site: Site) -> None:
    """Paused until a time, held here, held in another environment, another rollout in flight."""
    record = story(site.store, site.store.load("staging"))
    story(site.store, site.store.load("production"))
    pause = Paused(at=at(40), actor="ada (local)", reason="demo", until=at(5000))
    record = site.store.commit(record, [pause])
    site.git.says |= {"staging": desired(release("two")), "production": desired(release("one"))}
    site.publish("staging")
    found = {gate["name"]: gate for gate in site.models.gates("staging")}

    assert closed(site).keys() == {"paused", "held", "held upstream"}
    assert found["paused"]["next_check"] == "2026-11-22T12:05:20.000Z"
    assert found["held"]["next_check"] is None
    assert "production" in found["held upstream"]["evidence"]

    site.git.says["staging"] = desired(release("five"))
    site.store.commit(record, [started(record, release("four"))])
    assert closed(site).keys() == {"paused", "in flight"}


def test_a_cluster_that_is_not_seen_and_a_policy_that_waits(site: Site) -> None:
    """What only a look can tell is what the last pass has published."""
    site.git.says["staging"] = desired(release("one"))
    assert closed(site).keys() == {"cluster"}

    record = site.store.load("staging")
    record = play(site.store, record, good(record, release("one", "a", "b", "c")))
    site.store.commit(record, [Seen(at=at(60), release=release("two", "a"))])
    site.git.says["staging"] = desired(release("two", "a"))
    assert record.good is not None
    site.publish("staging", live=running(record.good))
    (found,) = closed(site).items()
    assert found[0] == "policy"
    assert "it removes b, c" in found[1]


# --- history ---------------------------------------------------------------------------------------------


def everything(old: Site) -> list[Entry]:
    """All rollouts, newest first."""
    return old.store.history(limit=10_000)


def sample(old: Site) -> Entry:
    """One of them, that somebody wants to find."""
    return everything(old)[100]


ROLLOUT_FILTERS: list[tuple[str, Callable[[Entry], dict[str, Any]], Callable[[Entry, Entry], bool]]] = [
    ("none", lambda _: {}, lambda _, __: True),
    ("environment", lambda e: {"environment": e.environment}, lambda e, x: x.environment == e.environment),
    ("kind", lambda _: {"kind": "rollback"}, lambda _, x: x.kind.value == "rollback"),
    ("result", lambda _: {"result": "superseded"}, lambda _, x: x.result.value == "superseded"),
    ("author", lambda e: {"author": e.release.author}, lambda e, x: x.release.author == e.release.author),
    (
        "name",
        lambda e: {"author": e.release.author.partition(" <")[0]},
        lambda e, x: x.release.author == e.release.author,
    ),
    ("no name", lambda _: {"author": "Person"}, lambda _, __: False),
    ("wildcard", lambda _: {"author": "%"}, lambda _, __: False),
    ("SQL", lambda _: {"revision": "' OR 1=1 --"}, lambda _, __: False),
    ("digest", lambda e: {"digest": e.release.digest}, lambda e, x: x.release.digest == e.release.digest),
    (
        "short digest",
        lambda e: {"digest": e.release.digest[7:19]},
        lambda e, x: x.release.digest == e.release.digest,
    ),
    (
        "revision",
        lambda e: {"revision": e.release.revision[:7].upper()},
        lambda e, x: x.release.revision == e.release.revision,
    ),
    ("since", lambda e: {"since": e.started_at}, lambda e, x: x.started_at >= e.started_at),
    ("until", lambda e: {"until": e.started_at}, lambda e, x: x.started_at < e.started_at),
    (
        "several",
        lambda e: {"environment": e.environment, "kind": "deploy", "result": "good", "since": e.started_at},
        lambda e, x: (
            (x.environment, x.kind.value, x.result.value) == (e.environment, "deploy", "good")
            and x.started_at >= e.started_at
        ),
    ),
]


@pytest.mark.parametrize(
    ("arguments", "fits"), [pytest.param(*one[1:], id=one[0]) for one in ROLLOUT_FILTERS]
)
def test_rollouts_are_found_by_what_is_asked(
    old: Site, arguments: Callable[[Entry], dict[str, Any]], fits: Callable[[Entry, Entry], bool]
) -> None:
    """Exactly those that a look at every single one finds, newest first."""
    entry = sample(old)
    expected = [to_json(one) for one in everything(old) if fits(entry, one)]
    page = old.models.rollouts(environments=None, limit=10_000, **arguments(entry))

    assert page == {"items": expected, "next": None}


def test_rollouts_are_those_of_environments_that_may_be_seen(old: Site) -> None:
    """Whatever is asked for."""
    mine = {"env-003", "env-004"}
    found = old.models.rollouts(environments=mine, limit=10_000)["items"]
    assert {one["environment"] for one in found} == mine
    assert old.models.rollouts(environments=mine, environment="env-005")["items"] == []
    assert old.models.rollouts(environments=frozenset())["items"] == []


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "", "9" * 19, "\u0661"])
def test_what_is_no_cursor_is_refused(old: Site, cursor: str) -> None:
    """It came from no page."""
    asks: list[Callable[[], object]] = [
        lambda: old.models.rollouts(environments=None, before=cursor),
        lambda: old.models.audit(environments=None, before=cursor),
        lambda: old.models.audit(environments=None, after=cursor),
        lambda: old.models.releases("env-001", before=cursor),
    ]
    for ask in asks:
        with pytest.raises(Problem) as refused:
            ask()
        assert refused.value.status == 422


@pytest.mark.parametrize("seed", range(3))
def test_paging_gives_each_old_one_once_while_new_ones_come(site: Site, seed: int) -> None:
    """History, releases and log, whatever is written between the pages, and however long they are."""
    chance = random.Random(seed)
    count = 0

    def at_once(record: Record, batches: Iterable[Batch]) -> Record:
        return site.store.commit(record, [event for batch in batches for event in batch])

    def grow() -> None:
        nonlocal count
        for name in chance.sample(["staging", "production"], chance.randrange(3)):
            count += 1
            record = site.store.load(name)
            what = release(f"{seed}-{count}")
            batches = failing if record.good is not None and chance.random() < 0.3 else good
            record = at_once(record, batches(record, what))
            if batches is failing:
                at_once(record, rollback(record))

    def walk(ask: Callable[[str | None, int], dict[str, Any]]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = ask(cursor, chance.randrange(1, 7))
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found
            grow()

    for _ in range(12):
        grow()
    models = site.models
    lists: dict[str, tuple[str, Callable[[str | None, int], dict[str, Any]]]] = {
        "rollouts": ("id", lambda c, n: models.rollouts(environments=None, before=c, limit=n)),
        "good ones": (
            "id",
            lambda c, n: models.rollouts(environments={"staging"}, result="good", before=c, limit=n),
        ),
        "releases": ("rollout", lambda c, n: models.releases("staging", before=c, limit=n)),
        "log": ("id", lambda c, n: models.audit(environments=None, before=c, limit=n)),
        "log of one": (
            "id",
            lambda c, n: models.audit(environments=None, actor="deployer", before=c, limit=n),
        ),
    }
    for name, (key, ask) in lists.items():
        before = [item[key] for item in ask(None, 10_000)["items"]]
        found = [item[key] for item in walk(ask)]
        assert found == before, name
        grow()


def test_the_log_can_be_followed_while_it_grows(site: Site) -> None:
    """From an event on, oldest first: each later one once, in order, also those that come meanwhile."""
    play(site.store, site.store.load("staging"), good(site.store.load("staging"), release("one")))
    found: list[int] = []
    after = "0"
    for number in range(6):
        page = site.models.audit(environments=None, after=after, limit=4)
        found += [item["id"] for item in page["items"]]
        after = str(found[-1])
        if number < 3:
            record = site.store.load("production")
            play(site.store, record, good(record, release(f"p{number}")))

    everything = [stored.id for stored in site.store.events(limit=1000)]
    assert found == everything[: len(found)]
    assert len(found) == 24


def test_releases_are_what_became_good(old: Site) -> None:
    """Newest first; what is live is marked."""
    for name in ("env-000", "env-005"):
        expected = [
            entry
            for entry in old.store.history(name, limit=1000)
            if entry.result.value == "good" and entry.kind.value in {"deploy", "rollback"}
        ]
        found = old.models.releases(name, limit=1000)
        record = old.store.load(name)
        assert record.good is not None
        assert [one["rollout"] for one in found["items"]] == [entry.id for entry in expected]
        live = {one["digest"] for one in found["items"] if one["is_live"]}
        assert live == {record.good.digest}


# --- one rollout -----------------------------------------------------------------------------------------


def test_a_rollout_that_failed_and_was_answered(site: Site) -> None:
    """From when git wanted it to the rollback: timeline, evidence, changes, and that it is no way back."""
    story(site.store, site.store.load("staging"))
    found = site.models.rollout("staging#2")
    assert found is not None

    assert [(step["event"], step["phase"]) for step in found["timeline"]] == [
        ("seen", None),
        ("started", "applying"),
        ("applied", "applying"),
        ("failed", "applying"),
        ("held", None),
        ("started", None),
    ]
    assert found["timeline"][-1]["says"].startswith("Rollback to fe05bcd")
    assert found["detail"] == "Traceback ..."
    changed = [(line["option"], line["change"]) for line in found["changes"]]
    assert changed == [("args.version", '"one" -> "two"')]
    assert found["against"].startswith("staging#1 fe05bcd")
    assert found["config_digest"] == release("two").digest
    assert yaml.safe_load(found["config"]) == mask(release("two").config.body(), str)
    assert found["can_roll_back_to"] is False
    assert found["followed_by"] == "staging#3"


def test_the_first_rollout_is_compared_with_nothing(site: Site) -> None:
    """Everything in it is new."""
    record = play(site.store, site.store.load("staging"), good(site.store.load("staging"), release("one")))
    found = site.models.rollout("staging#1")
    assert found is not None
    assert (found["against"], [line["sign"] for line in found["changes"]]) == (None, ["+"])
    # It is what runs.
    assert found["can_roll_back_to"] is False

    play(site.store, record, good(record, release("two")))
    again = site.models.rollout("staging#1")
    assert again is not None
    assert again["can_roll_back_to"] is True


def test_checks_and_a_kept_log(site: Site) -> None:
    """Attempts are counted, and the last answer is told."""
    policy = Policy(checks=(Check(app="fruit", path="/fruit/healthz"),))
    record = site.store.load("staging")
    source = LogSource(replica="r1", node_id="n1", path="serve/r1.log")
    begun = replace(started(record, release("one")), policy=policy)
    batch = good(record, release("one"))
    for events in ([batch[0][0], begun], *batch[2:5]):
        record = site.store.commit(record, events)
    for passed in (False, True):
        answer = Checked(at=at(9), rollout="staging#1", check=0, passed=passed, message="GET: 503", ms=2.5)
        record = site.store.commit(record, [answer])
    found = site.models.rollout("staging#1")
    assert found is not None
    (check,) = found["checks"]
    assert check == {
        "app": "fruit",
        "path": "/fruit/healthz",
        "passed": True,
        "attempts": 2,
        "message": "GET: 503",
        "ms": 2.5,
    }
    assert [phase["name"] for phase in found["phases"]] == ["applying", "stabilize", "check", "soak"]
    assert found["phases"][-1]["finished_at"] is None

    other = site.store.load("production")
    *begun_other, (ended, _held) = failing(other, release("two"))
    assert isinstance(ended, Failed)
    failed = replace(ended, failure=replace(ended.failure, log=source))
    other = play(site.store, other, [*begun_other, (failed,)])
    site.store.commit(other, [LogKept(at=at(9), rollout="production#1", source=source, text="the end")])
    kept = site.models.rollout("production#1")
    assert kept is not None
    assert kept["log"] == "the end"


def test_a_rollout_that_is_not_there(site: Site) -> None:
    """None, and no error."""
    assert site.models.rollout("staging#1") is None
    assert site.models.rollout("' OR 1=1 --") is None


def test_every_rollout_of_the_old_store_can_be_told(old: Site) -> None:
    """Each has a timeline, phases that follow one another, and a config; and none shows a secret."""
    for entry in everything(old)[:60]:
        found = old.models.rollout(entry.id)
        assert found is not None
        text = json.dumps(found)
        assert CANARY not in text
        assert REDACTED in found["config"]
        assert found["phases"][0]["name"] == "applying"
        ends = [phase["finished_at"] for phase in found["phases"]]
        assert ends[:-1] == [phase["started_at"] for phase in found["phases"][1:]]
        assert ends[-1] == to_json(entry)["finished_at"]


# --- the log -----------------------------------------------------------------------------------------------


def log(old: Site) -> list[StoredEvent]:
    """All events, newest first."""
    return old.store.events(limit=100_000)[::-1]


def about(stored: StoredEvent) -> Release | None:
    """The release that an event outside a rollout is about."""
    return stored.event.release if isinstance(stored.event, Seen | RollbackAsked) else None


EVENT_FILTERS: list[tuple[str, dict[str, Any], Callable[[StoredEvent], bool]]] = [
    ("none", {}, lambda _: True),
    ("environment", {"environment": "env-003"}, lambda x: x.environment == "env-003"),
    ("actor", {"actor": "deployer"}, lambda x: x.event.actor == "deployer"),
    ("author", {"actor": "Person 07"}, lambda x: x.event.actor.startswith("Person 07 <")),
    ("person", {"actor": "person-07"}, lambda x: x.event.actor == "person-07 (local)"),
    ("wildcard", {"actor": "%"}, lambda _: False),
    ("rare type", {"type": "paused"}, lambda x: x.event.type == "paused"),
    ("type", {"type": "seen"}, lambda x: x.event.type == "seen"),
    ("no type", {"type": "x' OR 1=1"}, lambda _: False),
    ("rollout", {"rollout": "env-003#4"}, lambda x: getattr(x.event, "rollout", "") == "env-003#4"),
    (
        "type and actor",
        {"type": "started", "actor": "Person 07"},
        lambda x: x.event.type == "started" and x.event.actor.startswith("Person 07 <"),
    ),
    (
        "environment and type",
        {"environment": "env-003", "type": "held"},
        lambda x: (x.environment, x.event.type) == ("env-003", "held"),
    ),
    (
        "rollout and type",
        {"rollout": "env-003#4", "type": "good"},
        lambda x: (getattr(x.event, "rollout", ""), x.event.type) == ("env-003#4", "good"),
    ),
]


@pytest.mark.parametrize(("arguments", "fits"), [pytest.param(*one[1:], id=one[0]) for one in EVENT_FILTERS])
def test_events_are_found_by_what_is_asked(
    old: Site, arguments: dict[str, Any], fits: Callable[[StoredEvent], bool]
) -> None:
    """Exactly those that a look at every single one finds; in both directions, and of a period too."""
    everything = log(old)
    expected = [stored.id for stored in everything if fits(stored)]
    ask = old.models.audit
    assert [one["id"] for one in ask(environments=None, limit=100_000, **arguments)["items"]] == expected

    middle = everything[len(everything) // 2]
    later = ask(environments=None, limit=100_000, after=str(middle.id), **arguments)["items"]
    assert [one["id"] for one in later] == [number for number in expected[::-1] if number > middle.id]

    for period in (timedelta(hours=8), timedelta(days=500)):
        since, until = middle.event.at - period, middle.event.at
        inside = [x.id for x in everything if fits(x) and since <= x.event.at < until]
        found = ask(environments=None, limit=100_000, since=since, until=until, **arguments)["items"]
        assert [one["id"] for one in found] == inside

    mine = {"env-003", "env-007"}
    seen = ask(environments=mine, limit=100_000, **arguments)["items"]
    assert [one["id"] for one in seen] == [x.id for x in everything if fits(x) and x.environment in mine]


def test_a_release_is_found_in_the_log_wherever_it_was(old: Site) -> None:
    """By its commit or its digest, also abbreviated: what is about it, and all of its rollouts."""
    entry = sample(old)
    for name, value in (("revision", entry.release.revision[:7]), ("digest", entry.release.digest)):
        rollouts = {
            one.id for one in everything(old) if value in (one.release.digest, one.release.revision[:7])
        }
        expected = [
            x.id
            for x in log(old)
            if getattr(x.event, "rollout", "") in rollouts
            or ((of := about(x)) is not None and value in (of.digest, of.revision.commit[:7]))
        ]
        arguments: dict[str, Any] = {name: value}
        assert len(expected) >= 3
        found = old.models.audit(environments=None, limit=1000, **arguments)["items"]
        assert [one["id"] for one in found] == expected
        both = old.models.audit(environments=None, rollout=entry.id, **arguments)["items"]
        assert {one["rollout"] for one in both} == {entry.id}


def test_more_environments_than_are_looked_up_one_by_one(old: Site) -> None:
    """A large permission is a filter, and gives the same."""
    mine = {f"env-{number:03}" for number in range(1, 22)}
    found = old.models.audit(environments=mine, limit=300)["items"]
    assert [one["id"] for one in found] == [x.id for x in log(old) if x.environment in mine][:300]


def test_a_long_period_gives_the_same_as_a_short_one(old: Site) -> None:
    """Whichever way it is looked for."""
    search, walking = Search(old.store.database), Search(old.store.database, short=5)
    middle = log(old)[500].event.at
    for wanted in (
        EventFilter(until=middle),
        EventFilter(since=middle),
        EventFilter(until=middle, type="seen"),
        EventFilter(until=middle, actor="deployer"),
        EventFilter(until=middle, actor="Person 07"),
        EventFilter(until=middle, environment="env-003"),
        EventFilter(until=middle - timedelta(days=5000)),
    ):
        assert walking.events(wanted, limit=300) == search.events(wanted, limit=300)


def test_clocks_that_go_back_hide_nothing(site: Site) -> None:
    """An event of a period is found, also where a later one has an earlier time."""
    record = site.store.load("staging")
    for number, second in enumerate((0, 500, 100, 600, 50)):
        record = site.store.commit(record, [Paused(at=at(second), actor="ada", reason=f"{number}")])
    asks: list[tuple[dict[str, Any], list[str]]] = [
        ({"since": at(90), "until": at(550)}, ["2", "1"]),
        ({"until": at(90)}, ["4", "0"]),
        ({"since": at(500)}, ["3", "1"]),
    ]
    for arguments, expected in asks:
        found = site.models.audit(environments=None, **arguments)["items"]
        assert [one["reason"] for one in found] == expected


def test_an_item_of_the_log(site: Site) -> None:
    """Its place in the chain, who, why, and the sentence."""
    record = story(site.store, site.store.load("staging"))
    digest = release("two").digest
    site.store.commit(record, [RetryAsked(at=at(50), actor="ada (local)", reason="again", digest=digest)])
    (item,) = site.models.audit(environments=None, limit=1)["items"]
    stored = site.store.events(limit=1000)[-1]

    assert item == {
        "id": stored.id,
        "environment": "staging",
        "sequence": 17,
        "type": "retry_asked",
        "at": "2026-11-22T10:42:50.000Z",
        "actor": "ada (local)",
        "reason": "again",
        "rollout": None,
        "hash": stored.hash,
        "says": f"One more try of {release('two').digest[:19]} is wanted.",
    }
    by_digest = site.models.audit(environments=None, digest=release("two").digest)["items"]
    assert by_digest[0]["id"] == stored.id


# --- plans -----------------------------------------------------------------------------------------------


def test_the_plan_of_what_git_wants(site: Site) -> None:
    """The same shape as the command's, against the cluster."""
    record = play(site.store, site.store.load("staging"), good(site.store.load("staging"), release("one")))
    assert record.good is not None
    url = f"{site.ray.address}/api/serve/applications/"
    assert requests.put(url, json=record.good.config.body(), timeout=10).status_code == 200
    site.git.says["staging"] = desired(release("two"))
    found = site.models.plan("staging")

    assert found["config_digest"] == release("two").digest
    assert found["wanted"] == 'ad782ec "commit two"'
    assert found["against"].startswith("live on http://127.0.0.1:")
    assert found["change"] + found["add"] == 1
    assert found["gates"] == []


def test_the_plan_of_a_way_back(site: Site) -> None:
    """Named as for `rollback --to`; a name that fits nothing lists what there is."""
    record = story(site.store, site.store.load("staging"))
    record = play(site.store, record, good(record, release("four")))
    for name in ("staging#1", "1", release("one").digest):
        found = site.models.plan("staging", to=name)
        assert found["config_digest"] == release("one").digest
        assert found["gates"] == []
    with pytest.raises(Problem, match=r"has no good release 'x'\. It has these") as refused:
        site.models.plan("staging", to="x")
    assert refused.value.status == 404


def test_the_plan_says_where_the_same_config_failed(site: Site) -> None:
    """Only environments that ever wanted it are asked."""
    story(site.store, site.store.load("production"))
    site.git.says["staging"] = desired(release("two"))
    found = site.models.plan("staging")
    assert [gate["what"] for gate in found["gates"]] == ["held upstream"]


# --- numbers, doctor, settings ---------------------------------------------------------------------------


def test_the_numbers_of_each_environment(old: Site) -> None:
    """Of those that may be seen."""
    every = old.models.stats(environments=None, days=400)
    assert [one["environment"] for one in every] == [f"env-{n:03}" for n in range(22)]
    deploys = [
        entry
        for entry in old.store.history("env-003", limit=1000)
        if entry.kind.value == "deploy" and entry.result.value == "good"
    ]
    (mine,) = old.models.stats(environments={"env-003"}, days=400)
    assert mine["deployment_frequency"]["deploys"] == len(deploys)
    assert old.models.stats(environments={"env-003"}, environment="env-004") == []
    assert old.models.stats(environments={"env-003"}, days=400) == [mine]


def test_the_doctor_is_asked_once_by_many(site: Site) -> None:
    """Who comes meanwhile, or soon after, gets the same answer."""
    assert site.models.doctor() is site.models.doctor()


def test_the_settings_in_effect(site: Site) -> None:
    """With where each came from."""
    found = {one["key"]: (one["value"], one["origin"]) for one in site.models.settings()}
    assert found["environments.staging.branch"] == ("main", f"{site.path / 'deployer.yaml'}:7")
    assert found["environments.staging.sync"] == ("auto", "default")


def test_no_model_shows_a_secret(old: Site) -> None:
    """Everything that can be read, of an environment whose every config holds one."""
    name = "env-003"
    record = old.store.load(name)
    assert record.good is not None
    app = {**json.loads(record.good.config.text)["applications"][0], "args": {"of": "another"}}
    wanted = release("next", app)
    assert CANARY in wanted.config.text
    old.git.says[name] = Desired(release=wanted)
    models = old.models
    shown = [
        models.environments(None),
        models.environment(name),
        models.gates(name),
        models.rollouts(environments=None, limit=1000),
        models.releases(name),
        models.audit(environments=None, limit=5000),
        models.plan(name),
        models.plan(name, to=str(record.good_rollout)),
        models.stats(environments=None),
        models.settings(),
    ]
    assert all(CANARY not in json.dumps(one) for one in shown)
