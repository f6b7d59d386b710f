"""One of several processes that write to the same logs. Run by `tests/integration/test_audit_writers.py`.

    python -m tests.support.audit_writer STORE SEED EVENTS ENVIRONMENT...

Reads a record, commits what follows from it, and does so again where somebody else was faster (`Conflict`),
until it has written that many events. Prints how many it wrote, and how often it was not the first.
"""

from __future__ import annotations

import json
import random
import sys
from contextlib import closing
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.adapters.store import Conflict, SqlStore, StoreUnavailable
from deployer.core.record import evolve
from tests.contract.histories import overtaken

if TYPE_CHECKING:
    from deployer.core.events import Event
    from deployer.core.record import Record

MOST_ROLLOUTS = 20
"""In one commit. A daemon has one, or a part of one: the disk would be what takes the time."""


def main(path: Path, seed: int, wanted: int, names: list[str]) -> None:
    """Write until so many events are there."""
    chance = random.Random(seed)
    written = conflicts = 0
    with closing(SqlStore.open(path)) as store:
        while written < wanted:
            record = store.load(chance.choice(names))
            events = _rollouts(record, chance.randint(1, MOST_ROLLOUTS), f"{seed} {written}")
            try:
                store.commit(record, events, [f"{seed} {written}"])
            except Conflict:
                conflicts += 1
            except StoreUnavailable:
                # The others held it for 5 s, which a daemon is told as well. Nothing was written.
                continue
            else:
                written += len(events)
    sys.stdout.write(json.dumps({"written": written, "conflicts": conflicts}))


def _rollouts(record: Record, count: int, name: str) -> list[Event]:
    events: list[Event] = []
    for number in range(count):
        more = overtaken(record, f"{name} {number}")
        record = reduce(evolve, more, record)
        events += more
    return events


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
