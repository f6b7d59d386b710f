"""Every option of Serve's schema, changed on a live deployment: what happens is what was predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from deployer.cli.local_ray import LocalRay, free_port
from deployer.core.restart import FIRST_IN_GANGS, Restart, whole
from tests.contract.restart_lanes import left_out
from tests.contract.restarts import LOOK_SECONDS, PAGE, RAY, Bench, predictions, read, run, wrong
from tests.support.eventually import eventually
from tests.support.ray_head import APPS, ROOT, ServeHead

if TYPE_CHECKING:
    from pathlib import Path

LANES = ("light", "actor")
"""Of eight: the others have to start a hundred replicas more."""

LOOKS = 30
"""Serve deletes an application whose replicas have gone with its next tick, 100 ms later."""


@pytest.mark.ray
def test_no_option_is_left_out() -> None:
    """A later Ray with a new option fails here, so that it gets a sample and a class."""
    assert left_out() == set()


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_every_prediction_is_what_serve_does(fresh_serve: ServeHead, tmp_path: Path) -> None:
    """By replica ids, calls of `reconfigure`, and what Serve tells to be in effect.

    Here in the lanes with most of the classes; `make restarts` has all, and writes the page that the test
    below holds against what is predicted.
    """
    rows = run(fresh_serve, tmp_path, LANES)
    assert wrong(rows) == []
    assert {row.predicted for row in rows} >= {*Restart} - {Restart.ADD}
    assert [row.cells for row in rows] == [row.cells for row in predictions(LANES)]
    fresh_serve.empty()


def test_the_page_lists_what_is_predicted() -> None:
    """Another prediction, or another change that is tried, needs the page to be written again."""
    assert read(PAGE.read_text(encoding="utf-8")) == [row.cells for row in predictions()]


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_first_gang_leaves_replicas_behind(tmp_path: Path) -> None:
    """A bug of Serve (2.60.0) that the note tells of: on a head of its own, which it spoils."""
    with LocalRay(pythonpath=[ROOT, APPS]) as local:
        head = ServeHead(address=local.address, http=f"http://127.0.0.1:{free_port()}")
        head.empty()
        bench = Bench(head, tmp_path)
        alone = _alone(str(bench.journal))
        gang = _alone(str(bench.journal), gang_scheduling_config={"gang_size": 2})
        change = whole(alone, gang, RAY).apps["a"].of("D", ("gang_scheduling_config",))
        assert change is not None
        assert (change.restart, change.note) == (Restart.ROLLING, FIRST_IN_GANGS)

        before = bench.put(alone).ids("a", "D")
        now = bench.put(gang).ids("a", "D")
        assert not before & now
        assert _alive(head) == before | now

        url = f"{head.address}/api/serve/applications/"
        requests.put(url, json={"applications": []}, timeout=LOOK_SECONDS).raise_for_status()
        looks: list[Any] = []

        def not_deleted() -> bool:
            app = requests.get(url, timeout=LOOK_SECONDS).json()["applications"]["a"]
            looks.append((app["status"], app["deployments"]))
            return looks[-LOOKS:] == [("DELETING", {})] * LOOKS

        eventually(not_deleted, within=120, every=0.1)
        assert _alive(head) == before


def _alone(journal: str, **options: Any) -> dict[str, Any]:
    # A gang that needs nothing at all is never placed (2.60).
    deployment = {"name": "D", "ray_actor_options": {"num_cpus": 0.01}, **options}
    return {
        "applications": [
            {
                "name": "a",
                "import_path": "counted:alone",
                "args": {"journal": journal},
                "deployments": [deployment],
            }
        ]
    }


def _alive(head: ServeHead) -> set[str]:
    """The replicas that Ray runs, whether Serve knows of them or not."""
    predicates = {"filter_keys": "state", "filter_predicates": "=", "filter_values": "ALIVE"}
    url = f"{head.address}/api/v0/actors"
    found = requests.get(url, params=predicates, timeout=LOOK_SECONDS).json()
    names = [actor["name"] for actor in found["data"]["result"]["result"]]
    return {name.rpartition("#")[2] for name in names if name.startswith("SERVE_REPLICA::")}
