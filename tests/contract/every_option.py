"""A config with every option of Serve's schema (2.60), in applications that hold what may stand together.

Owns the sample values. Must not know what is tested with them. Invariant: `left_out` names each field of
Serve's own schema classes that has no sample here, so that none of a later Ray is forgotten.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

_REFUSED = {"ServeApplicationSchema.host", "ServeApplicationSchema.port"}
"""Serve refuses a multi-application config that has them."""

_LOGGING = {
    "encoding": "JSON",
    "log_level": 10,
    "logs_dir": None,
    "enable_access_log": "no",
    "additional_log_standard_attrs": ["name", "lineno", "name"],
}

_FAST = {
    "graceful_shutdown_wait_loop_s": 1,
    "graceful_shutdown_timeout_s": "1",
    "health_check_period_s": 1,
    "health_check_timeout_s": 30,
}

_FIXED = {
    "name": "D",
    "num_replicas": True,
    "max_ongoing_requests": "5",
    "max_queued_requests": 50,
    "backpressure_config": {"status_code": 429, "retry_after_s": 1},
    "user_config": {"answer": "hi", "nested": [1, 2.0, None, {"x": True}]},
    **_FAST,
    "ray_actor_options": {
        "runtime_env": {"env_vars": {"B": "2"}},
        "num_cpus": 0,
        "num_gpus": "0",
        "memory": 1_000_000,
        "resources": {"somewhere": 0},
        "accelerator_type": None,
        "label_selector": {"ray.io/node-id": "!nowhere"},
        "fallback_strategy": [{"label_selector": {"ray.io/node-id": "!elsewhere"}}],
    },
    "max_replicas_per_node": 10.0,
    "logging_config": {**_LOGGING, "encoding": "TEXT", "log_level": "WARNING"},
    "request_router_config": {
        "request_router_class": "ray.serve._private.request_router:PowerOfTwoChoicesRequestRouter",
        "request_router_kwargs": {},
        "request_routing_stats_period_s": 5,
        "request_routing_stats_timeout_s": 15,
        "initial_backoff_s": 0.025,
        "backoff_multiplier": 2,
        "max_backoff_s": "0.5",
    },
    "deployment_actors": [
        {
            "name": "shared",
            "actor_class": "options:Shared",
            "init_args": [1, "two"],
            "init_kwargs": {"three": 3.0},
            "actor_options": {"num_cpus": 0},
        }
    ],
    "rolling_update_percentage": 1,
    "max_surge_percent": 100,
}

_PLACED = {
    "name": "D",
    **_FAST,
    "placement_group_bundles": [{"CPU": "0.01"}, {"CPU": 0.01, "memory": 1}],
    "placement_group_strategy": "PACK",
    "placement_group_bundle_label_selector": [{"ray.io/node-id": "!nowhere"}, {}],
}

_GANG = {
    "name": "D",
    **_FAST,
    "num_replicas": 2,
    # A gang that needs nothing at all is never placed (2.60).
    "ray_actor_options": {"num_cpus": 0.01},
    "gang_scheduling_config": {
        "gang_size": "2",
        "gang_placement_strategy": "PACK",
        "runtime_failure_policy": "RESTART_GANG",
    },
}

_SCALED = {
    "name": "D",
    **_FAST,
    "num_replicas": "auto",
    "autoscaling_config": {
        "min_replicas": 1,
        "initial_replicas": 1,
        "max_replicas": 3,
        "target_ongoing_requests": 2,
        "metrics_interval_s": 10.0,
        "look_back_period_s": 30,
        "smoothing_factor": 1,
        "upscale_smoothing_factor": 1,
        "downscale_smoothing_factor": 1,
        "upscaling_factor": 1,
        "downscaling_factor": 1.0,
        "downscale_delay_s": 1,
        "downscale_to_zero_delay_s": 1,
        "upscale_delay_s": 0,
        "aggregation_function": "MAX",
        "policy": {"policy_function": "options:Grows", "policy_kwargs": {"replicas": 2}},
    },
}

_NOWHERE = {
    # No node has this, so it asks for no replica.
    "name": "D",
    **_FAST,
    "autoscaling_config": {"min_replicas": 0, "initial_replicas": 0, "max_replicas": 1},
    "ray_actor_options": {"accelerator_type": "T4", "num_gpus": 1, "resources": {"nowhere": 1}},
}

_RULED = {
    "name": "D",
    **_FAST,
    "autoscaling_config": {
        "min_replicas": 1,
        "max_replicas": 3,
        "upscale_delay_s": 0,
        "downscale_delay_s": 1,
    },
}

_NULLS = {
    "name": "D",
    "user_config": None,
    "autoscaling_config": None,
    "gang_scheduling_config": None,
    "deployment_actors": None,
    "ray_actor_options": {"num_cpus": 0, "num_gpus": None, "memory": None, "label_selector": None},
}


def everything(logs_dir: str) -> dict[str, Any]:
    """The body of a PUT to a running Serve, which ignores the options that only its start sets."""
    return {
        "proxy_location": "HeadOnly",
        "http_options": {
            "host": "0.0.0.0",
            "port": 8000,
            "root_path": "/root",
            "request_timeout_s": 50,
            "keep_alive_timeout_s": "50",
            "ssl_keyfile": "/nowhere/key.pem",
            "ssl_certfile": "/nowhere/certificate.pem",
            "ssl_keyfile_password": "hunter2",
            "ssl_ca_certs": "/nowhere/authorities.pem",
        },
        "grpc_options": {
            "port": 9999,
            "grpc_servicer_functions": ["nowhere:add"],
            "request_timeout_s": 5,
            "enable_reflection": 0,
        },
        "controller_options": {"runtime_env": {"env_vars": {"A": "b"}}},
        "logging_config": {**_LOGGING, "logs_dir": logs_dir},
        "tracing_config": {"enabled": "off", "exporter_import_path": "", "sampling_ratio": 1},
        "target_capacity": "100",
        "applications": [
            {
                "name": "fixed",
                "route_prefix": "/fixed",
                "import_path": "good:app",
                "runtime_env": {"env_vars": {"A": "1"}, "config": {"setup_timeout_seconds": 600}},
                "deployments": [_FIXED],
                "autoscaling_policy": None,
                "args": {"x": 1, "y": 1.0, "z": [{"deep": None}]},
                "logging_config": {**_LOGGING, "log_level": "INFO"},
                "external_scaler_enabled": "yes",
            },
            _application("placed", _PLACED),
            _application("gang", _GANG),
            _application("scaled", _SCALED),
            # The other order than that of the names, and of the code.
            _application("nowhere", _NOWHERE, {"name": "Front", **_FAST}, import_path="options.app"),
            _application("ruled", _RULED, autoscaling_policy={"policy_function": "options:two_each"}),
            # Serve's default, `/`.
            {"name": "nulls", "import_path": "good:app", "logging_config": None, "deployments": [_NULLS]},
            _application("silent", route_prefix=None, args={}, runtime_env={}, external_scaler_enabled=0),
        ],
    }


def _application(name: str, *deployments: dict[str, Any], **more: Any) -> dict[str, Any]:
    whole = {"name": name, "route_prefix": f"/{name}", "import_path": "good:app", **more}
    return {**whole, "deployments": list(deployments)}


def left_out(body: dict[str, Any]) -> set[str]:
    """The fields of Serve's schema, as `Class.field`, to which `body` gives no value."""
    with warnings.catch_warnings():
        # Ray's own code uses what pydantic will drop.
        warnings.simplefilter("ignore")
        from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415 - takes a second, for one test

    return set(_fields(ServeDeploySchema)) - set(_used(ServeDeploySchema, body)) - _REFUSED


def _fields(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{model.__name__}.{name}"
        for inner in _models(field.annotation):
            yield from _fields(inner)


def _used(model: type[BaseModel], value: dict[str, Any]) -> Iterator[str]:
    """Those with another value than null."""
    for name, field in model.model_fields.items():
        here = value.get(name)
        if here is None:
            continue
        yield f"{model.__name__}.{name}"
        for inner in _models(field.annotation):
            for item in here if isinstance(here, list) else [here]:
                yield from _used(inner, item)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
