"""One HTTP conversation with one server that may be slow, broken or hostile.

Owns what a request may take (time, size) and what counts as an answer. Must not know Serve. Invariant:
every turn ends within its time whatever the server does (a name look-up and an attempt to connect, which
nobody can cut short, have limits of their own), and holds no more of an answer than its limit.
"""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import requests
from urllib3.exceptions import NameResolutionError, NewConnectionError

from deployer.adapters.serve.errors import BadAnswer, NoAnswer, NotConnected
from deployer.adapters.serve.wire import Wire, session

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_MIB = 1024 * 1024

BODY_LIMIT_BYTES = 16 * _MIB
"""After decompression. 50 applications answer with 101 kB (measured, 2.60); 306 kB of gzip can be 315 MB."""

_CHUNK_BYTES = 64 * 1024

_CHECK_ADDRESS = "Check that the head runs, and that `cluster.address` names its dashboard."

_CHECK_LOAD = "Check the load of its head node and the network between."

_CHECK_TLS = "Check `cluster.address`, and give the certificate of its authority as `cluster.ca_file`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long a request may wait, in seconds: for the connection, and between two bytes of the answer."""

    connect: float
    read: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A complete answer, of any status. `location` is where a redirect points to."""

    status: int
    location: str
    body: bytes

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 is replaced."""
        return self.body.decode("utf-8", errors="replace")


class _Closed(NoAnswer):
    """The server closed the connection without a word."""


class Transport:
    """A session with one server. One request at a time; `close` may come from another thread."""

    def __init__(self, base: str, *, ca_file: Path | None, limit_bytes: int = BODY_LIMIT_BYTES) -> None:
        """Connect to nothing yet. `base` is an http(s) URL without a trailing slash."""
        self._base = base
        self._limit_bytes = limit_bytes
        self._wire = Wire()
        self._session = session(self._wire, ca_file)
        self._turn_seconds = 0.0

    @contextmanager
    def turn(self, seconds: float) -> Iterator[None]:
        """The requests made inside take at most `seconds` together, whatever the server does."""
        self._turn_seconds = seconds
        timer = threading.Timer(seconds, self._wire.cut, [self._wire.begin()])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def get(self, path: str, headers: Mapping[str, str], waits: Waits) -> Answer:
        """GET. Asks a second time, at once, if the server had just closed the idle connection.

        Raises NoAnswer and BadAnswer.
        """
        try:
            return self._request("GET", path, headers, None, waits)
        except _Closed:
            if self._wire.is_new:
                raise
        return self._request("GET", path, headers, None, waits)

    def once(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, waits: Waits
    ) -> Answer:
        """One request over a connection opened for it: a stale one would leave open what became of it.

        Raises NoAnswer and BadAnswer.
        """
        for adapter in self._session.adapters.values():
            adapter.close()
        return self._request(method, path, headers, body, waits)

    def close(self) -> None:
        """Cut off what is in flight, and refuse whatever comes later."""
        self._wire.close()
        self._session.close()

    def _request(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, waits: Waits
    ) -> Answer:
        if self._wire.is_cut:
            raise self._cut_off()
        self._wire.is_new = False
        try:
            answer = self._exchange(method, path, headers, body, waits)
        except (OSError, BadAnswer) as error:  # every error of requests is an OSError
            if self._wire.is_cut:
                raise self._cut_off() from error
            if isinstance(error, BadAnswer):
                raise
            raise _translated(error, waits) from error
        if self._wire.is_cut:
            # A body without a length ends where the connection ends, also when it was us who ended it.
            raise self._cut_off()
        return answer

    def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, waits: Waits
    ) -> Answer:
        with self._session.request(
            method,
            f"{self._base}{path}",
            headers=dict(headers),
            data=body,
            timeout=(waits.connect, waits.read),
            allow_redirects=False,
            stream=True,
        ) as response:
            return Answer(
                status=response.status_code,
                location=response.headers.get("Location", ""),
                body=b"".join(_limited(response, self._limit_bytes)),
            )

    def _cut_off(self) -> NoAnswer:
        if self._wire.is_closed:
            return NoAnswer(cause="the deployer is stopping", step="The next start looks again.")
        return NoAnswer(cause=f"no complete answer within {self._turn_seconds:g} s", step=_CHECK_LOAD)


def _limited(response: requests.Response, limit_bytes: int) -> Iterator[bytes]:
    size = 0
    for chunk in response.iter_content(_CHUNK_BYTES):
        size += len(chunk)
        if size > limit_bytes:
            raise BadAnswer(cause=f"its answer is longer than {limit_bytes // _MIB} MiB")
        yield chunk


def _translated(error: OSError, waits: Waits) -> NoAnswer | BadAnswer:
    """What a person needs to know of it; requests' own text is full of object addresses."""
    match error:
        case requests.exceptions.SSLError():
            return NoAnswer(cause=f"TLS failed ({_innermost(error)})", step=_CHECK_TLS)
        case requests.exceptions.ConnectTimeout():
            return NotConnected(cause=f"no connection within {waits.connect:g} s", step=_CHECK_ADDRESS)
        case requests.exceptions.ReadTimeout() if "handshake" in _innermost(error):
            return NoAnswer(cause=f"no TLS handshake within {waits.connect:g} s", step=_CHECK_TLS)
        case requests.exceptions.ReadTimeout():
            return _silent(waits)
        case requests.exceptions.ChunkedEncodingError():
            return BadAnswer(cause="its answer broke off")
        case requests.exceptions.ContentDecodingError():
            return BadAnswer(cause="its answer cannot be decompressed")
        case _:
            return _broken(error, waits)


def _broken(error: OSError, waits: Waits) -> NoAnswer | BadAnswer:
    for cause in _causes(error):
        match cause:
            case NameResolutionError():
                return NotConnected(
                    cause="its name does not resolve", step="Check `cluster.address` and the DNS."
                )
            case NewConnectionError():
                return NotConnected(cause=_innermost(error), step=_CHECK_ADDRESS)
            case TimeoutError():
                return _silent(waits)
            case ConnectionError():  # http.client.RemoteDisconnected is one too
                return _Closed(cause="it closed the connection without an answer", step=_CHECK_ADDRESS)
            case http.client.HTTPException():
                return BadAnswer(cause="it does not speak HTTP")
            case _:
                continue
    return NoAnswer(cause=_innermost(error), step=_CHECK_ADDRESS)


def _silent(waits: Waits) -> NoAnswer:
    return NoAnswer(cause=f"no answer within {waits.read:g} s", step=_CHECK_LOAD)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it was made from; urllib3 keeps that in `args` and `reason`, not only in causes."""
    todo: list[object] = [error]
    seen: set[int] = set()
    while todo:
        item = todo.pop(0)
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            todo += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]


def _innermost(error: BaseException) -> str:
    """The operating system's or OpenSSL's own words, if it was one of them: `Connection refused`."""
    for cause in _causes(error):
        if isinstance(cause, OSError) and not isinstance(cause, requests.RequestException):
            return cause.strerror or str(cause)
    return str(error)
