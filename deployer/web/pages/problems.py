"""Errors as pages: what happened, and what to do next.

Owns which error becomes which page. Must not decide what is an error. Invariant: a page never answers a
person with JSON, and never quotes the request.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from deployer.adapters.store import StoreError
from deployer.core.redact import one_line
from deployer.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Request
    from fastapi.responses import HTMLResponse, Response

    from deployer.web.pages.render import Renderer

_NEXT = {
    HTTPStatus.UNAUTHORIZED: "Sign in, and try again.",
    HTTPStatus.FORBIDDEN: "Sign in with a token that may do this; `deployer token create` makes one.",
    HTTPStatus.NOT_FOUND: "All environments are on the first page; older rollouts are in the history.",
    HTTPStatus.CONFLICT: "Nothing was done. Look at the environment, then decide.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Go back and correct it. Nothing was done.",
    HTTPStatus.BAD_GATEWAY: "Try again in a moment; `deployer doctor` tells whether the cluster answers.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Try again in a moment. What runs on the clusters goes on running.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "The daemon's log has the details.",
}


class Said(NamedTuple):
    """What is said of an error."""

    status: HTTPStatus
    detail: str


def error_page(render: Renderer, request: Request, status: HTTPStatus, detail: str) -> HTMLResponse:
    """The page for an error, also for those that the application meets outside of these routes."""
    return render.page(
        request,
        "error.html",
        status=status,
        title=status.phrase,
        number=status.value,
        detail=detail,
        next_step=_NEXT.get(status, "Go to the first page, and try again from there."),
    )


def said(error: Exception) -> Said | None:
    """What is said of it; None for one that is a bug."""
    match error:
        case Problem():
            return Said(error.status, error.detail)
        case StoreError():
            return Said(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        case RequestValidationError():
            first = error.errors()[0]
            place = ".".join(one_line(str(part)) for part in first["loc"][1:])
            return Said(HTTPStatus.UNPROCESSABLE_ENTITY, f"{place or 'The request'}: {first['msg']}.")
        case HTTPException():
            status = HTTPStatus(error.status_code)
            return Said(status, f"{status.description or status.phrase}.")
        case _:
            return None


def route_class(render: Renderer) -> type[APIRoute]:
    """Routes whose errors are pages."""

    class PageRoute(APIRoute):
        """A route for people."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """FastAPI's own, with pages for errors."""
            handle = super().get_route_handler()

            async def told(request: Request) -> Response:
                try:
                    return await handle(request)
                except Exception as error:
                    answer = said(error)
                    if answer is None:
                        raise
                    return error_page(render, request, answer.status, answer.detail)

            return told

    return PageRoute
