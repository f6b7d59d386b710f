"""What each option of Serve's config touches, by Ray version: data, read in Serve's source.

Owns the table of restart classes and the notes beside them. Must not know how two configs are compared.
Invariant: a field that a version does not have is not in that version's table, because Serve drops it there.

Read were 2.9.3, 2.12.0, 2.24.0, 2.32.0, 2.40.0, 2.44.1, 2.47.1, 2.50.1, 2.53.0, 2.55.1, 2.58.1, 2.59.0 and
2.60.0. A change between two of them counts from the first version that was not read: at worst a plan for that
version names a class that is too heavy. Sources, all below `ray/serve/`:

- the classes: `update_type` of each field of `DeploymentConfig` (`_private/config.py`), and what
  `_private/version.py` hashes: actor options, placement group and gang restart a replica, the fields of
  `NeedsActorReconfigure` call it, the others only change what the controller does;
- a rebuild: `get_app_code_version` (`_private/deploy_utils.py`);
- the fields: `schema.py` and `config.py`.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Version = tuple[int, int]
"""Major and minor: Serve's behaviour has not changed in a patch release that was read."""


class Restart(StrEnum):
    """What a change does, from the lightest to the heaviest. The value is what a person reads."""

    IGNORED = "ignored"
    """A running Serve takes it with a 200, and nothing changes."""
    CONTROLLER = "in effect at once"
    """Only Serve's controller or proxies use it: no replica is touched."""
    SCALE = "scales in place"
    RECONFIGURE = "reconfigures, no restart"
    ROLLING = "rolling restart"
    """The replicas of one deployment are replaced."""
    REBUILD = "rebuilds the app"
    """The code is imported again, and all replicas of all deployments of the application are replaced."""
    ADD = "added"
    DELETE = "removed"
    SERVE_RESTART = "needs Serve restart"

    @property
    def severity(self) -> int:
        """Greater is heavier."""
        return _ORDER.index(self)

    @property
    def replaces_replicas(self) -> bool:
        """Whether running replicas are stopped for new ones."""
        return self in {Restart.ROLLING, Restart.REBUILD}


_ORDER: Final = tuple(Restart)


def worst(classes: Iterable[Restart]) -> Restart:
    """The heaviest of them; IGNORED if there is none."""
    return max(classes, key=lambda restart: restart.severity, default=Restart.IGNORED)


NEWEST: Final[Version] = (2, 60)
_OLDEST: Final[Version] = (2, 9)

POLICIES_IN_CODE: Final[Version] = (2, 51)
"""From here on the code version covers autoscaling policies and request routers: not in 2.50.1, in 2.53.0."""
ACTORS_IN_CODE: Final[Version] = (2, 54)
"""And deployment actors (not in 2.53.0, in 2.55.1)."""
RESTORES_UNSET: Final[Version] = (2, 60)
"""From here on an override that is taken away gives way to the value in the code. Before, the overrides of a
config were put on top of what ran (`override_deployment_info(self._target_state.deployment_infos, ...)` in
`apply_app_config` of 2.59.0, `build.deployment_infos` in 2.60.0)."""

_Classes = dict[Version, Restart | None]
"""The class from this version on; None: Serve does not have the field any more."""

_IGNORED, _CONTROLLER, _SCALE, _RECONFIGURE, _ROLLING, _REBUILD = (
    Restart.IGNORED, Restart.CONTROLLER, Restart.SCALE, Restart.RECONFIGURE, Restart.ROLLING, Restart.REBUILD,
)  # fmt: skip

_APPLICATION: Final[Mapping[str, _Classes]] = {
    "import_path": {_OLDEST: _REBUILD},
    "runtime_env": {_OLDEST: _REBUILD},
    "args": {_OLDEST: _REBUILD},
    # Hashed in with the version of the ingress from 2.50.1 on.
    "route_prefix": {_OLDEST: _CONTROLLER, (2, 48): _RECONFIGURE},
    # Given to the deployments that have none of their own (`_reconcile_target_deployments`).
    "logging_config": {_OLDEST: _RECONFIGURE},
    "autoscaling_policy": {POLICIES_IN_CODE: _REBUILD},
    "external_scaler_enabled": {POLICIES_IN_CODE: _CONTROLLER},
}

_DEPLOYMENT: Final[Mapping[str, _Classes]] = {
    "num_replicas": {_OLDEST: _SCALE},
    "max_concurrent_queries": {_OLDEST: _CONTROLLER, (2, 13): _RECONFIGURE, (2, 40): None},
    "max_ongoing_requests": {(2, 10): _CONTROLLER, (2, 13): _RECONFIGURE},
    "max_queued_requests": {(2, 10): _CONTROLLER},
    "backpressure_config": {(2, 56): _RECONFIGURE},
    "user_config": {_OLDEST: _RECONFIGURE},
    "graceful_shutdown_wait_loop_s": {_OLDEST: _RECONFIGURE},
    "graceful_shutdown_timeout_s": {_OLDEST: _CONTROLLER},
    "health_check_period_s": {_OLDEST: _CONTROLLER},
    "health_check_timeout_s": {_OLDEST: _CONTROLLER},
    "logging_config": {_OLDEST: _RECONFIGURE},
    "rolling_update_percentage": {(2, 56): _CONTROLLER},
    "max_surge_percent": {(2, 60): _CONTROLLER},
    # Of an autoscaling config the replicas are told only two fields (`_get_serialized_options`).
    "autoscaling_config": {_OLDEST: _SCALE, (2, 10): _RECONFIGURE},
    "autoscaling_config.min_replicas": {_OLDEST: _SCALE},
    "autoscaling_config.max_replicas": {_OLDEST: _SCALE},
    # Any change of a deployment that has it sets the count to it (`DeploymentAutoscalingState.register`).
    "autoscaling_config.initial_replicas": {_OLDEST: _SCALE},
    "autoscaling_config.metrics_interval_s": {_OLDEST: _CONTROLLER, (2, 10): _RECONFIGURE},
    "autoscaling_config.look_back_period_s": {_OLDEST: _CONTROLLER, (2, 10): _RECONFIGURE},
    "autoscaling_config.target_num_ongoing_requests_per_replica": {_OLDEST: _CONTROLLER, (2, 40): None},
    "autoscaling_config.target_ongoing_requests": {(2, 10): _CONTROLLER},
    "autoscaling_config.smoothing_factor": {_OLDEST: _CONTROLLER},
    "autoscaling_config.upscale_smoothing_factor": {_OLDEST: _CONTROLLER},
    "autoscaling_config.downscale_smoothing_factor": {_OLDEST: _CONTROLLER},
    "autoscaling_config.upscaling_factor": {(2, 10): _CONTROLLER},
    "autoscaling_config.downscaling_factor": {(2, 10): _CONTROLLER},
    "autoscaling_config.upscale_delay_s": {_OLDEST: _CONTROLLER},
    "autoscaling_config.downscale_delay_s": {_OLDEST: _CONTROLLER},
    "autoscaling_config.downscale_to_zero_delay_s": {(2, 48): _CONTROLLER},
    "autoscaling_config.aggregation_function": {(2, 51): _CONTROLLER},
    "autoscaling_config.policy": {(2, 48): _CONTROLLER},
    "ray_actor_options": {_OLDEST: _ROLLING},
    "ray_actor_options.runtime_env": {_OLDEST: _ROLLING},
    "ray_actor_options.num_cpus": {_OLDEST: _ROLLING},
    "ray_actor_options.num_gpus": {_OLDEST: _ROLLING},
    "ray_actor_options.memory": {_OLDEST: _ROLLING},
    "ray_actor_options.object_store_memory": {_OLDEST: _ROLLING, (2, 32): None},
    "ray_actor_options.resources": {_OLDEST: _ROLLING},
    "ray_actor_options.accelerator_type": {_OLDEST: _ROLLING},
    "ray_actor_options.label_selector": {(2, 54): _ROLLING},
    "ray_actor_options.fallback_strategy": {(2, 54): _ROLLING},
    "max_replicas_per_node": {_OLDEST: _ROLLING},
    "placement_group_bundles": {_OLDEST: _ROLLING},
    "placement_group_strategy": {_OLDEST: _ROLLING},
    "placement_group_bundle_label_selector": {(2, 54): _ROLLING},
    "gang_scheduling_config": {(2, 54): _ROLLING},
    # Only what they do beyond the code version, which covers them from the versions above on.
    "request_router_class": {(2, 45): _CONTROLLER, (2, 48): None},
    "request_router_config": {(2, 48): _RECONFIGURE},
    "deployment_actors": {ACTORS_IN_CODE: _CONTROLLER},
}

_TOP_LEVEL: Final[Mapping[str, _Classes]] = {
    "proxy_location": {_OLDEST: Restart.SERVE_RESTART},
    "http_options": {_OLDEST: Restart.SERVE_RESTART},
    "grpc_options": {_OLDEST: Restart.SERVE_RESTART},
    "controller_options": {(2, 56): Restart.SERVE_RESTART},
    "tracing_config": {(2, 59): Restart.SERVE_RESTART},
    "logging_config": {_OLDEST: _RECONFIGURE},
    "target_capacity": {_OLDEST: _SCALE},
}

PLACEMENT: Final = frozenset(
    {
        "max_replicas_per_node",
        "placement_group_bundles",
        "placement_group_strategy",
        "placement_group_bundle_label_selector",
    }
)
"""Serve compares these with nothing when it asks whether a deployment has changed
(`deployment_settings_changed` in `DeploymentState.deploy`, all versions): a new value waits for another
change of the deployment."""

MODELS: Final = frozenset({"autoscaling_config", "ray_actor_options"})
"""Options whose fields differ in what they do."""

RAW: Final = frozenset(
    {
        "args", "runtime_env", "autoscaling_policy", "user_config", "request_router_config",
        "deployment_actors", "autoscaling_config.policy", "ray_actor_options.runtime_env",
        "ray_actor_options.resources", "ray_actor_options.fallback_strategy",
    }
)  # fmt: skip
"""Serve converts nothing in these: it hashes them as JSON, where 1 is not 1.0."""

DEFAULTS: Final[Mapping[str, Any]] = {
    "args": {},
    "runtime_env": {},
    "external_scaler_enabled": False,
    "autoscaling_policy": None,
    "autoscaling_config.min_replicas": 1,
    "autoscaling_config.initial_replicas": None,
    "autoscaling_config.metrics_interval_s": 10.0,
    "autoscaling_config.look_back_period_s": 30.0,
    "autoscaling_config.smoothing_factor": 1.0,
    "autoscaling_config.upscale_smoothing_factor": None,
    "autoscaling_config.downscale_smoothing_factor": None,
    "autoscaling_config.upscaling_factor": None,
    "autoscaling_config.downscaling_factor": None,
    "autoscaling_config.downscale_delay_s": 600.0,
    "autoscaling_config.downscale_to_zero_delay_s": None,
    "autoscaling_config.upscale_delay_s": 30.0,
    "autoscaling_config.aggregation_function": "mean",
}
"""What Serve fills in where an application, or a mapping that is set, leaves the option out (2.60.0). What a
deployment leaves out comes from the code, which is not known here."""

FILLED: Final[Mapping[str, Mapping[str, Any]]] = {
    "gang_scheduling_config": {"gang_placement_strategy": "PACK", "runtime_failure_policy": "RESTART_GANG"},
    "backpressure_config": {"status_code": 503, "retry_after_s": None},
    "logging_config": {
        "encoding": "TEXT", "log_level": "INFO", "logs_dir": None, "enable_access_log": True,
        "additional_log_standard_attrs": [],
    },
}  # fmt: skip
"""The same for mappings that are compared as one."""


def version(text: str) -> Version:
    """`2.60.0` as (2, 60). What cannot be read, and what is newer than all that was read, is the newest."""
    found = re.match(r"(\d+)\.(\d+)", text)
    return min(NEWEST, (int(found[1]), int(found[2]))) if found else NEWEST


def of_application(option: str, ray: Version) -> Restart | None:
    """The class of an option of an application; None if this Ray does not know it."""
    return _at(_APPLICATION, option, ray)


def of_deployment(option: str, ray: Version) -> Restart | None:
    """The class of an option of a deployment, such as `ray_actor_options.num_cpus`; None if not known."""
    return _at(_DEPLOYMENT, option, ray)


def of_top_level(option: str, ray: Version) -> Restart | None:
    """The class of a key beside `applications`; None if this Ray does not know it."""
    return _at(_TOP_LEVEL, option, ray)


def _at(table: Mapping[str, _Classes], option: str, ray: Version) -> Restart | None:
    found = None
    for since, restart in table.get(option, {}).items():
        if since <= max(ray, _OLDEST):
            found = restart
    return found
