"""A look at Serve all the time, beside the daemon: what the rows are timed by.

Owns one thread that only reads. Must not know the daemon. Invariant: nothing seen is nothing learned; a
dashboard can be away while everything serves.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Self

import requests

LOOK_SECONDS = 0.2
"""Between two looks of the watch. A look costs Ray's control loop some 10 ms."""


class Watch:
    """Looks at Serve all the time, beside the daemon: since when does it run exactly `goal`, whole?"""

    def __init__(self, address: str, goal: list[dict[str, Any]], every: float = LOOK_SECONDS) -> None:
        """Look at nothing yet. `every` is in seconds."""
        self._every = every
        self.url = f"{address}/api/serve/applications/"
        self.goal = goal
        self.whole_since: float | None = None
        self.statuses: list[str] = []
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        """Start looking."""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop looking. What ended that early shows here, unless something else went wrong already."""
        self._ended.set()
        self._thread.join(30)
        if self._error is not None and kind is None:
            message = "the watch came to its end early"
            raise AssertionError(message) from self._error

    def _run(self) -> None:
        try:
            self._look()
        except Exception as error:  # noqa: BLE001 - it is raised at the end, in the thread that measures
            self._error = error
            self.whole_since = None

    def _look(self) -> None:
        with requests.Session() as session:
            session.trust_env = False
            while not self._ended.wait(self._every):
                try:
                    answer = session.get(self.url, timeout=10)
                    found = answer.json()["applications"] if answer.ok else None
                except requests.RequestException:
                    found = None
                if found is not None:
                    self._see(found)

    def _see(self, found: dict[str, Any]) -> None:
        for app in found.values():
            if app["status"] not in self.statuses[-1:]:
                self.statuses.append(app["status"])
        if not is_whole(found, self.goal):
            self.whole_since = None
        elif self.whole_since is None:
            self.whole_since = time.monotonic()


def is_whole(found: dict[str, Any], goal: list[dict[str, Any]]) -> bool:
    """Whether Serve runs these applications and no other ones, with every replica that they need."""
    configs = {name: app["deployed_app_config"] for name, app in found.items()}
    if configs != {app["name"]: app for app in goal}:
        return False
    deployments = [one for app in found.values() for one in app["deployments"].values()]
    return (
        all(app["status"] == "RUNNING" for app in found.values())
        and all(one["status"] == "HEALTHY" for one in deployments)
        and all(
            [replica["state"] for replica in one["replicas"]] == ["RUNNING"] * one["target_num_replicas"]
            for one in deployments
        )
    )
