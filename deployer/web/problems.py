"""What the API answers when it does not do what was asked: RFC 9457 problems, with an exit code.

Owns their shape and how errors become one. Must not decide what is an error. Invariant: a problem never
quotes the request, which may hold anything.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from deployer.adapters.store import StoreError
from deployer.core.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

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


class _ProblemResponse(JSONResponse):
    media_type = "application/problem+json"


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


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""

    async def ours(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)  # noqa: S101 - for mypy: registered for nothing else
        return response(error.status, error.detail, error.exit_code)

    async def store(_request: Request, error: Exception) -> JSONResponse:
        return response(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - for mypy, as above
        return response(HTTPStatus.UNPROCESSABLE_ENTITY, _what_is_invalid(error), USAGE)

    async def http(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)  # noqa: S101 - for mypy, as above
        status = HTTPStatus(error.status_code)
        return response(status, f"{status.description or status.phrase}.", USAGE, error.headers)

    async def bug(_request: Request, error: Exception) -> JSONResponse:
        detail = f"deployer itself failed ({type(error).__name__}): a bug. The daemon's log has the details."
        return response(HTTPStatus.INTERNAL_SERVER_ERROR, detail)

    app.add_exception_handler(Problem, ours)
    app.add_exception_handler(StoreError, store)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, bug)


def _what_is_invalid(error: RequestValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(one_line(str(part)) for part in first["loc"] if part != "body")
    return f"{place or 'the request'}: {first['msg']}."
