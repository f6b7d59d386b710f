"""Checkpoints of a real log: signed by ssh-keygen, pushed to a git server, told to syslog; and when not."""

from __future__ import annotations

import os
import random
import re
import shutil
import stat
import subprocess
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.git import Access, AnchorRef
from deployer.adapters.ssh_signing import public_key
from deployer.adapters.store import StoreUnavailable
from deployer.adapters.store.leaves import Leaves
from deployer.adapters.syslog import Syslog
from deployer.core.anchoring import ref_below
from deployer.core.checkpoint import parse_all
from deployer.core.events import StoreRestored
from deployer.engine import anchoring, tries
from deployer.engine.anchor_places import InSyslog, NotKept
from tests.support.anchored import NAME, TOKEN, Anchored, SyslogSocket, make_key
from tests.support.audited import SCRIPT, Files
from tests.support.eventually import eventually
from tests.support.git_server import serving
from tests.support.tampering import cut_with_care, forge

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def site(tmp_path: Path) -> Anchored:
    """A log of three events that nobody has signed."""
    return Anchored(tmp_path)


def again(site: Anchored, source: Path, *names: str) -> None:
    """Put these files of the state directory back as they were; SQLite's log of later ones goes."""
    for name in names:
        shutil.copyfile(source / name, site.state_dir / name)
    for suffix in ("-wal", "-shm"):
        site.store.with_name(f"{site.store.name}{suffix}").unlink(missing_ok=True)


def copy(site: Anchored, to: Path) -> Path:
    """The state directory as it is."""
    shutil.copytree(site.state_dir, to)
    return to


# --- what is done -----------------------------------------------------------------------------------------


def test_a_log_is_signed_and_anchored_everywhere(site: Anchored) -> None:
    """At the start and at the stop; in the file, on the ref and in syslog; and all of it verifies."""
    with closing(SyslogSocket(site.root / "log")) as syslog, site.serving():
        site.audit["syslog"] = syslog.address
        with site.running() as made:
            site.until(made, "git", 3)
            site.add(2)
        lines = [syslog.line(), syslog.line()]

        assert site.sizes() == site.pushed() == [3, 5]
        assert [one.size for one in made.known.kept] == [5, 5, 5]
        assert not made.known.misfit
        assert [one.trouble for one in made.known.kept] == ["", "", ""]
    assert all(note.is_signed_by(public_key(site.key)) for note in site.notes())
    assert stat.S_IMODE(site.file.path.stat().st_mode) == 0o600
    # Each commit follows the one before, and holds no file.
    assert site.repo.git("rev-list", "--count", "--first-parent", site.ref) == "2"
    assert site.repo.git("ls-tree", "-r", site.ref) == ""
    assert site.repo.git("fsck", "--strict") == ""
    for notes in ((), (site.file.path,)):
        code, said = site.verify(*notes)
        assert (code, "2 signed checkpoints; the newest covers 5 of the events." in said) == (0, True)
    note = site.notes()[1]
    fields = note.text.splitlines()
    assert lines[1].startswith("<85>")
    signature = fields[4].removeprefix("\u2014 ")
    assert lines[1].endswith(f"]: audit checkpoint {NAME} 5 {fields[2]} {signature}")


def test_nothing_is_signed_where_nothing_happened(site: Anchored) -> None:
    """However often it is started, and whatever time has passed."""
    site.audit["every"] = "1s"
    with site.serving():
        for _ in range(3):
            site.turn()
    assert site.sizes() == site.pushed() == [3]


def test_a_daemon_that_is_started_again_and_again_signs_no_oftener(site: Anchored) -> None:
    """Its first checkpoint is due when the one of the daemon before would have been followed by one."""
    site.turn()
    site.add(1)
    with site.running() as made:
        eventually(lambda: made.known.kept[0].size == 3, within=30)
        site.add(1)
        assert not site.said("audit_checkpoint_signed")
    assert site.sizes() == [3, 5]


def test_it_signs_as_often_as_it_is_told(site: Anchored) -> None:
    """While it runs, without anybody telling it that something happened."""
    site.audit["every"] = "1s"
    with site.running() as made:
        site.until(made, "file", 3)
        site.add(2)
        site.until(made, "file", 5)
        site.add(2)
        site.until(made, "file", 7)
    assert site.sizes() == [3, 5, 7]


def test_a_log_of_several_reads_has_the_root_of_all_of_it(site: Anchored) -> None:
    """Read in parts, and gone on with."""
    site.add(2500)
    site.turn()
    site.add(1)
    site.turn()

    assert site.sizes() == [2503, 2504]
    code, said = site.verify(site.file.path)
    assert (code, "the newest covers 2,504" in said) == (0, True)


def test_what_syslog_was_told_is_a_checkpoint_again(site: Anchored) -> None:
    """By UDP as well; by the command of docs/audit.md, as it stands there."""
    with closing(SyslogSocket()) as udp, closing(SyslogSocket(site.root / "log")) as local:
        site.audit["syslog"] = udp.address
        site.turn()
        site.add(1)
        site.audit["syslog"] = local.address
        site.turn()
        lines = [udp.line(), local.line()]
        while f"{NAME} 4 " not in lines[-1]:
            # A place that is new is told what was signed before, if there is time.
            lines[-1] = local.line()

    assert lines[0].startswith("<85>1 20")
    page = (SCRIPT.parents[1] / "docs" / "audit.md").read_text()
    (command,) = re.findall(r"^(sed -n .*audit checkpoint.*) > anchors\.txt$", page, re.MULTILINE)
    said = "".join(f"{line}\nsomething else\n" for line in lines)
    done = subprocess.run(
        ["sh", "-c", command], input=said.encode(), capture_output=True, check=True, timeout=20
    )
    assert parse_all(done.stdout.decode()) == parse_all(site.file.path.read_text())


# --- what fails -------------------------------------------------------------------------------------------


def test_a_server_that_is_down_gets_the_newest_once_it_is_back(
    site: Anchored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile the log is signed as ever; the trouble is told, without the token, and is over then."""
    monkeypatch.setattr(tries, "FIRST_SECONDS", 0.05)
    site.audit["every"] = "1s"
    with site.serving() as server:
        port = server.port
    with site.running() as made:
        eventually(lambda: made.known.kept[1].trouble, within=30)
        site.add(1)
        site.until(made, "file", 4)
        assert made.known.kept[1].size == 0
        with site.serving(port):
            site.until(made, "git", 4)
        assert made.known.kept[1].trouble == ""
    assert site.sizes()[-1] == 4
    assert site.pushed()[-1] == 4
    tried = site.said("audit_checkpoint_not_anchored")
    assert tried[0]["why"].startswith("cannot read http://127.0.0.1:")
    assert tried[1]["again_in_seconds"] == 2 * tried[0]["again_in_seconds"]
    assert TOKEN not in str(site.logs)


def test_a_server_that_refuses_the_credential_is_told_with_the_setting(site: Anchored) -> None:
    """A token that may not push, and one that is wrong."""
    with site.serving():
        site.repo.git("config", "http.receivepack", "false")
        trouble = site.turn().kept[1].trouble
        assert "the credential may not push to it: give `audit.push` one that may" in trouble
        site.token.write_text("another\n")
        assert "refused the credentials" in site.turn().kept[1].trouble
    assert site.sizes() == [3]


def test_a_server_that_does_not_answer_keeps_no_daemon_from_stopping(site: Anchored) -> None:
    """What was signed stays, and is pushed by the next daemon."""
    with site.serving() as server:
        server.hold.set()
        with site.running(seconds=0.5):
            eventually(lambda: server.requests, within=30)
        # It was still looking there, before it signed anything.
        assert site.pushed() == []
        server.hold.clear()
        site.turn()
    assert site.pushed() == [3]


def test_a_syslog_that_is_not_there_is_told(site: Anchored) -> None:
    """With what to do; and is told what it missed once it is there."""
    path = site.root / "log"
    site.audit["syslog"] = str(path)
    known = site.turn()
    why = "No such file or directory: correct `audit.syslog`, or start it."
    assert known.kept[1].trouble == f"syslog at {path} did not take it: {why}"

    with closing(SyslogSocket(path)) as syslog:
        known = site.turn()
        assert f"{NAME} 3 " in syslog.line()
    assert (known.kept[1].trouble, known.kept[1].size) == ("", 3)


def test_a_key_that_is_gone_stops_nothing_but_the_signing(
    site: Anchored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is signed once the key is back."""
    monkeypatch.setattr(tries, "FIRST_SECONDS", 0.05)
    with site.running() as made:
        site.until(made, "file", 3)
    site.add(1)
    site.audit["every"] = "1s"
    with site.running() as made:
        away = site.key.rename(site.root / "away")
        eventually(lambda: site.said("audit_checkpoint_not_signed"), within=30)
        away.rename(site.key)
        site.until(made, "file", 4)
    assert "cannot sign with" in site.said("audit_checkpoint_not_signed")[0]["why"]


def test_what_could_not_be_signed_is_tried_again_soon_and_is_trouble_until_then(
    site: Anchored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when the next one is due; also where the thread has other things to do meanwhile."""
    monkeypatch.setattr(tries, "FIRST_SECONDS", 0.05)
    site.turn()
    site.add(1)
    os.utime(site.file.path, (1, 1))
    site.audit["syslog"] = str(site.root / "nobody")
    after, is_away = Leaves.after, threading.Event()

    def read(leaves: Leaves, id_: int, limit: int) -> list[tuple[object, object]]:
        is_away.wait(30)
        return after(leaves, id_, limit)

    monkeypatch.setattr(Leaves, "after", read)
    with site.running() as made:
        away = site.key.rename(site.root / "away")
        is_away.set()
        for times in range(2, 5):
            eventually(lambda: len(site.said("audit_checkpoint_not_signed")) >= times, within=30)  # noqa: B023
            eventually(lambda: len(site.said("audit_checkpoint_not_anchored")) >= times, within=30)  # noqa: B023
            assert "cannot sign with" in made.known.kept[0].trouble
        away.rename(site.key)
        # The next one is due in an hour.
        site.until(made, "file", 4)
        eventually(lambda: not made.known.kept[0].trouble, within=30)


@pytest.mark.parametrize("error", [RuntimeError("who knows"), UnicodeError("label empty or too long")])
def test_a_place_that_fails_in_any_way_is_in_the_way_of_no_other(
    site: Anchored, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It is told, and tried again."""

    def send(_syslog: Syslog, _line: str) -> None:
        raise error

    monkeypatch.setattr(Syslog, "send", send)
    site.audit["syslog"] = "logs.example.com:514"
    with site.serving():
        known = site.turn()
    assert site.sizes() == site.pushed() == [3]
    assert [(one.place, one.size, bool(one.trouble)) for one in known.kept] == [
        ("file", 3, False),
        ("syslog", 0, True),
        ("git", 3, False),
    ]
    assert "(RuntimeError): see `anchoring_failed`" in known.kept[1].trouble or "label" in str(error)
    assert site.said("audit_checkpoint_not_anchored")[0]["place"] == "syslog"


def test_a_name_that_nobody_can_look_up_is_a_place_that_does_not_take_it(site: Anchored) -> None:
    """Python says so by an error of its own."""
    site.turn()
    with pytest.raises(NotKept, match=r"correct `audit\.syslog`"):
        InSyslog(Syslog("logs..example.com:514")).keep(site.notes()[0], lambda _: True)


@pytest.mark.parametrize(
    "text",
    [
        '{"misfit": "", "kept": [{"place": "file", "where": "x", "size": 1e999, "at": null, "trouble": ""}]}',
        '{"misfit": "", "kept": ' + "[" * 100_000,
    ],
    ids=["no number", "nested"],
)
def test_whatever_stands_in_what_is_remembered_the_log_is_signed(site: Anchored, text: str) -> None:
    """It is found out again."""
    site.turn()
    site.add(1)
    (site.state_dir / "anchors.json").write_text(text)
    assert site.turn().kept[0].size == 4
    assert site.sizes() == [3, 4]


def test_what_cannot_be_remembered_in_any_way_is_found_out_again(
    site: Anchored, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And said."""

    def remembered(_file: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(type(site.file), "remembered", remembered)
    assert site.turn().kept[0].size == 3
    assert len(site.said("anchors_not_known")) == 1


def test_a_store_that_cannot_be_read_is_read_again(site: Anchored, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is signed meanwhile, and nobody calls the store another one."""
    monkeypatch.setattr(tries, "FIRST_SECONDS", 0.05)
    after, failures = Leaves.after, [StoreUnavailable("the disk is slow."), RuntimeError("who knows")]

    def read(leaves: Leaves, id_: int, limit: int) -> list[tuple[object, object]]:
        if failures:
            raise failures.pop(0)
        return after(leaves, id_, limit)

    monkeypatch.setattr(Leaves, "after", read)
    with site.running() as made:
        site.until(made, "file", 3)
    assert not made.known.misfit
    assert site.said("audit_checkpoint_not_signed")[0]["why"] == "the disk is slow."
    assert len(site.said("anchoring_failed")) == 1


# --- what does not fit ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tamper", [forge, cut_with_care], ids=lambda tamper: tamper.__name__)
def test_nothing_is_signed_of_a_store_that_was_written_anew(
    site: Anchored,
    tamper: Callable[[sqlite3.Connection, random.Random], None],
    tmp_path: Path,
) -> None:
    """Nor anywhere told; it is said aloud, and both the file and the ref show it to the verifier."""
    site.add(10)
    with site.serving():
        site.turn()
        files = Files(folder=tmp_path, log=site.store)
        with files.tampering() as connection:
            tamper(connection, random.Random(1))
        what = "the store has"
        if tamper is forge:
            # Longer than what was signed: the number alone does not tell.
            site.add(20)
            what = "the first 13 events of the store are not those"
        known = site.turn()

        assert known.misfit.startswith("The store is not the one that was signed: ")
        assert what in known.misfit
        assert "--accept-loss" in known.misfit
        (line,) = site.said("audit_store_is_not_the_one_signed")
        assert (line["log_level"], line["why"]) == ("critical", known.misfit)
        assert site.file.remembered().misfit == known.misfit
        assert site.sizes() == site.pushed() == [13]
    assert site.verify()[0] == 1


def test_an_older_copy_of_the_store_is_not_signed(site: Anchored, tmp_path: Path) -> None:
    """The file of the state directory says what had been signed."""
    before = copy(site, tmp_path / "before")
    with site.serving():
        site.add(4)
        site.turn()
        again(site, before, site.store.name)
        known = site.turn()
        assert "7 events were signed, and the store has 3" in known.misfit
        assert site.sizes() == site.pushed() == [7]

        # The right one again: all is well, and it is not remembered otherwise.
        shutil.rmtree(site.state_dir)
        site.add(7)
        site.turn()
        assert site.sizes() == [7]
    code, said = site.verify(store=before / site.store.name)
    assert (code, "Events 4 to 7 are missing" in said) == (1, True)


def test_an_older_copy_of_the_whole_state_directory_is_found_by_the_ref(
    site: Anchored, tmp_path: Path
) -> None:
    """Nothing in it knows better; what was pushed does, and is signed by the daemon's own key."""
    with site.serving():
        site.turn()
        before = copy(site, tmp_path / "before")
        site.add(4)
        site.turn()
        shutil.rmtree(site.state_dir)
        shutil.copytree(before, site.state_dir)
        site.add(1)
        known = site.turn()

        assert "7 events were signed, and the store has 4" in known.misfit
        assert f"the newest at {site.ref} of http://127.0.0.1:" in known.misfit
        assert site.sizes() == [3]
        assert site.pushed() == [3, 7]


def test_what_is_read_is_held_against_what_was_read_before(site: Anchored, tmp_path: Path) -> None:
    """While it runs, somebody cuts the end off."""
    site.audit["every"] = "1s"
    site.add(10)
    with site.running() as made:
        site.until(made, "file", 13)
        with Files(folder=tmp_path, log=site.store).tampering() as connection:
            cut_with_care(connection, random.Random(1))
        eventually(lambda: made.known.misfit, within=30)
    assert "the event with id 13 is not there any more as it was read" in made.known.misfit
    assert site.sizes() == [13]


def test_what_is_new_is_read_before_it_is_signed(
    site: Anchored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So nobody writes it anew unseen until the next checkpoint is due, an hour from now."""
    monkeypatch.setattr(anchoring, "_LOOK_SECONDS", 0.05)
    after, read = Leaves.after, [0]

    def told(leaves: Leaves, id_: int, limit: int) -> list[tuple[object, object]]:
        found = after(leaves, id_, limit)
        read.extend(int(str(id_)) for id_, _ in found)
        return found

    monkeypatch.setattr(Leaves, "after", told)
    with site.running() as made:
        site.until(made, "file", 3)
        site.add(3)
        eventually(lambda: max(read) == 6, within=30)
        with Files(folder=tmp_path, log=site.store).tampering() as connection:
            forge(connection, random.Random(1))
        eventually(lambda: made.known.misfit, within=30)
    assert "the event with id 6 is not there any more as it was read" in made.known.misfit
    assert site.sizes() == [3]


def test_a_log_that_was_cut_off_with_its_checkpoints_is_remembered(site: Anchored, tmp_path: Path) -> None:
    """Nothing is signed until a person says that an older copy was restored."""
    before = copy(site, tmp_path / "before")
    site.add(10)
    site.turn()
    again(site, before, site.store.name)
    site.file.path.unlink()
    for _ in range(2):
        known = site.turn()
        assert "13 events were signed, and the store has" in known.misfit
        assert "in which no checkpoint is left" in known.misfit
        assert "--accept-loss --reason TEXT" in known.misfit
        assert site.sizes() == []

    site.add(1, StoreRestored(at=datetime.now(UTC), backup=f"sha256:{'0' * 64}", events=3))
    assert not site.turn().misfit
    assert site.sizes() == [4]


def test_a_loss_that_a_person_accepted_is_gone_on_from(site: Anchored, tmp_path: Path) -> None:
    """The log itself says so. What was anchored stays there, below the next; a later loss is not excused."""
    before = copy(site, tmp_path / "before")
    with site.serving():
        site.add(4)
        site.turn()
        again(site, before, site.store.name)
        now = datetime.now(UTC)
        site.add(1, StoreRestored(at=now, backup=f"sha256:{'0' * 64}", events=3, lost=4, signed=7))
        # Commits have whole seconds.
        eventually(lambda: datetime.now(UTC).second != now.second, within=30)
        known = site.turn()
        assert not known.misfit
        # Who restored it was interrupted, and the daemon has moved what was signed of what is lost.
        assert (site.sizes(), site.pushed()) == ([4], [7, 4])
        (lost,) = site.state_dir.glob("checkpoints-lost-*.txt")
        assert [note.checkpoint.size for note in parse_all(lost.read_text())] == [7]
        assert [one.size for one in known.kept] == [4, 4]

        # It is no excuse for what is lost after it.
        middle = copy(site, tmp_path / "middle")
        site.add(2)
        site.turn()
        assert site.pushed() == [7, 4, 6]
        again(site, middle, site.store.name)
        assert "6 events were signed, and the store has 4" in site.turn().misfit
        shutil.rmtree(site.state_dir)
        shutil.copytree(middle, site.state_dir)
        assert "6 events were signed, and the store has 4" in site.turn().misfit


def test_after_a_restore_that_was_interrupted_the_checkpoints_verify(site: Anchored, tmp_path: Path) -> None:
    """Those of what is lost leave the file, all of them; those before stay."""
    site.turn()
    before = copy(site, tmp_path / "before")
    for _ in range(2):
        site.add(4)
        site.turn()
    again(site, before, site.store.name)
    site.add(1, StoreRestored(at=datetime.now(UTC), backup=f"sha256:{'0' * 64}", events=3, lost=8, signed=11))
    for size in (4, 6):
        assert not site.turn().misfit
        assert site.sizes()[-1] == size
        code, said = site.verify(site.file.path)
        assert (code, f"the newest covers {size} of the events" in said) == (0, True), said
        site.add(2)
    assert site.sizes() == [3, 4, 6]
    (lost,) = site.state_dir.glob("checkpoints-lost-*.txt")
    assert [note.checkpoint.size for note in parse_all(lost.read_text())] == [7, 11]


def test_a_file_of_checkpoints_that_was_lost_is_begun_anew(site: Anchored) -> None:
    """What is on the ref fits, and is gone on from."""
    with site.serving():
        site.turn()
        for name in ("checkpoints.txt", "anchors.json"):
            (site.state_dir / name).unlink()
        site.add(2)
        known = site.turn()
    assert not known.misfit
    assert site.sizes() == [5]
    assert site.pushed() == [3, 5]


def test_somebody_elses_commit_is_in_the_way_of_the_ref_alone(site: Anchored) -> None:
    """The log is signed all the same; nothing is replaced; once it is gone, all goes on."""
    with site.serving():
        site.turn()
        mine = site.repo.git("rev-parse", site.ref)
        site.repo.commit({"a": "b"}, branch="junk", message="hello\n")
        site.repo.git("update-ref", site.ref, "refs/heads/junk")
        site.add(1)
        known = site.turn()
        assert not known.misfit
        assert site.sizes() == [3, 4]
        assert "is not ours: it is no checkpoint (line 2 is no number of events)" in known.kept[1].trouble
        assert site.repo.git("rev-parse", site.ref) == site.repo.git("rev-parse", "refs/heads/junk")

        site.repo.git("update-ref", site.ref, mine)
        assert site.turn().kept[1].trouble == ""
        assert site.pushed() == [3, 4]


def test_a_log_of_the_same_name_does_not_mix_with_ours(site: Anchored, tmp_path: Path) -> None:
    """Another daemon, with another key, pushes to the same ref: each finds the other's, and says so."""
    (tmp_path / "other").mkdir()
    other = Anchored(tmp_path / "other")
    other.add(5)
    with site.serving() as server:
        site.turn()
        other.push_to(server)
        other.token.write_text(f"{TOKEN}\n")
        known = other.turn()
    assert not known.misfit
    assert other.sizes() == [8]
    assert "is not ours: the first 3 events of the store are not those that were signed" in (
        known.kept[1].trouble
    )
    assert site.pushed() == [3]


def test_another_name_does_not_go_on_with_the_file_of_the_one_before(site: Anchored) -> None:
    """It says what to do: move the file away."""
    site.turn()
    site.audit["name"] = "elsewhere.example.com/audit"
    site.add(1)
    known = site.turn()
    assert f"its origin is {NAME}, not elsewhere.example.com/audit" in known.misfit
    assert "move that file away" in known.misfit
    assert site.sizes() == [3]

    site.file.path.unlink()
    assert not site.turn().misfit
    assert site.sizes() == [4]


def test_a_new_key_goes_on_with_the_same_log(site: Anchored) -> None:
    """What the old one signed still fits; the verifier is given both."""
    with site.serving():
        site.turn()
        (site.root / "new").mkdir()
        site.audit["key_file"] = str(make_key(site.root / "new" / "key"))
        site.add(1)
        known = site.turn()
    assert not known.misfit
    assert site.pushed() == [3, 4]
    keys = [public_key(site.key), public_key(site.root / "new" / "key")]
    assert [[note.is_signed_by(key) for key in keys] for note in site.notes()] == [
        [True, False],
        [False, True],
    ]


def test_two_that_push_at_once_lose_nothing(site: Anchored) -> None:
    """What came in between is read first, judged, and then followed."""
    with serving(site.root / "git") as server:
        refs = [
            AnchorRef(site.root / name, server.url("anchors.git"), ref_below(NAME), access=Access())
            for name in ("one", "two")
        ]
        at = datetime.now(UTC) + timedelta(seconds=1)
        seen: list[str] = []

        def make(tip: object) -> str:
            seen.append("" if tip is None else getattr(tip, "message", ""))
            if len(seen) == 1:
                refs[1].put(lambda _: "first\n", at)
            return "second\n"

        assert refs[0].put(make, at) is not None
    assert seen == ["", "first\n"]
    assert site.repo.git("log", "--format=%s", site.ref).split() == ["second", "first"]
