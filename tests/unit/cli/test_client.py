"""How a command finds the daemon, and what it says if something else answers."""

from __future__ import annotations

import getpass
import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from deployer.adapters import statedir
from deployer.cli.client import Daemon, NotNow, login_name
from deployer.cli.main import Failure
from deployer.web.app import Order
from tests.support.settings_files import SMALL, read

if TYPE_CHECKING:
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
def test_a_damaged_address_is_no_traceback(tmp_path: Path, content: str) -> None:
    """A daemon that is just starting, or an editor."""
    settings = read(tmp_path / "deployer.yaml", f"state_dir: {tmp_path}/state\n{SMALL}")
    with statedir.lock(settings.state_dir):
        (settings.state_dir / "api.json").write_text(content)
        with pytest.raises(NotNow, match="is starting or stopping"):
            Daemon(settings).get("staging", "status")


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
