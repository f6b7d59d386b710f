"""`python -m benchmarks [--quick] [NAME ...]`: run, print a table, write `benchmarks/results.json`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import (
    audit,
    back_to_good,
    cron_loop,
    detection,
    faces,
    forge_away,
    front_page,
    idle,
    idle_poll,
    outbox,
    past,
    plan,
    push_to_healthy,
    push_to_put,
    terminal,
    validate,
    webhooks,
)

if TYPE_CHECKING:
    from collections.abc import Callable

BENCHMARKS: dict[str, tuple[Callable[[Any], dict[str, Any]], Any, Any]] = {
    "push_to_put": (push_to_put.run, 40, 5),
    "push_to_healthy": (push_to_healthy.run, 10, 2),
    "back_to_good": (back_to_good.run, 5, 1),
    "idle": (idle.run, 60.0, 10.0),
    "validate": (validate.run, 15, 1),
    "plan": (plan.run, 15, 1),
    "detection": (detection.run, 20, 2),
    "idle_poll": (idle_poll.run, 30, 2),
    "cron_loop": (cron_loop.run, 7, 1),
    "webhooks": (webhooks.run, 30.0, 2.0),
    "front_page": (front_page.run, 200, 10),
    "terminal": (terminal.run, 10, 1),
    "forge_away": (forge_away.run, 60, 2),
    "outbox": (outbox.run, 10_000, 200),
    "past": (past.run, 132_500, 1000),
    "audit_append": (audit.append, 2000, 100),
    "audit_verify": (audit.verify, 265, 1),
    "faces": (faces.run, 20.0, 5.0),
}
"""By name: what runs it, and its size in full and with --quick."""

RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Run the chosen benchmarks, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="few rounds: does it run at all?")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    found: dict[str, Any] = {}
    for name in chosen.names or BENCHMARKS:
        measure, full, quick = BENCHMARKS[name]
        print(f"{name} ...", flush=True)
        found[name] = measure(quick if chosen.quick else full)
        print(json.dumps(found[name], indent=2), flush=True)
    if not chosen.quick:
        _write(found)


def _write(found: dict[str, Any]) -> None:
    """Keep the figures with what they were measured on; benchmarks that did not run keep theirs."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, timeout=10
    ).stdout.strip()
    about = {
        "commit": commit,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": [round(value, 2) for value in os.getloadavg()],
    }
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name, figures in found.items():
        kept[name] = {**figures, "measured": about}
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
