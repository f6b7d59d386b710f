"""What one environment was promised, kept apart from its record and from the policy.

A ledger sees what the world sees: every event as it becomes durable, every PUT as it is sent, every look, and
what the cluster really does between the looks. It keeps its own books of it and stops everything where a
promise is broken. It must not use `decide`, `judge` or the record: what they get wrong, it must notice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_never

from deployer.core.events import (
    DAEMON,
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
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    LogKept,
    LostSight,
    Measured,
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
from deployer.core.live import App, Live, Observation
from deployer.core.types import Desired, Policy, Release
from tests.unit.machine import sight
from tests.unit.machine.configs import NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TICK = 0.35
"""Seconds that a measurement may be off: for a tick of Serve's loop an application shows what was before."""

_DEFAULT_WINDOW = 30.0
_HOUR = timedelta(hours=1)

_LOOKS = 4
"""In so many looks on end, with the daemon alive all the while, what is due must be done: a look may be spent
on a note, and one may come too soon."""

_FAST_SECONDS = 1.5
"""For a failed start to be believed: for one second after a PUT it may be about the version before."""

_LATE_SECONDS = 1.0


class Broken(BaseException):
    """A promise was broken. Not an `Exception`, because a pass survives those."""


def demand(condition: object, promise: str) -> None:
    """Stop everything if the promise is broken."""
    if not condition:
        raise Broken(promise)


@dataclass
class Health:
    """What the cluster really did with the rollout in flight, in seconds of the world."""

    up_since: float | None = None
    jumped: float = 0.0
    spells: int = 0
    sick_looks: int = 0
    was_up: bool = False
    is_sick: bool = False
    blind_from: float | None = None


@dataclass
class Due:
    """Something that the daemon must do soon: the looks on end at which it was due and not done."""

    what: str
    patience: float = 0.0
    """Seconds from the first of these looks."""
    looks: list[float] = field(default_factory=list)

    def at(self, seconds: float, *, is_due: bool) -> None:
        """One more look: is it still due?"""
        self.looks = [*self.looks, seconds] if is_due else []
        is_late = len(self.looks) >= _LOOKS and seconds - self.looks[0] >= self.patience
        demand(not is_late, f"{self.what}, at {len(self.looks)} looks on end")


@dataclass
class Ledger:
    """The books of one environment."""

    name: str
    neighbours: list[Ledger] = field(default_factory=list)
    rollout: Started | None = None
    last: Started | None = None
    failure: FailureClass | None = None
    ended_well: bool = False
    good: Release | None = None
    good_policy: Policy | None = None
    git: Desired | None = None
    """What git says now, if that can be deployed; the daemon may not know it yet."""
    rewritten: Desired | None = None
    """What git said last that does not follow from what it had said before."""
    owned: set[str] = field(default_factory=set)
    held: dict[str, int] = field(default_factory=dict)
    """The digests that are held, each with the number of tries that a person allowed."""
    failed: set[str] = field(default_factory=set)
    """What was tried last with no good end: held, or for want of room."""
    is_asked: bool = False
    """Whether a person asked for a rollback that has not started."""
    is_stuck: bool = False
    """Whether a rollback failed, and no person has acted since: nothing but `news` may start."""
    news: set[str] = field(default_factory=set)
    """What git has wanted since the last deploy began: a push is a person's act, also in a rollback."""
    retried: set[str] = field(default_factory=set)
    """What a person wanted tried once more since the last rollback began."""
    gates: frozenset[str] = frozenset()
    """The gates that wait for a person (`manual`, `approvals`), or that are closed (`requires`)."""
    go: str | None = None
    """The commit that a person wanted deployed."""
    go_digest: str | None = None
    """Its digest."""
    approved: str | None = None
    """What a person approved."""
    heals: list[datetime] = field(default_factory=list)
    is_paused: bool = False
    session: str | None = None
    wanted: str | None = None
    is_intended: bool = False
    sent: int = 0
    """PUTs that were sent for the rollout in flight."""
    got_400: bool = False
    """Whether the last of them was refused."""
    started_at: float = 0.0
    inherited: set[str] = field(default_factory=set)
    """The deployments whose trouble may be that of the version before the last PUT."""
    stamps: dict[str, float] = field(default_factory=dict)
    """When each application had been deployed before the last PUT: with the same stamp it had no effect."""
    sent_apps: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was sent last for each application."""
    resting: Started | None = None
    """The rollout whose config was sent last."""
    passed: set[int] = field(default_factory=set)
    refused: dict[int, int] = field(default_factory=dict)
    applied_at: datetime | None = None
    lost_at: datetime | None = None
    blind: timedelta = timedelta()
    put_back: float = 0.0
    """Seconds that the daemon's clock lost during the rollout in flight."""
    health: Health = field(default_factory=Health)
    overtaking: Due = field(default_factory=lambda: Due("git wants another digest than what is in flight"))
    failing: Due = field(default_factory=lambda: Due("starts fail, and it is waited for more", _FAST_SECONDS))
    unsent: Due = field(default_factory=lambda: Due("a rollback is past its deadline, and cannot be sent"))

    # --- what the cluster does ---------------------------------------------------------------------------

    def watch(self, apps: Mapping[str, App], seconds: float) -> None:
        """What really is, at this second."""
        if self.rollout is None:
            return
        if sight.is_up(self.rollout.release, apps):
            if self.health.up_since is None:
                self.health.up_since, self.health.jumped = seconds, 0.0
        else:
            self.health.up_since = None

    def looked(self, seen: Observation, seconds: float) -> None:
        """A pass has looked."""
        health = self.health
        if not isinstance(seen, Live):
            if health.blind_from is None:
                health.blind_from = seconds
            return
        if health.blind_from is not None:
            if health.up_since is not None:
                # What nobody saw does not count.
                health.up_since += seconds - max(health.blind_from, health.up_since)
            health.blind_from = None
        self._expect(seen, seconds)
        if self.rollout is None or self.is_intended or not self.sent:
            return
        names = self.rollout.release.config.applications()
        if not self._is_ours(seen):
            health.was_up = health.is_sick = False
            return
        is_sick = sight.is_sick(self.rollout.release, seen.apps)
        health.sick_looks += is_sick
        health.spells += is_sick and not health.is_sick and health.was_up
        health.is_sick = is_sick
        is_running = all(seen.apps[name].status == "RUNNING" for name in names)
        health.was_up = health.was_up or (is_running and sight.is_up(self.rollout.release, seen.apps))

    def _expect(self, seen: Live, seconds: float) -> None:
        """What must come of this look, if not at once."""
        self.overtaking.at(seconds, is_due=self._is_overtaken(seen))
        started = self.rollout
        is_deploy = started is not None and started.kind is Kind.DEPLOY and not self.is_intended
        limit = self._most_failed_starts() if is_deploy else 0
        starts = sight.failed_starts(self._mine(seen), self.inherited) if limit else 0
        self.failing.at(seconds, is_due=0 < limit <= starts)
        is_unsent = started is not None and started.kind is Kind.ROLLBACK and self.is_intended
        waited = seconds - self.started_at - self.blind.total_seconds() - self.put_back
        limit_seconds = started.policy.rollback_deadline if started is not None else 0.0
        self.unsent.at(seconds, is_due=is_unsent and waited > limit_seconds + _LATE_SECONDS)

    def _is_overtaken(self, seen: Live) -> bool:
        """Whether git wants another digest than what is in flight, and nothing is in its way."""
        started, git = self.rollout, self.git
        if started is None or git is None or started.kind in (Kind.ROLLBACK, Kind.RESTORE):
            return False
        digest = git.release.digest
        is_tried = digest in self.failed or not self.held.get(digest, 1)
        if digest == started.release.digest or self.is_paused or is_tried or self._closed(git.release):
            return False
        names = git.release.config.applications().keys()
        theirs = {name for other in self.neighbours for name in other.claims() - self.owned | other.owned}
        return not (
            self._removes_too_much(git, seen)
            or names & theirs
            or not sight.is_free_for(git.release, self.owned, seen.apps)
        )

    def _closed(self, release: Release) -> set[str]:
        """The gates that nobody has opened for it."""
        digest = release.digest
        is_wanted = self.go == release.revision.commit or self.held.get(digest, 0) > 0
        opened = {"manual" if is_wanted else "", "approvals" if self.approved == digest else ""}
        return set(self.gates - opened)

    def claims(self) -> set[str]:
        """The applications that git wants here."""
        return set(self.git.release.config.applications()) if self.git is not None else set()

    def _is_ours(self, seen: Live) -> bool:
        """Whether the cluster shows the last PUT of the rollout in flight."""
        assert self.rollout is not None
        names = self.rollout.release.config.applications()
        mine = len(list(self._mine(seen)))
        return mine == len(names) and sight.runs_config_of(self.rollout.release, seen.apps)

    def _mine(self, seen: Observation | None) -> Iterator[App]:
        """The applications in sight that show the last PUT of the rollout in flight."""
        assert self.rollout is not None
        apps = seen.apps if isinstance(seen, Live) else {}
        for name, config in self.rollout.release.config.applications().items():
            app = apps.get(name)
            is_new = app is not None and app.last_deployed_time_s != self.stamps.get(name)
            if app is not None and is_new and sight.without_nonce(app.config) == config:
                yield app

    def _most_failed_starts(self) -> int:
        """So many end a deploy; 0 if only Serve's verdict does."""
        assert self.rollout is not None
        given = self.rollout.policy.fail_fast_after
        return given if given is not None else 1 if self.good is not None else 2

    def _removes_too_much(self, git: Desired, seen: Live) -> bool:
        """Whether it deletes all, or more than one and more than 30 %, and does not say that it may."""
        if git.policy.allow_delete:
            return False
        after = git.release.config.applications().keys()
        if self.good is None:
            return not after and any(sight.is_there(name, seen.apps) for name in self.owned)
        before = self.good.config.applications().keys()
        return len(before - after) > max(1, 0.3 * len(before)) or bool(before and not after)

    def died(self) -> None:
        """The daemon died: what was due may be so a little longer."""
        for due in (self.overtaking, self.failing, self.unsent):
            due.looks = []

    def jumped(self, seconds: float) -> None:
        """The daemon's clock was set: it cannot know that less time has passed, or more."""
        self.health.jumped += max(seconds, 0.0)
        self.put_back += max(-seconds, 0.0)

    def probed(self, index: int, *, passed: bool) -> None:
        """A check was made."""
        demand(self.rollout is not None, "a check without a rollout")
        if passed:
            self.passed.add(index)
        else:
            self.refused[index] = self.refused.get(index, 0) + 1

    def sending(self, rollout: str, body: Mapping[str, Any], seen: Observation) -> None:
        """A PUT is about to leave."""
        started = self.rollout
        demand(started is not None and started.rollout == rollout, "a PUT without a recorded rollout")
        assert started is not None
        demand(self.is_intended, "a PUT without a pending intent")
        demand(isinstance(seen, Live), "a PUT to a cluster that was not seen")
        assert isinstance(seen, Live)
        sent = {one["name"]: one for one in body["applications"]}
        release = started.release
        ours = release.config.applications()
        for name, config in ours.items():
            demand(
                name in sent and sight.without_nonce(sent[name]) == config, f"{name} was sent in another way"
            )
        for name, app in seen.apps.items():
            if name in ours or name in self.owned or app.status == "DELETING" or app.source == "imperative":
                continue
            demand(name in sent, f"a PUT that deletes {name}, which is somebody else's")
            demand(sent[name] == app.config, f"a PUT that changes {name}, which is somebody else's")
        extra = sent.keys() - ours.keys() - seen.apps.keys()
        demand(not extra, f"a PUT that brings back {extra}")
        self.sent += 1
        self.got_400 = False
        self.inherited = sight.trouble(seen.apps)
        self.stamps = {name: app.last_deployed_time_s for name, app in seen.apps.items()}
        self.sent_apps = {name: sent[name] for name in ours}
        self.resting = started
        # What was seen so far may have been there before.
        self.health = Health(blind_from=self.health.blind_from, sick_looks=self.health.sick_looks)

    # --- what becomes durable ----------------------------------------------------------------------------

    def take(
        self, event: Event, seen: Observation | None, apps: Mapping[str, App], now: datetime, seconds: float
    ) -> None:
        """One event is about to be written: is it true, and may it be?"""
        match event:
            case Seen():
                self._seen(event)
            case Started():
                self._started(event, seen, apps, seconds)
            case Resubmitted():
                self.is_intended = True
            case Applied():
                demand(self.is_intended, "an outcome without an intent")
                self.is_intended = False
                self.applied_at = self.applied_at or event.at
                self.session = event.session or self.session
                if event.read_back and seen is not None:
                    # The look that showed it is judged at once.
                    self.looked(seen, seconds)
            case LostSight():
                self.lost_at = event.at
            case RegainedSight():
                assert self.lost_at is not None
                self.blind += max(event.at - self.lost_at, timedelta())
                self.lost_at = None
            case Healthy():
                self._healthy(seconds)
            case Good():
                self._good(seen, seconds)
            case Failed():
                self._failed(event, seen, now)
            case Held():
                self._held(event)
            case Superseded() | Cancelled():
                self._end()
            case Drifted():
                self._drifted(event, seen)
            case Approved():
                self.approved = event.digest
            case Rejected():
                self.approved = None
            case SyncAsked():
                self.go, self.go_digest = event.commit, event.digest
            case Paused():
                self.is_paused = True
            case Resumed():
                self.is_paused = False
            case RetryAsked():
                demand(event.actor != DAEMON, "a retry that nobody asked for")
                if event.accepts is not None:
                    self._accepted(event.accepts)
                    return
                if event.digest in self.held:
                    self.held[event.digest] = 1
                self.heals.clear()
                self.failed.discard(event.digest)
                self.retried.add(event.digest)
                self.is_stuck = False
            case RollbackAsked():
                self._rollback_asked(event)
            case Refused():
                self._forbid_retries()
            case Observed() | Checked() | LogKept() | DriftEnded() | Measured():
                pass
            case PromotionAsked() | Promoted() | Proposed() | PromotionFailed():
                # They are of git's doing: what comes of them is a push.
                pass
            case (
                CommandRefused()
                | DaemonStarted()
                | DaemonStopped()
                | TokenCreated()
                | TokenRevoked()
                | StoreRestored()
            ):
                # What was refused changes nothing, and the daemon has a log of its own.
                pass
            case _:
                assert_never(event)

    def _seen(self, event: Seen) -> None:
        """A permission to try again was for what git wanted then; and a push is a person's act."""
        if self.wanted != event.release.digest:
            self.approved = None
        self.wanted = event.release.digest
        self._forbid_retries(but=self.wanted)
        self.news.add(self.wanted)
        if self.rollout is None:
            self.is_stuck = False

    def _accepted(self, commit: str) -> None:
        """A person lets one rewritten commit through. By now git may say something else."""
        found = self.rewritten
        if found is not None and found.release.revision.commit == commit and self.git is None:
            self.git = found

    def _forbid_retries(self, but: str | None = None) -> None:
        self.held = {digest: tries if digest == but else 0 for digest, tries in self.held.items()}

    def _started(
        self, event: Started, seen: Observation | None, apps: Mapping[str, App], seconds: float
    ) -> None:
        demand(self.rollout is None, "two rollouts in flight")
        demand(isinstance(seen, Live), "a rollout of a cluster that was not seen")
        assert isinstance(seen, Live)
        digest = event.release.digest
        closed = self._closed(event.release) if event.kind is Kind.DEPLOY else set()
        demand(not closed, f"a deploy through the closed gates {sorted(closed)}")
        if digest in self.held:
            demand(self.held[digest], f"the held {NAMES[digest]} was started and nobody asked for it")
            self.held[digest] -= 1
        is_due = not self.is_stuck or digest in self.retried or self._is_news(digest)
        demand(is_due, f"a {event.kind} after a rollback that failed, and nobody acted")
        match event.kind:
            case Kind.DEPLOY:
                self._deploys(event, seen)
            case Kind.HEAL:
                demand(not self.is_paused, "a heal while paused")
                self.heals = [at for at in self.heals if event.at - at < _HOUR]
                demand(len(self.heals) < self._heals_per_hour(digest), "a heal beyond the budget")
                self.heals.append(event.at)
            case Kind.RESTORE:
                is_new = seen.session != self.session
                assert self.good is not None
                is_gone = not any(sight.is_there(name, apps) for name in self.good.config.applications())
                is_again = self.last is not None and self.last.kind is Kind.RESTORE and self.failure
                demand(is_new or is_gone or is_again, "a restore of what is not lost")
                demand(is_new or not self.is_paused, "a restore of the same session while paused")
            case Kind.ROLLBACK:
                self._rolls_back()
        if event.kind is not Kind.DEPLOY:
            is_good = self.good is not None and self.good.digest == digest
            demand(is_good, f"a {event.kind} to something else than the good release")
        listed = event.release.config.applications().keys()
        for other in self.neighbours:
            taken = listed & (other.owned - self.owned)
            demand(not taken, f"{taken} of {other.name} is taken over")
        self.rollout = event
        self.started_at, self.put_back = seconds, 0.0
        self.failure = None
        self.is_intended, self.got_400 = True, False
        self.is_asked = self.is_stuck = False
        self.died()
        self.owned |= listed
        self.sent = 0
        self.passed.clear()
        self.refused.clear()
        self.applied_at = self.lost_at = None
        self.blind = timedelta()
        self.health = Health(blind_from=self.health.blind_from)

    def _deploys(self, event: Started, seen: Live) -> None:
        git, digest = self.git, event.release.digest
        demand(not self.is_paused, "a deploy while paused")
        is_wanted = git is not None and digest == git.release.digest == self.wanted
        demand(is_wanted, "a deploy of what git does not want")
        assert git is not None
        demand(event.policy == git.policy, "a deploy that is judged by another policy than git's")
        is_kept = self.good is not None and self.good.digest == digest
        is_well = self.last is not None and (
            self.ended_well or (self.failure and self.last.kind in (Kind.HEAL, Kind.RESTORE))
        )
        demand(not (is_kept and is_well), "a rollout of what is live already")
        demand(not self._removes_too_much(git, seen), "a deploy that deletes what nobody allowed it to")
        for name in event.release.config.applications().keys() - self.owned:
            is_free = not sight.is_there(name, seen.apps)
            is_adopted = self.good is None and not is_free and seen.apps[name].source == "declarative"
            demand(is_free or is_adopted, f"a deploy that takes {name}, which is somebody else's")
        self.news.clear()

    def _rolls_back(self) -> None:
        last = self.last
        if not self.is_asked:
            is_due = last is not None and last.kind is Kind.DEPLOY and self.failure is not None
            demand(is_due, "a rollback where no deploy has failed")
            assert last is not None
            demand(last.policy.rollback, "a rollback, although that is switched off")
        self.retried.clear()

    def _is_news(self, digest: str) -> bool:
        """Whether it came after the last deploy, and is not what has failed."""
        is_known = self.last is not None and digest == self.last.release.digest
        return digest in self.news and digest not in self.failed and not is_known

    def _heals_per_hour(self, digest: str) -> int:
        """By the policy that git gives it now; else by the one that it was judged by."""
        if self.git is not None and self.git.release.digest == digest:
            return self.git.policy.heals_per_hour
        assert self.good_policy is not None
        return self.good_policy.heals_per_hour

    def _healthy(self, seconds: float) -> None:
        assert self.rollout is not None
        window = self.rollout.policy.stability_window if self.rollout.kind is Kind.DEPLOY else 0.0
        self._demand_up(_DEFAULT_WINDOW if window is None else window, seconds, "healthy")

    def _good(self, seen: Observation | None, seconds: float) -> None:
        started = self.rollout
        assert started is not None
        demand(isinstance(seen, Live) and sight.is_up(started.release, seen.apps), "good, but not up")
        if started.kind is Kind.DEPLOY:
            self._demand_up(started.policy.soak, seconds, "good")
            demand(self.health.spells <= started.policy.max_flaps, "good, although it flapped")
            for index, check in enumerate(started.policy.checks):
                demand(index in self.passed, f"good, although {check.path} did not pass")
        self.good, self.good_policy = started.release, started.policy
        self.owned = set(started.release.config.applications())
        self.held.pop(started.release.digest, None)
        self.failed.discard(started.release.digest)
        if self.go_digest == started.release.digest:
            self.go = self.go_digest = None
        if self.approved == started.release.digest:
            self.approved = None
        self._end(well=True)

    def _demand_up(self, needed: float, seconds: float, what: str) -> None:
        health = self.health
        up = 0.0 if health.up_since is None else seconds - health.up_since + health.jumped
        demand(up + _TICK >= needed, f"{what} after {up:.1f} s of health, not {needed:g}")

    def _failed(self, event: Failed, seen: Observation | None, now: datetime) -> None:
        started = self.rollout
        assert started is not None
        demand(isinstance(seen, Live), "a failure of a cluster that was not seen")
        failure = event.failure.failure_class
        self._demand_evidence(failure, started, seen, now)
        is_good = self.good is not None and self.good.digest == started.release.digest
        if started.kind is Kind.DEPLOY and not is_good:
            self.failed.add(started.release.digest)
        self.is_stuck = started.kind is Kind.ROLLBACK
        self._end(failure)

    def _demand_evidence(
        self, failure: FailureClass, started: Started, seen: Observation | None, now: datetime
    ) -> None:
        """Nothing fails for a reason that nobody saw."""
        given_up = sight.gave_up(self._mine(seen))
        limit = self._most_failed_starts() if started.kind is Kind.DEPLOY else 0
        has_failed = given_up or 0 < limit <= sight.failed_starts(self._mine(seen))
        since = self.applied_at if self.applied_at and not self.is_intended else started.at
        sighted = (now - since - self.blind).total_seconds()
        deadlines = started.policy.deadlines
        match failure:
            case FailureClass.DEADLINE if started.kind is Kind.ROLLBACK:
                demand(sighted >= started.policy.rollback_deadline, "an early deadline of a rollback")
            case FailureClass.DEADLINE:
                shortest = min(deadlines.build, deadlines.start)
                demand(self.applied_at and sighted >= shortest, f"a deadline after {sighted:g} s")
            case FailureClass.CAPACITY:
                demand(self.applied_at and sighted >= deadlines.schedule, f"no room after {sighted:g} s")
            case FailureClass.CHECKS:
                tries = [self.refused.get(n, 0) > c.retries for n, c in enumerate(started.policy.checks)]
                demand(any(tries), "checks failed before their retries were used")
            case FailureClass.RUNTIME_ENV:
                demand(has_failed, "an environment is blamed, and nothing failed")
                is_building = started.kind is Kind.DEPLOY and sight.is_building(started.release, seen)
                is_again = self.sent > 1 or not is_building
                demand(is_again, "an environment that could not be made was not tried again")
            case FailureClass.FLAPPING:
                # What was sick and well again between two looks shows in other ways.
                assert isinstance(seen, Live)
                trigger = [d.status_trigger for a in seen.apps.values() for d in a.deployments]
                demand(self.health.sick_looks or "UNSPECIFIED" in trigger, "flapping, but nothing flapped")
            case FailureClass.CONFIG:
                demand(given_up or self.got_400, "a config is blamed, and Serve has nothing against it")
            case FailureClass.CODE:
                demand(has_failed, "the code is blamed, and nothing failed to start")
            case _:
                assert_never(failure)

    def _held(self, event: Held) -> None:
        assert self.last is not None
        demand(event.rollout == self.last.rollout, "held, but it is another that failed")
        demand(self.last.kind is Kind.DEPLOY, f"a failed {self.last.kind} is held")
        demand(self.failure is not FailureClass.CAPACITY, "held for want of room")
        digest = self.last.release.digest
        demand(self.good is None or self.good.digest != digest, "the good release is held")
        self.held[digest] = 0

    def _drifted(self, event: Drifted, seen: Observation | None) -> None:
        demand(self.rollout is None, "drift during a rollout")
        assert isinstance(seen, Live)
        assert self.good is not None
        if event.drift in (DriftClass.EDITED, DriftClass.MISSING, DriftClass.LOST):
            names = self.good.config.applications().keys()
            extra = {n for n, a in seen.apps.items() if n in self.owned - names and a.status != "DELETING"}
            is_same = (
                not extra
                and seen.session == self.session
                and all(
                    name in seen.apps
                    and seen.apps[name].source == "declarative"
                    and seen.apps[name].config == self.sent_apps.get(name)
                    for name in names
                )
            )
            demand(not is_same, f"{event.drift} where nothing differs: {event.what}")

    def _rollback_asked(self, event: RollbackAsked) -> None:
        demand(event.release.digest not in self.held, "back to a held digest")
        self._forbid_retries()
        for digest in (
            self.good.digest if self.good else None,
            self.rollout.release.digest if self.rollout else None,
            self.wanted,
        ):
            if digest is not None and digest != event.release.digest:
                self.held.setdefault(digest, 0)
        self.good, self.good_policy = event.release, event.policy
        self.is_asked, self.is_stuck = True, False

    def is_done_with(self, digest: str) -> bool:
        """Whether it failed, or a rollback did, so that nothing is to be done about it at rest."""
        last = self.last
        if last is None or self.failure is None:
            return False
        if last.kind is Kind.ROLLBACK:
            return self.is_stuck and not self._is_news(digest)
        return last.kind is Kind.DEPLOY and last.release.digest == digest

    def is_lost(self, seen: Live) -> bool:
        """Whether the cluster has nothing of the good release, and should get it back."""
        names = self.good.config.applications() if self.good is not None else {}
        is_gone = not any(sight.is_there(name, seen.apps) for name in names)
        is_left = seen.session == self.session and (self.is_paused or not is_gone)
        return bool(names) and not is_left and not self.gave_up

    @property
    def gave_up(self) -> bool:
        """Whether the last rollback failed: that is loud, and final until a person acts."""
        return self.last is not None and self.last.kind is Kind.ROLLBACK and self.failure is not None

    def _end(self, failure: FailureClass | None = None, *, well: bool = False) -> None:
        self.last, self.rollout, self.is_intended = self.rollout, None, False
        self.failure, self.ended_well = failure, well
