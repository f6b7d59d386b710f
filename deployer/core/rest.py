"""What to do for an environment at rest: lines 18 to 31 of the policy in `decide`.

Owns what follows when nothing is in flight: rollback, restore, the next deploy, heal, or the reason to wait.
Must not know how facts are gathered. Invariant: a rollback and a restore wait for nobody; a deploy and a
heal wait for everything that a person or another environment has put in their way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from deployer.core import body, drift, gates, rollouts, sentences
from deployer.core.actions import Action, KeepLog, Note, Wait
from deployer.core.effect import effect
from deployer.core.events import DriftClass, Drifted, DriftEnded, GateEvidence, Kind, Measured
from deployer.core.gates import GateState
from deployer.core.types import Desired, OnDrift

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from deployer.core.events import Started
    from deployer.core.gates import Gating
    from deployer.core.live import Live
    from deployer.core.record import Record, Starved
    from deployer.core.types import Policy, Release, Wanted

IDLE_SECONDS = 15.0
"""Between two looks at a cluster where nothing is going on: a GET costs Ray 9-34 ms (measured, 2.60)."""

LOST_GRACE = timedelta(seconds=5)
"""Before a cluster that is empty although its head is the same is restored: somebody may be in the middle of
`serve shutdown` and `serve deploy`."""

SICK_LEAST = timedelta(seconds=60)
"""As long as something stays known as sick at least: what flaps would be new at every look."""

RESTORE_FIRST_SECONDS = 15.0
RESTORE_LONGEST_SECONDS = 900.0
"""Between two restores within an hour, doubled each time: nodes join one after the other, so that the first
may fail for want of room; it is never given up, because nothing serves meanwhile."""

ROOM_FIRST_SECONDS = 60.0
ROOM_LONGEST_SECONDS = 3600.0
"""Between two tries of a release that found no room, doubled each time: each try stops old replicas."""

ROOM_UNTOLD_FACTOR = 10
"""So much longer where nobody tells what is free: then time is the only sign."""

_JITTERS = ("memory", "object_store_memory")
"""Resources that are free in another amount at every look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleared:
    """What should be deployed now, and its gates, all of them open or skipped."""

    desired: Desired
    gates: tuple[GateState, ...] = ()


def begin(
    wanted: Wanted,
    live: Live,
    record: Record,
    now: datetime,
    neighbours: Mapping[str, str],
    gating: Gating,
) -> Action:
    """Lines 18 to 31: nothing is in flight, and the cluster can be seen."""
    if rollouts.needs_rollback(record):
        return Note(line=18, events=(rollouts.rollback(live, record, now),))
    keep = keep_log(record)
    if keep is not None:
        return keep
    policy = _policy(wanted, record)
    news = _drift_news(live, record, policy, now)
    if news is not None:
        return Note(line=19, events=(news,))
    restore = _restore(live, record, policy, now)
    if restore is not None:
        return restore
    idle = waiting(wanted, live, record, now, neighbours, gating)
    if isinstance(idle, Cleared):
        return Note(line=21, events=(start(idle, live, record, now, neighbours),))
    heal = _heal(live, record, policy, now, neighbours)
    if heal is not None:
        return heal
    if isinstance(idle, Wait) and record.drift is not None:
        return replace(idle, reason=f"{sentences.drifted(record, policy)} {idle.reason}")
    return idle


def start(
    cleared: Cleared, live: Live, record: Record, now: datetime, neighbours: Mapping[str, str]
) -> Started:
    """The start of a deploy, with the gates that it passed and the digest of what it is about to do."""
    desired = cleared.desired
    of = effect(desired.release, desired.policy, live, record, neighbours)
    passed = (
        GateEvidence(name=one.name, verdict=one.verdict.value, evidence=one.evidence) for one in cleared.gates
    )
    return rollouts.deploy(desired, live, record, now, passed=tuple(passed), effect=of.digest)


def keep_log(record: Record) -> KeepLog | None:
    """The order to keep the log of what failed last, unless that is done or there is none."""
    last = record.last
    if last is None or last.is_log_kept or last.failure is None or last.failure.log is None:
        return None
    return KeepLog(line=10, rollout=last.id, source=last.failure.log)


def _in_the_way(
    desired: Desired, live: Live, record: Record, neighbours: Mapping[str, str]
) -> tuple[int, str] | None:
    """Why this release must not be deployed, whatever else happens: the policy's line and a sentence."""
    release = desired.release
    hold = record.hold_of(release.digest)
    if hold is not None and not hold.may_retry:
        return 26, sentences.held(hold, record)
    gone = _removed(desired, live, record)
    if gone:
        return 29, sentences.removes(release, gone)
    claimed = [name for name in desired.policy.owns if name in neighbours]
    if claimed:
        return 30, sentences.claims(release, claimed[0], neighbours[claimed[0]])
    ours = rollouts.owned(record, desired.policy, neighbours)
    why = body.obstacle(release, live, ours, neighbours, adopts=record.good is None)
    return (30, sentences.obstacle(release, why)) if why is not None else None


def _policy(wanted: Wanted, record: Record) -> Policy:
    """The policy that the current release is kept by: the newest that git gives it."""
    good = record.good
    if isinstance(wanted, Desired) and good is not None and wanted.release.digest == good.digest:
        return wanted.policy
    return record.good_policy


def _drift_news(live: Live, record: Record, policy: Policy, now: datetime) -> Drifted | DriftEnded | None:
    known = record.drift
    if not rollouts.may_be_lost(record):
        return None
    found = drift.find(live, record)
    is_kept = rollouts.is_kept(record) and policy.drift is not OnDrift.IGNORE
    if found is not None and not is_kept and found[0] is not DriftClass.LOST:
        found = None
    if found is None:
        is_over = known is not None and (
            known.drift is not DriftClass.SICK or now - known.since >= SICK_LEAST
        )
        return DriftEnded(at=now) if is_over else None
    if known is not None and (known.drift, known.what) == found:
        return None
    return Drifted(at=now, drift=found[0], what=found[1])


def _restore(live: Live, record: Record, policy: Policy, now: datetime) -> Action | None:
    """The restore of a cluster that lost its state, or the wait before it; None if it did not.

    A new Ray head has lost it for sure, and not even a pause keeps what served from coming back. If the head
    is the same, somebody deleted everything: that may be on purpose while the environment is paused. What
    Serve gave up on when it was restored is restored again.
    """
    lost = record.drift if record.drift is not None and record.drift.drift is DriftClass.LOST else None
    if lost is None and not _gave_up(Kind.RESTORE, live, record):
        return None
    is_new_head = lost is not None and live.session is not None and live.session != record.session
    if record.paused is not None and not is_new_head:
        return None
    due = now if lost is None else lost.since if is_new_head else lost.since + LOST_GRACE
    recent = _recent_repairs(record, now)
    if recent:
        pause = rollouts.pause_after(
            len(recent), first=RESTORE_FIRST_SECONDS, longest=RESTORE_LONGEST_SECONDS
        )
        due = max(due, recent[-1] + pause)
    if now < due:
        left = (due - now).total_seconds()
        return Wait(line=20, reason=sentences.lost(record, due), seconds=min(left, IDLE_SECONDS))
    return Note(line=20, events=(rollouts.repair(Kind.RESTORE, live, record, policy, now),))


def _gave_up(kind: Kind, live: Live, record: Record) -> bool:
    """Whether the last rollout was such a repair, and failed in a way that Serve does not try again."""
    last = rollouts.failed_repair(record)
    if last is None or last.kind is not kind:
        return False
    apps = (live.apps.get(name) for name in last.release.config.applications())
    return any(app is not None and app.status == "DEPLOY_FAILED" for app in apps)


def _heal(
    live: Live, record: Record, policy: Policy, now: datetime, neighbours: Mapping[str, str]
) -> Action | None:
    """The heal of a drift, if the policy wants it, nothing forbids it, and the budget is not spent."""
    found, good = record.drift, record.good
    if found is None or good is None:
        return None
    if found.drift not in (DriftClass.EDITED, DriftClass.MISSING) and not _gave_up(Kind.HEAL, live, record):
        return None
    if policy.drift is not OnDrift.HEAL or record.paused is not None:
        return None
    if len(_recent_repairs(record, now)) >= policy.heals_per_hour:
        return None
    ours = rollouts.owned(record, policy, neighbours)
    why = body.obstacle(good, live, ours, neighbours, adopts=False)
    if why is not None:
        return _wait(30, f"{found.what} {sentences.obstacle(good, why)}")
    return Note(line=22, events=(rollouts.repair(Kind.HEAL, live, record, policy, now),))


def _recent_repairs(record: Record, now: datetime) -> tuple[datetime, ...]:
    return tuple(at for at in record.repairs if now - at < timedelta(hours=1))


def waiting(
    wanted: Wanted,
    live: Live,
    record: Record,
    now: datetime,
    neighbours: Mapping[str, str],
    gating: Gating,
) -> Note | Wait | Cleared:
    """Why no deploy starts now, as an order to wait; or what should be deployed."""
    if not isinstance(wanted, Desired):
        return _wait(23, sentences.nothing_to_deploy(wanted, record))
    if record.paused is not None:
        return _paused(record, now)
    failed = rollouts.failed_repair(record)
    if rollouts.is_live(record, wanted.release.digest):
        if failed is not None and not _all_run(live, failed.release):
            return _wait(28, sentences.not_repaired(failed))
        restart = drift.restart_needed(live, wanted.release)
        return _wait(25, sentences.synced(wanted.release, record, restart))
    bar = _in_the_way(wanted, live, record, neighbours)
    if bar is not None and bar[0] == 26:  # noqa: PLR2004 - the line of a held digest
        return _wait(*bar)
    last, starved = record.last, record.starved
    is_starved = starved is not None and starved.digest == wanted.release.digest
    if last is not None and last.release.digest == wanted.release.digest and rollouts.came_up(live, record):
        # The same PUT once more restarts nothing, and what runs can prove itself.
        pass
    elif last is not None and rollouts.is_stalled(record) and not (is_starved and last.kind is Kind.DEPLOY):
        return _wait(28, sentences.stalled(last, record))
    elif starved is not None and is_starved:
        no_room = _no_room(starved, live, record, now)
        if no_room is not None:
            return no_room
    return _wait(*bar) if bar is not None else _gated(wanted, live, record, now, neighbours, gating)


def _gated(
    wanted: Desired,
    live: Live,
    record: Record,
    now: datetime,
    neighbours: Mapping[str, str],
    gating: Gating,
) -> Wait | Cleared:
    """Line 31: the last thing before a deploy, so that people are asked only for what could be deployed."""
    found = gates.gates(wanted, live, record, now, gating, neighbours)
    closed = gates.closed(found)
    if not closed:
        return Cleared(desired=wanted, gates=found)
    soonest = min((gate.next_check for gate in closed if gate.next_check is not None), default=None)
    left = (soonest - now).total_seconds() if soonest is not None else IDLE_SECONDS
    reason = sentences.gated(wanted.release, closed)
    return Wait(line=31, reason=reason, seconds=min(max(left, 0.01), IDLE_SECONDS))


def _paused(record: Record, now: datetime) -> Wait:
    paused = record.paused
    until = paused.until if paused is not None else None
    left = (until - now).total_seconds() if until is not None else IDLE_SECONDS
    return Wait(line=24, reason=sentences.paused(record), seconds=min(max(left, 0.01), IDLE_SECONDS))


def _no_room(starved: Starved, live: Live, record: Record, now: datetime) -> Note | Wait | None:
    """Line 27: more must be free than when the last try had ended, and some time must have passed."""
    if starved.free is None and live.free is not None:
        return Note(line=27, events=(Measured(at=now, free=live.free),))
    is_told = starved.free is not None and live.free is not None
    pause = rollouts.pause_after(starved.tries, first=ROOM_FIRST_SECONDS, longest=ROOM_LONGEST_SECONDS)
    due = starved.since + (pause if is_told else pause * ROOM_UNTOLD_FACTOR)
    if now >= due and (not is_told or _is_more(starved.free or {}, live.free or {})):
        return None
    return _wait(27, sentences.no_room(record, due if now < due else None))


def _is_more(before: Mapping[str, float], free: Mapping[str, float]) -> bool:
    """Whether some resource is free in a larger amount."""
    return any(
        amount > before.get(name, 0.0) + 1e-6
        for name, amount in free.items()
        if name not in _JITTERS and not name.startswith("node:")
    )


def _removed(desired: Desired, live: Live, record: Record) -> tuple[str, ...]:
    """The applications that this release would delete, where they are more than one and more than 30 %.

    Nothing is one too many: an empty list is a mistake far more often than a wish. Before anything is good,
    what is ours on the cluster counts; but what only a failed deploy brought there may all be replaced.
    """
    if desired.policy.allow_delete:
        return ()
    after = desired.release.config.applications().keys()
    if record.good is not None:
        before = frozenset(record.good.config.applications())
        missed = before - after
    else:
        before = rollouts.owned(record, desired.policy).intersection(live.apps)
        missed = before - after - record.apps
    is_too_much = len(missed) > max(1, 0.3 * len(before)) or (not after and before)
    return tuple(sorted(before - after)) if is_too_much else ()


def _all_run(live: Live, release: Release) -> bool:
    apps = [live.apps.get(name) for name in release.config.applications()]
    return all(app is not None and app.status == "RUNNING" for app in apps)


def _wait(line: int, reason: str) -> Wait:
    return Wait(line=line, reason=reason, seconds=IDLE_SECONDS)
