"""Configs that Serve takes, wholly or by half, and that wedge or mislead it. Each file says what Serve does.

Owns what is expected of each: the one error of `validate`, its code and how its message begins, and whether
Ray's own schema (2.60) lets it pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Poison:
    """One of the files."""

    name: str
    code: str
    message: str
    ray_accepts: bool

    @property
    def file(self) -> Path:
        """Where it is."""
        return FOLDER / f"{self.name}.yaml"


POISON = (
    Poison(name="num_replicas_null", code="poison", message="`num_replicas` is empty", ray_accepts=True),
    Poison(
        name="env_vars_number",
        code="poison",
        message="environment variable 'WORKERS' must be text, not a number",
        ray_accepts=True,
    ),
    Poison(
        name="env_vars_boolean",
        code="poison",
        message="environment variable 'UPLOAD' must be text, not true or false",
        ray_accepts=True,
    ),
    Poison(
        name="env_vars_of_a_deployment",
        code="poison",
        message="environment variable 'WORKERS' must be text, not a number",
        ray_accepts=True,
    ),
    Poison(
        name="working_dir_without_zip",
        code="poison",
        message="`working_dir` names an archive, and this URI does not end with .zip",
        ray_accepts=True,
    ),
    Poison(
        name="py_modules_without_archive",
        code="poison",
        message="`py_modules` names an archive, and this URI does not end with .zip",
        ray_accepts=True,
    ),
    Poison(
        name="pip_number",
        code="poison",
        message="`pip` is a list of text, and this is a number",
        ray_accepts=True,
    ),
    Poison(
        name="pip_and_uv", code="poison", message="`pip` and `uv` cannot stand together", ray_accepts=True
    ),
    Poison(
        name="image_beside_working_dir",
        code="poison",
        message="'working_dir' cannot stand beside `image_uri`",
        ray_accepts=True,
    ),
    Poison(
        name="setup_timeout_zero",
        code="poison",
        message="`setup_timeout_seconds` is a whole number above 0",
        ray_accepts=True,
    ),
    Poison(name="target_capacity_zero", code="poison", message="`target_capacity` is 0", ray_accepts=True),
    Poison(
        name="name_with_slash",
        code="poison",
        message="application 'fruit/v2' has a slash or an invisible character in its name",
        ray_accepts=True,
    ),
    Poison(
        name="name_with_line_break",
        code="poison",
        message="application 'fruit\\nv2' has a slash or an invisible character in its name",
        ray_accepts=True,
    ),
    Poison(
        name="unknown_key_at_top",
        code="unknown-key",
        message="unknown key 'http_option' (did you mean 'http_options'?)",
        ray_accepts=True,
    ),
    Poison(
        name="unknown_key_of_application",
        code="unknown-key",
        message="unknown key 'route_prefx' in application 'fruit' (did you mean 'route_prefix'?)",
        ray_accepts=True,
    ),
    Poison(
        name="unknown_key_of_deployment",
        code="unknown-key",
        message="unknown key 'num_replica' in deployment 'MangoStand' (did you mean 'num_replicas'?)",
        ray_accepts=True,
    ),
    Poison(
        name="unknown_key_of_ray_actor_options",
        code="unknown-key",
        message="unknown key 'num_cpu' in `ray_actor_options` (did you mean 'num_cpus'?)",
        ray_accepts=True,
    ),
    Poison(
        name="unknown_key_of_http_options",
        code="unknown-key",
        message="unknown key 'request_timeout' in `http_options` (did you mean 'request_timeout_s'?)",
        ray_accepts=True,
    ),
    Poison(
        name="unknown_key_of_autoscaling",
        code="unknown-key",
        message="unknown key 'max_replica' in `autoscaling_config` (did you mean 'max_replicas'?)",
        ray_accepts=True,
    ),
    Poison(
        name="unknown_key_of_runtime_env",
        code="unknown-key",
        message="unknown key 'workin_dir' in a `runtime_env` (did you mean 'working_dir'?)",
        ray_accepts=True,
    ),
    Poison(
        name="option_of_code_alone",
        code="unknown-key",
        message="unknown key 'max_constructor_retry_count' in deployment 'MangoStand'",
        ray_accepts=True,
    ),
    Poison(
        name="deployment_twice",
        code="duplicate",
        message="deployment 'MangoStand' is listed twice (first at line 6)",
        ray_accepts=True,
    ),
    Poison(
        name="num_replicas_true",
        code="wrong-type",
        message="`num_replicas` is a whole number or auto, not true or false",
        ray_accepts=True,
    ),
    Poison(
        name="number_in_quotes",
        code="wrong-type",
        message="`max_ongoing_requests` is a whole number, not text",
        ray_accepts=True,
    ),
    Poison(
        name="num_replicas_in_quotes",
        code="wrong-value",
        message="`num_replicas` cannot be '5'",
        ray_accepts=False,
    ),
    Poison(
        name="route_prefix_without_slash",
        code="route-prefix",
        message="`route_prefix` begins with a slash: write `/fruit`",
        ray_accepts=True,
    ),
    Poison(
        name="route_prefix_with_slash_at_end",
        code="route-prefix",
        message="`route_prefix` ends with a slash",
        ray_accepts=True,
    ),
    Poison(
        name="route_prefix_with_wildcard",
        code="route-prefix",
        message="`route_prefix` cannot hold wildcards",
        ray_accepts=True,
    ),
    Poison(
        name="autoscaling_min_above_max",
        code="out-of-range",
        message="`max_replicas` must not be less than `min_replicas`",
        ray_accepts=True,
    ),
    Poison(
        name="autoscaling_initial_outside",
        code="out-of-range",
        message="`initial_replicas` lies outside `min_replicas` and `max_replicas`",
        ray_accepts=True,
    ),
    Poison(
        name="resource_that_is_text",
        code="out-of-range",
        message="the amount of resource 'juicer' is a number of 0 or more",
        ray_accepts=True,
    ),
    Poison(
        name="cpu_as_custom_resource", code="misplaced", message="CPU is no custom resource", ray_accepts=True
    ),
    Poison(
        name="max_replicas_per_node_zero",
        code="out-of-range",
        message="`max_replicas_per_node` is a whole number from 1 to 100",
        ray_accepts=True,
    ),
    Poison(
        name="placement_group_without_bundles",
        code="out-of-range",
        message="a placement group needs at least one bundle",
        ray_accepts=True,
    ),
    Poison(
        name="import_path_that_no_module_has",
        code="import-path",
        message="no module or name of Python can be called 'fruit-market:app'",
        ray_accepts=True,
    ),
    Poison(
        name="port_past_the_last",
        code="out-of-range",
        message="`port` is a number from 0 to 65535",
        ray_accepts=True,
    ),
)
