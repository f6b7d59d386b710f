"""The faces of a daemon over a store that is there, with as many environments as it has; nothing deploys.

Real routes, guard, read models, hub and metrics, wired as in `deployer.cli.faces`. What the engine would do
is done by who uses this: `publish` and `commit` do it as a pass does, to the store first and then to the hub.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml
from starlette.types import ASGIApp

from deployer.adapters.store import OutboxStore, SqlStore
from deployer.adapters.store.answers import Answers
from deployer.adapters.store.search import Search
from deployer.adapters.store.tokens import Tokens
from deployer.cli.faces import routes
from deployer.core import tokens as token_rules
from deployer.core.source import Branch
from deployer.core.status import Health, Status, status, view
from deployer.core.types import Desired, Policy
from deployer.engine.outbox import LogTarget
from deployer.engine.sources import EnvironmentSource, RepositorySpec, Sources
from deployer.settings import explained, load
from deployer.web import Hub, Metrics, Passes, Service, pages, server
from deployer.web.access import opener
from deployer.web.callers import Callers
from deployer.web.guard import Door, Guard
from deployer.web.models import Models
from deployer.web.origins import Origins
from deployer.web.outbox import Desk
from deployer.web.promotions import Promotions
from deployer.web.site import Site
from tests.support.build import release, running
from tests.support.no_promotions import no_promotions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.core.events import Event

_REPOSITORY = "configs"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFaces:
    """What stands there. `app` is what the server gets; `token` opens everything."""

    names: tuple[str, ...]
    store: SqlStore
    hub: Hub
    models: Models
    app: ASGIApp
    token: str
    state_dir: Path

    def publish(self, name: str, says: str = "") -> Status:
        """Tell the state of an environment, as a pass does at its end; with `says`, that it is not well."""
        record = self.store.load(name)
        wanted = record.good or release(name)
        seen = status(Desired(release=wanted, policy=Policy()), running(wanted), record, datetime.now(UTC))
        if says:
            seen = replace(seen, health=Health.DEGRADED, message=says)
        self.store.publish(name, view(seen), datetime.now(UTC))
        self.hub.observed(seen)
        return seen

    def commit(self, name: str, *events: Event) -> None:
        """Write events to the log, and tell of each."""
        record = self.store.load(name)
        self.store.commit(record, events)
        for event in events:
            self.hub.recorded(record, event)

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve inside the block; the URL."""
        with server.serving(
            self.app,
            self.state_dir,
            host="127.0.0.1",
            port=0,
            token=self.token,
            before_stop=self.hub.close,
        ) as url:
            yield url


@contextmanager
def standing(path: Path, names: Sequence[str]) -> Iterator[StoreFaces]:
    """Faces over the store at `path`, which may be written to, for these environments."""
    with ExitStack() as stack:
        folder = path.parent
        file = folder / "deployer.yaml"
        file.write_text(_settings(folder, names), encoding="utf-8")
        settings = load(file, {})
        store = stack.enter_context(closing(SqlStore.open(path)))
        search = Search(store.database)
        sources = Sources(
            repositories=[RepositorySpec(name=_REPOSITORY, url=str(folder / "none.git"), poll_seconds=3600)],
            environments=[
                EnvironmentSource(environment=name, repository=_REPOSITORY, source=Branch("main"), path=name)
                for name in names
            ],
            mirrors_dir=folder / "mirrors",
            enqueue=lambda _: None,
            watch=False,
        )
        hub, tokens, answers = Hub(), Tokens(store.database), Answers(store.database)
        measured = stack.enter_context(
            closing(
                Metrics(
                    environments=tuple(names),
                    repositories=(_REPOSITORY,),
                    schemes={},
                    sources=sources,
                    store=store,
                    store_path=path,
                    queue_depth=lambda: 0,
                    subscribers=lambda: hub.listeners,
                )
            )
        )
        service = Service(
            store=store,
            sources=sources,
            # Nobody is asked: what is shown is what was published.
            clusters=dict.fromkeys(names, cast("Any", None)),
            passes=Passes(),
            repositories=dict.fromkeys(names, _REPOSITORY),
            commit=store.commit,
            enqueue=lambda _: None,
            now=_now,
        )
        models = Models(
            settings=settings,
            explained=explained(settings, file, {}),
            store=store,
            search=search,
            sources=sources,
            look=service.observe,
            doctor=dict,
            now=_now,
        )
        site = Site(
            environments=tuple(names),
            service=service,
            models=models,
            hub=hub,
            tokens=tokens,
            answers=answers,
            ready=lambda: None,
            promotions=Promotions(no_promotions(store), service, models),
            write=lambda _event: None,
            outbox=Desk(
                OutboxStore(store.database),
                {LogTarget.name: LogTarget.audience},
                wake=lambda _names: None,
                now=_now,
            ),
        )
        token = token_rules.make(secrets.token_bytes(32))
        web = settings.server
        door = Door(
            callers=Callers(local=token, tokens=tokens, server=web, now=_now),
            origins=Origins((*web.allowed_hosts, web.host), web.public_url),
        )
        application = routes(site, door, measured, pages.Renderer(now=_now))
        guarded = Guard(application, door, opener(application))
        yield StoreFaces(
            names=tuple(names),
            store=store,
            hub=hub,
            models=models,
            app=measured.requests(guarded, application.routes),
            token=token,
            state_dir=folder,
        )


def _now() -> datetime:
    return datetime.now(UTC)


def _settings(folder: Path, names: Sequence[str]) -> str:
    cluster = {"address": "http://127.0.0.1:9"}
    environments = {
        name: {"repository": _REPOSITORY, "branch": "main", "path": name, "cluster": cluster}
        for name in names
    }
    return yaml.safe_dump(
        {
            "state_dir": str(folder),
            "repositories": {_REPOSITORY: {"url": str(folder / "none.git")}},
            "environments": environments,
        },
        sort_keys=False,
    )
