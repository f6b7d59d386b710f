"""Puts the faces together: the API, the pages, what machines ask.

Owns which routes there are, that each says who may use it, and that each works in its lane. Must not do
anything itself. Invariant: an application with a route that has no rule is not made.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts

from deployer import __version__
from deployer.web import api, problems
from deployer.web.access import Right, caller, needs, open_to_all, rule_of, rules, whose
from deployer.web.lanes import REFUSALS, Lanes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastapi import Request

    from deployer.web.site import Site

_DESCRIPTION = """\
What the daemon knows and does. Fields are added, never renamed and never changed in meaning: docs/json.md
says what each holds. Errors are problems (RFC 9457) with `detail`, a sentence with the next step, and
`exit_code`, that of the command. POSTs take an `Idempotency-Key`; GETs have an `ETag`.
"""


def make(site: Site, routers: Sequence[APIRouter] = (), error_page: problems.Page | None = None) -> FastAPI:
    """The application, without its guard; `routers` are the pages and `/metrics`.

    `error_page` is what a person gets instead of a problem outside of the API.
    """
    lanes = Lanes()
    app = _Described(
        title="deployer",
        version=__version__,
        description=_DESCRIPTION,
        # Served below, to those who may read.
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=problems.RESPONSES,
        dependencies=lanes.dependencies,
    )
    problems.install(app, error_page, partial(_forbidden, site))
    app.include_router(_for_machines(site))
    ours = (api.reads, api.writes, api.events, api.tokens, api.outbox)
    for router in (*(of(site) for of in ours), _description(app)):
        app.include_router(router, prefix=api.PREFIX)
    for router in routers:
        app.include_router(router)
    without = [route.path for route in iter_route_contexts(app.routes) if rule_of(route) is None]
    if without:
        message = f"routes without a rule of who may use them: {', '.join(map(str, without))}"
        raise RuntimeError(message)
    lanes.know(app)
    return app


async def _forbidden(site: Site, request: Request, detail: str) -> None:
    """Whoever has a token is somebody, and what they were refused is in the audit log."""
    one = caller(request)
    environment, command = request.path_params.get("environment", ""), request.url.path.rpartition("/")[2]
    if one.how != "anonymous":
        await REFUSALS.run(site.service.refused, environment, command, whose(one), detail)


class _Described(FastAPI):
    """Says in its description also what a problem is, and which operations need a token."""

    def openapi(self) -> dict[str, Any]:
        """The description, as OpenAPI 3.1."""
        # FastAPI keeps it. To write the same into it again does no harm.
        document = super().openapi()
        parts = document.setdefault("components", {})
        parts.setdefault("schemas", {})[problems.SCHEMA] = problems.Body.model_json_schema()
        parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for method, path, rule in rules(self):
            operation = document["paths"].get(path, {}).get(method.lower())
            if operation is not None and rule.right is not None:
                operation["security"] = [{"token": []}]
        return document


def _for_machines(site: Site) -> APIRouter:
    router = APIRouter(redirect_slashes=False, dependencies=[open_to_all()], tags=["daemon"])

    # Not a plain function: that would wait for a thread.
    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "ok"}

    @router.get("/readyz")
    def readyz() -> dict[str, str]:
        """Whether the daemon can do its work: its store can be written. 503 says why not."""
        why_not = site.ready()
        if why_not is not None:
            raise problems.Problem(HTTPStatus.SERVICE_UNAVAILABLE, why_not)
        return {"status": "ready"}

    return router


def _description(app: FastAPI) -> APIRouter:
    router = APIRouter(redirect_slashes=False)

    @router.get("/openapi.json", dependencies=[needs(Right.READ)], include_in_schema=False)
    def openapi() -> dict[str, Any]:
        return app.openapi()

    return router
