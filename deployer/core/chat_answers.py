"""What a service answered, as far as apprise's log lines tell, and what that means to a person.

Owns how those lines are read. Must not know apprise, nor what follows from an answer. Invariant: no word of a
line is in what it says: a line can hold the address that was asked, and that is a secret.

Nearly all plugins of apprise (2.2) log `error=404`, and for debugging what Python says of what broke.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Line = tuple[str, str]
"""The level of a line, and its text."""

_TOLD = frozenset({"WARNING", "ERROR"})
_BROKE = "Socket Exception: "
"""How a line begins that has what Python says. Others for debugging have the message: a stranger's words."""

_STATUS = re.compile(r"\berror=([1-5][0-9]{2})\b")
"""Of nearly all its plugins."""
_SMTP = re.compile(r"\(([45][0-9]{2}), b['\"]")
"""How Python prints what a mail server answered."""


def status(lines: Sequence[Line]) -> int | None:
    """What it was answered, where a line tells: of HTTP; of SMTP in the same meaning."""
    for level, text in reversed(lines):
        if level in _TOLD and (found := _STATUS.search(text)):
            return int(found[1])
    for text in reversed(_broke(lines)):
        if found := _SMTP.search(text):
            # RFC 5321 and 4954: 530, 534 and 535 are about who we are, other 5xx about this mail.
            code = int(found[1])
            return 503 if code < 500 else 401 if code in {530, 534, 535} else 400  # noqa: PLR2004
    return None


def cause(answer: int | None, lines: Sequence[Line], file: str) -> str:
    """What is wrong, and what to do; `file` is where the address stands."""
    match answer:
        case None:
            return _broken(" ".join(_broke(lines)).lower())
        case 401 | 403 | 404:
            return f"it answered {answer}, and does not let us in, or knows no such address: check {file}"
        case 410:
            return "it answered 410, and wants nothing any more: take the route out of the settings"
        case 429:
            return "it was asked too often, and is asked again later"
        case _ if 300 <= answer < 400:  # noqa: PLR2004 - redirections
            return f"it redirects elsewhere, which is not followed: write the final address into {file}"
        case _ if answer >= 500:  # noqa: PLR2004 - the server's own errors
            return f"it answered {answer}: it is tried again"
        case _:
            return f"it answered {answer}, and does not take this: see what it says"


def _broke(lines: Sequence[Line]) -> list[str]:
    return [text for _, text in lines if text.startswith(_BROKE)]


def _broken(said: str) -> str:
    """Why there was no answer, from what Python says of it."""
    if "certificate" in said:
        return "its TLS certificate is not trusted: check the certificates of the system"
    if "refused" in said:
        return "it cannot be reached: nothing answers there; check its address"
    if "timed out" in said or "timeout" in said:
        return "it does not answer in time: check the network"
    if "resolve" in said or "name or service" in said:
        return "its host name is not known: check its address and the name server"
    return "it was not taken, and no answer is known: it is tried again"
