"""The lowest number of replicas that serve, from class and shape, and the sentence that says it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.availability import Shape, forecast, shape
from deployer.core.restart import Restart

NEW = "2.60.0"


def of(restart: Restart = Restart.ROLLING, ray: str = NEW, **options: Any) -> tuple[int, int]:
    """The forecast for a deployment with these options, before and after."""
    found = forecast("D", restart, shape(options, options, ray), ray)
    return found.lowest, found.lowest_failed


@pytest.mark.parametrize(
    ("options", "lowest"),
    [
        ({"num_replicas": 1}, 0),
        ({"num_replicas": 2}, 1),
        ({"num_replicas": 4}, 3),
        ({"num_replicas": 10}, 8),
        ({"num_replicas": 10, "rolling_update_percentage": 0.5}, 5),
        ({"num_replicas": 100, "rolling_update_percentage": 0.29}, 72),
        ({"num_replicas": 3, "rolling_update_percentage": 1.0}, 0),
        ({"num_replicas": 1, "max_surge_percent": 100}, 1),
        ({"num_replicas": 10, "max_surge_percent": 1}, 10),
        ({"num_replicas": 0}, 0),
        ({"num_replicas": 4, "gang_scheduling_config": {"gang_size": 2}}, 2),
        ({"num_replicas": 4, "gang_scheduling_config": {}}, 3),
        ({"num_replicas": "auto"}, 0),
        ({"autoscaling_config": {"min_replicas": 3, "max_replicas": 9}}, 2),
        ({"autoscaling_config": {"min_replicas": 1, "max_replicas": 9, "initial_replicas": 5}}, 4),
        ({}, 0),
        ({"num_replicas": "many", "max_surge_percent": "all", "rolling_update_percentage": -1}, 0),
        ({"autoscaling_config": {"min_replicas": None, "max_replicas": 1e999, "initial_replicas": -2}}, 0),
        ({"num_replicas": 2, "gang_scheduling_config": {"gang_size": 0}}, 1),
    ],
)
def test_a_restart(options: dict[str, Any], lowest: int) -> None:
    """A failed one stops at the same number."""
    assert of(**options) == (lowest, lowest)
    assert of(Restart.REBUILD, **options) == (lowest, lowest)


def test_an_older_ray() -> None:
    """It has no surge, replaces a fifth at a time, and some of them give up on the old replicas too."""
    assert of(ray="2.40.0", num_replicas=10, rolling_update_percentage=0.5, max_surge_percent=50) == (8, 8)
    assert of(ray="2.53.0", num_replicas=4, gang_scheduling_config={"gang_size": 2}) == (3, 0)
    assert of(ray="2.59.0", num_replicas=4) == (3, 0)
    said = forecast("D", Restart.ROLLING, shape({}, {}, "2.59.0"), "2.59.0").failed_sentence
    assert (
        said
        == "If no new replica starts, Serve gives up after some tries and then answers 503 to every request."
    )


@pytest.mark.parametrize(
    ("restart", "before", "after", "lowest"),
    [
        (Restart.IGNORED, 3, 3, 3),
        (Restart.CONTROLLER, 3, 3, 3),
        (Restart.SERVE_RESTART, 3, 3, 3),
        (Restart.SCALE, 2, 5, 2),
        (Restart.SCALE, 5, 2, 2),
        (Restart.ADD, 0, 5, 0),
        (Restart.DELETE, 5, 0, 0),
        (Restart.RECONFIGURE, 5, 5, 4),
        (Restart.ROLLING, 2, 10, 2),
        (Restart.ROLLING, 10, 4, 3),
    ],
)
def test_each_class(restart: Restart, before: int, after: int, lowest: int) -> None:
    """Before an update scales up, nothing is stopped; before it replaces, it scales down."""
    found = forecast("D", restart, shape({"num_replicas": before}, {"num_replicas": after}, NEW), NEW)
    assert (found.lowest, found.lowest_failed) == (lowest, lowest)


def test_surge_does_not_help_a_reconfiguration() -> None:
    """It is for replicas that are replaced."""
    assert of(Restart.RECONFIGURE, num_replicas=1, max_surge_percent=100) == (0, 0)


SENTENCES = [
    (Restart.ROLLING, {"num_replicas": 1},
     "Mango has 1 replica and no surge: no replica serves while it restarts.",
     "If no new replica starts, no replica serves until it is rolled back."),
    (Restart.ROLLING, {},
     "Mango has at least 1 replica and no surge: no replica serves while it restarts.",
     "If no new replica starts, no replica serves until it is rolled back."),
    (Restart.ROLLING, {"num_replicas": 2, "rolling_update_percentage": 1},
     "Mango has 2 replicas: all of them are replaced at once: no replica serves while they restart.",
     "If no new replica starts, no replica serves until it is rolled back."),
    (Restart.ROLLING, {"num_replicas": 2},
     "Mango has 2 replicas: 1 is restarted at a time, so at least 1 serves all the time.",
     "If no new replica starts, Serve stops there, and at least 1 serves on."),
    (Restart.ROLLING, {"num_replicas": 10},
     "Mango has 10 replicas: 2 are restarted at a time, so at least 8 serve all the time.",
     "If no new replica starts, Serve stops there, and at least 8 serve on."),
    (Restart.ROLLING, {"num_replicas": 4, "max_surge_percent": 50},
     "Mango has 4 replicas: up to 2 new ones start before an old one stops, if there is room, so 4 serve all "
     "the time.",
     "If no new replica starts, Serve stops there, and at least 4 serve on."),
    (Restart.RECONFIGURE, {"num_replicas": 1},
     "Mango has 1 replica: no replica takes requests while `reconfigure` runs; they wait.",
     "If `reconfigure` fails, no replica serves until it is rolled back."),
    (Restart.RECONFIGURE, {"num_replicas": 4},
     "Mango has 4 replicas: 1 is reconfigured at a time, so at least 3 serve all the time.",
     "If `reconfigure` fails, Serve stops there, and at least 3 serve on."),
    (Restart.SCALE, {"num_replicas": 4},
     "Mango goes from 4 to 4 replicas: 4 serve all the time.", ""),
    (Restart.ADD, {}, "Mango is new: no replica serves until the first has started.", ""),
    (Restart.DELETE, {}, "Mango is removed: no replica serves any more.", ""),
    (Restart.SERVE_RESTART, {}, "Mango is not touched; a restart of Serve would stop all of it.", ""),
    (Restart.CONTROLLER, {}, "", ""),
]  # fmt: skip


@pytest.mark.parametrize(("restart", "options", "said", "failed"), SENTENCES)
def test_the_sentences(restart: Restart, options: dict[str, Any], said: str, failed: str) -> None:
    """What a reviewer reads."""
    found = forecast("Mango", restart, shape(options, options, NEW), NEW)
    assert (found.sentence, found.failed_sentence) == (said, failed)


def test_what_the_cluster_says_is_known() -> None:
    """The code's number and the autoscaler's, within the bounds of the new config."""
    assert shape({}, {}, NEW, running=6) == Shape(replicas=6, before=6, batch=1)
    scaled = {"autoscaling_config": {"min_replicas": 2, "max_replicas": 4}}
    assert shape(scaled, scaled, NEW, running=3) == Shape(replicas=3, before=3)
    assert shape(None, scaled, NEW, running=9).replicas == 4
    assert shape(scaled, scaled, NEW).at_least
    assert shape({"num_replicas": 2}, {"num_replicas": 3}, NEW, running=5) == Shape(replicas=3, before=5)


@pytest.mark.parametrize(
    ("capacity", "replicas"), [(None, 5), (100, 5), (50, 3), (30, 2), (1, 1), (0, 0), (70.0, 4)]
)
def test_the_capacity_of_the_cluster_counts(capacity: float | None, replicas: int) -> None:
    """As Serve rounds it: half up, and never to none."""
    assert shape({"num_replicas": 5}, {"num_replicas": 5}, NEW, capacity=capacity).replicas == replicas


@given(
    before=st.integers(0, 200),
    after=st.integers(0, 200),
    share=st.floats(0.01, 1),
    surge=st.integers(0, 100),
    restart=st.sampled_from(Restart),
)
def test_no_forecast_is_out_of_range(
    before: int, after: int, share: float, surge: int, restart: Restart
) -> None:
    """Never below none, never above what there is; a surge never makes it worse."""
    old: dict[str, Any] = {"num_replicas": before, "rolling_update_percentage": share}
    plain = forecast("D", restart, shape(old, {**old, "num_replicas": after}, NEW), NEW)
    more = {**old, "num_replicas": after, "max_surge_percent": surge}
    surged = forecast("D", restart, shape(old, more, NEW), NEW)
    assert 0 <= plain.lowest_failed <= plain.lowest <= surged.lowest <= before
