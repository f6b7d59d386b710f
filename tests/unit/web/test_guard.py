"""What the guard lets in, as whom, and what it says to everybody else."""

from __future__ import annotations

import asyncio
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.responses import Response
from structlog.testing import capture_logs

from deployer.settings import Server, TrustedProxy
from deployer.web import problems
from deployer.web.access import Right, Role, caller, needs, open_to_all, opener
from deployer.web.attempts import AT_ONCE
from deployer.web.callers import COOKIE
from deployer.web.guard import HEADERS, Guard
from tests.support.asgi import HOST, Answer, ask, scope_of, talk
from tests.support.door import Keys, bearer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from starlette.types import Message

OURS = ("Origin", f"http://{HOST}")
HTML = ("Accept", "text/html,application/xhtml+xml")


def server(**more: Any) -> Server:
    """Settings of the server, as `load` would make them."""
    return Server.model_construct(**{**Server().__dict__, **more})


def proxy(*addresses: str) -> TrustedProxy:
    """A proxy that is trusted."""
    return TrustedProxy.model_construct(addresses=addresses, user_header="X-Forwarded-User", role="viewer")


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[Keys]:
    """Tokens."""
    with closing(Keys(tmp_path)) as made:
        yield made


class House:
    """An application of a few routes behind a guard."""

    def __init__(self, keys: Keys, settings: Server | None = None) -> None:
        """Build it."""
        self.app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        problems.install(self.app)
        router = APIRouter()

        @router.get("/healthz", dependencies=[open_to_all()])
        def healthz(request: Request) -> str:
            return caller(request).name

        @router.post("/open", dependencies=[open_to_all()])
        def opened() -> Response:
            return Response("kept", headers={"Cache-Control": "public"})

        @router.get("/who", dependencies=[needs(Right.READ)])
        @router.post("/who", dependencies=[needs(Right.READ)])
        def who(request: Request) -> dict[str, Any]:
            one = caller(request)
            return {"name": one.name, "how": one.how, "token": one.token}

        self.app.include_router(router)
        self.door = keys.door(settings)
        self.guard = Guard(self.app, self.door, opener(self.app))

    def who(self, *headers: tuple[str, str], method: str = "GET", **more: Any) -> tuple[str, str] | int:
        """Name and way of who asks, or the status of the refusal."""
        answer = ask(self.guard, method, "/who", headers, **more)
        return (answer.json()["name"], answer.json()["how"]) if answer.status == 200 else answer.status

    def session(self, secret: str) -> tuple[str, str]:
        """The cookie of a session of this token."""
        found = self.door.callers.of_secret(secret)
        assert not hasattr(found, "why")
        return ("Cookie", self.door.callers.cookie(found).partition(";")[0])


@pytest.fixture
def house(keys: Keys) -> House:
    """With the settings as they are by default."""
    return House(keys)


# --- who it is ------------------------------------------------------------------------------------------


def test_tokens_open_as_whom_they_are_of(house: House, keys: Keys) -> None:
    """The one of this machine, and those that were given."""
    ada = keys.give(Role.VIEWER)
    assert house.who(*bearer(keys.local)) == ("local", "local")
    assert house.who(*bearer(ada)) == ("ada", "token")
    assert house.who(("authorization", f"bearer  {ada} ")) == ("ada", "token")


def test_what_does_not_count(house: House, keys: Keys) -> None:
    """401 with the way to ask; never less than that because something else is sent too."""
    gone, short = keys.give(Role.ADMIN), keys.give(Role.ADMIN, lasts=timedelta(hours=1))
    fine = keys.give(Role.VIEWER)
    session = house.session(fine)
    keys.revoke(gone)
    keys.now += timedelta(hours=1)
    wrong = [
        bearer(gone),
        bearer(short),
        bearer("dpl_" + "a" * 43),
        bearer("wrong"),
        bearer(""),
        bearer("é"),
        [*bearer(fine), *bearer(fine)],
        [("Authorization", f"Basic {fine}")],
        [("Authorization", fine)],
        [("X-Forwarded-User", "ada")],
        [*bearer(gone), session],
        [],
    ]
    for headers in wrong:
        answer = ask(house.guard, "GET", "/who", headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer"), headers
        assert answer.headers["content-type"] == "application/problem+json"
    assert "ada has expired" in ask(house.guard, "GET", "/who", bearer(short)).json()["detail"]
    assert "ada was revoked" in ask(house.guard, "GET", "/who", bearer(gone)).json()["detail"]
    assert ask(house.guard, "GET", "/no-such-path").status == 401
    assert ask(house.guard, "HEAD", "/healthz").status == 401


def test_a_session_is_as_good_as_its_token(house: House, keys: Keys) -> None:
    """Until it ends, or the token does; never under another name, nor as a token."""
    ada = keys.give(Role.VIEWER)
    session, local = house.session(ada), house.session(keys.local)
    assert house.who(session) == ("ada", "session")
    assert house.who(("Cookie", f"a=b; {session[1]}; c=d")) == ("ada", "session")
    assert ask(house.guard, "GET", "/who", [local]).json() == {
        "name": "admin",
        "how": "session",
        "token": "local",
    }
    value = session[1].partition("=")[2]
    assert house.who(("Cookie", f"deployer={value}")) == 401
    assert house.who(("Cookie", f"{COOKIE}={ada}")) == 401
    assert house.who(("Cookie", f"{session[1]}; {session[1]}")) == 401
    assert house.who(("Authorization", f"Bearer {value}")) == 401
    assert house.who(("Cookie", session[1][:-1] + ("A" if session[1][-1] != "A" else "B"))) == 401
    keys.now += timedelta(hours=11)
    assert house.who(session) == ("ada", "session")
    keys.revoke(ada)
    assert house.who(session) == 401
    keys.now += timedelta(hours=1)
    assert house.who(local) == 401


def test_a_session_gets_nothing_done_unless_the_browser_says_for_whom(house: House, keys: Keys) -> None:
    """A form of ours; not of another port, which sends the cookie along (as Chromium does)."""
    session = house.session(keys.give(Role.VIEWER))
    assert house.who(session, OURS, method="POST") == ("ada", "session")
    assert house.who(session, ("Sec-Fetch-Site", "same-origin"), method="POST") == ("ada", "session")
    assert house.who(session, method="POST") == 401
    assert house.who(session, ("Origin", "null"), method="POST") == 403
    assert house.who(session, ("Origin", "http://127.0.0.1:8265"), method="POST") == 403
    assert house.who(session, ("Sec-Fetch-Site", "same-site")) == 403


def test_a_link_from_elsewhere_is_followed_without_the_session(house: House, keys: Keys) -> None:
    """It leads to where one signs in, which knows the way back."""
    session = house.session(keys.give(Role.VIEWER))
    link = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
    answer = ask(house.guard, "GET", "/who?a=%23b", [session, HTML, *link])
    assert (answer.status, answer.headers["location"]) == (303, "/sign-in?next=/who%3Fa%3D%2523b")


def test_pages_of_others_have_no_token_that_helps(house: House, keys: Keys) -> None:
    """Whatever they send, also to what is open to all."""
    for headers in ([("Origin", "https://evil.example")], [("Sec-Fetch-Site", "cross-site")]):
        for method, path in (("GET", "/who"), ("POST", "/who"), ("GET", "/healthz"), ("OPTIONS", "/who")):
            answer = ask(house.guard, method, path, [*bearer(keys.local), *headers])
            assert answer.status == 403
            assert not [name for name in answer.headers if name.startswith("access-control")]


def test_only_names_of_ours(house: House, keys: Keys) -> None:
    """Before anything else: a page that has our address under its own name gets nothing."""
    for path in ("/who", "/healthz"):
        answer = ask(house.guard, "GET", path, bearer(keys.local), host="evil.example:8700")
        assert answer.status == 421


def test_everybody_may_look_where_the_settings_say_so(keys: Keys) -> None:
    """And do nothing; what does not count is still said, but for a session that has ended."""
    house = House(keys, server(anonymous_read=True))
    assert house.who() == ("anonymous", "anonymous")
    assert house.who(("Cookie", f"{COOKIE}=over")) == ("anonymous", "anonymous")
    assert house.who(*bearer("wrong")) == 401
    assert house.who(*bearer(keys.give(Role.VIEWER))) == ("ada", "token")


def test_the_word_of_the_proxy(keys: Keys) -> None:
    """From its address alone; a token or a session says more; from others it is refused, not ignored."""
    house = House(keys, server(trusted_proxy=proxy("10.0.0.0/24", "fd00::7"), anonymous_read=True))
    user = ("X-Forwarded-User", "bob@example.com")
    assert house.who(user, peer="10.0.0.9") == ("bob@example.com", "proxy")
    assert house.who(user, peer="fd00::7") == ("bob@example.com", "proxy")
    assert house.who(user, peer="::ffff:10.0.0.9") == ("bob@example.com", "proxy")
    for stranger in ("127.0.0.1", "::1", "10.0.1.9", "unknown"):
        assert house.who(user, peer=stranger) == 403
        assert house.who(user, *bearer(keys.local), peer=stranger, scheme="https") == 403
        assert ask(house.guard, "GET", "/healthz", [user], peer=stranger).status == 403
    ada = keys.give(Role.VIEWER)
    assert house.who(user, *bearer(ada), peer="10.0.0.9") == ("ada", "token")
    assert house.who(user, house.session(ada), peer="10.0.0.9") == ("ada", "session")
    assert house.who(user, ("Cookie", f"{COOKIE}=over"), peer="10.0.0.9") == ("bob@example.com", "proxy")
    assert house.who(("X-Forwarded-User", ""), peer="10.0.0.9") == ("anonymous", "anonymous")
    for name in ("bob (local)", "b\xffb", "<b>", "a" * 65):
        assert house.who(("X-Forwarded-User", name), peer="10.0.0.9") == 401
    assert house.who(user, user, peer="10.0.0.9") == 401


def test_no_token_is_taken_that_others_could_read_on_the_way(keys: Keys) -> None:
    """Without TLS: from this machine and from the proxy only; what is open to all may be looked at."""
    house = House(keys, server(trusted_proxy=proxy("10.0.0.9"), anonymous_read=True))
    ada = bearer(keys.give(Role.VIEWER))
    assert house.who(*ada, peer="192.0.2.1") == 403
    assert house.who(peer="192.0.2.1") == 403
    assert house.who(*ada, peer="192.0.2.1", scheme="https") == ("ada", "token")
    assert house.who(*ada, peer="10.0.0.9") == ("ada", "token")
    assert ask(house.guard, "GET", "/healthz", peer="192.0.2.1").text == '"anonymous"'
    assert ask(house.guard, "POST", "/open", peer="192.0.2.1").status == 403


def test_what_is_open_asks_for_nothing(house: House, keys: Keys) -> None:
    """And a token that does not count is no reason to refuse it, nor counted."""
    for _ in range(2 * AT_ONCE):
        assert ask(house.guard, "GET", "/healthz", bearer("wrong")).text == '"nobody"'
    assert ask(house.guard, "GET", "/healthz", bearer(keys.local)).text == '"local"'
    assert ask(house.guard, "GET", "/who", bearer("wrong")).status == 401


# --- what is answered ------------------------------------------------------------------------------------


def test_a_person_is_sent_to_sign_in(house: House) -> None:
    """With the way back, to a path of ours; a program and a part of a page are told 401."""
    assert ask(house.guard, "GET", "/", [HTML]).headers["location"] == "/sign-in?next=/"
    answer = ask(house.guard, "GET", "/no/such%20path?x=1&y=%26", [HTML])
    assert (answer.status, answer.headers["location"]) == (
        303,
        "/sign-in?next=/no/such%2520path%3Fx%3D1%26y%3D%2526",
    )
    posted = ask(house.guard, "POST", "/who", [HTML, OURS])
    assert (posted.status, posted.headers["location"]) == (303, "/sign-in?next=/")
    assert ask(house.guard, "GET", "/api/v1/x", [HTML]).status == 401
    assert ask(house.guard, "GET", "/who", [HTML, ("HX-Request", "true")]).status == 401
    assert ask(house.guard, "GET", "/who", [("Accept", "text/event-stream")]).status == 401


def test_failures_are_limited_and_lock_nobody_out(house: House, keys: Keys) -> None:
    """Not those who have the right token, though they come from the same address."""
    session = house.session(keys.local)
    statuses = [ask(house.guard, "GET", "/who", bearer("wrong")).status for _ in range(AT_ONCE + 1)]
    assert statuses == [*[401] * AT_ONCE, 429]
    limited = ask(house.guard, "GET", "/who")
    assert (limited.status, limited.headers["retry-after"]) == (429, "3")
    assert "3 s" in limited.json()["detail"]
    assert house.who(*bearer(keys.local)) == ("local", "local")
    assert house.who(session) == ("admin", "session")
    assert house.who(*bearer("wrong"), peer="127.0.0.2") == 401


def test_the_log_says_so_once_and_holds_no_token(house: House) -> None:
    """However many come."""
    with capture_logs() as logs:
        for number in range(50):
            ask(house.guard, "GET", "/who", bearer(f"dpl_canary{number}"), peer="127.0.0.3")
    assert [(one["event"], one["count"], one["peer"]) for one in logs] == [
        ("requests_refused", 1, "127.0.0.3")
    ]
    assert "canary" not in repr(logs)


def test_bodies_have_a_limit(house: House, keys: Keys) -> None:
    """Everywhere, by what is said of them; chunks do not say it."""
    for path in ("/who", "/open"):
        for method in ("GET", "POST"):
            headers = bearer(keys.local)
            assert ask(house.guard, method, path, headers, length=65_537).status == 413
            assert ask(house.guard, method, path, [*headers, ("Transfer-Encoding", "chunked")]).status == 411
    assert ask(house.guard, "POST", "/who", bearer(keys.local), b"x" * 65_536).status == 200
    assert ask(house.guard, "POST", "/who", length=65_537).status == 401


def test_every_answer_keeps_browsers_strict(house: House, keys: Keys) -> None:
    """Also a refusal, and one of the application's own errors; nothing that needs a token is kept."""
    answers = {
        "let in": ask(house.guard, "GET", "/who", bearer(keys.local)),
        "not found": ask(house.guard, "GET", "/no", bearer(keys.local)),
        "no token": ask(house.guard, "GET", "/who"),
        "to sign in": ask(house.guard, "GET", "/who", [HTML]),
        "another name": ask(house.guard, "GET", "/who", host="evil.example"),
        "too large": ask(house.guard, "GET", "/who", bearer(keys.local), length=10**6),
        "open": ask(house.guard, "POST", "/open"),
    }
    for name, answer in answers.items():
        for header, value in HEADERS.items():
            assert answer.all_of(header.lower()) == [value], name
        assert answer.all_of("cache-control") == (["public"] if name == "open" else ["no-store"]), name


def test_the_policy_allows_nothing_inline() -> None:
    """Nor from elsewhere, nor in a frame."""
    policy = HEADERS["Content-Security-Policy"]
    directives = {name: rest for name, _, rest in (part.strip().partition(" ") for part in policy.split(";"))}
    assert directives == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }


# --- streams, and the stop ---------------------------------------------------------------------------------


class Stream:
    """An application that sends a line whenever the test says so, without an end."""

    def __init__(self, keys: Keys) -> None:
        """Build it."""
        self.next, self.has_ended = asyncio.Event(), False
        self.got: list[bytes] = []
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

        @app.get("/live", dependencies=[needs(Right.READ)])
        async def live() -> StreamingResponse:
            return StreamingResponse(self._lines(), media_type="text/event-stream")

        self.guard = Guard(app, keys.door(), opener(app))

    async def _lines(self) -> AsyncIterator[str]:
        try:
            number = 0
            while True:
                yield f"data: {number}\n\n"
                number += 1
                await self.next.wait()
                self.next.clear()
        finally:
            self.has_ended = True

    async def listen(self, shown: str | tuple[str, str]) -> asyncio.Task[Answer]:
        """Open it with a token, or another header, and wait for its first line."""
        headers = bearer(shown) if isinstance(shown, str) else [shown]
        scope = scope_of("GET", "/live", headers)
        task = asyncio.create_task(talk(self._tap, scope))
        while not self.got:  # noqa: ASYNC110 - what is sent has no event; the test has a time limit
            await asyncio.sleep(0.001)
        return task

    async def _tap(self, scope: Any, receive: Any, send: Any) -> None:
        async def heard(message: Message) -> None:
            if message.get("body"):
                self.got.append(message["body"])
            await send(message)

        await self.guard(scope, receive, heard)


def test_a_stream_ends_with_its_token(keys: Keys) -> None:
    """The next line after a revocation is not sent, and the application is told that nobody listens."""

    async def story() -> Answer:
        stream, secret = Stream(keys), keys.give(Role.VIEWER)
        task = await stream.listen(secret)
        stream.next.set()
        while len(stream.got) < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        keys.revoke(secret)
        stream.next.set()
        answer = await asyncio.wait_for(task, 5)
        assert stream.has_ended
        return answer

    answer = asyncio.run(story())
    assert (answer.status, answer.text) == (200, "data: 0\n\ndata: 1\n\n")


def test_a_stream_ends_with_its_session(keys: Keys) -> None:
    """Also where its token goes on: a cookie that got out is worth 12 hours, and no more."""
    house, secret = House(keys), keys.give(Role.VIEWER)

    async def story(shown: tuple[str, str]) -> bool:
        stream = Stream(keys)
        task = await stream.listen(shown)
        keys.now += timedelta(hours=13)
        stream.next.set()
        # One line more, where it goes on.
        while not task.done() and len(stream.got) < 2:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.001)
        has_ended = stream.has_ended
        task.cancel()
        await asyncio.wait([task])
        return has_ended

    for local in (secret, keys.local):
        assert asyncio.run(story(house.session(local)))
        assert not asyncio.run(story(bearer(local)[0]))


def test_a_stop_ends_what_is_under_way(keys: Keys) -> None:
    """A stream that has begun gets its end; a request without an answer gets a sentence."""

    async def stream() -> Answer:
        opened = Stream(keys)
        task = await opened.listen(keys.local)
        task.cancel()
        return await asyncio.wait_for(task, 5)

    async def waiting() -> Answer:
        entered = asyncio.Event()

        async def app(_scope: Any, _receive: Any, _send: Any) -> None:
            entered.set()
            await asyncio.Event().wait()

        guard = Guard(app, keys.door(), lambda _scope: False)
        task = asyncio.create_task(talk(guard, scope_of("GET", "/x", bearer(keys.local))))
        await asyncio.wait_for(entered.wait(), 5)
        task.cancel()
        return await asyncio.wait_for(task, 5)

    assert asyncio.run(stream()).text == "data: 0\n\n"
    stopped = asyncio.run(waiting())
    assert stopped.status == 503
    assert stopped.json()["detail"].startswith("The daemon is stopping")


def test_a_use_is_noted_without_waiting_for_the_disk(keys: Keys) -> None:
    """Once a minute; a store that cannot be written is no reason to refuse anybody."""
    house, secret = House(keys), keys.give(Role.VIEWER)
    (token,) = keys.tokens.all()

    async def twice() -> None:
        for _ in range(2):
            answer = await talk(house.guard, scope_of("GET", "/who", bearer(secret)))
            assert answer.status == 200
            await asyncio.gather(*house.guard._uses.values())

    asyncio.run(twice())
    assert keys.tokens.get(token.id).last_used_at == keys.now  # type: ignore[union-attr]  # it is there
    keys.now += timedelta(minutes=1)
    keys.database.close()
    asyncio.run(twice())
