"""What git and other people can say in the state machine's world: configs by name, and policies.

What an application does is chosen by its config: see `tests/support/fake_behaviour.py`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

from deployer.core.types import Check, Deadlines, OnDrift, Policy, ServeConfig

STAGING = "staging"
NEIGHBOUR = "neighbour"


def config_of(*apps: dict[str, Any]) -> ServeConfig:
    """The canonical config of these applications."""
    text = json.dumps({"applications": list(apps)}, sort_keys=True, separators=(",", ":"))
    return ServeConfig(text=text, digest=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


def app(name: str, import_path: str = "good:app", **more: Any) -> dict[str, Any]:
    """One application."""
    return {"name": name, "import_path": import_path, "route_prefix": f"/{name}", **more}


def _fruit(import_path: str = "good:app", **more: Any) -> dict[str, Any]:
    return app("fruit", import_path, **more)


def _deployment(**more: Any) -> list[dict[str, Any]]:
    return [{"name": "D", **more}]


GOOD = ("good-1", "good-2", "two-apps")
"""Configs that a kind cluster brings up."""

BAD = (
    "import-error",
    "constructor-raises",
    "reconfigure-raises",
    "never-starts",
    "no-room",
    "flapping",
    "environment-fails",
    "half-applied",
)
"""Configs that it does not."""

CONFIGS = {
    "good-1": config_of(_fruit(args={"version": "1"})),
    "good-2": config_of(_fruit(args={"version": "2"})),
    "two-apps": config_of(_fruit(args={"version": "1"}), app("math")),
    "three-apps": config_of(_fruit(args={"version": "1"}), app("math"), app("tea")),
    "empty": config_of(),
    "import-error": config_of(_fruit("import_error:app")),
    "constructor-raises": config_of(_fruit("constructor_raises:app")),
    "reconfigure-raises": config_of(
        _fruit(deployments=_deployment(user_config={"fail": True}), args={"version": "1"})
    ),
    "never-starts": config_of(_fruit("slow:app")),
    "no-room": config_of(_fruit(deployments=_deployment(ray_actor_options={"resources": {"nowhere": 1}}))),
    "flapping": config_of(_fruit("frail:app", args={"fault": "crash_later"})),
    "environment-fails": config_of(_fruit(runtime_env={"working_dir": "http://127.0.0.1:1/code.zip"})),
    "half-applied": config_of(_fruit(runtime_env={"env_vars": {"PORT": 8000}})),
}

NEIGHBOURS = {
    "berry-1": config_of(app("berry", args={"version": "1"})),
    "berry-2": config_of(app("berry", args={"version": "2"}), app("nut")),
    "berry-fails": config_of(app("berry", "import_error:app")),
    "berry-takes-fruit": config_of(app("berry", args={"version": "1"}), app("fruit")),
}
"""What the second environment on the same cluster wants."""

ALL = {**CONFIGS, **NEIGHBOURS}
NAMES = {config.digest: name for name, config in ALL.items()}

_PLAIN = Policy(
    deadlines=Deadlines(build=60, schedule=30, start=120),
    rollback_deadline=120,
    stability_window=3,
    soak=5,
)
POLICIES = {
    "plain": _PLAIN,
    "checked": replace(_PLAIN, checks=(Check(app="fruit", path="/fruit", retries=1, timeout=1.0),)),
    "forgiving": replace(_PLAIN, max_flaps=1, fail_fast_after=0),
    "default-window": replace(_PLAIN, stability_window=None, soak=0),
    "one-heal": replace(_PLAIN, heals_per_hour=1, soak=0, stability_window=0),
    "alert": replace(_PLAIN, drift=OnDrift.ALERT),
    "ignore": replace(_PLAIN, drift=OnDrift.IGNORE),
    "no-rollback": replace(_PLAIN, rollback=False),
    "allow-delete": replace(_PLAIN, allow_delete=True),
}
