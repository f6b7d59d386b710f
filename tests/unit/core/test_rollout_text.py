"""A rollout as text of a fixed width."""

from __future__ import annotations

from typing import Any

from deployer.core import rollout_text

LONG = " ".join(["word"] * 60)


def change(**more: Any) -> dict[str, Any]:
    """A line of a diff."""
    one: dict[str, Any] = {
        "sign": "~",
        "application": "fruit",
        "deployment": None,
        "option": None,
        "change": None,
        "effect": "ignored",
        "note": None,
    }
    return {**one, **more}


def test_columns_go_on_below_themselves() -> None:
    """A long sentence stands beside what it is about; an empty one is there too."""
    lines = rollout_text.columns([("a", LONG), ("long name", ""), ("b", "x\ny")])
    assert lines[0].startswith("a          word")
    assert lines[1].startswith(" " * 11 + "word")
    assert max(map(len, lines)) <= 110
    assert lines[-2:] == ["long name", "b          x\\ny"]
    assert rollout_text.columns([]) == []


def test_a_timeline_names_each_day_once() -> None:
    """Who did it, if it was a person, and why."""
    one = {"phase": None, "event": "seen", "actor": "deployer", "reason": "", "says": "Git wants it."}
    steps = [
        {**one, "at": "2026-11-22T23:59:59.000Z"},
        {**one, "at": "2026-11-23T00:00:01.500Z", "phase": "soak", "actor": "ada (local)", "reason": "sale"},
    ]
    assert [*rollout_text.timeline({"timeline": steps})] == [
        "2026-11-22",
        "  23:59:59.000  -          seen            Git wants it.",
        "2026-11-23",
        "  00:00:01.500  soak       seen            Git wants it. (by ada (local)) (sale)",
    ]


def test_checks_with_their_tries() -> None:
    """Each with how it came out."""
    one = {"app": "fruit", "path": "/x", "attempts": 1, "message": "", "passed": True}
    tried = {**one, "attempts": 3, "message": "503", "passed": False}
    assert [*rollout_text.checks({"checks": [one, tried, {**one, "attempts": 0, "passed": None}]})] == [
        "passed    fruit /x",
        "failed    fruit /x after 3 attempts: 503",
        "not made  fruit /x",
    ]


def test_changes_are_a_table() -> None:
    """With what each does to the replicas."""
    told = {
        "against": 'staging#1 abcdef1 "x"',
        "changes": [
            change(deployment="Mango", option="num_replicas", change="1 -> 3", effect="scales in place"),
            change(sign="-", application=None, note="all of them\x1b"),
        ],
    }
    assert rollout_text.changes(told) == [
        'against staging#1 abcdef1 "x"',
        "  ~ fruit / Mango  num_replicas  1 -> 3  scales in place",
        "  - (cluster)                            ignored (all of them\\x1b)",
    ]
    assert rollout_text.changes({"against": None, "changes": []}) == [
        "against nothing: no release had been good",
        "  no difference",
    ]


def test_the_story_is_columns() -> None:
    """Of what it is about, and what it says."""
    assert rollout_text.story({"story": [{"about": "what", "says": "It was."}]}) == ["what  It was."]
