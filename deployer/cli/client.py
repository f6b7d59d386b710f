"""How a command reaches the daemon: its API on loopback, found through `api.json` in the state directory.

Owns the requests, the options that commands which change something share, and the sentences for a daemon
that does not answer. Must not decide anything. Invariant: the token goes to the address it was made for and
into no message; who asks is the person at the keyboard, also behind `sudo`.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any

import click
import requests
from urllib3.exceptions import NewConnectionError

from deployer.adapters import statedir
from deployer.adapters.statedir import StateDirUnusable
from deployer.cli import context
from deployer.cli.main import Exit, Failure, option
from deployer.core import durations
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.adapters.statedir import Holder
    from deployer.settings import Settings

API_FILE = "api.json"
"""Where the daemon says how to reach it: `deployer.web.server.FILE`, which is costly to import."""

_CONNECT_SECONDS = 3.05
"""It is on this machine: who has not answered by then is not there."""

_ANSWER_SECONDS = 90.0
"""The logs of many replicas take up to 75 s: 5 s for a turn at the cluster, a look (15 s), and the reading
(55 s). `live` needs the first two; everything else is a read or a write of the daemon's store."""

_PATIENCE_SECONDS = 6.0
"""For a daemon that is there and takes nothing yet: it starts within a second or two, and drops connections
over which nothing comes after 5 s."""

_AGAIN_SECONDS = 0.2
"""Between two tries meanwhile."""

_NOT_IN_A_NAME = re.compile(r"[^\w.@+\\-]")


class NotNow(Failure):
    """The daemon does not answer, or not yet: the same request may work later."""


class NotYet(NotNow):
    """The request was not taken, and may be in a moment: to ask again cannot do anything twice."""


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
    """The running daemon. Each request finds it anew, so a restart in between does not matter."""

    def __init__(self, settings: Settings) -> None:
        """Take the settings that the daemon runs with."""
        self._state_dir = settings.state_dir
        self._session = requests.Session()
        # A proxy has no business between two processes on one machine, nor has a .netrc.
        self._session.trust_env = False

    def get(self, environment: str, what: str, **query: str) -> dict[str, Any]:
        """Read. Raises NotNow, or Failure with the daemon's own words."""
        return self._ask_patiently("GET", environment, what, params=query)

    def post(self, environment: str, command: str, order: dict[str, Any]) -> dict[str, Any]:
        """Command. Raises as `get` does."""
        return self._ask_patiently("POST", environment, command, json={"by": login_name(), **order})

    def poll(self, environment: str) -> dict[str, Any]:
        """Read the status, for who asks again anyway. Raises as `get` does."""
        return self._ask("GET", environment, "status")

    def _ask_patiently(self, method: str, environment: str, what: str, **parts: Any) -> dict[str, Any]:  # noqa: ANN401
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return self._ask(method, environment, what, **parts)
            except NotYet:
                if time.monotonic() >= deadline:
                    raise
            time.sleep(_AGAIN_SECONDS)

    def _ask(self, method: str, environment: str, what: str, **parts: Any) -> dict[str, Any]:  # noqa: ANN401
        url, token, holder = self._find()
        try:
            answer = self._session.request(
                method,
                f"{url}/api/v1/environments/{environment}/{what}",
                headers={"Authorization": f"Bearer {token}"},
                timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS),
                allow_redirects=False,
                **parts,
            )
        except requests.RequestException as error:
            if _is_refused(error):
                message = (
                    f"Nothing answers at {url}: the daemon ({holder}) is starting, or its API failed."
                    " Try again in a moment, then see its log."
                )
                raise NotYet(message) from error
            message = (
                f"The daemon did not answer at {url} ({type(error).__name__}): see its log."
                f" `deployer status {environment}` shows whether anything was done."
            )
            raise NotNow(message) from error
        if answer.status_code == requests.codes.unauthorized:
            # What a killed daemon left behind, until the next one has written its own.
            message = (
                f"What answers at {url} does not know the token in {self._state_dir / API_FILE}:"
                f" the daemon ({holder}) is starting. Try again in a moment."
            )
            raise NotYet(message)
        return _understood(answer)

    def _find(self) -> tuple[str, str, Holder]:
        """The URL and the token of the daemon that runs now, and who it is."""
        path = self._state_dir / API_FILE
        try:
            holder = statedir.holder(self._state_dir)
        except StateDirUnusable as error:
            # The directory is the daemon's alone, so that others do not even come to see the file.
            is_others = isinstance(error.__cause__, PermissionError)
            raise Failure(_not_allowed(path) if is_others else str(error), Exit.REFUSED) from error
        if holder is None:
            message = f"The daemon is not running: nobody holds {self._state_dir}. {_START}"
            raise NotNow(message)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return found["url"], found["token"], holder
        except PermissionError as error:
            raise Failure(_not_allowed(path), Exit.REFUSED) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = (
                f"The daemon ({holder}) is starting or stopping: {path} is not there. Try again in a moment."
            )
            raise NotYet(message) from error


def writing(function: Any) -> Any:  # noqa: ANN401 - click decorates any callable
    """Add --reason and --dry-run, which every command takes that changes something."""
    function = click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")(
        function
    )
    return click.option("--reason", default="", help="Why, for those who read the log later.")(function)


def say(ctx: click.Context, answer: dict[str, Any]) -> None:
    """Print what the daemon answered to a command."""
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(answer, form)
        return
    click.echo(f"{'Would be done: ' if answer['dry_run'] else ''}{plain(answer['message'])}")


def login_name() -> str:
    """Who asks: a claim, for the audit log."""
    try:
        name = os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        name = f"uid-{os.getuid()}"
    return _NOT_IN_A_NAME.sub("_", name)[:64]


_START = "Start it with `deployer run`, or `systemctl start deployer`."


_BUSY = (
    "The daemon is busy: too many connections to its API are open. Try again in a moment; `ss -tp` shows"
    " whose they are."
)


def _not_allowed(path: Path) -> str:
    return (
        f"Only the user that the daemon runs as may command it, and {path} cannot be read: try with sudo -u."
    )


def _is_refused(error: requests.RequestException) -> bool:
    """Whether there was no connection, so that nothing was sent."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError)


def _understood(answer: requests.Response) -> dict[str, Any]:
    try:
        content: dict[str, Any] = answer.json()
        if answer.status_code == requests.codes.ok:
            return content
        detail, exit_code = str(content["detail"]), int(content["exit_code"])
    except (ValueError, KeyError, TypeError) as error:
        if answer.status_code == requests.codes.service_unavailable:
            # Not in the API's own words, but in its server's, which counts connections.
            raise NotYet(_BUSY) from error
        message = f"What answers at {answer.url} is not this daemon's API (HTTP {answer.status_code})."
        raise NotNow(message) from error
    if answer.status_code == requests.codes.service_unavailable:
        raise NotNow(plain(detail), exit_code)
    raise Failure(plain(detail), exit_code)
