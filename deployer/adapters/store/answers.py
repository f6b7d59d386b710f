"""Remembers what was answered to whom, so that a request that is sent twice is carried out once.

Owns the table `answers`. Must not know what was asked: it keeps a digest of that. Invariant: under one key
one caller gets one answer for as long as it is kept; a key that comes again with another request is
refused, never answered with what belongs to the first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select

from deployer.adapters.store import codec
from deployer.adapters.store.tables import ANSWERS

if TYPE_CHECKING:
    from deployer.adapters.store.sqlite import Database

KEPT = timedelta(hours=24)
"""As long as anybody may repeat a request. (Stripe, from whom the header is known, keeps 24 h as well.)"""

_PROBE = "", "deployer"
"""The key and the caller of the row that shows whether the store can be written. Nobody else has this key."""

_FIND = select(ANSWERS.c.request, ANSWERS.c.status, ANSWERS.c.body).where(
    ANSWERS.c.key == bindparam("key"), ANSWERS.c.caller == bindparam("caller")
)
_FORGET = delete(ANSWERS).where(ANSWERS.c.at < bindparam("before"))
_DROP = delete(ANSWERS).where(
    ANSWERS.c.key == bindparam("one_key"), ANSWERS.c.caller == bindparam("one_caller")
)
_ADD = insert(ANSWERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer. `request` is the digest of what was asked."""

    request: str
    status: int
    body: str


class Answers:
    """The answers of the last 24 hours. Thread-safe."""

    def __init__(self, database: Database) -> None:
        """Take the daemon's own open database."""
        self._database = database

    def find(self, key: str, caller: str) -> Kept | None:
        """What this caller got under this key."""
        with self._database.reading() as connection:
            row = connection.execute(_FIND, {"key": key, "caller": caller}).one_or_none()
        return None if row is None else Kept(request=row.request, status=row.status, body=row.body)

    def keep(self, key: str, caller: str, answer: Kept, now: datetime) -> None:
        """Keep an answer, and forget the old ones. Raises StoreUnavailable."""
        self._write(key, caller, answer, now)

    def probe(self, now: datetime) -> None:
        """Write for the sake of writing. Raises StoreUnavailable with the reason if that does not work."""
        self._write(*_PROBE, Kept(request="", status=0, body=""), now)

    def _write(self, key: str, caller: str, answer: Kept, now: datetime) -> None:
        with self._database.writing() as connection:
            connection.execute(_FORGET, {"before": codec.stamp(now - KEPT)})
            connection.execute(_DROP, {"one_key": key, "one_caller": caller})
            row = {"request": answer.request, "status": answer.status, "body": answer.body}
            connection.execute(_ADD, {"key": key, "caller": caller, "at": codec.stamp(now), **row})
