"""The orders that `decide` gives, in the imperative. Only a `Put` changes the world outside.

Owns the actions. Must not know how they are carried out. Invariant: a `Put` names a rollout whose intent is
already durable. Each action carries the number of the policy line that gave it, for `explain`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deployer.core.events import Event, LogSource
from deployer.core.record import Rollout
from deployer.core.types import Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Write these facts, in this order, in one transaction; then decide again at once."""

    line: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Send this body for the rollout, then write the outcome.

    `body` is the whole PUT body: the rollout's applications and, as they are now, everybody else's.
    """

    line: int
    rollout: Rollout
    body: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Make one attempt of this check of the rollout's policy, then write what was answered."""

    line: int
    rollout: Rollout
    index: int
    check: Check


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepLog:
    """Read the end of this log, then write it as evidence of the rollout's failure."""

    line: int
    rollout: str
    source: LogSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Write nothing; look again after `seconds`. `reason` is a sentence."""

    line: int
    reason: str
    seconds: float


Action = Note | Put | Probe | KeepLog | Wait
"""What one pass does."""
