"""How a command finds the daemon, and what it says if something else answers."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread, Timer
from typing import TYPE_CHECKING

import pytest

from deployer.adapters import statedir
from deployer.cli import client
from deployer.cli.client import Daemon, NotNow, NotYet, login_name
from deployer.cli.main import Failure
from deployer.web.api.writes import Order
from tests.support.hostile_http import Hostile, Request
from tests.support.settings_files import SMALL, read

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def answering(status: int, body: str) -> Iterator[tuple[str, list[str]]]:
    """A server that gives this answer to everything; its URL, and the request lines that came."""
    lines: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            lines.append(self.requestline)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name it has there
            """Keep quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", lines
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, "<html>"), (404, "<html>"), (500, "[]"), (500, '{"detail": "no code"}'), (302, "")],
)
def test_another_program_on_the_port_is_recognised(tmp_path: Path, status: int, body: str) -> None:
    """No traceback, no redirect followed, and no token in what is said."""
    settings = read(tmp_path / "deployer.yaml", f"state_dir: {tmp_path}/state\n{SMALL}")
    with statedir.lock(settings.state_dir), answering(status, body) as (url, lines):
        (settings.state_dir / "api.json").write_text(json.dumps({"url": url, "token": "canary-token"}))
        with pytest.raises(NotNow, match="is not this daemon's API") as caught:
            Daemon(settings).get("staging", "status")

    assert lines == ["GET /api/v1/environments/staging/status HTTP/1.1"]
    assert "canary" not in str(caught.value)


def test_a_problem_is_told_with_its_exit_code(tmp_path: Path) -> None:
    """And without what could move a cursor."""
    settings = read(tmp_path / "deployer.yaml", f"state_dir: {tmp_path}/state\n{SMALL}")
    problem = json.dumps({"detail": "it is \x1b[31mheld", "exit_code": 7})
    with statedir.lock(settings.state_dir), answering(409, problem) as (url, _):
        (settings.state_dir / "api.json").write_text(json.dumps({"url": url, "token": "x"}))
        with pytest.raises(Failure) as caught:
            Daemon(settings).get("staging", "status")

    assert (caught.value.message, caught.value.exit_code) == ("it is held", 7)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": 1}'])
def test_a_damaged_address_is_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    """A daemon that is just starting, or an editor."""
    monkeypatch.setattr(client, "_PATIENCE_SECONDS", 0.1)
    settings = read(tmp_path / "deployer.yaml", f"state_dir: {tmp_path}/state\n{SMALL}")
    with statedir.lock(settings.state_dir):
        (settings.state_dir / "api.json").write_text(content)
        with pytest.raises(NotNow, match="is starting or stopping"):
            Daemon(settings).get("staging", "status")


def test_a_daemon_that_is_starting_is_waited_for(tmp_path: Path) -> None:
    """A moment, also by the first request: it was not taken, so it is not done twice."""
    settings = read(tmp_path / "deployer.yaml", f"state_dir: {tmp_path}/state\n{SMALL}")
    with (
        statedir.lock(settings.state_dir),
        answering(401, "{}") as (old, _),
        answering(200, "{}") as (new, lines),
    ):
        api = settings.state_dir / "api.json"
        api.write_text(json.dumps({"url": old, "token": "of a killed daemon"}))
        starting = Timer(0.5, api.write_text, [json.dumps({"url": new, "token": "x"})])
        starting.start()
        with pytest.raises(NotNow, match="does not know the token"):
            Daemon(settings).poll("staging")
        assert Daemon(settings).get("staging", "status") == {}
        starting.join()

    assert len(lines) == 1


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (503, "Service Unavailable", "too many connections to its API are open"),
        (401, "{}", "does not know the token in "),
    ],
)
def test_what_takes_nothing_for_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, body: str, says: str
) -> None:
    """It was asked more than once."""
    monkeypatch.setattr(client, "_PATIENCE_SECONDS", 0.5)
    settings = read(tmp_path / "deployer.yaml", f"state_dir: {tmp_path}/state\n{SMALL}")
    with statedir.lock(settings.state_dir), answering(status, body) as (url, lines):
        (settings.state_dir / "api.json").write_text(json.dumps({"url": url, "token": "x"}))
        with pytest.raises(NotNow) as caught:
            Daemon(settings).get("staging", "status")

    assert says in caught.value.message
    assert len(lines) > 1


def test_a_lost_answer_is_asked_for_again_under_the_same_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second rollback would go one release further back; and one that stays unknown is told to be."""
    monkeypatch.setattr(client, "_PATIENCE_SECONDS", 0.5)
    settings = read(tmp_path / "deployer.yaml", f"state_dir: {tmp_path}/state\n{SMALL}")
    with statedir.lock(settings.state_dir), Hostile(behave=lambda _request, _socket: None) as there:
        (settings.state_dir / "api.json").write_text(json.dumps({"url": there.address, "token": "x"}))
        with pytest.raises(NotNow, match="shows whether anything was done") as caught:
            Daemon(settings).post("staging", "rollback", {})

    assert not isinstance(caught.value, NotYet)
    keys = [request.headers["idempotency-key"] for request in there.requests]
    assert len(keys) > 1
    assert len(set(keys)) == 1


def test_a_daemon_that_went_away_with_the_answer_is_not_said_to_be_down_alone(tmp_path: Path) -> None:
    """What matters is that the rollback may have been begun."""
    settings = read(tmp_path / "deployer.yaml", f"state_dir: {tmp_path}/state\n{SMALL}")
    with ExitStack() as running:
        state = running.enter_context(statedir.lock(settings.state_dir))

        def stop(_request: Request, _socket: socket.socket) -> None:
            running.close()

        with Hostile(behave=stop) as there:
            (state / "api.json").write_text(json.dumps({"url": there.address, "token": "x"}))
            with pytest.raises(NotNow, match="shows whether anything was done"):
                Daemon(settings).post("staging", "rollback", {})

    assert len(there.requests) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_told_who_may(tmp_path: Path) -> None:
    """The directory is closed to them, so that they do not even see that a daemon runs."""
    code = (
        "import sys; from pathlib import Path; from types import SimpleNamespace; import os;"
        # Before it becomes another one, who may not read this Python.
        "import deployer.adapters.statedir, requests;"
        "from deployer.cli.client import Daemon; os.setuid(65534);"
        "Daemon(SimpleNamespace(state_dir=Path(sys.argv[1]))).post('staging', 'rollback', {})"
    )
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    with statedir.lock(tmp_path / "state") as path:
        (path / "api.json").write_text("{}")
        command = [sys.executable, "-c", code, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

    assert "Only the user that the daemon runs as may command it" in done.stderr
    assert "try with sudo -u" in done.stderr
    assert "local disk" not in done.stderr.splitlines()[-1]


def test_who_asks_is_the_person_behind_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    """In letters that the API takes."""
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert login_name() == "root"
    monkeypatch.setenv("SUDO_USER", "ada lovelace\n#1")
    assert login_name() == "ada_lovelace__1"
    assert Order(by=login_name()).by == "ada_lovelace__1"


def test_a_user_without_a_name_still_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs under a number of its own."""

    def unknown() -> str:
        raise KeyError

    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(getpass, "getuser", unknown)
    assert login_name().startswith("uid-")
