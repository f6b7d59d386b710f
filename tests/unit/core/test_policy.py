"""A policy is obeyed or refused: no key of it is ever skipped."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.core import policy
from deployer.core.errors import InvalidConfig
from deployer.core.types import Deadlines, Policy


def parse(text: str) -> Policy:
    """The policy that this file says."""
    return policy.parse(text.encode(), "f")


def refusals(text: str) -> list[str]:
    """The problems with this policy, one line each: place and message."""
    with pytest.raises(InvalidConfig) as refused:
        parse(text)
    return [str(problem).splitlines()[0] for problem in refused.value.problems]


def test_every_key_is_obeyed() -> None:
    """The file of the documentation."""
    text = """\
    health:
      deadlines: {build: 10m, schedule: 90s, start: 1h30m}
    rollback: {on: false, deadline: 500ms}
    """
    deadlines = Deadlines(build=600.0, schedule=90.0, start=5400.0)
    assert parse(text) == Policy(deadlines=deadlines, rollback=False, rollback_deadline=0.5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "{}",
        "health:\nrollback:\n",
        "health: {deadlines: }",
        "rollback: {}",
        "health: {deadlines: {}}",
    ],
)
def test_what_is_not_given_has_its_default(text: str) -> None:
    """All of it is optional, also where the rest was commented out."""
    assert parse(text) == Policy()


def test_one_deadline_alone_leaves_the_others() -> None:
    """A part of a mapping is no reason to lose the defaults of its neighbours."""
    assert parse("health: {deadlines: {start: 1m}}") == Policy(deadlines=Deadlines(start=60.0))


@pytest.mark.parametrize("key", ["on", "'on'", '"on"'])
@pytest.mark.parametrize(("text", "value"), [("true", True), ("off", False), ("yes", True), ("no", False)])
def test_on_is_a_key(key: str, text: str, value: bool) -> None:
    """YAML 1.1 reads a plain `on` as true, also as a key; here it is what is written."""
    assert parse(f"rollback: {{{key}: {text}}}").rollback is value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rollback: {true: false}", "f:1:12: unknown key 'true' (known here: on, deadline)"),
        ("rollback: {yes: false}", "f:1:12: unknown key 'yes' (known here: on, deadline)"),
        ("rollback: {on: 1}", "f:1:16: rollback.on is true or false, not a number"),
        ("rollback: {on: }", "f:1:15: rollback.on is true or false, not nothing (null)"),
        ("rollback: {on: 'true'}", "f:1:16: rollback.on is true or false, not text"),
        ("rollback: true", "f:1:1: rollback is a mapping with the keys on, deadline, not true or false"),
        (
            "health: {deadlines: 5m}",
            "f:1:10: health.deadlines is a mapping with the keys build, schedule, start, not text",
        ),
        ("[health]", "f:1:1: this file is a mapping with the keys health, rollback, not a list"),
        (
            "rollback: {deadline: 600}",
            "f:1:22: rollback.deadline needs a unit: write it as 30s, 10m or 1h30m",
        ),
        ("rollback: {deadline: 1.5}", "f:1:22: rollback.deadline needs a unit"),
        ("rollback: {deadline: 1:30}", "f:1:22: rollback.deadline needs a unit"),
        (
            "rollback: {deadline: '90'}",
            "f:1:22: rollback.deadline: 90 has no unit: write 90s for seconds or 90m",
        ),
        ("rollback: {deadline: soon}", "f:1:22: rollback.deadline: 'soon' is not a duration"),
        (
            "rollback: {deadline: yes}",
            "f:1:22: rollback.deadline is a duration such as 30s, 10m or 1h30m, not true",
        ),
        (
            "rollback: {deadline: [5m]}",
            "f:1:22: rollback.deadline is a duration such as 30s, 10m or 1h30m, not a list",
        ),
        ("rollback: {deadline: 0s}", "f:1:22: rollback.deadline must be longer than nothing"),
        ("rollback: {deadline: 400d}", "f:1:22: rollback.deadline: 400d is longer than 365d"),
        ("rolback: {}", "f:1:1: unknown key 'rolback' (did you mean 'rollback'?)"),
        ("health: {deadlines: {strat: 5m}}", "f:1:22: unknown key 'strat' (did you mean 'start'?)"),
        ("sok: 2m", "f:1:1: unknown key 'sok' (did you mean 'soak'?)"),
        ("5: 2m", "f:1:1: unknown key '5' (known here: health, rollback)"),
        ("ray_version: '2.60'", "f:1:1: ray_version is not supported by this version yet: remove it"),
        (
            "health: {stability_window: 30s}",
            "f:1:10: health.stability_window is not supported by this version yet: remove it",
        ),
    ],
)
def test_what_cannot_be_obeyed_is_refused(text: str, expected: str) -> None:
    """With the place, the reason, and what to do."""
    (found,) = refusals(text)
    assert found.startswith(expected)


@pytest.mark.parametrize("key", ["ray_version", "owns", "checks", "soak", "drift", "allow"])
def test_what_a_later_version_obeys_is_not_skipped_by_this_one(key: str) -> None:
    """A check that nobody makes must not look as if it were made."""
    assert refusals(f"{key}: {{}}") == [f"f:1:1: {key} is not supported by this version yet: remove it"]


@pytest.mark.parametrize("key", ["stability_window", "max_flaps", "fail_fast_after"])
def test_what_a_later_version_obeys_of_health_is_not_skipped_either(key: str) -> None:
    """The same, one level down."""
    assert refusals(f"health: {{{key}: 1}}") == [
        f"f:1:10: health.{key} is not supported by this version yet: remove it"
    ]


def test_every_problem_is_said_at_once() -> None:
    """In the order of the file, so that it takes one push to mend it."""
    found = refusals(
        "soak: 2m\nhealth:\n  deadlines: {build: 5, strat: 5m}\nrollback: {on: 5, deadline: 0s}\n"
    )
    assert [line.split(": ")[0] for line in found] == ["f:1:1", "f:3:22", "f:3:25", "f:4:16", "f:4:29"]


_KEYS = st.sampled_from(
    ["health", "deadlines", "build", "schedule", "start", "rollback", "on", "deadline", "soak", "5", "~", "x"]
)


@settings(max_examples=200)
@given(
    tree=st.recursive(
        st.sampled_from(["5m", "5", "0s", "~", "true", "1.5", "''", "x", "2001-01-01"]),
        lambda inner: (
            st.dictionaries(_KEYS, inner, max_size=4).map(
                lambda items: "{" + ", ".join(f"{key}: {item}" for key, item in items.items()) + "}"
            )
            | st.lists(inner, max_size=2).map(lambda items: "[" + ", ".join(items) + "]")
        ),
        max_leaves=8,
    )
)
def test_any_tree_is_obeyed_or_refused(tree: str) -> None:
    """Whatever stands where: no error but InvalidConfig, and every deadline that passes is above nothing."""
    try:
        found = parse(tree)
    except InvalidConfig:
        return
    deadlines = found.deadlines
    assert min(deadlines.build, deadlines.schedule, deadlines.start, found.rollback_deadline) > 0
