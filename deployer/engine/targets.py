"""What messages are delivered to, how a target says no, and how long it is tried.

Owns the face of a target, its ways not to take something, the pauses, and the simplest target, the log.
Must not know messages, nor who delivers. Invariant: a pause grows and has an end; and a target that takes no
time says so, for it is given what is there before a stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from deployer.core.messages import PEOPLE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from deployer.adapters.store import OutboxRow
    from deployer.adapters.store.letters import TargetState
    from deployer.core.status import Status

log = structlog.get_logger(__name__)


class Refused(Exception):  # noqa: N818 - says what it is
    """The target does not take this message, and takes others. `why` is a sentence."""

    def __init__(self, why: str) -> None:
        """Take the sentence."""
        super().__init__(why)
        self.why = why


class Away(Exception):  # noqa: N818 - as above
    """The target takes nothing now. `retry_after` is when it wants to be asked again, in seconds."""

    def __init__(self, why: str, retry_after: float | None = None) -> None:
        """Take the sentence."""
        super().__init__(why)
        self.why = why
        self.retry_after = retry_after


class LockedOut(Away):
    """The target does not let us in. Somebody has to act; to ask on and on would have us banned."""


class Gone(LockedOut):
    """The target is no more, and says so: all that waits for it is dead at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long it is tried. Seconds, but for the two counts.

    Pauses grow from the first by two, up to the longest, each up to a fifth longer or shorter. A message that
    is refused `refusals` times is dead; so is all that waits for a target which has not let us in `lockouts`
    times in a row, and what has waited for longer than the `age` for one that is away.
    """

    first: float = 1.0
    longest: float = 300.0
    refusals: int = 6
    lockouts: int = 10
    age: float = 3 * 86_400.0

    def pause(self, failures: int, jitter: float) -> float:
        """After so many failures, at least one; `jitter` is from 0 to 1."""
        step = min(self.first * 2.0 ** min(failures - 1, 32), self.longest)
        return step * (0.8 + 0.4 * jitter)


class Target(Protocol):
    """Where messages go. `audience` are those it takes.

    `environments` are those it takes messages of; None is all. `is_here`: it takes no time, and is given what
    is there before a stop.
    """

    @property
    def name(self) -> str:
        """By which its place in the outbox is kept."""

    @property
    def audience(self) -> str:
        """Whose messages it takes."""

    @property
    def environments(self) -> Collection[str] | None:
        """Whose events may bring a message for it."""

    @property
    def is_here(self) -> bool:
        """Whether it is this process."""

    def deliver(self, row: OutboxRow) -> None:
        """Return once the target took it. Raises Refused, Away or LockedOut; any other error is Away."""

    def hears_of(self, status: Status) -> bool:
        """Whether a status that was published may have brought a message, without an event."""

    def interrupt(self) -> None:
        """End what runs, at once; nothing is delivered any more."""


class OutboxStore(Protocol):
    """What the outbox needs of the store: `deployer.adapters.store.OutboxStore`."""

    def register(self, target: str, audience: str) -> TargetState:
        """Know a target."""

    def due(self, target: str, audience: str, now: datetime, limit: int) -> Sequence[OutboxRow]:
        """What may be delivered now."""

    def next_at(self, target: str) -> datetime | None:
        """When more is due."""

    def settle(self, target: str, taken: Sequence[OutboxRow], now: datetime) -> None:
        """They were taken."""

    def refuse(self, target: str, row: OutboxRow, *, why: str, at: datetime, is_dead: bool = False) -> None:
        """This one was not."""

    def pause(self, target: str, *, why: str, until: datetime) -> None:
        """Nothing is taken."""

    def bury(
        self, target: str, audience: str, *, why: str, at: datetime, before: datetime | None = None
    ) -> int:
        """Make dead letters of what waits."""

    def forget(self, audience: str, targets: Collection[str], *, before: datetime, limit: int) -> int:
        """Remove what all of these are done with."""


class LogTarget:
    """The journal of the operator: one line for each announcement."""

    name = "log"
    audience = PEOPLE
    environments = None
    is_here = True

    def deliver(self, row: OutboxRow) -> None:
        """Log the sentence."""
        log.info("announced", environment=row.environment, message_id=row.id, message=row.message)

    def hears_of(self, status: Status) -> bool:  # noqa: ARG002 - of a `Target`
        """People are told what happened."""
        return False

    def interrupt(self) -> None:
        """It takes no time."""
