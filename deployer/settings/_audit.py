"""The settings of the audit log: whether it is signed, how often, and where what was signed is anchored.

Owns these keys, and what the name of a log and a place for system messages may be. Must not know how anything
is signed or sent. Invariant: settings that load name a key that can sign without asking anybody, and a log
whose name fits into a checkpoint, into a ref of git and into one line of syslog.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo

from deployer.core import checkpoint, ssh_keys
from deployer.core.redact import quote
from deployer.settings import _times as times
from deployer.settings import _values as values
from deployer.settings._group import Group, base, text
from deployer.settings._repositories import (
    CaFile,
    GithubAppOrNone,
    KnownHostsFile,
    SshKeyFile,
    TokenFile,
    Username,
)

_LEAST_SECONDS = 1.0
"""Each checkpoint is two processes and a push. None is made where nothing happened."""

_NAME_LIMIT = 80
"""Characters of a name: three bytes for each may stand in the name of a file, which has 255."""

_KEY_BYTES = 16 * 1024
"""More is not read of a key, which has 400."""

_SOCKET = "/dev/log"

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
"""A part of a machine's name: an empty one, or one of more than 63 characters, nobody can look up."""

_HOST_AND_PORT = re.compile(rf"(?:\[[0-9A-Fa-f:]+\]|{_LABEL}(?:\.{_LABEL})*):([0-9]{{1,5}})")
_MAX_PORT = 65_535


def _name(name: str, _base: values.Base) -> str:
    if not (checkpoint.is_name(name) and name.isascii() and len(name) <= _NAME_LIMIT):
        message = (
            f"must be a name of at most {_NAME_LIMIT} ASCII characters, without spaces and without a plus,"
            f" such as deployer.example.com/audit"
        )
        raise ValueError(message)
    return name


def _signs(path: Path, info: ValidationInfo) -> Path:
    """Refuse what cannot sign by itself: now, and not when a checkpoint is due."""
    if not base(info).check_files:
        return path
    try:
        with path.open("rb") as file:
            ssh_keys.private_key(file.read(_KEY_BYTES).decode("ascii", "replace"))
    except OSError as error:
        message = f"cannot be read: {error.strerror or error}"
        raise ValueError(message) from error
    except ssh_keys.InvalidKeys as error:
        new = shlex.quote(str(path.with_name(f"{path.name}.new")))
        message = f"names a file that cannot sign: {error}; type: ssh-keygen -t ed25519 -N '' -f {new}"
        raise ValueError(message) from error
    return path


def _syslog(value: object) -> str | None:
    """Where to: the socket of this machine, another one, or `host:port`; None: nowhere."""
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        value = value.lower() == "true"
    if isinstance(value, bool):
        return _SOCKET if value else None
    if not isinstance(value, str):
        wanted = "true, false, the path of a socket, or host:port"
        raise ValueError(values.wrong_kind(value, wanted))  # noqa: TRY004 - pydantic collects ValueErrors
    found = _HOST_AND_PORT.fullmatch(value)
    is_path = value.startswith("/") and value.isprintable()
    if not is_path and (found is None or not 0 < int(found[1]) <= _MAX_PORT):
        message = (
            f"must be true, false, the path of a socket such as {_SOCKET}, or host:port (UDP) such as"
            f" logs.example.com:514, and {quote(value)} is none of them"
        )
        raise ValueError(message)
    return value


class AuditPush(Group):
    """The repository to which signed checkpoints are pushed, and how the daemon is let in to push."""

    url: Annotated[str, text(values.repository_url)] = Field(
        examples=["https://git.example.com/ops/anchors.git"]
    )
    """Where it is, as of other repositories. Best one that the daemon's admin cannot rewrite."""
    token_file: TokenFile = None
    """The file with the token or password for http(s) that may push. Nobody but its owner may read it."""
    username: Username = "git"
    """The user name that goes with the token. Most forges take any."""
    ca_file: CaFile = None
    """The certificates (PEM) that https trusts instead of the system's."""
    known_hosts_file: KnownHostsFile = None
    """The host keys that ssh takes, as `ssh-keyscan` writes them: check them with the server's owner."""
    ssh_key_file: SshKeyFile = None
    """The private key for ssh that may push, without a passphrase. Nobody but its owner may read it."""
    github_app: GithubAppOrNone = None
    """A GitHub App to be let in as, instead of a token. It needs the right to write contents."""


class Audit(Group):
    """Signed checkpoints of the audit log, kept where whoever can write to the store cannot change them."""

    name: Annotated[str, text(_name)] = Field(examples=["deployer.example.com/audit"])
    """The name of the log, for all time: it stands in each checkpoint, and is the name of the key."""
    key_file: Annotated[Path, AfterValidator(_signs), text(values.secret_file)] = Field(
        examples=["/etc/deployer/audit_key"]
    )
    """The private key that signs (ssh-ed25519), without a passphrase. Nobody but its owner may read it."""
    every: Annotated[float, text(times.at_least(_LEAST_SECONDS), wanted="a duration such as 10m or 1h")] = (
        600.0
    )
    """Seconds between two checkpoints, as a duration; none is made where nothing happened. And at a stop."""
    push: AuditPush | None = None
    """The repository to which each is pushed, as a commit on `refs/deployer/audit/<name>`."""
    syslog: Annotated[str | None, BeforeValidator(_syslog)] = None
    """Whether each is told to syslog: true, or the path of a socket, or host:port for UDP."""
