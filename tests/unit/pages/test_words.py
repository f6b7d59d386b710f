"""Words, times and names as the pages say them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from deployer.web.pages import words

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "just now"),
        (-1, "just now"),
        (12, "12 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7_199, "119 min ago"),
        (7_200, "2 h ago"),
        (172_800, "2 days ago"),
        (60 * 86_400, "2026-09-24"),
        (-90, "in 90 s"),
        (-7_200, "in 2 h"),
    ],
)
def test_how_long_ago(seconds: float, said: str) -> None:
    """In the largest unit that still tells something; the future too, and a date for what is long ago."""
    assert words.ago(NOW - timedelta(seconds=seconds), NOW) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (None, "-"),
        (0.84, "0.8 s"),
        (-3, "0.0 s"),
        (31.4, "31 s"),
        (60, "1 min"),
        (312, "5 min 12 s"),
        (7_500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_how_long_it_took(seconds: float | None, said: str) -> None:
    """Two units at most."""
    assert words.span(seconds) == said


@pytest.mark.parametrize(("seconds", "said"), [(None, ""), (-4, ""), (0, "+ 0.0 s"), (75, "+ 1 min 15 s")])
def test_how_long_after_the_start(seconds: float | None, said: str) -> None:
    """Nothing for what was before it."""
    assert words.offset(seconds) == said


@pytest.mark.parametrize(
    "at", [None, 3, "", "yesterday", "2026-13-01", "<script>", "9999-12-31T23:59:59-23:59"]
)
def test_what_is_no_time_is_none(at: object) -> None:
    """Nothing is guessed, and nothing raised."""
    assert words.parsed(at) is None


def test_a_time_without_a_zone_is_utc() -> None:
    """As a person types it into a filter."""
    assert words.parsed("2026-11-23T12:00") == NOW
    assert words.parsed("2026-11-23T13:00+01:00") == NOW


def test_every_state_has_an_icon_and_a_word() -> None:
    """Also one that this version does not know, which is shown as it is."""
    for of in (words.health, words.sync, words.mode, words.result, words.serve, words.finding, words.verdict):
        state = of("NEW_IN_RAY_3")
        assert (state.word, state.icon, state.tone) == ("NEW_IN_RAY_3", "unknown", "idle")
    assert [words.check(passed).word for passed in (True, False, None)] == [
        "passed",
        "not passed",
        "not made yet",
    ]
    assert words.effect_tone("teleports") == "idle"


def test_names_are_short() -> None:
    """Commits, digests, people, texts."""
    assert words.short("a1b2c3d4e5") == "a1b2c3d"
    assert words.short(None) == ""
    assert words.digest("sha256:5e1fa75e1fa75e1f") == "5e1fa75e1fa7"
    assert words.person("Ada <ada@example.com>") == "Ada"
    assert words.person("<ada@example.com>") == "<ada@example.com>"
    assert words.cut("a\n b\tc", 10) == "a b c"
    assert words.cut("abcdef", 4) == "abc…"
    assert words.count(1, "deploy") == "1 deploy"
    assert words.count(2, "deploy") == "2 deploys"


def test_what_a_mode_is_about() -> None:
    """Held: from what; paused: by whom."""
    wanted = {"revision": "c0ffee1234"}
    assert words.mode_detail({"mode": "held", "wanted": wanted, "live": {}}) == "failed: c0ffee1"
    assert (
        words.mode_detail({"mode": "held", "wanted": wanted, "live": {"a": 1}}) == "rolled back from c0ffee1"
    )
    assert words.mode_detail({"mode": "paused", "paused": {"by": "ada"}}) == "by ada"
    assert words.mode_detail({"mode": "auto"}) == ""
