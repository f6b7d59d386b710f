"""One rollout in full, one event in full, and the evidence of a rollout as one file.

Owns which names of other environments are left out of them. Must not decide who may see the environment that
they are of: the caller does. Invariant: who may not see every environment is told of no other one by a gate,
a promotion or a refusal that is in the log of one that they may see.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deployer.core import bundle, dossier
from deployer.core.event_shown import Written, named
from deployer.engine.dossiers import Dossiers, Of, as_yaml
from deployer.web.models import _masks as masks

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from deployer.core.dossier import Dossier
    from deployer.web.models._ports import Store


class Evidence:
    """What is read of one rollout, or of one event. Thread-safe."""

    def __init__(self, store: Store, clusters: Mapping[str, str]) -> None:
        """`clusters` are the addresses, by environment."""
        self._dossiers = Dossiers(store, clusters)

    def rollout(self, rollout: str, visible: Collection[str] | None) -> dict[str, Any] | None:
        """All there is to know of a rollout; None if there is none of this id."""
        found = self._dossiers.rollout(rollout)
        return None if found is None else dossier.to_json(_dossier(found, visible), as_yaml)

    def event(self, name: str, visible: Collection[str] | None) -> dict[str, Any] | None:
        """An event with all that it says; None if there is none of this name, or it may not be seen."""
        place = named(name)
        found = None if place is None else self._dossiers.event(place)
        if found is None or (visible is not None and found.written.environment not in visible):
            return None
        of = found.dossier
        shown = None if of is None else _dossier(of, visible)
        return self._dossiers.told(Of(written=_written(found.written, visible), dossier=shown))

    def bundle(self, rollout: str, visible: Collection[str] | None) -> bytes | None:
        """The evidence of a rollout as a ZIP file; None if there is no rollout of this id."""
        found = self._dossiers.rollout(rollout)
        if found is None:
            return None
        around = self._dossiers.around(found)
        return bundle.packed(bundle.files(_dossier(found, visible), around, as_yaml))


def _dossier(found: Dossier, visible: Collection[str] | None) -> Dossier:
    if visible is None:
        return found

    def told(events: Iterable[Written]) -> tuple[Written, ...]:
        return tuple(_written(one, visible) for one in events)

    return replace(
        found,
        events=told(found.events),
        wishes=told(found.wishes),
        seen=found.seen and _written(found.seen, visible),
        follower=found.follower and _written(found.follower, visible),
    )


def _written(one: Written, visible: Collection[str] | None) -> Written:
    """The event without the names that the caller may not know. Its hash stays that of what was written."""
    return replace(one, event=masks.event(one.event, visible))
