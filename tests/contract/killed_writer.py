"""Kills a writing process again and again, and looks at what it left. Run by `test_store_sqlite.py`.

A program of its own, so that it can fork: the children start in milliseconds, with everything imported.
Prints what it found after each kill, as JSON lines; fails with the first thing that is not whole.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import NoReturn

from deployer.adapters.store import SqlStore
from deployer.core.record import fold
from tests.contract.histories import overtaken
from tests.support.outbox_rows import undelivered

_BATCH = len(("seen", "started", "superseded"))
_LATEST_SECONDS = 0.03
"""The kill comes at a random moment up to this long after a first commit: some ten commits long."""
_FIRST_COMMIT_SECONDS = 20.0


def main(path: Path, kills: int, seed: int) -> None:
    """Kill that many writers, one after the other."""
    moments = random.Random(seed)
    acknowledged = 0
    for number in range(kills):
        acknowledged += _kill_one(path, moments.uniform(0.0, _LATEST_SECONDS), number)
        log = path.with_name(f"{path.name}-wal")
        unclean = log.exists() and log.stat().st_size > 0
        found = _look(path)
        if found < acknowledged or found > acknowledged + 1:
            sys.exit(f"{acknowledged} commits were acknowledged in all, {found} are there")
        acknowledged = found
        sys.stdout.write(json.dumps({"commits": found, "unclean": unclean}) + "\n")


def _kill_one(path: Path, after: float, number: int) -> int:
    """Start a writer, kill it that long after its first commit; return how many it acknowledged."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _write_for_ever(path, writing, number)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], _FIRST_COMMIT_SECONDS)
        time.sleep(after if ready else 0.0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    count = 0
    while chunk := os.read(reading, 65536):
        count += len(chunk)
    os.close(reading)
    if not count:
        sys.exit("the writer committed nothing")
    return count


def _write_for_ever(path: Path, acknowledge: int, number: int) -> NoReturn:
    try:
        store = SqlStore.open(path)
        while True:
            record = store.load("staging")
            store.commit(record, overtaken(record, f"{number}.{record.sequence}"), ["overtaken"])
            os.write(acknowledge, b".")
    finally:
        os._exit(1)


def _look(path: Path) -> int:
    """Check everything that is stored; return how many commits it is."""
    with closing(SqlStore.open(path)) as store:
        store._database.check()
        record = store.load("staging")
        events = store.events(limit=100_000)
        commits, rest = divmod(record.sequence, _BATCH)
        whole = {
            "no half batch": rest == 0 and len(events) == record.sequence,
            "record": fold("staging", [one.event for one in events]) == record,
            "chain": store.verify("staging") is None,
            "rollouts": len(store.history(limit=100_000)) == commits,
            "outbox": len(undelivered(store)) == commits,
        }
    if not all(whole.values()):
        sys.exit(f"not whole after {commits} commits: {whole}")
    return commits


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
