"""One request to a server that nobody here runs, which ends in time whatever that server does.

Owns the connection, and what may be read from it. Must not know what is asked. Invariant: nothing but the
given address is asked, no redirect is followed, no more than `limit_bytes` are read, and the whole takes at
most `total_seconds` (but for a name look-up, which nobody can cut short).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import should_bypass_proxies
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NameResolutionError

from deployer import __version__

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

TOTAL_SECONDS = 10.0
"""For all of it. GitHub answers in 0.3 s."""

_STEP_SECONDS = 5.0
"""For the connection, and between two bytes."""

_CHUNK_BYTES = 16 * 1024

_HEADERS = {
    "User-Agent": f"ray-serve-deployer/{__version__}",
    "Accept-Encoding": "identity",
    "Connection": "close",
}


class Cutter(Protocol):
    """What another thread ends requests with."""

    def ending(self, end: Callable[[], None], /) -> AbstractContextManager[None]:
        """Have `end` called by an interrupt that comes while the block runs. Raises if it came before."""

    def check(self) -> None:
        """Raise if the interrupt came."""


class NoAnswer(Exception):  # noqa: N818 - says what happened
    """There was no complete answer. The text goes on after the server's name: `does not answer in time`.

    It names the settings `api_url` and `ca_file`, which everything that is asked with this has.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete answer, of any status. The names of `headers` are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def date(self) -> str:
        """The server's clock as it wrote it, perhaps empty."""
        return self.headers.get("date", "")


def request(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: Mapping[str, object] | bytes | None,
    ca_file: Path | None,
    cutter: Cutter,
    total_seconds: float = TOTAL_SECONDS,
    limit_bytes: int,
) -> Answer:
    """Ask once, with `body` as JSON, or as these bytes. An interrupt of `cutter` ends it.

    Raises NoAnswer, and what `cutter` raises.
    """
    line = _Line()
    timer = threading.Timer(total_seconds, line.cut)
    timer.daemon = True
    try:
        with cutter.ending(line.cut), _session(line, ca_file) as session:
            timer.start()
            answer = _exchange(session, method, url, headers, body, limit_bytes)
    except (OSError, HTTPError, UnicodeError) as error:  # every error of requests is an OSError
        cutter.check()
        if line.is_cut:
            raise _late(total_seconds) from error
        raise NoAnswer(_cause(error)) from error
    finally:
        timer.cancel()
        line.close()
    if line.is_cut:
        # A body without a length ends where the connection ends, also when it was us who ended it.
        cutter.check()
        raise _late(total_seconds)
    return answer


def _exchange(
    session: requests.Session,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: Mapping[str, object] | bytes | None,
    limit_bytes: int,
) -> Answer:
    with session.request(
        method,
        url,
        data=body if isinstance(body, bytes) else None,
        json=dict(body) if isinstance(body, Mapping) else None,
        headers=dict(headers),
        timeout=(_STEP_SECONDS, _STEP_SECONDS),
        allow_redirects=False,
        stream=True,
        proxies=_proxies(url),
    ) as response:
        return Answer(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=b"".join(_limited(response, limit_bytes)),
        )


def _limited(response: requests.Response, limit_bytes: int) -> Iterator[bytes]:
    size = 0
    for chunk in response.iter_content(_CHUNK_BYTES):
        size += len(chunk)
        if size > limit_bytes:
            message = f"answers with more than {limit_bytes // 1024} KiB: check api_url"
            raise NoAnswer(message)
        yield chunk


def _late(seconds: float) -> NoAnswer:
    return NoAnswer(f"gave no complete answer within {seconds:g} s: check the network")


def _cause(error: Exception) -> str:
    """What a person needs to know of it; requests' own text is full of object addresses."""
    causes = [str(cause) for cause in _causes(error)]
    match error:
        case requests.exceptions.SSLError():
            return "has a TLS certificate that is not trusted: check api_url and ca_file"
        case requests.exceptions.ProxyError():
            return "cannot be reached through the proxy: check https_proxy in deployer's environment"
        case requests.exceptions.Timeout():
            return f"does not answer within {_STEP_SECONDS:g} s: check the network"
        case _ if any(isinstance(cause, NameResolutionError) for cause in _causes(error)):
            return "has a host name that is not known: check api_url and the name server"
        case _ if any("refused" in cause for cause in causes):
            return "cannot be reached: nothing answers there; check api_url"
        case _:
            return "broke off, or does not speak HTTP: the next look tries again"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made from; urllib3 keeps that in `args` and `reason`."""
    todo: list[object] = [error]
    seen: set[int] = set()
    while todo:
        item = todo.pop(0)
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            todo += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]


def _proxies(url: str) -> dict[str, str]:
    """The proxy that git would be led through for this URL (`_environment.PROXY` there), and no other."""
    proxy = os.environ.get("https_proxy") or os.environ.get("HTTPS_PROXY")
    if proxy is None or urlsplit(url).scheme != "https" or should_bypass_proxies(url, no_proxy=None):
        return {}
    return {"https": proxy}


# --- the connection, which another thread can cut --------------------------------------------------------


class _Line:
    """The socket of a request, which another thread can shut down.

    urllib3's time-outs are per read, so a server that sends a byte a second would hold a request for hours.
    """

    def __init__(self) -> None:
        """Nothing is connected yet."""
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.is_cut = False

    def opened(self, connected: socket.socket) -> None:
        """This socket carries the request. A second descriptor is kept: TLS takes the first one over."""
        with self._lock:
            self._drop()
            self._socket = connected.dup()
            if self.is_cut:
                self._shut()

    def cut(self) -> None:
        """End it, now or when it is connected."""
        with self._lock:
            self.is_cut = True
            self._shut()

    def close(self) -> None:
        """Let the descriptor go."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class _Session(requests.Session):
    """A session that never looks where a redirect points to.

    Told not to follow one, requests still reads its whole body, past any limit (2.34).
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere."""


class _Plain(HTTPConnection):
    """A connection that reports its socket as soon as there is one."""

    line: _Line

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        self.line.opened(connected)
        return connected


class _Tls(HTTPSConnection):
    """The same with TLS."""

    line: _Line

    def _new_conn(self) -> socket.socket:
        connected = super()._new_conn()
        self.line.opened(connected)
        return connected


class _Adapter(HTTPAdapter):
    """Makes connections that report to the line, directly or through a proxy."""

    def __init__(self, line: _Line) -> None:
        bound = {"line": line}
        plain = {"ConnectionCls": type("Plain", (_Plain,), bound)}
        tls = {"ConnectionCls": type("Tls", (_Tls,), bound)}
        self._pools = {
            "http": type("PlainPool", (HTTPConnectionPool,), plain),
            "https": type("TlsPool", (HTTPSConnectionPool,), tls),
        }
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on as they are
        """As the base class, with pools of our connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - handed on as they are
        """As the base class, with pools of our connections."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager


def _session(line: _Line, ca_file: Path | None) -> requests.Session:
    session = _Session()
    # Else ~/.netrc replaces the token, and HTTP_PROXY receives it (measured, requests 2.34).
    session.trust_env = False
    session.headers.clear()
    session.headers.update(_HEADERS)
    session.verify = str(ca_file) if ca_file else True
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(line))
    return session
