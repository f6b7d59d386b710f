"""How many replicas serve during an update under load: as many as forecast, no fewer and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.availability import PAGE, expected, predictions, read, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.ray_head import ServeHead


CASES = ("one", "surge", "four", "slow", "saved", "lost")
"""Of eight: the others start thirty replicas more."""


@pytest.mark.ray
@pytest.mark.timeout(900)
def test_so_many_serve_as_was_forecast(fresh_serve: ServeHead, tmp_path: Path) -> None:
    """And where one always does, no request is lost. `make restarts` has all cases, and writes the page."""
    rows = run(fresh_serve, tmp_path, CASES)
    assert len(rows) == len(CASES)
    assert {row.case.said: row.observed for row in rows} == {row.case.said: row.expected for row in rows}
    assert [row for row in rows if row.lost] == []
    assert len([row for row in rows if row.answered]) == len(rows) - 1
    fresh_serve.empty()


def test_the_page_lists_what_is_forecast() -> None:
    """Another forecast, or another shape that is tried, needs the page to be written again."""
    assert read(PAGE.read_text(encoding="utf-8")) == expected(predictions())
