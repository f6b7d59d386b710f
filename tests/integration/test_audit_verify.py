"""`deployer audit verify` of the daemon's own store, and the raw export that both verifiers take."""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from deployer.adapters.store import SqlStore
from deployer.cli.main import cli
from tests.support import audited
from tests.support.audited import Files, Home, notes
from tests.support.tampering import cut_with_care

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


def test_the_settings_store_is_verified(home: Home) -> None:
    """Without a file to name; as people read it, and as scripts do."""
    said = home.type("audit", "verify")
    assert said.exit_code == 0
    assert said.stdout.startswith("Verified: 256 events of 16 environments; no checkpoint was given")

    quiet = home.type("audit", "verify", "--quiet")
    assert (quiet.exit_code, quiet.output) == (0, "")
    assert json.loads(home.type("audit", "verify", "-o", "json").stdout) == {
        "verdict": "verified",
        "message": said.stdout.strip(),
        "findings": [],
        "unchecked": [],
        "events": 256,
        "environments": 16,
        "checkpoints": 0,
        "covered": 0,
    }


def test_the_store_of_a_running_daemon_is_verified(home: Home) -> None:
    """Its newest commits too."""
    with closing(SqlStore.open(home.store)) as running:
        audited.add(running, range(7, 8))
        assert "Verified: 512 events" in home.type("audit", "verify").stdout


def test_without_a_store_the_next_step_is_said(home: Home) -> None:
    """Exit code 2: nothing was checked."""
    home.store.unlink()
    said = home.type("audit", "verify")

    assert said.exit_code == 2
    assert "no daemon has run with this state_dir yet" in said.stderr


def test_what_the_daemon_signed_is_held_against_its_store(home: Home) -> None:
    """Its checkpoints, and the public half of its key, need not be named; what cuts the end off is found."""
    home.sign(100, 256)
    said = home.type("audit", "verify")
    assert said.exit_code == 0
    assert "2 signed checkpoints; the newest covers 256 of the events." in said.stdout

    # One that is being written at this moment is none yet.
    with home.checkpoints.open("a") as file:
        file.write(f"{audited.ORIGIN}\n512\n")
    assert home.type("audit", "verify").exit_code == 0

    with Files(folder=home.folder, log=home.store).tampering() as connection:
        cut_with_care(connection, random.Random(0))
    found = home.type("audit", "verify", "-o", "json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["verdict"] == "changed"
    assert json.loads(found.stdout)["findings"][0].endswith(f"(checkpoint at {home.checkpoints}:6).")


def test_checkpoints_of_another_log_are_found(home: Home) -> None:
    """The settings name the log."""
    home.sign(256, origin="elsewhere.example.com/audit")
    said = home.type("audit", "verify")

    assert said.exit_code == 1
    assert (
        f"is of another log: its origin is elsewhere.example.com/audit, not {audited.ORIGIN}." in said.stdout
    )


def test_checkpoints_without_a_key_prove_nothing(home: Home) -> None:
    """Exit code 2, unless the key's public half is named."""
    home.sign(256)
    home.forget_key()
    said = home.type("audit", "verify")
    assert said.exit_code == 2
    assert "No key was given" in said.stderr

    key = home.folder / "kept.pub"
    key.write_text(f"{audited.SIGNER.key.line}\n")
    assert home.type("audit", "verify", "--key", str(key)).exit_code == 0


def test_checkpoints_kept_elsewhere_are_added(home: Home) -> None:
    """To those that the daemon has."""
    home.sign(100)
    elsewhere = home.folder / "elsewhere.txt"
    elsewhere.write_text(notes(home.store, 200))

    said = home.type("audit", "verify", "--checkpoint", str(elsewhere))
    assert "2 signed checkpoints; the newest covers 200" in said.stdout


@pytest.mark.parametrize("what", ["checkpoint", "key"])
def test_what_cannot_be_read_is_named(home: Home, what: str) -> None:
    """A file that is not there, one that is no text, and one that holds nothing of the kind."""
    bad = home.folder / "bad"
    for content, why in ((None, "No such file or directory."), (b"\xff", "it is not text in UTF-8.")):
        bad.unlink(missing_ok=True)
        if content is not None:
            bad.write_bytes(content)
        said = home.type("audit", "verify", f"--{what}", str(bad))
        assert (said.exit_code, said.stderr) == (2, f"Error: cannot check: {bad}: {why}\n")
    bad.write_text("junk\n")
    said = home.type("audit", "verify", f"--{what}", str(bad))
    assert said.exit_code == 2
    assert said.stderr.startswith(f"Error: cannot check: {bad}: ")


def test_what_is_no_log_is_not_judged(home: Home) -> None:
    """Exit code 2, as of the verifier in contrib, and the same sentence."""
    text, folder, other = home.folder / "text", home.folder, home.folder / "other.db"
    text.write_text("hello\n")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE events (id)")
    for path in (text, folder, other, home.folder / "none"):
        said = home.type("audit", "verify", str(path))
        theirs = subprocess.run(
            [sys.executable, str(audited.SCRIPT), str(path)], capture_output=True, check=False, text=True
        )
        assert (said.exit_code, said.stdout) == (theirs.returncode, theirs.stdout) == (2, "")
        assert said.stderr.partition("check: ")[2] == theirs.stderr.partition("check: ")[2]


def test_a_damaged_file_is_a_finding(home: Home) -> None:
    """Exit code 1, as of the verifier in contrib, and the same words where nothing of it can be read."""
    content = bytearray(home.store.read_bytes())
    content[100:110] = b"\xff" * 10
    home.store.write_bytes(content)
    said = Files(folder=home.folder, log=home.store, keys=[]).both()

    assert said.code == 1
    assert said.findings[0].startswith("The file is damaged: ")


def test_nothing_is_written_beside_a_file_that_is_named(home: Home) -> None:
    """It may be a backup in a folder that nobody may write to."""
    before = {path: path.read_bytes() for path in home.store.parent.iterdir()}
    assert home.type("audit", "verify", str(home.store)).exit_code == 0
    assert {path: path.read_bytes() for path in home.store.parent.iterdir()} == before


# --- the raw export ----------------------------------------------------------------------------------------


def test_a_raw_export_is_verified_by_both(home: Home) -> None:
    """All of the log, in the order of ids; from a file, and from standard input."""
    home.sign(256)
    printed = home.type("audit", "export", "--format", "raw").stdout_bytes
    ids = [json.loads(line)["id"] for line in printed.splitlines()]
    assert ids == list(range(1, 257))

    export = home.folder / "log.jsonl"
    export.write_bytes(printed)
    files = Files(folder=home.folder, log=export, notes=[home.checkpoints.read_text()])
    assert files.both().lines[-1].endswith("1 signed checkpoint; the newest covers 256 of the events.")
    for cut, code in ((printed, 0), (b"".join(printed.splitlines(keepends=True)[:-1]), 1)):
        arguments = ["audit", "verify", "-", *files.arguments()[1:]]
        assert CliRunner().invoke(cli, arguments, input=cut).exit_code == code


@pytest.mark.parametrize(
    "more", [["-e", "prod-ap"], ["--since", "1h"], ["--type", "good"], ["--follow"], ["--actor", "ada"]]
)
def test_a_part_of_the_log_is_no_raw_export(home: Home, more: list[str]) -> None:
    """It could not be verified."""
    said = home.type("audit", "export", "--format", "raw", *more)

    assert (said.exit_code, said.stdout) == (64, "")
    assert said.stderr.splitlines()[-1].startswith("Error: --format raw is all of the log")


def test_a_raw_export_is_of_this_machine(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server gives readings of the log, not what is stored."""
    monkeypatch.setenv("DEPLOYER_SERVER", "https://a.example")
    said = home.type("audit", "export", "--format", "raw")

    assert said.exit_code == 64
    assert "on the daemon's machine" in " ".join(said.stderr.split())


def test_a_raw_export_of_a_damaged_store_ends_with_a_sentence(home: Home) -> None:
    """What was read until then is printed; so is a store that is not there."""
    with closing(sqlite3.connect(home.store)) as connection:
        page = connection.execute("PRAGMA page_size").fetchone()[0]
        leaf = connection.execute(
            "SELECT max(pageno) FROM dbstat WHERE name = 'events' AND pagetype = 'leaf'"
        ).fetchone()[0]
    content = bytearray(home.store.read_bytes())
    content[(leaf - 1) * page : leaf * page] = b"\xff" * page
    home.store.write_bytes(content)
    said = home.type("audit", "export", "--format", "raw")
    assert said.exit_code == 1
    assert "is damaged" in said.stderr

    home.store.unlink()
    assert "no daemon has run" in home.type("audit", "export", "--format", "raw").stderr
