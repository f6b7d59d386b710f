"""The metrics of the environments: how each stands, and how its rollouts ended.

Owns what is known of them for a scrape. Must not ask the store, git or a cluster then: it listens to the
passes, and begins with what the store knew when the daemon started. Invariant: the engine's threads wait here
for nothing but one another's few microseconds, and get no error from here; a label's value is an environment
of the settings or a word of ours, never anything that was pushed; and a line is written when it changes, not
when it is scraped.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from deployer.core.events import Cancelled, DriftClass, Failed, Good, Kind, Superseded
from deployer.core.record import Result
from deployer.core.status import Health, Mode, Sync
from deployer.web.metrics.family import Buckets, Family, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from enum import StrEnum

    from deployer.adapters.store.figures import Ended
    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.core.status import Status

SECONDS = (1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0)
"""From a heal of a small application to a model that takes an hour to load."""

HEALTH = Family(
    name="deployer_environment_health",
    type="gauge",
    help="1 for the state in which its applications are; 0 for the others.",
    labels=("environment", "state"),
)
SYNC = Family(
    name="deployer_environment_sync",
    type="gauge",
    help="1 for whether it runs what git wants; 0 for the other states.",
    labels=("environment", "state"),
)
MODE = Family(
    name="deployer_environment_mode",
    type="gauge",
    help="1 for what becomes of the next change by itself; 0 for the other states.",
    labels=("environment", "state"),
)
HELD = Family(
    name="deployer_environment_held",
    type="gauge",
    help="1 while what git wants is held: it failed here, or a person rolled it back.",
    labels=("environment",),
)
HELD_SINCE = Family(
    name="deployer_environment_held_timestamp_seconds",
    type="gauge",
    help="Since when what git wants is held. Only there while it is.",
    labels=("environment",),
)
PAUSED = Family(
    name="deployer_environment_paused",
    type="gauge",
    help="1 while a person has stopped the automation.",
    labels=("environment",),
)
DRIFT = Family(
    name="deployer_environment_drift",
    type="gauge",
    help="1 for the way in which the cluster differs from the current release; 0 for the others.",
    labels=("environment", "class"),
)
ROLLBACK_FAILED = Family(
    name="deployer_environment_rollback_failed",
    type="gauge",
    help="1 while the last rollout is a rollback that failed: nothing more is done until a person acts.",
    labels=("environment",),
)
LAST_GOOD = Family(
    name="deployer_environment_last_good_timestamp_seconds",
    type="gauge",
    help="When a rollout last ended good. Not there before the first.",
    labels=("environment",),
)
IN_FLIGHT = Family(
    name="deployer_environment_rollout_start_timestamp_seconds",
    type="gauge",
    help="When the rollout in flight began. Only there while there is one.",
    labels=("environment", "kind"),
)
CLUSTER_AGE = Family(
    name="deployer_cluster_age_seconds",
    type="gauge",
    help="Since the cluster was last seen; before the first time, since the daemon's start.",
    labels=("environment",),
)
ROLLOUTS = Family(
    name="deployer_rollouts_total",
    type="counter",
    help="Rollouts that ended. Goes on over restarts: it begins with those in the store.",
    labels=("environment", "kind", "result"),
)
LAST_END = Family(
    name="deployer_rollout_last_end_timestamp_seconds",
    type="gauge",
    help="When the newest rollout of this kind ended so. Not there before the first.",
    labels=("environment", "kind", "result"),
)
DURATION = Family(
    name="deployer_rollout_duration_seconds",
    type="histogram",
    help="From the start of a rollout to its end, of those that ended since the daemon's start.",
    labels=("environment", "kind", "result"),
)

FAMILIES = (
    *(HEALTH, SYNC, MODE, HELD, HELD_SINCE, PAUSED, DRIFT, ROLLBACK_FAILED, LAST_GOOD, IN_FLIGHT),
    *(ROLLOUTS, LAST_END, DURATION),
)
"""Those that are written once for each change. The age of a cluster is another at each scrape."""

_ONLY_SOMETIMES = (HELD_SINCE, LAST_GOOD, IN_FLIGHT)

_FROM_THE_START = [(kind, result) for kind in ("deploy", "rollback") for result in ("good", "failed")]
"""Counted from 0: `increase()` does not see a series that begins with 1. The others are rarely asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """How an environment stood when it was last looked at."""

    sync: str
    health: str
    mode: str
    held_since: datetime | None
    is_paused: bool
    drift: str | None
    is_rollback_failed: bool
    good_at: datetime | None
    in_flight: tuple[str, datetime] | None


@dataclass(slots=True, kw_only=True)
class _Tally:
    """Rollouts of one kind that ended in one way."""

    count: int = 0
    newest_at: datetime | None = None
    durations: Buckets | None = None


class _Environment:
    """One of them, and its lines by family. A line is written when it changes: passes have time for that."""

    def __init__(self, name: str) -> None:
        self.label = f"environment={quoted(name)}"
        self.name = name
        self.seen_at: datetime | None = None
        self.state: _State | None = None
        self.tallies: dict[tuple[str, str], _Tally] = {key: _Tally() for key in _FROM_THE_START}
        self.lines: dict[Family, str] = {}

    def take(self, state: _State) -> None:
        """It stands like this now."""
        if state != self.state:
            self.state = state
            # One step for whoever reads meanwhile, as it is below.
            self.lines = self.lines | dict.fromkeys(_ONLY_SOMETIMES, "") | dict(self._of_state(state))

    def end(self, kind: str, result: str, at: datetime, seconds: float) -> None:
        """A rollout ended."""
        tally = self.tallies.setdefault((kind, result), _Tally())
        tally.count += 1
        tally.newest_at = at
        tally.durations = tally.durations or Buckets(bounds=SECONDS)
        tally.durations.observe(seconds)
        self.write_tallies()

    def write_tallies(self) -> None:
        """Write what is counted."""
        counts, ends, durations = [], [], []
        for key, tally in self.tallies.items():
            counts.append(self._ended(ROLLOUTS, key, str(tally.count)))
            if tally.newest_at is not None:
                ends.append(self._ended(LAST_END, key, _seconds(tally.newest_at)))
            if tally.durations is not None:
                labels = dict(zip(DURATION.labels, (self.name, *key), strict=True))
                durations.append(tally.durations.lines(DURATION.name, labels))
        written = {ROLLOUTS: counts, LAST_END: ends, DURATION: durations}
        self.lines = self.lines | {family: "".join(lines) for family, lines in written.items()}

    def _of_state(self, state: _State) -> Iterator[tuple[Family, str]]:
        yield HEALTH, self._one_hot(HEALTH, Health, state.health)
        yield SYNC, self._one_hot(SYNC, Sync, state.sync)
        yield MODE, self._one_hot(MODE, Mode, state.mode)
        yield DRIFT, self._one_hot(DRIFT, DriftClass, state.drift)
        yield HELD, self._line(HELD, str(int(state.held_since is not None)))
        yield PAUSED, self._line(PAUSED, str(int(state.is_paused)))
        yield ROLLBACK_FAILED, self._line(ROLLBACK_FAILED, str(int(state.is_rollback_failed)))
        if state.held_since is not None:
            yield HELD_SINCE, self._line(HELD_SINCE, _seconds(state.held_since))
        if state.good_at is not None:
            yield LAST_GOOD, self._line(LAST_GOOD, _seconds(state.good_at))
        if state.in_flight is not None:
            kind, since = state.in_flight
            yield IN_FLIGHT, f"{IN_FLIGHT.name}{{{self.label},kind={quoted(kind)}}} {_seconds(since)}\n"

    def _one_hot(self, family: Family, states: type[StrEnum], present: str | None) -> str:
        label = family.labels[1]
        return "".join(
            f'{family.name}{{{self.label},{label}="{state.value}"}} {int(state.value == present)}\n'
            for state in states
        )

    def _line(self, family: Family, value: str) -> str:
        return f"{family.name}{{{self.label}}} {value}\n"

    def _ended(self, family: Family, key: tuple[str, str], value: str) -> str:
        kind, result = key
        return f"{family.name}{{{self.label},kind={quoted(kind)},result={quoted(result)}}} {value}\n"


class Fleet:
    """Listens to the reconciler, from any thread."""

    def __init__(
        self,
        environments: Sequence[str],
        *,
        now: datetime,
        ended: Iterable[Ended] = (),
        views: Mapping[str, tuple[datetime, dict[str, Any]]] | None = None,
    ) -> None:
        """Begin with what the store knows: how rollouts ended, and the statuses that were published last."""
        self._environments = {name: _Environment(name) for name in environments}
        self._started_at = now
        self._lock = threading.Lock()
        for one in ended:
            if one.environment in self._environments:
                tally = _Tally(count=one.count, newest_at=one.newest_at)
                self._environments[one.environment].tallies[one.kind, one.result] = tally
        for environment in self._environments.values():
            environment.write_tallies()
        for name, (at, view) in (views or {}).items():
            # Of what another version published the first pass will say more.
            with suppress(KeyError, TypeError, ValueError):
                environment = self._environments[name]
                environment.take(_published(view, environment.tallies))
                environment.seen_at = at if view["cluster"] else None

    def recorded(self, record: Record, event: Event) -> None:
        """Count a rollout that ended."""
        match event:
            case Good():
                result = Result.GOOD
            case Failed():
                result = Result.FAILED
            case Superseded():
                result = Result.SUPERSEDED
            case Cancelled():
                result = Result.CANCELLED
            case _:
                return
        environment, rollout = self._environments.get(record.environment), record.rollout
        if environment is None or rollout is None:
            return
        # A clock that went back makes no negative time.
        seconds = max(0.0, (event.at - rollout.started_at).total_seconds())
        with self._lock:
            environment.end(rollout.kind.value, result.value, event.at, seconds)

    def observed(self, status: Status, at: datetime) -> None:
        """Take how it stands now."""
        environment = self._environments.get(status.environment)
        if environment is None:
            return
        if status.cluster is not None:
            environment.seen_at = at
        state = _seen(status)
        with self._lock:
            environment.take(state)

    def text(self, now: datetime, only: Collection[str] | None = None) -> str:
        """All families, of these environments."""
        shown = [one for name, one in self._environments.items() if only is None or name in only]
        written = [one.lines for one in shown]
        parts = []
        for family in FAMILIES:
            parts.append(family.head)
            parts += [lines.get(family, "") for lines in written]
        parts.append(CLUSTER_AGE.head)
        for one in shown:
            age = max(0.0, (now - (one.seen_at or self._started_at)).total_seconds())
            parts.append(f"{CLUSTER_AGE.name}{{{one.label}}} {age:.3f}\n")
        return "".join(parts)


def _seen(status: Status) -> _State:
    """What a pass saw."""
    record = status.record
    hold = record.hold_of(status.wanted.digest) if status.wanted is not None else None
    last, rollout = record.last, record.rollout
    return _State(
        sync=status.sync.value,
        health=status.health.value,
        mode=status.mode.value,
        held_since=hold.since if hold is not None and not hold.may_retry else None,
        is_paused=record.paused is not None,
        drift=record.drift.drift.value if record.drift is not None else None,
        is_rollback_failed=last is not None and (last.kind, last.result) == (Kind.ROLLBACK, Result.FAILED),
        good_at=record.good_at,
        in_flight=(rollout.kind.value, rollout.started_at) if rollout is not None else None,
    )


def _published(view: Mapping[str, Any], tallies: Mapping[tuple[str, str], _Tally]) -> _State:
    """The same of what was published last, before this start; see `deployer.core.status.view`."""
    wanted, rollout, drift = view["wanted"], view["rollout"], view["drift"]
    holds = {one["digest"]: datetime.fromisoformat(one["since"]) for one in view["held"]}
    is_held = view["mode"] in (Mode.HELD, Mode.PAUSED) and wanted is not None
    ends = {key: tally.newest_at for key, tally in tallies.items() if tally.newest_at is not None}
    good = [at for (_, result), at in ends.items() if result == Result.GOOD]
    changes = {
        key: at
        for key, at in ends.items()
        if key[0] in (Kind.DEPLOY, Kind.ROLLBACK) and key[1] in (Result.GOOD, Result.FAILED)
    }
    last = max(changes, key=changes.__getitem__, default=None)
    return _State(
        sync=view["sync"],
        health=view["health"],
        mode=view["mode"],
        held_since=holds.get(wanted["digest"]) if is_held else None,
        is_paused=view["paused"] is not None,
        drift=drift["class"] if drift is not None else None,
        is_rollback_failed=last == (Kind.ROLLBACK, Result.FAILED),
        good_at=max(good, default=None),
        in_flight=(
            (rollout["kind"], datetime.fromisoformat(rollout["started_at"])) if rollout is not None else None
        ),
    )


def _seconds(at: datetime) -> str:
    """A time as Prometheus has it: seconds since 1970."""
    return f"{at.timestamp():.3f}"
