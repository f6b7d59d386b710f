"""Traces of rollouts: sent by the real exporter over a real socket, and decoded from OTLP's protobuf."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from deployer.adapters.store import SqlStore
from deployer.adapters.store.search import Search
from deployer.core.events import Checked, FailureClass, Good, Healthy, Superseded
from deployer.core.record import Record
from deployer.core.types import Check, Policy
from deployer.engine import tracing
from tests.support.build import applied, at, ended_well, failed, held, observed, release, seen, started
from tests.support.eventually import eventually
from tests.support.free_port import free_port
from tests.support.prerequisites import require

require(
    "the extra otel",
    find_spec("opentelemetry.exporter.otlp.proto.http") is not None,
    "pip install -e '.[otel]'",
)

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: E402 - see above
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status  # noqa: E402 - see above

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from deployer.core.events import Event
    from deployer.engine.tracing import Tracing

A, B = release("a"), release("b")
CHECKED_BY = Policy(checks=(Check(app="fruit", path="/fruit"),))
GOOD: tuple[Event, ...] = (
    seen(A),
    replace(started(A), policy=CHECKED_BY),
    applied(1, 1),
    observed(1, 2, phase="build"),
    observed(1, 12, phase="start"),
    observed(1, 20, settled=True),
    Healthy(at=at(50), rollout="staging#1"),
    Checked(at=at(51), rollout="staging#1", check=0, passed=True, message="200", ms=12.0),
    Good(at=at(171), rollout="staging#1"),
)
FAILED: tuple[Event, ...] = (
    seen(B, 200),
    started(B, 2, second=200),
    applied(2, 201),
    observed(2, 202, phase="build"),
    failed(2, 230),
    held(2, 230),
)


class Collector:
    """A receiver of OTLP over HTTP. `status` is what it answers; while `hangs` it does not."""

    def __init__(self) -> None:
        """Listen on a free port of loopback."""
        self.requests: list[tuple[str, Mapping[str, str], ExportTraceServiceRequest]] = []
        self.status = 200
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.asked.set()
                collector.may_answer.wait(30)
                request = ExportTraceServiceRequest.FromString(body)
                if collector.status == 200:
                    collector.requests.append((self.path, dict(self.headers), request))
                self.send_response(collector.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def spans(self) -> list[Span]:
        """All that came."""
        return [
            span
            for _, _, request in self.requests
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that the standard variables name."""
    with closing(Collector()) as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20not-for-logs")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """A real store."""
    with closing(SqlStore.open(tmp_path / "store.db")) as opened:
        yield opened


def sending(store: SqlStore, public_url: str | None = None) -> Tracing:
    """The traces as the daemon sends them."""
    search = Search(store.database)
    made = tracing.start(
        lambda rollout: [one.event for one in search.events_of(rollout)], public_url=public_url
    )
    assert made is not None
    return made


def commit(store: SqlStore, events: Sequence[Event], listener: Tracing | None) -> None:
    """Make events durable, one by one, and tell of each as a pass does."""
    for event in events:
        record = store.load("staging")
        store.commit(record, [event])
        if listener is not None:
            listener.recorded(record, event)


def attributes(span: Span) -> dict[str, str]:
    """As a mapping."""
    return {one.key: one.value.string_value for one in span.attributes}


def seconds(span: Span) -> tuple[float, float]:
    """From when to when, after the beginning of the test's time."""
    begin = at(0).timestamp()
    return span.start_time_unix_nano / 1e9 - begin, span.end_time_unix_nano / 1e9 - begin


def test_a_rollout_is_one_trace_with_a_span_for_each_phase(collector: Collector, store: SqlStore) -> None:
    """With the events' own times, the conventions' attributes, and who sent it."""
    with closing(sending(store, "https://deployer.example.com")) as traces:
        commit(store, GOOD, traces)
        spans = eventually(collector.spans, within=10)
    whole, *phases = spans

    assert (whole.name, whole.kind, whole.parent_span_id) == ("SYNC staging", Span.SPAN_KIND_SERVER, b"")
    assert seconds(whole) == pytest.approx((0, 171))
    assert attributes(whole) == {
        "cicd.pipeline.name": "staging",
        "cicd.pipeline.action.name": "SYNC",
        "cicd.pipeline.run.id": "staging#1",
        "cicd.pipeline.run.url.full": "https://deployer.example.com/rollouts/staging%231",
        "cicd.pipeline.result": "success",
        "deployment.environment.name": "staging",
        "deployment.id": "staging#1",
        "deployment.name": "deploy staging",
        "deployment.status": "succeeded",
        "vcs.ref.head.revision": A.revision.commit,
        "deployer.rollout.kind": "deploy",
        "deployer.rollout.result": "good",
        "deployer.rollout.trigger": "push",
        "deployer.rollout.actor": "deployer",
        "deployer.release.digest": A.digest,
        "deployer.release.subject": "commit a",
    }
    assert [phase.name for phase in phases] == ["applying", "build", "start", "stabilize", "check", "soak"]
    assert [round(seconds(phase)[0], 3) for phase in phases] == [0, 2, 12, 20, 50, 51]
    assert [round(seconds(phase)[1], 3) for phase in phases] == [2, 12, 20, 50, 51, 171]
    assert {phase.parent_span_id for phase in phases} == {whole.span_id}
    assert {span.trace_id for span in spans} == {whole.trace_id}
    assert len({span.span_id for span in spans}) == len(spans)
    assert attributes(phases[-1])["cicd.pipeline.task.type"] == "test"
    assert [event.name for event in whole.events][:2] == ["started", "applied"]
    [(path, headers, request)] = collector.requests
    assert (path, headers["authorization"]) == ("/v1/traces", "Bearer not-for-logs")
    resource = {one.key: one.value.string_value for one in request.resource_spans[0].resource.attributes}
    assert resource["service.name"] == "deployer"


def test_a_rollout_that_failed_says_where_and_why(collector: Collector, store: SqlStore) -> None:
    """On the whole and on the phase that it came to; the phases before it went well."""
    with closing(sending(store)) as traces:
        commit(store, (*GOOD, *FAILED), traces)
        eventually(lambda: len({span.trace_id for span in collector.spans()}) == 2, within=10)
    spans = [span for span in collector.spans() if seconds(span)[0] >= 200]
    whole, *phases = spans

    assert whole.status.code == Status.STATUS_CODE_ERROR
    assert whole.status.message == "fruit / D: ValueError: bad price"
    found = attributes(whole)
    assert (found["cicd.pipeline.result"], found["error.type"]) == ("failure", "code")
    assert found["deployment.status"] == "failed"
    assert [attributes(phase)["cicd.pipeline.task.run.result"] for phase in phases] == ["success", "failure"]
    assert attributes(phases[-1])["error.type"] == "code"
    assert phases[-1].status.code == Status.STATUS_CODE_ERROR


@pytest.mark.parametrize(
    ("end", "result"),
    [
        (failed(1, 30, FailureClass.DEADLINE), "timeout"),
        (Superseded(at=at(30), rollout="staging#1", by="f" * 40), "cancellation"),
    ],
)
def test_other_ends_have_the_conventions_words(
    collector: Collector, store: SqlStore, end: Event, result: str
) -> None:
    """And no status of a deployment where it had none."""
    with closing(sending(store)) as traces:
        commit(store, (*GOOD[:4], end), traces)
        whole = eventually(collector.spans, within=10)[0]

    assert attributes(whole)["cicd.pipeline.result"] == result
    assert attributes(whole).get("deployment.status") == ("failed" if result == "timeout" else None)


def test_a_rollout_over_a_restart_has_all_of_its_phases(collector: Collector, store: SqlStore) -> None:
    """The daemon that ends it has not seen it begin; and a trace that is made again is the same."""
    commit(store, GOOD[:5], None)
    with closing(sending(store)) as traces:
        commit(store, GOOD[5:], traces)
        spans = eventually(collector.spans, within=10)
    assert [span.name for span in spans] == [
        *("SYNC staging", "applying", "build", "start", "stabilize", "check", "soak")
    ]

    collector.requests.clear()
    with closing(sending(store)) as again:
        again.recorded(Record(environment="staging"), GOOD[-1])
        assert eventually(collector.spans, within=10)[0].trace_id == spans[0].trace_id


def test_hostile_texts_are_one_harmless_line(collector: Collector, store: SqlStore) -> None:
    """A subject with escapes and line breaks."""
    hostile = replace(A, revision=replace(A.revision, subject="up\x1b[31m\nand\u202eaway"))
    with closing(sending(store)) as traces:
        commit(store, (seen(hostile), started(hostile), applied(), *ended_well()), traces)
        subject = attributes(eventually(collector.spans, within=10)[0])["deployer.release.subject"]

    assert not {"\x1b", "\n", "\u202e"}.intersection(subject)


def test_a_collector_that_hangs_delays_neither_a_pass_nor_a_stop(
    collector: Collector, store: SqlStore
) -> None:
    """What is told costs microseconds while an export hangs, and the stop leaves it behind after a second."""
    collector.may_answer.clear()
    traces = sending(store)
    commit(store, GOOD, traces)
    assert collector.asked.wait(10)

    began = time.monotonic()
    for _ in range(100):
        traces.recorded(Record(environment="staging"), GOOD[-1])
    told = time.monotonic() - began
    traces.close()
    stopped = time.monotonic() - began - told
    assert told < 0.1
    assert stopped < 1.5


@pytest.mark.parametrize("status", [500, 503])
def test_a_collector_that_fails_costs_only_traces(collector: Collector, store: SqlStore, status: int) -> None:
    """And the stop does not wait for its retries."""
    collector.status = status
    traces = sending(store)
    commit(store, GOOD, traces)
    assert collector.asked.wait(10)

    began = time.monotonic()
    traces.close()
    assert time.monotonic() - began < 1.5
    assert store.load("staging").good == A


def test_a_collector_that_is_down(monkeypatch: pytest.MonkeyPatch, store: SqlStore) -> None:
    """Rollouts go on, the stop is prompt."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    traces = sending(store)
    commit(store, GOOD, traces)
    began = time.monotonic()
    traces.close()

    assert time.monotonic() - began < 1.5


class Slow:
    """A sender that is busy until it may go on."""

    def __init__(self) -> None:
        """Nothing sent."""
        self.go = threading.Event()
        self.busy = threading.Event()
        self.sent = 0
        self.is_closed = False

    def send(self, events: Sequence[Event]) -> None:
        """Take long."""
        self.busy.set()
        self.go.wait(30)
        self.sent += 1

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


def test_the_queue_has_a_limit() -> None:
    """What does not fit is dropped, which is said once; a stop does not wait for what is in it."""
    sender = Slow()
    traces = tracing.Tracing(lambda _rollout: [], sender)
    traces.recorded(Record(environment="staging"), GOOD[-1])
    assert sender.busy.wait(10)
    with capture_logs() as log:
        for _ in range(tracing._QUEUE + 5):
            traces.recorded(Record(environment="staging"), GOOD[-1])
    assert [line["event"] for line in log] == ["traces_dropped"]

    began = time.monotonic()
    traces.close()
    assert time.monotonic() - began < 0.5
    sender.go.set()
    eventually(lambda: sender.sent == tracing._QUEUE + 1, within=10)
    traces.close()
    assert sender.is_closed


def test_what_cannot_be_read_costs_one_trace(collector: Collector, store: SqlStore) -> None:
    """A rollout that the store does not have, and then one that it has."""
    with capture_logs() as log, closing(sending(store)) as traces:
        traces.recorded(Record(environment="staging"), Good(at=at(1), rollout="staging#99"))
        commit(store, GOOD, traces)
        assert eventually(collector.spans, within=10)

    assert [line["event"] for line in log if line["log_level"] == "error"] == ["trace_failed"]


def test_only_ends_are_sent(collector: Collector, store: SqlStore) -> None:
    """Not what a rollout is in the middle of."""
    with closing(sending(store)) as traces:
        commit(store, GOOD[:-1], traces)

    assert collector.spans() == []


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_sent_unless_it_is_asked_for(environ: dict[str, str]) -> None:
    """By the standard variables."""
    assert tracing.start(lambda _rollout: [], environ=environ) is None


IN_A_PROCESS = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == {missing!r} or name.startswith({missing!r} + "."):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
from structlog.testing import capture_logs
from deployer.engine import tracing
with capture_logs() as log:
    started = tracing.start(lambda rollout: [])
said = [(line["event"], line["why"]) for line in log]
print(started, said, [name for name in sys.modules if name.startswith("opentelemetry")])
"""


def in_a_process(missing: str, **environ: str) -> str:
    """What a daemon without these packages says."""
    found = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS.format(missing=missing)],
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return found.stdout


@pytest.mark.parametrize("missing", ["opentelemetry", "opentelemetry.exporter"])
def test_without_the_extra_there_is_one_warning(missing: str) -> None:
    """With the command that ends it, and only where traces are wanted; nothing is imported without them."""
    said = in_a_process(missing, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert said.startswith("None [('tracing_unavailable', \"OTEL_EXPORTER_OTLP_ENDPOINT is set")
    assert "pip install 'ray-serve-deployer[otel]'" in said

    assert in_a_process(missing) == "None [] []\n"
