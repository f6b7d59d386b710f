"""A GitHub App's key, exchanged for tokens: as GitHub wants it, in time, and said when it does not work."""

from __future__ import annotations

import shutil
import stat
import subprocess
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.git import Access, AppTokens, GitUnavailable, Mirror
from deployer.adapters.git._commands import Children
from deployer.outgoing import NoAnswer, request
from tests.contract.git_mirror.world import CONFIG, MAIN, NewMirror, bring, text
from tests.support.eventually import eventually
from tests.support.fault_proxy import Fault, FaultProxy, Kind
from tests.support.forge_api import APP_ID, ForgeApi, forge_api
from tests.support.git_server import GitServer, serving
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.tls import Authority


@pytest.fixture
def origin(tmp_path: Path) -> BareRepo:
    """The repository that the App may read."""
    origin = BareRepo(tmp_path / "fruit.git")
    origin.commit({CONFIG: "1"})
    return origin


@pytest.fixture
def git(tmp_path: Path, origin: BareRepo) -> Iterator[GitServer]:
    """The forge's git, which lets nobody in until the API has given a token."""
    with serving(tmp_path, token="nobody has this one") as server:
        yield server


@pytest.fixture
def api(tmp_path: Path, git: GitServer) -> Iterator[ForgeApi]:
    """The forge's API."""
    with forge_api(tmp_path / "forge", git) as server:
        yield server


@pytest.fixture
def mirror(api: ForgeApi, git: GitServer, new_mirror: NewMirror) -> Mirror:
    """A mirror that comes as the App."""
    return new_mirror(git.url("fruit.git"), access=Access(github_app=api.app))


def test_the_key_becomes_a_token_to_read_this_repository_and_nothing_else(
    mirror: Mirror, api: ForgeApi, origin: BareRepo, tmp_path: Path
) -> None:
    """One exchange for many looks; the token lies in a file that only we can read."""
    first = bring(mirror)
    assert text(mirror, first[MAIN]) == "1"
    mirror.release()
    commit = origin.commit({CONFIG: "2"})
    assert bring(mirror) == {MAIN: commit}

    assert api.asked == [{"repositories": ["fruit"], "permissions": {"contents": "read"}}]
    (claims,) = api.claims
    assert claims["iss"] == APP_ID
    assert claims["iat"] <= time.time() - 30
    assert time.time() + 300 < claims["exp"] <= time.time() + 600
    held = tmp_path / "mirror.git" / "app-token"
    assert held.read_text() == api.tokens[0] + "\n"
    assert stat.S_IMODE(held.stat().st_mode) == 0o600


def test_a_token_is_replaced_before_it_ends(mirror: Mirror, api: ForgeApi) -> None:
    """With less than five minutes left, each look begins with a new one."""
    api.behaviour.lifetime_seconds = 299
    bring(mirror)
    api.behaviour.lifetime_seconds = 310
    bring(mirror)
    bring(mirror)

    assert len(api.tokens) == 2


def test_a_token_that_ends_soon_is_used_while_there_is_no_other(mirror: Mirror, api: ForgeApi) -> None:
    """An API that is down before the end of a token delays nothing; after it, it is said."""
    api.behaviour.lifetime_seconds = 299
    bring(mirror)
    api.behaviour.status = 500

    assert bring(mirror)
    assert api.requests == 2

    app = mirror._remote._app
    assert app is not None
    app.forget()
    with pytest.raises(GitUnavailable, match="answered 500: the next look tries again"):
        mirror.heads([MAIN])


def test_a_token_that_ends_early_is_replaced_within_the_look(
    mirror: Mirror, api: ForgeApi, git: GitServer, origin: BareRepo
) -> None:
    """Somebody revoked it: the look gets another one and succeeds, at the question and at the fetch."""
    bring(mirror)
    git.token = "another"
    heads = mirror.heads([MAIN])
    assert len(api.tokens) == 2

    commit = origin.commit({CONFIG: "2"})
    heads = mirror.heads([MAIN])
    git.token = "yet another"

    assert mirror.fetch(heads) == {MAIN: commit}
    assert len(api.tokens) == 3


def test_a_token_that_does_not_help_is_asked_for_once_per_look(mirror: Mirror, api: ForgeApi) -> None:
    """A forge that gives tokens and takes none is not asked again and again."""
    api.behaviour.useless = True

    with pytest.raises(GitUnavailable, match=r"refused the credentials: check .*github_app"):
        mirror.heads([MAIN])

    assert len(api.tokens) == 2


def test_a_mirror_that_was_deleted_gets_its_token_back(mirror: Mirror, api: ForgeApi, tmp_path: Path) -> None:
    """The file goes with the folder; the token is known still."""
    commit = bring(mirror)[MAIN]
    mirror.release()
    shutil.rmtree(tmp_path / "mirror.git")

    assert bring(mirror) == {MAIN: commit}
    assert len(api.tokens) == 1


def test_a_token_of_a_process_before_this_is_removed(
    api: ForgeApi, git: GitServer, new_mirror: NewMirror, tmp_path: Path
) -> None:
    """Nobody knows how long it lives, and it is no use to whoever finds it."""
    bring(new_mirror(git.url("fruit.git"), access=Access(github_app=api.app)))
    held = tmp_path / "mirror.git" / "app-token"
    assert held.exists()

    new_mirror(git.url("fruit.git"), access=Access()).known_heads()

    assert not held.exists()


def test_the_api_is_trusted_by_the_ca_file(
    tmp_path: Path, git: GitServer, new_mirror: NewMirror, authority: Authority
) -> None:
    """A forge of one's own has one authority for both; without it the API gets no word from us."""
    with (
        serving(tmp_path, token="", tls=authority.server()) as secure,
        forge_api(tmp_path / "forge", secure, tls=authority.server()) as api,
    ):
        url = secure.url("fruit.git")
        trusting = Access(github_app=api.app, ca_file=authority.file)
        assert bring(new_mirror(url, access=trusting))

        with pytest.raises(GitUnavailable, match="TLS certificate that is not trusted: check api_url"):
            new_mirror(url, "wary.git", access=Access(github_app=api.app)).heads([MAIN])
        assert api.requests == 1


SENTENCES = [
    pytest.param(
        {"status": 401}, "refused the App's key: check app_id, .*it says: No, .2J not you", id="401"
    ),
    pytest.param(
        {"status": 401, "date": "Thu, 01 Jan 2026 00:00:00 GMT"},
        r"refused the App's key, and its clock is \d+ s (behind|ahead of) ours: set this machine's clock",
        id="clock",
    ),
    pytest.param({"status": 401, "date": "none"}, "refused the App's key: check app_id", id="no-date"),
    pytest.param({"status": 403}, "refused installation 7654321 .* whether it is suspended", id="403"),
    pytest.param({"status": 404}, "knows no installation 7654321 .* check installation_id", id="404"),
    pytest.param({"status": 422}, "add it to the App's installation, .* read access to Contents", id="422"),
    pytest.param({"status": 500}, "answered 500: the next look tries again", id="500"),
    pytest.param({"status": 200}, "answered 200: the next look tries again", id="200"),
    pytest.param(
        {"body": b"<html>"}, "answered without a token: check that it is the forge's API", id="html"
    ),
    pytest.param({"body": b"[" * 100_000}, "answered without a token", id="deep"),
    pytest.param(
        {"body": b'{"token": 12345678, "expires_at": "2030-01-01"}'}, "without a token", id="number"
    ),
    pytest.param(
        {"body": b'{"token": "aa\\nbbbbbbbbb", "expires_at": "2030-01-01T00:00:00Z"}'},
        "without a token",
        id="line-break",
    ),
    pytest.param(
        {"body": b'{"token": "aabbbbbbbbb", "expires_at": "soon"}'}, "without a token", id="no-time"
    ),
    pytest.param({"body": b"x" * 1_000_000}, "answers with more than 256 KiB: check api_url", id="huge"),
]


@pytest.mark.parametrize(("behaviour", "why"), SENTENCES)
def test_what_the_forge_refuses_is_one_sentence_with_the_next_step(
    mirror: Mirror, api: ForgeApi, behaviour: dict[str, Any], why: str
) -> None:
    """Each says which App, why and what to do; nothing of the key, the JWT or a token is in it."""
    api.behaviour = replace(api.behaviour, **behaviour)

    with pytest.raises(GitUnavailable, match=why) as caught:
        mirror.heads([MAIN])

    said = caught.value.why
    assert said.startswith(f"cannot read {mirror._remote.url} as GitHub App {APP_ID}: ")
    assert said.isprintable()
    assert "aabbbb" not in said
    assert not [bearer for bearer in api.bearers if bearer in said]


def test_the_api_is_not_left_for_another_host(mirror: Mirror, api: ForgeApi, git: GitServer) -> None:
    """A redirect would carry the signed request elsewhere."""
    api.behaviour = replace(api.behaviour, status=307, location=git.url("elsewhere"))

    with pytest.raises(GitUnavailable, match="redirects elsewhere: write the final URL as api_url"):
        mirror.heads([MAIN])

    assert git.requests == 0


def missing(path: Path) -> None:
    """There is no key."""
    path.unlink()


def not_a_key(path: Path) -> None:
    """There is something else."""
    path.write_text("ghp_this_is_a_token_and_no_key")


def other_kind(path: Path) -> None:
    """A key, but not one for RS256."""
    made = ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    path.write_bytes(subprocess.run(made, check=True, capture_output=True, timeout=20).stdout)


def with_passphrase(path: Path) -> None:
    """A key that nobody can use without being asked."""
    made = ["openssl", "rsa", "-aes256", "-passout", "pass:hunter22", "-in", str(path)]
    path.write_bytes(subprocess.run(made, check=True, capture_output=True, timeout=20).stdout)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (missing, "cannot read its private_key_file .*: No such file or directory"),
        (not_a_key, "is not a private RSA key without a passphrase: take the PEM file as the forge gave it"),
        (other_kind, "is not a private RSA key without a passphrase"),
        (with_passphrase, "is not a private RSA key without a passphrase"),
    ],
)
def test_a_key_that_cannot_sign_is_said_and_the_forge_not_asked(
    mirror: Mirror, api: ForgeApi, damage: Callable[[Path], None], why: str
) -> None:
    """Which file, and what it should be."""
    damage(api.key_file)

    with pytest.raises(GitUnavailable, match=why) as caught:
        mirror.heads([MAIN])

    assert "ghp_" not in caught.value.why
    assert api.requests == 0


def test_an_api_that_is_down_is_said(api: ForgeApi, git: GitServer, new_mirror: NewMirror) -> None:
    """The App's forge, not the repository's server."""
    app = replace(api.app, api_url="http://127.0.0.1:1")

    with pytest.raises(GitUnavailable, match=r"API at http.* cannot be reached: nothing answers there"):
        new_mirror(git.url("fruit.git"), access=Access(github_app=app)).heads([MAIN])


PERMISSIONS = {"contents": "read", "pull_requests": "write", "statuses": "write", "checks": "read"}


@pytest.fixture
def tokens(api: ForgeApi, git: GitServer) -> AppTokens:
    """Those for the forge's API."""
    return AppTokens(api.app, url=git.url("fruit.git"), ca_file=None, permissions=PERMISSIONS)


def test_tokens_for_the_api_have_the_rights_that_are_asked_for(tokens: AppTokens, api: ForgeApi) -> None:
    """And no others; one is asked for once, however many threads want it, until it is of no use."""
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(tokens.token())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert found == api.tokens * 5
    assert api.asked == [{"repositories": ["fruit"], "permissions": PERMISSIONS}]

    tokens.forget()
    assert tokens.token() == api.tokens[1] != found[0]


def test_a_right_that_the_app_lacks_is_named_as_on_its_page(tokens: AppTokens, api: ForgeApi) -> None:
    """Each of them: GitHub does not say which one it is."""
    api.behaviour.status = 422

    with pytest.raises(GitUnavailable) as caught:
        tokens.token()

    assert (
        "give the App read access to Contents and write access to Pull requests and write access to Commit "
        "statuses and read access to Checks"
    ) in caught.value.why


def test_tokens_are_not_waited_for_in_a_stop(tokens: AppTokens, api: ForgeApi) -> None:
    """None is asked for any more; the one that is held stays good."""
    held = tokens.token()
    tokens.interrupt()
    assert tokens.token() == held

    tokens.forget()
    with pytest.raises(GitUnavailable, match="shutting down"):
        tokens.token()
    assert api.requests == 1


def ask(url: str, children: Children, *, seconds: float) -> str:
    """One request, and why it failed."""
    with pytest.raises((NoAnswer, GitUnavailable)) as caught:
        request(
            "POST",
            url,
            headers={"Authorization": "Bearer x"},
            body={},
            ca_file=None,
            cutter=children,
            total_seconds=seconds,
            limit_bytes=1024**2,
        )
    return str(caught.value)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (Fault(Kind.HANG), "gave no complete answer within 1 s"),
        (Fault(Kind.DRIP), "gave no complete answer within 1 s"),
        (Fault(Kind.DRIP, 100), "gave no complete answer within 1 s"),
        (Fault(Kind.CUT), "broke off, or does not speak HTTP"),
        (Fault(Kind.CUT, 100), "broke off, or does not speak HTTP"),
        (Fault(Kind.RESET), "broke off, or does not speak HTTP"),
        (Fault(Kind.GARBAGE), "broke off, or does not speak HTTP"),
    ],
    ids=lambda value: f"{value.kind.name}-{value.after}" if isinstance(value, Fault) else "",
)
def test_an_api_in_trouble_costs_its_time_limit_and_no_more(api: ForgeApi, fault: Fault, why: str) -> None:
    """urllib3's time-outs start again with each byte; the total does not."""
    api.behaviour.body = b"{}" + b" " * 500
    with FaultProxy(api.port) as proxy:
        proxy.fault = fault
        before = time.monotonic()

        assert why in ask(f"http://127.0.0.1:{proxy.port}", Children(), seconds=1.0)

        assert time.monotonic() - before < 10.0


def test_a_stop_does_not_wait_for_the_api(api: ForgeApi) -> None:
    """An interrupt ends the request at once, and no other begins."""
    api.behaviour.body = b"{}" + b" " * 500
    children = Children()
    said: list[str] = []
    with FaultProxy(api.port) as proxy:
        proxy.fault = Fault(Kind.HANG)
        url = f"http://127.0.0.1:{proxy.port}"
        owner = threading.Thread(target=lambda: said.append(ask(url, children, seconds=30.0)))
        owner.start()
        eventually(lambda: proxy.connections, within=5.0)
        before = time.monotonic()
        children.interrupt()
        owner.join(30.0)

        assert time.monotonic() - before < 10.0  # its own limit is 30 s
        assert said == ["git was stopped: the daemon is shutting down"]
        assert "shutting down" in ask(url, children, seconds=30.0)
        assert proxy.connections == 1
