"""Writes the store: what a pass made certain, in one transaction.

Owns every INSERT and UPDATE. Must not decide anything: what may follow what is `core.record.evolve`.
Invariant: events, record, rollout rows and messages of one commit are all there or none of them, each
event continues the chain of its environment, and no content of a config is written outside `releases`.
"""

from __future__ import annotations

import json
import threading
import time
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, insert, select, update

from deployer.adapters.store import codec, outbox, schema
from deployer.adapters.store.errors import Conflict, StoreCorrupt, StoreUnavailable
from deployer.adapters.store.reader import CHAIN, SqlReader, digest_of
from deployer.adapters.store.sqlite import Database
from deployer.adapters.store.tables import (
    CHAINED,
    EVENTS,
    MENTIONS,
    RECORDS,
    RELEASES,
    ROLLOUTS,
    VIEWS,
)
from deployer.core import chain, history
from deployer.core.errors import IllegalEvent
from deployer.core.events import (
    Approved,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Proposed,
    Refused,
    Rejected,
    RetryAsked,
    RollbackAsked,
    Seen,
    Started,
    SyncAsked,
)
from deployer.core.record import evolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from deployer.core.events import Event
    from deployer.core.history import Entry
    from deployer.core.messages import Told
    from deployer.core.record import Record

_LOOKS_SECONDS = 10.0
"""How late `views` may be about the time of an environment's last look while nothing changes. All looks of
these seconds are written in one commit: 1,000 idle environments cost one write in 10 s, not 70 a second."""

# Built once: building a statement takes longer than running it (0.2 ms, measured).
_NEWEST = (
    select(*CHAIN)
    .where(EVENTS.c.environment == bindparam("environment"))
    .order_by(EVENTS.c.sequence.desc())
    .limit(1)
)
_ADD_EVENT = insert(EVENTS).returning(EVENTS.c.id)
_KNOWN_CONFIGS = select(RELEASES.c.digest).where(RELEASES.c.digest.in_(bindparam("digests", expanding=True)))
_ADD_MENTIONS = insert(MENTIONS)
_ADD_CONFIG = insert(RELEASES)
_ADD_RECORD = insert(RECORDS)
_KEEP_RECORD = update(RECORDS).where(
    RECORDS.c.environment == bindparam("name"), RECORDS.c.sequence == bindparam("before")
)
_ROLLOUTS = select(ROLLOUTS.c.id, ROLLOUTS.c.data).where(ROLLOUTS.c.id.in_(bindparam("ids", expanding=True)))
_ADD_ROLLOUT = insert(ROLLOUTS)
_KEEP_ROLLOUT = update(ROLLOUTS).where(ROLLOUTS.c.id == bindparam("name"))
_ADD_VIEW = insert(VIEWS)
_KEEP_VIEW = update(VIEWS).where(VIEWS.c.environment == bindparam("name"))


class SqlStore(SqlReader):
    """The daemon's store. Thread-safe: writes queue up behind one another, reads never wait."""

    def __init__(self, database: Database, *, looks_seconds: float = _LOOKS_SECONDS) -> None:
        """Take an open database with this version's schema; `open` makes one."""
        super().__init__(database)
        self._looks_seconds = looks_seconds
        self._views_lock = threading.Lock()
        self._published: dict[str, str] = {}
        self._looks: dict[str, str] = {}
        self._looks_written = 0.0

    @classmethod
    def open(cls, location: str | Path) -> SqlStore:
        """Open the store of a daemon that has locked its state directory; make or migrate it if needed.

        `location` is a path or a `sqlite:///path` URL. A store of an older version is copied to
        `<name>.before-<revision>` before it is migrated. Raises StoreUnavailable (a newer version made it,
        no room, no permission) or StoreCorrupt; then nothing was changed.
        """
        path = _path(location)
        schema.upgrade(path)
        store = cls(Database(path))
        try:
            store.check()
        except BaseException:
            store.close()
            raise
        return store

    def commit(self, record: Record, events: Sequence[Event], messages: Sequence[Told] = ()) -> Record:
        """Append events to the history that `record` is the fold of, and return what they make of it.

        Once it returns: events, the new record, the rollout rows, the contents of new releases and one
        outbox row per message are durable, all in one transaction. Raises IllegalEvent if the history
        cannot go on like this, Conflict if somebody else wrote meanwhile, StoreUnavailable if it could not
        be written, StoreCorrupt if the newest stored event is not as it was written: never half of it.
        """
        if not events:
            message = f"a commit for {record.environment} needs at least one event"
            raise ValueError(message)
        after = reduce(evolve, events, record)
        texts = [codec.EVENT.encode(event) for event in events]
        cached = codec.RECORD.encode(after)
        with self._database.writing() as connection:
            previous = self._newest_hash(connection, record)
            _keep_configs(connection, events)
            ids = _append(connection, record, events, texts, previous)
            _keep_mentions(connection, events, ids)
            self._keep_rollouts(connection, events, ids)
            self._keep_record(connection, record, after, cached)
            at = codec.stamp(events[-1].at)
            outbox.write(connection, record.environment, messages, at=at, event_id=ids[-1])
        return after

    def publish(
        self,
        environment: str,
        view: dict[str, Any],
        at: datetime,
        messages: Sequence[Told] = (),
        sequence: int = 0,
    ) -> None:
        """Keep the status for those who read while the daemon is down. Not part of the audit log.

        A changed view is durable once it returns, with the messages that it makes true if the log still ends
        at `sequence`. An unchanged one tells nothing new, and only has its time refreshed, later and together
        with others: cheap enough for every pass.
        """
        data, when = json.dumps(view), codec.stamp(at)
        with self._views_lock:
            self._looks[environment] = when
            changed = self._published.get(environment) != data
            if not changed and time.monotonic() - self._looks_written < self._looks_seconds:
                return
            looks, self._looks = self._looks, {}
            self._looks_written = time.monotonic()
        with self._database.writing() as connection:
            if changed:
                _keep_view(connection, environment, when, data)
                if messages:
                    outbox.write_observed(connection, environment, messages, at=when, sequence=sequence)
            connection.execute(_KEEP_VIEW, [{"name": name, "at": when} for name, when in looks.items()])
        self._published[environment] = data

    def _newest_hash(self, connection: Connection, record: Record) -> str:
        """The hash that the next event must follow, if the log still ends where `record` does."""
        newest = connection.execute(_NEWEST, {"environment": record.environment}).first()
        sequence = newest.sequence if newest else 0
        if sequence != record.sequence:
            message = (
                f"somebody else wrote to the history of {record.environment}: it ends at event {sequence}, "
                f"not {record.sequence}. Nothing was written; the next pass reads it again."
            )
            raise Conflict(message)
        if newest is None:
            return chain.GENESIS
        self._require_intact(newest)
        return str(newest.hash)

    def _keep_record(self, connection: Connection, before: Record, after: Record, data: str) -> None:
        row = {"sequence": after.sequence, "data": data}
        if before.sequence == 0:
            connection.execute(_ADD_RECORD, {"environment": after.environment, **row})
            return
        place = {"name": before.environment, "before": before.sequence}
        if connection.execute(_KEEP_RECORD, {**place, **row}).rowcount != 1:
            raise self._disagree(before.environment, before.sequence, None)

    def _keep_rollouts(self, connection: Connection, events: Sequence[Event], ids: Sequence[int]) -> None:
        names = {name for event in events for name in history.touched(event)}
        if not names:
            return
        rows = connection.execute(_ROLLOUTS, {"ids": sorted(names)})
        stored = {row.id: self._decode(codec.ENTRY, row.data, f"rollout {row.id}") for row in rows}
        started = {
            event.rollout: number
            for event, number in zip(events, ids, strict=True)
            if isinstance(event, Started)
        }
        for name, entry in self._advanced(stored, events).items():
            if name in started:
                connection.execute(_ADD_ROLLOUT, rollout_row(entry, started[name]))
            elif entry != stored[name]:
                connection.execute(_KEEP_ROLLOUT, {"name": name, **_values(entry)})

    def _advanced(self, entries: Mapping[str, Entry], events: Sequence[Event]) -> Mapping[str, Entry]:
        try:
            return reduce(history.advance, events, entries)
        except IllegalEvent as error:
            # The events themselves are legal: `commit` folded them into the record before this.
            message = f"{self._database.path}: {error}. Its row was removed. Restore a backup."
            raise StoreCorrupt(message) from error


def rollout_row(entry: Entry, started_event: int) -> dict[str, Any]:
    """The row of a rollout that the event with this id started."""
    return {
        "id": entry.id,
        "environment": entry.environment,
        "number": int(entry.id.rpartition("#")[2]),
        "started_event": started_event,
        "author": entry.release.author,
        "revision": entry.release.revision,
        "digest": entry.release.digest,
        **_values(entry),
    }


def _path(location: str | Path) -> Path:
    if isinstance(location, Path):
        return location
    scheme, separator, path = location.partition("://")
    if not separator:
        return Path(location)
    if scheme != "sqlite" or not path.startswith("/"):
        # The URL itself is not repeated: it may hold a password.
        message = f"this version keeps its store in SQLite: give a path or sqlite:///path, not {scheme}://..."
        raise StoreUnavailable(message)
    return Path(path[1:])


def _keep_configs(connection: Connection, events: Sequence[Event]) -> None:
    configs = {
        event.release.digest: event.release.config
        for event in events
        if isinstance(event, Seen | Started | RollbackAsked)
    }
    if not configs:
        return
    known = set(connection.scalars(_KNOWN_CONFIGS, {"digests": sorted(configs)}))
    for digest in configs.keys() - known:
        text = configs[digest].text
        if digest_of(text) != digest:
            message = f"a config is not what its digest {digest} says; it would be refused when it is read"
            raise ValueError(message)
        connection.execute(_ADD_CONFIG, {"digest": digest, "config": text})


def _append(
    connection: Connection, record: Record, events: Sequence[Event], texts: Sequence[str], previous: str
) -> list[int]:
    """Write the events, each bound to the one before it; return their ids."""
    ids = []
    for number, (event, text) in enumerate(zip(events, texts, strict=True), start=1):
        row: dict[str, Any] = {
            "environment": record.environment,
            "sequence": record.sequence + number,
            "type": event.type,
            "at": codec.stamp(event.at),
            "actor": event.actor,
            "reason": event.reason,
            # The rollout that proved a promoted commit is another environment's, whose log this is not.
            "rollout": "" if isinstance(event, PromotionAsked) else getattr(event, "rollout", ""),
            "data": text,
            "previous_hash": previous,
        }
        row["hash"] = previous = chain.link(previous, [row[name] for name in CHAINED])
        ids.append(connection.execute(_ADD_EVENT, row).scalar_one())
    return ids


def _keep_mentions(connection: Connection, events: Sequence[Event], ids: Sequence[int]) -> None:
    """Write what the events outside rollouts are about, so that the log can be searched for it."""
    rows = [
        {"event_id": number, "revision": revision, "digest": digest}
        for event, number in zip(events, ids, strict=True)
        for revision, digest in [_mentioned(event)]
        if revision or digest
    ]
    if rows:
        connection.execute(_ADD_MENTIONS, rows)


def _mentioned(event: Event) -> tuple[str, str]:
    """The commit and the digest that an event outside a rollout is about; "" where it says nothing."""
    match event:
        case Seen() | RollbackAsked():
            return event.release.revision.commit, event.release.digest
        case Refused():
            return event.commit or "", ""
        case RetryAsked():
            return event.accepts or "", event.digest
        case Approved() | Rejected() | SyncAsked():
            return event.commit, event.digest
        case PromotionAsked() | Promoted() | Proposed() | PromotionFailed():
            return event.commit, ""
        case _:
            return "", ""


def _values(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind.value,
        "result": entry.result.value,
        "started_at": codec.stamp(entry.started_at),
        "finished_at": codec.stamp(entry.finished_at) if entry.finished_at else None,
        "data": codec.ENTRY.encode(entry),
    }


def _keep_view(connection: Connection, environment: str, at: str, data: str) -> None:
    if connection.execute(_KEEP_VIEW, {"name": environment, "at": at, "data": data}).rowcount == 0:
        connection.execute(_ADD_VIEW, {"environment": environment, "at": at, "data": data})
