"""Durations are written as people do, and come back as they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.durations import LIMIT_SECONDS, parse, render


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("10m", 600),
        ("1h30m", 5400),
        ("1d", 86_400),
        ("1d2h3m4s5ms", 93_784.005),
        ("500ms", 0.5),
        ("90s", 90),
        ("0s", 0),
        ("365d", LIMIT_SECONDS),
    ],
)
def test_what_can_be_written(text: str, seconds: float) -> None:
    """Whole numbers with units, the largest unit first."""
    assert parse(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "s", "m30", "30", "1.5", "1.5h", "30 s", " 30s", "30S", "1m1h", "5s5s", "-5s", "30s\n", "٣s"]
)
def test_what_cannot_be_written(text: str) -> None:
    """Anything else is refused with the way to write it."""
    with pytest.raises(ValueError, match="write"):
        parse(text)


def test_a_number_without_a_unit_is_asked_for_its_unit() -> None:
    """The commonest slip gets the two most likely spellings."""
    with pytest.raises(ValueError, match=r"^90 has no unit: write 90s for seconds or 90m for minutes$"):
        parse("90")


def test_what_is_no_duration_is_not_repeated_at_length() -> None:
    """Nor with the password of a URL that was written in its place."""
    for text in ("1" * 1000, "x" * 1000, "https://ada:hunter2@host"):
        with pytest.raises(ValueError, match="write") as refused:
            parse(text)
        assert len(str(refused.value)) < 200
        assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("text", ["366d", "8761h", "999999999999d"])
def test_a_year_is_the_limit(text: str) -> None:
    """More than that is a slip, and would overflow a timedelta."""
    with pytest.raises(ValueError, match=r"is longer than 365d$"):
        parse(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0004, "0s"),
        (-0.0004, "0s"),
        (0.5, "500ms"),
        (59.9996, "1m"),
        (90, "1m30s"),
        (-90, "-1m30s"),
        (86_400, "1d"),
    ],
)
def test_what_is_shown(seconds: float, text: str) -> None:
    """The shortest text, rounded to milliseconds."""
    assert render(seconds) == text


@given(milliseconds=st.integers(0, int(LIMIT_SECONDS * 1000)))
def test_what_is_shown_reads_back(milliseconds: int) -> None:
    """`parse` undoes `render`, to the millisecond."""
    assert parse(render(milliseconds / 1000)) == milliseconds / 1000
