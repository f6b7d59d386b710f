"""What the read models need of the daemon, as small protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.adapters.store.sqlite import Database
    from deployer.core.commands import GoodRelease
    from deployer.core.history import Entry
    from deployer.core.record import Record
    from deployer.core.types import ServeConfig, Wanted


class Store(Protocol):
    """The store, for reading."""

    @property
    def database(self) -> Database:
        """The open database, for what else is read of it."""

    def load(self, environment: str) -> Record:
        """The record of an environment; an empty one if it has no events."""

    def config(self, digest: str) -> ServeConfig:
        """The config with this digest."""

    def history(
        self, environment: str | None = None, *, limit: int = 20, before: str | None = None
    ) -> Sequence[Entry]:
        """The newest rollouts first; those before the one of this id."""

    def good_releases(self, environment: str, *, limit: int = 1000) -> Sequence[GoodRelease]:
        """What became good, newest first."""


class Sources(Protocol):
    """The threads that follow git."""

    def wanted(self, environment: str) -> Wanted:
        """What git wants. Never blocks."""
