"""One daemon, one story, and the places where the daemon is killed.

The daemon is the real command with the real store and real git. It is killed with SIGKILL: where a request of
it arrives or is done, after so many events, or after some time; and started again, until the story is at its
end. Nothing in the product takes part in it.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import requests
import yaml

from deployer.adapters.store import SqlReader, StoreUnavailable
from deployer.cli.context import STORE_FILE
from deployer.core.body import applications
from tests.crash.fronts import Front
from tests.crash.kills import Kill
from tests.support.arrivals import Arrival, Moment
from tests.support.fake_ray_http import APPLICATIONS
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.core.events import Event
    from deployer.core.record import Record

ENVIRONMENT = "staging"
BRANCH = "env/staging"
FOLDER = "environments/staging"

POLL_SECONDS = 1

QUIET_SECONDS = 1.2
"""Without an event at rest, after a pass that knew what git says and what the cluster runs: the daemon has
nothing more to do. In flight it looks more often; and git is looked at once more in that time."""

_GETS_OF_A_LOOK = 2
"""The version, and the applications."""


@dataclass
class Run:
    """A site of its own."""

    root: Path
    front: Front
    kills: list[Kill]
    reached: list[str] = field(default_factory=list)
    """The kills that came to pass, in words."""
    foreign: set[str] = field(default_factory=set)
    """The applications of other people, which no PUT may leave out."""
    disturbed: int = 0
    """How often the story has changed the cluster behind the daemon's back."""
    violations: list[str] = field(default_factory=list)
    puts: int = 0
    asked: int = 0
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    _pushed: str = ""
    _known_to: tuple[int, str] = (0, "")
    _counts: dict[str, int] = field(default_factory=dict)
    _base: int = 0
    _armed_at: float = 0.0

    def __post_init__(self) -> None:
        """Make the repository and the settings."""
        dashboard, proxy = self.front.open(self._hold)
        self.repo = BareRepo(self.root / "configs.git")
        self.settings = self.root / "deployer.yaml"
        self.state = self.root / "state"
        self._lock = threading.RLock()
        self._over = threading.Event()
        self._reader: SqlReader | None = None
        self.settings.write_text(
            yaml.safe_dump(
                {
                    "state_dir": str(self.state),
                    "server": {"listen": "127.0.0.1:0"},
                    "log": {"format": "json"},
                    "repositories": {
                        "configs": {"url": str(self.repo.path), "poll_interval": f"{POLL_SECONDS}s"}
                    },
                    "environments": {
                        ENVIRONMENT: {
                            "repository": "configs",
                            "branch": BRANCH,
                            "path": FOLDER,
                            "cluster": {"address": dashboard, "serve_address": proxy},
                        }
                    },
                }
            )
        )

    def __enter__(self) -> Self:
        """Start to watch the daemon's store."""
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop all of it."""
        self._over.set()
        self._watcher.join(10)
        self._kill()
        self.front.close()
        if self._reader is not None:
            self._reader.close()

    # --- what a story does -------------------------------------------------------------------------------

    def push(self, config: dict[str, Any], policy: dict[str, Any] | None = None) -> str:
        """Commit a config and what is special about how it is judged; the commit."""
        files = {
            f"{FOLDER}/serve_config.yaml": yaml.safe_dump(config),
            f"{FOLDER}/environment.yaml": yaml.safe_dump({**self.front.policy, **(policy or {})}),
        }
        self._pushed = self.repo.commit(files, branch=BRANCH)
        return self._pushed

    def foreign_put(self, body: dict[str, Any]) -> None:
        """Somebody else PUTs this."""
        self.disturbed += 1
        self.front.foreign_put(body)

    def lose_state(self) -> None:
        """The head is replaced."""
        self.disturbed += 1
        self.front.lose_state()

    def ask(self, command: str, until: Callable[[Record], bool]) -> None:
        """A person asks for something, again and again until it is so: the daemon may die of it."""

        def granted() -> bool:
            if until(self.record()):
                return True
            with suppress(OSError, ValueError, KeyError):
                api = json.loads((self.state / "api.json").read_text())
                self.asked += 1
                requests.post(
                    f"{api['url']}/api/v1/environments/{ENVIRONMENT}/{command}",
                    headers={"Authorization": f"Bearer {api['token']}"},
                    json={"by": "ada", "reason": "the story"},
                    timeout=5,
                )
            return until(self.record())

        self.until(granted, command, every=0.1)

    def sync(self) -> None:
        """Have the cluster looked at: the daemon would do it by itself within 15 s."""
        with suppress(OSError, ValueError, KeyError):
            api = json.loads((self.state / "api.json").read_text())
            url = f"{api['url']}/api/v1/environments/{ENVIRONMENT}/sync"
            headers = {"Authorization": f"Bearer {api['token']}"}
            requests.post(url, headers=headers, json={"by": "ada"}, timeout=5)

    def until(self, condition: Callable[[], object], what: str, *, every: float = 0.02) -> None:
        """Go on until it is so, and start the daemon again whenever it was killed."""
        deadline = time.monotonic() + self.front.step_seconds
        while True:
            self.revive()
            if condition():
                return
            if time.monotonic() > deadline:
                message = f"not within {self.front.step_seconds:g} s: {what}; {self.describe()}"
                raise AssertionError(message)
            time.sleep(every)

    def until_quiet(self) -> None:
        """Wait until the daemon that runs now has looked at git and the cluster, and nothing goes on."""
        seen: tuple[int, int] | None = None
        since = 0.0

        def quiet() -> bool:
            nonlocal seen, since
            record = self.record()
            has_looked = self._counts.get("GET", 0) >= _GETS_OF_A_LOOK and self._knows_git()
            now = (self.starts, record.sequence)
            if now != seen or not has_looked or record.rollout is not None:
                seen, since = now, time.monotonic()
            return time.monotonic() - since >= QUIET_SECONDS

        self.until(quiet, "quiet")

    def _knows_git(self) -> bool:
        """Whether the daemon that runs now has had a pass with the newest commit: its log says so.

        Before it has read git it knows of nothing that it could apply.
        """
        here = (self.starts, self._pushed)
        if self._known_to != here:
            passes = (self.root / f"log-{self.starts}").read_text(errors="replace").splitlines()
            told = f'"revision": "{self._pushed[:7]}"'
            if any('"event": "reconciled"' in line and told in line for line in passes):
                self._known_to = here
        return self._known_to == here

    # --- what there is to see ----------------------------------------------------------------------------

    def record(self) -> Record:
        """The record, as the store has it."""
        return self.reader().load(ENVIRONMENT)

    def facts(self) -> list[Event]:
        """The whole history."""
        return [stored.event for stored in self.reader().events(ENVIRONMENT, limit=100_000)]

    def describe(self) -> str:
        """Where it stands, for a failure."""
        record = self.record()
        rollouts = [f"{e.type} {getattr(e, 'kind', '')}{getattr(e, 'rollout', '')}" for e in self.facts()]
        views = self.reader().views(ENVIRONMENT)
        message = views[ENVIRONMENT][1]["message"] if views else ""
        return f"rollout {record.rollout and record.rollout.id}; events {rollouts[-12:]}; {message}"

    def reader(self) -> SqlReader:
        """The store, for reading."""
        with self._lock:
            deadline = time.monotonic() + self.front.step_seconds
            while self._reader is None:
                self.revive()
                with suppress(StoreUnavailable, OSError):
                    self._reader = SqlReader.open_readonly(self.state / STORE_FILE)
                if time.monotonic() > deadline:
                    message = f"no store: {self._log()}"
                    raise AssertionError(message)
                time.sleep(0.01)
            return self._reader

    # --- life and death ----------------------------------------------------------------------------------

    def revive(self) -> None:
        """Start the daemon if it does not run, and make ready the next kill."""
        with self._lock:
            if self.process is not None:
                code = self.process.poll()
                if code is None:
                    return
                if code != -signal.SIGKILL:
                    message = f"the daemon ended by itself ({code}): {self._log()}"
                    raise AssertionError(message)
            self._counts = {}
            self._base = self._events()
            self._armed_at = time.monotonic()
            self.starts += 1
            with (
                (self.root / f"log-{self.starts}").open("wb") as log,
                (self.root / "out").open("ab") as out,
            ):
                self.process = subprocess.Popen(
                    [sys.executable, "-m", "deployer", "run", "-c", str(self.settings)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=log,
                )

    def kill_now(self, what: str) -> None:
        """Kill it, whatever was planned."""
        with self._lock:
            self._kill()
            self.reached.append(what)

    def _kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait(20)

    def _strike(self, kill: Kill) -> None:
        """The kill that was planned comes to pass. The lock is held."""
        self.kills.remove(kill)
        self._kill()
        self.reached.append(str(kill))

    def _hold(self, arrival: Arrival, moment: Moment) -> bool:
        """Called by the fake Ray, in a thread of its own, for each request: the daemon waits meanwhile."""
        is_put = arrival.method == "PUT" and arrival.path == APPLICATIONS
        if is_put and moment is Moment.ARRIVED:
            self._check_put(json.loads(arrival.body))
        kind = "probe" if arrival.is_probe else arrival.method
        with self._lock:
            if self.process is None or self.process.poll() is not None:
                # Sent by one that has died since: it may still arrive.
                return True
            if moment is Moment.ARRIVED:
                self._counts[kind] = self._counts.get(kind, 0) + 1
            kill = self.kills[0] if self.kills else None
            if kill is None or not kill.is_at(kind, self._counts.get(kind, 0), moment):
                return True
            self._strike(kill)
            return kill.goes_on

    def _check_put(self, body: dict[str, Any]) -> None:
        """A PUT arrives: its intent must be durable by now, and it must say what was intended."""
        self.puts += 1
        record = self.record()
        rollout = record.rollout
        if rollout is None or not rollout.pending:
            self.violations.append(f"PUT {self.puts} without an intent: {self.describe()}")
            return
        sent = {one["name"]: one for one in body["applications"]}
        for name, config in applications(rollout.release, rollout.nonce).items():
            if sent.get(name) != config:
                self.violations.append(f"PUT {self.puts} of {rollout.id} sends another {name}")
        for name in self.foreign - sent.keys():
            self.violations.append(f"PUT {self.puts} of {rollout.id} deletes {name}")

    def _watch(self) -> None:
        """Kill after so many events, or so much time."""
        while not self._over.wait(0.002):
            kill = self.kills[0] if self.kills else None
            if kill is None or not kill.is_watched:
                continue
            with self._lock:
                if self.process is None or self.process.poll() is not None or kill not in self.kills:
                    continue
                if kill.is_due(self._events() - self._base, time.monotonic() - self._armed_at):
                    self._strike(kill)

    def _events(self) -> int:
        """How many events there are, past whatever the product's reader would say of a store half made."""
        path = self.state / STORE_FILE
        if not path.exists():
            return 0
        try:
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1)
        except sqlite3.Error:
            return 0
        try:
            return int(connection.execute("SELECT count(*) FROM events").fetchone()[0])
        except sqlite3.Error:
            return 0
        finally:
            connection.close()

    def _log(self) -> str:
        return (self.root / f"log-{self.starts}").read_text()[-2000:]
