"""From `git push` to the PUT, and to the rollout being good, while the forge and a receiver hang.

Three daemons that tell of everything (commit statuses, deployments, plans, who merged what, messages): one
whose forge and receiver answer, one where both take connections and never answer, and one more of the first
kind, which says how much two alike differ; and a fourth that tells nobody. Each has a repository and a
cluster that takes every PUT at once; they are pushed to in turns. The target is 1.05 times, at the median.
"""

from __future__ import annotations

import multiprocessing
import socket
import sqlite3
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.push_to_put import config
from benchmarks.site import Daemon, Repository, milliseconds
from benchmarks.stub_serve import StubServe
from deployer.adapters.store import SqlStore
from tests.contract.forge.fakes import TOKEN, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_WAIT_SECONDS = 30.0
_WARM = 2
_KINDS = {"nobody": None, "answers": True, "hangs": False, "answers_too": True}
_PROJECT = "ml/serve-configs"


def run(rounds: int) -> dict[str, Any]:
    """Measure `rounds` pushes to each, after two that warm up."""
    stub = StubServe()
    to_put: dict[str, list[float]] = {name: [] for name in _KINDS}
    to_good: dict[str, list[float]] = {name: [] for name in _KINDS}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.callback(stub.stop)
        answering = stack.enter_context(_answering())
        hanging = stack.enter_context(_hanging())
        sites = {}
        for number, (name, answers) in enumerate(_KINDS.items()):
            root = Path(folder, name)
            root.mkdir()
            repository = Repository(root, ["one"])
            repository.commit({"one": config(0)}, "begin")
            repository.push()
            ports = None if answers is None else answering if answers else hanging
            stack.enter_context(_daemon(root, repository, stub.address(name), ports))
            stub.wait_for_put(number, _WAIT_SECONDS)
            sites[name] = repository, root / "state" / "deployer.db"
        for number in range(1, rounds + _WARM + 1):
            for name, (repository, store) in sites.items():
                put, good = _once(stub, repository, store, number)
                if number > _WARM:
                    to_put[name].append(put)
                    to_good[name].append(good)
        took = {name: _took(store) for name, (_, store) in sites.items()}
    return {"to_put": _table(to_put), "to_good": _table(to_good), "targets_that_took_something": took}


def _took(path: Path) -> int:
    """How many targets took a message: of the forge two, and of the receiver none, for all went well."""
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as store:
        asked = "SELECT count(*) FROM targets WHERE name <> 'log' AND delivered_at IS NOT NULL"
        return int(store.execute(asked).fetchone()[0])


def _once(stub: StubServe, repository: Repository, store: Path, number: int) -> tuple[float, float]:
    repository.commit({"one": config(number)}, f"price {number}")
    commit = repository.stage()
    time.sleep(0.3)
    before = len(stub.puts)
    began = repository.move()
    stub.wait_for_put(before, _WAIT_SECONDS)
    put = stub.puts[before][0] - began
    return put, _until_good(store, commit) - began


def _until_good(path: Path, commit: str) -> float:
    """When the rollout of the commit was recorded as good; seen by whoever looks all the time."""
    store = SqlStore.open_readonly(path)
    try:
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            record = store.load("one")
            if record.good is not None and record.good.revision.commit == commit:
                return time.monotonic()
            time.sleep(0.002)
    finally:
        store.close()
    message = f"{commit} did not become good"
    raise RuntimeError(message)


def _daemon(root: Path, repository: Repository, cluster: str, ports: tuple[int, int] | None) -> Daemon:
    """One that tells of everything to this forge and this receiver; of nothing without them."""
    if ports is None:
        return Daemon(root, repository, {"one": cluster})
    for name, text in (("token", TOKEN), ("secret", "of the messages, which nobody checks here")):
        file = root / name
        file.touch(mode=0o600)
        file.write_text(text)
    forge, receiver = ports
    told = {
        "kind": "github",
        "api_url": f"http://127.0.0.1:{forge}",
        "project": _PROJECT,
        "token_file": str(root / "token"),
        "deployments": True,
        "plans": True,
    }
    webhook = {"url": f"http://127.0.0.1:{receiver}/", "secret_file": str(root / "secret")}
    more = {"notify": {"ops": {"webhook": webhook}}}
    return Daemon(root, repository, {"one": cluster}, reached={"forge": told}, more=more)


@contextmanager
def _answering() -> Iterator[tuple[int, int]]:
    """A process with a forge, and with a receiver that takes everything; their ports."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_answer, args=(theirs,), daemon=True)
    process.start()
    try:
        yield ours.recv()
    finally:
        process.kill()
        process.join()


def _answer(told: Connection) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving("github", project=_PROJECT) as fake:
        told.send((fake.port, receiver.server_port))
        receiver.serve_forever()


@contextmanager
def _hanging() -> Iterator[tuple[int, int]]:
    """Two ports where connections are taken by the kernel, and nobody ever answers."""
    with (
        socket.create_server(("127.0.0.1", 0), backlog=512) as one,
        socket.create_server(("127.0.0.1", 0), backlog=512) as other,
    ):
        yield one.getsockname()[1], other.getsockname()[1]


def _table(found: dict[str, list[float]]) -> dict[str, Any]:
    table: dict[str, Any] = {name: milliseconds(values) for name, values in found.items()}
    both = milliseconds(found["answers"] + found["answers_too"])["p50_ms"]
    table["hangs_over_nobody"] = round(table["hangs"]["p50_ms"] / table["nobody"]["p50_ms"], 3)
    table["hangs_over_answers"] = round(table["hangs"]["p50_ms"] / both, 3)
    table["answers_too_over_answers"] = round(table["answers_too"]["p50_ms"] / table["answers"]["p50_ms"], 3)
    return table
