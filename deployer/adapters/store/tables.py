"""The tables, as the newest migration leaves them.

Owns names, types and indexes. Must not contain SQL of one database: the types are those that SQLite and
PostgreSQL share. Invariant: `tests/migration` compares this module with what the migrations make.

Times are text (`codec.stamp`), so that what is hashed and what is read back are the same bytes everywhere.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint

REVISION = "0001"
"""The newest migration. Written here too, so that opening an up-to-date store needs no alembic (0.3 s)."""

# SQLite gives out ids by itself for INTEGER PRIMARY KEY only.
ID = BigInteger().with_variant(Integer(), "sqlite")

METADATA = MetaData()

EVENTS = Table(
    "events",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("rollout", Text, nullable=False),
    Column("data", Text, nullable=False),
    Column("previous_hash", Text, nullable=False),
    Column("hash", Text, nullable=False),
    UniqueConstraint("environment", "sequence", name="events_environment_sequence"),
    sqlite_autoincrement=True,
)
"""The audit log: triggers refuse UPDATE and DELETE. `rollout` is empty for events outside a rollout."""

CHAINED = ("environment", "sequence", "type", "at", "actor", "reason", "rollout", "data")
"""The columns of an event that its hash covers, in this order: everything but the id and the hashes."""

RELEASES = Table(
    "releases",
    METADATA,
    Column("digest", Text, primary_key=True),
    Column("config", Text, nullable=False),
)
"""The contents of configs by digest. They hold secrets, and nothing else in the store does."""

RECORDS = Table(
    "records",
    METADATA,
    Column("environment", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("data", Text, nullable=False),
)
"""The fold of each environment's events: a cache."""

ROLLOUTS = Table(
    "rollouts",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("started_event", ID, ForeignKey("events.id", name="rollouts_started_event_fkey"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("started_at", Text, nullable=False),
    Column("finished_at", Text),
    Column("data", Text, nullable=False),
    # Newest first is by the event that started it: clocks go back, ids do not.
    Index("rollouts_started_event", "started_event", unique=True),
    Index("rollouts_environment_started_event", "environment", "started_event"),
)
"""The history: one entry per rollout, a cache of its events."""

OUTBOX = Table(
    "outbox",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("event_id", ID, ForeignKey("events.id", name="outbox_event_id_fkey"), nullable=False),
    Column("created_at", Text, nullable=False),
    Column("environment", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("delivered_at", Text),
    Column("attempts", Integer, nullable=False),
    Index("outbox_delivered_at_id", "delivered_at", "id"),
    sqlite_autoincrement=True,
)
"""Messages to deliver at least once."""

VIEWS = Table(
    "views",
    METADATA,
    Column("environment", Text, primary_key=True),
    Column("at", Text, nullable=False),
    Column("data", Text, nullable=False),
)
"""The status published last, for those who read while the daemon is down. Not part of the audit log."""
