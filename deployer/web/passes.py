"""Counts passes, for those who wait: was what is published seen after they asked?

Owns the two numbers of an environment: of its newest pass that began, and of the newest that published a
status. Must not know what a pass does. Invariant: a number is never told as published before the status of
that pass is in the store. No clock is compared, for clocks are set.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.core.status import Status
    from deployer.engine.reconcile import Outcome


class Runs(Protocol):
    """What runs a pass: the reconciler."""

    def run(self, environment: str) -> Outcome:
        """Run one pass."""


class Passes:
    """Listens to the reconciler, and stands before it. An environment has one pass at a time."""

    def __init__(self) -> None:
        """No pass has begun."""
        self._begun: defaultdict[str, int] = defaultdict(int)
        self._published: defaultdict[str, int] = defaultdict(int)

    def next(self, environment: str) -> int:
        """The number of the first pass that begins after this."""
        return self._begun[environment] + 1

    def published(self, environment: str) -> int:
        """The number of the newest pass whose status is published."""
        return self._published[environment]

    def of(self, reconciler: Runs) -> Runs:
        """The same passes, counted. This object must be among the reconciler's listeners."""
        return _Counted(reconciler, self._begun)

    def recorded(self, record: Record, event: Event) -> None:
        """Nothing to count."""

    def observed(self, status: Status) -> None:
        """The status of the pass that runs now has been published."""
        self._published[status.environment] = self._begun[status.environment]


class _Counted:
    def __init__(self, reconciler: Runs, begun: defaultdict[str, int]) -> None:
        self._reconciler = reconciler
        self._begun = begun

    def run(self, environment: str) -> Outcome:
        self._begun[environment] += 1
        return self._reconciler.run(environment)
