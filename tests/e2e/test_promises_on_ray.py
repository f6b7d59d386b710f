"""Promises about the evidence of a failed rollout, which only a real Ray gives: its proxy and its logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import requests

from deployer.core.events import Checked, LogKept
from tests.e2e.site import QUICK, Site
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from tests.support.ray_head import ServeHead

pytestmark = [pytest.mark.ray, pytest.mark.e2e, pytest.mark.timeout(240)]

CHECKED = f"""{QUICK}
checks:
  - {{app: fruit, path: /fruit, expect: {{status: 200, json: {{stock: 3}}}}, retries: 1, timeout: 10s}}
"""


def market(answer: str, import_path: str = "good:app") -> dict[str, Any]:
    """An application that gives this answer."""
    deployment = {
        "name": "D",
        "user_config": {"answer": answer},
        "ray_actor_options": {"num_cpus": 0},
    }
    app = {"name": "fruit", "route_prefix": "/fruit", "import_path": import_path}
    return {"applications": [{**app, "deployments": [deployment]}]}


def test_what_a_failed_release_leaves_behind(site: Site, fresh_serve: ServeHead) -> None:
    """A wrong answer to a check, and the log of a replica whose constructor raised: said, kept and shown."""
    site.push_file("environment.yaml", CHECKED, "ask how much there is")
    good = site.push(market('{"stock": 3, "of": "mango"}'), "open the market")
    site.start()
    site.until_live(good)

    ended = ["deploy good"]

    def rolled_back(commit: str, failure_class: str, message: str) -> str:
        ended[:0] = ["rollback good", "deploy failed"]
        rollback, failed = site.until_history(*ended)[:2]
        assert failed["release"]["revision"] == commit
        assert failed["followed_by"] == rollback["id"]
        assert failed["failure"]["class"] == failure_class
        assert message in failed["failure"]["message"]
        state = site.until_wanted(commit)
        assert (state["mode"], state["live"]["revision"]) == ("held", good)
        answer = requests.get(f"{fresh_serve.http}/fruit", timeout=10)
        assert answer.json() == {"stock": 3, "of": "mango"}
        return str(failed["id"])

    wrong = site.push(market('{"stock": 0}'), "sell all of it")
    rollout = rolled_back(wrong, "checks", "GET /fruit: stock is 0, expected 3")
    attempts = [event for event in site.facts() if isinstance(event, Checked) and event.rollout == rollout]
    assert [attempt.passed for attempt in attempts] == [False, False]

    crashing = site.push(market("", "constructor_raises:app"), "another model")
    rollout = rolled_back(crashing, "code", "FileNotFoundError: no model file at models/fruit.bin")
    eventually(
        lambda: any(isinstance(event, LogKept) for event in site.facts()), within=60, what="a log is kept"
    )
    shown = site.command("logs", "staging")
    assert shown.returncode == 0, shown
    assert f"==> {rollout} failed: " in shown.stdout
    assert "loading models/fruit.bin" in shown.stdout
