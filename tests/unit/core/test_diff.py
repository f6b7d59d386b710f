"""The lines of a plan: by name, with what each does to the replicas, without secrets."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.core.diff import Line, Sign, diff
from deployer.core.restart import Restart

NEWEST = "2.60.0"
SECRET = "hunter2-hunter2"


def body(*applications: dict[str, Any], **top: Any) -> dict[str, Any]:
    """A config of these applications."""
    return {"applications": [{"name": "fruit", "import_path": "f:app", **one} for one in applications], **top}


def stand(name: str = "Mango", **options: Any) -> dict[str, Any]:
    """An application with one deployment that has these options."""
    return {"deployments": [{"name": name, **options}]}


def lines(old: dict[str, Any], new: dict[str, Any], ray: str = NEWEST) -> list[tuple[str, ...]]:
    """Each line as text: sign, application, deployment, option, change, effect."""
    return [
        (line.sign, line.application, line.deployment, line.option, line.change, line.restart)
        for line in diff(old, new, ray).lines
    ]


def test_the_plan_of_the_handbook() -> None:
    """As product.md shows it: scaling, a reconfigure, a rebuild, and what goes."""
    old = body(
        {**stand(num_replicas=1, user_config={"price": 5}), "runtime_env": {"pip": ["a"]}},
        {"name": "math", "route_prefix": "/m"},
    )
    new = body({**stand(num_replicas=3, user_config={"price": 7}), "runtime_env": {"pip": ["b"]}})
    assert lines(old, new) == [
        ("~", "fruit", "", "runtime_env.pip", "changed", Restart.REBUILD),
        ("~", "fruit", "Mango", "num_replicas", "1 -> 3", Restart.SCALE),
        ("~", "fruit", "Mango", "user_config.price", "5 -> 7", Restart.RECONFIGURE),
        ("-", "math", "", "", "", Restart.DELETE),
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (body(), body(), []),
        (body(stand()), body(stand()), []),
        (body(stand(health_check_period_s=5)), body(stand(health_check_period_s=5.0)), []),
        (body({}), body({"runtime_env": {}}), []),
        (body(), body({}), [("+", "fruit", "", "", "", Restart.ADD)]),
        (
            body({}, http_options={"port": 1}),
            body({}, http_options={"port": 2}),
            [("~", "", "", "http_options.port", "1 -> 2", Restart.SERVE_RESTART)],
        ),
        (
            body({}),
            body({}, target_capacity=50),
            [("+", "", "", "target_capacity", "unset -> 50", Restart.SCALE)],
        ),
        (
            body(stand(num_replicas=2)),
            body(stand()),
            [("-", "fruit", "Mango", "num_replicas", "2 -> unset", Restart.SCALE)],
        ),
        (
            body({"args": {"x": 1}}),
            body({"args": {"x": 1.0}}),
            [("~", "fruit", "", "args.x", "1 -> 1.0", Restart.REBUILD)],
        ),
    ],
)
def test_each_change_is_a_line_with_its_effect(
    old: dict[str, Any], new: dict[str, Any], expected: list[tuple[str, ...]]
) -> None:
    """And what Serve makes the same of is none."""
    assert lines(old, new) == expected


def test_an_order_that_serve_takes_for_other_code_is_a_line() -> None:
    """Nothing else differs, so it is said what does."""
    routers = [
        {"name": name, "request_router_config": {"backoff_multiplier": n}} for n, name in ((1, "A"), (2, "B"))
    ]
    old, new = body({"deployments": routers}), body({"deployments": routers[::-1]})
    (line,) = diff(old, new, NEWEST).lines
    assert (line.sign, line.option, line.change) == (Sign.CHANGE, "deployments", "in another order")
    assert line.restart is Restart.REBUILD
    assert "order" in line.note


def test_no_line_shows_a_secret() -> None:
    """Neither by its key, nor inside a `runtime_env`, nor deep inside a list."""
    old = body({"args": {"token": SECRET, "many": [{"password": SECRET}], "n": 1}})
    new = body(
        {
            "args": {"token": SECRET + "2", "many": [{"password": SECRET + "2"}], "n": 2},
            "runtime_env": {"env_vars": {"X": SECRET}},
        }
    )
    found = diff(old, new, NEWEST)
    assert SECRET not in repr(found.lines)
    assert [line.change for line in found.lines] == ["changed", "1 -> 2", "changed", "added"]


def test_what_is_added_changed_and_removed() -> None:
    """By name."""
    old = body({"name": "a"}, {"name": "b", "args": {"x": 1}}, {"name": "d"})
    new = body({"name": "b", "args": {"x": 2}}, {"name": "c"}, {"name": "d"})
    found = diff(old, new, NEWEST)
    assert (found.added, found.changed, found.removed) == (("c",), ("b",), ("a",))


def test_a_value_that_is_long_is_cut_and_a_hostile_name_is_harmless() -> None:
    """A line stays a line."""
    old = body({"name": "a\n\x1b[31m", "args": {"x": "y" * 100}})
    new = body({"name": "a\n\x1b[31m", "args": {"x": "z" * 100}})
    (line,) = diff(old, new, NEWEST).lines
    assert isinstance(line, Line)
    assert line.application == "a\\n\\x1b[31m"
    assert line.change == f'"{"y" * 36}... -> "{"z" * 36}...'


def test_values_that_look_the_same_when_cut_are_said_to_have_changed() -> None:
    """Rather than `x -> x`."""
    old, new = body({"args": {"x": "y" * 100}}), body({"args": {"x": "y" * 100 + "z"}})
    assert [line.change for line in diff(old, new, NEWEST).lines] == ["changed"]


def test_removing_a_secret_is_said() -> None:
    """Without it."""
    old, new = body({"args": {"token": SECRET}}), body({"args": {}})
    assert [line.change for line in diff(old, new, NEWEST).lines] == ["removed"]
