"""The store: events, the records folded from them, the contents of releases, history, outbox, last status.

`SqlStore` is the daemon's; `SqlReader` is what commands read with while the daemon runs or is down.
"""

from deployer.adapters.store.errors import Conflict, StoreCorrupt, StoreError, StoreUnavailable
from deployer.adapters.store.reader import OutboxRow, SqlReader, StoredEvent
from deployer.adapters.store.sql import SqlStore

__all__ = [
    "Conflict",
    "OutboxRow",
    "SqlReader",
    "SqlStore",
    "StoreCorrupt",
    "StoreError",
    "StoreUnavailable",
    "StoredEvent",
]
