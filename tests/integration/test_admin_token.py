"""The token of this machine: made once, kept, and refused when others could have read it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.admin_token import FILE, AdminTokenUnusable, admin_token
from deployer.core.tokens import make

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = make(bytes(range(32)))


def another() -> str:
    """A second one, which must not be asked for."""
    message = "there is one already"
    raise AssertionError(message)


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    """For its owner alone, and nothing else is left beside it."""
    assert admin_token(tmp_path, lambda: TOKEN) == TOKEN
    assert admin_token(tmp_path, another) == TOKEN
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]


def test_what_a_killed_daemon_left_is_in_nobodys_way(tmp_path: Path) -> None:
    """A half of the file, under its other name."""
    (tmp_path / f"{FILE}.new").write_text("dpl_")
    assert admin_token(tmp_path, lambda: TOKEN) == TOKEN


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_one_that_others_can_read_or_change_is_refused(tmp_path: Path, mode: int) -> None:
    """Who has read it may know it, so its rights are not just corrected. The sentence does not hold it."""
    admin_token(tmp_path, lambda: TOKEN)
    (tmp_path / FILE).chmod(mode)
    with pytest.raises(AdminTokenUnusable, match="others than its owner can read or change it") as caught:
        admin_token(tmp_path, another)
    assert TOKEN not in str(caught.value)
    assert "Remove it (`rm " in str(caught.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_one_of_another_owner_is_refused(tmp_path: Path) -> None:
    """Who put it there knows it."""
    admin_token(tmp_path, lambda: TOKEN)
    os.chown(tmp_path / FILE, 12345, -1)
    with pytest.raises(AdminTokenUnusable, match="its owner is the user 12345, not the daemon's"):
        admin_token(tmp_path, another)


def test_what_is_no_file_with_a_token_is_refused(tmp_path: Path) -> None:
    """A link, a pipe (which nobody waits for), another text, a folder: each with a sentence."""
    path = tmp_path / FILE
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AdminTokenUnusable, match="cannot use "):
        admin_token(tmp_path, another)
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(AdminTokenUnusable, match="it is no file"):
        admin_token(tmp_path, another)
    path.unlink()
    path.touch(0o600)
    with pytest.raises(AdminTokenUnusable, match="it holds no token"):
        admin_token(tmp_path, another)
    path.unlink()
    path.mkdir()
    with pytest.raises(AdminTokenUnusable, match="cannot use "):
        admin_token(tmp_path, another)
