"""The line to systemd, over real sockets, and the unit file, as systemd's own tools judge it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from deployer.engine.systemd import Notifier
from tests.support.prerequisites import require

if TYPE_CHECKING:
    from collections.abc import Iterator

UNIT = Path(__file__).parents[2] / "systemd" / "deployer.service"

# systemd-analyze counts in tenths: 20 is an exposure of 2.0. A unit without a sandbox has 9.6.
MOST_EXPOSED = 20


@pytest.fixture(params=["path", "abstract"])
def line(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The end that systemd holds, and NOTIFY_SOCKET for the other end: a file or an abstract name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(5)
        if request.param == "path":
            address = str(tmp_path / "notify")
            end.bind(address)
        else:
            address = f"@deployer-test-{os.getpid()}"
            end.bind("\0" + address[1:])
        yield end, address


def test_each_message_arrives_as_systemd_reads_it(line: tuple[socket.socket, str]) -> None:
    """Ready, status, watchdog and stopping are the datagrams of sd_notify(3), in the order of the calls."""
    end, address = line
    notifier = Notifier({"NOTIFY_SOCKET": address})

    notifier.ready()
    notifier.status("2 environments, 1 Progressing")
    notifier.watchdog()
    notifier.stopping()

    expected = [b"READY=1", b"STATUS=2 environments, 1 Progressing", b"WATCHDOG=1", b"STOPPING=1"]
    assert expected == [end.recv(4096) for _ in range(4)]


def test_a_status_cannot_smuggle_in_another_assignment(line: tuple[socket.socket, str]) -> None:
    """A line break in the status (a commit's subject, say) does not become a second message."""
    end, address = line

    Notifier({"NOTIFY_SOCKET": address}).status("bad\nMAINPID=1\r\nlone \udcff")

    assert end.recv(4096) == b"STATUS=bad MAINPID=1 lone ?"


def test_without_systemd_nothing_happens() -> None:
    """Outside of systemd every call is a no-op, and no watchdog is wanted."""
    notifier = Notifier({})

    notifier.ready()
    notifier.watchdog()

    assert notifier.watchdog_seconds is None


def test_a_dead_socket_is_no_reason_to_fail(tmp_path: Path) -> None:
    """When nobody listens the daemon goes on, says so once, and is heard again as soon as it can be."""
    address = tmp_path / "notify"
    notifier = Notifier({"NOTIFY_SOCKET": str(address)})

    with structlog.testing.capture_logs() as logged:
        notifier.watchdog()
        notifier.watchdog()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(5)
        end.bind(str(address))
        notifier.watchdog()

        assert end.recv(4096) == b"WATCHDOG=1"
    assert [line["event"] for line in logged] == ["systemd_not_reached"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"WATCHDOG_USEC": "60000000"}, 60.0, id="for-whoever-has-it"),
        pytest.param({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5, id="for-us"),
        pytest.param({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None, id="for-another-process"),
        pytest.param({"WATCHDOG_PID": str(os.getpid())}, None, id="no-interval"),
        pytest.param({"WATCHDOG_USEC": "0"}, None, id="off"),
        pytest.param({"WATCHDOG_USEC": "soon"}, None, id="not-a-number"),
    ],
)
def test_the_watchdog_interval_is_for_this_process_only(
    environ: dict[str, str], expected: float | None
) -> None:
    """The interval is read in seconds, and only where systemd means this process."""
    assert Notifier(environ).watchdog_seconds == expected


# --- the unit file -----------------------------------------------------------------------------------


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    require("systemd-analyze", shutil.which("systemd-analyze") is not None, "apt-get install systemd")
    return subprocess.run(
        ["systemd-analyze", "--no-pager", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` is silent: no unknown key, no bad value.

    It also wants the program to be there, which is a matter of the machine and not of the file: the copy that
    is verified names an existing one.
    """
    program = "/opt/deployer/bin/deployer"
    text = UNIT.read_text()
    assert text.count(f"ExecStart={program} ") == 1
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace(f"ExecStart={program} ", f"ExecStart={shutil.which('true')} "))

    verdict = _analyze("verify", copy)

    assert (verdict.returncode, verdict.stdout, verdict.stderr) == (0, "", "")


def test_verify_would_notice_a_wrong_key(tmp_path: Path) -> None:
    """The test above can fail: a misspelt sandbox key is reported."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("ProtectSystem=", "ProtectSytem="))

    assert "ProtectSytem" in _analyze("verify", copy).stderr


def test_the_sandbox_is_tight() -> None:
    """The exposure, as systemd itself measures it, is at most 2.0 of 10."""
    verdict = _analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", UNIT)

    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param("vfork clone clone3 execve wait4 setsid pipe2 dup2 close_range", id="git-children"),
        pytest.param("prlimit64", id="limits"),
        pytest.param("fdatasync fsync ftruncate fcntl flock pread64 pwrite64 unlink", id="store-and-lock"),
        pytest.param("link rename symlink utimensat fchmod mkdir", id="mirrors"),
        pytest.param("inotify_init inotify_add_watch inotify_rm_watch", id="watch-on-local-repositories"),
        pytest.param("socket socketpair bind connect sendto recvfrom poll pselect6", id="http-ssh-systemd"),
        pytest.param("mmap mprotect futex getrandom epoll_create1 clock_nanosleep sysinfo", id="python"),
    ],
)
def test_the_filter_allows_what_the_daemon_and_its_children_call(calls: str) -> None:
    """A traced daemon with its git and ssh children made these calls (Python 3.11, git 2.39, Debian 12)."""
    assert set(calls.split()) - _allowed() == set()


def test_the_filter_refuses_what_changes_the_machine() -> None:
    """Users, mounts, clocks, modules, priorities and other processes are out of reach."""
    refused = {"setuid", "chown", "mount", "chroot", "settimeofday", "init_module", "setpriority", "ptrace"}

    assert _allowed() & refused == set()


def _allowed() -> set[str]:
    """What the unit's SystemCallFilter lines add up to: the first adds, `~` takes away."""
    allowed: set[str] = set()
    for line in UNIT.read_text().splitlines():
        if line.startswith("SystemCallFilter="):
            value = line.removeprefix("SystemCallFilter=")
            calls = {call for group in value.removeprefix("~").split() for call in _calls(group)}
            allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


@cache
def _calls(group: str) -> frozenset[str]:
    """The system calls of a group like @system-service, with those of the groups in it."""
    if not group.startswith("@"):
        return frozenset({group})
    entries = _analyze("syscall-filter", group).stdout.splitlines()[1:]
    names = (entry.strip() for entry in entries if entry.strip() and not entry.strip().startswith("#"))
    return frozenset(call for name in names for call in _calls(name))
