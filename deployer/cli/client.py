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
from typing import TYPE_CHECKING, Any

import click
import requests

from deployer.adapters import statedir
from deployer.adapters.statedir import StateDirUnusable
from deployer.cli import context
from deployer.cli.main import Exit, Failure, option
from deployer.core import durations
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.settings import Settings

API_FILE = "api.json"
"""Where the daemon says how to reach it: `deployer.web.server.FILE`, which is costly to import."""

_CONNECT_SECONDS = 3.05
"""It is on this machine: who has not answered by then is not there."""

_ANSWER_SECONDS = 75.0
"""The logs of many replicas take up to 55 s; everything else a second, or what a cluster takes (15 s)."""

_NOT_IN_A_NAME = re.compile(r"[^\w.@+\\-]")


class NotNow(Failure):
    """The daemon does not answer, or not yet: the same request may work later."""


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
        return self._ask("GET", environment, what, params=query)

    def post(self, environment: str, command: str, order: dict[str, Any]) -> dict[str, Any]:
        """Command. Raises as `get` does."""
        return self._ask("POST", environment, command, json={"by": login_name(), **order})

    def _ask(self, method: str, environment: str, what: str, **parts: Any) -> dict[str, Any]:  # noqa: ANN401
        url, token = self._find()
        try:
            answer = self._session.request(
                method,
                f"{url}/api/v1/environments/{environment}/{what}",
                headers={"Authorization": f"Bearer {token}"},
                timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS),
                allow_redirects=False,
                **parts,
            )
        except requests.ConnectionError as error:
            message = f"The daemon is not running: nothing answers at {url}. {_START}"
            raise NotNow(message) from error
        except requests.RequestException as error:
            message = f"The daemon did not answer at {url} ({type(error).__name__}): see its log."
            raise NotNow(message) from error
        return _understood(answer)

    def _find(self) -> tuple[str, str]:
        """The URL and the token of the daemon that runs now."""
        path = self._state_dir / API_FILE
        try:
            holder = statedir.holder(self._state_dir)
        except StateDirUnusable as error:
            raise Failure(str(error), Exit.REFUSED) from error
        if holder is None:
            message = f"The daemon is not running: nobody holds {self._state_dir}. {_START}"
            raise NotNow(message)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return found["url"], found["token"]
        except PermissionError as error:
            raise Failure(_not_allowed(path), Exit.REFUSED) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = (
                f"The daemon ({holder}) is starting or stopping: {path} is not there. Try again in a moment."
            )
            raise NotNow(message) from error


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


def _not_allowed(path: Path) -> str:
    return (
        f"Only the user that the daemon runs as may command it, and {path} cannot be read: try with sudo -u."
    )


def _understood(answer: requests.Response) -> dict[str, Any]:
    try:
        content: dict[str, Any] = answer.json()
        if answer.status_code == requests.codes.ok:
            return content
        detail, exit_code = str(content["detail"]), int(content["exit_code"])
    except (ValueError, KeyError, TypeError) as error:
        message = f"What answers at {answer.url} is not this daemon's API (HTTP {answer.status_code})."
        raise NotNow(message) from error
    if answer.status_code == requests.codes.service_unavailable:
        raise NotNow(plain(detail), exit_code)
    raise Failure(plain(detail), exit_code)
