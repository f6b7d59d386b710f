"""How the server speaks TLS: which certificate it shows, and for how long it waits for a handshake.

Owns the context of TLS, and connections until their handshake is done. Must not know HTTP. Invariant: a
certificate that was renewed is shown to who connects next, one that cannot be used takes nothing away, and
who connects and says nothing holds a descriptor for seconds, with a limit on how many there are of those.
"""

from __future__ import annotations

import ssl
import time
from asyncio.sslproto import SSLProtocol
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

HANDSHAKE_SECONDS = 5
"""As for a whole request. asyncio waits for 60."""

HANDSHAKES = 100
"""At once. When there are more, the oldest makes room."""

_GOODBYE_SECONDS = 5
"""For the other side to say that it has ended too. asyncio waits for 30."""

_LOOK_SECONDS = 1.0
"""Between two looks at the files."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The files (PEM) that the server shows itself with."""

    cert_file: Path
    key_file: Path


class Certificate:
    """What the server shows itself with, as the files have it now. For one thread."""

    def __init__(self, files: Tls, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Read the files. Raises OSError (`ssl.SSLError` is one) if they are of no use."""
        self._files = files
        self._monotonic = monotonic
        self._seen = self._stamp()
        self._context = self._read()
        self._look_at = monotonic() + _LOOK_SECONDS

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection.

        Files that changed are read again. If they are of no use, as while only one of the two has been
        replaced, what was read last stays, until they change once more.
        """
        if self._monotonic() >= self._look_at:
            self._look_at = self._monotonic() + _LOOK_SECONDS
            self._look()
        return self._context

    def _look(self) -> None:
        cert_file = str(self._files.cert_file)
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return
            self._seen = stamp
            self._context = self._read()
        except OSError as error:
            log.warning("certificate_unusable", file=cert_file, why=str(error), then="the last one is shown")
        else:
            log.info("certificate_renewed", file=cert_file)

    def _stamp(self) -> tuple[tuple[int, int, int], ...]:
        found = (path.stat() for path in (self._files.cert_file, self._files.key_file))
        return tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in found)

    def _read(self) -> ssl.SSLContext:
        # A new one: of a pair that does not belong together OpenSSL would keep the half.
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        # Without a password OpenSSL asks for one at the terminal.
        context.load_cert_chain(self._files.cert_file, self._files.key_file, password="")
        return context


class Handshakes:
    """The connections of one server whose handshake is not done."""

    def __init__(self) -> None:
        """None yet."""
        self._under_way: dict[Hello, asyncio.BaseTransport] = {}

    def begin(self, one: Hello, transport: asyncio.BaseTransport) -> None:
        """Count one more, and let the oldest go if they are too many."""
        self._under_way = {other: at for other, at in self._under_way.items() if not other.is_done()}
        self._under_way[one] = transport
        if len(self._under_way) > HANDSHAKES:
            oldest = next(iter(self._under_way))
            _abort(self._under_way.pop(oldest))

    def end(self, one: Hello) -> None:
        """It has gone."""
        self._under_way.pop(one, None)


class Hello(SSLProtocol):
    """A connection that speaks TLS.

    What asyncio makes for `create_server(ssl=...)`, where nobody could count it: it tells of a connection
    when the handshake is done.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        inner: asyncio.Protocol,
        context: ssl.SSLContext,
        *,
        is_done: Callable[[], bool],
        handshakes: Handshakes,
    ) -> None:
        """Speak to `inner` what is said in TLS; `is_done` tells whether the handshake was."""
        super().__init__(
            loop,
            inner,
            context,
            None,  # type: ignore[arg-type]  # nobody waits for it: asyncio asks whether there is one (3.11)
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=_GOODBYE_SECONDS,
        )
        self.is_done = is_done
        self._handshakes = handshakes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody has connected."""
        self._handshakes.begin(self, transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """And has gone."""
        self._handshakes.end(self)
        super().connection_lost(exc)


def _abort(transport: asyncio.BaseTransport) -> None:
    abort: Callable[[], None] = transport.abort  # type: ignore[attr-defined]  # of a socket, so it has one
    abort()
