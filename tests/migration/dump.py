"""Prints the content of a store that went through a good deploy, a failed one and the rollback after it."""

from __future__ import annotations

import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import insert

from deployer.adapters.store import OutboxStore, SqlStore, codec
from deployer.adapters.store.outbox import write
from deployer.adapters.store.sqlite import migrating
from deployer.adapters.store.tables import ANSWERS, TOKENS
from deployer.core.messages import Message
from tests.contract.histories import started, story
from tests.support.build import at, release
from tests.support.outbox_rows import delivered, undelivered

if TYPE_CHECKING:
    from deployer.core.record import Record

FORGE = "forge/configs"


def content(path: Path) -> str:
    """Every row as an INSERT, without the schema: that is what the migrations make."""
    with closing(sqlite3.connect(path)) as connection:
        lines = [line for line in connection.iterdump() if line.startswith("INSERT INTO")]
    ours = [line for line in lines if "alembic_version" not in line and "sqlite_sequence" not in line]
    return "\n".join(ours) + "\n"


def _add_rows_of_the_faces(path: Path) -> None:
    """A token and a kept answer: written as rows, because no event makes them."""
    now = codec.stamp(at(61))
    token = {
        "id": "3f2a9c1b",
        "name": "ada",
        "hash": "3f2a9c1b" * 8,
        "role": "deployer",
        "environments": '["staging"]',
        "created_at": now,
        "created_by": "ada (local)",
    }
    answer = {
        "key": "9d1f",
        "caller": "3f2a9c1b",
        "request": "5e" * 32,
        "status": 202,
        "body": '{"environment":"staging"}',
        "at": now,
    }
    with migrating(path) as connection:
        connection.execute(insert(TOKENS), token)
        connection.execute(insert(ANSWERS), answer)


def _add_what_a_forge_did_not_take(store: SqlStore, record: Record) -> None:
    """A message that is tried again, and a dead letter: of no event of their own."""
    told = [
        Message(kind="commit_status", audience=FORGE, key=f"deployer/staging {one}", text=f"{one} is success")
        for one in ("a", "b")
    ]
    with store.database.writing() as connection:
        write(connection, "staging", told, at=codec.stamp(at(17)), event_id=record.sequence)
    outbox = OutboxStore(store.database)
    outbox.register(FORGE, FORGE)
    for row, is_dead in zip(outbox.due(FORGE, FORGE, at(18), 2), (False, True), strict=True):
        outbox.refuse(FORGE, row, why="it does not take this", at=at(19), is_dead=is_dead)


def main() -> None:
    """Write a store with this version's code, and print what it holds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deployer.db"
        with closing(SqlStore.open(path)) as store:
            record = story(store, store.load("staging"))
            # One in flight, so that a migration is tested in the middle of a rollout too.
            record = store.commit(record, [started(record, release("three"))])
            delivered(store, undelivered(store, 1))
            _add_what_a_forge_did_not_take(store, record)
            store.publish("staging", {"environment": "staging", "sync": "OutOfSync"}, at(60))
        _add_rows_of_the_faces(path)
        sys.stdout.write(content(path))


if __name__ == "__main__":
    main()
