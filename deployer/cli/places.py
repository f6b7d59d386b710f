"""Where a daemon is, and how it is let in there: this machine's, or one that was named.

Owns the finding of it, and the sentences for one that is not there. Must not know what is asked. Invariant:
the token goes to the address it was made for, and into no message.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Protocol

from deployer.cli.answers import NotNow, NotYet
from deployer.cli.main import Exit, Failure

if TYPE_CHECKING:
    from pathlib import Path

    import requests

    from deployer.cli.server import Server

API_FILE = "api.json"
"""Where the daemon says how to reach it: `deployer.web.server.FILE`, which is costly to import."""

_START = "Start it with `deployer run`, or `systemctl start deployer`."


class Place(Protocol):
    """Where a daemon is, and what is said if it does not answer as it should."""

    url: str

    is_this_machine: bool
    """Whether whoever asks must say who it is: the token is everybody's who administers the machine."""

    def find(self) -> str | None:
        """Set `url`, and give the token for it.

        Raises Failure, or NotYet while the daemon starts or stops.
        """

    def session(self) -> requests.Session:
        """What requests are sent with."""

    def nobody(self) -> str:
        """Nothing takes connections there."""

    def no_token(self) -> Failure:
        """What answers does not take the token."""


class Here:
    """The daemon that holds this machine's state directory."""

    is_this_machine = True

    def __init__(self, state_dir: Path) -> None:
        """Take the directory that the settings name."""
        self._state_dir = state_dir
        self._holder = ""
        self.url = ""

    def find(self) -> str | None:
        """Read where it says it is. Raises as `Place.find`."""
        from deployer.adapters import statedir
        from deployer.adapters.statedir import StateDirUnusable

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
        self._holder = str(holder)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            self.url, token = found["url"], found["token"]
        except PermissionError as error:
            raise Failure(_not_allowed(path), Exit.REFUSED) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = (
                f"The daemon ({holder}) is starting or stopping: {path} is not there. Try again in a moment."
            )
            raise NotYet(message) from error
        return str(token)

    def session(self) -> requests.Session:
        """Without what the environment says of proxies."""
        return _session()

    def nobody(self) -> str:
        """It starts, or it is broken."""
        return (
            f"Nothing answers at {self.url}: the daemon ({self._holder}) is starting, or its API failed."
            " Try again in a moment, then see its log."
        )

    def no_token(self) -> Failure:
        """The token is that of a daemon that is gone."""
        # What a killed daemon left behind, until the next one has written its own.
        message = (
            f"What answers at {self.url} does not know the token in {self._state_dir / API_FILE}:"
            f" the daemon ({self._holder}) is starting. Try again in a moment."
        )
        return NotYet(message)


class Mine(Here):
    """The daemon that runs on this machine, for who shows a token of his own instead of the machine's."""

    is_this_machine = False

    def __init__(self, state_dir: Path, token_file: Path) -> None:
        """Take its state directory, and the file with the token."""
        super().__init__(state_dir)
        self._token_file = token_file

    def find(self) -> str | None:
        """Read where it says it is, and the token. Raises as `Place.find`."""
        super().find()
        return self._named().token()

    def no_token(self) -> Failure:
        """It is a wrong one."""
        return There(self._named()).no_token()

    def _named(self) -> Server:
        from deployer.cli.server import Server

        return Server(url=self.url, token_file=self._token_file)


class There:
    """A daemon that was named."""

    is_this_machine = False

    def __init__(self, named: Server) -> None:
        """Take what --server and its companions said."""
        self._server = named
        self.url = named.url

    def find(self) -> str | None:
        """Read the token."""
        return self._server.token()

    def session(self) -> requests.Session:
        """With the authorities of the file that was named, or the system's.

        Raises Failure if there is no such file.
        """
        import ssl

        from requests.utils import get_environ_proxies

        made = _session()
        if self._server.is_encrypted:
            # A proxy on the way sees no more than the name of the host.
            made.proxies = get_environ_proxies(self.url)
            file, usual = self._server.ca_file, ssl.get_default_verify_paths()
            if file is not None and not file.is_file():
                message = (
                    f"There is no {file}: --ca-file (or $DEPLOYER_CA_FILE) names the certificates (PEM)."
                )
                raise Failure(message, Exit.USAGE)
            # requests brings authorities of its own, and does not ask the system's.
            made.verify = str(file or usual.cafile or usual.capath or "") or True
        return made

    def nobody(self) -> str:
        """It is not there, or the address is another one."""
        return f"Nothing answers at {self.url}: is the daemon running there, and is this its address?"

    def no_token(self) -> Failure:
        """There is none, or a wrong one."""
        file = self._server.token_file
        if file is None:
            message = (
                f"{self.url} wants a token: put yours into a file, and name that with --token-file or"
                " $DEPLOYER_TOKEN_FILE. `deployer token create` makes one, on the daemon's machine."
            )
        else:
            message = (
                f"{self.url} does not take the token in {file}: it is unknown, has expired or was revoked."
                " `deployer token list` and `deployer token create` help, on the daemon's machine."
            )
        return Failure(message, Exit.REFUSED)


def _session() -> requests.Session:
    import requests

    made = requests.Session()
    # A proxy has no business between two processes on one machine, and a .netrc would replace the token.
    made.trust_env = False
    return made


def _not_allowed(path: Path) -> str:
    return (
        f"Only the user that the daemon runs as may command it, and {path} cannot be read: try with sudo -u."
    )
