"""Reads the store: records, history, events, statuses.

Owns every SELECT that is not part of a write, and the check that what is read is what was written. Must
not write. Invariant: nothing read is believed that contradicts its digest, its hash or its sequence; it
raises StoreCorrupt instead.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import bindparam, func, select

from deployer.adapters.store import codec, schema
from deployer.adapters.store.errors import StoreCorrupt
from deployer.adapters.store.sqlite import Database
from deployer.adapters.store.tables import CHAINED, EVENTS, RECORDS, RELEASES, ROLLOUTS, VIEWS
from deployer.core import chain
from deployer.core.commands import GoodRelease
from deployer.core.events import Event, Started
from deployer.core.gates import BecameGood
from deployer.core.record import Record, Result
from deployer.core.types import ServeConfig

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Row

    from deployer.core.history import Entry

    AnyRow = Row[*tuple[Any, ...]]

T = TypeVar("T")

_CONFIGS = 1024
"""Contents of configs kept in memory. They never change under their digest; 500 environments need the good
and the wanted one each, some 10 KB apiece."""

_GOOD_RELEASES = 1000
"""Good rollouts that are read for a way back: more than a year of them where three a day end well."""

_VERIFY_ROWS = 1000
"""Rows fetched at a time while a whole log is verified, so that memory does not grow with the log."""

CHAIN = [EVENTS.c[name] for name in (*CHAINED, "previous_hash", "hash")]
"""What a query of events selects first, so that their hashes can be checked."""

# Statements of every pass are built once: building one takes longer than running it (0.2 ms, measured).
_RECORD = select(RECORDS.c.sequence, RECORDS.c.data).where(RECORDS.c.environment == bindparam("environment"))
_LAST = select(func.max(EVENTS.c.sequence)).where(EVENTS.c.environment == bindparam("environment"))
_CONFIG = select(RELEASES.c.config).where(RELEASES.c.digest == bindparam("digest"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event with its place: `id` grows over all environments, `sequence` within its own, from 1."""

    id: int
    environment: str
    sequence: int
    event: Event
    previous_hash: str
    hash: str


class SqlReader:
    """The store for reading, also while the daemon writes to it. Thread-safe."""

    def __init__(self, database: Database) -> None:
        """Take an open database with this version's schema; `open_readonly` makes one."""
        self._database = database
        self._config = lru_cache(maxsize=_CONFIGS)(self._read_config)

    @classmethod
    def open_readonly(cls, path: Path) -> SqlReader:
        """Open an existing store. Never makes or migrates one.

        Raises StoreUnavailable if there is none, or one of another version; StoreCorrupt if it is damaged.
        """
        schema.require_current(path)
        return SqlReader(Database(path, read_only=True))

    @property
    def database(self) -> Database:
        """The open database, for what else is kept in it (`Search`, tokens, answers)."""
        return self._database

    def close(self) -> None:
        """Close every connection. Later calls raise StoreUnavailable; closing again does nothing."""
        self._database.close()

    def load(self, environment: str) -> Record:
        """The record of an environment; an empty one if it has no events."""
        with self._database.reading() as connection:
            last = connection.execute(_LAST, {"environment": environment}).scalar_one()
            row = connection.execute(_RECORD, {"environment": environment}).one_or_none()
        recorded = row.sequence if row else None
        if last != recorded:
            raise self._disagree(environment, last, recorded)
        if row is None:
            return Record(environment=environment)
        record = self._decode(codec.RECORD, row.data, f"the record of {environment}")
        if (record.environment, record.sequence) != (environment, last):
            raise self._disagree(environment, last, record.sequence, record.environment)
        return record

    def history(
        self, environment: str | None = None, *, limit: int = 20, before: str | None = None
    ) -> list[Entry]:
        """The newest rollouts first, of one environment or of all.

        `before` is the id of the last entry of the page before; no rollout of that id, no entries.
        """
        query = select(ROLLOUTS.c.id, ROLLOUTS.c.data).order_by(ROLLOUTS.c.started_event.desc()).limit(limit)
        if environment is not None:
            query = query.where(ROLLOUTS.c.environment == environment)
        if before is not None:
            start = select(ROLLOUTS.c.started_event).where(ROLLOUTS.c.id == before).scalar_subquery()
            query = query.where(ROLLOUTS.c.started_event < start)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [self._decode(codec.ENTRY, row.data, f"rollout {row.id}") for row in rows]

    def good_releases(self, environment: str, *, limit: int = _GOOD_RELEASES) -> list[GoodRelease]:
        """What became good here, newest first: one entry for each of the newest rollouts that ended so.

        Raises StoreCorrupt if one of their events is not as it was written: it could be the way back.
        """
        query = (
            select(*CHAIN, ROLLOUTS.c.finished_at)
            .join(ROLLOUTS, ROLLOUTS.c.started_event == EVENTS.c.id)
            .where(ROLLOUTS.c.environment == environment, ROLLOUTS.c.result == Result.GOOD.value)
            .order_by(ROLLOUTS.c.started_event.desc())
            .limit(limit)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [self._good_release(row) for row in rows]

    def became_good(self, environment: str, commit: str) -> BecameGood | None:
        """When a rollout first made this commit good here; None if none did."""
        query = (
            select(ROLLOUTS.c.finished_at, ROLLOUTS.c.digest)
            .where(
                ROLLOUTS.c.environment == environment,
                ROLLOUTS.c.revision == commit,
                ROLLOUTS.c.result == Result.GOOD.value,
            )
            .order_by(ROLLOUTS.c.finished_at)
            .limit(1)
        )
        with self._database.reading() as connection:
            found = connection.execute(query).one_or_none()
        return BecameGood(at=codec.unstamp(found.finished_at), digest=found.digest) if found else None

    def events(
        self, environment: str | None = None, *, after_id: int = 0, limit: int = 1000
    ) -> list[StoredEvent]:
        """The events after an id, oldest first, of one environment or of all."""
        query = select(EVENTS).where(EVENTS.c.id > after_id).order_by(EVENTS.c.id).limit(limit)
        if environment is not None:
            query = query.where(EVENTS.c.environment == environment)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return [
            StoredEvent(
                id=row.id,
                environment=row.environment,
                sequence=row.sequence,
                event=self._decode(codec.EVENT, row.data, f"event {row.sequence} of {row.environment}"),
                previous_hash=row.previous_hash,
                hash=row.hash,
            )
            for row in rows
        ]

    def logs(self) -> list[str]:
        """Whose logs there are, by name: of environments, also of those that are gone, and of the daemon."""
        with self._database.reading() as connection:
            return list(connection.scalars(select(RECORDS.c.environment).order_by(RECORDS.c.environment)))

    def verify(self, environment: str) -> int | None:
        """The first sequence of an environment's log that is not as it was written; None if all are."""
        query = select(*CHAIN).where(EVENTS.c.environment == environment).order_by(EVENTS.c.sequence)
        length = select(RECORDS.c.sequence).where(RECORDS.c.environment == environment)
        with self._database.reading() as connection:
            recorded = connection.execute(length).scalar_one_or_none() or 0
            rows = connection.execute(query, execution_options={"yield_per": _VERIFY_ROWS})
            return chain.verify(map(_link, rows), recorded)

    def check(self) -> None:
        """Check the newest event of every environment, and that the record goes as far. Raises StoreCorrupt.

        Fast enough for every start; `verify` checks a whole log.
        """
        newest = (
            select(func.max(EVENTS.c.sequence))
            .where(EVENTS.c.environment == RECORDS.c.environment)
            .correlate(RECORDS)
            .scalar_subquery()
        )
        query = select(*CHAIN, RECORDS.c.environment.label("owner"), RECORDS.c.sequence.label("recorded"))
        query = query.select_from(
            RECORDS.outerjoin(
                EVENTS, (EVENTS.c.environment == RECORDS.c.environment) & (EVENTS.c.sequence == newest)
            )
        )
        strays = select(EVENTS.c.environment, EVENTS.c.sequence)
        strays = strays.where(EVENTS.c.environment.not_in(select(RECORDS.c.environment))).limit(1)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            stray = connection.execute(strays).first()
        for row in rows:
            if row.sequence != row.recorded:
                raise self._disagree(row.owner, row.sequence, row.recorded)
            self._require_intact(row)
        if stray is not None:
            raise self._disagree(stray.environment, stray.sequence, None)

    def config(self, digest: str) -> ServeConfig:
        """The config with this digest. Raises StoreCorrupt if its content is not there or was changed."""
        return self._config(digest)

    def views(self, environment: str | None = None) -> dict[str, tuple[datetime, dict[str, Any]]]:
        """By environment: when it was last looked at (up to 10 s late), and the status published then.

        With a name only that one, if there is one.
        """
        query = select(VIEWS)
        if environment is not None:
            query = query.where(VIEWS.c.environment == environment)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        try:
            return {row.environment: (codec.unstamp(row.at), json.loads(row.data)) for row in rows}
        except ValueError as error:
            message = f"{self._database.path}: cannot read the published status: {error}. Restore a backup."
            raise StoreCorrupt(message) from error

    def _read_config(self, digest: str) -> ServeConfig:
        with self._database.reading() as connection:
            text = connection.execute(_CONFIG, {"digest": digest}).scalar_one_or_none()
        if text is None or digest_of(text) != digest:
            what = "is missing" if text is None else "was changed"
            message = (
                f"{self._database.path}: the content of {digest} {what}. It may be what runs or the way "
                "back, so nothing is deployed from this store. Restore a backup."
            )
            raise StoreCorrupt(message)
        return ServeConfig(text=text, digest=digest)

    def _good_release(self, row: AnyRow) -> GoodRelease:
        self._require_intact(row)
        what = f"event {row.sequence} of {row.environment}"
        event = self._decode(codec.EVENT, row.data, what)
        if not isinstance(event, Started):
            message = f"{self._database.path}: {what} starts no rollout, as its row says. Restore a backup."
            raise StoreCorrupt(message)
        return GoodRelease(
            rollout=event.rollout,
            release=event.release,
            at=codec.unstamp(row.finished_at),
            policy=event.policy,
            nonce=event.nonce,
        )

    def _decode(self, form: codec.Codec[T], data: str, what: str) -> T:
        try:
            return form.decode(data, self._config)
        except codec.Unreadable as error:
            message = (
                f"{self._database.path}: cannot read {what}: {error}. A newer version of deployer wrote it, "
                "or it was changed. Install the version that wrote it, or restore a backup."
            )
            raise StoreCorrupt(message) from error

    def _require_intact(self, row: AnyRow) -> None:
        """Raise StoreCorrupt unless this row, selected with `CHAIN` first, is as it was written."""
        link = _link(row)
        if link.hash != chain.link(link.previous, link.fields):
            message = (
                f"{self._database.path}: event {row.sequence} of {row.environment} was changed after it was "
                "written. Nothing is added to this log. Keep a copy, and restore a backup."
            )
            raise StoreCorrupt(message)

    def _disagree(
        self, environment: str, last: int | None, recorded: int | None, whose: str = ""
    ) -> StoreCorrupt:
        log = f"ends at event {last}" if last else "is empty"
        record = f"is of event {recorded}" if recorded else "is missing"
        of_whom = f" of {whose}" if whose else ""
        return StoreCorrupt(
            f"{self._database.path}: the log of {environment} {log}, but its record {record}{of_whom}. "
            "They are written together, so one was changed. Restore a backup."
        )


def digest_of(text: str) -> str:
    """The digest under which a config's content is kept."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _link(row: AnyRow) -> chain.Link:
    return chain.Link(
        sequence=row.sequence, fields=row[: len(CHAINED)], previous=row.previous_hash, hash=row.hash
    )
