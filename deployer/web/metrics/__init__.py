"""What Prometheus reads: the registry of this process, what is measured, and `/metrics`.

Owns the names, the labels and the help of every metric (docs/metrics.md is made of them). Must not decide
anything, nor be needed for anything to work. Invariant: names end in their base unit; no label holds a
commit, a digest or a text of somebody else; a scrape costs one small query of the store, however long the
history is; and a store that cannot be read costs it those of the outbox, not the others.
"""

from __future__ import annotations

import platform
import sqlite3
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from deployer import __version__
from deployer.adapters.store import StoreError
from deployer.adapters.store.figures import Figures
from deployer.engine.outbox import LogTarget
from deployer.web.metrics import fleet
from deployer.web.metrics.collectors import (
    AnchorCollector,
    GitCollector,
    OutboxCollector,
    Sources,
    StoreCollector,
)
from deployer.web.metrics.family import CONTENT_TYPE, Family
from deployer.web.metrics.fleet import Fleet
from deployer.web.metrics.route import router
from deployer.web.metrics.wrappers import (
    ERRORS,
    OPERATIONS,
    OUTCOMES,
    CountedHooks,
    CountedRequests,
    Runs,
    TimedPasses,
    TimedStore,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp

    from deployer.core.anchoring import Anchorage
    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.core.status import Status
    from deployer.engine.ports import Store

__all__ = ["CONTENT_TYPE", "Family", "Metrics", "Sources", "router"]

_PASS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""A look takes milliseconds, a cluster that hangs 10 s, a PUT up to 120 s."""

_LATE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)

_COMMIT_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)
"""A commit is one fsync: 1 ms on a good disk, 10 ms on a slow one."""

_LOG_ALONE = MappingProxyType({LogTarget.name: LogTarget.audience})

log = structlog.get_logger(__name__)


class Views(Protocol):
    """What is asked of the store at the start."""

    def views(self) -> dict[str, tuple[datetime, dict[str, Any]]]:
        """The statuses that were published last, by environment."""


class Metrics:
    """A listener of the reconciler; its wrappers go around the other parts."""

    def __init__(
        self,
        *,
        environments: Sequence[str],
        repositories: Sequence[str],
        schemes: Mapping[str, str],
        sources: Sources,
        store: Views,
        store_path: Path,
        queue_depth: Callable[[], int],
        subscribers: Callable[[], int],
        targets: Mapping[str, str] = _LOG_ALONE,
        deliveries: Callable[[], Mapping[tuple[str, str], int]] = dict,
        anchored: Callable[[], Anchorage] | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Begin with what the store knows, if it can be read. `schemes`: of the webhooks, by repository.

        `targets` of the outbox have each its audience; `deliveries` are `deployer.engine.outbox.Outbox`'s.
        `anchored` tells how far the log is anchored, where it is.

        Close it when the store is closed.
        """
        # Else each counter would have a second series that tells when it was made. For the whole process;
        # nothing else in it has metrics.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's
        self.registry = CollectorRegistry()
        self._families: list[Family] = [*fleet.FAMILIES, fleet.CLUSTER_AGE]
        self._now = now
        self._figures = Figures(store_path)
        ended, views = [], {}
        try:
            ended, views = self._figures.ended(), store.views()
        except StoreError as error:
            log.warning("metrics_begin_anew", error=str(error))
        self._fleet = Fleet(environments, now=now(), ended=ended, views=views)
        self._schemes = dict(schemes)
        self._make(queue_depth, subscribers)
        self._gauge("deployer_environments", "How many environments the settings have.").set(
            len(environments)
        )
        for collector in (
            GitCollector(repositories, sources, now),
            StoreCollector(self._figures),
            OutboxCollector(self._figures, targets, deliveries, self._failures, now),
        ):
            self._families += collector.families
            self.registry.register(collector)
        self._families += AnchorCollector.families
        if anchored is not None:
            self.registry.register(AnchorCollector(anchored, self._figures, self._failures, now))
        for metric in ProcessCollector(registry=self.registry).collect():
            name = f"{metric.name}_total" if metric.type == "counter" else metric.name
            kind: Literal["counter", "gauge"] = "counter" if metric.type == "counter" else "gauge"
            self._families.append(Family(name=name, type=kind, help=metric.documentation))

    def _make(self, queue_depth: Callable[[], int], subscribers: Callable[[], int]) -> None:
        """The metrics of the daemon itself."""
        build = self._gauge("deployer_build_info", "1; what runs here.", "version", "python", "sqlite")
        build.labels(
            version=__version__, python=platform.python_version(), sqlite=sqlite3.sqlite_version
        ).set(1)
        self._gauge(
            "deployer_queue_depth", "Environments that wait for a worker to begin their pass."
        ).set_function(queue_depth)
        self._gauge("deployer_event_streams", "Open pages and programs that follow events.").set_function(
            subscribers
        )
        self._pass_seconds = self._histogram(
            "deployer_pass_duration_seconds",
            "How long passes took, by what followed: another at once, after a pause, or after a back-off.",
            _PASS_SECONDS,
            "outcome",
        )
        for outcome in OUTCOMES.values():
            self._pass_seconds.labels(outcome=outcome)
        self._late_seconds = self._histogram(
            "deployer_pass_lateness_seconds",
            "How late passes began that were due by the clock.",
            _LATE_SECONDS,
        )
        self._commit_seconds = self._histogram(
            "deployer_store_commit_duration_seconds",
            "How long it took until events were on disk, with the wait for other writers.",
            _COMMIT_SECONDS,
        )
        self._failures = self._counter(
            "deployer_store_failures_total",
            "What the store could not do for a pass or a scrape. A conflict is only tried again.",
            "operation",
            "error",
        )
        for operation in (*OPERATIONS, "scrape"):
            for error in ERRORS.values():
                if operation == "commit" or error != "conflict":
                    self._failures.labels(operation=operation, error=error)
        self._hook_results = self._counter(
            "deployer_webhooks_total",
            "Webhooks by what was answered. Without a repository: of those that have none in the settings.",
            "repository",
            "scheme",
            "result",
        )
        for repository, scheme in self._schemes.items():
            for result in ("accepted", "refused"):
                self._hook_results.labels(repository=repository, scheme=scheme, result=result)
        self._requests = self._counter(
            "deployer_http_requests_total",
            "Requests by the template of their route. Without a route: it met none, or was refused before.",
            "route",
            "method",
            "status",
        )

    # --- listening -------------------------------------------------------------------------------------

    def recorded(self, record: Record, event: Event) -> None:
        """An event became durable."""
        self._fleet.recorded(record, event)

    def observed(self, status: Status) -> None:
        """A status was published."""
        self._fleet.observed(status, self._now())

    # --- what stands around other parts ----------------------------------------------------------------

    def passes(self, runs: Runs) -> Runs:
        """The same passes, timed."""
        return TimedPasses(runs, duration=self._pass_seconds, lateness=self._late_seconds)

    def store(self, store: Store) -> Store:
        """The same store, for the reconciler."""
        return TimedStore(store, commits=self._commit_seconds, failures=self._failures)

    def hooks(self, app: ASGIApp) -> ASGIApp:
        """The same webhooks, counted."""
        return CountedHooks(app, schemes=self._schemes, results=self._hook_results)

    def requests(self, app: ASGIApp, routes: Sequence[BaseRoute]) -> ASGIApp:
        """The same application, its requests counted. `routes` are those in it."""
        return CountedRequests(app, routes=routes, requests=self._requests)

    # --- scraping --------------------------------------------------------------------------------------

    def text(self, only: Collection[str] | None = None) -> bytes:
        """Everything in Prometheus' text format; of the environments only these."""
        return self._fleet.text(self._now(), only).encode() + generate_latest(self.registry)

    def families(self) -> tuple[Family, ...]:
        """Every metric there is, also those without a series yet, by name."""
        return tuple(sorted(self._families, key=lambda family: family.name))

    def close(self) -> None:
        """Close the connections to the store."""
        self._figures.close()

    # --- making ----------------------------------------------------------------------------------------

    def _counter(self, name: str, help_: str, *labels: str) -> Counter:
        self._families.append(Family(name=name, type="counter", help=help_, labels=labels))
        return Counter(name, help_, labels, registry=self.registry)

    def _gauge(self, name: str, help_: str, *labels: str) -> Gauge:
        self._families.append(Family(name=name, type="gauge", help=help_, labels=labels))
        return Gauge(name, help_, labels, registry=self.registry)

    def _histogram(self, name: str, help_: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        self._families.append(Family(name=name, type="histogram", help=help_, labels=labels))
        return Histogram(name, help_, labels, buckets=buckets, registry=self.registry)
