"""The stories of the daemon on a real Ray head, told by the installed command."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from deployer.core.events import Seen
from tests.e2e.site import Site, git
from tests.support.load import Load
from tests.support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.ray_head import ServeHead

pytestmark = [pytest.mark.ray, pytest.mark.e2e, pytest.mark.timeout(240)]


def market(
    price: Any = 3,
    *,
    mango: str = "mango",
    import_path: str = "deployer.examples.fruit:app",
    replicas: int = 1,
) -> dict[str, Any]:
    """The fruit market, so many replicas of everything that a request passes.

    With two no request is lost while it is replaced; each costs a second of the machine.
    """
    return {
        "applications": [
            {
                "name": "fruit",
                "route_prefix": "/fruit",
                "import_path": import_path,
                "args": {"mango": mango},
                "deployments": [
                    {
                        "name": "MangoStand",
                        "num_replicas": replicas,
                        "user_config": {"price": price},
                        "ray_actor_options": {"num_cpus": 0},
                    },
                    {"name": "OrangeStand", "num_replicas": 1, "ray_actor_options": {"num_cpus": 0}},
                    {"name": "FruitMarket", "num_replicas": replicas, "ray_actor_options": {"num_cpus": 0}},
                ],
            }
        ]
    }


def total(head: ServeHead) -> float:
    """What two mangoes cost now."""
    answer = requests.get(f"{head.http}/fruit", params={"name": "mango", "amount": "2"}, timeout=10)
    answer.raise_for_status()
    return float(answer.json()["total"])


def replicas(head: ServeHead) -> set[str]:
    """The ids of all replicas of the market."""
    answer = requests.get(f"{head.address}/api/serve/applications/", timeout=10).json()
    deployments = answer["applications"]["fruit"]["deployments"].values()
    return {replica["replica_id"] for deployment in deployments for replica in deployment["replicas"]}


def test_a_good_change_goes_live_in_place_and_is_recorded(site: Site, fresh_serve: ServeHead) -> None:
    """Push, healthy; push a new price, reconfigured in place; who, what, when, how long; README: nothing."""
    first = site.push(market(3), "open the market")
    site.start()
    site.until_live(first)
    assert total(fresh_serve) == 6
    before = replicas(fresh_serve)

    second = site.push(market(5), "raise Mango price")
    site.until_live(second)
    assert total(fresh_serve) == 10
    assert replicas(fresh_serve) == before

    readme = site.push_file("/README.md", "Prices of our market.\n", "say what this is")
    eventually_wanted = site.until_wanted(readme)
    assert eventually_wanted["live"]["revision"] == second
    assert eventually_wanted["sync"] == "Synced"

    newest, oldest = site.history()
    assert (newest["id"], newest["kind"], newest["result"], newest["trigger"]) == (
        "staging#2",
        "deploy",
        "good",
        "push",
    )
    assert newest["release"]["revision"] == second
    assert newest["release"]["subject"] == "raise Mango price"
    assert newest["actor"] == "Ada <ada@example.com>"
    assert newest["started_at"] < newest["finished_at"]
    assert newest["failure"] is None
    assert oldest["release"]["revision"] == first

    state = site.status()
    assert (state["sync"], state["health"], state["mode"]) == ("Synced", "Healthy", "auto")
    assert {app["name"]: app["status"] for app in state["apps"]} == {"fruit": "RUNNING"}
    table = site.command("status").stdout
    assert "staging" in table
    assert "1/1 RUNNING" in table
    assert second[:7] in site.command("history").stdout


BROKEN: dict[str, Callable[[], dict[str, Any]]] = {
    "import error": lambda: market(3, import_path="deployer.examples.froot:app", replicas=2),
    "constructor raises": lambda: market(3, mango="", replicas=2),
    "reconfigure raises": lambda: market(-1, replicas=2),
}
REASONS = {
    "import error": "fruit: ModuleNotFoundError: No module named 'deployer.examples.froot'",
    "constructor raises": "fruit / MangoStand: ValueError: a stand needs a name",
    "reconfigure raises": "fruit / MangoStand: ValueError: price must be a positive number, not -1",
}


# That a constructor raises is also in `test_fail_fast.py`, that `reconfigure` does in `test_tour.py`.
@pytest.mark.parametrize(
    "fault",
    [
        "import error",
        pytest.param("constructor raises", marks=pytest.mark.long),
        pytest.param("reconfigure raises", marks=pytest.mark.long),
    ],
)
def test_a_broken_change_is_rolled_back_and_held(
    fault: str, site: Site, fresh_serve: ServeHead, record_property: Callable[[str, object], None]
) -> None:
    """DEPLOY_FAILED, the good release PUT back and waited for, the digest held; the fix deploys by itself."""
    good = site.push(market(3, replicas=2), "open the market")
    site.start()
    site.until_live(good)

    with Load(f"{fresh_serve.http}/fruit?name=mango&amount=2") as load:
        bad = site.push(BROKEN[fault](), "break it")
        rollback, failed, _ = site.until_history("rollback good", "deploy failed", "deploy good")
    record_property("requests_sent", load.sent)
    record_property("requests_failed", len(load.failed))
    print(f"{fault}: {load.sent} requests, {len(load.failed)} failed: {load.failed[:3]}")  # noqa: T201 - the figure

    assert load.failed == []
    assert load.sent > 20
    assert total(fresh_serve) == 6
    assert failed["followed_by"] == rollback["id"]
    assert failed["failure"]["message"] == REASONS[fault]
    assert rollback["release"]["revision"] == good
    assert rollback["trigger"] == f"{failed['id']} failed"

    state = site.status()
    assert (state["sync"], state["health"], state["mode"]) == ("OutOfSync", "Healthy", "held")
    assert state["live"]["revision"] == good
    assert state["held"][0]["revision"] == bad
    assert state["message"].startswith(f"{bad[:7]} failed at ")
    assert REASONS[fault] in state["message"]
    assert state["message"].endswith("Push a fix, or `deployer retry staging --reason ...`.")

    pick = site.push_file("/README.md", "The same config under another commit.\n", "unrelated commit on top")
    assert site.until_wanted(pick)["mode"] == "held"
    fix = site.push(market(4, replicas=2), "fix it")
    site.until_live(fix)
    assert total(fresh_serve) == 8
    assert [entry["kind"] for entry in site.rollouts()] == ["deploy", "rollback", "deploy", "deploy"]


def test_a_first_deploy_that_fails_is_loud_and_the_fix_deploys(site: Site, fresh_serve: ServeHead) -> None:
    """Nothing to go back to: it says so, holds the digest, and takes the next config."""
    bad = site.push(market(-1), "open the market, wrongly")
    site.start()
    site.until_history("deploy failed")
    state = site.until_wanted(bad)

    assert (state["health"], state["mode"], state["live"]) == ("Degraded", "held", None)
    assert "There is no good release to go back to. Push a fix, or" in state["message"]

    site.until_live(site.push(market(3), "fix it"))
    assert total(fresh_serve) == 6


def test_a_file_that_cannot_be_read_touches_nothing(site: Site, fresh_serve: ServeHead) -> None:
    """One clear sentence with file, line and column; what runs stays; the fix deploys."""
    good = site.push(market(3), "open the market")
    site.start()
    site.until_live(good)
    before = replicas(fresh_serve)

    site.push_file(
        "serve_config.yaml", "applications:\n  - name: fruit\n    name: twice\n", "a duplicate key"
    )
    state = site.until_message("serve_config.yaml:3:5")
    assert (state["sync"], state["health"], state["live"]["revision"]) == ("OutOfSync", "Healthy", good)
    assert replicas(fresh_serve) == before

    git(site.clone, "push", "--quiet", "origin", "--delete", "env/staging")
    state = site.until_message("env/staging")
    assert state["live"]["revision"] == good
    assert total(fresh_serve) == 6
    assert json.dumps(state)


def test_the_older_single_application_format_is_wrapped(site: Site, fresh_serve: ServeHead) -> None:
    """Today's API refuses it; the daemon deploys it as the application `default`, and says that it did."""
    (app,) = market(3)["applications"]
    old = {key: app[key] for key in ("import_path", "args", "deployments")}
    commit = site.push(old, "the format of Ray 2.3")
    site.start()
    state = site.until_live(commit)

    assert {one["name"]: one["status"] for one in state["apps"]} == {"default": "RUNNING"}
    answer = requests.get(fresh_serve.http, params={"name": "mango", "amount": "2"}, timeout=10)
    assert answer.json()["total"] == 6
    seen = next(event for event in site.facts() if isinstance(event, Seen))
    assert seen.notes
    assert "single-application" in seen.notes[0]


def test_a_cluster_out_of_sight_is_waited_for(fresh_serve: ServeHead, sites: Callable[[str], Site]) -> None:
    """Cut off in the middle of a rollout: it says so, rolls nothing back, and goes on when it sees again."""
    host, _, port = fresh_serve.address.removeprefix("http://").partition(":")
    with TcpProxy(host, int(port)) as wire:
        site = sites(wire.address)
        commit = site.push(market(3), "open the market")
        site.start()
        site.until_in_flight("deploy")
        wire.cut()
        state = site.until_message("nothing is rolled back because of it")
        assert (state["sync"], state["health"]) == ("Unknown", "Unknown")
        wire.mend()
        site.until_live(commit)

        assert [event.type for event in site.facts() if event.type != "observed"] == [
            "seen",
            "started",
            "applied",
            "lost_sight",
            "regained_sight",
            "healthy",
            "good",
        ]
        assert total(fresh_serve) == 6
