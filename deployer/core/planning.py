"""The plan of a deploy: what would change, what serves meanwhile, whether it fits, how long, the way back.

Owns the plan. Must not know where configs, records and observations come from, nor how a plan looks.
Invariant: its digest is that of the effect (`deployer.core.effect`), so that an approval can be bound to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from deployer.core import drift, rest, rollouts, sentences
from deployer.core import gates as gates_of
from deployer.core.capacity import Capacity
from deployer.core.diff import Diff
from deployer.core.effect import Served
from deployer.core.events import Kind
from deployer.core.live import Live
from deployer.core.record import Result
from deployer.core.types import Desired
from deployer.core.way_back import WayBack

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from deployer.core.gates import Gating
    from deployer.core.history import Entry
    from deployer.core.live import Observation
    from deployer.core.record import Record
    from deployer.core.types import Policy, Release

_DEPLOYS = 10
"""So many good deploys of the same applications are looked back on."""


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
    gating: Gating = gates_of.NONE,
) -> tuple[Gate, ...]:
    """What would keep this release from being deployed now, in the order in which it would be met.

    `upstream` are the records of the daemon's other environments: what is held there failed there.
    """
    desired = Desired(release=release, policy=policy)
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
        idle = rest.waiting(desired, live, record, now, neighbours, gates_of.NONE)
        if not isinstance(idle, rest.Cleared) and not rollouts.is_live(record, release.digest):
            found.append(Gate(what="policy", why=getattr(idle, "reason", "It is measured what is free.")))
    seen = live if isinstance(live, Live) else None
    states = gates_of.gates(desired, seen, record, now, gating, neighbours)
    return (*found, *(Gate(what=one.name, why=one.evidence) for one in gates_of.closed(states)))


def drifted(live: Observation | None, record: Record) -> str | None:
    """How the cluster differs from the release that was brought to it, as a sentence."""
    if not isinstance(live, Live) or record.rollout is not None:
        return None
    found = drift.find(live, record)
    return None if found is None else found[1]
