"""The pages about the daemon itself: what `doctor` finds, the settings in effect, the four numbers.

Owns their addresses. Must not check or count anything. Invariant: they read, and change nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from deployer.web.access import Right, caller, needs
from deployer.web.pages.problems import route_class

if TYPE_CHECKING:
    from deployer.web.pages.parts import Parts

PERIODS = (7, 30, 90, 365)
"""Days that the page offers."""


def router(parts: Parts) -> APIRouter:
    """The routes. Settings and findings need the right to administer all environments, as in the API."""
    router = APIRouter(
        redirect_slashes=False,
        include_in_schema=False,
        route_class=route_class(parts.render),
        default_response_class=HTMLResponse,
    )
    models, render = parts.site.models, parts.render

    @router.get("/doctor", dependencies=[needs(Right.ADMINISTER, everywhere=True)])
    def doctor(request: Request) -> HTMLResponse:
        return render.page(
            request,
            "doctor.html",
            title="Doctor",
            found=models.doctor(),
            outbox=parts.site.outbox.listed(),
        )

    @router.get("/settings", dependencies=[needs(Right.ADMINISTER, everywhere=True)])
    def settings(request: Request) -> HTMLResponse:
        return render.page(request, "settings.html", title="Settings", items=models.settings())

    @router.get("/stats", dependencies=[needs(Right.READ)])
    def stats(request: Request, days: Annotated[int, Query(ge=1, le=3650)] = 30) -> HTMLResponse:
        items = models.stats(environments=caller(request).environments, environment=None, days=days)
        return render.page(request, "stats.html", title="Stats", items=items, days=days, periods=PERIODS)

    return router
