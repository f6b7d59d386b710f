"""The hashes of the log, of which its Merkle tree is made, and what people gave up of it.

Owns these questions. Must not decode an event but the one that says that a copy was restored. Invariant: each
answer is short, is read from the table itself, and keeps no writer waiting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from deployer.adapters.store import codec
from deployer.adapters.store.errors import StoreCorrupt

if TYPE_CHECKING:
    from datetime import datetime

    from deployer.adapters.store.sqlite import Database
    from deployer.core.events import Event
    from deployer.core.types import ServeConfig

# NOT INDEXED, as in `raw`: an index could say otherwise. The id is the place in the table.
_NEWEST = text("SELECT max(id) FROM events NOT INDEXED")
_AFTER = text("SELECT id, hash FROM events NOT INDEXED WHERE id > :after ORDER BY id LIMIT :limit")
_AT = text("SELECT at FROM events NOT INDEXED WHERE id = :id")
_OF_TYPE = text("SELECT data FROM events NOT INDEXED WHERE environment = :log AND type = :type ORDER BY id")


class Leaves:
    """A store's log as a list of hashes. Thread-safe."""

    def __init__(self, database: Database) -> None:
        """Take an open database."""
        self._database = database

    def newest(self) -> int:
        """The id of the newest event; 0 before the first. Raises StoreError, as all of these."""
        with self._database.reading() as connection:
            return int(connection.execute(_NEWEST).scalar() or 0)

    def after(self, id_: int, limit: int) -> list[tuple[Any, Any]]:
        """Id and hash of the events after that id, as they are stored, the oldest first."""
        with self._database.reading() as connection:
            return [(row.id, row.hash) for row in connection.execute(_AFTER, {"after": id_, "limit": limit})]

    def happened_at(self, id_: int) -> datetime | None:
        """When the event with this id happened; None if there is none, or that cannot be read."""
        with self._database.reading() as connection:
            at = connection.execute(_AT, {"id": id_}).scalar()
        try:
            return None if at is None else codec.unstamp(at)
        except (ValueError, TypeError):
            return None

    def events(self, log: str, type_: str) -> list[Event]:
        """The events of one type in one log, oldest first. Walks the whole log: for when something is amiss.

        Raises StoreCorrupt if one cannot be read.
        """
        with self._database.reading() as connection:
            found = connection.scalars(_OF_TYPE, {"log": log, "type": type_}).all()
        try:
            return [codec.EVENT.decode(data, _no_config) for data in found]
        except codec.Unreadable as error:
            message = (
                f"{self._database.path}: cannot read an event of type {type_}: {error}. Restore a backup."
            )
            raise StoreCorrupt(message) from error


def _no_config(digest: str) -> ServeConfig:
    """What is asked for here holds none."""
    raise KeyError(digest)
