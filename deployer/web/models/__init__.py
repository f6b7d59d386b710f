"""The read models: what the API, the pages and the command line show, as plain dictionaries and lists.

Owns the shapes. Must not know HTTP, nor who asks: the caller says which environments may be seen (None: all).
Invariant: whatever is returned can be written as JSON, holds no value of a secret, names no environment that
may not be seen, and is shared between threads: nobody may change it.

Times are RFC 3339 in UTC, revisions full commit ids, digests `sha256:<hex>`, as in docs/json.md.
"""

from __future__ import annotations

import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from deployer.adapters.store.filters import EventFilter, RolloutFilter
from deployer.core import gates as gate_rules
from deployer.core import lineage
from deployer.core.history import to_json
from deployer.core.types import Desired
from deployer.web.models import _masks as masks
from deployer.web.models._approvals import approvals
from deployer.web.models._evidence import Evidence
from deployer.web.models._gates import gates
from deployer.web.models._numbers import Numbers
from deployer.web.models._overview import Overview
from deployer.web.models._past import Past, cursor
from deployer.web.models._plans import Plans, upstream
from deployer.web.models._then import Then
from deployer.web.models._wanted import git_says
from deployer.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from deployer.adapters.store.search import Search
    from deployer.core.gates import Gating
    from deployer.core.live import Observation
    from deployer.core.record import Record
    from deployer.core.types import Wanted
    from deployer.settings import Setting, Settings
    from deployer.web.models._ports import Sources, Store

__all__ = ["Models", "git_says", "masks"]

_ROLLOUTS = 10
_RELEASES = 5
"""The newest ones, on the page of an environment."""

_DOCTOR_SECONDS = 10.0
"""So long everybody gets the same answer of the doctor, who asks every server that there is."""

_WAIT_SECONDS = 10.0
"""For the answer of a doctor who was asked by somebody else: each who waits holds a thread."""


class Models:
    """What can be read of the daemon. Thread-safe."""

    def __init__(
        self,
        *,
        settings: Settings,
        explained: Sequence[Setting],
        store: Store,
        search: Search,
        sources: Sources,
        look: Callable[[str], Observation],
        doctor: Callable[[], dict[str, Any]],
        now: Callable[[], datetime],
        gating: Callable[[str, str | None], Gating] = lambda _environment, _commit: gate_rules.NONE,
    ) -> None:
        """Take the parts.

        `explained` are the settings in effect with their origins (`deployer.settings.explained`). `look`
        looks at an environment's cluster once, with its free resources, in its turn; it may raise Problem.
        `doctor` is the JSON of `deployer doctor -o json`; it may take seconds, and is asked by one thread at
        a time. `gating` is what a deploy of a commit to an environment has to wait for; None: its rules.
        """
        self._settings = settings
        self._explained = explained
        self._store = store
        self._search = search
        self._sources = sources
        self._now = now
        self._gating = gating
        self._related = {name: self._spoken_of_with(name) for name in settings.environments}
        self._overview = Overview(search, tuple(settings.environments))
        self._past = Past(store, search)
        addresses = {name: one.cluster.address for name, one in settings.environments.items()}
        self._evidence = Evidence(store, addresses)
        self._then = Then(search, now)
        self._plans = Plans(
            settings=settings,
            store=store,
            search=search,
            sources=sources,
            look=look,
            now=now,
            gating=gating,
        )
        self._numbers = Numbers(store, now)
        self._doctor = _Shared(doctor, _DOCTOR_SECONDS)

    # --- environments ----------------------------------------------------------------------------------

    def environments(
        self, names: Collection[str] | None, visible: Collection[str] | None = None
    ) -> list[dict[str, Any]]:
        """Of each environment the status, and `bars`: its last 20 rollouts, oldest first.

        A bar: `id`, `kind`, `result`, `took_seconds` (None while it runs), `started_at`. `visible` are those
        that may be spoken of.
        """
        found = self._overview.environments(names)
        return found if visible is None else [self._masked(view, visible) for view in found]

    def scope(self, name: str, visible: Collection[str]) -> frozenset[str] | None:
        """Which of the environments that the status of one may name are among these; None: all of them.

        Who has the same scope is told the same.
        """
        related = self._related[name]
        return None if related.issubset(visible) else related.intersection(visible)

    def environment(self, name: str, visible: Collection[str] | None = None) -> dict[str, Any]:
        """The status, `bars`, `rollouts` (10), `releases` (5), `gates`, and in `git` also what git says."""
        view = self._masked(self._overview.one(name), visible)
        record = self._store.load(name)
        wanted = lineage.admitted(self._sources.wanted(name), record)
        return {
            **view,
            "rollouts": [to_json(entry) for entry in self._store.history(name, limit=_ROLLOUTS)],
            "git": {**view["git"], **git_says(wanted)},
            "gates": self._gates(wanted, view, record, visible),
            "releases": self._past.releases(name, limit=_RELEASES, before=None)["items"],
        }

    def gates(self, name: str, visible: Collection[str] | None = None) -> list[dict[str, Any]]:
        """What stands before the next rollout, in order.

        Each has `name`, `verdict` (open, closed, skipped), `evidence`, `next_check` and `plan` (the digest
        that approvals have to be for, or None).
        """
        record = self._store.load(name)
        wanted = lineage.admitted(self._sources.wanted(name), record)
        return self._gates(wanted, self._masked(self._overview.one(name), visible), record, visible)

    def approvals(self, visible: Collection[str] | None) -> list[dict[str, Any]]:
        """The environments that wait for approvals: see `_approvals`."""
        return approvals(self.environments(visible, visible), lambda name: self._gating(name, None).rules)

    def plan(
        self, environment: str, *, to: str | None = None, visible: Collection[str] | None = None
    ) -> dict[str, Any]:
        """What a deploy of what git wants would do, or of a good release, named as for `rollback --to`.

        Raises Problem if git wants nothing that could be deployed, or there is no such release.
        """
        return self._plans.plan(environment, to, visible)

    # --- the past --------------------------------------------------------------------------------------

    def rollouts(
        self,
        *,
        environments: Collection[str] | None,
        environment: str | None = None,
        kind: str | None = None,
        result: str | None = None,
        author: str | None = None,
        digest: str | None = None,
        revision: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> dict[str, Any]:
        """The history, newest first: `items`, and `next`, the cursor for the page after it, or None.

        `author` may be only the name; `digest` and `revision` may be the first digits; `since` and `until`
        are of the start. Raises Problem for a `before` that is no cursor.
        """
        wanted = RolloutFilter(
            environments=environments,
            environment=environment,
            kind=kind,
            result=result,
            author=author,
            digest=digest,
            revision=revision,
            since=since,
            until=until,
        )
        return self._past.rollouts(wanted, limit=limit, before=before)

    def rollout(self, rollout: str, visible: Collection[str] | None = frozenset()) -> dict[str, Any] | None:
        """One rollout in full; None if there is none of this id.

        `visible` are the other environments that may be named: none, unless it says so.
        """
        return self._evidence.rollout(rollout, visible)

    def bundle(self, rollout: str, visible: Collection[str] | None) -> bytes | None:
        """The evidence of a rollout as a ZIP file; None if there is none of this id."""
        return self._evidence.bundle(rollout, visible)

    def event(self, *, environments: Collection[str] | None, event: str) -> dict[str, Any] | None:
        """One event in full, by its id or its place (`production:17`).

        None if there is none, or it may not be seen.
        """
        return self._evidence.event(event, environments)

    def at(
        self, environment: str, time: datetime | None = None, visible: Collection[str] | None = None
    ) -> dict[str, Any]:
        """What was live at that time, and who brought it; None is now. `visible` are those that may be named.

        Raises Problem for a time in the future.
        """
        return self._then.at(environment, time, visible)

    def releases(self, environment: str, *, limit: int = 50, before: str | None = None) -> dict[str, Any]:
        """What became good in an environment, newest first: `items` and `next`."""
        return self._past.releases(environment, limit=limit, before=before)

    def audit(
        self,
        *,
        environments: Collection[str] | None,
        environment: str | None = None,
        actor: str | None = None,
        type: str | None = None,  # noqa: A002 - what it is called in the log, and in the query
        result: str | None = None,
        rollout: str | None = None,
        revision: str | None = None,
        digest: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: str | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> dict[str, Any]:
        """The log, newest first; with `after` (the id of an event), oldest first from there on.

        `items`, and `next`: for `before`, or for `after` where that was given; None at the end. `actor` may
        be what stands before the bracket in `ada (token 3f2a9c1b)`. `revision` and `digest` also find the
        events of their rollouts; `result` finds those of rollouts that ended so. Raises Problem for a cursor
        that is none.
        """
        wanted = EventFilter(
            environments=environments,
            environment=environment,
            actor=actor,
            type=type,
            result=result,
            rollout=rollout,
            revision=revision,
            digest=digest,
            since=since,
            until=until,
            before=cursor(before),
            after=cursor(after),
        )
        return self._past.audit(wanted, limit=limit)

    def stats(
        self, *, environments: Collection[str] | None, environment: str | None = None, days: int = 30
    ) -> list[dict[str, Any]]:
        """The four numbers (`core.dora`) of each environment, with its name; at most a minute old."""
        names = [
            name
            for name in self._settings.environments
            if (environments is None or name in environments) and environment in {None, name}
        ]
        return [{"environment": name, **self._numbers.of(name, days)} for name in names]

    # --- the daemon ------------------------------------------------------------------------------------

    def doctor(self) -> dict[str, Any]:
        """As `deployer doctor -o json`, at most 10 s old. Raises Problem if the doctor takes very long."""
        return self._doctor.get()

    def settings(self) -> list[dict[str, Any]]:
        """The settings in effect: `key` with dots, `value`, `origin`."""
        return [{"key": one.key, "value": one.value, "origin": one.origin} for one in self._explained]

    # --- helpers ---------------------------------------------------------------------------------------

    def _gates(
        self, wanted: Wanted, view: Mapping[str, Any], record: Record, visible: Collection[str] | None
    ) -> list[dict[str, Any]]:
        others: Mapping[str, Record] = {}
        if isinstance(wanted, Desired):
            digest = wanted.release.digest
            all_others = upstream(self._settings, self._search, self._store.load, record.environment, digest)
            others = masks.upstream(all_others, digest, visible)
        return gates(wanted, record, others, view, self._now())

    def _masked(self, view: dict[str, Any], visible: Collection[str] | None) -> dict[str, Any]:
        """The status without the names that may not be known; itself if it has none."""
        requires = self._gating(view["environment"], None).rules.requires
        return masks.masked(view, requires, visible)

    def _spoken_of_with(self, name: str) -> frozenset[str]:
        """The environments that the status of this one may name."""
        environments = self._settings.environments
        key = environments[name].cluster.key
        neighbours = {other for other, one in environments.items() if one.cluster.key == key}
        return frozenset(neighbours.union(self._gating(name, None).rules.requires) - {name})


class _Shared:
    """An answer that takes long, for everybody who asks within some seconds."""

    def __init__(self, ask: Callable[[], dict[str, Any]], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._answer: dict[str, Any] | None = None
        self._asked_at = 0.0
        self._lock = threading.Lock()

    def get(self) -> dict[str, Any]:
        """Whoever comes while it is being asked waits for that answer; raises Problem if it does not come."""
        if not self._lock.acquire(timeout=_WAIT_SECONDS):
            detail = "This was asked already, and is not answered yet: try again in a moment."
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail)
        try:
            if self._answer is None or time.monotonic() - self._asked_at > self._seconds:
                self._answer = self._ask()
                self._asked_at = time.monotonic()
            return self._answer
        finally:
            self._lock.release()
