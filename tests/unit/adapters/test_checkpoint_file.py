"""The file of checkpoints in the state directory: what is in it, whatever happened while it was written."""

from __future__ import annotations

import errno
import os
import stat
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.checkpoint_file import FILE, STATE, CheckpointFile
from deployer.core.anchoring import Anchorage, Kept, Misfit
from deployer.core.checkpoint import parse_all
from tests.support.note_signer import NoteSigner

if TYPE_CHECKING:
    from pathlib import Path

SIGNER = NoteSigner("ada")
NOTES = [SIGNER.note("deployer.example.com/audit", size, bytes([size]) * 32) for size in range(1, 4)]


@pytest.fixture
def file(tmp_path: Path) -> CheckpointFile:
    """One in an empty directory."""
    return CheckpointFile(tmp_path)


def test_before_the_first_there_is_none(file: CheckpointFile) -> None:
    """Nor is anything made by asking."""
    assert (file.newest(), file.signed_at(), file.remembered()) == (None, None, Anchorage())
    assert list(file.path.parent.iterdir()) == []


def test_what_was_appended_is_read_below_one_another(file: CheckpointFile) -> None:
    """By whoever may read the file, who is its owner."""
    for note in NOTES:
        file.append(note.text)
        assert file.newest() == note
    assert [note.checkpoint.size for note in parse_all(file.path.read_text())] == [1, 2, 3]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    at = file.signed_at()
    assert at is not None
    assert abs((datetime.now(UTC) - at).total_seconds()) < 3600


def test_one_whose_writing_was_cut_off_is_none(file: CheckpointFile) -> None:
    """Wherever the power went: the one before is the newest, and the next one follows it."""
    first, second, third = (note.text for note in NOTES)
    for end in range(len(second.encode())):
        file.path.write_bytes(first.encode() + second.encode()[:end])
        assert file.newest() == NOTES[0]
        file.append(third)
        assert file.path.read_text() == first + third


def test_only_the_end_of_a_long_file_is_read(file: CheckpointFile) -> None:
    """However it begins, and also if what is read begins in the middle of a dash."""
    for more in range(4):
        file.path.write_bytes(b"x" * more + "\u2014".encode() * 200_000 + b"\n" + NOTES[0].text.encode())
        assert file.newest() == NOTES[0]
    file.append(NOTES[1].text)
    assert file.newest() == NOTES[1]


def test_what_is_no_checkpoint_is_told(file: CheckpointFile) -> None:
    """It is not passed over."""
    file.path.write_text("hello\n\u2014 a b\n")
    with pytest.raises(Misfit, match="it is no checkpoint"):
        file.newest()


def test_a_disk_that_is_full_leaves_what_was_there(
    file: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a note is taken back."""
    file.append(NOTES[0].text)
    write = os.write
    monkeypatch.setattr(os, "write", lambda to, content: write(to, content[: len(content) // 2]))
    with pytest.raises(OSError, match="No space left") as caught:
        file.append(NOTES[1].text)
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert file.path.read_text() == NOTES[0].text
    file.append(NOTES[1].text)
    assert file.newest() == NOTES[1]


def test_a_link_in_its_place_is_not_followed(file: CheckpointFile, tmp_path: Path) -> None:
    """Whoever can put one there would have the daemon write elsewhere."""
    (tmp_path / "elsewhere").write_text(NOTES[0].text)
    file.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        file.append(NOTES[1].text)
    assert (tmp_path / "elsewhere").read_text() == NOTES[0].text


def test_where_it_is_anchored_is_remembered(file: CheckpointFile, tmp_path: Path) -> None:
    """For its owner alone; what somebody wrote there instead is nothing."""
    known = Anchorage(kept=(Kept(place="git", where="x", size=3, at=datetime.now(UTC)),), misfit="y")
    for one in (Anchorage(), known):
        file.remember(one)
        assert file.remembered() == one
    assert stat.S_IMODE((tmp_path / STATE).stat().st_mode) == 0o600
    (tmp_path / STATE).write_bytes(b"\xff")
    assert file.remembered() == Anchorage()
    assert file.path.name == FILE


def test_what_is_lost_is_set_aside(file: CheckpointFile, tmp_path: Path) -> None:
    """In a file of their own, for its owner alone; nothing is overwritten that was set aside before."""
    now = datetime(2026, 11, 24, 3, 12, 1, tzinfo=UTC)
    assert file.set_aside(1, now) is None
    for note in NOTES:
        file.append(note.text)
    assert file.set_aside(3, now) is None
    assert [one.name for one in tmp_path.iterdir()] == [FILE]

    for left, moved, name in ((2, NOTES[2], ""), (1, NOTES[1], "-2"), (0, NOTES[0], "-3")):
        aside = file.set_aside(left, now)
        assert aside == tmp_path / f"checkpoints-lost-20261124T031201Z{name}.txt"
        assert aside.read_text() == moved.text
        assert stat.S_IMODE(aside.stat().st_mode) == stat.S_IMODE(file.path.stat().st_mode) == 0o600
        assert file.newest() == (NOTES[left - 1] if left else None)
    assert file.set_aside(0, now) is None
    file.append(NOTES[0].text)
    assert file.newest() == NOTES[0]


def test_what_was_cut_off_while_it_was_set_aside_is_done_again(
    file: CheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it is beside the file nothing leaves the file; and what is no checkpoint stays where it is."""
    now = datetime(2026, 11, 24, 3, 12, 1, tzinfo=UTC)
    for note in NOTES:
        file.append(note.text)
    text = file.path.read_text()
    rename, renamed = type(file.path).rename, []

    def cut_off(path: Path, target: Path) -> Path:
        renamed.append(target.name)
        if len(renamed) in {1, 3}:
            raise OSError(errno.EIO, "cut off")
        return rename(path, target)

    monkeypatch.setattr(type(file.path), "rename", cut_off)
    for _ in range(2):
        with pytest.raises(OSError, match="cut off"):
            file.set_aside(1, now)
        assert file.path.read_text() == text
    aside = file.set_aside(1, now)
    assert aside is not None
    assert aside.read_text() == NOTES[1].text + NOTES[2].text
    assert file.path.read_text() == NOTES[0].text

    file.path.write_text("hello\n\u2014 a b\n")
    with pytest.raises(Misfit, match="it is no file of checkpoints"):
        file.set_aside(0, now)
    assert file.path.read_text() == "hello\n\u2014 a b\n"
