"""Which messages a fact becomes, and for whom: people, routes, and the forge of the commit's repository.

Owns who is told in this daemon. Must not know how anything is delivered, nor word it: that is the core's.
Invariant: asks nobody but the store, so that a pass can call it; who is not in the settings is told nothing.
What routes were told is kept for each environment, with the place in its log that it is of: where that is not
the place of the record that comes, it is worked out anew from the log.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from deployer.core import commit_status, deployment_news, notices
from deployer.core import routes as routing
from deployer.core.announce import announcement
from deployer.core.events import DAEMON_LOG
from deployer.core.messages import Message, of_deployments, of_forge
from deployer.core.notices import Memory
from deployer.core.record import Record, evolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from deployer.core.events import Event
    from deployer.core.routes import Route
    from deployer.core.status import Status


class News:
    """What is told of each environment."""

    def __init__(
        self,
        statuses: Mapping[str, str] | None = None,
        deployments: Mapping[str, str] | None = None,
        *,
        routes: Sequence[Route] = (),
        history: Callable[[str], Iterable[Event]] = lambda _: (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take the repository of each environment whose forge is told of commits, and of deployments.

        `routes` are told notices. `history` has every event of an environment, the oldest first.
        """
        self._statuses = {name: of_forge(one) for name, one in (statuses or {}).items()}
        self._deployments = {name: of_deployments(one) for name, one in (deployments or {}).items()}
        self._routes = tuple(routes)
        self._history = history
        self._now = now
        self._known: dict[str, tuple[int, Memory]] = {}

    def of(self, before: Record, event: Event) -> tuple[Message, ...]:
        """What this fact tells, given the record before it."""
        return tuple(self._of(before, event))

    def of_waiting(self, status: Status) -> tuple[Message, ...]:
        """What a status tells that no fact does: for what a commit waits."""
        audience = self._statuses.get(status.environment)
        if audience is None and not self._routes:
            return ()
        found = commit_status.waiting(status)
        if found is None:
            return ()
        told = [] if audience is None else [commit_status.message(status.environment, audience, found)]
        if self._routes:
            notice = notices.waiting(status, found, self._now())
            mark = f"{found.commit} {found.waits_for}"
            told += [
                routing.message(route, notice, key=f"waiting {status.environment}", mark=mark)
                for route in self._routes
                if routing.takes(route, notice)
            ]
        return tuple(told)

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
        if self._routes and before.environment != DAEMON_LOG:
            yield from self._told(before, event)

    def _told(self, before: Record, event: Event) -> Iterator[Message]:
        memory, told = notices.step(self._memory(before), before, event)
        self._known[before.environment] = (before.sequence + 1, memory)
        for notice in told:
            for route in self._routes:
                if routing.takes(route, notice):
                    yield routing.message(route, notice)

    def _memory(self, before: Record) -> Memory:
        """What is known to be wrong at this place of the log."""
        place, memory = self._known.get(before.environment, (0, Memory()))
        if place == before.sequence:
            return memory
        # After a start; or the events that came last were not written after all.
        record, memory = Record(environment=before.environment), Memory()
        for event in islice(self._history(before.environment), before.sequence):
            memory, _ = notices.step(memory, record, event)
            record = evolve(record, event)
        return memory
