"""Copies of a store: one is made while the daemon runs, and one is put in the store's place while none does.

Owns the files of both. Must not judge a copy, nor decide whether it may come in: `core.audit` and the caller
do. Invariant: wherever it is killed, the store's name stands for the store that was there or for the restored
one, each whole; only where the first was damaged already can it also stand for an empty file, with which no
daemon starts. What was there is kept under another name before anything takes its place.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count, zip_longest
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from deployer.adapters.store import codec, sqlite
from deployer.adapters.store.errors import StoreCorrupt, StoreError, StoreUnavailable
from deployer.adapters.store.sql import SqlStore
from deployer.adapters.store.sqlite import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection

    from deployer.core.events import Event
    from deployer.core.record import Record

_EXTENT = text("SELECT count(*), max(at) FROM events NOT INDEXED")
_LINKS = text("SELECT id, hash FROM events NOT INDEXED ORDER BY id")
_REVOKED = text("SELECT id, revoked_at FROM tokens WHERE revoked_at IS NOT NULL")
_REVOKE = text("UPDATE tokens SET revoked_at = :at WHERE id = :id AND revoked_at IS NULL")

_BURY = (
    text("UPDATE targets SET cursor = max(cursor, (SELECT coalesce(max(id), 0) FROM outbox))"),
    text("DELETE FROM deliveries"),
)
"""What was not delivered then was delivered since, or is old news: it would take the place of newer."""

_ROWS = 10_000
_LOGS = ("-wal", "-journal")
"""What SQLite keeps beside a file, and a part of what was committed can be in."""
_BESIDE = (*_LOGS, "-shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How many events a store holds, and the latest time that one has; None without any that can be read."""

    events: int
    newest_at: datetime | None


def copy(store: Path, target: Path) -> None:
    """Copy what is committed in a store, also while a daemon writes to it, into a new file.

    Only its owner can read that. Raises StoreError; then there is no such file.
    """
    try:
        sqlite.copy(store, target)
        require_integrity(target, "what was copied of the store")
    except (sqlite3.Error, OSError) as error:
        _remove(target)
        raise _not_copied(store, target, error) from error
    except BaseException:
        _remove(target)
        raise


def keep(made: Path, target: Path) -> None:
    """Give a copy its name, in place of what has it. Raises StoreUnavailable."""
    try:
        sqlite.rename(made, target)
    except OSError as error:
        message = f"cannot write {target}: {error.strerror or error}."
        raise StoreUnavailable(message) from error


def bring(file: Path, store: Path) -> Path:
    """Copy a backup to beside a store, as a file that `put_in_place` can take. Raises StoreError.

    The backup is not written to, nor anything beside it.
    """
    made = store.with_name(f"{store.name}.restoring")
    discard(made)
    alone = sqlite.is_alone(file)
    try:
        before = file.stat()
        sqlite.copy(file, made, alone=alone)
        after = file.stat()
    except sqlite3.Error as error:
        discard(made)
        raise sqlite.explain(error, file) from error
    except OSError as error:
        discard(made)
        raise _not_copied(file, made, error) from error
    if alone and (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        discard(made)
        message = f"{file} was written to meanwhile: once more, when it is whole."
        raise StoreUnavailable(message)
    return made


def discard(made: Path) -> None:
    """Remove what `bring` made, and what is beside it."""
    _remove(made)
    for left in made.parent.glob(f"{made.name}.before-*"):
        left.unlink(missing_ok=True)


def extent(path: Path) -> Extent:
    """What is in a store of whatever version. Raises StoreError."""
    with _opened(path) as database, database.reading() as connection:
        events, newest_at = connection.execute(_EXTENT).one()
    return Extent(events=events, newest_at=_time(newest_at))


def beyond(made: Path, store: Path) -> int:
    """How many events a store has after the last that it shares with another. Raises StoreError."""
    with (
        _opened(made) as one,
        _opened(store) as other,
        one.reading() as ours,
        other.reading() as theirs,
    ):
        same = found = 0
        is_same = True
        for mine, yours in zip_longest(_links(ours), _links(theirs)):
            if yours is None:
                break
            found += 1
            is_same = is_same and mine == yours
            same += is_same
    return found - same


def require_integrity(path: Path, name: str) -> None:
    """Let SQLite look at all of it, its indexes too. Raises StoreCorrupt, with what it is to be called."""
    with _opened(path) as database, database.reading() as connection:
        found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar_one()
    if found != "ok":
        message = f"{name} is damaged: {' '.join(str(found).split())}."
        raise StoreCorrupt(message)


def finish(
    made: Path,
    log: str,
    event: Event,
    *,
    others: Callable[[Record], Sequence[Event]],
    revoked: Mapping[str, str],
    is_behind: bool,
) -> None:
    """Bring a copy to this version's schema, revoke these tokens, and append an event to this log of it.

    `others` says what is appended to each other log, by its record. Where the copy `is_behind`, nobody is
    told any more what had not been delivered when it was made. Raises StoreError.
    """
    with closing(SqlStore.open(made)) as store:
        with store.database.writing() as connection:
            for name, at in revoked.items():
                connection.execute(_REVOKE, {"id": name, "at": at})
            for statement in _BURY if is_behind else ():
                connection.execute(statement)
        for record in (store.load(name) for name in store.logs() if name != log):
            events = others(record)
            if events:
                store.commit(record, events)
        store.commit(store.load(log), (event,))
    sqlite.fold(made)
    for left in made.parent.glob(f"{made.name}.before-*"):
        # The backup itself is that copy.
        left.unlink(missing_ok=True)


def is_there(path: Path) -> bool:
    """Whether there is such a file, with something in it."""
    try:
        return path.stat().st_size > 0
    except FileNotFoundError:
        return False


def revoked(path: Path) -> dict[str, str]:
    """The tokens that count no more in a store, by their id, with the time; none where it cannot be read."""
    with suppress(StoreError), _opened(path) as database, database.reading() as connection:
        return {str(row.id): str(row.revoked_at) for row in connection.execute(_REVOKED)}
    return {}


def put_in_place(made: Path, store: Path, name: str) -> Path | None:
    """Make a finished copy the store; what was there has this name beside it then. None: nothing was there.

    If the name is taken, it gets a number behind it. Nobody else may have either of them open. Raises
    StoreUnavailable.
    """
    free = (store.with_name(f"{name}-{number}" if number else name) for number in count())
    try:
        kept = _set_aside(store, next(filter(_is_free, free)))
        sqlite.rename(made, store)
    except OSError as error:
        message = f"cannot put {made} in the place of {store}: {error.strerror or error}."
        raise StoreUnavailable(message) from error
    return kept


def _set_aside(store: Path, kept: Path) -> Path | None:
    """Give what is there a second name, and leave nothing beside it that SQLite would take for another's."""
    logs = [suffix for suffix in _LOGS if is_there(_with(store, suffix))]
    if not logs and not store.exists():
        _remove(store)
        return None
    # First, for SQLite removes the log of a file that is none.
    for suffix in logs:
        _link(_with(store, suffix), _with(kept, suffix))
    if store.exists():
        with suppress(StoreCorrupt):
            # Takes what is in the log into the file itself.
            sqlite.fold(store)
            for suffix in logs:
                _with(kept, suffix).unlink()
            _link(store, kept)
            return kept
        _link(store, kept)
    # A damaged file without its log would be another one. No daemon starts with an empty one.
    empty = _with(store, ".empty")
    empty.unlink(missing_ok=True)
    os.close(os.open(empty, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    sqlite.rename(empty, store)
    for suffix in _BESIDE:
        _with(store, suffix).unlink(missing_ok=True)
    return kept


def _link(path: Path, name: Path) -> None:
    """Give a file a second name, or copy it where the file system has no such thing. It is on disk then."""
    try:
        os.link(path, name)
    except FileExistsError:
        raise
    except OSError:
        temporary = _with(name, ".new")
        temporary.unlink(missing_ok=True)
        shutil.copy2(path, temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        sqlite.rename(temporary, name)


def _links(connection: Connection) -> Iterator[tuple[Any, ...]]:
    for row in connection.execute(_LINKS, execution_options={"yield_per": _ROWS}):
        yield (row.id, row.hash)


def _opened(path: Path) -> closing[Database]:
    """A file that nobody writes to, which may be of any version."""
    return closing(Database(path, read_only=True, alone=sqlite.is_alone(path)))


def _time(value: object) -> datetime | None:
    try:
        return codec.unstamp(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


def _is_free(path: Path) -> bool:
    return not any(_with(path, suffix).exists() for suffix in ("", *_BESIDE))


def _remove(path: Path) -> None:
    for suffix in ("", *_BESIDE):
        _with(path, suffix).unlink(missing_ok=True)


def _not_copied(source: Path, target: Path, error: Exception) -> StoreError:
    if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.OperationalError):
        return sqlite.explain(error, source)
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return StoreUnavailable(f"cannot copy {source} to {target}: {why}.")
