"""Which facts are worth telling people, and how: the messages that go through the outbox.

Owns the choice and the wording of announcements. Must not know who receives them. Invariant: transitions
only (an ending of a rollout, a refusal), one line each, written in the transaction that made it true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core import sentences
from deployer.core.events import Failed, Good, Kind, Refused, Seen, Superseded

if TYPE_CHECKING:
    from deployer.core.events import Event
    from deployer.core.record import Record, Rollout

_DONE = {
    Kind.DEPLOY: "is live",
    Kind.ROLLBACK: "is live again",
    Kind.RESTORE: "is restored",
    Kind.HEAL: "is healed",
}


def announcement(record: Record, event: Event) -> str | None:
    """Tell what `event` means to people, given the record before it; None if it is not for them."""
    rollout = record.rollout
    if isinstance(event, Refused):
        return f"{record.environment}: {event.message}"
    if isinstance(event, Seen):
        return (
            f"{record.environment}: {sentences.name(event.release)}: {' '.join(event.notes)}"
            if event.notes
            else None
        )
    if rollout is None:
        return None
    release = sentences.name(rollout.release)
    if isinstance(event, Good):
        took = sentences.took(event.at - rollout.started_at)
        return _line(record, rollout, f"{release} {_DONE[rollout.kind]} after {took}.")
    if isinstance(event, Failed):
        return _line(record, rollout, f"{release} failed: {event.failure.message}. {_next(record, rollout)}")
    if isinstance(event, Superseded):
        return _line(record, rollout, f"{release} was overtaken by {event.by[:7]}.")
    return None


def _line(record: Record, rollout: Rollout, text: str) -> str:
    return f"{record.environment}: {rollout.kind.value} {rollout.id}: {text}"


def _next(record: Record, rollout: Rollout) -> str:
    good = record.good
    if rollout.kind is not Kind.DEPLOY:
        return "The environment is DEGRADED; nothing is tried again until a new commit is pushed."
    if good is None or good.digest == rollout.release.digest:
        return "There is no good release to go back to. Push a fix."
    if not rollout.policy.rollback:
        return "Rollback is off: the cluster was left on it. Push a fix."
    return f"Rolling back to {sentences.name(good)}."
