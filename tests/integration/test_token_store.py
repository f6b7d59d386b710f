"""Tokens in the real store: what is kept, what a restart finds, and what costs a write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.store import Conflict, StoreCorrupt, StoreUnavailable
from deployer.adapters.store import schema as store_schema
from deployer.adapters.store.sqlite import Database
from deployer.adapters.store.tokens import Tokens
from deployer.core import tokens as rules
from deployer.core.tokens import Role, Token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A store with this version's schema."""
    path = tmp_path / "deployer.db"
    store_schema.upgrade(path)
    with closing(Database(path)) as opened:
        yield opened


def made(number: int, **more: object) -> Token:
    """One of a few tokens."""
    hash_ = rules.digest(rules.make(bytes([number]) * 32))
    token = Token(
        id=rules.id_of(hash_),
        name="ada",
        hash=hash_,
        role=Role.DEPLOYER,
        environments=frozenset({"staging", "dev"}),
        created_at=NOW + timedelta(seconds=number),
        created_by="bob (local)",
        expires_at=NOW + timedelta(days=90),
    )
    return replace(token, **more)  # type: ignore[arg-type]  # fields of a token


def test_a_restart_finds_what_was_kept(database: Database) -> None:
    """Every field, revocations and uses too, in the order in which they were made."""
    tokens = Tokens(database)
    everything, bare = made(2), made(1, environments=None, expires_at=None)
    tokens.add(everything)
    tokens.add(bare)
    tokens.used(bare.id, NOW)
    tokens.revoke(everything.id, NOW)

    again = Tokens(database)
    revoked, used = replace(everything, revoked_at=NOW), replace(bare, last_used_at=NOW)
    assert again.all() == [used, revoked]
    assert sorted(tokens.all(), key=lambda one: one.created_at) == again.all()
    assert again.find(everything.hash) == revoked
    assert again.find(rules.digest("dpl_other")) is None


def test_the_file_holds_no_token(database: Database) -> None:
    """Only what cannot be turned back into one."""
    Tokens(database).add(made(3))
    content = b"".join(path.read_bytes() for path in database.path.parent.iterdir())
    assert made(3).hash.encode() in content
    assert rules.make(bytes([3]) * 32).encode() not in content


def test_two_with_one_id_are_refused(database: Database) -> None:
    """An id is what people revoke by."""
    tokens = Tokens(database)
    tokens.add(made(1))
    with pytest.raises(Conflict, match="try again"):
        tokens.add(made(2, id=made(1).id))
    assert tokens.all() == [made(1)]


def test_a_revocation_counts_at_once_and_for_good(database: Database) -> None:
    """The first time is kept; what is not there is not revoked.

    One that cannot be written counts at once as well, and to ask again makes it last.
    """
    tokens = Tokens(database)
    tokens.add(made(1))
    tokens.add(made(2))
    assert tokens.revoke("ffffffff", NOW) is None
    assert tokens.revoke(made(1).id, NOW) == made(1, revoked_at=NOW)
    assert tokens.revoke(made(1).id, NOW + timedelta(days=1)) == made(1, revoked_at=NOW)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        # Somebody's shell that holds the file: writes give up after 5 s.
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            tokens.revoke(made(2).id, NOW)
    assert tokens.find(made(2).hash) == made(2, revoked_at=NOW)
    assert Tokens(database).find(made(2).hash) == made(2)
    tokens.revoke(made(2).id, NOW + timedelta(days=1))
    assert Tokens(database).find(made(2).hash) == made(2, revoked_at=NOW)


def test_a_use_is_written_once_a_minute(database: Database) -> None:
    """The first at once."""
    tokens = Tokens(database)
    tokens.add(made(1))
    found = []
    for seconds in (0, 1, 59, 60, 100):
        at = NOW + timedelta(seconds=seconds)
        found.append(tokens.is_use_due(made(1).id, at))
        tokens.used(made(1).id, at)
    assert found == [True, False, False, True, False]
    assert Tokens(database).all() == [made(1, last_used_at=NOW + timedelta(seconds=60))]
    assert not tokens.is_use_due("ffffffff", NOW)
    tokens.used("ffffffff", NOW)


@pytest.mark.parametrize(
    ("column", "value"),
    [("role", "root"), ("environments", "{"), ("environments", "7"), ("expires_at", "soon")],
)
def test_what_cannot_be_understood_opens_nothing(database: Database, column: str, value: str) -> None:
    """A role that only a newer version knows is not guessed; no secret is in the sentence."""
    Tokens(database).add(made(1))
    with closing(sqlite3.connect(database.path)) as connection, connection:
        connection.execute(f"UPDATE tokens SET {column} = ?", (value,))  # noqa: S608 - a column named above
    with pytest.raises(StoreCorrupt, match=f"cannot read token {made(1).id}") as caught:
        Tokens(database)
    assert made(1).hash not in str(caught.value)
