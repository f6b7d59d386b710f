"""Stories of what people do with a running daemon, and of environments that share a cluster, on real Ray."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests
import yaml

from deployer.adapters.store import SqlStore
from deployer.cli.context import STORE_FILE
from tests.e2e.site import QUICK, Site
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from tests.support.ray_head import ServeHead

pytestmark = [pytest.mark.ray, pytest.mark.e2e, pytest.mark.timeout(240)]


def greeter(greeting: str, name: str = "greeter", **more: Any) -> dict[str, Any]:
    """One application of two replicas that answers with its greeting."""
    return {
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": "good:app",
        "deployments": [
            {
                "name": "D",
                "num_replicas": 2,
                "user_config": {"answer": greeting},
                "ray_actor_options": {"num_cpus": 0},
            }
        ],
        **more,
    }


def config(*apps: dict[str, Any]) -> dict[str, Any]:
    """A Serve config of these."""
    return {"applications": list(apps)}


def says(head: ServeHead, name: str = "greeter") -> str:
    """What an application answers now."""
    answer = requests.get(f"{head.http}/{name}", timeout=10)
    answer.raise_for_status()
    return answer.text


def running(head: ServeHead) -> dict[str, str]:
    """The applications on the cluster, with their status."""
    apps = requests.get(f"{head.address}/api/serve/applications/", timeout=10).json()["applications"]
    return {name: app["status"] for name, app in apps.items()}


def test_a_person_syncs_rolls_back_retries_and_pauses(site: Site, fresh_serve: ServeHead) -> None:
    """Each command does what it says, and its exit code tells a script how it ended."""
    first = site.push(config(greeter("one")), "say one")
    site.start()
    done = site.command("sync", "staging", "--wait", "--timeout", "90s")
    assert (done.returncode, first[:7] in done.stdout) == (0, True), done
    second = site.push(config(greeter("two")), "say two")
    assert site.command("sync", "staging", "--wait", "--timeout", "90s").returncode == 0
    assert says(fresh_serve) == "two"

    done = site.command("rollback", "staging", "--wait", "--reason", "two is too much")
    assert done.returncode == 0, done
    assert says(fresh_serve) == "one"
    state = site.until_wanted(second)
    assert (state["mode"], state["live"]["revision"]) == ("held", first)
    assert "two is too much" in state["message"]
    done = site.command("sync", "staging", "--wait", "--timeout", "60s")
    assert (done.returncode, "two is too much" in done.stdout) == (7, True), done

    assert site.command("retry", "staging").returncode == 64
    assert site.command("retry", "staging", "--reason", "we want two after all").returncode == 0
    site.until_live(second)
    assert says(fresh_serve) == "two"

    assert site.command("pause", "staging", "--for", "1h", "--reason", "lunch").returncode == 0
    third = site.push(config(greeter("three")), "say three")
    assert site.until_wanted(third)["mode"] == "paused"
    assert site.command("sync", "staging", "--wait", "--timeout", "60s").returncode == 7
    explained = site.command("explain", "staging")
    assert explained.returncode == 0
    assert "lunch" in explained.stdout
    assert says(fresh_serve) == "two"
    assert site.command("resume", "staging").returncode == 0
    site.until_live(third)

    bad = site.push(config(greeter("four", import_path="good:nobody")), "say four, wrongly")
    done = site.command("sync", "staging", "--wait", "--timeout", "90s")
    assert (done.returncode, bad[:7] in done.stdout) == (4, True), done
    assert says(fresh_serve) == "three"

    live = site.command("live", "staging", "-o", "json")
    (app,) = json.loads(live.stdout)["apps"]
    assert app["config"]["deployments"][0]["user_config"] == {"answer": "three"}
    logs = site.command("logs", "staging", "greeter", "-o", "json")
    assert logs.returncode == 0, logs
    assert any("greeter" in log["text"] for log in json.loads(logs.stdout)["logs"]), logs.stdout
    kinds = [f"{entry['kind']} {entry['result']}" for entry in reversed(site.rollouts())]
    expected = ["deploy good", "deploy good", "rollback good", "deploy good", "deploy good"]
    assert kinds == [*expected, "deploy failed", "rollback good"]


def test_environments_and_other_people_share_a_cluster(site: Site, fresh_serve: ServeHead) -> None:
    """Nobody's application is deleted by anybody else's deploy, and what was deleted by hand comes back."""
    theirs = greeter("theirs", "theirs")
    url = f"{fresh_serve.address}/api/serve/applications/"
    requests.put(url, json=config(theirs), timeout=60).raise_for_status()
    settings = yaml.safe_load(site.settings.read_text())
    staging = settings["environments"]["staging"]
    settings["environments"]["production"] = {**staging, "path": "environments/production"}
    site.settings.write_text(yaml.safe_dump(settings))
    folder = site.clone / "environments/production"
    folder.mkdir()
    (folder / "environment.yaml").write_text(QUICK)
    (folder / "serve_config.yaml").write_text(yaml.safe_dump(config(greeter("production", "market"))))
    commit = site.push(config(greeter("staging")), "open both")
    site.start()

    def until(environment: str, sync: str, health: str, within: float = 90) -> dict[str, Any]:
        def observe() -> dict[str, Any]:
            store = SqlStore.open_readonly(site.root / "state" / STORE_FILE)
            try:
                views = store.views()
            finally:
                store.close()
            assert environment in views, "the daemon has not published it yet"
            state = views[environment][1]
            assert (state["sync"], state["health"]) == (sync, health), state["message"]
            return state

        return eventually(observe, within=within, every=0.2, what=f"{environment} is {sync}, {health}")

    site.until_live(commit)
    state = until("production", "Synced", "Healthy")
    assert [app["name"] for app in state["apps"]] == ["market"]
    assert sorted(state["foreign"]) == ["greeter", "theirs"]
    assert running(fresh_serve) == dict.fromkeys(("greeter", "market", "theirs"), "RUNNING")
    assert says(fresh_serve, "theirs") == "theirs"

    # Somebody PUTs a file of their own, as `serve deploy` does: ours are gone, and come back.
    requests.put(url, json=config({**theirs, "args": {}}), timeout=60).raise_for_status()

    def healed() -> bool:
        assert running(fresh_serve) == dict.fromkeys(("greeter", "market", "theirs"), "RUNNING")
        return True

    eventually(healed, within=90, every=0.5, what="everybody's applications run again")
    state = until("production", "Synced", "Healthy")
    until("staging", "Synced", "Healthy")
    assert {entry["kind"] for entry in site.rollouts()} <= {"deploy", "restore", "heal"}
    assert site.rollouts()[0]["kind"] in {"restore", "heal"}
    assert says(fresh_serve, "theirs") == "theirs"
