"""`python -m tests.hostile DIR` writes the repositories; `--page` runs them and writes docs/hostile.md."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from tests.hostile.corpus import CORPUS, PARTS
from tests.hostile.forge import Forge
from tests.hostile.play import play

if TYPE_CHECKING:
    from types import ModuleType

    from tests.hostile.play import Outcome

PAGE = Path(__file__).parents[2] / "docs" / "hostile.md"

_HEAD = """\
# Hostile repositories

Repositories that were made to hurt, each followed by the daemon's real `Sources` beside a healthy one. Of
each must hold:

- it ends in the state that is named here within 45 s, and in the same at the next look;
- nothing that it brings along is run: hooks, filters, drivers, commands in its config, remotes of its own;
- nothing outside of it is opened or changed, and nobody is called: files, a program and a port would tell;
- what is shown of it is a sentence of printable characters;
- the daemon's process grows by less than 200 MiB, and no process of git by more than 800 MiB;
- a push to the healthy repository is published meanwhile, and afterwards no thread and no process is left.

`Desired`: the config is read. `Invalid`: it cannot be used, with its problems. `Absent`: the branch or the
file is not there. `NotRead`: the repository cannot be read. None of them undeploys anything: what runs stays,
but for `Desired`.

Those marked with * are followed by git to somewhere else on the same machine, by files that no push can
write: who may write the files of a local repository decides what is in it.

Written by `make hostile`; do not edit. `python -m tests.hostile DIR` writes the repositories.
"""


def main() -> int:
    """Write the repositories, or run them all and write the page; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile")
    parser.add_argument("folder", nargs="?", type=Path, help="write the repositories here, one folder each")
    parser.add_argument("--page", action="store_true", help="run them and write docs/hostile.md")
    given = parser.parse_args()
    if given.folder is not None:
        for name, case in CORPUS.items():
            case.write(Forge(given.folder / name))
    if not given.page:
        return 0
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("critical"))
    outcomes = {}
    began = time.monotonic()
    for name, case in CORPUS.items():
        with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
            outcomes[name] = found = play(case, Path(folder))
            found.sentence = found.sentence.replace(folder, "")
        print(f"{name}: {found.state}, {found.seconds:.2f} s", *found.broken, flush=True)  # noqa: T201 - progress
    PAGE.write_text(page(outcomes, time.monotonic() - began), encoding="utf-8")
    return 1 if any(found.broken for found in outcomes.values()) else 0


def page(outcomes: dict[str, Outcome], took: float) -> str:
    """The page. Figures are those of this very run."""
    slowest = max(outcomes, key=lambda name: outcomes[name].seconds)
    grown = max(outcomes, key=lambda name: outcomes[name].grown_kib)
    child = max(outcomes, key=lambda name: outcomes[name].child_kib)
    growth, largest = outcomes[grown].grown_kib / 1024, outcomes[child].child_kib / 1024
    rows = {
        "repositories": f"{len(outcomes)}, in {took:.0f} s one after the other",
        "that broke a promise": sum(bool(found.broken) for found in outcomes.values()) or "none",
        "the slowest": f"{outcomes[slowest].seconds:.2f} s (`{slowest}`)",
        "the growth of the daemon's process": f"{growth:.0f} MiB at most (`{grown}`)",
        "the largest process of git": f"{largest:.0f} MiB (`{child}`)",
    }
    versions = f"Python {platform.python_version()} and {_run('git', '--version')}"
    lines = [_HEAD, f"Run on {datetime.now(UTC).date()}, at commit {_commit()}, with {versions}."]
    lines += ["", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in rows.items()]
    for part in PARTS:
        lines += ["", f"## {_title(part)}", ""]
        lines += ["| name | what | ends as | seconds | what is said |", "|---|---|---|---:|---|"]
        for case in part.CASES:
            found = outcomes[case.name]
            state = found.state if not found.broken else f"**{found.state}**"
            what = _cell(case.what) + " *" * case.shares
            lines.append(
                f"| {case.name} | {what} | {state} | {found.seconds:.2f} | {_cell(found.sentence)} |"
            )
    broken = [f"- {name}: {what}" for name, found in outcomes.items() for what in found.broken]
    return "\n".join([*lines, *([""] * bool(broken)), *broken]) + "\n"


def _title(part: ModuleType) -> str:
    return (part.__doc__ or "").partition(".\n")[0].rstrip(".")


def _cell(text: str) -> str:
    """The first line of it, short enough for a table."""
    line = text.partition("\n")[0].replace("|", "\\|").replace("<", "&lt;")
    return line if len(line) <= 160 else line[:159] + "…"


def _commit() -> str:
    found = _run("git", "rev-parse", "--short=12", "HEAD")
    return f"{found} with changes that were not committed" if _run("git", "status", "--porcelain") else found


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20, cwd=PAGE.parent)
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
