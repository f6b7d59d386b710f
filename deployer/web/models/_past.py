"""What happened: rollouts with filters, releases, the audit log.

Owns how these are shaped for the faces. Must not decide who may see them: the caller says which environments.
Invariant: a page and the pages after it hold each row that was there exactly once, however many are added
meanwhile.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from deployer.adapters.store.filters import EventFilter, RolloutFilter
from deployer.core import history, telling
from deployer.core.record import Result
from deployer.core.status import live_release
from deployer.core.times import timestamp
from deployer.web.models import _masks as masks
from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from deployer.adapters.store.search import Logged, Search
    from deployer.core.history import Entry
    from deployer.web.models._ports import Store

_CURSOR_DIGITS = 18
"""SQLite's ids have 63 bits."""


class Past:
    """The history and the log, for reading. Thread-safe."""

    def __init__(self, store: Store, search: Search) -> None:
        """Take what is read."""
        self._store = store
        self._search = search

    def rollouts(self, wanted: RolloutFilter, *, limit: int, before: str | None) -> dict[str, Any]:
        """A page of history, newest first."""
        place = cursor(before)
        found = self._search.rollouts(wanted, limit=limit + 1, before=place)
        page = found[:limit]
        return {
            "items": [history.to_json(one.entry) for one in page],
            "next": str(page[-1].place) if len(found) > limit else None,
        }

    def releases(self, environment: str, *, limit: int, before: str | None) -> dict[str, Any]:
        """What became good, newest first. What a heal or a restore brought back was good before."""
        record = self._store.load(environment)
        live = live_release(record)
        wanted = RolloutFilter(
            environment=environment, result=Result.GOOD.value, kinds=("deploy", "rollback")
        )
        found = self._search.rollouts(wanted, limit=limit + 1, before=cursor(before))
        page = found[:limit]
        return {
            "items": [_release(one.entry, live.digest if live else None) for one in page],
            "next": str(page[-1].place) if len(found) > limit else None,
        }

    def audit(self, wanted: EventFilter, *, limit: int) -> dict[str, Any]:
        """A page of the log. `next` goes on where it ends: for `before`, or `after` if that was given."""
        found = self._search.events(wanted, limit=limit + 1)
        page = found[:limit]
        return {
            "items": [_logged(one, wanted.environments) for one in page],
            "next": str(page[-1].id) if len(found) > limit else None,
        }


def cursor(text: str | None) -> int | None:
    """The place that a page ended at. Raises Problem for what no page gave."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _CURSOR_DIGITS):
        detail = "This is no cursor of this list. Take `next` of the page before, or begin without one."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, exit_code=USAGE)
    return int(text)


def _release(entry: Entry, live: str | None) -> dict[str, Any]:
    return {
        "rollout": entry.id,
        "kind": entry.kind.value,
        "revision": entry.release.revision,
        "subject": entry.release.subject,
        "author": entry.release.author,
        "digest": entry.release.digest,
        "at": timestamp(entry.finished_at),
        "is_live": entry.release.digest == live,
    }


def _logged(one: Logged, visible: Collection[str] | None) -> dict[str, Any]:
    event = masks.event(one.event, visible)
    return {
        "id": one.id,
        "environment": one.environment,
        "sequence": one.sequence,
        "type": event.type,
        "at": timestamp(event.at),
        "actor": event.actor,
        "reason": event.reason,
        "rollout": one.rollout or None,
        "hash": one.hash,
        "says": telling.says(event),
    }
