"""The restart class of each change, by Ray version, and the rules that Serve's comparison makes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core import restart_rules as rules
from deployer.core.restart import (
    AUTOSCALED,
    FIRST_IN_GANGS,
    FIXED,
    FOR_ALL,
    FROM_CODE,
    NEW_REPLICAS,
    NOT_CALLED,
    ORDER,
    SAME_CAPACITY,
    SAME_TO_PYTHON,
    STICKS,
    UNKNOWN,
    WAITS,
    AppEffect,
    Restart,
    effects,
    top_level,
    whole,
    worst,
)

NEW = "2.60.0"


def app(*deployments: dict[str, Any], **more: Any) -> dict[str, Any]:
    """An application with these entries."""
    return {"name": "a", "import_path": "m:x", "deployments": [*deployments], **more}


def d(name: str = "D", **options: Any) -> dict[str, Any]:
    """An entry."""
    return {"name": name, **options}


def change(old: dict[str, Any], new: dict[str, Any], ray: str = NEW) -> list[tuple[str, Restart, str]]:
    """The changes of the deployments and of the application, each as `D.option`, class and note."""
    found = effects(old, new, ray).changes
    return [(".".join((one.deployment or "", *one.path)).lstrip("."), one.restart, one.note) for one in found]


def of_d(old: dict[str, Any], new: dict[str, Any], ray: str = NEW) -> list[tuple[str, Restart, str]]:
    """The same, of the one deployment D with these options."""
    return change(app(d(**old)), app(d(**new)), ray)


def test_the_classes_are_in_order() -> None:
    """The heaviest of none is that nothing happens."""
    assert worst([]) is Restart.IGNORED
    assert worst([Restart.ROLLING, Restart.REBUILD, Restart.SCALE]) is Restart.REBUILD
    assert Restart.CONTROLLER.severity < Restart.SCALE.severity < Restart.RECONFIGURE.severity
    assert [one for one in Restart if one.replaces_replicas] == [Restart.ROLLING, Restart.REBUILD]


@pytest.mark.parametrize(
    ("old", "new", "restart"),
    [
        ({"num_replicas": 2}, {"num_replicas": 3}, Restart.SCALE),
        ({"max_queued_requests": 5}, {"max_queued_requests": 6}, Restart.CONTROLLER),
        ({"max_surge_percent": 5}, {"max_surge_percent": 6}, Restart.CONTROLLER),
        ({"user_config": {"a": 1}}, {"user_config": {"a": 2}}, Restart.RECONFIGURE),
        ({"logging_config": {}}, {"logging_config": {"encoding": "JSON"}}, Restart.RECONFIGURE),
        ({"logging_config": None}, {"logging_config": {"encoding": "JSON"}}, Restart.RECONFIGURE),
        ({"max_replicas_per_node": 1}, {}, Restart.ROLLING),
        ({"placement_group_bundles": []}, {}, Restart.ROLLING),
        ({"request_router_config": {}}, {"request_router_config": {"a": 1}}, Restart.REBUILD),
        ({"deployment_actors": [{"name": "a"}]}, {"deployment_actors": []}, Restart.REBUILD),
    ],
)
def test_an_option_of_a_deployment(old: dict[str, Any], new: dict[str, Any], restart: Restart) -> None:
    """Its class is that of the deployment and of the application."""
    ((path, found, _),) = of_d(old, new)
    assert path == f"D.{next(iter(old))}"
    assert found is restart
    effect = effects(app(d(**old)), app(d(**new)), NEW)
    assert effect.deployments == {"D": restart}
    assert effect.restart is restart
    assert effect.rebuilt is (restart is Restart.REBUILD)


@pytest.mark.parametrize(
    ("old", "new", "restart"),
    [
        ({"import_path": "m:x"}, {"import_path": "m.x"}, Restart.REBUILD),
        ({"args": {"a": 1}}, {"args": {"a": 1.0}}, Restart.REBUILD),
        ({"runtime_env": {"pip": ["a", "b"]}}, {"runtime_env": {"pip": ["b", "a"]}}, Restart.REBUILD),
        ({}, {"autoscaling_policy": {"policy_function": "m:f"}}, Restart.REBUILD),
        ({"route_prefix": "/a"}, {"route_prefix": "/b"}, Restart.RECONFIGURE),
        ({"route_prefix": "/a"}, {}, Restart.RECONFIGURE),
        ({}, {"logging_config": {"encoding": "JSON"}}, Restart.RECONFIGURE),
        ({}, {"external_scaler_enabled": True}, Restart.CONTROLLER),
        ({}, {"nothing": 1}, Restart.IGNORED),
    ],
)
def test_an_option_of_an_application(old: dict[str, Any], new: dict[str, Any], restart: Restart) -> None:
    """A rebuild restarts the deployments that are listed, and those that are not."""
    effect = effects(app(d(), **old), app(d(), **new), NEW)
    (one,) = effect.changes
    assert one.restart is effect.restart is restart
    assert one.deployment is None
    assert ("D" in effect.deployments) == (restart is Restart.REBUILD or "logging_config" in new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (app(), app()),
        (app(), app(runtime_env={}, args={}, external_scaler_enabled="no", autoscaling_policy=None)),
        (app(d(health_check_period_s=1)), app(d(health_check_period_s=1.0))),
        (app(d(max_ongoing_requests="5")), app(d(max_ongoing_requests=5))),
        (app(d("A"), d("B")), app(d("B"), d("A"))),
        (app(d(user_config={"a": 1, "b": 2})), app(d(user_config={"b": 2, "a": 1}))),
        (app(d(logging_config={"log_level": 10})), app(d(logging_config={"log_level": "DEBUG"}))),
        (app(d(logging_config={})), app(d(logging_config={"encoding": "TEXT"}))),
        (app(d(gang_scheduling_config={"gang_size": "2"})),
         app(d(gang_scheduling_config={"gang_size": 2, "gang_placement_strategy": "PACK"}))),
        (app(d(autoscaling_config={})), app(d(autoscaling_config={"upscale_delay_s": 30}))),
        (app(d(ray_actor_options={})), app(d(ray_actor_options={"num_cpus": None}))),
        (app(d(ray_actor_options={"num_cpus": 2})), app(d(ray_actor_options={"num_cpus": 2.0}))),
        (app(d(num_replicas=1), d(num_replicas=2)), app(d(num_replicas=2))),
        (app(deployments=["no deployment"]), app()),
    ],
)  # fmt: skip
def test_what_serve_takes_for_the_same(old: dict[str, Any], new: dict[str, Any]) -> None:
    """There is no change, in either direction."""
    for before, after in ((old, new), (new, old)):
        assert effects(before, after, NEW) == AppEffect(restart=Restart.IGNORED, deployments={})


def test_the_fields_of_autoscaling_differ() -> None:
    """Two of them are told to the replicas, the policy is code, the rest is the controller's."""
    old = {"autoscaling_config": {"max_replicas": 2}}
    new = {
        "autoscaling_config": {
            "max_replicas": 3, "upscale_delay_s": 1, "look_back_period_s": 2,
            "policy": {"policy_function": "m:f"},
        }
    }  # fmt: skip
    assert of_d(old, new) == [
        ("D.autoscaling_config.look_back_period_s", Restart.RECONFIGURE, ""),
        ("D.autoscaling_config.max_replicas", Restart.SCALE, ""),
        ("D.autoscaling_config.policy", Restart.REBUILD, ""),
        ("D.autoscaling_config.upscale_delay_s", Restart.CONTROLLER, ""),
    ]


def test_autoscaling_begins_and_ends() -> None:
    """An `autoscaling_config` puts a null into the code version; `auto` alone does not."""
    fixed, auto = {"num_replicas": 2}, {"num_replicas": "auto"}
    config: dict[str, Any] = {"autoscaling_config": {}}
    assert of_d(fixed, config) == [
        ("D.autoscaling_config", Restart.REBUILD, ""),
        ("D.num_replicas", Restart.RECONFIGURE, AUTOSCALED),
    ]
    assert of_d(fixed, auto) == [("D.num_replicas", Restart.RECONFIGURE, AUTOSCALED)]
    assert of_d(auto, fixed) == [("D.num_replicas", Restart.RECONFIGURE, FIXED)]
    assert of_d(config, {**auto, **config}) == [("D.num_replicas", Restart.SCALE, "")]
    # 2.9.3 tells its replicas nothing of it.
    assert of_d(fixed, config, "2.9.3")[0] == ("D.autoscaling_config", Restart.SCALE, "")


def test_the_code_version_does_not_know_whose_policy_it_is() -> None:
    """A config that moves from one deployment to another leaves the list as it was."""
    moved = change(app(d("A", autoscaling_config={}), d("B")), app(d("A"), d("B", autoscaling_config={})))
    assert [restart for _, restart, _ in moved] == [Restart.RECONFIGURE, Restart.RECONFIGURE]
    entries = [d("A", request_router_config={"a": 1}), d("B", request_router_config={"b": 1})]
    turned = effects(app(*entries), app(*reversed(entries)), NEW)
    (one,) = turned.changes
    assert (one.path, one.restart, one.note) == (("deployments",), Restart.REBUILD, ORDER)
    assert turned.deployments == {"A": Restart.REBUILD, "B": Restart.REBUILD}
    assert effects(app(*entries), app(*reversed(entries)), "2.50.1").changes == ()


PG = "placement_group_strategy"


@pytest.mark.parametrize(
    ("old", "new", "restart", "note"),
    [
        ({PG: "PACK"}, {PG: "SPREAD"}, Restart.IGNORED, WAITS),
        ({}, {PG: "SPREAD"}, Restart.ROLLING, ""),
        ({PG: "PACK"}, {}, Restart.ROLLING, FROM_CODE),
        ({PG: "PACK"}, {PG: "SPREAD", "num_replicas": 2}, Restart.ROLLING, ""),
        ({PG: "PACK", "num_replicas": 2}, {PG: "SPREAD"}, Restart.ROLLING, ""),
        (
            {PG: "PACK", "user_config": {"a": 1}},
            {PG: "SPREAD", "user_config": {"a": 1.0}},
            Restart.IGNORED,
            WAITS,
        ),
        ({PG: "PACK", "typo": 1}, {PG: "SPREAD", "typo": 2}, Restart.IGNORED, WAITS),
    ],
)
def test_a_placement_waits_for_another_change(
    old: dict[str, Any], new: dict[str, Any], restart: Restart, note: str
) -> None:
    """Serve does not compare placement groups when it asks whether a deployment has changed."""
    assert (f"D.{PG}", restart, note) in of_d(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({}, {"args": {"a": 1}}),
        ({"route_prefix": "/a"}, {"route_prefix": "/b"}),
        ({}, {"logging_config": {"encoding": "JSON"}}),
    ],
)
def test_a_change_of_the_application_lets_a_placement_in(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Each of them reaches the deployment."""
    found = effects(app(d(**{PG: "PACK"}), **old), app(d(**{PG: "SPREAD"}), **new), NEW).of("D", (PG,))
    assert found is not None
    assert found.restart is Restart.ROLLING


def test_a_change_of_capacity_lets_a_placement_in() -> None:
    """But not the logging of the application where the deployment has its own."""
    old, new = d(**{PG: "PACK"}), d(**{PG: "SPREAD"})
    assert effects(app(old), app(new), NEW, capacity_changed=True).restart is Restart.ROLLING
    own: dict[str, Any] = {"logging_config": {"encoding": "TEXT"}}
    effect = effects(app(d(**own)), app(d(**own), logging_config={"encoding": "JSON"}), NEW)
    assert effect.deployments == {}
    empty = d(logging_config={})
    assert effects(app(empty), app(empty, logging_config={"encoding": "JSON"}), NEW).deployments == {}


def test_what_is_equal_to_python_waits_too() -> None:
    """Serve compares 1 and 1.0 with Python's `==`, and hashes them as JSON."""
    old, new = {"user_config": {"a": 1}}, {"user_config": {"a": 1.0}}
    assert of_d(old, new) == [
        ("D.user_config", Restart.IGNORED, SAME_TO_PYTHON.format("reconfigures, no restart"))
    ]
    assert of_d(old, {**new, "num_replicas": 2})[1] == ("D.user_config", Restart.RECONFIGURE, "")
    # Serve's own default is an integer, what a config says becomes a float.
    cpus = of_d({"ray_actor_options": {}}, {"ray_actor_options": {"num_cpus": 1}})
    assert cpus == [
        ("D.ray_actor_options.num_cpus", Restart.IGNORED, SAME_TO_PYTHON.format("rolling restart"))
    ]


def test_what_is_taken_away() -> None:
    """Before 2.60 an override sticks, unless the application is rebuilt."""
    old: dict[str, Any] = {"user_config": {"a": 1}, "max_queued_requests": 5}
    assert of_d(old, {}) == [
        ("D.max_queued_requests", Restart.CONTROLLER, FROM_CODE),
        ("D.user_config", Restart.RECONFIGURE, NOT_CALLED),
    ]
    assert of_d(old, {}, "2.59.0") == [
        ("D.max_queued_requests", Restart.IGNORED, STICKS),
        ("D.user_config", Restart.IGNORED, STICKS),
    ]
    rebuilt = change(app(d(**old), args={}), app(args={"a": 1}), "2.59.0")
    assert ("D.max_queued_requests", Restart.CONTROLLER, FROM_CODE) in rebuilt
    # A mapping is put in as a whole, so what it does not say any more is gone in every version.
    options: dict[str, Any] = {"ray_actor_options": {"num_gpus": 1, "num_cpus": 1}}
    ((_, restart, note),) = of_d(options, {"ray_actor_options": {"num_cpus": 1}}, "2.59.0")
    assert (restart, note) == (Restart.ROLLING, "")
    route = change(app(route_prefix="/a"), app(), "2.59.0")
    assert route == [("route_prefix", Restart.IGNORED, STICKS)]
    assert change(app(route_prefix="/a"), app(args={"a": 1}), "2.59.0")[1][1] is Restart.RECONFIGURE


def test_the_first_gang_is_warned_of() -> None:
    """A change of a gang is an ordinary one."""
    two, one = ({"gang_scheduling_config": {"gang_size": size}} for size in (2, 1))
    assert of_d({}, two) == [("D.gang_scheduling_config", Restart.ROLLING, FIRST_IN_GANGS)]
    assert of_d(two, one) == [("D.gang_scheduling_config", Restart.ROLLING, "")]


@pytest.mark.parametrize(
    ("option", "ray", "restart"),
    [
        ("max_ongoing_requests", "2.9.3", None),
        ("max_ongoing_requests", "2.12.0", Restart.CONTROLLER),
        ("max_ongoing_requests", "2.24.0", Restart.RECONFIGURE),
        ("max_concurrent_queries", "2.32.0", Restart.RECONFIGURE),
        ("max_concurrent_queries", "2.40.0", None),
        ("max_surge_percent", "2.59.0", None),
        ("max_surge_percent", "2.60.1", Restart.CONTROLLER),
        ("max_surge_percent", "3.1", Restart.CONTROLLER),
        ("max_surge_percent", "nightly", Restart.CONTROLLER),
        ("user_config", "1.13", Restart.RECONFIGURE),
        ("request_router_config", "2.50.1", Restart.RECONFIGURE),
        ("request_router_config", "2.53.0", Restart.REBUILD),
        ("deployment_actors", "2.53.0", None),
        ("deployment_actors", "2.55.1", Restart.REBUILD),
        ("gang_scheduling_config", "2.50.1", None),
        ("typo", "2.60.0", None),
    ],
)
def test_the_versions_differ(option: str, ray: str, restart: Restart | None) -> None:
    """A field that a version does not have is dropped there."""
    value = [{"name": "x"}] if option == "deployment_actors" else {"a": 1}
    ((_, found, note),) = of_d({}, {option: value}, ray)
    assert found is (restart or Restart.IGNORED)
    assert (note == UNKNOWN) is (restart is None)


def test_an_application_comes_and_goes() -> None:
    """One with another name is another one."""
    assert effects(None, app(d()), NEW) == AppEffect(restart=Restart.ADD, deployments={"D": Restart.ADD})
    assert effects(app(d()), None, NEW).deployments == {"D": Restart.DELETE}
    assert effects(None, None, NEW).deployments == {}
    found = whole({"applications": [app()]}, {"applications": [{**app(), "name": "b"}]}, NEW)
    assert {name: one.restart for name, one in found.apps.items()} == {"a": Restart.DELETE, "b": Restart.ADD}
    assert whole({}, {"applications": None}, NEW).apps == {}


def test_the_change_that_a_path_is_in() -> None:
    """A deeper path is in the option, another one is in none."""
    effect = effects(app(d(num_replicas=1)), app(d(num_replicas=2), args={"price": 1}), NEW)
    assert effect.of(None, ("args", "price")) is effect.changes[0]
    assert effect.of("D", ("num_replicas",)) is effect.changes[1]
    assert effect.of("D", ("args",)) is None


def test_what_stands_beside_the_applications() -> None:
    """A running Serve reads most of it never again."""
    old = {"http_options": {"port": 1, "host": "h"}, "proxy_location": "HeadOnly", "logging_config": {}}
    new = {
        "http_options": {"port": 2, "host": "h"},
        "grpc_options": {"port": 3},
        "logging_config": {"encoding": "JSON"},
        "tracing_config": {"enabled": True},
        "target_capacity": 50,
        "typo": 1,
        "applications": [],
    }
    assert [(".".join(one.path), one.restart, one.note) for one in top_level(old, new, NEW)] == [
        ("grpc_options", Restart.SERVE_RESTART, ""),
        ("http_options.port", Restart.SERVE_RESTART, ""),
        ("logging_config", Restart.RECONFIGURE, FOR_ALL),
        ("proxy_location", Restart.SERVE_RESTART, ""),
        ("target_capacity", Restart.SCALE, ""),
        ("tracing_config", Restart.SERVE_RESTART, NEW_REPLICAS),
        ("typo", Restart.IGNORED, UNKNOWN),
    ]
    assert top_level(new, new, NEW) == ()
    (traced,) = top_level({"tracing_config": {}}, {"tracing_config": {"enabled": True}}, NEW)
    assert traced.note == NEW_REPLICAS
    (same,) = top_level({}, {"target_capacity": 100}, NEW)
    assert (same.restart, same.note) == (Restart.CONTROLLER, SAME_CAPACITY)


def test_logging_for_everything_reaches_those_without_their_own() -> None:
    """Serve copies it into each application that has none."""
    own = {**app(), "name": "own", "logging_config": {"encoding": "TEXT"}}
    old = {"applications": [app(d()), own]}
    found = whole(old, {**old, "logging_config": {"encoding": "JSON"}}, NEW)
    assert found.apps["a"].deployments == {"D": Restart.RECONFIGURE}
    assert found.apps["own"].changes == ()
    capacity = whole({"applications": [app(d(**{PG: "PACK"}))]},
                     {"applications": [app(d(**{PG: "SPREAD"}))], "target_capacity": 50}, NEW)  # fmt: skip
    assert capacity.apps["a"].restart is Restart.ROLLING


def test_what_is_not_an_option() -> None:
    """Serve refuses some keys, and others are no options."""
    assert rules.of_application("host", rules.NEWEST) is None
    assert rules.of_top_level("applications", rules.NEWEST) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
OPTIONS = (
    "num_replicas",
    "user_config",
    "ray_actor_options",
    "autoscaling_config",
    PG,
    "logging_config",
    "typo",
)
entries = st.dictionaries(st.sampled_from(OPTIONS), json_values, max_size=4)


@given(old=entries, new=entries, ray=st.sampled_from(["2.9.3", "2.40.0", "2.50.1", "2.59.0", NEW]))
def test_any_two_configs_have_an_answer(old: dict[str, Any], new: dict[str, Any], ray: str) -> None:
    """It is the same config exactly if there is no change; and no value is ever shown."""
    found = effects(app(d(**old)), app(d(**new)), ray)
    assert effects(app(d(**old)), app(d(**json.loads(json.dumps(old)))), ray).changes == ()
    assert found.restart is worst(one.restart for one in found.changes)
    assert {one.deployment for one in found.changes} <= {"D"}
