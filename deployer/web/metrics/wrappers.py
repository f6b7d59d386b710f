"""What stands around the parts of the daemon to time and count what they do.

Owns the measuring. Must not change what goes in or comes out. Invariant: each wrapper gives exactly what the
part gives, also its errors, and a label's value comes from the settings, the routes or the words here: never
from a request, which may hold anything.
"""

from __future__ import annotations

import time
from http import HTTPMethod, HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fastapi.routing import iter_route_contexts

from deployer.adapters.store import Conflict, StoreCorrupt, StoreError, StoreUnavailable
from deployer.engine.reconcile import After, Again, BackOff, GiveUp, NotYet
from deployer.web.hooks import PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from prometheus_client import Counter, Histogram
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from deployer.core.events import Event
    from deployer.core.messages import Told
    from deployer.core.record import Record
    from deployer.engine.ports import Store
    from deployer.engine.reconcile import Outcome

_T = TypeVar("_T")

OUTCOMES = {
    Again: "again",
    After: "after",
    NotYet: "not_yet",
    BackOff: "back_off",
    GiveUp: "give_up",
}

ERRORS = {Conflict: "conflict", StoreUnavailable: "unavailable", StoreCorrupt: "corrupt"}

OPERATIONS = ("load", "commit", "publish")

_RESULTS: Mapping[int, str] = {
    HTTPStatus.OK: "pong",
    HTTPStatus.ACCEPTED: "accepted",
    HTTPStatus.BAD_REQUEST: "left",
    HTTPStatus.UNAUTHORIZED: "refused",
    HTTPStatus.FORBIDDEN: "of_a_page",
    HTTPStatus.METHOD_NOT_ALLOWED: "no_post",
    HTTPStatus.LENGTH_REQUIRED: "no_length",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_large",
    HTTPStatus.SERVICE_UNAVAILABLE: "stopping",
}
"""The answers of `deployer.web.hooks`; a delivery that came before is told by its body."""

_REPEATED = b'"repeated"'


_METHODS = frozenset(HTTPMethod)


class Runs(Protocol):
    """What runs a pass."""

    def run(self, environment: str) -> Outcome:
        """Run one pass."""


class TimedPasses:
    """Times passes, and how late those begin that were due by the clock.

    Due is what a pass asked for at its end: at once, or after so many seconds. One that begins earlier,
    because something happened, is not late; when that was is not known here.
    """

    def __init__(
        self,
        runs: Runs,
        *,
        duration: Histogram,
        lateness: Histogram,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Stand before `runs`. `duration` has the label outcome, `lateness` none."""
        self._runs = runs
        self._duration = duration
        self._lateness = lateness
        self._monotonic = monotonic
        # An environment has one pass at a time, so nobody else has its entry.
        self._due: dict[str, float] = {}

    def run(self, environment: str) -> Outcome:
        """Run one pass."""
        began = self._monotonic()
        due = self._due.pop(environment, None)
        if due is not None and began >= due:
            self._lateness.observe(began - due)
        outcome = self._runs.run(environment)
        ended = self._monotonic()
        self._duration.labels(outcome=OUTCOMES[type(outcome)]).observe(ended - began)
        if isinstance(outcome, Again | After):
            self._due[environment] = ended + (outcome.seconds if isinstance(outcome, After) else 0.0)
        return outcome


class TimedStore:
    """The store of the passes: times its commits, and counts what it cannot do."""

    def __init__(self, store: Store, *, commits: Histogram, failures: Counter) -> None:
        """Stand before `store`. `failures` has the labels operation and error."""
        self._store = store
        self._commits = commits
        self._failures = failures

    def load(self, environment: str) -> Record:
        """As the store does."""
        return self._counted("load", lambda: self._store.load(environment))

    def commit(self, record: Record, events: Sequence[Event], messages: Sequence[Told] = ()) -> Record:
        """As the store does."""
        with self._commits.time():
            return self._counted("commit", lambda: self._store.commit(record, events, messages))

    def publish(
        self,
        environment: str,
        view: dict[str, Any],
        at: datetime,
        messages: Sequence[Told] = (),
        sequence: int = 0,
    ) -> None:
        """As the store does."""
        self._counted("publish", lambda: self._store.publish(environment, view, at, messages, sequence))

    def _counted(self, operation: str, call: Callable[[], _T]) -> _T:
        try:
            return call()
        except StoreError as error:
            self._failures.labels(operation=operation, error=ERRORS[type(error)]).inc()
            raise


class CountedHooks:
    """Counts what came to `/hooks/` by what was answered (ASGI)."""

    def __init__(self, app: ASGIApp, *, schemes: Mapping[str, str], results: Counter) -> None:
        """Stand before `app`. `schemes` by repository.

        `results` has the labels repository, scheme and result.
        """
        self._app = app
        self._schemes = schemes
        self._results = results

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        status, body = 0, b""

        async def listening(message: Message) -> None:
            nonlocal status, body
            status = message.get("status", status)
            body += message.get("body", b"")
            await send(message)

        await self._app(scope, receive, listening)
        name = scope["path"].removeprefix(PREFIX)
        # What nobody set up is one series, however many names are tried.
        repository = name if name in self._schemes else ""
        is_again = status == HTTPStatus.ACCEPTED and _REPEATED in body
        result = "repeated" if is_again else _RESULTS.get(status, "other")
        scheme = self._schemes.get(repository, "")
        self._results.labels(repository=repository, scheme=scheme, result=result).inc()


class CountedRequests:
    """Counts requests by the template of their route (ASGI)."""

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute], requests: Counter) -> None:
        """Stand before `app`, which has these routes. `requests` has the labels route, method and status."""
        self._app = app
        self._requests = requests
        # A route that was included in another one knows only its own part of the path (FastAPI 0.165).
        self._templates = {
            context.endpoint or getattr(context.route, "app", None): context.path
            for context in iter_route_contexts(routes)
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        status = ""

        async def listening(message: Message) -> None:
            nonlocal status
            status = str(message.get("status", status))
            await send(message)

        try:
            await self._app(scope, receive, listening)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            # What met no route, or was refused before one was looked for, has no template.
            route = self._templates.get(scope.get("endpoint"), "")
            self._requests.labels(route=route, method=method, status=status).inc()
