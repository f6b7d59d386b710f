"""One daemon per state directory, and the second one is told who the first is."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer import __version__
from deployer.adapters.statedir import Holder, StateDirBusy, StateDirUnusable, holder, lock
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
HOLD = """
import sys, pathlib
from deployer.adapters.statedir import lock
with lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A directory that is not there yet."""
    return tmp_path / "var" / "state"


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the directory until its input ends."""
    command = [sys.executable, "-c", HOLD, str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


def test_the_directory_is_made_for_its_owner_alone(path: Path) -> None:
    """It will hold secrets, whatever the umask is."""
    before = os.umask(0)
    try:
        with lock(path) as held:
            modes = {file.name: file.stat().st_mode & 0o077 for file in (path, *path.iterdir())}
    finally:
        os.umask(before)

    assert held == path
    assert modes == {"state": 0, "lock": 0, "holder.json": 0}


def test_the_holder_is_known_while_it_holds(path: Path) -> None:
    """Nobody before, nobody after; in between who, where, since when, which version."""
    assert holder(path) is None
    began = datetime.now(UTC) - timedelta(seconds=1)
    with lock(path):
        found = holder(path)
    assert holder(path) is None

    assert found is not None
    assert (found.pid, found.host, found.version) == (os.getpid(), socket.gethostname(), __version__)
    assert found.started_at is not None
    assert began <= found.started_at <= datetime.now(UTC)


def test_a_second_daemon_is_told_who_holds_it(path: Path) -> None:
    """The message names the process, its machine, since when, and what to do."""
    with another_process(path) as other:
        found = holder(path)
        with pytest.raises(StateDirBusy) as caught, lock(path):
            pytest.fail("two hold the same directory")

    assert found is not None
    assert found.pid == other.pid
    assert str(caught.value) == (
        f"{path} is in use by process {other.pid} on {socket.gethostname()}, since "
        f"{found.started_at:%Y-%m-%d %H:%M:%S} UTC (deployer {__version__}). One daemon per state directory: "
        "stop that one first, or give this one another state_dir."
    )


def test_it_is_free_after_an_orderly_end(path: Path) -> None:
    """Also after an error inside the block."""
    with another_process(path):
        assert (path / "holder.json").exists()
    assert not (path / "holder.json").exists()
    with pytest.raises(RuntimeError, match="inside"), lock(path):
        raise RuntimeError("inside")  # noqa: EM101 - no message for people
    with lock(path):
        assert holder(path) is not None


def test_a_killed_daemon_holds_nothing(path: Path) -> None:
    """The kernel frees the lock; the note that stays behind is not believed."""
    with another_process(path) as other:
        other.kill()
        other.wait(20)
        assert (path / "holder.json").exists()
        assert holder(path) is None

        with lock(path):
            found = holder(path)
            assert found is not None
            assert found.pid == os.getpid()


@pytest.mark.parametrize(
    "note", [None, "", "{}", "[]", '{"pid": 1, "host": "h", "started_at": 7, "version": "v"}']
)
def test_a_note_that_cannot_be_read_hides_nobody(path: Path, note: str | None) -> None:
    """That somebody holds the directory is certain without it."""
    with lock(path):
        (path / "holder.json").unlink()
        if note is not None:
            (path / "holder.json").write_text(note)

        assert holder(path) == Holder()
        with pytest.raises(StateDirBusy, match="in use by a process that has not said who it is"), lock(path):
            pytest.fail("two hold the same directory")


def test_asking_disturbs_nobody(path: Path) -> None:
    """However many ask at once who holds it: a daemon that starts meanwhile gets the lock, and keeps it."""
    with lock(path):
        pass
    with ThreadPoolExecutor(4) as pool:
        started = threading.Event()

        def ask() -> int:
            asked = 0
            while not started.wait(0.001):
                holder(path)
                asked += 1
            return asked

        asking = [pool.submit(ask) for _ in range(3)]
        try:
            for _ in range(20):
                with lock(path):
                    assert eventually(lambda: holder(path), within=5) is not None
        finally:
            started.set()
    assert all(one.result(5) > 0 for one in asking)


def test_two_that_ask_do_not_see_each_other(path: Path) -> None:
    """Somebody who is just asking is not mistaken for a daemon."""
    with lock(path):
        pass
    asking = os.open(path / "lock", os.O_RDONLY)
    try:
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert holder(path) is None
    finally:
        os.close(asking)


def _file_in_the_way(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text("a file")


def _file_above(path: Path) -> None:
    path.parent.write_text("a file")


@pytest.mark.parametrize("prepare", [_file_in_the_way, _file_above])
def test_a_file_in_the_way_is_named(path: Path, prepare: Callable[[Path], None]) -> None:
    """The error says which path, what is wrong with it and where it is set; asking finds nobody."""
    prepare(path)
    with (
        pytest.raises(StateDirUnusable, match=r"var/state: .* is a file and not a directory.*state_dir"),
        lock(path),
    ):
        pytest.fail("locked a file")

    assert holder(path) is None


@contextmanager
def not_permitted(path: Path) -> Iterator[None]:
    """Be a user who may not enter this directory: root may enter any, so it steps down meanwhile."""
    path.mkdir(parents=True)
    (path / "lock").touch(mode=0o600)
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(0o700)


def test_a_directory_without_permission_is_named(path: Path) -> None:
    """For the daemon that wants it and for the command that asks."""
    with not_permitted(path):
        with (
            pytest.raises(StateDirUnusable, match=r"var/state: Permission denied.*daemon's user"),
            lock(path),
        ):
            pytest.fail("locked without permission")
        with pytest.raises(StateDirUnusable, match="Permission denied"):
            holder(path)


def test_a_note_that_cannot_be_written_frees_the_lock(path: Path) -> None:
    """The start fails with a reason, and the next one is not told that somebody is there."""
    (path / "holder.json.new").mkdir(parents=True)
    with pytest.raises(StateDirUnusable, match="cannot use the state directory"), lock(path):
        pytest.fail("held without a note")
    assert holder(path) is None
