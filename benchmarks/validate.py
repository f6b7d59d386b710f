"""`deployer validate`: how long a person, a pre-commit hook or a pipeline waits for it.

A config of 1,000 lines, in a whole process; beside it, in turns, what else such a person could start:
`serve --help`, and a process that asks Ray's own validator about the same file. And 500 environments, each a
config of some 20 lines with its policy, in one run; beside it only reading the same files with PyYAML.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_BIN = Path(sys.executable).parent
_LINES = 1000
_ENVIRONMENTS = 500

_RAY = """
import sys, yaml
from ray.serve.schema import ServeDeploySchema
with open(sys.argv[1]) as file:
    ServeDeploySchema.model_validate(yaml.safe_load(file))
"""
_PYYAML = """
import sys, pathlib, yaml
for path in sorted(pathlib.Path(sys.argv[1]).rglob("*.yaml")):
    yaml.safe_load(path.read_bytes())
"""

_APPLICATION = """\
  - name: market-{number}
    route_prefix: /market-{number}
    import_path: market.stands_{number}:app
    runtime_env:
      working_dir: https://git.example.com/market/archive/0123456789abcdef0123456789abcdef01234567.zip
      env_vars:
        FACTOR: "{number}"
    deployments:
      - name: MangoStand
        num_replicas: 2
        health_check_period_s: 5
        user_config:
          price: {number}
        ray_actor_options:
          num_cpus: 0.2
      - name: FruitMarket
        num_replicas: 2
        health_check_period_s: 5
        max_ongoing_requests: 16
        autoscaling_config: null
"""
_HEAD = """\
http_options:
  request_timeout_s: 60
applications:
"""
_POLICY = """\
ray_version: "2.60"
health:
  stability_window: 30s
  deadlines: {build: 10m, schedule: 5m, start: 20m}
checks:
  - {app: market-0, path: /market-0, expect: {status: 200}, timeout: 5s, retries: 4}
soak: 2m
drift: heal
"""


def run(rounds: int) -> dict[str, Any]:
    """Measure both, each beside its peers, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        file = root / "serve_config.yaml"
        count = (_LINES - _HEAD.count("\n")) // _APPLICATION.count("\n")
        text = config(count)
        file.write_text(text + "# the last line\n" * (_LINES - text.count("\n")), encoding="utf-8")
        environments = root / "environments"
        for number in range(_ENVIRONMENTS):
            (environments / f"e{number:03}").mkdir(parents=True)
            (environments / f"e{number:03}" / "serve_config.yaml").write_text(config(1), encoding="utf-8")
            (environments / f"e{number:03}" / "environment.yaml").write_text(_POLICY, encoding="utf-8")
        validate = [str(_BIN / "deployer"), "validate", "--no-ray"]
        whole = in_turns(
            {
                "deployer": [*validate, str(file)],
                "deployer_again": [*validate, str(file)],
                "serve_help": [str(_BIN / "serve"), "--help"],
                "ray_validator": [sys.executable, "-c", _RAY, str(file)],
            },
            rounds,
        )
        many = in_turns(
            {
                "deployer": [*validate, str(environments)],
                "pyyaml": [sys.executable, "-c", _PYYAML, str(environments)],
            },
            max(1, rounds // 3),
        )
    return {
        f"{_LINES} lines": {
            **whole,
            "ratio_to_serve_help": ratio(whole, "serve_help"),
            "ratio_to_ray_validator": ratio(whole, "ray_validator"),
            "ratio_a_a": ratio(whole, "deployer_again"),
        },
        f"{_ENVIRONMENTS} environments": {**many, "ratio_to_pyyaml": ratio(many, "pyyaml")},
    }


def config(applications: int) -> str:
    """A config with so many applications of two deployments, about which there is nothing to say."""
    return _HEAD + "".join(_APPLICATION.format(number=number) for number in range(applications))


def in_turns(commands: dict[str, list[str]], rounds: int) -> dict[str, dict[str, float]]:
    """Each once in every round, after one that warms up the caches of the disk."""
    walls: dict[str, list[float]] = {name: [] for name in commands}
    cpus: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            wall, cpu = _once(command)
            if number:
                walls[name].append(wall)
                cpus[name].append(cpu)
    return {
        name: {
            "median_ms": round(statistics.median(walls[name]) * 1000, 1),
            "best_ms": round(min(walls[name]) * 1000, 1),
            "median_cpu_ms": round(statistics.median(cpus[name]) * 1000, 1),
        }
        for name in commands
    }


def _once(command: list[str]) -> tuple[float, float]:
    """Seconds on the clock and of CPU, from starting the process to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        timeout=300,
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
    )
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ratio(figures: dict[str, dict[str, float]], peer: str) -> float:
    """Of the medians."""
    return round(figures["deployer"]["median_ms"] / figures[peer]["median_ms"], 3)
