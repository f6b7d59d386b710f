"""What an application of the fake cluster does, chosen by its config, and what Serve says about it.

| config | what becomes of it |
|---|---|
| `import_path: import_error:app` | the build fails |
| `runtime_env: {working_dir: "http://127.0.0.1:1/..."}` | its environment cannot be set up |
| `import_path: constructor_raises:app`, `env_vars: {GREETER_RAISES: why}` | no replica starts |
| `user_config: {fail: true}` | the same, from `reconfigure` |
| `import_path: frail:app`, `args: {fault: ...}` | as `tests/support/apps/frail.py` says |
| `import_path: slow:app`, `args: {start_seconds: 9}` | its constructor never ends, or takes so long |
| `ray_actor_options: {num_cpus: 8}`, or `resources` | no replica finds room, if less is free |
| a deployment other than `D`, in one of the modules above or in `good` | refused after the build |
| any other | RUNNING |

The texts are what a real Serve wrote (`serve_messages.json`), with another error in the last line.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FOR_EVER = 1e9
"""Seconds."""

SICK = "OSError: [Errno 28] No space left on device"
"""What nothing can start for, on a cluster that is sick for its own reasons."""

FRAIL_SLOW_SECONDS = 600.0

SAID: dict[str, Any] = json.loads(Path(__file__).with_name("serve_messages.json").read_text())

_ONLY_D = {"good", "constructor_raises", "frail", "slow"}
"""The modules whose applications have one deployment, `D`. Of others nothing is known."""

_STARTS_NEVER = {
    "raise": "FileNotFoundError: no model file at models/fruit.bin",
    "exit": "ray.exceptions.ActorDiedError",
    "sick": "RuntimeError: the model does not answer",
}
"""What the last line of Serve's message is for these faults of `frail`."""


def code(config: Mapping[str, Any]) -> str:
    """What Serve builds: if it changes, every replica is replaced."""
    return json.dumps([config.get(key) for key in ("import_path", "runtime_env", "args")], sort_keys=True)


def deployments(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The deployments by name, with what the config says of them."""
    return {listed["name"]: listed for listed in config.get("deployments", ())} or {"D": {}}


def count(config: Mapping[str, Any], name: str) -> int:
    """How many replicas a deployment shall have."""
    return int(deployments(config)[name].get("num_replicas", 2 if _module(config) == "frail" else 1))


def effective(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The options that Serve runs a deployment with."""
    given = {key: value for key, value in deployments(config)[name].items() if value is not None}
    return {**SAID["effective"], "num_replicas": count(config, name), **given}


def build_error(config: Mapping[str, Any]) -> str | None:
    """What the application's message is if its code cannot be imported."""
    if _module(config) != "import_error":
        return None
    return plain(SAID["failures"]["import_error"]["message"])


def environment_error(config: Mapping[str, Any]) -> str | None:
    """What it is if its environment cannot be set up."""
    if not str(config.get("runtime_env", {}).get("working_dir", "")).startswith("http://127.0.0.1:1/"):
        return None
    return plain(SAID["failures"]["working_dir_unreachable"]["message"])


def override_error(config: Mapping[str, Any]) -> str | None:
    """What it is if the config lists a deployment that the code does not have."""
    unknown = [name for name in deployments(config) if _module(config) in _ONLY_D and name != "D"]
    if not unknown:
        return None
    error = f"ValueError: Deployment {unknown[0]!r} does not exist. Available: ['D']\n"
    return _ending_in(SAID["failures"]["unknown_deployment"]["message"], error)


def start_error(config: Mapping[str, Any]) -> str | None:
    """The error that each replica raises on its start, if they do."""
    if _module(config) == "constructor_raises":
        return _STARTS_NEVER["raise"]
    if _module(config) == "frail" and (error := _STARTS_NEVER.get(_fault(config))):
        return error
    if reason := config.get("runtime_env", {}).get("env_vars", {}).get("GREETER_RAISES"):
        return f"RuntimeError: {reason}"
    for deployment in deployments(config).values():
        user_config = deployment.get("user_config") or {}
        if user_config.get("fail"):
            return f"ValueError: cannot use {user_config}"
    return None


def has_no_room(config: Mapping[str, Any], free: Mapping[str, float] | None) -> bool:
    """Whether a replica of it asks for more than is free. What runs takes nothing away."""
    there = free or {}
    for deployment in deployments(config).values():
        options = deployment.get("ray_actor_options", {})
        asked = {"CPU": options.get("num_cpus", 0), **options.get("resources", {})}
        if any(amount > there.get(name, 0) for name, amount in asked.items()):
            return True
    return False


def start_seconds(config: Mapping[str, Any]) -> float:
    """How long its constructor takes."""
    if _module(config) == "slow":
        return FOR_EVER
    if _module(config) == "frail":
        return FRAIL_SLOW_SECONDS if _fault(config) == "slow" else 0.0
    return float(config.get("args", {}).get("start_seconds", 0))


def exits(config: Mapping[str, Any]) -> bool:
    """Whether its processes exit, or turn unhealthy, some seconds after each start."""
    return _module(config) == "frail" and _fault(config) in {"crash_later", "sick_later"}


def failed_update(names: Iterable[str]) -> str:
    """The application's message when deployments could not start: only their names."""
    return f"Failed to update the deployments {list(names)}."


def failed_start(error: str, times: int) -> str:
    """The deployment's message then."""
    said = SAID["failures"]["constructor_raises"]["deployments"][0]["message"]
    return _ending_in(said, error).replace("start 3 times", f"start {times} times")


def unhealthy(names: Iterable[str]) -> str:
    """The application's message when deployments that ran are not healthy: only their names."""
    return f"The deployments {list(names)} are UNHEALTHY."


def flapping() -> str:
    """The deployment's message then."""
    return plain(SAID["failures"]["exits_later"]["deployments"][0]["message"])


def retrying(left: int, error: str) -> str:
    """The deployment's message while there are tries left."""
    said = SAID["warnings"]["retrying"]["deployments"][0]["message"]
    return _ending_in(said, error).replace("Retrying 2 more", f"Retrying {left} more")


def warning(name: str) -> str:
    """The deployment's message after half a minute of `slow_start` or `no_room`."""
    return plain(SAID["warnings"][name]["deployments"][0]["message"])


def _fault(config: Mapping[str, Any]) -> str:
    return str(config.get("args", {}).get("fault", "none"))


def _module(config: Mapping[str, Any]) -> str:
    return str(config.get("import_path", "")).partition(":")[0]


def _ending_in(said: str, error: str) -> str:
    return plain(said).rstrip().rpartition("\n")[0] + "\n" + error
