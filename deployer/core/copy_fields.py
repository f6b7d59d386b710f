"""Which fields of a Serve config move with a release to the next environment, and which stay.

Owns the defaults, what overrides them, and the names that may be written in the settings. Must not know
values. Invariant: of the rules for a field and for what holds it, that for the field wins; and what no rule
is for stays.

What a release proved in one environment is its code and what the code is given: that moves. How much of it
runs, where, and at which address is each environment's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from deployer.core.redact import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOYMENTS = "deployments"
"""What the name of a field of deployments begins with."""

MOVES = (
    "import_path",
    "args",
    "runtime_env",
    "deployments.user_config",
    "deployments.ray_actor_options.runtime_env",
)
"""What moves if the settings say nothing else."""

_Fields = Mapping[str, "_Fields | None"]
"""The fields of a mapping, each with those in it: `{}` if there may be any, None if there are none."""

_ANY: _Fields = {}
_LOGGING: _Fields = dict.fromkeys(
    ("encoding", "log_level", "logs_dir", "enable_access_log", "additional_log_standard_attrs")
)
_POLICY: _Fields = {"policy_function": None, "policy_kwargs": _ANY}
_AUTOSCALING: _Fields = {
    **dict.fromkeys(
        (
            "min_replicas", "initial_replicas", "max_replicas", "target_ongoing_requests",
            "target_num_ongoing_requests_per_replica", "metrics_interval_s", "look_back_period_s",
            "smoothing_factor", "upscale_smoothing_factor", "downscale_smoothing_factor", "upscaling_factor",
            "downscaling_factor", "upscale_delay_s", "downscale_delay_s", "downscale_to_zero_delay_s",
            "aggregation_function",
        )
    ),
    "policy": _POLICY,
}  # fmt: skip
_ACTOR: _Fields = {
    **dict.fromkeys(("num_cpus", "num_gpus", "memory", "object_store_memory", "accelerator_type")),
    "runtime_env": _ANY,
    "resources": _ANY,
    "label_selector": _ANY,
    "fallback_strategy": None,
}
_DEPLOYMENT: _Fields = {
    **dict.fromkeys(
        (
            "num_replicas", "max_ongoing_requests", "max_concurrent_queries", "max_queued_requests",
            "graceful_shutdown_timeout_s", "graceful_shutdown_wait_loop_s", "health_check_period_s",
            "health_check_timeout_s", "max_replicas_per_node", "max_surge_percent", "placement_group_bundles",
            "placement_group_strategy", "placement_group_bundle_label_selector", "deployment_actors",
            "rolling_update_percentage", "request_router_class", "route_prefix",
        )
    ),
    "user_config": _ANY,
    "autoscaling_config": _AUTOSCALING,
    "ray_actor_options": _ACTOR,
    "logging_config": _LOGGING,
    "backpressure_config": dict.fromkeys(("retry_after_s", "status_code")),
    "gang_scheduling_config": dict.fromkeys(
        ("gang_size", "gang_placement_strategy", "runtime_failure_policy")
    ),
    "request_router_config": {
        **dict.fromkeys(
            (
                "request_router_class", "backoff_multiplier", "initial_backoff_s", "max_backoff_s",
                "request_routing_stats_period_s", "request_routing_stats_timeout_s",
            )
        ),
        "request_router_kwargs": _ANY,
    },
}  # fmt: skip
_FIELDS: _Fields = {
    # Of an application.
    **dict.fromkeys(("import_path", "route_prefix", "external_scaler_enabled")),
    "args": _ANY,
    "runtime_env": _ANY,
    "autoscaling_policy": _POLICY,
    DEPLOYMENTS: _DEPLOYMENT,
    # Of an application, and of the whole cluster.
    "logging_config": _LOGGING,
    # Of the whole cluster.
    **dict.fromkeys(("proxy_location", "target_capacity")),
    "http_options": dict.fromkeys(
        (
            "host", "port", "root_path", "request_timeout_s", "keep_alive_timeout_s", "ssl_keyfile",
            "ssl_certfile", "ssl_ca_certs", "ssl_keyfile_password",
        )
    ),
    "grpc_options": dict.fromkeys(
        ("port", "grpc_servicer_functions", "request_timeout_s", "enable_reflection")
    ),
    "controller_options": {"runtime_env": _ANY},
    "tracing_config": dict.fromkeys(("enabled", "exporter_import_path", "sampling_ratio")),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldPolicy:
    """What moves and what stays, beside the defaults: names that `check_field` takes.

    A name here overrides the defaults for that field and for all in it. Where both have it, it stays.
    """

    move: frozenset[str] = frozenset()
    keep: frozenset[str] = frozenset()
    _rules: Mapping[tuple[str, ...], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Work out the rules."""
        own = {_path(name): name not in self.keep for name in self.move | self.keep}
        rules = {_path(name): True for name in MOVES if not any(_is_below(_path(name), one) for one in own)}
        object.__setattr__(self, "_rules", {**rules, **own})

    def moves(self, path: tuple[str, ...]) -> bool:
        """Whether the field at this path moves, but for what is told otherwise of what is in it."""
        return next((self._rules[one] for one in _up(path) if one in self._rules), False)

    def is_divided(self, path: tuple[str, ...]) -> bool:
        """Whether in the field at this path something moves and something stays."""
        moves = self.moves(path)
        return any(rule != moves and _is_below(one, path) for one, rule in self._rules.items())


def check_field(name: str) -> str:
    """The name of a field, as it is: `args.size`, `deployments.user_config`, `http_options.port`.

    What is not below `deployments` is of an application or of the whole cluster. Raises ValueError, with a
    sentence, if Serve has no such field in any version that is known, or if it is none that can move.
    """
    known: _Fields | None = _FIELDS
    *_, last = path = _path(name)
    if last == "name" and path in {("name",), (DEPLOYMENTS, "name")}:
        message = f"{quote(name)} cannot be moved or kept: applications and deployments are matched by name"
        raise ValueError(message)
    if path[0] == "applications":
        rest = quote(name.removeprefix("applications").removeprefix(".") or "args")
        message = f"{quote(name)} stands for all that there is: name a field of applications, such as {rest}"
        raise ValueError(message)
    for index, part in enumerate(path):
        holder = ".".join(path[:index])
        if known is None:
            message = f"{quote(name)} is no field of Serve's: {quote(holder)} is one value, nothing is in it"
            raise ValueError(message)
        if not part:
            message = f"{quote(name)} is no field: write it with a dot between two names, such as args.size"
            raise ValueError(message)
        if known is _ANY:
            continue
        if part not in known:
            raise ValueError(_unknown(name, part, holder, known))
        known = known[part]
    return name


def _unknown(name: str, part: str, holder: str, known: _Fields) -> str:
    close = get_close_matches(part, known, n=1)
    if not holder and part in _DEPLOYMENT:
        close, holder = [part], DEPLOYMENTS
    if close:
        return (
            f"{quote(name)} is no field of Serve's (did you mean {quote(f'{holder}.{close[0]}'.strip('.'))}?)"
        )
    where = f"in {quote(holder)}" if holder else "of an application, or of the whole cluster,"
    return f"{quote(name)} is no field of Serve's: known {where} are {', '.join(sorted(known))}"


def _path(name: str) -> tuple[str, ...]:
    return tuple(name.split("."))


def _up(path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The path, and those of all that holds it, from the inside."""
    return (path[:length] for length in range(len(path), 0, -1))


def _is_below(path: tuple[str, ...], holder: tuple[str, ...]) -> bool:
    return path[: len(holder)] == holder
