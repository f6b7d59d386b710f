"""Run by alembic for every migration: inside the transaction that `schema.upgrade` opened, never its own."""

from __future__ import annotations

from alembic import context

from deployer.adapters.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite changes columns by making the table anew.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
