"""`deployer --help` and `deployer status`: how long a person waits for them, in a whole process.

Beside them, in turns, `serve --help` and `serve status` of the same application on the same Ray head.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.push_to_healthy import config
from benchmarks.site import Daemon, Repository
from benchmarks.validate import in_turns
from deployer.cli.local_ray import LocalRay

_BIN = Path(sys.executable).parent
_DEPLOY_SECONDS = 180


def run(rounds: int) -> dict[str, Any]:
    """Measure `rounds` of each, in turns, after one that warms up."""
    deployer, serve = str(_BIN / "deployer"), str(_BIN / "serve")
    with tempfile.TemporaryDirectory() as folder, LocalRay(num_cpus=4) as ray:
        root = Path(folder)
        repository = Repository(root, ["one"])
        repository.commit({"one": config(1)}, "open the market")
        repository.push()
        with Daemon(root, repository, {"one": ray.address}) as daemon:
            status = [deployer, "status", "-c", str(daemon.settings)]
            subprocess.run(
                [deployer, "sync", "one", "--wait", "-c", str(daemon.settings)],
                check=True,
                capture_output=True,
                timeout=_DEPLOY_SECONDS,
            )
            found = in_turns(
                {
                    "deployer --help": [deployer, "--help"],
                    "serve --help": [serve, "--help"],
                    "deployer status": status,
                    "deployer status again": status,
                    "serve status": [serve, "status", "-a", ray.address],
                },
                rounds,
            )
    return {
        **found,
        "ratio_help": _ratio(found, "deployer --help", "serve --help"),
        "ratio_status": _ratio(found, "deployer status", "serve status"),
        "ratio_a_a": _ratio(found, "deployer status", "deployer status again"),
    }


def _ratio(found: dict[str, dict[str, float]], ours: str, peer: str) -> float:
    """Of the medians."""
    return round(found[ours]["median_ms"] / found[peer]["median_ms"], 3)
