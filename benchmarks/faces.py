"""Two hundred who listen, and 500 environments that change, and the worker loop beside them.

One process runs the faces of the daemon over a store with 500 environments, and a controller in which each
has a pass every 15 seconds that does what a real one does at its end: it reads the record, tells what it saw,
durably, and lets the hub know; a few also write to the audit log. Another process opens 200 streams: the
first page, pages of single environments, and the log.

Measured is the latency of passes, from when one is due until it is done (`whole`), and the two parts of it:
how late it begins, and how long it takes. A real pass also asks a cluster, some 10 ms that nobody here takes
away, so these ratios are the upper ones. In turns: nobody listens, 200 do, nobody does; the percentiles are
those of all turns together. Once each pass finds something else than before, which is 33 changes a second, as
of dozens of rollouts at once; and once every tenth does. At last the memory over a minute of listening.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.child import Child, child, say
from benchmarks.site import cpu_seconds, memory_mib, percentile
from deployer import logs
from deployer.adapters.store import OutboxStore
from deployer.core.events import Paused, Resumed
from deployer.engine.controller import Controller
from deployer.engine.outbox import Outbox
from deployer.engine.reconcile import After
from deployer.engine.sources import Sources
from deployer.engine.systemd import Notifier
from deployer.engine.workqueue import WorkQueue
from tests.support import large_store
from tests.support.store_faces import standing

if TYPE_CHECKING:
    from tests.support.store_faces import StoreFaces

_ENVIRONMENTS = 500
_ROLLOUTS = 10
_EVERY_SECONDS = 15.0
"""As the daemon looks at what rests: 33 passes a second."""
_CHANGING = {"all_change": 1, "some_change": 10}
"""Every so many looks at an environment find something else than before."""
_LOGGED = 20
"""Every so many changes of an environment also write an event."""
_STREAMS = 200
_TURNS = 4
_SETTLE_SECONDS = 8.0
"""Until all have the whole present, and the quiet that follows on them is one."""
_LOOKS = 5
"""At the memory."""
_PARTS = ("whole", "late", "took")
_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


def run(seconds: float) -> dict[str, Any]:
    """Measure so many seconds of each, in turns, and the memory over three times as many."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ours = stack.enter_context(child("benchmarks.faces", "serve", folder))
        clients = stack.enter_context(child("benchmarks.faces", "listen", folder))
        time.sleep(2 * _EVERY_SECONDS)
        found = {name: _turns(ours, clients, every, seconds) for name, every in _CHANGING.items()}
        _listen_again(ours, clients)
        memory = [memory_mib(ours.pid)]
        for _ in range(_LOOKS - 1):
            time.sleep(3 * seconds / _LOOKS)
            memory.append(memory_mib(ours.pid))
        clients.ask("close")
    return {**found, "memory_mib": [round(one, 1) for one in memory]}


def _turns(ours: Child, clients: Child, every: int, seconds: float) -> dict[str, Any]:
    pooled: dict[str, list[dict[str, Any]]] = {"before": [], "heard": [], "after": []}
    streams = {}
    for _ in range(_TURNS):
        pooled["before"].append(_passes(ours, every, seconds))
        _listen_again(ours, clients)
        pooled["heard"].append(_passes(ours, every, seconds))
        streams = clients.ask("close")
        time.sleep(1)
        pooled["after"].append(_passes(ours, every, seconds))
    told = {name: _told(turns) for name, turns in pooled.items()}
    quiet = _told([*pooled["before"], *pooled["after"]])
    return {
        **told,
        "streams": streams,
        "ratios": {part: _ratios(told["heard"], quiet, part) for part in _PARTS},
        # What the machine alone does.
        "ratios_a_a": {part: _ratios(told["after"], told["before"], part) for part in _PARTS},
    }


def _listen_again(ours: Child, clients: Child) -> None:
    clients.ask(f"open {ours.told['url']} {ours.told['token']}")
    time.sleep(_SETTLE_SECONDS)


def _passes(ours: Child, every: int, seconds: float) -> dict[str, Any]:
    """What became of them meanwhile, and what it cost."""
    ours.ask(f"passes {every}")
    before = cpu_seconds(ours.pid)
    time.sleep(seconds)
    found = ours.ask(f"passes {every}")
    return {**found, "cores": (cpu_seconds(ours.pid) - before) / seconds}


def _told(turns: list[dict[str, Any]]) -> dict[str, Any]:
    """In milliseconds, of all turns together."""
    parts = {part: [one for turn in turns for one in turn[part]] for part in _PARTS}
    return {
        "passes": len(parts["whole"]),
        "cores": round(sum(turn["cores"] for turn in turns) / len(turns), 3),
        **{
            f"{part}_{name}_ms": round(percentile(values, share) * 1000, 2)
            for part, values in parts.items()
            for name, share in _PERCENTILES.items()
        },
    }


def _ratios(ours: dict[str, Any], peer: dict[str, Any], part: str) -> dict[str, float]:
    return {name: round(ours[f"{part}_{name}_ms"] / peer[f"{part}_{name}_ms"], 2) for name in _PERCENTILES}


# --- the daemon --------------------------------------------------------------------------------------------


class _Work:
    """Passes that find something else now and then, and note when they were due, began and were done."""

    def __init__(self, faces: StoreFaces) -> None:
        self._faces = faces
        self._due: dict[str, float] = {}
        # So that they do not change all at once.
        self._count = {name: number for number, name in enumerate(faces.names)}
        self._seen = {name: faces.publish(name) for name in faces.names}
        self.every = 1
        self.done: list[tuple[float, float, float]] = []

    def run(self, environment: str) -> After:
        """One pass."""
        began = time.monotonic()
        number = self._count[environment] = self._count[environment] + 1
        if number % self.every == 0:
            self._change(environment, number // self.every)
        else:
            self._faces.store.load(environment)
            self._faces.hub.observed(self._seen[environment])
        end = time.monotonic()
        if environment in self._due:
            self.done.append((self._due[environment], began, end))
        self._due[environment] = time.monotonic() + _EVERY_SECONDS
        return After(seconds=_EVERY_SECONDS)

    def _change(self, environment: str, number: int) -> None:
        seen = self._faces.publish(environment, f"Look {number}: the fruit market is closed.")
        self._seen[environment] = seen
        if number % _LOGGED == 0:
            now = datetime.now(UTC)
            is_paused = seen.record.paused is not None
            self._faces.commit(
                environment, Resumed(at=now, actor="ada") if is_paused else Paused(at=now, actor="ada")
            )


def _serve(folder: Path) -> None:
    logs.configure((folder / "log").open("w", encoding="utf-8"), json=True)
    path = folder / "deployer.db"
    names = large_store.make(path, environments=_ENVIRONMENTS, rollouts=_ROLLOUTS)
    with standing(path, names) as faces:
        queue, work = WorkQueue(), _Work(faces)
        controller = Controller(
            environments=names,
            passes=work,
            queue=queue,
            sources=Sources(repositories=[], environments=[], mirrors_dir=folder, enqueue=queue.add),
            outbox=Outbox(OutboxStore(faces.store.database)),
            notifier=Notifier(),
            workers=32,
        )
        controller.start()
        with faces.serving() as url:
            say(url=url, token=faces.token)
            # As `deployer run` does.
            gc.collect()
            gc.freeze()
            for line in sys.stdin:
                work.every = int(line.split()[1])
                done, work.done = work.done, []
                say(
                    late=[began - due for due, began, _ in done],
                    took=[end - began for _, began, end in done],
                    whole=[end - due for due, _, end in done],
                    listeners=faces.hub.listeners,
                )
        controller.stop()


# --- those who listen --------------------------------------------------------------------------------------


class _Stream(asyncio.Protocol):
    """Counts what comes."""

    def __init__(self) -> None:
        self.bytes = 0
        self.messages = 0
        self.begins = b""
        self.is_over = False
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It begins."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """More came."""
        self.begins = self.begins or data[:15]
        self.bytes += len(data)
        self.messages += data.count(b"\n\n")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """It is over."""
        self.is_over = True


class _Streams:
    """All of them, in a loop of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._open: list[_Stream] = []
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def open(self, url: str, token: str) -> None:
        """Connect all of them."""
        asyncio.run_coroutine_threadsafe(self._connect(url, token), self._loop).result()

    async def _connect(self, url: str, token: str) -> None:
        host = url.removeprefix("http://")
        name, _, port = host.partition(":")
        kinds = ("/live", "/env/env-{0:03}/live", "/api/v1/events")
        for number, kind in enumerate(islice(cycle(kinds), _STREAMS)):
            head = (
                f"GET {kind.format(number)} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
            )
            transport, stream = await self._loop.create_connection(_Stream, name, int(port))
            transport.write(head.encode())
            self._open.append(stream)
            # People do not come all at once.
            await asyncio.sleep(0.01)

    def close(self) -> dict[str, object]:
        """End all of them: what they got. Less than a message, or another answer than a stream, is a bug."""
        over, self._open = self._open, []
        told: dict[str, object] = {
            "open": sum(not one.is_over for one in over),
            "refused": sum(one.begins != b"HTTP/1.1 200 OK" for one in over),
            "fewest_messages": min(one.messages for one in over),
            "messages": sum(one.messages for one in over),
            "mib": round(sum(one.bytes for one in over) / 2**20, 1),
        }
        for one in over:
            assert one.transport is not None  # noqa: S101 - connected
            self._loop.call_soon_threadsafe(one.transport.close)
        return told


def _listen(_folder: Path) -> None:
    streams = _Streams()
    say()
    for line in sys.stdin:
        match line.split():
            case ["open", url, token]:
                streams.open(url, token)
                say()
            case _:
                say(**streams.close())


if __name__ == "__main__":
    {"serve": _serve, "listen": _listen}[sys.argv[1]](Path(sys.argv[2]))
