"""Is there a way back, should the rollout fail?

Owns the verdict and its reasons. Must not know how an address is asked whether it answers. Invariant: `ready`
means that each part was looked at and is there; what could not be looked at is named.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from deployer.core import pinned, sentences
from deployer.core.body import needs_rebuild

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.core.capacity import Capacity
    from deployer.core.live import Live
    from deployer.core.record import Record
    from deployer.core.serve_schema import Fault
    from deployer.core.types import Policy, Release


class Way(StrEnum):
    """How good the way back is."""

    READY = "ready"
    DEGRADED = "degraded"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """The verdict. `to` is the release that a failed rollout returns to; `reasons` are half sentences."""

    state: Way
    to: str = ""
    reasons: tuple[str, ...] = ()


def way_back(
    record: Record,
    wanted: Release,
    policy: Policy,
    *,
    live: Live | None,
    faults: Sequence[Fault],
    dead: Mapping[str, str],
    silent: Mapping[str, str],
    fits: Capacity | None,
) -> WayBack:
    """The way back from `wanted`, which is judged by `policy`, to the current good release.

    `faults` are what today's schema has against that release; `dead` the addresses of its code that are not
    there any more, and `silent` those that could not be asked, with why; `fits` what going back takes; None
    is not known.
    """
    good = record.good
    if good is None:
        return WayBack(state=Way.IMPOSSIBLE, reasons=("nothing became good here yet",))
    to = sentences.name(good)
    if not policy.rollback:
        return WayBack(state=Way.IMPOSSIBLE, to=to, reasons=("`rollback.on` is false in environment.yaml",))
    gone = [f"its code at {pinned.shown(uri)} is gone: {why}" for uri, why in sorted(dead.items())]
    worse = [f"its code at {pinned.shown(uri)} was not found: {why}" for uri, why in sorted(silent.items())]
    errors = [fault for fault in faults if fault.severity == "error"]
    if errors:
        where = ".".join(str(key) for key in errors[0].path)
        worse.append(f"its config would be refused today ({where}: {errors[0].message})")
    changeable = pinned.changeable(good)
    if changeable:
        worse.append(f"{pinned.shown(changeable[0])} may bring other code than it did")
    if live is None:
        worse.append("the cluster was not asked")
    elif needs_rebuild(good, _after(live, wanted), nonce=record.good_nonce):
        worse.append(f"Ray {live.ray_version} keeps options that it does not set, so all replicas restart")
    if fits is not None and fits.verdict == "does not fit":
        worse.append("what it needs is not free")
    state = Way.IMPOSSIBLE if gone else Way.DEGRADED if worse else Way.READY
    reasons = (*gone, *worse) or (_READY,)
    return WayBack(state=state, to=to, reasons=tuple(reasons))


_READY = "it still validates, its code answers or is pinned, and what it needs is there"


def _after(live: Live, wanted: Release) -> Live:
    """The cluster as it will be when `wanted` was sent."""
    sent = wanted.config.applications()
    apps = {name: replace(app, config=sent[name]) if name in sent else app for name, app in live.apps.items()}
    return replace(live, apps=apps)
