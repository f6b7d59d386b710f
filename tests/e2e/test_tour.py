"""The README's tour really works, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.e2e import tour as module
from tests.support.prerequisites import require

pytestmark = [pytest.mark.ray, pytest.mark.e2e, pytest.mark.timeout(400)]


def test_the_tour() -> None:
    """Each suggestion does what is said of it; Ctrl-C stops everything that the demo started."""
    require("Ray", find_spec("ray") is not None, "pip install 'ray[serve]'")
    tour = module.take()
    first, good, after_good, broken, held, after_broken, fix, live, back, why, history = tour.steps

    assert "status" in tour.said_at_start
    assert json.loads(first.printed)["total"] == 6
    assert "user_config.price 3 -> 5" in good.said
    assert json.loads(after_good.printed)["total"] == 10
    assert "FAILED    fruit / MangoStand: ValueError: price must be a positive number, not -1" in broken.said
    assert "rollback" in broken.said
    assert "held: rolled back from" in held.printed
    assert "price must be a positive number, not -1" in held.printed
    assert json.loads(after_broken.printed)["total"] == 10
    assert '"a fair price" is live' in fix.said
    assert "Synced" in live.printed
    assert "is live again" in back.printed
    assert "too dear" in why.printed
    assert [line.split()[1] for line in history.printed.splitlines()[1:7]] == [
        "rollback",
        "deploy",
        "rollback",
        "deploy",
        "deploy",
        "deploy",
    ]

    assert tour.exit_code == 0, tour.said_at_end
    assert tour.said_at_end.rstrip().endswith("Stopped.")
    assert not tour.folder.exists()
    assert ray_sessions(tour.said_at_start) == []
    assert str(tour.folder) not in module.transcript(tour)


def ray_sessions(said: str) -> list[str]:
    """The command lines of processes that still listen for the demo's Ray head."""
    port = said.partition("Ray is up: http://127.0.0.1:")[2].partition(" ")[0]
    assert port.isdigit(), said
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if f"--dashboard-port={port}" in line or f"--port={port}" in line:
            found.append(line)
    return found
