"""Webhooks as the forges send them, and a sender over real sockets.

`tests/webhooks/<scheme>/` holds a body and its headers for each delivery, written after the forges' published
formats and signed with `openssl dgst`, not with our code: SECRETS, at SENT_AT.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from deployer.core.webhooks import Scheme

FOLDER = Path(__file__).parents[1] / "webhooks"

SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

PLAIN = "market-stall-0123456789abcdef"
SECRETS: Mapping[Scheme, str] = dict.fromkeys(SCHEMES, PLAIN) | {
    "gitlab": "whsec_bWFya2V0LXN0YWxsLTAxMjM0NTY3ODlhYmNkZWYhIQ=="
}
"""What the file with the secret holds."""

SENT_AT = 1_795_428_000
"""Seconds since the epoch, of the deliveries that carry a time."""

_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A request of a forge."""

    scheme: Scheme
    name: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def wire(self) -> list[tuple[bytes, bytes]]:
        """The headers as they come in."""
        return [(name.encode(), value.encode()) for name, value in self.headers.items()]

    @property
    def is_ping(self) -> bool:
        """Whether it only tests the way."""
        return self.name == "ping"


def deliveries(*schemes: Scheme) -> list[Delivery]:
    """Those of these schemes; of all without any."""
    found = []
    for scheme in schemes or SCHEMES:
        for path in sorted((FOLDER / scheme).glob("*.json")):
            lines = path.with_suffix(".headers").read_text().splitlines()
            headers = dict(line.split(": ", 1) for line in lines)
            found.append(Delivery(scheme=scheme, name=path.stem, headers=headers, body=path.read_bytes()))
    return found


def signed(scheme: Scheme, body: bytes, *, secret: str, delivery: str, at: float) -> dict[str, str]:
    """The headers that prove it, as each forge makes them, and its id."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    match scheme:
        case "github":
            return {"X-Hub-Signature-256": f"sha256={digest}", "X-GitHub-Delivery": delivery}
        case "gitea":
            return {"X-Gitea-Signature": digest, "X-Gitea-Delivery": delivery}
        case "bitbucket":
            return {"X-Hub-Signature": f"sha256={digest}", "X-Request-UUID": delivery}
        case "gitlab-token":
            return {"X-Gitlab-Token": secret, "Idempotency-Key": delivery}
        case "gitlab" | "generic":
            key = base64.b64decode(secret[6:]) if secret.startswith("whsec_") else secret.encode()
            text = f"{delivery}.{int(at)}.".encode() + body
            signature = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
            return {
                "webhook-id": delivery,
                "webhook-timestamp": str(int(at)),
                "webhook-signature": f"v1,{signature}",
            }


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)


def request(path: str, headers: Mapping[str, str], body: bytes, *, method: str = "POST") -> bytes:
    """The bytes of a request, with its Content-Length, unless `headers` has it or Transfer-Encoding."""
    given = {"Host": "deployer.example.com", **headers}
    if not {"content-length", "transfer-encoding"} & {name.lower() for name in given}:
        given["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def send(port: int, data: bytes) -> Answer:
    """Send these bytes over a connection of their own, and read the answer to its end."""
    with socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_SECONDS) as connection:
        connection.sendall(data)
        return receive(connection)


def receive(connection: socket.socket) -> Answer:
    """The answer that comes over this connection, which the server closes then."""
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    head, _, text = b"".join(parts).decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return Answer(status=int(first.split(" ")[1]), headers=headers, text=text)
