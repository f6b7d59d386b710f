"""One event in full, as it is shown: every field, who is behind it, and its place in the chain of hashes.

Owns the names of the fields. Must not know how they are kept. Invariant: of a config there is nothing but its
digest, of what a check sends nothing that its keys call a secret; and every field of every type is there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from deployer.core.events import DAEMON, Event
from deployer.core.policy_shown import shown
from deployer.core.telling import says
from deployer.core.times import timestamp
from deployer.core.types import Person, Policy, ServeConfig

_BESIDE = frozenset({"type", "at", "actor", "reason"})
"""Fields that every event has. They stand beside the others."""

_ID = re.compile(r"[0-9]{1,18}")
_PLACE = re.compile(r"(@?[a-z0-9][a-z0-9-]*):([0-9]{1,18})")

NO_ID = "An event is called by its ID, or by its place in the log of its environment, as production:17"
"""`deployer audit list` has both."""

_KNOWN = (
    (re.compile(r".* <.*>"), "git says so: a name in a commit is a claim, and only a signature proves it"),
    (re.compile(r".* \(local\)"), "a login name on the daemon's machine, or of who has that machine's token"),
    (re.compile(r".* \(proxy\)"), "the proxy that the daemon trusts says so"),
    (re.compile(r".* \(at the forge as .*\)"), "a review at the forge, by a name that the settings know"),
    (re.compile(r".* \(token .*\)"), "the token with this ID was shown"),
)
"""What an actor is written down as. A name may hold anything, so what stands last counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An event as it stands in the log, with its place, and with what became of its hashes.

    `is_intact`: its hash is that of what it says. `is_linked`: its previous hash is that of the event before.
    """

    id: int
    environment: str
    sequence: int
    rollout: str
    event: Event
    previous_hash: str
    hash: str
    is_intact: bool = True
    is_linked: bool = True


def named(text: str) -> int | tuple[str, int] | None:
    """Which event is meant: its id, or its environment and sequence; None if this names none."""
    if _ID.fullmatch(text):
        return int(text)
    place = _PLACE.fullmatch(text)
    return (place[1], int(place[2])) if place else None


def to_json(one: Written) -> dict[str, Any]:
    """As `docs/json.md` describes it."""
    event = one.event
    return {
        "id": one.id,
        "environment": one.environment,
        "sequence": one.sequence,
        "type": event.type,
        "at": timestamp(event.at),
        "actor": event.actor,
        "known_by": known_by(event.actor),
        "reason": event.reason,
        "rollout": one.rollout or None,
        "says": says(event),
        "fields": {
            field.name: _plain(getattr(event, field.name))
            for field in fields(event)
            if field.name not in _BESIDE
        },
        "previous_hash": one.previous_hash,
        "hash": one.hash,
        "hash_is_right": one.is_intact,
        "previous_is_right": one.is_linked,
    }


def known_by(actor: str) -> str:
    """How it is known who did it, in half a sentence."""
    if actor == DAEMON:
        return "the daemon did it on its own"
    return next((how for form, how in _KNOWN if form.fullmatch(actor)), "nothing says how")


def _plain(value: object) -> Any:  # noqa: ANN401 - JSON
    match value:
        case ServeConfig():
            return value.digest
        case Policy():
            return shown(value)
        case Person():
            return str(value)
        case Enum():
            return value.value
        case datetime():
            return timestamp(value)
        case float() if not math.isfinite(value):
            return str(value)
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case tuple():
            return [_plain(inner) for inner in value]
        case _ if is_dataclass(value):
            return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        case _:
            return value
