"""`deployer backup`: a copy of a real store, also of one that is written to, that is whole or not there."""

from __future__ import annotations

import hashlib
import json
import random
import stat
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.store import SqlStore
from tests.support import audited
from tests.support.audited import Files, Home
from tests.support.tampering import cut_with_care, delete
from tests.unit.cli.test_json_docs import differences, paths

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 256 events of 16 environments."""
    path = tmp_path_factory.mktemp("store") / "deployer.db"
    audited.build(path, 1)
    return path


@pytest.fixture
def home(store: Path, tmp_path: Path) -> Home:
    """A state directory with a copy of it."""
    return Home.make(tmp_path, store)


def test_a_backup_is_the_store_in_one_file(home: Home) -> None:
    """Which only its owner can read, and both verifiers take; what is printed is enough to find it again."""
    home.sign(100, 256)
    copy = home.folder / "copy.db"
    said = home.type("backup", str(copy))

    assert said.exit_code == 0, said.output
    first, digest, verified, last = said.stdout.splitlines()
    assert first == f"Copied 256 events, the newest of 2026-11-22 10:42:11 UTC, to {copy}."
    assert digest == f"sha256:{hashlib.sha256(copy.read_bytes()).hexdigest()}"
    assert verified.endswith("2 signed checkpoints; the newest covers 256 of the events.")
    assert f"`deployer restore {copy}`" in last
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert [path.name for path in home.folder.glob("copy*")] == ["copy.db"]
    assert audited.content(copy) == audited.content(home.store)
    assert Files(folder=home.folder, log=copy, notes=[home.checkpoints.read_text()]).both().code == 0
    # No log of SQLite beside it: it can be read where nobody may write.
    assert copy.read_bytes()[18:20] == b"\1\1"


def test_a_backup_for_scripts(home: Home) -> None:
    """As docs/json.md has it."""
    copy = home.folder / "copy.db"
    told = json.loads(home.type("backup", str(copy), "-o", "json").stdout)

    assert list(differences("backup -o", paths(told))) == []
    assert told["file"] == str(copy)
    assert told["sha256"] == hashlib.sha256(copy.read_bytes()).hexdigest()
    assert (told["events"], told["verdict"], told["newest_at"][:10]) == (256, "verified", "2026-11-22")


def test_a_backup_while_the_daemon_writes_is_of_one_moment(home: Home) -> None:
    """Each is whole, verifies, and has no less than the one before."""
    ended = threading.Event()

    def write() -> None:
        with closing(SqlStore.open(home.store)) as running:
            audited.add(running, range(1, 4))
        ended.set()

    thread = threading.Thread(target=write)
    thread.start()
    counts: list[int] = []
    while not ended.is_set():
        copy = home.folder / f"copy-{len(counts)}.db"
        said = home.type("backup", str(copy), "-o", "json")
        assert said.exit_code == 0, said.output
        counts.append(json.loads(said.stdout)["events"])
        assert Files(folder=home.folder, log=copy, keys=[]).contrib().code == 0
    thread.join()

    assert counts == sorted(counts)
    assert len(counts) > 1


def test_what_is_there_is_not_replaced(home: Home) -> None:
    """Unless that is said; then it is replaced whole."""
    copy = home.folder / "copy.db"
    copy.write_text("precious\n")
    said = home.type("backup", str(copy))
    assert said.exit_code == 7
    assert "is there already, and was left as it is" in said.stderr
    assert copy.read_text() == "precious\n"

    assert home.type("backup", str(copy), "--force").exit_code == 0
    assert audited.content(copy) == audited.content(home.store)


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal"])
def test_the_store_is_no_place_for_its_backup(home: Home, suffix: str) -> None:
    """By no other name of it either."""
    before = home.store.read_bytes()
    (home.folder / "link").symlink_to(home.store.parent)
    place = home.folder / "link" / f"deployer.db{suffix}"
    said = home.type("backup", str(place), "--force")

    assert said.exit_code == 64
    assert "is the store itself" in said.stderr
    assert home.store.read_bytes() == before


def test_a_place_that_is_none_is_named(home: Home) -> None:
    """A directory, and a folder that is not there."""
    said = home.type("backup", str(home.folder))
    assert (said.exit_code, "is a directory" in said.stderr) == (64, True)

    said = home.type("backup", str(home.folder / "none" / "copy.db"))
    assert (said.exit_code, "No such file or directory" in said.stderr) == (1, True)
    assert not (home.folder / "none").exists()


def test_without_a_store_there_is_nothing_to_copy(home: Home) -> None:
    """As before the first start."""
    home.store.unlink()
    said = home.type("backup", str(home.folder / "copy.db"))

    assert said.exit_code == 1
    assert "There is nothing to copy." in said.stderr
    assert not (home.folder / "copy.db").exists()


@pytest.mark.parametrize("tamper", [delete, cut_with_care], ids=lambda tamper: tamper.__name__)
def test_what_does_not_verify_is_no_backup(home: Home, tamper: object) -> None:
    """A changed log, and one that is not what was signed: what is found is said, and nothing is kept."""
    home.sign(256)
    with Files(folder=home.folder, log=home.store).tampering() as connection:
        assert callable(tamper)
        tamper(connection, random.Random(0))
    said = home.type("backup", str(home.folder / "copy.db"))

    assert said.exit_code == 1
    assert "NOT as it was written" in said.stdout
    assert "is no backup, and was removed" in said.stderr
    assert not list(home.folder.glob("copy*"))


def test_a_damaged_store_is_not_copied(home: Home) -> None:
    """SQLite finds it, also where it is in an index only."""
    content = bytearray(home.store.read_bytes())
    content[100:110] = b"\xff" * 10
    home.store.write_bytes(content)
    said = home.type("backup", str(home.folder / "copy.db"))

    assert said.exit_code == 1
    assert "is damaged" in said.stderr
    assert not list(home.folder.glob("copy*"))


def test_without_a_key_it_is_said_that_no_signature_was_checked(home: Home) -> None:
    """The backup is made all the same: it is as good as the store is."""
    home.sign(256)
    home.forget_key()
    said = home.type("backup", str(home.folder / "copy.db"))

    assert said.exit_code == 0
    assert "No key was given" in said.stderr
