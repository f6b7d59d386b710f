"""From the settings to what promotes: the edges, and a writer for each repository that has one.

Owns that translation. Must not read anything, nor push. Invariant: what lets the daemon in to read never
pushes: without a credential for writing a writer only tells what a push would bring.
"""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from deployer.cli.repositories import access, forge_access, source, write_access
from deployer.core import serve_config
from deployer.core.copying import FieldPolicy
from deployer.core.source import Branch
from deployer.engine.ways import Edge

_PERMISSIONS = {"contents": "read", "pull_requests": "write", "statuses": "write", "checks": "read"}
"""What a GitHub App must be allowed for pull requests, statuses and reviews."""

_SEEN = 200
"""Commits that git wanted since a promotion are looked through for who made them."""

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from deployer.adapters.forge import Forge
    from deployer.adapters.git import Copier, Writer
    from deployer.adapters.store.search import Search
    from deployer.core.events import Seen
    from deployer.settings import Settings


def edges(settings: Settings) -> Iterator[Edge]:
    """Where commits are promoted: one edge for each environment with `promote_from`."""
    for name, environment in settings.environments.items():
        promote = environment.promote_from
        if promote is None:
            continue
        before = settings.environments[promote.environment]
        followed = source(before)
        # Of one branch for both there is nothing to move forward: what the one folder says is copied.
        is_copied = environment.branch == before.branch
        yield Edge(
            source=promote.environment,
            target=name,
            repository=environment.repository,
            url=settings.repositories[environment.repository].url,
            branch=environment.branch or "",
            source_ref=followed.ref if isinstance(followed, Branch) else "",
            auto=promote.auto,
            copied_to=str(PurePosixPath(environment.path) / serve_config.FILE) if is_copied else "",
            fields=FieldPolicy(move=frozenset(promote.move), keep=frozenset(promote.keep)),
            by_pull_request=promote.by == "pull-request",
        )


def seen(search: Search, environment: str) -> list[Seen]:
    """What git wanted there, newest first, as far back as matters."""
    from deployer.adapters.store.filters import EventFilter
    from deployer.core.events import Seen

    found = search.events(EventFilter(environment=environment, type="seen"), limit=_SEEN)
    return [one.event for one in found if isinstance(one.event, Seen)]


def writers(settings: Settings) -> dict[str, Writer]:
    """A writer for each repository in which something is promoted."""
    # git is imported late: most commands need none of it.
    from deployer.adapters.git import Writer

    found = {}
    for name in {edge.repository for edge in edges(settings)}:
        repository = settings.repositories[name]
        may = write_access(repository)
        found[name] = Writer(
            settings.state_dir / "mirrors" / f"{quote(name, safe='')}.write.git",
            repository.url,
            access=may or access(repository),
            can_push=may is not None,
        )
    return found


def copiers(settings: Settings, writers: Mapping[str, Writer]) -> dict[str, Copier]:
    """Who makes commits, for each repository in which something is copied."""
    from deployer.adapters.git import Copier

    return {
        edge.repository: Copier(
            settings.state_dir / "mirrors" / f"{quote(edge.repository, safe='')}.copy.git",
            writers[edge.repository],
        )
        for edge in edges(settings)
        if edge.copied_to
    }


def forges(settings: Settings) -> dict[str, Forge]:
    """The forges of the repositories that have one."""
    from deployer.adapters.forge import forge, token_from
    from deployer.adapters.git import AppTokens, GithubApp

    found = {}
    for name, repository in settings.repositories.items():
        asked = forge_access(repository)
        if asked is None:
            continue
        asking = partial(
            forge, asked.kind, api_url=asked.api_url, project=asked.project, ca_file=asked.ca_file
        )
        if isinstance(asked.credential, GithubApp):
            # For the project of the forge, wherever git finds the repository.
            url = f"{asked.api_url}/{asked.project}"
            wanted = repository.forge is not None and repository.forge.deployments
            permissions = {**_PERMISSIONS, **({"deployments": "write"} if wanted else {})}
            app = AppTokens(asked.credential, url=url, ca_file=asked.ca_file, permissions=permissions)
            found[name] = asking(token=_told(app.token), refused=app.forget, app_id=asked.credential.app_id)
        else:
            found[name] = asking(token=token_from(asked.credential))
    return found


def _told(token: Callable[[], str]) -> Callable[[], str]:
    """The same, failing as a forge does."""
    from deployer.adapters.forge import ForgeUnavailable
    from deployer.adapters.git import GitUnavailable

    def told() -> str:
        try:
            return token()
        except GitUnavailable as error:
            raise ForgeUnavailable(error.why) from error

    return told
