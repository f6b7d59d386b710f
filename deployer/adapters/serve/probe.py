"""One attempt of an HTTP check, through Serve's proxy.

Owns where the proxy is, what is sent, and the sentence for no answer. Must not know what a good answer is,
nor Ray's token, which is not for applications. Invariant: an attempt ends within its time-out, never raises,
and holds at most 1 MiB of an answer.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from deployer.adapters.serve.errors import BadAnswer, NoAnswer, NotConnected
from deployer.adapters.serve.transport import Transport, Waits
from deployer.core.checks import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import Any

    from deployer.adapters.serve.transport import Answer as HttpAnswer
    from deployer.core.live import Live
    from deployer.core.types import Check

_BODY_LIMIT_BYTES = 1024 * 1024
"""A check asks a question with a short answer; what is longer is not what it wanted to see."""

_CONNECT_SECONDS = 3.05
"""One lost SYN is sent again after 1 s and 3 s; who has not answered then does not listen."""

_PORT = 8000
"""Serve's own default."""

_LISTEN_STEP = (
    "Serve listens only on 127.0.0.1 of its nodes unless told otherwise: set `http_options.host` to 0.0.0.0"
    " and restart Serve, or name the address of its proxy as `cluster.serve_address` in the settings."
)

_REACH_STEP = (
    "Check that Serve's proxy runs on the head node and that its port can be reached, or name the address of"
    " another one as `cluster.serve_address` in the settings."
)

_LOOPBACK = ("127.0.0.1", "localhost", "::1")

_OUR_ADDRESS_STEP = "Check that `cluster.serve_address` names Serve's proxy."


_NO_PROXY_STEP = (
    "Set `proxy_location` to HeadOnly or EveryNode and restart Serve, or take the checks out of"
    " environment.yaml."
)


class Prober:
    """Asks the applications of one cluster. One attempt at a time; `close` may come from any thread."""

    def __init__(self, dashboard: str, *, serve_address: str | None, ca_file: Path | None) -> None:
        """Connect to nothing yet. `dashboard` is its URL; `serve_address` is the proxy's, if it is told."""
        self._dashboard = urlsplit(dashboard)
        self._serve_address = serve_address.rstrip("/") if serve_address else None
        self._ca_file = ca_file
        self._lock = threading.Lock()
        self._base = ""
        self._transport: Transport | None = None
        self._is_closed = False

    def ask(self, check: Check, live: Live) -> Answer:
        """Make one attempt. The caller must scrub `Answer.error`: it can quote what a server says."""
        asked = f"{check.method} {check.path}"
        if self._serve_address is None and live.options.get("proxy_location") == "Disabled":
            error = f"{asked} was not sent: Serve runs no proxy (proxy_location: Disabled). {_NO_PROXY_STEP}"
            return Answer(seconds=0.0, error=error)
        http_options = _mapping(live.options.get("http_options"))
        base = self._serve_address or self._guessed(http_options)
        with self._lock:
            transport = self._transport_to(base)
            started = time.monotonic()
            try:
                with transport.turn(check.timeout):
                    answer = self._send(transport, check)
            except (NoAnswer, BadAnswer) as error:
                step = self._step(http_options) if isinstance(error, NotConnected) else ""
                message = f"{asked} got no answer from {base}: {error.cause}. {step}".rstrip()
                return Answer(seconds=time.monotonic() - started, error=message)
            except ValueError as error:
                # What makes no URL or no header: requests, urllib3 and http.client have each their own kind.
                return Answer(seconds=0.0, error=f"{asked} cannot be sent to {base}: {error}.")
            return Answer(seconds=time.monotonic() - started, status=answer.status, body=answer.text)

    def close(self) -> None:
        """Cut off an attempt that is in flight. Nothing works after it."""
        self._is_closed = True
        if self._transport is not None:
            self._transport.close()

    def _send(self, transport: Transport, check: Check) -> HttpAnswer:
        body = None if check.body is None else check.body.encode()
        headers = {"Accept": "*/*"} | ({} if body is None else {"Content-Type": "application/json"})
        # A little less than the whole: who does not even connect shall be told from who does not answer.
        waits = Waits(connect=min(_CONNECT_SECONDS, 0.9 * check.timeout), read=check.timeout)
        # Without `http_options.root_path`, which is for a proxy in front that takes it off: whoever asks
        # Serve itself with it gets a 404 (2.60).
        return transport.once(check.method, check.path, headers, body, waits)

    def _transport_to(self, base: str) -> Transport:
        """The one for this address. Another is needed only after Serve was started with another port."""
        if self._transport is None or base != self._base:
            if self._transport is not None:
                self._transport.close()
            self._transport = Transport(base, ca_file=self._ca_file, limit_bytes=_BODY_LIMIT_BYTES)
            self._base = base
            if self._is_closed:
                self._transport.close()
        return self._transport

    def _guessed(self, http_options: Mapping[str, Any]) -> str:
        """Where the proxy of the head is, as far as the dashboard's address and Serve's own options tell."""
        # The key and the certificate together turn TLS on (2.60).
        is_tls = http_options.get("ssl_keyfile") and http_options.get("ssl_certfile")
        host = self._dashboard.hostname or ""
        port = http_options.get("port")
        return (
            f"{'https' if is_tls else 'http'}://{f'[{host}]' if ':' in host else host}"
            f":{port if isinstance(port, int) else _PORT}"
        )

    def _step(self, http_options: Mapping[str, Any]) -> str:
        if self._serve_address is not None:
            return _OUR_ADDRESS_STEP
        return _LISTEN_STEP if http_options.get("host", "127.0.0.1") in _LOOPBACK else _REACH_STEP


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
