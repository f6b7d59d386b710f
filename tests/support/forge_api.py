"""A forge's API that exchanges a GitHub App's key for tokens, with the checks that GitHub makes."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from deployer.adapters.git import GithubApp
from tests.support.prerequisites import require

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.git_server import GitServer

APP_ID = "123456"
INSTALLATION = "7654321"

_SECONDS = 20.0


@dataclass
class Behaviour:
    """How it answers: `status` instead of 201, `body` instead of a token, `date` instead of its clock's.

    `useless`: the git server does not take the tokens.
    """

    status: int = 201
    body: bytes | None = None
    date: str = ""
    location: str = ""
    lifetime_seconds: float = 3600.0
    useless: bool = False


class ForgeApi(ThreadingHTTPServer):
    """Gives out tokens, and tells a git server to take the last one and no other.

    `tokens` are those that it gave, `asked` the bodies of the requests for them, `requests` counts them all.
    """

    def __init__(self, folder: Path, git: GitServer) -> None:
        """Listen on a free loopback port, and make the App's key."""
        require("openssl", shutil.which("openssl") is not None, "apt-get install openssl")
        super().__init__(("127.0.0.1", 0), _Handler)
        folder.mkdir(exist_ok=True)
        self.scheme = "http"
        self.folder = folder
        self.key_file = folder / "app's key, 100%.pem"
        self.key_file.write_bytes(_rsa_key())
        self.key_file.chmod(0o600)
        _openssl("rsa", "-in", str(self.key_file), "-pubout", "-out", str(folder / "public.pem"))
        self.behaviour = Behaviour()
        self.tokens: list[str] = []
        self.asked: list[Any] = []
        self.claims: list[Any] = []
        self.bearers: list[str] = []
        self.requests = 0
        self._git = git

    @property
    def port(self) -> int:
        """The port it got."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The URL of the API."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def app(self) -> GithubApp:
        """The App, as settings name it."""
        return GithubApp(
            app_id=APP_ID, installation_id=INSTALLATION, private_key_file=self.key_file, api_url=self.url
        )

    def exchange(self, path: str, bearer: str, body: bytes) -> tuple[int, bytes]:
        """A token for a request that is right in everything."""
        self.requests += 1
        self.bearers.append(bearer)
        if self.behaviour.status != 201 or self.behaviour.body is not None:
            return self.behaviour.status, self.behaviour.body or b'{"message": "No,\\u001b[2J not you"}'
        header, claims, signature = bearer.split(".")
        signed = self.folder / "signature"
        signed.write_bytes(_decoded(signature))
        verify = ["-sha256", "-verify", str(self.folder / "public.pem"), "-signature", str(signed)]
        _openssl("dgst", *verify, data=f"{header}.{claims}".encode())
        assert json.loads(_decoded(header)) == {"alg": "RS256", "typ": "JWT"}
        assert path == f"/app/installations/{INSTALLATION}/access_tokens"
        self.claims.append(json.loads(_decoded(claims)))
        self.asked.append(json.loads(body))
        self.tokens.append(f"ghs_canary{len(self.tokens)}ofTheInstallation")
        self._git.token = "" if self.behaviour.useless else self.tokens[-1]
        ends = datetime.fromtimestamp(time.time() + self.behaviour.lifetime_seconds, UTC)
        given = {"token": self.tokens[-1], "expires_at": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}
        return 201, json.dumps(given).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ForgeApi

    def do_POST(self) -> None:
        """Answer a request for a token."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        bearer = (self.headers["Authorization"] or "").removeprefix("Bearer ")
        status, content = self.server.exchange(self.path, bearer, body)
        behaviour = self.server.behaviour
        self.send_response_only(status)
        if behaviour.date != "none":
            self.send_header("Date", behaviour.date or self.date_time_string())
        if behaviour.location:
            self.send_header("Location", behaviour.location)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: tests look at what was asked."""


@contextmanager
def forge_api(folder: Path, git: GitServer, *, tls: ssl.SSLContext | None = None) -> Iterator[ForgeApi]:
    """Serve until the block ends, over TLS if a context is given."""
    with ForgeApi(folder, git) as server:
        if tls is not None:
            server.scheme = "https"
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join(5)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@cache
def _rsa_key() -> bytes:
    """One for all tests: each takes 0.2 s."""
    return _openssl("genrsa", "2048")


def _openssl(*arguments: str, data: bytes | None = None) -> bytes:
    command = ["openssl", *arguments]
    return subprocess.run(command, input=data, check=True, capture_output=True, timeout=_SECONDS).stdout
