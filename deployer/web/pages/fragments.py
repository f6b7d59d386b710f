"""The parts of a page that change while one looks at it: rendered for the page, and again for its stream.

Owns them, and that each is made once for everybody who looks. Must not know who listens, nor how it is sent.
Invariant: what a stream sends is what the page would show now, made by the same function; a part is made
again when its environment's version grew. Times in it: those of a row are told anew each time it is used, the
other parts are made again every `_FRESH_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from deployer.core.explain import DECIDED, explain
from deployer.web.cache import Cache
from deployer.web.pages import drawing, shown, words
from deployer.web.pages.shown import Row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.web.hub import Hub
    from deployer.web.models import Models
    from deployer.web.pages.render import Renderer

_FRESH_SECONDS = 15
"""Of `4 min ago` in a page without JavaScript, which comes again as often."""

_KEPT = 2_048
"""Parts: 500 environments, their pages, and the rollouts that people look at."""

_REPLICAS = 24
"""Drawn one by one; more are told by their number alone."""

_Wanted: TypeAlias = tuple[Hashable, Hashable, Callable[[], str]]
"""Key, version, and how it is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A row of the first page."""

    row: Row
    html: str


def environment_row(render: Renderer, view: Mapping[str, Any]) -> Rendered:
    """One environment of the first page, from its entry in `Models.environments`."""
    row = shown.row(view)
    return Rendered(row=row, html=render.part("_row.html", row=row))


def summary(render: Renderer, rows: Sequence[Row]) -> str:
    """The line above them."""
    return render.part("_summary.html", total=len(rows), parts=shown.summary(rows))


def environment_part(render: Renderer, found: Mapping[str, Any], *, may_deploy: bool) -> str:
    """An environment's own page, from `Models.environment`."""
    why = explain(found)
    return render.part(
        "_environment.html",
        env=found,
        row=shown.row(found),
        steps=shown.steps(found),
        why=why,
        evidence=shown.evidence(why["evidence"]),
        decided=next((line for line in why["policy"] if line["mark"] == DECIDED), None),
        may_deploy=may_deploy,
        may_retry=shown.may_retry(found),
        replicas=_REPLICAS,
    )


def rollout_part(render: Renderer, found: Mapping[str, Any], *, may_deploy: bool) -> str:
    """A rollout's page, from `Models.rollout`."""
    return render.part(
        "_rollout.html",
        one=found,
        result=words.result(found["result"]),
        phases=drawing.phases(found.get("phases") or (), render.now(), found["result"]),
        length=drawing.LENGTH,
        may_deploy=may_deploy,
    )


class Fragments:
    """The parts of every page. The plain methods are for threads, those with `async` for the event loop."""

    def __init__(self, render: Renderer, models: Models, hub: Hub) -> None:
        """Make them of these."""
        self._render = render
        self._models = models
        self._hub = hub
        self._rows: Cache[Rendered] = Cache(_KEPT)
        self._parts: Cache[str] = Cache(_KEPT)

    def rows(self, names: Sequence[str]) -> list[Rendered]:
        """The rows of these environments, in this order. One that is not there is left out.

        `names` are all that may be seen. Their times are those of when they were rendered: see
        `Renderer.fresh`.
        """
        visible = frozenset(names)
        keys = {name: (name, self._models.scope(name, visible)) for name in names}
        versions = {name: self._hub.version(name) for name in names}
        found = {name: self._rows.found(keys[name], version) for name, version in versions.items()}
        missing = [name for name, row in found.items() if row is None]
        for view in self._models.environments(frozenset(missing), visible) if missing else ():
            name = view["environment"]
            found[name] = self._rows.put(keys[name], versions[name], environment_row(self._render, view))
        return [row for row in found.values() if row is not None]

    def environment(self, name: str, *, may_deploy: bool, visible: frozenset[str] | None = None) -> str:
        """The part of an environment's page; no other environment is named than these (None: all).

        Raises Problem if it cannot be told.
        """
        return self._parts.get(*self._environment(name, may_deploy, visible))

    async def environment_soon(
        self, name: str, *, may_deploy: bool, visible: frozenset[str] | None = None
    ) -> str:
        """The same, made once for all who wait."""
        return await self._parts.soon(*self._environment(name, may_deploy, visible))

    def rollout(self, rollout: str, *, may_deploy: bool) -> str | None:
        """The part of a rollout's page; None if there is none of this id."""
        return self._parts.get(*self._rollout(rollout, may_deploy)) or None

    async def rollout_soon(self, rollout: str, *, may_deploy: bool) -> str | None:
        """The same, made once for all who wait."""
        return await self._parts.soon(*self._rollout(rollout, may_deploy)) or None

    def summary(self, rows: Sequence[Rendered]) -> str:
        """The line above the rows."""
        return summary(self._render, [one.row for one in rows])

    def _environment(
        self,
        name: str,
        may_deploy: bool,  # noqa: FBT001 - a part of a key
        visible: frozenset[str] | None,
    ) -> _Wanted:
        def make() -> str:
            found = self._models.environment(name, visible)
            return environment_part(self._render, found, may_deploy=may_deploy)

        return ("environment", name, may_deploy, visible), self._version(name), make

    def _rollout(self, rollout: str, may_deploy: bool) -> _Wanted:  # noqa: FBT001 - a part of a key
        def make() -> str:
            found = self._models.rollout(rollout)
            return rollout_part(self._render, found, may_deploy=may_deploy) if found else ""

        return ("rollout", rollout, may_deploy), self._version(rollout.rpartition("#")[0]), make

    def _version(self, name: str) -> tuple[int, int]:
        return self._hub.version(name), int(self._render.now().timestamp() // _FRESH_SECONDS)
