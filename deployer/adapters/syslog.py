"""One line to syslog: to the socket of this machine, or to another machine by UDP.

Owns the socket and the form of a line. Must not know what it says. Invariant: whoever sends learns of what
can be learned: a socket that is not there, or is full, is an error. Python's own SysLogHandler prints a
traceback to stderr instead, and goes on.

UDP tells nobody whether a line arrived.
"""

from __future__ import annotations

import errno
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "deployer-audit"
"""What the lines are found by: `journalctl -t deployer-audit`."""

_PRIORITY = 10 * 8 + 5
"""authpriv, notice: beside logins, in the files that only administrators read and that are kept longest."""

_SECONDS = 2.0
"""For a socket that is full to take a line."""


class Syslog:
    """One place that takes lines: the path of a socket, or `host:port`."""

    def __init__(self, address: str, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Take where it is; connect to nothing yet."""
        self.address = address
        self._now = now

    def send(self, line: str) -> None:
        """Hand over one line of printable ASCII. Raises OSError."""
        if self.address.startswith("/"):
            self._to_socket(line)
        else:
            self._by_udp(line)

    def _to_socket(self, line: str) -> None:
        # As the C library writes it: the machine and the year are added by who takes it.
        at = self._now().astimezone()
        message = f"<{_PRIORITY}>{at:%b} {at.day:2} {at:%H:%M:%S} {NAME}[{os.getpid()}]: {line}".encode()
        try:
            self._connected(socket.SOCK_DGRAM, message)
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:
                raise
            # One that takes a stream: there a zero byte ends a line.
            self._connected(socket.SOCK_STREAM, message + b"\0")

    def _connected(self, kind: socket.SocketKind, message: bytes) -> None:
        with socket.socket(socket.AF_UNIX, kind) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(self.address)
            connection.sendall(message)

    def _by_udp(self, line: str) -> None:
        host, _, port = self.address.rpartition(":")
        # RFC 5424, which has the year and the time zone.
        at = self._now().astimezone(UTC)
        header = f"<{_PRIORITY}>1 {at:%Y-%m-%dT%H:%M:%S.%fZ} {socket.gethostname()} {NAME} {os.getpid()} - -"
        message = f"{header} {line}".encode()
        places = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)
        family, kind, protocol, _, address = places[0]
        with socket.socket(family, kind, protocol) as connection:
            connection.settimeout(_SECONDS)
            connection.sendto(message, address)
