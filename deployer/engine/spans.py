"""A rollout as a trace of OpenTelemetry: one span for all of it, one below it for each phase.

Owns what becomes of events, and the names of the attributes. Must not know where events come from. Invariant:
a trace is made of the events' own times, so that it is the same whoever makes it and when; and no text gets
in that the audit log does not have.

Needs the extra `otel`, and is imported only where traces are sent: `deployer.engine.tracing`. Attributes are
those of the semantic conventions for CI/CD (https://opentelemetry.io/docs/specs/semconv/cicd/cicd-spans/,
/registry/attributes/deployment/, /registry/attributes/vcs/; most are in development), and ours below
`deployer.`. A rollout is a run of the pipeline that is called like its environment.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event as SpanEvent
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from deployer.core.events import Cancelled, Failed, FailureClass, Good, Started, Superseded
from deployer.core.redact import one_line
from deployer.core.telling import says, story

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.core.events import Event
    from deployer.core.telling import Phase

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TESTS = frozenset({"stabilize", "check", "soak"})
"""Phases that find out whether it works; the others bring it there."""

Ended = Good | Failed | Superseded | Cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What all spans say of who sent them. `public_url`, without a `/` at its end, has the pages."""

    resource: Resource
    scope: InstrumentationScope
    public_url: str | None = None


class Sender:
    """Sends traces where the standard variables (OTEL_EXPORTER_OTLP_...) say, from a thread of its own."""

    def __init__(self, *, version: str, environ: Mapping[str, str], public_url: str | None = None) -> None:
        """Start the thread. The library reads its variables itself; `environ` is where they are."""
        named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        about = {"service.version": version} | ({} if named else {"service.name": "deployer"})
        self._source = Source(
            resource=Resource.create(about),
            scope=InstrumentationScope("deployer", version),
            public_url=public_url,
        )
        # Its queue has a limit (OTEL_BSP_MAX_QUEUE_SIZE, 2048 spans), and drops the oldest.
        self._processor = BatchSpanProcessor(OTLPSpanExporter())

    def send(self, events: Sequence[Event]) -> None:
        """Send the trace of a rollout that ended. Does not wait."""
        for span in spans(events, self._source):
            self._processor.on_end(span)

    def close(self) -> None:
        """Send what is left. Can take half a minute where nobody answers."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # the library's


def spans(events: Sequence[Event], source: Source) -> list[ReadableSpan]:
    """The spans of a rollout, from all its events in their order.

    Raises ValueError if the rollout has not ended.
    """
    started = next((event for event in events if isinstance(event, Started)), None)
    ended = next((event for event in events if isinstance(event, Ended)), None)
    if started is None or ended is None:
        message = "a trace is made of a rollout that has started and ended"
        raise ValueError(message)
    root = _context(started, "")
    whole = _span(
        source,
        f"SYNC {_environment(started)}",
        root,
        None,
        (started.at, ended.at),
        {**_run(started, ended), **_url(source, started)},
        kind=SpanKind.SERVER,
        status=_status(ended),
        events=[
            SpanEvent(event.type, {"deployer.event.says": says(event)}, timestamp=_ns(event.at))
            for event in events
        ],
    )
    phases = story(events).phases
    return [whole, *(_phase(source, started, ended, phases, number) for number in range(len(phases)))]


def _phase(
    source: Source, started: Started, ended: Ended, phases: Sequence[Phase], number: int
) -> ReadableSpan:
    """One phase. The last one came to the end that the rollout came to; the others were passed."""
    phase = phases[number]
    is_last = number == len(phases) - 1
    result = _result(ended) if is_last else "success"
    failed = is_last and isinstance(ended, Failed)
    attributes = {
        "cicd.pipeline.task.name": phase.name,
        "cicd.pipeline.task.run.id": f"{started.rollout}/{number + 1}",
        "cicd.pipeline.task.run.result": result,
        "cicd.pipeline.task.type": "test" if phase.name in _TESTS else "deploy",
    }
    return _span(
        source,
        phase.name,
        _context(started, str(number)),
        _context(started, ""),
        (phase.started_at, phase.finished_at or ended.at),
        {**attributes, **(_error(ended) if failed else {})},
        status=_status(ended) if failed else Status(StatusCode.UNSET),
    )


def _run(started: Started, ended: Ended) -> dict[str, str]:
    revision = started.release.revision
    environment = _environment(started)
    found = {
        "cicd.pipeline.name": environment,
        "cicd.pipeline.action.name": "SYNC",
        "cicd.pipeline.run.id": started.rollout,
        "cicd.pipeline.result": _result(ended),
        "deployment.environment.name": environment,
        "deployment.id": started.rollout,
        "deployment.name": f"{started.kind.value} {environment}",
        "vcs.ref.head.revision": revision.commit,
        "deployer.rollout.kind": started.kind.value,
        "deployer.rollout.result": ended.type,
        "deployer.rollout.trigger": one_line(started.trigger),
        "deployer.rollout.actor": one_line(started.actor),
        "deployer.release.digest": started.release.digest,
        "deployer.release.subject": one_line(revision.subject),
    }
    if isinstance(ended, Good | Failed):
        found["deployment.status"] = "succeeded" if isinstance(ended, Good) else "failed"
    if revision.tag is not None:
        found |= {"vcs.ref.head.name": one_line(revision.tag), "vcs.ref.head.type": "tag"}
    if started.follows is not None:
        found["deployer.rollout.follows"] = started.follows
    return found | _error(ended)


def _error(ended: Ended) -> dict[str, str]:
    return {"error.type": ended.failure.failure_class.value} if isinstance(ended, Failed) else {}


def _url(source: Source, started: Started) -> dict[str, str]:
    if source.public_url is None:
        return {}
    return {"cicd.pipeline.run.url.full": f"{source.public_url}/rollouts/{quote(started.rollout, safe='')}"}


def _result(ended: Ended) -> str:
    """The convention's word for the end."""
    match ended:
        case Good():
            return "success"
        case Failed(failure=failure):
            return "timeout" if failure.failure_class is FailureClass.DEADLINE else "failure"
        case Superseded() | Cancelled():
            return "cancellation"


def _status(ended: Ended) -> Status:
    if isinstance(ended, Failed):
        return Status(StatusCode.ERROR, one_line(ended.failure.message))
    return Status(StatusCode.UNSET)


def _environment(started: Started) -> str:
    return started.rollout.rpartition("#")[0]


def _context(started: Started, part: str) -> SpanContext:
    """The ids: made of the rollout, so that a trace that is sent again is the same one."""
    trace = hashlib.sha256(f"{started.rollout}\n{started.at.isoformat()}".encode()).digest()
    span = hashlib.sha256(trace + part.encode()).digest()
    return SpanContext(
        trace_id=int.from_bytes(trace[:16]),
        span_id=int.from_bytes(span[:8]),
        is_remote=False,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )


def _span(
    source: Source,
    name: str,
    context: SpanContext,
    parent: SpanContext | None,
    times: tuple[datetime, datetime],
    attributes: Mapping[str, str],
    *,
    status: Status,
    kind: SpanKind = SpanKind.INTERNAL,
    events: Sequence[SpanEvent] = (),
) -> ReadableSpan:
    begin, end = times
    return ReadableSpan(
        name=name,
        context=context,
        parent=parent,
        resource=source.resource,
        attributes=attributes,
        events=events,
        kind=kind,
        status=status,
        start_time=_ns(begin),
        # A clock that went back makes no negative time.
        end_time=max(_ns(begin), _ns(end)),
        instrumentation_scope=source.scope,
    )


def _ns(at: datetime) -> int:
    """Nanoseconds since 1970, exactly."""
    return (at - _EPOCH) // _MICROSECOND * 1000
