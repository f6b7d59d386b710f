"""What the daemon costs when nothing happens: CPU and memory with 1 and with 200 environments.

200 clusters, one repository, everything live. Beside it, in the same window: a process that imports what the
daemon imports and makes the same number of GETs with requests, and nothing else (the floor).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.push_to_put import config
from benchmarks.site import Daemon, Repository, cpu_seconds, memory_mib
from benchmarks.stub_serve import StubServe

_FLOOR = """
import sys, time
import alembic, git, pydantic, requests, sqlalchemy, structlog, watchdog, yaml
base, count, interval = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
sessions = []
for number in range(count):
    session = requests.Session(); session.trust_env = False
    sessions.append(session)
while True:
    for number, session in enumerate(sessions):
        session.get(f"{base}/c{number}/api/version").json()
        session.get(f"{base}/c{number}/api/serve/applications/").json()
        time.sleep(interval / count)
"""

_LOOK_SECONDS = 15.0
"""The daemon looks at an idle cluster every 15 s; the floor does the same."""

_SETTLE_SECONDS = 120.0


def run(window_seconds: float) -> dict[str, Any]:
    """Measure both sizes, one after the other, each with its floor in the same window."""
    return {f"{count} environments": _measure(count, window_seconds) for count in (1, 200)}


def _measure(count: int, window_seconds: float) -> dict[str, Any]:
    stub = StubServe()
    names = [f"c{number}" for number in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        repository = Repository(root, names)
        repository.commit({name: config(1) for name in names}, "begin")
        repository.push()
        base = stub.address("x").removesuffix("/x")
        try:
            with Daemon(root, repository, {name: stub.address(name) for name in names}) as daemon:
                stub.wait_for_put(count - 1, _SETTLE_SECONDS)
                time.sleep(5)
                floor = subprocess.Popen([sys.executable, "-c", _FLOOR, base, str(count), str(_LOOK_SECONDS)])
                time.sleep(5)
                pids = {"deployer": daemon.process.pid, "floor": floor.pid}
                before = {name: cpu_seconds(pid) for name, pid in pids.items()}
                time.sleep(window_seconds)
                result: dict[str, Any] = {
                    name: {
                        "cpu_percent_of_a_core": round(
                            (cpu_seconds(pid) - before[name]) / window_seconds * 100, 2
                        ),
                        "memory_mib": round(memory_mib(pid), 1),
                    }
                    for name, pid in pids.items()
                }
                floor.kill()
                floor.wait()
        finally:
            stub.stop()
    ours, least = result["deployer"], result["floor"]
    result["ratio_memory"] = round(ours["memory_mib"] / least["memory_mib"], 2)
    least_cpu = max(least["cpu_percent_of_a_core"], 0.01)
    result["ratio_cpu"] = round(ours["cpu_percent_of_a_core"] / least_cpu, 2)
    return result
