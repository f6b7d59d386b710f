"""Ray's token, read from its file.

Owns when the file is read, and what a token may look like. Must not know where it is sent. Invariant: the
token is in no repr and in no error.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deployer import logs
from deployer.adapters.serve.errors import NoAnswer

if TYPE_CHECKING:
    from pathlib import Path

_TOKEN = re.compile(rb"[\x21-\x7e]{1,4096}")
"""What can stand in a header: one word of printable ASCII."""

_STEP = "Put Ray's token, and nothing else, into the file that `cluster.token_file` names."


class TokenFile:
    """A file with one token in it, read again whenever it has changed: tokens are rotated under a daemon."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet."""
        self._path = path
        self._version: tuple[int, ...] = ()
        self._token = ""

    def read(self) -> str:
        """The token. Raises NoAnswer if the file does not give one: without it there is no use in asking."""
        try:
            found = self._path.stat()
            version = (found.st_mtime_ns, found.st_size, found.st_ino)
            if version != self._version:
                self._token = self._parsed(self._path.read_bytes())
                self._version = version
                logs.hide(self._token)
        except OSError as error:
            raise NoAnswer(
                cause=f"its token file {self._path} cannot be read ({error.strerror})", step=_STEP
            ) from error
        return self._token

    def _parsed(self, content: bytes) -> str:
        token = content.strip()
        if not _TOKEN.fullmatch(token):
            raise NoAnswer(cause=f"its token file {self._path} holds no token", step=_STEP)
        return token.decode("ascii")
