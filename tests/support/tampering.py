"""What somebody does to a store's log who may write to its file: a function of the connection for each way.

Owns the ways. Must not know what finds them. Invariant: each leaves a store that SQLite finds nothing wrong
with, and that is another than it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core import chain
from deployer.core.raw_log import RawEvent
from tests.support.audited import ENVIRONMENTS

if TYPE_CHECKING:
    import random
    import sqlite3

TEXTS = ("type", "at", "actor", "reason", "rollout", "data", "previous_hash", "hash")
"""The columns of which another value makes the row itself the first bad one."""


def ids(connection: sqlite3.Connection) -> list[int]:
    """Of all events."""
    return [id_ for (id_,) in connection.execute("SELECT id FROM events ORDER BY id")]


def delete(connection: sqlite3.Connection, chance: random.Random) -> None:
    """Some events are gone."""
    gone = chance.sample(ids(connection), chance.randrange(1, 6))
    connection.executemany("DELETE FROM events WHERE id = ?", [(id_,) for id_ in gone])


def swap(connection: sqlite3.Connection, chance: random.Random) -> None:
    """Two events have each other's ids."""
    one, other = chance.sample(ids(connection), 2)
    for now, then in ((one, -1), (other, one), (-1, other)):
        connection.execute("UPDATE events SET id = ? WHERE id = ?", (then, now))


def insert(connection: sqlite3.Connection, chance: random.Random) -> None:
    """An event stands there again, at the end, as another one of its environment."""
    columns = ", ".join(RawEvent._fields[1:])
    newest = "(SELECT max(sequence) + 1 FROM events WHERE environment = e.environment)"
    values = columns.replace("sequence", newest, 1)
    connection.execute(
        f"INSERT INTO events ({columns}) SELECT {values} FROM events e WHERE id = ?",  # noqa: S608 - ours
        (chance.choice(ids(connection)),),
    )


def cut(connection: sqlite3.Connection, chance: random.Random) -> None:
    """The newest events are gone."""
    connection.execute("DELETE FROM events WHERE id > ?", (chance.choice(ids(connection)[:-1]),))


def blob(connection: sqlite3.Connection, chance: random.Random) -> None:
    """A text is the same bytes, but no text."""
    column = chance.choice(["environment", *TEXTS])
    connection.execute(
        f"UPDATE events SET {column} = CAST({column} AS BLOB) WHERE id = ?",  # noqa: S608 - ours
        (chance.choice(ids(connection)),),
    )


def record(connection: sqlite3.Connection, chance: random.Random) -> None:
    """A record is of another event, or is gone."""
    what = chance.choice(["UPDATE records SET sequence = sequence - 1", "DELETE FROM records"])
    connection.execute(f"{what} WHERE environment = ?", (chance.choice(ENVIRONMENTS),))


def history(connection: sqlite3.Connection, chance: random.Random) -> None:
    """A rollout is gone, or was started by another event, or is another's."""
    (rollout,) = chance.choice(connection.execute("SELECT id FROM rollouts ORDER BY id").fetchall())
    what = chance.choice(
        [
            "DELETE FROM rollouts",
            "UPDATE rollouts SET started_event = started_event + 100000",
            "UPDATE rollouts SET environment = environment || 'x'",
            "UPDATE rollouts SET id = id || 'x'",
        ]
    )
    connection.execute(f"{what} WHERE id = ?", (rollout,))


def release(connection: sqlite3.Connection, chance: random.Random) -> None:
    """The content of a release is another, or no text."""
    (digest,) = chance.choice(connection.execute("SELECT digest FROM releases ORDER BY digest").fetchall())
    value = chance.choice(["config || ' '", "CAST(config AS BLOB)", "NULLIF(config, config) IS NULL"])
    connection.execute(f"UPDATE releases SET config = {value} WHERE digest = ?", (digest,))  # noqa: S608 - ours


def given(connection: sqlite3.Connection, chance: random.Random) -> None:
    """The ids that were given out were more, or none."""
    what = chance.choice(["UPDATE sqlite_sequence SET seq = seq + 1", "DELETE FROM sqlite_sequence"])
    connection.execute(f"{what} WHERE name = 'events'")


def forge(connection: sqlite3.Connection, chance: random.Random) -> None:
    """An event is edited, and every hash made anew: no key is needed for that."""
    rows = [RawEvent(*row) for row in connection.execute("SELECT * FROM events ORDER BY id")]
    edited = chance.choice(rows)
    previous: dict[str, str] = {}
    for row in rows:
        event = row._replace(actor="nobody") if row is edited else row
        before = previous.get(event.environment, chain.GENESIS)
        previous[event.environment] = chain.link(before, event.chained)
        connection.execute(
            "UPDATE events SET actor = ?, previous_hash = ?, hash = ? WHERE id = ?",
            (event.actor, before, previous[event.environment], event.id),
        )


def rehash(connection: sqlite3.Connection, chance: random.Random) -> None:
    """An event is edited, and its own hash made anew. Not the last of its environment: nothing follows it."""
    row = RawEvent(
        *connection.execute("SELECT * FROM events WHERE id = ?", (chance.randrange(1, 900),)).fetchone()
    )
    event = row._replace(reason="nothing")
    connection.execute(
        "UPDATE events SET reason = ?, hash = ? WHERE id = ?",
        (event.reason, chain.link(event.previous_hash, event.chained), event.id),
    )


def skip(connection: sqlite3.Connection, chance: random.Random) -> None:
    """From an event on, the sequences of its environment are one higher, and its log is written anew."""
    name = chance.choice(ENVIRONMENTS)
    query = "SELECT * FROM events WHERE environment = ? ORDER BY id DESC"
    rows = [RawEvent(*row) for row in connection.execute(query, (name,))][: chance.randrange(1, 64)]
    for row in rows:
        connection.execute("UPDATE events SET sequence = sequence + 1 WHERE id = ?", (row.id,))
    previous = rows[-1].previous_hash
    for row in reversed(rows):
        event = row._replace(sequence=row.sequence + 1)
        before, previous = previous, chain.link(previous, event.chained)
        connection.execute(
            "UPDATE events SET previous_hash = ?, hash = ? WHERE id = ?", (before, previous, row.id)
        )
    connection.execute("UPDATE records SET sequence = sequence + 1 WHERE environment = ?", (name,))


def cut_with_care(connection: sqlite3.Connection, chance: random.Random) -> None:
    """The newest events are gone, and all that the store says of them."""
    last = chance.choice(ids(connection)[:-1])
    connection.execute("DELETE FROM rollouts WHERE started_event > ?", (last,))
    connection.execute("DELETE FROM events WHERE id > ?", (last,))
    connection.execute("DELETE FROM records")
    connection.execute(
        "INSERT INTO records SELECT environment, max(sequence), '' FROM events GROUP BY environment"
    )
    connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'events'", (last,))


OPEN = (delete, swap, insert, cut, blob, record, history, release, given, rehash, skip)
"""Each of them is found without a checkpoint."""
CAREFUL = (forge, cut_with_care)
"""Each of them is found only with one."""
