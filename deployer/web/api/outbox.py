"""The outbox: how each target stands, and what becomes of dead letters.

Owns the routes below `/api/v1/outbox`. Must not decide anything. Invariant: each needs the right to
administer everything, for a target is of many environments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from deployer.web.access import Right, caller, needs
from deployer.web.api.writes import actor

if TYPE_CHECKING:
    from deployer.web.site import Site


class Handling(BaseModel):
    """Why, and of which target; without one of all that have it. `by` as in the orders."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)

    by: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.@+\\-]+\$?$")] | None = None
    reason: Annotated[str, Field(max_length=2_000)] = ""
    target: Annotated[str, Field(min_length=1, max_length=300)] | None = None


Id = Annotated[
    str, Path(pattern=r"^(all|[0-9]{1,15})$", description="The message's id, as the list has it; or all.")
]


def router(site: Site) -> APIRouter:
    """The routes."""
    router = APIRouter(
        redirect_slashes=False,
        prefix="/outbox",
        tags=["daemon"],
        dependencies=[needs(Right.ADMINISTER, everywhere=True)],
    )

    @router.get("")
    def listed() -> dict[str, Any]:
        """How each target stands, and the dead letters: what was not delivered, and is not tried again."""
        return site.outbox.listed()

    @router.post("/{message_id}/retry")
    def retry(request: Request, message_id: Id, order: Handling) -> dict[str, Any]:
        """Have a dead letter offered to its target again. To do so again changes nothing."""
        who = actor(caller(request), order.by)
        return site.outbox.retry(message_id, target=order.target, actor=who, reason=order.reason)

    @router.post("/{message_id}/drop")
    def drop(request: Request, message_id: Id, order: Handling) -> dict[str, Any]:
        """Forget a dead letter: nobody is told that any more."""
        who = actor(caller(request), order.by)
        return site.outbox.drop(message_id, target=order.target, actor=who, reason=order.reason)

    return router
