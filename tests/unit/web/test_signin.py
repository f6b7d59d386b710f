"""Signing in and out: what a form may hold, what comes back, and where one may be sent."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

import pytest
from fastapi import FastAPI, Request
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from deployer.web import problems, signin
from deployer.web.access import Right, Role, caller, needs, opener
from deployer.web.attempts import AT_ONCE
from deployer.web.guard import Guard
from deployer.web.signin import safe_next
from tests.support.asgi import HOST, Answer, ask
from tests.support.door import Keys, bearer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OURS = ("Origin", f"http://{HOST}")
FORM = ("Content-Type", "application/x-www-form-urlencoded")


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Keys]:
    """Tokens."""
    with closing(Keys(tmp_path)) as made:
        yield made


@pytest.fixture
def guard(keys: Keys) -> Guard:
    """The sign-in page, and one that needs a token, behind the guard."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(app)
    door = keys.door()
    app.include_router(signin.router(door))

    @app.get("/who", dependencies=[needs(Right.READ)])
    def who(request: Request) -> str:
        return caller(request).name

    return Guard(app, door, opener(app))


def sign_in(
    guard: Guard, token: str, then: str | None = None, origin: tuple[str, str] = OURS, host: str = HOST
) -> Answer:
    """Send the form."""
    fields = {"token": token} | ({} if then is None else {"next": then})
    return ask(guard, "POST", "/sign-in", [FORM, origin], urlencode(fields).encode(), host=host)


def test_a_token_becomes_a_session(guard: Guard, keys: Keys) -> None:
    """In a cookie that scripts and other sites do not see. The token is in nothing that comes back."""
    secret = keys.give(Role.VIEWER)
    answer = sign_in(guard, f"  {secret}\n", "/env/staging?x=1")
    assert (answer.status, answer.headers["location"]) == (303, "/env/staging?x=1")
    (cookie,) = answer.all_of("set-cookie")
    value, *attributes = cookie.split("; ")
    assert attributes == ["Max-Age=43200", "Path=/", "Secure", "HttpOnly", "SameSite=Strict"]
    assert value.startswith("__Host-deployer=")
    assert secret not in repr(answer.raw) + answer.text
    assert ask(guard, "GET", "/who", [("Cookie", value)]).text == '"ada"'
    keys.now += timedelta(hours=12)
    assert ask(guard, "GET", "/who", [("Cookie", value)]).status == 401


def test_signing_out_takes_the_cookie_away(guard: Guard) -> None:
    """With the attributes with which it was set, or the browser would keep it."""
    answer = ask(guard, "POST", "/sign-out", [OURS])
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
    assert answer.all_of("set-cookie") == [
        "__Host-deployer=; Max-Age=0; Path=/; Secure; HttpOnly; SameSite=Strict"
    ]
    assert ask(guard, "GET", "/sign-out").status == 401


@pytest.mark.parametrize("token", ["", "wrong", "dpl_" + "a" * 43, "\ud800", "é", "0123abcd"])
def test_what_is_no_token_is_said_so(guard: Guard, token: str) -> None:
    """The page again, without what was typed."""
    body = urlencode({"token": token, "next": "/x"}, errors="surrogatepass").encode()
    answer = ask(guard, "POST", "/sign-in", [FORM, OURS], body)
    if token == "\ud800":
        assert answer.status == 400
        return
    assert answer.status == 401
    assert "does not know this token" in answer.text
    assert 'value="/x"' in answer.text
    assert not token or token not in answer.text
    assert not answer.all_of("set-cookie")


def test_a_revoked_token_signs_nobody_in(guard: Guard, keys: Keys) -> None:
    """Its owner is told which one it was."""
    secret = keys.give(Role.ADMIN)
    keys.revoke(secret)
    answer = sign_in(guard, secret)
    assert answer.status == 401
    assert "of ada was revoked" in answer.text


def test_tries_are_limited_and_the_right_one_is_not(guard: Guard, keys: Keys) -> None:
    """The same limit as for every other 401 of that address; the log has no token."""
    with capture_logs() as logs:
        statuses = [sign_in(guard, f"dpl_canary{number}").status for number in range(AT_ONCE + 1)]
    assert statuses == [*[401] * AT_ONCE, 429]
    assert ask(guard, "GET", "/who", bearer("wrong")).status == 429
    assert sign_in(guard, keys.local).status == 303
    assert "canary" not in repr(logs)


def test_the_form_of_others_signs_nobody_in(guard: Guard, keys: Keys) -> None:
    """Or they could sign somebody in as themselves."""
    assert sign_in(guard, keys.local, origin=("Origin", "https://evil.example")).status == 403
    assert sign_in(guard, keys.local, origin=("Origin", "http://127.0.0.1:8265")).status == 403
    assert sign_in(guard, keys.local, host="evil.example").status == 421


def test_what_is_no_form_of_ours(guard: Guard) -> None:
    """Another type, too much of it, too many fields, other bytes; each a problem that quotes nothing."""
    for body, kind, status in (
        (b'{"token": "dpl_canary"}', "application/json", 415),
        (b"token=dpl_canary" + b"a" * 8_192, FORM[1], 413),
        (b"token=dpl_canary&" + b"a=b&" * 20, FORM[1], 400),
        (b"token=dpl_canary%ff", FORM[1], 400),
        (b"token=dpl_canary\xff", FORM[1], 400),
        (b"", "", 415),
    ):
        answer = ask(guard, "POST", "/sign-in", [("Content-Type", kind), OURS], body)
        assert answer.status == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert "canary" not in answer.text


def test_the_page_knows_where_one_came_from(guard: Guard) -> None:
    """After a link of another site a session did not count, so the page offers to go on with it."""
    link = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
    plain = ask(guard, "GET", '/sign-in?next=/a"b').text
    from_elsewhere = ask(guard, "GET", "/sign-in?next=/env/staging", link).text
    assert '<a href="/env/staging">' in from_elsewhere
    assert "<a " not in plain
    assert 'value="/a&quot;b"' in plain
    assert 'value="/"' in ask(guard, "GET", "/sign-in?next=https://evil.example").text


def test_over_http_elsewhere_nobody_is_sent_round_in_circles(keys: Keys) -> None:
    """A browser would not keep the cookie there, so the page says what to do instead."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    door = keys.door()
    door.origins._names.add("deployer.internal")
    app.include_router(signin.router(door))
    guard = Guard(app, door, opener(app))
    origin, host = "deployer.internal:8700", "deployer.internal:8700"
    over_http = sign_in(guard, keys.local, origin=("Origin", f"http://{origin}"), host=host)
    assert over_http.status == 401
    assert "use the https address" in over_http.text
    assert sign_in(guard, keys.local, origin=("Origin", f"https://{origin}"), host=host).status == 303


# --- where one may be sent ---------------------------------------------------------------------------------

PIECES = [
    "/",
    "\\",
    "//",
    "evil.example",
    ":",
    "@",
    "\t",
    "\n",
    "\r",
    "%2f",
    "..",
    "?",
    "#",
    "http",
    "é",
    " ",
]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map("".join))
@example("//evil.example")
@example("/\\evil.example")
@example("/\t/evil.example")
@example("\t//evil.example")
@example("https:evil.example")
@example("/sign-in?next=/")
def test_nobody_is_sent_elsewhere(text: str) -> None:
    """However browsers read it: they take a backslash for a slash, and leave out tabs and line breaks."""
    then = safe_next(text)
    read = "".join(character for character in then if character not in "\t\n\r").replace("\\", "/")
    landed = urlsplit(urljoin("http://127.0.0.1:8700/sign-in", read))
    assert (landed.scheme, landed.netloc) == ("http", "127.0.0.1:8700")
    assert then in {text, "/"}
    assert then.isascii()
    assert then.isprintable()
    assert not then.startswith("/sign-in")


@pytest.mark.parametrize("path", ["/", "/env/staging", "/rollouts/staging%2342?a=b#c", "/history?q=~*'"])
def test_our_own_paths_are_gone_to(path: str) -> None:
    """As they are."""
    assert safe_next(path) == path


def test_a_very_long_path_is_not() -> None:
    """It would be in a header."""
    assert safe_next("/" + "a" * 2_000) == "/"
