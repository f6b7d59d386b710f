"""An HTTP server of git's first protocol that sends refs and a pack byte by byte as a file has them.

Owns the framing. Must not check anything: git's own server would not send most of it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CAPABILITIES = b"shallow no-progress agent=hostile"


class Handler(BaseHTTPRequestHandler):
    """Answers with the files `served` and `pack` of the server's folder."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The refs."""
        lines = self._folder.joinpath("served").read_bytes().splitlines()
        first, *others = [line + b"\n" for line in lines]
        first = first.rstrip(b"\n") + b"\0" + _CAPABILITIES + b"\n"
        body = _line(b"# service=git-upload-pack\n") + b"0000"
        self._send("advertisement", body + b"".join(map(_line, [first, *others])) + b"0000")

    def do_POST(self) -> None:
        """Where the history is cut, and with `done` the pack."""
        request = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        commit = self._folder.joinpath("served").read_bytes()[:40]
        shallow = _line(b"shallow " + commit) + b"0000" if b"deepen" in request else b""
        pack = _line(b"NAK\n") + self._folder.joinpath("pack").read_bytes() if b"0009done" in request else b""
        self._send("result", shallow + pack)

    @property
    def _folder(self) -> Path:
        assert isinstance(self.server, Server)
        return self.server.folder

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", f"application/x-git-upload-pack-{kind}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """The server of one folder."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        """Take a free port of loopback."""
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: git hangs up on much of this."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve until the block ends; the repository's URL."""
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hostile.git"
        finally:
            server.shutdown()
            thread.join(5)


def _line(data: bytes) -> bytes:
    return b"%04x%s" % (len(data) + 4, data)
