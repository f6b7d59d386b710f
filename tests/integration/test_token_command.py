"""`deployer token`: over a real socket, the real routes and a real store; and what a token then opens."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest
import requests
from click.testing import CliRunner
from structlog.testing import capture_logs

from deployer.adapters import statedir
from deployer.cli.client import login_name
from deployer.cli.main import cli
from deployer.core.tokens import Role, is_token
from deployer.web import serving
from tests.support.daemon_site import SETTINGS
from tests.support.door import Keys
from tests.support.faces import Faces

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping
    from pathlib import Path

    from click.testing import Result


class Desk:
    """A daemon's faces on a port of loopback, and a person on that machine who types commands."""

    def __init__(self, root: Path) -> None:
        """Write the settings."""
        self.root = root
        self.settings = root / "deployer.yaml"
        self.settings.write_text(SETTINGS.format(root=root, url="/srv/none.git"))
        self.logs: list[MutableMapping[str, Any]] = []
        self.keys: Keys
        self.url = ""

    def running(self) -> ExitStack:
        """Serve until the stack is closed."""
        with ExitStack() as stack:
            self.logs = stack.enter_context(capture_logs())
            state = stack.enter_context(statedir.lock(self.root / "state"))
            self.keys = stack.enter_context(closing(Keys(state)))
            faces = Faces(self.keys)
            self.url = stack.enter_context(
                serving(faces.guard, state, host="127.0.0.1", port=0, token=self.keys.local)
            )
            return stack.pop_all()

    def type(self, *args: str) -> Result:
        """Type `deployer token ARGS`."""
        return CliRunner().invoke(cli, ["token", *args, "-c", str(self.settings)])

    def json(self, *args: str) -> Any:
        """The same with `-o json`, for a command that ends well."""
        result = self.type(*args, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def get(self, path: str, secret: str) -> requests.Response:
        """One request with this token."""
        with requests.Session() as session:
            session.trust_env = False
            return session.get(f"{self.url}{path}", headers={"Authorization": f"Bearer {secret}"}, timeout=10)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A running daemon's faces."""
    made = Desk(tmp_path)
    with made.running():
        yield made


def test_a_token_is_printed_alone_and_opens_what_it_is_for(desk: Desk) -> None:
    """On stdout nothing else, so that it can go into a file; what is to be known about it on stderr."""
    made = desk.type("create", "ada", "--role", "deployer", "-e", "staging", "--expires", "90d")
    assert made.exit_code == 0, made.output
    secret = made.stdout.removesuffix("\n")
    assert is_token(secret)
    (listed,) = desk.json("list")
    assert secret not in made.stderr
    head, *rest = made.stderr.splitlines()
    assert rest == []
    assert head.startswith(f"Token {listed['id']} of ada: deployer in staging, until {listed['expires_at']}.")
    assert listed["created_by"] == f"{login_name()} (local)"
    assert desk.get("/api/v1/environments/staging/status", secret).status_code == 200
    assert desk.get("/api/v1/environments/production/status", secret).status_code == 403
    assert desk.get("/api/v1/tokens", secret).status_code == 403


def test_a_revoked_token_is_refused_at_once(desk: Desk) -> None:
    """And stays in the list; to do it again changes nothing, also after a restart."""
    made = desk.json("create", "ci", "--role", "viewer", "--reason", "for the\tdashboard")
    assert desk.get("/api/v1/environments", made["secret"]).status_code == 200
    gone = desk.type("revoke", made["id"], "--reason", "lost")
    assert gone.exit_code == 0, gone.output
    assert gone.stdout.startswith(f"The token {made['id']} of ci counts no more, since ")
    refused = desk.get("/api/v1/environments", made["secret"])
    assert refused.status_code == 401
    assert "was revoked" in refused.json()["detail"]
    first = desk.json("list")
    assert desk.json("revoke", made["id"]) == first[0]
    assert (first[0]["state"], first[0]["last_used_at"] is None) == ("revoked", False)
    assert "  revoked  " in desk.type("list").stdout
    told = [(one["event"], one["id"], one["actor"], one["reason"]) for one in desk.logs if "holder" in one]
    who = f"{login_name()} (local)"
    assert told == [
        ("token_created", made["id"], who, "for the dashboard"),
        ("token_revoked", made["id"], who, "lost"),
    ]
    assert made["secret"] not in repr(desk.logs)


def test_no_token_is_kept_to_be_repeated(desk: Desk) -> None:
    """A command is sent with an Idempotency-Key, whose answers are kept in the store; not this one."""
    secret = desk.type("create", "ada", "--role", "viewer").stdout.strip()
    files = [path.read_bytes() for path in (desk.root / "state").iterdir() if path.is_file()]
    assert is_token(secret)
    assert not any(secret.encode() in content for content in files)


def test_the_shape_of_the_json(desk: Desk) -> None:
    """As docs/json.md has it: what is made has its secret, nothing else does."""
    fields = [
        *("id", "name", "role", "environments", "state"),
        *("created_at", "created_by", "expires_at", "revoked_at", "last_used_at"),
    ]
    made = desk.json("create", "ada", "--role", "approver")
    assert list(made) == [*fields, "secret"]
    assert (made["environments"], made["expires_at"], made["state"]) == (None, None, "active")
    assert [list(one) for one in desk.json("list")] == [fields]
    assert list(desk.json("revoke", made["id"])) == fields


def test_what_is_asked_wrongly_is_said(desk: Desk) -> None:
    """By the command or by the daemon, and no token is made."""
    for args, code, words in (
        (["create", "ada"], 64, "Missing option '--role'"),
        (["create", "ada", "--role", "root"], 64, "'root' is not one of 'viewer'"),
        (["create", "ada lovelace", "--role", "viewer"], 64, "name: "),
        (["create", "ada", "--role", "viewer", "-e", "prod"], 64, "It has: staging, production."),
        (["create", "ada", "--role", "viewer", "--expires", "soon"], 64, "is not a duration"),
        (["revoke", "ffffffff"], 64, "There is no token with this id"),
        (["revoke", "../tokens"], 64, "is no ID of a token"),
    ):
        result = desk.type(*args)
        assert (result.exit_code, words in result.stderr) == (code, True), result.output
    assert desk.json("list") == []
    assert "No tokens yet" in desk.type("list").stderr


def test_nobody_hands_on_more_than_he_has(desk: Desk) -> None:
    """Who administers one environment gives, sees and takes back tokens of that one only."""
    own = desk.keys.give(Role.ADMIN, name="eve", environments=["staging"])
    others = desk.json("create", "ada", "--role", "admin")
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {own}"
        url = f"{desk.url}/api/v1/tokens"
        wish = {"name": "mallory", "role": "admin"}
        for environments in (None, ["production"], ["staging", "production"]):
            answer = session.post(url, json={**wish, "environments": environments}, timeout=10)
            assert answer.status_code == 403, environments
        made = session.post(url, json={**wish, "environments": ["staging"]}, timeout=10).json()
        listed = session.get(url, timeout=10).json()["items"]
        forbidden = session.delete(f"{url}/{others['id']}", json={}, timeout=10)
        as_another = session.post(url, json={**wish, "by": "ada", "environments": ["staging"]}, timeout=10)
        revoked = session.delete(f"{url}/{made['id']}", json={}, timeout=10)
    assert re.fullmatch(r"eve \(token [0-9a-f]{8}\)", made["created_by"])
    assert sorted(one["name"] for one in listed) == ["eve", "mallory"]
    assert (forbidden.status_code, as_another.status_code, revoked.status_code) == (404, 422, 200)
    assert [one["state"] for one in desk.json("list")] == ["active", "active", "revoked"]


def test_without_a_daemon_the_command_says_so(tmp_path: Path) -> None:
    """It is the daemon that keeps them."""
    result = Desk(tmp_path).type("list")
    assert result.exit_code == 1
    assert "The daemon is not running" in result.stderr
