"""The audit log by result, commit, digest and rollout: what a look at every event finds, but by indexes."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from deployer.adapters.store import SqlStore
from deployer.adapters.store.filters import EventFilter
from deployer.adapters.store.search import Search
from deployer.core.events import Failed, Held, LogKept, LogSource, Paused, RollbackAsked, Seen
from tests.contract.histories import BROKEN, failing, good, overtaken, play, rollback, started
from tests.support import large_store
from tests.support.build import at, release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from deployer.adapters.store.reader import StoredEvent
    from deployer.core.history import Entry

RESULTS = ("in_progress", "good", "failed", "superseded", "cancelled")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as it is after years, with two rollouts that are in progress, in two environments."""
    file = tmp_path_factory.mktemp("old") / "deployer.db"
    names = large_store.make(file, environments=12, rollouts=25, seed=7)
    with closing(SqlStore.open(file)) as store:
        for name in names[:2]:
            record = store.load(name)
            store.commit(record, [started(record, release(name))])
    return file


@pytest.fixture(scope="module")
def store(path: Path) -> Iterator[SqlStore]:
    """The same, open; nobody changes it."""
    with closing(SqlStore.open(path)) as opened:
        yield opened


@pytest.fixture(scope="module")
def log(store: SqlStore) -> list[StoredEvent]:
    """All events, newest first."""
    return store.events(limit=100_000)[::-1]


@pytest.fixture(scope="module")
def entries(store: SqlStore) -> dict[str, Entry]:
    """Every rollout."""
    return {entry.id: entry for entry in store.history(limit=100_000)}


def rollout_of(stored: StoredEvent) -> str:
    """The rollout that an event is of; empty if it is of none."""
    return getattr(stored.event, "rollout", "")


def ended(stored: StoredEvent, entries: dict[str, Entry], result: str) -> bool:
    """Whether its rollout ended so."""
    name = rollout_of(stored)
    return bool(name) and entries[name].result.value == result


CASES: list[tuple[str, dict[str, Any], Callable[[StoredEvent], bool]]] = [
    ("nothing else", {}, lambda _: True),
    ("environment", {"environment": "env-003"}, lambda x: x.environment == "env-003"),
    (
        "environments",
        {"environments": {"env-003", "env-001"}},
        lambda x: x.environment in {"env-003", "env-001"},
    ),
    ("frequent type", {"type": "observed"}, lambda x: x.event.type == "observed"),
    ("rare type", {"type": "held"}, lambda x: x.event.type == "held"),
    ("its end", {"type": "failed"}, lambda x: x.event.type == "failed"),
    ("an end", {"type": "good"}, lambda x: x.event.type == "good"),
    ("of no rollout", {"type": "seen"}, lambda x: x.event.type == "seen"),
    ("daemon", {"actor": "deployer"}, lambda x: x.event.actor == "deployer"),
    ("author", {"actor": "Person 07"}, lambda x: x.event.actor.startswith("Person 07 <")),
    ("nobody", {"actor": "nobody"}, lambda _: False),
    ("rollout", {"rollout": "env-003#4"}, lambda x: rollout_of(x) == "env-003#4"),
]


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("short", [20_000, 3], ids=["few", "many"])
@pytest.mark.parametrize(("arguments", "fits"), [pytest.param(*one[1:], id=one[0]) for one in CASES])
def test_events_of_rollouts_that_ended_so(
    store: SqlStore,
    log: list[StoredEvent],
    entries: dict[str, Entry],
    arguments: dict[str, Any],
    fits: Callable[[StoredEvent], bool],
    result: str,
    short: int,
) -> None:
    """Exactly those, whole or page by page, in both directions, of a period too, whatever else is asked."""
    search = Search(store.database, short=short)
    expected = [x.id for x in log if fits(x) and ended(x, entries, result)]
    wanted = {**arguments, "result": result}

    assert ids(search, wanted, 100_000) == expected
    assert page_by_page(search, wanted, "before", 7) == expected
    assert page_by_page(search, wanted, "after", 7) == expected[::-1]
    middle = log[len(log) // 2]
    part = {"after": middle.id - 150, "before": middle.id}
    between = [number for number in expected[::-1] if part["after"] < number < part["before"]]
    assert ids(search, {**wanted, **part}, 1000) == between
    since, until = middle.event.at - timedelta(days=60), middle.event.at
    period = [x.id for x in log if fits(x) and ended(x, entries, result) and since <= x.event.at < until]
    assert ids(search, {**wanted, "since": since, "until": until}, 1000) == period
    early = [x.id for x in log if fits(x) and ended(x, entries, result) and x.event.at < until]
    assert ids(search, {**wanted, "until": until}, 5) == early[:5]
    assert ids(search, {**wanted, "until": log[-1].event.at - timedelta(days=1)}, 5) == []


def ids(search: Search, wanted: dict[str, Any], limit: int) -> list[int]:
    """What is found."""
    return [one.id for one in search.events(EventFilter(**wanted), limit=limit)]


def page_by_page(search: Search, wanted: dict[str, Any], way: str, size: int) -> list[int]:
    """What is found by going on from each page."""
    found: list[int] = []
    place = {"after": 0} if way == "after" else {}
    while page := ids(search, {**wanted, **place}, size):
        found += page
        place = {way: page[-1]}
    return found


def test_what_may_not_be_seen_is_not_found(store: SqlStore) -> None:
    """Nor is it looked for."""
    search = Search(store.database)
    for hidden in (
        EventFilter(result="good", environments=frozenset()),
        EventFilter(result="good", environment="env-003", environments={"env-001"}),
    ):
        assert search.events(hidden, limit=5) == []


def test_a_result_narrows_a_release_down(
    store: SqlStore, log: list[StoredEvent], entries: dict[str, Entry]
) -> None:
    """To the events of its rollouts that ended so: others that are about it have no result."""
    search = Search(store.database)
    entry = next(one for one in entries.values() if one.result.value == "failed")
    of_it = [x.id for x in log if rollout_of(x) and same(entries[rollout_of(x)], entry)]
    for name, value in (("revision", entry.release.revision[:9]), ("digest", entry.release.digest[7:16])):
        whole = ids(search, {name: value}, 1000)
        assert set(of_it) < set(whole)
        failed = [x.id for x in log if x.id in of_it and ended(x, entries, "failed")]
        assert ids(search, {name: value, "result": "failed"}, 1000) == failed
        assert ids(search, {name: value, "result": "cancelled"}, 1000) == []


def same(one: Entry, other: Entry) -> bool:
    """Whether they are of the same release."""
    return one.release.digest == other.release.digest


def test_what_is_outside_a_rollout_is_found_by_what_it_is_about(tmp_path: Path) -> None:
    """A commit that git wants, and one that a person wants back; not a pause."""
    with closing(SqlStore.open(tmp_path / "deployer.db")) as store:
        record = play(store, store.load("staging"), good(store.load("staging"), release("one")))
        record = play(store, record, good(record, release("two")))
        asked = RollbackAsked(at=at(50), actor="ada", release=release("one"), made_good="staging#1")
        record = store.commit(record, [Paused(at=at(49), actor="ada"), asked])
        search = Search(store.database)
        asks: tuple[dict[str, Any], ...] = (
            {"revision": release("one").revision.commit[:7]},
            {"digest": release("one").digest},
            {"digest": release("one").digest.removeprefix("sha256:")[:12]},
        )
        for wanted in asks:
            found = search.events(EventFilter(**wanted), limit=100)
            assert [type(one.event) for one in found if not one.rollout] == [RollbackAsked, Seen]
            assert {one.rollout for one in found} == {"", "staging#1"}
            assert len(found) == 7


def test_what_is_told_of_a_rollout_after_the_next_began_is_its_own(tmp_path: Path) -> None:
    """The end of a log is kept while the rollback runs: on whichever page it comes, it is of the failure."""
    with closing(SqlStore.open(tmp_path / "deployer.db")) as store:
        records = {name: store.load(name) for name in ("a", "b", "c")}
        for name, record in records.items():
            records[name] = play(store, record, good(record, release(f"{name} one")))
        source = LogSource(replica="r1", node_id="n1", path="replica_1.log")
        record = play(store, records["a"], failing(records["a"], release("broken"))[:2])
        assert record.rollout is not None
        failed = Failed(at=at(60), rollout="a#2", failure=replace(BROKEN, log=source))
        record = store.commit(record, [failed, Held(at=at(60), rollout="a#2", reason=BROKEN.message)])
        (begun, *back) = rollback(record)
        record = store.commit(record, begun)
        for name in ("b", "c"):
            for number in range(4):
                records[name] = play(store, records[name], [overtaken(records[name], f"{name} {number}")])
        record = store.commit(record, [LogKept(at=at(90), rollout="a#2", source=source, text="the end")])
        play(store, record, back)

        search, everything = Search(store.database), store.events(limit=1000)
        for result in ("failed", "good", "superseded"):
            of_result = {entry.id for entry in store.history(limit=100) if entry.result.value == result}
            expected = [x.id for x in everything if rollout_of(x) in of_result]
            for size in range(1, 8):
                wanted = {"result": result}
                assert page_by_page(search, wanted, "after", size) == expected
                assert page_by_page(search, wanted, "before", size) == expected[::-1]
            for place in range(len(everything) + 1):
                later = [number for number in expected if number > place]
                assert ids(search, {"result": result, "after": place}, 100) == later
        kept = [x.id for x in everything if isinstance(x.event, LogKept)]
        assert set(kept) <= set(ids(search, {"result": "failed"}, 100))


# --- how it is found -------------------------------------------------------------------------------------


def plans(store: SqlStore, path: Path, wanted: EventFilter) -> list[str]:
    """What SQLite does for a page: a line for each step of each statement."""
    engine = store.database._reader
    statements: list[tuple[str, Any]] = []

    def seen(_one: Any, _two: Any, statement: str, parameters: Any, *_more: Any) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", seen)
    try:
        Search(store.database).events(wanted, limit=50)
    finally:
        event.remove(engine, "before_cursor_execute", seen)
    with closing(sqlite3.connect(path)) as raw:
        return [
            row[3]
            for statement, parameters in statements
            if statement.startswith("SELECT")
            for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


ASKED: list[dict[str, Any]] = [
    *({"result": result} for result in RESULTS),
    *({"result": result, "environment": "env-003"} for result in RESULTS),
    {"result": "failed", "environments": ("env-001", "env-002")},
    {"result": "failed", "type": "held"},
    {"result": "failed", "type": "observed"},
    {"result": "good", "actor": "deployer"},
    {"result": "good", "actor": "Person 07"},
    {"result": "good", "since": large_store.END - timedelta(days=300)},
    {"result": "good", "until": large_store.END - timedelta(days=100)},
    {"rollout": "env-003#4"},
    {"rollout": "env-003#4", "result": "good"},
    {"revision": "ab12"},
    {"revision": "ab12", "result": "good"},
    {"digest": "ab12"},
    {"digest": "sha256:ab12", "environment": "env-003"},
]


@pytest.mark.parametrize(
    "part", [{}, {"before": 900}, {"after": 900, "before": 1100}], ids=["end", "back", "on"]
)
@pytest.mark.parametrize("arguments", ASKED, ids=[" ".join(map(str, one.items())) for one in ASKED])
def test_no_page_walks_through_all_events(
    store: SqlStore, path: Path, arguments: dict[str, Any], part: dict[str, int]
) -> None:
    """Events are looked up by an index, never scanned; nor are rows of rollouts, nor what is mentioned."""
    found = plans(store, path, EventFilter(**{**arguments, **part}))
    assert any(re.match(r"SEARCH (events|of_rollouts) USING", step) for step in found), found
    scans = [step for step in found if re.match(r"SCAN (?!anon_|CONSTANT)", step)]
    allowed = ("SCAN rollouts USING COVERING INDEX rollouts_filters", "SCAN records USING COVERING INDEX")
    assert [step for step in scans if not step.startswith(allowed)] == [], found


def test_the_check_of_the_plans_can_fail(store: SqlStore, path: Path) -> None:
    """What has no filter is a walk, which ends with the page."""
    assert "SCAN events" in plans(store, path, EventFilter())


@pytest.mark.parametrize(
    "seconds",
    [
        pytest.param(range(12), id="forward"),
        pytest.param([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 3], id="back late"),
        pytest.param([0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], id="back early"),
        pytest.param([5, 6, 7, 0, 1, 2, 8, 9, 3, 4, 10, 11], id="back and forth"),
        pytest.param([3] * 12, id="at once"),
    ],
)
def test_the_end_of_a_period_is_found_also_where_a_clock_went_back(
    tmp_path: Path, seconds: list[int]
) -> None:
    """From whichever side less has to be walked."""
    with closing(SqlStore.open(tmp_path / "store.db")) as store:
        for second in seconds:
            store.commit(store.load("staging"), [Paused(at=at(second), actor="ada")])
        written = store.events(limit=100)[::-1]
        search = Search(store.database, short=2)
        for until in range(-1, 13):
            expected = [one.id for one in written if one.event.at < at(until)]
            found = search.events(EventFilter(until=at(until)), limit=100)
            assert [one.id for one in found] == expected
