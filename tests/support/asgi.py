"""One request to an ASGI application, as a server would hand it over: no socket, no client's opinion."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message

HOST = "127.0.0.1:8700"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back. `headers` have small names; of several with one name, `all_of` has all."""

    status: int
    raw: Sequence[tuple[str, str]] = field(repr=False)
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """By name; the last of each."""
        return dict(self.raw)

    def all_of(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for key, value in self.raw if key == name]

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def scope_of(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    *,
    peer: str = "127.0.0.1",
    scheme: str = "http",
    host: str | None = HOST,
    length: int | None = None,
) -> dict[str, Any]:
    """The scope of a request, as uvicorn makes it. `host` None: the headers say it, or nothing does."""
    path, _, query = target.partition("?")
    listed = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    if host is not None:
        listed.insert(0, (b"host", host.encode()))
    if length is not None:
        listed.append((b"content-length", str(length).encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 8700),
        "client": (peer, 40_000),
        "scheme": scheme,
        "method": method,
        "root_path": "",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": listed,
        "state": {},
    }


async def talk(app: ASGIApp, scope: dict[str, Any], body: bytes = b"") -> Answer:
    """Send one request, and wait for the whole answer."""
    sent: list[Message] = []
    requests: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    is_over = asyncio.Event()

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await is_over.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        assert not is_over.is_set(), f"after the end: {message}"
        sent.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            is_over.set()

    await app(scope, receive, send)
    assert is_over.is_set(), "the answer has no end"
    start, *rest = sent
    raw = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in start["headers"]]
    return Answer(status=start["status"], raw=raw, body=b"".join(one.get("body", b"") for one in rest))


def ask(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    peer: str = "127.0.0.1",
    scheme: str = "http",
    host: str | None = HOST,
    length: int | None = None,
) -> Answer:
    """The same, for who has no event loop. `length` is what Content-Length says, if not the body's own."""
    length = len(body) if length is None and body else length
    scope = scope_of(method, target, headers, peer=peer, scheme=scheme, host=host, length=length)
    return asyncio.run(talk(app, scope, body))
