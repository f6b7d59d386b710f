"""The connection below a transport: one at a time, that another thread can cut.

Owns what requests and urllib3 must do differently for us. Must not know what is asked or answered.
Invariant: nothing but the given address is ever connected to, nothing from the surroundings (netrc, proxy
variables, cookies) goes along, and a cut ends whatever is in flight.
"""

from __future__ import annotations

import http.cookiejar
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from deployer import __version__

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

_HEADERS = {
    # Ray answers 405 to a PUT that looks like a browser's, and hides `env_vars` from one: so no Origin,
    # no Referer, and no agent that starts with Mozilla (2.60).
    "User-Agent": f"ray-serve-deployer/{__version__}",
    "Accept": "application/json",
    "Accept-Encoding": "identity",
}


class Wire:
    """The one TCP connection of a transport, and the right to cut it from another thread.

    urllib3's timeouts are per read, so a server that sends a byte a second could hold a request for
    hours. Shutting the socket down is what ends a read in another thread.
    """

    def __init__(self) -> None:
        """Nothing is connected yet."""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._turn: object = None
        self.is_new = False
        self.is_cut = False
        self.is_closed = False

    def begin(self) -> object:
        """A new turn starts. Returns what proves that a later `cut` means this one."""
        with self._lock:
            self._turn = object()
            self.is_cut = self.is_closed
            return self._turn

    def opened(self, connected: socket.socket) -> None:
        """This socket carries what follows."""
        with self._lock:
            self._socket = connected
            self.is_new = True
            if self.is_cut:
                self._shut()

    def cut(self, turn: object) -> None:
        """End `turn`, if it still goes on: a timer may fire just when it has ended."""
        with self._lock:
            if turn is self._turn:
                self.is_cut = True
                self._shut()

    def close(self) -> None:
        """End whatever runs, now and later."""
        with self._lock:
            self.is_cut = self.is_closed = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                # Not SSLSocket's own method: it drops the TLS state under the thread that is reading.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Session(requests.Session):
    """A session that never looks where a redirect points to.

    Told not to follow one, requests still reads its whole body, past any limit (2.34).
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere."""


class _Plain(HTTPConnection):
    """A connection that reports its socket."""

    wire: Wire

    def connect(self) -> None:
        """Connect, and report."""
        super().connect()
        self.wire.opened(self.sock)


class _Tls(HTTPSConnection):
    """The same with TLS. The handshake before it has the connection's time-out, as a whole."""

    wire: Wire

    def connect(self) -> None:
        """Connect, shake hands, and report."""
        super().connect()
        self.wire.opened(self.sock)


class _Adapter(HTTPAdapter):
    """Makes connections that report to the wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on as they are
        """As the base class, with pools of our connections."""
        super().init_poolmanager(*args, **kwargs)
        bound = {"wire": self._wire}
        plain = {"ConnectionCls": type("Plain", (_Plain,), bound)}
        tls = {"ConnectionCls": type("Tls", (_Tls,), bound)}
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("PlainPool", (HTTPConnectionPool,), plain),
            "https": type("TlsPool", (HTTPSConnectionPool,), tls),
        }


def session(wire: Wire, ca_file: Path | None) -> requests.Session:
    """A session whose connections report to `wire`, and that takes nothing from its surroundings."""
    made = _Session()
    # Else ~/.netrc replaces the token, and HTTP_PROXY receives it (measured, requests 2.34).
    made.trust_env = False
    made.headers.clear()
    made.headers.update(_HEADERS)
    made.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    made.verify = str(ca_file) if ca_file else True
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Adapter(wire))
    return made
