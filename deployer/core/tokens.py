"""Who may do what: roles, tokens, and the sessions that a browser gets for one.

Owns how a token is made and recognised, when it counts, and what each role may do. Must not know where tokens
are kept, nor any request. Invariant: what is kept of a token cannot be turned back into it, and what is shown
of it (`Token.id`) says nothing about the rest.

A token is 256 random bits, so one sha256 of it is enough: slow hashes protect what people choose, and nobody
can try 2^256. For the same reason it may be found by its hash in an index. The time that takes tells at most
something about the hash of what was sent, from which nobody gets nearer to a hash that is kept.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Right(StrEnum):
    """What a route can ask for."""

    READ = "read"
    DEPLOY = "deploy"
    APPROVE = "approve"
    OVERRIDE = "override"
    ADMINISTER = "administer"


class Role(StrEnum):
    """What a token is given for. Who approves does not deploy: four eyes need two people."""

    VIEWER = "viewer"
    DEPLOYER = "deployer"
    APPROVER = "approver"
    OVERRIDER = "overrider"
    ADMIN = "admin"


RIGHTS: Mapping[Role, frozenset[Right]] = MappingProxyType(
    {
        Role.VIEWER: frozenset({Right.READ}),
        Role.DEPLOYER: frozenset({Right.READ, Right.DEPLOY}),
        Role.APPROVER: frozenset({Right.READ, Right.APPROVE}),
        Role.OVERRIDER: frozenset({Right.READ, Right.DEPLOY, Right.OVERRIDE}),
        Role.ADMIN: frozenset(Right),
    }
)
"""What each role may do."""

SECRET_BYTES = 32
"""256 bits."""

LOCAL = "local"
"""Stands where the id of a token would, for the one in the state directory. No id is spelled like this."""

_PREFIX = "dpl_"
"""So that scanners, and people, see what a stray token is."""

_SECRET = re.compile(r"dpl_[A-Za-z0-9_-]{43}")
_NAME = re.compile(r"(?!.{65})[\w.@+\\-]+\$?")
"""A login name, as they are on Linux and, with `\\` and `$`, in a Windows domain."""

_ID_DIGITS = 8
_SESSION = re.compile(rf"([0-9a-f]{{{_ID_DIGITS}}}|{LOCAL})\.([0-9]{{1,12}})\.([A-Za-z0-9_-]{{43}})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """What is kept of a token. `environments` None is all of them; `hash` is the sha256 in hex."""

    id: str
    name: str
    hash: str = field(repr=False)
    role: Role
    environments: frozenset[str] | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


class Verdict(StrEnum):
    """Whether a token counts now."""

    OK = "active"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    REVOKED = "revoked"


def make(randomness: bytes) -> str:
    """The token of 32 random bytes: `dpl_` and 43 characters. Raises ValueError for any other number."""
    if len(randomness) != SECRET_BYTES:
        message = f"a token is made of {SECRET_BYTES} random bytes, not of {len(randomness)}"
        raise ValueError(message)
    return f"{_PREFIX}{_text(randomness)}"


def is_token(text: str) -> bool:
    """Whether it has the form of a token."""
    return _SECRET.fullmatch(text) is not None


def digest(secret: str) -> str:
    """What is kept of a token: its sha256, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def id_of(hash_: str) -> str:
    """What a token is called in public: the beginning of its hash."""
    return hash_[:_ID_DIGITS]


def is_name(text: str) -> bool:
    """Whether a token, or a user of a proxy, may be called so: 1 to 64 characters of a login name."""
    return _NAME.fullmatch(text) is not None


def verdict(token: Token | None, now: datetime) -> Verdict:
    """Whether it counts now. None is a token that is not there."""
    if token is None:
        return Verdict.UNKNOWN
    if token.revoked_at is not None:
        return Verdict.REVOKED
    if token.expires_at is not None and token.expires_at <= now:
        return Verdict.EXPIRED
    return Verdict.OK


# --- sessions ----------------------------------------------------------------------------------------------


def session_key(local: str) -> bytes:
    """What sessions are signed with: made of the token in the state directory, and useless in its place."""
    return hmac.digest(local.encode(), b"deployer session", "sha256")


def session(key: bytes, id_: str, until: datetime) -> str:
    """What a browser gets instead of the token with this id (or LOCAL): it counts until then.

    A cookie goes to every port of its host (Chromium 156), so on loopback to every other program that the
    browser visits there. So it is not the token, and does not last.
    """
    said = f"{id_}.{int(until.timestamp())}"
    return f"{said}.{_signature(key, said)}"


def read_session(key: bytes, text: str, now: datetime) -> tuple[str, datetime] | None:
    """The id that a session is of, and its end; None if we did not make it, or it is over."""
    match = _SESSION.fullmatch(text)
    if match is None:
        return None
    id_, until, signature = match.groups()
    # In constant time, so that how long it takes tells nothing about the right signature.
    if not hmac.compare_digest(signature, _signature(key, f"{id_}.{until}")):
        return None
    end = datetime.fromtimestamp(int(until), UTC)
    return (id_, end) if now < end else None


def _signature(key: bytes, said: str) -> str:
    return _text(hmac.digest(key, said.encode(), "sha256"))


def _text(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
