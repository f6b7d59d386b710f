"""`deployer audit verify` of the daemon's own store, and the raw export that both verifiers take."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from deployer.adapters.checkpoint_file import KEYS
from deployer.adapters.store import SqlStore
from deployer.adapters.store.schema import upgrade
from deployer.adapters.store.tables import REVISION
from deployer.cli.main import cli
from deployer.core.events import Paused, Seen
from tests.migration.test_migrations import REVISIONS, fill
from tests.support import audited
from tests.support.anchored import Anchored, make_key
from tests.support.audited import Files, Home, notes
from tests.support.build import release
from tests.support.note_signer import NoteSigner
from tests.support.prerequisites import require
from tests.support.tampering import KEPT, cut_with_care, no_content

if TYPE_CHECKING:
    from collections.abc import Callable
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


# --- what is kept beside the log ---------------------------------------------------------------------------


@pytest.mark.parametrize("tamper", KEPT, ids=lambda tamper: tamper.__name__)
@pytest.mark.parametrize("seed", range(6))
def test_what_is_kept_beside_the_log_is_compared_when_it_is_asked_for(
    home: Home, tamper: Callable[[sqlite3.Connection, random.Random], None], seed: int
) -> None:
    """A record or a rollout that says something else: the daemon goes by it, and the log does not show it."""
    home.sign(256)
    whole = home.type("audit", "verify", "--deep")
    assert whole.exit_code == 0
    assert whole.stdout.splitlines()[-1].startswith(
        "The records and the history of rollouts are what the log"
    )
    files = Files(folder=home.folder, log=home.store, notes=[home.checkpoints.read_text()])
    with files.tampering() as connection:
        before = connection.total_changes
        tamper(connection, random.Random(seed))
        assert connection.total_changes > before

    assert files.both().code == 0
    said = home.type("audit", "verify", "--deep")
    assert said.exit_code == 1
    [finding, last] = said.stdout.splitlines()
    assert "is not what" in finding
    assert any(name in finding for name in audited.ENVIRONMENTS)
    assert last == "NOT as it was written: 1 finding in 256 events of 16 environments."


def test_a_pause_that_was_taken_out_of_a_record_is_found(home: Home) -> None:
    """What the log does not give, what is in no log, and what cannot be read at all."""
    with closing(SqlStore.open(home.store)) as running:
        now = datetime(2026, 11, 24, tzinfo=UTC)
        running.commit(running.load("prod-eu"), [Paused(at=now, actor="ada", reason="freeze")])
    with closing(sqlite3.connect(home.store, isolation_level=None)) as connection:
        (data,) = connection.execute("SELECT data FROM records WHERE environment = 'prod-eu'").fetchone()
        changed = json.dumps(json.loads(data) | {"paused": None})
        connection.execute("UPDATE records SET data = ? WHERE environment = 'prod-eu'", (changed,))
        connection.execute("UPDATE records SET data = '{}' WHERE environment = 'test-us'")
        connection.execute("UPDATE rollouts SET data = '{}' WHERE id = 'test-us#1'")
    said = home.type("audit", "verify", "--deep")

    assert said.stdout.splitlines()[:-1] == [
        "The record of prod-eu is not what its log gives: it was changed.",
        "The record of test-us is not what its log gives: it was changed.",
        "Rollout test-us#1 of the history is not what the log of test-us gives: its data was changed.",
    ]
    with closing(SqlStore.open(home.store)) as running:
        assert running.load("prod-eu").paused is None


def test_a_log_that_cannot_be_folded_again_is_named(home: Home) -> None:
    """A release that is wanted and was never deployed is in no history: nothing else misses its content."""
    wanted = release("never deployed")
    with closing(SqlStore.open(home.store)) as running:
        running.commit(running.load("prod-eu"), [Seen(at=datetime(2026, 11, 24, tzinfo=UTC), release=wanted)])
    with closing(sqlite3.connect(home.store, isolation_level=None)) as connection:
        connection.execute("DELETE FROM releases WHERE digest = ?", (wanted.digest,))

    assert home.type("audit", "verify").exit_code == 0
    [finding, _] = home.type("audit", "verify", "--deep").stdout.splitlines()
    assert finding.startswith("The log of prod-eu cannot be folded again: ")
    assert f"the content of {wanted.digest} is missing" in finding


def test_what_holds_only_the_log_is_not_looked_into(home: Home) -> None:
    """An export, and standard input; nor is what was found before made worse."""
    export = home.folder / "log.jsonl"
    audited.export(home.store, export)
    for file in (str(export), "-", str(home.folder)):
        said = CliRunner().invoke(cli, ["audit", "verify", "--deep", file], input=export.read_bytes())
        assert said.exit_code in {64, 2}
        assert "Verified" not in said.output
    with Files(folder=home.folder, log=home.store).tampering() as connection:
        no_content(connection, random.Random(0))
    assert "which the history names, is missing" in home.type("audit", "verify", "--deep").stdout


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_store_of_an_older_version_is_verified_when_it_is_migrated(home: Home, revision: str) -> None:
    """Its records and its history are what its log gives; before that nobody says so."""
    path = home.folder / "older.db"
    upgrade(path, revision=revision)
    fill(path, revision)
    said = CliRunner().invoke(cli, ["audit", "verify", str(path)])
    assert said.exit_code == 0, said.output
    deep = CliRunner().invoke(cli, ["audit", "verify", "--deep", str(path)])
    assert deep.exit_code == (0 if revision == REVISION else 2), deep.output

    upgrade(path)
    deep = CliRunner().invoke(cli, ["audit", "verify", "--deep", str(path)])
    assert deep.exit_code == 0, deep.output


# --- another key -------------------------------------------------------------------------------------------


def test_another_key_goes_on_with_the_same_log(tmp_path: Path) -> None:
    """What the first one signed is checked with it, by every command; the daemon has kept its public half."""
    require("ssh-keygen", shutil.which("ssh-keygen") is not None, "apt-get install openssh-client")
    (tmp_path / "git").mkdir()
    (tmp_path / "new").mkdir()
    site = Anchored(tmp_path, every="1s")
    site.turn()
    assert type_(site, "backup", str(tmp_path / "one.db")) == 0
    site.audit["key_file"] = str(make_key(tmp_path / "new" / "key"))
    site.add(2)
    site.turn()
    # That a daemon starts again with it changes nothing.
    before = (site.state_dir / KEYS).read_bytes()
    site.turn()
    assert (site.state_dir / KEYS).read_bytes() == before
    assert len(before.splitlines()) == 2
    assert stat.S_IMODE((site.state_dir / KEYS).stat().st_mode) == 0o600

    assert type_(site, "audit", "verify") == 0
    assert type_(site, "backup", str(tmp_path / "two.db")) == 0
    assert type_(site, "audit", "seal", str(tmp_path / "sealed")) == 0
    assert type_(site, "restore", str(tmp_path / "two.db")) == 0
    assert type_(site, "audit", "verify") == 0


def type_(site: Anchored, *args: str) -> int:
    """Type `deployer ARGS` there; its exit code."""
    result = CliRunner().invoke(cli, [*args, "-c", str(site.settings())])
    assert result.exit_code == 0, result.output
    return result.exit_code


def test_a_key_that_no_daemon_knew_can_be_named(home: Home) -> None:
    """By every command that looks at checkpoints; somebody else's is not believed for that."""
    home.sign(100)
    old = home.folder / "old.pub"
    old.write_text(f"{audited.SIGNER.key.line}\n")
    (home.folder / "audit_key.pub").write_text(f"{NoteSigner('bob').key.line}\n")
    copy = str(home.folder / "copy.db")
    assert home.type("backup", copy).exit_code == 1
    assert home.type("backup", copy, "--key", str(old)).exit_code == 0
    assert home.type("audit", "verify").exit_code == 1
    assert home.type("audit", "verify", "--key", str(old)).exit_code == 0
    # It verifies; then it cannot be signed, for the key is none.
    sealed = str(home.folder / "sealed")
    assert "does not verify" in home.type("audit", "seal", sealed).stderr
    assert "cannot sign with" in home.type("audit", "seal", sealed, "--key", str(old)).stderr

    kept = home.store.parent / KEYS
    kept.write_text("junk\n")
    said = home.type("audit", "verify")
    assert said.exit_code == 2
    assert f"{kept}: line 1" in said.stderr
    assert "move it away" in said.stderr


def test_a_log_that_does_not_fit_what_is_anchored_is_said_everywhere(home: Home) -> None:
    """The daemon knows it of a place that nobody asks here. Nothing is signed, so nothing is sealed."""
    (home.store.parent / "anchors.json").write_text(json.dumps({"misfit": "It is another.", "kept": []}))
    for args in (("audit", "verify"), ("backup", str(home.folder / "copy.db"))):
        said = home.type(*args)
        assert (said.exit_code, "It is another." in said.stderr) == (0, True)
    said = home.type("audit", "seal", str(home.folder / "sealed"))
    assert said.exit_code == 7
    assert "It is another. So nothing is sealed either." in said.stderr
    assert not (home.folder / "sealed").exists()


def test_damaged_checkpoints_have_a_next_step(home: Home) -> None:
    """By every command that holds the log against them."""
    home.sign(100)
    home.checkpoints.write_text(home.checkpoints.read_text().replace("100", "\0\0\0"))
    for args in (("audit", "verify"), ("backup", str(home.folder / "copy.db"))):
        said = home.type(*args)
        assert (said.exit_code, "keep a copy, move the file away" in said.stderr) == (2, True)


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
