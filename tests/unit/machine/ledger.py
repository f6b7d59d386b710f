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
    Cancelled,
    Checked,
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
    Refused,
    RegainedSight,
    Resubmitted,
    Resumed,
    RetryAsked,
    RollbackAsked,
    Seen,
    Started,
    Superseded,
)
from deployer.core.live import App, Live, Observation
from deployer.core.types import Policy, Release
from tests.unit.machine.configs import NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

_NONCE = "DEPLOYER_NONCE"
_TICK = 0.35
"""Seconds that a measurement may be off: for a tick of Serve's loop an application shows what was before."""

_DEFAULT_WINDOW = 30.0
_HOUR = timedelta(hours=1)


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
    policies: dict[str, Policy] = field(default_factory=dict)
    """What git said last of how each digest is judged."""
    owned: set[str] = field(default_factory=set)
    held: dict[str, int] = field(default_factory=dict)
    """The digests that are held, each with the number of tries that a person allowed."""
    failed: set[str] = field(default_factory=set)
    heals: list[datetime] = field(default_factory=list)
    is_paused: bool = False
    session: str | None = None
    wanted: str | None = None
    is_intended: bool = False
    sent: int = 0
    """PUTs that were sent for the rollout in flight."""
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
    health: Health = field(default_factory=Health)

    # --- what the cluster does ---------------------------------------------------------------------------

    def watch(self, apps: Mapping[str, App], seconds: float) -> None:
        """What really is, at this second."""
        if self.rollout is None:
            return
        if is_up(self.rollout.release, apps):
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
        if self.rollout is None or self.is_intended or not self.sent:
            return
        names = self.rollout.release.config.applications()
        is_ours = runs_config_of(self.rollout.release, seen.apps) and not any(
            seen.apps[name].last_deployed_time_s == self.stamps.get(name) for name in names
        )
        if not is_ours:
            health.was_up = health.is_sick = False
            return
        is_sick = any(
            "UNHEALTHY" in (seen.apps[name].status, *(one.status for one in seen.apps[name].deployments))
            for name in names
        )
        health.sick_looks += is_sick
        health.spells += is_sick and not health.is_sick and health.was_up
        health.is_sick = is_sick
        is_running = all(seen.apps[name].status == "RUNNING" for name in names)
        health.was_up = health.was_up or (is_running and is_up(self.rollout.release, seen.apps))

    def jumped(self, seconds: float) -> None:
        """The daemon's clock was put forward: it cannot know that no time has passed."""
        self.health.jumped += max(seconds, 0.0)

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
            demand(name in sent and without_nonce(sent[name]) == config, f"{name} was sent in another way")
        for name, app in seen.apps.items():
            if name in ours or name in self.owned or app.status == "DELETING" or app.source == "imperative":
                continue
            demand(name in sent, f"a PUT that deletes {name}, which is somebody else's")
            demand(sent[name] == app.config, f"a PUT that changes {name}, which is somebody else's")
        extra = sent.keys() - ours.keys() - seen.apps.keys()
        demand(not extra, f"a PUT that brings back {extra}")
        self.sent += 1
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
                self.wanted = event.release.digest
            case Started():
                self._started(event, seen, apps)
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
            case Paused():
                self.is_paused = True
            case Resumed():
                self.is_paused = False
            case RetryAsked():
                demand(event.actor != DAEMON, "a retry that nobody asked for")
                if event.digest in self.held:
                    self.held[event.digest] = 1
                self.heals.clear()
            case RollbackAsked():
                self._rollback_asked(event)
            case Refused() | Observed() | Checked() | LogKept() | DriftEnded() | Measured():
                pass
            case _:
                assert_never(event)

    def _started(self, event: Started, seen: Observation | None, apps: Mapping[str, App]) -> None:
        demand(self.rollout is None, "two rollouts in flight")
        demand(isinstance(seen, Live), "a rollout of a cluster that was not seen")
        assert isinstance(seen, Live)
        digest = event.release.digest
        if digest in self.held:
            demand(self.held[digest], f"the held {NAMES[digest]} was started and nobody asked for it")
            self.held[digest] -= 1
        match event.kind:
            case Kind.DEPLOY:
                demand(not self.is_paused, "a deploy while paused")
                demand(digest == self.wanted, "a deploy of what git does not want")
                is_kept = self.good is not None and self.good.digest == digest
                is_well = self.last is not None and (
                    self.ended_well or (self.failure and self.last.kind in (Kind.HEAL, Kind.RESTORE))
                )
                demand(not (is_kept and is_well), "a rollout of what is live already")
            case Kind.HEAL:
                demand(not self.is_paused, "a heal while paused")
                self.heals = [at for at in self.heals if event.at - at < _HOUR]
                demand(len(self.heals) < self._heals_per_hour(digest), "a heal beyond the budget")
                self.heals.append(event.at)
            case Kind.RESTORE:
                is_new = seen.session != self.session
                assert self.good is not None
                names = self.good.config.applications()
                is_gone = not any(name in apps and apps[name].status != "DELETING" for name in names)
                is_again = self.last is not None and self.last.kind is Kind.RESTORE and self.failure
                demand(is_new or is_gone or is_again, "a restore of what is not lost")
                demand(is_new or not self.is_paused, "a restore of the same session while paused")
            case Kind.ROLLBACK:
                pass
        if event.kind is not Kind.DEPLOY:
            is_good = self.good is not None and self.good.digest == digest
            demand(is_good, f"a {event.kind} to something else than the good release")
        listed = event.release.config.applications().keys()
        for other in self.neighbours:
            taken = listed & (other.owned - self.owned)
            demand(not taken, f"{taken} of {other.name} is taken over")
        self.rollout = event
        self.failure = None
        self.is_intended = True
        self.owned |= listed
        self.sent = 0
        self.passed.clear()
        self.refused.clear()
        self.applied_at = self.lost_at = None
        self.blind = timedelta()
        self.health = Health(blind_from=self.health.blind_from)

    def _heals_per_hour(self, digest: str) -> int:
        """By the policy that it was judged by, or by the one that git gives it now."""
        policies = (self.good_policy, self.policies.get(digest))
        return max(policy.heals_per_hour for policy in policies if policy is not None)

    def _healthy(self, seconds: float) -> None:
        assert self.rollout is not None
        window = self.rollout.policy.stability_window if self.rollout.kind is Kind.DEPLOY else 0.0
        self._demand_up(_DEFAULT_WINDOW if window is None else window, seconds, "healthy")

    def _good(self, seen: Observation | None, seconds: float) -> None:
        started = self.rollout
        assert started is not None
        demand(isinstance(seen, Live) and is_up(started.release, seen.apps), "good, but not up")
        if started.kind is Kind.DEPLOY:
            self._demand_up(started.policy.soak, seconds, "good")
            demand(self.health.spells <= started.policy.max_flaps, "good, although it flapped")
            for index, check in enumerate(started.policy.checks):
                demand(index in self.passed, f"good, although {check.path} did not pass")
        self.good, self.good_policy = started.release, started.policy
        self.owned = set(started.release.config.applications())
        self.held.pop(started.release.digest, None)
        self.failed.discard(started.release.digest)
        self._end(well=True)

    def _demand_up(self, needed: float, seconds: float, what: str) -> None:
        health = self.health
        up = 0.0 if health.up_since is None else seconds - health.up_since + health.jumped
        demand(up + _TICK >= needed, f"{what} after {up:.1f} s of health, not {needed:g}")

    def _failed(self, event: Failed, seen: Observation | None, now: datetime) -> None:
        started = self.rollout
        assert started is not None
        demand(isinstance(seen, Live), "a failure of a cluster that was not seen")
        failure = self.failure = event.failure.failure_class
        sighted = (now - self.applied_at - self.blind).total_seconds() if self.applied_at else 0.0
        deadlines = started.policy.deadlines
        match failure:
            case FailureClass.DEADLINE if started.kind is Kind.ROLLBACK:
                demand(sighted >= started.policy.rollback_deadline, "an early deadline of a rollback")
            case FailureClass.DEADLINE:
                shortest = min(deadlines.build, deadlines.start)
                demand(sighted >= shortest, f"a deadline after {sighted:g} s")
            case FailureClass.CAPACITY:
                demand(sighted >= deadlines.schedule, f"no room after {sighted:g} s")
            case FailureClass.CHECKS:
                tries = [self.refused.get(n, 0) > c.retries for n, c in enumerate(started.policy.checks)]
                demand(any(tries), "checks failed before their retries were used")
            case FailureClass.RUNTIME_ENV if started.kind is Kind.DEPLOY and _is_building(started, seen):
                demand(self.sent > 1, "an environment that could not be made was not tried again")
            case FailureClass.FLAPPING:
                # What was sick and well again between two looks shows in other ways.
                assert isinstance(seen, Live)
                trigger = [d.status_trigger for a in seen.apps.values() for d in a.deployments]
                demand(self.health.sick_looks or "UNSPECIFIED" in trigger, "flapping, but nothing flapped")
            case _:
                pass
        is_good = self.good is not None and self.good.digest == started.release.digest
        if started.kind is Kind.DEPLOY and not is_good:
            self.failed.add(started.release.digest)
        self._end(failure)

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
        for digest in (
            self.good.digest if self.good else None,
            self.rollout.release.digest if self.rollout else None,
            self.wanted,
        ):
            if digest is not None and digest != event.release.digest:
                self.held.setdefault(digest, 0)
        self.good = event.release
        self.good_policy = self.good_policy

    @property
    def gave_up(self) -> bool:
        """Whether the last rollback failed: that is loud, and final until a person acts."""
        return self.last is not None and self.last.kind is Kind.ROLLBACK and self.failure is not None

    def _end(self, failure: FailureClass | None = None, *, well: bool = False) -> None:
        self.last, self.rollout, self.is_intended = self.rollout, None, False
        self.failure, self.ended_well = failure, well


def without_nonce(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An application's config as the release has it."""
    if config is None:
        return None
    runtime_env = dict(config.get("runtime_env", {}))
    env_vars = {k: v for k, v in runtime_env.pop("env_vars", {}).items() if k != _NONCE}
    runtime_env |= {"env_vars": env_vars} if env_vars else {}
    rest = {key: value for key, value in config.items() if key != "runtime_env"}
    return rest | ({"runtime_env": runtime_env} if runtime_env else {})


def runs_config_of(release: Release, apps: Mapping[str, App]) -> bool:
    """Whether the cluster has the release's applications, each with the config of the release."""
    return all(
        name in apps
        and apps[name].status != "DELETING"
        and apps[name].source == "declarative"
        and without_nonce(apps[name].config) == config
        for name, config in release.config.applications().items()
    )


def is_up(release: Release, apps: Mapping[str, App]) -> bool:
    """Whether all of it runs. A PUT of anybody makes every application DEPLOYING for a tick."""
    return runs_config_of(release, apps) and all(
        apps[name].status in {"RUNNING", "DEPLOYING"}
        and apps[name].deployments
        and all(one.status == "HEALTHY" for one in apps[name].deployments)
        for name in release.config.applications()
    )


def _is_building(started: Started, seen: Observation | None) -> bool:
    """Whether Serve shows no deployment yet: then only another PUT makes it try again."""
    names = started.release.config.applications()
    return isinstance(seen, Live) and all(not seen.apps[n].deployments for n in names if n in seen.apps)
