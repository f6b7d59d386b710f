"""What the faces read fast: tokens, kept answers, and the columns and indexes that filters go by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import op

if TYPE_CHECKING:
    from collections.abc import Iterator

revision = "0002"
down_revision = "0001"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_ROWS = 1000
"""Rows held in memory at a time: a log can be larger than that."""

_EVENTS = sa.table("events", *map(sa.column, ("id", "type", "data")))
_ROLLOUTS = sa.table("rollouts", *map(sa.column, ("id", "data", "author", "revision", "digest")))


def upgrade() -> None:
    """Make the new tables, and fill what is a cache of the old ones."""
    op.create_table(
        "tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("environments", sa.Text),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Text),
        sa.Column("revoked_at", sa.Text),
        sa.Column("last_used_at", sa.Text),
        sa.UniqueConstraint("hash", name="tokens_hash"),
    )
    op.create_table(
        "answers",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("caller", sa.Text, primary_key=True),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
    )
    op.create_index("answers_at", "answers", ["at"])
    for column in ("environment", "type", "actor", "rollout", "at"):
        op.create_index(f"events_{column}_id", "events", [column, "id"])
    _add_mentions()
    _add_what_rollouts_are_of()


def _add_mentions() -> None:
    mentions = op.create_table(
        "mentions",
        sa.Column(
            "event_id",
            _ID,
            sa.ForeignKey("events.id", name="mentions_event_id_fkey"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
    )
    op.create_index("mentions_revision", "mentions", ["revision"])
    op.create_index("mentions_digest", "mentions", ["digest"])
    for rows in _batches(_EVENTS, _EVENTS.c.type.in_(("seen", "refused", "retry_asked", "rollback_asked"))):
        found = [(row.id, *_mentioned(row.type, json.loads(row.data))) for row in rows]
        values = [{"event_id": id_, "revision": commit, "digest": digest} for id_, commit, digest in found]
        op.bulk_insert(mentions, [one for one in values if one["revision"] or one["digest"]])


def _mentioned(kind: str, data: dict[str, Any]) -> tuple[str, str]:
    """The commit and the digest that an event of this revision is about."""
    match kind:
        case "refused":
            return data.get("commit") or "", ""
        case "retry_asked":
            return data.get("accepts") or "", data["digest"]
        case _:
            return data["release"]["revision"]["commit"], data["release"]["config"]


def _add_what_rollouts_are_of() -> None:
    names = ("author", "revision", "digest")
    for name in names:
        op.add_column("rollouts", sa.Column(name, sa.Text))
    connection = op.get_bind()
    keep = (
        sa.update(_ROLLOUTS)
        .where(_ROLLOUTS.c.id == sa.bindparam("name"))
        .values({name: sa.bindparam(f"new_{name}") for name in names})
    )
    for rows in _batches(_ROLLOUTS):
        found = [(row.id, json.loads(row.data)["release"]) for row in rows]
        connection.execute(
            keep, [{"name": id_, **{f"new_{name}": of[name] for name in names}} for id_, of in found]
        )
    with op.batch_alter_table("rollouts") as table:
        for name in names:
            table.alter_column(name, existing_type=sa.Text, nullable=False)
    op.create_index(
        "rollouts_filters",
        "rollouts",
        ["started_event", "environment", "kind", "result", "started_at", *names],
    )


def _batches(table: sa.TableClause, *where: sa.ColumnElement[bool]) -> Iterator[list[Any]]:
    """The rows in the order of their ids, some at a time: each batch is read whole before it is answered."""
    query = sa.select(table).where(*where).order_by(table.c.id).limit(_ROWS)
    rows = op.get_bind().execute(query).all()
    while rows:
        yield list(rows)
        rows = op.get_bind().execute(query.where(table.c.id > rows[-1].id)).all()
