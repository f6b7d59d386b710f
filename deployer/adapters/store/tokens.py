"""Keeps tokens: who has one, for what, until when, and when it was last used.

Owns the table `tokens`. Must not know what a role may do, nor see a token: it gets hashes. Invariant: what is
in memory is what is in the table, for this process alone writes it; so a request costs no read, and a token
that was revoked is refused from the moment in which `revoke` returns, also where a read would fail.
"""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from deployer.adapters.store import codec
from deployer.adapters.store.errors import Conflict, StoreCorrupt
from deployer.adapters.store.tables import TOKENS
from deployer.core.tokens import Role, Token

if TYPE_CHECKING:
    from sqlalchemy import Row, Update

    from deployer.adapters.store.sqlite import Database

_USE = timedelta(minutes=1)
"""How late `last_used_at` may be. Each time costs a commit."""

_ALL = select(TOKENS).order_by(TOKENS.c.created_at, TOKENS.c.id)
_ADD = insert(TOKENS)
_USED = update(TOKENS).where(TOKENS.c.id == bindparam("of")).values(last_used_at=bindparam("at"))
_REVOKED = (
    update(TOKENS)
    .where(TOKENS.c.id == bindparam("of"), TOKENS.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)


class Tokens:
    """The tokens, of the daemon's own open database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        """Read all of them: there are as many as people and machines have been given.

        Raises StoreUnavailable, or StoreCorrupt if one cannot be understood: whom it is for is not guessed.
        """
        self._database = database
        # For memory alone, and never held while a disk is waited for: a revocation does not wait for one.
        # Readers take no lock, for an entry is replaced as a whole.
        self._lock = threading.Lock()
        self._adding = threading.Lock()
        with database.reading() as connection:
            rows = connection.execute(_ALL).all()
        self._by_id = {row.id: self._token(row) for row in rows}
        self._by_hash = {token.hash: token.id for token in self._by_id.values()}

    def find(self, hash_: str) -> Token | None:
        """The token with this hash, whether it counts or not."""
        return self.get(self._by_hash.get(hash_, ""))

    def get(self, id_: str) -> Token | None:
        """The token with this id, whether it counts or not."""
        return self._by_id.get(id_)

    def all(self) -> list[Token]:
        """Every token there ever was, in the order in which they were made."""
        return list(self._by_id.values())

    def add(self, token: Token) -> None:
        """Keep a new one: durable once it returns.

        Raises Conflict if its id is another one's (1 in 4 billion for each that there is: make another
        token), StoreUnavailable.
        """
        with self._adding:
            if token.id in self._by_id:
                message = f"there is a token {token.id} already: try again, with another one"
                raise Conflict(message)
            with self._database.writing() as connection:
                connection.execute(_ADD, _values(token))
            with self._lock:
                self._by_id[token.id] = token
                self._by_hash[token.hash] = token.id

    def revoke(self, id_: str, at: datetime) -> Token | None:
        """Let it count no more, at once and durably; None if there is no such token.

        If that cannot be written (StoreUnavailable) it counts no more in this process all the same; to ask
        again writes it then. The first time is kept.
        """
        with self._lock:
            token = self._by_id.get(id_)
            if token is None:
                return None
            revoked = replace(token, revoked_at=token.revoked_at or at)
            self._by_id[id_] = revoked
        self._write(_REVOKED, id_, revoked.revoked_at or at)
        return revoked

    def is_use_due(self, id_: str, now: datetime) -> bool:
        """Whether `used` has something to write."""
        token = self._by_id.get(id_)
        return token is not None and (token.last_used_at is None or now - token.last_used_at >= _USE)

    def used(self, id_: str, now: datetime) -> None:
        """Keep that it was used, at most once a minute. Raises StoreUnavailable."""
        with self._lock:
            if not self.is_use_due(id_, now):
                return
            self._by_id[id_] = replace(self._by_id[id_], last_used_at=now)
        self._write(_USED, id_, now)

    def _write(self, statement: Update, id_: str, at: datetime) -> None:
        with self._database.writing() as connection:
            connection.execute(statement, {"of": id_, "at": codec.stamp(at)})

    def _token(self, row: Row[Any]) -> Token:
        try:
            return Token(
                id=row.id,
                name=row.name,
                hash=row.hash,
                role=Role(row.role),
                environments=None if row.environments is None else frozenset(json.loads(row.environments)),
                created_at=codec.unstamp(row.created_at),
                created_by=row.created_by,
                expires_at=_time(row.expires_at),
                revoked_at=_time(row.revoked_at),
                last_used_at=_time(row.last_used_at),
            )
        except (ValueError, TypeError) as error:
            message = (
                f"{self._database.path}: cannot read token {row.id}: {error}. A newer version of deployer"
                " wrote it, or it was changed. Install the version that wrote it, or restore a backup."
            )
            raise StoreCorrupt(message) from error


def _values(token: Token) -> dict[str, Any]:
    environments = None if token.environments is None else json.dumps(sorted(token.environments))
    return {
        "id": token.id,
        "name": token.name,
        "hash": token.hash,
        "role": token.role.value,
        "environments": environments,
        "created_at": codec.stamp(token.created_at),
        "created_by": token.created_by,
        "expires_at": codec.stamp(token.expires_at) if token.expires_at else None,
        "revoked_at": codec.stamp(token.revoked_at) if token.revoked_at else None,
        "last_used_at": codec.stamp(token.last_used_at) if token.last_used_at else None,
    }


def _time(text: str | None) -> datetime | None:
    return None if text is None else codec.unstamp(text)
