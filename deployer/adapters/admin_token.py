"""The token of this machine: a file in the state directory, for whoever may read that.

Owns the file. Must not know what the token opens, nor how one is made. Invariant: the file is for its owner
alone from its first moment, is there whole or not at all, and is never written again; one that others could
have read or put there is refused, not used and not replaced.
"""

from __future__ import annotations

import os
import shlex
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from deployer.core.tokens import is_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE = "admin.token"

_BYTES = 1024
"""More is not read: a token has 47 characters."""


class AdminTokenUnusable(Exception):  # noqa: N818 - says what is the case, as the message does
    """The file cannot be made, read or trusted. The message says why, and what to do."""


def admin_token(state_dir: Path, make: Callable[[], str]) -> str:
    """The token in the file; at the first start it is made, with `make`.

    `state_dir` is locked by this process. Raises AdminTokenUnusable.
    """
    path = state_dir / FILE
    try:
        if not path.exists() and not path.is_symlink():
            _create(path, make())
        return _read(path)
    except OSError as error:
        message = (
            f"cannot use {path}: {error.strerror or error}. It holds the token of this machine, and the"
            " daemon's user must own it and be able to read it."
        )
        raise AdminTokenUnusable(message) from error


def _create(path: Path, token: str) -> None:
    temporary = path.with_name(f"{path.name}.new")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - a descriptor, not a path
        file.write(f"{token}\n")
        file.flush()
        os.fsync(descriptor)
    # Not a rename, which would replace what is there.
    os.link(temporary, path)
    temporary.unlink()


def _read(path: Path) -> str:
    # Not through a link, nor waiting for whoever writes into a pipe.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(descriptor, "rb") as file:  # noqa: PTH123 - as above
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _unusable(path, "it is no file")
        if found.st_uid != os.geteuid():
            raise _unusable(path, f"its owner is the user {found.st_uid}, not the daemon's ({os.geteuid()})")
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise _unusable(path, "others than its owner can read or change it, and may know the token")
        token = file.read(_BYTES).decode("ascii", errors="replace").strip()
    if not is_token(token):
        raise _unusable(path, "it holds no token")
    return token


def _unusable(path: Path, why: str) -> AdminTokenUnusable:
    return AdminTokenUnusable(
        f"{path} is not used: {why}. Remove it (`rm {shlex.quote(str(path))}`), and the daemon makes another"
        " one when it starts."
    )
