"""Everything that is particular to SQLite: files, connections, locks, checks, and what its errors mean.

Owns the database file. Must not know the tables. Invariant: one writer at a time, every commit on disk
before it returns (WAL with synchronous=FULL; NORMAL may lose the last commits in a power cut), readers
never wait for the writer, and a file that is there is never replaced by an empty one.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from deployer.adapters.store.errors import StoreCorrupt, StoreError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BUSY_SECONDS = 5.0
"""How long SQLite waits for a lock of another process. The daemon is the only writer, so this is for a
person's sqlite3 shell or a backup tool; longer, and a pass would look hung."""

_WRITER_SECONDS = 10.0
"""How long a thread waits for the other writers of this process: 32 workers at 1 ms each are done in 0.1 s,
so only a writer that waits its `_BUSY_SECONDS` can make it this long."""

_CLOSE_SECONDS = 1.0
"""How long `close` waits for a write under way. Writes take milliseconds, and a stop must end within 5 s."""

_READERS = 8
"""Connections kept open for readers. More than these at once are opened and closed again (0.3 ms)."""

_CHECK_BYTES = 256 * 1024 * 1024
"""Up to this size the whole file is checked at every start (0.3 s); a larger one only when the last daemon
did not end in order, so that a start never waits long (measured: 0.7 s for 630 MB in the page cache)."""

_ALONE = "ro&immutable=1"
"""How SQLite is told that nobody writes to a file."""

_WRITING = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    # Without it INSERT OR REPLACE would delete a row of the log and no trigger notice.
    "PRAGMA recursive_triggers=ON",
)


class Database:
    """An existing database file, opened for one process. Thread-safe."""

    def __init__(self, path: Path, *, read_only: bool = False, alone: bool = False) -> None:
        """Open nothing yet: connections are made when they are needed.

        `alone`: nobody writes to it, so SQLite looks at no file beside it, and makes none.
        """
        self._path = path
        self._closed = False
        self._suspect = False
        self._lock = threading.Lock()
        self._reader = _engine(path, _ALONE if alone else "ro", kept=_READERS)
        self._writer = None if read_only else _engine(path, "rw", _WRITING, kept=1)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database and never waits for the writer."""
        self._require_open()
        with self._translated(), self._reader.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The one writing transaction: all of it is on disk when the block is left, or none of it.

        Raises StoreUnavailable after a wait for other writers, or if the commit fails.
        """
        if self._writer is None:
            message = f"{self._path} is open for reading only; only the daemon writes to it"
            raise StoreUnavailable(message)
        with self._alone():
            self._require_open()
            self._recover()
            with self._translated(), self._writer.begin() as connection:
                yield connection

    def check(self) -> None:
        """Let SQLite look for damage in the whole file. Raises StoreCorrupt."""
        with self.reading() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if found != "ok":
            raise StoreCorrupt(_damaged(self._path, " ".join(str(found).split())))

    def close(self) -> None:
        """Close every connection; what was committed stays. Later calls raise StoreUnavailable.

        Never raises: a write that is still under way ends by itself or with the process, whole or not at all.
        """
        self._closed = True
        idle = self._lock.acquire(timeout=_CLOSE_SECONDS)
        try:
            self._dispose()
        finally:
            if idle:
                self._lock.release()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(timeout=_WRITER_SECONDS):
            message = f"{self._path} was busy with other writes of this daemon for {_WRITER_SECONDS:g} s"
            raise StoreUnavailable(message)
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            self._suspect = self._suspect or _code(error.orig) == sqlite3.SQLITE_IOERR
            # The cause keeps its statement but not the values: `hide_parameters` of the engine.
            raise explain(error.orig, self._path) from error

    def _recover(self) -> None:
        """After an I/O error, forget every connection and look at what is on disk before writing again.

        A failed fsync must not be tried again: the kernel may have dropped the pages and then reports
        success. A new connection reads the log anew and keeps only what is whole.
        """
        if self._suspect:
            self._dispose()
            self.check()
            self._suspect = False

    def _dispose(self) -> None:
        self._reader.dispose()
        if self._writer is not None:
            self._writer.dispose()

    def _require_open(self) -> None:
        if self._closed:
            message = f"{self._path} is closed: the daemon is stopping"
            raise StoreUnavailable(message)


def find(path: Path) -> bool:
    """Whether the database file exists. Raises StoreCorrupt if it is gone or empty but must not be."""
    try:
        size, log_size = _size(path), _size(_log(path))
    except OSError as error:
        raise _unusable(path, error) from error
    if size is None and log_size:
        message = (
            f"{path} is gone, but its log {path.name}-wal is still there. "
            "Put the file back, or restore a backup of both."
        )
        raise StoreCorrupt(message)
    if size == 0:
        # Files are made under another name and renamed once they are whole, so this is a truncated one.
        message = (
            f"{path} is empty: it was truncated. Restore a backup, or delete it to begin without history."
        )
        raise StoreCorrupt(message)
    return size is not None


def check_at_start(path: Path) -> None:
    """Check the file before anything is written to it. Raises StoreCorrupt."""
    # A daemon that ends in order leaves no log behind. This must be looked at before the first connection.
    ended_in_order = not _size(_log(path))
    if ended_in_order and path.stat().st_size > _CHECK_BYTES:
        return
    database = Database(path, read_only=True)
    try:
        database.check()
    finally:
        database.close()


def create(path: Path, build: Callable[[Connection], None]) -> None:
    """Make the file, readable by its owner alone, with what `build` puts into it.

    Made under another name: whatever happens, `path` is either not there or whole.
    """
    temporary = path.with_name(f"{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Left by a start that was killed: SQLite would undo with it what is written now.
        temporary.with_name(f"{temporary.name}-journal").unlink(missing_ok=True)
        _make_private(temporary)
        with migrating(temporary) as connection:
            build(connection)
        _connect(temporary, "rw", _WRITING).close()
        rename(temporary, path)
    except OSError as error:
        raise _unusable(path, error) from error
    except sqlite3.Error as error:
        raise explain(error, path) from error


@contextmanager
def migrating(path: Path) -> Iterator[Connection]:
    """One writing transaction outside any pool, for changes of the schema.

    References between tables are checked at its end only: SQLite changes a table by making it anew.
    """
    engine = _engine(path, "rw", ("PRAGMA synchronous=FULL",), kept=0)
    try:
        with engine.begin() as connection:
            yield connection
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
            if broken is not None:
                message = (
                    f"the migration of {path} left table {broken[0]} with broken references; it was undone"
                )
                raise StoreCorrupt(message)
    except DBAPIError as error:
        raise explain(error.orig, path) from error
    finally:
        engine.dispose()


def back_up(path: Path, name: str) -> Path:
    """Copy the committed state to a file of that name beside it, readable by its owner alone."""
    target = path.with_name(name)
    temporary = target.with_name(f"{name}.new")
    try:
        copy(path, temporary)
        rename(temporary, target)
    except (sqlite3.Error, OSError) as error:
        message = (
            f"cannot copy {path} to {target} before migrating it: {error}. "
            "Nothing was changed. Make room, then start again."
        )
        raise StoreUnavailable(message) from error
    return target


def copy(path: Path, target: Path, *, alone: bool = False) -> None:
    """Copy the committed state, also of a store that is in use, into a new file that only its owner can read.

    It needs no file beside it. What stands there under its name goes first. `alone` as of a `Database`.
    Raises sqlite3.Error or OSError.
    """
    _make_private(target)
    target.with_name(f"{target.name}-journal").unlink(missing_ok=True)
    with (
        closing(_connect(path, _ALONE if alone else "ro")) as source,
        closing(_connect(target, "rw")) as made,
    ):
        source.backup(made)
        made.execute("PRAGMA journal_mode=DELETE")


def fold(path: Path) -> None:
    """Bring all of a database into the one file, as nobody has it open. Raises StoreError if somebody has."""
    try:
        with closing(_connect(path, "rw", ("PRAGMA synchronous=FULL",))) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise explain(error, path) from error
    if not is_alone(path):
        message = f"another process has {path} open ('lsof {path}' names it). End that one first."
        raise StoreUnavailable(message)


def is_alone(path: Path) -> bool:
    """Whether all of a database is in the one file, as when nobody has it open."""
    return not any(path.with_name(f"{path.name}{suffix}").exists() for suffix in ("-wal", "-journal"))


def explain(error: BaseException | None, path: Path) -> StoreError:
    """Say what a driver's error means. By its code: one cause comes with many texts."""
    text = str(error)
    match _code(error):
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreCorrupt(_damaged(path, text))
        case sqlite3.SQLITE_FULL:
            message = f"cannot write {path}: the disk is full. It goes on by itself once there is room."
        case sqlite3.SQLITE_IOERR:
            message = f"cannot read or write {path}: {text}. Look at the disk ('dmesg', 'df')."
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            message = (
                f"another process has held {path} locked for {_BUSY_SECONDS:g} s ('lsof {path}' names it)."
            )
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            message = f"cannot open {path}: {text}. It must belong to the user who runs the daemon."
        case _:
            message = f"the database {path} refused: {text}"
    return StoreUnavailable(message)


def _engine(path: Path, mode: str, pragmas: tuple[str, ...] = (), *, kept: int) -> Engine:
    pool: dict[str, Any] = {"poolclass": NullPool}
    if kept:
        pool = {"poolclass": QueuePool, "pool_size": kept, "max_overflow": -1}
    engine = create_engine(
        "sqlite://", creator=lambda: _connect(path, mode, pragmas), hide_parameters=True, **pool
    )

    # Python's sqlite3 would begin a transaction only at the first INSERT, and a deferred one: two writers
    # that read first would then fail instead of waiting.
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if mode == "rw" else "BEGIN")

    return engine


def _connect(path: Path, mode: str, pragmas: tuple[str, ...] = ()) -> sqlite3.Connection:
    """A connection without Python's own transactions. `mode`: ro or rw; neither makes a file."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        for pragma in pragmas:
            connection.execute(pragma)
    except BaseException:
        connection.close()
        raise
    return connection


def _code(error: BaseException | None) -> int | None:
    """SQLite's primary result code; the extended ones only add detail in the higher bits."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _damaged(path: Path, found: str) -> str:
    return (
        f"{path} is damaged: {found}. Nothing is deployed from it and it is left as it is. "
        f"Stop the daemon, keep a copy of the file, and restore a backup."
    )


def _unusable(path: Path, error: OSError) -> StoreUnavailable:
    hint = " Use the account that the daemon runs under." if isinstance(error, PermissionError) else ""
    return StoreUnavailable(f"cannot use {path}: {error.strerror or error}.{hint}")


def _log(path: Path) -> Path:
    """The write-ahead log: SQLite keeps it beside the file while that is open."""
    return path.with_name(f"{path.name}-wal")


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _make_private(path: Path) -> None:
    """Make an empty file that only its owner can read, in place of any leftover. SQLite copies the mode."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def rename(temporary: Path, path: Path) -> None:
    """Give a whole file its name, so that it survives a power cut."""
    temporary.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
