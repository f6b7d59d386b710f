"""The pages: for people, made of the read models and the commands, without any of their own.

`router(site)` has all of their routes, those of `/static/` and of the streams; `sign_in` renders the page of
that name for its route, and `error_page` one for an error that is met outside of these routes.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import APIRouter

from deployer.web.pages import actions, assets, daemon, environments, lists, promotion, rollouts, streams
from deployer.web.pages.fragments import Fragments
from deployer.web.pages.parts import Parts
from deployer.web.pages.problems import error_page
from deployer.web.pages.render import NAVIGATION, Renderer

if TYPE_CHECKING:
    from fastapi import Request
    from fastapi.responses import HTMLResponse

    from deployer.web.site import Site

__all__ = ["NAVIGATION", "Renderer", "error_page", "router", "sign_in"]


def router(site: Site, render: Renderer) -> APIRouter:
    """Every route of the pages. Each has its rule."""
    parts = Parts(site=site, render=render, fragments=Fragments(render, site.models, site.hub))
    router = APIRouter(redirect_slashes=False)
    for one in (environments, streams, actions, promotion, rollouts, lists, daemon):
        router.include_router(one.router(parts))
    router.include_router(assets.router())
    return router


def sign_in(
    render: Renderer, request: Request, *, next_page: str, error: str = "", was_cross_site: bool = False
) -> HTMLResponse:
    """The page with the one field. `error` is a sentence: why the last try was not taken."""
    status = HTTPStatus.UNAUTHORIZED if error else HTTPStatus.OK
    return render.page(
        request,
        "sign_in.html",
        status=status,
        title="Sign in",
        next=next_page,
        error=error,
        was_cross_site=was_cross_site,
    )
