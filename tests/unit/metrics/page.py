"""Writes the table of docs/metrics.md: `python -m tests.unit.metrics.page`."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from deployer.adapters.store import SqlStore
from deployer.engine.sources import Looks
from deployer.web.metrics import Metrics

if TYPE_CHECKING:
    from deployer.web.metrics import Family

PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"
BEGIN, END = "<!-- generated: begin -->\n", "<!-- generated: end -->\n"


class NeverLooked:
    """Sources at the moment of the start."""

    def looks(self, repository: str) -> Looks:
        """None has ended."""
        return Looks()


def families(folder: Path) -> tuple[Family, ...]:
    """All that a daemon has, without running one."""
    path = folder / "store.db"
    with closing(SqlStore.open(path)) as store:
        metrics = Metrics(
            environments=["staging"],
            repositories=["configs"],
            schemes={},
            sources=NeverLooked(),
            store=store,
            store_path=path,
            queue_depth=int,
            subscribers=int,
        )
        with closing(metrics):
            return metrics.families()


def table(found: tuple[Family, ...]) -> str:
    """As Markdown."""
    lines = ["| metric | type | labels | what |", "|---|---|---|---|"]
    for family in found:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        lines.append(f"| `{family.name}` | {family.type} | {labels} | {family.help} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        made = table(families(Path(folder)))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}{made}{END}{after}")
