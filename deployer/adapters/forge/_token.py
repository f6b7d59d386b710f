"""A token out of a file.

Owns the reading of it. Must not know who wants it. Invariant: the file is read at each call, so a token that
is replaced counts from the next request on, and no message has anything of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.adapters.forge._types import ForgeUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LIMIT_BYTES = 16 * 1024


def token_from(path: Path) -> Callable[[], str]:
    """What reads the first line of this file. It raises ForgeUnavailable if there is no token in it."""

    def token() -> str:
        try:
            with path.open("rb") as file:
                first = file.read(_LIMIT_BYTES).partition(b"\n")[0].strip().decode("ascii")
        except OSError as error:
            message = f"cannot ask the forge: cannot read its token_file {path}: {error.strerror}"
            raise ForgeUnavailable(message) from error
        except UnicodeDecodeError:
            first = ""
        if not first:
            message = (
                f"cannot ask the forge: the first line of its token_file {path} is no token: write one there"
            )
            raise ForgeUnavailable(message)
        return first

    return token
