"""Lines to syslog, over real sockets."""

from __future__ import annotations

import os
import re
import socket
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.syslog import Syslog
from tests.support.anchored import SyslogSocket

if TYPE_CHECKING:
    from pathlib import Path

AT = datetime(2026, 1, 4, 3, 5, 6, 789, tzinfo=UTC)


def test_a_line_to_the_socket_of_the_machine(tmp_path: Path) -> None:
    """As the C library writes one: a day of one digit has a space before it."""
    with closing(SyslogSocket(tmp_path / "log")) as there:
        Syslog(there.address, now=lambda: AT).send("hello there")
        at = AT.astimezone()
        expected = f"<85>{at:%b} {at.day:2} {at:%H:%M:%S} deployer-audit[{os.getpid()}]: hello there"
        assert there.line() == expected


def test_a_line_to_a_socket_that_takes_a_stream(tmp_path: Path) -> None:
    """It ends with a zero byte there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as there:
        there.bind(str(tmp_path / "log"))
        there.listen()
        Syslog(str(tmp_path / "log")).send("hello there")
        connection, _ = there.accept()
        with connection:
            assert connection.recv(4096).endswith(b": hello there\0")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_a_line_by_udp(host: str) -> None:
    """As RFC 5424 has it."""
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as there:
        there.bind((host.strip("[]"), 0))
        there.settimeout(10)
        Syslog(f"{host}:{there.getsockname()[1]}", now=lambda: AT).send("hello there")
        said = there.recv(4096).decode()
    form = r"<85>1 2026-01-04T03:05:06\.000789Z \S+ deployer-audit [0-9]+ - - hello there"
    assert re.fullmatch(form, said)


def test_one_that_is_not_there_is_told(tmp_path: Path) -> None:
    """A path where nothing is, and a file."""
    (tmp_path / "file").touch()
    for address in (str(tmp_path / "nothing"), str(tmp_path / "file")):
        with pytest.raises(OSError, match=r"No such file|refused"):
            Syslog(address).send("hello there")


def test_one_that_does_not_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it is full, and has stayed so for a while."""
    monkeypatch.setattr("deployer.adapters.syslog._SECONDS", 0.2)
    with closing(SyslogSocket(tmp_path / "log")) as there:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, suppress(BlockingIOError):
            other.settimeout(0)
            other.connect(there.address)
            while True:
                other.send(b"x" * 900)
        with pytest.raises(TimeoutError):
            Syslog(there.address).send("x" * 900)
