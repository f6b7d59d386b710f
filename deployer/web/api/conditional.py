"""Reads that need not be sent again: an entity tag on every answer, and 304 for who has it already.

Owns the tag, and that nothing is asked for that is not there. Must not know what is read. Invariant: the tag
is that of the bytes, so two answers with one tag are the same; and a parameter that no route has is refused.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Header
from fastapi.responses import Response
from fastapi.routing import APIRoute

from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fastapi import Request

_TAG_CHARACTERS = 32
"""128 bits of the digest: no two answers of one address are the same by accident."""


NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "It is still what If-None-Match says."}}


async def header(
    tags: Annotated[
        str | None, Header(alias="If-None-Match", description="The ETag of the answer that you have.")
    ] = None,
) -> None:
    """Declare the header, for who reads the description of the API. It is obeyed by the route."""


class Conditional(APIRoute):
    """A route whose answers to GET have an ETag (RFC 9110, 8.8.3), and which obeys If-None-Match."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's own, with the tag."""
        handle = super().get_route_handler()
        known = frozenset(one.alias for one in self.dependant.query_params)

        async def tagged(request: Request) -> Response:
            if not known.issuperset(request.query_params):
                # A filter with a slip in its name would find everything.
                detail = f"There is no such parameter. There are: {', '.join(sorted(known)) or 'none'}."
                raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, exit_code=USAGE)
            response = await handle(request)
            body = getattr(response, "body", None)
            if (
                request.method != "GET"
                or response.status_code != HTTPStatus.OK
                or not isinstance(body, bytes)
            ):
                return response
            tag = f'"{hashlib.sha256(body).hexdigest()[:_TAG_CHARACTERS]}"'
            if tag in _tags(request.headers.get("if-none-match", "")):
                return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"ETag": tag})
            response.headers["ETag"] = tag
            return response

        return tagged


def _tags(header: str) -> set[str]:
    """The tags that the client has. A weak one is as good: the comparison for GET is the weak one."""
    return {one.strip().removeprefix("W/") for one in header.split(",")}
