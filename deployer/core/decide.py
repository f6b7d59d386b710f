"""What to do next for one environment: the numbered policy, one early return per line.

Owns the order of the policy and what happens while a rollout is in flight; `rest` has the lines for an
environment at rest. Must not know how facts are gathered or orders carried out; the clock is an argument.
Invariant: a `Put` is ordered only for a rollout that the record already holds as pending; a digest that
is held never starts; nothing is decided against a cluster that cannot be seen.
"""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, assert_never

from deployer.core import body, gates, lineage, rest, rollouts, sentences
from deployer.core.actions import Action, Note, Probe, Put, Wait
from deployer.core.belongs import deployed_times, not_ours, starting
from deployer.core.events import (
    Applied,
    Cancelled,
    DriftClass,
    Drifted,
    Event,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Kind,
    LostSight,
    Observed,
    Refused,
    RegainedSight,
    Resubmitted,
    Resumed,
    Seen,
    Superseded,
)
from deployer.core.judge import (
    Failing,
    Phase,
    Progressing,
    Settled,
    Sighting,
    judge,
    see,
    stability_window,
)
from deployer.core.live import Live, Observation, Unreachable, Unreadable
from deployer.core.record import Record, Rollout, evolve
from deployer.core.rest import IDLE_SECONDS
from deployer.core.types import Absent, Desired, Invalid, NotRead, Release, Rewritten, Unverified, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from deployer.core.events import State
    from deployer.core.gates import Gating

FIRST_POLL_SECONDS = 0.1
"""Between looks in the first 2 s after a PUT: one tick of Serve's control loop. In that time most lightweight
changes end, and the first failed `reconfigure` shows. A look costs it 9 ms; later ones grow rarer."""

LAST_POLL_SECONDS = 2.0
"""Between looks at a rollout that takes long."""

RESUBMIT_SECONDS = 2.0
"""Before a PUT that did not hold is repeated the first time; doubled each time.

A PUT while Serve shuts down is answered 200 and ignored (measured, 2.60); a shutdown takes up to 30 s.
"""

RESUBMIT_LIMIT_SECONDS = 60.0
"""The longest pause between two PUTs of one rollout: somebody else keeps overwriting ours."""

BLIND_SECONDS = 60.0
"""At rest, before people are told that the cluster cannot be seen: one look that fails is no news."""

RETRY_SECONDS = 10.0
"""Before a runtime environment is tried again: what it is fetched from may only be restarting."""

RETRIES = 1
"""How often a rollout whose runtime environment could not be made is tried again."""

CHECK_SECONDS = 0.5
CHECK_LIMIT_SECONDS = 10.0
"""Between two attempts of a check; doubled each time, up to the limit. Serve's production guide asks clients
for retries with exponential backoff."""

POLICY = (
    ("git says something new", "note it: seen, or refused with the reason"),
    ("the cluster cannot be seen", "wait; a running deadline stands still; never a rollback"),
    ("the cluster can be seen again during a rollout", "note it; the deadline goes on"),
    ("a pause is over", "note it"),
    ("a person asked for a rollback", "cancel what is in flight, start the rollback"),
    ("a newer digest overtakes what is in flight, if that is no rollback", "superseded; start the newer one"),
    ("a PUT is intended, and found on the cluster", "note it applied: a crash or a lost answer came between"),
    ("a PUT is intended", "send it, unless it would harm somebody else's applications"),
    ("our PUT did not hold", "intend it again, with growing pauses"),
    ("the log of the replica that failed is not kept yet", "read it"),
    ("the applications are in another state than before", "note it: the rollout's timeline"),
    ("they fail", "failed, and held; a runtime environment is tried once more first"),
    ("a phase is past its deadline", "failed, and held; for want of room: failed, not held"),
    ("settled for the whole stability window", "healthy"),
    ("a check is due", "make it; out of retries: failed, and held"),
    ("soaked", "good"),
    ("on its way", "wait"),
    ("the last deploy failed, and a good release is known", "start the rollback"),
    ("the cluster differs from the current release in another way than before", "note the drift"),
    ("the cluster lost its state", "restore the current release"),
    ("git wants another digest, and nothing is in its way", "start a deploy"),
    ("the cluster drifted, and may be healed", "heal"),
    ("git wants nothing that can be deployed", "wait; what runs stays"),
    ("the environment is paused", "wait"),
    ("git wants what is live", "wait"),
    ("what git wants is held", "wait"),
    ("what git wants found no room", "wait until more is free"),
    ("the last rollout failed, and nobody acted", "wait, loudly"),
    ("what git wants removes most applications", "wait, unless that very commit allows it"),
    ("the PUT would harm somebody else's applications", "wait"),
    ("a gate is closed", "wait until it opens, by itself or by an act"),
)
"""The policy: condition and consequence of each line, from 1. The first line that fits decides."""

NOBODY: Mapping[str, str] = MappingProxyType({})


def decide(
    wanted: Wanted,
    live: Observation,
    record: Record,
    now: datetime,
    neighbours: Mapping[str, str] = NOBODY,
    gating: Gating = gates.NONE,
) -> Action:
    """Return the one action to take now. The first line of `POLICY` that fits decides.

    `neighbours` are the applications of this daemon's other environments on the same cluster, each with its
    environment. `gating` is what a deploy of what git wants has to wait for.
    """
    wanted = lineage.admitted(wanted, record)
    news = _news(wanted, record, now)
    if news is not None:
        return Note(line=1, events=(news,))
    match live:
        case Unreachable(why=why, seconds=seconds) | Unreadable(why=why, seconds=seconds):
            return _blind(why, seconds, record, now)
        case Live():
            pass
        case _:
            assert_never(live)
    rollout = record.rollout
    if rollout is not None and rollout.blind_since is not None:
        return Note(line=3, events=(RegainedSight(at=now, rollout=rollout.id),))
    paused = record.paused
    if paused is not None and paused.until is not None and now >= paused.until:
        return Note(line=4, events=(Resumed(at=now, reason="the pause was over"),))
    if record.asked is not None:
        return _asked(live, record, now)
    if rollout is not None:
        return _go_on(wanted, live, record, rollout, now, neighbours, gating)
    return rest.begin(wanted, live, record, now, neighbours, gating)


def rejected(record: Record, message: str, now: datetime) -> tuple[Event, ...]:
    """The cluster refused the pending PUT: the facts that follow. It may be half applied all the same.

    Serve answers 400 both for schema errors, which change nothing, and for errors raised inside its
    controller, which leave the config half applied (measured, 2.60). The rollback heals both.
    """
    return rollouts.fail(record, Failure(failure_class=FailureClass.CONFIG, message=message), now)


def unanswered(record: Record, message: str, now: datetime) -> tuple[Event, ...]:
    """The pending PUT got no clear answer, and the cluster does not show it: the facts that follow, if any.

    It is tried again, without an end, but for a rollback past its deadline: that has failed, loudly, because
    a Serve whose controller is dead for good answers every PUT with 500 and every GET with 200 (measured).
    """
    rollout = record.rollout
    if rollout is None or not _is_rollback_late(rollout, now):
        return ()
    limit = sentences.span(timedelta(seconds=rollout.policy.rollback_deadline))
    failure = Failure(failure_class=FailureClass.DEADLINE, message=f"not sent within {limit}: {message}")
    return rollouts.fail(record, failure, now)


def _is_rollback_late(rollout: Rollout, now: datetime) -> bool:
    limit = timedelta(seconds=rollout.policy.rollback_deadline)
    return rollout.kind is Kind.ROLLBACK and now - rollout.started_at - rollout.blind > limit


def _news(wanted: Wanted, record: Record, now: datetime) -> Event | None:
    match wanted:
        case Desired(release=release, notes=notes, signatures=signatures):
            if record.refused is None and record.seen is not None and _is_same(record.seen, release):
                return None
            return Seen(
                at=now,
                actor=str(release.revision.author),
                release=release,
                notes=notes,
                superseded=lineage.between(wanted, record),
                rewritten=lineage.rewritten(wanted, record),
                signatures=signatures,
                people=lineage.people(wanted, record),
            )
        case Unverified(revision=revision) | Rewritten(revision=revision):
            actor, is_rewrite = str(revision.author), isinstance(wanted, Rewritten)
            message = sentences.not_admitted(wanted, record)
            refused = Refused(
                at=now, actor=actor, commit=revision.commit, message=message, is_rewrite=is_rewrite
            )
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


def _blind(why: str, seconds: float, record: Record, now: datetime) -> Action:
    rollout, known = record.rollout, record.drift
    is_known = known is not None and known.drift is DriftClass.UNKNOWN
    if rollout is None and seconds >= BLIND_SECONDS and rollouts.may_be_lost(record) and not is_known:
        what = f"The cluster has not been seen for {seconds:.0f} s: {why}"
        return Note(line=2, events=(Drifted(at=now, drift=DriftClass.UNKNOWN, what=what),))
    if rollout is not None and rollout.applied_at is not None and rollout.blind_since is None:
        return Note(line=2, events=(LostSight(at=now, rollout=rollout.id, why=why),))
    return Wait(line=2, reason=sentences.blind(why, record), seconds=IDLE_SECONDS)


def _asked(live: Live, record: Record, now: datetime) -> Action:
    rollout, asked = record.rollout, record.asked
    if rollout is None or asked is None:
        return Note(line=5, events=(rollouts.asked_rollback(live, record, now),))
    cancelled = Cancelled(at=now, actor=asked.actor, reason=asked.reason, rollout=rollout.id)
    return Note(line=5, events=(cancelled, rollouts.asked_rollback(live, evolve(record, cancelled), now)))


def _go_on(
    wanted: Wanted,
    live: Live,
    record: Record,
    rollout: Rollout,
    now: datetime,
    neighbours: Mapping[str, str],
    gating: Gating,
) -> Action:
    """Lines 6 to 17: a rollout is in flight, and the cluster can be seen."""
    overtaken = _overtaken(wanted, live, record, rollout, now, neighbours, gating)
    if overtaken is not None:
        return overtaken
    missing = not_ours(live, rollout, strict=rollout.pending)
    if rollout.pending:
        if missing is None:
            applied = Applied(at=now, rollout=rollout.id, session=live.session, read_back=True)
            return Note(line=7, events=(applied,))
        return _put(live, record, rollout, now, neighbours)
    if missing is not None:
        return _resubmit(live, rollout, missing, record, now)
    keep = rest.keep_log(record)
    if keep is not None:
        return keep
    sighting = see(live, rollout)
    if _is_another_state(rollout, sighting):
        observed = Observed(
            at=now,
            rollout=rollout.id,
            states=sighting.states,
            settled=sighting.settled,
            sick=sighting.sick,
            phase=sighting.phase.value if sighting.phase else "",
        )
        return Note(line=11, events=(observed,))
    match judge(live, rollout, sighting, now, serving=record.good is not None):
        case Settled():
            return _settled(live, record, rollout, now)
        case Failing(failure=failure, may_retry=may_retry):
            if may_retry and rollout.kind is Kind.DEPLOY and rollout.retries < RETRIES:
                return _retry(live, rollout, failure, now)
            return Note(line=12, events=rollouts.fail(record, failure, now))
        case Progressing(phase=phase, text=text):
            return _deadline_or_wait(record, rollout, phase, text, now)
        case verdict:
            assert_never(verdict)


def _overtaken(
    wanted: Wanted,
    live: Live,
    record: Record,
    rollout: Rollout,
    now: datetime,
    neighbours: Mapping[str, str],
    gating: Gating,
) -> Note | None:
    """The end of a rollout that a newer digest overtakes, and the start of that one's, if it may be deployed.

    A rollback is finished first, bounded by its own deadline, so that the cluster is never left between two
    releases of which neither is known to work. A restore is overtaken only by what came after its start:
    nothing serves until it is done, and what git had wanted before goes ahead of nothing.
    """
    if not isinstance(wanted, Desired) or wanted.release.digest == rollout.release.digest:
        return None
    is_later = record.seen_at is not None and record.seen_at > rollout.started_at
    if rollout.kind is Kind.ROLLBACK or (rollout.kind is Kind.RESTORE and not is_later):
        return None
    superseded = Superseded(at=now, rollout=rollout.id, by=wanted.release.revision.commit)
    after = evolve(record, superseded)
    newer = rest.waiting(wanted, live, after, now, neighbours, gating)
    if not isinstance(newer, rest.Cleared):
        return None
    return Note(line=6, events=(superseded, rest.start(newer, live, after, now, neighbours)))


def _put(
    live: Live, record: Record, rollout: Rollout, now: datetime, neighbours: Mapping[str, str]
) -> Action:
    ours = rollouts.owned(record, rollout.policy, neighbours)
    why = body.obstacle(rollout.release, live, ours, neighbours, adopts=record.good is None)
    if why is None:
        return Put(line=8, rollout=rollout, body=body.compose(rollout.release, rollout.nonce, live, ours))
    late = unanswered(record, why, now)
    if late:
        return Note(line=13, events=late)
    return Wait(line=8, reason=sentences.obstacle(rollout.release, why), seconds=IDLE_SECONDS)


def _resubmit(live: Live, rollout: Rollout, why: str, record: Record, now: datetime) -> Action:
    pause = rollouts.pause_after(rollout.puts, first=RESUBMIT_SECONDS, longest=RESUBMIT_LIMIT_SECONDS)
    if now - (rollout.put_at or rollout.started_at) < pause:
        return _deadline_or_wait(record, rollout, Phase.START, f"our PUT does not hold: {why}", now)
    intent = Resubmitted(
        at=now, rollout=rollout.id, cause=why, before=deployed_times(live), starting=starting(live)
    )
    return Note(line=9, events=(intent,))


def _retry(live: Live, rollout: Rollout, failure: Failure, now: datetime) -> Action:
    left = RETRY_SECONDS - (now - _failed_since(rollout, now)).total_seconds()
    if left > 0:
        reason = sentences.progressing(rollout, f"{failure.message}; tried once more in {left:.0f} s")
        return Wait(line=12, reason=reason, seconds=min(left, LAST_POLL_SECONDS))
    intent = Resubmitted(
        at=now,
        rollout=rollout.id,
        cause=failure.message,
        before=deployed_times(live),
        starting=starting(live),
        is_retry=True,
        # Ray remembers for ten minutes that the very same environment could not be made, and does not even
        # try (measured, 2.60).
        nonce=f"{rollout.id}.{rollout.retries + 1}",
    )
    return Note(line=12, events=(intent,))


def _failed_since(rollout: Rollout, now: datetime) -> datetime:
    """Since when an application of the rollout is DEPLOY_FAILED."""
    since = now
    for moment in reversed(rollout.timeline):
        if not any(state.status == "DEPLOY_FAILED" for state in moment.states):
            break
        since = moment.at
    return since


def _is_another_state(rollout: Rollout, sighting: Sighting) -> bool:
    if rollout.phase_since is None:
        # The first look since the PUT.
        return True
    last = rollout.timeline[-1]
    return (
        last.settled != sighting.settled
        or last.sick != sighting.sick
        or last.phase != (sighting.phase.value if sighting.phase else "")
        or [_key(state) for state in last.states] != [_key(state) for state in sighting.states]
    )


def _key(state: State) -> tuple[object, ...]:
    """What makes a moment of the timeline another one: not the counts, which change with every replica.

    Of the message only whether there is one: Serve begins to say why it waits after 30 s (2.60).
    """
    return (
        state.app,
        state.deployment,
        state.status,
        state.trigger,
        state.replicas,
        state.failed_starts,
        bool(state.says),
    )


def _settled(live: Live, record: Record, rollout: Rollout, now: datetime) -> Action:
    """Lines 14 to 17: everything runs; is it healthy, does it pass its checks, did it soak?"""
    if rollout.healthy_at is None:
        left = (rollout.settled_since or now) + stability_window(rollout, live) - now
        if left > timedelta():
            return _soon(rollout, left, f"RUNNING and HEALTHY; watched for {_span(left)} more", now)
        return Note(line=14, events=(Healthy(at=now, rollout=rollout.id),))
    if rollout.kind is Kind.DEPLOY:
        check = _next_check(record, rollout, now)
        if check is not None:
            return check
        soak = timedelta(seconds=rollout.policy.soak)
        left = (rollout.soak_since or now) + soak - now
        if left > timedelta():
            return _soon(rollout, left, f"healthy; soaking for {_span(left)} more", now)
    return Note(line=16, events=(Good(at=now, rollout=rollout.id),))


def _next_check(record: Record, rollout: Rollout, now: datetime) -> Action | None:
    """The first check that has not passed: made now, made later, or failed for good. None when all passed."""
    for index, check in enumerate(rollout.policy.checks):
        attempts = rollout.checks.get(index)
        if attempts is None:
            return Probe(line=15, rollout=rollout, index=index, check=check)
        if attempts.passed:
            continue
        if attempts.made > check.retries:
            failure = Failure(failure_class=FailureClass.CHECKS, message=attempts.message)
            return Note(line=15, events=rollouts.fail(record, failure, now))
        pause = rollouts.pause_after(attempts.made, first=CHECK_SECONDS, longest=CHECK_LIMIT_SECONDS)
        left = attempts.last_at + pause - now
        if left <= timedelta():
            return Probe(line=15, rollout=rollout, index=index, check=check)
        text = f"checking ({attempts.made} of {check.retries + 1} attempts failed): {attempts.message}"
        return Wait(
            line=15,
            reason=sentences.progressing(rollout, text),
            seconds=min(left.total_seconds(), LAST_POLL_SECONDS),
        )
    return None


def _deadline_or_wait(record: Record, rollout: Rollout, phase: Phase, text: str, now: datetime) -> Action:
    late = _late(rollout, phase, now)
    if late is not None:
        limit, failure_class = late
        message = f"not healthy within {sentences.span(limit)} ({phase.value}): {text}"
        if failure_class is FailureClass.CAPACITY:
            message = f"no room for a replica within {sentences.span(limit)}: {_most_telling(rollout, text)}"
        failure = Failure(failure_class=failure_class, message=message)
        return Note(line=13, events=rollouts.fail(record, failure, now))
    return Wait(line=17, reason=sentences.progressing(rollout, text), seconds=_poll_seconds(rollout, now))


def _late(rollout: Rollout, phase: Phase, now: datetime) -> tuple[timedelta, FailureClass] | None:
    """The limit that is passed and the class of failure that it means; None while there is time.

    Each phase has its own limit, from when it began; and all of them together are the most that a rollout
    may take from `Applied`, less the time in which it was settled: a flap late in a long soak is judged as a
    flap. A restore or a heal may have to start everything, as a deploy does.
    """
    elapsed = now - (rollout.applied_at or now) - rollout.blind - rollout.steady
    deadlines = rollout.policy.deadlines
    if rollout.kind is Kind.ROLLBACK:
        whole = timedelta(seconds=rollout.policy.rollback_deadline)
        return (whole, FailureClass.DEADLINE) if elapsed > whole else None
    # While a PUT does not hold, the last moment can be of another phase: that one's time is not this one's.
    is_in_phase = bool(rollout.timeline) and rollout.timeline[-1].phase == phase.value
    in_phase = now - (rollout.phase_since or now) if is_in_phase else timedelta()
    limit = {
        Phase.BUILD: timedelta(seconds=deadlines.build),
        Phase.SCHEDULE: timedelta(seconds=deadlines.schedule),
        Phase.START: timedelta(seconds=deadlines.start),
    }[phase]
    if in_phase > limit:
        is_full = phase is Phase.SCHEDULE
        return limit, FailureClass.CAPACITY if is_full else FailureClass.DEADLINE
    whole = timedelta(seconds=deadlines.build + deadlines.schedule + deadlines.start)
    return (whole, FailureClass.DEADLINE) if elapsed > whole else None


def _most_telling(rollout: Rollout, text: str) -> str:
    """Serve's own words about the room that it looks for, once it has said them (after 30 s)."""
    last = rollout.timeline[-1] if rollout.timeline else None
    says = next((state.says for state in last.states if "scheduled" in state.says), "") if last else ""
    return says or text


def _soon(rollout: Rollout, left: timedelta, text: str, now: datetime) -> Wait:
    """Look again as usual, but no later than when the time is up."""
    seconds = min(left.total_seconds(), _poll_seconds(rollout, now))
    return Wait(line=17, reason=sentences.progressing(rollout, text), seconds=max(seconds, 0.01))


def _poll_seconds(rollout: Rollout, now: datetime) -> float:
    elapsed = now - (rollout.applied_at or now) - rollout.blind
    return min(max(FIRST_POLL_SECONDS, elapsed.total_seconds() / 20), LAST_POLL_SECONDS)


def _span(left: timedelta) -> str:
    return sentences.took(left)
