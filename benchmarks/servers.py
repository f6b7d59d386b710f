"""Two servers in a process of their own, so that what they cost is not in what is measured of us.

One is git over HTTP (`git http-backend`, as the tests have it), the other answers every POST at once: a bare
round trip. Ends when its input does.
"""

from __future__ import annotations

import hmac
import json
import subprocess
import sys
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.support import git_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are."""

    git: str
    plain: str


@contextmanager
def serving(root: Path) -> Iterator[Servers]:
    """Serve the bare repositories below `root` until the block ends."""
    command = [sys.executable, "-m", "benchmarks.servers", str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            yield Servers(**json.loads(process.stdout.readline()))
        finally:
            process.terminate()


def post(url: str, body: bytes, headers: Mapping[str, str]) -> int:
    """One POST over a connection of its own, as a forge sends it; the status of the answer."""
    parts = urlsplit(url)
    assert parts.hostname is not None  # noqa: S101 - these are our own URLs
    connection = HTTPConnection(parts.hostname, parts.port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("POST", parts.path, body, dict(headers))
        with connection.getresponse() as answer:
            answer.read()
            return answer.status
    finally:
        connection.close()


def body() -> bytes:
    """Of a webhook, of a usual length."""
    return json.dumps({"ref": "refs/heads/main", "pad": "x" * 3_000}).encode()


def hook(url: str, repository: str, secret: str) -> None:
    """Send a signed webhook to the server at `url`, as GitHub does, and wait for the answer."""
    sent = body()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": str(uuid.uuid4()),
        "X-Hub-Signature-256": f"sha256={hmac.new(secret.encode(), sent, 'sha256').hexdigest()}",
    }
    status = post(f"{url}/hooks/{repository}", sent, headers)
    if status != HTTPStatus.ACCEPTED:
        message = f"the webhook was answered with {status}"
        raise RuntimeError(message)


class _Plain(BaseHTTPRequestHandler):
    """Reads, and says that it did."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _serve(root: Path) -> None:
    plain = ThreadingHTTPServer(("127.0.0.1", 0), _Plain)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    with git_server.serving(root) as git:
        # A head and a body are two writes: with Nagle's algorithm the second waits 40 ms for the client.
        git.RequestHandlerClass.disable_nagle_algorithm = True  # type: ignore[attr-defined] # a stream's handler
        print(json.dumps({"git": git.url("").rstrip("/"), "plain": f"http://127.0.0.1:{plain.server_port}/"}))
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
