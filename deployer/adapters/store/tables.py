"""The tables, as the newest migration leaves them.

Owns names, types and indexes. Must not contain SQL of one database: the types are those that SQLite and
PostgreSQL share. Invariant: `tests/migration` compares this module with what the migrations make.

Times are text (`codec.stamp`), so that what is hashed and what is read back are the same bytes everywhere.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, Table, Text, UniqueConstraint

from deployer.adapters.store import revision

REVISION = revision.NEWEST

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
    # One for each filter of the audit page: a page of it is then read in the order of ids from its own index.
    Index("events_environment_id", "environment", "id"),
    Index("events_type_id", "type", "id"),
    Index("events_actor_id", "actor", "id"),
    Index("events_rollout_type_id", "rollout", "type", "id"),
    Index("events_at_id", "at", "id"),
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

MENTIONS = Table(
    "mentions",
    METADATA,
    Column(
        "event_id",
        ID,
        ForeignKey("events.id", name="mentions_event_id_fkey"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("revision", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Index("mentions_revision", "revision"),
    Index("mentions_digest", "digest"),
)
"""What events outside a rollout are about, "" where they do not say: a cache. Those of a rollout are about
its release."""

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
    Column("author", Text, nullable=False),
    Column("revision", Text, nullable=False),
    Column("digest", Text, nullable=False),
    # Newest first is by the event that started it: clocks go back, ids do not.
    Index("rollouts_started_event", "started_event", unique=True),
    Index("rollouts_environment_started_event", "environment", "started_event"),
    # Every column that history is filtered by, in its order: whatever is asked, one walk along this index
    # finds it (10 ms over 100,000 rollouts), where the rows with their failures would take 20 times that.
    Index(
        "rollouts_filters",
        "started_event",
        "environment",
        "kind",
        "result",
        "started_at",
        "author",
        "revision",
        "digest",
    ),
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
    Column("kind", Text, nullable=False),
    Column("audience", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("mark", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Index("outbox_audience_id", "audience", "id"),
    # Whether there is a newer one of the same key is asked of every message that is read.
    Index("outbox_audience_key_id", "audience", "key", "id"),
    sqlite_autoincrement=True,
)
"""Messages to deliver at least once: see `deployer.core.messages`."""

TARGETS = Table(
    "targets",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("cursor", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Text),
    Column("last_error", Text, nullable=False),
    Column("delivered_at", Text),
)
"""How far each target is: what is for it, up to `cursor`, is delivered unless `deliveries` says otherwise.
`attempts` failed since the last success, because the target takes nothing; it is asked again at `next_at`."""

DELIVERIES = Table(
    "deliveries",
    METADATA,
    Column(
        "outbox_id",
        ID,
        ForeignKey("outbox.id", name="deliveries_outbox_id_fkey"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("target", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Text, nullable=False),
    Column("last_error", Text, nullable=False),
    Index("deliveries_target_state_next_at", "target", "state", "next_at"),
)
"""The messages up to a target's cursor that it did not take: `pending` ones are tried again at `next_at`,
`dead` ones only when a person asks for it."""

VIEWS = Table(
    "views",
    METADATA,
    Column("environment", Text, primary_key=True),
    Column("at", Text, nullable=False),
    Column("data", Text, nullable=False),
)
"""The status published last, for those who read while the daemon is down. Not part of the audit log."""

TOKENS = Table(
    "tokens",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("environments", Text),
    Column("created_at", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Text),
    Column("revoked_at", Text),
    Column("last_used_at", Text),
    UniqueConstraint("hash", name="tokens_hash"),
)
"""Who may do what over the network. `hash` is the sha256 of the token, which is kept nowhere; `environments`
a JSON list, null for all of them."""

ANSWERS = Table(
    "answers",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("caller", Text, primary_key=True),
    Column("request", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", Text, nullable=False),
    Index("answers_at", "at"),
)
"""What was answered to a request with an Idempotency-Key. `request` is the sha256 of its method, path and
body: the same key with another request is refused. Kept for a day, hence the index."""
