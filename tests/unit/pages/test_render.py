"""What a template may print, and how."""

from __future__ import annotations

from typing import Any

import jinja2
import pytest

from deployer.web.access import Right
from deployer.web.pages import Renderer, render
from tests.support import pages_data
from tests.support.hostile_texts import TEXTS
from tests.support.page_reader import Read


def renderer(*, strict: bool = True) -> Renderer:
    """With a clock that stands."""
    return Renderer(now=lambda: pages_data.NOW, strict=strict)


@pytest.mark.parametrize("number", range(0, len(TEXTS), 10))
def test_prose_adds_code_and_nothing_else(number: int) -> None:
    """What is between backticks is code; whatever it is."""
    for text in TEXTS[number : number + 10]:
        read = Read.of(str(render.prose(text)), is_part=True)
        assert read.complaints() == []
        assert {tag for tag, _ in read.elements} <= {"code"}
    assert str(render.prose("type `deployer <x>` now")) == "type <code>deployer &lt;x&gt;</code> now"


@pytest.mark.parametrize("at", ["2026-11-23T14:26:00.000Z", "2026-11-23T15:26:00+01:00"])
def test_a_time_is_relative_and_has_the_exact_one_on_hover(at: str) -> None:
    """In UTC, wherever it came from."""
    told = str(renderer()._time(at))

    assert told == (
        '<time datetime="2026-11-23T14:26:00+00:00" title="2026-11-23 14:26:00 UTC" data-ago>4 min ago</time>'
    )


def test_a_time_that_is_none_is_a_dash() -> None:
    """And a date does not tick."""
    assert str(renderer()._time("<b>")) == "&ndash;"
    assert "data-ago" not in str(renderer()._time("2026-01-01T00:00:00Z"))


def test_addresses_hold_what_they_are_given() -> None:
    """Whatever it is; and nothing that was not given."""
    assert render.link("/history") == "/history"
    assert render.link("/history", environment="", author=None, result="good") == "/history?result=good"
    assert render.link("/a", q="a&b=c #\ud800") == "/a?q=a%26b%3Dc+%23%3F"
    assert render.rollout_path("production#42") == "/rollouts/production%2342"
    assert render.rollout_path("../../x?y") == "/rollouts/..%2F..%2Fx%3Fy"


def test_what_is_missing_is_nothing_in_the_daemon_and_an_error_here() -> None:
    """The view of an older daemon does not take a page away."""
    old = {key: value for key, value in pages_data.view("x").items() if key in _OLDEST}
    found: dict[str, Any] = {**old, "rollouts": [], "releases": [], "gates": []}
    from deployer.web.pages.fragments import environment_part  # noqa: PLC0415 - only here

    assert "is live" in environment_part(renderer(strict=False), found, may_deploy=False)
    with pytest.raises(jinja2.UndefinedError):
        environment_part(renderer(), found, may_deploy=False)


_OLDEST = {
    "environment",
    "sync",
    "health",
    "mode",
    "message",
    "since",
    "live",
    "wanted",
    "rollout",
    "held",
    "apps",
    "cluster",
}


def test_every_page_of_the_navigation_names_a_right() -> None:
    """As its route does."""
    assert {right for _, _, right in render.NAVIGATION} <= {str(right) for right in Right}


def test_times_in_a_sentence_are_told_like_all_others() -> None:
    """What the data has to the millisecond, a person reads as how long ago; the rest stays text."""
    told = renderer()._dated(f"`x` since {pages_data.ago(hours=3)}: <b>2026-11-23</b>")

    assert "<code>x</code> since <time datetime=" in told
    assert ">3 h ago</time>: &lt;b&gt;2026-11-23&lt;/b&gt;" in told


def test_what_is_seconds_apart_is_told_by_the_clock() -> None:
    """Of a rollout of last week every line would say `7 days ago`."""
    told = render._clock("2026-11-20T10:42:07.205Z")

    assert told.endswith(">10:42:07</time>")
    assert 'title="2026-11-20 10:42:07 UTC"' in told
    assert render._clock(None) == "&ndash;"
