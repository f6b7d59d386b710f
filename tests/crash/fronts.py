"""The two clusters that a run can have: the fake one behind HTTP, and a real one behind wires.

Both hold every request of the daemon where it arrives and where it is done.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import requests

from deployer.core.live import Live
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_ray_http import APPLICATIONS, FakeRay
from tests.support.tcp_proxy import HoldingProxy

if TYPE_CHECKING:
    from tests.support.arrivals import Hold
    from tests.support.ray_head import ServeHead

_SPEED = 10.0
"""So much faster than a real one goes the fake cluster. The daemon has the real clock."""

_PUT_SECONDS = 60.0


class Front(Protocol):
    """A cluster, as a run needs it."""

    policy: dict[str, Any]
    """How a rollout is judged there: as quickly as the cluster allows."""
    patient: dict[str, Any]
    """What of it is to be otherwise where a replica is well at first: so that its end is seen."""
    step_seconds: float
    """What one step of a story may take, on a machine that does other things."""

    def open(self, hold: Hold) -> tuple[str, str]:
        """Answer from now on; the URLs of the dashboard and of Serve's proxy."""

    def close(self) -> None:
        """Stop answering."""

    def apps(self) -> dict[str, Any]:
        """The configs that the cluster has, by application."""

    def foreign_put(self, body: dict[str, Any]) -> None:
        """Somebody else PUTs this."""

    def lose_state(self) -> None:
        """The head is replaced."""


class FakeFront:
    """The fake."""

    step_seconds = 120.0

    def __init__(self) -> None:
        """An empty cluster."""
        began = time.monotonic()
        self._fake = FakeCluster(now=lambda: (time.monotonic() - began) * _SPEED)
        self.policy = _policy(window="400ms", soak="300ms", build="4s", schedule="1s", start="4s")
        self.patient: dict[str, Any] = {}

    def open(self, hold: Hold) -> tuple[str, str]:
        """Both on one port."""
        self._ray = FakeRay(self._fake, hold).__enter__()
        return self._ray.address, self._ray.address

    def close(self) -> None:
        """Stop answering."""
        self._ray.__exit__()

    def apps(self) -> dict[str, Any]:
        """As it is, whoever can see it."""
        with self._ray.lock:
            live = self._fake.observe()
        assert isinstance(live, Live)
        return {name: app.config for name, app in live.apps.items() if app.status != "DELETING"}

    def foreign_put(self, body: dict[str, Any]) -> None:
        """Not over HTTP, so that it is not held."""
        with self._ray.lock:
            self._fake.foreign_put(body)

    def lose_state(self) -> None:
        """A new session, without Serve."""
        with self._ray.lock:
            self._fake.lose_state()


class RealFront:
    """A real head."""

    step_seconds = 240.0

    def __init__(self, head: ServeHead) -> None:
        """An empty cluster."""
        self._head = head
        self._url = f"{head.address}{APPLICATIONS}"
        self.policy = _policy(window="1s", soak="1s", build="60s", schedule="3s", start="60s")
        # The process exits 4 s after it was started.
        self.patient = {"soak": "15s"}

    def open(self, hold: Hold) -> tuple[str, str]:
        """A wire for each of the two."""
        self._wires = [HoldingProxy(*_place(url), hold) for url in (self._head.address, self._head.http)]
        return self._wires[0].address, self._wires[1].address

    def close(self) -> None:
        """Cut them."""
        for wire in self._wires:
            wire.__exit__()

    def apps(self) -> dict[str, Any]:
        """As Ray says; nothing of it is held."""
        answer = requests.get(self._url, timeout=10)
        answer.raise_for_status()
        return {
            name: app["deployed_app_config"]
            for name, app in answer.json()["applications"].items()
            if app["status"] != "DELETING"
        }

    def foreign_put(self, body: dict[str, Any]) -> None:
        """Past the wires."""
        requests.put(self._url, json=body, timeout=_PUT_SECONDS).raise_for_status()

    def lose_state(self) -> None:
        """The head is for all tests of a session."""
        message = "the head cannot be replaced"
        raise NotImplementedError(message)


def _policy(*, window: str, soak: str, build: str, schedule: str, start: str) -> dict[str, Any]:
    deadlines = {"build": build, "schedule": schedule, "start": start}
    health = {"stability_window": window, "deadlines": deadlines}
    return {"health": health, "checks": check(200), "soak": soak, "rollback": {"deadline": start}}


def check(status: int) -> list[dict[str, Any]]:
    """Checks that expect this status; the applications answer 200."""
    return [{"app": "fruit", "path": "/fruit", "expect": {"status": status}, "retries": 1, "timeout": "2s"}]


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    return parts.hostname, parts.port
