"""`GET /metrics`: for Prometheus, which sends a bearer token.

Owns the route. Must not know what is measured. Invariant: whoever may read only some environments gets the
metrics of those, and of the daemon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from deployer.web.access import Right, caller, needs
from deployer.web.metrics.family import CONTENT_TYPE

if TYPE_CHECKING:
    from deployer.web.metrics import Metrics


def router(metrics: Metrics) -> APIRouter:
    """The route, which needs the right to read."""
    routes = APIRouter(redirect_slashes=False, dependencies=[needs(Right.READ)], tags=["daemon"])

    @routes.get("/metrics", response_class=Response)
    def scrape(request: Request) -> Response:
        """What is measured, in Prometheus' text format."""
        return Response(metrics.text(caller(request).environments), media_type=CONTENT_TYPE)

    return routes
