"""The events of a rollout are found by their type as well: `--type healthy --result failed` reads no row."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Put the type into the index of rollouts."""
    op.drop_index("events_rollout_id", "events")
    op.create_index("events_rollout_type_id", "events", ["rollout", "type", "id"])
