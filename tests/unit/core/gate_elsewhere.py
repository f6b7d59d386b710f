"""Another environment of the world of `gated_world.py`: what happens there, and what that proves.

What happens are real events on a real record. What they prove is read from those, and not by `gates.prove`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.core import commands
from deployer.core.events import (
    Applied,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    Observed,
    Seen,
    Started,
)
from deployer.core.record import Record, Result, evolve
from deployer.core.types import Policy
from tests.support.memory_store import MemoryStore

if TYPE_CHECKING:
    from datetime import datetime

    from deployer.core.events import Event
    from deployer.core.types import Release


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """One. `digests` are what every commit says there."""

    name: str
    store: MemoryStore
    digests: Mapping[str, str]

    def happens(self, release: Release, what: str, now: datetime) -> None:
        """It sees this commit, tries it, and that ends well or not; or somebody takes the newest back."""
        record = self.store.load(self.name)
        events: list[Event] = []
        if what == "takes back":
            goods = self.store.good_releases(self.name)
            answer = commands.rollback(record, to=None, releases=goods, actor="ada", reason="no", now=now)
            events += answer.events if isinstance(answer, commands.Accepted) else ()
        elif record.rollout is None:
            events += [Seen(at=now, release=release)]
            hold = record.hold_of(release.digest)
            if what != "sees" and hold is None and record.asked is None:
                rollout, policy = record.next_rollout_id(), Policy()
                started = Started(
                    at=now,
                    rollout=rollout,
                    kind=Kind.DEPLOY,
                    release=release,
                    policy=policy,
                    trigger="test",
                )
                events += [started, Applied(at=now, rollout=rollout)]
        after = record
        for event in events:
            after = evolve(after, event)
        if what in {"good", "fails"}:
            events += _end(after, now, is_good=what == "good")
        self.store.commit(record, events)

    def proved(self, commit: str) -> datetime | None:
        """Since when the commit is good there."""
        record, digest = self.store.load(self.name), self.digests[commit]
        known = [one for one in self.store.good_releases(self.name) if one.release.revision.commit == commit]
        if any(one.release.revision.commit == commit for one in record.held):
            return None
        if known:
            is_held = any(one.digest == digest for one in record.held)
            return None if is_held else min(one.at for one in known)
        seen, good, last = record.seen, record.good, record.last
        is_wanted = seen is not None and seen.revision.commit == commit and record.refused is None
        is_the_same = is_wanted and good is not None and good.digest == digest
        is_at_rest = record.rollout is None and record.asked is None
        is_well = last is not None and last.result is Result.GOOD
        return record.good_at if is_the_same and is_at_rest and is_well else None


def _end(record: Record, now: datetime, *, is_good: bool) -> list[Event]:
    """The end of what is in flight, if anything is. A good digest is never held."""
    rollout = record.rollout
    if rollout is None:
        return []
    if is_good:
        settled = Observed(at=now, rollout=rollout.id, states=(), settled=True)
        return [settled, Healthy(at=now, rollout=rollout.id), Good(at=now, rollout=rollout.id)]
    failure = Failure(failure_class=FailureClass.CODE, message="fruit / D: ValueError: bad price")
    failed = Failed(at=now, rollout=rollout.id, failure=failure)
    is_held = record.good is None or record.good.digest != rollout.release.digest
    return [failed, *([Held(at=now, rollout=rollout.id, reason=failure.message)] if is_held else [])]
