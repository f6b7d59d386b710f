"""A constant load: so many requests a second whatever the answers are like, and what became of each.

The requests leave by the clock and not by the last answer, so a service that hangs for five seconds gets a
hundred of them in that time, as it would from its users; a client that waits for each answer would ask once.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

import requests

from tests.support.eventually import eventually

TIMEOUT_SECONDS = 20.0
"""Longer than Serve takes to answer 503 for what it cannot serve, and than any replica takes to start."""

_THREADS = 200
"""How many requests may hang at once: ten seconds of them at 20 a second. Threads start as needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A request that was not answered with 200. `after` is when it was sent, in seconds of the load."""

    after: float
    what: str


@dataclass
class Load:
    """Asks `url` all the time, from `with` to its end, and counts."""

    url: str
    per_second: float = 20.0
    sent: int = 0
    worst_seconds: float = 0.0
    failed: list[Lost] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Start asking."""
        self._lock = threading.Lock()
        self._local = threading.local()
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="load")
        self._started = time.monotonic()
        self._pacer = threading.Thread(target=self._pace, daemon=True)
        self._pacer.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop asking, and wait for the last answers."""
        self._ended.set()
        self._pacer.join()
        self._pool.shutdown()

    def go_on(self, seconds: float) -> None:
        """Ask for so many seconds more, and see that the requests leave."""
        count = self.sent + int(seconds * self.per_second)
        within = 2 * seconds + 5
        eventually(lambda: self.sent >= count, within=within, what=f"{count} requests have left")

    def _pace(self) -> None:
        while not self._ended.is_set():
            self._pool.submit(self._ask)
            self.sent += 1
            due = self._started + self.sent / self.per_second
            self._ended.wait(max(0.0, due - time.monotonic()))

    def _ask(self) -> None:
        sent_at = time.monotonic()
        try:
            answer = self._session().get(self.url, timeout=TIMEOUT_SECONDS)
            is_good = answer.status_code == requests.codes.ok
            what = "" if is_good else f"{answer.status_code} {answer.text[:80]}"
        except requests.RequestException as error:
            what = type(error).__name__
        took = time.monotonic() - sent_at
        with self._lock:
            self.worst_seconds = max(self.worst_seconds, took)
            if what:
                self.failed.append(Lost(after=sent_at - self._started, what=what))

    def _session(self) -> requests.Session:
        """The thread's own: a session is not for many at once."""
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
        session: requests.Session = self._local.session
        return session
