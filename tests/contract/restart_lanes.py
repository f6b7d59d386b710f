"""Every option of Serve's schema (2.60), and a change of it that can be tried on a live deployment.

Owns the values. Must not know what Serve does with them. Invariant: `left_out` names each field of Serve's
own schema, where it can stand in a config, that no step changes.

A lane is one application that is changed step by step; all lanes take a step in one PUT. Most steps change
one option. One with `setup` prepares the next and is not judged.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Iterator

REFUSED = {"applications.host", "applications.port"}
"""Serve refuses a multi-application config that has them."""

ROUTER = "ray.serve._private.request_router:PowerOfTwoChoicesRequestRouter"

GONE = object()
"""The value of an option that a step takes away."""

D = "applications.deployments."
A = "applications."


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One change of one application: each path gets its value."""

    options: Mapping[str, Any]
    """By path in Serve's schema, such as `applications.deployments.ray_actor_options.num_cpus`."""
    said: str
    """The change, for the table."""
    setup: bool = False
    shows: bool = True
    """Whether Serve tells the value that is in effect, in its answer to a GET."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """An application and what is done to it, one after the other."""

    name: str
    steps: tuple[Step, ...]
    import_path: str = "counted:app"
    deployment: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def start(self, journal: str) -> dict[str, Any]:
        """The application before the first step."""
        return {
            "name": self.name,
            "route_prefix": f"/{self.name}",
            "import_path": self.import_path,
            "args": {"journal": journal},
            **copy.deepcopy(dict(self.more)),
            "deployments": [
                {"name": "D", "rolling_update_percentage": 1.0, **copy.deepcopy(dict(self.deployment))}
            ],
        }


def after(application: Mapping[str, Any], step: Step) -> dict[str, Any]:
    """The application with the step taken."""
    changed = copy.deepcopy(dict(application))
    for path, value in step.options.items():
        at: Any = changed
        *parents, last = path.removeprefix(A).split(".")
        for key in parents:
            at = at.setdefault(key, {})
            at = at[0] if isinstance(at, list) else at
        if value is GONE:
            del at[last]
        else:
            at[last] = value
    return changed


def step(path: str, value: Any, said: str = "", *, setup: bool = False, shows: bool = True) -> Step:
    """A step that changes one option."""
    said = said or ("taken away" if value is GONE else str(value))
    return Step(options={path: value}, said=said, setup=setup, shows=shows)


_SELECTOR = {"ray.io/node-id": "!nowhere"}
_ACTOR = {"name": "shared", "actor_class": "options:Shared", "actor_options": {"num_cpus": 0}}


def _logging(where: str, logs_dir: str) -> tuple[Step, ...]:
    values = {
        "encoding": "JSON", "log_level": "DEBUG", "logs_dir": logs_dir, "enable_access_log": False,
        "additional_log_standard_attrs": ["name"],
    }  # fmt: skip
    return tuple(
        step(
            f"{where}logging_config.{key}", value, "another folder" if key == "logs_dir" else "", shows=False
        )
        for key, value in values.items()
    )


def _router(**values: Any) -> tuple[Step, ...]:
    return tuple(step(f"{D}request_router_config.{key}", value) for key, value in values.items())


def _autoscaling(**values: Any) -> tuple[Step, ...]:
    return tuple(step(f"{D}autoscaling_config.{key}", value) for key, value in values.items())


def lanes(logs_dir: str) -> tuple[Lane, ...]:
    """All of them. `logs_dir` is a folder that may be written to."""
    actor = f"{D}ray_actor_options."
    scaled = f"{D}autoscaling_config."
    return (
        Lane(
            name="light",
            # The steps of a rebuild and of a rolling restart come first: all lanes wait for the slowest.
            steps=(
                step(f"{A}import_path", "counted.app"),
                step(f"{A}args.more", 1, "another key"),
                step(f"{D}num_replicas", 3, "2 -> 3"),
                step(f"{D}num_replicas", 2, "3 -> 2"),
                step(f"{D}max_ongoing_requests", 6),
                step(f"{D}max_queued_requests", 50),
                step(f"{D}user_config", {"answer": 1}, "{answer: 1}"),
                step(f"{D}user_config", {"answer": 1.0}, "{answer: 1} -> {answer: 1.0}"),
                step(f"{D}backpressure_config.status_code", 429),
                step(f"{D}backpressure_config.retry_after_s", 1),
                step(f"{D}graceful_shutdown_wait_loop_s", 0.2),
                step(f"{D}graceful_shutdown_timeout_s", 2),
                step(f"{D}health_check_period_s", 2),
                step(f"{D}health_check_timeout_s", 40),
                step(f"{D}rolling_update_percentage", 0.9),
                step(f"{D}max_surge_percent", 50),
                step(f"{D}max_surge_percent", GONE),
                step(f"{D}user_config", GONE),
                step(f"{A}route_prefix", "/lighter"),
                step(f"{A}external_scaler_enabled", value=True),
                step(f"{A}runtime_env", {}, "absent -> {}"),
                step(f"{D}name", "Behind", "D -> Behind", shows=False),
            ),
        ),
        Lane(
            name="actor",
            deployment={"ray_actor_options": {"num_cpus": 0}},
            steps=(
                step(f"{actor}num_cpus", 0.01, "0 -> 0.01"),
                step(f"{actor}num_gpus", 0),
                step(f"{actor}memory", 1_000_000),
                step(f"{actor}accelerator_type", None, "absent -> null"),
                step(f"{actor}label_selector", _SELECTOR, "not on a node"),
                step(f"{actor}fallback_strategy", [{"label_selector": _SELECTOR}], "not on a node"),
                step(f"{actor}runtime_env", {"env_vars": {"B": "2"}}, "an environment variable"),
                step(f"{actor}resources", {"s": 0}, "{s: 0}"),
                *_logging(D, logs_dir),
                step(f"{actor}resources", {"s": 0.0}, "{s: 0} -> {s: 0.0}", shows=False),
            ),
        ),
        Lane(
            name="placed",
            steps=(
                step(f"{D}placement_group_bundles", [{"CPU": 0.01}], "absent -> 0.01 CPU", shows=False),
                step(f"{D}placement_group_strategy", "PACK", "absent -> PACK", shows=False),
                step(
                    f"{D}placement_group_bundle_label_selector",
                    [_SELECTOR],
                    "absent -> a selector",
                    shows=False,
                ),
                Step(
                    options={f"{D}placement_group_bundles": [{"CPU": 0.02}], f"{D}max_queued_requests": 9},
                    said="0.01 -> 0.02 CPU, and another option",
                    shows=False,
                ),
                step(f"{D}placement_group_bundles", [{"CPU": 0.03}], "0.02 -> 0.03 CPU", shows=False),
                step(f"{D}placement_group_strategy", "SPREAD", "PACK -> SPREAD", shows=False),
                step(
                    f"{D}placement_group_bundle_label_selector",
                    [{"ray.io/node-id": "!elsewhere"}],
                    "another selector",
                    shows=False,
                ),
            ),
        ),
        Lane(
            name="spread",
            steps=(
                step(f"{D}max_replicas_per_node", 10, "absent -> 10"),
                step(f"{D}max_replicas_per_node", 20, "10 -> 20"),
                Step(
                    options={f"{D}max_replicas_per_node": 30, f"{D}max_queued_requests": 9},
                    said="20 -> 30, and another option",
                ),
                step(f"{D}max_replicas_per_node", GONE),
                step(f"{D}num_replicas", "auto", "absent -> auto", shows=False),
                step(f"{D}num_replicas", 2, "auto -> 2"),
            ),
        ),
        Lane(
            name="gang",
            # A gang that needs nothing at all is never placed (2.60).
            deployment={"ray_actor_options": {"num_cpus": 0.01}, "gang_scheduling_config": {"gang_size": 2}},
            steps=(
                step(f"{D}gang_scheduling_config.gang_placement_strategy", "SPREAD"),
                step(f"{D}gang_scheduling_config.runtime_failure_policy", "RESTART_GANG", "its only value"),
                step(f"{D}gang_scheduling_config.gang_size", 1, "2 -> 1"),
                step(f"{D}gang_scheduling_config", GONE),
            ),
        ),
        Lane(
            name="scaled",
            deployment={
                "autoscaling_config": {
                    "min_replicas": 2,
                    "max_replicas": 3,
                    "downscale_delay_s": 600,
                    "upscale_delay_s": 600,
                }
            },
            steps=(
                step(f"{scaled}min_replicas", 3, "2 -> 3"),
                step(f"{scaled}min_replicas", 1, "3 -> 1", setup=True),
                step(f"{scaled}max_replicas", 2, "3 -> 2"),
                step(f"{scaled}max_replicas", 4, "2 -> 4", setup=True),
                step(f"{scaled}initial_replicas", 3, "absent -> 3"),
                *_autoscaling(
                    target_ongoing_requests=4,
                    metrics_interval_s=5,
                    look_back_period_s=40,
                    smoothing_factor=2,
                    upscale_smoothing_factor=2,
                    downscale_smoothing_factor=2,
                    upscaling_factor=2,
                    downscaling_factor=2,
                    downscale_delay_s=700,
                    downscale_to_zero_delay_s=800,
                    upscale_delay_s=700,
                    aggregation_function="max",
                ),
            ),
        ),
        Lane(
            name="rebuilt",
            deployment={"deployment_actors": [_ACTOR]},
            # A rebuild replaces them all, however many they are: one is enough from the first step on.
            steps=(
                step(f"{D}autoscaling_config", {"min_replicas": 1, "max_replicas": 1}, "absent -> 1 replica"),
                step(
                    f"{scaled}policy",
                    {"policy_function": "options:Grows", "policy_kwargs": {"replicas": 2}},
                    "absent -> a policy",
                ),
                step(f"{scaled}policy.policy_kwargs", {"replicas": 1}, "{replicas: 2} -> {replicas: 1}"),
                step(f"{scaled}policy.policy_function", "options.Grows", "options:Grows -> options.Grows"),
                step(f"{A}autoscaling_policy", {"policy_function": "options:two_each"}, "two_each"),
                step(f"{D}deployment_actors.name", "other"),
                step(
                    f"{D}deployment_actors.actor_class", "options.Shared", "options:Shared -> options.Shared"
                ),
                step(f"{D}deployment_actors.init_args", [1]),
                step(f"{D}deployment_actors.init_kwargs", {"a": 1}, "{a: 1}"),
                step(f"{D}deployment_actors.actor_options", {"num_cpus": 0, "num_gpus": 0}, "num_gpus: 0"),
            ),
        ),
        Lane(
            name="routed",
            deployment={"num_replicas": 1},
            steps=(
                step(f"{D}request_router_config", {"max_backoff_s": 0.4}, "absent -> 0.4 s at most"),
                *_router(
                    max_backoff_s=0.6,
                    initial_backoff_s=0.02,
                    backoff_multiplier=3,
                    request_router_class=ROUTER,
                    request_router_kwargs={},
                    request_routing_stats_period_s=5,
                    request_routing_stats_timeout_s=15,
                ),
                step(f"{A}runtime_env.env_vars", {"A": "1"}, "an environment variable"),
                *_logging(A, logs_dir),
            ),
        ),
    )


START: Mapping[str, Any] = {
    "proxy_location": "EveryNode",
    "http_options.host": "0.0.0.0",
    "http_options.port": 8123,
    "http_options.root_path": "/root",
    "http_options.request_timeout_s": 50,
    "http_options.keep_alive_timeout_s": 50,
    "http_options.ssl_keyfile": "/nowhere/key.pem",
    "http_options.ssl_certfile": "/nowhere/certificate.pem",
    "http_options.ssl_keyfile_password": "hunter2",
    "http_options.ssl_ca_certs": "/nowhere/authorities.pem",
    "grpc_options.port": 9999,
    "grpc_options.grpc_servicer_functions": ["nowhere:add"],
    "grpc_options.request_timeout_s": 5,
    "grpc_options.enable_reflection": True,
    "controller_options.runtime_env": {"env_vars": {"A": "b"}},
    "tracing_config.enabled": False,
    "tracing_config.exporter_import_path": "nowhere:export",
    "tracing_config.sampling_ratio": 0.5,
}
"""What stands beside the applications and is read only where Serve starts: tried all at once."""


def beside(logs_dir: str) -> tuple[Step, ...]:
    """What else stands beside the applications: tried one after the other."""
    return (*_logging("", logs_dir), step("target_capacity", 50))


def with_beside(config: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """The config with these options beside its applications."""
    changed = copy.deepcopy(dict(config))
    for path, value in options.items():
        *parents, last = path.split(".")
        at = changed
        for key in parents:
            at = at.setdefault(key, {})
        at[last] = value
    return changed


def left_out() -> set[str]:
    """The fields of Serve's schema, by path, that nothing here changes."""
    with warnings.catch_warnings():
        # Ray's own code uses what pydantic will drop.
        warnings.simplefilter("ignore")
        from ray.serve.schema import ServeDeploySchema  # noqa: PLC0415 - takes a second, for one test

    steps = [one for lane in lanes("") for one in lane.steps if not one.setup]
    tried = {path for one in (*steps, *beside("")) for path in one.options} | set(START) | {f"{A}name"}
    return {
        path
        for path in _paths(ServeDeploySchema, "")
        if path not in REFUSED and not any(f"{one}.".startswith(f"{path}.") for one in tried)
    }


def _paths(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, info in model.model_fields.items():
        inner = list(_models(info.annotation))
        for one in inner:
            yield from _paths(one, f"{prefix}{name}.")
        if not inner:
            yield f"{prefix}{name}"


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
