"""Every route of the finished application, and who may not use it. New routes are in it by themselves."""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import pytest
from structlog.testing import capture_logs

from deployer.core.tokens import Role
from deployer.web.access import RIGHTS, Rule, rules
from tests.support.asgi import HOST, Answer, ask
from tests.support.door import Keys, bearer
from tests.support.faces import PAGE, Faces, uncalled, with_table

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = ("Origin", f"http://{HOST}")
ELSEWHERE = ("Origin", "https://evil.example")
LINK = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
SAFE = {"GET", "HEAD"}


@cache
def routes() -> list[tuple[str, str, Rule]]:
    """The table of the finished application."""
    return rules(uncalled())


def protected() -> list[tuple[str, str, Rule]]:
    """Those that need a right."""
    return [one for one in routes() if one[2].right is not None]


def target(path: str, environment: str = "staging") -> str:
    """An address that the route answers to."""
    values = {"environment": environment, "rollout": f"{environment}%2342", "form": "csv", "name": "site.css"}
    filled = re.sub(r"{(\w+)(?::\w+)?}", lambda match: values.get(match[1], "0123abcd"), path)
    # The stream of events looks for its newest one first, unless it is told where to begin.
    return f"{filled}?after=1" if path.endswith("/events") else filled


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    """Tokens."""
    with closing(Keys(tmp_path_factory.mktemp("keys"))) as made:
        yield made


@pytest.fixture(scope="module")
def secrets(keys: Keys) -> dict[str, str]:
    """One token of each kind."""
    made = {role.value: keys.give(role) for role in Role}
    made["elsewhere"] = keys.give(Role.ADMIN, environments=["production"])
    made["staging"] = keys.give(Role.APPROVER, environments=["staging"])
    made["expired"] = keys.give(Role.ADMIN, lasts=timedelta(seconds=0))
    made["revoked"] = keys.give(Role.ADMIN)
    keys.revoke(made["revoked"])
    made["unknown"] = "dpl_" + "a" * 43
    return made


@pytest.fixture(scope="module")
def built(keys: Keys) -> Faces:
    """One for all tests: it takes a third of a second to make."""
    return Faces(keys)


@pytest.fixture
def faces(built: Faces) -> Faces:
    """The same, as if nobody had asked anything yet."""
    built.models.calls.clear()
    built.door.attempts._buckets.clear()
    return built


def send(faces: Faces, method: str, path: str, *headers: tuple[str, str], **more: Any) -> Answer:
    """A request with the least of a body that the route may take."""
    is_api = path.startswith("/api/")
    kind = "application/json" if is_api else "application/x-www-form-urlencoded"
    body = b"" if method in SAFE else (b"{}" if is_api else b"a=b")
    return ask(faces.guard, method, path, [("Content-Type", kind), *headers], body, **more)


def is_let_in(answer: Answer) -> bool:
    """Whether the route itself has answered, whatever it said."""
    is_sent_away = answer.status == 303 and answer.headers["location"].startswith("/sign-in")
    return answer.status not in {401, 403, 411, 413, 421, 429} and answer.status < 500 and not is_sent_away


IDS = [f"{method} {path}" for method, path, _ in routes()]
PROTECTED_IDS = [f"{method} {path}" for method, path, _ in protected()]


@pytest.mark.parametrize(("method", "path", "rule"), protected(), ids=PROTECTED_IDS)
def test_who_has_no_token_that_counts(
    faces: Faces, secrets: dict[str, str], method: str, path: str, rule: Rule
) -> None:
    """401 for a program, the way to sign in for a person; never anything of the route."""
    for name in ("unknown", "expired", "revoked", None):
        headers = bearer(secrets[name]) if name else []
        answer = send(faces, method, target(path), OURS, *headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer"), name
    person = send(faces, method, target(path), OURS, ("Accept", "text/html"))
    assert person.status == (401 if path.startswith("/api/") else 303)
    assert faces.models.calls == []


@pytest.mark.parametrize(("method", "path", "rule"), protected(), ids=PROTECTED_IDS)
def test_each_role_may_what_its_rule_says(
    faces: Faces, secrets: dict[str, str], method: str, path: str, rule: Rule
) -> None:
    """No less, and no more."""
    assert rule.right is not None
    for role in Role:
        answer = send(faces, method, target(path), OURS, *bearer(secrets[role.value]))
        assert is_let_in(answer) == (rule.right in RIGHTS[role]), (role, answer.status, answer.text[:300])
        if not is_let_in(answer):
            assert answer.status == 403
            assert "takes the role" in answer.text
    if rule.everywhere:
        answer = send(faces, method, target(path), OURS, *bearer(secrets["elsewhere"]))
        assert answer.status == 403
        assert "about all of them" in answer.text


@pytest.mark.parametrize(("method", "path", "rule"), protected(), ids=PROTECTED_IDS)
def test_nobody_reaches_another_environment(
    faces: Faces, secrets: dict[str, str], method: str, path: str, rule: Rule
) -> None:
    """Refused where the path names it, whether there is such a one or not; not read where it does not."""
    if rule.environment:
        for environment in ("staging", "no-such-one"):
            answer = send(faces, method, target(path, environment), OURS, *bearer(secrets["elsewhere"]))
            assert answer.status == 403
            assert "in other environments only: production." in answer.text
        assert faces.models.calls == []
    elif rule.right in RIGHTS[Role.APPROVER]:
        asked = target(path, "production")
        asked += f"{'&' if '?' in asked else '?'}environment=production"
        send(faces, method, asked, OURS, *bearer(secrets["staging"]))
        for name, args, kwargs in faces.models.calls:
            given = kwargs["environments"] if "environments" in kwargs else args[0]
            mine = {given.rpartition("#")[0] or given} if isinstance(given, str) else set(given)
            assert mine <= {"staging"}, name


@pytest.mark.parametrize(("method", "path", "rule"), routes(), ids=IDS)
def test_no_page_of_another_site_gets_in(
    faces: Faces, secrets: dict[str, str], keys: Keys, method: str, path: str, rule: Rule
) -> None:
    """Whatever it sends along, not even to what is open to all. Another port is another site."""
    found = faces.door.callers.of_secret(secrets["admin"])
    session = ("Cookie", faces.door.callers.cookie(cast("Any", found)).partition(";")[0])
    for shown in (session, *bearer(keys.local)):
        for page in (
            [ELSEWHERE],
            [("Origin", "null")],
            [("Origin", "http://127.0.0.1:8265")],
            [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors")],
            [("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")],
        ):
            assert send(faces, method, target(path), shown, *page).status == 403
    assert faces.models.calls == []
    if rule.right is None:
        return
    assert is_let_in(send(faces, method, target(path), session, OURS))
    faces.models.calls.clear()
    linked = send(faces, method, target(path), session, *LINK, ("Accept", "text/html"))
    assert linked.status == ((401 if path.startswith("/api/") else 303) if method in SAFE else 403)
    if method not in SAFE:
        # A cookie and nothing that says whose page it was.
        assert send(faces, method, target(path), session).status == 401
    assert faces.models.calls == []


@pytest.mark.parametrize(("method", "path", "rule"), routes(), ids=IDS)
def test_nothing_answers_to_another_name(
    faces: Faces, keys: Keys, method: str, path: str, rule: Rule
) -> None:
    """Which is how a page gets our address under its own name (DNS rebinding)."""
    for host in ("evil.example", f"evil.example:{HOST.rpartition(':')[2]}", None):
        answer = send(faces, method, target(path), OURS, *bearer(keys.local), host=host)
        assert answer.status == 421
    assert faces.models.calls == []


@pytest.mark.parametrize(("method", "path", "rule"), routes(), ids=IDS)
def test_nothing_reads_a_large_body(faces: Faces, keys: Keys, method: str, path: str, rule: Rule) -> None:
    """Nor one that does not say how large it is."""
    headers = [OURS, *bearer(keys.local)]
    assert ask(faces.guard, method, target(path), headers, length=65_537).status == 413
    assert ask(faces.guard, method, target(path), [*headers, ("Transfer-Encoding", "chunked")]).status == 411
    assert faces.models.calls == []


@pytest.mark.parametrize(("method", "path", "rule"), routes(), ids=IDS)
def test_a_token_is_in_no_answer_and_no_line_of_the_log(
    faces: Faces, keys: Keys, method: str, path: str, rule: Rule
) -> None:
    """Whether it counts or not, in whichever place it was sent."""
    found = faces.door.callers.of_secret(keys.local)
    session = faces.door.callers.cookie(cast("Any", found)).partition(";")[0]
    wrong = "dpl_" + "canary-" * 6 + "c"
    with capture_logs() as logs:
        for headers in (
            bearer(keys.local),
            bearer(wrong),
            [("Authorization", wrong)],
            [("Cookie", session)],
            [("Cookie", f"__Host-deployer={wrong}")],
            [("X-Forwarded-User", wrong)],
        ):
            answer = send(faces, method, target(path), OURS, *headers)
            for secret in (keys.local, wrong, session.partition("=")[2]):
                assert secret not in answer.text + repr(answer.raw)
    for secret in (keys.local, "canary", session.partition("=")[2]):
        assert secret not in repr(logs)


def test_what_does_not_exist_is_not_told_from_what_does(faces: Faces) -> None:
    """To those without a token."""
    for path in ("/no", "/api/v1/no", "/docs", "/openapi.json", "/api/v1/environments/staging/no"):
        assert send(faces, "GET", path).status == 401


def test_who_has_some_environments_learns_of_no_other(faces: Faces, keys: Keys) -> None:
    """Not by names that are wrong, nor by giving tokens away, nor where his own has gone."""
    old = keys.give(Role.ADMIN, name="lin", environments=["old"])
    for path in ("/api/v1/environments/old", "/env/old", "/api/v1/environments/old/gates"):
        answer = send(faces, "GET", path, OURS, *bearer(old))
        assert answer.status == 404
        assert "staging" not in answer.text
    answers = set()
    for name in ("staging", "no-such-one"):
        order = json.dumps({"name": "x", "role": "viewer", "environments": ["old", name]}).encode()
        headers = [OURS, *bearer(old), ("Content-Type", "application/json")]
        answer = ask(faces.guard, "POST", "/api/v1/tokens", headers, order)
        answers.add((answer.status, answer.text))
    ((status, text),) = answers
    assert (status, "give some of yours (old)" in text) == (403, True)
    everything = send(faces, "GET", "/api/v1/environments/old", OURS, *bearer(keys.local))
    assert "It has: staging, production." in everything.json()["detail"]


def test_pages_about_all_are_shown_to_who_administers_all(faces: Faces, secrets: dict[str, str]) -> None:
    """The others have no link to them."""
    for name, is_there in (("admin", True), ("elsewhere", False), ("viewer", False)):
        page = send(faces, "GET", "/", OURS, *bearer(secrets[name])).text
        assert [f'href="{path}"' in page for path in ("/settings", "/doctor")] == [is_there] * 2, name


def test_the_page_has_the_table() -> None:
    """As it is made of the routes. `python -m tests.support.faces` writes it anew."""
    assert PAGE.read_text() == with_table(PAGE.read_text())
