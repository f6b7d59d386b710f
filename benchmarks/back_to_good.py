"""From a bad `git push` to the good release again, divided by what Serve alone needs to say DEPLOY_FAILED.

Serve retries what cannot start (three times for each replica, at most twenty) before it says that a deploy
failed; only then could somebody who watches its status begin to roll back. The daemon goes back after the
first failed start. Both are measured in turns on one cluster, with the same bad config and under the same
load of 20 requests a second. Alone, the bad config is PUT by hand and Serve is asked every 0.1 s until it
says DEPLOY_FAILED. With the daemon it is pushed, and the time ends when Serve runs exactly the good release,
every replica of it.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import requests
import yaml

from benchmarks.site import Daemon, Repository
from deployer.adapters.store import SqlStore
from deployer.cli.context import STORE_FILE
from deployer.cli.local_ray import LocalRay, free_port
from deployer.core.events import Kind
from deployer.core.record import Result
from tests.e2e.matrix.configs import PREFIX, application
from tests.e2e.matrix.watch import Watch
from tests.support.load import Load
from tests.support.ray_head import APPS, ROOT, ServeHead

TARGETS = {("constructor", 2): 0.7, ("reconfigure", 2): 0.3, ("constructor", 7): 0.3, ("reconfigure", 7): 0.3}
"""The ratio that is wanted, by what raises and the number of replicas."""

CPUS = 4
"""What Ray is told that it has. The application needs none."""

_POLL_SECONDS = 0.1
_LIMIT_SECONDS = 300.0


def run(rounds: int) -> dict[str, Any]:
    """Measure each case `rounds` times, alone and with the daemon in turns."""
    table: dict[str, Any] = {"ray_num_cpus": CPUS}
    for what, replicas in TARGETS:
        table[f"{what} raises, {replicas} replicas"] = _case(what, replicas, rounds)
    return table


def _case(what: str, replicas: int, rounds: int) -> dict[str, Any]:
    good = application(replicas=replicas)
    seconds: dict[str, list[float]] = {"alone": [], "daemon": []}
    sent = lost = 0
    with tempfile.TemporaryDirectory() as folder, LocalRay(num_cpus=CPUS, pythonpath=[ROOT, APPS]) as ray:
        head = ServeHead(address=ray.address, http=f"http://127.0.0.1:{free_port()}")
        head.empty()
        root = Path(folder)
        repository = Repository(root, ["one"])
        repository.commit({"one": _text(good)}, "the good release")
        repository.push()
        with Daemon(root, repository, {"one": head.address}):
            _wait_finished(root, 1)
            for number in range(rounds):
                with Load(head.http + PREFIX), Watch(head.address, [good], _POLL_SECONDS) as watch:
                    seconds["alone"].append(_alone(watch, _bad(what, replicas, 2 * number)))
                    _put(watch.url, good)
                    _wait_whole(watch)
                bad = _bad(what, replicas, 2 * number + 1)
                with Load(head.http + PREFIX) as load, Watch(head.address, [good], _POLL_SECONDS) as watch:
                    seconds["daemon"].append(_ours(root, repository, bad, watch, 3 + 2 * number))
                sent, lost = sent + load.sent, lost + len(load.failed)
                repository.commit({"one": _text(good)}, "the good release again")
                repository.push()
    alone, ours = statistics.median(seconds["alone"]), statistics.median(seconds["daemon"])
    return {
        "alone_to_deploy_failed_s": round(alone, 2),
        "push_to_good_again_s": round(ours, 2),
        "ratio": round(ours / alone, 2),
        "target": TARGETS[what, replicas],
        "lost": f"{lost} of {sent}",
    }


def _bad(what: str, replicas: int, number: int) -> dict[str, Any]:
    """The good application, broken in its own way each time: what has failed once is held."""
    if what == "constructor":
        return application(replicas=replicas, args={"fault": "raise", "release": str(number)})
    return application(replicas=replicas, deployment={"user_config": {"fail": True, "number": number}})


def _alone(watch: Watch, bad: dict[str, Any]) -> float:
    started = time.monotonic()
    _put(watch.url, bad)
    while time.monotonic() - started < _LIMIT_SECONDS:
        (app,) = requests.get(watch.url, timeout=10).json()["applications"].values()
        if app["status"] == "DEPLOY_FAILED":
            return time.monotonic() - started
        time.sleep(_POLL_SECONDS)
    message = f"not DEPLOY_FAILED within {_LIMIT_SECONDS:g} s"
    raise TimeoutError(message)


def _ours(root: Path, repository: Repository, bad: dict[str, Any], watch: Watch, rollouts: int) -> float:
    repository.commit({"one": _text(bad)}, "break it")
    started = time.monotonic()
    repository.push()
    _wait_finished(root, rollouts)
    return _wait_whole(watch) - started


def _wait_finished(root: Path, rollouts: int) -> None:
    """Wait until so many rollouts ended in the record, and the last of them well."""
    store = SqlStore.open_readonly(root / "state" / STORE_FILE)
    deadline = time.monotonic() + _LIMIT_SECONDS
    try:
        while time.monotonic() < deadline:
            record = store.load("one")
            if record.rollouts >= rollouts and record.rollout is None and record.last is not None:
                wanted = Kind.DEPLOY if rollouts == 1 else Kind.ROLLBACK
                if (record.rollouts, record.last.kind, record.last.result) != (rollouts, wanted, Result.GOOD):
                    message = f"not what was expected of rollout {rollouts}: {record.last}"
                    raise RuntimeError(message)
                return
            time.sleep(0.01)
    finally:
        store.close()
    message = f"rollout {rollouts} did not end"
    raise TimeoutError(message)


def _wait_whole(watch: Watch) -> float:
    """Wait until Serve runs the good release; return since when."""
    deadline = time.monotonic() + _LIMIT_SECONDS
    while time.monotonic() < deadline:
        if watch.whole_since is not None:
            return watch.whole_since
        time.sleep(0.01)
    message = "the good release is not whole again"
    raise TimeoutError(message)


def _put(url: str, app: dict[str, Any]) -> None:
    requests.put(url, json={"applications": [app]}, timeout=60).raise_for_status()


def _text(app: dict[str, Any]) -> str:
    return yaml.safe_dump({"applications": [app]}, sort_keys=False)
