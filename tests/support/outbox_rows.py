"""What waits in a store's outbox for the log, and how it is marked: as the daemon's worker does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.adapters.store import OutboxStore
from deployer.core.messages import PEOPLE
from tests.support.build import at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.adapters.store import OutboxRow, SqlStore

LOG = "log"


def undelivered(store: SqlStore, limit: int = 100_000) -> list[OutboxRow]:
    """The oldest messages that the log has not had."""
    outbox = OutboxStore(store.database)
    outbox.register(LOG, PEOPLE)
    return outbox.due(LOG, PEOPLE, at(0), limit)


def delivered(store: SqlStore, rows: Sequence[OutboxRow]) -> None:
    """The log had these."""
    OutboxStore(store.database).settle(LOG, rows, at(0))
