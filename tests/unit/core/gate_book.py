"""What each gate of an environment must say, kept apart from the gates: the books of `test_gates_property`.

A book hears every event as it becomes durable, and is told what the operator, git, the forge and the other
environments say. It must use none of `core.gates`, `approvals`, `windows`, `drift`, `capacity` and `effect`:
what they get wrong, it must notice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from deployer.core.events import (
    Approved,
    Event,
    Good,
    Promoted,
    PromotionAsked,
    Proposed,
    Refused,
    Rejected,
    RetryAsked,
    Seen,
    Started,
    SyncAsked,
)
from deployer.core.gates import AtForge, CheckState, Rules
from deployer.core.windows import Fixed, Recurring, Span
from tests.support.build import at
from tests.unit.machine.sight import without_nonce

if TYPE_CHECKING:
    from deployer.core.live import Live
    from deployer.core.types import Policy, Release

ORDER = ("requires", "checks", "freezes", "windows", "drift", "capacity", "manual", "approvals")
"""As docs/gates.md has them before a deploy."""

PEOPLE = ("ada", "bob", "eve", "lin")
FORGE_NAMES = {"lin": "lin-gl", "bob": "bob-gl"}

Fits = tuple[Any, ...]
"""What a deploy would do: what is wanted, how it is judged, and what of ours the cluster has."""


@dataclass(frozen=True, slots=True)
class Time:
    """A window or a freeze, and beside it when it is on, as a person would work it out."""

    span: Span
    is_on: Callable[[datetime], bool]


def _every(minutes: int, seconds: int) -> Time:
    span = Recurring(cron=f"*/{minutes} * * * *", duration=seconds, time_zone="UTC", reason="often")
    return Time(span, lambda now: (now.minute % minutes) * 60 + now.second + now.microsecond / 1e6 < seconds)


def _fixed(begins: float, ends: float, reason: str = "") -> Time:
    span = Fixed(begins=at(begins), ends=at(ends), reason=reason)
    return Time(span, lambda now: at(begins) <= now < at(ends))


WINDOWS = (
    _every(5, 120),
    _fixed(-1000, -500),
    _fixed(-1000, 60),
    Time(
        Recurring(cron="0 12 * * *", duration=3600.0, time_zone="Europe/Berlin"),
        # It is November.
        lambda now: now.astimezone(UTC).hour == 11,
    ),
)
FREEZES = (
    _every(10, 30),
    _fixed(-1000, 60, "the sale"),
    _fixed(200, 2000, "Christmas"),
    _fixed(-1000, 1e8, "years without deploys"),
)


@dataclass(frozen=True, slots=True)
class _Said:
    by: str
    at: datetime
    plan: str
    is_approval: bool


class Proves(Protocol):
    """Another environment."""

    def proved(self, commit: str) -> datetime | None:
        """Since when the commit is good there."""


@dataclass(slots=True)
class Book:
    """What was asked for, and what is known, of one environment."""

    rules: Rules = field(default_factory=Rules)
    windows: tuple[Time, ...] = ()
    freezes: tuple[Time, ...] = ()
    forge: dict[str, AtForge] = field(default_factory=dict)
    makers: dict[str, frozenset[str]] = field(default_factory=dict)
    """By commit who made it."""
    plans: dict[str, Fits] = field(default_factory=dict)
    """What was shown under the name of each plan."""
    sent: Mapping[str, Any] | None = None
    """What the cluster was sent last, by application; None since its head is another one."""
    has_good: bool = False
    seen: str | None = None
    go: tuple[str, str] | None = None
    said: dict[str, _Said] = field(default_factory=dict)
    retries: set[str] = field(default_factory=set)
    skipped: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    """By commit the gates that were wished away for it, each with who did."""
    promoters: dict[str, set[str]] = field(default_factory=dict)
    origins: dict[tuple[str, str], str] = field(default_factory=dict)
    """By source and commit, of what that is a copy."""
    asked: PromotionAsked | None = None
    started: dict[str, str] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        """One more event."""
        match event:
            case Seen(release=release):
                if release.digest != self.seen:
                    self.said.clear()
                    self.retries &= {release.digest}
                self.seen = release.digest
            case Refused():
                self.retries.clear()
            case Started(rollout=rollout, release=release):
                self.retries.discard(release.digest)
                self.started[rollout] = release.digest
            case Good(rollout=rollout):
                digest, self.has_good = self.started[rollout], True
                if digest == self.seen:
                    self.said.clear()
                if self.go is not None and self.go[1] == digest:
                    self.go = None
            case RetryAsked(digest=digest):
                self.retries.add(digest)
            case SyncAsked(commit=commit, digest=digest):
                self.go = commit, digest
                self._skip((commit,), event)
            case Approved() | Rejected():
                who = event.actor.partition(" (")[0]
                is_approval = isinstance(event, Approved)
                self.said[who] = _Said(who, event.at, event.plan, is_approval)
            case PromotionAsked():
                self.asked = event
            case Promoted(commit=commit, copied=copied):
                self._brought(*((commit, copied) if copied is not None else (commit,)))
            case Proposed(commit=commit, head=head):
                self._brought(commit, head)
            case _:
                pass

    def _brought(self, *commits: str) -> None:
        asked = self.asked
        assert asked is not None
        self._skip(commits, asked)
        for commit in commits:
            self.promoters.setdefault(commit, set()).add(asked.actor.partition(" (")[0])
            self.origins[asked.source, commit] = asked.commit

    def _skip(self, commits: tuple[str, ...], wish: SyncAsked | PromotionAsked) -> None:
        for commit in commits:
            for gate in wish.skipped:
                who = wish.actor.partition(" (")[0]
                self.skipped.setdefault(commit, {}).setdefault(gate, set()).add(who)

    # --- what must be so ---------------------------------------------------------------------------------

    def open(
        self, release: Release, policy: Policy, live: Live, now: datetime, elsewhere: Mapping[str, Proves]
    ) -> dict[str, bool]:
        """Each gate that there is, in its order, and whether it is open for this release now."""
        rules, commit = self.rules, release.revision.commit
        found: dict[str, bool] = {}
        if rules.requires:
            found["requires"] = all(
                (since := elsewhere[name].proved(self.origins.get((name, commit), commit))) is not None
                and now >= since + timedelta(seconds=seconds)
                for name, seconds in rules.requires.items()
            )
        if rules.checks:
            forge = self.forge.get(commit, AtForge())
            green = {name for name, one in forge.checks.items() if one.state is CheckState.SUCCESS}
            found["checks"] = forge.trouble is None and green.issuperset(rules.checks)
        if self.freezes:
            found["freezes"] = not any(one.is_on(now) for one in self.freezes)
        if self.windows:
            found["windows"] = any(one.is_on(now) for one in self.windows)
        if rules.drift:
            # What is lost is restored, and nobody's rescue; so is what is empty.
            there = configs(live, bare=False)
            found["drift"] = not self.has_good or not there or self.sent in (None, there)
        if rules.capacity:
            needed = _needed(release, live)
            free = None if live.free is None else live.free.get("CPU", 0.0)
            found["capacity"] = needed == 0 or (free is not None and needed <= free)
        if rules.manual:
            is_wanted = self.go is not None and self.go[0] == commit
            found["manual"] = is_wanted or release.digest in self.retries
        if rules.approvals is not None:
            found["approvals"] = self._is_approved(release, policy, live, now)
        return found

    def counted(self, fits: Fits, commit: str, now: datetime) -> list[_Said]:
        """The approvals that count."""
        rule = self.rules.approvals
        assert rule is not None
        out: frozenset[str] = frozenset()
        if rule.prevent_self_approval:
            there = self.forge.get(commit, AtForge()).made_by
            out = self.makers[commit] | self.promoters.get(commit, set())
            out |= {who for who, name in FORGE_NAMES.items() if name in there}
        return [
            one
            for one in self.said.values()
            if one.is_approval
            and one.by in rule.people - out
            and self.plans.get(one.plan) == fits
            and (now - one.at).total_seconds() < rule.expire_after
        ]

    def _is_approved(self, release: Release, policy: Policy, live: Live, now: datetime) -> bool:
        rule, commit = self.rules.approvals, release.revision.commit
        assert rule is not None
        if any(not one.is_approval and one.by in rule.people for one in self.said.values()):
            return False
        if rule.reviews and rule.prevent_self_approval:
            forge = self.forge.get(commit)
            if forge is None or forge.trouble is not None:
                return False
        return len(self.counted(fits(release, policy, live), commit, now)) >= rule.required


def fits(release: Release, policy: Policy, live: Live) -> Fits:
    """What a deploy of this would do to that."""
    there = sorted(configs(live, bare=True).items())
    return release.digest, policy, repr(there)


def configs(live: Live, *, bare: bool) -> dict[str, Any]:
    """What the cluster has, by application; `bare`: as people wrote it."""
    return {
        name: without_nonce(app.config) if bare else app.config
        for name, app in live.apps.items()
        if app.status != "DELETING" and app.config is not None
    }


def _cpus(config: Mapping[str, Any]) -> float:
    """Of its one deployment, with one replica."""
    (deployment,) = config["deployments"]
    return float(deployment["ray_actor_options"]["num_cpus"])


def _needed(release: Release, live: Live) -> float:
    """What it takes beyond what runs: replicas are replaced one by one, without surge."""
    before = configs(live, bare=True)
    return sum(
        max(0.0, _cpus(config) - (_cpus(before[name]) if name in before else 0.0))
        for name, config in release.config.applications().items()
    )
