"""What the stories with a browser need of a site: where its pages are, and configs to push.

The daemon keeps its port over a restart, as one that people have a bookmark of does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from tests.support.free_port import free_port

if TYPE_CHECKING:
    from tests.e2e.site import Site

SUBJECT = "</title><script>window.xss=1</script><img src=x onerror=alert(1)> break \"it\" & '{{it}}'"
"""Of the commit that fails: what people and forges put into a subject is on every page."""

MISSING = "FileNotFoundError: no model file at models/fruit.bin"
"""What the broken application says."""


def greeter(answer: str, *, import_path: str = "good:app") -> dict[str, Any]:
    """An application that takes a second to start, so that there is progress to be seen."""
    deployment = {
        "name": "D",
        "num_replicas": 1,
        "user_config": {"answer": answer},
        "ray_actor_options": {"num_cpus": 0},
    }
    app: dict[str, Any] = {
        "name": "fruit",
        "route_prefix": "/fruit",
        "import_path": import_path,
        "deployments": [deployment],
    }
    if import_path == "good:app":
        # With other arguments it is built anew, which takes time, where it could be reconfigured in none.
        app["args"] = {"start_seconds": "1.5", "build": answer}
    return {"applications": [app]}


def with_a_port(site: Site) -> Site:
    """The same site, whose daemon is always at the same address."""
    settings = yaml.safe_load(site.settings.read_text())
    settings["server"]["listen"] = f"127.0.0.1:{free_port()}"
    site.settings.write_text(yaml.safe_dump(settings))
    return site


def address(site: Site) -> tuple[str, str]:
    """Where the pages of the running daemon are, and the token that its machine has."""
    state = site.root / "state"
    url = json.loads((state / "api.json").read_text())["url"]
    return url, (state / "admin.token").read_text().strip()
