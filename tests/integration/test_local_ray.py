"""What we start locally ends with us: in good order, by the kill of its keeper's parent, and by itself."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.serve import ServeCluster
from deployer.cli import keeper
from deployer.cli.local_ray import LocalRay, LocalRayError, free_port
from deployer.core.live import Live
from tests.support.eventually import eventually
from tests.support.prerequisites import require

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDS_SECONDS = keeper.GRACE_SECONDS + keeper.LAST_SECONDS + 5

FAMILY = """
import os, signal, subprocess, sys, time
mark, ignore = sys.argv[1:]
if ignore == "True":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = (
    "import os, time; os.setsid();"
    "pid = os.fork();"
    f"open({mark!r} + '/' + str(os.getpid()), 'w').close();"
    "time.sleep(600)"
)
for _ in range(2):
    subprocess.Popen([sys.executable, '-c', child])
open(mark + '/' + str(os.getpid()), 'w').close()
time.sleep(600)
"""
"""Starts children in sessions of their own, that fork; each leaves a file named by its pid.

If it ignores SIGTERM, so do they: it is inherited.
"""
FAMILY_SIZE = 5


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """Where the family writes its pids."""
    path = tmp_path / "pids"
    path.mkdir()
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that the keeper removes."""
    path = tmp_path / "work"
    path.mkdir()
    (path / "file").write_text("x")
    return path


def command(folder: Path, *words: str) -> list[str]:
    """A keeper of these words."""
    return [sys.executable, "-I", keeper.__file__, str(folder), *words]


def is_running(pid: int) -> bool:
    """Whether a process lives (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def family(mark: Path) -> list[int]:
    """The pids of the whole family, once all are there."""
    found = eventually(lambda: len(list(mark.iterdir())) == FAMILY_SIZE and [*mark.iterdir()], within=20)
    assert isinstance(found, list)
    return [int(path.name) for path in found]


@pytest.fixture(params=["willing", "stubborn"])
def kept(request: pytest.FixtureRequest, folder: Path, mark: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A keeper with a family that ends on SIGTERM, or ignores it."""
    words = [sys.executable, "-c", FAMILY, str(mark), str(request.param == "stubborn")]
    with subprocess.Popen(command(folder, *words), stdin=subprocess.PIPE, start_new_session=True) as started:
        yield started
        started.kill()


def test_closing_the_pipe_ends_the_whole_family(
    kept: subprocess.Popen[bytes], folder: Path, mark: Path
) -> None:
    """Also those in sessions of their own, and their children; and the folder goes."""
    pids = family(mark)
    assert kept.stdin is not None
    kept.stdin.close()
    kept.wait(ENDS_SECONDS)
    assert not [pid for pid in pids if is_running(pid)]
    assert not folder.exists()


def test_a_sigterm_to_the_keeper_is_the_same_order(
    kept: subprocess.Popen[bytes], folder: Path, mark: Path
) -> None:
    """Somebody may find it in a list of processes and end it in good faith."""
    pids = family(mark)
    kept.terminate()
    kept.wait(ENDS_SECONDS)
    assert not [pid for pid in pids if is_running(pid)]
    assert not folder.exists()


def test_a_command_that_ends_by_itself_takes_its_family_along(folder: Path, tmp_path: Path) -> None:
    """Its exit code is the keeper's, and nothing that it left behind stays."""
    left = tmp_path / "left"
    script = (
        "import subprocess, sys;"
        "sleep = [sys.executable, '-c', 'import time; time.sleep(600)'];"
        "child = subprocess.Popen(sleep, start_new_session=True);"
        f"open({str(left)!r}, 'w').write(str(child.pid)); child.returncode = 0; sys.exit(7)"
    )
    words = command(folder, sys.executable, "-c", script)
    with subprocess.Popen(words, stdin=subprocess.PIPE) as started:
        assert started.wait(ENDS_SECONDS) == 7
    assert not is_running(int(left.read_text()))
    assert not folder.exists()


def test_the_kill_of_the_parent_ends_the_whole_family(folder: Path, mark: Path) -> None:
    """It can give no order any more: the pipe that it held tells."""
    words = command(folder, sys.executable, "-c", FAMILY, str(mark), "False")
    script = (
        "import subprocess, sys, time;"
        f"print(subprocess.Popen({words!r}, stdin=subprocess.PIPE, start_new_session=True).pid, flush=True);"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        keeper_pid = int(parent.stdout.readline())
        pids = family(mark)
        parent.kill()
    eventually(lambda: not is_running(keeper_pid), within=ENDS_SECONDS)
    assert not [pid for pid in pids if is_running(pid)]
    assert not folder.exists()


def test_a_free_port_can_be_listened_on() -> None:
    """And is not one that the system gives to outgoing connections."""
    ports = {free_port() for _ in range(20)}
    assert len(ports) > 10
    assert all(20_000 <= port < 30_000 for port in ports)


@pytest.mark.ray
@pytest.mark.timeout(180)
def test_a_head_is_ready_when_started_and_gone_when_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it listens on another interface than loopback, and nothing of it is left."""
    require("Ray", find_spec("ray") is not None, "pip install 'ray[serve]'")
    # What a person may have set for another cluster has no effect on this one.
    monkeypatch.setenv("RAY_ADDRESS", "192.0.2.1:6379")
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    local = LocalRay(num_cpus=1)
    with local:
        assert local._keeper is not None
        folder = Path(Path(f"/proc/{local._keeper.pid}/cmdline").read_text().split("\0")[3])
        assert (folder / "head.log").exists()
        pids = keeper.descendants(local._keeper.pid)
        assert len(pids) > 5
        cluster = ServeCluster(local.address)
        assert isinstance(cluster.observe(), Live)
        cluster.close()
        assert listening(pids) == {LOOPBACK}
    assert not [pid for pid in pids if is_running(pid)]
    assert not folder.exists()
    local.stop()


@pytest.mark.ray
def test_a_head_that_cannot_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the end of its log, and nothing is left of it."""
    require("Ray", find_spec("ray") is not None, "pip install 'ray[serve]'")
    with pytest.raises(LocalRayError, match=r"did not start: it ended with exit code [1-9]") as raised:
        LocalRay(num_cpus=-1).start()
    assert "CPU" in str(raised.value).upper()


def test_without_ray_the_way_to_get_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is started."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(LocalRayError, match=r"pip install 'ray\[serve\]'"):
        LocalRay().start()


LOOPBACK = "0100007F"
"""127.0.0.1 as /proc/net writes it."""


def listening(pids: list[int]) -> set[str]:
    """The addresses that these processes accept TCP connections on, as /proc/net writes them."""
    sockets = {
        str(link.readlink())
        for pid in pids
        for link in (Path(f"/proc/{pid}/fd").iterdir() if is_running(pid) else ())
        if link.is_symlink()
    }
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A" and f"socket:[{inode}]" in sockets:
                # An IPv4 address inside an IPv6 one is its last eight digits.
                found.add(local.partition(":")[0][-8:])
    return found
