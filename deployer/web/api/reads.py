"""What may be read: environments, rollouts, releases, plans, gates, the audit log, numbers.

Owns paths, parameters and their limits. Must not read anything itself. Invariant: a list holds only what
the caller may see, and something of an environment that the caller may not see is not found.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import AwareDatetime, BeforeValidator

from deployer.core.bundle import name as bundle_name
from deployer.core.event_shown import NO_ID
from deployer.web.access import Right, caller, needs
from deployer.web.api import conditional
from deployer.web.problems import NO_CLUSTER, USAGE, Problem

if TYPE_CHECKING:
    from collections.abc import Collection

    from deployer.web.site import Site

_ZIP = "application/zip"

_NAME = 200
"""Characters of a name in a query: longer ones name nothing."""

_DATED = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")


def _dated(text: object) -> object:
    """Pydantic takes a number for seconds since 1970, so `2026` would be of that year."""
    if isinstance(text, str) and _DATED.match(text) is None:
        message = "a time is written as in 2026-11-22T10:00:00Z"
        raise ValueError(message)
    return text


Environment = Annotated[str, Path(max_length=_NAME, description="The environment's name.")]
Name = Annotated[str | None, Query(max_length=_NAME)]
Cursor = Annotated[
    str | None,
    Query(
        max_length=_NAME,
        description="`next` of the page before: go on from there.",
        # Only told here: who sends something else gets the sentence of the read models.
        json_schema_extra={"pattern": "^[0-9]{1,18}$"},
    ),
]
Time = Annotated[
    AwareDatetime | None,
    BeforeValidator(_dated),
    Query(description="RFC 3339, with a time zone."),
]
Result = Annotated[Literal["in_progress", "good", "failed", "superseded", "cancelled"] | None, Query()]
Limit = Annotated[int, Query(ge=1, le=200)]


def router(site: Site) -> APIRouter:
    """The routes; each needs the right to read."""
    router = APIRouter(
        redirect_slashes=False,
        route_class=conditional.Conditional,
        dependencies=[Depends(conditional.header)],
        responses=conditional.NOT_MODIFIED,
    )
    _of_an_environment(router, site)
    _of_all(router, site)
    _of_the_daemon(router, site)
    return router


def _of_an_environment(router: APIRouter, site: Site) -> None:
    service, models = site.service, site.models
    may_read = [needs(Right.READ, environment=True)]
    looks: dict[str, Any] = {"dependencies": may_read, "tags": ["environments"], "responses": NO_CLUSTER}

    @router.get("/environments/{environment}", dependencies=may_read, tags=["environments"])
    def environment(request: Request, environment: Environment) -> dict[str, Any]:
        """One environment: its status, newest rollouts and releases, what git says, its gates."""
        return models.environment(site.known(environment), _visible(request))

    @router.get("/environments/{environment}/status", dependencies=may_read, tags=["environments"])
    def status(request: Request, environment: Environment) -> dict[str, Any]:
        """The published status, with what one who waits needs to know of it."""
        return service.status(environment, _visible(request))

    @router.get("/environments/{environment}/explain", dependencies=may_read, tags=["environments"])
    def explain(request: Request, environment: Environment) -> dict[str, Any]:
        """Why it is as it is: the lines of the policy, and the evidence."""
        return service.explain(environment, _visible(request))

    @router.get("/environments/{environment}/live", **looks)
    def live(environment: Environment) -> dict[str, Any]:
        """What the cluster says at this moment."""
        return service.live(environment)

    @router.get("/environments/{environment}/logs", **looks)
    def logs(environment: Environment, app: Name = None) -> dict[str, Any]:
        """The ends of the replicas' logs."""
        return service.logs(environment, app)

    @router.get("/environments/{environment}/gates", dependencies=may_read, tags=["environments"])
    def gates(request: Request, environment: Environment) -> dict[str, Any]:
        """What stands before the next rollout, in order."""
        return {"items": models.gates(site.known(environment), _visible(request))}

    @router.get("/environments/{environment}/plan", **looks)
    def plan(request: Request, environment: Environment, to: Name = None) -> dict[str, Any]:
        """What a deploy of what git wants would do; with `to`, what a rollback to that good release would."""
        return models.plan(site.known(environment), to=to, visible=_visible(request))

    @router.get("/environments/{environment}/at", dependencies=may_read, tags=["environments"])
    def at(request: Request, environment: Environment, time: Time = None) -> dict[str, Any]:
        """What was live at that time, how it stood by then, and who brought it; without a time: now."""
        return models.at(site.known(environment), time, _visible(request))

    @router.get("/environments/{environment}/releases", dependencies=may_read, tags=["environments"])
    def releases(environment: Environment, limit: Limit = 50, before: Cursor = None) -> dict[str, Any]:
        """What became good here, newest first."""
        return models.releases(site.known(environment), limit=limit, before=before)


def _of_all(router: APIRouter, site: Site) -> None:
    models = site.models
    may_read = [needs(Right.READ)]

    @router.get("/environments", dependencies=may_read, tags=["environments"])
    def environments(request: Request) -> dict[str, Any]:
        """Every environment that the caller may see."""
        visible = _visible(request)
        return {"items": models.environments(visible, visible)}

    @router.get("/approvals", dependencies=may_read, tags=["promotion"])
    def approvals(request: Request) -> dict[str, Any]:
        """What waits for people to approve it, in the environments that the caller may see."""
        return {"items": models.approvals(_visible(request))}

    @router.get("/promotions", dependencies=may_read, tags=["promotion"])
    def promotions(request: Request) -> dict[str, Any]:
        """Each way on which commits are promoted, with what would be. Git is asked, which takes seconds."""
        return {"items": site.promotions.lanes(_visible(request))}

    @router.get("/rollouts", dependencies=may_read, tags=["rollouts"])
    def rollouts(
        request: Request,
        environment: Name = None,
        kind: Annotated[Literal["deploy", "rollback", "restore", "heal"] | None, Query()] = None,
        result: Result = None,
        author: Name = None,
        digest: Name = None,
        revision: Name = None,
        since: Time = None,
        until: Time = None,
        before: Cursor = None,
        limit: Limit = 50,
    ) -> dict[str, Any]:
        """The history, newest first."""
        return models.rollouts(
            environments=_visible(request),
            environment=environment,
            kind=kind,
            result=result,
            author=author,
            digest=digest,
            revision=revision,
            since=since,
            until=until,
            before=before,
            limit=limit,
        )

    @router.get("/rollouts/{rollout}", dependencies=may_read, tags=["rollouts"])
    def rollout(request: Request, rollout: Annotated[str, Path(max_length=_NAME)]) -> dict[str, Any]:
        """One rollout: its timeline, phases, evidence, config and what it changed. `#` is sent as `%23`."""
        may_see = _may_see(request, rollout.rpartition("#")[0])
        found = models.rollout(rollout, _visible(request)) if may_see else None
        if found is None:
            raise _no_rollout(rollout)
        return found

    @router.get(
        "/rollouts/{rollout}/bundle",
        dependencies=may_read,
        tags=["rollouts"],
        response_class=Response,
        responses={200: {"description": "The file.", "content": {_ZIP: {}}}},
    )
    def rollout_bundle(request: Request, rollout: Annotated[str, Path(max_length=_NAME)]) -> Response:
        """The evidence of a rollout for a ticket, as a ZIP file without secrets. `#` is sent as `%23`."""
        may_see = _may_see(request, rollout.rpartition("#")[0])
        found = models.bundle(rollout, _visible(request)) if may_see else None
        if found is None:
            raise _no_rollout(rollout)
        disposition = f'attachment; filename="{bundle_name(rollout)}.zip"'
        return Response(found, media_type=_ZIP, headers={"Content-Disposition": disposition})

    @router.get("/audit", dependencies=may_read, tags=["audit"])
    def audit(
        request: Request,
        environment: Name = None,
        actor: Name = None,
        type_: Annotated[str | None, Query(alias="type", max_length=_NAME)] = None,
        result: Result = None,
        rollout: Name = None,
        revision: Name = None,
        digest: Name = None,
        since: Time = None,
        until: Time = None,
        before: Cursor = None,
        after: Cursor = None,
        limit: Limit = 100,
    ) -> dict[str, Any]:
        """The audit log: newest first, or oldest first from `after` on.

        `revision` and `digest` may be the first digits, and also find the events of the rollouts that were of
        them; `result` finds those of the rollouts that ended so.
        """
        return models.audit(
            environments=_visible(request),
            environment=environment,
            actor=actor,
            type=type_,
            result=result,
            rollout=rollout,
            revision=revision,
            digest=digest,
            since=since,
            until=until,
            before=before,
            after=after,
            limit=limit,
        )

    @router.get("/audit/{event}", dependencies=may_read, tags=["audit"])
    def audit_event(request: Request, event: Annotated[str, Path(max_length=_NAME)]) -> dict[str, Any]:
        """One event in full: by its id, or by its place in the log of its environment (`production:17`)."""
        found = models.event(environments=_visible(request), event=event)
        if found is None:
            detail = f"There is no such event that you may see. {NO_ID}."
            raise Problem(HTTPStatus.NOT_FOUND, detail, exit_code=USAGE)
        return found

    @router.get("/stats", dependencies=may_read, tags=["rollouts"])
    def stats(
        request: Request, environment: Name = None, days: Annotated[int, Query(ge=1, le=3650)] = 30
    ) -> dict[str, Any]:
        """The four numbers of DORA, of each environment."""
        return {"items": models.stats(environments=_visible(request), environment=environment, days=days)}


def _of_the_daemon(router: APIRouter, site: Site) -> None:
    may_administer = [needs(Right.ADMINISTER, everywhere=True)]

    @router.get("/doctor", dependencies=may_administer, tags=["daemon"])
    def doctor() -> dict[str, Any]:
        """What `deployer doctor` finds, asked by the daemon itself. It takes seconds."""
        return site.models.doctor()

    @router.get("/settings", dependencies=may_administer, tags=["daemon"])
    def settings() -> dict[str, Any]:
        """The settings in effect, and where each came from."""
        return {"items": site.models.settings()}


def _visible(request: Request) -> Collection[str] | None:
    """The environments that the caller may see; None is all."""
    return caller(request).environments


def _may_see(request: Request, environment: str) -> bool:
    return caller(request).may(Right.READ, environment)


def _no_rollout(rollout: str) -> Problem:
    detail = f"There is no rollout '{rollout}' that you may see. One is called like production#42."
    return Problem(HTTPStatus.NOT_FOUND, detail, exit_code=USAGE)
