"""What may not stand together, and which forms a text must have: each rule once broken, once kept."""

from __future__ import annotations

from typing import Any

import pytest

from deployer.core.serve_rules import faults


def config(application: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """A config of one application, with these keys more."""
    return {"applications": [{"name": "a", "import_path": "m:app", **(application or {})}], **top}


def deployment(**options: Any) -> dict[str, Any]:
    """A config of one deployment with these options."""
    return config({"deployments": [{"name": "D", **options}]})


def said(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Each fault: where, as `a.0.b`, and the message."""
    return [(".".join(map(str, fault.path)), fault.message) for fault in faults(body)]


IN_APP = "applications.0"
IN_DEPLOYMENT = "applications.0.deployments.0"


BROKEN: list[tuple[Any, ...]] = [
    (config(http_options={"ssl_keyfile": "/k"}), "http_options", "need each other"),
    (config(http_options={"port": 70000}), "http_options.port", "from 0 to 65535"),
    (config(grpc_options={"port": -1}), "grpc_options.port", "from 0 to 65535"),
    (config(tracing_config={"sampling_ratio": 2}), "tracing_config.sampling_ratio", "from 0 to 1"),
    (config({"host": "x"}), f"{IN_APP}.host", "put it into `http_options`"),
    (config({"port": 1}), f"{IN_APP}.port", "put it into `http_options`"),
    (
        config({"import_path": "nothing"}),
        f"{IN_APP}.import_path",
        "names a module and what to take of it",
    ),
    (config({"import_path": "a:b:c"}), f"{IN_APP}.import_path", "names a module"),
    (config({"import_path": "a:"}), f"{IN_APP}.import_path", "names a module"),
    (config({"import_path": ".a"}), f"{IN_APP}.import_path", "names a module"),
    (config({"import_path": "my-app:app"}), f"{IN_APP}.import_path", "no module or name of Python"),
    (config({"route_prefix": "x"}), f"{IN_APP}.route_prefix", "begins with a slash: write `/x`"),
    (config({"route_prefix": ""}), f"{IN_APP}.route_prefix", "is empty: write `/`"),
    (config({"route_prefix": "/x/"}), f"{IN_APP}.route_prefix", "ends with a slash"),
    (config({"route_prefix": "/{x}"}), f"{IN_APP}.route_prefix", "wildcards"),
    (config({"route_prefix": "/x}"}), f"{IN_APP}.route_prefix", "wildcards"),
    (
        config(
            {
                "external_scaler_enabled": True,
                "deployments": [{"autoscaling_config": {"max_replicas": 2}}],
            }
        ),
        f"{IN_DEPLOYMENT}.autoscaling_config",
        "no deployment of it can scale itself",
    ),
    (
        config({"external_scaler_enabled": True, "deployments": [{"num_replicas": "auto"}]}),
        f"{IN_DEPLOYMENT}.num_replicas",
        "no deployment of it can scale itself",
    ),
    (
        deployment(num_replicas=2, autoscaling_config={"max_replicas": 3}),
        f"{IN_DEPLOYMENT}.num_replicas",
        "cannot stand together",
    ),
    (
        deployment(autoscaling_config={"min_replicas": 3, "max_replicas": 2}),
        f"{IN_DEPLOYMENT}.autoscaling_config.max_replicas",
        "must not be less than `min_replicas`",
    ),
    (
        deployment(autoscaling_config={"min_replicas": 3}),
        f"{IN_DEPLOYMENT}.autoscaling_config.min_replicas",
        "must not be less than `min_replicas` (1 where it is not given)",
    ),
    (
        deployment(autoscaling_config={"min_replicas": 0, "max_replicas": 0}),
        f"{IN_DEPLOYMENT}.autoscaling_config.max_replicas",
        "must not be less",
    ),
    (
        deployment(autoscaling_config={"max_replicas": 2, "initial_replicas": 3}),
        f"{IN_DEPLOYMENT}.autoscaling_config.initial_replicas",
        "lies outside",
    ),
    (deployment(max_queued_requests=0), f"{IN_DEPLOYMENT}.max_queued_requests", "1 or more, or -1"),
    (deployment(max_queued_requests=-2), f"{IN_DEPLOYMENT}.max_queued_requests", "1 or more, or -1"),
    (deployment(max_replicas_per_node=0), f"{IN_DEPLOYMENT}.max_replicas_per_node", "from 1 to 100"),
    (
        deployment(max_replicas_per_node=1, placement_group_bundles=[{"CPU": 1}]),
        f"{IN_DEPLOYMENT}.max_replicas_per_node",
        "cannot stand beside `placement_group_bundles`",
    ),
    (
        deployment(placement_group_bundles=[]),
        f"{IN_DEPLOYMENT}.placement_group_bundles",
        "at least one bundle",
    ),
    (
        deployment(placement_group_bundles=[{"CPU": 1}, {}]),
        f"{IN_DEPLOYMENT}.placement_group_bundles.1",
        "at least one resource",
    ),
    (
        deployment(placement_group_bundles=[{"CPU": 1, "GPU": -1}]),
        f"{IN_DEPLOYMENT}.placement_group_bundles.0",
        "no negative amount",
    ),
    (
        deployment(placement_group_bundle_label_selector=[{"a": "b"}]),
        f"{IN_DEPLOYMENT}.placement_group_bundle_label_selector",
        "need `placement_group_bundles`",
    ),
    (
        deployment(
            placement_group_bundles=[{"CPU": 1}] * 3,
            placement_group_bundle_label_selector=[{"a": "b"}] * 2,
        ),
        f"{IN_DEPLOYMENT}.placement_group_bundle_label_selector",
        "2 selectors for 3 bundles",
    ),
    (
        deployment(
            placement_group_bundles=[{"CPU": 1}], placement_group_bundle_label_selector=[{"a": "in()"}]
        ),
        f"{IN_DEPLOYMENT}.placement_group_bundle_label_selector.0.a",
        "a label is selected as",
    ),
    (
        deployment(max_replicas_per_node=1, gang_scheduling_config={"gang_size": 1}),
        f"{IN_DEPLOYMENT}.max_replicas_per_node",
        "cannot stand beside `gang_scheduling_config`",
    ),
    (
        deployment(placement_group_strategy="PACK", gang_scheduling_config={"gang_size": 1}),
        f"{IN_DEPLOYMENT}.placement_group_strategy",
        "cannot stand beside `gang_scheduling_config`",
    ),
    (
        deployment(num_replicas=3, gang_scheduling_config={"gang_size": 2}),
        f"{IN_DEPLOYMENT}.num_replicas",
        "no multiple of the `gang_size` 2",
    ),
    (
        deployment(
            autoscaling_config={"min_replicas": 1, "max_replicas": 4},
            gang_scheduling_config={"gang_size": 2},
        ),
        f"{IN_DEPLOYMENT}.autoscaling_config.min_replicas",
        "no multiple of the `gang_size` 2",
    ),
    (
        deployment(ray_actor_options={"resources": {"disk": -1}}),
        f"{IN_DEPLOYMENT}.ray_actor_options.resources.disk",
        "a number of 0 or more",
    ),
    (
        deployment(ray_actor_options={"resources": {"disk": "much"}}),
        f"{IN_DEPLOYMENT}.ray_actor_options.resources.disk",
        "a number of 0 or more",
    ),
    (
        deployment(ray_actor_options={"resources": {"CPU": 1}}),
        f"{IN_DEPLOYMENT}.ray_actor_options.resources.CPU",
        "give it as `num_cpus`",
    ),
    (
        deployment(ray_actor_options={"label_selector": {"-x": "a"}}),
        f"{IN_DEPLOYMENT}.ray_actor_options.label_selector.-x",
        "no label of a node",
    ),
    (
        deployment(ray_actor_options={"runtime_env": {"working_dir": "./code"}}),
        f"{IN_DEPLOYMENT}.ray_actor_options.runtime_env.working_dir",
        "Serve takes no path of this machine",
    ),
    (
        config({"runtime_env": {"py_modules": ["https://x/a.zip", "ftp://x/b.zip"]}}),
        f"{IN_APP}.runtime_env.py_modules.1",
        "is the address of an archive",
    ),
    (
        config({"runtime_env": {"py_modules": None}}),
        f"{IN_APP}.runtime_env.py_modules",
        "a list of addresses",
    ),
    (config({"runtime_env": {"working_dir": 5}}), f"{IN_APP}.runtime_env.working_dir", "as text"),
    (
        config({"runtime_env": {"working_dir": "http://[x"}}),
        f"{IN_APP}.runtime_env.working_dir",
        "an archive",
    ),
]
"""Each once."""


@pytest.mark.parametrize(("body", "where", "message"), BROKEN)
def test_a_broken_rule_is_said_where_it_is_broken(body: dict[str, Any], where: str, message: str) -> None:
    """Once, at that place."""
    ((place, text),) = said(body)
    assert place == where
    assert message in text


def test_two_applications_cannot_share_a_prefix() -> None:
    """Nor the default, which both take that give none."""
    apps = [{"name": name, "import_path": "m:app"} for name in "abc"]
    apps[2]["route_prefix"] = "/"
    message = "the route prefix '/'{} is that of application 'a' too: give it another"
    assert said({"applications": apps}) == [
        ("applications.1", message.format(" (the default)")),
        ("applications.2.route_prefix", message.format("")),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"applications": 5},
        {"applications": [5]},
        config(http_options={"ssl_keyfile": "/k", "ssl_certfile": "/c", "port": 0}, grpc_options=[]),
        config({"route_prefix": None}),
        config({"route_prefix": 5}),
        config({"import_path": 5}),
        config({"import_path": "a.b.c:d"}),
        config({"import_path": "a.b"}),
        config({"external_scaler_enabled": True, "deployments": [{"num_replicas": 2}]}),
        config({"runtime_env": {"working_dir": None, "py_modules": ["local:///x", None]}}),
        config({"runtime_env": {"working_dir": ""}}),
        deployment(num_replicas="auto", autoscaling_config={"max_replicas": 3}),
        deployment(autoscaling_config={"min_replicas": "x", "max_replicas": 3}),
        deployment(autoscaling_config={"min_replicas": 1, "max_replicas": 3, "initial_replicas": 2}),
        deployment(max_queued_requests=-1, max_replicas_per_node=100),
        deployment(placement_group_bundles=[{"CPU": 1}, {"CPU": "x"}, 5]),
        deployment(placement_group_bundles=[{"CPU": 1}], placement_group_bundle_label_selector=[{"a": 5}]),
        deployment(placement_group_bundles="x", placement_group_bundle_label_selector=[{}]),
        deployment(num_replicas=4, gang_scheduling_config={"gang_size": 2}),
        deployment(gang_scheduling_config={"gang_size": 0}),
        deployment(gang_scheduling_config={}),
        deployment(
            ray_actor_options={"resources": {"disk": 0.5}, "label_selector": {"ray.io/x": "!in(a, b)"}}
        ),
    ],
)
def test_what_keeps_the_rules_or_has_another_type_passes(body: dict[str, Any]) -> None:
    """Types are the schema's to judge."""
    assert said(body) == []
