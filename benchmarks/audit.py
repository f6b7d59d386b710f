"""What the audit log costs: a commit with its chain of hashes, and the check of a million events.

`append`: the commits of a daemon, made to three stores in turns: as they are; with a chain that hashes
nothing (each hash is the same text), which is the store's own cost; and, as the floor, the very same rows
written by Python's sqlite3 alone, with the same pragmas, one transaction for each commit. Once more in
memory, where what is computed is not hidden behind the disk.

`verify`: a store of a million events and five signed checkpoints, checked by each of the two verifiers in a
process of its own that may use one core. Beside them the floor: the same columns read with sqlite3 and
hashed, and nothing compared.
"""

from __future__ import annotations

import os
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from sqlalchemy import Engine, event

from benchmarks import front_page
from deployer.adapters.store import SqlStore
from deployer.adapters.store.sqlite import _WRITING
from deployer.adapters.store.tables import EVENTS
from deployer.core import chain
from deployer.core.merkle import Frontier
from deployer.core.record import Record, evolve
from tests.support import large_store
from tests.support.audited import ORIGIN, SCRIPT, SIGNER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deployer.core.events import Event

_BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
_NAMES = tuple(f"env-{number:02}" for number in range(20))
_WARM = 50
_CHECKPOINTS = 5
_CHECK = str(Path(__file__).with_name("audit_check.py"))
_MEMORY = Path("/dev/shm")  # noqa: S108 - no disk: a commit costs what it computes

Statement = tuple[str, Any]


# --- append -------------------------------------------------------------------------------------------------


def append(commits: int) -> dict[str, Any]:
    """Measure so many commits, on a disk that has to keep them, and where nothing waits for a disk."""
    found = {"disk": _measured(None, commits)}
    if _MEMORY.is_dir():
        found["memory"] = _measured(_MEMORY, commits)
    return {"commits": commits, **found}


def _measured(where: Path | None, commits: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=where) as folder:
        walls, events, rows = _appended(Path(folder), commits + _WARM)
    median = {name: statistics.median(found[_WARM:]) for name, found in walls.items()}
    return {
        "events_per_commit": round(events / (commits + _WARM), 2),
        "rows_per_commit": round(rows / (commits + _WARM), 2),
        **{name: _milliseconds(found[_WARM:]) for name, found in walls.items()},
        "ratio_to_store_without_chain": round(median["store"] / median["store_without_chain"], 3),
        "ratio_to_plain_sqlite": round(median["store"] / median["plain_sqlite"], 3),
        "ratio_a_a": round(median["store"] / median["store_again"], 3),
    }


def _appended(folder: Path, commits: int) -> tuple[dict[str, list[float]], int, int]:
    walls: dict[str, list[float]] = {}
    events = rows = 0
    names = ("store", "store_without_chain", "store_again")
    with (
        closing(SqlStore.open(folder / "store.db")) as store,
        closing(SqlStore.open(folder / "bare.db")) as bare,
        closing(SqlStore.open(folder / "again.db")) as again,
        closing(_plain(folder / "plain.db")) as plain,
        _written() as statements,
    ):
        records = {name: {one: Record(environment=one) for one in _NAMES} for name in names}
        stores = {"store": store, "store_without_chain": bare, "store_again": again}
        turn = random.Random(1)  # noqa: S311 - the same in every run
        for batch, name in _batches(commits):
            # In turns, as what was written last keeps the disk busy.
            for which in turn.sample(names, 3):
                statements.clear()
                with _unchained(which == "store_without_chain"):
                    began = time.perf_counter()
                    records[which][name] = stores[which].commit(records[which][name], batch)
                    walls.setdefault(which, []).append(time.perf_counter() - began)
            walls.setdefault("plain_sqlite", []).append(_replayed(plain, statements))
            events, rows = events + len(batch), rows + len(statements)
    return walls, events, rows


def _batches(commits: int) -> Iterator[tuple[Sequence[Event], str]]:
    """What a daemon commits, of some environments in turn, each with its history."""
    chance = random.Random(20261124)  # noqa: S311 - the same in every run
    records = {name: Record(environment=name) for name in _NAMES}
    now, made = _BEGAN, 0
    while True:
        for name in _NAMES:
            now += timedelta(minutes=10)
            for batch in large_store._attempt(chance, records[name], now):  # noqa: SLF001 - its history
                for one in batch:
                    records[name] = evolve(records[name], one)
                yield batch, name
                made += 1
                if made == commits:
                    return


@contextmanager
def _unchained(is_so: bool) -> Iterator[None]:  # noqa: FBT001 - one of two ways
    if not is_so:
        yield
        return
    with mock.patch.object(chain, "link", lambda *_: chain.GENESIS):  # noqa: PT008 - a mock takes longer
        yield


@contextmanager
def _written() -> Iterator[list[Statement]]:
    """Every row that is written to any store, as SQLite is given it."""
    found: list[Statement] = []

    def note(_connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, many: bool) -> None:  # noqa: ANN401, FBT001 - SQLAlchemy's
        if statement.startswith(("INSERT", "UPDATE")):
            found.extend((statement, one) for one in (values if many else [values]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _plain(path: Path) -> sqlite3.Connection:
    SqlStore.open(path).close()
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in _WRITING:
        connection.execute(pragma)
    return connection


def _replayed(plain: sqlite3.Connection, statements: list[Statement]) -> float:
    began = time.perf_counter()
    plain.execute("BEGIN IMMEDIATE")
    for statement, values in statements:
        # Its rows are read, where it gives any: SQLite does not end a statement before that.
        plain.execute(statement, values).fetchall()
    plain.execute("COMMIT")
    return time.perf_counter() - began


# --- verify -------------------------------------------------------------------------------------------------


def verify(rollouts: int) -> dict[str, Any]:
    """Measure with so many rollouts of each of the 500 environments of `front_page`."""
    store = front_page.made(rollouts)
    rounds = 3 if rollouts > 100 else 1
    with tempfile.TemporaryDirectory() as folder:
        notes, key = Path(folder, "notes.txt"), Path(folder, "key.pub")
        notes.write_text(_signed(store))
        key.write_text(f"{SIGNER.key.line} ada@example.com\n")
        with_anchors = ["--checkpoint", str(notes), "--key", str(key)]
        ways: dict[str, Callable[[], float]] = {
            "core.audit": lambda: _one_core([_CHECK, "ours", str(store), str(notes), str(key)]),
            "contrib/verify-audit.py": lambda: _one_core([str(SCRIPT), str(store), *with_anchors]),
            "contrib, without checkpoints": lambda: _one_core([str(SCRIPT), str(store)]),
            "floor": lambda: _one_core([_CHECK, "floor", str(store)]),
        }
        found: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, measure in ways.items():
                found.setdefault(name, []).append(measure())
    best = {name: min(seconds) for name, seconds in found.items()}
    return {
        "events": front_page.count(store, EVENTS),
        "checkpoints": _CHECKPOINTS,
        "cpu_seconds": {
            name: {"median": round(statistics.median(seconds), 2), "best": round(min(seconds), 2)}
            for name, seconds in found.items()
        },
        "ratio_to_floor": {name: round(best[name] / best["floor"], 2) for name in best if name != "floor"},
    }


def _one_core(arguments: list[str]) -> float:
    """CPU seconds of a process of its own, which has to end well."""
    before = os.times()
    ended = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        preexec_fn=lambda: os.sched_setaffinity(0, {max(os.sched_getaffinity(0))}),
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    after = os.times()
    if ended.returncode != 0:
        raise RuntimeError(ended.stdout + ended.stderr)
    return after.children_user + after.children_system - before.children_user - before.children_system


def _signed(store: Path) -> str:
    """Checkpoints as they are signed while a log grows."""
    frontier, notes = Frontier(), []
    with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as connection:
        (events,) = connection.execute("SELECT count(*) FROM events").fetchone()
        sizes = {events * number // _CHECKPOINTS for number in range(1, _CHECKPOINTS + 1)}
        for (hash_,) in connection.execute("SELECT hash FROM events ORDER BY id"):
            frontier.append(bytes.fromhex(hash_))
            if frontier.size in sizes:
                notes.append(SIGNER.note(ORIGIN, frontier.size, frontier.root).text)
    return "".join(notes)


def _milliseconds(walls: list[float]) -> dict[str, float]:
    return {
        "median_ms": round(statistics.median(walls) * 1000, 3),
        "best_ms": round(min(walls) * 1000, 3),
    }
