"""Where a command reads from: the store of this machine's daemon, or the API of one that was named.

Owns the choice, and the one shape that both give. Must not print, nor decide anything. Invariant: the same
question has the same answer either way, field by field; nothing is written; and what was published last is
read without the store's libraries, which take half of the time of `deployer status` to import.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from deployer.cli import context, server
from deployer.cli.client import Daemon, possible_environment
from deployer.cli.main import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import click

    from deployer.adapters.store import SqlReader
    from deployer.settings import Settings

_PAGE = 200
"""The most that the API gives at a time."""

_NEWEST = 20
"""As many as the API gives with a status. By them the time of the next one is guessed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which rollouts. `author` is all of `Ada <ada@example.com>`, or what stands before the `<`.

    `since` and `until` are of their start; `until` itself is not in.
    """

    environment: str | None = None
    kind: str | None = None
    result: str | None = None
    author: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Reads(Protocol):
    """What is asked. All of it is as docs/json.md has it."""

    @property
    def is_running(self) -> bool:
        """Whether the daemon runs; what is read is else what it saw last."""

    def statuses(self, environment: str | None) -> list[dict[str, Any]]:
        """The status of one environment, or of all."""

    def newest(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """The newest rollouts of its environment: of each at least `id`, `kind`, `result`, `took_seconds`."""

    def history(self, wish: Wish, limit: int) -> list[dict[str, Any]]:
        """The newest rollouts first."""

    def at(self, environment: str, time: datetime | None) -> dict[str, Any]:
        """What was live at this time, and who brought it; None is now. Raises Failure for the future."""

    def explain(self, environment: str) -> dict[str, Any] | None:
        """Why it is as it is; None if the daemon has not looked at it yet."""


@contextmanager
def opened(ctx: click.Context, environment: str | None = None) -> Iterator[Reads]:
    """Open what this command line names inside the `with` block.

    Raises Failure if the settings do not have `environment`, and where nothing can be read.
    """
    named = server.named(ctx)
    if named is not None:
        if environment is not None:
            possible_environment(environment)
        yield FromApi(Daemon.at(named))
        return
    settings = context.settings(ctx)
    if environment is not None:
        context.known_environment(settings, environment)
    from deployer.adapters.statedir import StateDirUnusable
    from deployer.adapters.store import StoreError

    try:
        with ExitStack() as stack:
            yield FromStore(settings, lambda: stack.enter_context(context.reading(settings)))
    except (StoreError, StateDirUnusable) as error:
        raise Failure(str(error)) from error


class FromStore:
    """The store, which can be read while the daemon is down."""

    def __init__(self, settings: Settings, opening: Callable[[], SqlReader]) -> None:
        """Take the settings, which say what environments there are. `opening` opens the store, once."""
        self._settings = settings
        self._opening = opening
        self._opened: SqlReader | None = None
        self._newest: dict[str, tuple[int | None, list[dict[str, Any]]]] = {}

    @property
    def is_running(self) -> bool:
        """Whether somebody holds the state directory. Raises StateDirUnusable if that cannot be known."""
        from deployer.adapters import statedir

        return statedir.holder(self._settings.state_dir) is not None

    def statuses(self, environment: str | None) -> list[dict[str, Any]]:
        """What was published last; for what was never looked at, that it was not."""
        views = self._views(environment)
        names = [environment] if environment is not None else list(self._settings.environments)
        return [views[name] if name in views else _unseen(name) for name in names]

    def history(self, wish: Wish, limit: int) -> list[dict[str, Any]]:
        """In one read."""
        from deployer.adapters.store.filters import RolloutFilter
        from deployer.adapters.store.search import Search
        from deployer.core.history import to_json

        found = Search(self._store().database).rollouts(RolloutFilter(**asdict(wish)), limit=limit)
        return [to_json(one.entry) for one in found]

    def at(self, environment: str, time: datetime | None) -> dict[str, Any]:
        """In one read."""
        from deployer.adapters.store.moments import Moments
        from deployer.core import past, past_told

        now = datetime.now(UTC)
        why = past.refused(environment, time, now) if time is not None else None
        if why is not None:
            raise Failure(why, Exit.USAGE)
        return past_told.to_json(*Moments(self._store().database).at(environment, time or now))

    def explain(self, environment: str) -> dict[str, Any] | None:
        """Made of the status that was published last."""
        from deployer.core.explain import explain

        views = self._views(environment)
        return explain(views[environment]) if environment in views else None

    def newest(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """Read again when the environment has another event."""
        environment, sequence = state["environment"], state["sequence"]
        before, found = self._newest.get(environment, (None, []))
        if before != sequence:
            found = self.history(Wish(environment=environment), _NEWEST)
            self._newest[environment] = (sequence, found)
        return found

    def _views(self, environment: str | None) -> dict[str, dict[str, Any]]:
        """What was published last, with when it was seen. If that cannot be read fast, the store says why."""
        from deployer.adapters.store.published import published
        from deployer.core.times import timestamp

        found = published(self._settings.state_dir / context.STORE_FILE, environment)
        if found is None:
            found = self._store().views(environment)
        return {name: {**view, "observed_at": timestamp(at)} for name, (at, view) in found.items()}

    def _store(self) -> SqlReader:
        if self._opened is None:
            self._opened = self._opening()
        return self._opened


class FromApi:
    """The API of a daemon that was named."""

    is_running = True

    def __init__(self, daemon: Daemon) -> None:
        """Take the daemon."""
        self._daemon = daemon

    def newest(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        """They came with the status."""
        return newest(state)

    def statuses(self, environment: str | None) -> list[dict[str, Any]]:
        """As it publishes them."""
        if environment is not None:
            return [self._daemon.get(environment, "status")]
        items: list[dict[str, Any]] = self._daemon.read("/environments")["items"]
        return items

    def history(self, wish: Wish, limit: int) -> list[dict[str, Any]]:
        """Read page by page, until there are enough or no more."""
        found: list[dict[str, Any]] = []
        before: str | None = None
        while len(found) < limit:
            page = self._daemon.read("/rollouts", **asdict(wish), limit=min(limit, _PAGE), before=before)
            found += page["items"]
            before = page["next"]
            if before is None:
                break
        return found[:limit]

    def at(self, environment: str, time: datetime | None) -> dict[str, Any]:
        """As it says."""
        found: dict[str, Any] = self._daemon.read(f"/environments/{environment}/at", time=time)
        return found

    def explain(self, environment: str) -> dict[str, Any] | None:
        """As it says."""
        return self._daemon.get(environment, "explain")

    def rollout(self, id_: str) -> dict[str, Any]:
        """One rollout with all that is known of it."""
        found: dict[str, Any] = self._daemon.read(f"/rollouts/{quote(id_, safe='')}")
        return found


def _unseen(name: str) -> dict[str, Any]:
    # This one needs all of the core.
    from deployer.core.telling import unseen

    return unseen(name)


def newest(state: dict[str, Any]) -> list[dict[str, Any]]:
    """The rollouts that the API gives with a status, newest first; those of a list come oldest first."""
    return list(state.get("rollouts") or reversed(state.get("bars") or []))
