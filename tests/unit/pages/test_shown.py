"""What needs a person, in which order, and how many there are of each."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.web.pages import shown
from tests.support import pages_data

GOOD = pages_data.view("x")


@pytest.mark.parametrize(
    ("changed", "category", "needs_a_person"),
    [
        ({}, "healthy", False),
        ({"sync": "OutOfSync", "health": "Progressing"}, "busy", False),
        ({"mode": "held"}, "held", True),
        ({"mode": "waiting"}, "waiting", True),
        ({"mode": "orphaned"}, "orphaned", True),
        ({"mode": "paused"}, "paused", True),
        ({"health": "Degraded", "mode": "held"}, "degraded", True),
        ({"health": "Missing"}, "missing", True),
        ({"health": "Unknown"}, "unseen", True),
        ({"health": "Unknown", "observed_at": None}, "new", False),
        ({"drift": {"class": "edited", "message": "", "since": None}}, "drifted", True),
        ({"git": {"seen_at": None, "trouble": "it does not answer"}}, "healthy", True),
    ],
)
def test_what_needs_a_person(changed: dict[str, Any], category: str, needs_a_person: bool) -> None:
    """The worst of what is, and whether somebody has to act or to know."""
    row = shown.row({**GOOD, **changed})

    assert row.category == category
    assert row.needs_a_person == needs_a_person


def test_the_sentence_is_there_when_there_is_something_to_say() -> None:
    """And only then."""
    assert shown.row(GOOD).says == ""
    assert shown.row(pages_data.held("x")).says.startswith(pages_data.commit(21)[:7])
    assert "1/3 UPDATING" in shown.row(pages_data.busy("x")).says


def test_what_git_wants_is_told_where_it_is_something_else() -> None:
    """Another commit with the same config is not."""
    assert shown.row(GOOD).wanted is None
    assert shown.row({**GOOD, "wanted": {**GOOD["wanted"], "revision": "other"}}).wanted is None
    assert shown.row(pages_data.held("x")).wanted is not None


def test_the_view_of_an_older_daemon_is_shown_too() -> None:
    """It lacks what is newer."""
    old = {
        key: value for key, value in GOOD.items() if key not in {"git", "bars", "drift", "starved", "paused"}
    }

    row = shown.row(old)

    assert (row.category, row.bars, row.git) == ("healthy", (), "")


def test_the_worst_come_first_and_the_others_keep_their_places() -> None:
    """Rows of healthy environments do not jump while a rollout is under way."""
    views = [pages_data.view("a"), pages_data.busy("b"), pages_data.paused("c"), pages_data.view("d")]
    views += [pages_data.held("e"), pages_data.degraded("f")]

    names = [row.name for row in shown.ordered(map(shown.row, views))]

    assert names == ["f", "e", "c", "a", "b", "d"]


def test_the_filter_takes_words_of_names_and_states() -> None:
    """All of them; in any case."""
    rows = [shown.row(pages_data.view("prod-eu")), shown.row(pages_data.held("prod-us"))]

    assert [row.name for row in shown.matching(rows, "PROD held")] == ["prod-us"]
    assert [row.name for row in shown.matching(rows, "synced")] == ["prod-eu"]
    assert len(shown.matching(rows, " ")) == 2


def test_the_steps_of_a_rollout() -> None:
    """Those over, the one under way, those to come."""
    assert shown.steps(GOOD) == ()
    marks = [mark for _, mark in shown.steps(pages_data.busy("x"))]
    assert marks == ["over", "over", "over", "running", "to come", "to come", "to come"]
    unknown = {**GOOD, "rollout": {"phase": None}}
    assert shown.steps(unknown)[0] == ("applying", "running")


@pytest.mark.parametrize(
    ("view", "may"),
    [
        (GOOD, False),
        (pages_data.held("x"), True),
        (pages_data.degraded("x"), True),
        ({**GOOD, "starved": {"tries": 1}}, True),
    ],
)
def test_retry_is_offered_where_it_lets_something_through(view: dict[str, Any], may: bool) -> None:
    """Held, waiting, failed, starved."""
    assert shown.may_retry(view) == may


def test_of_what_was_seen_the_newest_is_evidence() -> None:
    """The others are on the rollout's page; all else stays as it was."""
    told = [
        {"about": about, "says": str(number)} for number, about in enumerate(("git", "seen", "seen", "held"))
    ]

    assert [one["says"] for one in shown.evidence(told)] == ["0", "2", "3"]
    assert shown.evidence(told[:1]) == told[:1]


def test_a_release_that_was_good_twice_is_offered_once() -> None:
    """As what became good last."""
    releases = [
        {"rollout": f"x#{number}", "digest": digest} for number, digest in ((9, "a"), (8, "b"), (7, "a"))
    ]

    assert [one["rollout"] for one in shown.distinct(releases)] == ["x#9", "x#8"]


def test_findings_stay_in_the_order_of_the_doctor() -> None:
    """By group; one of a doctor that names none is not lost."""
    findings = [{"group": group, "subject": group or "?"} for group in ("settings", "git", "settings", None)]

    found = shown.grouped(findings)

    assert list(found) == ["settings", "git", ""]
    assert len(found["settings"]) == 2
