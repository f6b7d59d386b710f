"""From `git push` to the PUT, on a local repository, against a cluster that answers at once.

Beside it, in the same rounds and interleaved: the floor (watch the ref, read one file, PUT it; no parsing, no
record, no check of anything) on a repository of its own. The target is below 100 ms at the median.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.site import Daemon, Repository, milliseconds
from benchmarks.stub_serve import StubServe

_FLOOR = """
import subprocess, sys, threading
import requests, yaml
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
bare, address = sys.argv[1:]
wake = threading.Event()
class Handler(FileSystemEventHandler):
    def on_moved(self, event):
        wake.set()
observer = Observer(); observer.schedule(Handler(), bare + "/refs/heads", recursive=True); observer.start()
session = requests.Session(); session.trust_env = False
print("ready", flush=True)
while True:
    wake.wait(); wake.clear()
    show = ["git", "--git-dir", bare, "show", "main:environments/one/serve_config.yaml"]
    text = subprocess.run(show, capture_output=True, check=True).stdout
    session.put(address + "/api/serve/applications/", json=yaml.safe_load(text))
"""

_PUT_SECONDS = 30.0


def config(number: int) -> str:
    """A small config that differs by one value."""
    return (
        "applications:\n  - name: fruit\n    route_prefix: /fruit\n    import_path: fruit:app\n"
        f"    deployments:\n      - name: D\n        user_config: {{price: {number}}}\n"
    )


def run(rounds: int) -> dict[str, Any]:
    """Measure `rounds` pushes of each, after two that warm up."""
    stub = StubServe()
    with tempfile.TemporaryDirectory() as folder:
        ours, floors = Path(folder, "ours"), Path(folder, "floor")
        ours.mkdir()
        floors.mkdir()
        repository, other = Repository(ours, ["one"]), Repository(floors, ["one"])
        for each in (repository, other):
            each.commit({"one": config(0)}, "begin")
            each.push()
        floor = subprocess.Popen(
            [sys.executable, "-c", _FLOOR, str(other.bare), stub.address("floor")], stdout=subprocess.PIPE
        )
        assert floor.stdout is not None  # noqa: S101 - a pipe was asked for
        floor.stdout.readline()
        results: dict[str, list[float]] = {"deployer": [], "floor": []}
        try:
            with Daemon(ours, repository, {"one": stub.address("ours")}):
                stub.wait_for_put(0, _PUT_SECONDS)
                for number in range(1, rounds + 3):
                    for name, each in (("deployer", repository), ("floor", other)):
                        seconds = _once(stub, each, number)
                        if number > 2:
                            results[name].append(seconds)
        finally:
            floor.kill()
            floor.wait()
            stub.stop()
    table: dict[str, Any] = {name: milliseconds(values) for name, values in results.items()}
    table["ratio_p50"] = round(table["deployer"]["p50_ms"] / table["floor"]["p50_ms"], 2)
    return table


def _once(stub: StubServe, repository: Repository, number: int) -> float:
    repository.commit({"one": config(number)}, f"price {number}")
    time.sleep(0.3)
    before = len(stub.puts)
    started = time.monotonic()
    repository.push()
    return stub.wait_for_put(before, _PUT_SECONDS) - started
