"""What goes through the outbox: a message, for whom it is, and which later one takes its place.

Owns the shape of a message. Must not know who receives it, nor how. Invariant: a message holds all that its
delivery needs, so that it can be delivered by a daemon that was started after it was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PEOPLE = "people"
"""The audience of what people are told: whoever delivers to people takes all of it."""

ANNOUNCEMENT = "announcement"
COMMIT_STATUS = "commit_status"
DEPLOYMENT = "deployment"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message. `text` is a sentence; `payload`, which is JSON, has what a program needs of it.

    `audience` is `people`, or the name of the one target that it is for. Of messages to one audience with the
    same `key` only the newest counts: what was not delivered before is moot; "" is a message that stands for
    itself. `mark` tells what it says: the same twice in a row under one key is not written again; "" is
    always written.
    """

    text: str
    kind: str = ANNOUNCEMENT
    audience: str = PEOPLE
    key: str = ""
    mark: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)


Told = Message | str
"""What is written to the outbox; a sentence alone is an announcement."""


def as_message(given: Told) -> Message:
    """The message that it is."""
    return given if isinstance(given, Message) else Message(text=given)


def of_deployments(repository: str) -> str:
    """The audience of what becomes of rollouts there: it needs another right than statuses do."""
    return f"{of_forge(repository)}/deployments"


def of_forge(repository: str) -> str:
    """The audience of what is told at the forge that keeps this repository."""
    return f"forge/{repository}"
