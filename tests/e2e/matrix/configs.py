"""The Serve configs and policies that the rows push.

Owns the shape of the one application of the matrix. Must not know what fails when. Invariant: what is not
given is as in the good release, so a row shows exactly what makes it bad.
"""

from __future__ import annotations

from typing import Any

CLOSED = "127.0.0.1:9"
"""The port of `discard`, where nobody listens."""

APP = "frail"
PREFIX = "/frail"


def application(name: str = APP, *, replicas: int = 2, **changes: Any) -> dict[str, Any]:
    """The good application with some keys replaced. `deployment` is merged into its one deployment."""
    deployment = {"name": "D", "num_replicas": replicas, "ray_actor_options": {"num_cpus": 0}}
    return {
        "name": name,
        "route_prefix": f"/{name}",
        "import_path": "frail:app",
        "args": {"fault": "none", "release": "good"},
        "deployments": [{**deployment, **changes.pop("deployment", {})}],
        **changes,
    }


def fault(name: str) -> dict[str, str]:
    """The `args` that make the application fail in this way."""
    return {"fault": name, "release": "bad"}


def better() -> dict[str, Any]:
    """The good application as another release: every replica starts anew."""
    return application(args={"fault": "none", "release": "better"})


def policy(*, window: str = "3s", schedule: str = "5m", start: str = "5m") -> str:
    """An `environment.yaml`; short, so that a row takes seconds."""
    deadlines = f"{{build: 5m, schedule: {schedule}, start: {start}}}"
    return f"health:\n  stability_window: {window}\n  deadlines: {deadlines}\nsoak: 1s\n"


def pip(package: str) -> dict[str, Any]:
    """A runtime environment that asks a closed port for a package, once."""
    options = [f"--index-url=http://{CLOSED}/simple", "--retries=0", "--timeout=1"]
    return {"pip": {"packages": [package], "pip_install_options": options}}
