"""A wire between two programs that a test can cut: for a cluster that goes out of sight and comes back.

Where HTTP goes over it, each request can also be held: where it arrives, and where its answer comes back.
"""

from __future__ import annotations

import re
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from tests.support.arrivals import Arrival, Moment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.arrivals import Hold

_CHUNK = 65536
_BLANK = b"\r\n\r\n"
_CONTENT_LENGTH = re.compile(rb"(?im)^content-length: *(\d+)")


class TcpProxy:
    """Forwards every connection to `host:port`, until it is cut and again after it is mended."""

    def __init__(self, host: str, port: int) -> None:
        """Listen on a free loopback port."""
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where to connect instead."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        """Break every connection, and refuse to carry new ones."""
        with self._lock:
            self._is_cut = True
            ends = list(self._open)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Carry again."""
        with self._lock:
            self._is_cut = False

    def __enter__(self) -> Self:
        """Nothing more to start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Cut it for good."""
        self.cut()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        for near in self._arrivals():
            if self._is_cut:
                near.close()
                continue
            try:
                far = socket.create_connection(self._target, 5)
            except OSError:
                near.close()
                continue
            # The limit was for connecting: an answer may take long, the first PUT of a head for one.
            far.settimeout(None)
            with self._lock:
                self._open |= {near, far}
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=[source, sink], daemon=True).start()

    def _arrivals(self) -> Iterator[socket.socket]:
        with suppress(OSError):
            while True:
                yield self._listener.accept()[0]

    def _next(self, source: socket.socket, sink: socket.socket) -> bytes:
        """What is to be carried next; nothing ends the connection."""
        return source.recv(_CHUNK)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := self._next(source, sink):
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()
        with self._lock:
            self._open.discard(source)


class HoldingProxy(TcpProxy):
    """The same for HTTP/1.1, with every request held where it arrives and where its answer begins."""

    def __init__(self, host: str, port: int, hold: Hold) -> None:
        """Listen on a free loopback port."""
        self._hold = hold
        self._under_way: dict[socket.socket, Arrival] = {}
        super().__init__(host, port)
        self._port = self._listener.getsockname()[1]

    def _next(self, source: socket.socket, sink: socket.socket) -> bytes:
        if source.getsockname()[1] == self._port:
            return self._request(source, sink)
        data = source.recv(_CHUNK)
        arrival = self._under_way.pop(source, None)
        is_held = bool(data) and arrival is not None and not self._hold(arrival, Moment.DONE)
        return b"" if is_held else data

    def _request(self, near: socket.socket, far: socket.socket) -> bytes:
        """One whole request: a body often comes in a packet of its own."""
        data = near.recv(_CHUNK)
        while data and len(data) < _length(data):
            more = near.recv(_CHUNK)
            if not more:
                return b""
            data += more
        if not data:
            return b""
        head, _, body = data.partition(_BLANK)
        method, path, _ = head.decode("latin-1").split(" ", 2)
        self._under_way[far] = arrival = Arrival(method=method, path=path, body=body)
        return data if self._hold(arrival, Moment.ARRIVED) else b""


def _length(data: bytes) -> int:
    """How long the request is that begins so; longer than it, where that is not known yet."""
    head, blank, _ = data.partition(_BLANK)
    if not blank:
        return len(data) + 1
    found = _CONTENT_LENGTH.search(head)
    return len(head) + len(blank) + (int(found[1]) if found else 0)
