"""Stands before every route: who may speak to the daemon at all, and what every answer carries.

Owns the order of the checks, and the headers that keep browsers strict. Must not know the routes, but
whether one is open to all. Invariant: nothing but what is open to all is answered without a caller, also what
does not exist; no other site's page gets in, whatever the browser sends along for it; no route gets more than
`_BODY_BYTES` to read; and a stream ends with the token or the session that it was opened with.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog
from fastapi.responses import Response
from starlette.datastructures import MutableHeaders

from deployer.adapters.store import StoreError
from deployer.web import problems
from deployer.web.access import NOBODY
from deployer.web.attempts import Attempts
from deployer.web.callers import Callers, Refused, peer
from deployer.web.lanes import USES
from deployer.web.origins import SAFE, Origins, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from deployer.web.access import Caller

_BODY_BYTES = 65_536
"""A reason of a few pages fits; nobody has more to say."""

_WARN_SECONDS = 60.0
"""Between two warnings about those who were refused: who tries does not fill the log."""

_NO_STORE = "no-store"

HEADERS = {
    # No inline script or style, nothing from elsewhere, in nobody's frame.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: Chromium (156) then says `Origin: null` of our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer."""

_STOPPING = (
    "The daemon is stopping, and this was not finished: `deployer status` shows whether anything was done."
    " Try again when it runs."
)
_NAMES = (
    "The daemon does not answer to this name. It is called 127.0.0.1 or localhost, and what server.public_url"
    " and server.allowed_hosts in its settings say."
)
_ELSEWHERE = "A page of another site may not use this daemon. Open the daemon's own page, or use the command."
_IN_CLEAR = (
    "This connection is not encrypted, so whoever is on the way could read your token. Come through the proxy"
    " that server.trusted_proxy names, or have server.tls set up."
)
_AGAIN = "Too many requests from your address were refused. Try again in {seconds} s."

log = structlog.get_logger(__name__)


class Refusals:
    """Counts those who were not let in, and warns of them at most once a minute."""

    def __init__(self) -> None:
        """Nobody was refused."""
        self._count = 0
        self._warn_at = 0.0

    def add(self, address: str, why: str) -> None:
        """Count one more. `address` and `why` are said of the last one before a warning."""
        self._count += 1
        now = time.monotonic()
        if now >= self._warn_at:
            log.warning("requests_refused", count=self._count, peer=address, why=why)
            self._count = 0
            self._warn_at = now + _WARN_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What the guard and the sign-in page share."""

    callers: Callers
    origins: Origins
    attempts: Attempts = field(default_factory=Attempts)
    refusals: Refusals = field(default_factory=Refusals)


class Guard:
    """Stands before the application (ASGI) and lets in what may come in."""

    def __init__(self, app: ASGIApp, door: Door, is_open: Callable[[Scope], bool]) -> None:
        """Guard `app`; `is_open` tells what is open to all (`access.opener`)."""
        self._app = app
        self._door = door
        self._is_open = is_open
        self._uses: dict[str | None, asyncio.Task[None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request here, or let it in."""
        is_open = self._is_open(scope)
        answer = _Answer(send, is_open=is_open)
        found = self._judge(scope, is_open=is_open)
        if isinstance(found, Response):
            await found(scope, receive, answer.send)
            return
        scope.setdefault("state", {})["caller"] = found
        self._note_use(found)
        answer.counts = lambda: self._door.callers.counts(found)
        try:
            await self._app(scope, receive, answer.send)
        except asyncio.CancelledError:
            # The server cancels what is under way when it stops, and nothing else. This task ends all the
            # same, with an answer instead of a traceback; a thread that waits for a cluster is left behind.
            if answer.has_begun:
                await answer.end()
            else:
                await problems.response(HTTPStatus.SERVICE_UNAVAILABLE, _STOPPING)(
                    scope, receive, answer.send
                )

    def _judge(self, scope: Scope, *, is_open: bool) -> Caller | Response:
        """Who calls, or the answer for who may not."""
        host = self._door.origins.host(scope)
        if host is None:
            return problems.response(HTTPStatus.MISDIRECTED_REQUEST, _NAMES)
        source = self._door.origins.source(scope, host)
        if source is Source.ELSEWHERE:
            return problems.response(HTTPStatus.FORBIDDEN, _ELSEWHERE)
        is_safe = scope["method"] in SAFE
        if self._is_in_clear(scope) and not (is_open and is_safe):
            return problems.response(HTTPStatus.FORBIDDEN, _IN_CLEAR)
        # A browser says where an order comes from: what has a cookie and does not say it is none of today.
        cookie_counts = source is Source.OURS or (source is Source.UNSAID and is_safe)
        found = self._door.callers.of(scope, cookie_counts=cookie_counts)
        if isinstance(found, Refused):
            if not is_open or found.status is HTTPStatus.FORBIDDEN:
                return self._refuse(scope, found)
            found = NOBODY
        return _too_large(dict(scope["headers"])) or found

    def _is_in_clear(self, scope: Scope) -> bool:
        """Whether what is sent can be read on the way: neither TLS, nor this machine, nor from the proxy."""
        address = peer(scope)
        is_near = address is None or address.is_loopback
        return scope["scheme"] == "http" and not is_near and not self._door.callers.is_proxy(scope)

    def _refuse(self, scope: Scope, refused: Refused) -> Response:
        address = str(peer(scope))
        self._door.refusals.add(address, refused.why)
        if refused.status is not HTTPStatus.UNAUTHORIZED:
            return problems.response(refused.status, refused.why)
        headers = dict(scope["headers"])
        accepted = headers.get(b"accept", b"")
        # Not to htmx, which would put the page for signing in into another, or read it as a stream.
        is_asked = b"hx-request" not in headers and b"text/event-stream" not in accepted
        is_page = b"text/html" in accepted and is_asked
        if is_page and not scope["path"].startswith("/api/"):
            return Response(status_code=HTTPStatus.SEE_OTHER, headers={"Location": _sign_in(scope)})
        seconds = self._door.attempts.failed(address)
        if seconds is not None:
            return too_many(seconds)
        return problems.response(refused.status, refused.why, headers={"WWW-Authenticate": "Bearer"})

    def _note_use(self, found: Caller) -> None:
        """Have it written that a token was used: once a minute, and nobody waits for the disk.

        One thread for a token at most, for a disk that hangs would take all that requests run in.
        """
        if found.token in self._uses or not self._door.callers.is_use_due(found):
            return
        task = asyncio.create_task(_write_use(self._door.callers, found))
        self._uses[found.token] = task
        task.add_done_callback(lambda _: self._uses.pop(found.token))


class _Answer:
    """An answer on its way: gets our headers, and goes on only while its caller counts."""

    def __init__(self, send: Send, *, is_open: bool) -> None:
        self._send = send
        self._is_open = is_open
        self._is_over = False
        self.has_begun = False
        self.counts: Callable[[], bool] = lambda: True

    async def send(self, message: Message) -> None:
        """Pass one message on."""
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            if not self._is_open:
                headers["Cache-Control"] = _NO_STORE
        elif message.get("more_body", False) and not self.counts():
            # The server then tells the application that the client has left, and that ends the stream.
            await self.end()
        if not self._is_over:
            self._is_over = message["type"] == "http.response.body" and not message.get("more_body", False)
            await self._send(message)

    async def end(self) -> None:
        """Send the end of what has begun."""
        if not self._is_over:
            self._is_over = True
            await self._send({"type": "http.response.body", "body": b""})


def too_many(seconds: int) -> Response:
    """The answer for who has failed too often."""
    detail = _AGAIN.format(seconds=seconds)
    return problems.response(HTTPStatus.TOO_MANY_REQUESTS, detail, headers={"Retry-After": str(seconds)})


async def _write_use(callers: Callers, found: Caller) -> None:
    # What is wrong with the store is said where it matters.
    with suppress(StoreError):
        await USES.run(callers.note_use, found)


def _sign_in(scope: Scope) -> str:
    """Where to sign in, and to come back to: not to where a form was sent, which may show nothing."""
    asked = scope.get("raw_path", b"").decode("latin-1") or quote(scope["path"])
    if scope["query_string"]:
        asked += "?" + scope["query_string"].decode("latin-1")
    return f"/sign-in?next={quote(asked if scope['method'] in SAFE else '/', safe='/')}"


def _too_large(headers: dict[bytes, bytes]) -> Response | None:
    """Why this body is not read. uvicorn has made sure that a length is a number and holds to it."""
    if b"transfer-encoding" in headers:
        detail = "Say how long the body is (Content-Length)."
        return problems.response(HTTPStatus.LENGTH_REQUIRED, detail)
    if int(headers.get(b"content-length", b"0")) > _BODY_BYTES:
        detail = f"A body may have up to {_BODY_BYTES} bytes."
        return problems.response(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    return None
