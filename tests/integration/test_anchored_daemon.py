"""The whole daemon signs and anchors its log: what people see of it, and what an auditor finds."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from deployer.adapters.store import SqlStore
from deployer.cli import anchors
from deployer.cli.main import cli
from deployer.core.checkpoint import parse, parse_all
from deployer.core.events import DAEMON_LOG, DaemonStopped
from tests.support.anchored import NAME, TOKEN, Anchored, SyslogSocket
from tests.support.audited import Files, events
from tests.support.eventually import eventually
from tests.support.free_port import free_port
from tests.support.metered_site import Scrape
from tests.support.promotion_site import PromotionSite
from tests.support.tampering import cut_with_care, forge
from tests.unit.cli.test_json_docs import differences, paths

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from click.testing import Result


@pytest.fixture
def anchored(tmp_path: Path) -> Anchored:
    """Where checkpoints go; and a log of three events, for who needs one."""
    (tmp_path / "anchored").mkdir()
    return Anchored(tmp_path / "anchored", every="1s")


def type_(site: Anchored, *args: str) -> Result:
    """Type `deployer ARGS` on the machine of this log."""
    return CliRunner().invoke(cli, [*args, "-c", str(site.settings())])


@contextmanager
def process(site: Anchored) -> Iterator[subprocess.Popen[bytes]]:
    """`deployer run`, as it is installed; killed at the end, if it still runs."""
    command = [sys.executable, "-m", "deployer", "run", "-c", str(site.settings())]
    with (
        (site.root / "stderr").open("ab") as log,
        subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as daemon,
    ):
        try:
            yield daemon
        finally:
            if daemon.poll() is None:
                os.killpg(daemon.pid, signal.SIGKILL)


def stored(site: Anchored) -> list[str]:
    """The types of the events in the daemon's own log."""
    return [event.type for event in events(site.store) if event.environment == DAEMON_LOG]


# --- the daemon -------------------------------------------------------------------------------------------


def test_a_daemon_anchors_what_it_does_and_an_auditor_finds_what_was_done_to_it(
    tmp_path: Path, anchored: Anchored
) -> None:
    """A deploy, a scrape, a stop; then somebody flips, cuts and rolls the store back."""
    with anchored.serving():
        site = PromotionSite(tmp_path, more={"audit": anchored.audit})
        with site.running():
            site.push(1)
            site.settle("dev")

            def covered() -> bool:
                found = Scrape(text=site.ask("GET", "/metrics").text)
                return found.value("deployer_audit_uncovered_events", place="git") == 0

            eventually(covered, within=60)
            found = Scrape(text=site.ask("GET", "/metrics").text)
            assert found.value("deployer_audit_store_fits") == 1
            assert found.value("deployer_audit_uncovered_events", place="file") == 0
            age = found.value("deployer_audit_anchor_age_seconds", place="git")
            assert age is not None
            assert age >= 0
            older = tmp_path / "older.db"
            with (
                closing(sqlite3.connect(site.state_dir / "deployer.db")) as store,
                closing(sqlite3.connect(older)) as copy,
            ):
                store.backup(copy)

    log = events(site.state_dir / "deployer.db")
    assert log[-1].type == "daemon_stopped"
    # The last checkpoint covers the last event.
    assert anchored.pushed()[-1] == len(log)
    assert TOKEN not in anchored.repo.git("log", "-p", anchored.ref)
    file = site.state_dir / "deployer.db"
    assert anchored.verify(store=file)[0] == 0

    def flip(connection: Any, chance: random.Random) -> None:
        connection.execute(
            "UPDATE events SET actor = 'nobody' WHERE id = ?", (chance.randrange(1, len(log)),)
        )

    for tamper in (flip, cut_with_care, forge):
        (tmp_path / tamper.__name__).mkdir()
        files = Files.copy(file, tmp_path / tamper.__name__)
        with files.tampering() as connection:
            tamper(connection, random.Random(0))
        assert anchored.verify(store=files.log)[0] == 1, tamper
    code, said = anchored.verify(store=older)
    assert (code, "missing" in said) == (1, True)


def test_what_keeps_checkpoints_disturbs_no_rollout_where_it_is_down(
    tmp_path: Path, anchored: Anchored
) -> None:
    """Neither a server, nor syslog, nor a key: what is pushed is deployed, and the daemon stops in order."""
    anchored.audit["push"] = {"url": f"http://127.0.0.1:{free_port()}/anchors.git"}
    anchored.audit["syslog"] = str(tmp_path / "nothing")
    site = PromotionSite(tmp_path, more={"audit": anchored.audit})
    with site.running():
        anchored.key.rename(tmp_path / "away")
        site.push(1)
        site.settle("dev")
        (tmp_path / "away").rename(anchored.key)
        site.push(2)
        site.settle("dev")

        def told() -> bool:
            answer = json.loads(site.type("audit", "checkpoint", "-o", "json").stdout or "{}")
            troubles = [one["trouble"] or "" for one in answer.get("kept", ())]
            return ["cannot read http" in "".join(troubles), "did not take it" in "".join(troubles)] == [
                True
            ] * 2

        eventually(told, within=60)
    log = events(site.state_dir / "deployer.db")
    assert log[-1].type == "daemon_stopped"
    notes = (site.state_dir / "checkpoints.txt").read_text()
    assert parse_all(notes)[-1].checkpoint.size == len(log)


def test_a_process_signs_its_stop_and_after_a_kill_what_is_left(anchored: Anchored) -> None:
    """SIGTERM, then SIGKILL, then SIGTERM: what the killed one had not signed, the next one does."""
    with anchored.serving():
        with process(anchored) as daemon:
            eventually(anchored.pushed, within=60)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(30) == 0, (anchored.root / "stderr").read_text()
        assert stored(anchored)[3:] == ["daemon_started", "daemon_stopped"]
        size = len(events(anchored.store))
        assert anchored.sizes()[-1] == anchored.pushed()[-1] == size

        anchored.audit["every"] = "1h"
        with process(anchored) as daemon:
            eventually(lambda: len(stored(anchored)) == 6, within=60)
            os.killpg(daemon.pid, signal.SIGKILL)
        assert anchored.pushed()[-1] == size

        anchored.audit["every"] = "1s"
        with process(anchored) as daemon:
            eventually(lambda: anchored.pushed()[-1] > size, within=60)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(30) == 0
    assert stored(anchored)[5:] == ["daemon_started", "daemon_started", "daemon_stopped"]
    size = len(events(anchored.store))
    assert anchored.pushed()[-1] == size
    code, said = anchored.verify()
    assert (code, f"the newest covers {size} of the events" in said) == (0, True)


# --- what people type -------------------------------------------------------------------------------------


def test_the_newest_checkpoint_is_printed_and_where_it_is(anchored: Anchored) -> None:
    """On stdout the note alone, so that a file of it can be given to the verifier."""
    with anchored.serving():
        anchored.turn()
        anchored.add(2)
    done = type_(anchored, "audit", "checkpoint")
    assert done.exit_code == 0, done.output
    assert parse(done.stdout) == anchored.notes()[-1]
    lines = done.stderr.splitlines()
    assert lines[0] == "2 events are newer than this checkpoint."
    assert [line.partition(": there, since ")[0] for line in lines[1:]] == [
        f"file ({anchored.file.path})",
        f"git ({anchored.ref} of {anchored.audit['push']['url']})",
    ]
    note = anchored.root / "note.txt"
    note.write_text(done.stdout)
    assert anchored.verify(note)[0] == 0

    answer = json.loads(type_(anchored, "audit", "checkpoint", "-o", "json").stdout)
    assert list(differences("audit checkpoint", paths(answer))) == []
    assert answer["checkpoint"] == done.stdout
    assert {key: answer[key] for key in ("name", "size", "newer", "misfit")} == {
        "name": NAME,
        "size": 3,
        "newer": 2,
        "misfit": None,
    }
    assert [(one["place"], one["size"], one["trouble"]) for one in answer["kept"]] == [
        ("file", 3, None),
        ("git", 3, None),
    ]


def test_without_a_checkpoint_it_says_what_to_do(anchored: Anchored) -> None:
    """No settings, none signed yet, a file that holds something else, and a store that was cut off."""
    done = type_(anchored, "audit", "checkpoint")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "There is no checkpoint in" in done.stderr
    anchored.turn()
    with (
        closing(SqlStore.open(anchored.store)),
        Files(folder=anchored.root, log=anchored.store).tampering() as connection,
    ):
        cut_with_care(connection, random.Random(0))
    done = type_(anchored, "audit", "checkpoint")
    assert (done.exit_code, parse(done.stdout).checkpoint.size) == (1, 3)
    assert "and more were signed: `deployer audit verify` tells more." in done.stderr
    anchored.turn()
    done = type_(anchored, "audit", "checkpoint")
    assert (done.exit_code, "The store is not the one that was signed" in done.stderr) == (1, True)

    anchored.file.path.write_text("hello\n\u2014 a b\n")
    done = type_(anchored, "audit", "checkpoint")
    assert (done.exit_code, "cannot be read: it is no checkpoint" in done.stderr) == (1, True)
    bare = anchored.root / "bare.yaml"
    settings = yaml.safe_load(anchored.settings().read_text())
    del settings["audit"]
    bare.write_text(yaml.safe_dump(settings))
    done = CliRunner().invoke(cli, ["audit", "checkpoint", "-c", str(bare)])
    assert (done.exit_code, "the settings have no `audit`" in done.stderr) == (1, True)
    done = CliRunner().invoke(cli, ["audit", "checkpoint", "--server", "http://127.0.0.1:1"])
    assert (done.exit_code, "takes no --server" in done.stderr) == (64, True)


def told(site: Anchored, *groups: str) -> dict[str, list[tuple[str, str]]]:
    """What the doctor finds in these groups, by subject."""
    done = type_(site, "doctor", "--only", ",".join(groups), "-o", "json")
    found: dict[str, list[tuple[str, str]]] = {}
    for one in json.loads(done.stdout)["findings"]:
        found.setdefault(one["subject"], []).append((one["state"], one["says"]))
    assert TOKEN not in done.stdout
    return found


def test_the_doctor_looks_at_the_key_the_push_and_the_checkpoints(anchored: Anchored) -> None:
    """Well, and not; and nothing is pushed by it."""
    with anchored.serving():
        (state, says), *_ = told(anchored, "store")["checkpoints"]
        assert (state, says) == ("warn", "nothing was signed yet: the daemon signs when it starts")
        found = told(anchored, "git", "files")
        assert found["audit.key_file"] == [("ok", f"{anchored.key} (mode 0600)")]
        assert found["audit.push.token_file"][0][0] == "ok"
        assert found["ssh-keygen"][0][1].endswith(", for the checkpoints of the audit log")
        assert found["audit.push"] == [("ok", f"takes a push to {anchored.ref}, which is not there yet")]
        assert anchored.pushed() == []

        anchored.turn()
        assert [(state, says[:24]) for state, says in told(anchored, "store")["checkpoints"]] == [
            ("ok", "file has 3 of 3 events, "),
            ("ok", "git has 3 of 3 events, s"),
        ]
        newest = anchored.repo.git("rev-parse", "--short=7", anchored.ref)
        assert told(anchored, "git")["audit.push"][0][1].endswith(f", whose newest commit is {newest}")
        # Those happened long ago, by their own time.
        anchored.add(1)
        assert [state for state, _ in told(anchored, "store")["checkpoints"]] == ["fail", "fail"]

        anchored.repo.git("config", "http.receivepack", "false")
        assert told(anchored, "git")["audit.push"] == [("fail", "the credential may not push to it")]
        anchored.repo.git("config", "http.receivepack", "true")
        anchored.token.write_text("another\n")
        assert told(anchored, "git")["audit.push"] == [("fail", "the server refused the credentials")]
    anchored.key.write_text("nothing\n")
    # The daemon would not start; who only reads the store is told.
    assert told(anchored, "files")["audit.key_file"][0] == (
        "fail",
        f"{anchored.key}: it holds no private key in the form that ssh-keygen writes",
    )


def test_the_doctor_warns_of_a_place_in_trouble_before_it_is_late(tmp_path: Path) -> None:
    """A syslog that is gone: for an hour and more nobody would hear of it."""
    (tmp_path / "anchored").mkdir()
    site = Anchored(tmp_path / "anchored", every="365d")
    with closing(SyslogSocket(tmp_path / "log")) as syslog:
        site.audit["syslog"] = syslog.address
        site.turn()
    (tmp_path / "log").unlink()
    site.add(1, DaemonStopped(at=datetime.now(UTC)))
    site.turn()
    (file, _), (state, says) = told(site, "store")["checkpoints"]
    assert (file, state) == ("ok", "warn")
    assert says.startswith("syslog has 3 of 4 events, ")
    assert "did not take it: No such file or directory" in says


def test_the_doctor_says_that_the_store_is_another(anchored: Anchored) -> None:
    """Before a daemon has found it, and after."""
    anchored.add(5)
    anchored.turn()
    with Files(folder=anchored.root, log=anchored.store).tampering() as connection:
        cut_with_care(connection, random.Random(1))
    state, says = told(anchored, "store")["checkpoints"][0]
    assert (state, says.startswith("8 events were signed, and the store has ")) == ("fail", True)
    anchored.turn()
    state, says = told(anchored, "store")["checkpoints"][0]
    assert (state, says.startswith("The store is not the one that was signed: 8 events")) == ("fail", True)


def test_after_a_restore_that_gave_events_up_the_log_is_signed_again(anchored: Anchored) -> None:
    """By the commands that people type; an auditor sees what was given up, and no later rollback passes."""
    backup = anchored.root / "backup.db"
    with anchored.serving():
        anchored.turn()
        done = type_(anchored, "backup", str(backup))
        assert done.exit_code == 0, done.output
        anchored.add(4)
        anchored.turn()
        assert anchored.pushed() == [3, 7]
        done = type_(anchored, "restore", str(backup))
        assert (done.exit_code, anchored.sizes()) == (7, [3, 7])
        done = type_(anchored, "restore", str(backup), "--accept-loss", "--reason", "the disk is gone")
        assert done.exit_code == 0, done.output
        assert anchored.sizes() == [3]
        known = anchored.turn()
        assert known.misfit == ""
        # Perhaps what is left of what was signed first, then what is new.
        pushed = anchored.pushed()
        assert (pushed[:2], pushed[-1]) == ([3, 7], 4)
        assert [one.size for one in known.kept] == [4, 4]
        code, said = anchored.verify()
        assert (code, "Events 5 to 7 are missing" in said) == (1, True)

        # An older copy once more, without saying so.
        anchored.add(2)
        anchored.turn()
        assert anchored.pushed()[-1] == 6
        shutil.copyfile(backup, anchored.store)
        for suffix in ("-wal", "-shm"):
            anchored.store.with_name(f"{anchored.store.name}{suffix}").unlink(missing_ok=True)
        assert "6 events were signed, and the store has 3" in anchored.turn().misfit
        assert anchored.pushed()[-1] == 6


def test_what_a_clock_that_was_ahead_signed_can_be_given_up(
    anchored: Anchored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was pushed says that it came after the loss, which names it."""
    backup, now = anchored.root / "backup.db", anchors._now
    with anchored.serving():
        anchored.turn()
        assert type_(anchored, "backup", str(backup)).exit_code == 0
        anchored.add(4)
        monkeypatch.setattr(anchors, "_now", lambda: now() + timedelta(hours=1))
        anchored.turn()
        monkeypatch.undo()
        assert anchored.pushed() == [3, 7]
        done = type_(anchored, "restore", str(backup), "--accept-loss", "--reason", "the disk is gone")
        assert done.exit_code == 0, done.output
        assert anchored.turn().misfit == ""
        assert anchored.pushed()[-1] == anchored.sizes()[-1] == 4


def test_on_a_new_machine_what_the_daemon_says_is_what_is_to_be_done(anchored: Anchored) -> None:
    """The disk died, and the backup is older than what is anchored: the commands as they are told."""
    backup, notes = anchored.root / "backup.db", anchored.root / "anchors.txt"
    with anchored.serving():
        anchored.turn()
        assert type_(anchored, "backup", str(backup)).exit_code == 0
        anchored.add(4)
        anchored.turn()
        shutil.rmtree(anchored.state_dir)
        assert type_(anchored, "restore", str(backup)).exit_code == 0
        misfit = anchored.turn().misfit
        assert "7 events were signed, and the store has 4" in misfit
        (git,) = re.findall("`(git log [^`]+)`", misfit)
        (restore,) = re.findall("`deployer (restore [^`]+)`", misfit)
        notes.write_text(anchored.repo.git(*git.split()[1:], anchored.ref) + "\n")
        named = {"FILE": backup, "TEXT": "the disk died", "ANCHORS": notes, "KEY": f"{anchored.key}.pub"}
        done = type_(anchored, *(str(named.get(word, word)) for word in restore.split()))
        assert done.exit_code == 0, done.output
        assert anchored.turn().misfit == ""
        assert anchored.pushed()[-1] == anchored.sizes()[-1]
        assert type_(anchored, "audit", "verify").exit_code == 0
        assert type_(anchored, "backup", str(anchored.root / "next.db")).exit_code == 0
