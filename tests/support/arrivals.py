"""Requests on their way to a cluster, where a test can hold them: that is where it kills the daemon."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Moment(StrEnum):
    """Where a request is."""

    ARRIVED = "arrived"
    DONE = "done"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One request."""

    method: str
    path: str
    body: bytes = field(repr=False)

    @property
    def is_probe(self) -> bool:
        """Whether it is for Serve's proxy, not for the dashboard."""
        return not self.path.startswith("/api/")


Hold = Callable[[Arrival, Moment], bool]
"""Called there, while who asked waits. False: the request ends here, and nobody gets an answer."""
