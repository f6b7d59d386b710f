"""The first page's model: every environment as it was last published, with its newest rollouts as bars.

Owns what is kept in memory between two looks at that page. Must not know what a status means. Invariant: what
is kept is thrown away as soon as the store has something newer, whoever wrote it: bars by the ids of events,
which only grow, and statuses by the time of their look. What is handed out is shared: nobody may change it.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from deployer.adapters.store import StoreCorrupt, codec
from deployer.core.telling import unseen

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from deployer.adapters.store.search import Bar, Search

_BARS = 20
"""Newest rollouts of an environment."""


class Overview:
    """The statuses and the bars. Thread-safe."""

    def __init__(self, search: Search, environments: Sequence[str]) -> None:
        """`environments` are those of the settings, in their order; others are not shown."""
        self._search = search
        self._environments = tuple(environments)
        self._bars = _Bars(search, environments)
        # By environment. Written by any thread: each entry is whole, and none is worse than another.
        self._shown: dict[str, _Shown] = {}

    def environments(self, names: Collection[str] | None) -> list[dict[str, Any]]:
        """Each status with its `bars`; `names` None is all of them.

        As long as nothing has changed it is the very same object, so that what was made of it can be kept.
        """
        wanted = [name for name in self._environments if names is None or name in names]
        return self._looked_up(wanted, self._search.looks())

    def one(self, name: str) -> dict[str, Any]:
        """One of them."""
        return self._looked_up([name], self._search.looks(name))[0]

    def _looked_up(self, names: Sequence[str], looks: Mapping[str, str]) -> list[dict[str, Any]]:
        bars = self._bars.all()
        shown = {name: self._shown.get(name) for name in names}
        # Whoever publishes another status also publishes when it was seen.
        news = [
            name for name, one in shown.items() if name in looks and (one is None or one.at != looks[name])
        ]
        views = self._search.views(news) if news else {}
        found = []
        for name in names:
            one, its_bars = shown[name], bars.get(name, _NO_BARS)
            if name in views or one is None or one.bars is not its_bars:
                at, text, view = (one.at, one.text, one.view) if one is not None else ("", "", unseen(name))
                if name in views:
                    at, text = views[name]
                    # Every status gets a new time every 10 s, and most say what they said before.
                    said = view if one is not None and one.text == text else _decoded(name, text)
                    view = {**said, "observed_at": milliseconds(at)}
                one = _Shown(at=at, text=text, view=view, bars=its_bars, whole={**view, "bars": its_bars})
                self._shown[name] = one
            found.append(one.whole)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What was shown of an environment last: when it was seen, the status, the bars, and both as one.

    `text` is the status as it is stored.
    """

    at: str
    text: str
    view: dict[str, Any]
    bars: list[dict[str, Any]]
    whole: dict[str, Any]


_NO_BARS: list[dict[str, Any]] = []


def _decoded(name: str, text: str) -> dict[str, Any]:
    try:
        view: dict[str, Any] = json.loads(text)
    except ValueError as error:
        message = f"the published status of {name} cannot be read: {error}. Restore a backup."
        raise StoreCorrupt(message) from error
    return view


class _Bars:
    """The newest rollouts of every environment, read anew where something happened since."""

    def __init__(self, search: Search, environments: Sequence[str]) -> None:
        self._search = search
        self._stale = frozenset(environments)
        self._known = frozenset(environments)
        self._newest = -1
        self._bars: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def all(self) -> dict[str, list[dict[str, Any]]]:
        """By environment, oldest first."""
        with self._lock:
            # Read first: what is written meanwhile has a higher id, and is read again next time.
            newest = self._search.newest_event()
            if newest != self._newest:
                changed = self._search.changed_since(self._newest) if self._newest >= 0 else self._known
                stale = changed & self._known
                if stale:
                    found = self._search.bars(stale, _BARS)
                    fresh = {name: [_bar(bar) for bar in found.get(name, [])] for name in stale}
                    # A new dictionary: somebody may be reading the one before.
                    self._bars = {**self._bars, **fresh}
                self._newest = newest
            return self._bars


def _bar(bar: Bar) -> dict[str, Any]:
    took = None
    if bar.finished_at is not None:
        span = codec.unstamp(bar.finished_at) - codec.unstamp(bar.started_at)
        took = max(span, timedelta()).total_seconds()
    return {
        "id": bar.id,
        "kind": bar.kind,
        "result": bar.result,
        "took_seconds": took,
        "started_at": milliseconds(bar.started_at),
    }


def milliseconds(stamp: str) -> str:
    """A time as the store keeps it, as the JSON has it: `2026-11-22T10:42:00.123456Z` without `456`."""
    return f"{stamp[:-4]}Z"
