"""Writes `docs/crash.md`: what was killed where, how often, and what came of it."""

from __future__ import annotations

import subprocess
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.crash.kills import PLACES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tests.crash.play import Played

PAGE = Path(__file__).parents[2] / "docs" / "crash.md"

_HEAD = """\
# Killed in the middle

The daemon, with its real store and real git, is killed with SIGKILL at some step of a story and started
again, up to three times in a row. When all is quiet its history is compared with what reached the cluster:
one chain of events that verifies and whose fold is the record; every PUT with its intent in the store before
it; no commit deployed twice; no held digest sent, unless a person asked for it, once; nobody else's
application left out; and the right release on the cluster.

A request is *lost* where the daemon dies before Ray gets it, *late* where Ray gets it after the daemon died,
and *unanswered* where the daemon dies between Ray's work and the answer. *event* is right after a commit to
the store, *time* is any moment, the start of the daemon among them. *at rest*: the story was over before the
planned kill.

Written by `make crash`; do not edit. `python -m tests.crash --runs 1 --ray 0 --seed N` plays one run again.
"""


def write(
    command: str, fake: Sequence[Played], real: Sequence[Played], commits: Mapping[str, Collection[str]]
) -> None:
    """Write the page. Figures are counts of what this very command did, at once or in several goes."""
    today = datetime.now(UTC).date()
    lines = [_HEAD, f"`{command}` on {today}.", ""]
    for title, runs, on in (("With the fake cluster", fake, "fake"), ("With a real Ray", real, "real")):
        if runs:
            lines += [f"## {title}", "", f"At commit {' and '.join(sorted(commits[on]))}.", ""]
            lines += [*_section(runs), ""]
    PAGE.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def _section(runs: Sequence[Played]) -> list[str]:
    kills = sum(len(one.reached) for one in runs)
    broken = [one for one in runs if one.broken]
    seeds = f"seeds {min(one.seed for one in runs)} to {max(one.seed for one in runs)}"
    verdict = f"{len(broken)} broke a promise" if broken else "none broke a promise"
    places = (*PLACES, "at rest")
    lines = [
        f"{len(runs)} runs ({seeds}) with {kills} kills: {verdict}.",
        "",
        f"| story | runs | {' | '.join(places)} | broken |",
        f"|---|---:|{'---:|' * len(places)}---:|",
    ]
    for story in sorted({one.story for one in runs}):
        told = [one for one in runs if one.story == story]
        counts = Counter(_place(kill) for one in told for kill in one.reached)
        cells = [str(counts[place] or "") for place in places]
        count = sum(bool(one.broken) for one in told)
        lines.append(f"| {story} | {len(told)} | {' | '.join(cells)} | {count} |")
    for one in broken:
        lines += ["", f"- seed {one.seed} ({one.story}; {', '.join(one.planned)}): {one.broken}"]
    return lines


def _place(kill: str) -> str:
    if kill.startswith("after "):
        return "time"
    return kill if kill == "at rest" else kill.rpartition(" ")[0]


def commit() -> str:
    """The commit that was tested, and whether there was more than it."""
    found = _git("rev-parse", "--short=12", "HEAD")
    return f"{found} with changes that were not committed" if _git("status", "--porcelain") else found


def _git(*args: str) -> str:
    done = subprocess.run(
        ["git", *args], capture_output=True, text=True, check=True, timeout=20, cwd=PAGE.parent
    )
    return done.stdout.strip()
