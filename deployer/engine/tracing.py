"""Sends a trace of every rollout that ends, where the standard variables of OpenTelemetry name a collector.

Owns when a trace is made, and that nobody waits for it. Must not know what a trace looks like (`spans`).
Invariant: a pass only puts a name into a queue, which has a limit; a collector that is slow, down or hostile
costs traces and nothing else; and a stop waits a second for it, no longer.

Traces are made of what the store has when a rollout ends, so one that was in flight over a restart has all of
its phases. What ended in the moment before a kill is not sent later.
"""

from __future__ import annotations

import os
import queue
import threading
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

import structlog

from deployer import __version__, logs
from deployer.adapters.store import StoreError
from deployer.core.events import Cancelled, Failed, Good, Superseded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.core.status import Status

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

_EXPORTER = "opentelemetry.exporter.otlp.proto.http"

_QUEUE = 1_000
"""Rollouts that ended and are not read yet. One takes milliseconds, and 500 environments can end at once."""

_STOP_SECONDS = 1.0
"""Of the five in which a daemon stops."""

_MISSING = (
    "{variable} is set, so traces are wanted, but the packages that send them are not installed:"
    " pip install 'ray-serve-deployer[otel]', or unset it. Everything else works without."
)

log = structlog.get_logger(__name__)


class Sends(Protocol):
    """What makes and sends traces: `deployer.engine.spans.Sender`."""

    def send(self, events: Sequence[Event]) -> None:
        """Send the trace of one rollout. Does not wait."""

    def close(self) -> None:
        """Send what is left. May take long."""


class Tracing:
    """A listener of the reconciler, and the thread that reads rollouts for it."""

    def __init__(self, events: Callable[[str], Sequence[Event]], sender: Sends) -> None:
        """Start the thread. `events` reads all events of a rollout, oldest first."""
        self._events = events
        self._sender = sender
        self._ended: queue.Queue[str | None] = queue.Queue(_QUEUE)
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def recorded(self, record: Record, event: Event) -> None:  # noqa: ARG002 - a listener's signature
        """A rollout may have ended. Never blocks."""
        if isinstance(event, Good | Failed | Superseded | Cancelled):
            try:
                self._ended.put_nowait(event.rollout)
            except queue.Full:
                self._lost += 1
                if self._lost == 1:
                    log.warning("traces_dropped", why=f"{_QUEUE} rollouts wait for their trace to be sent")

    def observed(self, status: Status) -> None:
        """Nothing ended."""

    def close(self) -> None:
        """Send what can be sent in a moment. What hangs is left behind with its thread."""
        with suppress(queue.Full):
            self._ended.put_nowait(None)
            self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while (rollout := self._ended.get()) is not None:
            try:
                self._sender.send(self._events(rollout))
            except StoreError as error:
                log.warning("trace_not_read", rollout=rollout, error=str(error))
            except Exception:
                # A bug must cost one trace, never those after it.
                log.exception("trace_failed", rollout=rollout)
        self._sender.close()


def start(
    events: Callable[[str], Sequence[Event]],
    *,
    environ: Mapping[str, str] = os.environ,
    public_url: str | None = None,
) -> Tracing | None:
    """Begin to send traces, if a collector is named; None if not. Imports nothing then.

    Only what the standard variables say: https://opentelemetry.io/docs/languages/sdk-configuration/otlp-exporter/
    """
    variable = next((name for name in ENDPOINTS if environ.get(name)), None)
    is_off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if variable is None or is_off or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    if not _is_installed():
        log.warning("tracing_unavailable", why=_MISSING.format(variable=variable))
        return None
    protocol = next((environ[name] for name in _PROTOCOLS if environ.get(name)), "http/protobuf")
    if protocol != "http/protobuf":
        log.warning("tracing_protocol_ignored", wanted=protocol, used="http/protobuf")
    for name in _HEADERS:
        for pair in environ.get(name, "").split(","):
            logs.hide(unquote(pair.partition("=")[2].strip()))
    # Half a second of imports, and packages of an extra.
    from deployer.engine.spans import Sender  # noqa: PLC0415

    tracing = Tracing(events, Sender(version=__version__, environ=environ, public_url=public_url))
    log.info("tracing", endpoint=environ[variable])
    return tracing


def _is_installed() -> bool:
    try:
        return find_spec("opentelemetry.sdk") is not None and find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:
        return False
