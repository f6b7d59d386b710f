"""Faces that show nothing: for what stands beside the API and the pages."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from deployer.web import problems

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """404 for everything (ASGI)."""
    await problems.response(HTTPStatus.NOT_FOUND, "There is nothing here.")(scope, receive, send)
