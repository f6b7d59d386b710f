"""`deployer history ENV --at TIME`, and the filters of history and log, over a million events.

Each question is asked of the store in process, as the API and the command line ask it, of random
environments, people, commits and times. Beside it, in turns, its floor: the same rows by their primary keys,
which somebody would have to know, with Python's own sqlite3 and json. Once over 500 environments, and `--at`
once more where one environment has all of it, which is the longest walk that there can be.

The stores take many minutes to make, so they are kept in the folder for temporary files, by what makes them.
"""

from __future__ import annotations

import json
import random
import sqlite3
import statistics
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from benchmarks import front_page
from benchmarks.site import percentile
from deployer.adapters.store import SqlStore
from deployer.adapters.store.filters import EventFilter, RolloutFilter
from deployer.adapters.store.moments import Moments
from deployer.adapters.store.search import Search
from deployer.adapters.store.tables import EVENTS, RECORDS, ROLLOUTS
from deployer.core.past_told import to_json
from tests.support import large_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime
    from pathlib import Path

    from deployer.adapters.store import SqlReader
    from deployer.core.history import Entry, Summary

_ENVIRONMENTS = 500
_ROUNDS = 100
_WARM = 5
_PAGE = 51
"""As the API reads for a page of 50: one more, to know whether there are more."""

_BY_KEY = {
    "rollouts": "SELECT data FROM rollouts WHERE id = ?",
    "events": "SELECT data FROM events WHERE id = ?",
}

Rows = tuple[str, tuple[str | int, ...]]
"""What an answer was made of: a table, and the keys of its rows."""


def run(rollouts: int) -> dict[str, Any]:
    """Measure with so many rollouts in the store."""
    fleet = front_page.made(max(1, rollouts // _ENVIRONMENTS), _ENVIRONMENTS)
    one = front_page.made(rollouts, 1)
    rounds = _ROUNDS if rollouts >= 100_000 else 5
    found = {"fleet": _measured(fleet, rounds), "one_environment": _measured(one, rounds, only=("at",))}
    slowest = max(told["p99_ms"] for site in found.values() for told in site["questions"].values())
    return {**found, "slowest_p99_ms": slowest}


def _measured(path: Path, rounds: int, only: Iterable[str] = ()) -> dict[str, Any]:
    with closing(SqlStore.open_readonly(path)) as store, closing(_floor_of(path)) as floor:
        asked = _Asked(store)
        questions = {name: ask for name, ask in asked.questions().items() if not only or name in only}
        walls: dict[str, list[float]] = {name: [] for name in questions}
        floors: dict[str, list[float]] = {name: [] for name in questions}
        for number in range(rounds + _WARM):
            for name, ask in questions.items():
                began = time.perf_counter()
                rows = ask()
                wall = time.perf_counter() - began
                began = time.perf_counter()
                _read(floor, rows)
                least = time.perf_counter() - began
                if number >= _WARM:
                    walls[name].append(wall)
                    floors[name].append(least)
        return {
            "events": front_page.count(path, EVENTS),
            "rollouts": front_page.count(path, ROLLOUTS),
            "questions": {name: _told(walls[name], floors[name]) for name in questions},
        }


def _told(walls: list[float], floors: list[float]) -> dict[str, float]:
    return {
        "median_ms": round(statistics.median(walls) * 1000, 2),
        "p99_ms": round(percentile(walls, 0.99) * 1000, 2),
        "floor_median_ms": round(statistics.median(floors) * 1000, 3),
        "ratio_to_floor": round(statistics.median(walls) / statistics.median(floors), 1),
    }


class _Asked:
    """Questions of a store, each of something else every time."""

    def __init__(self, store: SqlReader) -> None:
        self._search, self._moments = Search(store.database), Moments(store.database)
        self._chance = random.Random(20261123)  # noqa: S311 - the same in every run
        with store.database.reading() as connection:
            self._names = list(connection.scalars(select(RECORDS.c.environment)))
            some = select(ROLLOUTS.c.id).where(ROLLOUTS.c.number % 7 == 3).limit(2000)
            ids = list(connection.scalars(some))
        sample = self._chance.sample(ids, min(200, len(ids)))
        found = (self._search.rollout(one) for one in sample)
        self._entries = [one.entry for one in found if one is not None]
        times = [one.started_at for one in self._entries]
        self._first, self._last = min(times), large_store.END

    def questions(self) -> dict[str, Callable[[], Rows]]:
        """By name: what asks it, and tells what rows the answer was made of."""

        def listed(**of: Callable[[], Any]) -> Callable[[], Rows]:
            return lambda: self._rollouts(**{name: value() for name, value in of.items()})

        def logged(**of: Callable[[], Any]) -> Callable[[], Rows]:
            return lambda: self._events(**{name: value() for name, value in of.items()})

        release = self._release
        return {
            "at": lambda: self._at(self._time()),
            "at_now": lambda: self._at(self._last),
            "history": listed(),
            "history_environment": listed(environment=self._name),
            "history_kind": listed(kind=lambda: "restore"),
            "history_result": listed(result=lambda: "superseded"),
            "history_author": listed(author=lambda: release().author.partition(" <")[0]),
            "history_revision": listed(revision=lambda: release().revision[:7]),
            "history_digest": listed(digest=lambda: release().digest),
            "history_until": listed(until=self._time),
            "history_environment_until": listed(environment=self._name, until=self._time),
            "history_several": listed(environment=self._name, kind=lambda: "deploy", result=lambda: "failed"),
            "audit": logged(),
            "audit_environment": logged(environment=self._name),
            "audit_actor": logged(actor=lambda: self._chance.choice(("ada", "person-07"))),
            "audit_rare_type": logged(type=lambda: self._chance.choice(("paused", "drifted", "cancelled"))),
            "audit_frequent_type": logged(type=lambda: "good", until=self._time),
            "audit_rollout": logged(rollout=lambda: self._entry().id),
            "audit_revision": logged(revision=lambda: release().revision[:9]),
            "audit_digest": logged(digest=lambda: release().digest),
            "audit_result": logged(result=lambda: "cancelled"),
            # Of a deploy that failed before it was healthy there is none, in a store where none did so later.
            "audit_nothing": logged(
                type=lambda: self._chance.choice(("healthy", "checked")), result=lambda: "failed"
            ),
            "audit_until": logged(until=self._time),
            "audit_several": logged(environment=self._name, type=lambda: "failed", until=self._time),
        }

    def _at(self, moment: datetime) -> Rows:
        found, who = self._moments.at(self._name(), moment)
        to_json(found, who)
        entries = [
            found.live.rollout if found.live is not None else None,
            found.attempt.rollout if found.attempt is not None else None,
            found.following,
            who.deploy if who is not None else None,
        ]
        return "rollouts", tuple({one.id for one in entries if one is not None})

    def _rollouts(self, **wanted: Any) -> Rows:  # noqa: ANN401 - each filter has its own type
        found = self._search.rollouts(RolloutFilter(**wanted), limit=_PAGE)
        return "rollouts", tuple(one.entry.id for one in found)

    def _events(self, **wanted: Any) -> Rows:  # noqa: ANN401 - likewise
        found = self._search.events(EventFilter(**wanted), limit=_PAGE)
        return "events", tuple(one.id for one in found)

    def _entry(self) -> Entry:
        return self._chance.choice(self._entries)

    def _release(self) -> Summary:
        return self._entry().release

    def _name(self) -> str:
        return str(self._chance.choice(self._names))

    def _time(self) -> datetime:
        return self._first + (self._last - self._first) * self._chance.random()


def _floor_of(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _read(floor: sqlite3.Connection, rows: Rows) -> None:
    table, keys = rows
    for key in keys:
        for (data,) in floor.execute(_BY_KEY[table], (key,)):
            json.loads(data)
