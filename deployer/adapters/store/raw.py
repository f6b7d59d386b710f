"""The log as it is stored, and what the store says of it elsewhere: for `core.audit`.

Owns reading them out of SQLite as they are. Must not judge them, nor decode what an event says. Invariant:
all that one block reads is of one state of the store, also while a daemon writes to it; every column comes
from the table, never from an index, which could say otherwise.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from deployer.adapters.store.errors import StoreCorrupt, StoreUnavailable
from deployer.adapters.store.sqlite import Database, explain, is_alone
from deployer.core.audit import StoreFacts, shown
from deployer.core.raw_log import RawEvent, UnreadableLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import Connection


_ROWS = 1000
"""Rows fetched at a time, so that memory does not grow with the log."""

# NOT INDEXED: SQLite would else answer from an index that holds all that is asked for.
_EVENTS = f"SELECT {', '.join(RawEvent._fields)} FROM events NOT INDEXED ORDER BY id"  # noqa: S608 - ours
_RECORDS = text("SELECT environment, sequence FROM records NOT INDEXED")
_ROLLOUTS = text("SELECT environment, count(*) FROM rollouts NOT INDEXED GROUP BY environment")
_NEWEST = text("SELECT max(seq) FROM sqlite_sequence WHERE name = 'events'")
_TABLES = text("SELECT name FROM sqlite_master WHERE type = 'table'")
_NEEDED = {"events", "records", "rollouts", "releases", "sqlite_sequence"}
_TRIGGERS = text("SELECT name, sql, tbl_name, lower(tbl_name) FROM sqlite_master WHERE type = 'trigger'")
_NAMES_RELEASES = text("SELECT 1 FROM pragma_table_info('rollouts') WHERE name = 'digest'")
_GONE = text(
    "SELECT DISTINCT r.digest FROM rollouts r NOT INDEXED LEFT JOIN releases c ON c.digest = r.digest"
    " WHERE c.digest IS NULL ORDER BY r.digest"
)
_CONTENTS = text("SELECT digest, config FROM releases NOT INDEXED")
_STRAYS = text(
    "SELECT r.id, r.started_event FROM rollouts r NOT INDEXED LEFT JOIN events e ON e.id = r.started_event"
    " WHERE e.type IS NOT 'started' OR e.rollout IS NOT r.id OR e.environment IS NOT r.environment"
    " ORDER BY r.started_event, r.id"
)

_KEEPS = {"events_no_update": "UPDATE", "events_no_delete": "DELETE"}
"""The triggers on the log, by name, and what each refuses: see `migrations/versions/r0001_first.py`."""


class RawLog:
    """A store's log, for one reading of it."""

    def __init__(self, connection: Connection, path: Path) -> None:
        """Take a connection in a transaction, and its file's name for messages; `opened` makes one."""
        self._connection = connection
        self._path = path

    def facts(self) -> StoreFacts:
        """What the store says elsewhere than in its log. Damage that leaves nothing to read is a fault.

        Raises StoreUnavailable for what is no store, and else what SQLAlchemy raises.
        """
        try:
            return self._facts()
        except DBAPIError as error:
            if isinstance(error.orig, sqlite3.OperationalError):
                raise
            return damaged(error)
        except UnicodeDecodeError as error:
            return damaged(error)

    def _facts(self) -> StoreFacts:
        ask = self._connection.execute
        if not _NEEDED.issubset(self._connection.scalars(_TABLES)):
            message = f"{self._path} is a database, but no store of deployer."
            raise StoreUnavailable(message)
        return StoreFacts(
            records={str(name): last for name, last in ask(_RECORDS)},
            rollouts={str(name): number for name, number in ask(_ROLLOUTS)},
            newest_id=ask(_NEWEST).scalar() or 0,
            faults=(
                *self._damage(),
                *self._triggers(),
                *self._strays(),
                *self._contents(),
                *self._gone(),
            ),
        )

    def events(self) -> Iterator[RawEvent]:
        """All events in the order of their ids. Raises UnreadableLog where the file is damaged."""
        read = 0
        try:
            try:
                for row in self._rows(str):
                    read += 1
                    yield RawEvent._make(row)
            except sqlite3.OperationalError as error:
                # A text that is no UTF-8: `core.audit` is to find it, in a row that it can name.
                if not str(error).startswith("Could not decode"):
                    raise
                yield from map(RawEvent._make, itertools.islice(self._rows(_text), read, None))
        except sqlite3.OperationalError as error:
            raise explain(error, self._path) from error
        except sqlite3.DatabaseError as error:
            raise UnreadableLog(shown(error)) from error

    def _rows(self, text_factory: Callable[[bytes], str]) -> Iterator[Sequence[Any]]:
        """The rows of the log, its texts as that makes them: `str` takes half the time of a function of ours.

        SQLAlchemy, which would make objects of its own of a million rows, is not asked.
        """
        driver = _driver(self._connection)
        cursor = driver.execute(_EVENTS)
        while True:
            # Others ask by the same connection between two pages.
            before, driver.text_factory = driver.text_factory, text_factory
            try:
                rows = cursor.fetchmany(_ROWS)
            finally:
                driver.text_factory = before
            if not rows:
                return
            yield from rows

    def _damage(self) -> Iterator[str]:
        # Its quick one does not look whether an index has every row: one that has not hides the others.
        state = self._connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
        if state != "ok":
            yield f"The file is damaged: {shown(' '.join(str(state).split()))}."

    def _triggers(self) -> Iterator[str]:
        rows = {str(name): rest for name, *rest in self._connection.execute(_TRIGGERS)}
        for name, verb in _KEEPS.items():
            form = rf"CREATE TRIGGER {name} BEFORE {verb} ON events BEGIN SELECT RAISE\(ABORT, '[^']*'\); END"
            if name not in rows:
                yield f"The trigger {name}, which keeps the log from being changed, is missing."
            elif not re.fullmatch(form, " ".join(str(rows[name][0]).split())):
                yield f"The trigger {name}, which keeps the log from being changed, is another."
        for name in sorted(rows.keys() - _KEEPS.keys()):
            _, table, lower = rows[name]
            where = "the log" if lower == "events" else f"the table {shown(table)}"
            yield f"There is a trigger on {where} that deployer does not make: {shown(name)}."

    def _strays(self) -> Iterator[str]:
        for rollout, event in self._connection.execute(_STRAYS):
            of = f"the event with id {shown(event)}"
            yield f"Rollout {shown(rollout)} of the history was not started by {of}."

    def _contents(self) -> Iterator[str]:
        for digest, config in self._connection.execute(_CONTENTS, execution_options={"yield_per": _ROWS}):
            if digest != _digest_of(config):
                yield f"The content of the release {shown(digest)} is not what its digest says."

    def _gone(self) -> Iterator[str]:
        # The first version's history did not name them in a column of their own.
        if self._connection.execute(_NAMES_RELEASES).first() is not None:
            for digest in self._connection.scalars(_GONE):
                yield f"The content of the release {shown(digest)}, which the history names, is missing."


@contextmanager
def opened(database: Database) -> Iterator[RawLog]:
    """A store's log, for one reading.

    What is done with it raises StoreUnavailable or StoreCorrupt where the file cannot be read at all.
    """
    with database.reading() as connection:
        driver = _driver(connection)
        before = driver.text_factory
        # Bytes that are no UTF-8 are for `core.audit` to find, in a row that it can name.
        driver.text_factory = _text
        try:
            yield RawLog(connection, database.path)
        except UnicodeDecodeError as error:
            # Python's sqlite3 cannot pass on a message in which SQLite quotes what is damaged.
            message = f"{database.path} is damaged: what SQLite says of it is no text. Restore a backup."
            raise StoreCorrupt(message) from error
        finally:
            driver.text_factory = before


@contextmanager
def opened_file(path: Path) -> Iterator[RawLog]:
    """The log of a store's file, or of a backup of it, for one reading: nothing is written, nor beside it.

    Raises as `opened` does, and StoreUnavailable if somebody writes to it meanwhile who did not before.
    """
    began, alone = _state(path), is_alone(path)
    with closing(Database(path, read_only=True, alone=alone)) as database, opened(database) as log:
        yield log
    if alone and (began != _state(path) or not is_alone(path)):
        message = f"{path} was written to meanwhile: check a copy of it, or once more."
        raise StoreUnavailable(message)


def _state(path: Path) -> tuple[int, int]:
    """What changes when somebody writes to a file."""
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def damaged(error: BaseException) -> StoreFacts:
    """What is known of a store that cannot be opened, or not be read on, for such damage: nothing else."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, sqlite3.Error):
        found = found.orig if isinstance(found, DBAPIError) else found.__cause__
    # Python's sqlite3 cannot pass on a message in which SQLite quotes what is damaged.
    why = "what SQLite says of it is no text" if found is None else shown(found)
    faults = (f"The file is damaged: {why}.",)
    return StoreFacts(records={}, rollouts={}, newest_id=0, faults=faults, is_readable=False)


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):  # pragma: no cover - there is no other yet
        raise TypeError(type(driver))
    return driver


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _digest_of(config: Any) -> str:  # noqa: ANN401 - what a damaged row holds
    content = config.encode("utf-8", "surrogateescape") if isinstance(config, str) else None
    return "" if content is None else f"sha256:{hashlib.sha256(content).hexdigest()}"
