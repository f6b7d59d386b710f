"""The first thing that a request meets: how many of its kind there are already.

Owns the limits of requests. Must not know the routes, but that webhooks are none of the API, which of them
are streams, and what only looks. Invariant: those who send webhooks, those who listen, those who look and
those who give orders take no room from one another. How looks share the threads: `lanes`.
"""

from __future__ import annotations

import resource
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING

from deployer.web import problems
from deployer.web.hooks import PREFIX
from deployer.web.origins import SAFE

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_REQUESTS = 200
"""Looks at once. More than all lanes take, so that what needs no lane (`/healthz`) has room."""

_ORDERS = 200
"""Requests that change something, at once, so that no look takes the room of a rescue. Those whose body is
still to come are among them: up to `_CONNECTIONS`."""

_STREAMS = 1_000
"""Open pages, and programs that follow the log. One costs some 50 KB and nothing while nothing changes."""

_OTHER_DESCRIPTORS = 600
"""What the rest of the daemon may have open: the requests above, the clusters, git, the store."""

_BUSY = "The daemon has {limit} requests under way, and takes no more until some are done: try again."

_MANY_LISTEN = "{limit} pages and programs follow this daemon already: close some, and try again."


class _Kind(Enum):
    """What is counted apart."""

    STREAM = auto()
    ORDER = auto()
    LOOK = auto()


class Front:
    """Sends webhooks one way and everything else another (ASGI)."""

    def __init__(self, faces: ASGIApp, hooks: ASGIApp | None) -> None:
        """Without `hooks` their path is like any other."""
        self._faces = faces
        self._hooks = hooks
        self._under_way = dict.fromkeys(_Kind, 0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, if there is room for one more of its kind."""
        if self._hooks is not None and scope["path"].startswith(PREFIX):
            await self._hooks(scope, receive, send)
            return
        kind = _kind(scope)
        limit = {_Kind.STREAM: streams(), _Kind.ORDER: _ORDERS, _Kind.LOOK: _REQUESTS}[kind]
        if self._under_way[kind] >= limit:
            busy = (_MANY_LISTEN if kind is _Kind.STREAM else _BUSY).format(limit=limit)
            await problems.response(HTTPStatus.SERVICE_UNAVAILABLE, busy)(scope, receive, send)
            return
        self._under_way[kind] += 1
        try:
            await self._faces(scope, receive, send)
        finally:
            self._under_way[kind] -= 1


def _kind(scope: Scope) -> _Kind:
    if scope["method"] not in SAFE:
        return _Kind.ORDER
    return _Kind.STREAM if is_stream(scope["path"]) else _Kind.LOOK


def streams() -> int:
    """How many streams there may be: each is a descriptor, and the rest of the daemon needs some too."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # No limit is -1.
    return _STREAMS if soft < 0 else max(0, min(_STREAMS, soft - _OTHER_DESCRIPTORS))


def is_stream(path: str) -> bool:
    """Whether what is asked for there goes on until one of the two ends it."""
    of_a_page = path.startswith(("/env/", "/rollouts/")) and path.endswith("/live")
    return of_a_page or path in {"/live", "/api/v1/events"}
