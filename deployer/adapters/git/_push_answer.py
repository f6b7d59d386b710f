"""What came of a push, by what git printed.

Owns the reading of that, and the sentences for what is refused. Must not run git. Invariant: what a server
says gets into a sentence as one short printable line, without the tokens that it was shown.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from deployer.adapters.git._errors import GitUnavailable, cause, harmless
from deployer.core.scrub import scrub

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_MAY_NOT = "the credential may not push to it: give the repository's `write` one that may"
_REFUSED = "the server refused the credential: check the repository's `write`"
_NO_PUSH = "the server takes no push there: use https or ssh"

_CAUSES = (
    ("marked as read only", _MAY_NOT),
    ("not have write access", _MAY_NOT),
    ("not authorized to write", _MAY_NOT),
    ("returned error: 403", _MAY_NOT),
    ("service not enabled", _NO_PUSH),
    # What `git daemon` says to everything; it was read from a moment ago.
    ("access denied or repository not exported", _NO_PUSH),
    ("Authentication failed", _REFUSED),
    ("returned error: 401", _REFUSED),
    ("could not read Username", "the server asks for a credential: give the repository one as `write`"),
)
"""What git and forges (GitHub, GitLab, Gitea) say where a credential is not one for pushing."""

_LOST = (
    "hung up",
    "unexpected disconnect",
    "early EOF",
    "Connection reset",
    "Connection closed by",
    "Broken pipe",
    "transfer closed with",
    "Empty reply from server",
    "recv error",
    "RPC failed",
    "timed out",
    "Operation too slow",
    "returned error: 5",
    "failed to report status",
    "git died of signal",
)
"""After these nobody knows whether the server took the push."""

_MOVED = (
    "cannot lock ref",
    "failed to lock",
    "failed to update ref",
    "incorrect old value",
    "already exists",
)
"""Reasons of a server whose branch another push moved in the same moment."""

_REASONS = (
    ("is currently checked out", "the branch is checked out there: name a bare repository"),
    ("unpacker error", "the server could not store it: look at its disk and rights"),
    ("hidden ref", "the server hides that branch: name another one"),
)
_PROTECTED = "let deployer's credential push to that branch where it is protected, or have it pushed by hand"
"""The usual reason: a protected branch, a rule, a hook."""

_WORDS_LIMIT = 200


class PushRefused(GitUnavailable):
    """The server does not take this push from us: it helps to try again after a person has acted."""


class PushUnclear(GitUnavailable):
    """Nobody knows whether the server took the push: look at the branch before anything is said of it."""


class CommitMissing(GitUnavailable):
    """The repository does not have the commit any more, or does not give it."""


class Unsettled(Enum):
    """Why a push is worth another look."""

    MOVED = "the branch moved while it was pushed"
    LOST = "the connection broke off"


def before(printed: str, commit: str) -> str | None:
    """Where the branch was before a push that succeeded; None if it was not there. Needs whole ids."""
    found = re.search(rf"^ {{3}}([0-9a-f]{{40}})\.\.{commit} ", printed, re.MULTILINE)
    return found[1] if found else None


def refusal(what: str, printed: str, url: str, secrets: AbstractSet[str]) -> PushRefused | Unsettled:
    """What a push that failed comes to. `what` begins the sentence: it cannot be pushed."""
    status = re.search(r"^ ! \[(.+?)\] +\S+ -> \S+ \((.*)\)$", printed, re.MULTILINE)
    if status is not None and status[1] == "rejected":
        return Unsettled.MOVED
    if any(sign in printed for sign in (_LOST if status is None else ("failed to report status",))):
        return Unsettled.LOST
    if status is None:
        return PushRefused(scrub(f"{what}: {cause(url, printed, _CAUSES)}", secrets))
    reason = status[2]
    if any(sign in reason for sign in _MOVED):
        return Unsettled.MOVED
    advice = next((then for sign, then in _REASONS if sign in reason), _PROTECTED)
    words = _words(scrub(printed, secrets))
    return PushRefused(f"{what}: the server refuses it ({scrub(harmless(reason), secrets)}){words}: {advice}")


def _words(printed: str) -> str:
    """What the server says beside its verdict: the lines that git passes on."""
    lines = (
        line.removeprefix("remote:").strip() for line in printed.splitlines() if line.startswith("remote:")
    )
    said = harmless(" ".join(line for line in lines if line))
    return f" and says: {said[:_WORDS_LIMIT].rstrip('.')}" if said else ""
