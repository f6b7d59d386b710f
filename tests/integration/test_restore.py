"""`deployer restore`: a backup in the place of a real store; what it refuses, and killed anywhere."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert

from deployer.adapters import statedir
from deployer.adapters.store import SqlReader, SqlStore, codec
from deployer.adapters.store.schema import found_in, upgrade
from deployer.adapters.store.tables import REVISION, TOKENS
from deployer.core.events import DAEMON_LOG, StoreRestored
from tests.contract.histories import started
from tests.migration.test_migrations import REVISIONS, fill
from tests.support import audited
from tests.support.audited import Files, Home, notes
from tests.support.build import at, release
from tests.support.note_signer import NoteSigner
from tests.support.outbox_rows import undelivered
from tests.support.tampering import delete
from tests.unit.cli.test_json_docs import differences, paths

if TYPE_CHECKING:
    from pathlib import Path

WHY = ("--accept-loss", "--reason", "the disk died", "--no-pause")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store of 256 events, and the same store 256 events later."""
    folder = tmp_path_factory.mktemp("stores")
    older, newer = folder / "older.db", folder / "newer.db"
    audited.build(older, 1)
    shutil.copyfile(older, newer)
    with closing(SqlStore.open(newer)) as running:
        audited.add(running, range(1, 2))
    return older, newer


@pytest.fixture
def home(stores: tuple[Path, Path], tmp_path: Path) -> Home:
    """A state directory with the newer store, and the older one as `copy.db`."""
    home = Home.make(tmp_path, stores[1])
    shutil.copyfile(stores[0], tmp_path / "copy.db")
    return home


def copy(home: Home) -> str:
    """The backup."""
    return str(home.folder / "copy.db")


def there(home: Home) -> list[str]:
    """What is in the state directory, without times in names."""
    return sorted(path.name.partition("-2")[0] for path in home.store.parent.iterdir())


def restored(home: Home) -> StoreRestored:
    """The newest event of the daemon's own log."""
    with closing(SqlReader.open_readonly(home.store)) as reader:
        event = reader.events(DAEMON_LOG)[-1].event
    assert isinstance(event, StoreRestored)
    return event


def verify(home: Home, *given: str) -> int:
    """What both verifiers say of the store as it is now."""
    return Files(folder=home.folder, log=home.store, notes=list(given)).both().code


def test_a_backup_comes_in_where_no_store_is(home: Home) -> None:
    """A new machine: nothing is lost, and the log says where it comes from."""
    backup = home.folder / "made.db"
    digest = json.loads(home.type("backup", str(backup), "-o", "json").stdout)["sha256"]
    home.store.unlink()
    said = home.type("restore", str(backup), "--no-pause")

    assert said.exit_code == 0, said.output
    assert said.stdout.startswith(f"Restored 512 events from {backup}")
    assert there(home) == ["deployer.db", "lock"]
    event = restored(home)
    assert (event.backup, event.events, event.lost, event.signed) == (f"sha256:{digest}", 512, 0, 0)
    assert event.actor.endswith(" (local)")
    assert verify(home, notes(backup)) == 0
    assert home.store.stat().st_mode & 0o777 == 0o600
    assert "The store was restored from a backup of 512 events." in home.type("audit", "show", "513").stdout


def test_a_daemon_goes_on_with_it(home: Home) -> None:
    """It opens it, and its environments go on."""
    assert home.type("restore", copy(home), *WHY).exit_code == 0
    with closing(SqlStore.open(home.store)) as running:
        audited.add(running, range(9, 10))
    assert verify(home, notes(home.store, 100, 256)) == 0


def test_all_environments_are_paused_where_something_is_lost(home: Home) -> None:
    """So that somebody looks before the daemon does anything; the daemon's own log is none."""
    told = json.loads(home.type("restore", copy(home), *WHY[:-1], "-o", "json").stdout)
    assert list(differences("restore -o", paths(told))) == []
    assert told["paused"] is True
    with closing(SqlReader.open_readonly(home.store)) as reader:
        paused = {name: reader.load(name).paused for name in audited.ENVIRONMENTS}
        assert reader.load(DAEMON_LOG).paused is None
    assert {one.reason if one else "" for one in paused.values()} == {"the disk died"}
    assert restored(home).events == 256
    assert verify(home, notes(home.store, 100, 256)) == 0


def test_a_rollout_that_was_in_flight_is_none_to_go_on_with(home: Home) -> None:
    """It would be sent again, paused or not: it is cancelled, and the log says by whom."""
    with closing(SqlStore.open(home.folder / "copy.db")) as store:
        record = store.load("prod-ap")
        store.commit(record, [started(record, release("in flight"))])
    assert home.type("restore", copy(home), *WHY[:-1]).exit_code == 0

    with closing(SqlReader.open_readonly(home.store)) as reader:
        record = reader.load("prod-ap")
        types = [one.event.type for one in reader.events("prod-ap")][-3:]
    assert (record.rollout, types) == (None, ["started", "cancelled", "paused"])
    assert record.paused is not None
    assert verify(home) == 0


def test_an_older_copy_is_refused(home: Home) -> None:
    """With what would be lost, and until when; nothing is changed."""
    before = audited.content(home.store)
    said = home.type("restore", copy(home))

    assert said.exit_code == 7
    assert said.stderr.startswith("Warning: there is no ")
    assert said.stderr.partition("\n")[2] == (
        f"Error: {copy(home)} ends at event 256, the newest of 2026-11-22 10:42:11 UTC; the store that is"
        " there has 256 events that it has not, the newest of 2026-11-22 10:42:27 UTC. Nothing was changed."
        " Restore a newer backup, or give up what is missing: --accept-loss --reason TEXT.\n"
    )
    assert audited.content(home.store) == before
    assert [name for name in there(home) if not name.startswith("deployer.db-")] == ["deployer.db", "lock"]


def test_a_loss_is_accepted_with_a_reason(home: Home) -> None:
    """The log says so, and the store that was there is kept."""
    assert home.type("restore", copy(home), "--accept-loss").exit_code == 64
    assert home.type("restore", copy(home), "--accept-loss", "--reason", "  ").exit_code == 64
    before = audited.content(home.store)
    told = json.loads(home.type("restore", copy(home), *WHY, "-o", "json").stdout)

    assert there(home) == ["deployer.db", "deployer.db.before-restore", "lock"]
    assert (told["events"], told["lost"], told["signed"]) == (256, 256, 0)
    event = restored(home)
    assert (event.reason, event.lost, event.events) == ("the disk died", 256, 256)
    [kept] = home.store.parent.glob("deployer.db.before-restore-*")
    assert str(kept) == told["store_before"]
    assert audited.content(kept) == before
    assert verify(home) == 0


def test_the_same_or_a_newer_copy_loses_nothing(home: Home, stores: tuple[Path, Path]) -> None:
    """Of what is there."""
    shutil.copyfile(stores[0], home.store)
    told = json.loads(home.type("restore", str(stores[1]), "-o", "json").stdout)
    assert (told["lost"], told["paused"]) == (0, False)
    assert restored(home).lost == 0

    # Of a store that is gone nobody knows what happened since.
    for path in home.store.parent.glob("deployer.db*"):
        path.unlink()
    told = json.loads(home.type("restore", str(stores[1]), "-o", "json").stdout)
    assert (told["lost"], told["paused"]) == (0, True)


def test_a_copy_of_another_history_loses_what_differs(home: Home, stores: tuple[Path, Path]) -> None:
    """It may be longer: what counts are the events that are not in it."""
    other = home.folder / "other.db"
    shutil.copyfile(stores[0], other)
    with closing(SqlStore.open(other)) as running:
        audited.add(running, range(20, 23))
    said = home.type("restore", str(other))

    assert said.exit_code == 7
    assert "has 256 events that it has not" in said.stderr


def test_what_was_signed_must_be_there(home: Home) -> None:
    """The store is gone, and its checkpoints say how far it went; those of what is lost are set aside."""
    home.sign(100, 256, 512)
    signed = home.checkpoints.read_text()
    home.store.unlink()
    said = home.type("restore", copy(home))
    assert said.exit_code == 7
    assert f"512 events were signed (checkpoint at {home.checkpoints}:11)" in said.stderr
    assert not home.store.exists()

    assert home.type("restore", copy(home), *WHY).exit_code == 0
    event = restored(home)
    assert (event.lost, event.signed) == (256, 512)
    assert home.type("audit", "verify").exit_code == 0
    [lost] = home.store.parent.glob("checkpoints-lost-*.txt")
    assert home.checkpoints.read_text() + lost.read_text() == signed
    assert verify(home, home.checkpoints.read_text()) == 0
    # Whoever has the newest checkpoint still sees what is missing.
    assert verify(home, signed) == 1


def test_a_checkpoint_that_was_kept_elsewhere_counts(home: Home, stores: tuple[Path, Path]) -> None:
    """Also on a machine that has none."""
    anchors, key = home.folder / "anchors.txt", home.folder / "kept.pub"
    anchors.write_text(notes(stores[1]))
    key.write_text(f"{audited.SIGNER.key.line}\n")
    home.store.unlink()
    home.forget_key()
    unsigned = home.type("restore", copy(home), "--checkpoint", str(anchors), *WHY)
    assert unsigned.exit_code == 2
    assert "name its public half with --key" in unsigned.stderr

    given = ("--checkpoint", str(anchors), "--key", str(key))
    assert "512 events were signed" in home.type("restore", copy(home), *given).stderr
    assert home.type("restore", copy(home), *given, *WHY).exit_code == 0


def test_a_copy_that_is_not_what_was_signed_is_refused(home: Home) -> None:
    """Whatever is accepted; so is one whose log was changed, and one whose checkpoints are somebody's."""
    home.sign(100)
    before = home.store.read_bytes()
    files = Files(folder=home.folder, log=home.folder / "copy.db")
    with files.tampering() as connection:
        delete(connection, random.Random(0))
    said = home.type("restore", copy(home), *WHY)
    assert said.exit_code == 1
    assert " missing: " in said.stderr
    assert home.store.read_bytes() == before

    shutil.copyfile(home.store, home.folder / "copy.db")
    home.checkpoints.write_text(notes(home.store, 100, signer=NoteSigner("eve")))
    said = home.type("restore", copy(home), *WHY)
    assert said.exit_code == 1
    assert "is not signed with a key that was given" in said.stderr


def test_a_daemon_that_runs_is_not_robbed(home: Home) -> None:
    """Its lock says so, and who holds it."""
    with statedir.lock(home.store.parent):
        said = home.type("restore", copy(home), *WHY)

    assert said.exit_code == 7
    assert f"is in use by process {os.getpid()}" in said.stderr
    assert "A store is restored while no daemon runs." in said.stderr


def test_a_store_that_cannot_be_read_is_lost_uncounted(home: Home) -> None:
    """It is kept as it is, with what is beside it; and so is one of which only its log is left."""
    home.store.write_bytes(b"\xff" * 8192)
    log = home.store.with_name("deployer.db-wal")
    log.write_bytes(b"\xfe" * 100)
    said = home.type("restore", copy(home))
    assert said.exit_code == 7
    assert "the store that is there cannot be read" in said.stderr

    said = home.type("restore", copy(home), *WHY)
    assert said.exit_code == 0, said.output
    assert restored(home).lost is None
    [kept] = home.store.parent.glob("deployer.db.before-restore-*Z")
    assert kept.read_bytes() == b"\xff" * 8192
    assert kept.with_name(f"{kept.name}-wal").read_bytes() == b"\xfe" * 100
    assert not log.exists()
    assert verify(home) == 0

    home.store.unlink()
    log.write_bytes(b"\xfe" * 100)
    assert home.type("restore", copy(home)).exit_code == 7
    assert home.type("restore", copy(home), *WHY).exit_code == 0
    assert verify(home) == 0


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_backup_of_an_older_version_is_migrated(home: Home, revision: str) -> None:
    """As a start would; its log verifies, and no copy is left: that is the backup itself."""
    old = home.folder / "old.db"
    upgrade(old, revision=revision)
    fill(old, revision)
    home.store.unlink()
    said = home.type("restore", str(old), "--no-pause")

    assert said.exit_code == 0, said.output
    assert there(home) == ["deployer.db", "lock"]
    assert (found_in(old), found_in(home.store)) == (revision, REVISION)
    assert verify(home) == 0


def test_a_backup_of_a_newer_version_is_refused(home: Home) -> None:
    """It is named, and left as it is."""
    with closing(sqlite3.connect(copy(home))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    said = home.type("restore", copy(home), *WHY)

    assert said.exit_code == 1
    assert f"{copy(home)} was written by a newer version of deployer (schema 9999" in said.stderr


def test_what_is_no_backup_is_named(home: Home) -> None:
    """Nothing there, no store, an export, and the store itself."""
    text, export = home.folder / "text", home.folder / "log.jsonl"
    text.write_text("hello\n")
    audited.export(home.store, export)
    for path, why in (
        (home.folder / "none", "No such file or directory"),
        (text, "neither a store of deployer nor a raw export"),
        (export, "is an export of the log, which holds no releases"),
        (home.store, "is the store that is there"),
    ):
        said = home.type("restore", str(path), *WHY)
        assert said.exit_code != 0
        assert why in said.stderr


@pytest.mark.parametrize("is_behind", [True, False])
def test_what_had_not_been_delivered_when_it_was_made_is_old_news(home: Home, *, is_behind: bool) -> None:
    """An older status would take the place of a newer one; but of the same log nothing is lost."""
    path = home.folder / "copy.db" if is_behind else home.store
    with closing(SqlStore.open(path)) as store:
        record = store.load("prod-ap")
        store.commit(record, [started(record, release("told"))], ["It began."])
        assert undelivered(store)[-1].message == "It began."
    if not is_behind:
        shutil.copyfile(home.store, home.folder / "copy.db")
    assert home.type("restore", copy(home), *(WHY if is_behind else ())).exit_code == 0
    with closing(SqlStore.open(home.store)) as store:
        last = [row.message for row in undelivered(store)][-1:]
    assert last == ([] if is_behind else ["It began."])
    assert verify(home) == 0


def test_a_token_that_was_revoked_stays_so(home: Home) -> None:
    """Although the backup is of before."""
    row = {
        "id": "3f2a9c1b",
        "name": "lin",
        "hash": "3f2a9c1b" * 8,
        "role": "viewer",
        "created_at": codec.stamp(at(1)),
        "created_by": "ada (local)",
    }
    for path, more in ((home.folder / "copy.db", {}), (home.store, {"revoked_at": codec.stamp(at(2))})):
        with closing(SqlStore.open(path)) as store, store.database.writing() as connection:
            connection.execute(insert(TOKENS), {**row, **more})
    assert home.type("restore", copy(home), *WHY).exit_code == 0

    with closing(sqlite3.connect(home.store)) as connection:
        assert connection.execute("SELECT revoked_at FROM tokens").fetchall() == [(codec.stamp(at(2)),)]


def test_it_is_for_the_daemons_user(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who else writes a store leaves one that the daemon cannot open."""
    monkeypatch.setattr(os, "geteuid", lambda: home.store.stat().st_uid + 12345)
    said = home.type("restore", copy(home), *WHY)

    assert said.exit_code == 1
    assert "who runs the daemon: type it as that user" in said.stderr


# --- killed anywhere ---------------------------------------------------------------------------------------

STEPS = ("os.rename", "os.link", "os.remove", "os.truncate", "os.mkdir", "open", "sqlite3.connect")
KILLED = 137
JUNK = b"\xff" * 8192


def killed_at(step: int, home: Home) -> bool:
    """Restore in a process of its own that is gone before so many steps with files; whether it was."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == KILLED
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in STEPS and any(str(home.folder) in str(one) for one in arguments):
            count += 1
            if count == step:
                os._exit(KILLED)

    sys.addaudithook(hook)
    try:
        os._exit(home.type("restore", copy(home), *WHY).exit_code)
    finally:
        os._exit(99)


def state_of(home: Home) -> str:
    """Which store is there, as a daemon that starts would find it; each is whole. "none": it does not start.

    Or there is none yet.
    """
    if not home.store.exists() or not home.store.stat().st_size:
        return "none"
    if home.store.read_bytes() == JUNK:
        return "junk"
    with closing(SqlStore.open(home.store)) as store:
        events = store.events(limit=10_000)
    assert Files(folder=home.folder, log=home.store).contrib().code == 0
    assert len(events) in {256 + 1, 512}
    return "old" if len(events) == 512 else "new"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["killed", "absent", "damaged"])
def test_killed_anywhere_a_whole_store_is_there(home: Home, stores: tuple[Path, Path], how: str) -> None:
    """The one that was there, also with what the daemon before had committed last; or the restored one."""
    fresh = home.folder / "fresh"
    shutil.copytree(home.store.parent, fresh)
    if how == "killed":
        # What a daemon leaves that was killed: its last commits are in the log beside the store.
        shutil.copyfile(stores[0], fresh / "deployer.db")
        with closing(SqlStore.open(fresh / "deployer.db")) as running:
            audited.add(running, range(1, 2))
            shutil.copytree(fresh, home.folder / "left")
        shutil.rmtree(fresh)
        (home.folder / "left").rename(fresh)
        assert (fresh / "deployer.db-wal").stat().st_size > 0
    if how == "absent":
        (fresh / "deployer.db").unlink()
    if how == "damaged":
        (fresh / "deployer.db").write_bytes(JUNK)
        (fresh / "deployer.db-wal").write_bytes(JUNK[:500])
    found: list[str] = []
    step = 0
    while True:
        step += 1
        shutil.rmtree(home.store.parent)
        shutil.copytree(fresh, home.store.parent)
        was_killed = killed_at(step, home)
        found.append(state_of(home))
        # What was there is never lost: it has its own name, or another.
        kept = [home.store, *home.store.parent.glob("deployer.db.before-restore-*Z")]
        if how == "damaged":
            logs = home.store.parent.glob("deployer.db*-wal")
            assert any(path.read_bytes() == JUNK for path in kept), step
            assert any(path.read_bytes() == JUNK[:500] for path in logs), step
        elif how != "absent":
            assert any(path.exists() and len(audited.rows(path)) == 512 for path in kept), step
        if not was_killed:
            break
        # It can be done again, and then ends.
        assert home.type("restore", copy(home), *WHY).exit_code == 0, step
        assert state_of(home) == "new"
        assert not list(home.store.parent.glob("*.restoring*"))

    changes = [here for before, here in zip(["", *found], found, strict=False) if before != here]
    assert changes == {"absent": ["none", "new"], "damaged": ["junk", "none", "new"]}.get(how, ["old", "new"])
    assert step > 15
