"""The table of the matrix, as `docs/matrix.md` shows it.

Owns the page. Must not know how a row is measured. Invariant: every figure on the page is of the run that
wrote it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.e2e.matrix.scene import Row

_HEAD = """\
# What follows from each failure, on a real Ray

Written by `make matrix`; do not edit. {about}

Each row begins with two replicas of a good release that the daemon deployed from a `git push`, and 20
requests a second through Serve's proxy. Then the fault. The policy is shorter than the default, so that a row
takes seconds: stability window 3 s, soak 1 s. {count} rows; {failed} of {sent} requests failed in all.

- *class*: what the daemon took it for (`-`: no rollout failed).
- *failed*: from the beginning (mostly the beginning of `git push`) until the daemon said: failed.
- *whole*: until Serve ran exactly what it should again, every replica of it, by a look at Serve every 0.2 s.
- *recorded*: until the daemon's record said so; for a new release, after its stability window and soak.
- *lost*: requests that were not answered with 200, of those sent; *worst*: the longest time to an answer.

| fault | how | class | outcome | failed | whole | recorded | lost | worst |
|---|---|---|---|--:|--:|--:|--:|--:|
"""


def page(rows: Sequence[Row], about: str) -> str:
    """The whole page. `about` says when, of which commit and on what the rows were measured."""
    sent, failed = sum(row.sent for row in rows), sum(row.failed for row in rows)
    head = _HEAD.format(about=about, count=len(rows), failed=failed, sent=sent)
    return head + "\n".join(map(line, rows)) + "\n"


def line(row: Row) -> str:
    """One row of the table."""
    outcome = (
        row.fault.outcome.value if not row.problems else f"**NOT AS EXPECTED**: {'; '.join(row.problems)}"
    )
    times = [_seconds(value) for value in (row.failed_after, row.whole_after, row.recorded_after)]
    lost = f"{row.failed} of {row.sent}"
    cells = [row.fault.id, row.fault.how, row.seen_class, outcome, *times, lost, _seconds(row.worst_seconds)]
    return f"| {' | '.join(' '.join(cell.split()).replace('|', '/') for cell in cells)} |"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
