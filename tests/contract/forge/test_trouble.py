"""What goes wrong at a forge is one sentence with cause and next step, ends in time, and tells no secret."""

from __future__ import annotations

import json
import re
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.forge import Forge, ForgeUnavailable, Kind, State, forge, token_from
from tests.contract.forge.fakes import TOKEN, serving
from tests.contract.forge.server import Asked, Reply
from tests.contract.forge.test_flows import BASE, BRANCH, COMMIT
from tests.support.eventually import eventually
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.fault_proxy import Kind as Trouble
from tests.support.hostile_texts import TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.contract.forge.server import FakeForge
    from tests.support.tls import Authority


def said(call: Callable[[], object]) -> ForgeUnavailable:
    """Why it failed: one line, with where and without the token."""
    with pytest.raises(ForgeUnavailable) as caught:
        call()
    error = caught.value
    assert error.why == str(error)
    assert error.why.isprintable()
    assert len(error.why) < 600
    assert TOKEN not in error.why
    return error


def everything(asking: Forge) -> list[Callable[[], object]]:
    """Each thing that can be asked."""
    return [
        partial(asking.open_pull_request, BRANCH, BASE),
        partial(asking.create, head=BRANCH, base=BASE, title="t", body="b"),
        partial(asking.update, 1, title="t", body="b"),
        partial(asking.close, 1, comment="c"),
        partial(asking.pull_request_of, COMMIT),
        partial(asking.reviews, 1),
        partial(asking.checks, COMMIT),
        partial(asking.set_status, COMMIT, context="c", state=State.PENDING, description="", url=None),
    ]


def reply(status: int, told: object = None, **headers: str) -> Reply:
    """A refusal in the words of a forge."""
    value = {"message": told} if isinstance(told, str) else told
    named = {name.replace("_", "-"): to for name, to in headers.items()}
    return Reply(status=status, value=value, headers=named)


SENTENCES = [
    pytest.param(
        reply(401, f"Bad credentials {TOKEN}\x1b[2J\nand more"),
        r"refused the token: check token_file, or .* \(it says: Bad credentials <redacted> and more\)$",
        id="401",
    ),
    pytest.param(
        reply(403, "Resource not accessible"),
        r"the token may not do this: give it (read|write|the) .*accessible\)",
        id="403",
    ),
    pytest.param(reply(404, "Not Found"), "check project and api_url, and give the token .*Found", id="404"),
    pytest.param(
        reply(
            422, {"message": "Validation Failed", "errors": [{"code": "x", "message": "too wide"}, "odd", 5]}
        ),
        r"does not take this: see what it says, .*\(it says: Validation Failed; too wide; odd; 5\)",
        id="422",
    ),
    pytest.param(
        reply(400, {"message": {"title": ["is long"]}}), r"it says: \{\"title\": \[\"is l", id="400"
    ),
    pytest.param(
        reply(403, {"error": "insufficient_scope", "error_description": "needs more"}),
        "it says: insufficient_scope; needs more",
        id="scope",
    ),
    pytest.param(reply(409, "<html>" * 500), r"does not take this", id="long"),
    pytest.param(
        reply(500, "Oh no"), r"it answered 500: the next look tries again \(it says: Oh no\)", id="500"
    ),
    pytest.param(reply(503), "it answered 503: the next look tries again$", id="503"),
    pytest.param(reply(418, "tea"), "it answered 418: check api_url and kind", id="418"),
    pytest.param(
        Reply(status=301, value=None, headers={"Location": "http://127.0.0.1:1/elsewhere"}),
        "redirects elsewhere: write the final URL as api_url, and the project's name of today",
        id="redirect",
    ),
    pytest.param(
        Reply(raw=b"\n<!doctype html><title>Log in</title>"),
        "answers with a web page, of a login or of another service: check api_url",
        id="html",
    ),
    pytest.param(Reply(raw=b"Hello"), "its answer is no JSON: check api_url", id="text"),
    pytest.param(Reply(raw=b"[" * 100_000), "its answer is no JSON: check api_url", id="deep"),
    pytest.param(Reply(raw=b"1" * 5000), "its answer is no JSON: check api_url", id="number"),
    pytest.param(Reply(raw=b"\xff\xfe\x00"), "its answer is no JSON: check api_url", id="bytes"),
    pytest.param(
        Reply(raw=b" " * (1024**2 + 1)), "answers with more than 1024 KiB: check api_url", id="huge"
    ),
]


@pytest.mark.parametrize(("canned", "why"), SENTENCES)
def test_what_a_forge_answers_instead_is_one_sentence(
    asking: Forge, fake: FakeForge, canned: Reply, why: str
) -> None:
    """Whatever was asked; with the forge's own words, which are short, on one line and without the token."""
    fake.canned = canned
    for call in everything(asking):
        error = said(call)
        assert f"in {fake.project} at {fake.api_url}: " in error.why
        assert re.search(why, error.why), error.why
        assert error.retry_after_seconds is None


def test_each_permission_is_named_as_the_forge_names_it(asking: Forge, fake: FakeForge, kind: Kind) -> None:
    """Whoever reads it finds it on the page where tokens are made."""
    fake.canned = reply(403)
    told = [said(call).why.partition("give it ")[2] for call in everything(asking)]

    reads = checks = "the scope read:repository"
    writes, statuses = "the scopes write:repository and write:issue", "the scope write:repository"
    match kind:
        case "github":
            writes = "write access to Pull requests, and read access to Contents"
            reads, statuses = "read access to Pull requests", "write access to Commit statuses"
            checks = "read access to Commit statuses"
        case "gitlab":
            reads = checks = "the scope read_api (or api), and the role Reporter in the project"
            writes = statuses = "the scope api, and the role Developer in the project"
        case "gitea":
            pass
    assert told == [reads, writes, writes, writes, reads, reads, checks, statuses]


@pytest.mark.parametrize("kind", ["github"])
def test_the_token_that_github_gives_no_checks_to_is_named(asking: Forge, fake: FakeForge) -> None:
    """Whoever has a fine-grained one would look for a permission that is not on its page."""
    fake.instead = lambda asked: reply(403, "No") if asked.path.endswith("/check-runs") else None

    assert said(partial(asking.checks, COMMIT)).why.endswith(
        "the token may not do this: give it read access to Checks, which an App (github_app) and a classic "
        "token can have, but no fine-grained one (it says: No)"
    )


def test_a_count_that_is_none_is_not_counted_with(asking: Forge, fake: FakeForge) -> None:
    """Python refuses to read a number of 5,000 digits."""
    fake.instead = lambda _: Reply(value=[], headers={"X-Total-Count": "9" * 5000})

    assert asking.open_pull_request(BRANCH, BASE) is None


LIMITS = [
    pytest.param(reply(429, Retry_After="17"), 17.0, id="429"),
    pytest.param(reply(429), None, id="429-without-a-time"),
    pytest.param(reply(429, Retry_After="Wed, 21 Oct 2037 07:28:00 GMT"), None, id="429-date"),
    pytest.param(reply(429, Retry_After="9" * 12), 3600.0, id="429-for-ever"),
    pytest.param(reply(403, "slow down", Retry_After="61"), 61.0, id="403-secondary"),
    pytest.param(reply(403, "You have exceeded a secondary rate limit."), 60.0, id="403-words"),
    pytest.param(reply(403, x_ratelimit_remaining="0"), 60.0, id="403-no-reset"),
    pytest.param(reply(403, x_ratelimit_remaining="0", x_ratelimit_reset="1"), 1.0, id="403-over"),
    pytest.param(
        reply(403, x_ratelimit_remaining="0", x_ratelimit_reset="1", Date="no date"), 1.0, id="403-no-clock"
    ),
    pytest.param(reply(403, x_ratelimit_remaining="0", x_ratelimit_reset="9" * 12), 3600.0, id="403-far"),
]


@pytest.mark.parametrize(("canned", "seconds"), LIMITS)
def test_a_limit_says_when_to_ask_again(
    asking: Forge, fake: FakeForge, canned: Reply, seconds: float | None
) -> None:
    """In seconds, as far as the forge says it, and an hour at most."""
    fake.canned = canned

    error = said(partial(asking.checks, COMMIT))

    when = "later" if seconds is None else f"in {seconds:.0f} s"
    assert f"it was asked too often, and is asked again {when}: give deployer a token of its" in error.why
    assert error.retry_after_seconds == seconds
    assert error.status == canned.status


@pytest.mark.parametrize("status", [403, 429])
def test_nothing_is_asked_while_the_forge_limits(asking: Forge, fake: FakeForge, status: int) -> None:
    """Whatever it is: each question is answered at once, with the time that is left; nothing was done."""
    fake.canned = reply(status, "slow down", Retry_After="3600")
    first = said(partial(asking.checks, COMMIT))
    fake.canned = None
    asked = len(fake.requests)
    assert first.retry_after_seconds == 3600.0

    told = [said(call) for call in everything(asking)]

    assert len(fake.requests) == asked
    for error in told:
        assert re.search(
            r"it was asked too often, and is asked nothing before \d\d:\d\d:\d\d UTC: give dep", error.why
        )
        assert error.retry_after_seconds is not None
        assert 3000.0 < error.retry_after_seconds <= 3600.0
        assert (error.status, error.is_refusal) == (status, True)
    # What is the same the next time is told to people once.
    assert [said(call).why for call in everything(asking)] == [error.why for error in told]


def test_a_limit_ends(asking: Forge, fake: FakeForge, kind: Kind) -> None:
    """Then it is asked as before."""
    fake.canned = reply(429, Retry_After="1")
    said(partial(asking.checks, COMMIT))
    fake.canned, asked = None, len(fake.requests)
    before = time.monotonic()

    def checks() -> bool:
        try:
            return asking.checks(COMMIT) == ()
        except ForgeUnavailable:
            return False

    eventually(checks, within=30)
    assert time.monotonic() - before > 0.5
    assert len(fake.requests) == asked + (2 if kind == "github" else 1)


def test_of_two_limits_the_later_one_holds(asking: Forge, fake: FakeForge) -> None:
    """Two threads ask at once, and hear of it one after the other, the shorter one last."""
    both_ask, order, answer = threading.Barrier(2), iter(("3600", "2")), fake.answer

    def limited(asked: Asked) -> Reply:
        both_ask.wait(10.0)
        return reply(429, Retry_After=next(order))

    fake.answer = limited  # type: ignore[method-assign]
    threads = [threading.Thread(target=partial(said, partial(asking.checks, COMMIT))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    fake.answer = answer  # type: ignore[method-assign]

    left = said(partial(asking.reviews, 1)).retry_after_seconds
    assert left is not None
    assert left > 3000.0


def test_an_app_is_not_asked_for_a_token_while_the_forge_limits(fake: FakeForge, kind: Kind) -> None:
    """That would be a request, too."""
    tokens: list[str] = []

    def token() -> str:
        tokens.append(TOKEN)
        return TOKEN

    asking = forge(kind, api_url=fake.api_url, project=fake.project, token=token, ca_file=None)
    fake.canned = reply(429, Retry_After="60")
    for _ in range(3):
        said(partial(asking.checks, COMMIT))
    assert len(tokens) == 1


def test_the_reset_is_told_by_the_clock_of_the_forge(asking: Forge, fake: FakeForge) -> None:
    """Whose `Date` stands beside it."""
    now = int(time.time())
    fake.canned = reply(403, x_ratelimit_remaining="0", x_ratelimit_reset=str(now + 600))

    seconds = said(partial(asking.checks, COMMIT)).retry_after_seconds

    assert seconds is not None
    assert 1.0 <= seconds <= 601.0


def test_a_forge_that_is_back_is_asked_as_before(asking: Forge, fake: FakeForge) -> None:
    """Nothing is remembered of the trouble."""
    fake.down = True
    said(partial(asking.create, head=BRANCH, base=BASE, title="t", body=""))
    fake.down = False

    assert asking.create(head=BRANCH, base=BASE, title="t", body="").number == 1


# --- answers of the wrong shape ------------------------------------------------------------------------


WRONG_VALUES: list[Any] = [
    None,
    [],
    {},
    "text",
    7,
    True,
    [None],
    ["text"],
    [[]],
    {"statuses": 1, "check_runs": "x", "approved_by": {}},
    {"statuses": [1], "check_runs": [1], "approved_by": [1]},
]


@pytest.mark.parametrize("value", WRONG_VALUES, ids=json.dumps)
def test_json_of_another_shape_is_a_sentence_or_nothing(asking: Forge, fake: FakeForge, value: Any) -> None:
    """Nothing but ForgeUnavailable is raised, and nothing is made up: what comes back is empty."""
    fake.canned = Reply(raw=json.dumps(value).encode())
    for call in everything(asking)[:-1]:
        found, told = None, "something else where"
        try:
            found = call()
        except ForgeUnavailable as error:
            told = error.why
        assert found in (None, ())
        assert "something else where" in told or "there are more than" in told


def _broken(value: Any, wrong: Any) -> list[Any]:
    """Each copy of a JSON object with one value in it, at any depth, replaced."""
    if not isinstance(value, dict):
        return []
    changed = [(key, bad) for key, inner in value.items() for bad in [wrong, *_broken(inner, wrong)]]
    return [{**value, key: bad} for key, bad in changed]


@pytest.mark.parametrize("wrong", [None, "x\x1b[31m\u202ey", -1, True, ["x"], {"x": 1}, 10**30], ids=str)
def test_any_value_of_a_pull_request_may_be_another(asking: Forge, fake: FakeForge, wrong: Any) -> None:
    """Read as far as it can be, or refused in a sentence; no text comes out that was not cleaned."""
    asking.create(head=BRANCH, base=BASE, title="t", body="")
    fake.canned = Reply(value=_shown_pull(fake))
    for broken in _broken(fake.canned.value, wrong):
        fake.canned = Reply(value=broken)
        try:
            found = asking.update(1, title="t", body="")
        except ForgeUnavailable:
            continue
        for text in (found.url, found.title, found.head, found.base, found.author, found.state):
            assert text.isprintable()
        assert found.number > 0
        assert re.fullmatch(r"([0-9a-f]{40})?", found.head_commit)


def _shown_pull(fake: FakeForge) -> Any:
    """The pull request of the fake as the adapter last got it: its small part of it."""
    pull = fake.pull(1)
    side = {"label": "x", "ref": pull.head, "sha": pull.head_commit, "repo": {"id": 1}}
    person = {"login": "ada", "username": "ada"}
    return {
        "number": 1,
        "iid": 1,
        "title": pull.title,
        "body": "",
        "description": "",
        "state": "opened" if fake.prefix == "/api/v4" else "open",
        "html_url": "https://forge.example/1",
        "web_url": "https://forge.example/1",
        "head": side,
        "base": side,
        "source_branch": pull.head,
        "target_branch": pull.base,
        "sha": pull.head_commit,
        "user": person,
        "author": person,
        "merged_at": None,
        "merge_commit_sha": None,
    }


def test_hostile_texts_come_out_clean(asking: Forge, fake: FakeForge) -> None:
    """Whoever can open a pull request or name a check writes whatever they like."""
    number = fake.add_merged(COMMIT, "ada", "lin")
    pull = fake.pull(number)
    for text in TEXTS[:40]:
        pull.title, pull.body, pull.head = text, text, text[:200]
        found = asking.pull_request_of(COMMIT)
        assert found is not None
        assert (found.title + found.head).isprintable()
        assert len(found.title) <= 300
        assert len(found.body) <= 65_536
        assert found.body.replace("\n", "").replace("\t", "").isprintable() or "\u0301" in found.body


def test_hostile_texts_of_ours_reach_the_forge_clean(asking: Forge, fake: FakeForge) -> None:
    """A commit's subject is in the title: what no forge can take is not sent."""
    for text in TEXTS[:40]:
        made = asking.create(head=BRANCH, base=BASE, title=f"Promote {text}", body=text * 20)
        assert made.number == 1
    assert len(fake.pull(1).title) <= 250
    assert len(fake.pull(1).body) <= 65_000


def test_a_check_with_a_name_that_is_not_clean_is_nobodys(asking: Forge, fake: FakeForge) -> None:
    """Cleaned, it would be the one that somebody waits for."""
    for name in ("ci/test\u202e", "ci/\x1btest", "ci/test\n", " ", "", "x" * 256):
        fake.add_check(COMMIT, name, "success")
    fake.add_check(COMMIT, "ci/real", "success", description="a\x1b[31m\nb", url="javascript:alert(1)")

    *_, check = asking.checks(COMMIT)

    assert [one.name for one in asking.checks(COMMIT) if one.name.strip()] == ["ci/real"]
    assert (check.name, check.description, check.url) == ("ci/real", "a b", None)


@pytest.mark.parametrize(
    "login", ["ada lin", "ada\u202e", "ada\n", "<b>", "x" * 300, "ada[root]", "../ada"], ids=repr
)
def test_a_login_that_is_none_is_refused(asking: Forge, fake: FakeForge, login: str) -> None:
    """Who merged it decides who may approve: neither a wrong one nor nobody is made of it."""
    number = fake.add_merged(COMMIT, "ada", login)
    fake.add_review(number, login, "approved")

    for call in (partial(asking.pull_request_of, COMMIT), partial(asking.reviews, number)):
        assert "something else where a login name should be: check api_url and kind" in said(call).why


def test_a_list_without_end_is_not_taken_for_whole(asking: Forge, fake: FakeForge) -> None:
    """Each page is full, for ever: the last word of somebody may be on the next one."""
    number = fake.open(BRANCH, BASE)
    for who in range(1100):
        fake.add_check(COMMIT, f"ci/{who}", "success")
        fake.add_review(number, f"person-{who}", "approved")
    calls: list[Callable[[], object]] = [partial(asking.checks, COMMIT), partial(asking.reviews, number)]

    for call in calls:
        fake.requests.clear()
        why = said(call).why
        assert re.search(r"there are more than \d+, and no more are read: remove what nobody needs$", why)
        assert len(fake.requests) <= 12


# --- the way there -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(Trouble.CUT), "it broke off, or does not speak HTTP"),
        (Fault(Trouble.CUT, 100), "its answer was cut short: the next look tries again"),
        (Fault(Trouble.RESET), "it broke off, or does not speak HTTP"),
        (Fault(Trouble.GARBAGE), "it broke off, or does not speak HTTP"),
    ],
    ids=lambda value: f"{value.kind.name}-{value.after}" if isinstance(value, Fault) else "",
)
def test_a_broken_wire_is_said(fake: FakeForge, kind: Kind, fault: Fault, why: str) -> None:
    """And the next question is asked on a new one."""
    with FaultProxy(fake.port) as proxy:
        asking = through(kind, fake, proxy)
        proxy.fault = fault
        assert why in said(partial(asking.checks, COMMIT)).why
        proxy.heal()
        assert asking.checks(COMMIT) == ()


@pytest.mark.parametrize("kind", ["github"])
@pytest.mark.parametrize("fault", [Fault(Trouble.HANG), Fault(Trouble.DRIP)], ids=lambda one: one.kind.name)
def test_a_silent_forge_costs_ten_seconds_and_no_more(fake: FakeForge, kind: Kind, fault: Fault) -> None:
    """Whether it says nothing, or a byte a second."""
    with FaultProxy(fake.port) as proxy:
        proxy.fault = fault
        asking = through(kind, fake, proxy)
        before = time.monotonic()
        why = said(partial(asking.checks, COMMIT)).why

        assert time.monotonic() - before < 40.0  # a byte a second would take minutes
        assert "check the network" in why


def test_a_stop_does_not_wait_for_the_forge(fake: FakeForge, kind: Kind) -> None:
    """It ends what every thread asks, at once, and nothing is asked any more."""
    with FaultProxy(fake.port) as proxy:
        proxy.fault = Fault(Trouble.HANG)
        asking = through(kind, fake, proxy)
        errors: list[ForgeUnavailable] = []
        threads = [
            threading.Thread(target=lambda: errors.append(said(partial(asking.checks, COMMIT))))
            for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        eventually(lambda: proxy.connections == 3, within=10.0)
        before = time.monotonic()
        asking.interrupt()
        for thread in threads:
            thread.join(30.0)

        assert time.monotonic() - before < 4.0  # a silence is given up after 5 s
        assert {error.why for error in errors} == {
            "the forge was not asked to the end: the daemon is shutting down"
        }
        said(partial(asking.reviews, 1))
        assert proxy.connections == 3


def test_a_forge_that_is_not_there_is_said(kind: Kind) -> None:
    """With the setting to look at."""
    asking = forge(kind, api_url="http://127.0.0.1:1", project="ml/x", token=lambda: TOKEN, ca_file=None)

    assert (
        "it cannot be reached: nothing answers there; check api_url"
        in said(partial(asking.checks, COMMIT)).why
    )


def test_many_threads_ask_at_once(asking: Forge, fake: FakeForge) -> None:
    """Each gets its own answer."""
    commits = [f"{number:040x}" for number in range(12)]
    for commit in commits:
        fake.add_check(commit, f"ci/{commit}", "success")
    found: dict[str, list[str]] = {}

    def ask(commit: str) -> None:
        found[commit] = [check.name for check in asking.checks(commit)]

    threads = [threading.Thread(target=ask, args=(commit,)) for commit in commits]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)

    assert found == {commit: [f"ci/{commit}"] for commit in commits}


def test_the_forge_is_trusted_by_the_ca_file(fake: FakeForge, kind: Kind, authority: Authority) -> None:
    """A forge of one's own has an authority of its own; without it the token is not shown."""
    fake.secure(authority.server())
    ask = partial(forge, kind, api_url=fake.api_url, project=fake.project, token=lambda: TOKEN)

    assert ask(ca_file=authority.file).checks(COMMIT) == ()

    before = len(fake.requests)
    why = said(partial(ask(ca_file=None).checks, COMMIT)).why
    assert "it has a TLS certificate that is not trusted: check api_url and ca_file" in why
    assert len(fake.requests) == before


# --- what it is made with ------------------------------------------------------------------------------


def test_a_token_is_read_anew_for_each_request(fake: FakeForge, kind: Kind, tmp_path: Path) -> None:
    """So a file that is replaced counts at once; only its first line is the token."""
    file = tmp_path / "token"
    file.write_text("of yesterday\n")
    asking = forge(kind, api_url=fake.api_url, project=fake.project, token=token_from(file), ca_file=None)
    assert "check token_file" in said(partial(asking.checks, COMMIT)).why
    file.write_text(f"  {TOKEN} \nsecond line\n")

    assert asking.checks(COMMIT) == ()


@pytest.mark.parametrize("content", [b"", b"\n", b"\nlater", "schl\u00fcssel".encode()])
def test_a_file_without_a_token_is_said(fake: FakeForge, kind: Kind, tmp_path: Path, content: bytes) -> None:
    """Which file, and that it holds none; the forge is not asked, and nothing of it is shown."""
    file = tmp_path / "token"
    file.write_bytes(content)
    asking = forge(kind, api_url=fake.api_url, project=fake.project, token=token_from(file), ca_file=None)

    assert said(partial(asking.checks, COMMIT)).why == (
        f"cannot ask the forge: the first line of its token_file {file} is no token: write one there"
    )
    file.unlink()
    assert said(partial(asking.checks, COMMIT)).why == (
        f"cannot ask the forge: cannot read its token_file {file}: No such file or directory"
    )
    assert fake.requests == []


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "schl\u00fcssel", "x" * 5000])
def test_a_token_that_is_none_is_not_sent(fake: FakeForge, kind: Kind, token: str) -> None:
    """A line break in it would be another header."""
    asking = forge(kind, api_url=fake.api_url, project=fake.project, token=lambda: token, ca_file=None)

    why = said(partial(asking.checks, COMMIT)).why

    assert "the token is empty or has characters that no token has: check token_file" in why
    assert fake.requests == []


@pytest.mark.parametrize(
    ("api_url", "why"),
    [
        ("https://ada:secret@forge.example/api", "holds a user name or a token"),
        ("https://ghp_token@forge.example/api", "holds a user name or a token"),
        ("ftp://forge.example", "no address of an API"),
        ("forge.example/api", "no address of an API"),
        ("https://", "no address of an API"),
        ("https://forge.example/api?x=y", "no address of an API"),
        ("https://[forge", "no address of an API"),
    ],
)
def test_an_address_that_is_none_is_refused_at_the_start(kind: Kind, api_url: str, why: str) -> None:
    """By what is wrong with it, without what is secret in it."""
    with pytest.raises(ValueError, match=why) as caught:
        forge(kind, api_url=api_url, project="ml/x", token=lambda: TOKEN, ca_file=None)
    assert "secret" not in str(caught.value)
    assert "ghp_" not in str(caught.value)


@pytest.mark.parametrize(
    "project", ["", "ml", "ml/", "/ml/x", "ml/..", "ml/x y", "ml/x?y", "ml/x#y", "ml//x"]
)
def test_a_project_that_is_none_is_refused_at_the_start(kind: Kind, project: str) -> None:
    """It becomes a part of the address."""
    with pytest.raises(ValueError, match="is no project of a forge: write it like ml/serve-configs"):
        forge(kind, api_url="https://forge.example", project=project, token=lambda: TOKEN, ca_file=None)


def test_a_project_in_a_group_of_a_group_is_gitlabs() -> None:
    """Nowhere else is there one."""
    deep = "acme/ml/serve-configs"
    with serving("gitlab", project=deep) as fake:
        asking = forge("gitlab", api_url=fake.api_url, project=deep, token=lambda: TOKEN, ca_file=None)
        assert asking.create(head=BRANCH, base=BASE, title="t", body="").number == 1
    with pytest.raises(ValueError, match="is no project"):
        forge("github", api_url="https://forge.example", project=deep, token=lambda: TOKEN, ca_file=None)


def through(kind: Kind, fake: FakeForge, proxy: FaultProxy) -> Forge:
    """The adapter, at the other end of that wire."""
    url = fake.api_url.replace(str(fake.port), str(proxy.port))
    return forge(kind, api_url=url, project=fake.project, token=lambda: TOKEN, ca_file=None)
