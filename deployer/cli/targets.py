"""From the settings to who is told: the log, the routes, and the forges of the repositories that have one.

Owns that translation. Must not deliver anything. Invariant: every audience that messages are written for has
its target, so that nothing is written which nobody delivers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.adapters.notify_apprise import Apprise, ChatUnavailable
from deployer.adapters.webhook import Webhook
from deployer.core.errors import InvalidConfig, Problem
from deployer.core.messages import of_deployments, of_forge
from deployer.core.routes import of_route
from deployer.engine.forge_delivery import DeploymentTarget, ForgeTarget
from deployer.engine.news import News
from deployer.engine.notify_delivery import NoticeTarget
from deployer.engine.outbox import LogTarget
from deployer.settings import routes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from deployer.adapters.forge import Forge
    from deployer.adapters.store import SqlReader
    from deployer.core.events import Event
    from deployer.core.routes import Route as Rule
    from deployer.engine.outbox import Target
    from deployer.settings import Forge as Told
    from deployer.settings import Settings


def news(settings: Settings, history: Callable[[str], Iterable[Event]]) -> News:
    """Who is told of what becomes of an environment. `history` has all its events, the oldest first."""
    return News(
        _at_forges(settings, lambda forge: forge.statuses),
        _at_forges(settings, lambda forge: forge.deployments),
        routes=routes(settings),
        history=history,
    )


def receiver(settings: Settings, route: Rule) -> NoticeTarget:
    """Who is behind a route."""
    one = settings.notify[route.name]
    found: Apprise | Webhook
    if one.apprise is not None:
        found = Apprise(one.apprise.url_file)
    elif (to := one.webhook) is not None:
        found = Webhook(to.url, secret_file=to.secret_file, token_file=to.token_file, ca_file=to.ca_file)
    else:
        # Such settings do not load.
        raise ValueError(route.name)
    return NoticeTarget(route, found, settings.server.public_url)


def check_places(settings: Settings, file: str) -> None:
    """Raise InvalidConfig, with all of them, if apprise cannot use an address.

    `file` is that of the settings. Imports apprise, where there is such a route: 0.1 s.
    """
    found: list[Problem] = []
    for name, one in settings.notify.items():
        if one.apprise is not None:
            try:
                Apprise(one.apprise.url_file).check()
            except ChatUnavailable as error:
                message = f"notify.{name}.apprise: {error.why}"
                found.append(Problem(file=file, line=0, column=0, message=message))
    if found:
        raise InvalidConfig(tuple(found))


def history(store: SqlReader) -> Callable[[str], Iterator[Event]]:
    """What reads every event of an environment, the oldest first."""

    def read(environment: str) -> Iterator[Event]:
        after = 0
        while found := store.events(environment, after_id=after):
            yield from (one.event for one in found)
            after = found[-1].id

    return read


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
    found += [receiver(settings, route) for route in routes(settings)]
    return found


def audiences(settings: Settings) -> dict[str, str]:
    """The name of each of them, with its audience."""
    found = {LogTarget.name: LogTarget.audience}
    for name, one in settings.repositories.items():
        if one.forge is not None and one.forge.statuses:
            found[of_forge(name)] = of_forge(name)
        if one.forge is not None and one.forge.deployments:
            found[of_deployments(name)] = of_deployments(name)
    return found | {of_route(name): of_route(name) for name in settings.notify}


def _at_forges(settings: Settings, is_told: Callable[[Told], bool]) -> dict[str, str]:
    """The repository of each environment whose forge is told that."""
    forges = {name: one.forge for name, one in settings.repositories.items()}
    return {
        name: environment.repository
        for name, environment in settings.environments.items()
        if (forge := forges[environment.repository]) is not None and is_told(forge)
    }
