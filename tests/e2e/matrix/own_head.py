"""A Ray head that a row may cut off, wound, kill and replace, always found at the same address.

Owns a head, a wire in front of its dashboard, and what was started again of it. Must not know what is
deployed. Invariant: only processes that this head started are ever killed, each by its id.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Self

import requests

from deployer.cli.local_ray import LocalRay, free_port
from tests.support.eventually import eventually
from tests.support.ray_head import APPS, ROOT, ServeHead
from tests.support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

CPUS = 4
"""What Ray is told that it has. The applications need none; Ray keeps so many idle workers ready."""

ANSWERS_SECONDS = 60.0
"""For a dashboard that was started again: 3 s of it is the import of Serve, and a machine may be loaded."""


class Wire(TcpProxy):
    """A wire whose far end can be moved to another head."""

    def lead_to(self, address: str) -> None:
        """Connect to this address from now on."""
        host, _, port = address.removeprefix("http://").partition(":")
        self._target = (host, int(port))


class OwnHead:
    """A head behind a wire: `address` is the wire's, and stays when the head is replaced."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._ray = LocalRay(num_cpus=CPUS, pythonpath=[ROOT, APPS])
        self._dashboard: subprocess.Popen[bytes] | None = None
        self.http_port = free_port()
        self.wire = Wire("127.0.0.1", 0)

    def __enter__(self) -> Self:
        """Start the head, and Serve on it."""
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._stop()
        self.wire.__exit__()

    @property
    def serve(self) -> ServeHead:
        """The head as the other tests know it."""
        return ServeHead(address=self.wire.address, http=f"http://127.0.0.1:{self.http_port}")

    @property
    def direct(self) -> str:
        """The dashboard's own address, not through the wire."""
        return self._ray.address

    def restart(self) -> None:
        """Stop the whole head, and put another one in its place."""
        self._stop()
        self._ray.start()
        self.wire.lead_to(self._ray.address)

    def kill_controller(self) -> None:
        """SIGKILL to Serve's controller; return when Ray has started another one."""
        old = self._controller()
        assert old in self._processes(), f"{old} is not a process of this head"
        os.kill(old, signal.SIGKILL)

        def is_another() -> bool:
            return self._controller() not in {0, old}

        eventually(is_another, within=ANSWERS_SECONDS, every=0.2, what="there is another controller")

    def kill_dashboard(self) -> None:
        """SIGKILL to the dashboard; nobody starts it again (2.60).

        `ray start --block` would end the whole head when it misses one of its children, which people who
        start Ray without `--block` do not see; so it is stopped (SIGSTOP) first.
        """
        (pid,) = (pid for pid in self._processes() if _is_dashboard(pid))
        (starter,) = (pid for pid in self._processes() if _is_starter(pid))
        self._how = [os.fsdecode(word) for word in _words(pid, "cmdline")]
        self._environment = dict(os.fsdecode(word).split("=", 1) for word in _words(pid, "environ"))
        os.kill(starter, signal.SIGSTOP)
        os.kill(pid, signal.SIGKILL)

    def start_dashboard(self) -> None:
        """Start the killed dashboard as it was started before."""
        self._dashboard = subprocess.Popen(
            self._how,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        eventually(self._answers, within=ANSWERS_SECONDS, every=0.2, what="the dashboard answers again")

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.direct}/api/serve/applications/", timeout=5).ok
        except requests.RequestException:
            return False

    def _controller(self) -> int:
        """The process id of the controller that lives; 0 if none does."""
        answer = requests.get(f"{self.direct}/api/v0/actors", params={"detail": "true"}, timeout=20)
        answer.raise_for_status()
        actors = answer.json()["data"]["result"]["result"]
        found = [actor for actor in actors if actor["class_name"] == "ServeController"]
        return next((int(actor["pid"]) for actor in found if actor["state"] == "ALIVE"), 0)

    def _start(self) -> None:
        self._ray.start()
        self.wire.lead_to(self._ray.address)
        self.serve.empty()

    def _stop(self) -> None:
        if self._dashboard is not None:
            os.killpg(self._dashboard.pid, signal.SIGKILL)
            self._dashboard.wait(10)
            self._dashboard = None
        self._ray.stop()

    def _processes(self) -> list[int]:
        keeper = self._ray._keeper
        assert keeper is not None, "the head does not run"
        return list(_descendants(keeper.pid))


def _is_dashboard(pid: int) -> bool:
    return any(word.endswith(b"/dashboard/dashboard.py") for word in _words(pid, "cmdline"))


def _is_starter(pid: int) -> bool:
    return {b"ray.scripts.scripts", b"--block"} <= set(_words(pid, "cmdline"))


def _words(pid: int, name: str) -> list[bytes]:
    return Path(f"/proc/{pid}/{name}").read_bytes().rstrip(b"\0").split(b"\0")


def _descendants(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield int(child)
            yield from _descendants(int(child))
