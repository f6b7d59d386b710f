"""The first page, an environment's own, and its plan.

Owns these addresses. Must not judge anything: that is `shown`. Invariant: they read, and change nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse

from deployer.web.access import Right, caller, needs
from deployer.web.pages import shown, streams
from deployer.web.pages.problems import route_class

if TYPE_CHECKING:
    from deployer.web.pages.parts import Parts

Environment = Annotated[str, Path(max_length=200)]
Text = Annotated[str, Query(max_length=200)]


def router(parts: Parts) -> APIRouter:
    """The routes; each needs the right to read."""
    router = APIRouter(
        redirect_slashes=False,
        include_in_schema=False,
        route_class=route_class(parts.render),
        default_response_class=HTMLResponse,
    )
    site, render, fragments = parts.site, parts.render, parts.fragments

    @router.get("/", dependencies=[needs(Right.READ)])
    def environments(request: Request, q: Text = "") -> HTMLResponse:
        names = parts.visible(request)
        # Before the look: what changes meanwhile is sent by the stream.
        seen = streams.cursor(site.hub)
        found = fragments.rows(names)
        html = {one.row.name: one.html for one in found}
        matching = shown.matching([one.row for one in found], q)
        return render.page(
            request,
            "environments.html",
            title="Environments",
            summary=fragments.summary(found),
            rows=render.fresh("".join(html[one.name] for one in shown.ordered(matching))),
            total=len(found),
            query=q,
            stream=f"/live?seen={seen}",
        )

    @router.get("/env/{environment}", dependencies=[needs(Right.READ, environment=True)])
    def environment(request: Request, environment: Environment, said: Text = "") -> HTMLResponse:
        name = site.known(environment)
        seen = streams.cursor(site.hub)
        one = caller(request)
        may_deploy = one.may(Right.DEPLOY, name)
        return render.page(
            request,
            "environment.html",
            title=name,
            name=name,
            part=fragments.environment(name, may_deploy=may_deploy, visible=one.environments),
            notice=parts.notices.take(said),
            stream=f"/env/{name}/live?seen={seen}",
        )

    @router.get("/env/{environment}/plan", dependencies=[needs(Right.READ, environment=True)])
    def plan(request: Request, environment: Environment, to: Text = "") -> HTMLResponse:
        name = site.known(environment)
        found = site.models.plan(name, to=to or None, visible=caller(request).environments)
        title = f"Way back of {name}" if to else f"Plan of {name}"
        return render.page(request, "plan.html", title=title, name=name, plan=found, to=to)

    return router
