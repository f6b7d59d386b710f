"""Signing in with a browser: a page with one field takes a token, and a session comes back as a cookie.

Owns the two forms, and where one may go afterwards. Must not know what a session lets anybody do, nor how
the page looks. Invariant: nobody is sent anywhere but to a path of this daemon, and the token that was typed
is in no answer.
"""

from __future__ import annotations

import html
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from deployer.web.access import open_to_all
from deployer.web.callers import Refused, no_cookie, peer
from deployer.web.guard import too_many
from deployer.web.origins import is_loopback
from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from deployer.web.guard import Door

PATH = "/sign-in"

_FORM_BYTES = 8_192
"""A token and a path."""

_FIELDS = 8

_NEXT = re.compile(r"/(?![/\\])[!-\[\]-~]*")
"""A path of ours: visible ASCII without a backslash, which browsers read as a slash; and not `//`, after
which a host would stand. Nor what they leave out before they read (tab, line break) and so turn into that."""

_LONGEST_NEXT = 2_000

_OVER_HTTP = (
    "Browsers keep nobody signed in over http, but on this machine: use the https address of this daemon."
)


class Page(Protocol):
    """Makes the page: with where to go on, and the sentence for what went wrong.

    `was_cross_site`: somebody followed a link of another site, so a session that the browser may have does
    not count. When a link of this page is followed it does.
    """

    def __call__(
        self, request: Request, /, *, next_page: str, error: str = "", was_cross_site: bool = False
    ) -> Response:
        """The page; it holds nothing else that was sent."""


def plain_page(
    _request: Request, *, next_page: str, error: str = "", was_cross_site: bool = False
) -> Response:
    """The page without templates."""
    then = html.escape(next_page)
    onward = f'<p><a href="{then}">Go on</a> if you have signed in.</p>' if was_cross_site else ""
    alert = f'<p role="alert">{html.escape(error)}</p>' if error else ""
    return HTMLResponse(
        '<!doctype html><html lang="en"><title>Sign in - deployer</title><main><h1>Sign in</h1>'
        f'{onward}{alert}<form method="post" action="{PATH}">'
        f'<input type="hidden" name="next" value="{then}">'
        '<p><label>Token <input type="password" name="token" required></label>'
        "<p><button>Sign in</button></form></main></html>"
    )


def router(door: Door, page: Page = plain_page) -> APIRouter:
    """The routes, open to all: who signs in has nothing to show yet."""
    router = APIRouter(redirect_slashes=False, dependencies=[open_to_all()], include_in_schema=False)

    @router.get(PATH)
    async def sign_in_page(request: Request) -> Response:
        then = safe_next(request.query_params.get("next", "/"))
        was_cross_site = request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}
        return page(request, next_page=then, was_cross_site=was_cross_site)

    @router.post(PATH)
    async def sign_in(request: Request) -> Response:
        form = await _form(request)
        then = safe_next(form.get("next", "/"))
        found = door.callers.of_secret(form.get("token", "").strip())
        if isinstance(found, Refused):
            address = str(peer(request.scope))
            door.refusals.add(address, found.why)
            seconds = door.attempts.failed(address)
            return too_many(seconds) if seconds is not None else _again(page, request, then, found.why)
        if not _keeps_cookies(request):
            return _again(page, request, then, _OVER_HTTP)
        return _go(then, door.callers.cookie(found))

    @router.post("/sign-out")
    async def sign_out() -> Response:
        return _go(PATH, no_cookie())

    return router


def safe_next(text: str) -> str:
    """The same path if it is one of ours, else that of the first page."""
    is_ours = len(text) <= _LONGEST_NEXT and _NEXT.fullmatch(text) is not None
    return text if is_ours and not text.startswith(PATH) else "/"


async def _form(request: Request) -> dict[str, str]:
    """The fields that were sent. Raises Problem for what no form of ours sends."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        detail = "Send the form of the page: application/x-www-form-urlencoded."
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, exit_code=USAGE)
    # The guard has looked at the length before anything was read.
    body = await request.body()
    if len(body) > _FORM_BYTES:
        detail = f"This form has up to {_FORM_BYTES} bytes."
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, exit_code=USAGE)
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS)
    except ValueError:
        detail = "This is no form of this page: open it again, and paste your token."
        raise Problem(HTTPStatus.BAD_REQUEST, detail, exit_code=USAGE) from None
    return {name: values[-1] for name, values in fields.items()}


def _keeps_cookies(request: Request) -> bool:
    """Whether the browser takes the cookie. Its `Origin` says how it speaks to us, also through a proxy."""
    scheme, _, host = request.headers.get("origin", "").lower().rpartition("://")
    return scheme != "http" or is_loopback(host)


def _again(page: Page, request: Request, then: str, error: str) -> Response:
    answer = page(request, next_page=then, error=error)
    answer.status_code = HTTPStatus.UNAUTHORIZED
    return answer


def _go(where: str, cookie: str) -> Response:
    headers = {"Location": where, "Set-Cookie": cookie, "Cache-Control": "no-store"}
    return Response(status_code=HTTPStatus.SEE_OTHER, headers=headers)
