"""From `git push` to healthy, on a real Ray head, beside `serve deploy` and a tight poll of the same change.

Both change the price of the same application on the same cluster, in turns. By hand means: write the file,
`serve deploy file`, and GET every 50 ms until the application is RUNNING and its deployments HEALTHY with a
new `last_deployed_time_s`. A second peer sends the PUT itself with requests and polls the same way, which no
person does: it is Ray's own time. The target is at most 1.1 times by hand.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import requests
import yaml

from benchmarks.site import Daemon, Repository, milliseconds
from deployer.adapters.store import SqlStore
from deployer.cli.context import STORE_FILE
from deployer.cli.local_ray import LocalRay

_POLL_SECONDS = 0.05
_LIMIT_SECONDS = 120.0


def config(price: float) -> str:
    """The fruit market with this price."""
    deployments: list[dict[str, Any]] = [
        {"name": "MangoStand", "num_replicas": 2, "user_config": {"price": price}},
        {"name": "OrangeStand"},
        {"name": "FruitMarket"},
    ]
    for deployment in deployments:
        deployment["ray_actor_options"] = {"num_cpus": 0}
    app = {
        "name": "fruit",
        "route_prefix": "/fruit",
        "import_path": "deployer.examples.fruit:app",
        "deployments": deployments,
    }
    return yaml.safe_dump({"applications": [app]}, sort_keys=False)


def run(rounds: int) -> dict[str, Any]:
    """Measure `rounds` of each in turns, after one that warms up."""
    results: dict[str, list[float]] = {"deployer": [], "serve deploy + poll": [], "raw PUT + poll": []}
    with tempfile.TemporaryDirectory() as folder, LocalRay(num_cpus=4) as ray:
        root = Path(folder)
        repository = Repository(root, ["one"])
        repository.commit({"one": config(1)}, "begin")
        repository.push()
        with Daemon(root, repository, {"one": ray.address}):
            _wait_good(root, 1)
            for number in range(rounds + 1):
                price = 10 + number * 10
                seconds = {
                    "serve deploy + poll": _by_hand(ray.address, root, config(price)),
                    "raw PUT + poll": _raw(ray.address, config(price + 1)),
                    "deployer": _ours(root, repository, config(price + 2), number + 2),
                }
                if number:
                    for name, value in seconds.items():
                        results[name].append(value)
    table: dict[str, Any] = {name: milliseconds(values) for name, values in results.items()}
    ours = statistics.median(results["deployer"])
    table["ratio_to_serve_deploy"] = round(ours / statistics.median(results["serve deploy + poll"]), 2)
    table["ratio_to_raw_put"] = round(ours / statistics.median(results["raw PUT + poll"]), 2)
    return table


def _ours(root: Path, repository: Repository, text: str, rollouts: int) -> float:
    repository.commit({"one": text}, "change the price")
    started = time.monotonic()
    repository.push()
    _wait_good(root, rollouts)
    return time.monotonic() - started


def _wait_good(root: Path, rollouts: int) -> None:
    """Wait until the daemon's record says that so many rollouts ended and the last one is good."""
    store = SqlStore.open_readonly(root / "state" / STORE_FILE)
    deadline = time.monotonic() + _LIMIT_SECONDS
    try:
        while time.monotonic() < deadline:
            record = store.load("one")
            if (
                record.rollouts == rollouts
                and record.rollout is None
                and record.good_rollout == f"one#{rollouts}"
            ):
                return
            time.sleep(0.01)
    finally:
        store.close()
    message = f"rollout {rollouts} is not good"
    raise TimeoutError(message)


def _by_hand(address: str, root: Path, text: str) -> float:
    path = root / "by-hand.yaml"
    path.write_text(text)
    before = _stamp(address)
    started = time.monotonic()
    command = [str(Path(sys.executable).parent / "serve"), "deploy", str(path), "-a", address]
    subprocess.run(command, check=True, capture_output=True, timeout=_LIMIT_SECONDS)
    _wait_healthy(address, before)
    return time.monotonic() - started


def _raw(address: str, text: str) -> float:
    before = _stamp(address)
    body = yaml.safe_load(text)
    started = time.monotonic()
    requests.put(f"{address}/api/serve/applications/", json=body, timeout=_LIMIT_SECONDS).raise_for_status()
    _wait_healthy(address, before)
    return time.monotonic() - started


def _app(address: str) -> dict[str, Any]:
    answer = requests.get(f"{address}/api/serve/applications/", timeout=10).json()
    return dict(answer["applications"]["fruit"])


def _stamp(address: str) -> float:
    return float(_app(address)["last_deployed_time_s"])


def _wait_healthy(address: str, before: float) -> None:
    deadline = time.monotonic() + _LIMIT_SECONDS
    while time.monotonic() < deadline:
        app = _app(address)
        deployments = app["deployments"].values()
        is_healthy = bool(deployments) and all(one["status"] == "HEALTHY" for one in deployments)
        if app["last_deployed_time_s"] != before and app["status"] == "RUNNING" and is_healthy:
            return
        time.sleep(_POLL_SECONDS)
    message = "by hand: not healthy"
    raise TimeoutError(message)
