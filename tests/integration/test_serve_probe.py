"""What is beside Serve's own API, over real sockets: checks through the proxy, replica logs, free resources.

Whatever the servers do: an answer or a sentence within its time, and no secret where it does not belong.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from deployer.adapters.serve import Limits, LogUnavailable, ServeCluster
from deployer.cli.local_ray import free_port
from deployer.core.checks import passes
from deployer.core.events import LogSource
from deployer.core.live import Live
from deployer.core.types import Check
from tests.support.build import live
from tests.support.eventually import eventually
from tests.support.hostile_http import VERSION, Behaviour, Hostile, Request, answer, dashboard

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from deployer.core.checks import Answer

SECRET = 'hunter2 & "canary"'
TOKEN = "token-canary-0123456789"
QUICK = Limits(connect=0.5, get=0.3, look=0.8, put=0.3, whole_put=0.8, log=0.8)
MARGIN_SECONDS = 8.0
"""What a loaded machine may add to a limit."""

SOURCE = LogSource(replica="r1", node_id="n1", path="serve/replica_fruit_D_r1.log")


def always(data: bytes | None) -> Behaviour:
    """The same answer to everything."""
    return lambda _request, _connection: data


def check(**more: Any) -> Check:
    """A check with a short time-out."""
    return Check(**{"app": "fruit", "path": "/fruit", "timeout": 0.5, **more})


def at_port(port: int, **http_options: Any) -> Live:
    """A cluster whose Serve says that its proxy is there."""
    return live(options={"http_options": {"host": "127.0.0.1", "port": port, **http_options}})


def ask(server: Hostile, given: Check | None = None, seen: Live | None = None, **more: Any) -> Answer:
    """One attempt by a client of its own, through the port that Serve tells, within its time."""
    given = given or check()
    cluster = ServeCluster("http://127.0.0.1:1", limits=QUICK, **more)
    started = time.monotonic()
    try:
        return cluster.probe(given, seen or at_port(server.port))
    finally:
        assert time.monotonic() - started < given.timeout + MARGIN_SECONDS
        cluster.close()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with Ray's token in it."""
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return path


# --- checks --------------------------------------------------------------------------------------------


def test_a_check_is_sent_as_it_is_written(token_file: Path) -> None:
    """Without Ray's token, which is not for applications, and without cookies; and the answer is told."""
    body = json.dumps({"fruit": "mango"})
    with Hostile(always(answer(201, '{"price": 3}', ["Set-Cookie: a=b"]))) as server:
        cluster = ServeCluster("http://127.0.0.1:1", token_file=token_file)
        given = check(method="POST", path="/fruit?kind=a%20b", body=body, status=201, json='{"price": 3}')
        answers = [cluster.probe(given, at_port(server.port)) for _ in range(2)]
        cluster.close()
    for one in answers:
        assert (one.status, one.body, one.error) == (201, '{"price": 3}', "")
        assert passes(given, one)[0]
    for request in server.requests:
        assert (request.method, request.path, request.body) == ("POST", "/fruit?kind=a%20b", body.encode())
        assert request.headers["content-type"] == "application/json"
        assert request.headers["user-agent"].startswith("ray-serve-deployer/")
        assert not {"authorization", "cookie"} & request.headers.keys()
    assert [request.connection for request in server.requests] == [0, 1]


def test_a_check_without_a_body_has_none() -> None:
    """No type of what is not there."""
    with Hostile(always(answer(200, "hello"))) as server:
        assert ask(server).body == "hello"
    (request,) = server.requests
    assert (request.method, request.body) == ("GET", b"")
    assert "content-type" not in request.headers


def test_only_the_path_of_the_settings_goes_before_that_of_a_check() -> None:
    """Serve's `root_path` is what a proxy in front of it takes off: Serve itself answers 404 to it (2.60)."""
    with Hostile(always(answer(200))) as server:
        ask(server, seen=at_port(server.port, root_path="/ml"))
        ask(server, serve_address=f"{server.address}/ml/")
    assert [request.path for request in server.requests] == ["/fruit", "/ml/fruit"]


def test_the_address_of_the_settings_goes_before_what_serve_tells() -> None:
    """Then neither the port nor a missing proxy matters."""
    with Hostile(always(answer(200))) as server:
        seen = live(options={"proxy_location": "Disabled", "http_options": {"port": 1}})
        assert ask(server, seen=seen, serve_address=f"{server.address}/").status == 200
    assert [request.path for request in server.requests] == ["/fruit"]


def test_a_serve_that_was_started_with_another_port_is_found_there() -> None:
    """The port is looked up for each attempt."""
    with Hostile(always(answer(200, "old"))) as old, Hostile(always(answer(200, "new"))) as new:
        cluster = ServeCluster("http://127.0.0.1:1")
        assert cluster.probe(check(), at_port(old.port)).body == "old"
        assert cluster.probe(check(), at_port(new.port)).body == "new"
        cluster.close()


def test_a_redirect_is_an_answer() -> None:
    """It is not followed: to where, the cluster would decide."""
    with Hostile(always(answer(307, "", ["Location: http://127.0.0.1:1/"]))) as server:
        assert ask(server).status == 307
    assert len(server.requests) == 1


def test_nobody_listens() -> None:
    """With the URL, the likely cause and both ways out."""
    port = free_port()
    cluster = ServeCluster("http://127.0.0.1:1")
    found = cluster.probe(check(), at_port(port))
    assert found.status == 0
    assert found.error == (
        f"GET /fruit got no answer from http://127.0.0.1:{port}: Connection refused."
        " Serve listens only on 127.0.0.1 of its nodes unless told otherwise: set `http_options.host` to"
        " 0.0.0.0 and restart Serve, or name the address of its proxy as `cluster.serve_address` in the"
        " settings."
    )
    assert passes(check(), found) == (False, found.error)
    open_one = cluster.probe(check(), at_port(port, host="0.0.0.0"))
    assert "Check that Serve's proxy runs on the head node" in open_one.error
    given = ServeCluster("http://127.0.0.1:1", serve_address=f"http://127.0.0.1:{port}")
    assert given.probe(check(), at_port(1)).error.endswith("`cluster.serve_address` names Serve's proxy.")
    for one in (cluster, given):
        one.close()


@pytest.mark.parametrize("options", [{}, {"http_options": None}, {"http_options": {"port": "odd"}}])
def test_what_serve_does_not_tell_is_its_default(options: dict[str, Any]) -> None:
    """Ray 2.9.3 and later all listen on 8000 if nobody says otherwise; an IPv6 host keeps its brackets."""
    cluster = ServeCluster("http://[::1]:1")
    found = cluster.probe(check(), live(options=options))
    cluster.close()
    assert "http://[::1]:8000" in found.error or found.status


def test_a_serve_without_a_proxy_is_told_as_such() -> None:
    """It would only be refused, and the reason would be guessed wrong."""
    cluster = ServeCluster("http://127.0.0.1:1")
    found = cluster.probe(check(), live(options={"proxy_location": "Disabled"}))
    cluster.close()
    assert found.error.startswith(
        "GET /fruit was not sent: Serve runs no proxy (proxy_location: Disabled). Set"
    )


def test_a_proxy_with_a_certificate_is_asked_over_tls() -> None:
    """Serve's own TLS: both files together turn it on."""
    with Hostile(always(answer(200))) as server:
        found = ask(server, seen=at_port(server.port, ssl_keyfile="/k", ssl_certfile="/c"))
        address = server.address.replace("http", "https")
    # A server that waits for a line of HTTP hears none.
    assert found.error.startswith(f"GET /fruit got no answer from {address}: ")
    assert "http_options.host" not in found.error


def hang(server: Hostile, _: socket.socket) -> None:
    """Say nothing."""
    server.pause()


def drip(server: Hostile, connection: socket.socket) -> None:
    """Send a body that never ends, a byte at a time."""
    server.drip(connection, b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000)


@pytest.mark.parametrize("behave", [hang, drip])
def test_an_answer_that_takes_too_long_is_given_up(behave: Any) -> None:
    """After the check's own time-out, as a whole."""
    with Hostile(lambda _request, connection: behave(server, connection)) as server:
        found, address = ask(server), server.address
    assert found.status == 0
    assert found.error.startswith(f"GET /fruit got no answer from {address}: no ")
    assert found.error.endswith("within 0.5 s.")
    assert found.seconds >= 0.5


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (None, "it closed the connection without an answer"),
        (b"hello\r\n\r\n", "it does not speak HTTP"),
        (answer(200, b"x" * (1024 * 1024 + 1)), "its answer is longer than 1 MiB"),
        (
            answer(200, gzip.compress(b"x" * 50_000_000), ["Content-Encoding: gzip"]),
            "its answer is longer than 1 MiB",
        ),
        (answer(200, b"odd", ["Content-Encoding: gzip"]), "its answer cannot be decompressed"),
    ],
)
def test_what_is_no_answer_is_told_in_a_sentence(data: bytes | None, cause: str) -> None:
    """And never raised."""
    with Hostile(always(data)) as server:
        found, address = ask(server), server.address
    assert found.error == f"GET /fruit got no answer from {address}: {cause}."


@pytest.mark.parametrize("given", [check(method="GET /x"), check(method="A\r\nB"), check(path="\r\nX: y")])
def test_what_cannot_be_sent_is_told_or_sent_in_one_line(given: Check) -> None:
    """Nobody can smuggle a header in, or raise out of it."""
    with Hostile(always(answer(200))) as server:
        found = ask(server, given)
    assert found.status == 200 or "cannot be sent" in found.error or "got no answer" in found.error
    assert found.error.isprintable()
    assert not any("x" in request.headers for request in server.requests)


def test_a_secret_in_an_answer_is_told_to_nobody() -> None:
    """What the cluster was seen with is taken out of every sentence about an answer."""
    config = {"name": "fruit", "import_path": "good:app", "runtime_env": {"env_vars": {"PASSWORD": SECRET}}}
    details = {"applications": {"fruit": {"status": "RUNNING", "deployed_app_config": config}}}

    def behave(request: Request, connection: socket.socket) -> bytes | None:
        if request.path == "/fruit":
            return answer(200, json.dumps({"said": SECRET}))
        return dashboard(details)(request, connection)

    with Hostile(behave) as server:
        cluster = ServeCluster(server.address, serve_address=server.address)
        seen = cluster.observe()
        assert isinstance(seen, Live)
        given = check(json='{"said": "hello"}', timeout=5)
        passed, message = passes(given, cluster.probe(given, seen))
        cluster.close()
    assert (passed, message) == (False, 'GET /fruit: said is "<redacted>", expected "hello"')


def test_a_stop_cuts_an_attempt_off() -> None:
    """The daemon does not wait for somebody else's time-out."""
    with Hostile(lambda _request, connection: hang(server, connection)) as server:
        cluster = ServeCluster("http://127.0.0.1:1")
        found: list[Answer] = []
        thread = threading.Thread(
            target=lambda: found.append(cluster.probe(check(timeout=30), at_port(server.port)))
        )
        started = time.monotonic()
        thread.start()
        eventually(lambda: server.requests, within=10)
        cluster.close()
        thread.join(10)
        assert time.monotonic() - started < 10
        assert "the deployer is stopping" in found[0].error
        assert "the deployer is stopping" in cluster.probe(check(), at_port(server.port)).error


# --- logs ----------------------------------------------------------------------------------------------


def tail(data: bytes | None, source: LogSource = SOURCE, **more: Any) -> tuple[str, list[Request]]:
    """The end of a log from a dashboard that answers this, and what it was asked."""
    with Hostile(always(data)) as server:
        cluster = ServeCluster(server.address, **{"limits": QUICK, **more})
        try:
            return cluster.log_tail(source), server.requests
        finally:
            cluster.close()


def test_a_log_is_asked_for_by_node_and_file(token_file: Path) -> None:
    """With the token, and without the slash that Serve puts before the path."""
    source = LogSource(replica="r1", node_id="n&1", path="/serve/replica a&b.log")
    text, (request,) = tail(answer(200, "INFO \x1b[31mhello\x1b[0m\nworld\n"), source, token_file=token_file)
    assert text == "INFO hello\nworld\n"
    assert urlsplit(request.path).path == "/api/v0/logs/file"
    asked = parse_qs(urlsplit(request.path).query)
    assert (asked["node_id"], asked["filename"]) == (["n&1"], ["serve/replica a&b.log"])
    assert int(asked["lines"][0]) >= 500
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


def test_the_framing_of_an_older_ray_is_taken_off() -> None:
    """A 1 before what it could read."""
    assert tail(answer(200, "1INFO hello\n"))[0] == "INFO hello\n"
    assert tail(answer(200, "10 apples\n"))[0] == "10 apples\n"


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (
            answer(500, "A file is not found at: /x/serve/y.log"),
            "A file is not found at: /x/serve/y.log. Its",
        ),
        (answer(500, "Agent for node id: f doesn't exist."), "Agent for node id: f doesn't exist. Its node"),
        (answer(200, "0Closing HTTP stream due to internal server error.\nNo file"), "No file. Its"),
        (answer(200, "some\n[get_logs] Fetch log error: No file"), "No file. Its node"),
        (answer(200, ""), "it sent an empty log. Its node may be gone"),
        (answer(404, "404: Not Found"), "this Ray has no log API (404). Look into the file on its node."),
        (answer(401), "it did not let us in (401). Put Ray's token"),
        (answer(503, "busy"), "it answered 503 (busy)."),
        (answer(302, "", ["Location: https://login/?x=1"]), "it redirects (302) to https://login/."),
        (answer(200, "<html>log in</html>"), "it answered with a web page."),
        (None, "it closed the connection without an answer."),
    ],
)
def test_a_log_that_cannot_be_had_is_told_in_a_sentence(data: bytes | None, cause: str) -> None:
    """With the replica, the cluster and the reason."""
    with pytest.raises(LogUnavailable) as refused:
        tail(data)
    assert refused.value.why == str(refused.value)
    assert refused.value.why.startswith("The log of replica r1 cannot be had from http://127.0.0.1:")
    assert cause in refused.value.why


def test_a_log_that_does_not_come_is_given_up() -> None:
    """In its own time."""
    with Hostile(lambda _request, connection: drip(server, connection)) as server:
        cluster = ServeCluster(server.address, limits=QUICK)
        started = time.monotonic()
        with pytest.raises(LogUnavailable, match=r"within 0\.8 s"):
            cluster.log_tail(SOURCE)
        assert time.monotonic() - started < QUICK.log + MARGIN_SECONDS
        cluster.close()


def test_of_a_long_log_the_end_is_kept_without_secrets() -> None:
    """At most 64 KB, and no half of a secret at the cut."""
    config = {"name": "fruit", "import_path": "good:app", "runtime_env": {"env_vars": {"PASSWORD": SECRET}}}
    details = {"applications": {"fruit": {"status": "RUNNING", "deployed_app_config": config}}}
    lines = "".join(f"{n} {SECRET} \u00e4\n" for n in range(50_000))

    def behave(request: Request, connection: socket.socket) -> bytes | None:
        if request.path.startswith("/api/v0/logs"):
            return answer(200, lines)
        return dashboard(details)(request, connection)

    with Hostile(behave) as server:
        cluster = ServeCluster(server.address)
        assert isinstance(cluster.observe(), Live)
        text = cluster.log_tail(SOURCE)
        cluster.close()
    assert len(text.encode()) <= 64 * 1024
    assert len(text) > 30_000
    assert text.endswith("49999 <redacted> \u00e4\n")
    assert "hunter2" not in text
    assert "canary" not in text


def test_a_log_of_one_endless_line_is_cut_all_the_same() -> None:
    """There is no line to begin with."""
    assert tail(answer(200, "x" * 1_000_000), limits=Limits())[0] == "x" * 64 * 1024


@pytest.mark.parametrize("shift", range(0, 40, 5))
def test_no_cut_leaves_the_half_of_a_secret(shift: int) -> None:
    """Also where cleaning makes the text so short that the cut would be shown, and no line begins there."""
    secret = "half-of-it/half-again/and-the-rest-of-it!"
    with Hostile(always(answer(200, secret * 4000 + "x" * shift + "end"))) as server:
        cluster = ServeCluster(server.address, limits=Limits())
        cluster.remember({"env_vars": {"A": secret}})
        text = cluster.log_tail(SOURCE)
        cluster.close()
    assert text.endswith("end")
    assert "half" not in text


def test_what_the_daemon_remembers_is_not_shown() -> None:
    """The cluster does not tell the config of a release that was rolled back, and its log is read still."""
    config = {"applications": [{"name": "fruit", "runtime_env": {"env_vars": {"PASSWORD": SECRET}}}]}
    with Hostile(always(answer(200, f"ValueError: bad password {SECRET}\n"))) as server:
        cluster = ServeCluster(server.address, limits=QUICK, serve_address=server.address)
        assert SECRET in cluster.log_tail(SOURCE)
        cluster.remember(config)
        assert cluster.log_tail(SOURCE) == "ValueError: bad password <redacted>\n"
        answered = cluster.probe(check(json='{"a": 1}'), live())
        cluster.close()
    assert "hunter2" not in passes(check(json='{"a": 1}'), answered)[1]


# --- free resources ------------------------------------------------------------------------------------


STATUS = {"data": {"clusterStatus": {"loadMetricsReport": {"usage": {"CPU": [1.0, 4.0]}}}}}


def looked(status: bytes | None, *, resources: bool) -> tuple[Live, list[str]]:
    """A look at a cluster whose status is this, and what was asked."""

    def behave(request: Request, connection: socket.socket) -> bytes | None:
        return status if request.path == "/api/cluster_status" else dashboard()(request, connection)

    with Hostile(behave) as server:
        cluster = ServeCluster(server.address, limits=QUICK)
        seen = cluster.observe(resources=resources)
        cluster.close()
    assert isinstance(seen, Live)
    assert seen.ray_version == VERSION["ray_version"]
    return seen, [request.path for request in server.requests]


def test_free_resources_cost_one_more_request() -> None:
    """And none where nobody asks for them."""
    seen, asked = looked(answer(200, json.dumps(STATUS)), resources=True)
    assert seen.free == {"CPU": 3.0}
    assert asked.count("/api/cluster_status") == 1
    seen, asked = looked(answer(200, json.dumps(STATUS)), resources=False)
    assert seen.free is None
    assert "/api/cluster_status" not in asked


@pytest.mark.parametrize(
    "status", [answer(404), answer(500, "odd"), answer(200, "<html>"), answer(200, "[]"), None]
)
def test_who_does_not_tell_free_resources_was_seen_all_the_same(status: bytes | None) -> None:
    """A capacity that is not known is no reason to call a cluster unreachable."""
    assert looked(status, resources=True)[0].free is None
