"""What stands around the daemon's parts: it measures, and changes nothing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry, Counter, Histogram

from deployer.adapters.store import Conflict, StoreCorrupt, StoreUnavailable
from deployer.engine.reconcile import After, Again, BackOff, GiveUp, NotYet
from deployer.web.metrics.wrappers import CountedHooks, CountedRequests, TimedPasses, TimedStore
from tests.support.build import release, seen
from tests.support.memory_store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from deployer.adapters.store import StoreError
    from deployer.core.events import Event
    from deployer.core.messages import Told
    from deployer.core.record import Record
    from deployer.engine.reconcile import Outcome


# --- passes ------------------------------------------------------------------------------------------


class Passes:
    """Passes that take so long on a clock of their own, and end like this."""

    def __init__(self) -> None:
        """Begin at 100 s."""
        self.clock = 100.0
        self.took = 0.25
        self.outcome: Outcome = Again()
        self.registry = CollectorRegistry()
        duration = Histogram("duration", "x", ["outcome"], registry=self.registry)
        lateness = Histogram("lateness", "x", registry=self.registry, buckets=[1.0])
        self.timed = TimedPasses(self, duration=duration, lateness=lateness, monotonic=lambda: self.clock)

    def run(self, environment: str) -> Outcome:
        """Take the time."""
        self.clock += self.took
        return self.outcome

    def late(self) -> tuple[float | None, float | None]:
        """How often a pass was due by the clock, and how late in all."""
        value = self.registry.get_sample_value
        return value("lateness_count"), value("lateness_sum")


@pytest.mark.parametrize(
    ("outcome", "label"),
    [
        (Again(), "again"),
        (After(seconds=3), "after"),
        (NotYet(seconds=5), "not_yet"),
        (BackOff(why="it does not answer"), "back_off"),
        (GiveUp(why="it is damaged"), "give_up"),
    ],
)
def test_a_pass_is_timed_by_what_followed(outcome: Outcome, label: str) -> None:
    """And gives what it gave."""
    passes = Passes()
    passes.outcome = outcome

    assert passes.timed.run("staging") is outcome
    assert passes.registry.get_sample_value("duration_sum", {"outcome": label}) == 0.25


def test_lateness_is_of_passes_that_were_due_by_the_clock() -> None:
    """At once, or after a pause; the first pass was due at no time that is known here."""
    passes = Passes()
    passes.timed.run("staging")
    assert passes.late() == (0, 0)

    passes.clock += 0.5
    passes.outcome = After(seconds=3)
    passes.timed.run("staging")
    assert passes.late() == (1, 0.5)

    passes.clock += 5
    passes.timed.run("staging")
    assert passes.late() == (2, 2.5)


def test_a_pass_that_begins_earlier_is_not_late() -> None:
    """Something happened; the pause is over with it, and counts for no later pass."""
    passes = Passes()
    passes.outcome = After(seconds=60)
    passes.timed.run("staging")
    passes.clock += 1
    passes.outcome = BackOff(why="it does not answer")
    passes.timed.run("staging")
    passes.clock += 1000
    passes.timed.run("staging")

    assert passes.late() == (0, 0)


def test_environments_are_due_each_for_itself() -> None:
    """One of them waits a minute, the other was due at once."""
    passes = Passes()
    passes.outcome = After(seconds=60)
    passes.timed.run("staging")
    passes.outcome = Again()
    passes.timed.run("production")
    passes.timed.run("staging")
    passes.timed.run("production")

    assert passes.late() == (1, 0.25)


# --- the store ---------------------------------------------------------------------------------------


class Failing(MemoryStore):
    """A store that fails in this way, once it is told to."""

    error: StoreError | None = None

    def load(self, environment: str) -> Record:
        """Fail, or load."""
        if self.error:
            raise self.error
        return super().load(environment)

    def commit(self, record: Record, events: Sequence[Event], messages: Sequence[Told] = ()) -> Record:
        """Fail, or commit."""
        if self.error:
            raise self.error
        return super().commit(record, events, messages)

    def publish(
        self,
        environment: str,
        view: dict[str, Any],
        at: datetime,
        messages: Sequence[Told] = (),
        sequence: int = 0,
    ) -> None:
        """Fail, or publish."""
        if self.error:
            raise self.error
        super().publish(environment, view, at, messages, sequence)


@pytest.mark.parametrize(
    ("error", "label"),
    [
        (Conflict("somebody else wrote"), "conflict"),
        (StoreUnavailable("the disk is full"), "unavailable"),
        (StoreCorrupt("it is damaged"), "corrupt"),
    ],
)
def test_the_store_does_what_it_did(error: StoreError, label: str) -> None:
    """Its answers and its errors come through; commits are timed, also those that fail."""
    registry = CollectorRegistry()
    commits = Histogram("commits", "x", registry=registry)
    failures = Counter("failures", "x", ["operation", "error"], registry=registry)
    inner = Failing()
    store = TimedStore(inner, commits=commits, failures=failures)
    now = datetime.now(UTC)

    after = store.commit(store.load("staging"), [seen(release("a"))], ["hello"])
    store.publish("staging", {"health": "Healthy"}, now)
    assert after == inner.records["staging"] == store.load("staging")
    assert (inner.outbox, inner.views) == (["hello"], {"staging": {"health": "Healthy"}})

    inner.error = error
    calls: dict[str, Callable[[], object]] = {
        "load": lambda: store.load("staging"),
        "commit": lambda: store.commit(after, [seen(release("b"))]),
        "publish": lambda: store.publish("staging", {}, now),
    }
    for operation, call in calls.items():
        with pytest.raises(type(error)):
            call()
        value = registry.get_sample_value("failures_total", {"operation": operation, "error": label})
        assert value == 1
    assert registry.get_sample_value("commits_count") == 2


# --- requests ----------------------------------------------------------------------------------------


def ask(app: ASGIApp, path: str, method: str = "GET") -> int:
    """Make one request without a network; the status."""
    answers: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        answers.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "root_path": "",
        "scheme": "http",
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 1),
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
    }
    asyncio.run(_call(app, scope, receive, send))
    return int(answers[0]["status"])


async def _call(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    await app(scope, receive, send)


def labels(counter: Counter) -> dict[tuple[str, ...], float]:
    """What was counted, by the values of the labels."""
    return {
        tuple(one.labels[name] for name in counter._labelnames): one.value
        for metric in counter.collect()
        for one in metric.samples
        if one.name.endswith("_total")
    }


def test_requests_are_counted_by_template() -> None:
    """However deep a route is included; what meets none is one series for all of them."""
    deep = APIRouter()

    @deep.get("/status/{app}")
    async def status(environment: str, app: str) -> dict[str, str]:
        return {environment: app}

    async def static(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    middle = APIRouter()
    middle.include_router(deep, prefix="/environments/{environment}")
    app = FastAPI(openapi_url=None)
    app.include_router(middle, prefix="/api/v1")
    app.mount("/static", static)
    requests = Counter("requests", "x", ["route", "method", "status"], registry=CollectorRegistry())
    counted = CountedRequests(app, routes=app.routes, requests=requests)

    for name in ("a", "b", 'c"} 1'):
        assert ask(counted, f"/api/v1/environments/{name}/status/fruit") == 200
    assert ask(counted, "/api/v1/environments/a/status/fruit", "POST") == 405
    for path in ("/wp-admin", "/.env", "/x\ny"):
        assert ask(counted, path) == 404
    assert ask(counted, "/wp-admin", "BREW") == 404
    assert ask(counted, "/static/style.css") == 200
    route = "/api/v1/environments/{environment}/status/{app}"
    assert labels(requests) == {
        (route, "GET", "200"): 3,
        (route, "POST", "405"): 1,
        ("", "GET", "404"): 3,
        ("", "other", "404"): 1,
        ("/static", "GET", "200"): 1,
    }


def test_a_request_that_ends_without_an_answer_is_counted() -> None:
    """The error goes on to whoever handles it."""
    requests = Counter("requests", "x", ["route", "method", "status"], registry=CollectorRegistry())

    async def broken(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        ask(CountedRequests(broken, routes=[], requests=requests), "/")
    assert labels(requests) == {("", "GET", ""): 1}


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (202, b'{"status": "accepted"}', "accepted"),
        (202, b'{"status": "repeated"}', "repeated"),
        (200, b'{"status": "pong"}', "pong"),
        (401, b"{}", "refused"),
        (413, b"{}", "too_large"),
        (418, b"{}", "other"),
    ],
)
def test_webhooks_are_counted_by_repository_and_answer(status: int, body: bytes, result: str) -> None:
    """All names that nobody set up are one series."""

    async def hooks(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})

    results = Counter("hooks", "x", ["repository", "scheme", "result"], registry=CollectorRegistry())
    counted = CountedHooks(hooks, schemes={"configs": "github"}, results=results)
    for name in ("configs", "nobody", "../../etc", 'x"} 1'):
        assert ask(counted, f"/hooks/{name}", "POST") == status

    assert labels(results) == {("configs", "github", result): 1, ("", "", result): 3}
