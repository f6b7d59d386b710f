"""Puts together what there is of one rollout, and of one event, for every face and for a bundle of evidence.

Owns which parts are read. Must not know who asks, nor what is shown of it. Invariant: nothing here writes, no
cluster and no repository is asked: it is there while the daemon is down too.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import yaml

from deployer import __version__
from deployer.adapters import schemas
from deployer.adapters.store.evidence import Evidence
from deployer.adapters.store.revision import NEWEST
from deployer.adapters.store.search import Search
from deployer.core import dossier as dossiers
from deployer.core.bundle import Surroundings
from deployer.core.dossier import Dossier
from deployer.core.event_shown import Written
from deployer.core.events import RollbackAsked, Seen, Started
from deployer.core.hiding import hiding, names_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.adapters.store.sqlite import Database
    from deployer.core.record import Record
    from deployer.core.types import ServeConfig


class Store(Protocol):
    """What it needs of the store."""

    @property
    def database(self) -> Database:
        """The open database."""

    def load(self, environment: str) -> Record:
        """The record of an environment."""

    def config(self, digest: str) -> ServeConfig:
        """The config with this digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Of:
    """An event, and the rollout that it is of, if it is of one."""

    written: Written
    dossier: Dossier | None = None


class Dossiers:
    """Reads dossiers. Thread-safe."""

    def __init__(self, store: Store, clusters: Mapping[str, str]) -> None:
        """`clusters` are the addresses, by environment, as the settings have them."""
        self._store = store
        self._search = Search(store.database)
        self._evidence = Evidence(store.database)
        self._clusters = clusters

    def rollout(self, rollout: str) -> Dossier | None:
        """All that there is of a rollout; None if there is none of this id."""
        placed = self._search.rollout(rollout)
        if placed is None:
            return None
        entry, place = placed.entry, placed.place
        events = tuple(self._evidence.of_rollout(rollout))
        before = self._search.good_before(entry.environment, place)
        answer = self._search.rollout(entry.followed_by) if entry.followed_by else None
        seen = None
        if entry.kind.value == "deploy":
            seen = self._evidence.seen_before(entry.environment, entry.release.digest, place)
        return Dossier(
            entry=entry,
            events=events,
            config=self._store.config(entry.release.digest),
            ray_version=self._rules(entry.environment, events),
            record=self._store.load(entry.environment),
            seen=seen,
            wishes=tuple(self._evidence.wishes(entry.environment, entry.release, place)),
            before=before,
            config_before=self._store.config(before.release.digest) if before else None,
            follower=self._evidence.event(answer.place) if answer else None,
            answer=answer.entry if answer else None,
        )

    def event(self, place: int | tuple[str, int]) -> Of | None:
        """The event with this id, or in this place of the log of an environment; None if there is none."""
        written = self._evidence.event(place)
        if written is None:
            return None
        return Of(written=written, dossier=self.rollout(written.rollout) if written.rollout else None)

    def told(self, of: Of) -> dict[str, Any]:
        """The event in full, as `docs/json.md` describes it."""
        written, dossier = of.written, of.dossier
        bodies = dossier.bodies if dossier is not None else ()
        if isinstance(written.event, Seen | RollbackAsked):
            bodies = (self._store.config(written.event.release.digest).body(),)
        names = [written.environment, *(name for body in bodies for name in names_of(body))]
        return dossiers.event_in_full(written, dossier, hiding(bodies, names))

    def around(self, dossier: Dossier) -> Surroundings:
        """What else belongs into a bundle."""
        environment = dossier.entry.environment
        return Surroundings(
            deployer=__version__,
            python=platform.python_version(),
            store_schema=NEWEST,
            serve_schema=_schema(dossier.ray_version),
            cluster=self._clusters.get(environment),
            ray_version=self._ray_version(environment),
            daemon=self._evidence.daemon_before(dossier.events[0].id),
        )

    def _rules(self, environment: str, events: tuple[Written, ...]) -> str:
        """The Ray by whose rules changes are told: that of the cluster when it began, or was last seen."""
        began = next((one.event.ray_version for one in events if isinstance(one.event, Started)), "")
        return began or self._ray_version(environment) or schemas.NEWEST

    def _ray_version(self, environment: str) -> str | None:
        """What the cluster was last seen to run."""
        for _at, text in self._search.views([environment]).values():
            cluster = json.loads(text).get("cluster")
            return str(cluster["ray_version"]) if cluster else None
        return None


def as_yaml(value: object) -> str:
    """Plain data as YAML, sorted."""
    # libyaml, where it is there, takes a tenth of the time.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(value, Dumper=dumper, sort_keys=True, allow_unicode=True))


def _schema(ray_version: str) -> str:
    """The version of Ray whose schema this deployer checks such a config with."""
    try:
        return schemas.schema(ray_version).ray_version
    except ValueError:
        return schemas.NEWEST
