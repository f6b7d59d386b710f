"""Tells systemd how the daemon is: ready, alive, stopping. The protocol of sd_notify(3), by hand.

Owns the datagrams. Must not know when the daemon is well; its caller decides. Invariant: it never fails and
never waits long, and does nothing at all where systemd did not ask (no NOTIFY_SOCKET).
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Mapping

# systemd reads its socket all the time. A second is a hung system, and the daemon has better things to do.
_SEND_TIMEOUT_SECONDS = 1.0

log = structlog.get_logger(__name__)


class Notifier:
    """The line to systemd. Any thread may use it."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID as systemd sets them."""
        self._address = environ.get("NOTIFY_SOCKET", "")
        if self._address.startswith("@"):
            # An abstract socket: the kernel's name for it begins with a zero byte.
            self._address = "\0" + self._address[1:]
        self._complained = False
        self.watchdog_seconds = _watchdog_seconds(environ)

    def ready(self) -> None:
        """Say that the daemon is up; `systemctl start` returns on it."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Set the one line that `systemctl status` shows."""
        # A line break would begin another assignment.
        self._send(f"STATUS={' '.join(text.split())}")

    def watchdog(self) -> None:
        """Show a sign of life; without one for `watchdog_seconds` systemd kills and restarts the daemon."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Say that the daemon has begun to stop."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.settimeout(_SEND_TIMEOUT_SECONDS)
                line.sendto(message.encode(errors="replace"), self._address)
        except OSError as error:
            if not self._complained:
                self._complained = True
                log.warning("systemd_not_reached", error=str(error), message=message)


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """The interval in which systemd wants a sign of life from this process, or None if it wants none.

    WATCHDOG_PID names the process that is meant: a child inherits the variables but not the duty.
    """
    microseconds = environ.get("WATCHDOG_USEC", "")
    meant = environ.get("WATCHDOG_PID", str(os.getpid()))
    if meant != str(os.getpid()) or not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    return int(microseconds) / 1_000_000
