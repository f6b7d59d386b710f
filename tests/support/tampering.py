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
    """Two events of one environment have each other's ids."""
    name = chance.choice(ENVIRONMENTS)
    own = connection.execute("SELECT id FROM events WHERE environment = ? ORDER BY id", (name,)).fetchall()
    (one,), (other,) = chance.sample(own, 2)
    _exchange(connection, one, other)


def swap_neighbours(connection: sqlite3.Connection, chance: random.Random) -> None:
    """Neighbours of two environments have each other's ids; neither starts a rollout."""
    pairs = connection.execute(
        "SELECT e.id FROM events e JOIN events f ON f.id = e.id + 1 AND f.environment <> e.environment"
        " WHERE 'started' NOT IN (e.type, f.type) ORDER BY e.id"
    ).fetchall()
    (one,) = chance.choice(pairs)
    _exchange(connection, one, one + 1)


def _exchange(connection: sqlite3.Connection, one: int, other: int) -> None:
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


def given_twice(connection: sqlite3.Connection, chance: random.Random) -> None:
    """A second row says that more ids were given out."""
    last = 100_000 + chance.randrange(1000)
    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)", (last,))


def hide(connection: sqlite3.Connection, chance: random.Random) -> None:
    """An index lacks some events, which nobody sees who asks it; its statement does not show that."""
    name = chance.choice(["events_environment_id", "events_type_id", "events_actor_id", "events_at_id"])
    (good,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (name,)).fetchone()
    connection.execute(f"DROP INDEX {name}")
    connection.execute(f"{good} WHERE type <> 'failed'")
    connection.execute("PRAGMA writable_schema = ON")
    connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (good, name))
    connection.execute("PRAGMA writable_schema = OFF")


def no_content(connection: sqlite3.Connection, chance: random.Random) -> None:
    """The content of a release that the history names is gone."""
    (digest,) = chance.choice(connection.execute("SELECT digest FROM rollouts ORDER BY id").fetchall())
    connection.execute("DELETE FROM releases WHERE digest = ?", (digest,))


def trigger(connection: sqlite3.Connection, chance: random.Random) -> None:
    """Whatever is written there next can become something else."""
    table = chance.choice(["rollouts", "records", "releases", "tokens"])
    connection.execute(f"CREATE TRIGGER more AFTER INSERT ON {table} BEGIN SELECT 1; END")


def kept_record(connection: sqlite3.Connection, chance: random.Random) -> None:
    """A record says something else, of the same event: who is the author of what is wanted, for instance."""
    connection.execute(
        "UPDATE records SET data = replace(data, 'ada@example.com', 'eve@example.com') WHERE environment = ?",
        (chance.choice(ENVIRONMENTS),),
    )


def kept_rollout(connection: sqlite3.Connection, chance: random.Random) -> None:
    """A rollout of the history ended otherwise, or was of another commit."""
    (rollout,) = chance.choice(
        connection.execute("SELECT id FROM rollouts WHERE result = 'failed' ORDER BY id").fetchall()
    )
    what = chance.choice(
        [
            "result = 'good'",
            "revision = 'x'",
            "number = number + 1",
            "author = 'eve'",
            "data = replace(data, 'torch', 'numpy')",
            "finished_at = NULL",
            "kind = 'restore'",
        ]
    )
    connection.execute(f"UPDATE rollouts SET {what} WHERE id = ?", (rollout,))  # noqa: S608 - ours


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


OPEN = (
    delete,
    swap,
    insert,
    cut,
    blob,
    record,
    history,
    release,
    given,
    given_twice,
    rehash,
    skip,
    hide,
    no_content,
    trigger,
)
"""Each of them is found without a checkpoint."""
CAREFUL = (forge, cut_with_care, swap_neighbours)
"""Each of them is found only with one."""
KEPT = (kept_record, kept_rollout)
"""Each of them is found only by who folds the log again."""
