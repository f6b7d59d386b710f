"""Rules of routes: found by looking, checked before anything runs, and never missing."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import iter_route_contexts

from deployer.web import problems
from deployer.web.access import (
    NOBODY,
    RIGHTS,
    Caller,
    Right,
    Role,
    Rule,
    caller,
    needs,
    open_to_all,
    opener,
    require,
    rule_of,
    rules,
    table,
)
from deployer.web.problems import Problem
from tests.support.asgi import Answer, ask, scope_of

ADA = Caller(name="ada", how="token", token="3f2a9c1b", rights=RIGHTS[Role.DEPLOYER])
STAGING = Caller(
    name="ci", how="token", token="0000000a", rights=RIGHTS[Role.ADMIN], environments=frozenset({"staging"})
)


def application() -> FastAPI:
    """A few routes with rules at every place where one can stand."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(app)
    machines = APIRouter(dependencies=[open_to_all()])

    @machines.get("/healthz")
    def healthz() -> str:
        return "ok"

    inner = APIRouter(prefix="/environments/{environment}")

    @inner.post("/sync", dependencies=[needs(Right.DEPLOY, environment=True)])
    def sync(environment: str, order: dict[str, str], request: Request) -> str:
        return f"{caller(request).name} {environment} {order}"

    outer = APIRouter(dependencies=[needs(Right.ADMINISTER)])

    @outer.get("/settings")
    def settings() -> str:
        return "all"

    app.include_router(machines)
    app.include_router(inner, prefix="/api/v1")
    app.include_router(outer)

    @app.get("/", dependencies=[needs(Right.READ)])
    def first() -> str:
        return "page"

    return app


def send(one: Caller, method: str, path: str, body: bytes = b"") -> Answer:
    """What this caller gets."""
    app = application()

    async def known(scope: dict[str, object], receive: object, send: object) -> None:
        scope["state"] = {"caller": one}
        await app(scope, receive, send)  # type: ignore[arg-type]  # passed on as they came

    return ask(known, method, path, [("Content-Type", "application/json")], body)  # type: ignore[arg-type]  # as above


def test_rules_are_found_wherever_they_stand() -> None:
    """At a route, at its router, at the router around it; with the whole path."""
    assert rules(application()) == [
        ("GET", "/", Rule(right=Right.READ)),
        ("POST", "/api/v1/environments/{environment}/sync", Rule(right=Right.DEPLOY, environment=True)),
        ("GET", "/healthz", Rule(right=None)),
        ("GET", "/settings", Rule(right=Right.ADMINISTER)),
    ]


def test_the_table() -> None:
    """One line for each route, one column for each role."""
    assert table(application()).splitlines() == [
        "| route | viewer | deployer | approver | overrider | admin |",
        "|---|---|---|---|---|---|",
        "| `GET /` | yes | yes | yes | yes | yes |",
        "| `POST /api/v1/environments/{environment}/sync` |  | its own |  | its own | its own |",
        "| `GET /healthz` | open to all |  |  |  |  |",
        "| `GET /settings` |  |  |  |  | yes |",
    ]


def test_a_route_without_a_rule_is_seen() -> None:
    """Also one that is no route of FastAPI's, and one with other dependencies."""
    app = application()
    app.add_route("/plain", lambda _request: None)  # type: ignore[arg-type,return-value]  # never called
    app.mount("/files", FastAPI())
    without = [context.path for context in iter_route_contexts(app.routes) if rule_of(context) is None]
    assert without[:2] == ["/plain", "/files"]
    for look in (rules, opener, table):
        with pytest.raises(RuntimeError, match="the route /plain has no rule of who may use it"):
            look(app)


def test_what_is_about_all_needs_all() -> None:
    """Who administers some environments is not shown what is about the others too; the table says so."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(app)

    @app.get("/doctor", dependencies=[needs(Right.ADMINISTER, everywhere=True)])
    def doctor() -> str:
        return "all"

    def status(one: Caller) -> int:
        async def known(scope: dict[str, object], receive: object, send: object) -> None:
            scope["state"] = {"caller": one}
            await app(scope, receive, send)  # type: ignore[arg-type]  # passed on as they came

        return ask(known, "GET", "/doctor").status  # type: ignore[arg-type]  # as above

    assert [status(STAGING), status(replace(STAGING, environments=None)), status(ADA)] == [403, 200, 403]
    assert table(app).splitlines()[2:] == ["| `GET /doctor` |  |  |  |  | for all |"]


def test_two_rules_are_one_too_many() -> None:
    """Of two that disagree nobody would know which one counts."""
    route = SimpleNamespace(path="/x", dependencies=[open_to_all(), needs(Right.READ)])
    with pytest.raises(RuntimeError, match="the route /x has 2 rules"):
        rule_of(route)


def test_a_rule_for_an_environment_needs_one_in_the_path() -> None:
    """Found at the start, not at the first request."""
    route = SimpleNamespace(path="/x/{name}", dependencies=[needs(Right.READ, environment=True)])
    with pytest.raises(RuntimeError, match="its path names none"):
        rule_of(route)


def test_who_may() -> None:
    """A right, an environment, or both."""
    assert ADA.may(Right.DEPLOY)
    assert ADA.may(Right.DEPLOY, "anything")
    assert not ADA.may(Right.APPROVE)
    assert STAGING.may(Right.ADMINISTER, "staging")
    assert not STAGING.may(Right.READ, "production")
    assert not any(NOBODY.may(right) for right in Right)


def test_a_rule_is_checked_before_anything_of_the_route_runs() -> None:
    """Also before the body is looked at."""
    sync = "/api/v1/environments/{}/sync"
    assert send(ADA, "POST", sync.format("staging"), b'{"a": "b"}').text == "\"ada staging {'a': 'b'}\""
    assert send(STAGING, "POST", sync.format("staging"), b"{}").status == 200
    for one, path, method in (
        (STAGING, sync.format("production"), "POST"),
        (STAGING, sync.format("no-such"), "POST"),
        (Caller(name="x", how="proxy", rights=RIGHTS[Role.VIEWER]), sync.format("staging"), "POST"),
        (NOBODY, "/", "GET"),
        (ADA, "/settings", "GET"),
    ):
        answer = send(one, method, path, b"[]" if method == "POST" else b"")
        assert (answer.status, answer.json()["exit_code"]) == (403, 7)


def test_the_sentences_say_what_would_help() -> None:
    """Without saying whether there is such an environment."""

    def sentence(one: Caller, right: Right, environment: str | None = None) -> str:
        with pytest.raises(Problem) as caught:
            require(one, right, environment)
        return caught.value.detail

    ask_whom = " Ask whoever administers this daemon (`deployer token create`)."
    assert sentence(STAGING, Right.READ, "production") == (
        f"ci (token 0000000a) may read in other environments only: staging.{ask_whom}"
    )
    assert sentence(ADA, Right.ADMINISTER) == (
        f"ada (token 3f2a9c1b) may not administer: that takes the role admin.{ask_whom}"
    )
    proxied = Caller(name="bob", how="proxy", rights=RIGHTS[Role.VIEWER])
    assert sentence(proxied, Right.DEPLOY, "x") == (
        f"bob (proxy) may not deploy: that takes the role deployer, overrider or admin.{ask_whom}"
    )
    assert sentence(NOBODY, Right.READ) == (
        "Without a token nobody may read here: sign in, or send a bearer token."
    )


def test_what_is_open() -> None:
    """That very method and path, and nothing near it."""
    is_open = opener(application())
    assert is_open(scope_of("GET", "/healthz"))
    for method, path in (
        ("POST", "/healthz"),
        ("GET", "/healthz/"),
        ("GET", "//healthz"),
        ("GET", "/"),
        ("GET", "/x"),
    ):
        assert not is_open(scope_of(method, path))
