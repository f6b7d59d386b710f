"""A rollout's page.

Owns its address. Must not decide anything. Invariant: who may not see the environment does not learn whether
there is such a rollout.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from deployer.web.access import Right, caller, needs
from deployer.web.pages import streams
from deployer.web.pages.problems import route_class
from deployer.web.pages.render import rollout_path
from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from deployer.web.pages.parts import Parts


def router(parts: Parts) -> APIRouter:
    """The one route; it needs the right to read."""
    router = APIRouter(
        redirect_slashes=False,
        include_in_schema=False,
        route_class=route_class(parts.render),
        default_response_class=HTMLResponse,
    )
    render, fragments = parts.render, parts.fragments

    @router.get("/rollouts/{rollout}", dependencies=[needs(Right.READ)])
    def rollout(request: Request, rollout: Annotated[str, Path(max_length=200)]) -> HTMLResponse:
        name = parts.environment_of(request, rollout)
        seen = streams.cursor(parts.site.hub)
        part = fragments.rollout(rollout, may_deploy=caller(request).may(Right.DEPLOY, name))
        if part is None:
            detail = f"{name} has no such rollout. Its history has them all."
            raise Problem(HTTPStatus.NOT_FOUND, detail, exit_code=USAGE)
        return render.page(
            request,
            "rollout.html",
            title=rollout,
            name=name,
            part=part,
            stream=f"{rollout_path(rollout)}/live?seen={seen}",
        )

    return router
