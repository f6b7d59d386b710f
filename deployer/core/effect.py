"""What a deploy would do to what runs: the change, and the digest that an approval is bound to.

Owns the comparison of a release with what the cluster last received, and the digest of its effect. Must not
know where configs, records and observations come from. Invariant: the digest stays while the same would
happen to the same things, also while replicas scale by themselves, and it is another as soon as something
else would.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deployer.core import availability, body, rollouts
from deployer.core.availability import Forecast
from deployer.core.compare import by_name
from deployer.core.diff import Diff, diff
from deployer.core.restart import Restart

if TYPE_CHECKING:
    from collections.abc import Collection

    from deployer.core.live import Live
    from deployer.core.record import Record
    from deployer.core.types import Policy, Release

_DIGEST_VERSION = 1
"""Of what the digest is taken of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """How many replicas of a deployment serve while it is changed."""

    application: str
    deployment: str
    forecast: Forecast


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What changes from `old` to `new` (PUT bodies), and the digest of that."""

    old: Mapping[str, Any]
    new: Mapping[str, Any]
    diff: Diff
    digest: str


def effect(
    release: Release, policy: Policy, live: Live, record: Record, neighbours: Mapping[str, str]
) -> Effect:
    """What a deploy of this release to the record's environment would do now."""
    new = release.config.body()
    old = live_body(live, record, policy, neighbours, release.config.applications())
    found = diff(old, new, live.ray_version)
    of = digest(record.environment, release.digest, policy, found, old, new, live.ray_version)
    return Effect(old=old, new=new, diff=found, digest=of)


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


def served(
    found: Diff, old: Mapping[str, Any], new: Mapping[str, Any], live: Live | None, ray_version: str
) -> tuple[Served, ...]:
    """The forecast for each deployment whose replicas are replaced or reconfigured, the worst first."""
    before, after = _applications(old), _applications(new)
    forecasts = []
    for name, changed in sorted(found.effects.apps.items()):
        was = by_name(before.get(name, {}).get("deployments"))
        will = by_name(after.get(name, {}).get("deployments"))
        there = live.apps.get(name) if live is not None else None
        running = {one.name: one.target_replicas for one in there.deployments} if there else {}
        for deployment, restart in changed.deployments.items():
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


def digest(
    environment: str,
    config_digest: str,
    policy: Policy,
    found: Diff,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    ray_version: str,
) -> str:
    """`sha256:<hex>` of the effect: what is deployed where, how it is judged, what it does to what runs.

    Not how much is free, how long it takes, what the commit says of itself, or to how many replicas a
    deployment has scaled by now.
    """
    content = {
        "version": _DIGEST_VERSION,
        "environment": environment,
        "config": config_digest,
        "policy": asdict(policy),
        "lines": [
            [line.sign, line.application, line.deployment, line.option, line.change, line.restart]
            for line in found.lines
        ],
        "availability": [
            [one.application, one.deployment, one.forecast.lowest, one.forecast.lowest_failed]
            for one in served(found, old, new, None, ray_version)
        ],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _applications(body_of: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {app.get("name", "default"): app for app in body_of.get("applications") or ()}


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
