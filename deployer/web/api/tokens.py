"""Making, listing and revoking tokens.

Owns the routes below `/api/v1/tokens`. Must not know how a token is recognised. Invariant: a token is in one
answer, that to the request which made it, and is kept nowhere: so that answer is not kept for repeats either
(`once`); and nobody gives away, sees or takes back what reaches further than his own environments.
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from deployer.core import tokens as rules
from deployer.core.durations import LIMIT_SECONDS
from deployer.core.events import TokenCreated, TokenRevoked
from deployer.core.redact import one_line
from deployer.core.scrub import plain
from deployer.core.times import timestamp
from deployer.core.tokens import SECRET_BYTES, Role, Token
from deployer.web.access import Right, caller, needs
from deployer.web.api.writes import actor
from deployer.web.problems import USAGE, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.web.access import Caller
    from deployer.web.site import Site

_MOST_ENVIRONMENTS = 1_000

log = structlog.get_logger(__name__)


class _Body(BaseModel):
    """`by` as in the orders: it goes with the token of this machine alone."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True)

    by: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.@+\\-]+\$?$")] | None = None
    reason: Annotated[str, Field(max_length=2_000)] = ""


class NewToken(_Body):
    """Whom it is for, and for what. `environments` null: all; `seconds` null: until it is revoked."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.@+\\-]+\$?$")]
    role: Role
    environments: Annotated[list[str], Field(min_length=1, max_length=_MOST_ENVIRONMENTS)] | None = None
    seconds: Annotated[float, Field(ge=1, le=LIMIT_SECONDS, allow_inf_nan=False)] | None = None


class Revocation(_Body):
    """Why."""


Id = Annotated[str, Path(max_length=200, description="The token's id, as the list has it.")]


def router(site: Site, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> APIRouter:
    """The routes; each needs the right to administer."""
    router = APIRouter(
        redirect_slashes=False,
        prefix="/tokens",
        tags=["tokens"],
        dependencies=[needs(Right.ADMINISTER)],
    )
    tokens = site.tokens

    @router.get("")
    def listed(request: Request) -> dict[str, Any]:
        """Every token there ever was, in the order in which they were made."""
        one, at = caller(request), now()
        return {"items": [shown(token, at) for token in tokens.all() if _reaches(one, token.environments)]}

    @router.post("")
    def create(request: Request, order: NewToken) -> dict[str, Any]:
        """Make a token. The answer holds it, once: it cannot be shown again."""
        one, at = caller(request), now()
        who = actor(one, order.by)
        environments = None if order.environments is None else frozenset(order.environments)
        # First, so that who has a few learns nothing of the others.
        if not _reaches(one, environments):
            detail = f"environments: give some of yours ({', '.join(sorted(one.environments or ()))})."
            raise Problem(HTTPStatus.FORBIDDEN, detail, exit_code=USAGE)
        for name in order.environments or ():
            site.known(name)
        secret = rules.make(secrets.token_bytes(SECRET_BYTES))
        hash_ = rules.digest(secret)
        token = Token(
            id=rules.id_of(hash_),
            name=order.name,
            hash=hash_,
            role=order.role,
            environments=environments,
            created_at=at,
            created_by=who,
            expires_at=None if order.seconds is None else at + timedelta(seconds=order.seconds),
        )
        # First the log: a token that nobody can find there must not exist.
        site.write(
            TokenCreated(
                at=at,
                actor=who,
                reason=one_line(order.reason),
                token=token.id,
                name=token.name,
                role=token.role.value,
                environments=None if environments is None else tuple(sorted(environments)),
                expires_at=token.expires_at,
            )
        )
        tokens.add(token)
        _log("token_created", token, who, order.reason)
        return {**shown(token, at), "secret": secret}

    @router.delete("/{token_id}")
    def revoke(request: Request, token_id: Id, order: Revocation) -> dict[str, Any]:
        """Let a token count no more, at once. To do so again changes nothing."""
        one, at = caller(request), now()
        who = actor(one, order.by)
        before = tokens.get(token_id)
        if before is None or not _reaches(one, before.environments):
            detail = "There is no token with this id: `deployer token list` shows them."
            raise Problem(HTTPStatus.NOT_FOUND, detail, exit_code=USAGE)
        after = tokens.revoke(token_id, at) or before
        if before.revoked_at is None:
            _log("token_revoked", after, who, order.reason)
            site.write(
                TokenRevoked(at=at, actor=who, reason=one_line(order.reason), token=after.id, name=after.name)
            )
        return shown(after, at)

    return router


def shown(token: Token, now: datetime) -> dict[str, Any]:
    """What may be shown of a token."""
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role.value,
        "environments": None if token.environments is None else sorted(token.environments),
        "state": rules.verdict(token, now).value,
        "created_at": timestamp(token.created_at),
        "created_by": token.created_by,
        "expires_at": timestamp(token.expires_at),
        "revoked_at": timestamp(token.revoked_at),
        "last_used_at": timestamp(token.last_used_at),
    }


def _reaches(one: Caller, environments: frozenset[str] | None) -> bool:
    """Whether these are no more than the caller's own; None is all."""
    return one.environments is None or (environments is not None and environments <= one.environments)


def _log(event: str, token: Token, who: str, reason: str) -> None:
    log.info(
        event,
        id=token.id,
        holder=token.name,
        role=token.role.value,
        environments=None if token.environments is None else sorted(token.environments),
        expires_at=timestamp(token.expires_at),
        actor=who,
        reason=" ".join(plain(reason).split()),
    )
