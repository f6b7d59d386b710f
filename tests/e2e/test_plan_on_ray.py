"""`deployer plan` and what then happens, on a real Ray: a first deploy, a change in place, a restart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.site import Site
    from tests.support.ray_head import ServeHead

pytestmark = [pytest.mark.ray, pytest.mark.e2e, pytest.mark.timeout(240)]


def market(answer: str, cpus: float = 0.01) -> dict[str, Any]:
    """Two replicas that give this answer."""
    deployment = {
        "name": "D",
        "num_replicas": 2,
        "user_config": {"answer": answer},
        "ray_actor_options": {"num_cpus": cpus},
    }
    app = {"name": "fruit", "route_prefix": "/fruit", "import_path": "good:app"}
    return {"applications": [{**app, "deployments": [deployment]}]}


def test_what_is_planned_is_what_happens(site: Site, fresh_serve: ServeHead, tmp_path: Path) -> None:
    """The classes that a plan names are those that the replicas show."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()

    def plan(config: dict[str, Any]) -> dict[str, Any]:
        (checkout / "serve_config.yaml").write_text(yaml.safe_dump(config))
        done = site.command("plan", "staging", "--from", str(checkout), "-o", "json")
        assert done.returncode == 0, done
        (planned,) = json.loads(done.stdout)
        return dict(planned)

    def replicas() -> set[str]:
        details = requests.get(f"{fresh_serve.address}/api/serve/applications/", timeout=10).json()
        deployment = details["applications"]["fruit"]["deployments"]["D"]
        return {replica["replica_id"] for replica in deployment["replicas"]}

    first = plan(market("hello"))
    assert (first["add"], first["way_back"]["state"]) == (1, "impossible")
    assert first["capacity"]["verdict"] == "fits"

    opened = site.push(market("hello"), "open the market")
    site.start()
    site.until_live(opened)
    assert plan(market("hello"))["changes"] == []
    before = replicas()

    in_place = plan(market("good day"))
    assert [change["effect"] for change in in_place["changes"]] == ["reconfigures, no restart"]
    assert in_place["way_back"]["state"] == "ready"
    assert in_place["duration"]["deploys"] == 1
    site.until_live(site.push(market("good day"), "say good day"))
    assert replicas() == before

    restart = plan(market("good day", cpus=0.02))
    assert [change["effect"] for change in restart["changes"]] == ["rolling restart"]
    assert [(one["deployment"], one["lowest"]) for one in restart["availability"]] == [("D", 1)]
    site.until_live(site.push(market("good day", cpus=0.02), "more of the processor"))
    assert replicas().isdisjoint(before)
