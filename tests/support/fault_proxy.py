"""A wire between a client and a server on which anything can go wrong, and be right again, while it runs."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, assert_never

from tests.support.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 65536

_HANG_SECONDS = 60.0

_GARBAGE = b"\x00\xff garbage, and no protocol at all \r\n\r\n" * 20

_AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: a close throws away what was not sent, and the other end sees a reset."""


class Kind(Enum):
    """What goes wrong with what the server says."""

    HANG = auto()
    """Nothing more arrives, and the connection stays."""
    DRIP = auto()
    """One byte a second."""
    CUT = auto()
    """The connection ends, in order."""
    RESET = auto()
    """The connection is torn down."""
    GARBAGE = auto()
    """Something else arrives, then the end."""
    DELAY = auto()
    """Everything comes a second later."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong on each connection, once so many bytes of the server have arrived."""

    kind: Kind
    after: int = 0


class FaultProxy(TcpProxy):
    """Forwards every connection to a loopback port, with the fault that is set. None is set at first."""

    def __init__(self, port: int) -> None:
        """Listen on a free loopback port."""
        self.fault: Fault | None = None
        self.connections = 0
        self._healed = threading.Event()
        super().__init__("127.0.0.1", port)

    @property
    def port(self) -> int:
        """Where to connect instead."""
        return int(self._listener.getsockname()[1])

    def heal(self) -> None:
        """Carry as if nothing had been. What is in the middle of a fault ends: nothing can save it."""
        self.fault = None
        self._healed.set()
        self._healed = threading.Event()

    def cut(self) -> None:
        """As the base class, and nothing hangs any longer."""
        self._healed.set()
        super().cut()

    def _arrivals(self) -> Iterator[socket.socket]:
        for near in super()._arrivals():
            self.connections += 1
            yield near

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        resets = False
        with suppress(OSError):
            if source.getsockname()[1] == self.port:
                while data := source.recv(_CHUNK):
                    sink.sendall(data)
            else:
                resets = self._answer(source, sink)
        if resets:
            with suppress(OSError):
                sink.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
                # Ends the thread that reads there, which then closes it: only the last close resets.
                sink.shutdown(socket.SHUT_RD)
        for end in (source, sink):
            with suppress(OSError):
                if not end.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER):
                    end.shutdown(socket.SHUT_RDWR)
        source.close()
        with self._lock:
            self._open.discard(source)

    def _answer(self, far: socket.socket, near: socket.socket) -> bool:
        """Carry what the server says until its end, or that of a fault. Whether it ends with a reset."""
        healed, passed = self._healed, 0
        while data := far.recv(_CHUNK):
            fault = self.fault
            sound = len(data) if fault is None else min(len(data), max(0, fault.after - passed))
            near.sendall(data[:sound])
            passed += sound
            late = data[sound:]
            if fault is None or not late:
                continue
            match fault.kind:
                case Kind.HANG:
                    healed.wait(_HANG_SECONDS)
                    return False
                case Kind.CUT:
                    return False
                case Kind.RESET:
                    return True
                case Kind.GARBAGE:
                    near.sendall(_GARBAGE)
                    return False
                case Kind.DELAY:
                    healed.wait(1.0)
                    near.sendall(late)
                case Kind.DRIP:
                    for number in range(len(late)):
                        near.sendall(late[number : number + 1])
                        if healed.wait(1.0):
                            return False
                case _:
                    assert_never(fault.kind)
        return False
