"""The orders that `decide` gives, in the imperative. Only `Put` leaves the process.

Owns the three actions. Must not know how they are carried out. Invariant: a `Put` names a rollout whose
intent is already durable.
"""

from __future__ import annotations

from dataclasses import dataclass

from deployer.core.events import Event
from deployer.core.record import Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Write these facts, in this order, in one transaction; then look again at once."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Send this rollout's config to the cluster, then write the outcome."""

    rollout: Rollout


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Write nothing; look again after `seconds`. `reason` is a sentence."""

    reason: str
    seconds: float


Action = Note | Put | Wait
"""What one pass does."""
