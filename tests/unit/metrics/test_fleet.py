"""The metrics of environments: what passes say, what the store knew, and what is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from deployer.adapters.store.figures import Ended
from deployer.core.events import (
    Cancelled,
    DriftClass,
    Drifted,
    Kind,
    Paused,
    RetryAsked,
    Superseded,
)
from deployer.core.live import Unreachable
from deployer.core.record import Record, evolve
from deployer.core.status import Status, status, view
from deployer.web.metrics.fleet import FAMILIES, Fleet
from tests.support.build import (
    START,
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

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from deployer.core.events import Event
    from deployer.core.live import Observation
    from deployer.core.types import Release

A, B = release("a"), release("b")
GOOD = (seen(A), started(A), applied(), *ended_well())
FAILED = (seen(B, 20), started(B, 2, second=20), applied(2, 21), failed(2), held(2))
BACK = (started(A, 3, kind=Kind.ROLLBACK, second=31, follows="staging#2"), applied(3, 32))
NAMES = ("staging", "production")

Samples = dict[tuple[str, ...], float]


def scrape(fleet: Fleet, second: float = 60, only: Collection[str] | None = None) -> dict[str, Samples]:
    """Values by metric, and by the values of the labels in the order of the family."""
    labels = {family.name: family.labels for family in FAMILIES}
    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families(fleet.text(at(second), only)):
        for one in family.samples:
            order = labels.get(one.name, tuple(one.labels))
            found.setdefault(one.name, {})[tuple(one.labels[name] for name in order)] = one.value
    return found


def told(*events: Event, fleet: Fleet | None = None) -> Fleet:
    """A fleet that was told this history of `staging`."""
    fleet = fleet or Fleet(NAMES, now=START)
    record = Record(environment="staging")
    for event in events:
        fleet.recorded(record, event)
        record = evolve(record, event)
    return fleet


def seen_as(*events: Event, wanted: Release = A, live: Observation | None = None) -> Status:
    """The status after this history."""
    return status(desired(wanted), live or running(A), record_of(*events), at(60))


def present(samples: Samples) -> set[tuple[str, ...]]:
    """The series of a one-hot family that are 1; all others must be 0."""
    assert set(samples.values()) <= {0.0, 1.0}
    return {labels for labels, value in samples.items() if value}


def test_each_state_is_one_hot() -> None:
    """Exactly one of all states is 1, so that sums over environments count them."""
    fleet = Fleet(NAMES, now=START)
    fleet.observed(seen_as(*GOOD), at(60))
    found = scrape(fleet)

    assert present(found["deployer_environment_health"]) == {("staging", "Healthy")}
    assert present(found["deployer_environment_sync"]) == {("staging", "Synced")}
    assert present(found["deployer_environment_mode"]) == {("staging", "auto")}
    assert len(found["deployer_environment_health"]) == 5
    assert present(found["deployer_environment_drift"]) == set()
    assert found["deployer_environment_last_good_timestamp_seconds"] == {("staging",): at(10).timestamp()}


def test_held_is_about_what_git_wants() -> None:
    """Since when, too; not once a person lets it through, nor when git wants something else."""
    fleet = Fleet(NAMES, now=START)
    history = (*GOOD, *FAILED)
    fleet.observed(seen_as(*history, wanted=B), at(60))

    assert scrape(fleet)["deployer_environment_held"] == {("staging",): 1.0}
    assert scrape(fleet)["deployer_environment_held_timestamp_seconds"] == {("staging",): at(30).timestamp()}

    retried = RetryAsked(at=at(40), actor="ada (local)", digest=B.digest)
    for free in (seen_as(*history, retried, wanted=B), seen_as(*history, wanted=release("c"))):
        fleet.observed(free, at(60))

        assert scrape(fleet)["deployer_environment_held"] == {("staging",): 0.0}
        assert "deployer_environment_held_timestamp_seconds" not in scrape(fleet)


def test_paused_drifted_and_in_flight() -> None:
    """What a person did, what the cluster did, and what goes on."""
    fleet = Fleet(NAMES, now=START)
    drifted = Drifted(at=at(51), drift=DriftClass.EDITED, what="It was edited.")
    fleet.observed(seen_as(*GOOD, Paused(at=at(50), actor="ada"), drifted), at(60))
    found = scrape(fleet)

    assert found["deployer_environment_paused"] == {("staging",): 1.0}
    assert present(found["deployer_environment_drift"]) == {("staging", "edited")}
    assert "deployer_environment_rollout_start_timestamp_seconds" not in found

    fleet.observed(seen_as(*GOOD, *FAILED, *BACK, wanted=B), at(60))
    found = scrape(fleet)

    assert found["deployer_environment_rollout_start_timestamp_seconds"] == {
        ("staging", "rollback"): at(31).timestamp()
    }
    assert present(found["deployer_environment_health"]) == {("staging", "Progressing")}


def test_a_rollback_that_failed_is_told_until_something_else_ends() -> None:
    """It is what people are woken for."""
    fleet = Fleet(NAMES, now=START)
    fleet.observed(seen_as(*GOOD, *FAILED, wanted=B), at(60))
    assert scrape(fleet)["deployer_environment_rollback_failed"] == {("staging",): 0.0}

    fleet.observed(seen_as(*GOOD, *FAILED, *BACK, failed(3, 40), wanted=B), at(60))
    assert scrape(fleet)["deployer_environment_rollback_failed"] == {("staging",): 1.0}


def test_rollouts_are_counted_by_kind_and_result() -> None:
    """With their durations, and from 0 where alerts look."""
    found = scrape(told(*GOOD, *FAILED, *BACK, *ended_well(3, 33)))
    counts = found["deployer_rollouts_total"]

    assert counts["staging", "deploy", "good"] == 1
    assert counts["staging", "deploy", "failed"] == 1
    assert counts["staging", "rollback", "good"] == 1
    assert counts["staging", "rollback", "failed"] == 0
    assert counts["production", "deploy", "good"] == 0
    assert found["deployer_rollout_last_end_timestamp_seconds"] == {
        ("staging", "deploy", "good"): at(10).timestamp(),
        ("staging", "deploy", "failed"): at(30).timestamp(),
        ("staging", "rollback", "good"): at(33).timestamp(),
    }
    assert found["deployer_rollout_duration_seconds_count"]["staging", "deploy", "good"] == 1
    assert found["deployer_rollout_duration_seconds_sum"]["staging", "deploy", "good"] == 10.0


@pytest.mark.parametrize(
    ("end", "result"),
    [
        (Superseded(at=at(5), rollout="staging#1", by="f" * 40), "superseded"),
        (Cancelled(at=at(5), rollout="staging#1"), "cancelled"),
    ],
)
def test_every_end_is_counted(end: Event, result: str) -> None:
    """Also those that are nobody's failure."""
    found = scrape(told(seen(A), started(A), end))

    assert found["deployer_rollouts_total"]["staging", "deploy", result] == 1


def test_a_clock_that_went_back_makes_no_negative_time() -> None:
    """A histogram with a negative sum is thrown away by Prometheus."""
    found = scrape(told(seen(A), started(A, second=100), applied(1, 1), failed(1, 30)))

    assert found["deployer_rollout_duration_seconds_sum"] == {("staging", "deploy", "failed"): 0.0}


def test_what_is_not_in_the_settings_has_no_series() -> None:
    """An environment that was taken out has events and a status of its own no more."""
    fleet = told(*GOOD, fleet=Fleet(["production"], now=START))
    fleet.observed(seen_as(*GOOD), at(60))

    assert "staging" not in fleet.text(at(60))


def test_an_end_without_a_rollout_is_not_counted() -> None:
    """It cannot be; a listener does not raise all the same."""
    fleet = Fleet(NAMES, now=START)
    fleet.recorded(Record(environment="staging"), failed())

    assert sum(scrape(fleet)["deployer_rollouts_total"].values()) == 0


def test_the_age_of_a_cluster() -> None:
    """Since the daemon's start before it was seen; out of sight it grows; never negative."""
    fleet = Fleet(NAMES, now=START)
    assert scrape(fleet, 7)["deployer_cluster_age_seconds"] == {("staging",): 7.0, ("production",): 7.0}

    fleet.observed(seen_as(*GOOD), at(60))
    assert scrape(fleet, 61)["deployer_cluster_age_seconds"]["staging",] == 1.0
    assert scrape(fleet, 30)["deployer_cluster_age_seconds"]["staging",] == 0.0

    blind = seen_as(*GOOD, live=Unreachable(why="it does not answer"))
    fleet.observed(blind, at(90))
    assert scrape(fleet, 90)["deployer_cluster_age_seconds"]["staging",] == 30.0
    assert present(scrape(fleet)["deployer_environment_health"]) == {("staging", "Unknown")}


def test_only_what_may_be_read_is_told() -> None:
    """Of every family."""
    fleet = told(*GOOD)
    fleet.observed(seen_as(*GOOD), at(60))

    assert "production" not in fleet.text(at(60), {"staging"})
    assert "staging" not in fleet.text(at(60), {"production", "nowhere"})
    assert "environment=" not in fleet.text(at(60), ())


HISTORIES: list[tuple[tuple[Event, ...], Release]] = [
    (GOOD, A),
    ((*GOOD, *FAILED), B),
    ((*GOOD, *FAILED, Paused(at=at(50), actor="ada")), B),
    ((*GOOD, *FAILED, *BACK), B),
    ((*GOOD, *FAILED, *BACK, failed(3, 40)), B),
    ((*GOOD, Drifted(at=at(51), drift=DriftClass.SICK, what="It is sick.")), A),
    ((seen(A), started(A)), A),
]


@pytest.mark.parametrize(("history", "wanted"), HISTORIES)
def test_a_restart_goes_on_where_it_was(history: tuple[Event, ...], wanted: Release) -> None:
    """Made of what the store has, the first scrape is what the last one was, but for the durations."""
    before = told(*history)
    state = seen_as(*history, wanted=wanted)
    before.observed(state, at(60))
    ended = [
        Ended(environment="staging", kind=kind, result=result, count=int(count), newest_at=newest)
        for (name, kind, result), count in scrape(before)["deployer_rollouts_total"].items()
        if name == "staging" and (newest := _newest(history, kind, result)) is not None
    ]
    strange = [replace(one, environment="gone") for one in ended]
    views = {"staging": (at(60), view(state)), "gone": (at(60), view(state))}
    after = Fleet(NAMES, now=at(100), ended=[*ended, *strange], views=views)

    first = scrape(after, 101)
    last = {
        name: found
        for name, found in scrape(before, 101).items()
        if not name.startswith("deployer_rollout_duration")
    }
    last["deployer_cluster_age_seconds"]["production",] = 1.0
    assert first == last


def _newest(history: tuple[Event, ...], kind: str, result: str) -> datetime | None:
    """When the newest rollout of this kind ended so."""
    record, newest = Record(environment="staging"), None
    for event in history:
        record = evolve(record, event)
        last = record.last
        if last is not None and event.type == result and last.kind == kind:
            newest = event.at
    return newest


def test_a_cluster_that_was_out_of_sight_before_a_restart_was_not_seen_then() -> None:
    """Its age begins with the daemon: when it was seen before that, nobody wrote down."""
    blind = seen_as(*GOOD, live=Unreachable(why="it does not answer"))
    fleet = Fleet(NAMES, now=at(100), views={"staging": (at(60), view(blind))})

    assert scrape(fleet, 110)["deployer_cluster_age_seconds"]["staging",] == 10.0


@pytest.mark.parametrize("change", [{"held": None}, {"rollout": {}}, {"paused": ...}])
def test_what_another_version_published_does_not_stop_a_start(change: dict[str, Any]) -> None:
    """It is left out until the first pass; the others begin as they were."""
    good = view(seen_as(*GOOD))
    strange = {key: value for key, value in {**good, **change}.items() if value is not ...}
    fleet = Fleet(NAMES, now=START, views={"staging": (at(60), strange), "production": (at(60), good)})

    assert present(scrape(fleet)["deployer_environment_health"]) == {("production", "Healthy")}
