"""The audit log of a real store, changed in every way there is: both verifiers find it, and say the same."""

from __future__ import annotations

import ast
import json
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.store import SqlStore
from deployer.core.raw_log import RawEvent
from tests.support import audited
from tests.support.audited import ORIGIN, SCRIPT, Files, events, notes, script
from tests.support.note_signer import NoteSigner
from tests.support.prerequisites import require
from tests.support.repos import BareRepo
from tests.support.tampering import CAREFUL, OPEN, cut_with_care, delete

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZE = 1024


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 1,024 events of 16 environments, as a daemon leaves it that ended in order."""
    path = tmp_path_factory.mktemp("store") / "deployer.db"
    audited.build(path)
    return path


@pytest.fixture(scope="module")
def signed(store: Path) -> str:
    """Checkpoints that were signed while it grew."""
    return notes(store, 1, 100, 600, SIZE)


@pytest.fixture
def files(store: Path, signed: str, tmp_path: Path) -> Files:
    """A copy of the store to change, its checkpoints, and the key."""
    return Files.copy(store, tmp_path, signed)


# --- a clean log -------------------------------------------------------------------------------------------


def test_nothing_is_found_in_a_clean_log(files: Files) -> None:
    """With its checkpoints and without; each time the last line has the counts."""
    what = "1,024 events of 16 environments, 4 signed checkpoints"
    last = f"Verified: {what}; the newest covers 1,024 of the events."
    assert files.both() == audited.Said(0, (last,))
    files.notes = []
    assert files.both().code == 0


def test_nothing_is_found_in_the_log_of_a_running_daemon(store: Path, signed: str, tmp_path: Path) -> None:
    """Its newest commits are in the second file of SQLite, and count."""
    files = Files.copy(store, tmp_path, signed)
    with closing(SqlStore.open(files.log)) as running:
        audited.add(running, range(10, 11))
        said = files.both()
        assert said.code == 0
        assert said.lines[-1].startswith("Verified: 1,280 events of 16 environments")


def test_an_empty_store_is_verified(tmp_path: Path) -> None:
    """Before the first event."""
    path = tmp_path / "deployer.db"
    SqlStore.open(path).close()
    frontier = NoteSigner("ada").note(ORIGIN, 0, script.hashlib.sha256().digest())

    assert Files(folder=tmp_path, log=path, notes=[frontier.text]).both().code == 0


def test_nothing_is_written(files: Files) -> None:
    """No byte of the file, and no file beside it: it may be a backup in a folder that nobody may write to."""
    before = files.log.read_bytes()
    said = files.contrib()
    there = {path.name for path in files.folder.iterdir()}

    assert said.code == 0
    assert there == {"deployer.db", "notes-0", "keys-0"}
    assert files.log.read_bytes() == before


def test_an_export_is_verified_as_its_store(files: Files) -> None:
    """The same events, line by line; what a store says elsewhere is not in it."""
    path = files.folder / "log.jsonl"
    audited.export(files.log, path)
    files.log = path

    assert files.both().code == 0
    assert len(path.read_text().splitlines()) == SIZE


def test_the_log_of_a_branch_of_checkpoints_is_read(files: Files, signed: str) -> None:
    """What git prints of a branch on which each message is a note; all of it, or the messages alone."""
    repo = BareRepo(files.folder / "anchors.git")
    for note in script.read_notes(signed, "x"):
        lines = signed.split("\n")[int(note.place.partition(":")[2]) - 1 :]
        repo.commit({}, message="\n".join(lines[:5]) + "\n")
    printed = repo.git("log", "main") + "\n"
    messages = repo.git("log", "--format=%B", "main") + "\n"

    assert printed.startswith("commit ")
    files.notes = [printed, messages]
    said = files.both()
    assert said.code == 0
    assert "8 signed checkpoints; the newest covers 1,024" in said.lines[-1]


# --- rows that come, go, and change places -----------------------------------------------------------------


@pytest.mark.parametrize("tamper", OPEN, ids=lambda tamper: tamper.__name__)
@pytest.mark.parametrize("seed", range(4))
def test_what_was_done_to_the_rows_is_found(
    files: Files, tamper: Callable[[sqlite3.Connection, random.Random], None], seed: int
) -> None:
    """Without any checkpoint; both verifiers say the same."""
    files.notes = []
    with files.tampering() as connection:
        tamper(connection, random.Random(seed))

    assert files.both().code == 1


@pytest.mark.parametrize("tamper", CAREFUL, ids=lambda tamper: tamper.__name__)
@pytest.mark.parametrize("seed", range(4))
def test_what_was_done_with_care_is_found_by_a_checkpoint(
    files: Files, tamper: Callable[[sqlite3.Connection, random.Random], None], seed: int
) -> None:
    """And by nothing else: that is what checkpoints are for."""
    with files.tampering() as connection:
        tamper(connection, random.Random(seed))
    said = files.both()
    kept, files.notes = files.notes, []

    assert said.code == 1
    assert len(said.findings) == 1
    assert files.both().code == 0
    # Who can write the log anew cannot sign it anew.
    files.notes = [*kept, notes(files.log, signer=NoteSigner("eve"))]
    assert any("is not signed with a key that was given" in line for line in files.both().findings)


def test_an_older_copy_is_found_by_a_checkpoint(store: Path, tmp_path: Path) -> None:
    """It is a store of ours in every respect."""
    newer = tmp_path / "newer.db"
    shutil.copyfile(store, newer)
    with closing(SqlStore.open(newer)) as running:
        audited.add(running, range(10, 11))
    files = Files.copy(store, tmp_path, notes(newer))

    assert files.both().findings == (
        f"Events 1025 to 1280 are missing: the log has 1,024 events, but 1,280 were signed (checkpoint at"
        f" {tmp_path / 'notes-0'}:1).",
    )


def test_a_trigger_that_is_gone_or_another_is_found(files: Files) -> None:
    """As is one that nobody knows, on whatever table."""
    with files.connect() as connection:
        connection.execute("DROP TRIGGER events_no_update")
        connection.execute("DROP TRIGGER events_no_delete")
        connection.execute("CREATE TRIGGER events_no_delete BEFORE DELETE ON events BEGIN SELECT 1; END")
        connection.execute("CREATE TRIGGER more AFTER INSERT ON Events BEGIN SELECT 1; END")
        connection.execute("CREATE TRIGGER other AFTER INSERT ON rollouts BEGIN SELECT 1; END")

    assert files.both().findings == (
        "The trigger events_no_update, which keeps the log from being changed, is missing.",
        "The trigger events_no_delete, which keeps the log from being changed, is another.",
        "There is a trigger on the log that deployer does not make: more.",
        "There is a trigger on the table rollouts that deployer does not make: other.",
    )


@pytest.mark.parametrize("column", RawEvent._fields)
@pytest.mark.parametrize("value", [None, True, 1.5, 7, [], {}, "", "\ud800", "\x1b[2J"], ids=repr)
def test_an_export_with_another_value_is_found(files: Files, column: str, value: object) -> None:
    """JSON holds anything in any place; both verifiers say the same of it."""
    path = files.folder / "log.jsonl"
    audited.export(files.log, path)
    lines = path.read_text().splitlines()
    event = json.loads(lines[500])
    same = type(event[column]) is type(value) and event[column] == value
    lines[500] = json.dumps(event | {column: value})
    path.write_text("\n".join(lines))
    files.log = path

    assert files.both().code == int(not same)


# --- notes and keys ----------------------------------------------------------------------------------------


def test_a_note_by_another_key_is_not_believed(files: Files) -> None:
    """Neither is one for another purpose, or one whose signature is of another text."""
    files.notes = [notes(files.log, signer=NoteSigner("eve"))]
    assert [line.partition(" is ")[2] for line in files.both().findings] == [
        "not signed with a key that was given."
    ]

    original = notes(files.log)
    text, _, line = original.partition("\n\n")
    blob_ = script.decoded(line.split(" ")[2].strip())
    for content, namespace, why in (
        (f"{text}\n", "git", "it was made for git, not for deployer-audit"),
        ("another text", "deployer-audit", "the key did not sign this text"),
    ):
        bad = blob_[:4] + audited.SIGNER.sign(content.encode(), namespace=namespace)
        encoded = script.base64.b64encode(bad).decode()
        files.notes = [f"{text}\n\n\u2014 {ORIGIN} {encoded}\n"]
        assert [line.partition("no good: ")[2] for line in files.both().findings] == [f"{why}."]


def test_ssh_keygen_alone_checks_a_checkpoint_as_the_page_says(files: Files, signed: str) -> None:
    """The commands of docs/audit.md, as they stand there, on a note and on one that was changed."""
    require("ssh-keygen", shutil.which("ssh-keygen") is not None, "apt-get install openssh-client")
    page = (SCRIPT.parents[1] / "docs" / "audit.md").read_text()
    [commands] = re.findall(r"^```sh\n(sed .*?)^```$", page, re.MULTILINE | re.DOTALL)
    (files.folder / "allowed_signers").write_text(f"deployer {audited.SIGNER.key.line}\n")
    note = "".join(signed.splitlines(keepends=True)[-5:])

    for text, code in ((note, 0), (note.replace("1024", "1025"), 255)):
        (files.folder / "checkpoint.txt").write_text(text)
        done = subprocess.run(
            ["sh", "-ec", commands], cwd=files.folder, capture_output=True, check=False, timeout=20, text=True
        )
        assert done.returncode == code, done.stderr
    assert "1024" in note


def test_notes_of_another_log_are_not_compared(files: Files) -> None:
    """All of them are of one origin, which can be named."""
    files.notes.append(notes(files.log, origin="elsewhere.example.com/audit"))
    assert files.both().code == 1

    files.more = ["--origin", "elsewhere.example.com/audit"]
    said = files.contrib()
    assert (said.code, len(said.findings)) == (1, 4)


def test_without_a_key_the_outcome_is_that_nothing_was_proven(files: Files) -> None:
    """Exit code 2; and 1 where something was found all the same."""
    files.keys = []
    assert files.both().code == 2

    with files.tampering() as connection:
        cut_with_care(connection, random.Random(0))
    assert files.both().code == 1


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("notes", ""),
        ("notes", "deployer.example.com/audit\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"),
        ("notes", "deployer.example.com/audit\r\n0\r\n"),
        ("keys", ""),
        ("keys", "ssh-rsa AAAA\n"),
        ("keys", 'ada valid-before="20270101" ssh-ed25519 AAAA\n'),
        ("keys", "junk\n"),
        ("keys", "ssh-ed25519 AAAA\n"),
    ],
)
def test_what_cannot_be_read_cannot_be_checked(
    files: Files, what: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and the file with its line: an unsigned note proves nothing."""
    (files.folder / "bad").write_text(text)
    option = {"notes": "--checkpoint", "keys": "--key"}[what]

    assert script.main([*files.arguments(), option, str(files.folder / "bad")]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(f"verify-audit: cannot check: {files.folder / 'bad'}: ")


# --- the command -------------------------------------------------------------------------------------------


def run(*arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    """The script in a process of its own, with the standard library alone."""
    return subprocess.run(
        [sys.executable, "-I", "-S", str(SCRIPT), *arguments],
        input=data,
        capture_output=True,
        check=False,
        timeout=50,
    )


def test_the_script_runs_alone(files: Files) -> None:
    """Without any package; by its own name as well."""
    done = run(*files.arguments())
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Verified: 1,024 events")

    quiet = run(*files.arguments(), "--quiet")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, b"", b"")
    assert SCRIPT.stat().st_mode & 0o111
    assert SCRIPT.read_text().startswith("#!/usr/bin/env python3\n")


def test_the_script_reads_an_export_from_standard_input(files: Files) -> None:
    """So that it can stand behind a pipe."""
    path = files.folder / "log.jsonl"
    audited.export(files.log, path)
    arguments = ["-", *files.arguments()[1:]]

    assert run(*arguments, data=path.read_bytes()).returncode == 0
    assert run(*arguments, data=b"".join(path.read_bytes().splitlines(keepends=True)[:-1])).returncode == 1


def test_the_exit_codes_of_the_script(files: Files, tmp_path: Path) -> None:
    """1 if something was changed; 2 if nothing could be checked, with a sentence and no traceback."""
    with files.tampering() as connection:
        delete(connection, random.Random(0))
    found = run(*files.arguments(), "--quiet")
    assert found.returncode == 1
    assert b"missing" in found.stdout
    assert b"NOT as it was written" not in found.stdout

    (tmp_path / "text").write_text("hello\n")
    (tmp_path / "nothing").write_text("")
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE events (id)")
    cases: tuple[list[str], ...] = (
        ["there-is-none"],
        ["text"],
        ["nothing"],
        ["other.db"],
        ["."],
        [],
        ["text", "--nonsense"],
    )
    for arguments in cases:
        paths = [str(tmp_path / one) if not one.startswith("-") else one for one in arguments]
        done = run(*paths)
        assert (done.returncode, done.stdout) == (2, b""), arguments
        assert b"Traceback" not in done.stderr
        assert done.stderr


def test_a_log_with_many_findings_is_not_a_flood(files: Files) -> None:
    """Fifty are enough to see what happened."""
    path = files.folder / "log.jsonl"
    path.write_text("".join(f"{json.dumps(event._replace(id=7)._asdict())}\n" for event in events(files.log)))
    files.log = path
    lines = files.contrib().lines

    assert len(lines) == 52
    assert lines[-2] == "And 974 findings more."
    assert lines == files.ours().lines


def test_a_store_of_another_form_is_not_judged(files: Files) -> None:
    """Nor is one that is locked, or on a disk that fails: SQLite has one kind of error for all of them."""
    with files.connect() as connection:
        connection.execute("ALTER TABLE events DROP COLUMN reason")

    assert files.both().code == 2


def test_a_store_that_is_written_to_meanwhile_is_not_judged(files: Files) -> None:
    """It was opened as one that nobody writes to."""
    store = script.Store(str(files.log))
    with closing(store.connection):
        store.require_unchanged()
        with closing(SqlStore.open(files.log)) as running:
            audited.add(running, range(20, 21))
        with pytest.raises(script.CannotCheck, match="was written to meanwhile"):
            store.require_unchanged()


def test_the_script_needs_python_3_9_and_nothing_else() -> None:
    """It is parsed as such, and imports the standard library only."""
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 9))
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])

    assert imported <= set(sys.stdlib_module_names)
    assert "deployer" not in imported
    assert RawEvent._fields == script.COLUMNS
