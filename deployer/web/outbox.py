"""What people may see and do about messages that were not delivered.

Owns the list, and what may be done to a dead letter. Must not deliver anything, nor know who asks. Invariant:
only a dead letter is tried again or dropped; whatever is done to one is in the daemon's log with who did it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import structlog

from deployer.core.redact import one_line
from deployer.core.times import timestamp
from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from deployer.adapters.store import OutboxStore
    from deployer.adapters.store.letters import Letter

ALL = "all"
"""Instead of an id: every dead letter."""

log = structlog.get_logger(__name__)


class Desk:
    """The outbox for people. Thread-safe."""

    def __init__(
        self,
        store: OutboxStore,
        targets: Mapping[str, str],
        *,
        wake: Callable[[Collection[str]], None],
        now: Callable[[], datetime],
    ) -> None:
        """Take the targets of this daemon, each with its audience; `wake` has some of them looked after."""
        self._store = store
        self._targets = dict(targets)
        self._wake = wake
        self._now = now

    def listed(self) -> dict[str, Any]:
        """How each target stands, and the dead letters, newest first."""
        states = {one.name: one for one in self._store.targets()}
        targets = []
        for name, audience in self._targets.items():
            waiting, state = self._store.waiting(name, audience), states.get(name)
            targets.append(
                {
                    "name": name,
                    "waiting": waiting.count,
                    "oldest_at": timestamp(waiting.oldest_at),
                    "dead": waiting.dead,
                    "attempts": state.attempts if state is not None else 0,
                    "next_at": timestamp(state.next_at) if state is not None else None,
                    "why": (state.why or None) if state is not None else None,
                    "delivered_at": timestamp(state.delivered_at) if state is not None else None,
                }
            )
        return {"targets": targets, "dead": [_shown(one) for one in self._store.letters()]}

    def retry(self, id_: str, *, target: str | None, actor: str, reason: str) -> dict[str, Any]:
        """Have dead letters offered to their targets again. Raises Problem if there is none of that id."""
        letters = self._letters(id_, target)
        self._store.revive(letters, self._now())
        self._wake({one.target for one in letters})
        return self._told("retried", letters, actor, reason)

    def drop(self, id_: str, *, target: str | None, actor: str, reason: str) -> dict[str, Any]:
        """Forget dead letters. Raises Problem if there is none of that id."""
        letters = self._letters(id_, target)
        self._store.drop(letters)
        return self._told("dropped", letters, actor, reason)

    def _letters(self, id_: str, target: str | None) -> list[Letter]:
        found = self._store.letters() if id_ == ALL else self._store.letters_of([int(id_)])
        found = [one for one in found if target is None or one.target == target]
        if not found and id_ != ALL:
            whose = f" of {one_line(target)}" if target is not None else ""
            detail = f"There is no dead letter {id_}{whose}: `deployer outbox list` shows them."
            raise Problem(HTTPStatus.NOT_FOUND, detail, exit_code=USAGE)
        return found

    def _told(self, what: str, letters: list[Letter], actor: str, reason: str) -> dict[str, Any]:
        log.info(
            "dead_letters_handled",
            what=what,
            ids=sorted({one.id for one in letters}),
            targets=sorted({one.target for one in letters}),
            actor=actor,
            reason=one_line(reason),
        )
        return {what: [_shown(one) for one in letters]}


def _shown(one: Letter) -> dict[str, Any]:
    return {
        "id": one.id,
        "target": one.target,
        "environment": one.environment,
        "kind": one.kind,
        "message": one.message,
        "created_at": timestamp(one.created_at),
        "died_at": timestamp(one.died_at),
        "attempts": one.attempts,
        "why": one.why,
    }
