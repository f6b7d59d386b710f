"""What a person may do on the pages: asked on a page that shows what would come of it, done by a POST.

Owns the forms' fields, and where one is led afterwards. Must not decide what may be done: that is the
service, as for the API. Invariant: a GET changes nothing (it asks the service for a dry run); a POST is
answered with 303, so that loading the page again does nothing again; where sync is manual, nothing is
deployed but what was shown; and that the plan cannot be made keeps nobody from a rescue.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import parse_qsl

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from deployer.adapters.store import StoreError
from deployer.core import consent, durations
from deployer.web.access import Right, caller, needs
from deployer.web.api.writes import actor
from deployer.web.pages.problems import route_class, said
from deployer.web.pages.render import link
from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from deployer.web.pages.parts import Parts

_FIELDS = 10
_REASON = 2_000
"""Characters, as in the API."""

PERIODS = (
    ("", "until somebody resumes it"),
    ("1h", "1 hour"),
    ("4h", "4 hours"),
    ("1d", "1 day"),
    ("7d", "7 days"),
)
"""For how long the page offers to pause; the field takes any other duration too."""

ASKING = "asked on a page"
"""The reason of a dry run: pauses and retries are refused without one, and the person has yet to write it."""

_MAY_DEPLOY = [needs(Right.DEPLOY, environment=True)]

_OPTION = re.compile(r" `--to` names [a-z ]+\.$")
"""Of the command line. On the page they stand beside the sentence."""

_FORM = "application/x-www-form-urlencoded"

Environment = Annotated[str, Path(max_length=200)]
Text = Annotated[str, Query(max_length=200)]


async def fields(request: Request) -> dict[str, str]:
    """The fields of a form, each with its last value. Raises Problem for what no form of ours sends.

    Read here rather than by Starlette, which needs one more library for it.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM:
        detail = f"This takes what a form sends: {_FORM}."
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, exit_code=USAGE)
    body = await request.body()
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict")
    except ValueError as error:
        detail = "The form could not be read: send it as UTF-8, with the fields of the page."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, exit_code=USAGE) from error
    return dict(pairs)


Fields = Annotated[dict[str, str], Depends(fields)]


def router(parts: Parts) -> APIRouter:
    """The routes; each needs the right to deploy."""
    router = APIRouter(
        redirect_slashes=False,
        include_in_schema=False,
        route_class=route_class(parts.render),
        prefix="/env/{environment}",
    )
    _asked(router, parts)
    _done(router, parts)
    return router


def _asked(router: APIRouter, parts: Parts) -> None:
    """The pages that ask."""
    service, models, render = parts.site.service, parts.site.models, parts.render

    def page(request: Request, environment: str, action: str, **context: Any) -> HTMLResponse:  # noqa: ANN401
        title = f"{context.pop('verb')} {environment}"
        return render.page(request, "confirm.html", title=title, name=environment, action=action, **context)

    def planned(request: Request, environment: str, to: str | None) -> tuple[dict[str, Any] | None, str]:
        """The plan, or why there is none."""
        try:
            return models.plan(environment, to=to, visible=caller(request).environments), ""
        except (Problem, StoreError) as error:
            told = said(error)
            return None, told.detail if told else ""

    @router.get("/rollback", dependencies=_MAY_DEPLOY)
    def rollback(request: Request, environment: Environment, to: Text = "") -> HTMLResponse:
        asked = service.rollback(environment, to=to or None, actor=who_of(request), reason="", dry_run=True)
        asked = {**asked, "message": _OPTION.sub(" Choose one of the good releases.", asked["message"])}
        target = asked["target"]
        plan, no_plan = planned(request, environment, target["digest"]) if asked["events"] else (None, "")
        return page(
            request,
            environment,
            "rollback",
            verb="Roll back",
            asked=asked,
            # The very digest that the page showed: what is newest may be another when it is sent.
            hidden={"to": target["digest"]} if target else {},
            plan=plan,
            no_plan=no_plan,
            releases=models.releases(environment, limit=20)["items"],
        )

    @router.get("/sync", dependencies=_MAY_DEPLOY)
    def sync(request: Request, environment: Environment) -> HTMLResponse:
        asked = service.sync(environment, actor=who_of(request), reason="", dry_run=True)
        plan, no_plan = planned(request, environment, None) if asked["events"] else (None, "")
        target = asked["target"]
        return page(
            request,
            environment,
            "sync",
            verb="Deploy to",
            asked=asked,
            hidden={"digest": target["digest"]} if target else {},
            plan=plan,
            no_plan=no_plan,
        )

    @router.get("/retry", dependencies=_MAY_DEPLOY)
    def retry(request: Request, environment: Environment) -> HTMLResponse:
        asked = service.retry(environment, actor=who_of(request), reason=ASKING, dry_run=True)
        plan, no_plan = planned(request, environment, None) if asked["events"] else (None, "")
        return page(
            request, environment, "retry", verb="Retry", asked=asked, plan=plan, no_plan=no_plan, hidden={}
        )

    @router.get("/pause", dependencies=_MAY_DEPLOY)
    def pause(request: Request, environment: Environment) -> HTMLResponse:
        asked = service.pause(environment, seconds=None, actor=who_of(request), reason=ASKING, dry_run=True)
        return page(request, environment, "pause", verb="Pause", asked=asked, periods=PERIODS, hidden={})

    @router.get("/resume", dependencies=_MAY_DEPLOY)
    def resume(request: Request, environment: Environment) -> HTMLResponse:
        asked = service.resume(environment, actor=who_of(request), reason="", dry_run=True)
        plan, no_plan = planned(request, environment, None) if asked["events"] else (None, "")
        return page(
            request, environment, "resume", verb="Resume", asked=asked, plan=plan, no_plan=no_plan, hidden={}
        )


def _done(router: APIRouter, parts: Parts) -> None:
    """What is done."""
    service = parts.site.service

    def back(environment: str, answer: dict[str, Any]) -> RedirectResponse:
        key = parts.notices.put(answer["message"])
        return RedirectResponse(link(f"/env/{environment}", said=key), HTTPStatus.SEE_OTHER)

    @router.post("/sync", dependencies=_MAY_DEPLOY)
    def sync(request: Request, environment: Environment, form: Fields) -> RedirectResponse:
        who, why = who_of(request), reason_of(form)
        digest = form.get("digest", consent.NOT_SHOWN)[:100]
        question = RedirectResponse(link(f"/env/{environment}/sync"), HTTPStatus.SEE_OTHER)
        asked = service.sync(environment, actor=who, reason=why, dry_run=True)["target"]
        if asked is not None and asked["digest"] != digest:
            # It would be deployed, and that is not what was shown, if anything was.
            return question
        try:
            answer = service.sync(environment, digest=digest, actor=who, reason=why, dry_run=False)
        except Problem as declined:
            if declined.status is not HTTPStatus.CONFLICT:
                raise
            # Git wants something else since: that is shown now.
            return question
        return back(environment, answer)

    @router.post("/rollback", dependencies=_MAY_DEPLOY)
    def rollback(request: Request, environment: Environment, form: Fields) -> RedirectResponse:
        who, why = who_of(request), reason_of(form)
        to = form.get("to", "")[:200] or None
        return back(environment, service.rollback(environment, to=to, actor=who, reason=why, dry_run=False))

    @router.post("/retry", dependencies=_MAY_DEPLOY)
    def retry(request: Request, environment: Environment, form: Fields) -> RedirectResponse:
        who, why = who_of(request), reason_of(form)
        return back(environment, service.retry(environment, actor=who, reason=why, dry_run=False))

    @router.post("/pause", dependencies=_MAY_DEPLOY)
    def pause(request: Request, environment: Environment, form: Fields) -> RedirectResponse:
        who, why, seconds = who_of(request), reason_of(form), _seconds(form)
        answer = service.pause(environment, seconds=seconds, actor=who, reason=why, dry_run=False)
        return back(environment, answer)

    @router.post("/resume", dependencies=_MAY_DEPLOY)
    def resume(request: Request, environment: Environment, form: Fields) -> RedirectResponse:
        who, why = who_of(request), reason_of(form)
        return back(environment, service.resume(environment, actor=who, reason=why, dry_run=False))


def who_of(request: Request) -> str:
    """Who is written down, as in the API. A browser has no login name to give."""
    one = caller(request)
    return actor(one, one.name if one.how == "local" else None)


def reason_of(form: dict[str, str]) -> str:
    """What was given as the reason. Raises Problem for one that is too long."""
    reason = form.get("reason", "").strip()
    if len(reason) > _REASON:
        detail = f"The reason has {len(reason)} characters; it may have {_REASON}."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, exit_code=USAGE)
    return reason


def _seconds(form: dict[str, str]) -> float | None:
    """For how long; None: until somebody resumes it."""
    text = form.get("for", "").strip()
    if not text:
        return None
    try:
        seconds = durations.parse(text[:100])
    except ValueError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.", exit_code=USAGE) from error
    if seconds <= 0:
        detail = "A pause is longer than 0s: write 30m, or leave it empty."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, exit_code=USAGE)
    return seconds
