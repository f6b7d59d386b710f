"""What is asked for at the moment of a scrape: git's freshness, the store's size, the outbox.

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
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from prometheus_client import Counter

    from deployer.adapters.store.figures import Figures

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
OUTBOX = Family(name="deployer_outbox_messages", type="gauge", help="Messages that are not delivered yet.")
OUTBOX_AGE = Family(
    name="deployer_outbox_oldest_age_seconds",
    type="gauge",
    help="How long the oldest message has waited to be delivered; 0 if none waits.",
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
    """The store and its outbox."""

    families = (STORE_SIZE, OUTBOX, OUTBOX_AGE)

    def __init__(self, figures: Figures, failures: Counter, now: Callable[[], datetime]) -> None:
        """Ask `figures`; count in `failures` what cannot be asked."""
        self._figures = figures
        self._failures = failures
        self._now = now

    def describe(self) -> Iterator[Metric]:
        """The names, so that nothing is asked when it is registered."""
        yield from map(_metric, self.families)

    def collect(self) -> Iterator[Metric]:
        """Ask now."""
        size, messages, oldest = map(_metric, self.families)
        size.add_sample(size.name, {}, self._figures.size_bytes())
        try:
            waiting = self._figures.waiting()
        except StoreError as error:
            self._failures.labels(operation="scrape", error=ERRORS[type(error)]).inc()
        else:
            since = waiting.oldest_at
            age = 0.0 if since is None else max(0.0, (self._now() - since).total_seconds())
            messages.add_sample(messages.name, {}, waiting.count)
            oldest.add_sample(oldest.name, {}, age)
        yield from (size, messages, oldest)


def _metric(family: Family) -> Metric:
    """As the library has it: the name of a counter is without its ending there."""
    return Metric(family.name.removesuffix("_total"), family.help, family.type)
