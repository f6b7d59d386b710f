"""The streams of the pages: `/live`, `/env/<name>/live`, `/rollouts/<id>/live` (server-sent events).

Owns which part is sent to whom. Must not render anything itself, nor say when (`hub`). Invariant: on connect
all is sent that changed since the page was made, and to a page of another start the whole present, so that
after any gap (a sleeping laptop, a restart of the daemon) the page is right again; what could not be told is
told as soon as it can; a slow listener costs a name in a set; the response ends with the subscription, and
that with the daemon.

Each part is an `<hx-partial>`: it names its own target, and the element that listens swaps nothing itself
(`hx-swap="none"`). So an answer that is no stream, such as a problem in JSON or the sign-in page, changes
nothing on the page. By itself htmx 4 would swap those in.
"""

from __future__ import annotations

import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response

from deployer.adapters.store import StoreError
from deployer.web import streaming
from deployer.web.access import Right, caller, needs
from deployer.web.cache import Cache, Ended
from deployer.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from deployer.web.hub import Hub
    from deployer.web.pages.fragments import Fragments
    from deployer.web.pages.parts import Parts
    from deployer.web.pages.render import Renderer

BEAT = b"event: beat\ndata: 1\n\n"

_MESSAGES = 16
"""Kept. With 500 environments that of the whole present has a megabyte."""

_PASSING = (StoreError, Problem)
"""The store or the read models cannot tell just now. The page keeps what it has, and is told later."""

_INSTANCE = secrets.token_hex(4)
"""Versions begin anew with each start of the daemon, so a cursor is of one start."""

Cursor = Annotated[str | None, Query(max_length=100)]
LastEventId = Annotated[str | None, Header(max_length=100)]


def router(parts: Parts) -> APIRouter:
    """The three routes. They answer anything but a stream as the API does, in JSON: no person reads it."""
    router = APIRouter(redirect_slashes=False, include_in_schema=False)
    site, fragments = parts.site, parts.fragments
    messages = Messages(parts.render, fragments)

    @router.get("/live", dependencies=[needs(Right.READ)])
    async def live(request: Request, seen: Cursor = None, last_event_id: LastEventId = None) -> Response:
        names = parts.visible(request)
        return streaming.response(_rows(site.hub, messages, names, last_event_id or seen))

    @router.get("/env/{environment}/live", dependencies=[needs(Right.READ, environment=True)])
    async def environment_live(
        request: Request,
        environment: Annotated[str, Path(max_length=200)],
        seen: Cursor = None,
        last_event_id: LastEventId = None,
    ) -> Response:
        name = site.known(environment)
        one = caller(request)
        may_deploy = one.may(Right.DEPLOY, name)

        async def render() -> str:
            return await fragments.environment_soon(name, may_deploy=may_deploy, visible=one.environments)

        return streaming.response(
            _part(site.hub, messages, name, "#environment", render, last_event_id or seen)
        )

    @router.get("/rollouts/{rollout}/live", dependencies=[needs(Right.READ)])
    async def rollout_live(
        request: Request,
        rollout: Annotated[str, Path(max_length=200)],
        seen: Cursor = None,
        last_event_id: LastEventId = None,
    ) -> Response:
        name = parts.environment_of(request, rollout)
        may_deploy = caller(request).may(Right.DEPLOY, name)

        async def render() -> str:
            return await fragments.rollout_soon(rollout, may_deploy=may_deploy) or ""

        if not await render():
            raise Problem(HTTPStatus.NOT_FOUND, "There is no such rollout.")
        return streaming.response(_part(site.hub, messages, name, "#rollout", render, last_event_id or seen))

    return router


class Messages:
    """What is sent, each made once for everybody who is sent the same."""

    def __init__(self, render: Renderer, fragments: Fragments) -> None:
        """None yet."""
        self._render = render
        self._fragments = fragments
        self._made: Cache[bytes] = Cache(_MESSAGES)

    async def rows(self, names: tuple[str, ...], changed: frozenset[str], identity: str) -> bytes:
        """Of the first page: the rows of what changed, and the summary of all."""

        def make() -> bytes:
            rows = self._fragments.rows(names)
            html = [partial("#summary", self._fragments.summary(rows))]
            html += [partial(f"#env-{one.row.name}", one.html) for one in rows if one.row.name in changed]
            return message(self._render.fresh("".join(html)), identity)

        return await self._made.soon((names, changed), identity, make)

    def part(self, target: str, html: str, identity: str) -> bytes:
        """Of any other page: its one part."""
        return self._made.get((target, html), identity, lambda: message(partial(target, html), identity))


def cursor(hub: Hub) -> str:
    """What a page gives to its stream: of which present it is. To be asked for before that is read."""
    return _cursor(hub.number)


def partial(target: str, html: str) -> str:
    """A part with where it goes. Morphed in: what is open, focused or being typed stays."""
    return f'<hx-partial hx-target="{target}" hx-swap="outerMorph">{html}</hx-partial>'


def message(html: str, identity: str) -> bytes:
    """One message of a stream."""
    data = "".join(f"data: {line}\n" for line in html.splitlines())
    # Texts are plain, so there is no half of a character in them.
    return f"id: {identity}\n{data}\n".encode()


def _cursor(number: int) -> str:
    return f"{_INSTANCE}.{number}"


def _missed(hub: Hub, names: tuple[str, ...], seen: str | None) -> tuple[str, ...]:
    """What changed since a cursor; all, if that is of another start, or none."""
    instance, _, number = (seen or "").partition(".")
    if instance != _INSTANCE or not number.isdecimal():
        return names
    return tuple(name for name in names if hub.version(name) > int(number))


def _rows(
    hub: Hub,
    messages: Messages,
    names: tuple[str, ...],
    seen: str | None,
    *,
    quiet: float = streaming.QUIET_SECONDS,
) -> AsyncIterator[bytes]:
    async def text(changed: tuple[str, ...]) -> bytes:
        return await messages.rows(names, frozenset(changed), _cursor(hub.told))

    return streaming.beating(_texts(hub, names, seen, text, quiet=quiet), BEAT, quiet=quiet)


def _part(
    hub: Hub,
    messages: Messages,
    name: str,
    target: str,
    render: Callable[[], Awaitable[str]],
    seen: str | None,
    *,
    quiet: float = streaming.QUIET_SECONDS,
) -> AsyncIterator[bytes]:
    told = ""

    async def text(_changed: tuple[str, ...]) -> bytes:
        nonlocal told
        identity = _cursor(hub.told)
        html = await render()
        if html == told:
            return b""
        told = html
        return messages.part(target, html, identity)

    return streaming.beating(_texts(hub, (name,), seen, text, quiet=quiet), BEAT, quiet=quiet)


async def _texts(
    hub: Hub,
    names: tuple[str, ...],
    seen: str | None,
    text: Callable[[tuple[str, ...]], Awaitable[bytes]],
    *,
    quiet: float,
) -> AsyncGenerator[bytes, None]:
    """What `text` makes of what a page with `seen` lacks, then of each change; b"" where there is nothing."""
    # Before the first look, so that no change falls between the two.
    subscription = hub.subscribe(names)
    try:
        owed = _missed(hub, names, seen)
        yield b""
        while True:
            made = b""
            if owed:
                try:
                    made = await text(owed)
                    owed = ()
                except Ended:
                    return
                except _PASSING:
                    pass
            yield made
            changed = await subscription.changes(within=quiet)
            if changed is None:
                return
            owed = tuple({**dict.fromkeys(owed), **dict.fromkeys(changed)})
    finally:
        hub.unsubscribe(subscription)
