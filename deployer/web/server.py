"""Runs the API: a loopback socket, a token, uvicorn in a thread of its own, and the file that says where.

Owns the life of the server, who of those that connect may stay, and `api.json`. Must not know the routes, but
that webhooks are none of the API. Invariant: `api.json` is readable by the daemon's user alone, is there only
while the API answers (but for a daemon that was killed), and the token in it is made anew at each start and
written nowhere else; and who sends a whole request at once is answered, whatever others do: those who only
connect, those who send a webhook slowly, and those who use the API have each a limit of their own.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from deployer import logs
from deployer.adapters.statedir import StateDirUnusable
from deployer.web import app, problems
from deployer.web.guard import Guard
from deployer.web.hooks import PREFIX

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

    from deployer.web.hooks import Hooks
    from deployer.web.service import Service

FILE = "api.json"
"""In the state directory: `{"url": ..., "token": ...}`."""

_TOKEN_BYTES = 32
"""256 bits."""

_CONNECTIONS = 100
"""Of those from which a request is still to come. More than every person and every CI job that waits for this
daemon, for each request has one of its own, and is answered in milliseconds; a thousand idle ones would use
up its file descriptors."""

_BODIES = 64
"""Of webhooks that have not come whole. Each is up to 1 MiB of memory, of a sender who has shown nothing."""

_REQUESTS = 200
"""To the API, at once. Those whose body is still to come are among them: up to `_CONNECTIONS`."""

_ACCEPTED_AT_ONCE = 32
"""Connections taken at a time. While one such lot is read, the next comes in, and the third waits: together
no more than `_CONNECTIONS`, so that nobody is turned out whose request is there already. (asyncio takes as
many as its `backlog` at a time, 2048 as uvicorn sets it: a storm of webhooks would turn out itself, and
others.)"""

_QUEUE = 1024
"""Connections that wait in the kernel meanwhile, which costs next to nothing. Where there is no room, Linux
drops the SYN, and the sender tries again a second later."""

_REQUEST_SECONDS = 5.0
"""For a whole request to come: a few hundred bytes, from a process on this machine."""

_GRACE_SECONDS = 1
"""For answers under way at a stop. A command is one transaction; what waits for a cluster is cut off."""

_BUSY = f"The daemon has {_REQUESTS} requests under way, and takes no more until some are done: try again."

_JOIN_SECONDS = 2.0
"""The grace, and uvicorn's own two looks at the clock. A request that hangs is left behind, as a pass is."""

log = structlog.get_logger(__name__)


class _Server(uvicorn.Server):
    """uvicorn, with a longer queue than what is taken from it at a time."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for one in sockets or ():
            one.listen(_QUEUE)


class _Prompt(H11Protocol):
    """A connection for one request, which must come soon.

    uvicorn itself waits for ever where nothing comes, and counts such connections against its limit: whoever
    can open a hundred, without the token, would shut the API for the rescue too. When there are too many, the
    one that has been silent for longest makes room.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._patience = self.loop.call_later(_REQUEST_SECONDS, self._end_if_silent)
        self._came_at = self.loop.time()
        self._make_room(_CONNECTIONS, are_bodies=False)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.is_silent and self.is_body:
            self._make_room(_BODIES, are_bodies=True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()
        super().connection_lost(exc)

    @property
    def is_silent(self) -> bool:
        """Whether a part of the request is still to come."""
        # Before the head of the request there is no cycle, whatever uvicorn's annotation says.
        return bool(getattr(self.cycle, "more_body", True))

    @property
    def is_body(self) -> bool:
        """Whether that part is of the body of a webhook."""
        return str(getattr(self.cycle, "scope", {}).get("path", "")).startswith(PREFIX)

    def _make_room(self, limit: int, *, are_bodies: bool) -> None:
        """Close the oldest of those silent ones, if with this one there are more than `limit`."""
        if len(self.connections) <= limit:
            return
        silent = [
            one
            for one in self.connections
            if isinstance(one, _Prompt)
            and one.is_silent
            and one.is_body is are_bodies
            and not one.transport.is_closing()
        ]
        if len(silent) > limit:
            min(silent, key=lambda one: one._came_at).transport.close()  # noqa: SLF001 - one of us

    def _end_if_silent(self) -> None:
        if self.is_silent:
            self.transport.close()


class _Front:
    """Sends webhooks one way and everything else another (ASGI)."""

    def __init__(self, api: ASGIApp, hooks: Hooks | None) -> None:
        self._api = api
        self._hooks = hooks
        self._under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._hooks is not None and scope["path"].startswith(PREFIX):
            await self._hooks(scope, receive, send)
            return
        if self._under_way >= _REQUESTS:
            await problems.response(HTTPStatus.SERVICE_UNAVAILABLE, _BUSY)(scope, receive, send)
            return
        self._under_way += 1
        try:
            await self._api(scope, receive, send)
        finally:
            self._under_way -= 1


@contextmanager
def serving(
    service: Service, state_dir: Path, *, host: str, port: int, hooks: Hooks | None = None
) -> Iterator[str]:
    """Serve inside the `with` block; gives the URL. `state_dir` is locked by this process.

    `hooks` answers what comes to `/hooks/`; without it that is a part of the API like any other.

    A port that cannot be had is no reason not to deploy: another one is used, and commands find it in
    `api.json`. Raises StateDirUnusable if that file cannot be written.
    """
    token = secrets.token_hex(_TOKEN_BYTES)
    logs.hide(token)
    server = _Server(
        uvicorn.Config(
            _Front(Guard(app.make(service), token), hooks),
            # Named, so that what else is installed does not change how this server behaves.
            loop="asyncio",
            http=_Prompt,
            ws="none",
            lifespan="off",
            # The process has its own log, and a line per request says nothing that events do not.
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            headers=[("Connection", "close")],
            backlog=_ACCEPTED_AT_ONCE,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    with _listen(host, port) as listener:
        # At once: whoever reads what a killed daemon left behind would come to this port with its token.
        # Connections wait in the socket until uvicorn takes them, so the file is true.
        url = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        try:
            _write(state_dir / FILE, {"url": url, "token": token})
        except OSError as error:
            why = f"cannot write {state_dir / FILE}: {error.strerror or error}"
            message = f"{why}. Without it commands do not find the daemon."
            raise StateDirUnusable(message) from error
        thread = threading.Thread(target=_run, args=(server, listener), name="api", daemon=True)
        try:
            thread.start()
            yield url
        finally:
            with suppress(OSError):
                (state_dir / FILE).unlink()
            server.should_exit = True
            thread.join(_JOIN_SECONDS)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        listener = socket.create_server((host, 0), family=family)
        used = listener.getsockname()[1]
        log.warning("api_port_unusable", wanted=port, why=error.strerror or str(error), used=used)
        return listener


def _run(server: uvicorn.Server, listener: socket.socket) -> None:
    try:
        server.run(sockets=[listener])
    except Exception:
        # The environments go on without it; commands are told that nothing answers.
        log.exception("api_failed")


def _write(path: Path, values: dict[str, str]) -> None:
    """Write all of it or nothing, for no other eyes."""
    temporary = path.with_name(f"{path.name}.new")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
        json.dump(values, file)
    temporary.replace(path)
