"""`python -m tests.e2e.matrix [ID ...]`: run every row, or those named; all write `docs/matrix.md`."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.conftest import pytest_configure
from tests.e2e.matrix.faults import FAULTS
from tests.e2e.matrix.own_head import CPUS, OwnHead
from tests.e2e.matrix.report import line, page
from tests.e2e.matrix.scene import Fault, Row, Scene
from tests.support.ray_head import ROOT

PAGE = ROOT / "docs" / "matrix.md"


def main() -> int:
    """Run the rows on a head of their own. The exit code is 1 if one of them is not as expected."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.matrix")
    parser.add_argument("ids", nargs="*", metavar="ID", help="rows to run; without any, all of them")
    chosen = parser.parse_args().ids
    unknown = set(chosen) - {fault.id for fault in FAULTS}
    if unknown:
        parser.error(f"no row {', '.join(sorted(unknown))}; there are: {', '.join(f.id for f in FAULTS)}")
    pytest_configure()
    with OwnHead() as own:
        rows = [_run(fault, own) for fault in FAULTS if not chosen or fault.id in chosen]
    wrong = [row for row in rows if row.problems]
    if not chosen and not wrong:
        PAGE.write_text(page(rows, _about()))
    print(f"{len(rows) - len(wrong)} of {len(rows)} rows are as expected")  # noqa: T201 - the result
    return 1 if wrong else 0


def _run(fault: Fault, own: OwnHead) -> Row:
    own.serve.empty()
    with tempfile.TemporaryDirectory() as folder:
        row = Scene(fault, own.serve, Path(folder), own).run()
    print(line(row), flush=True)  # noqa: T201 - the result
    return row


def _about() -> str:
    git = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    commit = subprocess.run(
        git, cwd=ROOT, capture_output=True, text=True, check=True, timeout=10
    ).stdout.strip()
    today = datetime.now(UTC).date().isoformat()
    ray, python = version("ray"), platform.python_version()
    machine = f"{os.cpu_count()} shared cores, Ray {ray} told that it has {CPUS}, Python {python}"
    return f"Commit {commit}, {today}; {machine}."


if __name__ == "__main__":
    sys.exit(main())
