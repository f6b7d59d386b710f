"""Connections: for one request each, which must come soon, and be read.

Owns how long a connection may be silent, how many are, and uvicorn's settings. Must not know what is asked,
but that webhooks are none of the API. Invariant: who connects and says nothing (with TLS: not even hello),
sends a webhook slowly, or does not read what was sent, ends, and makes room for others of his own kind alone.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from deployer.web.hooks import PREFIX
from deployer.web.tls import Handshakes, Hello

if TYPE_CHECKING:
    import socket

    from starlette.types import ASGIApp

    from deployer.web.tls import Certificate

_CONNECTIONS = 100
"""Of those from which a request is still to come. More than every person and every CI job that waits for this
daemon, for each request has one of its own, and is answered in milliseconds; a thousand idle ones would use
up its file descriptors."""

_BODIES = 64
"""Of webhooks that have not come whole. Each is up to 1 MiB of memory, of a sender who has shown nothing."""

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

_SEND_SECONDS = 30.0
"""For who was sent something to read more of it. asyncio would wait for as long as the other side does."""

_GRACE_SECONDS = 1
"""For answers under way at a stop. A command is one transaction; what waits for a cluster is cut off."""


class Server(uvicorn.Server):
    """uvicorn, with TLS of our own, and a longer queue than what is taken from it at a time."""

    def __init__(self, config: uvicorn.Config, certificate: Certificate | None) -> None:
        """Without a certificate it speaks http."""
        super().__init__(config)
        self._certificate = certificate
        self._handshakes = Handshakes()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Instead of uvicorn's own (0.54), which gives asyncio one context of TLS for good."""
        loop = asyncio.get_running_loop()
        self.servers = []
        for one in sockets or ():
            server = await loop.create_server(
                partial(self._connection, loop), sock=one, backlog=_ACCEPTED_AT_ONCE
            )
            self.servers.append(server)
            one.listen(_QUEUE)
        self.started = True

    def _connection(self, loop: asyncio.AbstractEventLoop) -> asyncio.Protocol | Hello:
        prompt = _Prompt(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=loop
        )
        if self._certificate is None:
            return prompt
        return Hello(
            loop,
            prompt,
            self._certificate.context,
            is_done=lambda: prompt.transport is not None,
            handshakes=self._handshakes,
        )


class _Prompt(H11Protocol):
    """A connection for one request, which must come soon.

    uvicorn itself waits for ever where nothing comes, and counts such connections against its limit: whoever
    can open a hundred, without the token, would shut the API for the rescue too. When there are too many, the
    one that has been silent for longest makes room. It also waits for ever for who does not read.
    """

    _unread: asyncio.TimerHandle | None = None
    """Ends the connection, unless more is read before."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._patience = self.loop.call_later(_REQUEST_SECONDS, self._end_if_silent)
        self._came_at = self.loop.time()
        self._make_room(_CONNECTIONS, are_bodies=False)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.is_silent and self.is_body:
            self._make_room(_BODIES, are_bodies=True)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_a_reader()

    def resume_writing(self) -> None:
        self._expect_nothing()
        super().resume_writing()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # What is left stands in buffers, and closing waits for it.
        self._expect_a_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        self._patience.cancel()
        self._expect_nothing()
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

    def _expect_a_reader(self) -> None:
        self._expect_nothing()
        self._unread = self.loop.call_later(_SEND_SECONDS, self.transport.abort)

    def _expect_nothing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _end_if_silent(self) -> None:
        if self.is_silent:
            self.transport.close()


def server_for(app: ASGIApp, certificate: Certificate | None) -> Server:
    """A server for this application."""
    return Server(
        uvicorn.Config(
            app,
            # Named, so that what else is installed does not change how this server behaves.
            loop="asyncio",
            http=_Prompt,
            ws="none",
            lifespan="off",
            # The process has its own log, and a line per request says nothing that events do not.
            log_config=None,
            access_log=False,
            # Below, uvicorn has a line for each request that is no HTTP: anybody would fill the log.
            log_level="error",
            server_header=False,
            proxy_headers=False,
            headers=[("Connection", "close")],
            timeout_graceful_shutdown=_GRACE_SECONDS,
        ),
        certificate,
    )
