"""`/metrics` of a running daemon: read over HTTP, as Prometheus does, while rollouts end well and badly."""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from deployer.adapters.store import SqlStore
from deployer.adapters.store.figures import Ended, Figures
from deployer.adapters.store.letters import Waiting
from deployer.core.events import Kind
from deployer.core.record import Record
from deployer.core.status import status
from deployer.core.tokens import Role
from deployer.engine.sources import Looks
from deployer.web.metrics import Metrics
from tests.support.build import (
    applied,
    at,
    desired,
    ended_well,
    failed,
    held,
    record_of,
    release,
    running,
    seen,
    started,
)
from tests.support.eventually import eventually
from tests.support.metered_site import NAMES, SECRET, MeteredSite, Scrape
from tests.support.outbox_rows import delivered, undelivered
from tests.support.prerequisites import require
from tests.support.promql import unknown
from tests.support.webhooks import signed
from tests.unit.metrics.test_contrib import LABELS, expressions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROLLOUTS = "deployer_rollouts_total"


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The daemon's log says nothing to a test."""
    with capture_logs():
        yield


@pytest.fixture
def site(tmp_path: Path) -> Iterator[MeteredSite]:
    """A site with one good commit, and no daemon yet."""
    made = MeteredSite(tmp_path)
    made.push()
    with closing(made.keys):
        yield made


def counts(site: MeteredSite, kind: str, result: str, count: float) -> Scrape | None:
    """A scrape in which so many rollouts of staging ended so."""
    found = site.scrape()
    value = found.value(ROLLOUTS, environment="staging", kind=kind, result=result)
    return found if value == count else None


def test_a_story_in_metrics(site: MeteredSite) -> None:
    """Good, bad, rolled back, held; rules and dashboard find all that they name, with its values."""
    with site.running():
        found = eventually(lambda: counts(site, "deploy", "good", 1), within=30)
        assert found.value("deployer_environment_held", environment="staging") == 0
        site.push("import_error:app")
        eventually(lambda: counts(site, "rollback", "good", 1), within=30)
        found = eventually(
            lambda: (
                one
                if ("staging", "held") in (one := site.scrape()).present("deployer_environment_mode")
                else None
            ),
            within=10,
        )
        known = site.metrics.families()

    assert ("staging", "Healthy") in found.present("deployer_environment_health")
    assert ("staging", "OutOfSync") in found.present("deployer_environment_sync")
    assert found.value(ROLLOUTS, environment="staging", kind="deploy", result="failed") == 1
    assert found.value("deployer_environment_held", environment="staging") == 1
    since = found.value("deployer_environment_held_timestamp_seconds", environment="staging")
    good = found.value("deployer_environment_last_good_timestamp_seconds", environment="staging")
    assert since
    assert good
    assert since < good <= time.time()
    labels = {"environment": "staging", "kind": "deploy", "result": "good"}
    assert found.value("deployer_rollout_duration_seconds_count", **labels) == 1
    assert found.value("deployer_cluster_age_seconds", environment="staging") is not None
    age = found.value("deployer_git_age_seconds", repository="configs")
    assert age is not None
    assert age < 10
    assert (found.value("deployer_git_looks_total", repository="configs", result="ok") or 0) > 1
    assert found.value("deployer_git_looks_total", repository="configs", result="failed") == 0
    assert (found.value("deployer_store_commit_duration_seconds_count") or 0) > 10
    assert (found.value("deployer_pass_duration_seconds_count", outcome="again") or 0) > 1
    assert (found.value("deployer_pass_lateness_seconds_count") or 0) > 1
    assert (found.value("deployer_store_size_bytes") or 0) > 10_000
    assert found.value("deployer_outbox_messages", target="log") == 0
    assert found.value("deployer_environments") == 2
    assert found.value("deployer_event_streams") == 3
    assert (found.value("process_resident_memory_bytes") or 0) > 1_000_000
    assert "a subject" not in found.text

    values = found.label_values()
    in_vain = {
        name: told
        for name, expression in expressions().items()
        if (told := list(unknown(expression, known, LABELS, values)))
    }
    assert in_vain == {}
    names = {name.removesuffix(suffix) for name in found.values for suffix in ("_bucket", "_sum", "_count")}
    there = {family.name for family in known} & (names | found.values.keys())
    sometimes = {"deployer_environment_rollout_start_timestamp_seconds"}
    # Of a log that is signed: tests/integration/test_anchored_daemon.py.
    sometimes |= {
        f"deployer_audit_{what}" for what in ("anchor_age_seconds", "store_fits", "uncovered_events")
    }
    assert {family.name for family in known} - there <= sometimes


def test_prometheus_has_nothing_to_say_of_the_format(site: MeteredSite) -> None:
    """Its own linter."""
    require(
        "promtool", shutil.which("promtool") is not None, "apt-get install --no-install-recommends prometheus"
    )
    with site.running():
        text = eventually(lambda: counts(site, "deploy", "good", 1), within=30).text
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_a_restart_goes_on_counting(site: MeteredSite) -> None:
    """From the first scrape on, before any pass: what the store has, and no durations."""
    with site.running():
        before = eventually(lambda: counts(site, "deploy", "good", 1), within=30)
    site.cluster.reachable = False
    with site.running():
        after = site.scrape()
        labels = {"environment": "staging", "kind": "deploy", "result": "good"}
        assert after.value(ROLLOUTS, **labels) == 1
        name = "deployer_rollout_last_end_timestamp_seconds"
        assert after.value(name, **labels) == before.value(name, **labels)
        assert after.value("deployer_environment_held", environment="staging") == 0
        assert after.value("deployer_rollout_duration_seconds_count", **labels) is None

        found = eventually(
            lambda: (
                one
                if ("staging", "Unknown") in (one := site.scrape()).present("deployer_environment_health")
                else None
            ),
            within=10,
        )
        assert (found.value("deployer_cluster_age_seconds", environment="staging") or 0) > 0
        assert (found.value("deployer_pass_duration_seconds_count", outcome="back_off") or 0) > 0


def test_who_may_read_them(site: MeteredSite) -> None:
    """Any token that may read; one for some environments gets those; without one, nothing."""
    with site.running():
        eventually(lambda: counts(site, "deploy", "good", 1), within=30)
        refused = site.get(role=None)
        assert refused.status_code == 401
        assert "staging" not in refused.text
        assert site.get(role=Role.APPROVER).status_code == 200

        found = site.scrape(environments=["production"])
        assert "staging" not in found.text
        assert found.value("deployer_environment_paused", environment="production") == 0
        assert found.value("deployer_git_age_seconds", repository="configs") is not None

        asked = site.scrape().values["deployer_http_requests_total"]
    assert asked[("method", "GET"), ("route", ""), ("status", "401")] == 1
    assert asked[("method", "GET"), ("route", "/metrics"), ("status", "200")] > 2
    assert len(asked) == 2


def test_webhooks_are_counted(site: MeteredSite) -> None:
    """By what became of them; those of nobody are one series."""
    body = b'{"ref": "refs/heads/main"}'
    with site.running(poll_seconds=3600):
        headers = signed("github", body, secret=SECRET, delivery="one", at=time.time())
        for _ in range(2):
            assert site.post("/hooks/configs", body, headers).status_code == 202
        wrong = signed("github", body, secret="x" * 32, delivery="two", at=time.time())
        assert site.post("/hooks/configs", body, wrong).status_code == 401
        for name in ("nobody", "somebody"):
            assert site.post(f"/hooks/{name}", body, headers).status_code == 401
        found = site.scrape()

    results = {
        (dict(labels)["repository"], dict(labels)["scheme"], dict(labels)["result"]): value
        for labels, value in found.values["deployer_webhooks_total"].items()
    }
    assert results == {
        ("configs", "github", "accepted"): 1,
        ("configs", "github", "repeated"): 1,
        ("configs", "github", "refused"): 1,
        ("", "", "refused"): 2,
    }


def test_looks_that_fail_are_counted(site: MeteredSite) -> None:
    """And git grows old meanwhile."""
    with site.running():
        eventually(lambda: counts(site, "deploy", "good", 1), within=30)
        site.repo.path.rename(site.repo.path.with_name("gone.git"))
        eventually(lambda: git(site, "looks_total", result="failed"), within=20)
        age = git(site, "age_seconds")
        assert eventually(lambda: git(site, "age_seconds") > age, within=10)


def git(site: MeteredSite, name: str, **labels: str) -> float:
    """What is told of the repository."""
    found = site.scrape().value(f"deployer_git_{name}", repository="configs", **labels)
    assert found is not None
    return found


# --- the store -------------------------------------------------------------------------------------------


class NeverLooked:
    """Sources at the moment of the start."""

    def looks(self, repository: str) -> Looks:
        """None has ended."""
        return Looks()


def metrics_of(path: Path, store: SqlStore, environments: tuple[str, ...] = NAMES) -> Metrics:
    """Metrics over a store, without a daemon."""
    return Metrics(
        environments=environments,
        repositories=["configs"],
        schemes={},
        sources=NeverLooked(),
        store=store,
        store_path=path,
        queue_depth=int,
        subscribers=int,
    )


def test_figures_are_those_of_the_store(tmp_path: Path) -> None:
    """Rollouts that ended, by kind and result, with the newest end; messages that wait, with the oldest."""
    path = tmp_path / "store.db"
    a, b = release("a"), release("b")
    with closing(SqlStore.open(path)) as store, closing(Figures(path)) as figures:
        assert figures.ended() == []
        assert figures.waiting("log", "people") == Waiting(count=0, oldest_at=None, dead=0)

        record = store.commit(Record(environment="staging"), [seen(a), started(a), applied(), *ended_well()])
        record = store.commit(record, [started(a, 2, kind=Kind.HEAL, second=20), applied(2, 21)], ["one"])
        record = store.commit(record, ended_well(2, 25), ["two"])
        record = store.commit(record, [started(a, 3, kind=Kind.HEAL, second=30), applied(3, 31)])
        record = store.commit(record, ended_well(3, 35))
        record = store.commit(record, [seen(b, 40), started(b, 4, second=40)])
        ended = {(one.kind, one.result): (one.count, one.newest_at) for one in figures.ended()}

        assert ended == {("deploy", "good"): (1, at(10)), ("heal", "good"): (2, at(35))}
        assert isinstance(figures.ended()[0], Ended)
        assert figures.waiting("log", "people") == Waiting(count=2, oldest_at=at(21), dead=0)
        first, _ = undelivered(store)
        delivered(store, [first])
        assert figures.waiting("log", "people") == Waiting(count=1, oldest_at=at(25), dead=0)
        assert figures.size_bytes() >= path.stat().st_size
    assert figures.size_bytes() == sum(one.stat().st_size for one in tmp_path.glob("store.db*"))


def test_a_store_that_cannot_be_read_costs_its_own_metrics(tmp_path: Path) -> None:
    """It is counted, and the others are told."""
    path = tmp_path / "store.db"
    with closing(SqlStore.open(path)) as store:
        metrics = metrics_of(path, store)
        assert Scrape(text=metrics.text().decode()).value("deployer_outbox_messages", target="log") == 0
        metrics.close()
        found = Scrape(text=metrics.text().decode())
        again = Scrape(text=metrics.text().decode())

    failures = {"operation": "scrape", "error": "unavailable"}
    assert found.value("deployer_outbox_messages", target="log") is None
    assert found.value("deployer_environments") == 2
    assert again.value("deployer_store_failures_total", **failures) in {1, 2}


def test_a_store_that_cannot_be_read_at_the_start(tmp_path: Path) -> None:
    """Nothing is known of the past, which is said; everything else goes on."""
    path = tmp_path / "store.db"
    store = SqlStore.open(path)
    store.close()
    with capture_logs() as log, closing(metrics_of(path, store)) as metrics:
        found = Scrape(text=metrics.text().decode())

    assert [line["event"] for line in log] == ["metrics_begin_anew"]
    assert found.value(ROLLOUTS, environment="staging", kind="deploy", result="good") == 0


def test_a_scrape_of_500_environments_is_cheap(tmp_path: Path) -> None:
    """Less than 50 ms of CPU, with three kinds of ends behind each, and every state just changed."""
    path = tmp_path / "store.db"
    names = tuple(f"environment-{number:03}" for number in range(500))
    a, b = release("a"), release("b")
    history = (
        *(seen(a), started(a), applied(), *ended_well()),
        *(seen(b, 20), started(b, 2, second=20), applied(2, 21), failed(2), held(2)),
        *(started(a, 3, kind=Kind.ROLLBACK, second=31, follows="staging#2"), applied(3, 32)),
        *ended_well(3, 33),
    )
    ends = [(record_of(*history[:number]), history[number]) for number in (5, 9, 15)]
    states = [
        status(desired(b), running(a), record_of(*history[:number]), at(60)) for number in (13, len(history))
    ]
    took, lines = [], 0
    with closing(SqlStore.open(path)) as store, closing(metrics_of(path, store, names)) as metrics:
        for name in names:
            for record, event in ends:
                metrics.recorded(replace(record, environment=name), event)
        for turn in range(6):
            for name in names:
                metrics.observed(replace(states[turn % 2], environment=name))
            began = time.thread_time()
            lines = metrics.text().count(b"\n")
            took.append(time.thread_time() - began)

    assert lines > 30_000
    assert min(took) < 0.05
