"""What `deployer status` reads fast is what the store says; what is not in order is left to the store."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.store import SqlStore
from deployer.adapters.store.published import published

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SETTINGS = """
state_dir: {folder}
repositories: {{configs: {{url: {folder}/configs.git}}}}
environments:
  production: {{repository: configs, branch: main, path: one, cluster: {{address: http://127.0.0.1:9}}}}
"""

STATUS = """
import sys
from deployer.cli.main import cli
cli.main(standalone_mode=False)
print("heavy:", [name for name in ("sqlalchemy", "alembic") if name in sys.modules], file=sys.stderr)
"""

AT = datetime(2026, 11, 23, 9, 30, 0, 250_000, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """Two environments, each published once, by a daemon that runs."""
    with closing(SqlStore.open(tmp_path / "deployer.db")) as made:
        made.publish("production", {"health": "Healthy", "message": "Äpfel"}, AT)
        made.publish("it's staging", {"health": "Degraded", "apps": [1, None]}, AT)
        yield made


def broken(path: Path, *statements: str) -> None:
    """Do that to the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_it_gives_what_the_store_gives(store: SqlStore) -> None:
    """Of all and of one, also while the daemon is in the middle of a write."""
    path = store.database.path
    for name in (None, "production", "it's staging", "nobody", ""):
        assert published(path, name) == store.views(name)
    with store.database.writing():
        assert published(path) == store.views()


@pytest.mark.parametrize(
    "statements",
    [
        ("UPDATE alembic_version SET version_num = '0001'",),
        ("UPDATE alembic_version SET version_num = '9999'",),
        ("DELETE FROM alembic_version",),
        ("DROP TABLE alembic_version",),
        ("DROP TABLE views",),
        ("UPDATE views SET data = '{'",),
        ("UPDATE views SET at = 'yesterday'",),
    ],
)
def test_what_is_not_in_order_is_left_to_the_store(store: SqlStore, statements: tuple[str, ...]) -> None:
    """Another version, or a part that is missing or cannot be read: the store has a sentence for each."""
    path = store.database.path
    store.close()
    assert published(path) is not None
    broken(path, *statements)
    assert published(path) is None


def test_a_file_that_is_none_of_ours_is_left_to_the_store(tmp_path: Path) -> None:
    """Nothing is made, and nothing is changed."""
    path = tmp_path / "some.db"
    assert published(path) is None
    assert not path.exists()
    for content in (b"", b"This is no database. " * 100):
        path.write_bytes(content)
        assert published(path) is None
        assert path.read_bytes() == content


def test_a_file_that_somebody_has_locked_is_left_to_the_store(store: SqlStore) -> None:
    """It waits, and says who keeps it waiting."""
    path = store.database.path
    store.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as shell:
        shell.execute("PRAGMA locking_mode=EXCLUSIVE")
        shell.execute("BEGIN EXCLUSIVE")
        shell.execute("UPDATE views SET at = at")
        assert published(path) is None


def test_status_imports_no_library_of_the_store(store: SqlStore) -> None:
    """They take longer to import than all the rest of the command."""
    folder = store.database.path.parent
    settings = folder / "deployer.yaml"
    settings.write_text(SETTINGS.format(folder=folder), encoding="utf-8")
    command = [sys.executable, "-c", STATUS, "status", "-o", "json", "-c", str(settings)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (done.returncode, "Äpfel" in done.stdout) == (0, True), done.stderr
    assert done.stderr.splitlines()[-1] == "heavy: []"
