"""Which daemon was named with --server, and how it may be spoken to.

Owns the rule for its address, and the reading of the token. Must not send anything. Invariant: a token is
never on the command line, and never goes over a network in the clear: `http` is for this machine alone.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import click

from deployer.cli.main import Exit, Failure, server_option

if TYPE_CHECKING:
    from typing import NoReturn

_TOKEN = re.compile(r"[\x21-\x7e]{1,512}")
"""What can stand in a header: no spaces, one line."""

_TOKEN_BYTES = 4096
"""More is not read: a token has 47 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A daemon that was named. `url` ends without a slash; `token_file` is None for who needs no token."""

    url: str
    token_file: Path | None = None
    ca_file: Path | None = None
    _warned: set[Path] = field(default_factory=set, repr=False, compare=False)

    def token(self) -> str | None:
        """The token, read now. Raises Failure if its file has none."""
        path = self.token_file
        if path is None:
            return None
        try:
            with path.open("rb") as file:
                mode, content = stat.S_IMODE(path.stat().st_mode), file.read(_TOKEN_BYTES)
        except OSError as error:
            message = (
                f"The token cannot be read: {path}: {error.strerror}."
                " --token-file (or $DEPLOYER_TOKEN_FILE) names that file."
            )
            raise Failure(message, Exit.USAGE) from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO) and path not in self._warned:
            self._warned.add(path)
            click.echo(f"note: {path} can be read by others: chmod 600 {path}", err=True)
        text = content.decode("ascii", errors="replace").strip()
        if not _TOKEN.fullmatch(text):
            message = (
                f"{path} holds no token: put it there in one line, as `deployer token create` printed it."
            )
            raise Failure(message, Exit.USAGE)
        return text

    @property
    def is_encrypted(self) -> bool:
        """Whether it is spoken to over TLS."""
        return self.url.startswith("https://")


def named(ctx: click.Context) -> Server | None:
    """The server of this command line; None is the daemon of this machine.

    Raises Failure if what was given is no address of one.
    """
    url = server_option(ctx, "server")
    if url is None:
        return None
    token_file, ca_file = server_option(ctx, "token_file"), server_option(ctx, "ca_file")
    return Server(
        url=address(url),
        token_file=Path(token_file) if token_file else None,
        ca_file=Path(ca_file) if ca_file else None,
    )


def address(text: str) -> str:
    """The address in its normal form. Raises Failure with what to write instead."""
    url, host = _split(text)
    if "@" in url.netloc:
        _refuse(
            "holds a user name or a password: put your token into a file, and name that with --token-file"
        )
    if url.query or url.fragment:
        _refuse("must end with its path: remove what follows ? or #")
    if url.scheme == "http" and not _is_loopback(host):
        port = url.port or 80
        _refuse(
            "would send your token over the network for all to read: use https, or an ssh tunnel,"
            f" `ssh -L {port}:127.0.0.1:{port} {host}`, and --server http://127.0.0.1:{port}"
        )
    return f"{url.scheme}://{url.netloc.lower()}{url.path.rstrip('/')}"


def _split(text: str) -> tuple[SplitResult, str]:
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port  # both are parsed when they are asked for
    except ValueError:
        url, host = urlsplit(""), None
    if url.scheme not in {"http", "https"} or not host or not text.isprintable() or " " in text:
        _refuse("must be an address such as https://deployer.example.com")
    return url, host


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refuse(message: str) -> NoReturn:
    # The address is not repeated: it may hold a password.
    text = f"--server (or $DEPLOYER_SERVER) {message}."
    raise Failure(text, Exit.USAGE)
