"""What is promoted, and what waits for approvals: the two pages, and what is done from them.

Owns their addresses and forms. Must not decide what may be promoted or approved: that is the service, as for
the API. Invariant: a GET changes nothing (it asks for a dry run); what is approved or promoted is what was
shown, by its digest or its commit, and the answer to a POST is a redirect.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from deployer.web.access import Right, caller, needs
from deployer.web.api.writes import login
from deployer.web.pages.actions import Fields, reason_of, who_of
from deployer.web.pages.problems import route_class
from deployer.web.pages.render import link
from deployer.web.problems import Problem

if TYPE_CHECKING:
    from deployer.web.pages.parts import Parts

Environment = Annotated[str, Path(max_length=200)]
Text = Annotated[str, Query(max_length=200)]

_MAY_DEPLOY = [needs(Right.DEPLOY, environment=True)]
_MAY_APPROVE = [needs(Right.APPROVE, environment=True)]
_MAY_READ = [needs(Right.READ)]


def router(parts: Parts) -> APIRouter:
    """The routes, each with its rule."""
    router = APIRouter(redirect_slashes=False, include_in_schema=False, route_class=route_class(parts.render))
    _promotions(router, parts)
    _approvals(router, parts)
    return router


def _promotions(router: APIRouter, parts: Parts) -> None:
    promotions, render = parts.site.promotions, parts.render

    @router.get("/promotions", dependencies=_MAY_READ)
    def lanes(request: Request, said: Text = "") -> HTMLResponse:
        one = caller(request)
        found = promotions.lanes(one.environments)
        return render.page(
            request,
            "promotions.html",
            title="Promotions",
            lanes=found,
            may_promote=[lane["target"] for lane in found if one.may(Right.DEPLOY, lane["target"])],
            notice=parts.notices.take(said),
        )

    @router.get("/env/{environment}/promote", dependencies=_MAY_DEPLOY)
    def asked(
        request: Request, environment: Environment, source: Text = "", release: Text = ""
    ) -> HTMLResponse:
        one = caller(request)
        answer, lane = promotions.asked(
            environment, source=source or None, release=release or None, caller=one, actor=who_of(request)
        )
        hidden = {"source": answer["source"], "release": answer["target"]["revision"]}
        return render.page(
            request,
            "confirm.html",
            title=f"Promotion to {environment}",
            name=environment,
            action="promote",
            asked=answer,
            lane=lane,
            hidden=hidden,
        )

    @router.post("/env/{environment}/promote", dependencies=_MAY_DEPLOY)
    def promote(request: Request, environment: Environment, form: Fields) -> RedirectResponse:
        answer = promotions.promote(
            environment,
            source=form.get("source", "")[:200] or None,
            release=form.get("release", "")[:200] or None,
            caller=caller(request),
            actor=who_of(request),
            reason=reason_of(form),
            dry_run=False,
        )
        key = parts.notices.put(answer["message"])
        return RedirectResponse(link("/promotions", said=key), HTTPStatus.SEE_OTHER)


def _approvals(router: APIRouter, parts: Parts) -> None:
    service, models, render = parts.site.service, parts.site.models, parts.render

    @router.get("/approvals", dependencies=_MAY_READ)
    def approvals(request: Request, said: Text = "") -> HTMLResponse:
        items = [
            {
                **one,
                "waits_also": [name for name in one["closed"] if name != "approvals"],
                **may_say(request, one),
            }
            for one in models.approvals(caller(request).environments)
        ]
        notice = parts.notices.take(said)
        return render.page(request, "approvals.html", title="Approvals", items=items, notice=notice)

    def may_say(request: Request, one: dict[str, Any]) -> dict[str, Any]:
        """Whether the caller may approve it; and if not, though the role is the right one, why."""
        who, environment = caller(request), one["environment"]
        if not who.may(Right.APPROVE, environment):
            return {"may_say": False, "why_not": ""}
        try:
            service.approve(
                environment,
                plan=one["plan"],
                login=login(who),
                actor=who_of(request),
                reason="",
                dry_run=True,
            )
        except Problem as refused:
            return {"may_say": False, "why_not": refused.detail}
        return {"may_say": True, "why_not": ""}

    def say(request: Request, environment: str, form: dict[str, str], *, rejects: bool) -> RedirectResponse:
        answer = service.approve(
            environment,
            plan=form.get("plan", "")[:100],
            login=login(caller(request)),
            actor=who_of(request),
            reason=reason_of(form),
            dry_run=False,
            rejects=rejects,
        )
        return RedirectResponse(
            link("/approvals", said=parts.notices.put(answer["message"])), HTTPStatus.SEE_OTHER
        )

    @router.post("/env/{environment}/approve", dependencies=_MAY_APPROVE)
    def approve(request: Request, environment: Environment, form: Fields) -> RedirectResponse:
        return say(request, environment, form, rejects=False)

    @router.post("/env/{environment}/reject", dependencies=_MAY_APPROVE)
    def reject(request: Request, environment: Environment, form: Fields) -> RedirectResponse:
        return say(request, environment, form, rejects=True)
