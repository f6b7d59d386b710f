"""A store in memory for the state machine, which needs thousands of commits a second.

A fake: `tests/contract/test_store.py` runs the same suite on it and on the real one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.adapters.store import Conflict
from deployer.core.commands import GoodRelease
from deployer.core.events import Good, Started
from deployer.core.gates import BecameGood
from deployer.core.messages import as_message
from deployer.core.record import Record, evolve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from deployer.core.events import Event
    from deployer.core.messages import Told


class MemoryStore:
    """Events by environment, the records folded from them, the outbox, the views."""

    def __init__(self) -> None:
        """Start empty."""
        self.events: dict[str, list[Event]] = {}
        self.records: dict[str, Record] = {}
        self.outbox: list[str] = []
        self.views: dict[str, dict[str, Any]] = {}

    def load(self, environment: str) -> Record:
        """The record; an empty one if there are no events."""
        return self.records.get(environment, Record(environment=environment))

    def commit(self, record: Record, events: Sequence[Event], messages: Sequence[Told] = ()) -> Record:
        """All or nothing, as the port says."""
        if self.load(record.environment).sequence != record.sequence:
            message = f"{record.environment} was changed by somebody else"
            raise Conflict(message)
        after = record
        for event in events:
            after = evolve(after, event)
        self.events.setdefault(record.environment, []).extend(events)
        self.records[record.environment] = after
        self.outbox.extend(as_message(one).text for one in messages)
        return after

    def good_releases(self, environment: str) -> list[GoodRelease]:
        """What became good, newest first."""
        events = self.events.get(environment, [])
        started = {event.rollout: event for event in events if isinstance(event, Started)}
        return [
            GoodRelease(
                rollout=event.rollout,
                release=started[event.rollout].release,
                at=event.at,
                policy=started[event.rollout].policy,
                nonce=started[event.rollout].nonce,
            )
            for event in reversed(events)
            if isinstance(event, Good)
        ]

    def became_good(self, environment: str, commit: str) -> BecameGood | None:
        """When it first did."""
        found = [one for one in self.good_releases(environment) if one.release.revision.commit == commit]
        first = min(found, key=lambda one: one.at, default=None)
        return BecameGood(at=first.at, digest=first.release.digest) if first is not None else None

    def publish(
        self,
        environment: str,
        view: dict[str, Any],
        at: datetime,
        messages: Sequence[Told] = (),
        sequence: int = 0,
    ) -> None:
        """Keep the newest. What it tells is not kept here."""
        self.views[environment] = view
