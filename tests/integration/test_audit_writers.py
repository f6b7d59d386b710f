"""Several processes write to the same logs at once: both verifiers find each log whole, in whatever order."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.store import SqlStore, raw
from deployer.adapters.store.sqlite import Database
from deployer.core import audit
from deployer.core.record import fold
from tests.support.audited import Files, notes

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("dev", "staging", "production")
"""Fewer than there are writers, so that they meet."""

_SECONDS = 400


@pytest.mark.timeout(_SECONDS)
@pytest.mark.parametrize(
    ("writers", "events"),
    [
        pytest.param(4, 500, id="2,000 events"),
        pytest.param(5, 20_000, id="100,000 events", marks=pytest.mark.long),
    ],
)
def test_what_several_write_at_once_verifies(tmp_path: Path, writers: int, events: int) -> None:
    """Every event that was acknowledged is there, once, in its chain; also while they are still at it."""
    path = tmp_path / "deployer.db"
    SqlStore.open(path).close()
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.support.audit_writer", str(path), str(seed), str(events), *NAMES],
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(writers)
    ]
    looks = 0
    with closing(Database(path, read_only=True)) as database:
        while any(one.poll() is None for one in running):
            with raw.opened(database) as log:
                report = audit.verify(log.events(), store=log.facts())
            assert report.verdict is audit.Verdict.VERIFIED, report.findings
            looks += 1
    said = [json.loads(one.communicate(timeout=_SECONDS)[0]) for one in running]
    assert [one.returncode for one in running] == [0] * writers
    total = sum(one["written"] for one in said)
    assert total >= writers * events
    assert sum(one["conflicts"] for one in said) > 0
    assert looks > 1

    with closing(SqlStore.open(path)) as store:
        for name in NAMES:
            stored = store.events(name, limit=total)
            assert fold(name, [one.event for one in stored]) == store.load(name)
        assert [store.verify(name) for name in NAMES] == [None] * len(NAMES)
    found = Files(folder=tmp_path, log=path, notes=[notes(path, total // 2, total)]).both()
    assert found.code == 0
    assert found.lines[-1].startswith(f"Verified: {total:,} events of 3 environments, 2 signed checkpoints;")
