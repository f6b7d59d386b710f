"""The statuses that the daemon published last, read with nothing but the standard library.

For `deployer status`: SQLAlchemy alone takes longer to import than all the rest of that command. Owns one
SELECT. Must not say what is wrong with a store, nor write. Invariant: it gives what `SqlReader.views` gives,
or None; so whoever gets None asks that one, which finds out what is the case and says so.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deployer.adapters.store import revision

if TYPE_CHECKING:
    from pathlib import Path


def published(
    path: Path, environment: str | None = None
) -> dict[str, tuple[datetime, dict[str, Any]]] | None:
    """As `SqlReader.views`. None where the file is not there, is locked, or anything is not as it should be.

    Never waits, and never makes or changes the file.
    """
    try:
        with closing(_opened(path)) as connection:
            connection.execute("BEGIN")
            found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            if found != [(revision.NEWEST,)]:
                return None
            rows = connection.execute(
                "SELECT environment, at, data FROM views WHERE ?1 IS NULL OR environment = ?1", (environment,)
            ).fetchall()
        return {
            name: (datetime.fromisoformat(at).astimezone(UTC), json.loads(data)) for name, at, data in rows
        }
    except (sqlite3.Error, OSError, ValueError, TypeError):
        return None


def _opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0, isolation_level=None)
