"""An outbox with many targets: what a message is, how far each target is, and what could not be delivered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_LOG = "log"
"""The one target there was."""

_NEW = {"kind": "announcement", "audience": "people", "key": "", "mark": "", "payload": "{}"}
"""What every message was until now."""


def upgrade() -> None:
    """Add what a message is, and turn what was delivered to the log into a place in the outbox."""
    outbox = sa.table("outbox", *map(sa.column, ("id", "delivered_at")))
    connection = op.get_bind()
    # Messages went out in their order, so what was delivered comes before what was not.
    waiting = sa.select(sa.func.min(outbox.c.id)).where(outbox.c.delivered_at.is_(None))
    oldest = connection.execute(waiting).scalar_one()
    newest = connection.execute(sa.select(sa.func.max(outbox.c.id))).scalar_one()
    delivered_at = connection.execute(sa.select(sa.func.max(outbox.c.delivered_at))).scalar_one()
    # Made anew, rather than changed column by column: so its columns are in an order that we know.
    op.create_table(
        "outbox_new",
        sa.Column("id", _ID, primary_key=True),
        sa.Column("event_id", _ID, sa.ForeignKey("events.id", name="outbox_event_id_fkey"), nullable=False),
        sa.Column("created_at", sa.Text, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in _NEW),
        sqlite_autoincrement=True,
    )
    kept = ("id", "event_id", "created_at", "environment", "message")
    old = sa.table("outbox", *map(sa.column, kept))
    new = sa.table("outbox_new", *map(sa.column, (*kept, *_NEW)))
    values = [sa.literal(value) for value in _NEW.values()]
    connection.execute(
        sa.insert(new).from_select([*kept, *_NEW], sa.select(*(old.c[name] for name in kept), *values))
    )
    op.drop_table("outbox")
    op.rename_table("outbox_new", "outbox")
    op.create_index("outbox_audience_id", "outbox", ["audience", "id"])
    op.create_index("outbox_audience_key_id", "outbox", ["audience", "key", "id"])
    targets = op.create_table(
        "targets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("cursor", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Text),
        sa.Column("last_error", sa.Text, nullable=False),
        sa.Column("delivered_at", sa.Text),
    )
    op.create_table(
        "deliveries",
        sa.Column(
            "outbox_id",
            _ID,
            sa.ForeignKey("outbox.id", name="deliveries_outbox_id_fkey"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("target", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_at", sa.Text, nullable=False),
        sa.Column("last_error", sa.Text, nullable=False),
    )
    op.create_index("deliveries_target_state_next_at", "deliveries", ["target", "state", "next_at"])
    if newest is None:
        return
    cursor = oldest - 1 if oldest is not None else newest
    op.bulk_insert(
        targets,
        [{"name": _LOG, "cursor": cursor, "attempts": 0, "last_error": "", "delivered_at": delivered_at}],
    )
