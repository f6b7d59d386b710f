"""A whole site for one story: a bare git repository, a clone to push from, settings, and the real daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from deployer.adapters.store import SqlStore
from deployer.cli.context import STORE_FILE
from deployer.core.history import to_json
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from datetime import datetime

    from deployer.core.events import Event

BRANCH = "env/staging"
FOLDER = "environments/staging"
QUICK = "health: {stability_window: 0s}\nsoak: 0s\n"
"""The `environment.yaml` of stories that are not about being healthy for long."""

READY_SECONDS = 20.0
"""A daemon is ready in about a second; a loaded machine may take many."""

COMMAND_SECONDS = 30.0
"""For a command that answers at once: most of it is the start of Python."""

WAIT_SECONDS = 150.0
"""For one with `--wait`: longer than any `--timeout` that a story gives it (90 s), so that the command itself
tells that it is over, and shorter than the test's own limit."""


def git(cwd: Path, *args: str) -> str:
    """Run git for the test's own repositories, away from the user's configuration."""
    env = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.com",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.com",
    }
    done = subprocess.run(
        ["git", *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=30, check=True
    )
    return done.stdout.strip()


@dataclass
class Daemon:
    """A running `deployer run`."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """Kill it as the kernel would: no warning."""
        self.process.kill()
        self.process.wait(10)

    def terminate(self) -> tuple[int, float]:
        """SIGTERM; return its exit code and how many seconds it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(20)
        return code, time.monotonic() - started

    def events(self) -> list[dict[str, Any]]:
        """The JSON log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@dataclass
class Site:
    """One environment `staging` on a real cluster."""

    root: Path
    address: str
    daemons: list[Daemon] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the repository, the clone and the settings."""
        self.bare = self.root / "configs.git"
        self.clone = self.root / "clone"
        self.settings = self.root / "deployer.yaml"
        git(self.root, "init", "--quiet", "--bare", "--initial-branch", "main", str(self.bare))
        git(self.root, "clone", "--quiet", str(self.bare), str(self.clone))
        git(self.clone, "checkout", "--quiet", "-B", BRANCH)
        policy = self.clone / FOLDER / "environment.yaml"
        policy.parent.mkdir(parents=True)
        # It goes with the first commit of anything else.
        policy.write_text(QUICK)
        self.settings.write_text(
            yaml.safe_dump(
                {
                    "state_dir": str(self.root / "state"),
                    "server": {"listen": "127.0.0.1:0"},
                    "repositories": {"configs": {"url": str(self.bare)}},
                    "environments": {
                        "staging": {
                            "repository": "configs",
                            "branch": BRANCH,
                            "path": FOLDER,
                            "cluster": {"address": self.address},
                        }
                    },
                }
            )
        )

    def push(self, config: dict[str, Any], subject: str) -> str:
        """Commit this Serve config and push it; return the commit."""
        return self.push_file("serve_config.yaml", yaml.safe_dump(config, sort_keys=False), subject)

    def push_file(self, name: str, text: str, subject: str) -> str:
        """Commit one file of the environment's folder (with a leading `/`: of the repository), and push."""
        path = self.clone / name[1:] if name.startswith("/") else self.clone / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        git(self.clone, "add", "--all")
        git(self.clone, "commit", "--quiet", "--allow-empty", "-m", subject)
        git(self.clone, "push", "--quiet", "origin", BRANCH)
        return git(self.clone, "rev-parse", "HEAD")

    def start(self) -> Daemon:
        """Start the real command and wait until it says `ready`."""
        number = len(self.daemons)
        out, log = self.root / f"out-{number}", self.root / f"log-{number}"
        with out.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "deployer", "run", "-c", str(self.settings)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        daemon = Daemon(process=process, log=log)
        self.daemons.append(daemon)

        def ready() -> bool:
            assert process.poll() is None, f"the daemon ended: {log.read_text()[-3000:]}"
            return out.read_text() == "ready\n"

        eventually(ready, within=READY_SECONDS, what="the daemon says ready")
        return daemon

    def stop(self) -> None:
        """End every daemon that still runs."""
        for daemon in self.daemons:
            if daemon.process.poll() is None:
                daemon.terminate()

    def command(self, *args: str) -> subprocess.CompletedProcess[str]:
        """Run `deployer ARGS` as a person would."""
        return subprocess.run(
            [sys.executable, "-m", "deployer", *args, "-c", str(self.settings)],
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS if "--wait" in args else COMMAND_SECONDS,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """`deployer status -o json`, of the one environment."""
        done = self.command("status", "-o", "json")
        assert done.returncode == 0, done.stderr
        (state,) = json.loads(done.stdout)
        return dict(state)

    def history(self) -> list[dict[str, Any]]:
        """`deployer history -o json`, newest first."""
        done = self.command("history", "staging", "-o", "json")
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    def look(self) -> dict[str, Any]:
        """The status as the daemon published it last, read in this process: fast enough to poll."""
        store = SqlStore.open_readonly(self.root / "state" / STORE_FILE)
        try:
            views = store.views()
            assert "staging" in views, "the daemon has not published anything yet"
            return views["staging"][1]
        finally:
            store.close()

    def looked_at(self) -> datetime:
        """When the daemon last looked, as it published it: a look that shows nothing new is told late."""
        store = SqlStore.open_readonly(self.root / "state" / STORE_FILE)
        try:
            return store.views()["staging"][0]
        finally:
            store.close()

    def rollouts(self) -> list[dict[str, Any]]:
        """The history, read in this process."""
        store = SqlStore.open_readonly(self.root / "state" / STORE_FILE)
        try:
            return [to_json(entry) for entry in store.history("staging", limit=50)]
        finally:
            store.close()

    def facts(self) -> list[Event]:
        """The whole history of events, read in this process."""
        store = SqlStore.open_readonly(self.root / "state" / STORE_FILE)
        try:
            return [stored.event for stored in store.events("staging", limit=1000)]
        finally:
            store.close()

    def until_in_flight(self, kind: str, within: float = 60) -> None:
        """Wait until a rollout of this kind was applied, and Serve works on it."""

        def observe() -> bool:
            rollout = self.look()["rollout"]
            assert rollout is not None, self.look()["message"]
            return rollout["kind"] == kind and rollout["phase"] in {"build", "schedule", "start"}

        eventually(observe, within=within, every=0.02, what=f"a {kind} is in flight")

    def until_wanted(self, commit: str, within: float = 30) -> dict[str, Any]:
        """Wait until the daemon knows that git wants this commit, and rests."""

        def observe() -> dict[str, Any] | None:
            state = self.look()
            assert state["wanted"] is not None, state["message"]
            assert state["wanted"]["revision"] == commit, state["message"]
            return state if state["rollout"] is None else None

        return eventually(observe, within=within, every=0.1, what=f"{commit[:7]} is wanted")

    def until_message(self, part: str, within: float = 30) -> dict[str, Any]:
        """Wait until the sentence holds this."""

        def observe() -> dict[str, Any]:
            state = self.look()
            assert part in state["message"], state["message"]
            return state

        return eventually(observe, within=within, every=0.1, what=f"the sentence says {part}")

    def until_live(self, commit: str, within: float = 60) -> dict[str, Any]:
        """Wait until this commit is what is live, and nothing is in flight."""

        def observe() -> dict[str, Any] | None:
            state = self.look()
            is_live = state["live"] is not None and state["live"]["revision"] == commit
            assert is_live, (state["message"], state["sync"], state["health"])
            assert state["rollout"] is None, state["message"]
            return state if state["sync"] == "Synced" else None

        return eventually(observe, within=within, every=0.1, what=f"{commit[:7]} is live")

    def until_history(self, *results: str, within: float = 90) -> list[dict[str, Any]]:
        """Wait until the newest rollouts are these, each as `kind result`, newest first."""

        def observe() -> list[dict[str, Any]]:
            entries = self.rollouts()
            found = [f"{entry['kind']} {entry['result']}" for entry in entries[: len(results)]]
            assert found == list(results), (found, self.look()["message"])
            return entries

        return eventually(observe, within=within, every=0.1, what=f"history is {results}")
