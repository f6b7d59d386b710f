"""Signing in with a real Chromium, and what pages of other sites can do with the session that it then has."""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core.tokens import Role
from deployer.web import serving
from tests.support import browser
from tests.support.door import Keys
from tests.support.eventually import eventually
from tests.support.faces import Faces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, BrowserContext, Page
    from starlette.types import Receive, Scope, Send

# The browser takes seconds to start on a busy machine.
pytestmark = pytest.mark.timeout(180)

browser.require_chromium()

RESOLVES = "--host-resolver-rules=MAP deployer.test 127.0.0.1"
"""A name that is not loopback's, for what a browser does there."""

EVIL = """<!doctype html><title>evil</title>
<a id="link" href="{url}/env/staging">look</a>
<form id="form" method="post" action="{url}/env/staging/sync"><button>win</button></form>
<iframe src="{url}/"></iframe><img src="{url}/">"""

TRIES = """async url => {
    const get = mode => fetch(url + '/api/v1/environments', {mode, credentials: 'include'});
    const post = fetch(url + '/api/v1/environments/staging/sync', {
        method: 'POST', mode: 'no-cors', credentials: 'include', body: '{}',
    });
    const outcomes = await Promise.allSettled([get('cors'), get('no-cors'), post]);
    return outcomes.map(one => one.status === 'fulfilled' && one.value.type !== 'opaque');
}"""


class Seen:
    """Every request that reached the daemon, and the status it got."""

    def __init__(self, app: Any) -> None:
        """Stand before the guard."""
        self._app = app
        self.requests: list[tuple[str, str, str, int]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        headers = dict(scope["headers"])
        site = headers.get(b"sec-fetch-site", b"").decode()
        has_cookie = b"__Host-deployer=" in headers.get(b"cookie", b"")

        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                what = f"{scope['method']} {scope['path']}"
                self.requests.append((what, site, "cookie" if has_cookie else "", message["status"]))
            await send(message)

        await self._app(scope, receive, noted)


class Elsewhere(BaseHTTPRequestHandler):
    """A page of another site, which keeps the cookies that it is sent."""

    page = ""
    cookies: list[str]

    def do_GET(self) -> None:
        """Show the page."""
        self.cookies.append(self.headers.get("Cookie", ""))
        body = self.page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def elsewhere(url: str) -> Iterator[tuple[str, list[str]]]:
    """Another port of this machine, with a page that tries everything; and the cookies that it got."""
    cookies: list[str] = []
    handler = type("Handler", (Elsewhere,), {"page": EVIL.format(url=url), "cookies": cookies})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{made.server_address[1]}", cookies
        finally:
            made.shutdown()
            thread.join(10)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """Tokens."""
    with closing(Keys(tmp_path_factory.mktemp("keys"))) as made:
        yield made


@pytest.fixture(scope="module")
def seen(keys: Keys) -> Seen:
    """The faces."""
    faces = Faces(keys)
    # The name for which browsers keep nothing over http; the guard would not answer to it otherwise.
    faces.door.origins._names.add("deployer.test")
    return Seen(faces.guard)


@pytest.fixture(scope="module")
def url(seen: Seen, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the faces are."""
    folder: Path = tmp_path_factory.mktemp("state")
    with serving(seen, folder, host="127.0.0.1", port=0, token=keys.local) as found:
        yield found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser."""
    with browser.launched(RESOLVES) as made:
        yield made


@pytest.fixture
def window(chromium: Browser) -> Iterator[BrowserContext]:
    """A person's browser, with nothing in it."""
    with closing(chromium.new_context()) as made:
        yield browser.patient(made)


def sign_in(page: Page, secret: str) -> None:
    """Paste a token."""
    page.fill("input[name=token]", secret)
    page.click("main button")


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_person_signs_in_and_out(window: BrowserContext, url: str, keys: Keys, name: str) -> None:
    """Over http on this machine; the cookie has the prefix, and no script sees it."""
    secret = keys.give(Role.DEPLOYER, name="ada")
    page = window.new_page()
    page.goto(f"{url.replace('127.0.0.1', name)}/env/staging?x=1")
    assert "/sign-in?next=" in page.url
    sign_in(page, "dpl_" + "a" * 43)
    assert "does not know this token" in page.inner_text("main")
    sign_in(page, secret)
    assert page.url == f"{url.replace('127.0.0.1', name)}/env/staging?x=1"
    assert "ada" in page.inner_text("header")
    (cookie,) = window.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (
        "__Host-deployer",
        True,
        True,
        "Strict",
    )
    assert secret not in cookie["value"]
    assert page.evaluate("document.cookie") == ""
    page.click("form[action='/sign-out'] button")
    assert page.url.endswith("/sign-in")
    assert window.cookies() == []


def test_over_http_under_another_name_the_page_says_why(window: BrowserContext, url: str, keys: Keys) -> None:
    """The browser would not keep the cookie."""
    page = window.new_page()
    page.goto(f"{url.replace('127.0.0.1', 'deployer.test')}/sign-in")
    sign_in(page, keys.local)
    assert "use the https address" in page.inner_text("main")
    assert window.cookies() == []


def test_pages_of_others_get_nothing_done(window: BrowserContext, url: str, keys: Keys, seen: Seen) -> None:
    """Not even from another port of this machine, to which the browser sends the session along."""
    secret = keys.give(Role.ADMIN)
    page = window.new_page()
    page.goto(f"{url}/sign-in")
    sign_in(page, secret)
    with elsewhere(url) as (evil, cookies):
        seen.requests.clear()
        page.goto(evil)
        # The reason why the cookie holds a session that ends, and not the token (ADR 0020).
        assert "__Host-deployer=" in cookies[0]
        assert secret not in repr(cookies)
        assert page.evaluate(TRIES, url) == [False, False, False]
        page.click("#form button")
        eventually(lambda: any(what == "POST /env/staging/sync" for what, *_ in seen.requests), within=10)
        tried = {one for one in seen.requests if one[1] == "same-site"}
        assert {what for what, *_ in tried} >= {
            *("GET /", "GET /api/v1/environments"),
            *("POST /api/v1/environments/staging/sync", "POST /env/staging/sync"),
        }
        assert {(has_cookie, status) for _, _, has_cookie, status in tried} == {("cookie", 403)}

        page.goto(evil)
        seen.requests.clear()
        page.click("#link")
        assert page.url == f"{url}/sign-in?next=/env/staging"
        page.click("main a[href='/env/staging']")
        assert page.url == f"{url}/env/staging"
        assert "ada" in page.inner_text("header")
