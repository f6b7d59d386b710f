"""Asking a server which refs it has, and not taking nothing for an answer.

Owns the trust in an empty list. Must not know which refs are followed. Invariant: a list is empty only if a
git server said so.

git takes an HTTP answer that is empty (cut in its headers, or from a gateway that says 200 to everything) for
a repository without a branch, with exit code 0: it falls back to the dumb protocol, which nothing turns off
(2.39). That would read as: every branch was deleted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.adapters.git._errors import NoGitServer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.adapters.git._commands import Commands

_END_OF_LIST = "< 0000"
"""In git's trace of packets, which the dumb protocol has none of: what a git server ends each list with."""


def list_refs(git: Commands, arguments: Sequence[str], *, seconds: float) -> str:
    """What `git ls-remote` prints. Raises NoGitServer, and what `Commands.execute` does."""
    printed = str(git.ls_remote(*arguments, kill_after_timeout=seconds))
    if printed or not any(word.startswith(("http://", "https://")) for word in arguments):
        return printed
    with git.custom_environment(GIT_TRACE_PACKET="2"):
        printed, packets = git.told("ls-remote", *arguments, seconds=seconds)
    if _END_OF_LIST not in packets:
        raise NoGitServer
    return printed
