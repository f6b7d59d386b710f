"""The store: events, the records folded from them, the contents of releases, history, outbox, last status.

`SqlStore` is the daemon's; `SqlReader` is what commands read with while the daemon runs or is down. Each name
is imported when it is first asked for: SQLAlchemy takes 0.2 s, and `deployer status` needs none of it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployer.adapters.store.errors import Conflict, StoreCorrupt, StoreError, StoreUnavailable
    from deployer.adapters.store.outbox import OutboxRow, OutboxStore
    from deployer.adapters.store.reader import SqlReader, StoredEvent
    from deployer.adapters.store.sql import SqlStore

__all__ = [
    "Conflict",
    "OutboxRow",
    "OutboxStore",
    "SqlReader",
    "SqlStore",
    "StoreCorrupt",
    "StoreError",
    "StoreUnavailable",
    "StoredEvent",
]

_MODULES = {
    "Conflict": "errors",
    "OutboxRow": "outbox",
    "OutboxStore": "outbox",
    "SqlReader": "reader",
    "SqlStore": "sql",
    "StoreCorrupt": "errors",
    "StoreError": "errors",
    "StoreUnavailable": "errors",
    "StoredEvent": "reader",
}

if not TYPE_CHECKING:  # to mypy every name would be there

    def __getattr__(name: str) -> object:
        """Import it from where it is."""
        if name not in _MODULES:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value
