"""The point of failing fast: the way back is over without Serve ever telling of a failure.

How much sooner that is than Serve alone is measured on a quiet machine: `python -m benchmarks back_to_good`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.e2e.matrix.configs import PREFIX, application, fault, policy
from tests.e2e.matrix.watch import Watch
from tests.support.eventually import eventually
from tests.support.load import Load

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.e2e.site import Site
    from tests.support.ray_head import ServeHead

pytestmark = [pytest.mark.ray, pytest.mark.e2e, pytest.mark.timeout(240)]

BAD = [
    # After 1.5 s, as one does that first loads its model: a share of the time that no busy machine changes.
    pytest.param({"args": fault("raise_late")}, id="constructor raises"),
    pytest.param(
        {"deployment": {"user_config": {"fail": True}}}, id="reconfigure raises", marks=pytest.mark.long
    ),
]


def until_deploy_failed(head: ServeHead, bad: dict[str, Any]) -> float:
    """Serve alone gives up on it, a good release running before; the watch sees it. Return the seconds."""
    with Watch(head.address, [application()]) as watch:
        put(watch, application())
        eventually(lambda: watch.whole_since, within=60, what="the good release runs")
        started = time.monotonic()
        put(watch, bad)
        eventually(lambda: watch.statuses[-1] == "DEPLOY_FAILED", within=120, what="Serve says DEPLOY_FAILED")
        return time.monotonic() - started


def put(watch: Watch, app: dict[str, Any]) -> None:
    """PUT by hand."""
    requests.put(watch.url, json={"applications": [app]}, timeout=60).raise_for_status()


@pytest.mark.parametrize("changes", BAD)
def test_back_to_good_before_serve_says_deploy_failed(
    changes: dict[str, Any],
    site: Site,
    fresh_serve: ServeHead,
    record_property: Callable[[str, object], None],
) -> None:
    """From the push to the recorded rollback no DEPLOY_FAILED is ever seen, and no request lost."""
    bad = application(**changes)
    alone = until_deploy_failed(fresh_serve, bad)
    fresh_serve.empty()

    site.push_file("environment.yaml", policy(), "how a rollout is judged")
    good = site.push({"applications": [application()]}, "the good release")
    site.start()
    site.until_live(good)
    with Load(fresh_serve.http + PREFIX) as load, Watch(fresh_serve.address, [application()]) as watch:
        eventually(lambda: watch.whole_since, within=10, what="the good release runs")
        started = time.monotonic()
        site.push({"applications": [bad]}, "break it")
        site.until_history("rollback good", "deploy failed", "deploy good")
        took = time.monotonic() - started
        eventually(lambda: watch.whole_since, within=5, what="the good release runs again")
    record_property("seconds", f"{took:.1f} instead of {alone:.1f}")
    print(f"good again after {took:.1f} s; Serve alone says DEPLOY_FAILED after {alone:.1f} s")  # noqa: T201 - the figure

    assert "DEPLOY_FAILED" not in watch.statuses
    assert watch.statuses[-1] == "RUNNING"
    assert load.failed == []
    assert load.sent > 20
