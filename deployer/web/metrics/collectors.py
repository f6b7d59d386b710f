"""What is asked for at the moment of a scrape: git's freshness, the store's size, the outbox, the anchors.

Owns these questions. Must not keep anything between scrapes. Invariant: nothing here waits for git or for a
writer of the store, and what cannot be asked is left out of this scrape, and counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from deployer.adapters.store import StoreError
from deployer.web.metrics.family import Family
from deployer.web.metrics.wrappers import ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from prometheus_client import Counter

    from deployer.adapters.store.figures import Figures
    from deployer.core.anchoring import Anchorage

GIT_AGE = Family(
    name="deployer_git_age_seconds",
    type="gauge",
    help="Since the beginning of the last look that succeeded; before the first, since the daemon's start.",
    labels=("repository",),
)
GIT_LOOKS = Family(
    name="deployer_git_looks_total",
    type="counter",
    help="Looks at a repository since the daemon's start.",
    labels=("repository", "result"),
)
STORE_SIZE = Family(
    name="deployer_store_size_bytes",
    type="gauge",
    help="What the store takes on disk, with the database's log.",
)
OUTBOX = Family(
    name="deployer_outbox_messages",
    type="gauge",
    help="Messages that are not delivered yet, dead letters apart.",
    labels=("target",),
)
OUTBOX_AGE = Family(
    name="deployer_outbox_oldest_age_seconds",
    type="gauge",
    help="How long the oldest message has waited to be delivered; 0 if none waits.",
    labels=("target",),
)
OUTBOX_DEAD = Family(
    name="deployer_outbox_dead_letters",
    type="gauge",
    help="Messages that are not offered to their target any more: `deployer outbox list` shows them.",
    labels=("target",),
)
OUTBOX_DELIVERIES = Family(
    name="deployer_outbox_deliveries_total",
    type="counter",
    help="Deliveries since the daemon's start, by what came of them; dead: given up.",
    labels=("target", "result"),
)

_RESULTS = ("delivered", "failed", "dead")

ANCHOR_AGE = Family(
    name="deployer_audit_anchor_age_seconds",
    type="gauge",
    help="Since a signed checkpoint of the log was last kept there; before the first, since the daemon's"
    " start. file is the state directory. Without `audit` in the settings there is none of these.",
    labels=("place",),
)
UNCOVERED = Family(
    name="deployer_audit_uncovered_events",
    type="gauge",
    help="Events that the newest checkpoint there does not cover.",
    labels=("place",),
)
SIGNED_STORE = Family(
    name="deployer_audit_store_fits",
    type="gauge",
    help="1; 0 once the store is not the one that was signed, and nothing is signed any more.",
)


class Looks(Protocol):
    """How far the looks at a repository are; see `deployer.engine.sources.Looks`."""

    @property
    def ended(self) -> int:
        """How many ended."""

    @property
    def failed(self) -> int:
        """How many of them met trouble."""

    @property
    def seen_at(self) -> datetime | None:
        """When the last one began that met none."""


class Sources(Protocol):
    """What is asked of the git sources."""

    def looks(self, repository: str) -> Looks:
        """Never blocks."""


class GitCollector(Collector):
    """The repositories."""

    families = (GIT_AGE, GIT_LOOKS)

    def __init__(self, repositories: Sequence[str], sources: Sources, now: Callable[[], datetime]) -> None:
        """Ask `sources` for these."""
        self._repositories = tuple(repositories)
        self._sources = sources
        self._now = now
        self._started_at = now()

    def describe(self) -> Iterator[Metric]:
        """The names, so that nothing is asked when it is registered."""
        yield from map(_metric, self.families)

    def collect(self) -> Iterator[Metric]:
        """Ask now."""
        age, looks = map(_metric, self.families)
        now = self._now()
        for name in self._repositories:
            found = self._sources.looks(name)
            seconds = (now - (found.seen_at or self._started_at)).total_seconds()
            age.add_sample(GIT_AGE.name, {"repository": name}, max(0.0, seconds))
            for result, count in (("ok", found.ended - found.failed), ("failed", found.failed)):
                looks.add_sample(GIT_LOOKS.name, {"repository": name, "result": result}, count)
        yield from (age, looks)


class StoreCollector(Collector):
    """The store's size."""

    families = (STORE_SIZE,)

    def __init__(self, figures: Figures) -> None:
        """Ask `figures`."""
        self._figures = figures

    def describe(self) -> Iterator[Metric]:
        """The names, so that nothing is asked when it is registered."""
        yield from map(_metric, self.families)

    def collect(self) -> Iterator[Metric]:
        """Ask now."""
        (size,) = map(_metric, self.families)
        size.add_sample(size.name, {}, self._figures.size_bytes())
        yield size


class OutboxCollector(Collector):
    """What waits for each target, and what came of its deliveries."""

    families = (OUTBOX, OUTBOX_AGE, OUTBOX_DEAD, OUTBOX_DELIVERIES)

    def __init__(
        self,
        figures: Figures,
        targets: Mapping[str, str],
        deliveries: Callable[[], Mapping[tuple[str, str], int]],
        failures: Counter,
        now: Callable[[], datetime],
    ) -> None:
        """Ask `figures` of these targets, each with its audience; `failures` counts what cannot be asked."""
        self._figures = figures
        self._targets = dict(targets)
        self._deliveries = deliveries
        self._failures = failures
        self._now = now

    def describe(self) -> Iterator[Metric]:
        """The names, so that nothing is asked when it is registered."""
        yield from map(_metric, self.families)

    def collect(self) -> Iterator[Metric]:
        """Ask now."""
        messages, oldest, dead, deliveries = map(_metric, self.families)
        counts = self._deliveries()
        try:
            for target, audience in self._targets.items():
                waiting, labels = self._figures.waiting(target, audience), {"target": target}
                since = waiting.oldest_at
                age = 0.0 if since is None else max(0.0, (self._now() - since).total_seconds())
                messages.add_sample(messages.name, labels, waiting.count)
                oldest.add_sample(oldest.name, labels, age)
                dead.add_sample(dead.name, labels, waiting.dead)
        except StoreError as error:
            self._failures.labels(operation="scrape", error=ERRORS[type(error)]).inc()
        for target in self._targets:
            for result in _RESULTS:
                count = counts.get((target, result), 0)
                deliveries.add_sample(OUTBOX_DELIVERIES.name, {"target": target, "result": result}, count)
        yield from (messages, oldest, dead, deliveries)


class AnchorCollector(Collector):
    """The checkpoints of the audit log, where they are kept."""

    families = (ANCHOR_AGE, UNCOVERED, SIGNED_STORE)

    def __init__(
        self,
        anchored: Callable[[], Anchorage],
        figures: Figures,
        failures: Counter,
        now: Callable[[], datetime],
    ) -> None:
        """Ask `anchored`, and `figures` for how many events there are."""
        self._anchored = anchored
        self._figures = figures
        self._failures = failures
        self._now = now
        self._started_at = now()

    def describe(self) -> Iterator[Metric]:
        """The names, so that nothing is asked when it is registered."""
        yield from map(_metric, self.families)

    def collect(self) -> Iterator[Metric]:
        """Ask now."""
        age, uncovered, fits = map(_metric, self.families)
        known = self._anchored()
        fits.add_sample(SIGNED_STORE.name, {}, int(not known.misfit))
        now = self._now()
        for one in known.kept:
            seconds = (now - (one.at or self._started_at)).total_seconds()
            age.add_sample(ANCHOR_AGE.name, {"place": one.place}, max(0.0, seconds))
        try:
            newest = self._figures.newest_event()
        except StoreError as error:
            self._failures.labels(operation="scrape", error=ERRORS[type(error)]).inc()
        else:
            for one in known.kept:
                uncovered.add_sample(UNCOVERED.name, {"place": one.place}, max(0, newest - one.size))
        yield from (age, uncovered, fits)


def _metric(family: Family) -> Metric:
    """As the library has it: the name of a counter is without its ending there."""
    return Metric(family.name.removesuffix("_total"), family.help, family.type)
