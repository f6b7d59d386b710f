"""Which messages a fact becomes, and for whom: people, and the forge of the commit's repository.

Owns who is told in this daemon. Must not know how anything is delivered, nor word it: that is the core's.
Invariant: asks nobody and keeps nothing, so that a pass can call it within its transaction; a forge that is
not in the settings is told nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core import commit_status, deployment_news
from deployer.core.announce import announcement
from deployer.core.messages import Message, of_deployments, of_forge

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.core.status import Status


class News:
    """What is told of each environment."""

    def __init__(
        self, statuses: Mapping[str, str] | None = None, deployments: Mapping[str, str] | None = None
    ) -> None:
        """Take the repository of each environment whose forge is told of commits, and of deployments."""
        self._statuses = {name: of_forge(one) for name, one in (statuses or {}).items()}
        self._deployments = {name: of_deployments(one) for name, one in (deployments or {}).items()}

    def of(self, before: Record, event: Event) -> tuple[Message, ...]:
        """What this fact tells, given the record before it."""
        return tuple(self._of(before, event))

    def of_waiting(self, status: Status) -> tuple[Message, ...]:
        """What a status tells that no fact does: for what a commit waits."""
        audience = self._statuses.get(status.environment)
        found = commit_status.waiting(status) if audience is not None else None
        if audience is None or found is None:
            return ()
        return (commit_status.message(status.environment, audience, found),)

    def _of(self, before: Record, event: Event) -> Iterator[Message]:
        said = announcement(before, event)
        if said:
            payload = {"event": event.type, "rollout": getattr(event, "rollout", None)}
            yield Message(text=said, payload=payload)
        audience = self._statuses.get(before.environment)
        if audience is not None:
            for one in commit_status.changes(before, event):
                yield commit_status.message(before.environment, audience, one)
        keeper = self._deployments.get(before.environment)
        if keeper is not None:
            for change in deployment_news.changes(before, event):
                yield deployment_news.message(before.environment, keeper, change)
