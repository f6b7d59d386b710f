"""What waits for clusters, is counted for long or is read by nobody, beside a rescue: over real sockets."""

from __future__ import annotations

import logging
import queue
import resource
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from http.client import HTTPConnection
from logging.handlers import QueueHandler
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from fastapi.routing import iter_route_contexts

from deployer.core.tokens import Role
from deployer.web import connections, front, server
from deployer.web.access import Right, rule_of
from deployer.web.lanes import Lane, Lanes
from tests.support.door import Keys, bearer
from tests.support.eventually import eventually
from tests.support.faces import Faces, uncalled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT_ONCE = 2.0
"""Seconds: far less than what hangs, also on a busy machine."""


class Stand:
    """The finished application on a socket. What asks clusters hangs until `release` is set."""

    def __init__(self, folder: Path) -> None:
        """Not served yet."""
        self.keys = Keys(folder)
        self.faces = Faces(self.keys)
        self.folder = folder
        self.release = threading.Event()
        self.admin = self.keys.give(Role.ADMIN)
        self.url = ""

    def hang(self, name: str) -> None:
        """Make this read model hang."""
        found = getattr(self.faces.models._told, name)

        def hangs(*args: Any, **kwargs: Any) -> Any:
            self.release.wait(60)
            return found(*args, **kwargs)

        setattr(self.faces.models._told, name, hangs)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Serve."""
        with closing(self.keys):
            try:
                with server.serving(
                    self.faces.guard, self.folder, host="127.0.0.1", port=0, token=self.keys.local
                ) as self.url:
                    yield
            finally:
                self.release.set()

    def ask(self, method: str, path: str) -> tuple[int, float]:
        """Status and seconds."""
        began = time.monotonic()
        connection = HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        body = b"{}" if method == "POST" else None
        headers = {**dict(bearer(self.admin)), "Content-Type": "application/json"}
        with closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
        return answer.status, time.monotonic() - began

    def connect(self, path: str) -> socket.socket:
        """Ask for something, and do not read it."""
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect(("127.0.0.1", urlsplit(self.url).port))
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self.admin}\r\n\r\n"
        made.sendall(head.encode())
        return made


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """One that serves."""
    made = Stand(tmp_path)
    with made.open():
        yield made


SLOW = ["/api/v1/environments/staging/plan", "/env/staging/plan", "/api/v1/doctor", "/stats"]


def test_clusters_that_hang_keep_nobody_from_a_rescue(stand: Stand) -> None:
    """A command, a look at the store and the sign of life are answered at once, however many wait.

    As many wait as may; to the rest it is said, at once.
    """
    for name in ("plan", "doctor", "stats"):
        stand.hang(name)
    room = Lane.SLOW.value
    asked = room.places + room.may_wait + 12
    with ThreadPoolExecutor(asked) as pool:
        waiting = [pool.submit(stand.ask, "GET", SLOW[number % len(SLOW)]) for number in range(asked)]
        try:
            eventually(lambda: [one.result()[0] for one in waiting if one.done()] == [503] * 12, within=10)
            for method, path in (
                ("POST", "/api/v1/environments/production/pause"),
                ("GET", "/api/v1/environments"),
                ("GET", "/healthz"),
                ("GET", "/readyz"),
            ):
                status, seconds = stand.ask(method, path)
                assert (status, seconds < AT_ONCE) == (200, True), path
        finally:
            stand.release.set()
        assert sorted(one.result()[0] for one in waiting) == [200] * (asked - 12) + [503] * 12


def test_pages_that_ask_keep_no_command_waiting(stand: Stand) -> None:
    """They show the plan of a cluster that hangs; the command does not look at it."""
    stand.hang("plan")
    asked = sum((Lane.ASKS.value.places, Lane.ASKS.value.may_wait)) + 2
    with ThreadPoolExecutor(asked) as pool:
        waiting = [pool.submit(stand.ask, "GET", "/env/staging/rollback") for _ in range(asked)]
        try:
            eventually(lambda: sum(one.done() for one in waiting) == 2, within=10)
            status, seconds = stand.ask("POST", "/api/v1/environments/staging/rollback")
            assert (status, seconds < AT_ONCE) == (200, True)
        finally:
            stand.release.set()


def test_looks_take_no_room_of_commands(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not even one more may look."""
    monkeypatch.setattr(front, "_REQUESTS", 0)
    assert stand.ask("GET", "/api/v1/environments")[0] == 503
    assert stand.ask("POST", "/api/v1/environments/production/pause")[0] == 200


def endless(**_filters: Any) -> dict[str, Any]:
    """A log without an end."""
    return {"items": [{"id": number, "says": "x" * 500} for number in range(200)], "next": "1"}


def empty(**_filters: Any) -> dict[str, Any]:
    """A log without anything."""
    return {"items": [], "next": None}


def test_exports_have_a_few_places_of_their_own(stand: Stand) -> None:
    """Nobody else needs them, however long one takes."""
    stand.faces.models._told.audit = endless  # type: ignore[method-assign]  # made up as the rest
    with ExitStack() as stack:
        held = [
            stack.enter_context(closing(stand.connect("/audit.jsonl")))
            for _ in range(Lane.EXPORTS.value.places)
        ]
        assert [one.recv(12) for one in held] == [b"HTTP/1.1 200"] * len(held)
        assert stand.ask("GET", "/audit.csv")[0] == 503
        assert stand.ask("GET", "/audit")[0] == 200


def test_what_nobody_reads_ends(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its place is free again, though the connection is held from the other side."""
    monkeypatch.setattr(connections, "_SEND_SECONDS", 0.5)
    stand.faces.models._told.audit = endless  # type: ignore[method-assign]  # made up as the rest
    with ExitStack() as stack:
        held = [
            stack.enter_context(closing(stand.connect("/audit.jsonl")))
            for _ in range(Lane.EXPORTS.value.places)
        ]
        assert [one.recv(12) for one in held] == [b"HTTP/1.1 200"] * len(held)
        stand.faces.models._told.audit = empty  # type: ignore[method-assign]  # made up as the rest
        eventually(lambda: stand.ask("GET", "/audit.csv")[0] == 200, within=50)


def test_every_route_that_needs_a_thread_has_a_lane() -> None:
    """What changes something is a command, what asks before one is apart, and what is named is there."""
    app, lanes = uncalled(), Lanes()
    lanes.know(app)
    found = {}
    for context in iter_route_contexts(app.routes):
        assert context.endpoint is not None
        rule, (method, *_) = rule_of(context), sorted(context.methods or ())
        lane = lanes.of(context.endpoint)
        found[f"{method} {context.path}"] = lane
        if lane is not None and rule is not None and rule.right is Right.DEPLOY:
            is_promotion = str(context.path).endswith("/promote")
            usual = Lane.COMMANDS if method == "POST" else Lane.ASKS
            asks_git = Lane.PROMOTIONS if method == "POST" else Lane.LOOKS
            assert lane is (asks_git if is_promotion else usual), context.path
    in_the_loop = sorted(path for path, lane in found.items() if lane is None)
    assert in_the_loop == [
        "GET /api/v1/events",
        "GET /env/{environment}/live",
        "GET /healthz",
        "GET /live",
        "GET /rollouts/{rollout}/live",
        "GET /sign-in",
        "POST /sign-in",
        "POST /sign-out",
    ]
    assert found["GET /audit.{form}"] is Lane.EXPORTS
    assert found["DELETE /api/v1/tokens/{token_id}"] is Lane.COMMANDS
    assert found["GET /api/v1/environments/{environment}/logs"] is Lane.SLOW
    assert found["GET /promotions"] is found["GET /api/v1/promotions"] is Lane.LOOKS
    assert found["POST /env/{environment}/approve"] is Lane.COMMANDS
    assert sum(lane.value.places + lane.value.may_wait for lane in Lane if lane is not Lane.COMMANDS) < 200


def test_pages_leave_descriptors_for_the_rest() -> None:
    """Where the daemon may have few, it is the number of open pages that is small."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        found = []
        for limit in (512, 1024, 4096):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            found.append(front.streams())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == [0, 424, 1000]


def test_rubbish_fills_no_log(stand: Stand) -> None:
    """Whoever can connect can send it."""
    heard: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handler = QueueHandler(heard)
    logging.getLogger().addHandler(handler)
    try:
        for _ in range(3):
            address = ("127.0.0.1", urlsplit(stand.url).port)
            with socket.create_connection(address, timeout=10) as made:
                made.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
                assert made.recv(12) == b"HTTP/1.1 400"
    finally:
        logging.getLogger().removeHandler(handler)
    assert heard.empty()
