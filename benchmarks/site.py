"""What several benchmarks need: a repository, settings, the daemon as a process, and its cost."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_READY_SECONDS = 60.0
_STAGED = "refs/pushed/main"

QUICK = "health: {stability_window: 0s}\nsoak: 0s\ndrift: ignore\n"
"""An `environment.yaml`: good as soon as all is HEALTHY; what a peer deploys in its turn is let alone."""


def git(cwd: Path, *args: str) -> str:
    """Run git away from the user's configuration."""
    env = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Bench",
        "GIT_AUTHOR_EMAIL": "bench@localhost",
        "GIT_COMMITTER_NAME": "Bench",
        "GIT_COMMITTER_EMAIL": "bench@localhost",
    }
    done = subprocess.run(
        ["git", *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


@dataclass
class Repository:
    """A bare repository and a clone to push from, with one folder for each environment."""

    root: Path
    environments: Sequence[str]
    branch: str = "main"

    def __post_init__(self) -> None:
        """Make both; nothing is committed yet."""
        self.bare, self.clone = self.root / "configs.git", self.root / "clone"
        git(self.root, "init", "--quiet", "--bare", "--initial-branch", self.branch, str(self.bare))
        git(self.root, "clone", "--quiet", str(self.bare), str(self.clone))
        git(self.clone, "checkout", "--quiet", "-B", self.branch)

    def commit(self, configs: Mapping[str, str], subject: str) -> None:
        """Commit these Serve configs, by environment."""
        for environment, text in configs.items():
            folder = self.clone / "environments" / environment
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "serve_config.yaml").write_text(text)
            # What is measured is not how long a release is watched before it is called good.
            (folder / "environment.yaml").write_text(QUICK)
        git(self.clone, "add", "--all")
        git(self.clone, "commit", "--quiet", "-m", subject)

    def push(self) -> None:
        """Push what was committed."""
        git(self.clone, "push", "--quiet", "origin", self.branch)

    def stage(self) -> str:
        """Push what was committed to a ref that nobody follows, so that only the move is left; the commit."""
        git(self.clone, "push", "--quiet", "origin", f"+HEAD:{_STAGED}")
        return (self.bare / _STAGED).read_text().strip()

    def move(self) -> float:
        """Move the branch to what was staged, as git moves it; when (monotonic seconds)."""
        branch = self.bare / "refs" / "heads" / self.branch
        lock = branch.with_name(f"{branch.name}.lock")
        lock.write_text((self.bare / _STAGED).read_text())
        now = time.monotonic()
        lock.replace(branch)
        return now


@dataclass
class Daemon:
    """`deployer run` as a process of its own."""

    root: Path
    repository: Repository
    addresses: Mapping[str, str]
    """The cluster's address of each environment."""
    reached: Mapping[str, object] = field(default_factory=dict)
    """How the repository is reached, as the settings have it, if not by its path."""
    more: Mapping[str, object] = field(default_factory=dict)
    """Other parts of the settings."""

    def __enter__(self) -> Self:
        """Write the settings, start, wait for `ready`."""
        self.settings = self.root / "deployer.yaml"
        self.settings.write_text(
            json.dumps(
                {
                    "state_dir": str(self.root / "state"),
                    "server": {"listen": "127.0.0.1:0"},
                    "repositories": {"configs": {"url": str(self.repository.bare), **self.reached}},
                    "environments": {
                        name: {
                            "repository": "configs",
                            "branch": self.repository.branch,
                            "path": f"environments/{name}",
                            "cluster": {"address": address},
                        }
                        for name, address in self.addresses.items()
                    },
                    **self.more,
                }
            )
        )
        self.out, self.log = self.root / "out", self.root / "log"
        with self.out.open("wb") as out, self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployer", "run", "-c", str(self.settings)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while self.out.read_text() != "ready\n":
            if self.process.poll() is not None or time.monotonic() > deadline:
                message = f"the daemon did not start: {self.log.read_text()[-2000:]}"
                raise RuntimeError(message)
            time.sleep(0.02)
        return self

    @property
    def url(self) -> str:
        """Where its API and its webhooks are."""
        return str(json.loads((self.root / "state" / "api.json").read_text())["url"])

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children that ended (`man 5 proc`, fields 14 to 17)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICKS


def memory_mib(pid: int) -> float:
    """Proportional memory of a process and of its children that live, in MiB."""
    pids = [pid, *_children(pid)]
    return sum(_pss_kib(one) for one in pids) / 1024


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which this share of them lies."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def milliseconds(values: Sequence[float]) -> dict[str, float]:
    """Median, p90 and best of some seconds, in milliseconds."""
    return {
        "p50_ms": round(statistics.median(values) * 1000, 1),
        "p90_ms": round(percentile(values, 0.9) * 1000, 1),
        "min_ms": round(min(values) * 1000, 1),
    }


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_children(int(child))]
    return found


def _pss_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0
