"""What Serve makes of our config matches it; what somebody else put does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.core.compare import by_name, code_version, first_difference, matches

APP = {"name": "fruit", "import_path": "fruit:app"}


def app(**keys: Any) -> dict[str, Any]:
    """The application with these keys."""
    return {**APP, **keys}


def deployment(**keys: Any) -> dict[str, Any]:
    """The application with one deployment that has these options."""
    return app(deployments=[{"name": "D", **keys}])


# Pairs of what was sent and what Serve 2.60's own schema classes make of it, as its GET shows it.
TAKEN = [
    pytest.param(app(), app(), id="as it is"),
    pytest.param(
        app(route_prefix="/a", args={"x": 1, "y": 1.0}, runtime_env={"pip": ["a"]}),
        {"route_prefix": "/a", "runtime_env": {"pip": ["a"]}, "args": {"y": 1.0, "x": 1}, **APP},
        id="other order of keys",
    ),
    pytest.param(
        app(), app(logging_config={"log_level": "DEBUG"}), id="a top-level logging_config copied in"
    ),
    pytest.param(
        app(logging_config=None), app(logging_config={"log_level": "DEBUG"}), id="copied in over a null"
    ),
    pytest.param(app(route_prefix=None), app(route_prefix=None), id="an explicit null"),
    pytest.param(
        app(
            logging_config={
                "log_level": 10,
                "encoding": "JSON",
                "additional_log_standard_attrs": ["name", "name", "lineno"],
            }
        ),
        app(
            logging_config={
                "encoding": "JSON",
                "log_level": "DEBUG",
                "additional_log_standard_attrs": ["lineno", "name"],
            }
        ),
        id="log level and log attributes",
    ),
    pytest.param(
        deployment(max_ongoing_requests="5", health_check_period_s=10, graceful_shutdown_timeout_s="3"),
        deployment(max_ongoing_requests=5, graceful_shutdown_timeout_s=3.0, health_check_period_s=10.0),
        id="numbers converted to the field's type",
    ),
    pytest.param(deployment(num_replicas=True), deployment(num_replicas=1), id="true as a count"),
    pytest.param(
        deployment(max_ongoing_requests=5.0), deployment(max_ongoing_requests=5), id="5.0 as a count"
    ),
    pytest.param(deployment(max_ongoing_requests="5.0"), deployment(max_ongoing_requests=5), id='"5.0"'),
    pytest.param(
        deployment(ray_actor_options={"memory": 2**53 + 1}),
        deployment(ray_actor_options={"memory": float(2**53)}),
        id="an integer that no float is equal to",
    ),
    pytest.param(
        app(external_scaler_enabled=1.0), app(external_scaler_enabled=True), id="another number as a switch"
    ),
    pytest.param(
        app(external_scaler_enabled="no"), app(external_scaler_enabled=False), id="text as a switch"
    ),
    pytest.param(
        app(external_scaler_enabled=1), app(external_scaler_enabled=True), id="a number as a switch"
    ),
    pytest.param(
        deployment(num_replicas="auto", autoscaling_config={"min_replicas": 1, "typo": 1}),
        deployment(num_replicas="auto", autoscaling_config={"min_replicas": 1, "typo": 1}),
        id="autoscaling",
    ),
    pytest.param(
        deployment(ray_actor_options={"num_cpus": 1, "resources": {"a": 1}, "memory": None}),
        deployment(ray_actor_options={"num_cpus": 1.0, "memory": None, "resources": {"a": 1}}),
        id="actor options",
    ),
    pytest.param(
        deployment(placement_group_bundles=[{"CPU": 1}, {"GPU": "2"}]),
        deployment(placement_group_bundles=[{"CPU": 1.0}, {"GPU": 2.0}]),
        id="bundles",
    ),
    pytest.param(
        deployment(user_config={"a": 1, "b": [1.0, {"x": True}]}),
        deployment(user_config={"b": [1.0, {"x": True}], "a": 1}),
        id="user config",
    ),
]
DROPPED = [
    pytest.param(app(rout_prefix="/a"), app(), id="a typo in the application"),
    pytest.param(deployment(num_replica=5), deployment(), id="a typo in a deployment"),
    pytest.param(
        deployment(ray_actor_options={"num_cpu": 1}),
        deployment(ray_actor_options={}),
        id="a typo in actor options",
    ),
    pytest.param(
        deployment(max_surge_percent=20), deployment(), id="a key that an older Serve does not know"
    ),
    pytest.param(app(route_prefix=None), app(), id="a null"),
]
OTHERS = [
    pytest.param(app(), app(route_prefix="/a"), "route_prefix", id="a key that we did not send"),
    pytest.param(app(route_prefix="/a"), app(), "route_prefix", id="without a key that every Serve knows"),
    pytest.param(app(import_path="a:b"), app(import_path="a:c"), "import_path", id="another text"),
    pytest.param(app(args={"x": 1}), app(args={"x": 1.0}), "args", id="args: 1 and 1.0 are two"),
    pytest.param(app(args={"x": 1}), app(args={"x": True}), "args", id="args: 1 and true are two"),
    pytest.param(app(args={"x": "5"}), app(args={"x": 5}), "args", id="args: nothing is converted"),
    pytest.param(app(args={"x": 5, "y": 6}), app(args={"x": 5}), "args", id="args: nothing is dropped"),
    pytest.param(
        deployment(user_config={"price": 5}),
        deployment(user_config={"price": 7}),
        "deployments.D.user_config",
        id="another user config",
    ),
    pytest.param(app(route_prefix=None), app(route_prefix="/"), "route_prefix", id="null and text"),
    pytest.param(app(route_prefix="/"), app(route_prefix=None), "route_prefix", id="text and null"),
    pytest.param(
        deployment(num_replicas=2),
        deployment(num_replicas=3),
        "deployments.D.num_replicas",
        id="another count",
    ),
    pytest.param(
        deployment(num_replicas=2),
        deployment(num_replicas=True),
        "deployments.D.num_replicas",
        id="2 and true",
    ),
    pytest.param(
        deployment(num_replicas="auto"), deployment(num_replicas=3), "deployments.D.num_replicas", id="auto"
    ),
    pytest.param(
        deployment(num_replicas=3),
        deployment(num_replicas="auto"),
        "deployments.D.num_replicas",
        id="and back",
    ),
    pytest.param(
        deployment(num_replicas=10**400),
        deployment(num_replicas=1.5),
        "deployments.D.num_replicas",
        id="an integer that is no float at all",
    ),
    pytest.param(
        app(external_scaler_enabled=2),
        app(external_scaler_enabled=True),
        "external_scaler_enabled",
        id="a number that is no switch",
    ),
    pytest.param(
        deployment(num_replicas=3), deployment(), "deployments.D.num_replicas", id="without its count"
    ),
    pytest.param(
        deployment(num_replicas=10),
        deployment(num_replicas="DEBUG"),
        "deployments.D.num_replicas",
        id="a count is no log level",
    ),
    pytest.param(
        deployment(placement_group_bundles=None),
        deployment(placement_group_bundles=[]),
        "deployments.D.placement_group_bundles",
        id="a list instead of a null",
    ),
    pytest.param(app(deployments=[]), app(), "deployments", id="no deployments at all"),
    pytest.param(deployment(), app(deployments=[]), "deployments", id="without the deployment"),
    pytest.param(app(deployments=[]), deployment(), "deployments", id="one deployment more"),
    pytest.param(
        deployment(), app(deployments=[{"name": "D"}, {"name": "D"}]), "deployments", id="one twice"
    ),
    pytest.param(deployment(), app(deployments=["D"]), "deployments", id="a deployment that is none"),
    pytest.param(deployment(), app(deployments=[{"name": ["D"]}]), "deployments", id="a name that is none"),
    pytest.param(deployment(), app(deployments={"D": {}}), "deployments", id="deployments that are no list"),
    pytest.param(
        deployment(placement_group_bundles=[{"CPU": 1}, {"CPU": 1}]),
        deployment(placement_group_bundles=[{"CPU": 1}]),
        "deployments.D.placement_group_bundles",
        id="a shorter list",
    ),
    pytest.param(
        deployment(placement_group_bundles=[{"CPU": 1}, {"CPU": 1}]),
        deployment(placement_group_bundles=[{"CPU": 1.0}, {"CPU": 2.0}]),
        "deployments.D.placement_group_bundles.1.CPU",
        id="another item of a list",
    ),
    pytest.param(
        app(logging_config={"log_level": 10}),
        app(logging_config={"log_level": "INFO"}),
        "logging_config.log_level",
        id="another log level",
    ),
    pytest.param(
        app(logging_config={"additional_log_standard_attrs": ["name"]}),
        app(logging_config={"additional_log_standard_attrs": ["lineno"]}),
        "logging_config.additional_log_standard_attrs",
        id="another log attribute",
    ),
    pytest.param(
        deployment(ray_actor_options={"runtime_env": {"env_vars": {"TOKEN": "hunter2"}}}),
        deployment(ray_actor_options={"runtime_env": {"env_vars": {"TOKEN": "hunter3"}}}),
        "deployments.D.ray_actor_options.runtime_env",
        id="another secret: it is not said which",
    ),
    pytest.param(
        app(external_scaler_enabled="no"),
        app(external_scaler_enabled=True),
        "external_scaler_enabled",
        id="a switch",
    ),
    pytest.param(app(**{"a\nb": 1}), app(**{"a\nb": 2}), "a\\nb", id="a path is one line"),
]


@pytest.mark.parametrize(("sent", "reported"), [*TAKEN, *DROPPED])
def test_what_serve_took_from_us_matches(sent: dict[str, Any], reported: dict[str, Any]) -> None:
    """Else a PUT that arrived would be sent again, or judged by a stranger's status."""
    assert first_difference(sent, reported) is None
    assert matches(sent, reported, strict=False)


@pytest.mark.parametrize(("sent", "reported"), TAKEN)
def test_it_is_proof_where_nothing_is_missing(sent: dict[str, Any], reported: dict[str, Any]) -> None:
    """After a crash this shows that the PUT arrived."""
    assert matches(sent, reported, strict=True)


@pytest.mark.parametrize(("sent", "reported"), DROPPED)
def test_it_is_no_proof_where_a_key_is_missing(sent: dict[str, Any], reported: dict[str, Any]) -> None:
    """An older config without that key would look the same. In doubt the same PUT is sent again."""
    assert not matches(sent, reported, strict=True)


@pytest.mark.parametrize(("sent", "reported", "where"), OTHERS)
@pytest.mark.parametrize("strict", [True, False])
def test_what_somebody_else_put_does_not_match(
    sent: dict[str, Any], reported: dict[str, Any], where: str, strict: bool
) -> None:
    """And it is said where, never which value."""
    assert not matches(sent, reported, strict=strict)
    assert first_difference(sent, reported, strict=strict) == where


def test_no_config_at_all_does_not_match() -> None:
    """As for an application that `serve run` started, or that a half-applied PUT left."""
    assert not matches(APP, None, strict=False)


def test_the_order_of_deployments_counts_only_as_proof() -> None:
    """Serve keeps it, so another order is another PUT; but it runs the same."""
    sent = app(deployments=[{"name": "A"}, {"name": "B"}])
    reported = app(deployments=[{"name": "B"}, {"name": "A"}])
    assert matches(sent, reported, strict=False)
    assert first_difference(sent, reported, strict=True) == "deployments"


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
_KEYS = st.sampled_from(["route_prefix", "args", "runtime_env", "logging_config", "typo", "log_level"])
_APPS = st.builds(
    lambda keys, deployments: {
        **APP,
        **keys,
        "deployments": [{**options, "name": name} for name, options in deployments.items()],
    },
    st.dictionaries(_KEYS, _VALUES, max_size=4),
    st.dictionaries(st.text(max_size=5), st.dictionaries(_KEYS, _VALUES, max_size=3), max_size=3),
)


@settings(max_examples=150)
@given(sent=_APPS)
def test_everything_matches_itself(sent: dict[str, Any]) -> None:
    """Also after it went over the wire."""
    assert matches(sent, json.loads(json.dumps(sent)), strict=True)


@settings(max_examples=150)
@given(sent=_APPS, reported=_APPS)
def test_proof_is_never_weaker(sent: dict[str, Any], reported: dict[str, Any]) -> None:
    """What proves a PUT also matches it."""
    assert matches(sent, reported, strict=False) or not matches(sent, reported, strict=True)


@settings(max_examples=150)
@given(sent=_APPS, reported=_VALUES)
def test_any_answer_can_be_compared(sent: dict[str, Any], reported: Any) -> None:
    """Whatever a server reports, as the whole or as a part: an answer, and no error."""
    whole = reported if isinstance(reported, dict) else {**sent, "deployments": reported}
    assert matches(sent, whole, strict=False) == (first_difference(sent, whole) is None)


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (app(args={}, runtime_env={}), True),
        (app(route_prefix="/a", deployments=[{"name": "D", "num_replicas": 2}]), True),
        (app(import_path="fruit.app"), False),
        (app(args={"x": 1}), False),
        (app(runtime_env={"env_vars": {"A": "b"}}), False),
    ],
)
def test_what_serve_takes_for_other_code(other: dict[str, Any], is_same: bool) -> None:
    """The import path, the arguments and the environment, as they are written."""
    assert (code_version(other) == code_version(APP)) is is_same


def test_deployments_are_read_as_serve_reads_them() -> None:
    """Of two with one name the last counts; what is none is left out."""
    assert by_name([{"name": "D"}, {"name": "D", "num_replicas": 2}, {"name": 5}, "D"]) == {
        "D": {"name": "D", "num_replicas": 2}
    }
    assert by_name(None) == {}
