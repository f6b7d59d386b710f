"""The audit log as it grows: server-sent events, resumable.

Owns the stream. Must not know what an event means. Invariant: whoever connects again with the id of the
last event gets every later one, once each and in order, also over a restart of the daemon: they come from
the store, and the hub only says when to look.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from deployer.web import streaming
from deployer.web.access import Right, caller, needs
from deployer.web.cache import Cache, Ended
from deployer.web.lanes import BEGINNINGS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from deployer.web.site import Site

_BATCH = 200
"""Events read at a time."""

_KEPT = 16
"""Batches: those at the end of the log all want the same one."""

_Batch: TypeAlias = tuple[bytes, str, bool]
"""The next events, the id of the last one, and whether there may be more."""

_LAST_ID = r"^[0-9]{1,18}$"

_BEAT = b": nothing new\n\n"
"""A comment: programs get no event of it."""


def router(site: Site) -> APIRouter:
    """The one route. It needs the right to read."""
    router = APIRouter(redirect_slashes=False)
    batches: Cache[_Batch] = Cache(_KEPT)

    @router.get(
        "/events",
        dependencies=[needs(Right.READ)],
        tags=["audit"],
        response_class=StreamingResponse,
        responses={
            200: {
                "content": {streaming.MEDIA_TYPE: {}},
                "description": "Items of /audit, as they are written.",
            }
        },
    )
    async def events(
        request: Request,
        environment: Annotated[str | None, Query(max_length=200)] = None,
        after: Annotated[str | None, Query(pattern=_LAST_ID)] = None,
        last_event_id: Annotated[str | None, Header(pattern=_LAST_ID)] = None,
    ) -> StreamingResponse:
        """The audit log from now on; from `after`, or the header `Last-Event-ID`, if one is given."""
        since = last_event_id or after
        texts = _texts(site, batches, caller(request).environments, environment, since)
        return streaming.response(streaming.beating(texts, _BEAT))

    return router


async def _texts(
    site: Site,
    batches: Cache[_Batch],
    visible: frozenset[str] | None,
    environment: str | None,
    since: str | None,
) -> AsyncGenerator[bytes, None]:
    """What is written, some events at a time; b"" where there is nothing."""
    wanted = visible
    if environment is not None:
        wanted = frozenset({environment} if visible is None else visible & {environment})
    # Before the first read, so that nothing falls between the two.
    subscription = site.hub.subscribe(wanted, only_events=True)

    def newest() -> str:
        items = site.models.audit(environments=None, limit=1)["items"]
        return str(items[0]["id"]) if items else "0"

    def batch(after: str) -> _Batch:
        page = site.models.audit(environments=visible, environment=environment, after=after, limit=_BATCH)
        items = page["items"]
        last = str(items[-1]["id"]) if items else after
        return "".join(map(_message, items)).encode(), last, len(items) == _BATCH

    try:
        place = await BEGINNINGS.run(newest) if since is None else since
        # A first line at once: the client knows that it is connected, and how soon to come again (ms).
        yield b"retry: 2000\n\n"
        while True:
            # One text: where the client has left, the server learns of it before the next one, while asyncio
            # logs a warning for each write from the fifth on. And it is all that a slow reader costs.
            asked = (visible, environment, place)
            try:
                text, place, is_more = await batches.soon(asked, site.hub.events, partial(batch, place))
            except Ended:
                return
            yield text
            if not is_more and await subscription.changes(within=streaming.QUIET_SECONDS) is None:
                return
    finally:
        site.hub.unsubscribe(subscription)


def _message(item: dict[str, Any]) -> str:
    """One event. JSON has no line breaks of its own, so one `data` line holds it."""
    return f"id: {item['id']}\nevent: {item['type']}\ndata: {json.dumps(item, ensure_ascii=True)}\n\n"
