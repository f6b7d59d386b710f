"""Who may use which route: each route says it itself, and what says nothing is not served.

Owns the rules, and what one caller may do. Must not know how callers are recognised, nor what routes do.
Invariant: a route has exactly one rule, the rule is checked before anything of the route runs, and who has
no right to an environment learns nothing of it, not even whether it exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Literal

from fastapi import Request, params
from fastapi.routing import RouteContext, iter_route_contexts
from starlette.routing import Match

from deployer.core.tokens import RIGHTS, Right, Role
from deployer.web.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fastapi import FastAPI
    from starlette.types import Scope

__all__ = [
    "NOBODY",
    "RIGHTS",
    "Caller",
    "Right",
    "Role",
    "Rule",
    "caller",
    "needs",
    "open_to_all",
    "opener",
    "require",
    "rule_of",
    "rules",
    "table",
    "whose",
]

_REFUSED = 7
"""The exit code of a command that is not allowed, as `deployer --help` lists it."""

_ASK = "Ask whoever administers this daemon (`deployer token create`)."

How = Literal["local", "token", "session", "proxy", "anonymous"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who a request is of. `token` is the public id of a token, `environments` None is all of them.

    A session is of a token, or of the one of this machine, whose `token` is "local"; `until` is its end.
    """

    name: str
    how: How
    token: str | None = None
    rights: frozenset[Right]
    environments: frozenset[str] | None = None
    until: datetime | None = None

    def may(self, right: Right, environment: str | None = None) -> bool:
        """Whether it has this right, for this environment if one is given."""
        return right in self.rights and (
            environment is None or self.environments is None or environment in self.environments
        )


NOBODY = Caller(name="nobody", how="anonymous", rights=frozenset(), environments=frozenset())
"""Who asks for what is open to all and has shown nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a route asks for.

    `right` None: nothing. `environment`: for the one in its path. `everywhere`: for all there are, as what
    it shows is of all.
    """

    right: Right | None
    environment: bool = False
    everywhere: bool = False


@dataclass(frozen=True)
class _RuleOf(params.Depends):
    """A dependency that is also found by looking at the route."""

    rule: Rule | None = None


def needs(right: Right, *, environment: bool = False, everywhere: bool = False) -> params.Depends:
    """The rule of a route: `@router.get(..., dependencies=[needs(Right.READ)])`.

    With `environment` the path parameter of this name must be one of the caller's. With `everywhere` all
    environments must be. Without either the route itself leaves out what is not among
    `caller(request).environments`, or asks `require`.
    """

    # Not a plain function: FastAPI would send that to a thread for each request.
    async def check(request: Request) -> None:
        one = caller(request)
        require(one, right, request.path_params["environment"] if environment else None)
        if everywhere and one.environments is not None:
            detail = f"{whose(one)} is for some environments only, and this is about all of them. {_ASK}"
            raise Problem(HTTPStatus.FORBIDDEN, detail, exit_code=_REFUSED)

    return _RuleOf(dependency=check, rule=Rule(right=right, environment=environment, everywhere=everywhere))


def open_to_all() -> params.Depends:
    """The rule of a route that asks for nothing: no token is needed, and none is looked at."""

    async def check() -> None:
        """Nothing to check."""

    return _RuleOf(dependency=check, rule=Rule(right=None))


def require(one: Caller, right: Right, environment: str | None = None) -> None:
    """Raise Problem (403) unless this caller has this right."""
    if one.may(right, environment):
        return
    if one.how == "anonymous":
        detail = f"Without a token nobody may {right.value} here: sign in, or send a bearer token."
        raise Problem(HTTPStatus.FORBIDDEN, detail, exit_code=_REFUSED)
    who = whose(one)
    if right in one.rights:
        have = ", ".join(sorted(one.environments or ())) or "none"
        detail = f"{who} may {right.value} in other environments only: {have}."
    else:
        *others, last = [role.value for role in Role if right in RIGHTS[role]]
        roles = f"{', '.join(others)} or {last}" if others else last
        detail = f"{who} may not {right.value}: that takes the role {roles}."
    raise Problem(HTTPStatus.FORBIDDEN, f"{detail} {_ASK}", exit_code=_REFUSED)


def whose(one: Caller) -> str:
    """How a caller is called in a sentence, and in the audit log."""
    return f"{one.name} ({one.how if one.token is None else f'token {one.token}'})"


def caller(request: Request) -> Caller:
    """Who the request is of; the guard has found out."""
    found: Caller = request.scope["state"]["caller"]
    return found


def rule_of(route: Any) -> Rule | None:  # noqa: ANN401 - any kind of route: FastAPI's share no class
    """The rule of a route, or of a route context of FastAPI; None if it has none.

    Raises RuntimeError if it has several: of two that disagree nobody would know which one counts.
    """
    listed = getattr(route, "dependencies", None) or ()
    found = [one.rule for one in listed if isinstance(one, _RuleOf) and one.rule is not None]
    if len(found) > 1:
        message = f"the route {route.path} has {len(found)} rules of who may use it: leave one"
        raise RuntimeError(message)
    if found and found[0].environment and "{environment}" not in route.path:
        message = f"the rule of the route {route.path} is for an environment, and its path names none"
        raise RuntimeError(message)
    return found[0] if found else None


def rules(app: FastAPI) -> list[tuple[str, str, Rule]]:
    """Method, path and rule of every route, by path. Raises RuntimeError for one without a rule."""
    return sorted(
        ((method, path, rule) for method, path, rule, _ in _routes(app)), key=lambda one: (one[1], one[0])
    )


def opener(app: FastAPI) -> Callable[[Scope], bool]:
    """What tells whether a request is for a route that is open to all."""
    contexts = [context for *_, rule, context in _routes(app) if rule.right is None]

    def is_open(scope: Scope) -> bool:
        return any(_matches(context, scope) for context in contexts)

    return is_open


def table(app: FastAPI) -> str:
    """The routes and who may use them, as a Markdown table."""
    head = "| route | " + " | ".join(role.value for role in Role) + " |"
    lines = [head, "|---|" + "---|" * len(Role)]
    for method, path, rule in rules(app):
        if rule.right is None:
            cells = ["open to all", *[""] * (len(Role) - 1)]
        else:
            yes = "its own" if rule.environment else "for all" if rule.everywhere else "yes"
            cells = [yes if rule.right in RIGHTS[role] else "" for role in Role]
        lines.append(f"| `{method} {path}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _routes(app: FastAPI) -> Iterator[tuple[str, str, Rule, RouteContext]]:
    for context in iter_route_contexts(app.routes):
        rule = rule_of(context)
        if rule is None:
            message = f"the route {context.path} has no rule of who may use it: give it needs(...)"
            raise RuntimeError(message)
        for method in sorted(context.methods or ()):
            yield method, str(context.path), rule, context


def _matches(context: RouteContext, scope: Scope) -> bool:
    match: tuple[Match, Mapping[str, Any]] = context.matches(scope)
    return match[0] is Match.FULL
