"""The plan of a deploy: what would change, what serves meanwhile, whether it fits, how long, the way back.

Owns the plan and its digest. Must not know where configs, records and observations come from, nor how a plan
looks. Invariant: the digest is that of the effect. It stays while the same would happen to the same things,
so that an approval can be bound to it, and it is another as soon as something else would.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from deployer.core import availability, body, drift, rest, rollouts, sentences
from deployer.core.availability import Forecast
from deployer.core.capacity import Capacity
from deployer.core.compare import by_name
from deployer.core.diff import Diff
from deployer.core.events import Kind
from deployer.core.live import Live
from deployer.core.record import Result
from deployer.core.restart import Restart
from deployer.core.types import Desired
from deployer.core.way_back import WayBack

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from deployer.core.history import Entry
    from deployer.core.live import Observation
    from deployer.core.record import Record
    from deployer.core.types import Policy, Release

_DEPLOYS = 10
"""So many good deploys of the same applications are looked back on."""

_DIGEST_VERSION = 1
"""Of what the digest is taken of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """How long the last good deploys of the same applications took, in seconds, from start to good."""

    shortest: float
    longest: float
    deploys: int

    def __str__(self) -> str:
        """Render as `31 s to 2m10s (the last 5 deploys)`."""
        ends = [sentences.took(timedelta(seconds=end)) for end in (self.shortest, self.longest)]
        times = "the last deploy" if self.deploys == 1 else f"the last {self.deploys} deploys"
        return f"{ends[0]} ({times})" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]} ({times})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How many replicas of a deployment serve while it is changed."""

    application: str
    deployment: str
    forecast: Forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Something that stands before the deploy. `what` is a word, `why` a sentence with the next step."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a deploy of `wanted` to an environment would do.

    `against` says what it is compared with, `wanted` what would be deployed: in words, for people. `drift`
    and `remarks` are sentences. `capacity` and `way_back` are None where they were not asked for.
    """

    environment: str
    wanted: str
    against: str
    digest: str
    config_digest: str
    ray_version: str
    diff: Diff
    availability: tuple[Served, ...] = ()
    capacity: Capacity | None = None
    duration: Duration | None = None
    way_back: WayBack | None = None
    gates: tuple[Gate, ...] = ()
    drift: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def has_changes(self) -> bool:
        """Whether anything would change on the cluster."""
        return bool(self.diff.lines)

    @property
    def counts(self) -> tuple[int, int, int]:
        """Applications to add, to change, to remove."""
        return len(self.diff.added), len(self.diff.changed), len(self.diff.removed)


def served(
    found: Diff, old: Mapping[str, Any], new: Mapping[str, Any], live: Live | None, ray_version: str
) -> tuple[Served, ...]:
    """The forecast for each deployment whose replicas are replaced or reconfigured, the worst first."""
    before, after = _applications(old), _applications(new)
    forecasts = []
    for name, effect in sorted(found.effects.apps.items()):
        was = by_name(before.get(name, {}).get("deployments"))
        will = by_name(after.get(name, {}).get("deployments"))
        there = live.apps.get(name) if live is not None else None
        running = {one.name: one.target_replicas for one in there.deployments} if there else {}
        for deployment, restart in effect.deployments.items():
            if restart is not Restart.RECONFIGURE and not restart.replaces_replicas:
                continue
            of = availability.shape(
                was.get(deployment),
                will.get(deployment),
                ray_version,
                running=running.get(deployment),
                capacity=new.get("target_capacity"),
            )
            forecast = availability.forecast(deployment, restart, of, ray_version)
            forecasts.append(Served(application=name, deployment=deployment, forecast=forecast))
    return tuple(sorted(forecasts, key=lambda one: (one.forecast.lowest, one.forecast.lowest_failed)))


def _applications(body_of: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {app.get("name", "default"): app for app in body_of.get("applications") or ()}


def digest(environment: str, config_digest: str, found: Diff, forecasts: Sequence[Served]) -> str:
    """`sha256:<hex>` of the effect: what is deployed where, and what it does to what runs.

    Not how much is free, how long it takes, or what the commit says of itself.
    """
    effect = {
        "version": _DIGEST_VERSION,
        "environment": environment,
        "config": config_digest,
        "lines": [
            [line.sign, line.application, line.deployment, line.option, line.change, line.restart]
            for line in found.lines
        ],
        "availability": [
            [one.application, one.deployment, one.forecast.lowest, one.forecast.lowest_failed]
            for one in forecasts
        ],
    }
    text = json.dumps(effect, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def live_body(
    live: Live,
    record: Record,
    policy: Policy,
    neighbours: Mapping[str, str],
    wanted: Collection[str] | None,
) -> dict[str, Any]:
    """What the cluster last received for this environment, as a body: Serve tells no more of it.

    An environment that has nothing good yet takes over the applications that it has (`wanted`; None is
    whatever is nobody else's). One that `serve run` started has no config, and counts as not there.
    """
    ours = rollouts.owned(record, policy, neighbours)
    if record.good is None:
        ours = (ours | {*(live.apps if wanted is None else wanted)}) - neighbours.keys()
    good = record.good.config.body() if record.good else {}
    top = {key: value for key, value in good.items() if key not in {"applications", "target_capacity"}}
    if live.target_capacity is not None:
        top["target_capacity"] = live.target_capacity
    apps = [
        _unstamped(app.config)
        for name, app in sorted(live.apps.items())
        if name in ours and app.config is not None and app.status != "DELETING"
    ]
    return {**top, "applications": apps}


def _unstamped(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without the nonce that a rollout put in: it is not what anybody wrote."""
    runtime_env = config.get("runtime_env")
    if not isinstance(runtime_env, dict):
        return dict(config)
    variables = runtime_env.get("env_vars")
    if not isinstance(variables, dict) or body.NONCE not in variables:
        return dict(config)
    kept = {key: value for key, value in variables.items() if key != body.NONCE}
    rest_of_it = {key: value for key, value in runtime_env.items() if key != "env_vars"}
    return {**config, "runtime_env": {**rest_of_it, "env_vars": kept} if kept else rest_of_it}


def duration(
    entries: Sequence[Entry], good: Mapping[str, frozenset[str]], names: frozenset[str]
) -> Duration | None:
    """From the history (newest first); `good` has the applications of the good rollouts, by rollout."""
    found = [
        entry.took_seconds
        for entry in entries
        if entry.kind is Kind.DEPLOY and entry.result is Result.GOOD and good.get(entry.id) == names
    ]
    seconds = [took for took in found if took is not None][:_DEPLOYS]
    if not seconds:
        return None
    return Duration(shortest=min(seconds), longest=max(seconds), deploys=len(seconds))


def gates(
    release: Release,
    policy: Policy,
    record: Record,
    live: Observation | None,
    now: datetime,
    neighbours: Mapping[str, str],
    upstream: Mapping[str, Record],
) -> tuple[Gate, ...]:
    """What would keep this release from being deployed now, in the order in which it would be met.

    `upstream` are the records of the daemon's other environments: what is held there failed there.
    """
    found: list[Gate] = []
    if record.paused is not None:
        found.append(Gate(what="paused", why=sentences.paused(record)))
    hold = record.hold_of(release.digest)
    if hold is not None and not hold.may_retry:
        found.append(Gate(what="held", why=sentences.held(hold, record)))
    for name, other in upstream.items():
        held = other.hold_of(release.digest)
        if held is not None and not held.may_retry:
            why = f"The same config failed in {name}, where it is held: {held.reason}"
            found.append(Gate(what="held upstream", why=sentences.sentence(why)))
    rollout = record.rollout
    if rollout is not None and rollout.release.digest != release.digest:
        why = f"{rollout.id} is under way ({rollout.kind.value} of {sentences.name(rollout.release)})"
        found.append(Gate(what="in flight", why=sentences.sentence(why)))
    if isinstance(live, Live) and not found and rollout is None:
        idle = rest.waiting(Desired(release=release, policy=policy), live, record, now, neighbours)
        if not isinstance(idle, Desired) and not rollouts.is_live(record, release.digest):
            found.append(Gate(what="policy", why=getattr(idle, "reason", "It is measured what is free.")))
    return tuple(found)


def drifted(live: Observation | None, record: Record) -> str | None:
    """How the cluster differs from the release that was brought to it, as a sentence."""
    if not isinstance(live, Live) or record.rollout is not None:
        return None
    found = drift.find(live, record)
    return None if found is None else found[1]
