"""The Serve client against servers that are slow, broken, wrong or hostile, over real sockets.

Whatever they do: an observation within its time, at most one PUT, and no secret in a sentence.
"""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from deployer.adapters.serve import Limits, Rejected, ServeCluster, Unclear
from deployer.cli.local_ray import free_port
from deployer.core.events import Kind
from deployer.core.live import Live, Unreachable, Unreadable
from deployer.core.record import Rollout
from deployer.core.scrub import REDACTED
from deployer.core.types import Policy, Release
from tests.support.build import START, config, revision
from tests.support.eventually import eventually
from tests.support.hostile_http import NOTHING, VERSION, Behaviour, Hostile, Request, answer, dashboard
from tests.support.prerequisites import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployer.core.live import Observation

SECRET = 'hunter2 & "canary"'
TOKEN = "token-canary-0123456789"
QUICK = Limits(connect=0.5, get=0.3, look=0.8, put=0.3, whole_put=0.8)
MARGIN_SECONDS = 8.0
"""What a loaded machine may add to a limit."""

MESSAGES = Path(__file__).parents[1] / "support" / "serve_messages.json"

APP = {
    "name": "fruit",
    "import_path": "good:app",
    "route_prefix": "/fruit",
    "runtime_env": {"env_vars": {"PASSWORD": SECRET}},
}


BODY = {"applications": [APP]}


def rollout() -> Rollout:
    """A rollout of a config with a secret in it."""
    return Rollout(
        id="lab#1",
        kind=Kind.DEPLOY,
        release=Release(revision=revision("lab"), config=config(APP)),
        policy=Policy(),
        trigger="test",
        started_at=START,
        before={},
    )


def look(address: str, **more: Any) -> Observation:
    """One observation by a client of its own, within its time."""
    cluster = ServeCluster(address, **{"limits": QUICK, **more})
    started = time.monotonic()
    try:
        return cluster.observe()
    finally:
        assert time.monotonic() - started < QUICK.look + MARGIN_SECONDS
        cluster.close()


def put(address: str, **more: Any) -> None:
    """One PUT by a client of its own, within its time."""
    cluster = ServeCluster(address, **{"limits": QUICK, **more})
    started = time.monotonic()
    try:
        cluster.apply(rollout(), BODY)
    finally:
        assert time.monotonic() - started < QUICK.whole_put + MARGIN_SECONDS
        cluster.close()


def always(data: bytes | None) -> Behaviour:
    """The same answer to everything."""
    return lambda _request, _connection: data


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with the token in it, as an editor leaves it."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


# --- what cannot be seen -------------------------------------------------------------------------------


def test_nobody_listens() -> None:
    """Unreachable, with the address, the cause and the next step."""
    address = f"http://127.0.0.1:{free_port()}"
    seen = look(address)
    assert seen == Unreachable(
        why=f"The Ray cluster at {address} cannot be seen: Connection refused."
        " Check that the head runs, and that `cluster.address` names its dashboard."
    )


def test_a_listener_that_never_accepts() -> None:
    """A full backlog looks like a machine that is off: the connection is given up in time."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)  # noqa: FBT003 - the standard library's way
            one.connect_ex(address)
        seen = look(f"http://127.0.0.1:{address[1]}")
        for one in waiting:
            one.close()
    assert isinstance(seen, Unreachable)
    assert "no connection within 0.5 s" in seen.why or "no answer within 0.3 s" in seen.why


def hang(server: Hostile, _: socket.socket) -> None:
    """Say nothing."""
    server.pause()


def drip_headers(server: Hostile, connection: socket.socket) -> None:
    """Send a header that never ends, a byte at a time, so that no single read takes too long."""
    server.drip(connection, b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 1000)


def drip_body(server: Hostile, connection: socket.socket) -> None:
    """The same with the body."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    server.drip(connection, b" " * 1000)


def stall(server: Hostile, connection: socket.socket) -> None:
    """Begin, and stop in the middle."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")
    server.pause()


def endless_continue(server: Hostile, connection: socket.socket) -> None:
    """Interim answers without end."""
    while not server.done.wait(0.01):
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


SLOW = [
    pytest.param(hang, "no answer within 0.3 s", id="hangs"),
    pytest.param(stall, "no answer within 0.3 s", id="stalls"),
    pytest.param(drip_headers, "no complete answer within 0.8 s", id="drips its headers"),
    pytest.param(drip_body, "no complete answer within 0.8 s", id="drips its body"),
    pytest.param(endless_continue, "no complete answer within 0.8 s", id="never comes to the point"),
]


@pytest.mark.parametrize(("trick", "cause"), SLOW)
def test_a_slow_server_does_not_keep_the_look(
    trick: Callable[[Hostile, socket.socket], None], cause: str
) -> None:
    """The limit holds for the whole look, whatever comes in how small pieces."""
    with Hostile(lambda _request, connection: trick(server, connection)) as server:
        seen = look(server.address)
    assert isinstance(seen, Unreachable)
    assert cause in seen.why


@pytest.mark.parametrize(("trick", "cause"), SLOW)
def test_a_slow_server_does_not_keep_the_put(
    trick: Callable[[Hostile, socket.socket], None], cause: str
) -> None:
    """It arrived, nobody knows what became of it, and it is not sent again."""
    with Hostile(lambda _request, connection: trick(server, connection)) as server:
        with pytest.raises(Unclear, match=cause):
            put(server.address)
        assert len(server.requests) == 1


def test_a_body_that_ends_when_we_cut_it_is_no_answer() -> None:
    """Without a length the cut itself ends the body, and that may not pass for a complete one."""

    def behave(_: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + json.dumps(VERSION).encode())
        server.drip(connection, b" " * 1000)

    with Hostile(behave) as server:
        seen = look(server.address)
    assert isinstance(seen, Unreachable)
    assert "no complete answer" in seen.why


@pytest.mark.parametrize(
    ("status", "step"),
    [
        (401, "cluster.token_file"),
        (403, "cluster.token_file"),
        (408, "dashboard_ServeHead.log"),
        (429, "dashboard_ServeHead.log"),
        (500, "dashboard_ServeHead.log"),
        (502, "dashboard_ServeHead.log"),
        (503, "dashboard_ServeHead.log"),
    ],
)
def test_a_server_that_will_not_is_unreachable(status: int, step: str) -> None:
    """Never a reason to roll back: the sentence names the status and what a person can do."""
    with Hostile(always(answer(status, "Traceback:\nBroken: it is\n"))) as server:
        seen = look(server.address)
        assert isinstance(seen, Unreachable)
        assert str(status) in seen.why
        assert step in seen.why
        with pytest.raises(Unclear, match=str(status)):
            put(server.address)


def test_the_503_of_an_empty_num_replicas_is_explained() -> None:
    """Ray blames the GCS; the real cause is in a config, and so is the cure."""
    said = json.loads(MESSAGES.read_text())["refusals"]["null_replicas_get"]
    with Hostile(always(answer(said["status"], said["text"]))) as server:
        seen = look(server.address)
    assert isinstance(seen, Unreachable)
    assert "target_num_replicas: Input should be a valid integer" in seen.why
    assert "`num_replicas` and no value" in seen.why


# --- what is not Serve ---------------------------------------------------------------------------------


DEEP = "[" * 100_000
BOMB = gzip.compress(b"\0" * (64 * 1024 * 1024), 9)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        pytest.param(answer(200, "\n<!doctype html><title>Log in</title>"), "web page", id="login page"),
        pytest.param(answer(200, '{"version": "4", "ray_ver', length=False), "cut short", id="cut short"),
        pytest.param(answer(200, "x" * 50)[:-20], "broke off", id="broken off"),
        pytest.param(answer(200, "null"), "no object", id="json, but no object"),
        pytest.param(answer(200, DEEP), "not JSON", id="deep nesting"),
        pytest.param(answer(200, b"\xff\xfe\x00"), "not JSON", id="bytes"),
        pytest.param(answer(200, "{}"), "names no Ray version", id="another API"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak HTTP", id="not HTTP"),
        pytest.param(answer(200, BOMB, ["Content-Encoding: gzip"]), "longer than 16 MiB", id="gzip bomb"),
        pytest.param(answer(200, b"not gzip", ["Content-Encoding: gzip"]), "decompressed", id="false gzip"),
        pytest.param(answer(200, b" " * (17 * 1024 * 1024)), "longer than 16 MiB", id="oversized"),
        pytest.param(
            answer(302, b" " * (17 * 1024 * 1024), ["Location: /x"]),
            "longer than 16 MiB",
            id="oversized redirect",
        ),
        pytest.param(answer(204), "it answered 204", id="no content"),
        pytest.param(answer(400), "it answered 400", id="bad request"),
        pytest.param(answer(404, "Not Found"), "it answered 404", id="not found"),
        pytest.param(answer(405), "it answered 405", id="wrong method"),
    ],
)
def test_what_is_not_serve_is_unreadable(data: bytes, cause: str) -> None:
    """It answered, so the cluster is not blamed for being down; the sentence says what came instead."""

    def behave(_: Request, connection: socket.socket) -> None:
        connection.sendall(data)

    with Hostile(behave) as server:
        seen = look(server.address)
        assert isinstance(seen, Unreadable), seen
        assert cause in seen.why
        assert "`cluster.address` names the dashboard itself" in seen.why


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_told_and_not_followed(status: int, token_file: Path) -> None:
    """Neither the token nor the config goes anywhere but to the address of the settings."""
    with Hostile(dashboard()) as elsewhere:
        location = f"Location: {elsewhere.address}/login?state=session-canary"
        with Hostile(always(answer(status, "", [location]))) as server:
            seen = look(server.address, token_file=token_file)
            assert isinstance(seen, Unreadable)
            assert f"it redirects ({status}) to {elsewhere.address}/login." in seen.why
            with pytest.raises(Unclear, match="redirects"):
                put(server.address, token_file=token_file)
            assert len(server.sent("PUT")) == 1
        assert elsewhere.requests == []


# --- the conversation ----------------------------------------------------------------------------------


def test_the_surroundings_give_and_take_nothing(
    token_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A netrc does not replace the token, a proxy does not receive it, a cookie does not come back."""
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ada password netrc-canary\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with Hostile(always(answer(200, "{}"))) as proxy, Hostile(dashboard()) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.address)
        server.behave = with_cookie(server.behave)
        assert isinstance(look(server.address, token_file=token_file), Live)
        put(server.address, token_file=token_file)
        assert proxy.requests == []
        assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {TOKEN}"}
        assert all("cookie" not in request.headers for request in server.requests)


def with_cookie(
    inner: Behaviour,
) -> Behaviour:
    """The same, and it sets a cookie."""

    def behave(request: Request, connection: socket.socket) -> bytes | None:
        data = inner(request, connection)
        return data and data.replace(b"\r\n", b"\r\nSet-Cookie: a=b; Path=/\r\n", 1)

    return behave


def test_no_request_looks_like_a_browsers(token_file: Path) -> None:
    """Ray answers 405 to a browser's PUT, and hides environment variables from a browser's GET."""
    with Hostile(dashboard()) as server:
        look(server.address, token_file=token_file)
        put(server.address, token_file=token_file)
        for request in server.requests:
            assert not request.headers["user-agent"].startswith("Mozilla")
            assert not {"origin", "referer"} & request.headers.keys()
            assert not [name for name in request.headers if name.startswith(("sec-", "access-control-"))]


def test_a_put_is_the_body_as_it_was_given_and_under_the_prefix() -> None:
    """And nothing else, to the path with the slash at its end."""
    with Hostile(dashboard()) as server:
        put(f"{server.address}/ray/prod/")
        (request,) = server.requests
        assert request.path == "/ray/prod/api/serve/applications/"
        assert json.loads(request.body) == BODY
        assert request.headers["content-type"] == "application/json"


def test_looks_share_a_connection_and_a_put_takes_its_own() -> None:
    """A reused connection can be stale, which is harmless for a GET and not for a PUT."""
    with Hostile(dashboard()) as server:
        cluster = ServeCluster(server.address, limits=QUICK)
        assert isinstance(cluster.observe(), Live)
        assert isinstance(cluster.observe(), Live)
        assert server.connections == 1
        cluster.apply(rollout(), BODY)
        assert server.sent("PUT")[0].connection == 1
        cluster.close()


def test_a_get_on_a_connection_that_the_server_just_closed_is_asked_again() -> None:
    """Servers close idle connections; the moment is theirs, and no reason to call a cluster down."""
    served: list[int] = []

    def behave(request: Request, connection: socket.socket) -> bytes | None:
        if served.count(request.connection) == 2:
            return None
        served.append(request.connection)
        return dashboard(APPLICATIONS)(request, connection)

    with Hostile(behave) as server:
        cluster = ServeCluster(server.address, limits=QUICK)
        assert isinstance(cluster.observe(), Live)
        assert isinstance(cluster.observe(), Live)
        assert server.connections == 2
        cluster.close()


def test_a_server_that_closes_every_connection_is_asked_once() -> None:
    """Asking again at once is for stale connections only; patience is the queue's."""
    with Hostile(always(None)) as server:
        seen = look(server.address)
        assert isinstance(seen, Unreachable)
        assert "closed the connection" in seen.why
        assert len(server.requests) == 1


def test_a_put_whose_answer_is_lost_is_unclear_and_not_repeated() -> None:
    """It was applied, as far as anybody knows."""
    with Hostile(always(None)) as server:
        with pytest.raises(Unclear, match="closed the connection"):
            put(server.address)
        assert len(server.sent("PUT")) == 1


def test_a_put_that_nobody_took_is_unclear_too() -> None:
    """The caller reads back in every case, so there is one error for all of them."""
    with pytest.raises(Unclear, match="Connection refused"):
        put(f"http://127.0.0.1:{free_port()}")


def test_a_login_page_in_answer_to_a_put_is_no_success() -> None:
    """A proxy whose session has ended answers 200 to everything."""
    page = answer(200, "<html>Log in</html>")
    with Hostile(always(page)) as server, pytest.raises(Unclear, match="web page"):
        put(server.address)


def test_closing_ends_what_is_in_flight() -> None:
    """A daemon that stops does not wait two minutes for a PUT."""
    with Hostile(lambda _request, _connection: server.pause()) as server:
        cluster = ServeCluster(server.address)
        raised: list[BaseException] = []

        def apply() -> None:
            try:
                cluster.apply(rollout(), BODY)
            except Unclear as error:
                raised.append(error)

        thread = threading.Thread(target=apply)
        thread.start()
        eventually(lambda: server.requests, within=5)
        cluster.close()
        thread.join(2)
        assert not thread.is_alive()
        assert "the deployer is stopping" in str(raised[0])
        seen = cluster.observe()
        assert isinstance(seen, Unreachable)
        assert len(server.requests) == 1


# --- what is read --------------------------------------------------------------------------------------

APPLICATIONS = {
    **NOTHING,
    "controller_info": {"actor_id": "1"},
    "applications": {"fruit": {"status": "RUNNING", "deployed_app_config": APP, "deployments": {}}},
}


def test_a_dashboard_without_serve() -> None:
    """It is there and has nothing: not the same as unreachable."""
    with Hostile(dashboard()) as server:
        seen = look(server.address)
    assert seen == Live(session="session_1", ray_version="2.60.0", serve_started=False, apps={})


def test_an_empty_cluster_is_never_seen_under_the_session_before() -> None:
    """Where the head is replaced between two GETs, its emptiness comes with its own session."""
    sessions = iter(["session_1", "session_2"])

    def behave(request: Request, connection: socket.socket) -> bytes | None:
        if request.path == "/api/version":
            return answer(200, json.dumps({**VERSION, "session_name": next(sessions)}))
        return dashboard()(request, connection)

    with Hostile(behave) as server:
        seen = look(server.address)
    assert isinstance(seen, Live)
    assert seen.session == "session_2"


# --- secrets -------------------------------------------------------------------------------------------


def texts_of(error: BaseException) -> str:
    """Everything that a log could print of it."""
    return "".join(traceback.format_exception(error)) + repr(error)


def assert_no_canary(text: str) -> None:
    """Not even half of one, and not encoded."""
    for canary in ("hunter2", "canary", quote(SECRET), "token-c"):
        assert canary not in text, text


SHOUT = f"Broken: {SECRET} {quote(SECRET)} {json.dumps(SECRET)} {[SECRET]!r} {TOKEN}"
HALF = "[type=missing, input_value={'PASSWORD': 'hunte...}, input_type=dict]"
SCHEMA_400 = (
    f"1 validation error for ServeDeploySchema\napplications.0.import_path\n  Field required {HALF}\n"
)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(answer(500, SHOUT), id="500"),
        pytest.param(answer(401, SHOUT), id="401"),
        pytest.param(answer(400, SCHEMA_400 + f"    For further information visit {SHOUT}"), id="schema 400"),
        pytest.param(answer(400, f"x\nTypeError: {SHOUT}"), id="controller 400"),
        pytest.param(
            answer(307, "", [f"Location: http://u:{TOKEN}@x/{quote(SECRET)}?{TOKEN}"]), id="redirect"
        ),
        pytest.param(answer(200, f"<html>{SHOUT}"), id="web page"),
        pytest.param(SHOUT.encode() + b"\r\n", id="not HTTP"),
        pytest.param(answer(200, SHOUT)[:-5], id="broken off"),
    ],
)
def test_nothing_that_the_server_shouts_reaches_a_sentence(data: bytes, token_file: Path) -> None:
    """The server knows the config and the token, and quotes them wherever it can."""

    def behave(_: Request, connection: socket.socket) -> None:
        connection.sendall(data)

    with Hostile(behave) as server:
        cluster = ServeCluster(server.address, token_file=token_file, limits=QUICK)
        with pytest.raises((Rejected, Unclear)) as raised:
            cluster.apply(rollout(), BODY)
        assert_no_canary(texts_of(raised.value))
        seen = cluster.observe()
        assert isinstance(seen, Unreachable | Unreadable)
        assert_no_canary(repr(seen))
        assert_no_canary(repr(cluster))
        cluster.close()


def test_messages_are_masked_with_what_the_cluster_itself_reports() -> None:
    """The values of every reported config count, so a daemon that has just started leaks nothing either."""
    app = {
        "status": "DEPLOY_FAILED",
        "message": f"\x1b[31mtold {SECRET}",
        "deployed_app_config": APP,
        "deployments": {"D": {"status": "UNHEALTHY", "message": f"again {quote(SECRET)}"}},
    }
    orphan = {"status": "DEPLOY_FAILED", "message": f"and here {SECRET}", "deployed_app_config": None}
    with Hostile(dashboard({**NOTHING, "applications": {"fruit": app, "old": orphan}})) as server:
        seen = look(server.address)
    assert isinstance(seen, Live)
    assert seen.apps["fruit"].message == f"told {REDACTED}"
    assert seen.apps["fruit"].deployments[0].message == f"again {REDACTED}"
    assert seen.apps["old"].message == f"and here {REDACTED}"
    assert_no_canary(repr(seen))


def test_a_message_of_hostile_size_keeps_its_head_and_its_end() -> None:
    """Serve's sentence is at the start and the error at the end; what is between is counted."""
    message = "head\n" + "x" * 1_000_000 + "\nValueError: the end"
    app = {"status": "DEPLOY_FAILED", "message": message}
    with Hostile(dashboard({**NOTHING, "applications": {"fruit": app}})) as server:
        seen = look(server.address)
    assert isinstance(seen, Live)
    kept = seen.apps["fruit"].message
    assert len(kept) < 21_000
    assert kept.startswith("head\n")
    assert kept.endswith("ValueError: the end")
    assert f"\n[{len(message) - 20_000} characters left out]\n" in kept


# --- the token -----------------------------------------------------------------------------------------


def test_a_token_is_read_again_when_its_file_changes(token_file: Path) -> None:
    """Tokens are rotated under a running daemon."""
    with Hostile(dashboard()) as server:
        cluster = ServeCluster(server.address, token_file=token_file, limits=QUICK)
        cluster.observe()
        token_file.write_text("another-token")
        cluster.observe()
        cluster.close()
        sent = [request.headers["authorization"] for request in server.requests]
        assert (sent[0], sent[-1]) == (f"Bearer {TOKEN}", "Bearer another-token")


@pytest.mark.parametrize("content", ["", "two words", "line\nline", "umlaut-\u00e4", "x" * 5000])
def test_a_file_without_a_token_is_named_and_nothing_is_sent(content: str, token_file: Path) -> None:
    """Asking without it would only bring a 401, and a PUT without it could meet an open cluster."""
    token_file.write_text(content)
    with Hostile(dashboard()) as server:
        seen = look(server.address, token_file=token_file)
        assert isinstance(seen, Unreachable)
        assert f"its token file {token_file} holds no token" in seen.why
        with pytest.raises(Unclear, match="holds no token"):
            put(server.address, token_file=token_file)
        assert server.requests == []


def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    """With the operating system's reason."""
    seen = look("http://127.0.0.1:1", token_file=tmp_path / "nothing")
    assert isinstance(seen, Unreachable)
    assert f"{tmp_path / 'nothing'} cannot be read (No such file or directory)" in seen.why


# --- TLS -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    require("openssl", shutil.which("openssl") is not None, "apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=test"
    words = [*made.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "ca.pem")]
    subprocess.run(["openssl", *words, *files], check=True, capture_output=True, timeout=30)
    return folder / "ca.pem"


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[Hostile]:
    """A well-behaved dashboard behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with Hostile(dashboard(), tls=context) as server:
        yield server


def test_tls_with_an_authority_of_ones_own(tls_server: Hostile, certificate: Path) -> None:
    """`ca_file` is what makes a private authority trusted."""
    assert isinstance(look(tls_server.address, ca_file=certificate), Live)
    put(tls_server.address, ca_file=certificate)
    assert len(tls_server.sent("PUT")) == 1


def test_tls_with_an_unknown_authority_sends_nothing(tls_server: Hostile, token_file: Path) -> None:
    """Not even the token, and the sentence says which setting is missing."""
    seen = look(tls_server.address, token_file=token_file)
    assert isinstance(seen, Unreachable)
    assert "TLS failed" in seen.why
    assert "self-signed certificate" in seen.why
    assert "`cluster.ca_file`" in seen.why
    assert tls_server.requests == []


def test_a_missing_ca_file_is_a_sentence_too(tmp_path: Path) -> None:
    """It can be removed under a running daemon."""
    seen = look("https://127.0.0.1:1", ca_file=tmp_path / "nothing.pem")
    assert isinstance(seen, Unreachable)
    assert str(tmp_path / "nothing.pem") in seen.why


def test_what_is_not_tls_is_told_as_such() -> None:
    """The commonest mistake with an address: https where the server speaks plain HTTP."""
    seen = speaking(answer(400, "Bad Request"), every=0)
    assert isinstance(seen, Unreachable)
    assert "TLS failed" in seen.why


def test_a_handshake_that_drips_is_given_up() -> None:
    """The limits cover the time before the first byte of HTTP."""
    # A record of 16 kB is announced, and comes a byte at a time.
    seen = speaking(b"\x16\x03\x03\x40\x00" + b"\x02" * 1000, every=0.05)
    assert isinstance(seen, Unreachable)
    assert "no TLS handshake within 0.5 s" in seen.why


def speaking(data: bytes, every: float) -> Observation:
    """A look over https at a server that sends these bytes once it has heard something."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def speak() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.recv(1)
                for byte in data:
                    connection.sendall(bytes([byte]))
                    if every and over.wait(every):
                        return
                over.wait(5)

        thread = threading.Thread(target=speak)
        thread.start()
        try:
            return look(f"https://127.0.0.1:{listener.getsockname()[1]}")
        finally:
            over.set()
            thread.join(10)


# --- the address ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "ray-prod:8265",
        "ftp://ray-prod",
        "http://",
        "http://ray prod",
        "http://ray/?x=1",
        "http://ray/#x",
        "http://ray\n",
    ],
)
def test_an_impossible_address_is_refused_at_once(address: str) -> None:
    """When the settings are read, not when the first look fails."""
    with pytest.raises(ValueError, match="is no address of a dashboard"):
        ServeCluster(address)


def test_an_address_with_a_password_is_refused_without_repeating_it() -> None:
    """Secrets come from files; and the error does not show what was there."""
    with pytest.raises(ValueError, match="use token_file") as refused:
        ServeCluster("https://ada:hunter2@ray-prod:8265")
    assert "hunter2" not in str(refused.value)
