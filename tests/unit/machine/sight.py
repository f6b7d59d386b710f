"""What a look at the cluster shows of a release, read by the ledgers alone.

Owns the reading of a look for the books. It must not use `judge`, `belongs` or `drift`: what they misread,
the ledgers must notice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from deployer.core.live import Live

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from deployer.core.live import App, Deployment, Observation
    from deployer.core.types import Release

_NONCE = "DEPLOYER_NONCE"

_LEFT = re.compile(r"Retrying (\d+) more time")
"""What Serve says after a failed start of a version that it goes on trying."""


def without_nonce(config: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An application's config as the release has it."""
    if config is None:
        return None
    runtime_env = dict(config.get("runtime_env", {}))
    env_vars = {k: v for k, v in runtime_env.pop("env_vars", {}).items() if k != _NONCE}
    runtime_env |= {"env_vars": env_vars} if env_vars else {}
    rest = {key: value for key, value in config.items() if key != "runtime_env"}
    return rest | ({"runtime_env": runtime_env} if runtime_env else {})


def is_there(name: str, apps: Mapping[str, App]) -> bool:
    """Whether the cluster has an application of this name, and is not deleting it."""
    return name in apps and apps[name].status != "DELETING"


def runs_config_of(release: Release, apps: Mapping[str, App]) -> bool:
    """Whether the cluster has the release's applications, each with the config of the release."""
    return all(
        is_there(name, apps)
        and apps[name].source == "declarative"
        and without_nonce(apps[name].config) == config
        for name, config in release.config.applications().items()
    )


def is_up(release: Release, apps: Mapping[str, App]) -> bool:
    """Whether all of it runs. A PUT of anybody makes every application DEPLOYING for a tick."""
    return runs_config_of(release, apps) and all(
        apps[name].status in {"RUNNING", "DEPLOYING"}
        and apps[name].deployments
        and all(one.status == "HEALTHY" for one in apps[name].deployments)
        for name in release.config.applications()
    )


def is_building(release: Release, seen: Observation | None) -> bool:
    """Whether Serve shows no deployment yet: then only another PUT makes it try again."""
    names = release.config.applications()
    return isinstance(seen, Live) and all(not seen.apps[n].deployments for n in names if n in seen.apps)


def is_sick(release: Release, apps: Mapping[str, App]) -> bool:
    """Whether something of it is UNHEALTHY."""
    return any(
        "UNHEALTHY" in (apps[name].status, *(one.status for one in apps[name].deployments))
        for name in release.config.applications()
    )


def is_free_for(release: Release, owned: set[str], apps: Mapping[str, App]) -> bool:
    """Whether a PUT of it would take or delete nothing of other people's."""
    wanted = release.config.applications()
    others = [app for name, app in apps.items() if name not in owned and app.status != "DELETING"]
    return not any(
        app.name in wanted or (app.source != "imperative" and app.config is None) for app in others
    )


def trouble(apps: Mapping[str, App]) -> set[str]:
    """The deployments of which something is starting, or that say something: the next PUT inherits it."""
    return {
        f"{app.name}/{one.name}"
        for app in apps.values()
        for one in app.deployments
        if one.message or any(replica.state == "STARTING" for replica in one.replicas)
    }


def gave_up(mine: Iterator[App]) -> bool:
    """Whether Serve has given one of these up."""
    return any(app.status == "DEPLOY_FAILED" for app in mine)


def failed_starts(mine: Iterator[App], inherited: Collection[str] = ()) -> int:
    """How many starts have failed of the deployment that fails most, as far as Serve tells."""
    return max(
        (
            _failed(one)
            for app in mine
            for one in app.deployments
            if f"{app.name}/{one.name}" not in inherited
        ),
        default=0,
    )


def _failed(deployment: Deployment) -> int:
    """Serve tries as often as three times the replicas, but no more than twenty times."""
    left = _LEFT.search(deployment.message)
    budget = min(20, 3 * (deployment.target_replicas or 1))
    return max(1, budget - int(left[1])) if left else 0
