"""A server on loopback that answers exactly what a test wants, down to the bytes and the pauses."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

GIVE_UP_SECONDS = 10.0
"""No test lets a client talk or listen for longer."""

VERSION = {"version": "4", "ray_version": "2.60.0", "ray_commit": "0", "session_name": "session_1"}
NOTHING: dict[str, Any] = {"controller_info": {}, "proxies": {}, "applications": {}, "target_capacity": None}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client sent. Header names are in lower case; `connection` counts from 0."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


Behaviour = Callable[[Request, socket.socket], bytes | None]
"""What to answer; None closes the connection instead."""


@dataclass
class Hostile:
    """A server that does to each request what `behave` says, and remembers them."""

    behave: Behaviour
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    done: threading.Event = field(default_factory=threading.Event)
    """Set when the test is over: a pause in a behaviour waits on this, so that no thread is left behind."""

    def __enter__(self) -> Self:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening, and end every conversation."""
        self.done.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(GIVE_UP_SECONDS)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(GIVE_UP_SECONDS)
            assert not thread.is_alive(), "a conversation does not end"

    @property
    def port(self) -> int:
        """Where it listens."""
        port = self._listener.getsockname()[1]
        assert isinstance(port, int)
        return port

    @property
    def address(self) -> str:
        """Its URL."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def pause(self, seconds: float = GIVE_UP_SECONDS) -> None:
        """Do nothing for so long, or until the test is over."""
        self.done.wait(seconds)

    def drip(self, connection: socket.socket, data: bytes, every: float = 0.05) -> None:
        """Send a byte at a time."""
        for byte in data:
            if self.done.wait(every):
                return
            with suppress(OSError):
                connection.sendall(bytes([byte]))

    def sent(self, method: str) -> list[Request]:
        """The requests with this method."""
        return [request for request in self.requests if request.method == method]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(GIVE_UP_SECONDS)
            self._open.append(connection)
            thread = threading.Thread(target=self._converse, args=[connection, self.connections])
            self.connections += 1
            self._threads.append(thread)
            thread.start()

    def _converse(self, connection: socket.socket, number: int) -> None:
        with suppress(OSError), connection:
            talk = self.tls.wrap_socket(connection, server_side=True) if self.tls else connection
            with talk, talk.makefile("rb") as reader:
                while request := _read(reader, number):
                    self.requests.append(request)
                    answer = self.behave(request, talk)
                    if answer is None:
                        return
                    talk.sendall(answer)


def _read(reader: Any, connection: int) -> Request | None:
    line = reader.readline().decode("latin-1").split()
    if len(line) < len(["method", "path"]):
        return None  # it has hung up, or does not speak HTTP
    headers: dict[str, str] = {}
    while (header := reader.readline().decode("latin-1").strip()) != "":
        name, _, value = header.partition(":")
        headers[name.strip().lower()] = value.strip()
    body = reader.read(int(headers.get("content-length", "0")))
    return Request(method=line[0], path=line[1], headers=headers, body=body, connection=connection)


def answer(
    status: int, body: bytes | str = b"", headers: Iterable[str] = (), *, length: bool = True
) -> bytes:
    """A whole HTTP answer. Without `length` its end is the end of the connection."""
    content = body.encode() if isinstance(body, str) else body
    framing = f"Content-Length: {len(content)}" if length else "Connection: close"
    head = "\r\n".join([f"HTTP/1.1 {status} Whatever", framing, *headers])
    return head.encode() + b"\r\n\r\n" + content


def dashboard(details: dict[str, Any] | None = None) -> Behaviour:
    """A well-behaved one: `details` is what the applications are; a PUT gets its empty 200."""

    def behave(request: Request, _: socket.socket) -> bytes | None:
        if request.method == "PUT":
            return answer(200)
        body = VERSION if request.path.endswith("/api/version") else details or NOTHING
        return answer(200, json.dumps(body), ["Content-Type: application/json"])

    return behave
