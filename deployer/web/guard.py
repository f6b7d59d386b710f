"""Who may speak to the API: whoever has the token, from this machine, and no web page.

Owns the checks that come before any route. Must not know the routes but one. Invariant: nothing but
`GET /healthz` is answered without the token, also what does not exist; a page in somebody's browser
cannot reach even that under another name (DNS rebinding) or from another site; and no route gets more
than `_BODY_BYTES` to read.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from http import HTTPStatus
from typing import TYPE_CHECKING

from deployer.web import problems

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = ("GET", "/healthz")
"""The one request that needs no token."""

_BODY_BYTES = 65_536
"""A reason of a few pages fits; nobody has more to say."""

_HOST = re.compile(rb"(?:127(?:\.[0-9]{1,3}){3}|\[::1\]|localhost)(?::[0-9]{1,5})?")
"""Names that nobody else can give to another machine."""


_STOPPING = (
    "The daemon is stopping, and this was not finished: `deployer status` shows whether anything was done."
    " Try again when it runs."
)


class Guard:
    """Stands before the application (ASGI) and lets in what may come in."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        """Guard `app` with this token."""
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request here, or let it in."""
        why_not = self._why_not(scope)
        if why_not is None:
            await self._let_in(scope, receive, send)
            return
        status, detail = why_not
        headers = {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {}
        await problems.response(status, detail, headers=headers)(scope, receive, send)

    async def _let_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except asyncio.CancelledError:
            # The server cancels what is under way when it stops, and nothing else. This task ends all the
            # same, with an answer instead of a traceback; a thread that waits for a cluster is left behind.
            await problems.response(HTTPStatus.SERVICE_UNAVAILABLE, _STOPPING)(scope, receive, send)

    def _why_not(self, scope: Scope) -> tuple[HTTPStatus, str] | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or _HOST.fullmatch(hosts[0]) is None:
            detail = "This API is called 127.0.0.1 or localhost, and nothing else."
            return HTTPStatus.MISDIRECTED_REQUEST, detail
        if any(_is_of_a_page(name, value) for name, value in headers):
            return HTTPStatus.FORBIDDEN, "Web pages may not use this API: use the deployer command."
        if (scope["method"], scope["path"]) == OPEN:
            return None
        given = [value for name, value in headers if name == b"authorization"]
        # In constant time, so that how long it takes tells nothing about the token.
        if len(given) != 1 or not hmac.compare_digest(given[0], self._expected):
            detail = (
                "This needs the token that the daemon wrote to api.json in its state directory at its start."
            )
            return HTTPStatus.UNAUTHORIZED, detail
        return _too_large(dict(headers))


def _too_large(headers: dict[bytes, bytes]) -> tuple[HTTPStatus, str] | None:
    """Why this body is not read. uvicorn has made sure that a length is a number and holds to it."""
    if b"transfer-encoding" in headers:
        return HTTPStatus.LENGTH_REQUIRED, "Say how long the body is (Content-Length)."
    if int(headers.get(b"content-length", b"0")) > _BODY_BYTES:
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"A body may have up to {_BODY_BYTES} bytes."
    return None


def _is_of_a_page(name: bytes, value: bytes) -> bool:
    """Whether this header shows that a page makes the request. `none` is a person at the address bar."""
    return name == b"origin" or (name == b"sec-fetch-site" and value != b"none")
