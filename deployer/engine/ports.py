"""What the engine needs of the outside world, as small protocols. Adapters satisfy them unknowingly.

Owns the shapes of the ports. Must not know any implementation. Invariant: every method that can wait has
a timeout inside it, and every method that promises durability says what is durable once it has returned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from deployer.core.checks import Answer
    from deployer.core.events import Event, LogSource
    from deployer.core.live import Live, Observation
    from deployer.core.messages import Told
    from deployer.core.record import Record, Rollout
    from deployer.core.status import Freshness
    from deployer.core.types import Check, Revision, Wanted


class Cluster(Protocol):
    """One Ray cluster, through Serve's REST API and Serve's own proxy."""

    def observe(self, *, resources: bool = False) -> Observation:
        """Look once. Never raises for what the network or the server does: that is an observation too.

        `resources` also asks for the free ones (`Live.free`); where they are not told, that stays None.
        """

    def apply(self, rollout: Rollout, body: Mapping[str, Any]) -> None:
        """PUT `body` for a rollout whose intent is durable. Returns once the server answered 200.

        Raises `deployer.adapters.serve.Rejected` when the server refused it (a 400), and
        `deployer.adapters.serve.Unclear` when nobody knows whether it was applied (time-out, 5xx, lost
        connection): read back, then decide again. Never repeats the request by itself.
        """

    def remember(self, config: Mapping[str, Any]) -> None:
        """Take the secrets of this config out of every text from now on. Asks nobody."""

    def probe(self, check: Check, live: Live) -> Answer:
        """Make one attempt of a check through Serve's proxy, within its time-out. Never raises."""

    def log_tail(self, source: LogSource) -> str:
        """The end of a replica's log, scrubbed, within 64 KB and 10 s.

        Raises `deployer.adapters.serve.LogUnavailable` with a sentence if it cannot be had.
        """


class Store(Protocol):
    """The events and what is folded from them."""

    def load(self, environment: str) -> Record:
        """The record of an environment; an empty one if it has no events."""

    def commit(self, record: Record, events: Sequence[Event], messages: Sequence[Told] = ()) -> Record:
        """Append events to the history that `record` is the fold of.

        Once it returns: events, the new record, the rollout rows and one outbox row per message are
        durable, all in one transaction. Raises `deployer.adapters.store.Conflict` if somebody else
        wrote meanwhile; then nothing was written.
        """

    def publish(
        self,
        environment: str,
        view: dict[str, Any],
        at: datetime,
        messages: Sequence[Told] = (),
        sequence: int = 0,
    ) -> None:
        """Keep the status for those who read while the daemon is down. Not part of the audit log.

        `messages` are what the status tells that no event does: durable with it, where it is a new one, and
        the log still ends at `sequence`.
        """


class Sources(Protocol):
    """What git wants, published by the threads that own the mirrors."""

    def wanted(self, environment: str) -> Wanted:
        """The newest published state. Never blocks."""

    def runs(self, environment: str, ray_version: str) -> bool:
        """The environment's cluster runs this Ray; whether what is published was checked for it.

        If not, it soon is, and a pass is asked for then. Never blocks.
        """

    def compared(self, environment: str, since: Revision | None) -> bool:
        """The environment wanted `since` last; whether what is published was compared with that.

        If not, it soon is, and a pass is asked for then. Never blocks.
        """

    def freshness(self, environment: str) -> Freshness:
        """When what is published was last known to be true. Never blocks."""
