"""The geometry of the bars and of the line of time."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from deployer.web.pages import drawing

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def rollout(took: float | None, result: str = "good") -> dict[str, Any]:
    """One of `Models.environments`."""
    return {
        "id": "dev#1",
        "kind": "deploy",
        "result": result,
        "took_seconds": took,
        "started_at": "2026-11-23T11:00:00.000Z",
    }


@given(st.lists(st.none() | st.floats(), max_size=30))
def test_every_bar_is_inside_the_drawing(took: list[float | None]) -> None:
    """Whatever the clocks said; the newest twenty, against the right edge."""
    bars = drawing.bars([rollout(one) for one in took])

    assert len(bars) == min(20, len(took))
    for bar in bars:
        found = re.fullmatch(r"M(\d+) (\d+)h4v(\d+)h-4z", bar.outline)
        assert found is not None
        x, y, height = map(int, found.groups())
        assert 0 <= x <= 20 * drawing.STEP - drawing.WIDTH
        assert 0 < height <= drawing.HEIGHT
        assert y + height == drawing.HEIGHT
    if bars:
        assert bars[-1].outline.startswith(f"M{19 * drawing.STEP} ")


def test_the_one_that_took_longest_is_highest() -> None:
    """And each says what it was."""
    short, long = drawing.bars([rollout(10.0), rollout(100.0)])

    assert (short.outline, long.outline) == ("M108 13h4v9h-4z", "M114 0h4v22h-4z")
    assert long.title == "#1 deploy: good in 1 min 40 s, 2026-11-23 11:00"


def test_results_differ_in_their_shape() -> None:
    """Who does not see colours sees a broken bar where it failed, and a hollow one where it never ended."""
    of = [rollout(10.0, one) for one in ("good", "failed", "superseded")]

    good, failed, superseded = (bar.outline for bar in drawing.bars(of))

    assert (good.count("M"), failed.count("M")) == (1, 2)
    assert "h3" in superseded


def test_the_bars_are_told_in_words() -> None:
    """For who does not see them."""
    assert drawing.told([]) == "no rollouts yet"
    told = drawing.told([rollout(1.0), rollout(1.0), rollout(None, "in_progress")])
    assert told == "last 3 rollouts: 2 good, 1 in progress"


def phase(name: str, begin: str | None, end: str | None) -> dict[str, Any]:
    """One of `Models.rollout`."""
    day = "2026-11-23T"
    return {"name": name, "started_at": begin and day + begin, "finished_at": end and day + end}


def test_phases_follow_one_another_on_the_line() -> None:
    """Their lengths are those of the time; one that runs ends now, one to come has none."""
    build, start, soak = drawing.phases(
        [
            phase("build", "11:58:00Z", "11:59:00Z"),
            phase("start", "11:59:00Z", None),
            phase("soak", None, None),
        ],
        NOW,
    )

    assert (build.x, build.width, build.took, build.state) == (0.0, 500.0, "1 min", "over")
    assert (start.x, start.width, start.state) == (500.0, 500.0, "running")
    assert (soak.width, soak.state) == (0.0, "to come")


def test_the_phase_in_which_it_failed_is_the_last_that_began() -> None:
    """Whether it has an end or not."""
    found = drawing.phases(
        [
            phase("build", "11:58:00Z", "11:59:00Z"),
            phase("start", "11:59:00Z", "12:00:00Z"),
            phase("soak", None, None),
        ],
        NOW,
        "failed",
    )

    assert [one.state for one in found] == ["over", "failed", "to come"]


@given(st.lists(st.tuples(st.none() | st.datetimes(), st.none() | st.datetimes()), max_size=6))
def test_every_phase_is_inside_the_drawing(spans: list[tuple[datetime | None, datetime | None]]) -> None:
    """Also where an end is before its beginning."""
    of = [
        {"name": "x", "started_at": begin and begin.isoformat(), "finished_at": end and end.isoformat()}
        for begin, end in spans
    ]

    for one in drawing.phases(of, NOW):
        assert math.isfinite(one.x)
        assert math.isfinite(one.width)
        assert 0 <= one.x <= one.x + one.width <= drawing.LENGTH + 0.2
