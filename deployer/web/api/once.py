"""Writes that may be sent twice and are carried out once: the header `Idempotency-Key`.

Owns what a repeated request gets. Must not know what is asked. Invariant: of the requests with one key of
one caller, one is carried out, and each later one within 24 hours gets the same answer; but for a daemon
that ended between the two, where the command itself is there to ask again: each of them says that it has
been done already.
"""

from __future__ import annotations

import hashlib
import re
import threading
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import Header
from fastapi.responses import Response
from fastapi.routing import APIRoute

from deployer.adapters.store import StoreError
from deployer.adapters.store.answers import Kept
from deployer.web.access import caller
from deployer.web.lanes import ANSWERS
from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Request

    from deployer.adapters.store.answers import Answers

HEADER = "Idempotency-Key"

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
"""Visible ASCII: the draft (draft-ietf-httpapi-idempotency-key-header) allows any string; a UUID is usual."""

_SERVER_ERROR = 500

log = structlog.get_logger(__name__)


async def header(
    key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            description="A request with the same key is carried out once, within 24 hours.",
            json_schema_extra={"pattern": f"^{_KEY.pattern}$"},
        ),
    ] = None,
) -> None:
    """Declare the header, for who reads the description of the API. It is obeyed by the route."""


def route_class(answers: Answers | None) -> type[APIRoute]:
    """A route that keeps its answers there. None is for a table of routes that nobody calls."""
    under_way: set[tuple[str, str]] = set()
    lock = threading.Lock()

    class Once(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def once(request: Request) -> Response:
                key = request.headers.get(HEADER)
                if key is None or request.method == "GET" or answers is None:
                    return await handle(request)
                return await _once(request, key, handle, answers)

            return once

    async def _once(
        request: Request,
        key: str,
        handle: Callable[[Request], Coroutine[Any, Any, Response]],
        answers: Answers,
    ) -> Response:
        if _KEY.fullmatch(key) is None:
            detail = f"{HEADER}: 1 to 255 visible ASCII characters, such as a UUID."
            raise Problem(HTTPStatus.BAD_REQUEST, detail, exit_code=USAGE)
        who = _who(request)
        asked = await _digest(request)
        with lock:
            is_first = (key, who) not in under_way
            under_way.add((key, who))
        if not is_first:
            detail = "The first request with this Idempotency-Key is still being carried out: try again."
            raise Problem(HTTPStatus.CONFLICT, detail)
        try:
            kept = await ANSWERS.run(answers.find, key, who)
            if kept is not None:
                return _again(kept, asked)
            response = await handle(request)
            if response.status_code < _SERVER_ERROR:
                answer = Kept(request=asked, status=response.status_code, body=bytes(response.body).decode())
                try:
                    await ANSWERS.run(answers.keep, key, who, answer, datetime.now(UTC))
                except StoreError as error:
                    # What was asked has been done, and that is the answer. A repeat finds it done.
                    log.warning("answer_not_kept", error=str(error))
            return response
        finally:
            with lock:
                under_way.discard((key, who))

    return Once


def _again(kept: Kept, asked: str) -> Response:
    if kept.request != asked:
        detail = (
            "This Idempotency-Key came with another request before. A key is for one request and its repeats:"
            " make a new one."
        )
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, exit_code=USAGE)
    return Response(
        content=kept.body,
        status_code=kept.status,
        media_type="application/json",
        headers={"Idempotency-Replayed": "true"},
    )


def _who(request: Request) -> str:
    """Whose key it is. Two people may choose the same one."""
    one = caller(request)
    return f"{one.how}:{one.token or one.name}"


async def _digest(request: Request) -> str:
    digest = hashlib.sha256()
    for part in (request.method.encode(), str(request.url.path).encode(), await request.body()):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
