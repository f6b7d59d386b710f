"""How a command asks a daemon: requests to its API, found on this machine or named (--server).

Owns the requests, when one is sent again, and the options that commands which change something share. Must
not decide anything. Invariant: who asks this machine's daemon is the person at the keyboard, also behind
`sudo`; and a command whose answer was lost is sent again under the same key, so that it is done once.
"""

from __future__ import annotations

import getpass
import os
import re
import time
import uuid
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import completing, context, server
from deployer.cli.answers import Lost, NotNow, NotYet, is_refused, not_trusted, understood
from deployer.cli.main import Failure, option, server_option
from deployer.cli.places import API_FILE, Here, Mine, There
from deployer.core import durations
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from typing import Self

    import requests

    from deployer.cli.places import Place
    from deployer.cli.server import Server
    from deployer.settings import Settings

__all__ = [
    "API_FILE",
    "Daemon",
    "Duration",
    "NotNow",
    "NotYet",
    "daemon",
    "login_name",
    "of_a_start",
    "possible_environment",
    "say",
    "skipping",
    "writing",
]

_API = "/api/v1"

_CONNECT_SECONDS = 3.05
"""On this machine who has not answered by then is not there; a network may lose a packet in that time."""

_ANSWER_SECONDS = 90.0
"""The logs of many replicas take up to 75 s: 5 s for a turn at the cluster, a look (15 s), and the reading
(55 s). `live` needs the first two; everything else is a read or a write of the daemon's store."""

_PATIENCE_SECONDS = 6.0
"""For a daemon that is there and takes nothing yet: it starts within a second or two, and drops connections
over which nothing comes after 5 s."""

_AGAIN_SECONDS = 0.2
"""Between two tries meanwhile."""

_ENVIRONMENT = re.compile("[a-z0-9][a-z0-9-]*")

_NOT_IN_A_NAME = re.compile(r"[^\w.@+\\-]")


class Duration(click.ParamType[float]):
    """A length of time as the config has it: `30s`, `2h`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - click's
        """Seconds."""
        try:
            return durations.parse(str(value))
        except ValueError as error:
            self.fail(f"{error}.", param, ctx)


class Daemon:
    """A running daemon. Each request finds it anew, so a restart in between does not matter."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings that the daemon of this machine runs with."""
        self._begin(Here(settings.state_dir))

    @classmethod
    def at(cls, named: Server) -> Self:
        """The daemon that was named. Raises Failure if its certificates cannot be checked."""
        return cls.of(There(named))

    @classmethod
    def of(cls, place: Place) -> Self:
        """The daemon that is found there."""
        self = cls.__new__(cls)
        self._begin(place)
        return self

    def _begin(self, place: Place) -> None:
        self._place = place
        self._session: requests.Session | None = None

    def get(self, environment: str, what: str, **query: str) -> dict[str, Any]:
        """Read something of an environment. Raises NotNow, or Failure with the daemon's own words."""
        found: dict[str, Any] = self.read(_path(environment, what), **query)
        return found

    def read(self, path: str, **query: str | int | datetime | None) -> Any:  # noqa: ANN401 - JSON
        """Read what is at a path below /api/v1, without what is None in the query. Raises as `get` does."""
        params = {
            key: value.isoformat() if isinstance(value, datetime) else str(value)
            for key, value in query.items()
            if value is not None
        }
        return self._ask_patiently("GET", path, params=params)

    def download(self, path: str) -> bytes:
        """The file at a path below /api/v1. Raises as `get` does."""
        found: bytes = self._ask_patiently("GET", path, is_file=True)
        return found

    def post(self, environment: str, command: str, order: dict[str, Any]) -> dict[str, Any]:
        """Command, once: also if it has to be sent again. Raises as `get` does."""
        answer: dict[str, Any] = self.write(_path(environment, command), order)
        return answer

    def write(self, path: str, order: dict[str, Any], *, method: str = "POST") -> Any:  # noqa: ANN401 - JSON
        """Send an order to a path below /api/v1, as `post` does."""
        if not self._place.is_this_machine:
            try:
                return self._order(method, path, order)
            except Failure as error:
                if not error.message.startswith("by: say who you are"):
                    raise
        # The token of a daemon's own machine is everybody's who administers it; any other says whose it is.
        return self._order(method, path, {"by": login_name(), **order})

    def _order(self, method: str, path: str, order: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
        key = {"Idempotency-Key": str(uuid.uuid4())}
        return self._ask_patiently(method, path, json=order, headers=key)

    def poll(self, environment: str) -> dict[str, Any]:
        """Read the status, for who asks again anyway. Raises as `get` does."""
        found: dict[str, Any] = self._ask("GET", _path(environment, "status"))
        return found

    def peek(self, path: str, seconds: float) -> tuple[int, Any]:
        """Ask once, without a token, for what is at this path of the server: HTTP status, and JSON if any."""
        self._place.find()
        answer = self._request("GET", path, (seconds, seconds), {}, {})
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, None

    @property
    def url(self) -> str:
        """Where it was found last."""
        return self._place.url

    def _ask_patiently(self, method: str, path: str, **parts: Any) -> Any:  # noqa: ANN401
        deadline = time.monotonic() + _PATIENCE_SECONDS
        lost: Lost | None = None
        while True:
            try:
                return self._ask(method, path, **parts)
            except NotNow as error:
                lost = error if isinstance(error, Lost) else lost
                if not isinstance(error, NotYet | Lost) or time.monotonic() >= deadline:
                    # That it may have been done is more than that nobody answers now.
                    raise lost or error from error
            time.sleep(_AGAIN_SECONDS)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        headers: dict[str, str] | None = None,
        is_file: bool = False,
        **parts: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        token = self._place.find()
        sent = {**(headers or {}), **({"Authorization": f"Bearer {token}"} if token is not None else {})}
        answer = self._request(method, f"{_API}{path}", (_CONNECT_SECONDS, _ANSWER_SECONDS), sent, parts)
        if answer.status_code == HTTPStatus.UNAUTHORIZED:
            raise self._place.no_token()
        if is_file and answer.status_code == HTTPStatus.OK:
            return answer.content
        return understood(answer, self.url)

    def _request(
        self,
        method: str,
        path: str,
        seconds: tuple[float, float],
        headers: dict[str, str],
        parts: dict[str, Any],
    ) -> requests.Response:
        import requests

        if self._session is None:
            self._session = self._place.session()
        try:
            return self._session.request(
                method, f"{self.url}{path}", headers=headers, timeout=seconds, allow_redirects=False, **parts
            )
        except requests.exceptions.SSLError as error:
            raise Failure(not_trusted(self.url, error)) from error
        except requests.RequestException as error:
            if is_refused(error):
                raise NotYet(self._place.nobody()) from error
            message = (
                f"The daemon did not answer at {self.url} ({type(error).__name__}): see its log."
                f" `deployer status{_of(path)}` shows whether anything was done."
            )
            # Who does not answer in time is asked no second time: that would take as long again.
            is_timeout = isinstance(error, requests.Timeout)
            raise NotNow(message) if is_timeout else Lost(message) from error


def daemon(ctx: click.Context, environment: str | None = None, *, is_personal: bool = False) -> Daemon:
    """The daemon of this command line: that of --server, or this machine's.

    `is_personal`: --token-file counts here too, for what the token of the machine, which is everybody's who
    administers it, is not good for. Raises Failure if the settings do not have `environment`, or if no
    environment can be called so.
    """
    named = server.named(ctx)
    if named is not None:
        if environment is not None:
            possible_environment(environment)
        return Daemon.at(named)
    settings = context.settings(ctx)
    if environment is not None:
        context.known_environment(settings, environment)
    token_file = server_option(ctx, "token_file") if is_personal else None
    return Daemon(settings) if token_file is None else Daemon.of(Mine(settings.state_dir, Path(token_file)))


def possible_environment(name: str) -> str:
    """Return the name, if an environment can have it: it becomes a part of a path."""
    if not _ENVIRONMENT.fullmatch(name):
        message = f"No environment can be called '{plain(name)}': names have a-z, 0-9 and -."
        raise click.UsageError(message)
    return name


def writing(function: Any) -> Any:  # noqa: ANN401 - click decorates any callable
    """Add --reason and --dry-run, which every command takes that changes something."""
    function = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")(
        function
    )
    return click.option("--reason", default="", help="Why, for those who read the log later.")(function)


class _Gates(click.ParamType[tuple[str, ...]]):
    """Gates as they are typed: `windows` or `windows,requires`."""

    name = "gates"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str, ...]:
        """Each once, in their order."""
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else list(value)
        if not all(names):
            self.fail("name one gate or several, as in --skip windows,requires.", param, ctx)
        return tuple(dict.fromkeys(names))


def skipping(function: Any) -> Any:  # noqa: ANN401 - click decorates any callable
    """Add --skip, which commands take that start a deploy."""
    return click.option(
        "--skip",
        type=_Gates(),
        metavar="GATES",
        default=(),
        shell_complete=completing.gates,
        help="Gates that need not be open for this commit, as in windows,requires. It is recorded.",
    )(function)


def say(ctx: click.Context, answer: dict[str, Any]) -> None:
    """Print what the daemon answered to a command."""
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(answer, form)
        return
    click.echo(f"{'Would be done: ' if answer['dry_run'] else ''}{plain(answer['message'])}")


def of_a_start(state: dict[str, Any]) -> dict[str, Any]:
    """Go on with a daemon that was started after a wish, by its status: as if it had been asked to look.

    It is not asked again: what the wish recorded is there, a daemon that starts looks at git and the cluster
    anyway, and a wish that is sent once more would be for what git wants by then.
    """
    return {"instance": state["instance"], "look": 1, "pass_number": 1}


def login_name() -> str:
    """Who asks: a claim, for the audit log."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        name = f"uid-{os.getuid()}"
    return _NOT_IN_A_NAME.sub("_", name)[:64]


def _path(environment: str, what: str) -> str:
    return f"/environments/{environment}/{what}"


def _of(path: str) -> str:
    """The environment of a path, as it follows a command."""
    found = re.match(rf"{_API}/environments/([^/]+)/", path)
    return f" {found[1]}" if found else ""
