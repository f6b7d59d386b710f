"""How a rollout begins and how it fails: the events that follow, and what may be sent for it.

Owns the shape of `Started` and `Failed` with all that goes with them. Must not know when they are due.
Invariant: a failed deploy of anything but the good release is held, unless the cluster merely had no room.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from deployer.core import body, plan
from deployer.core.belongs import deployed_times, leaving, starting
from deployer.core.compare import matches
from deployer.core.events import DAEMON, Failed, FailureClass, GateEvidence, Held, Kind, Started
from deployer.core.record import Record, Result

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from deployer.core.events import Event, Failure
    from deployer.core.live import Live
    from deployer.core.record import Finished
    from deployer.core.types import Desired, Policy, Release


def is_live(record: Record, digest: str) -> bool:
    """Whether this digest is the current release, and the last rollout did not fail to reach or to leave it.

    A heal or a restore that failed leaves the current release what it was.
    """
    last, good = record.last, record.good
    return (
        record.rollout is None
        and last is not None
        and good is not None
        and good.digest == digest
        and (last.result is Result.GOOD or (last.kind in (Kind.HEAL, Kind.RESTORE) and last.release == good))
    )


def needs_rollback(record: Record) -> bool:
    """Whether the last rollout was a deploy that failed, and there is a good release to go back to."""
    last = record.last
    return (
        record.rollout is None
        and last is not None
        and last.kind is Kind.DEPLOY
        and last.result is Result.FAILED
        and last.policy.rollback
        and record.good is not None
        and record.good.digest != last.release.digest
    )


def failed_repair(record: Record) -> Finished | None:
    """The last rollout, if it was a heal or a restore that failed."""
    last = record.last
    if last is None or last.result is not Result.FAILED or last.kind not in (Kind.HEAL, Kind.RESTORE):
        return None
    return last


def is_stalled(record: Record) -> bool:
    """Whether the last deploy or rollback failed, and nobody has pushed or asked for anything since.

    What was pushed while it ran, and could not overtake it, is something new if it has not failed itself.
    """
    last, seen = record.last, record.seen
    if last is None or last.result is not Result.FAILED or last.kind in (Kind.HEAL, Kind.RESTORE):
        return False
    if seen is None or last.wanted is None or last.wanted != seen.revision.commit:
        return False
    starved = record.starved
    tried = {last.release.digest, *(hold.digest for hold in record.held)}
    return seen.digest in tried or (starved is not None and starved.digest == seen.digest)


def is_kept(record: Record) -> bool:
    """Whether the cluster was last sent the good release, so that it is to be as that says.

    A heal, a restore or a redeploy of it that failed was sent all the same. After a failed rollback nothing
    is done any more until a person acts.
    """
    last, good = record.last, record.good
    if last is None or good is None or last.kind is Kind.ROLLBACK:
        return good is not None and is_live(record, good.digest)
    return is_live(record, good.digest) or failed_on_good(record) is not None


def may_be_lost(record: Record) -> bool:
    """Whether the good release is brought back to a cluster that has lost everything."""
    last = record.last
    return is_kept(record) or (
        record.good is not None
        and last is not None
        and last.kind is Kind.DEPLOY
        and last.result is Result.FAILED
    )


def failed_on_good(record: Record) -> Finished | None:
    """The last rollout, if it sent the good release and failed, and was no rollback."""
    last, good = record.last, record.good
    if last is None or last.result is not Result.FAILED or last.kind is Kind.ROLLBACK:
        return None
    return last if good is not None and good.digest == last.release.digest else None


def came_up(live: Live, record: Record) -> bool:
    """Whether the last deploy failed for want of room or time, and all of it runs by now all the same."""
    last = record.last
    if last is None or last.kind is not Kind.DEPLOY or last.failure is None:
        return False
    if last.failure.failure_class not in (FailureClass.CAPACITY, FailureClass.DEADLINE):
        return False
    sent = body.applications(last.release, last.nonce)
    apps = [live.apps.get(name) for name in sent]
    return bool(sent) and all(
        app is not None
        and app.status == "RUNNING"
        and matches(sent[app.name], app.config, strict=False)
        and all(deployment.status == "HEALTHY" for deployment in app.deployments)
        for app in apps
    )


def owned(record: Record, policy: Policy | None = None, neighbours: Collection[str] = ()) -> frozenset[str]:
    """The application names that are this environment's: what it has deployed, and what its policy claims.

    What belongs to a neighbour is not, whatever the policy claims: it would be deleted.
    """
    return record.apps.union((policy or record.good_policy).owns).difference(neighbours)


def deploy(
    desired: Desired,
    live: Live,
    record: Record,
    now: datetime,
    *,
    passed: tuple[GateEvidence, ...] = (),
    effect: str = "",
) -> Started:
    """The start of a deploy of what git wants. `passed` and `effect` as in `Started`."""
    starved = record.starved
    is_again = starved is not None and starved.digest == desired.release.digest
    started = _start(
        record,
        live,
        now,
        kind=Kind.DEPLOY,
        release=desired.release,
        policy=desired.policy,
        trigger="there may be room now" if is_again else "push",
        actor=str(desired.release.revision.author),
        old=record.good,
    )
    return replace(started, gates=passed, effect=effect)


def rollback(live: Live, record: Record, now: datetime) -> Started:
    """The start of the rollback that answers a failed deploy. Raises ValueError if nothing needs one."""
    last = record.last
    if last is None or not needs_rollback(record):
        message = "nothing needs a rollback"
        raise ValueError(message)
    return _start_of_good(
        record, live, now, Kind.ROLLBACK, trigger=f"{last.id} failed", follows=last.id, old=last.release
    )


def asked_rollback(live: Live, record: Record, now: datetime) -> Started:
    """The start of the rollback that a person asked for. Raises ValueError if nobody did."""
    asked = record.asked
    if asked is None:
        message = "nobody asked for a rollback"
        raise ValueError(message)
    old = record.last.release if record.last is not None else None
    return _start_of_good(
        record, live, now, Kind.ROLLBACK, trigger="asked for", old=old, actor=asked.actor, reason=asked.reason
    )


def repair(kind: Kind, live: Live, record: Record, policy: Policy, now: datetime) -> Started:
    """The start of a heal or a restore: the current release as it was, judged by the policy it is kept by."""
    why = record.drift.what if record.drift is not None else ""
    start = _start_of_good(record, live, now, kind, trigger="drift", old=record.good, reason=why)
    return replace(start, policy=policy)


def fail(record: Record, failure: Failure, now: datetime) -> tuple[Event, ...]:
    """A rollout failed. Raises ValueError if none is in flight.

    A deploy's digest is held, unless it is the good release itself: one that fails is a cluster that is sick
    for its own reasons, and holding it would hold the way back.
    """
    rollout = record.rollout
    if rollout is None:
        message = "no rollout is in flight that could fail"
        raise ValueError(message)
    evident = replace(failure, timeline=rollout.timeline)
    failed = Failed(at=now, rollout=rollout.id, failure=evident)
    is_good = record.good is not None and record.good.digest == rollout.release.digest
    if rollout.kind is not Kind.DEPLOY or is_good or not failure.failure_class.holds:
        return (failed,)
    return (failed, Held(at=now, rollout=rollout.id, reason=failure.message))


def pause_after(tries: int, *, first: float, longest: float) -> timedelta:
    """How long to wait after so many tries: `first` seconds, then twice as long each time."""
    doublings = min(max(tries - 1, 0), 30)
    return timedelta(seconds=min(first * 2**doublings, longest))


def _start_of_good(
    record: Record,
    live: Live,
    now: datetime,
    kind: Kind,
    *,
    trigger: str,
    old: Release | None,
    follows: str | None = None,
    actor: str = DAEMON,
    reason: str = "",
) -> Started:
    if record.good is None:
        message = "there is no good release"
        raise ValueError(message)
    return _start(
        record,
        live,
        now,
        kind=kind,
        release=record.good,
        policy=record.good_policy,
        trigger=trigger,
        follows=follows,
        actor=actor,
        reason=reason,
        old=old,
    )


def _start(
    record: Record,
    live: Live,
    now: datetime,
    *,
    kind: Kind,
    release: Release,
    policy: Policy,
    trigger: str,
    actor: str,
    old: Release | None,
    follows: str | None = None,
    reason: str = "",
) -> Started:
    good = record.good
    nonce = _nonce(release, live, record)
    gone: tuple[str, ...] = ()
    if kind is Kind.DEPLOY and good is not None and is_live(record, good.digest):
        gone = leaving(live, good, release, good_nonce=record.good_nonce, nonce=nonce)
    return Started(
        at=now,
        actor=actor,
        reason=reason,
        rollout=record.next_rollout_id(),
        kind=kind,
        release=release,
        policy=policy,
        trigger=trigger,
        before=deployed_times(live),
        starting=starting(live),
        follows=follows,
        plan=plan.summary(old.config if old else None, release.config),
        nonce=nonce,
        leaving=gone,
        ray_version=live.ray_version,
        session=live.session,
    )


def _nonce(release: Release, live: Live, record: Record) -> str:
    """What makes this config another version to Serve, where it must be; "" where it is one already.

    Serve does not try again what failed to start if it gets the identical config (measured, 2.60); and before
    2.60 it keeps options that a config no longer sets.
    """
    last = record.last
    if last is not None and last.release.digest == release.digest and came_up(live, record):
        return last.nonce
    failed_as_it_is = (
        last is not None
        and last.release.digest == release.digest
        and last.failure is not None
        and last.failure.failure_class is not FailureClass.CAPACITY
    )
    is_good = record.good is not None and record.good.digest == release.digest
    known = record.good_nonce if is_good else ""
    if failed_as_it_is or body.needs_rebuild(release, live, nonce=known):
        return record.next_rollout_id()
    return known
