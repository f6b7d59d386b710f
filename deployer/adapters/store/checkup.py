"""A look at a store from outside, for `deployer doctor`: is it sound, how much is in it, is its log intact?

Owns the questions that go over the whole file. Must not write, make or migrate anything. Invariant: works
while the daemon writes, and its answers are of one state of the database.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import func, select, union

from deployer.adapters.store import codec, schema
from deployer.adapters.store.reader import SqlReader
from deployer.adapters.store.sqlite import Database
from deployer.adapters.store.tables import EVENTS, RECORDS, REVISION

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_EVENTS = select(func.count()).select_from(EVENTS)
_NAMES = union(select(EVENTS.c.environment), select(RECORDS.c.environment))
_NEWEST = select(func.max(EVENTS.c.at))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkup:
    """A sound store: its schema's revision, and how many events of how many environments are in it."""

    revision: str
    events: int
    environments: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCheckup:
    """What became of the logs. `broken`: by environment, the first sequence that is not as it was written."""

    events: int
    environments: int
    broken: dict[str, int]


def checkup(path: Path) -> Checkup:
    """Let SQLite look through the file, and compare each record with its newest event.

    Raises StoreUnavailable if it cannot be opened or is of another version, StoreCorrupt if it is damaged.
    Takes 0.3 s for 256 MB.
    """
    schema.require_current(path)
    with closing(Database(path, read_only=True)) as database:
        database.check()
        SqlReader(database).check()
        with database.reading() as connection:
            names = connection.scalars(_NAMES).all()
            events = connection.execute(_EVENTS).scalar_one()
    return Checkup(revision=REVISION, events=events, environments=len(names))


def check_chains(path: Path) -> ChainCheckup:
    """Verify the whole log of every environment, also of those that are no longer in the settings.

    Raises as `checkup` does.
    """
    schema.require_current(path)
    with closing(Database(path, read_only=True)) as database:
        with database.reading() as connection:
            names = sorted(connection.scalars(_NAMES).all())
            events = connection.execute(_EVENTS).scalar_one()
        reader = SqlReader(database)
        found = {name: reader.verify(name) for name in names}
    broken = {name: sequence for name, sequence in found.items() if sequence is not None}
    return ChainCheckup(events=events, environments=len(names), broken=broken)


def newest_event_at(path: Path) -> datetime | None:
    """The latest time that any event has; None if there is none. Raises as `checkup` does."""
    schema.require_current(path)
    with closing(Database(path, read_only=True)) as database, database.reading() as connection:
        newest = connection.execute(_NEWEST).scalar_one()
    return None if newest is None else codec.unstamp(newest)
