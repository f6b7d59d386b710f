"""Many who listen: each is told of every change, memory is bounded, and nobody keeps the engine waiting.

`python -m benchmarks faces` measures the same with 200 listeners and 500 environments.
"""

from __future__ import annotations

import http.client
import re
import socket
import threading
import tracemalloc
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from deployer.core.events import Paused, Resumed
from tests.support import large_store
from tests.support.eventually import eventually
from tests.support.store_faces import StoreFaces, standing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(180)

NAMES = tuple(f"env-{number:02}" for number in range(12))
STREAMS = 50
CHANGES = 120
LOG = "/api/v1/events?after=0"
SECONDS = 60.0
"""Much more than any of it takes on a busy machine."""

_SAID = re.compile(r"Stall (\d+) is closed")


class Listener:
    """One stream, read in a thread."""

    def __init__(self, url: str, token: str, path: str) -> None:
        """Connect."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        self.path = path
        self.seen: set[int] = set()
        self.ids: list[int] = []
        self.size = 0
        self.is_over = False
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=SECONDS)
        self._connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        self._answer = self._connection.getresponse()
        assert self._answer.status == 200
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while line := self._answer.readline().decode():
            self.size += len(line)
            self.seen.update(int(number) for number in _SAID.findall(line))
            if line.startswith("id: ") and self.path.startswith("/api/"):
                self.ids.append(int(line[4:]))
        self.is_over = True


def connect(url: str, token: str, path: str) -> socket.socket:
    """One who asks for a stream and never reads it."""
    parts = urlsplit(url)
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect((parts.hostname, parts.port))
    head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
    one.sendall(head.encode())
    return one


@pytest.fixture
def faces(tmp_path: Path) -> Iterator[StoreFaces]:
    """Twelve environments, each published once."""
    with standing(tmp_path / "deployer.db", NAMES) as made:
        for name in NAMES:
            made.publish(name)
        yield made


def test_every_change_reaches_everybody(faces: StoreFaces) -> None:
    """Pages show the last of what was said of each environment; programs get each event once, in order."""
    kinds = ("/live", "/env/{name}/live", LOG)
    paths = [
        path.format(name=name)
        for path, name in zip(cycle(kinds), islice(cycle(NAMES), STREAMS), strict=False)
    ]
    last: dict[str, int] = {}
    with faces.serving() as url:
        listeners = [Listener(url, faces.token, path) for path in paths]
        eventually(lambda: faces.hub.listeners == STREAMS, within=SECONDS)
        for number in range(CHANGES):
            name = NAMES[number % len(NAMES)]
            faces.publish(name, f"Stall {number} is closed")
            last[name] = number
            if number % 3 == 0:
                now = datetime.now(UTC)
                paused = faces.store.load(name).paused is not None
                faces.commit(name, Resumed(at=now, actor="ada") if paused else Paused(at=now, actor="ada"))
        newest = [one["id"] for one in faces.models.audit(environments=None, limit=CHANGES)["items"]]

        def told(one: Listener) -> bool:
            if one.path == LOG:
                return len(one.ids) >= len(newest)
            return (set(last.values()) if one.path == "/live" else {last[one.path.split("/")[2]]}) <= one.seen

        eventually(lambda: all(map(told, listeners)), within=SECONDS, what="everybody is told")
        assert {tuple(one.ids) for one in listeners if one.path == LOG} == {tuple(newest[::-1])}
    eventually(lambda: all(one.is_over for one in listeners), within=SECONDS, what="the streams end")
    assert faces.hub.listeners == 0


def test_the_engine_does_not_wait_for_those_who_listen(faces: StoreFaces) -> None:
    """Also where the event loop stands still: a change is a note, and they are told once it goes on."""
    with faces.serving() as url, ExitStack() as stack:
        listener = Listener(url, faces.token, "/live")
        eventually(lambda: faces.hub.listeners == 1, within=SECONDS)
        loop, gate, stands = faces.hub._loop, threading.Event(), threading.Event()
        assert loop is not None
        # Whatever happens below, the loop goes on.
        stack.callback(gate.set)
        loop.call_soon_threadsafe(stands.set)
        loop.call_soon_threadsafe(gate.wait, SECONDS)
        assert stands.wait(SECONDS)
        for number in range(200):
            faces.publish(NAMES[0], f"Stall {number} is closed")
        for name in NAMES * 1000:
            faces.hub.changed(name)
        assert not gate.is_set()
        assert 199 not in listener.seen
        gate.set()
        eventually(lambda: 199 in listener.seen, within=SECONDS, what="the last change is told")


def test_who_does_not_read_costs_a_batch(tmp_path: Path) -> None:
    """Ten who ask for the whole log, and ten for a page, and read nothing: the daemon holds no log for them.

    Changes cost no memory then; and who reads gets all of it meanwhile.
    """
    path = tmp_path / "deployer.db"
    names = large_store.make(path, environments=12, rollouts=30)
    with standing(path, names) as faces, faces.serving() as url, ExitStack() as stack:
        whole = faces.models.audit(environments=None, limit=1)["items"][0]["id"]
        first = Listener(url, faces.token, LOG)
        eventually(lambda: len(first.ids) == whole, within=SECONDS, what="the whole log is sent")
        page = Listener(url, faces.token, "/live")
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        for way in islice(cycle((LOG, "/live")), 20):
            stack.callback(connect(url, faces.token, way).close)
        eventually(lambda: faces.hub.listeners == 22, within=SECONDS)
        reader = Listener(url, faces.token, LOG)
        eventually(lambda: len(reader.ids) == whole, within=SECONDS, what="who reads gets the whole log")
        held = tracemalloc.get_traced_memory()[0]
        for name in names * 2000:
            faces.hub.changed(name)
        faces.publish(names[0], "Stall 1 is closed")
        eventually(lambda: page.seen, within=SECONDS, what="the last change is told")
        more = tracemalloc.get_traced_memory()[0] - held
        print(f"a log of {first.size} bytes: held {held}, and {more} more")  # noqa: T201 - the figures
    assert reader.ids == first.ids == sorted(first.ids)
    # Were it kept for them, it would be ten times the log and more; a batch is a small part of it.
    assert held < 3 * first.size
    # Were each change kept for each of them, it would be four megabytes of pointers alone.
    assert more < first.size
