"""What an environment's events add up to, and the only definition of a legal history: `evolve`.

Owns the record and its fold. Must not know the cluster, git, or what should happen next. Invariant:
`evolve` accepts exactly the histories that keep the promises (at most one rollout in flight, an intent
before every outcome, a held digest is never the way back); everything else raises `IllegalEvent`.
The stored record is a cache of this fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import reduce
from typing import assert_never

from deployer.core.errors import IllegalEvent
from deployer.core.events import (
    DAEMON_LOG,
    Applied,
    Approved,
    Cancelled,
    Checked,
    CommandRefused,
    DaemonStarted,
    DaemonStopped,
    DriftClass,
    Drifted,
    DriftEnded,
    Event,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    LogKept,
    LostSight,
    Measured,
    Moment,
    Observed,
    Paused,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Proposed,
    Refused,
    RegainedSight,
    Rejected,
    Resubmitted,
    Resumed,
    RetryAsked,
    RollbackAsked,
    Seen,
    Started,
    StoreRestored,
    Superseded,
    SyncAsked,
    TokenCreated,
    TokenRevoked,
)
from deployer.core.types import Person, Policy, Release, Revision

_FIRST_MOMENTS = 10
_LAST_MOMENTS = 30
"""Of a rollout's timeline the record keeps the beginning and the end; the events have all of it."""

_REVIEWS = 100
"""Reviews at a forge that are remembered: no review is used twice."""

_PROMOTED = 20
"""Promotions that are remembered: who promoted a commit does not approve it, also while another one comes."""

_HOUR = timedelta(hours=1)


class Result(StrEnum):
    """How a rollout stands in the history."""

    IN_PROGRESS = "in_progress"
    GOOD = "good"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """How a check of a rollout stands: attempts made, the last of them when and with what answer."""

    made: int
    passed: bool
    last_at: datetime
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A rollout in flight.

    `applied_at` is the first `Applied` (deadlines count from it), `put_at` the last one; `pending` is
    True while a PUT is intended whose outcome is not recorded. `puts` counts intents, `retries` those that
    were made because the rollout failed in a way that is worth one more try. `blind_since` is
    when the cluster stopped answering, `blind` how long it had not answered before that, in total.
    `settled_since` is since when everything is RUNNING and HEALTHY without a break, less the time nobody
    could see; `was_settled` whether it ever was since the last PUT; `steady` is how long it was settled
    before its last break, in total; `flaps` counts the breaks in which something was UNHEALTHY; `sick_since`
    is when the present one began. `phase_since` is when the phase of the last moment began. `checks` are by
    their place in the policy; `soak_since` is since when it soaks.
    """

    id: str
    kind: Kind
    release: Release
    policy: Policy
    trigger: str
    started_at: datetime
    before: Mapping[str, float]
    follows: str | None = None
    nonce: str = ""
    leaving: tuple[str, ...] = ()
    starting: Mapping[str, int] = field(default_factory=dict)
    pending: bool = True
    puts: int = 1
    retries: int = 0
    applied_at: datetime | None = None
    put_at: datetime | None = None
    timeline: tuple[Moment, ...] = ()
    settled_since: datetime | None = None
    was_settled: bool = False
    steady: timedelta = timedelta()
    flaps: int = 0
    sick_since: datetime | None = None
    phase_since: datetime | None = None
    healthy_at: datetime | None = None
    checks: Mapping[int, Attempts] = field(default_factory=dict)
    soak_since: datetime | None = None
    blind_since: datetime | None = None
    blind: timedelta = timedelta()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The last rollout that ended. `wanted` is the commit that git wanted at that moment, if known.

    `is_log_kept` is False while the log that `failure` names has still to be read. `nonce`: see `Started`.
    """

    id: str
    kind: Kind
    release: Release
    policy: Policy
    result: Result
    finished_at: datetime
    failure: Failure | None = None
    wanted: str | None = None
    is_log_kept: bool = False
    nonce: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A digest that failed here, with the release that brought it and the rollout that showed it.

    `may_retry`: a person asked for one more try, which has not started yet. `by_person`: it did not fail, a
    person rolled it back.
    """

    release: Release
    reason: str
    since: datetime
    rollout: str
    may_retry: bool = False
    by_person: bool = False

    @property
    def digest(self) -> str:
        """The held digest."""
        return self.release.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How the cluster differs from the current release, and since when. `what` is a sentence."""

    drift: DriftClass
    what: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Starved:
    """A digest that found no room. `tries` failed so far; `free` is what was free when they had ended."""

    digest: str
    tries: int
    since: datetime
    free: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opinion:
    """What a person said of a plan, the last time they did. `by` is their login name.

    `review` is which review at a forge said it, "" if it was a command.
    """

    by: str
    plan: str
    at: datetime
    is_approval: bool
    reason: str
    review: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A person let these gates of a commit be."""

    by: str
    reason: str
    skipped: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """A person wants this deployed. `skipped` are the gates that need not be open for `commit`.

    `kept` are what others skipped for it before, oldest first: that stays, and stays theirs.
    """

    digest: str
    commit: str
    by: str
    at: datetime
    reason: str
    skipped: tuple[str, ...] = ()
    kept: tuple[Skip, ...] = ()

    @property
    def skips(self) -> tuple[Skip, ...]:
        """What is skipped for the commit, and by whom, oldest first."""
        return (*self.kept, Skip(by=self.by, reason=self.reason, skipped=self.skipped))


class Pushing(StrEnum):
    """How a promotion stands."""

    ASKED = "asked"
    PROMOTED = "promoted"
    PROPOSED = "proposed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The last promotion to this environment. `why` is a sentence if it failed; `at` is when it was asked.

    `copied` is the commit that brings what `commit` says, where it is another one. `by_pull_request`: one is
    wanted for it; `url` is where that was opened, as `number`, with `head` at its top. `people` made what it
    brings along. `is_more`: `copied` is a merge that may say more.
    """

    source: str
    rollout: str
    commit: str
    by: str
    at: datetime
    reason: str
    skipped: tuple[str, ...] = ()
    by_pull_request: bool = False
    people: tuple[Person, ...] = ()
    result: Pushing = Pushing.ASKED
    why: str = ""
    copied: str | None = None
    is_more: bool = False
    url: str | None = None
    number: int | None = None
    head: str | None = None

    @property
    def commits(self) -> tuple[str, ...]:
        """The commits that this brings: who promoted counts as their author, and the skips are for them."""
        return (self.commit, *(one for one in (self.copied, self.head) if one is not None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """An environment's memory: everything `decide` needs of the past.

    `sequence` counts the events folded in. `rollouts` counts the rollouts started. `seen` is the release
    git wanted last, since `seen_at`; `refused` is what git said since that cannot be deployed. `good` is
    the newest good release: the way back; `good_rollout` made it so at `good_at`, judged by `good_policy`,
    sent with `good_nonce`. `apps` are the application names that this environment has on the cluster,
    `session` the life of the Ray head in which it put them there. `repairs` are the heals and restores that
    were started within the last hour. `asked` is the rollback that a person asked for and that has not
    started. `sick_told_at` is when people were last told that something of it is sick. `accepted` is a commit
    that a person wants deployed although it does not follow from `seen`. `opinions` are what people said of
    plans to deploy `seen`, each person's last. `first` is the first commit by which git wanted the config
    of `seen`, if that is another one: later ones may change nothing here. `makers` made what came along with
    `seen`, as its event says. `go` is the last wish to have something deployed, `promotion` the last
    promotion to here, `promoted` the last ones that were pushed, that one among them; `unended` is one whose
    pull request stood open when `promotion` was asked for.
    """

    environment: str
    sequence: int = 0
    rollouts: int = 0
    seen: Release | None = None
    seen_at: datetime | None = None
    first: Revision | None = None
    makers: tuple[Person, ...] = ()
    refused: Refused | None = None
    good: Release | None = None
    good_rollout: str | None = None
    good_at: datetime | None = None
    good_policy: Policy = field(default_factory=Policy)
    good_nonce: str = ""
    rollout: Rollout | None = None
    last: Finished | None = None
    held: tuple[Hold, ...] = ()
    apps: frozenset[str] = field(default_factory=frozenset)
    session: str | None = None
    drift: Drift | None = None
    sick_told_at: datetime | None = None
    repairs: tuple[datetime, ...] = ()
    starved: Starved | None = None
    paused: Paused | None = None
    asked: RollbackAsked | None = None
    accepted: str | None = None
    opinions: tuple[Opinion, ...] = ()
    reviews: tuple[str, ...] = ()
    go: Go | None = None
    promotion: Promotion | None = None
    promoted: tuple[Promotion, ...] = ()
    unended: Promotion | None = None

    @property
    def proposal(self) -> Promotion | None:
        """The promotion whose pull request is open."""
        last = self.promotion
        return last if last is not None and last.result is Pushing.PROPOSED else self.unended

    def hold_of(self, digest: str) -> Hold | None:
        """The hold on this digest, if it is held."""
        return next((hold for hold in self.held if hold.digest == digest), None)

    def next_rollout_id(self) -> str:
        """The id that the next `Started` must carry."""
        return f"{self.environment}#{self.rollouts + 1}"


def fold(environment: str, events: Iterable[Event]) -> Record:
    """Fold a whole history into its record. Raises IllegalEvent where the history is not legal."""
    return reduce(evolve, events, Record(environment=environment))


def evolve(record: Record, event: Event) -> Record:
    """The record after one more event. Raises IllegalEvent if the event cannot follow this history."""
    return replace(_evolve(record, event), sequence=record.sequence + 1)


def _evolve(record: Record, event: Event) -> Record:
    match event:
        case Seen():
            return _seen(record, event)
        case Refused():
            accepted = record.accepted if event.commit == record.accepted else None
            held = _without_retries(record, None)
            return replace(record, refused=event, accepted=accepted, held=held)
        case Started():
            return _started(record, event)
        case Resubmitted():
            return _resubmitted(record, event)
        case Applied():
            return _applied(record, event)
        case LostSight():
            rollout = _in_flight(record, event)
            _require(rollout.blind_since is None, record, event, "sight is already lost")
            return replace(record, rollout=replace(rollout, blind_since=event.at))
        case RegainedSight():
            rollout = _in_flight(record, event)
            return replace(record, rollout=_regain(record, event, rollout))
        case Observed():
            rollout = _in_flight(record, event)
            _require(not rollout.pending, record, event, "its PUT has no outcome yet")
            return replace(record, rollout=_observed(rollout, event))
        case Healthy():
            rollout = _in_flight(record, event)
            _require(not rollout.pending, record, event, "its PUT has no outcome yet")
            _require(rollout.settled_since is not None, record, event, "it is not settled")
            return replace(record, rollout=replace(rollout, healthy_at=event.at, soak_since=event.at))
        case Checked():
            return _checked(record, event)
        case Good():
            return _good(record, event)
        case Failed():
            return _failed(record, event)
        case Held():
            return _held(record, event)
        case LogKept():
            last = record.last
            if last is None or last.id != event.rollout or last.is_log_kept:
                raise _illegal(record, event, "that rollout's log is not wanted")
            return replace(record, last=replace(last, is_log_kept=True))
        case Superseded():
            rollout = _in_flight(record, event)
            return _finish(record, rollout, Result.SUPERSEDED, event.at)
        case Cancelled():
            rollout = _in_flight(record, event)
            return _finish(record, rollout, Result.CANCELLED, event.at)
        case Drifted() | DriftEnded():
            return _drifted(record, event)
        case Measured():
            if record.starved is None:
                raise _illegal(record, event, "nothing waits for resources")
            return replace(record, starved=replace(record.starved, free=event.free))
        case Paused():
            return replace(record, paused=event)
        case Resumed():
            _require(record.paused is not None, record, event, "it is not paused")
            return replace(record, paused=None)
        case RetryAsked():
            return _retry_asked(record, event)
        case RollbackAsked():
            return _rollback_asked(record, event)
        case Approved() | Rejected():
            return _said(record, event)
        case SyncAsked():
            return replace(record, go=_go(record, event))
        case PromotionAsked():
            promotion = Promotion(
                source=event.source,
                rollout=event.rollout,
                commit=event.commit,
                by=login(event.actor),
                at=event.at,
                reason=event.reason,
                skipped=event.skipped,
                by_pull_request=event.by_pull_request,
                people=event.people,
                copied=event.copied,
            )
            return replace(record, promotion=promotion, unended=record.proposal)
        case Promoted() | Proposed() | PromotionFailed():
            return _pushed(record, event)
        case (
            CommandRefused()
            | DaemonStarted()
            | DaemonStopped()
            | TokenCreated()
            | TokenRevoked()
            | StoreRestored()
        ):
            return _beside(record, event)
        case _:
            assert_never(event)


def _beside(record: Record, event: Event) -> Record:
    """What changes nothing of the environment; what is of the daemon itself stands in its own log."""
    is_at_home = isinstance(event, CommandRefused) or record.environment == DAEMON_LOG
    _require(is_at_home, record, event, "it is of the daemon, and not of this environment")
    return record


def _seen(record: Record, event: Seen) -> Record:
    """What was asked or found out for another digest is over: an unused retry, and a wait for room."""
    digest = event.release.digest
    is_other = record.seen is None or record.seen.digest != digest
    starved = record.starved
    before = record.first or (record.seen.revision if record.seen is not None else None)
    is_first = is_other or before is None or before.commit == event.release.revision.commit
    return replace(
        record,
        seen=event.release,
        first=None if is_first else before,
        makers=event.people,
        seen_at=event.at if is_other else record.seen_at,
        refused=None,
        accepted=None,
        held=_without_retries(record, digest),
        starved=starved if starved is not None and starved.digest == digest else None,
        opinions=() if is_other else record.opinions,
    )


def _go(record: Record, event: SyncAsked) -> Go:
    """What was skipped for this commit before stays so, by whom and for what reason."""
    before = record.go if record.go is not None and record.go.commit == event.commit else None
    # A gate has one who skipped it, the last, or the list would grow with each wish.
    kept = (
        replace(one, skipped=tuple(gate for gate in one.skipped if gate not in event.skipped))
        for one in (before.skips if before is not None else ())
    )
    return Go(
        digest=event.digest,
        commit=event.commit,
        by=login(event.actor),
        at=event.at,
        reason=event.reason,
        skipped=event.skipped,
        kept=tuple(one for one in kept if one.skipped),
    )


def _said(record: Record, event: Approved | Rejected) -> Record:
    """What a person says replaces what they said before."""
    is_wanted = record.seen is not None and record.seen.digest == event.digest
    _require(is_wanted, record, event, "git wants something else")
    said = Opinion(
        by=login(event.actor),
        plan=event.plan,
        at=event.at,
        is_approval=isinstance(event, Approved),
        reason=event.reason,
        review=event.review,
    )
    others = (one for one in record.opinions if one.by != said.by)
    reviews = (*record.reviews, event.review)[-_REVIEWS:] if event.review else record.reviews
    return replace(record, opinions=(*others, said), reviews=reviews)


def _pushed(record: Record, event: Promoted | Proposed | PromotionFailed) -> Record:
    """How the promotion that was asked for ended; one that was proposed ends with the pull request."""
    asked, proposal = record.promotion, record.proposal
    if asked is not None and asked.result is Pushing.ASKED and asked.commit == event.commit:
        ended = asked
    elif proposal is not None and proposal.commit == event.commit and not isinstance(event, Proposed):
        ended = proposal
    else:
        raise _illegal(record, event, "that was not asked for")
    done = _pushed_so(ended, event)
    is_over = isinstance(event, Proposed) or ended == record.unended
    if not isinstance(event, PromotionFailed):
        others = (one for one in record.promoted if one != ended)
        record = replace(record, promoted=(*others, done)[-_PROMOTED:])
        # Of one commit there is one pull request.
        is_over = is_over or (record.unended is not None and record.unended.commit == event.commit)
    return replace(
        record,
        promotion=done if ended == asked else asked,
        unended=None if is_over else record.unended,
    )


def _pushed_so(promotion: Promotion, event: Promoted | Proposed | PromotionFailed) -> Promotion:
    if isinstance(event, PromotionFailed):
        return replace(promotion, result=Pushing.FAILED, why=event.why)
    if isinstance(event, Promoted):
        return replace(promotion, result=Pushing.PROMOTED, copied=event.copied, is_more=event.is_more)
    return replace(promotion, result=Pushing.PROPOSED, url=event.url, number=event.number, head=event.head)


def login(actor: str) -> str:
    """The login name in an event's actor: `ada` of `ada (token ab12cd34)`."""
    return actor.partition(" (")[0]


def _started(record: Record, event: Started) -> Record:
    _require(record.rollout is None, record, event, "another rollout is in flight")
    _require(event.rollout == record.next_rollout_id(), record, event, "the id is out of order")
    digest = event.release.digest
    hold = record.hold_of(digest)
    _require(hold is None or hold.may_retry, record, event, "its digest is held")
    repairs = tuple(at for at in record.repairs if event.at - at < _HOUR)
    if event.kind in (Kind.HEAL, Kind.RESTORE):
        repairs = (*repairs, event.at)
    starved = record.starved if record.starved and record.starved.digest == digest else None
    return replace(
        record,
        rollouts=record.rollouts + 1,
        apps=record.apps.union(event.release.config.applications()),
        held=_hold_changed(record, digest, may_retry=False),
        repairs=repairs,
        starved=starved if event.kind is Kind.DEPLOY else record.starved,
        drift=None,
        asked=None,
        rollout=Rollout(
            id=event.rollout,
            kind=event.kind,
            release=event.release,
            policy=event.policy,
            trigger=event.trigger,
            started_at=event.at,
            before=event.before,
            follows=event.follows,
            nonce=event.nonce,
            leaving=event.leaving,
            starting=event.starting,
        ),
    )


def _resubmitted(record: Record, event: Resubmitted) -> Record:
    """What had proved itself was replaced on the cluster, and what follows has to prove itself anew."""
    rollout = _in_flight(record, event)
    _require(not rollout.pending, record, event, "a PUT is already intended")
    again = replace(
        rollout,
        pending=True,
        before=event.before,
        starting=event.starting,
        puts=rollout.puts + 1,
        retries=rollout.retries + event.is_retry,
        nonce=event.nonce or rollout.nonce,
        settled_since=None,
        was_settled=False,
        steady=_steady(rollout, None, event.at),
        sick_since=None,
        phase_since=None,
        healthy_at=None,
        checks={},
        soak_since=None,
    )
    return replace(record, rollout=again)


def _applied(record: Record, event: Applied) -> Record:
    rollout = _in_flight(record, event)
    _require(rollout.pending, record, event, "no PUT was intended")
    applied_at = rollout.applied_at or event.at
    applied = replace(rollout, pending=False, applied_at=applied_at, put_at=event.at)
    return replace(record, rollout=applied, session=event.session or record.session)


def _regain(record: Record, event: RegainedSight, rollout: Rollout) -> Rollout:
    if rollout.blind_since is None:
        raise _illegal(record, event, "sight was not lost")
    # A clock that went back must not lengthen a deadline into the past.
    gap = max(event.at - rollout.blind_since, timedelta())
    return replace(
        rollout,
        blind_since=None,
        blind=rollout.blind + gap,
        settled_since=_later(rollout.settled_since, gap),
        phase_since=_later(rollout.phase_since, gap),
        sick_since=_later(rollout.sick_since, gap),
        soak_since=_later(rollout.soak_since, gap),
    )


def _later(since: datetime | None, gap: timedelta) -> datetime | None:
    """Time that nobody could see counts neither for nor against a rollout."""
    return since + gap if since is not None else None


def _observed(rollout: Rollout, event: Observed) -> Rollout:
    """One more moment. A break of a settled rollout counts as a flap only if something was sick in it."""
    moment = Moment(
        at=event.at, states=event.states, settled=event.settled, sick=event.sick, phase=event.phase
    )
    before = rollout.timeline[-1] if rollout.timeline else None
    moments = (*rollout.timeline, moment)
    if len(moments) > _FIRST_MOMENTS + _LAST_MOMENTS:
        moments = (*moments[:_FIRST_MOMENTS], *moments[-_LAST_MOMENTS:])
    is_flap = event.sick and rollout.sick_since is None and rollout.was_settled
    is_same_phase = before is not None and before.phase == event.phase
    # Settled again at once after a flap that nobody saw starts anew, too; and so does what was replaced.
    goes_on = event.settled and not event.sick and not _is_replaced(before, moment)
    settled_since = ((goes_on and rollout.settled_since) or event.at) if event.settled else None
    soaks = rollout.healthy_at is not None and event.settled
    return replace(
        rollout,
        timeline=moments,
        settled_since=settled_since,
        was_settled=rollout.was_settled or event.settled,
        steady=_steady(rollout, settled_since, event.at),
        flaps=rollout.flaps + is_flap,
        sick_since=None if event.settled or not event.sick else rollout.sick_since or event.at,
        phase_since=(is_same_phase and rollout.phase_since) or event.at,
        soak_since=((goes_on and rollout.soak_since) or event.at) if soaks else None,
    )


def _is_replaced(before: Moment | None, after: Moment) -> bool:
    """Whether a deployment is HEALTHY with as many replicas as before, but others."""
    known = {(state.app, state.deployment): state for state in before.states} if before else {}
    return any(
        bool(old.replicas and state.replicas)
        and old.replicas != state.replicas
        and old.target == state.target
        for state in after.states
        if (old := known.get((state.app, state.deployment))) is not None
    )


def _steady(rollout: Rollout, settled_since: datetime | None, at: datetime) -> timedelta:
    """How long it was settled in total, before what is settled since `settled_since`."""
    before = rollout.settled_since
    if before is None or before == settled_since:
        return rollout.steady
    return rollout.steady + max(at - before, timedelta())


def _checked(record: Record, event: Checked) -> Record:
    rollout = _in_flight(record, event)
    _require(rollout.healthy_at is not None, record, event, "it was not healthy yet")
    _require(0 <= event.check < len(rollout.policy.checks), record, event, "there is no such check")
    before = rollout.checks.get(event.check)
    _require(before is None or not before.passed, record, event, "that check passed already")
    attempts = Attempts(
        made=1 + (before.made if before else 0),
        passed=event.passed,
        last_at=event.at,
        message=event.message,
    )
    checks = {**rollout.checks, event.check: attempts}
    # The soak comes after the checks.
    soak_since = event.at if rollout.soak_since is not None else None
    return replace(record, rollout=replace(rollout, checks=checks, soak_since=soak_since))


def _good(record: Record, event: Good) -> Record:
    rollout = _in_flight(record, event)
    _require(rollout.healthy_at is not None, record, event, "it was never healthy")
    finished = _finish(record, rollout, Result.GOOD, event.at)
    is_starved = record.starved is not None and record.starved.digest != rollout.release.digest
    return replace(
        finished,
        good=rollout.release,
        good_rollout=rollout.id,
        good_at=event.at,
        good_policy=rollout.policy,
        good_nonce=rollout.nonce,
        # Serve has deleted every other application of ours.
        apps=frozenset(rollout.release.config.applications()),
        held=tuple(hold for hold in record.held if hold.digest != rollout.release.digest),
        starved=record.starved if is_starved else None,
        # They were for this deploy; a heal meanwhile is none of it.
        opinions=record.opinions if not _is_wanted(record, rollout) else (),
        go=record.go if record.go is None or record.go.digest != rollout.release.digest else None,
    )


def _is_wanted(record: Record, rollout: Rollout) -> bool:
    return record.seen is not None and record.seen.digest == rollout.release.digest


def _failed(record: Record, event: Failed) -> Record:
    rollout = _in_flight(record, event)
    finished = _finish(record, rollout, Result.FAILED, event.at, event.failure)
    if event.failure.failure_class is not FailureClass.CAPACITY or rollout.kind is not Kind.DEPLOY:
        return finished
    digest = rollout.release.digest
    tries = record.starved.tries if record.starved and record.starved.digest == digest else 0
    return replace(finished, starved=Starved(digest=digest, tries=tries + 1, since=event.at))


def _held(record: Record, event: Held) -> Record:
    last = record.last
    if last is None or last.id != event.rollout or last.result is not Result.FAILED:
        raise _illegal(record, event, "that rollout did not just fail")
    _require(last.kind is Kind.DEPLOY, record, event, "only a failed deploy holds its digest")
    is_good = record.good is not None and record.good.digest == last.release.digest
    _require(not is_good, record, event, "a good digest is never held")
    hold = Hold(release=last.release, reason=event.reason, since=event.at, rollout=event.rollout)
    others = tuple(held for held in record.held if held.digest != hold.digest)
    return replace(record, held=(*others, hold))


def _drifted(record: Record, event: Drifted | DriftEnded) -> Record:
    _require(record.rollout is None, record, event, "a rollout is in flight")
    _require(record.good is not None, record, event, "there is no current release")
    if isinstance(event, DriftEnded):
        _require(record.drift is not None, record, event, "there was no drift")
        return replace(record, drift=None)
    known = record.drift
    since = known.since if known and known.drift is event.drift else event.at
    told_at = event.at if tells_of_sickness(record, event) else record.sick_told_at
    return replace(record, drift=Drift(drift=event.drift, what=event.what, since=since), sick_told_at=told_at)


def tells_of_sickness(record: Record, event: Drifted) -> bool:
    """Whether people are told that something is sick: once an hour, for what flaps does so for days."""
    told_at = record.sick_told_at
    return event.drift is DriftClass.SICK and (told_at is None or event.at - told_at >= _HOUR)


def _retry_asked(record: Record, event: RetryAsked) -> Record:
    """The hold, if there is one, lets one rollout through; a stall is over, and heals have a new budget."""
    last = record.last
    if event.accepts is not None:
        return replace(record, accepted=event.accepts)
    return replace(
        record,
        held=_hold_changed(record, event.digest, may_retry=True),
        last=replace(last, wanted=None) if last is not None else None,
        starved=None,
        repairs=(),
    )


def _rollback_asked(record: Record, event: RollbackAsked) -> Record:
    """The release becomes the current one. Whatever else git or the cluster wanted is held from now on."""
    target = event.release.digest
    in_flight = record.rollout.release if record.rollout is not None else None
    _require(record.hold_of(target) is None, record, event, "its digest is held")
    left = {
        release.digest: release
        for release in (record.good, in_flight, record.seen)
        if release is not None and release.digest != target and record.hold_of(release.digest) is None
    }
    why = f"rolled back by {event.actor}" + (f": {event.reason}" if event.reason else "")
    holds = tuple(
        Hold(release=release, reason=why, since=event.at, rollout=_newest_rollout(record), by_person=True)
        for release in left.values()
    )
    return replace(
        record,
        accepted=None,
        asked=event,
        good=event.release,
        good_rollout=event.made_good,
        good_policy=event.policy,
        good_nonce=event.nonce,
        # A retry that was asked for before is not what the person wants now.
        held=(*(replace(hold, may_retry=False) for hold in record.held), *holds),
        starved=None,
        drift=None,
    )


def _newest_rollout(record: Record) -> str:
    return f"{record.environment}#{record.rollouts}"


def _hold_changed(record: Record, digest: str, *, may_retry: bool) -> tuple[Hold, ...]:
    return tuple(
        replace(hold, may_retry=may_retry) if hold.digest == digest else hold for hold in record.held
    )


def _without_retries(record: Record, digest: str | None) -> tuple[Hold, ...]:
    """The holds, with no permission but for this digest: what a person asked for was what git wanted then."""
    return tuple(hold if hold.digest == digest else replace(hold, may_retry=False) for hold in record.held)


def _finish(
    record: Record, rollout: Rollout, result: Result, at: datetime, failure: Failure | None = None
) -> Record:
    finished = Finished(
        id=rollout.id,
        kind=rollout.kind,
        release=rollout.release,
        policy=rollout.policy,
        result=result,
        finished_at=at,
        failure=failure,
        wanted=record.seen.revision.commit if record.seen else None,
        is_log_kept=failure is None or failure.log is None,
        nonce=rollout.nonce,
    )
    return replace(record, rollout=None, last=finished)


def _in_flight(record: Record, event: Event) -> Rollout:
    rollout = record.rollout
    if rollout is None:
        raise _illegal(record, event, "no rollout is in flight")
    _require(getattr(event, "rollout", None) == rollout.id, record, event, f"{rollout.id} is in flight")
    return rollout


def _require(condition: bool, record: Record, event: Event, why: str) -> None:  # noqa: FBT001 - an assertion
    if not condition:
        raise _illegal(record, event, why)


def _illegal(record: Record, event: Event, why: str) -> IllegalEvent:
    return IllegalEvent(f"{event.type} cannot follow event {record.sequence} of {record.environment}: {why}")
