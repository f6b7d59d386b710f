"""What to do next for one environment: the numbered policy, one early return per line.

Owns the decision. Must not know how facts are gathered or orders carried out; the clock is an argument.
Invariant: a `Put` is ordered only for a rollout that the record already holds as pending; a digest that
is held never starts; nothing is decided against a cluster that cannot be seen.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, assert_never

from deployer.core import plan, sentences
from deployer.core.actions import Action, Note, Put, Wait
from deployer.core.belongs import deployed_times, foreign_apps, not_ours
from deployer.core.events import (
    DAEMON,
    Applied,
    Event,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    LostSight,
    Refused,
    RegainedSight,
    Resubmitted,
    Seen,
    Started,
    Superseded,
)
from deployer.core.judge import Failing, Phase, Progressing, Settled, judge
from deployer.core.live import Live, Observation, Unreachable, Unreadable
from deployer.core.record import Record, Result, Rollout, evolve
from deployer.core.types import Absent, Desired, Invalid, NotRead, Policy, Release, Wanted

if TYPE_CHECKING:
    from datetime import datetime

IDLE_SECONDS = 15.0
"""Between two looks at a cluster where nothing is going on: a GET costs Ray 9-34 ms (measured, 2.60)."""

FIRST_POLL_SECONDS = 0.25
"""Between looks just after a PUT. Ray's control loop ticks every 0.1 s; polling faster only costs it time."""

LAST_POLL_SECONDS = 2.0
"""Between looks at a rollout that takes long."""

RESUBMIT_SECONDS = 2.0
"""Before a PUT that did not hold is repeated the first time; doubled each time.

A PUT while Serve shuts down is answered 200 and ignored (measured, 2.60); a shutdown takes up to 30 s.
"""

RESUBMIT_LIMIT_SECONDS = 60.0
"""The longest pause between two PUTs of one rollout: somebody else keeps overwriting ours."""


def decide(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Action:
    """Return the one action to take now. The first line that fits decides.

    1.  git says something new                     -> note it (seen, or refused with the reason)
    2.  the cluster cannot be seen                 -> wait; a running deadline stands still; never a rollback
    3.  ... and can be seen again                  -> note it; the deadline goes on
    4.  a deploy is overtaken by a newer digest    -> superseded; start the newer one
    5.  a PUT is intended, and found on the cluster-> note it applied (a crash or a lost answer came between)
    6.  a PUT is intended                          -> PUT, unless it would delete somebody else's applications
    7.  our PUT did not hold                       -> intend it again, with growing pauses
    8.  everything RUNNING and HEALTHY             -> healthy, good
    9.  Serve gave up                              -> failed; a deploy's digest is held
    10. a phase is past its deadline               -> failed; a deploy's digest is held
    11. on its way                                 -> wait
    12. the last deploy failed, a good release is known -> start the rollback
    13. git wants nothing that can be deployed     -> wait; what runs stays
    14. git wants what is live                     -> wait
    15. what git wants is held                     -> wait
    16. the last rollout failed and nobody acted   -> wait, loudly
    17. the PUT would delete somebody else's applications -> wait
    18. otherwise                                  -> start a deploy
    """
    news = _news(wanted, record, now)
    if news is not None:  # 1
        return Note(events=(news,))
    match live:
        case Unreachable(why=why) | Unreadable(why=why):  # 2
            return _blind(why, record, now)
        case Live():
            rollout = record.rollout
            if rollout is not None:
                return _go_on(wanted, live, record, rollout, now)
            return _begin(wanted, live, record, now)
        case _:
            assert_never(live)


def rejected(record: Record, message: str, now: datetime) -> Note:
    """The cluster refused the pending PUT: the facts that follow. It may be half applied all the same.

    Serve answers 400 both for schema errors, which change nothing, and for errors raised inside its
    controller, which leave the config half applied (measured, 2.60). The rollback heals both.
    """
    failure = Failure(failure_class=FailureClass.CONFIG, message=message)
    return _fail(record, failure, now)


def is_live(record: Record, digest: str) -> bool:
    """Whether the last thing done to the cluster was to bring it to this digest, with success."""
    last = record.last
    return (
        record.rollout is None
        and last is not None
        and last.result is Result.GOOD
        and last.release.digest == digest
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


def is_stalled(record: Record) -> bool:
    """Whether the last rollout failed, and nobody has pushed anything since."""
    last = record.last
    return (
        last is not None
        and last.result is Result.FAILED
        and last.wanted == (record.seen.revision.commit if record.seen else None)
    )


def _news(wanted: Wanted, record: Record, now: datetime) -> Event | None:
    match wanted:
        case Desired(release=release, notes=notes):
            if record.refused is None and record.seen is not None and _is_same(record.seen, release):
                return None
            return Seen(at=now, actor=str(release.revision.author), release=release, notes=notes)
        case Invalid():
            actor, commit = str(wanted.revision.author), wanted.revision.commit
            refused = Refused(at=now, actor=actor, commit=commit, message=sentences.problems(wanted))
        case Absent():
            refused = Refused(at=now, message=wanted.why)
        case NotRead():
            return None
        case _:
            assert_never(wanted)
    known = record.refused
    is_known = known is not None and (known.message, known.commit) == (refused.message, refused.commit)
    return None if is_known else refused


def _is_same(seen: Release, release: Release) -> bool:
    return seen.revision.commit == release.revision.commit and seen.digest == release.digest


def _blind(why: str, record: Record, now: datetime) -> Action:
    rollout = record.rollout
    if rollout is not None and rollout.applied_at is not None and rollout.blind_since is None:
        return Note(events=(LostSight(at=now, rollout=rollout.id, why=why),))
    return Wait(reason=sentences.blind(why, record), seconds=IDLE_SECONDS)


def _go_on(wanted: Wanted, live: Live, record: Record, rollout: Rollout, now: datetime) -> Action:
    """Lines 3 to 11: a rollout is in flight."""
    if rollout.blind_since is not None:  # 3
        return Note(events=(RegainedSight(at=now, rollout=rollout.id),))
    newer = _overtaking(wanted, live, record, rollout)
    if newer is not None:  # 4
        superseded = Superseded(at=now, rollout=rollout.id, by=newer.release.revision.commit)
        started = _deploy(newer, live, evolve(record, superseded), now)
        return Note(events=(superseded, started))
    missing = not_ours(live, rollout, strict=rollout.pending)
    if rollout.pending:
        if missing is None:  # 5
            return Note(events=(Applied(at=now, rollout=rollout.id, session=live.session, read_back=True),))
        return _put(live, record, rollout)  # 6
    if missing is not None:  # 7
        return _resubmit(live, record, rollout, missing, now)
    match judge(live, rollout.release.config.applications()):
        case Settled():  # 8
            return Note(events=(Healthy(at=now, rollout=rollout.id), Good(at=now, rollout=rollout.id)))
        case Failing(failure=failure):  # 9
            return _fail(record, failure, now)
        case Progressing(phase=phase, text=text):
            return _deadline_or_wait(record, rollout, phase, text, now)  # 10, 11
        case verdict:
            assert_never(verdict)


def _put(live: Live, record: Record, rollout: Rollout) -> Action:
    foreign = foreign_apps(live, record, rollout.release)
    if foreign:
        return Wait(reason=sentences.foreign(rollout.release, foreign), seconds=IDLE_SECONDS)
    return Put(rollout=rollout)


def _begin(wanted: Wanted, live: Live, record: Record, now: datetime) -> Action:
    """Lines 12 to 18: nothing is in flight."""
    good, last = record.good, record.last
    if good is not None and last is not None and needs_rollback(record):  # 12
        return Note(
            events=(
                _start(
                    record,
                    live,
                    now,
                    kind=Kind.ROLLBACK,
                    release=good,
                    policy=last.policy,
                    trigger=f"{last.id} failed",
                    follows=last.id,
                    old=last.release,
                ),
            )
        )
    if not isinstance(wanted, Desired):  # 13
        return Wait(reason=sentences.nothing_to_deploy(wanted, record), seconds=IDLE_SECONDS)
    digest = wanted.release.digest
    if is_live(record, digest):  # 14
        lost = sorted(wanted.release.config.applications().keys() - live.apps.keys())
        reason = sentences.lost(wanted.release, lost) if lost else sentences.synced(wanted.release, record)
        return Wait(reason=reason, seconds=IDLE_SECONDS)
    hold = record.hold_of(digest)
    if hold is not None:  # 15
        return Wait(reason=sentences.held(hold, record), seconds=IDLE_SECONDS)
    if last is not None and is_stalled(record):  # 16
        return Wait(reason=sentences.stalled(last, record), seconds=IDLE_SECONDS)
    foreign = foreign_apps(live, record, wanted.release)
    if foreign:  # 17
        return Wait(reason=sentences.foreign(wanted.release, foreign), seconds=IDLE_SECONDS)
    return Note(events=(_deploy(wanted, live, record, now),))  # 18


def _overtaking(wanted: Wanted, live: Live, record: Record, rollout: Rollout) -> Desired | None:
    """The newer release that overtakes a deploy, if there is one that may be deployed.

    Only a deploy is overtaken: a rollback is finished first, bounded by its own deadline, so that the
    cluster is never left between two releases of which neither is known to work.
    """
    if rollout.kind is not Kind.DEPLOY or not isinstance(wanted, Desired):
        return None
    release = wanted.release
    if release.digest == rollout.release.digest or record.hold_of(release.digest) is not None:
        return None
    return None if foreign_apps(live, record, release) else wanted


def _deploy(desired: Desired, live: Live, record: Record, now: datetime) -> Started:
    return _start(
        record,
        live,
        now,
        kind=Kind.DEPLOY,
        release=desired.release,
        policy=desired.policy,
        trigger="push",
        follows=None,
        old=record.good,
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
    follows: str | None,
    old: Release | None,
) -> Started:
    return Started(
        at=now,
        actor=str(release.revision.author) if kind is Kind.DEPLOY else DAEMON,
        rollout=record.next_rollout_id(),
        kind=kind,
        release=release,
        policy=policy,
        trigger=trigger,
        before=deployed_times(live),
        follows=follows,
        plan=plan.summary(old.config if old else None, release.config),
    )


def _resubmit(live: Live, record: Record, rollout: Rollout, why: str, now: datetime) -> Action:
    pause = min(RESUBMIT_SECONDS * 2 ** (rollout.puts - 1), RESUBMIT_LIMIT_SECONDS)
    elapsed = (now - (rollout.put_at or rollout.started_at)).total_seconds()
    if elapsed < pause:
        return _deadline_or_wait(record, rollout, Phase.START, f"our PUT does not hold: {why}", now)
    intent = Resubmitted(at=now, rollout=rollout.id, cause=why, before=deployed_times(live))
    return Note(events=(intent,))


def _deadline_or_wait(record: Record, rollout: Rollout, phase: Phase, text: str, now: datetime) -> Action:
    elapsed = now - (rollout.applied_at or now) - rollout.blind
    limit = _limit(rollout, phase)
    if elapsed > limit:
        message = f"not healthy {sentences.span(limit)} after it was applied ({phase.value}): {text}"
        return _fail(record, Failure(failure_class=FailureClass.DEADLINE, message=message), now)
    seconds = min(max(FIRST_POLL_SECONDS, elapsed.total_seconds() / 20), LAST_POLL_SECONDS)
    return Wait(reason=sentences.progressing(rollout, text), seconds=seconds)


def _limit(rollout: Rollout, phase: Phase) -> timedelta:
    """How long after `Applied` a rollout may still be in this phase. The phases' deadlines add up."""
    if rollout.kind is not Kind.DEPLOY:
        return timedelta(seconds=rollout.policy.rollback_deadline)
    deadlines = rollout.policy.deadlines
    match phase:
        case Phase.BUILD:
            seconds = deadlines.build
        case Phase.SCHEDULE:
            seconds = deadlines.build + deadlines.schedule
        case Phase.START:
            seconds = deadlines.build + deadlines.schedule + deadlines.start
        case _:
            assert_never(phase)
    return timedelta(seconds=seconds)


def _fail(record: Record, failure: Failure, now: datetime) -> Note:
    """A rollout failed. A deploy's digest is held, unless it is the good release itself.

    A good release that fails is a cluster that is sick for its own reasons; holding it would hold the
    way back.
    """
    rollout = record.rollout
    if rollout is None:
        message = "no rollout is in flight that could fail"
        raise ValueError(message)
    failed = Failed(at=now, rollout=rollout.id, failure=failure)
    is_good = record.good is not None and record.good.digest == rollout.release.digest
    if rollout.kind is not Kind.DEPLOY or is_good:
        return Note(events=(failed,))
    return Note(events=(failed, Held(at=now, rollout=rollout.id, reason=failure.message)))
