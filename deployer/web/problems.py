"""What the API answers when it does not do what was asked: RFC 9457 problems, with an exit code.

Owns their shape and how errors become one. Must not decide what is an error. Invariant: a problem never
quotes the request, which may hold anything.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.routing import Match

from deployer.adapters.store import StoreError
from deployer.core.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fastapi import FastAPI, Request
    from fastapi.responses import Response

FAILED, USAGE = 1, 64
"""Exit codes of the command that gets the problem, as `deployer --help` lists them."""


class Problem(Exception):  # noqa: N818 - the name that RFC 9457 gives it
    """End a request with this. `detail` is for the person at the command line, with the next step."""

    def __init__(self, status: HTTPStatus, detail: str, *, exit_code: int = FAILED) -> None:
        """Take the HTTP status, the sentence, and the exit code of the command."""
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.exit_code = exit_code


class Unknown(Problem):
    """There is no environment of this name. Only who may see all of them is told which there are."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        """Take the name that was asked for, and those that there are."""
        detail = f"The daemon knows no environment '{one_line(name)}'."
        then = "`deployer status` shows those that you may see."
        super().__init__(HTTPStatus.NOT_FOUND, f"{detail} {then}", exit_code=USAGE)
        self.in_full = f"{detail} It has: {', '.join(known)}."


MEDIA_TYPE = "application/problem+json"


class Body(BaseModel):
    """What an error looks like (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    exit_code: int


SCHEMA = "Problem"
"""What `Body` is called in the description of the API."""

_CONTENT = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{SCHEMA}"}}}

RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "It was not done: `detail` says why.", "content": _CONTENT},
    503: {"description": "It cannot be done just now: try again.", "content": _CONTENT},
}
"""What any route may answer, as OpenAPI has it."""

NO_CLUSTER: dict[int | str, dict[str, Any]] = {
    502: {"description": "The cluster could not be asked.", "content": _CONTENT}
}
"""What a route answers too that looks at a cluster."""


NO_GIT: dict[int | str, dict[str, Any]] = {
    502: {"description": "Git could not be asked, so nothing was begun.", "content": _CONTENT}
}
"""What a route answers too that asks a git server."""


class _ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE


def response(
    status: HTTPStatus, detail: str, exit_code: int = FAILED, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    """The answer for a problem."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "exit_code": exit_code,
    }
    return _ProblemResponse(body, status_code=status.value, headers=dict(headers or {}))


class Page(Protocol):
    """Makes a page of an error."""

    def __call__(self, request: Request, status: HTTPStatus, detail: str, /) -> Response:
        """The page."""


class Refused(Protocol):
    """Keeps that somebody wanted what they have no right to."""

    async def __call__(self, request: Request, detail: str, /) -> None:
        """Keep it. Never raises."""


def install(app: FastAPI, page: Page | None = None, refused: Refused | None = None) -> None:
    """Make every error of the application a problem; for a person who met none of the routes, a page.

    `refused` is told of commands that somebody has no right to.
    """

    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)  # noqa: S101 - for mypy: registered for nothing else
        detail = error.detail
        if isinstance(error, Unknown) and request.scope["state"]["caller"].environments is None:
            detail = error.in_full
        if error.status is HTTPStatus.FORBIDDEN and refused is not None and request.method != "GET":
            await refused(request, detail)
        return response(error.status, detail, error.exit_code)

    async def store(_request: Request, error: Exception) -> JSONResponse:
        return response(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - for mypy, as above
        return response(HTTPStatus.UNPROCESSABLE_ENTITY, _what_is_invalid(error), USAGE)

    async def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - for mypy, as above
        status = HTTPStatus(error.status_code)
        detail = f"{status.description or status.phrase}."
        if page is not None and _is_a_person(request):
            return page(request, status, detail)
        headers = dict(error.headers or {})
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods(app, request))
        return response(status, detail, USAGE, headers)

    async def bug(request: Request, error: Exception) -> Response:
        detail = f"deployer itself failed ({type(error).__name__}): a bug. The daemon's log has the details."
        if page is not None and _is_a_person(request):
            return page(request, HTTPStatus.INTERNAL_SERVER_ERROR, detail)
        return response(HTTPStatus.INTERNAL_SERVER_ERROR, detail)

    app.add_exception_handler(Problem, ours)
    app.add_exception_handler(StoreError, store)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, bug)


def _methods(app: FastAPI, request: Request) -> list[str]:
    """What can be done at this address. Starlette tells of one route, and here each method has its own."""
    found = (at for at in iter_route_contexts(app.routes) if at.matches(request.scope)[0] is not Match.NONE)
    return sorted({method for at in found for method in at.methods or ()})


def _is_a_person(request: Request) -> bool:
    """Whether a browser asks, and for no part of the API."""
    accepted = request.headers.get("accept", "")
    return "text/html" in accepted and not request.url.path.startswith("/api/")


def _what_is_invalid(error: RequestValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(one_line(str(part)) for part in first["loc"] if part != "body")
    return f"{place or 'the request'}: {first['msg']}."
