"""The hashes of a real store's log, as they are stored."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.store import SqlStore, StoreCorrupt, StoreUnavailable
from deployer.adapters.store.leaves import Leaves
from deployer.core.events import DAEMON_LOG, DaemonStopped, StoreRestored
from tests.support.audited import events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
RESTORED = StoreRestored(at=AT, backup="sha256:0", events=1, lost=2, signed=3, given_up=("a",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    """One with three events."""
    with closing(SqlStore.open(tmp_path / "deployer.db")) as store:
        store.commit(store.load(DAEMON_LOG), [DaemonStopped(at=AT), RESTORED, DaemonStopped(at=AT)])
        yield store


def test_the_hashes_are_those_of_the_table_in_the_order_of_ids(store: SqlStore) -> None:
    """As many as are asked for."""
    leaves = Leaves(store.database)
    stored = [(one.id, one.hash) for one in events(store.database.path)]
    assert leaves.newest() == 3
    assert leaves.after(0, 10) == stored
    assert leaves.after(1, 1) == stored[1:2]
    assert leaves.after(3, 10) == []


def test_an_empty_store_has_none(tmp_path: Path) -> None:
    """Nor an event that one could ask of."""
    with closing(SqlStore.open(tmp_path / "deployer.db")) as store:
        leaves = Leaves(store.database)
        assert (leaves.newest(), leaves.after(0, 10), leaves.events(DAEMON_LOG, "store_restored")) == (
            0,
            [],
            [],
        )
        assert leaves.happened_at(1) is None


def test_events_of_one_type_are_read_whole(store: SqlStore) -> None:
    """And when one happened."""
    leaves = Leaves(store.database)
    assert leaves.events(DAEMON_LOG, "store_restored") == [RESTORED]
    assert leaves.events("staging", "store_restored") == []
    assert leaves.happened_at(2) == AT


def test_what_was_damaged_is_told(store: SqlStore) -> None:
    """An event that is none, a time that is none, a store that is closed."""
    with closing(sqlite3.connect(store.database.path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER events_no_update")
        connection.execute("UPDATE events SET data = '{}', at = 'soon' WHERE id = 2")
    leaves = Leaves(store.database)
    with pytest.raises(StoreCorrupt, match="cannot read an event of type store_restored"):
        leaves.events(DAEMON_LOG, "store_restored")
    assert leaves.happened_at(2) is None
    store.close()
    with pytest.raises(StoreUnavailable):
        leaves.newest()
