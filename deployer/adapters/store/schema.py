"""Brings the database file to this version's schema: makes it, migrates it, or says why not.

Owns the decision what to do with a file that is found. Must not know what the tables mean. Invariant: a
schema is changed in one transaction after a copy of a store with content was kept; a store that a newer
version made is never touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from deployer.adapters.store import sqlite
from deployer.adapters.store.errors import StoreCorrupt, StoreUnavailable
from deployer.adapters.store.tables import REVISION

if TYPE_CHECKING:
    from sqlalchemy import Connection

SCRIPTS = Path(__file__).parent / "migrations"
"""Alembic's folder. It is inside the package, so that it is installed with it."""


def upgrade(path: Path, *, revision: str = REVISION, scripts: Path = SCRIPTS) -> None:
    """Make the file, or migrate it to `revision`, or do nothing if it is there already.

    Raises StoreUnavailable if a newer version made it, StoreCorrupt if it is damaged or no store.
    `revision` and `scripts` are for tests: an older version, another folder of steps.
    """
    if not sqlite.find(path):
        sqlite.create(path, lambda connection: _run(connection, revision, scripts))
        return
    sqlite.check_at_start(path)
    if found_in(path) == revision:
        return
    with sqlite.migrating(path) as connection:
        found = _found(connection, path)
        if found > revision:
            raise _newer(path, found, revision)
        sqlite.back_up(path, f"{path.name}.before-{revision}")
        _run(connection, revision, scripts)


def require_current(path: Path) -> None:
    """Let a reader go on only if the file has this version's schema. Raises StoreUnavailable if not."""
    if not sqlite.find(path):
        message = (
            f"no daemon has run with this state_dir yet: there is no {path.name} in {path.parent}. "
            "Start one with `deployer run`, or name its settings with --config."
        )
        raise StoreUnavailable(message)
    found = found_in(path)
    if found > REVISION:
        raise _newer(path, found, REVISION)
    if found < REVISION:
        message = (
            f"{path} is of an older version of deployer (schema {found}, this one needs {REVISION}). "
            "Restart the daemon with this version: it migrates the store."
        )
        raise StoreUnavailable(message)


def found_in(path: Path) -> str:
    """The revision of an existing file. Raises StoreCorrupt if it is no store of ours."""
    database = sqlite.Database(path, read_only=True)
    try:
        with database.reading() as connection:
            return _found(connection, path)
    finally:
        database.close()


def _found(connection: Connection, path: Path) -> str:
    found: str | None = None
    if inspect(connection).has_table("alembic_version"):
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if found is None:
        message = f"{path} is a database, but not one that deployer made: give state_dir a folder of its own"
        raise StoreCorrupt(message)
    return found


def _newer(path: Path, found: str, known: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"{path} was written by a newer version of deployer (schema {found}, this one knows {known}). "
        f"Install that version again, or restore the copy that it made ({path.name}.before-{found})."
    )


def _run(connection: Connection, revision: str, scripts: Path) -> None:
    # Imported here: alembic takes 0.3 s, and nearly every start finds nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    # `%` has a meaning in alembic's configuration.
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
