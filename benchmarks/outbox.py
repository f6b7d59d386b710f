"""The outbox: 10,000 messages to 5 targets, one of them dead; and what a dead forge costs the passes.

A target is a connection to a process that acknowledges each message; a dead one takes it and never answers.
Measured is until the four others have everything, beside the same with all five alive, in turns. Then the
commits of rollouts, as passes make them, with the forge up and with the forge hanging, in turns.
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import tempfile
import threading
import time
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from benchmarks.site import percentile
from deployer.adapters.store import OutboxStore, SqlStore
from deployer.adapters.store.outbox import write
from deployer.core.messages import PEOPLE, Message, of_forge
from deployer.core.record import Record
from deployer.engine.news import News
from deployer.engine.outbox import Away, Outbox
from deployer.engine.reconcile import Reconciler
from tests.support.build import applied, ended_well, release, seen, started

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.adapters.store import OutboxRow
    from deployer.core.status import Status

_TARGETS = 5
_ROUNDS = 3
_ANSWER_SECONDS = 2.0
"""A dead target is waited for so long, each time."""


def run(messages: int) -> dict[str, Any]:
    """Measure with so many messages."""
    alive, dead = [], []
    for _ in range(_ROUNDS):
        alive.append(_delivery(messages, has_dead=False))
        dead.append(_delivery(messages, has_dead=True))
    passes = _passes(max(2, messages // 50))
    return {
        "messages": messages,
        "targets": _TARGETS,
        "all_alive_s": round(statistics.median(alive), 2),
        "one_dead_s": round(statistics.median(dead), 2),
        "one_dead_over_all_alive": round(statistics.median(dead) / statistics.median(alive), 3),
        "commits": passes,
    }


class _Line:
    """A target that is a connection: a message is taken once a byte came back."""

    is_here = False
    environments = None

    def __init__(self, name: str, audience: str, port: int, wanted: int) -> None:
        """Connect. `done` is set once it took as many as are wanted."""
        self.name, self.audience = name, audience
        self.done = threading.Event()
        self._wanted, self._taken = wanted, 0
        self._socket = socket.create_connection(("127.0.0.1", port), _ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def deliver(self, row: OutboxRow) -> None:
        """Send it, and wait."""
        try:
            self._socket.sendall(f"{row.id:015}\n".encode())
            answer = self._socket.recv(1)
        except OSError as error:
            message = "it does not answer"
            raise Away(message) from error
        if not answer:
            message = "it hung up"
            raise Away(message)
        self._taken += 1
        if self._taken >= self._wanted:
            self.done.set()

    def hears_of(self, status: Status) -> bool:  # noqa: ARG002 - of a target
        """Of none."""
        return False

    def interrupt(self) -> None:
        """End what runs."""
        self._socket.close()


def _acknowledge(listener: socket.socket, *, is_dead: bool) -> None:
    """Answer each message of each connection, or none."""

    def one(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(ConnectionError):
            while data := connection.recv(16):
                if not is_dead and data.endswith(b"\n"):
                    connection.sendall(b".")

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=one, args=(connection,), daemon=True).start()


@contextmanager
def _listening(*, is_dead: bool) -> Iterator[int]:
    """A process that answers, or not; gives its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("fork").Process(
            target=_acknowledge, args=(listener,), kwargs={"is_dead": is_dead}, daemon=True
        )
        process.start()
        try:
            yield listener.getsockname()[1]
        finally:
            process.kill()
            process.join()


def _delivery(messages: int, *, has_dead: bool) -> float:
    """Seconds until four of five have everything."""
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(SqlStore.open(Path(folder) / "deployer.db")) as store,
        _listening(is_dead=False) as port,
        _listening(is_dead=True) as dead_port,
    ):
        store.commit(Record(environment="staging"), [seen(release("a"))])
        told = [Message(text=f"message {number}") for number in range(messages)]
        with store.database.writing() as connection:
            at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
            write(connection, "staging", told, at=at, event_id=1)
        ports = [port] * (_TARGETS - 1) + [dead_port if has_dead else port]
        targets = [_Line(f"t{number}", PEOPLE, of, messages) for number, of in enumerate(ports)]
        outbox = Outbox(OutboxStore(store.database), targets)
        began = time.perf_counter()
        outbox.start()
        for target in targets[:-1]:
            target.done.wait()
        took = time.perf_counter() - began
        outbox.stop()
    return took


def _passes(rollouts: int) -> dict[str, Any]:
    """Milliseconds of a commit of a pass, with the forge up and hanging."""
    with _listening(is_dead=False) as port, _listening(is_dead=True) as dead_port:
        up, down = list[float](), list[float]()
        for _ in range(_ROUNDS):
            for times, of in ((up, port), (down, dead_port)):
                times.extend(_commits(rollouts, of))
    return {
        "count": len(up),
        "up_ms": _shown(up),
        "down_ms": _shown(down),
        "down_over_up_median": round(statistics.median(down) / statistics.median(up), 3),
        "down_over_up_mean": round(statistics.mean(down) / statistics.mean(up), 3),
    }


def _commits(rollouts: int, port: int) -> list[float]:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(SqlStore.open(Path(folder) / "deployer.db")) as store,
    ):
        audience = of_forge("configs")
        outbox = Outbox(OutboxStore(store.database), [_Line(audience, audience, port, 1 << 60)])
        passes = Reconciler(
            store=store,
            sources=cast("Any", None),
            clusters={},
            now=lambda: datetime.now(UTC),
            listeners=(outbox,),
            news=News({"staging": "configs"}),
        )
        outbox.start()
        times, record = list[float](), Record(environment="staging")
        for number in range(1, rollouts + 1):
            what = release(f"r{number}")
            story = (seen(what), started(what, number), applied(number), *ended_well(number))
            for event in story:
                began = time.perf_counter()
                record = passes.commit(record, [event])
                times.append((time.perf_counter() - began) * 1000)
                # As between two passes; without it only the writer's lock would be measured.
                time.sleep(0.002)
        outbox.stop()
    return times


def _shown(times: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(times), 3),
        "p95": round(percentile(times, 0.95), 3),
        "p99": round(percentile(times, 0.99), 3),
    }
