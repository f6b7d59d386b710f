"""From the settings to who is told: the log, and the forges of the repositories that have one.

Owns that translation. Must not deliver anything. Invariant: every audience that messages are written for has
its target, so that nothing is written which nobody delivers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core.messages import of_deployments, of_forge
from deployer.engine.forge_delivery import DeploymentTarget, ForgeTarget
from deployer.engine.news import News
from deployer.engine.outbox import LogTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deployer.adapters.forge import Forge
    from deployer.engine.outbox import Target
    from deployer.settings import Forge as Told
    from deployer.settings import Settings


def news(settings: Settings) -> News:
    """Who is told of what becomes of an environment."""
    return News(
        _at_forges(settings, lambda forge: forge.statuses),
        _at_forges(settings, lambda forge: forge.deployments),
    )


def targets(settings: Settings, forges: Mapping[str, Forge]) -> list[Target]:
    """Everybody who is told something."""
    found: list[Target] = [LogTarget()]
    public_url = settings.server.public_url
    for repository, forge in forges.items():
        asked = settings.repositories[repository].forge
        of = {
            name: environment.branch or ""
            for name, environment in settings.environments.items()
            if environment.repository == repository
        }
        if asked is not None and asked.statuses:
            found.append(ForgeTarget(repository, forge, of, public_url))
        if asked is not None and asked.deployments:
            found.append(DeploymentTarget(repository, forge, of, public_url, branches=of))
    return found


def audiences(settings: Settings) -> dict[str, str]:
    """The name of each of them, with its audience."""
    found = {LogTarget.name: LogTarget.audience}
    for name, one in settings.repositories.items():
        if one.forge is not None and one.forge.statuses:
            found[of_forge(name)] = of_forge(name)
        if one.forge is not None and one.forge.deployments:
            found[of_deployments(name)] = of_deployments(name)
    return found


def _at_forges(settings: Settings, is_told: Callable[[Told], bool]) -> dict[str, str]:
    """The repository of each environment whose forge is told that."""
    forges = {name: one.forge for name, one in settings.repositories.items()}
    return {
        name: environment.repository
        for name, environment in settings.environments.items()
        if (forge := forges[environment.repository]) is not None and is_told(forge)
    }
