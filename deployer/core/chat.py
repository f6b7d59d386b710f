"""A notice as a message to people: in a chat, a mail, or on a pager; and the address that it is sent to.

Owns its title, its text, its tone, what keeps those of one rollout together, and what in an address is a
secret. Must not know apprise's code, nor how anything is sent. Invariant: a title is the same for all that is
told of one rollout, and has nothing in it that a stranger wrote; and an address in a file is one line.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

from deployer.core.markup import Style, harmless
from deployer.core.notices import About, Severity
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_TITLE = 60
"""Characters: what Zulip takes as a topic."""

_TEXT = 1_600
"""Characters. Nearly every notice has fewer; of a longer one the sentence is cut, and not the next step."""

_ESCAPED_TEXT = 700
"""The same where each may become two: Discord takes 2,000, and a cut through an escape would undo it."""

_LEAST_SECRET = 4
_MOST_BYTES = 4_000

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9.-]{1,30}://[^\s\x00-\x1f\x7f]+")
_PARTS = re.compile(r"[/@:?&=#,+;]+")
_COMMIT = re.compile(r"\b([0-9a-f]{7})[0-9a-f]{33}\b")
_NOT_IN_A_TITLE = re.compile(r"[^A-Za-z0-9 #:/._-]+")

_MAIL = frozenset({"mailto", "mailtos"})


class Tone(StrEnum):
    """How it is shown: apprise's types of a notification."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


_TONES = {
    Severity.INFO.label: Tone.INFO,
    Severity.WARNING.label: Tone.WARNING,
    Severity.CRITICAL.label: Tone.FAILURE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """What people read. `text` may have several lines, the last one a link."""

    title: str
    text: str
    tone: Tone


def post(event: Mapping[str, Any], style: Style) -> Post:
    """The message of a CloudEvent that `routes.cloud_event` made, for a place of that style."""
    data = event["data"]
    most = _ESCAPED_TEXT if style is Style.MARKDOWN else _TEXT
    step = _cut(_line(data["next_step"]), most // 2)
    said = _cut(_line(data["sentence"]), most - len(step) - 1)
    lines = [harmless(f"{said} {step}", style)]
    if data["link"] is not None:
        lines.append(data["link"])
    return Post(title=title(data["thread"]), text="\n".join(lines), tone=_tone(data))


def title(thread: str) -> str:
    """What stands over all that is told of one rollout: the subject of its mails, or a topic."""
    words = _NOT_IN_A_TITLE.sub(" ", _COMMIT.sub(r"\1", thread)).split()
    return f"deployer: {' '.join(words)}"[:_TITLE].strip()


def options(schemas: Collection[str], event: Mapping[str, Any]) -> dict[str, str]:
    """What is added to the address of that place, so that what is told of one rollout stays together."""
    data = event["data"]
    place = f"{event['source']} {data['thread']}"
    thread = hashlib.sha256(place.encode()).hexdigest()[:32]
    if _MAIL & {*schemas}:
        # Nobody has that mail. Programs show its answers as one conversation all the same (RFC 5256).
        first = f"<{thread}@deployer.invalid>"
        return {"+References": first, "+In-Reply-To": first}
    if "pagerduty" in schemas:
        # A recovery resolves the incident.
        return {"dedup": thread, "action": "map"}
    if "opsgenie" in schemas:
        # apprise closes an alert only in the process that opened it: so a recovery is an alert of its own.
        return {"action": "new"} if data["recovered"] else {"action": "new", "alias": thread}
    if "gchat" in schemas:
        return {"thread": thread}
    return {}


def with_options(address: str, found: Mapping[str, str]) -> str:
    """The address with these options, which count instead of those that stand there."""
    if not found:
        return address
    # A `+` before a name has a meaning of its own there.
    said = "&".join(f"{name}={urlencode({'': value})[1:]}" for name, value in found.items())
    return f"{address}{'&' if '?' in address else '?'}{said}"


def address(content: bytes) -> str:
    """The address in a file. Raises ValueError: what is wrong, without a word of what stands there."""
    if len(content) > _MOST_BYTES:
        message = f"has more than {_MOST_BYTES} bytes: write one apprise URL into it, and nothing else"
        raise ValueError(message)
    try:
        lines = [line.strip() for line in content.decode().splitlines() if line.strip()]
    except UnicodeDecodeError:
        lines = []
    if len(lines) > 1:
        message = f"has {len(lines)} lines: write one apprise URL into it, and make a route for each other"
        raise ValueError(message)
    if not lines or not _ADDRESS.fullmatch(lines[0]):
        message = "has no apprise URL such as slack://token/token/token: write one into it, in one line"
        raise ValueError(message)
    return lines[0]


def secrets(address: str) -> frozenset[str]:
    """All in an address that may be a secret: of most places each part of it is one."""
    _, _, rest = address.partition("://")
    parts = {address, rest, *_PARTS.split(rest)}
    parts |= {unquote(one) for one in parts}
    return frozenset(one for one in parts if len(one) >= _LEAST_SECRET)


def is_this_machine(host: str) -> bool:
    """Whether what is sent there stays here."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _line(text: str) -> str:
    return " ".join(plain(text).split())


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _tone(data: Mapping[str, Any]) -> Tone:
    if data["recovered"] or data["about"] == About.GOOD:
        return Tone.SUCCESS
    return _TONES.get(data["severity"], Tone.INFO)
