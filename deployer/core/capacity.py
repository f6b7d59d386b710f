"""Does a rollout fit: what it needs at its peak, against what the cluster has free.

Owns the counting. Must not know how free resources are asked for. Invariant: it never says that something
fits which was not counted; what only the code knows is said to be unknown.

Without surge Serve stops a replica before it starts the new one, with `max_surge_percent` it starts that many
more first (`availability`). `ray_actor_options` in a config take the place of all that the code says (read in
2.60's `override_deployment_info`), so what they leave out has Ray's defaults. Resources are summed over the
cluster: whether one node has enough for one replica is Ray's to find out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from deployer.core.availability import shape
from deployer.core.compare import by_name
from deployer.core.restart import Restart

if TYPE_CHECKING:
    from deployer.core.availability import Shape
    from deployer.core.diff import Diff
    from deployer.core.live import Live

Amounts = dict[str, float]
"""By resource, in Ray's units."""

_EPSILON = 1e-6
"""Ray counts in ten-thousandths; sums of floats are a little off."""

_GIB = 2**30


class Verdict(StrEnum):
    """What becomes of it."""

    FITS = "fits"
    SHORT = "does not fit"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One resource: how much the rollout takes beyond what runs, and how much is free; None is not told.

    In Ray's units: CPUs, GPUs, bytes of `memory`, and whatever a custom resource counts.
    """

    resource: str
    needed: float
    free: float | None

    @property
    def verdict(self) -> Verdict:
        """Of this resource."""
        if self.free is None:
            return Verdict.UNKNOWN
        return Verdict.FITS if self.needed <= self.free + _EPSILON else Verdict.SHORT

    def __str__(self) -> str:
        """Render as `CPU 2 of 3.5 free`."""
        free = "unknown" if self.free is None else _amount(self.resource, self.free)
        return f"{self.resource} {_amount(self.resource, self.needed)} of {free} free"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Whether a rollout fits. `notes` are half sentences about what was not counted."""

    needs: tuple[Need, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """SHORT if one resource is; else UNKNOWN if something could not be counted."""
        found = {need.verdict for need in self.needs}
        if Verdict.SHORT in found:
            return Verdict.SHORT
        return Verdict.UNKNOWN if Verdict.UNKNOWN in found or self.notes else Verdict.FITS


def capacity(
    found: Diff, old: Mapping[str, Any], new: Mapping[str, Any], live: Live | None, ray_version: str
) -> Capacity:
    """What going from the body `old` to `new` needs at its peak beyond what runs already."""
    share = new.get("target_capacity")
    needed: Amounts = {}
    notes: list[str] = []
    before, after = _applications(old), _applications(new)
    for name, effect in sorted(found.effects.apps.items()):
        was = by_name(before.get(name, {}).get("deployments"))
        will = by_name(after.get(name, {}).get("deployments"))
        for deployment, restart in effect.deployments.items():
            if deployment not in will:
                continue
            options = _Options(name, deployment, live)
            one, other = was.get(deployment), will[deployment]
            of = shape(one, other, ray_version, running=options.replicas, capacity=share)
            _add(needed, _peak(restart, of, {} if one is None else options.of(one), options.of(other)), 1)
            if options.guessed:
                notes.append(f"{deployment} takes Serve's default of 1 CPU, unless its code says otherwise")
        if effect.restart is Restart.ADD and not will:
            notes.append(f"{name} lists no deployments: what its code asks for is not known")
    free = None if live is None else live.free
    needs = [
        Need(resource=resource, needed=amount, free=None if free is None else free.get(resource, 0.0))
        for resource, amount in sorted(needed.items())
        if amount > _EPSILON
    ]
    return Capacity(needs=tuple(needs), notes=tuple(dict.fromkeys(notes)))


class _Options:
    """What a replica asks for, where the config does not say: what Serve says that it runs with."""

    def __init__(self, app: str, deployment: str, live: Live | None) -> None:
        there = live.apps.get(app) if live else None
        found = [one for one in there.deployments if one.name == deployment] if there else []
        effective = found[0].effective if found else None
        options = (effective or {}).get("ray_actor_options")
        self._effective = options if isinstance(options, Mapping) else None
        self.replicas = found[0].target_replicas if found else None
        self.guessed = False

    def of(self, entry: Mapping[str, Any]) -> Amounts:
        """By resource, for one replica."""
        bundles = entry.get("placement_group_bundles")
        if isinstance(bundles, list) and bundles:
            summed: Amounts = {}
            for bundle in bundles:
                _add(summed, bundle, 1)
            return summed
        given = entry.get("ray_actor_options", self._effective)
        self.guessed = self.guessed or given is None
        options = given if isinstance(given, Mapping) else {}
        cpus = options.get("num_cpus")
        return {
            "CPU": 1.0 if cpus is None else float(cpus),
            "GPU": float(options.get("num_gpus") or 0),
            "memory": float(options.get("memory") or 0),
            **(options.get("resources") or {}),
        }


def _peak(restart: Restart, of: Shape, was: Amounts, will: Amounts) -> Amounts:
    """What one deployment takes beyond what it has."""
    more: Amounts = {}
    if restart is Restart.ADD:
        _add(more, will, of.replicas)
        return more
    _add(more, will, max(0, of.replicas - of.before))
    if restart.replaces_replicas:
        kept = min(of.before, of.replicas)
        first = min(of.surge, kept)
        _add(more, will, first)
        growth = {key: max(0.0, will[key] - was.get(key, 0.0)) for key in will}
        _add(more, growth, kept - first)
    return more


def _add(total: Amounts, each: Mapping[str, float], times: int) -> None:
    for resource, amount in each.items():
        total[resource] = total.get(resource, 0.0) + amount * times


def _applications(body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {app.get("name", "default"): app for app in body.get("applications") or ()}


def _amount(resource: str, amount: float) -> str:
    return f"{amount / _GIB:.3g} GiB" if resource == "memory" else f"{round(amount, 4):g}"
