"""The store's contract. Every database that the store learns to use runs this suite: append its backend.

The first part is the engine's port, which the fake of the state machine keeps as well.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from sqlalchemy import select

from deployer.adapters.store import Conflict, OutboxStore, SqlStore, StoreUnavailable
from deployer.adapters.store.sqlite import Database
from deployer.adapters.store.tables import METADATA
from deployer.core.errors import IllegalEvent
from deployer.core.events import Applied, Good, RollbackAsked, Seen
from deployer.core.gates import BecameGood
from deployer.core.messages import Message
from deployer.core.record import Record, Result, fold
from deployer.core.types import Release, ServeConfig
from deployer.engine.ports import Store
from tests.contract.histories import good, overtaken, play, started, story
from tests.support.build import at, release, revision
from tests.support.memory_store import MemoryStore
from tests.support.outbox_rows import undelivered

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.core.commands import GoodRelease
    from deployer.core.events import Event


class Port(Store, Protocol):
    """What the engine and the commands need of a store."""

    def became_good(self, environment: str, commit: str) -> BecameGood | None:
        """When this commit was first good."""

    def good_releases(self, environment: str) -> list[GoodRelease]:
        """What became good, newest first."""


Opener = Callable[[], Port]


class Backend(Protocol):
    """One kind of database, empty at first."""

    def open(self) -> SqlStore:
        """Open the store: what an earlier one wrote is there."""

    def eager(self) -> SqlStore:
        """Open it so that the time of every look is written at once."""


class Sqlite:
    """A database file."""

    def __init__(self, folder: Path) -> None:
        """Choose where it will be."""
        self.path = folder / "state" / "deployer.db"

    def open(self) -> SqlStore:
        """Open as the daemon does."""
        return SqlStore.open(self.path)

    def eager(self) -> SqlStore:
        """Open with no delay for looks."""
        self.open().close()
        return SqlStore(Database(self.path), looks_seconds=0.0)


BACKENDS = [pytest.param(Sqlite, id="sqlite")]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Each database in turn."""
    made: Backend = request.param(tmp_path)
    return made


@pytest.fixture
def store(backend: Backend) -> Iterator[SqlStore]:
    """An open store of each database."""
    with closing(backend.open()) as opened:
        yield opened


@contextmanager
def _each_time_anew(folder: Path) -> Iterator[Opener]:
    """Opens the same database again for every call, so that nothing can be kept in memory."""
    opened: list[SqlStore] = []

    def reopen() -> SqlStore:
        for one in opened:
            one.close()
        opened.append(Sqlite(folder).open())
        return opened[-1]

    try:
        yield reopen
    finally:
        for one in opened:
            one.close()


@contextmanager
def _the_fake(_folder: Path) -> Iterator[Opener]:
    fake = MemoryStore()
    yield lambda: fake


@pytest.fixture(params=[pytest.param(_each_time_anew, id="sqlite"), pytest.param(_the_fake, id="memory")])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """The engine's port on each database and on the fake: call it to begin anew on what was written."""
    with request.param(tmp_path) as opener:
        yield opener


# --- the engine's port -------------------------------------------------------------------------------------


def test_an_unknown_environment_has_an_empty_record(port: Opener) -> None:
    """Nothing has to be set up for a new environment."""
    assert port().load("staging") == Record(environment="staging")


def test_what_was_committed_is_loaded(port: Opener) -> None:
    """The record that `commit` returns is the one that a process started later loads."""
    record = story(port(), Record(environment="staging"))

    assert port().load("staging") == record
    assert record.good == release("one")
    assert [hold.digest for hold in record.held] == [release("two").digest]


def test_every_step_can_be_the_last(port: Opener) -> None:
    """Killed after any commit, the next process goes on from exactly there."""
    record = Record(environment="staging")
    for batch in good(record, release("one")):
        record = port().commit(record, batch)

        assert port().load("staging") == record


def test_a_history_that_is_not_legal_is_refused_whole(port: Opener) -> None:
    """An illegal event in the middle of a batch leaves nothing of the batch behind."""
    record = story(port(), Record(environment="staging"))
    batch: list[Event] = [
        Seen(at=at(90), release=release("three")),
        Good(at=at(90), rollout="staging#3"),
        started(record, release("three")),
    ]

    with pytest.raises(IllegalEvent):
        port().commit(record, batch, ["never sent"])

    assert port().load("staging") == record


def test_a_stale_record_is_refused_whole(port: Opener) -> None:
    """Who loaded before somebody else wrote is told so, and nothing is written."""
    stale = play(port(), Record(environment="staging"), good(Record(environment="staging"), release("one")))
    newer = port().commit(stale, overtaken(stale, "two"))

    with pytest.raises(Conflict):
        port().commit(stale, overtaken(stale, "three"), ["never sent"])

    assert port().load("staging") == newer


def test_a_record_from_nowhere_is_refused(port: Opener) -> None:
    """A record of more events than are stored (another store's) is no base for more."""
    with pytest.raises(Conflict):
        port().commit(Record(environment="staging", sequence=3), [Seen(at=at(0), release=release("one"))])

    assert port().load("staging") == Record(environment="staging")


def test_environments_do_not_mix(port: Opener) -> None:
    """Each has its own history and its own numbers."""
    staging = story(port(), Record(environment="staging"))
    production = play(
        port(), Record(environment="production"), good(Record(environment="production"), release("one"))
    )

    assert port().load("staging") == staging
    assert port().load("production") == production


def test_good_releases_are_listed_newest_first(port: Opener) -> None:
    """Each rollout that ended well, with its release and when it did; not what failed or was overtaken."""
    record = story(port(), Record(environment="staging"))
    record = port().commit(record, overtaken(record, "three"))
    story(port(), Record(environment="production"))
    found = port().good_releases("staging")

    assert [(one.rollout, one.release) for one in found] == [
        ("staging#3", release("one")),
        ("staging#1", release("one")),
    ]
    assert {(one.policy, one.nonce) for one in found} == {(record.good_policy, record.good_nonce)}
    assert record.good_at == found[0].at
    assert found[1].at < found[0].at
    assert port().good_releases("nowhere") == []
    commit = release("one").revision.commit
    assert port().became_good("staging", commit) == BecameGood(at=found[1].at, digest=release("one").digest)
    assert port().became_good("staging", release("three").revision.commit) is None
    assert port().became_good("nowhere", commit) is None


def test_a_release_that_a_person_asks_for_is_kept(port: Opener) -> None:
    """Like every other that an event names."""
    record = story(port(), Record(environment="staging"))
    back = port().good_releases("staging")[-1]
    asked = RollbackAsked(
        at=at(99), release=back.release, made_good=back.rollout, policy=back.policy, nonce=back.nonce
    )
    record = port().commit(record, [asked])

    assert port().load("staging") == record
    assert record.asked == asked


# --- events, records, releases -----------------------------------------------------------------------------


def test_the_record_is_the_fold_of_the_events(store: SqlStore) -> None:
    """Events as stored, folded anew, give the record that is cached beside them."""
    record = story(store, store.load("staging"))
    stored = store.events("staging")

    assert fold("staging", [one.event for one in stored]) == record == store.load("staging")
    assert [one.sequence for one in stored] == list(range(1, record.sequence + 1))
    assert store.verify("staging") is None


def test_a_batch_continues_the_chain(store: SqlStore) -> None:
    """Each event is bound to the one before it, over the borders of commits but not of environments."""
    story(store, store.load("staging"))
    story(store, store.load("production"))

    for environment in ("staging", "production"):
        stored = store.events(environment)

        assert [one.previous_hash for one in stored[1:]] == [one.hash for one in stored[:-1]]
        assert store.verify(environment) is None


def test_events_are_listed_in_pages(store: SqlStore) -> None:
    """Page after page gives every event of all environments once, in the order in which they were written."""
    story(store, store.load("staging"))
    story(store, store.load("production"))
    everything = store.events()
    pages, last = [], 0
    while page := store.events(after_id=last, limit=4):
        pages += page
        last = page[-1].id

    assert pages == everything
    assert [one.id for one in everything] == sorted(one.id for one in everything)


def test_an_empty_commit_is_refused(store: SqlStore) -> None:
    """It would be a message without a fact, or a pass that never ends."""
    with pytest.raises(ValueError, match="staging needs at least one event"):
        store.commit(store.load("staging"), [], ["hello"])

    assert undelivered(store, 10) == []


def test_the_content_of_a_release_is_kept_by_digest(store: SqlStore, backend: Backend) -> None:
    """It comes back exactly, in another process too, however many events and environments name it."""
    what = release("one")
    for environment in ("staging", "production"):
        play(store, store.load(environment), good(store.load(environment), what))
    store.close()
    with closing(backend.open()) as later:
        assert later.config(what.digest) == what.config
        assert later.load("staging").good == later.load("production").good == what


def test_a_config_under_a_wrong_digest_is_refused(store: SqlStore) -> None:
    """It could never be read again, so it is not written: the caller has a bug."""
    wrong = Release(revision=revision("one"), config=ServeConfig(text="{}", digest=release("one").digest))

    with pytest.raises(ValueError, match="is not what its digest"):
        store.commit(store.load("staging"), [Seen(at=at(0), release=wrong)])

    assert store.load("staging") == Record(environment="staging")


def test_a_time_without_a_zone_is_refused(store: SqlStore) -> None:
    """It would mean another moment on another machine."""
    naive = at(0).replace(tzinfo=None)

    with pytest.raises(ValueError, match="no time zone"):
        store.commit(store.load("staging"), [Seen(at=naive, release=release("one"))])

    assert store.events() == []


def test_secrets_are_in_one_table_only(store: SqlStore) -> None:
    """A value of `env_vars` is kept with the release's content and nowhere else."""
    canary = "canary-5up3r-s3cr3t"
    what = release("one", {"name": "fruit", "runtime_env": {"env_vars": {"TOKEN": canary}}})
    record = play(store, store.load("staging"), good(store.load("staging"), what))
    store.publish("staging", {"live": record.good is not None}, at(0))
    with store._database.reading() as connection:
        tables = {
            table.name: str(connection.execute(select(table)).all()) for table in METADATA.sorted_tables
        }

    # No event makes a token or an answer: those who write them have tests of their own.
    assert {name for name, text in tables.items() if text == "[]"} <= {
        "tokens",
        "answers",
        "deliveries",
        "targets",
    }
    assert [name for name, text in tables.items() if canary in text] == ["releases"]
    assert canary not in f"{record!r}"


# --- history -----------------------------------------------------------------------------------------------


def test_history_lists_rollouts_newest_first(store: SqlStore) -> None:
    """A failed deploy and the rollback after it are two rollouts, the first pointing at the second."""
    story(store, store.load("staging"))
    back, failed, first = store.history("staging")

    assert [back.id, failed.id, first.id] == ["staging#3", "staging#2", "staging#1"]
    assert [back.result, failed.result, first.result] == [Result.GOOD, Result.FAILED, Result.GOOD]
    assert (failed.followed_by, first.followed_by) == ("staging#3", None)
    assert first.applied_at is not None
    assert first.took_seconds == 0.0


def test_a_rollout_in_progress_is_in_the_history(store: SqlStore) -> None:
    """From its `Started` on, which is before anything is sent."""
    record = store.load("staging")
    record = store.commit(record, [Seen(at=at(0), release=release("one"))])
    assert store.history() == []

    record = store.commit(record, [started(record, release("one"))])
    assert [entry.result for entry in store.history()] == [Result.IN_PROGRESS]

    store.commit(record, [Applied(at=at(7), rollout="staging#1")])
    assert [entry.applied_at for entry in store.history()] == [at(7)]


def test_history_is_listed_in_pages(store: SqlStore) -> None:
    """Page after page gives every rollout once, by the order of starting, whatever the clock said."""
    for _ in range(3):
        for environment in ("staging", "production"):
            record = store.load(environment)
            store.commit(record, overtaken(record, f"{environment}{record.sequence}"))
    everything = store.history(limit=100)
    pages, last = [], None
    while page := store.history(limit=2, before=last):
        pages += page
        last = page[-1].id

    assert [entry.id for entry in everything] == [
        f"{environment}#{number}" for number in (3, 2, 1) for environment in ("production", "staging")
    ]
    assert pages == everything
    assert [entry.id for entry in store.history("staging", limit=2)] == ["staging#3", "staging#2"]
    assert [entry.id for entry in store.history("staging", before="staging#2")] == ["staging#1"]
    assert store.history(before="nobody#1") == []


# --- outbox ------------------------------------------------------------------------------------------------


def test_messages_come_in_the_order_of_their_events(store: SqlStore) -> None:
    """Also across environments, and no more than asked for."""
    for number, environment in enumerate(("staging", "production", "staging")):
        record = store.load(environment)
        store.commit(record, overtaken(record, f"{number}"), [f"message {number}"])

    assert [row.message for row in undelivered(store, 2)] == ["message 0", "message 1"]
    assert undelivered(store, 1)[0].event_id == store.events("staging")[2].id


def test_a_status_tells_with_it_what_no_event_does(store: SqlStore) -> None:
    """Once for what it says; and nothing once an event has come between, which told something newer."""
    record = store.commit(store.load("staging"), overtaken(store.load("staging"), "one"))
    number = record.sequence

    def told(view: str, mark: str, sequence: int) -> None:
        message = Message(text=f"waits for {mark}", key="k", mark=mark)
        store.publish("staging", {"view": view}, at(0), [message], sequence)

    told("a", "x", number)
    told("b", "x", number)
    told("c", "y", number)
    told("c", "z", number)
    told("d", "z", number - 1)
    store.publish("nowhere", {}, at(0), [Message(text="never")], 0)
    told("e", "x", number)

    written = OutboxStore(store.database).everything(10)
    assert [row.message for row in written] == ["waits for x", "waits for y", "waits for x"]
    assert {row.event_id for row in written} == {store.events("staging")[-1].id}


def test_a_message_keeps_all_that_its_delivery_needs(store: SqlStore) -> None:
    """Kind, audience, key and payload; a sentence alone is an announcement for people."""
    record = store.load("staging")
    message = Message(
        text="it is live", kind="commit_status", audience="forge/x", key="k", payload={"state": "success"}
    )
    store.commit(record, overtaken(record, "one"), [message, "for people"])
    first, second = OutboxStore(store.database).everything(10)

    assert (first.kind, first.audience, first.key, first.payload) == (
        "commit_status",
        "forge/x",
        "k",
        {"state": "success"},
    )
    assert (second.kind, second.audience, second.key, second.payload) == ("announcement", "people", "", {})


def test_a_target_begins_with_what_comes_or_with_what_is_there(store: SqlStore) -> None:
    """The first time; after that it goes on where it was."""
    record = store.load("staging")
    record = store.commit(record, overtaken(record, "one"), ["before"])
    outbox = OutboxStore(store.database)
    assert outbox.register("new", "people", begins_now=True).cursor == 1
    assert outbox.register("old", "people").cursor == 0
    store.commit(record, overtaken(record, "two"), ["after"])

    assert outbox.register("new", "people").cursor == 1
    assert [row.message for row in outbox.due("new", "people", at(0), 9)] == ["after"]
    assert [row.message for row in outbox.due("old", "people", at(0), 9)] == ["before", "after"]
    assert outbox.waiting("nobody", "people").count == 2


# --- views -------------------------------------------------------------------------------------------------


def test_the_last_view_is_kept(store: SqlStore, backend: Backend) -> None:
    """Another process reads what was published last, with the keys in their order."""
    view: dict[str, Any] = {"sync": "Synced", "apps": [{"name": "fruit"}], "live": None}
    store.publish("staging", {"sync": "Unknown"}, at(0))
    store.publish("staging", view, at(1))
    store.publish("production", {"sync": "Unknown"}, at(2))
    store.close()
    with closing(backend.open()) as later:
        views = later.views()

    assert views == {"staging": (at(1), view), "production": (at(2), {"sync": "Unknown"})}
    assert json.dumps(views["staging"][1]) == json.dumps(view)


def test_an_unchanged_view_is_not_written_each_time(store: SqlStore) -> None:
    """A pass of an idle environment costs no commit; its new time waits for the next one of anybody."""
    store.publish("staging", {"sync": "Synced"}, at(0))
    store.publish("staging", {"sync": "Synced"}, at(15))
    assert store.views()["staging"][0] == at(0)

    store.publish("production", {"sync": "Synced"}, at(16))
    assert store.views()["staging"][0] == at(15)


def test_the_time_of_an_unchanged_view_is_refreshed(backend: Backend) -> None:
    """A reader can tell an idle daemon from one that stopped looking."""
    with closing(backend.eager()) as store:
        store.publish("staging", {"sync": "Synced"}, at(0))
        store.publish("staging", {"sync": "Synced"}, at(15))

        assert store.views() == {"staging": (at(15), {"sync": "Synced"})}


# --- threads and closing -----------------------------------------------------------------------------------


def test_threads_commit_side_by_side(store: SqlStore) -> None:
    """Eight environments at once: every commit lands, every chain is whole, ids are given out once."""

    def work(environment: str) -> Record:
        record = store.load(environment)
        for number in range(5):
            record = store.commit(record, overtaken(record, f"{environment}{number}"), ["done"])
            assert store.load(environment) == record
        return record

    names = [f"env{number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        records = list(pool.map(work, names, timeout=30))

    assert [store.load(name) for name in names] == records
    assert [store.verify(name) for name in names] == [None] * 8
    assert len(undelivered(store, 1000)) == 40


def test_of_two_that_race_one_is_told(store: SqlStore) -> None:
    """Two commits on one history: one lands whole, the other hears `Conflict`."""
    record = story(store, store.load("staging"))
    together = threading.Barrier(2, timeout=10)

    def work(name: str) -> str:
        together.wait()
        try:
            store.commit(record, overtaken(record, name), [name])
        except Conflict:
            return "conflict"
        return "landed"

    for attempt in range(5):
        with ThreadPoolExecutor(2) as pool:
            outcomes = sorted(pool.map(work, [f"a{attempt}", f"b{attempt}"], timeout=30))
        record = store.load("staging")

        assert outcomes == ["conflict", "landed"]
    assert store.verify("staging") is None
    assert len(store.history("staging")) == 3 + 5


def test_a_closed_store_says_so(store: SqlStore, backend: Backend) -> None:
    """A late pass is told that the daemon stops, nothing is half written, and closing again is harmless."""
    record = story(store, store.load("staging"))
    store.close()
    store.close()
    with pytest.raises(StoreUnavailable, match="is closed"):
        store.commit(record, overtaken(record, "late"))
    with pytest.raises(StoreUnavailable, match="is closed"):
        store.load("staging")
    with pytest.raises(StoreUnavailable, match="is closed"):
        store.publish("staging", {}, at(0))

    with closing(backend.open()) as later:
        assert later.load("staging") == record
