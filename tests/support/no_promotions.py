"""A promoter of a daemon in which nothing is promoted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployer.engine.promoting import Promoter

if TYPE_CHECKING:
    from deployer.adapters.store import SqlStore


def no_promotions(store: SqlStore) -> Promoter:
    """The real one, without an edge."""
    return Promoter(
        edges=(),
        store=store,
        writers={},
        look_now=lambda _: None,
        now=lambda: datetime.now(UTC),
        commit=store.commit,
    )
