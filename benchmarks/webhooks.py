"""A storm of webhooks, and the worker loop beside it.

One process runs the server of the daemon with its webhooks, a repository that is really looked at, and a
controller with 200 environments, each of which has a pass of a fraction of a millisecond every second.
Another process sends: 1,000 signed pushes a second by the clock, whatever the answers are like, each over a
connection of its own; then forged ones, as many as are answered. Beside it, in the same run: the same passes
without a storm, and a handler of `http.server` that checks the same signature and does nothing else, sent the
same. The target is 1,000 a second, held, with the passes on time.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import random
import secrets
import sys
import tempfile
import threading
import time
import uuid
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.child import child, say
from benchmarks.push_to_put import config
from benchmarks.site import Repository, cpu_seconds, percentile
from deployer import logs
from deployer.adapters.store import OutboxStore, SqlStore
from deployer.core.source import Branch
from deployer.engine.controller import Controller
from deployer.engine.outbox import Outbox
from deployer.engine.reconcile import After
from deployer.engine.sources import EnvironmentSource, RepositorySpec, Sources
from deployer.engine.systemd import Notifier
from deployer.engine.workqueue import WorkQueue
from deployer.web import Hooks, HookSpec, serving
from tests.support.bare_faces import nothing

_PER_SECOND = 1_000
_ENVIRONMENTS = 200
_EVERY_SECONDS = 1.0
"""Between two passes of an environment."""
_BODIES = 500
"""Made beforehand, of 1 to 6 KB: what a forge's own time for signing is does not matter here."""
_AT_ONCE = 32
"""Connections of who sends as much as is answered."""
_FORGED_SECONDS = 5.0
_NAME = "configs"


def run(seconds: float) -> dict[str, Any]:
    """Measure `seconds` of quiet and as many of storm."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        secret = secrets.token_hex(32)
        Path(folder, "secret").write_text(f"{secret}\n")
        Path(folder, "secret").chmod(0o600)
        repository = Repository(Path(folder), [_NAME])
        repository.commit({_NAME: config(1)}, "begin")
        repository.push()
        ours = stack.enter_context(child("benchmarks.webhooks", "serve", folder))
        peer = stack.enter_context(child("benchmarks.webhooks", "peer", folder))
        sender = stack.enter_context(child("benchmarks.webhooks", "send", folder))
        time.sleep(2 * _EVERY_SECONDS)
        ours.ask("passes")
        time.sleep(seconds)
        quiet = ours.ask("passes")
        before = cpu_seconds(ours.pid)
        storm = sender.ask(f"{ours.told['port']} signed {seconds} {_PER_SECOND}")
        cores = (cpu_seconds(ours.pid) - before) / seconds
        stormy = ours.ask("passes")
        forged = {
            name: sender.ask(f"{one.told['port']} forged {min(seconds, _FORGED_SECONDS)} 0")
            for name, one in (("deployer", ours), ("http.server", peer))
        }
    rates = {name: one["per_second"] for name, one in forged.items()}
    return {
        "signed": {**storm, "looks": stormy.pop("looks"), "cores": round(cores, 2)},
        "forged_per_second": {**rates, "ratio": round(rates["deployer"] / rates["http.server"], 2)},
        "forged_answers": forged["deployer"]["answers"],
        "lateness_of_passes": {
            "quiet": {name: value for name, value in quiet.items() if name != "looks"},
            "storm": stormy,
            "ratio_p99": round(stormy["p99_ms"] / quiet["p99_ms"], 1),
        },
    }


# --- the daemon --------------------------------------------------------------------------------------------


class _Work:
    """Passes that read a status of Serve, and say how late they began."""

    def __init__(self) -> None:
        deployments = {
            f"D{number}": {"status": "HEALTHY", "replicas": [{"id": "r"}] * 4} for number in range(5)
        }
        applications = {
            f"a{number}": {"status": "RUNNING", "deployments": deployments} for number in range(5)
        }
        self._status = json.dumps(applications)
        self._due: dict[str, float] = {}
        self.late: list[float] = []

    def run(self, environment: str) -> After:
        """One pass."""
        due = self._due.get(environment)
        if due is not None:
            self.late.append(time.monotonic() - due)
        hashlib.sha256(json.dumps(json.loads(self._status)).encode()).hexdigest()
        self._due[environment] = time.monotonic() + _EVERY_SECONDS
        return After(seconds=_EVERY_SECONDS)


def _serve(folder: Path) -> None:
    logs.configure((folder / "log").open("w", encoding="utf-8"), json=True)
    state = folder / "state"
    state.mkdir()
    store = SqlStore.open(state / "store.db")
    queue, work = WorkQueue(), _Work()
    sources = Sources(
        repositories=[RepositorySpec(name=_NAME, url=str(folder / "configs.git"), poll_seconds=3600.0)],
        environments=[
            EnvironmentSource(
                environment=_NAME, repository=_NAME, source=Branch("main"), path=f"environments/{_NAME}"
            )
        ],
        mirrors_dir=state / "mirrors",
        enqueue=queue.add,
        watch=False,
    )
    names = [_NAME, *(f"e{number}" for number in range(_ENVIRONMENTS - 1))]
    controller = Controller(
        environments=names,
        passes=work,
        queue=queue,
        sources=sources,
        outbox=Outbox(OutboxStore(store.database)),
        notifier=Notifier(),
        workers=32,
    )
    hooks = Hooks({_NAME: HookSpec(scheme="github", secret_file=folder / "secret")}, sources.look_now)
    controller.start()
    with serving(nothing, state, host="127.0.0.1", port=0, token=secrets.token_hex(), hooks=hooks) as url:
        say(port=int(url.rpartition(":")[2]))
        looks = sources.looks(_NAME).ended
        for _ in sys.stdin:
            late, work.late = work.late, []
            before, looks = looks, sources.looks(_NAME).ended
            say(
                passes=len(late),
                p50_ms=round(percentile(late, 0.5) * 1000, 2),
                p99_ms=round(percentile(late, 0.99) * 1000, 2),
                max_ms=round(max(late) * 1000, 1),
                looks=looks - before,
            )
    controller.stop()


# --- the peer ----------------------------------------------------------------------------------------------


def _peer(folder: Path) -> None:
    key = (folder / "secret").read_text().strip().encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            right = hmac.new(key, body, "sha256").hexdigest()
            is_right = hmac.compare_digest(self.headers["X-Hub-Signature-256"], f"sha256={right}")
            self.send_response(202 if is_right else 401)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 1024

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    say(port=server.server_port)
    sys.stdin.read()


# --- the sender --------------------------------------------------------------------------------------------


class _Request(asyncio.Protocol):
    """Sends one request, and says when its answer was there, and which it is."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._parts = b""
        self.done: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for mypy
        transport.write(self._data)

    def data_received(self, data: bytes) -> None:
        """Receive."""
        self._parts += data

    def connection_lost(self, exc: Exception | None) -> None:
        """The answer is there, or there is none."""
        if not self.done.done():
            self.done.set_result(self._parts[9:12].decode() or type(exc).__name__)


def _requests(secret: bytes) -> list[tuple[bytes, bytes]]:
    """Heads and bodies; where the head ends, the id is to be put in."""
    chance = random.Random(1)  # noqa: S311 - sizes
    made = []
    for _ in range(_BODIES):
        body = json.dumps({"ref": "refs/heads/main", "pad": "x" * chance.randint(1_000, 6_000)}).encode()
        signature = hmac.new(secret, body, "sha256").hexdigest()
        head = (
            f"POST /hooks/{_NAME} HTTP/1.1\r\nHost: deployer.example.com\r\nUser-Agent: GitHub-Hookshot/1\r\n"
            "Accept: */*\r\nContent-Type: application/json\r\nX-GitHub-Event: push\r\nX-GitHub-Hook-ID: 1\r\n"
            f"X-Hub-Signature-256: sha256={signature}\r\nContent-Length: {len(body)}\r\nX-GitHub-Delivery: "
        )
        made.append((head.encode(), body))
    return made


def _send(folder: Path) -> None:
    secret = (folder / "secret").read_text().strip().encode()
    signed, forged = _requests(secret), _requests(b"somebody else's")
    say(port=0)
    for line in sys.stdin:
        port, kind, seconds, rate = line.split()
        made = signed if kind == "signed" else forged
        sending = _Sending(int(port), made)
        if float(rate):
            asyncio.run(sending.by_the_clock(float(seconds), float(rate)))
        else:
            asyncio.run(sending.as_answered(float(seconds)))
        say(**sending.result())


class _Sending:
    """What was sent, and how it was answered."""

    def __init__(self, port: int, made: list[tuple[bytes, bytes]]) -> None:
        self._port = port
        self._made = made
        self._sent = 0
        self._took: list[float] = []
        self._answers: dict[str, int] = {}
        self._seconds = 0.0

    async def by_the_clock(self, seconds: float, rate: float) -> None:
        """Send so many a second; what takes long is not waited for."""
        began = time.monotonic()
        tasks = set()
        while (now := time.monotonic()) < began + seconds:
            while self._sent < (now - began) * rate:
                # Counted from when it was due: a sender that is late does not make answers look quick.
                task = asyncio.create_task(self._one(began + self._sent / rate))
                self._sent += 1
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            await asyncio.sleep(0.001)
        await asyncio.gather(*tasks)
        self._seconds = time.monotonic() - began

    async def as_answered(self, seconds: float) -> None:
        """Send the next when one is answered."""
        began = time.monotonic()

        async def go_on() -> None:
            while time.monotonic() < began + seconds:
                self._sent += 1
                await self._one(time.monotonic())

        await asyncio.gather(*(go_on() for _ in range(_AT_ONCE)))
        self._seconds = time.monotonic() - began

    async def _one(self, due: float) -> None:
        head, body = self._made[self._sent % len(self._made)]
        data = b"%s%s\r\n\r\n%s" % (head, str(uuid.uuid4()).encode(), body)
        try:
            _, protocol = await asyncio.get_running_loop().create_connection(
                lambda: _Request(data), "127.0.0.1", self._port
            )
            answer = await protocol.done
        except OSError as error:
            answer = type(error).__name__
        self._took.append(time.monotonic() - due)
        self._answers[answer] = self._answers.get(answer, 0) + 1

    def result(self) -> dict[str, object]:
        """The figures."""
        return {
            "answers": self._answers,
            "per_second": round(len(self._took) / self._seconds),
            "p50_ms": round(percentile(self._took, 0.5) * 1000, 1),
            "p99_ms": round(percentile(self._took, 0.99) * 1000, 1),
        }


if __name__ == "__main__":
    {"serve": _serve, "peer": _peer, "send": _send}[sys.argv[1]](Path(sys.argv[2]))
