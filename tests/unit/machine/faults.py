"""Seeded faults: each is one line of the policy, or of what carries it out, got wrong.

The state machine must catch every one of them. They are made around the real policy: of the record that it
gets, or of the order that it gives.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from deployer.core import decide as policy
from deployer.core.actions import Action, Note, Put, Wait
from deployer.core.events import (
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    Observed,
    Resubmitted,
    RetryAsked,
    Started,
    Superseded,
)
from deployer.core.judge import see
from deployer.core.live import Live, Observation
from deployer.core.record import Result
from deployer.core.rest import IDLE_SECONDS
from deployer.core.rollouts import fail
from deployer.core.types import Desired, NotRead, Wanted
from tests.unit.machine.configs import CONFIGS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from typing import Any

    from deployer.core.gates import Gating
    from deployer.core.record import Record
    from deployer.engine.reconcile import Policy as Decide

    Others = Mapping[str, str]


def ignores_holds(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A held digest is deployed again."""
    return policy.decide(wanted, live, replace(record, held=()), now, others, gating)


def rolls_back_when_blind(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A cluster that cannot be seen fails its rollout."""
    rollout = record.rollout
    if rollout is not None and rollout.applied_at is not None and not isinstance(live, Live):
        return Note(line=0, events=policy.rejected(record, "unreachable", now))
    return policy.decide(wanted, live, record, now, others, gating)


def trusts_stale_status(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """RUNNING is believed without asking whose PUT it belongs to, or since when."""
    rollout = record.rollout
    if rollout is None or rollout.pending or rollout.blind_since is not None or not isinstance(live, Live):
        return policy.decide(wanted, live, record, now, others, gating)
    apps = [live.apps.get(name) for name in rollout.release.config.applications()]
    if not all(app is not None and app.status == "RUNNING" for app in apps):
        return policy.decide(wanted, live, record, now, others, gating)
    states = see(live, rollout).states
    return Note(
        line=0,
        events=(
            Observed(at=now, rollout=rollout.id, states=states, settled=True),
            Healthy(at=now, rollout=rollout.id),
            Good(at=now, rollout=rollout.id),
        ),
    )


def counts_blind_time(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """The deadlines run on while the cluster cannot be seen."""
    rollout = record.rollout
    if rollout is not None:
        since = rollout.phase_since and rollout.phase_since - rollout.blind
        record = replace(record, rollout=replace(rollout, blind=timedelta(), phase_since=since))
    return policy.decide(wanted, live, record, now, others, gating)


def counts_from_the_start(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """The deadline counts from the start of the rollout, not from Applied."""
    rollout = record.rollout
    if rollout is not None and rollout.applied_at is not None:
        record = replace(record, rollout=replace(rollout, applied_at=rollout.started_at))
    return policy.decide(wanted, live, record, now, others, gating)


def never_repeats_a_put(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A PUT that did not hold is waited for until the deadline, then blamed on the release."""
    action = policy.decide(wanted, live, record, now, others, gating)
    if isinstance(action, Note) and any(isinstance(event, Resubmitted) for event in action.events):
        return Wait(line=0, reason="waiting", seconds=IDLE_SECONDS)
    return action


def forgets_the_rollback(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A failed deploy is left where it is."""
    action = policy.decide(wanted, live, record, now, others, gating)
    is_rollback = _starts(action, Kind.ROLLBACK)
    return Wait(line=0, reason="left alone", seconds=IDLE_SECONDS) if is_rollback else action


def holds_after_a_failed_rollback(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """Whatever fails is held, the way back too."""
    action = policy.decide(wanted, live, record, now, others, gating)
    is_deploy = record.rollout is not None and record.rollout.kind is Kind.DEPLOY
    if isinstance(action, Note) and isinstance(action.events[-1], Failed) and not is_deploy:
        rollout = action.events[-1].rollout
        return replace(action, events=(*action.events, Held(at=now, rollout=rollout, reason="it failed")))
    return action


def holds_for_want_of_room(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A release that found no room is held like one that is broken."""
    action = policy.decide(wanted, live, record, now, others, gating)
    if isinstance(action, Note) and isinstance(failed := action.events[-1], Failed):
        is_room = failed.failure.failure_class is FailureClass.CAPACITY
        if is_room and record.rollout is not None and record.rollout.kind is Kind.DEPLOY:
            return replace(
                action, events=(*action.events, Held(at=now, rollout=failed.rollout, reason="it failed"))
            )
    return action


def deploys_every_commit(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A commit with the same config becomes a rollout: a sick cluster makes it reject its good release."""
    action = policy.decide(wanted, live, record, now, others, gating)
    last = record.last
    is_idle = isinstance(action, Wait) and isinstance(live, Live) and record.rollout is None
    if is_idle and isinstance(wanted, Desired) and last is not None:
        is_new = last.release.revision != wanted.release.revision
        if is_new and last.release.digest == wanted.release.digest:
            started = Started(
                at=now,
                rollout=record.next_rollout_id(),
                kind=Kind.DEPLOY,
                release=wanted.release,
                policy=wanted.policy,
                trigger="push",
            )
            return Note(line=0, events=(started,))
    return action


def puts_before_the_intent(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """An applied rollout is sent again whenever the cluster looks different, without an intent."""
    action = policy.decide(wanted, live, record, now, others, gating)
    is_again = isinstance(action, Note) and any(isinstance(e, Resubmitted) for e in action.events)
    if is_again and record.rollout is not None:
        return Put(line=0, rollout=record.rollout, body=record.rollout.release.config.body())
    return action


def takes_all_for_its_own(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """The whole set is replaced, whoever owns it."""
    names = live.apps.keys() if isinstance(live, Live) else set()
    return policy.decide(wanted, live, replace(record, apps=record.apps | names), now, others, gating)


def leaves_others_out(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """The body has our applications alone."""
    action = policy.decide(wanted, live, record, now, others, gating)
    if not isinstance(action, Put):
        return action
    ours = action.rollout.release.config.applications()
    kept = [one for one in action.body["applications"] if one["name"] in ours]
    return replace(action, body={**action.body, "applications": kept})


def knows_no_neighbours(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """Two environments on one cluster take an application from each other."""
    del others
    return policy.decide(wanted, live, record, now, gating=gating)


def has_no_stability_window(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """RUNNING and HEALTHY once is healthy."""
    return policy.decide(wanted, live, _judged(record, stability_window=0.0), now, others, gating)


def skips_the_checks(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A release is good that answers its checks with errors."""
    return policy.decide(wanted, live, _judged(record, checks=()), now, others, gating)


def soaks_unseen(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """Time in which the cluster could not be seen counts as soaked."""
    rollout = record.rollout
    if rollout is not None and rollout.soak_since is not None:
        record = replace(record, rollout=replace(rollout, soak_since=rollout.soak_since - rollout.blind))
    return policy.decide(wanted, live, record, now, others, gating)


def counts_no_flaps(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """What flaps may go on flapping until it looks well for long enough."""
    rollout = record.rollout
    if rollout is not None:
        record = replace(record, rollout=replace(rollout, flaps=0, sick_since=None))
    return policy.decide(wanted, live, record, now, others, gating)


def gives_an_environment_no_second_try(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A runtime environment that could not be made fails the rollout at once."""
    rollout = record.rollout
    if rollout is not None:
        record = replace(record, rollout=replace(rollout, retries=policy.RETRIES))
    return policy.decide(wanted, live, record, now, others, gating)


def restores_what_git_says(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A cluster that lost its state gets the newest commit, not what ran there."""
    action = policy.decide(wanted, live, record, now, others, gating)
    if isinstance(action, Note) and _starts(action, Kind.RESTORE) and isinstance(wanted, Desired):
        started: Any = action.events[-1]
        return replace(action, events=(*action.events[:-1], replace(started, release=wanted.release)))
    return action


def forgets_to_restore(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A cluster that lost its state stays empty."""
    action = policy.decide(wanted, live, record, now, others, gating)
    is_restore = _starts(action, Kind.RESTORE)
    return Wait(line=0, reason="left alone", seconds=IDLE_SECONDS) if is_restore else action


def heals_without_end(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """Whoever edits by hand is fought for ever."""
    return policy.decide(wanted, live, replace(record, repairs=()), now, others, gating)


def heals_while_paused(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A pause does not keep drift from being healed."""
    action = policy.decide(wanted, live, replace(record, paused=None), now, others, gating)
    return action if _starts(action, Kind.HEAL) else policy.decide(wanted, live, record, now, others, gating)


def deploys_while_paused(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """Nor a new release from being deployed."""
    action = policy.decide(wanted, live, replace(record, paused=None), now, others, gating)
    return (
        action if _starts(action, Kind.DEPLOY) else policy.decide(wanted, live, record, now, others, gating)
    )


def knows_no_gates(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A release is deployed that nobody approved, or that failed elsewhere."""
    del gating
    return policy.decide(wanted, live, record, now, others)


def gates_a_rescue(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """The way back waits where a deploy would have to."""
    action = policy.decide(wanted, live, record, now, others, gating)
    if _starts(action, Kind.ROLLBACK) and gating.rules.requires:
        return Wait(line=0, reason="a gate is closed", seconds=IDLE_SECONDS)
    return action


def counts_any_approval(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """What one person rejects is deployed, as long as they said something."""
    said = tuple(replace(one, is_approval=True) for one in record.opinions)
    return policy.decide(wanted, live, replace(record, opinions=said), now, others, gating)


def retries_twice(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """What failed is tried again, although nobody asked for it."""
    action = policy.decide(wanted, live, record, now, others, gating)
    if isinstance(action, Note) and isinstance(action.events[-1], Held) and record.rollout is not None:
        again = RetryAsked(at=now, digest=record.rollout.release.digest)
        return replace(action, events=(*action.events, again))
    return action


def undoes_a_rollback(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """What a person rolled back is deployed again, because git still says so."""
    held = tuple(hold for hold in record.held if not hold.by_person)
    return policy.decide(wanted, live, replace(record, held=held), now, others, gating)


def blames_the_code(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A deploy that is about to be good fails, and is held, for nothing."""
    action = policy.decide(wanted, live, record, now, others, gating)
    is_deploy = record.rollout is not None and record.rollout.kind is Kind.DEPLOY
    if is_deploy and isinstance(action, Note) and isinstance(action.events[-1], Good):
        failure = Failure(failure_class=FailureClass.CODE, message="it does not look well")
        return replace(action, events=fail(record, failure, now))
    return action


def may_delete_all(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """Every commit may delete whatever it does not list."""
    if not isinstance(wanted, Desired):
        return policy.decide(wanted, live, record, now, others, gating)
    allowed = replace(wanted, policy=replace(wanted.policy, allow_delete=True))
    action = policy.decide(allowed, live, record, now, others, gating)
    if isinstance(action, Note) and isinstance(started := action.events[-1], Started):
        is_deploy = started.kind is Kind.DEPLOY
        as_git_says = replace(started, policy=wanted.policy if is_deploy else started.policy)
        return replace(action, events=(*action.events[:-1], as_git_says))
    return action


def never_gives_the_way_back_up(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A rollback that failed is tried again, and again."""
    last = record.last
    if last is not None and last.kind is Kind.ROLLBACK and last.result is Result.FAILED:
        some = replace(last.release, config=CONFIGS["import-error"])
        last = replace(last, kind=Kind.DEPLOY, release=some, policy=replace(last.policy, rollback=True))
        return policy.decide(wanted, live, replace(record, last=last), now, others, gating)
    return policy.decide(wanted, live, record, now, others, gating)


def finishes_what_it_began(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A newer digest waits for the end of the rollout in flight."""
    action = policy.decide(wanted, live, record, now, others, gating)
    if isinstance(action, Note) and any(isinstance(event, Superseded) for event in action.events):
        return policy.decide(NotRead(why="later"), live, record, now, others, gating)
    return action


def waits_for_serves_verdict(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """Serve tries a crashing constructor as often as it likes."""
    return policy.decide(wanted, live, _judged(record, fail_fast_after=0), now, others, gating)


def follows_blindly(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """A branch that was rewritten is deployed like any other."""
    if isinstance(wanted, Desired):
        wanted = replace(wanted, lineage=None)
    return policy.decide(wanted, live, record, now, others, gating)


def always_rolls_back(
    wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
) -> Action:
    """`rollback: {on: false}` is not read."""
    last = record.last
    if last is not None:
        last = replace(last, policy=replace(last.policy, rollback=True))
    return policy.decide(wanted, live, replace(record, last=last), now, others, gating)


def _starts(action: Action, kind: Kind) -> bool:
    return isinstance(action, Note) and any(
        isinstance(event, Started) and event.kind is kind for event in action.events
    )


def _judged(record: Record, **changes: Any) -> Record:
    rollout = record.rollout
    if rollout is None:
        return record
    return replace(record, rollout=replace(rollout, policy=replace(rollout.policy, **changes)))


FAULTS: dict[Decide, str] = {
    ignores_holds: "its digest is held",
    rolls_back_when_blind: "a failure of a cluster that was not seen",
    trusts_stale_status: "of health, not",
    counts_blind_time: "a deadline after",
    counts_from_the_start: "a deadline after",
    never_repeats_a_put: "at rest in the middle of",
    forgets_the_rollback: "left on a failed release",
    holds_after_a_failed_rollback: "only a failed deploy holds its digest",
    holds_for_want_of_room: "held for want of room",
    deploys_every_commit: "a rollout of what is live already",
    puts_before_the_intent: "a PUT without a pending intent",
    takes_all_for_its_own: "a PUT that deletes .*, which is somebody else's",
    leaves_others_out: "a PUT that deletes .*, which is somebody else's",
    knows_no_neighbours: "of .* is taken over",
    has_no_stability_window: "healthy after .* s of health",
    skips_the_checks: "good, although .* did not pass",
    soaks_unseen: "good after .* s of health",
    counts_no_flaps: "good, although it flapped",
    gives_an_environment_no_second_try: "was not tried again",
    restores_what_git_says: "a restore to something else than the good release",
    forgets_to_restore: "a cluster that lost its state is left so",
    heals_without_end: "a heal beyond the budget",
    heals_while_paused: "a heal while paused",
    deploys_while_paused: "a deploy while paused",
    knows_no_gates: "a deploy through the closed gates",
    gates_a_rescue: "left on a failed release",
    counts_any_approval: "a deploy through the closed gates",
    retries_twice: "a retry that nobody asked for",
    undoes_a_rollback: "its digest is held",
    blames_the_code: "the code is blamed, and nothing failed to start",
    may_delete_all: "a deploy that deletes what nobody allowed it to",
    never_gives_the_way_back_up: "after a rollback that failed, and nobody acted",
    finishes_what_it_began: "git wants another digest than what is in flight",
    waits_for_serves_verdict: "starts fail, and it is waited for more",
    always_rolls_back: "a rollback, although that is switched off",
    follows_blindly: "a deploy of what git does not want",
}
"""Each with the promise that it breaks, in the words of whoever notices it: a regular expression."""
