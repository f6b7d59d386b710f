"""What SQLite adds to the contract: files, locks, full disks, damage, kills."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.store import SqlReader, SqlStore, StoreCorrupt, StoreUnavailable
from deployer.adapters.store.tables import METADATA
from deployer.core.events import Seen
from tests.contract.histories import overtaken, story
from tests.support.build import at, release
from tests.support.outbox_rows import undelivered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployer.core.record import Record

ROOT = Path(__file__).parents[2]
KILLS = 15


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database will be: a folder that is not there yet, with characters that URLs use."""
    return tmp_path / "state of 100%? #1" / "deployer.db"


@pytest.fixture
def told(path: Path) -> Record:
    """A closed database that holds three rollouts of `staging`; its record."""
    with closing(SqlStore.open(path)) as store:
        return story(store, store.load("staging"))


@contextmanager
def by_hand(path: Path) -> Iterator[sqlite3.Connection]:
    """A person with a SQLite shell: what is done is committed at the end."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def counts(path: Path) -> dict[str, int]:
    """How many rows each table has."""
    with by_hand(path) as connection:
        return {
            table.name: connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0]  # noqa: S608 - ours
            for table in METADATA.sorted_tables
        }


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """The kernel lets no file of this process grow beyond so many bytes: a real error of the disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# --- files -------------------------------------------------------------------------------------------------


def test_only_the_owner_can_read(path: Path) -> None:
    """The folder, the database and its log hold secrets, whatever the umask is."""
    before = os.umask(0)
    try:
        with closing(SqlStore.open(path)) as store:
            story(store, store.load("staging"))
            modes = {file.name: file.stat().st_mode & 0o777 for file in (path.parent, *path.parent.iterdir())}
    finally:
        os.umask(before)

    assert modes == {
        path.parent.name: 0o700,
        "deployer.db": 0o600,
        "deployer.db-wal": 0o600,
        "deployer.db-shm": 0o600,
    }


def test_commits_are_on_disk_when_they_return(path: Path) -> None:
    """WAL with synchronous=FULL: with NORMAL the last commits may be lost in a power cut."""
    with closing(SqlStore.open(path)) as store, store._database.writing() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers")
        }

    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "recursive_triggers": 1}


@pytest.mark.parametrize("location", [str, lambda path: f"sqlite:///{path}"], ids=["path", "url"])
def test_a_location_is_a_path_or_a_url(path: Path, location: Callable[[Path], str]) -> None:
    """Both name the same file."""
    SqlStore.open(location(path)).close()

    assert path.is_file()


@pytest.mark.parametrize("url", ["postgresql://ada:s3cr3t@db/deployer", "sqlite://relative.db"])
def test_another_url_is_refused(url: str) -> None:
    """The message says what can be given, and does not repeat a password."""
    with pytest.raises(StoreUnavailable, match="give a path or sqlite:///path") as caught:
        SqlStore.open(url)

    assert "s3cr3t" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The error says which path and why."""
    (tmp_path / "state").write_text("a file in the way")
    with pytest.raises(StoreUnavailable, match=r"state/deployer\.db: (Not a directory|File exists)"):
        SqlStore.open(tmp_path / "state" / "deployer.db")


def test_a_start_that_was_killed_leaves_nothing_in_the_way(path: Path) -> None:
    """A half-made file has another name, and is made anew."""
    path.parent.mkdir()
    for leftover in ("deployer.db.new", "deployer.db.new-journal"):
        (path.parent / leftover).write_bytes(b"half made")
    with closing(SqlStore.open(path)) as store:
        assert store.load("staging").sequence == 0

    assert not [file.name for file in path.parent.iterdir() if ".new" in file.name]


def test_a_start_without_room_leaves_nothing_that_looks_like_a_store(path: Path) -> None:
    """The next start with room begins anew."""
    with no_file_beyond(8192), pytest.raises(StoreUnavailable, match=r"cannot read or write .*new"):
        SqlStore.open(path)
    assert not path.exists()

    with closing(SqlStore.open(path)) as store:
        assert store.load("staging").sequence == 0


def test_a_file_that_vanished_is_named(path: Path, told: Record) -> None:
    """A connection made later does not make an empty one in its place."""
    with closing(SqlStore.open(path)) as store:
        store._database._dispose()
        path.unlink()
        with pytest.raises(StoreUnavailable, match=r"cannot open .*deployer\.db"):
            store.load("staging")
        with pytest.raises(StoreUnavailable, match=r"cannot open .*deployer\.db"):
            store.commit(told, overtaken(told, "three"))

    assert not path.exists()


# --- readers beside the writer -----------------------------------------------------------------------------


def test_a_reader_never_makes_a_store(path: Path) -> None:
    """Where no daemon has run the message says so, and nothing is left behind."""
    with pytest.raises(StoreUnavailable, match="no daemon has run with this state_dir yet"):
        SqlReader.open_readonly(path)

    assert not path.parent.exists()


def test_a_reader_sees_what_the_daemon_commits(path: Path) -> None:
    """While the daemon has it open, without anything from it."""
    with closing(SqlStore.open(path)) as store, closing(SqlReader.open_readonly(path)) as reader:
        record = story(store, store.load("staging"))
        store.publish("staging", {"sync": "Synced"}, at(0))

        assert reader.load("staging") == record
        assert reader.history() == store.history()
        assert reader.views() == store.views()


def test_a_reader_works_while_the_daemon_is_down(path: Path, told: Record) -> None:
    """And leaves the files as they were."""
    before = path.read_bytes()
    with closing(SqlReader.open_readonly(path)) as reader:
        assert reader.load("staging") == told

    assert path.read_bytes() == before


def test_nobody_waits_for_a_transaction_that_is_open(path: Path, told: Record) -> None:
    """Readers of this process and of others see the last commit meanwhile, at once."""
    with closing(SqlStore.open(path)) as store, closing(SqlReader.open_readonly(path)) as other:
        entered, leave = threading.Event(), threading.Event()

        def hold() -> None:
            with store._database.writing() as connection:
                connection.exec_driver_sql("UPDATE records SET data = 'half'")
                entered.set()
                leave.wait(20)
                connection.rollback()

        holding = threading.Thread(target=hold)
        holding.start()
        try:
            assert entered.wait(20)
            assert store.load("staging") == other.load("staging") == told
            assert len(store.history()) == 3
        finally:
            leave.set()
            holding.join(20)


def test_closing_does_not_wait_for_a_write_that_hangs(path: Path, told: Record) -> None:
    """The daemon stops in time; the write ends whole all the same, and those behind it are turned away."""
    store = SqlStore.open(path)
    entered, leave = threading.Event(), threading.Event()

    def hang() -> None:
        with store._database.writing() as connection:
            connection.exec_driver_sql("UPDATE outbox SET message = 'late'")
            entered.set()
            leave.wait(20)

    hanging = threading.Thread(target=hang)
    hanging.start()
    try:
        assert entered.wait(20)
        began = time.monotonic()
        store.close()
        took = time.monotonic() - began
    finally:
        leave.set()
        hanging.join(20)
    with pytest.raises(StoreUnavailable, match="is closed"):
        store.commit(told, overtaken(told, "late"))

    assert took < 10  # the other one goes on for 20 s
    with closing(SqlStore.open(path)) as later:
        assert {row.message for row in undelivered(later)} == {"late"}


def test_a_reader_cannot_write(path: Path, told: Record) -> None:
    """Not even by way of the daemon's methods."""
    with closing(SqlReader.open_readonly(path)) as reader:
        writing = SqlStore(reader._database)
        with pytest.raises(StoreUnavailable, match="open for reading only"):
            writing.commit(told, overtaken(told, "three"))


def test_a_lock_of_another_process_is_waited_for_then_named(path: Path, told: Record) -> None:
    """A writer waits some seconds, then says what to look for; readers go on; afterwards it works."""
    with closing(SqlStore.open(path)) as store:
        with closing(sqlite3.connect(path, isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="another process has held"):
                store.commit(told, overtaken(told, "three"))
            assert store.load("staging") == told

        after = store.commit(told, overtaken(told, "three"))
        assert store.load("staging") == after


def test_writers_of_two_processes_wait_for_each_other(path: Path) -> None:
    """The lock on the state directory keeps them apart; where it cannot, no commit fails for it."""
    SqlStore.open(path).close()

    def work(environment: str) -> Record:
        with closing(SqlStore.open(path)) as store:
            record = store.load(environment)
            for number in range(20):
                record = store.commit(record, overtaken(record, f"{number}"))
            return record

    names = ["staging", "production", "test"]
    with ThreadPoolExecutor(len(names)) as pool:
        records = list(pool.map(work, names, timeout=40))

    with closing(SqlStore.open(path)) as store:
        assert [store.load(name) for name in names] == records


# --- the log cannot be changed unnoticed -------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET actor = 'somebody else'",
        "DELETE FROM events",
        "REPLACE INTO events SELECT * FROM events WHERE id = 1",
    ],
)
def test_the_database_refuses_to_change_events(path: Path, told: Record, statement: str) -> None:
    """For every program that opens it, not only for ours."""
    before = counts(path)
    with by_hand(path) as connection:
        connection.execute("PRAGMA recursive_triggers=ON")
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)

    assert counts(path) == before
    with closing(SqlStore.open(path)) as store:
        assert store.verify("staging") is None


@pytest.mark.parametrize(
    "column", ["type", "at", "actor", "reason", "rollout", "data", "previous_hash", "hash"]
)
def test_a_change_by_hand_is_found(path: Path, told: Record, column: str) -> None:
    """Who drops the triggers first is found by the chain, whatever they change."""
    with by_hand(path) as connection:
        connection.execute("DROP TRIGGER events_no_update")
        connection.execute(f"UPDATE events SET {column} = {column} || ' ' WHERE sequence = 4")  # noqa: S608 - ours
    with closing(SqlStore.open(path)) as store:
        assert store.verify("staging") == 4


def test_removed_events_are_found(path: Path, told: Record) -> None:
    """At the end and in the middle: the record tells how many there were."""
    with closing(SqlStore.open(path)) as store:
        with by_hand(path) as connection:
            connection.execute("DROP TRIGGER events_no_delete")
            connection.execute("DELETE FROM events WHERE sequence = ?", [told.sequence])
        assert store.verify("staging") == told.sequence

        with by_hand(path) as connection:
            connection.execute("DELETE FROM events WHERE sequence = 4")
        assert store.verify("staging") == 4
    with pytest.raises(StoreCorrupt, match=f"ends at event {told.sequence - 1}, but its record is of event"):
        SqlStore.open(path)


def test_nothing_is_added_to_a_changed_event(path: Path, told: Record) -> None:
    """A log whose newest event was changed is neither opened nor, if it was open, gone on with."""
    with closing(SqlStore.open(path)) as store:
        with by_hand(path) as connection:
            connection.execute("DROP TRIGGER events_no_update")
            connection.execute("UPDATE events SET actor = 'nobody' WHERE sequence = ?", [told.sequence])
        with pytest.raises(StoreCorrupt, match="was changed after it was written"):
            store.commit(told, overtaken(told, "three"))
    with pytest.raises(StoreCorrupt, match="was changed after it was written"):
        SqlStore.open(path)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        pytest.param("UPDATE records SET sequence = 3", "its record is of event 3", id="record moved"),
        pytest.param("DELETE FROM records", "its record is missing", id="record removed"),
        pytest.param(
            "INSERT INTO records VALUES ('nowhere', 7, '{}')",
            "is empty, but its record is of event 7",
            id="stray",
        ),
    ],
)
def test_a_record_that_contradicts_the_log_is_refused(
    path: Path, told: Record, damage: str, complaint: str
) -> None:
    """When the store is opened, and when it was open meanwhile."""
    with closing(SqlStore.open(path)) as store:
        with by_hand(path) as connection:
            connection.execute(damage)
        with pytest.raises(StoreCorrupt, match=complaint):
            [store.load(environment) for environment in ("staging", "nowhere")]
    with pytest.raises(StoreCorrupt, match=complaint):
        SqlStore.open(path)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("UPDATE events SET actor = 'nobody' WHERE sequence = 2", "event 2 of staging was changed"),
        (
            "UPDATE rollouts SET started_event = 3 WHERE id = 'staging#1'",
            "event 3 of staging starts no rollout",
        ),
    ],
)
def test_a_way_back_that_was_changed_is_refused(
    path: Path, told: Record, damage: str, complaint: str
) -> None:
    """Nobody is sent back to what somebody wrote into the log by hand."""
    with by_hand(path) as connection:
        connection.execute("DROP TRIGGER events_no_update")
        connection.execute(damage)
    with closing(SqlStore.open(path)) as store, pytest.raises(StoreCorrupt, match=complaint):
        store.good_releases("staging")


def test_a_record_of_another_environment_is_refused(path: Path, told: Record) -> None:
    """Two that were exchanged have the right length and are wrong all the same."""
    with closing(SqlStore.open(path)) as store:
        story(store, store.load("production"))
        with by_hand(path) as connection:
            connection.execute(
                "UPDATE records SET data = (SELECT data FROM records WHERE environment = 'production')"
            )
        with pytest.raises(StoreCorrupt, match="but its record is of event 16 of production"):
            store.load("staging")


def test_a_commit_notices_a_record_that_was_moved(path: Path, told: Record) -> None:
    """Whoever still has the right record in memory writes nothing on top of a wrong one."""
    with closing(SqlStore.open(path)) as store:
        with by_hand(path) as connection:
            connection.execute("UPDATE records SET sequence = 3")
        before = counts(path)
        with pytest.raises(StoreCorrupt, match="They are written together"):
            store.commit(told, overtaken(told, "three"))
        assert counts(path) == before


def test_a_rollout_that_was_removed_is_noticed(path: Path) -> None:
    """Its ending has nowhere to be written."""
    with closing(SqlStore.open(path)) as store:
        record = store.load("staging")
        seen, begun, ended = overtaken(record, "one")
        record = store.commit(record, [seen, begun])
        with by_hand(path) as connection:
            connection.execute("DELETE FROM rollouts")
        with pytest.raises(StoreCorrupt, match=r"no rollout staging#1.*Its row was removed"):
            store.commit(record, [ended])


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        pytest.param("UPDATE releases SET config = config || ' '", "was changed", id="changed"),
        pytest.param("DELETE FROM releases", "is missing", id="removed"),
    ],
)
def test_a_changed_content_is_refused(path: Path, told: Record, damage: str, complaint: str) -> None:
    """What would be sent to the cluster is what was judged, or nothing is sent."""
    with by_hand(path) as connection:
        connection.execute(damage)
    with closing(SqlStore.open(path)) as store:
        with pytest.raises(StoreCorrupt, match=f"the content of sha256:[0-9a-f]+ {complaint}"):
            store.load("staging")
        with pytest.raises(StoreCorrupt, match=complaint):
            store.config(release("one").digest)


def test_a_field_of_a_newer_version_is_named(path: Path, told: Record) -> None:
    """It is neither dropped nor guessed at, and the message says what to do and shows no value."""
    with by_hand(path) as connection:
        connection.execute("UPDATE records SET data = json_set(data, '$.mood', 'canary')")
    with (
        closing(SqlStore.open(path)) as store,
        pytest.raises(
            StoreCorrupt, match=r"cannot read the record of staging: mood:.*newer version"
        ) as caught,
    ):
        store.load("staging")

    assert "canary" not in str(caught.value)


# --- damage ------------------------------------------------------------------------------------------------


def _overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 4096 * 4)


def _miscounted(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(36)  # how many pages are free
        file.write((7).to_bytes(4, "big"))


def _no_database(path: Path) -> None:
    path.write_bytes(b"this is a letter to a friend, and it is long enough to look like a file " * 20)


def _truncated(path: Path) -> None:
    path.write_bytes(b"")


def _cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _gone(path: Path) -> None:
    path.rename(path.with_name("deployer.db-wal"))


def _foreign(path: Path) -> None:
    path.unlink()
    with by_hand(path) as connection:
        connection.execute("CREATE TABLE recipes (name)")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        pytest.param(_overwritten, "is damaged", id="overwritten"),
        pytest.param(_miscounted, "is damaged", id="miscounted"),
        pytest.param(_no_database, "is damaged", id="no database"),
        pytest.param(_cut_short, "is damaged", id="cut short"),
        pytest.param(_truncated, "is empty: it was truncated", id="truncated"),
        pytest.param(_gone, "is gone, but its log", id="gone, log left"),
        pytest.param(_foreign, "not one that deployer made", id="of another program"),
    ],
)
def test_a_damaged_file_is_refused_and_kept(
    path: Path, told: Record, damage: Callable[[Path], None], complaint: str
) -> None:
    """It is never repaired or made anew: the bytes stay for a person to look at."""
    damage(path)
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(StoreCorrupt, match=complaint):
        SqlStore.open(path)
    with suppress(OSError):
        # SQLite's index of the log: made by whoever opens the file, empty of content.
        path.with_name("deployer.db-shm").unlink()
    after = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    assert after.items() >= before.items()
    assert not {name for name in after.keys() - before.keys() if after[name]}


def test_a_file_that_was_replaced_is_refused(path: Path, told: Record) -> None:
    """Also when that happened while the daemon was running."""
    with closing(SqlStore.open(path)) as store:
        store._database._dispose()
        _no_database(path)
        with pytest.raises(StoreCorrupt, match="is damaged: file is not a database"):
            store.commit(told, overtaken(told, "three"))


def _break_outbox(path: Path) -> None:
    """Overwrite the first page of a table that nobody reads when a store is opened."""
    with by_hand(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'outbox'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xa5" * 4096)


def test_the_whole_file_is_checked_at_the_start(path: Path, told: Record) -> None:
    """Damage is found where nobody has looked yet."""
    _break_outbox(path)
    with pytest.raises(StoreCorrupt, match="is damaged"):
        SqlStore.open(path)


def test_a_large_file_is_checked_after_a_crash_only(path: Path, told: Record, tmp_path: Path) -> None:
    """A start takes long only if the last daemon did not end in order: it left a log."""
    _break_outbox(path)
    os.truncate(path, 300 * 1024 * 1024)
    with closing(SqlStore.open(path)) as store:
        store.commit(told, overtaken(told, "three"))
        crashed = tmp_path / "crashed" / "deployer.db"
        crashed.parent.mkdir()
        for end in ("", "-wal"):
            shutil.copy(f"{path}{end}", f"{crashed}{end}")

    with pytest.raises(StoreCorrupt, match="is damaged"):
        SqlStore.open(crashed)


def test_a_store_of_a_newer_version_is_left_alone(path: Path, told: Record) -> None:
    """Daemon and reader say which version is needed, and what the newer one kept for going back."""
    with by_hand(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    for opener in (SqlStore.open, SqlReader.open_readonly):
        with pytest.raises(StoreUnavailable, match=r"newer version.*schema 9999.*before-9999"):
            opener(path)

    assert path.read_bytes() == before


def test_a_store_of_an_older_version_is_not_migrated_by_a_reader(path: Path, told: Record) -> None:
    """The reader says who does that."""
    with by_hand(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    with pytest.raises(StoreUnavailable, match=r"older version.*Restart the daemon"):
        SqlReader.open_readonly(path)


# --- nothing is half written -------------------------------------------------------------------------------


@pytest.mark.parametrize("table", ["events", "releases", "rollouts", "records", "outbox"])
def test_a_failure_in_the_middle_undoes_everything(path: Path, told: Record, table: str) -> None:
    """Whichever write of a commit fails, no table keeps anything of it, and the next try works."""
    with by_hand(path) as connection:
        for verb in ("INSERT ON", "UPDATE ON"):
            fault = f"BEFORE {verb} {table} BEGIN SELECT RAISE(ABORT, 'fault'); END"
            connection.execute(f"CREATE TRIGGER fault_{verb[:6]} {fault}")
    before = counts(path)
    with closing(SqlStore.open(path)) as store:
        with pytest.raises(StoreUnavailable, match=r"refused: .*(fault|append-only)"):
            store.commit(told, overtaken(told, "three"), ["never sent"])
        assert counts(path) == before
        assert store.load("staging") == told

        with by_hand(path) as connection:
            connection.execute("DROP TRIGGER fault_INSERT")
            connection.execute("DROP TRIGGER fault_UPDATE")
        assert store.load("staging") != store.commit(told, overtaken(told, "three"))


def test_errors_show_no_values(path: Path, told: Record) -> None:
    """A statement that fails while it holds a config tells nothing of it, in no cause of the error either."""
    canary = "canary-5up3r-s3cr3t"
    what = release("x", {"name": "fruit", "runtime_env": {"env_vars": {"TOKEN": canary}}})
    with by_hand(path) as connection:
        connection.execute(
            "CREATE TRIGGER fault BEFORE INSERT ON releases BEGIN SELECT RAISE(ABORT, 'x'); END"
        )
    with closing(SqlStore.open(path)) as store, pytest.raises(StoreUnavailable) as caught:
        store.commit(told, [Seen(at=at(50), release=what)])

    error: BaseException | None = caught.value
    while error is not None:
        assert canary not in f"{error!r} {error}"
        error = error.__cause__ or error.__context__


@contextmanager
def _small_disk(folder: Path) -> Iterator[bool]:
    """A file system of 1 MB at this folder, if this user may mount one."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "deployer-test", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_stops_writing_until_there_is_room(tmp_path: Path) -> None:
    """Nothing is half written, reading goes on, and it heals without a restart.

    On a small file system of its own; for a user who may not mount one, with SQLite's own limit.
    """
    folder = tmp_path / "disk"
    with _small_disk(folder) as mounted, closing(SqlStore.open(folder / "deployer.db")) as store:
        record = story(store, store.load("staging"))
        filler = folder / "filler"
        if mounted:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(b"\0" * 4096)
        else:
            with store._database.writing() as connection:
                connection.exec_driver_sql("PRAGMA max_page_count=1")
        large = release("large", {"name": "fruit", "args": {"text": "x" * 500_000}})
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match=r"cannot (read or )?write"):
                store.commit(record, [Seen(at=at(90), release=large)], ["never sent"])
            assert store.load("staging") == record
        if mounted:
            filler.unlink()
        else:
            with store._database.writing() as connection:
                connection.exec_driver_sql("PRAGMA max_page_count=1000000")

        record = store.commit(record, overtaken(record, "three"))
        assert store.load("staging") == record
        assert store.verify("staging") is None
        assert "never sent" not in [row.message for row in undelivered(store)]


def is_suspect(store: SqlStore) -> bool:
    """Whether the file will be checked before the next write."""
    return store._database._suspect


def test_an_io_error_is_looked_into_before_writing_goes_on(path: Path, told: Record) -> None:
    """A write that the kernel refuses is no commit; the file is checked anew, then the same commit works."""
    with closing(SqlStore.open(path)) as store:
        with no_file_beyond(4096), pytest.raises(StoreUnavailable, match=r"Look at the disk"):
            store.commit(told, overtaken(told, "three"))
        assert store.load("staging") == told
        assert is_suspect(store)

        after = store.commit(told, overtaken(told, "three"))
        assert store.load("staging") == after
        assert not is_suspect(store)
        assert store.verify("staging") is None


def test_a_killed_writer_leaves_whole_commits(path: Path) -> None:
    """Killed at random moments: what was acknowledged is there, of the commit under way all or nothing."""
    command = [sys.executable, "-m", "tests.contract.killed_writer", str(path), str(KILLS), "20261122"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=50)

    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == KILLS
    assert all(one["unclean"] for one in found), "the kills came when nothing was under way"
    assert found[-1]["commits"] >= KILLS
