"""Commits a deploy with its messages, and is killed before anything is delivered.

`python -m tests.integration.killed_teller PATH NUMBER` in a process of its own: it says which commit it was,
and waits to be killed.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.adapters.store import SqlStore
from deployer.core.events import Superseded
from deployer.engine.news import News
from tests.support.build import at, release, seen, started

if TYPE_CHECKING:
    from deployer.core.events import Event


def told_and_killed(path: Path, number: int) -> str:
    """Do it; return the commit. The store is left as kill -9 leaves it."""
    command = [sys.executable, "-m", __name__, str(path), str(number)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        commit = process.stdout.readline().strip()
        process.send_signal(signal.SIGKILL)
        process.wait(20)
    assert len(commit) == 40, commit
    return commit


def main(path: Path, number: int) -> None:
    """Write, say so, and wait."""
    store, news = SqlStore.open(path), News({"staging": "configs"})
    record, what = store.load("staging"), release(f"number {number}")
    events: list[Event] = [seen(what, number)]
    if record.rollout is not None:
        ends = Superseded(at=at(number), rollout=record.rollout.id, by=what.revision.commit)
        events = [*events, ends]
    for event in [*events, started(what, number, second=number)]:
        record = store.commit(record, [event], news.of(record, event))
    sys.stdout.write(f"{what.revision.commit}\n")
    sys.stdout.flush()
    time.sleep(60)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
