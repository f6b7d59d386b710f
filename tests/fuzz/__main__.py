"""`make fuzz`: a million seeded inputs through the readers, and what came of them as `docs/fuzz.md`."""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path

from tests.fuzz.play import Sums, play

PAGE = Path(__file__).parents[2] / "docs" / "fuzz.md"

_PART = 50_000
"""Inputs that one process plays at most: enough to see it grow, and the next one begins small again."""

_HEAD = """\
# A million malformed files

Serve configs and policies, drawn along their schemas, written in the many ways of YAML and then damaged, are
read as `deployer validate` and the daemon read them: `serve_config.read` with the newest schema, the lints,
`policy.parse` and `policy.agree`. Of each input this must hold:

- it is read, or ends in `InvalidConfig`, and in nothing else;
- within 2 s of CPU, and no process grows by more than 200 MB;
- every problem stands at a place inside the file, and is a sentence without control characters, not too long;
- no problem shows the value of an environment variable, nor the password in a URL;
- what is read, PyYAML reads too, and as the same (tried with one input in sixteen).

Written by `make fuzz`; do not edit. Files made to hurt (alias bombs, 256 KiB of one thing) are in
`tests/fuzz/hostile.py`: three in ten of them and 3,000 of these inputs are run by every `make test`, the
others by `make long`.
"""


def main() -> int:
    """Play the inputs that are asked for, write the page, and fail if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the number of the first: to see one again")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="processes at the same time")
    parser.add_argument("--page", action="store_true", help="write docs/fuzz.md")
    given = parser.parse_args()
    began = time.monotonic()
    sums = Sums()
    numbers = range(given.first, given.first + given.inputs)
    size = max(1, min(_PART, -(-given.inputs // given.jobs)))
    parts = [numbers[start : start + size] for start in range(0, len(numbers), size)]
    # Not forked: a process begins small, and its growth is that of its inputs.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(given.jobs, mp_context=spawn, max_tasks_per_child=1) as pool:
        for done in as_completed([pool.submit(play, given.seed, part) for part in parts]):
            sums.add(done.result())
            rate = sums.inputs / (time.monotonic() - began)
            print(  # noqa: T201 - progress
                f"{sums.inputs:,} inputs, {rate:,.0f}/s, {len(sums.broken)} broken", flush=True
            )
    took = time.monotonic() - began
    for number, broken in sorted(sums.broken.items()):
        print(f"input {number} (--seed {given.seed} --first {number} --inputs 1): {broken}")  # noqa: T201 - the result
    if given.page:
        command = (
            f"python -m tests.fuzz --inputs {given.inputs} --seed {given.seed} --jobs {given.jobs} --page"
        )
        PAGE.write_text(page(command, sums, took, given.jobs), encoding="utf-8")
    return 1 if sums.broken else 0


def page(command: str, sums: Sums, took: float, jobs: int) -> str:
    """The page. Figures are those of this very run."""
    today = datetime.now(UTC).date()
    slowest, number = sums.slowest
    broken = len(sums.broken) or "none"
    rows = {
        "inputs": f"{sums.inputs:,}, of {sums.size / max(sums.inputs, 1):,.0f} bytes on average",
        "that broke a promise": broken,
        "configs": f"{sums.valid['config']:,} valid, {sums.invalid['config']:,} refused",
        "policies": f"{sums.valid['policy']:,} valid, {sums.invalid['policy']:,} refused",
        "with a secret in them": f"{sums.planted:,}",
        "compared with PyYAML": f"{sums.compared:,}",
        "a second": f"{sums.inputs / took:,.0f} ({jobs} at a time, judging included)",
        "the readers alone": f"{sums.seconds / max(sums.inputs, 1) * 1000:.2f} ms of CPU for each",
        "the slowest": f"{slowest:.3f} s of CPU (input {number})",
        "the growth of a process": f"{sums.growth_kib / 1024:,.1f} MiB at most",
    }
    lines = [
        _HEAD,
        f"`{command}` on {today}, at commit {_commit()}, with Python {platform.python_version()}.",
    ]
    lines += ["", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
    lines += [
        "",
        "How many inputs had a problem or a warning of each code:",
        "",
        "| code | inputs |",
        "|---|---:|",
    ]
    lines += [f"| `{code}` | {count:,} |" for code, count in sums.codes.most_common()]
    lines += ["", *(f"- input {at}: {what}" for at, what in sorted(sums.broken.items()))]
    return "\n".join(lines).rstrip() + "\n"


def _commit() -> str:
    """The commit that was tested, and whether there was more than it."""
    found = _git("rev-parse", "--short=12", "HEAD")
    return f"{found} with changes that were not committed" if _git("status", "--porcelain") else found


def _git(*args: str) -> str:
    done = subprocess.run(
        ["git", *args], capture_output=True, text=True, check=True, timeout=20, cwd=PAGE.parent
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
