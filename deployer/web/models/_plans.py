"""The daemon's plans: what a deploy of what git wants would do, or a rollback to a good release.

Owns what the daemon puts on the planner's desk: what git says at this moment, one look at the cluster, the
store. Must not put the plan together: that is `engine.planner`. Invariant: nothing is changed by a plan, and
the records of other environments are loaded only where the same config was ever wanted.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from deployer.adapters import schemas
from deployer.core import commands, lineage, sentences
from deployer.core.live import Live
from deployer.core.plan_json import to_json
from deployer.core.types import Desired
from deployer.engine import planner
from deployer.engine.planner import Side
from deployer.web.models import _masks as masks
from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from deployer.adapters.store.search import Search
    from deployer.core.commands import GoodRelease
    from deployer.core.gates import Gating
    from deployer.core.history import Entry
    from deployer.core.live import Observation
    from deployer.core.record import Record
    from deployer.core.serve_schema import Schema
    from deployer.settings import Settings
    from deployer.web.models._ports import Sources, Store

_HISTORY = 50
"""Rollouts that are looked back on for durations. A person waits, and each good one is read and checked."""

_INVALID_CONFIG = 3
"""The exit code of `deployer plan` where git has no config that could be deployed."""


class Plans:
    """Makes plans. Thread-safe: each has a desk of its own."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: Store,
        search: Search,
        sources: Sources,
        look: Callable[[str], Observation],
        now: Callable[[], datetime],
        gating: Callable[[str, str | None], Gating],
    ) -> None:
        """`look` looks at an environment's cluster once, with its free resources; `gating` is its gates'."""
        self._settings = settings
        self._store = store
        self._search = search
        self._sources = sources
        self._look = look
        self._now = now
        self._gating = gating

    def plan(self, environment: str, to: str | None, visible: Collection[str] | None) -> dict[str, Any]:
        """The plan as JSON. Raises Problem if there is nothing that could be planned.

        `visible` are the environments that may be spoken of; None is all.
        """
        desk = _Desk(
            settings=self._settings,
            store=self._store,
            search=self._search,
            look=self._look,
            now=self._now(),
            gating=self._gating,
            visible=visible,
        )
        record = desk.record(environment)
        if to is not None:
            return self._way_back(desk, record, to)
        wanted = lineage.admitted(self._sources.wanted(environment), record)
        if not isinstance(wanted, Desired):
            detail = sentences.nothing_to_deploy(wanted, record)
            raise Problem(HTTPStatus.CONFLICT, detail, exit_code=_INVALID_CONFIG)
        release = wanted.release
        side = Side(
            label=sentences.name(release),
            body=release.config.body(),
            release=release,
            policy=wanted.policy,
            notes=wanted.notes,
        )
        requires = self._gating(environment, None).rules.requires
        return masks.plan(to_json(planner.plan(desk, environment, side)), requires, visible)

    def _way_back(self, desk: _Desk, record: Record, to: str) -> dict[str, Any]:
        """A person's rollback goes at once: no gate of a deploy is in its way, only its own refusal."""
        environment = record.environment
        releases = self._store.good_releases(environment)
        answer = commands.rollback(record, to=to, releases=releases, actor="", reason="", now=desk.now)
        found = commands.find_good(environment, to, releases)
        if found is None:
            why = answer.why if isinstance(answer, commands.Declined) else answer.message
            raise Problem(HTTPStatus.NOT_FOUND, why, exit_code=USAGE)
        side = Side(
            label=f"{found.rollout} {sentences.name(found.release)}",
            body=found.release.config.body(),
            release=found.release,
            policy=found.policy,
        )
        refused = answer.why if isinstance(answer, commands.Declined) else None
        planned = to_json(planner.plan(desk, environment, side))
        return {**planned, "gates": [{"what": "refused", "why": refused}] if refused is not None else []}


class _Desk:
    """What one plan is made at."""

    def __init__(
        self,
        *,
        settings: Settings,
        store: Store,
        search: Search,
        look: Callable[[str], Observation],
        now: datetime,
        gating: Callable[[str, str | None], Gating],
        visible: Collection[str] | None,
    ) -> None:
        self.now = now
        self.gating = gating
        self._visible = visible
        self._settings = settings
        self._store = store
        self._search = search
        self._look = look
        self._seen: dict[str, Observation] = {}
        self._records: dict[str, Record] = {}

    def record(self, environment: str) -> Record:
        """Of one plan always the same, whatever passes write meanwhile."""
        if environment not in self._records:
            self._records[environment] = self._store.load(environment)
        return self._records[environment]

    def look(self, environment: str) -> Observation:
        """One look."""
        if environment not in self._seen:
            self._seen[environment] = self._look(environment)
        return self._seen[environment]

    def address(self, environment: str) -> str:
        """Where the cluster is."""
        return self._settings.environments[environment].cluster.address

    def schema(self, environment: str, pinned: str | None) -> Schema:
        """Of this Ray, or of the cluster's."""
        seen = self._seen.get(environment)
        if pinned is None and isinstance(seen, Live):
            pinned = seen.ray_version
        return schemas.schema(pinned)

    def neighbours(self, environment: str) -> Mapping[str, str]:
        """The applications of the other environments on the same cluster."""
        environments = self._settings.environments
        key = environments[environment].cluster.key
        return {
            app: name
            for name, other in environments.items()
            if name != environment and other.cluster.key == key
            for app in self.record(name).apps
        }

    def upstream(self, environment: str, digest: str) -> Mapping[str, Record]:
        """The records of the other environments that ever wanted this digest: no other can hold it."""
        found = upstream(self._settings, self._search, self.record, environment, digest)
        return masks.upstream(found, digest, self._visible)

    def history(self, environment: str) -> Sequence[Entry]:
        """The newest rollouts."""
        return self._store.history(environment, limit=_HISTORY)

    def good_releases(self, environment: str) -> Sequence[GoodRelease]:
        """What became good in them."""
        return self._store.good_releases(environment, limit=_HISTORY)


def upstream(
    settings: Settings,
    search: Search,
    load: Callable[[str], Record],
    environment: str,
    digest: str,
) -> dict[str, Record]:
    """The records of the other environments that ever wanted this digest, in the order of the settings."""
    saw = search.saw(digest) - {environment}
    return {name: load(name) for name in settings.environments if name in saw}
