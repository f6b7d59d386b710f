"""Where commands read the audit log: the store of this machine's daemon, or the API of one that was named.

Owns the reads, and which events a person asks for. Must not print. Invariant: the same question has the same
answer either way, field by field; and the store is not held open while nothing is asked of it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from deployer.cli import context, server
from deployer.cli.answers import NotNow
from deployer.cli.client import Daemon, possible_environment
from deployer.cli.main import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

    from deployer.adapters.store import SqlReader
    from deployer.adapters.store.search import Logged, Search
    from deployer.settings import Settings

PAGE = 200
"""The most that the API gives at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which events. `actor` is all of `ada (local)`, or what stands before the bracket.

    `result` is of their rollout; `revision` and `digest`, which may be the first digits, are of that or of
    what an event outside a rollout is about. `since` and `until` are of when they happened; `until` itself
    is not in.
    """

    environment: str | None = None
    actor: str | None = None
    type: str | None = None
    result: str | None = None
    rollout: str | None = None
    revision: str | None = None
    digest: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Log(Protocol):
    """What is asked. Items are as docs/json.md has them. Raises NotNow where it may be answered later."""

    pause_seconds: ClassVar[float]
    """Between two looks for what is new."""

    def last(self, wish: Wish, limit: int) -> list[dict[str, Any]]:
        """The newest events that fit, newest first."""

    def newest(self, environment: str | None) -> int:
        """The id of the newest event; 0 if there is none."""

    def between(self, wish: Wish, after: int, last: int) -> list[dict[str, Any]]:
        """The oldest events that fit of those after one id, up to another; a page at most, oldest first."""

    def unfinished(self, environment: str | None) -> frozenset[str]:
        """The ids of the rollouts that are in progress."""

    def rollouts(self, environment: str, before: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """A page of an environment's rollouts, newest first, and where the next one begins, if any."""

    def require(self, environment: str) -> None:
        """Raise UsageError if the settings have no such environment."""

    def rest(self) -> None:
        """Nothing is asked for a while."""


@contextmanager
def opened(ctx: click.Context, environment: str | None) -> Iterator[Log]:
    """Open what this command line names inside the `with` block."""
    named = server.named(ctx)
    if named is not None:
        if environment is not None:
            possible_environment(environment)
        yield FromApi(Daemon.at(named))
        return
    log = FromStore(context.settings(ctx))
    try:
        yield log
    finally:
        log.rest()


class FromStore:
    """The store, which can be read while the daemon is down."""

    pause_seconds: ClassVar[float] = 0.5
    """A look for what is new opens the store and reads the end of an index: 3 ms."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings of the daemon. Nothing is opened yet."""
        self._settings = settings
        self._path = settings.state_dir / context.STORE_FILE
        self._opened: SqlReader | None = None

    def rest(self) -> None:
        """Close it: a daemon that stops meanwhile can leave its store in order, and another be put there."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def last(self, wish: Wish, limit: int) -> list[dict[str, Any]]:
        """In one read."""
        from deployer.adapters.store.filters import EventFilter

        with self._reading() as search:
            return [_item(one) for one in search.events(EventFilter(**asdict(wish)), limit=limit)]

    def newest(self, environment: str | None) -> int:
        """The end of one index."""
        found = self.last(Wish(environment=environment), 1)
        return int(found[0]["id"]) if found else 0

    def between(self, wish: Wish, after: int, last: int) -> list[dict[str, Any]]:
        """In one read."""
        from deployer.adapters.store.filters import EventFilter

        wanted = EventFilter(**asdict(wish), after=after, before=last + 1)
        with self._reading() as search:
            return [_item(one) for one in search.events(wanted, limit=PAGE)]

    def unfinished(self, environment: str | None) -> frozenset[str]:
        """One for each environment at most."""
        from deployer.adapters.store.filters import RolloutFilter

        wanted = RolloutFilter(environment=environment, result="in_progress")
        with self._reading() as search:
            return frozenset(one.entry.id for one in search.rollouts(wanted, limit=_ALL))

    def rollouts(self, environment: str, before: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """As the API gives them."""
        from deployer.adapters.store.filters import RolloutFilter
        from deployer.core.history import to_json

        place = None if before is None else int(before)
        with self._reading() as search:
            found = search.rollouts(RolloutFilter(environment=environment), limit=PAGE, before=place)
        following = str(found[-1].place) if len(found) == PAGE else None
        return [to_json(one.entry) for one in found], following

    def require(self, environment: str) -> None:
        """One that they do not have any more may have events all the same: this is for who found none."""
        context.known_environment(self._settings, environment)

    @contextmanager
    def _reading(self) -> Iterator[Search]:
        """What can be asked. What may pass by itself (the store is moved, or being migrated) is NotNow."""
        from deployer.adapters.statedir import StateDirUnusable
        from deployer.adapters.store import StoreError, StoreUnavailable
        from deployer.adapters.store.search import Search

        try:
            store = self._store()
        except (StoreError, StateDirUnusable) as error:
            # Also what looks damaged: half of a backup that is being copied here.
            raise NotNow(str(error)) from error
        try:
            yield Search(store.database)
        except StoreUnavailable as error:
            self.rest()
            raise NotNow(str(error)) from error
        except StoreError as error:
            raise Failure(str(error)) from error

    def _store(self) -> SqlReader:
        from deployer.adapters.store import SqlStore

        if self._opened is None:
            self._opened = SqlStore.open_readonly(self._path)
        return self._opened


class FromApi:
    """The API of a daemon that was named."""

    pause_seconds: ClassVar[float] = 1.0
    """A look for what is new is one request."""

    def __init__(self, daemon: Daemon) -> None:
        """Take the daemon."""
        self._daemon = daemon

    def last(self, wish: Wish, limit: int) -> list[dict[str, Any]]:
        """Page by page."""
        found: list[dict[str, Any]] = []
        before: str | None = None
        while len(found) < limit:
            page = self._daemon.read("/audit", **asdict(wish), limit=min(limit, PAGE), before=before)
            found += page["items"]
            before = page["next"]
            if before is None:
                break
        return found[:limit]

    def newest(self, environment: str | None) -> int:
        """Of those that the caller may see."""
        found = self.last(Wish(environment=environment), 1)
        return int(found[0]["id"]) if found else 0

    def between(self, wish: Wish, after: int, last: int) -> list[dict[str, Any]]:
        """One page."""
        found: list[dict[str, Any]] = self._daemon.read(
            "/audit", **asdict(wish), limit=PAGE, after=str(after), before=str(last + 1)
        )["items"]
        return found

    def unfinished(self, environment: str | None) -> frozenset[str]:
        """Page by page."""
        found: set[str] = set()
        before: str | None = None
        while True:
            page = self._daemon.read(
                "/rollouts", environment=environment, result="in_progress", limit=PAGE, before=before
            )
            found.update(one["id"] for one in page["items"])
            before = page["next"]
            if before is None:
                return frozenset(found)

    def rollouts(self, environment: str, before: str | None) -> tuple[list[dict[str, Any]], str | None]:
        """One page."""
        page = self._daemon.read("/rollouts", environment=environment, limit=PAGE, before=before)
        return page["items"], page["next"]

    def require(self, environment: str) -> None:
        """The settings are not here: nothing is known to be wrong."""

    def rest(self) -> None:
        """Each request stands for itself."""


_ALL = 1_000_000
"""More than there are environments, of which each has one rollout in progress at most."""


def _item(logged: Logged) -> dict[str, Any]:
    from deployer.core.telling import says
    from deployer.core.times import timestamp

    event = logged.event
    return {
        "id": logged.id,
        "environment": logged.environment,
        "sequence": logged.sequence,
        "type": event.type,
        "at": timestamp(event.at),
        "actor": event.actor,
        "reason": event.reason,
        "rollout": logged.rollout or None,
        "hash": logged.hash,
        "says": says(event),
    }
