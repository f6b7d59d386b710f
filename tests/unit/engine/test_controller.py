"""The controller's threads: what follows a pass, progress, and a stop that does not wait for the world."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from deployer.engine.controller import Controller
from deployer.engine.outbox import Outbox
from deployer.engine.reconcile import After, Again, BackOff, GiveUp, NotYet, Outcome
from deployer.engine.systemd import Notifier
from deployer.engine.workqueue import WorkQueue
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class NoSources:
    """Git says nothing."""

    def start(self) -> None:
        """Nothing to start."""

    def stop(self, timeout_seconds: float) -> None:
        """Nothing to stop."""


@dataclass
class Passes:
    """Passes that end as the test says, and remember that they ran."""

    outcome: Callable[[str, int], Outcome]
    runs: dict[str, int] = field(default_factory=dict)

    def run(self, environment: str) -> Outcome:
        """Count, and end as told."""
        self.runs[environment] = self.runs.get(environment, 0) + 1
        return self.outcome(environment, self.runs[environment])


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Callable[..., Controller]]:
    """Build controllers; each is stopped at the end."""
    built: list[Controller] = []

    def build(passes: Passes, *environments: str, notify: str = "", watchdog: str = "") -> Controller:
        environ = {"NOTIFY_SOCKET": notify, "WATCHDOG_USEC": watchdog} if notify else {}
        controller = Controller(
            environments=environments,
            passes=passes,
            queue=WorkQueue(jitter=random.Random(1).random),
            sources=NoSources(),
            outbox=Outbox(cast("Any", None), ()),
            notifier=Notifier(environ),
            workers=4,
        )
        built.append(controller)
        return controller

    yield build
    for controller in built:
        controller.stop()


def test_every_environment_gets_its_first_pass(build: Callable[..., Controller]) -> None:
    """More environments than workers, each looked at."""
    passes = Passes(lambda _name, _run: After(seconds=60))
    names = [f"env-{number}" for number in range(20)]
    build(passes, *names).start()

    eventually(lambda: sorted(passes.runs) == sorted(names), within=5)
    assert set(passes.runs.values()) == {1}


def test_what_follows_a_pass(build: Callable[..., Controller]) -> None:
    """Again: at once. After, not yet: later. Back off: soon. Give up: never."""
    outcomes: dict[str, list[Outcome]] = {
        "again": [Again(), Again(), After(seconds=60)],
        "after": [After(seconds=0.05), After(seconds=60)],
        "not-yet": [NotYet(seconds=0.05), After(seconds=60)],
        "back-off": [BackOff(why="x"), BackOff(why="x"), After(seconds=60)],
        "give-up": [GiveUp(why="x")],
    }
    passes = Passes(lambda name, run: outcomes[name][run - 1])
    build(passes, *outcomes).start()

    eventually(lambda: passes.runs == {name: len(each) for name, each in outcomes.items()}, within=5)


def test_who_waits_for_a_turn_still_backs_off(build: Callable[..., Controller]) -> None:
    """A cluster that hangs is not asked at the shortest pace, because a pass in between was none."""
    outcomes: list[Outcome] = [BackOff(why="x"), NotYet(seconds=0.01)] * 4
    passes = Passes(lambda _name, run: outcomes[run - 1] if run <= len(outcomes) else GiveUp(why="x"))
    started = time.monotonic()
    build(passes, "waits").start()

    eventually(lambda: passes.runs.get("waits", 0) >= 6, within=10)
    assert time.monotonic() - started > 0.8 * (0.1 + 0.4 + 1.6)


def test_a_stop_does_not_wait_for_a_pass_that_hangs(build: Callable[..., Controller]) -> None:
    """SIGTERM must end within 5 s, whatever a cluster does."""
    entered, release = threading.Event(), threading.Event()

    def hang(_name: str, _run: int) -> Outcome:
        entered.set()
        release.wait(30)
        return After(seconds=60)

    controller = build(Passes(hang), "staging")
    controller.start()
    assert entered.wait(5)
    started = time.monotonic()
    controller.stop()
    took = time.monotonic() - started
    release.set()

    assert took < 4.5


def test_a_stop_takes_no_more_work(build: Callable[..., Controller]) -> None:
    """After it returns no pass runs."""
    passes = Passes(lambda _name, _run: After(seconds=0.01))
    controller = build(passes, "staging")
    controller.start()
    eventually(lambda: passes.runs.get("staging", 0) > 3, within=5)
    controller.stop()
    runs = passes.runs["staging"]

    assert not any(thread.name.startswith("worker-") for thread in threading.enumerate())
    assert passes.runs["staging"] == runs


def test_progress_is_shown_by_passes(
    build: Callable[..., Controller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pass that hangs longer than any pass may is no progress, so the watchdog is not fed."""
    entered, release = threading.Event(), threading.Event()

    def hang(_name: str, _run: int) -> Outcome:
        entered.set()
        release.wait(30)
        return After(seconds=60)

    controller = build(Passes(hang), "staging")
    controller.start()
    assert entered.wait(5)
    assert controller.makes_progress()

    later = time.monotonic() + 100
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert controller.makes_progress(), "a pass may be in a slow PUT"
    later += 100
    assert not controller.makes_progress()
    monkeypatch.undo()
    release.set()
    eventually(controller.makes_progress, within=5)


def test_systemd_hears_ready_watchdog_and_stopping(tmp_path: Path, build: Callable[..., Controller]) -> None:
    """READY=1 once the first passes are scheduled, WATCHDOG=1 while passes end, STOPPING=1."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(5)
        passes = Passes(lambda _name, _run: After(seconds=0.05))
        controller = build(passes, "staging", notify=str(path), watchdog="300000")
        controller.start()
        main = threading.Thread(target=controller.run_until_stopped)
        main.start()
        heard = [server.recv(4096).decode() for _ in range(4)]
        controller.request_stop()
        main.join(5)
        controller.stop()

        assert heard == ["STATUS=watching 1 environment", "READY=1", "WATCHDOG=1", "WATCHDOG=1"]
        said = ""
        while "STOPPING=1" not in said:
            said = server.recv(4096).decode()
