"""The daemon is stopped while people and programs listen to it: the real process, without a cluster."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.e2e.test_stories import market
from tests.support.eventually import eventually
from tests.support.free_port import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.site import Daemon, Site

pytestmark = pytest.mark.timeout(120)

STREAMS = 20
PATHS = ("/live", "/env/staging/live", "/api/v1/events")

PROMISED_SECONDS = 5.0
"""From SIGTERM to the end."""

PATIENCE_SECONDS = 30.0
"""Then it hangs, however busy the machine is."""


class Stream:
    """One listener: reads in a thread until the other side ends it, or never reads at all."""

    def __init__(self, url: str, token: str, path: str) -> None:
        """Connect, and take the first bytes."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.path = path
        self.read = b""
        self.end = ""
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=PATIENCE_SECONDS)
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        assert self._answer.headers["Content-Type"].startswith("text/event-stream")
        self.read += self._answer.read1()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def listen(self) -> None:
        """Read on."""
        self._thread.start()

    def _go_on(self) -> None:
        try:
            while more := self._answer.read1():
                self.read += more
            self.end = "ended"
        except (OSError, http.client.HTTPException) as error:
            self.end = f"cut: {error!r}"

    def close(self) -> None:
        """Leave."""
        self._connection.close()


def test_sigterm_with_many_streams_open(sites: Callable[[str], Site]) -> None:
    """It stops inside 5 s with exit code 0 and without a traceback; who reads is told the proper end.

    Of the listeners two never read. A machine that is so busy that the start alone took longer than 5 s may
    take as long for the stop.
    """
    site = sites(f"http://127.0.0.1:{free_port()}")
    site.push(market(3), "open the market")
    began = time.monotonic()
    daemon = site.start()
    busy = time.monotonic() - began
    eventually(lambda: "cannot be seen" in site.look()["message"], within=PATIENCE_SECONDS)
    with ExitStack() as stack:
        streams = [open_stream(site.root, path, stack) for path in islice(cycle(PATHS), STREAMS)]
        readers = streams[2:]
        for one in readers:
            one.listen()
        eventually(lambda: all(one.read for one in readers), within=PATIENCE_SECONDS)
        code, seconds = stop(daemon)

        log = daemon.log.read_text()
        assert code == 0, log[-3000:]
        assert "Traceback" not in log
        assert not [one for one in daemon.events() if one["level"] in {"error", "critical"}], log[-4000:]
        eventually(lambda: all(one.end for one in readers), within=PATIENCE_SECONDS)
        assert {(one.path, one.end) for one in readers} == {(path, "ended") for path in PATHS}
    assert seconds < max(PROMISED_SECONDS, busy), f"the start took {busy:.1f} s"
    print(f"stopped {seconds:.2f} s after SIGTERM with {STREAMS} streams")  # noqa: T201 - the figure
    assert not (site.root / "state" / "api.json").exists()


def open_stream(root: Path, path: str, stack: ExitStack) -> Stream:
    """One more listener, until the end of the stack."""
    api = json.loads((root / "state" / "api.json").read_text())
    one = Stream(api["url"], api["token"], path)
    stack.callback(one.close)
    return one


def stop(daemon: Daemon) -> tuple[int, float]:
    """SIGTERM: the exit code, and the seconds until the engine had stopped by the daemon's own log."""
    sent = datetime.now(UTC)
    daemon.process.send_signal(signal.SIGTERM)
    code = daemon.process.wait(PATIENCE_SECONDS)
    (stopped,) = [one for one in daemon.events() if one["event"] == "stopped"]
    return code, (datetime.fromisoformat(stopped["timestamp"]) - sent).total_seconds()
