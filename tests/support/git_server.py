"""A real git server over HTTP: `git http-backend` behind a small server with basic authentication."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

_BACKEND_SECONDS = 20.0
_HOLD_SECONDS = 30.0


class GitServer(ThreadingHTTPServer):
    """Serves the bare repositories below a folder on a free loopback port.

    `fetches` counts the requests that asked for objects. While `hold` is set, a request that was let in
    gets no answer; `status` other than 200 is given to each instead of git's answer.
    """

    def __init__(self, root: Path, *, token: str | None = None, port: int = 0) -> None:
        """Listen; without a token everybody is let in."""
        super().__init__(("127.0.0.1", port), _Handler)
        self.scheme = "http"
        self.root = root
        self.token = token
        self.fetches = 0
        self.requests = 0
        self.status = 200
        self.location = ""
        self.hold = threading.Event()
        self.released = threading.Event()

    @property
    def port(self) -> int:
        """The port it got."""
        return int(self.server_address[1])

    def url(self, name: str) -> str:
        """The URL of the repository in the folder `name`."""
        return f"{self.scheme}://127.0.0.1:{self.port}/{name}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that broke: tests break them."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type] # as the base class was called

    def let_in(self, authorization: str | None) -> bool:
        """Whether the request carries the token as a password; the user name does not matter."""
        if self.token is None:
            return True
        kind, _, encoded = (authorization or "").partition(" ")
        return kind == "Basic" and base64.b64decode(encoded).decode().partition(":")[2] == self.token


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GitServer

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        server = self.server
        server.requests += 1
        if not server.let_in(self.headers["Authorization"]):
            self._send(401, {"WWW-Authenticate": 'Basic realm="git"'}, b"")
            return
        if server.hold.is_set():
            server.released.wait(_HOLD_SECONDS)
            self.close_connection = True
            return
        if server.status != 200:
            headers = {"Location": server.location + self.path} if server.location else {}
            self._send(server.status, headers, b"no")
            return
        if b"command=fetch" in body:
            server.fetches += 1
        head, _, content = self._backend(body).partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self._send(int(headers.pop("Status", "200").split()[0]), headers, content)

    def _backend(self, body: bytes) -> bytes:
        parts = urlsplit(self.path)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "REMOTE_USER": "test",
        }
        ended = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=environment,
            capture_output=True,
            check=False,
            timeout=_BACKEND_SECONDS,
        )
        # It fails after an answer that is a refusal, which the client is to read.
        if not ended.stdout:
            raise ConnectionError
        return ended.stdout

    def _send(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: tests look at the counters."""


@contextmanager
def serving(
    root: Path, *, token: str | None = None, port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[GitServer]:
    """Serve until the block ends, over TLS if a context is given."""
    with GitServer(root, token=token, port=port) as server:
        if tls is not None:
            server.scheme = "https"
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join(5)
