"""What the fakes of all forges share: a server on loopback, what it holds, and a record of what it was asked.

A fake that was asked something wrong says so twice: the request gets a 400, and `problems` gets a sentence,
which `serving` raises at its end.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator

_TICKETS = 1001
"""The number of the first issue: apart from those of pull requests, which most forges count along."""

_START = datetime(2026, 1, 1, 12, tzinfo=UTC)

WEB = "https://forge.example"
"""Where the links in answers lead to."""


@dataclass(kw_only=True)
class Note:
    """A comment. `app` is the id of the App that wrote it."""

    id: int
    author: str
    body: str
    app: int | None = None
    edits: int = 0


@dataclass(kw_only=True)
class Pull:
    """A pull request. `state` is open, closed or merged."""

    number: int
    title: str
    body: str
    head: str
    base: str
    head_commit: str
    author: str
    created: datetime
    state: str = "open"
    merged_by: str | None = None
    merge_commit: str | None = None
    from_fork: bool = False
    notes: list[Note] = field(default_factory=list)

    @property
    def comments(self) -> list[str]:
        """The texts below it."""
        return [note.body for note in self.notes]


@dataclass(kw_only=True)
class Ticket:
    """An issue. `state` is open or closed."""

    number: int
    title: str
    body: str
    author: str
    app: int | None = None
    state: str = "open"
    notes: list[Note] = field(default_factory=list)

    @property
    def comments(self) -> list[str]:
        """The texts below it."""
        return [note.body for note in self.notes]


@dataclass(kw_only=True)
class Given:
    """A review. `state` in the words of `Opinion`, or `pending`."""

    id: int
    number: int
    login: str
    state: str
    commit: str
    at: datetime


@dataclass(kw_only=True)
class Check:
    """A commit status or a check run. `state` in the words of `State`, or one of the forge's own."""

    id: int
    commit: str
    name: str
    state: str
    description: str = ""
    url: str | None = None
    is_run: bool = False
    by: int = 1


@dataclass(kw_only=True)
class Shown:
    """A deployment. `states` are all that it was told, with the words and the links."""

    id: int
    commit: str
    environment: str
    ref: str
    payload: Any = None
    task: str = "deploy"
    states: list[str] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    body: Any


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer: `value` as JSON, or `raw` as it is."""

    status: int = 200
    value: Any = None
    raw: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)


class WrongRequest(Exception):  # noqa: N818 - says what it is
    """The forge would not take this."""


class FakeForge(ABC):
    """One project at a forge, as tests see it.

    `down`: it answers 503. `canned`: it answers that and no more; `instead`: what that gives for a request.
    `me` is the login of the token's owner, `app` that of the App that it is of; `page_limit` the most items
    that it gives in one page. `follows` says where a branch is in a repository that is a real one: open pull
    requests have its head.
    """

    prefix = ""

    def __init__(self, *, project: str, token: str) -> None:
        """Listen on a free loopback port; `start` answers."""
        self.project = project
        self.token = token
        self.me = "deployer-bot"
        self.app: int | None = None
        self.pulls: list[Pull] = []
        self.tickets: list[Ticket] = []
        self.reviews: list[Given] = []
        self.checks: list[Check] = []
        self.deployments: list[Shown] = []
        self.requests: list[Asked] = []
        self.problems: list[str] = []
        self.down = False
        self.canned: Reply | None = None
        self.instead: Callable[[Asked], Reply | None] = lambda _: None
        self.page_limit = 100
        self.heads: dict[str, str] = {}
        self.follows: Callable[[str], str | None] = lambda _: None
        self._scheme = "http"
        self._lock = threading.Lock()
        self._ids = itertools.count(101)
        handler = type("Handler", (_Handler,), {"fake": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._server.problems = self.problems
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def api_url(self) -> str:
        """The address of its API."""
        return f"{self._scheme}://127.0.0.1:{self.port}{self.prefix}"

    def secure(self, tls: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._scheme = "https"
        self._server.socket = tls.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )

    # --- what a test does as somebody else --------------------------------------------------------------

    def open(self, head: str, base: str, *, author: str = "ada", title: str = "", **more: Any) -> int:
        """Somebody opens a pull request."""
        number = 1 + len(self.pulls)
        pull = Pull(
            number=number,
            title=title,
            body="",
            head=head,
            base=base,
            head_commit=self.head_of(head),
            author=author,
            created=self._now(),
        )
        for name, value in more.items():
            assert hasattr(pull, name), name
            setattr(pull, name, value)
        self.pulls.append(pull)
        return number

    def pull(self, number: int) -> Pull:
        """The pull request of that number."""
        return self.pulls[number - 1]

    def merge(self, number: int, merged_by: str, merge_commit: str) -> None:
        """Somebody merges it."""
        pull = self.pull(number)
        assert pull.state == "open"
        pull.state, pull.merged_by, pull.merge_commit = "merged", merged_by, merge_commit

    def add_merged(self, commit: str, author: str, merged_by: str, head_commit: str | None = None) -> int:
        """A pull request of somebody that brought this commit; its number."""
        number = self.open("feature", "main", author=author, title="Add a feature")
        self.pull(number).head_commit = head_commit or _hashed(f"head of {commit}")
        self.merge(number, merged_by, commit)
        return number

    def add_review(
        self, number: int, login: str, state: str, commit: str | None = None, at: datetime | None = None
    ) -> None:
        """Somebody says what they think of it."""
        given = Given(
            id=next(self._ids),
            number=number,
            login=login,
            state=str(state),
            commit=self.pull(number).head_commit if commit is None else commit,
            at=at or self._now(),
        )
        self.reviews.append(given)

    def add_note(self, number: int, author: str, body: str) -> Note:
        """Somebody writes below a pull request, or an issue."""
        note = Note(id=next(self._ids), author=author, body=body, app=self.app if author == self.me else None)
        (self.ticket(number) or self.pull(number)).notes.append(note)
        return note

    def _change_note(self, id_: int, body: str) -> Note | None:
        """The one of that id, with another text; None if there is none."""
        found = next((note for pull in self.pulls for note in pull.notes if note.id == id_), None)
        if found is not None:
            found.body, found.edits = body, found.edits + 1
        return found

    def add_ticket(self, author: str, title: str, body: str) -> Ticket:
        """Somebody opens an issue."""
        app = self.app if author == self.me else None
        ticket = Ticket(number=_TICKETS + len(self.tickets), title=title, body=body, author=author, app=app)
        self.tickets.append(ticket)
        return ticket

    def ticket(self, number: int) -> Ticket | None:
        """The issue of that number."""
        return next((one for one in self.tickets if one.number == number), None)

    def add_check(self, commit: str, name: str, state: str, **more: Any) -> None:
        """A CI says how it stands. At GitHub by a check run, unless `is_run=False`."""
        more.setdefault("is_run", True)
        self.checks.append(Check(id=next(self._ids), commit=commit, name=name, state=str(state), **more))

    def statuses(self, commit: str) -> dict[str, tuple[str, str, str | None]]:
        """What was set beside the commit: {context: (state, description, url)}, the newest of each."""
        found = [check for check in self.checks if check.commit == commit and not check.is_run]
        return {check.name: (check.state, check.description, check.url) for check in found}

    def head_of(self, branch: str) -> str:
        """The commit at this branch: that in `heads`, or one made of its name."""
        return self.follows(branch) or self.heads.get(branch) or _hashed(branch)

    # --- what it answers ---------------------------------------------------------------------------------

    @abstractmethod
    def respond(self, asked: Asked) -> Reply:
        """The answer to a request. Raises WrongRequest for one that the forge would not take."""

    def answer(self, asked: Asked) -> Reply:
        """The answer, and nothing else at the same time."""
        with self._lock:
            self.requests.append(asked)
            if self.down:
                return Reply(status=503, value={"message": "Service unavailable"})
            if self.canned is not None:
                return self.canned
            for pull in self.pulls:
                if pull.state == "open":
                    pull.head_commit = self.follows(pull.head) or pull.head_commit
            try:
                return self.instead(asked) or self.respond(asked)
            except WrongRequest as error:
                self.problems.append(f"{asked.method} {asked.path}: {error}")
                return Reply(status=400, value={"message": str(error)})

    def start(self) -> None:
        """Answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer nothing any more."""
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def _now(self) -> datetime:
        return _START + timedelta(seconds=next(self._ids))

    def _created(self, *, head: str, base: str, title: str, body: str) -> Pull:
        number = self.open(head, base, author=self.me, title=title, body=body)
        return self.pull(number)

    def _open_between(self, head: str, base: str) -> list[Pull]:
        return [
            pull
            for pull in self.pulls
            if (pull.head, pull.base, pull.state, pull.from_fork) == (head, base, "open", False)
        ]

    def _with_commit(self, commit: str) -> list[Pull]:
        return [pull for pull in self.pulls if commit in {pull.merge_commit, pull.head_commit}]

    def _page(self, found: list[Any], asked: Asked, size_key: str, default: int = 30) -> list[Any]:
        size = min(int(asked.query.get(size_key, default)), self.page_limit)
        start = (int(asked.query.get("page", "1")) - 1) * size
        return found[start : start + size]


def _hashed(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def stamp(at: datetime) -> str:
    """A time as all three write it."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def expect_keys(asked: Asked, *, required: set[str], allowed: set[str]) -> dict[str, str]:
    """The body, if it has these keys, each with a text."""
    if not isinstance(asked.body, dict):
        message = "a JSON object is expected"
        raise WrongRequest(message)
    if missing := required - asked.body.keys():
        message = f"missing: {sorted(missing)}"
        raise WrongRequest(message)
    if unknown := asked.body.keys() - required - allowed:
        message = f"unknown: {sorted(unknown)}"
        raise WrongRequest(message)
    if wrong := sorted(key for key, value in asked.body.items() if not isinstance(value, str)):
        message = f"not a text: {wrong}"
        raise WrongRequest(message)
    return asked.body


def expect_query(asked: Asked, allowed: set[str]) -> None:
    """No parameter but these."""
    if unknown := asked.query.keys() - allowed:
        message = f"unknown parameters: {sorted(unknown)}"
        raise WrongRequest(message)


class _Server(ThreadingHTTPServer):
    """Takes an error of its own for a problem, and a client that goes away for none."""

    daemon_threads = True
    problems: list[str]

    def handle_error(self, request: object, client_address: object) -> None:
        """As `serving` wants it."""
        error = sys.exception()
        if not isinstance(error, OSError):
            self.problems.append(f"the fake failed: {error!r}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeForge

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        sent = self.rfile.read(length)
        parts = urlsplit(self.path)
        asked = Asked(
            method=self.command,
            # Split first: a slash in a part is one of its letters.
            path=parts.path,
            query=dict(parse_qsl(parts.query, keep_blank_values=True)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=json.loads(sent) if sent else None,
        )
        reply = self.fake.answer(asked)
        content = reply.raw
        if content is None:
            content = b"" if reply.value is None else json.dumps(reply.value).encode()
        self.send_response_only(reply.status)
        usual = {"Date": self.date_time_string(), "Content-Type": "application/json"}
        for name, value in {**usual, **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def __getattr__(self, name: str) -> object:
        """The same for every method of HTTP."""
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: tests look at what was asked."""


def parts_of(path: str) -> Iterator[str]:
    """The parts of a path, decoded."""
    return (unquote(part) for part in path.strip("/").split("/"))
