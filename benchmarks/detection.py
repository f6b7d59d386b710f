"""From the moment a branch has moved until the daemon knows the new commit and has enqueued its environment.

Three ways to hear of it: a local repository is watched, a signed webhook comes to the real server (sent in
the moment of the move, as a forge does), and a poll. Beside each, in the same rounds and on repositories of
their own, the floors: `git ls-remote` alone; a bare inotify watch and `git fetch`; a bare HTTP round trip,
`git ls-remote` and `git fetch`. The first two ways are measured twice, on two repositories (an A/A pair).

A push is taken apart. Its objects are brought by a real `git push` to a ref that nobody follows, and the
branch is moved as git moves it: `main.lock` is written and renamed. So the clock starts at the move itself;
`git push` ends some milliseconds after it, when a watch has long heard of it. Remote is `git http-backend` on
loopback, in a process of its own.

A poll finds a push after half its interval on average, and after a look. What counts is how much later than
that half, the interval being the one that was asked for. The moves are spread evenly over the time between
two looks, so that a few rounds give the mean.
"""

from __future__ import annotations

import secrets
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import servers
from benchmarks.floors import Floors
from benchmarks.push_to_put import config
from benchmarks.site import Repository, milliseconds
from deployer import logs
from deployer.adapters.store import SqlStore
from deployer.core.source import Branch
from deployer.core.types import Desired
from deployer.engine.sources import EnvironmentSource, RepositorySpec, Sources
from deployer.web import Hooks, HookSpec, serving
from tests.support.bare_faces import nothing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

_LOCAL, _HOOKED, _POLLED = ("local", "local_again"), ("webhook", "webhook_again"), "poll"
_WATCHED, _ASKED = "watched", "asked"
"""The repositories of the floors."""

_POLL_SECONDS = 1.0
_NEVER_SECONDS = 3600.0
_WARM_UP = 2
_LOOKS = 4
"""From which the time between two looks is taken."""

GOLDEN = 0.618033988749895
"""Its multiples, less their whole part, lie evenly however many they are."""

_WAIT_SECONDS = 30.0


def run(rounds: int) -> dict[str, Any]:
    """Measure `rounds` moves of each, after two that warm up."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root = Path(folder)
        logs.configure(stack.enter_context((root / "log").open("w", encoding="utf-8")), json=True)
        stack.callback(logs.configure, sys.stderr)
        repositories = {
            name: _repository(root / name) for name in (*_LOCAL, *_HOOKED, _POLLED, _WATCHED, _ASKED)
        }
        remote = stack.enter_context(servers.serving(root))
        daemon = stack.enter_context(_Daemon(root, remote.git).running())
        floors = Floors(root, repositories[_WATCHED], repositories[_ASKED], remote)
        between = daemon.seconds_between_looks(_POLLED)
        seconds: dict[str, list[float]] = {}
        for number in range(_WARM_UP + rounds):
            # First, so that the polls meet each of the others now and then, not one of them always.
            time.sleep(number * GOLDEN % 1 * between)
            found = {}
            for name in (*_LOCAL, *_HOOKED):
                found[name] = _detected(daemon, repositories[name], name, number)
            found |= floors.measured(number)
            found[_POLLED] = _detected(daemon, repositories[_POLLED], _POLLED, number)
            if number >= _WARM_UP:
                for name, value in found.items():
                    seconds.setdefault(name, []).append(value)
    return _report(seconds, between)


def _report(seconds: dict[str, list[float]], between: float) -> dict[str, Any]:
    middle = {name: statistics.median(values) for name, values in seconds.items()}

    def ratio(one: str, other: str) -> float:
        return round(middle[one] / middle[other], 2)

    mean = statistics.fmean(seconds.pop(_POLLED))
    later = mean - _POLL_SECONDS / 2
    return {
        **{name: milliseconds(values) for name, values in seconds.items()},
        "poll": {
            "interval_s": _POLL_SECONDS,
            "between_looks_s": round(between, 2),
            "mean_s": round(mean, 2),
            "beyond_half_the_interval_s": round(later, 2),
        },
        "ratios": {
            "local_to_watch_fetch": ratio("local", "watch_fetch"),
            "local_to_ls_remote": ratio("local", "path_ls_remote"),
            "webhook_to_http_ls_remote_fetch": ratio("webhook", "http_ls_remote_fetch"),
            "webhook_to_ls_remote": ratio("webhook", "http_ls_remote"),
            "poll_beyond_half_to_ls_remote": round(later / middle["http_ls_remote"], 2),
            "a_a_local": ratio("local_again", "local"),
            "a_a_webhook": ratio("webhook_again", "webhook"),
        },
    }


# --- ours --------------------------------------------------------------------------------------------------


class _Daemon:
    """The sources of the daemon, and its server with its webhooks. Says when a commit was enqueued."""

    def __init__(self, root: Path, remote: str) -> None:
        self._state = root / "state"
        self._state.mkdir()
        self._enqueued: dict[str, tuple[str, float]] = {}
        self._arrived = threading.Condition()
        self._secret = secrets.token_hex(32)
        self._secret_file = root / "secret"
        self._secret_file.write_text(self._secret)
        self._secret_file.chmod(0o600)
        self._url = ""
        names = (*_LOCAL, *_HOOKED, _POLLED)
        self.sources = Sources(
            repositories=[
                RepositorySpec(
                    name=name,
                    url=str(root / name / "configs.git")
                    if name in _LOCAL
                    else f"{remote}/{name}/configs.git",
                    poll_seconds=_POLL_SECONDS if name == _POLLED else _NEVER_SECONDS,
                )
                for name in names
            ],
            environments=[
                EnvironmentSource(
                    environment=name, repository=name, source=Branch("main"), path="environments/one"
                )
                for name in names
            ],
            mirrors_dir=self._state / "mirrors",
            enqueue=self._enqueue,
        )

    def _enqueue(self, environment: str) -> None:
        now = time.monotonic()
        wanted = self.sources.wanted(environment)
        if isinstance(wanted, Desired):
            with self._arrived:
                self._enqueued[environment] = wanted.release.revision.commit, now
                self._arrived.notify_all()

    @contextmanager
    def running(self) -> Iterator[_Daemon]:
        """Run, from when the first commits were enqueued."""
        store = SqlStore.open(self._state / "store.db")
        spec = HookSpec(scheme="github", secret_file=self._secret_file)
        hooks = Hooks(dict.fromkeys(_HOOKED, spec), self.sources.hooked)
        self.sources.start()
        try:
            with serving(
                nothing, self._state, host="127.0.0.1", port=0, token=secrets.token_hex(), hooks=hooks
            ) as self._url:
                for name in (*_LOCAL, *_HOOKED, _POLLED):
                    self.wait(name)
                yield self
        finally:
            self.sources.stop(_WAIT_SECONDS)
            store.close()

    def wait(self, environment: str, commit: str | None = None) -> float:
        """When the commit, or any, was enqueued (monotonic seconds)."""

        def is_there() -> bool:
            found = self._enqueued.get(environment)
            return found is not None and commit in {None, found[0]}

        with self._arrived:
            if not self._arrived.wait_for(is_there, _WAIT_SECONDS):
                message = f"{environment} was not enqueued within {_WAIT_SECONDS} s"
                raise TimeoutError(message)
            return self._enqueued[environment][1]

    def hook(self, repository: str) -> None:
        """Send a signed webhook, and wait for the answer."""
        servers.hook(self._url, repository, self._secret)

    def seconds_between_looks(self, repository: str) -> float:
        """How long the pause between two looks really is, from the beginning of one to that of the next."""
        began = [self._next_look(repository) for _ in range(_LOOKS + 1)]
        return (began[-1] - began[0]).total_seconds() / _LOOKS

    def _next_look(self, repository: str) -> datetime:
        before, deadline = self.sources.looks(repository).ended, time.monotonic() + _WAIT_SECONDS
        while (looks := self.sources.looks(repository)).ended == before or looks.seen_at is None:
            if time.monotonic() > deadline:
                message = f"no look at {repository} within {_WAIT_SECONDS} s"
                raise TimeoutError(message)
            time.sleep(0.01)
        return looks.seen_at


def _detected(daemon: _Daemon, repository: Repository, name: str, number: int) -> float:
    repository.commit({"one": config(number)}, f"price {number}")
    commit = repository.stage()
    moved_at = repository.move()
    if name in _HOOKED:
        daemon.hook(name)
    return daemon.wait(name, commit) - moved_at


def _repository(root: Path) -> Repository:
    root.mkdir()
    made = Repository(root, ["one"])
    made.commit({"one": config(-1)}, "begin")
    made.push()
    return made
