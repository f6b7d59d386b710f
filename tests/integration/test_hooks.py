"""Webhooks over real sockets, against the real server, with the API beside them."""

from __future__ import annotations

import gzip
import hmac
import re
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from deployer.core.source import Branch
from deployer.engine.sources import EnvironmentSource, RepositorySpec, Sources
from deployer.web import Hooks, HookSpec, connections, front, serving
from deployer.web.guard import Guard
from deployer.web.hooks import BODY_BYTES
from tests.support.bare_faces import nothing
from tests.support.door import Keys
from tests.support.eventually import eventually
from tests.support.prerequisites import require
from tests.support.repos import BareRepo
from tests.support.webhooks import (
    PLAIN,
    SCHEMES,
    SECRETS,
    Answer,
    Delivery,
    deliveries,
    receive,
    request,
    send,
    signed,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

    from deployer.core.webhooks import Scheme

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
OTHER = "another-stall-0123456789abcdef"
BODY = b'{"ref": "refs/heads/main"}'

Log = list["MutableMapping[str, Any]"]


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    """All events, before anything is masked in them."""
    with capture_logs() as events:
        yield events


@dataclass
class Stand:
    """A server with one repository for each scheme, named like it."""

    root: Path
    looks: list[str] = field(default_factory=list)
    clock: float = 0.0
    """What the daemon's monotonic clock is ahead of ours."""
    look_now: Callable[[str], object] | None = None

    def __post_init__(self) -> None:
        """Write the secrets."""
        for scheme in SCHEMES:
            self.write(scheme, SECRETS[scheme])

    def file(self, scheme: Scheme, name: str = "secret") -> Path:
        """Where a secret is."""
        return self.root / f"{scheme}.{name}"

    def write(self, scheme: Scheme, text: str, name: str = "secret") -> None:
        """Write a secret, as `openssl rand -hex 32 > file` would."""
        self.file(scheme, name).write_text(f"{text}\n")

    @contextmanager
    def open(self, *, previous: bool = False) -> Iterator[None]:
        """Serve in the block."""
        specs: dict[str, HookSpec] = {
            scheme: HookSpec(
                scheme=scheme,
                secret_file=self.file(scheme),
                previous_secret_file=self.file(scheme, "previous") if previous else None,
            )
            for scheme in SCHEMES
        }
        hooks = Hooks(
            specs, self.look_now or self.looks.append, monotonic=lambda: time.monotonic() + self.clock
        )
        state = self.root / "state"
        state.mkdir()
        keys = Keys(state)
        self.token = keys.local
        guard = Guard(nothing, keys.door(), lambda _scope: False)
        with (
            closing(keys.database),
            serving(guard, state, host="127.0.0.1", port=0, token=self.token, hooks=hooks) as url,
        ):
            self.port = int(url.rpartition(":")[2])
            yield

    def post(self, repository: str, headers: Mapping[str, str], body: bytes = BODY, **more: str) -> Answer:
        """Send a webhook."""
        return send(self.port, request(f"/hooks/{repository}", headers, body, **more))

    def push(self, scheme: Scheme, secret: str = "", delivery: str = "", body: bytes = BODY) -> Answer:
        """Send one that is signed now; with the secret of this scheme and an id of its own, unless given."""
        return self.post(scheme, proof(scheme, secret, delivery, body), body)

    def api(self, path: str = "/api/v1/environments/none/status") -> Answer:
        """Ask the API, with the token."""
        headers = {"Host": "localhost", "Authorization": f"Bearer {self.token}"}
        return send(self.port, request(path, headers, b"", method="GET"))

    def connect(self, data: bytes = b"") -> socket.socket:
        """A connection over which this was sent, and no more."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.sendall(data)
        return connection


def proof(scheme: Scheme, secret: str = "", delivery: str = "", body: bytes = BODY) -> dict[str, str]:
    """The headers that prove a body now."""
    secret, delivery = secret or SECRETS[scheme], delivery or str(uuid.uuid4())
    return signed(scheme, body, secret=secret, delivery=delivery, at=time.time())


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it, without an answer."""
    connection.setblocking(False)  # noqa: FBT003 - its only parameter
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    """A server that runs."""
    made = Stand(tmp_path)
    with made.open():
        yield made


def named(log: Log, event: str) -> Log:
    """The events of this name."""
    return [one for one in log if one["event"] == event]


# --- what is accepted ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", deliveries(), ids=lambda sent: f"{sent.scheme}-{sent.name}")
def test_each_forge_is_heard(stand: Stand, sent: Delivery) -> None:
    """A push makes a look and is answered at once; a ping is answered with a sentence."""
    proved = proof(sent.scheme, body=sent.body) if "webhook-signature" in sent.headers else {}
    answer = stand.post(sent.scheme, {**sent.headers, **proved}, sent.body)
    if sent.is_ping:
        assert (answer.status, answer.json["status"]) == (200, "pong")
        assert "deployer will look when somebody pushes" in answer.json["detail"]
    else:
        assert (answer.status, answer.json) == (202, {"status": "accepted"})
    assert stand.looks == [sent.scheme] * (not sent.is_ping)


def test_what_was_delivered_before_causes_nothing(stand: Stand) -> None:
    """A forge repeats what it thinks was lost, and others may listen. Each repository has ids of its own."""
    for expected in ("accepted", "repeated", "repeated"):
        answer = stand.push("github", delivery="one")
        assert (answer.status, answer.json["status"]) == (202, expected)
    assert stand.push("github", delivery="two").json["status"] == "accepted"
    assert stand.push("gitea", delivery="one").json["status"] == "accepted"
    assert stand.looks == ["github", "github", "gitea"]


def test_only_the_newest_ids_are_remembered(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory has an end; a delivery without an id is always a new one."""
    monkeypatch.setattr("deployer.web.hooks._REMEMBERED", 3)
    for delivery in "abcd":
        stand.push("github", delivery=delivery)
    found = {delivery: stand.push("github", delivery=delivery).json["status"] for delivery in "bcd"}
    assert set(found.values()) == {"repeated"}
    assert stand.push("github", delivery="a").json["status"] == "accepted"
    headers = {name: value for name, value in proof("github").items() if name != "X-GitHub-Delivery"}
    assert [stand.post("github", headers).json["status"] for _ in "ab"] == ["accepted", "accepted"]


def test_a_look_that_failed_may_be_asked_for_again(tmp_path: Path) -> None:
    """What was not done was not delivered."""
    seen: list[str] = []

    def look_now(name: str) -> None:
        seen.append(name)
        if len(seen) == 1:
            message = "a bug"
            raise RuntimeError(message)

    stand = Stand(tmp_path, look_now=look_now)
    with stand.open():
        assert stand.push("github", delivery="one").status == 500
        assert stand.push("github", delivery="one").json["status"] == "accepted"
    assert len(seen) == 2


def test_a_packed_body_is_taken_as_it_is(stand: Stand) -> None:
    """A bomb that unpacks to gigabytes is a few kilobytes here: they are signed, and nobody looks inside."""
    body = gzip.compress(b"0" * 10_000_000)
    headers = {**proof("github", body=body), "Content-Encoding": "gzip"}
    assert stand.post("github", headers, body).status == 202


# --- what is refused ----------------------------------------------------------------------------------------


def test_nobody_learns_why_or_what_there_is(stand: Stand, log: Log) -> None:
    """The same answer for a wrong secret, a wrong scheme, no signature, and a repository that is none."""
    answers = [
        stand.push("github", secret=OTHER),
        stand.post("github", {}),
        stand.post("github", proof("gitlab-token", PLAIN)),
        stand.post("gitlab", proof("github", SECRETS["gitlab"])),
        stand.post("no-such-repository", proof("github")),
        stand.post("github/", proof("github")),
        stand.post("", proof("github")),
    ]
    assert {(one.status, one.text) for one in answers} == {(401, answers[0].text)}
    assert len({tuple(one.headers) for one in answers}) == 1
    assert stand.looks == []
    assert "its X-Hub-Signature-256 was not made with this secret" in {
        one["why"] for one in named(log, "webhook_refused")
    }


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_refusal_takes_as_long_whether_there_is_such_a_repository_or_not(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, scheme: Scheme
) -> None:
    """Who has a clock finds out nothing: as much of a large body is digested, which is what takes long."""
    digested: Counter[str] = Counter()
    digest = hmac.digest

    def counting(key: bytes, message: bytes, algorithm: str) -> bytes:
        digested[name] += len(message)
        return digest(key, message, algorithm)

    monkeypatch.setattr(hmac, "digest", counting)
    body = b"x" * BODY_BYTES
    headers = proof("github", OTHER, body=body)
    for name in (scheme, "no-such-repository"):
        assert stand.post(name, headers, body).status == 401
    assert digested[scheme] == pytest.approx(digested["no-such-repository"], rel=0.001)
    assert digested[scheme] == pytest.approx(2 * BODY_BYTES, rel=0.001)


def test_refusals_do_not_fill_the_log(stand: Stand, log: Log) -> None:
    """One warning a minute for each repository, which counts; and one for all names that are none."""
    for number in range(20):
        stand.push("github", secret=OTHER)
        stand.post(f"none-{number}", {})
    assert [(one["repository"], one["count"]) for one in named(log, "webhooks_refused")] == [
        ("github", 1),
        (None, 1),
    ]
    stand.clock += 61
    stand.push("github", secret=OTHER)
    assert named(log, "webhooks_refused")[2:] == [
        {
            "event": "webhooks_refused",
            "log_level": "warning",
            "repository": "github",
            "count": 20,
            "why": "its X-Hub-Signature-256 was not made with this secret",
        }
    ]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": str(BODY_BYTES + 1)}, 413),
        ({"Content-Length": "10000000000"}, 413),
        ({"Content-Length": str(BODY_BYTES + 1), "Expect": "100-continue"}, 413),
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"Origin": "https://example.com"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "none"}, 403),
        ({"Sec-Fetch-Mode": "no-cors"}, 403),
    ],
    ids=str,
)
def test_what_is_refused_is_refused_before_its_body(
    stand: Stand, headers: dict[str, str], status: int
) -> None:
    """Only the head is sent, and the answer comes: too long, of no known length, from somebody's browser."""
    whole = {"Content-Length": str(len(BODY)), **headers}
    if "Transfer-Encoding" in headers:
        del whole["Content-Length"]
    head = request("/hooks/github", {**proof("github"), **whole}, b"")
    with closing(stand.connect(head)) as connection:
        answer = receive(connection)
    assert answer.status == status
    assert stand.looks == []


def test_a_request_says_how_long_it_is(stand: Stand) -> None:
    """An empty one too."""
    head = request("/hooks/github", {**proof("github"), "Content-Length": ""}, b"")
    assert send(stand.port, head.replace(b"Content-Length: \r\n", b"")).status == 411


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_webhooks_are_posted(stand: Stand, method: str) -> None:
    """Nothing else is answered, whatever it carries."""
    answer = stand.post("github", proof("github"), method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert stand.looks == []


def test_the_api_keeps_its_own_rules(stand: Stand) -> None:
    """A signature opens nothing but `/hooks/`, and there the token opens nothing."""
    path = "/api/v1/environments/none/status"
    assert stand.api().status == 404
    headers = {"Host": "localhost", **proof("github", body=b"")}
    assert send(stand.port, request(path, headers, b"", method="GET")).status == 401
    assert send(stand.port, request("/hooks", headers, b"")).status == 401
    assert stand.post("github", {"Authorization": f"Bearer {stand.token}"}).status == 401


# --- secrets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_secret_is_replaced_without_a_restart(tmp_path: Path, log: Log, scheme: Scheme) -> None:
    """While there are two, both are taken; once the old one's file holds the new one, only that."""
    new = SECRETS["gitlab"].replace("bWFy", "cGVh") if scheme == "gitlab" else OTHER
    stand = Stand(tmp_path)
    stand.write(scheme, SECRETS[scheme], "previous")
    with stand.open(previous=True):
        assert [stand.push(scheme).status, stand.push(scheme, new).status] == [202, 401]
        stand.write(scheme, new)
        stand.clock += 2
        assert [stand.push(scheme).status, stand.push(scheme, new).status] == [202, 202]
        stand.file(scheme, "previous").unlink()
        stand.clock += 2
        assert [stand.push(scheme).status, stand.push(scheme, new).status] == [401, 202]
    assert [one["usable"] for one in named(log, "webhook_secrets_read_again")] == [2, 1]


def test_without_a_secret_all_is_refused(tmp_path: Path, log: Log) -> None:
    """Said once, not with each delivery; and all is well once the file is there."""
    stand = Stand(tmp_path)
    stand.file("github").unlink()
    with stand.open():
        for _ in range(5):
            stand.clock += 2
            assert [stand.push("github").status, stand.push("github", secret="x").status] == [401, 401]
        assert named(log, "webhook_secret_unusable") == [
            {
                "event": "webhook_secret_unusable",
                "log_level": "warning",
                "repository": "github",
                "file": str(stand.file("github")),
                "why": "No such file or directory",
            }
        ]
        stand.write("github", "short")
        stand.clock += 2
        assert stand.push("github", secret="short").status == 401
        assert "openssl rand -hex 32" in named(log, "webhook_secret_unusable")[1]["why"]
        stand.write("github", OTHER)
        stand.clock += 2
        assert stand.push("github", secret=OTHER).status == 202
    assert len(stand.looks) == 1


def test_a_secret_that_was_moved_into_place_is_noticed(tmp_path: Path) -> None:
    """Where something else stood before. Its own time and size are older than the daemon."""
    stand = Stand(tmp_path)
    real = stand.file("github")
    hidden = real.with_name("moved")
    real.rename(hidden)
    real.mkdir()
    with stand.open():
        assert stand.push("github").status == 401
        real.rmdir()
        hidden.rename(real)
        stand.clock += 2
        assert stand.push("github").status == 202


def test_no_secret_is_shown(stand: Stand, log: Log) -> None:
    """Neither in an answer nor in an event, also before the log masks what it knows."""
    answers = []
    for scheme in SCHEMES:
        for secret in ("", OTHER):
            answers.append(stand.push(scheme, secret))
            answers.append(stand.post("none", proof(scheme, secret)))
    stand.write("gitlab", "no-signing-token-canary")
    stand.clock += 2
    answers.append(stand.push("gitlab"))
    assert {one.status for one in answers} == {202, 401}
    told = repr(log) + repr(answers)
    assert "webhook_secret_unusable" in told
    for secret in (*SECRETS.values(), OTHER, "no-signing-token-canary"):
        assert secret not in told


# --- room for everybody -------------------------------------------------------------------------------------

IDLE = """
import collections, socket, sys
port, data = int(sys.argv[1]), sys.argv[2].encode().decode("unicode_escape").encode()
idle = collections.deque(maxlen=1000)
while True:
    one = socket.create_connection(("127.0.0.1", port))
    try:
        one.sendall(data)
    except ConnectionError:
        pass
    idle.append(one)
    if len(idle) == 999:
        print("most", flush=True)
"""
"""A process of its own, with its own file descriptors. It goes on and on; the oldest make room."""

SLOW = {
    "nothing": "",
    "half a head": "POST /hooks/github HTTP/1.1\\r\\nHost: x\\r\\n",
    "half a body": "POST /hooks/github HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\nhalf",
    "half of another": "POST /hooks/none HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 9\\r\\n\\r\\nhalf",
}


@pytest.mark.parametrize("data", SLOW.values(), ids=list(SLOW))
def test_a_thousand_slow_ones_keep_nobody_out(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, data: str
) -> None:
    """They take no room from the API, nor from a webhook that comes whole, although ever more come.

    None of them is closed for its silence meanwhile, so that is not what makes the room.
    """
    monkeypatch.setattr(connections, "_REQUEST_SECONDS", 3600.0)
    command = [sys.executable, "-c", IDLE, str(stand.port), data]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as others:
        assert others.stdout is not None
        try:
            assert others.stdout.readline() == "most\n"
            for _ in range(10):
                assert (stand.api().status, stand.push("github").status) == (404, 202)
        finally:
            others.terminate()


def test_a_slow_one_is_closed(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """However steadily it drips."""
    monkeypatch.setattr(connections, "_REQUEST_SECONDS", 0.5)
    head = request("/hooks/github", {**proof("github"), "Content-Length": "500"}, b"")
    with closing(stand.connect(head)) as connection:

        def is_over() -> bool:
            try:
                connection.sendall(b"x")
            except OSError:
                return True
            return is_closed(connection)

        eventually(is_over, within=5, every=0.05)
    assert stand.looks == []


def test_slow_bodies_have_a_limit_of_their_own(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may be a megabyte. The oldest goes; the newest may still come whole."""
    monkeypatch.setattr(connections, "_BODIES", 3)
    with ExitStack() as stack:
        whole = request("/hooks/github", proof("github"), BODY)
        slow = [stack.enter_context(closing(stand.connect(whole[:-1]))) for _ in range(6)]
        eventually(lambda: [is_closed(one) for one in slow] == [True] * 3 + [False] * 3, within=3)
        slow[-1].setblocking(True)  # noqa: FBT003 - its only parameter
        slow[-1].sendall(whole[-1:])
        assert receive(slow[-1]).status == 202


def test_who_only_connects_makes_room_for_others_of_that_kind(stand: Stand) -> None:
    """The oldest go, long before their time is over: each is a file descriptor. A body is another kind."""
    whole = request("/hooks/github", proof("github"), BODY)
    with ExitStack() as stack:
        slow = stack.enter_context(closing(stand.connect(whole[:-1])))
        idle = [stack.enter_context(closing(stand.connect())) for _ in range(120)]
        eventually(lambda: [is_closed(one) for one in idle] == [True] * 20 + [False] * 100, within=3)
        slow.sendall(whole[-1:])
        assert receive(slow).status == 202


def test_a_storm_of_forged_ones_leaves_the_api_alone(stand: Stand) -> None:
    """Who holds the pager gets an answer, each time, and a real push is heard."""
    data = request("/hooks/github", proof("github", OTHER), BODY * 100)
    over = threading.Event()
    refused = []

    def flood() -> None:
        while not over.is_set():
            refused.append(send(stand.port, data).status)

    with ThreadPoolExecutor(16) as pool:
        floods = [pool.submit(flood) for _ in range(16)]
        try:
            eventually(lambda: len(refused) > 100, within=10)
            for _ in range(5):
                assert stand.api().status == 404
            assert stand.push("github").status == 202
        finally:
            over.set()
        for one in floods:
            one.result()
    assert set(refused) == {401}


def test_the_api_has_a_limit_of_its_own(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where everybody asks at once, the next is told so, and webhooks come in as before."""
    monkeypatch.setattr(front, "_REQUESTS", 1)
    assert [stand.api().status for _ in range(3)] == [404] * 3
    monkeypatch.setattr(front, "_REQUESTS", 0)
    answer = stand.api()
    assert (answer.status, answer.json["title"]) == (503, "Service Unavailable")
    assert stand.push("github").status == 202


def test_a_stop_tells_who_is_still_sending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the forge sends it again."""
    stand = Stand(tmp_path)
    with ExitStack() as stack:
        with stand.open():
            slow = stack.enter_context(
                closing(stand.connect(request("/hooks/github", proof("github"), BODY)[:-1]))
            )
            assert stand.push("github").status == 202
        assert receive(slow).status == 503


def test_a_storm_is_few_looks(tmp_path: Path) -> None:
    """And what was pushed before the last of it is seen."""
    repo = BareRepo(tmp_path / "configs.git")
    repo.commit({"environments/a/serve_config.yaml": "applications: []"})
    enqueued: list[str] = []
    sources = Sources(
        repositories=[RepositorySpec(name="configs", url=repo.url, poll_seconds=3600.0)],
        environments=[
            EnvironmentSource(
                environment="a", repository="configs", source=Branch("main"), path="environments/a"
            )
        ],
        mirrors_dir=tmp_path / "mirrors",
        enqueue=enqueued.append,
        watch=False,
    )
    stand = Stand(tmp_path, look_now=lambda _: sources.look_now("configs"))
    sources.start()
    try:
        eventually(lambda: enqueued, within=20)
        with stand.open(), ThreadPoolExecutor(8) as pool:
            before = sources.looks("configs").ended
            began = time.monotonic()
            answers = list(pool.map(lambda _: stand.push("github").status, range(400)))
            took = time.monotonic() - began
            commit = repo.commit({"environments/a/serve_config.yaml": "{applications: [], http_options: {}}"})
            assert stand.push("github").status == 202
            eventually(lambda: commit in repr(sources.wanted("a")), within=20)
            looks = sources.looks("configs").ended - before
    finally:
        sources.stop(5)
    assert answers == [202] * 400
    # One look settles for 20 ms before the next.
    assert 1 <= looks <= min(100, took / 0.02 + 5), looks


# --- the page -----------------------------------------------------------------------------------------------


def test_the_example_of_the_page_works(stand: Stand, tmp_path: Path) -> None:
    """What `docs/webhooks.md` tells people to type is accepted, as it stands there."""
    for program in ("bash", "curl", "openssl"):
        require(program, which(program) is not None, f"apt-get install {program}")
    example = re.search(r"```sh\n(secret=.*?)```", PAGE.read_text(), re.DOTALL)
    assert example is not None
    script = example[1].replace("https://deployer.example.com", f"http://127.0.0.1:{stand.port}")
    script = script.replace("/hooks/serve-configs", "/hooks/generic")
    script = script.replace("/etc/deployer/webhook.secret", str(stand.file("generic")))
    done = subprocess.run(
        ["bash", "-eu", "-c", script], capture_output=True, text=True, timeout=30, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (0, '{"status": "accepted"}'), done.stderr
    assert stand.looks == ["generic"]
