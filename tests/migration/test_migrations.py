"""Every step of the schema, on a store that holds what a store of its time held."""

from __future__ import annotations

import json
import resource
import shutil
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from deployer.adapters.store import SqlReader, SqlStore, StoreCorrupt, StoreUnavailable
from deployer.adapters.store.schema import SCRIPTS, found_in, upgrade
from deployer.adapters.store.sqlite import migrating
from deployer.adapters.store.tables import METADATA, REVISION
from deployer.core.events import Applied
from deployer.core.record import Result, fold
from tests.support.audited import Files, notes
from tests.support.build import at
from tests.support.outbox_rows import undelivered

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


def known_revisions() -> list[str]:
    """Every revision that there is a step for, oldest first."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    found = ScriptDirectory.from_config(config).walk_revisions()
    return [script.revision for script in found][::-1]


REVISIONS = known_revisions()
STEPS = [
    pytest.param(old, new, id=f"{old}-{new}") for old, new in zip([None, *REVISIONS], REVISIONS, strict=False)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database will be."""
    return tmp_path / "deployer.db"


def fill(path: Path, revision: str) -> None:
    """Put in what a store of that revision held."""
    content = (HERE / f"revision_{revision}.sql").read_text(encoding="utf-8")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"BEGIN; {content} COMMIT;")


def rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The content of every table, row by row, by the names of the columns."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"
        ).fetchall()
        return {
            name: [dict(row) for row in connection.execute(f'SELECT * FROM "{name}"')]  # noqa: S608 - our tables
            for (name,) in names
            if name not in {"alembic_version", "sqlite_sequence"}
        }


def test_revisions_are_numbers_in_a_row() -> None:
    """Steps have no branches, and a newer one a greater name: so it is told from an older one."""
    assert [f"{number:04}" for number in range(1, len(REVISIONS) + 1)] == REVISIONS
    assert REVISIONS[-1] == REVISION


@pytest.mark.parametrize("revision", REVISIONS)
def test_every_revision_has_its_old_store(revision: str) -> None:
    """A step without one would be tested on an empty database only."""
    assert (HERE / f"revision_{revision}.sql").is_file()


def test_the_tables_in_the_code_are_those_that_the_steps_make(path: Path) -> None:
    """Names, types, indexes and constraints, without exception."""
    upgrade(path)
    with migrating(path) as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )

        assert compare_metadata(context, METADATA) == []


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_log_is_append_only_in_every_revision(path: Path, revision: str) -> None:
    """Alembic does not see triggers: a step that makes `events` anew must make them again."""
    upgrade(path, revision=revision)
    fill(path, revision)
    upgrade(path)
    for statement in ("UPDATE events SET actor = 'x'", "DELETE FROM events"):
        with pytest.raises(StoreUnavailable, match="append-only"), migrating(path) as connection:
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize(("old", "new"), STEPS)
def test_a_step_keeps_what_was_there(path: Path, old: str | None, new: str) -> None:
    """What a table held before a step it holds afterwards, in every column that both have."""
    before: dict[str, list[dict[str, Any]]] = {}
    if old is not None:
        upgrade(path, revision=old)
        fill(path, old)
        before = rows(path)
    upgrade(path, revision=new)
    after = rows(path)

    assert found_in(path) == new
    for name in before.keys() & after.keys():
        kept = before[name][0].keys() & after[name][0].keys()
        assert [{column: row[column] for column in kept} for row in after[name]] == [
            {column: row[column] for column in kept} for row in before[name]
        ]
    assert before.keys() >= {"events", "releases"} or old is None


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_old_store_goes_on(path: Path, revision: str) -> None:
    """Opened by this version in the middle of a rollout, it is what it was, and the rollout goes on."""
    upgrade(path, revision=revision)
    fill(path, revision)
    with closing(SqlStore.open(path)) as store:
        record = store.load("staging")
        stored = store.events("staging", limit=1000)

        assert record == fold("staging", [one.event for one in stored])
        assert store.verify("staging") is None
        assert [entry.id for entry in store.history()] == [f"staging#{number}" for number in (4, 3, 2, 1)]
        assert [entry.followed_by for entry in store.history()] == [None, None, "staging#3", None]
        assert [row.message for row in undelivered(store)] == ["held at 9", "good at 12"]
        assert store.views()["staging"][0] == at(60)

        record = store.commit(record, [Applied(at=at(90), rollout="staging#4")])
        assert store.load("staging") == record
        assert store.history(limit=1)[0].result is Result.IN_PROGRESS
        assert store.verify("staging") is None


@pytest.mark.parametrize("revision", REVISIONS)
def test_the_log_of_an_old_store_verifies(path: Path, tmp_path: Path, revision: str) -> None:
    """Both verifiers, against a checkpoint that was signed before; and again when the log goes on."""
    upgrade(path, revision=revision)
    fill(path, revision)
    signed = notes(path)
    before = rows(path)["events"]
    upgrade(path)
    log = Files(folder=tmp_path, log=path, notes=[signed])

    assert rows(path)["events"] == before
    assert log.both().code == 0
    with closing(SqlStore.open(path)) as store:
        store.commit(store.load("staging"), [Applied(at=at(90), rollout="staging#4")])
    said = log.both()
    assert said.code == 0
    assert f"the newest covers {len(before)} of the events" in said.lines[-1]


def test_what_is_searched_by_is_filled_in_from_the_old_rows(path: Path, tmp_path: Path) -> None:
    """0002: an old store is found by commit, digest and author as if this version had written it."""
    upgrade(path, revision="0001")
    fill(path, "0001")
    upgrade(path, revision="0002")
    written = tmp_path / "written.db"
    upgrade(written, revision="0002")
    fill(written, "0002")
    migrated, expected = rows(path), rows(written)
    names = ("id", "author", "revision", "digest")

    assert len(migrated["mentions"]) == 2
    assert migrated["mentions"] == expected["mentions"]
    assert [[row[name] for name in names] for row in migrated["rollouts"]] == [
        [row[name] for name in names] for row in expected["rollouts"]
    ]


def test_what_the_log_had_not_had_waits_for_it(path: Path) -> None:
    """0003: the messages are announcements, and the log's place is before the first that it has not had."""
    upgrade(path, revision="0002")
    fill(path, "0002")
    upgrade(path, revision="0003")
    found = rows(path)

    assert [(row["id"], row["message"], row["kind"], row["audience"]) for row in found["outbox"]] == [
        (1, "good at 5", "announcement", "people"),
        (2, "held at 9", "announcement", "people"),
        (3, "good at 12", "announcement", "people"),
    ]
    assert [(row["name"], row["cursor"], row["attempts"]) for row in found["targets"]] == [("log", 1, 0)]
    assert found["deliveries"] == []


@pytest.mark.parametrize(
    ("statement", "targets"),
    [
        ("UPDATE outbox SET delivered_at = '2026-11-22T10:42:20.000000Z'", [("log", 3)]),
        ("DELETE FROM outbox", []),
    ],
)
def test_a_log_that_had_everything_begins_behind_it(
    path: Path, statement: str, targets: list[tuple[str, int]]
) -> None:
    """0003: nothing is said twice."""
    upgrade(path, revision="0002")
    fill(path, "0002")
    with migrating(path) as connection:
        connection.exec_driver_sql(statement)
    upgrade(path)

    assert [(row["name"], row["cursor"]) for row in rows(path)["targets"]] == targets
    with closing(SqlStore.open(path)) as store:
        assert undelivered(store) == []


# --- the machinery, on steps that only these tests have ----------------------------------------------------

NEXT = "9001"
FIRST_LINES = f"""
import sqlalchemy as sa
from alembic import op
revision = "{NEXT}"
down_revision = "{REVISION}"
"""
ADDS_A_COLUMN = """
def upgrade():
    with op.batch_alter_table("rollouts", recreate="always") as table:
        table.add_column(sa.Column("mood", sa.Text, nullable=False, server_default="calm"))
"""
FAILS_IN_THE_MIDDLE = """
def upgrade():
    op.drop_table("views")
    op.execute("UPDATE releases SET config = 'half'")
    op.execute("INSERT INTO no_such_table VALUES (1)")
"""
BREAKS_A_REFERENCE = """
def upgrade():
    op.execute("UPDATE outbox SET event_id = 4711")
"""


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A copy of the steps, to which a test adds one; its name would mean something in alembic's settings."""
    folder = tmp_path / "steps of 100%(here)s"
    shutil.copytree(SCRIPTS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def old(path: Path) -> Path:
    """A store of the newest revision there is: an old one for the step that a test adds."""
    upgrade(path)
    fill(path, REVISION)
    return path


def add_step(scripts: Path, body: str) -> None:
    """Add the next step."""
    (scripts / "versions" / f"r{NEXT}_next.py").write_text(FIRST_LINES + body, encoding="utf-8")


def test_an_old_store_is_copied_and_then_migrated(old: Path, scripts: Path) -> None:
    """The copy is whole, private and named for the way back; this version opens it, not the new one."""
    before = rows(old)
    add_step(scripts, ADDS_A_COLUMN)
    upgrade(old, revision=NEXT, scripts=scripts)
    copy = old.with_name(f"deployer.db.before-{NEXT}")

    assert {row["mood"] for row in rows(old)["rollouts"]} == {"calm"}
    assert rows(copy) == before
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(SqlStore.open(copy)) as store:
        assert store.verify("staging") is None
    for opener in (SqlStore.open, SqlReader.open_readonly):
        with pytest.raises(StoreUnavailable, match=rf"newer version.*restore the copy.*before-{NEXT}"):
            opener(old)


def test_a_store_that_is_up_to_date_is_left_alone(old: Path) -> None:
    """No copy, no change, at any further start."""
    before = old.read_bytes()
    upgrade(old)

    assert old.read_bytes() == before
    assert not list(old.parent.glob("*.before-*"))


def test_a_new_store_goes_through_every_step(path: Path, scripts: Path) -> None:
    """And is not copied: there is nothing in it."""
    add_step(scripts, ADDS_A_COLUMN)
    upgrade(path, revision=NEXT, scripts=scripts)

    assert found_in(path) == NEXT
    assert not list(path.parent.glob("*.before-*"))


@pytest.mark.parametrize(
    ("body", "error", "complaint"),
    [
        pytest.param(FAILS_IN_THE_MIDDLE, StoreUnavailable, "no such table", id="fails"),
        pytest.param(
            BREAKS_A_REFERENCE, StoreCorrupt, "left table outbox with broken references", id="breaks"
        ),
    ],
)
def test_a_step_that_fails_is_undone(
    old: Path, scripts: Path, body: str, error: type[Exception], complaint: str
) -> None:
    """Whole: the old version goes on with the old store, and the next try finds it as it was."""
    before = rows(old)
    add_step(scripts, body)
    for _ in range(2):
        with pytest.raises(error, match=complaint):
            upgrade(old, revision=NEXT, scripts=scripts)

        assert rows(old) == before
        assert found_in(old) == REVISION
    with closing(SqlStore.open(old)) as store:
        assert store.load("staging").sequence == 17


@contextmanager
def _no_file_beyond(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_without_room_for_the_copy_nothing_is_migrated(old: Path, scripts: Path) -> None:
    """The error says what to do; with room it goes on, over what the first try left."""
    before = rows(old)
    add_step(scripts, ADDS_A_COLUMN)
    with (
        # Room for SQLite's index of the log (32 KB), but not for the copy.
        _no_file_beyond(40_000),
        pytest.raises(StoreUnavailable, match=r"cannot copy .* before migrating.*Make room"),
    ):
        upgrade(old, revision=NEXT, scripts=scripts)
    assert rows(old) == before

    upgrade(old, revision=NEXT, scripts=scripts)
    assert found_in(old) == NEXT


def test_an_event_of_before_a_field_had_been_added_is_migrated(path: Path) -> None:
    """`accepts` came into `retry_asked` within revision 0001; the codec reads events without it."""
    upgrade(path, revision="0001")
    fill(path, "0001")
    data = {"type": "retry_asked", "digest": "sha256:" + "0" * 64}
    with migrating(path) as connection:
        connection.exec_driver_sql(
            "INSERT INTO events (environment, sequence, type, at, actor, reason, rollout, data,"
            " previous_hash, hash) VALUES ('staging', 999, 'retry_asked', '', 'ada', '', '', ?, '', '')",
            (json.dumps(data),),
        )
    upgrade(path)

    assert data["digest"] in {row["digest"] for row in rows(path)["mentions"]}
