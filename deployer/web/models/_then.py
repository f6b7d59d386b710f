"""What was live in an environment at a moment, and who brought it there.

Owns which names of other environments are left out. Must not decide who may see the environment that was
asked for: the caller does. Invariant: who may not see where a commit was promoted from is told neither that
name, nor the reason that was given there; and nothing is told of the future.
"""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from deployer.adapters.store.moments import Moments
from deployer.core import past, past_told
from deployer.core.events import PromotionAsked
from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from datetime import datetime

    from deployer.adapters.store.search import Search
    from deployer.core.events import Event


class Then:
    """What is told of a moment. Thread-safe."""

    def __init__(self, search: Search, now: Callable[[], datetime]) -> None:
        """Take what is read, and the clock."""
        self._moments = Moments(search.database)
        self._now = now

    def at(self, environment: str, time: datetime | None, visible: Collection[str] | None) -> dict[str, Any]:
        """What was live at that time; None is now. Raises Problem for one in the future."""
        now = self._now()
        why = past.refused(environment, time, now) if time is not None else None
        if why is not None:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, why, exit_code=USAGE)

        def shown(event: Event) -> Event:
            return _shown(event, visible)

        return past_told.to_json(*self._moments.at(environment, time or now, shown))


def _shown(event: Event, visible: Collection[str] | None) -> Event:
    """The event without the name of an environment that the caller may not see."""
    if visible is None or not isinstance(event, PromotionAsked) or event.source in visible:
        return event
    return replace(event, source="", rollout="", reason="")
