"""Which facts are worth telling people, and how: the messages that go through the outbox.

Owns the choice and the wording of announcements. Must not know who receives them. Invariant: transitions
only (an ending of a rollout, a refusal), one line each, written in the transaction that made it true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from deployer.core import pinned, sentences
from deployer.core.events import (
    Approved,
    Cancelled,
    DriftClass,
    Drifted,
    DriftEnded,
    Failed,
    FailureClass,
    Good,
    Kind,
    LostSight,
    Paused,
    Promoted,
    PromotionFailed,
    Proposed,
    Refused,
    RegainedSight,
    Rejected,
    Resumed,
    RetryAsked,
    RollbackAsked,
    Seen,
    Superseded,
    SyncAsked,
)
from deployer.core.record import tells_of_sickness
from deployer.core.telling import says

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
        remarks = [f"it does not follow from what was deployed ({event.rewritten}), and is accepted."]
        remarks = [*(remarks if event.rewritten else ()), *event.notes]
        what = f"{record.environment}: {sentences.name(event.release)}: {' '.join(remarks)}"
        return what if remarks else None
    if isinstance(event, Drifted | DriftEnded) and not _is_told(record, event):
        return None
    if isinstance(event, Drifted | DriftEnded | Paused | Resumed | RetryAsked | RollbackAsked):
        return f"{record.environment}: {_change(record, event)}"
    if isinstance(event, PromotionFailed | Proposed):
        return f"{record.environment}: {says(event)}"
    if isinstance(event, Approved | Rejected | SyncAsked | Promoted):
        by = _promoter(record, event) if isinstance(event, Promoted) else event.actor
        why = f" ({event.reason})" if event.reason else ""
        return f"{record.environment}: {says(event).rstrip('.')}, by {by}{why}."
    if rollout is None:
        return None
    release = sentences.name(rollout.release)
    if isinstance(event, Good):
        took = sentences.took(event.at - rollout.started_at)
        return _line(record, rollout, f"{release} {_DONE[rollout.kind]} after {took}.")
    if isinstance(event, Failed):
        return _line(
            record, rollout, f"{release} failed: {event.failure.message}. {_next(record, rollout, event)}"
        )
    if isinstance(event, Superseded):
        return _line(record, rollout, f"{release} was overtaken by {event.by[:7]}.")
    if isinstance(event, Cancelled):
        return _line(record, rollout, f"{release} was cancelled by {event.actor}.")
    if isinstance(event, LostSight):
        return _line(
            record, rollout, f"{sentences.sentence(event.why)} Nothing is rolled back because of it."
        )
    if isinstance(event, RegainedSight):
        return _line(record, rollout, "The cluster answers again; the rollout goes on.")
    return None


def _promoter(record: Record, event: Promoted) -> str:
    """Who asked for it: the daemon may be the one that sees that a pull request was merged."""
    known = (one for one in (record.promotion, record.proposal) if one is not None)
    return next((one.by for one in known if one.commit == event.commit), event.actor)


def _is_told(record: Record, event: Drifted | DriftEnded) -> bool:
    """What is sick now and then is told once an hour, and that it is well again only where it was told."""
    if isinstance(event, Drifted):
        return event.drift is not DriftClass.SICK or tells_of_sickness(record, event)
    known, told_at = record.drift, record.sick_told_at
    was_sick = known is not None and known.drift is DriftClass.SICK
    return not was_sick or (known is not None and told_at is not None and told_at >= known.since)


def _change(
    record: Record, event: Drifted | DriftEnded | Paused | Resumed | RetryAsked | RollbackAsked
) -> str:
    why = f" ({event.reason})" if event.reason else ""
    match event:
        case Drifted(drift=DriftClass.LOST, what=what):
            unless = "; while the environment is paused, only on a new Ray head" if record.paused else ""
            return f"{what} The good release is brought back{unless}."
        case Drifted(what=what):
            return f"drift: {what}"
        case DriftEnded():
            return "The cluster runs the current release again."
        case Paused(until=until):
            end = f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until somebody resumes it"
            return f"Paused by {event.actor}{why}, {end}."
        case Resumed():
            return f"Resumed by {event.actor}{why}."
        case RetryAsked(accepts=str(commit)):
            return f"{event.actor} wants {commit[:7]} deployed, although it does not follow{why}."
        case RetryAsked():
            return f"{event.actor} asked for one more try{why}."
        case RollbackAsked(release=release):
            return f"{event.actor} asked for {sentences.name(release)} back{why}."
        case _:
            assert_never(event)


def _line(record: Record, rollout: Rollout, text: str) -> str:
    return f"{record.environment}: {rollout.kind.value} {rollout.id}: {text}"


def _next(record: Record, rollout: Rollout, event: Failed) -> str:
    good = record.good
    goes_back = rollout.policy.rollback and good is not None and good.digest != rollout.release.digest
    if rollout.kind is not Kind.DEPLOY:
        if rollout.kind in (Kind.HEAL, Kind.RESTORE):
            return "Serve goes on with it by itself; where it gives up, it is tried again."
        return "The environment is DEGRADED; nothing is tried again until somebody acts."
    if event.failure.failure_class is FailureClass.CAPACITY:
        back = f"Back to {sentences.name(good)}. " if good is not None and goes_back else ""
        if record.hold_of(rollout.release.digest) is not None:
            return f"{back}It stays held."
        return f"{back}It is not held: it is tried again when more resources are free."
    if good is None or good.digest == rollout.release.digest:
        return "There is no good release to go back to. Push a fix."
    if not rollout.policy.rollback:
        return "Rollback is off: the cluster was left on it. Push a fix."
    back = f"Rolling back to {sentences.name(good)}."
    uris = ", ".join(pinned.shown(uri) for uri in pinned.changeable(good))
    if not uris:
        return back
    return f"{back} Its code may not be what it was: {uris} names no version or commit."
