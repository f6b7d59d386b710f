"""One real Ray head for all tests of a session, and an empty Serve on it for each test.

A plugin: `pytest_plugins = ["tests.support.ray_head"]`, once, in the top conftest. A head costs seven
seconds and 850 MB, so the tests share it; their applications need no CPU, so that none waits for another's.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from deployer.cli.local_ray import LocalRay, free_port
from tests.support.eventually import eventually
from tests.support.prerequisites import require

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
APPS = Path(__file__).parent / "apps"

EMPTY_SECONDS = 60.0
"""To delete what a test left: the default grace of a replica is 20 s, and a loaded machine adds to it."""

PUT_SECONDS = 120.0
"""The first PUT starts Serve: 2-4 s, and 15 s on a loaded machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeHead:
    """A head with Serve on it: `address` is the dashboard's, `http` where the applications answer."""

    address: str
    http: str

    def empty(self) -> None:
        """Delete every declarative application, and wait until it is gone."""
        url = f"{self.address}/api/serve/applications/"
        requests.put(url, json=self._nothing(), timeout=PUT_SECONDS).raise_for_status()

        def nothing_left() -> bool:
            answer = requests.get(url, timeout=10)
            assert answer.ok, answer.text
            left = answer.json()["applications"]
            assert not left, left
            return True

        eventually(nothing_left, within=EMPTY_SECONDS, every=0.1, what="no application is left")

    def _nothing(self) -> dict[str, object]:
        # Only the first PUT of a head can choose the port; Serve ignores it in all others (2.60).
        port = int(self.http.rpartition(":")[2])
        options = {"host": "127.0.0.1", "port": port}
        return {"proxy_location": "HeadOnly", "http_options": options, "applications": []}


@pytest.fixture(scope="session")
def ray_head() -> Iterator[ServeHead]:
    """A running head, one for the session. It imports applications from `apps` and from the project."""
    require("Ray", find_spec("ray") is not None, "pip install 'ray[serve]'")
    with LocalRay(num_cpus=4, pythonpath=[ROOT, APPS]) as local:
        yield ServeHead(address=local.address, http=f"http://127.0.0.1:{free_port()}")


@pytest.fixture
def fresh_serve(ray_head: ServeHead) -> ServeHead:
    """The head, with Serve started and nothing on it."""
    ray_head.empty()
    return ray_head
