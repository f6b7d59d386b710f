"""What a store keeps of its log besides: whether its records and its history are what the log gives.

Owns the comparison: the log is folded again from its first event. Must not write, nor judge the log itself.
Invariant: what the store says of an environment is compared in all its columns with what its own events make
of it, one environment at a time, so that memory grows with the longest log and not with all of them.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy import select, union

from deployer.adapters.store import codec, schema
from deployer.adapters.store.errors import StoreCorrupt
from deployer.adapters.store.reader import SqlReader
from deployer.adapters.store.sql import rollout_row
from deployer.adapters.store.sqlite import Database, is_alone
from deployer.adapters.store.tables import EVENTS, RECORDS, ROLLOUTS
from deployer.core import history
from deployer.core.audit import shown
from deployer.core.errors import IllegalEvent
from deployer.core.events import Started
from deployer.core.record import Record, evolve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

    from deployer.core.history import Entry

T = TypeVar("T")

_ROWS = 1000
"""Fetched at a time."""


def differences(path: Path) -> Iterator[str]:
    """A sentence for each thing that a store keeps of an environment, and that its log does not give.

    The log is believed: `core.audit` says whether it is as it was written. Raises StoreError if the store
    cannot be read, or is of another version.
    """
    schema.require_current(path)
    database = Database(path, read_only=True, alone=is_alone(path))
    with closing(database), database.reading() as connection:
        reader = SqlReader(database)
        tables = (RECORDS, EVENTS, ROLLOUTS)
        for name in sorted(connection.scalars(union(*(select(one.c.environment) for one in tables)))):
            try:
                yield from _of(connection, reader, name)
            except (codec.Unreadable, IllegalEvent, StoreCorrupt) as error:
                yield f"The log of {shown(name)} cannot be folded again: {str(error).rstrip('.')}."


def _of(connection: Connection, reader: SqlReader, name: str) -> Iterator[str]:
    """What differs in one environment. Raises what folding its log does."""
    record, entries, started = _folded(connection, reader, name)
    row = connection.execute(select(RECORDS).where(RECORDS.c.environment == name)).one_or_none()
    if row is not None and _again(codec.RECORD, row.data, reader) != codec.RECORD.encode(record):
        yield f"The record of {shown(name)} is not what its log gives: it was changed."
    rows = connection.execute(
        select(ROLLOUTS).where(ROLLOUTS.c.environment == name).order_by(ROLLOUTS.c.started_event)
    )
    for rollout in rows.mappings():
        of = f"Rollout {shown(rollout['id'])} of the history"
        entry = entries.pop(rollout["id"], None)
        if entry is None:
            yield f"{of} is not in the log of {shown(name)}."
            continue
        again = _again(codec.ENTRY, rollout["data"], reader)
        given = rollout_row(_as_kept(entry, again, reader), started[entry.id])
        kept = {**rollout, "data": again}
        wrong = [column for column, value in given.items() if kept[column] != value]
        if wrong:
            yield f"{of} is not what the log of {shown(name)} gives: its {', '.join(wrong)} was changed."
    for gone in entries:
        yield f"Rollout {shown(gone)} of the log of {shown(name)} is missing in the history."


def _as_kept(entry: Entry, again: str, reader: SqlReader) -> Entry:
    """The rollout as a row has it that the first version wrote: without the time of the commit."""
    if not again or codec.ENTRY.decode(again, reader.config).release.committed_at is not None:
        return entry
    return replace(entry, release=replace(entry.release, committed_at=None))


def _folded(
    connection: Connection, reader: SqlReader, name: str
) -> tuple[Record, dict[str, Entry], dict[str, int]]:
    """The record and the rollouts of an environment, and the ids of the events that started these."""
    record = Record(environment=name)
    entries: dict[str, Entry] = {}
    started: dict[str, int] = {}
    query = select(EVENTS.c.id, EVENTS.c.data).where(EVENTS.c.environment == name).order_by(EVENTS.c.sequence)
    for id_, data in connection.execute(query, execution_options={"yield_per": _ROWS}):
        event = codec.EVENT.decode(data, reader.config)
        record = evolve(record, event)
        touched = history.touched(event)
        if touched:
            entries |= history.advance({one: entries[one] for one in touched if one in entries}, event)
        if isinstance(event, Started):
            started[event.rollout] = id_
    return record, entries, started


def _again(form: codec.Codec[T], data: str, reader: SqlReader) -> str:
    """What is kept, as this version writes it; "" if it cannot be read."""
    try:
        return form.encode(form.decode(data, reader.config))
    except (codec.Unreadable, StoreCorrupt):
        return ""
