"""What may be done: sync, rollback, retry, pause, resume, promote, approve, reject.

Owns the shape of an order, and who is written down as the one who gave it. Must not decide anything.
Invariant: what is not declared here is refused; and whoever has a token of his own cannot give an order as
somebody else.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from deployer.core.durations import LIMIT_SECONDS
from deployer.core.tokens import LOCAL
from deployer.web.access import Right, caller, needs
from deployer.web.api import once
from deployer.web.problems import NO_GIT, USAGE, Problem

if TYPE_CHECKING:
    from deployer.web.access import Caller
    from deployer.web.site import Site

Gate = Annotated[str, Field(pattern=r"^[a-z]{1,40}$")]
Environment = Annotated[str, Path(max_length=200, description="The environment's name.")]


class Order(BaseModel):
    """A person's wish.

    `by` is a login name, and goes with the token of this machine alone: a claim, on which only the audit log
    relies. Every other token says itself who has it.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)

    by: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.@+\\-]+\$?$")] | None = None
    reason: Annotated[str, Field(max_length=2_000)] = ""
    dry_run: Annotated[bool, Field(strict=True)] = False


class Sync(Order):
    """`skip`: gates that need not be open for what git wants now.

    `digest`: of the config that was looked at, `config_digest` of its plan; if git wants another one, nothing
    is done. Without it, a deploy is of what git wants now.
    """

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    skip: Annotated[tuple[Gate, ...], Field(max_length=20)] = ()


class Opinion(Order):
    """`plan`: the digest of what was looked at."""

    plan: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Promotion(Order):
    """`source` may be left out: each environment has one. `release`: as `to` of a rollback, of the source.

    `skip`: gates that need not be open for it, and `soak`: it need not have become good there.
    `pull_request`: one is opened for it at the forge, also where it could be pushed.
    """

    source: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,199}$")] | None = None
    release: Annotated[str, Field(pattern=r"^[!-~]{1,200}$")] | None = None
    skip: Annotated[tuple[Gate, ...], Field(max_length=20)] = ()
    pull_request: bool = False


class Rollback(Order):
    """`to`: a rollout, the beginning of a commit, or a digest."""

    to: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class Pause(Order):
    """`seconds`: for how long; without it until somebody resumes."""

    seconds: Annotated[float, Field(gt=0, le=LIMIT_SECONDS, allow_inf_nan=False)] | None = None


def actor(one: Caller, by: str | None = None) -> str:
    """Who is written down. Raises Problem if `by` is missing, or somebody else."""
    if one.how == "local":
        if by is None:
            detail = "by: say who you are; the token of this machine is everybody's who administers it."
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, exit_code=USAGE)
        return f"{by} (local)"
    if by is not None and by != one.name:
        detail = f"by: this token is {one.name}'s, so leave it out."
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail, exit_code=USAGE)
    return f"{one.name} (proxy)" if one.how == "proxy" else f"{one.name} (token {one.token})"


def login(one: Caller) -> str | None:
    """Whose this is for sure; None for the token of this machine, which is everybody's who administers it.

    A session of a browser is that of the token which it was opened with.
    """
    is_personal = one.how != "local" and one.token != LOCAL
    return one.name if is_personal else None


def router(site: Site) -> APIRouter:
    """The routes; each needs the right to deploy, or to approve."""
    router = APIRouter(
        redirect_slashes=False,
        route_class=once.route_class(site.answers),
        prefix="/environments/{environment}",
        dependencies=[Depends(once.header)],
    )
    service = site.service
    may_deploy = [needs(Right.DEPLOY, environment=True)]
    may_approve = [needs(Right.APPROVE, environment=True)]

    @router.post("/sync", dependencies=may_deploy, tags=["commands"])
    def sync(request: Request, environment: Environment, order: Sync) -> dict[str, Any]:
        """Look at git now, then at the environment; where sync is manual, deploy what git wants."""
        one = caller(request)
        return service.sync(
            environment,
            skip=order.skip,
            may_override=one.may(Right.OVERRIDE, environment),
            digest=order.digest,
            actor=actor(one, order.by),
            reason=order.reason,
            dry_run=order.dry_run,
        )

    @router.post("/rollback", dependencies=may_deploy, tags=["commands"])
    def rollback(request: Request, environment: Environment, order: Rollback) -> dict[str, Any]:
        """Go back to a good release, at once."""
        who = actor(caller(request), order.by)
        return service.rollback(
            environment, to=order.to, actor=who, reason=order.reason, dry_run=order.dry_run
        )

    @router.post("/retry", dependencies=may_deploy, tags=["commands"])
    def retry(request: Request, environment: Environment, order: Order) -> dict[str, Any]:
        """Try what git wants once more, although it is held."""
        who = actor(caller(request), order.by)
        return service.retry(environment, actor=who, reason=order.reason, dry_run=order.dry_run)

    @router.post("/pause", dependencies=may_deploy, tags=["commands"])
    def pause(request: Request, environment: Environment, order: Pause) -> dict[str, Any]:
        """Stop the automation."""
        who = actor(caller(request), order.by)
        return service.pause(
            environment, seconds=order.seconds, actor=who, reason=order.reason, dry_run=order.dry_run
        )

    @router.post("/resume", dependencies=may_deploy, tags=["commands"])
    def resume(request: Request, environment: Environment, order: Order) -> dict[str, Any]:
        """Let the automation go on."""
        who = actor(caller(request), order.by)
        return service.resume(environment, actor=who, reason=order.reason, dry_run=order.dry_run)

    @router.post("/promote", dependencies=may_deploy, tags=["commands"], responses=NO_GIT)
    def promote(request: Request, environment: Environment, order: Promotion) -> dict[str, Any]:
        """Promote what is good in another environment to this one: push, copy, or open a pull request."""
        one = caller(request)
        return site.promotions.promote(
            environment,
            source=order.source,
            release=order.release,
            skip=order.skip,
            by_pull_request=order.pull_request,
            caller=one,
            actor=actor(one, order.by),
            reason=order.reason,
            dry_run=order.dry_run,
        )

    def said(one: Caller, environment: str, order: Opinion, *, rejects: bool) -> dict[str, Any]:
        return service.approve(
            environment,
            plan=order.plan,
            login=login(one),
            actor=actor(one, order.by),
            reason=order.reason,
            dry_run=order.dry_run,
            rejects=rejects,
        )

    @router.post("/approve", dependencies=may_approve, tags=["commands"])
    def approve(request: Request, environment: Environment, order: Opinion) -> dict[str, Any]:
        """Approve what the plan would do. Needs a personal token, or a proxy that knows who somebody is."""
        return said(caller(request), environment, order, rejects=False)

    @router.post("/reject", dependencies=may_approve, tags=["commands"])
    def reject(request: Request, environment: Environment, order: Opinion) -> dict[str, Any]:
        """Reject what the plan would do; it is not deployed as it is."""
        return said(caller(request), environment, order, rejects=True)

    return router
