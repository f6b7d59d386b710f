"""Puts the faces of the daemon together: read models, commands, permissions, pages, streams, metrics.

Owns the wiring, and the order in which a request passes: webhooks apart, then the count, then the guard,
then the lane of its route, then the route. Must not contain behaviour of its own. Invariant: no route is
reached but through the guard.
"""

from __future__ import annotations

import secrets
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from deployer.adapters.admin_token import admin_token
from deployer.adapters.store import OutboxStore, StoreError
from deployer.adapters.store.answers import Answers
from deployer.adapters.store.search import Search
from deployer.adapters.store.tokens import Tokens
from deployer.core import tokens as token_rules
from deployer.web import app, badge, metrics, pages, server, signin
from deployer.web.access import opener
from deployer.web.callers import Callers
from deployer.web.guard import Door, Guard
from deployer.web.models import Models
from deployer.web.origins import Origins
from deployer.web.outbox import Desk
from deployer.web.promotions import Promotions
from deployer.web.site import Site
from deployer.web.tls import Tls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from fastapi import FastAPI, Request
    from fastapi.responses import Response
    from starlette.types import ASGIApp

    from deployer.adapters.store import SqlStore
    from deployer.core.gates import Gating
    from deployer.engine.journal import Journal
    from deployer.engine.outbox import Outbox
    from deployer.engine.promoting import Promoter
    from deployer.engine.sources import Sources
    from deployer.settings import Setting, Settings
    from deployer.web.hub import Hub
    from deployer.web.metrics import Metrics
    from deployer.web.promotions import ByItself
    from deployer.web.service import Service

_READY_SECONDS = 5.0
"""So long everybody gets the same answer to /readyz, for each costs a write to the disk."""

_WRITE_SECONDS = 2.0
"""For a write that somebody else's question has begun. One that takes longer is as good as none."""

_NOT_READY = "The store cannot be written. The daemon's log says why."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What can fail before anything runs: the token of this machine, and the sockets."""

    local: str
    at: server.Bound


@contextmanager
def prepared(settings: Settings) -> Iterator[Prepared]:
    """Have them inside the `with` block. The state directory is locked.

    Raises AdminTokenUnusable.
    """
    web = settings.server
    local = admin_token(settings.state_dir, lambda: token_rules.make(secrets.token_bytes(32)))
    tls = Tls(cert_file=web.tls.cert_file, key_file=web.tls.key_file) if web.tls is not None else None
    with server.bound(web.host, web.port, tls) as at:
        yield Prepared(local=local, at=at)


@contextmanager
def serving(
    settings: Settings,
    *,
    ready: Prepared,
    explained: Sequence[Setting],
    store: SqlStore,
    sources: Sources,
    service: Service,
    hub: Hub,
    measured: Metrics,
    hooks: ASGIApp | None,
    doctor: Callable[[], dict[str, Any]],
    now: Callable[[], datetime],
    gating: Callable[[str, str | None], Gating],
    promoter: Promoter,
    journal: Journal,
    outbox: Outbox,
    by_itself: ByItself | None = None,
) -> Iterator[str]:
    """Serve inside the `with` block; gives the URL for this machine. The state directory is locked.

    Raises StateDirUnusable.
    """
    tokens, answers = Tokens(store.database), Answers(store.database)
    models = Models(
        settings=settings,
        explained=explained,
        store=store,
        search=Search(store.database),
        sources=sources,
        look=service.observe,
        doctor=doctor,
        now=now,
        gating=gating,
    )
    site = Site(
        environments=tuple(settings.environments),
        service=service,
        models=models,
        hub=hub,
        tokens=tokens,
        answers=answers,
        ready=_Readiness(answers, now),
        promotions=Promotions(promoter, service, models, by_itself),
        write=journal.write,
        outbox=Desk(
            OutboxStore(store.database),
            {one.name: one.audience for one in outbox.targets},
            wake=outbox.wake,
            now=now,
        ),
    )
    web = settings.server
    door = Door(
        callers=Callers(local=ready.local, tokens=tokens, server=web, now=now),
        # It may listen on a name.
        origins=Origins((*web.allowed_hosts, web.host), web.public_url),
    )
    application = routes(site, door, measured, pages.Renderer(now=now))
    guarded = Guard(application, door, opener(application))
    with server.serving_at(
        ready.at,
        measured.requests(guarded, application.routes),
        settings.state_dir,
        token=ready.local,
        hooks=measured.hooks(hooks) if hooks is not None else None,
        before_stop=hub.close,
    ) as url:
        yield url


def routes(site: Site, door: Door, measured: Metrics, render: pages.Renderer) -> FastAPI:
    """Every route that the daemon has, without what stands before them."""

    def sign_in_page(request: Request, /, **shown: Any) -> Response:  # noqa: ANN401 - as the page has it
        return pages.sign_in(render, request, **shown)

    return app.make(
        site,
        [
            pages.router(site, render),
            badge.router(site),
            signin.router(door, sign_in_page),
            metrics.router(measured),
        ],
        partial(pages.error_page, render),
    )


class _Readiness:
    """Whether the store can be written, as it was found out within the last seconds.

    Everybody may ask, so what exactly is the matter, which names files, is for the log alone.
    """

    def __init__(self, answers: Answers, now: Callable[[], datetime]) -> None:
        self._answers = answers
        self._now = now
        self._lock = threading.Lock()
        self._until = 0.0
        self._why_not: str | None = None

    def __call__(self) -> str | None:
        """Why the daemon is not ready, or None."""
        if not self._lock.acquire(timeout=_WRITE_SECONDS):
            return _NOT_READY
        try:
            if time.monotonic() >= self._until:
                self._why_not = self._ask()
                self._until = time.monotonic() + _READY_SECONDS
            return self._why_not
        finally:
            self._lock.release()

    def _ask(self) -> str | None:
        try:
            self._answers.probe(self._now())
        except StoreError as error:
            log.warning("not_ready", why=str(error))
            return _NOT_READY
        return None
