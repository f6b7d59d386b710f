"""The four numbers of each environment, from its history.

Owns how long an answer is kept. Must not know what the numbers mean: that is `core.dora`. Invariant: the
history of one environment is held at a time, never all of it.
"""

from __future__ import annotations

import threading
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from deployer.core import dora
from deployer.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from deployer.core.history import Entry
    from deployer.web.models._ports import Store

_PAGE = 25
"""Rollouts read at a time: those of a month, where one a day is usual."""

_KEPT = timedelta(minutes=1)
"""The numbers are of days: who reloads the page need not have them counted anew."""


_WAIT_SECONDS = 10.0
"""For who is counting: each who waits holds a thread."""


class Numbers:
    """The numbers, kept for a minute. Thread-safe."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        """Nothing is counted yet."""
        self._store = store
        self._now = now
        # By environment, for the number of days that was asked for last: what is kept cannot grow by asking.
        self._kept: dict[str, tuple[int, datetime, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def of(self, environment: str, days: int) -> dict[str, Any]:
        """Those of the last `days`. Raises Problem if others are being counted for long."""
        now = self._now()
        kept = self._kept.get(environment)
        if kept is not None and kept[0] == days and timedelta() <= now - kept[1] < _KEPT:
            return kept[2]

        def page(before: str | None) -> Sequence[Entry]:
            return self._store.history(environment, limit=_PAGE, before=before)

        # One at a time: a second one who asks for everything would only make both slower.
        if not self._lock.acquire(timeout=_WAIT_SECONDS):
            detail = "Other numbers are being counted, of a long time: try again in a moment."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)
        try:
            entries = dora.gather(page, begin=now - timedelta(days=days))
        finally:
            self._lock.release()
        numbers = dora.numbers(entries, now=now, days=days)
        self._kept[environment] = (days, now, numbers)
        return numbers
