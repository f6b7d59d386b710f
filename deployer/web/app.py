"""The routes of the API, and the shape of what may be sent to them.

Owns paths, methods and bodies. Must not do anything itself: each route is one call of the service.
Invariant: what is not declared here is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from deployer.core.durations import LIMIT_SECONDS
from deployer.web import problems

if TYPE_CHECKING:
    from deployer.web.service import Service

_PREFIX = "/api/v1/environments/{environment}"


class Order(BaseModel):
    """A person's wish. `by` is a login name: a claim, on which only the audit log relies."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)

    by: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.@+\\-]+\$?$")]
    reason: Annotated[str, Field(max_length=2_000)] = ""
    dry_run: bool = False


class Rollback(Order):
    """`to`: a rollout, the beginning of a commit, or a digest."""

    to: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class Pause(Order):
    """`seconds`: for how long; without it until somebody resumes."""

    seconds: Annotated[float, Field(gt=0, le=LIMIT_SECONDS, allow_inf_nan=False)] | None = None


Name = Annotated[str, Query(max_length=1_000)]


def make(service: Service) -> FastAPI:
    """The application, without its guard."""
    app = FastAPI(
        # Nothing here describes itself to whoever finds the port.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    app.include_router(_reads(service), prefix=_PREFIX)
    app.include_router(_writes(service), prefix=_PREFIX)
    return app


def _reads(service: Service) -> APIRouter:
    router = APIRouter(redirect_slashes=False)

    @router.get("/status")
    def status(environment: str) -> dict[str, Any]:
        return service.status(environment)

    @router.get("/explain")
    def explain(environment: str) -> dict[str, Any]:
        return service.explain(environment)

    @router.get("/live")
    def live(environment: str) -> dict[str, Any]:
        return service.live(environment)

    @router.get("/logs")
    def logs(environment: str, app: Name | None = None) -> dict[str, Any]:
        return service.logs(environment, app)

    return router


def _writes(service: Service) -> APIRouter:
    router = APIRouter(redirect_slashes=False)

    @router.post("/sync")
    def sync(environment: str, order: Order) -> dict[str, Any]:
        return service.sync(environment, by=order.by, reason=order.reason, dry_run=order.dry_run)

    @router.post("/rollback")
    def rollback(environment: str, order: Rollback) -> dict[str, Any]:
        return service.rollback(
            environment, to=order.to, by=order.by, reason=order.reason, dry_run=order.dry_run
        )

    @router.post("/retry")
    def retry(environment: str, order: Order) -> dict[str, Any]:
        return service.retry(environment, by=order.by, reason=order.reason, dry_run=order.dry_run)

    @router.post("/pause")
    def pause(environment: str, order: Pause) -> dict[str, Any]:
        return service.pause(
            environment, seconds=order.seconds, by=order.by, reason=order.reason, dry_run=order.dry_run
        )

    @router.post("/resume")
    def resume(environment: str, order: Order) -> dict[str, Any]:
        return service.resume(environment, by=order.by, reason=order.reason, dry_run=order.dry_run)

    return router
