"""The plan names what changes, on one line, without a secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml as pyyaml
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.core import serve_config
from deployer.core.plan import summary

if TYPE_CHECKING:
    from deployer.core.types import ServeConfig

SECRET = "hunter2-hunter2"


def config(*applications: dict[str, Any], **top: Any) -> ServeConfig:
    """A config of these applications; what they do not say is the same for all."""
    listed = [{"name": "fruit", "import_path": "fruit:app", **application} for application in applications]
    parsed, _ = serve_config.parse(pyyaml.safe_dump({"applications": listed, **top}).encode(), "f")
    return parsed


def deployment(**options: Any) -> dict[str, Any]:
    """An application with one deployment that has these options."""
    return {"deployments": [{"name": "MangoStand", **options}]}


def change(old: dict[str, Any], new: dict[str, Any]) -> str:
    """The plan for this change of one application."""
    return summary(config(old), config(new))


def test_the_first_deploy_adds_every_application() -> None:
    """There is nothing to compare with."""
    assert summary(None, config({}, {"name": "math"})) == "+ fruit, + math"


def test_no_change() -> None:
    """The same digest is the same config."""
    assert summary(config({}, {"name": "math"}), config({"name": "math"}, {})) == "no change"


def test_changed_added_and_removed() -> None:
    """What a person wants to know before merging, by application and deployment name."""
    old = config(deployment(num_replicas=1, user_config={"price": 5}), {"name": "old"}, {"name": "older"})
    new = config(deployment(num_replicas=3, user_config={"price": 7}), {"name": "math"})
    assert summary(old, new) == (
        "~ fruit: MangoStand.num_replicas 1 -> 3, MangoStand.user_config.price 5 -> 7"
        " | + math | - old, - older"
    )


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param({"args": {"x": 1}}, {"args": {"x": 1.0}}, "args.x 1 -> 1.0", id="a type"),
        pytest.param({"args": {"x": 1}}, {"args": {"x": True}}, "args.x 1 -> true", id="true is not 1"),
        pytest.param({"args": {"x": "5"}}, {"args": {"x": 5}}, 'args.x "5" -> 5', id="text is not a number"),
        pytest.param({}, {"args": {"x": {"y": 1}}}, "args.x.y unset -> 1", id="a new mapping, taken apart"),
        pytest.param({"args": {"x": 1}}, {}, "args.x 1 -> unset", id="a mapping that is gone"),
        pytest.param({}, {"args": {}}, "args unset -> {}", id="a new mapping without anything"),
        pytest.param(
            {"args": {"x": [1, 2]}}, {"args": {"x": [2, 1]}}, "args.x [1, 2] -> [2, 1]", id="a list"
        ),
        pytest.param(
            {"args": {"x": {"y": 1}}}, {"args": {"x": None}}, 'args.x {"y": 1} -> null', id="another kind"
        ),
        pytest.param({}, deployment(), "MangoStand unset -> {}", id="a deployment without options"),
        pytest.param(
            {}, deployment(num_replicas=2), "MangoStand.num_replicas unset -> 2", id="one with options"
        ),
        pytest.param({}, {"deployments": []}, "deployments unset -> []", id="no deployments"),
        pytest.param(
            {"deployments": []}, deployment(), 'deployments [] -> {"MangoStand": {}}', id="and then one"
        ),
        pytest.param(
            {}, {"args": {"a" * 99: {"b": 1}}}, f"args.{'a' * 92}... unset -> 1", id="a long path is cut"
        ),
        pytest.param(
            {"deployments": [{"name": "A"}, {"name": "B"}]},
            {"deployments": [{"name": "B"}, {"name": "A"}]},
            "order of the deployments",
            id="another order",
        ),
        pytest.param(
            {"args": {"x": "a" * 50}},
            {"args": {"x": "b" * 50}},
            f'args.x "{"a" * 36}... -> "{"b" * 36}...',
            id="long values are cut",
        ),
        pytest.param(
            {"args": {"x": "a" * 50}}, {"args": {"x": "a" * 51}}, "args.x changed", id="cut to the same"
        ),
        pytest.param(
            {"args": {"x": "a\nb\x85"}},
            {"args": {"é": 1}},
            'args.x "a\\nb\\x85" -> unset, args.é unset -> 1',
            id="one line, readable",
        ),
    ],
)
def test_changes_of_one_application(old: dict[str, Any], new: dict[str, Any], expected: str) -> None:
    """Every kind of change has its words."""
    assert change(old, new) == f"~ fruit: {expected}"


def test_what_is_for_the_whole_cluster_has_its_own_part() -> None:
    """Top-level settings belong to no application."""
    old, new = (
        config({}, http_options={"port": 8000}),
        config({}, http_options={"port": 9000}, target_capacity=50),
    )
    expected = "~ cluster-wide: http_options.port 8000 -> 9000, target_capacity unset -> 50"
    assert summary(old, new) == expected


def test_many_changes_are_counted() -> None:
    """A plan is one line of a log."""
    old = config({"args": dict.fromkeys("abc", 1)}, {"name": "math", "args": dict.fromkeys("abcde", 1)})
    new = config({"args": dict.fromkeys("abc", 2)}, {"name": "math", "args": dict.fromkeys("abcde", 2)})
    assert summary(old, new) == (
        "~ fruit: args.a 1 -> 2, args.b 1 -> 2, args.c 1 -> 2"
        " | ~ math: args.a 1 -> 2, args.b 1 -> 2 and 3 more"
    )
    assert summary(None, config(*({"name": name} for name in "abcde"))) == "+ a, + b, + c, + d, + e"
    many = config(*({"name": f"app-{index}"} for index in range(7)))
    assert summary(None, many) == "+ app-0, + app-1, + app-2, + app-3, + app-4 and 2 more"
    assert summary(many, config({})).endswith("| - app-0, - app-1, - app-2, - app-3, - app-4 and 2 more")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        pytest.param(
            {"runtime_env": {"env_vars": {"A": SECRET, "B": SECRET}}},
            {"runtime_env": {"env_vars": {"A": f"{SECRET}!", "C": SECRET}}},
            "runtime_env.env_vars.A changed, runtime_env.env_vars.B removed, runtime_env.env_vars.C added",
            id="environment variables",
        ),
        pytest.param(
            {"runtime_env": {"pip": [f"--extra-index-url=https://{SECRET}@example.com"]}},
            {"runtime_env": {"pip": ["a"], "working_dir": f"https://{SECRET}@example.com/a.zip"}},
            "runtime_env.pip changed, runtime_env.working_dir added",
            id="a runtime environment",
        ),
        pytest.param(
            {},
            deployment(ray_actor_options={"runtime_env": {"env_vars": {"A": SECRET}}}),
            "MangoStand.ray_actor_options.runtime_env.env_vars.A added",
            id="of a deployment that is new",
        ),
        pytest.param(
            deployment(user_config={"hf_token": "a", "max_tokens": 5}),
            deployment(user_config={"hf_token": SECRET, "max_tokens": 6}),
            "MangoStand.user_config.hf_token changed, MangoStand.user_config.max_tokens 5 -> 6",
            id="what is named like one",
        ),
        pytest.param(
            {"args": {"models": []}},
            {"args": {"models": [{"name": "a", "auth": {"password": SECRET}}]}},
            "args.models changed",
            id="inside a list",
        ),
        pytest.param(
            {"args": {"x": {"runtime_env": [SECRET]}}},
            {"args": {"x": 1}},
            "args.x changed",
            id="inside what is gone",
        ),
        pytest.param(
            {"args": {"url": "a"}},
            {"args": {"url": f"https://ada:{SECRET}@example.com/x"}},
            'args.url "a" -> "https://<redacted>@example.com/x"',
            id="in a URL",
        ),
    ],
)
def test_no_secret_is_shown(old: dict[str, Any], new: dict[str, Any], expected: str) -> None:
    """Only where it changed."""
    assert change(old, new) == f"~ fruit: {expected}"
    assert SECRET not in change(new, old)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from([0.0, 1.0, SECRET])
    | st.text("a\n\u202e", max_size=90),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)
_OPTIONS = st.dictionaries(st.sampled_from(["user_config", "num_cpus", "typo", "x"]), _VALUES, max_size=3)
_APPLICATIONS = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.builds(
        lambda keys, env, deployments: {
            **keys,
            "runtime_env": {"env_vars": env},
            "deployments": [{**options, "name": name} for name, options in deployments.items()],
        },
        st.dictionaries(st.sampled_from(["args", "typo", "route_prefix"]), _VALUES, max_size=3),
        st.dictionaries(st.sampled_from("AB"), st.just("ENV-" + SECRET), max_size=2),
        st.dictionaries(st.sampled_from("DE"), _OPTIONS, max_size=2),
    ),
    min_size=1,
    max_size=7,
)


def build(applications: dict[str, dict[str, Any]]) -> ServeConfig:
    """A config of these applications by name."""
    body = {
        "applications": [
            {**keys, "name": name, "import_path": "m:app"} for name, keys in applications.items()
        ]
    }
    parsed, _ = serve_config.parse(json.dumps(body).encode(), "f")
    return parsed


@settings(max_examples=60)
@given(one=_APPLICATIONS, other=_APPLICATIONS)
def test_the_plan_is_one_short_visible_line_and_silent_only_for_no_change(
    one: dict[str, dict[str, Any]], other: dict[str, dict[str, Any]]
) -> None:
    """Whatever changes, something is said; and nothing that moves a cursor or is secret."""
    old, new = build(one), build(other)
    text = summary(old, new)
    assert (text == "no change") == (old.digest == new.digest)
    assert text
    assert text.isprintable()
    assert len(text) < 2000
    assert "ENV-" not in text
    assert summary(old, old) == "no change"
