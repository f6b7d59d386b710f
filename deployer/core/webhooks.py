"""Whether a webhook was sent by the forge: one check for each way in which forges sign.

Owns the formats of the signatures, delivery ids and pings. Must not know files, sockets or what follows, nor
read the body: its bytes are signed, and nothing in it is believed. Invariant: what is accepted was signed
with SHA-256 and one of the keys, in the one way that the settings name, over exactly these bytes; every key
is tried, in constant time; and whatever was sent, nothing is raised.

The formats are the forges' own:

- github: `X-Hub-Signature-256: sha256=<hex>`, an HMAC of the body
  (https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries).
- gitlab: the signing token of GitLab 19.0 (https://docs.gitlab.com/user/project/integrations/webhooks/#signing-tokens,
  merge request gitlab-org/gitlab!230944), which is Standard Webhooks 1.0.0
  (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md):
  `webhook-signature: v1,<base64>`, an HMAC of `<webhook-id>.<webhook-timestamp>.<body>`, whose key is what
  `whsec_<base64>` decodes to. GitLab sends `webhook-id` and `webhook-timestamp` always, the signature only
  where a signing token is set.
- gitlab-token: `X-Gitlab-Token: <secret>`, the older way: the secret itself, and no signature.
- gitea, also Forgejo: `X-Gitea-Signature: <hex>`, an HMAC of the body
  (https://docs.gitea.com/usage/webhooks, https://forgejo.org/docs/latest/user/webhooks).
- bitbucket: `X-Hub-Signature: sha256=<hex>`, an HMAC of the body, Cloud
  (https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks) and Data Center
  (https://confluence.atlassian.com/bitbucketserver/event-payload-938025882.html). GitHub's header of that
  name is SHA-1, and is never taken.
- generic: Standard Webhooks as above; a secret that does not begin with `whsec_` is the key as it stands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Scheme = Literal["github", "gitlab", "gitlab-token", "gitea", "bitbucket", "generic"]

SIGNATURE_HEADERS: Mapping[Scheme, str] = {
    "github": "X-Hub-Signature-256",
    "gitlab": "webhook-signature",
    "gitlab-token": "X-Gitlab-Token",
    "gitea": "X-Gitea-Signature",
    "bitbucket": "X-Hub-Signature",
    "generic": "webhook-signature",
}
"""Where each scheme has its signature."""

TOLERANCE_SECONDS = 300
"""Between a sender's clock and ours: what the libraries of Standard Webhooks take."""

MIN_KEY_BYTES = 16
"""Who once sees a delivery can try shorter secrets at leisure until one fits."""

_PREFIX = b"whsec_"
_SIGNATURES = 10
"""In one header: a sender that rotates its key sends two. More only cost time."""
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
_ID = re.compile(rb"[\x21-\x7e]{1,200}")
"""What a delivery id may be; forges send UUIDs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """It was sent by who has the secret. `delivery` is the same for each repetition; None if it has none."""

    delivery: str | None
    is_ping: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """It proves nothing. `why` is for the log, and repeats nothing of the request but names of headers."""

    why: str


def key(scheme: Scheme, secret: bytes) -> bytes:
    """The key that this secret stands for. Raises ValueError with a sentence that does not show it."""
    if scheme == "gitlab" and not secret.startswith(_PREFIX):
        message = (
            "a signing token of GitLab begins with whsec_: for a secret token the scheme is gitlab-token"
        )
        raise ValueError(message)
    found = secret
    if scheme in {"gitlab", "generic"} and secret.startswith(_PREFIX):
        try:
            found = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            message = "what follows whsec_ is no base64: copy the whole line"
            raise ValueError(message) from None
    if len(found) < MIN_KEY_BYTES:
        message = f"it is shorter than {MIN_KEY_BYTES} bytes: make one with `openssl rand -hex 32`"
        raise ValueError(message)
    return found


def sign(secret: bytes, delivery: str, sent_at: int, body: bytes) -> str:
    """The `webhook-signature` of what we send ourselves, by Standard Webhooks. `secret` is of `key`.

    `delivery` is printable ASCII without a dot, `sent_at` in seconds since the epoch.
    """
    return _made(secret, b".".join((delivery.encode("ascii"), b"%d" % sent_at, body))).decode()


def verify(
    scheme: Scheme, keys: Sequence[bytes], headers: Iterable[tuple[bytes, bytes]], body: bytes, now: float
) -> Accepted | Refused:
    """Check one request. Never raises, whatever was sent.

    `keys` are one or two of `key`; names in `headers` may have any case; `body` is as it came over the wire;
    `now` is in seconds since the epoch. Takes as long for a right signature as for a wrong one, and for one
    that is missing.
    """
    by_name: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        by_name.setdefault(name.lower(), []).append(value)
    match scheme:
        case "github":
            is_ping = _only(by_name, b"x-github-event") == b"ping"
            return _hex(scheme, b"sha256=", keys, by_name, body, b"x-github-delivery", is_ping=is_ping)
        case "gitea":
            return _hex(scheme, b"", keys, by_name, body, b"x-gitea-delivery")
        case "bitbucket":
            # Cloud sends the first, Data Center the second; only Data Center has a ping.
            id_header = b"x-request-uuid" if b"x-request-uuid" in by_name else b"x-request-id"
            is_ping = _only(by_name, b"x-event-key") == b"diagnostics:ping"
            return _hex(scheme, b"sha256=", keys, by_name, body, id_header, is_ping=is_ping)
        case "gitlab-token":
            return _token(keys, by_name, body)
        case "gitlab" | "generic":
            return _standard(scheme, keys, by_name, body, now)
        case _:
            assert_never(scheme)


def _hex(
    scheme: Scheme,
    prefix: bytes,
    keys: Sequence[bytes],
    headers: Mapping[bytes, list[bytes]],
    body: bytes,
    id_header: bytes,
    *,
    is_ping: bool = False,
) -> Accepted | Refused:
    given = _signature(scheme, headers)
    signatures = [prefix + hmac.digest(one, body, "sha256").hex().encode() for one in keys]
    if not _any_equal([given or b""], signatures):
        return _refused(scheme, headers)
    return Accepted(delivery=_id(_only(headers, id_header)), is_ping=is_ping)


def _token(keys: Sequence[bytes], headers: Mapping[bytes, list[bytes]], body: bytes) -> Accepted | Refused:
    given = _signature("gitlab-token", headers)
    # Of equal length, so that how long the comparison takes does not tell how long the secret is.
    digests = [hashlib.sha256(one).digest() for one in keys]
    for one in keys:
        # For its time alone: who sends large bodies cannot tell a repository with this scheme from none.
        hmac.digest(one, body, "sha256")
    if not _any_equal([hashlib.sha256(given or b"").digest()], digests):
        return _refused("gitlab-token", headers)
    # Not X-Gitlab-Event-UUID: "Recursive webhooks (triggered by earlier webhooks) share the same value", so a
    # push that another hook made would pass for a repetition. Before GitLab 17.4 there is no other.
    return Accepted(delivery=_id(_only(headers, b"idempotency-key")))


def _standard(
    scheme: Scheme, keys: Sequence[bytes], headers: Mapping[bytes, list[bytes]], body: bytes, now: float
) -> Accepted | Refused:
    name, sent_at = _only(headers, b"webhook-id") or b"", _only(headers, b"webhook-timestamp") or b""
    given = (_signature(scheme, headers) or b"").split(b" ")
    signed = b".".join((name, sent_at, body))
    signatures = [_made(one, signed) for one in keys]
    if not _any_equal(given[:_SIGNATURES], signatures):
        return _refused(scheme, headers)
    # A dot in it could be taken for the one that ends it: the specification forbids that.
    delivery = None if b"." in name else _id(name)
    if delivery is None:
        return Refused(why="its webhook-id is none: printable ASCII without a dot, and once")
    if not _TIMESTAMP.fullmatch(sent_at):
        return Refused(why="its webhook-timestamp is no number of seconds")
    off = int(sent_at) - now
    if abs(off) > TOLERANCE_SECONDS:
        before = "after" if off > 0 else "before"
        why = f"it was sent {abs(off):.0f} s {before} now, by the two clocks: more than {TOLERANCE_SECONDS} s"
        return Refused(why=why)
    return Accepted(delivery=delivery)


def _made(one: bytes, signed: bytes) -> bytes:
    return b"v1," + base64.b64encode(hmac.digest(one, signed, "sha256"))


def _signature(scheme: Scheme, headers: Mapping[bytes, list[bytes]]) -> bytes | None:
    """The signature, if it is there once."""
    return _only(headers, _wire(SIGNATURE_HEADERS[scheme]))


def _any_equal(given: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    """Whether one of the first is one of the second. Looks at all of them."""
    return any([hmac.compare_digest(one, other) for one in given for other in expected])  # noqa: C419 - all


def _refused(scheme: Scheme, headers: Mapping[bytes, list[bytes]]) -> Refused:
    name = SIGNATURE_HEADERS[scheme]
    match len(headers.get(_wire(name), ())):
        case 0:
            others = sorted({one for one in SIGNATURE_HEADERS.values() if _wire(one) in headers})
            but = f", but {' and '.join(others)}, which is another scheme" if others else ""
            return Refused(why=f"it has no {name} header{but}")
        case 1:
            return Refused(why=f"its {name} was not made with this secret")
        case _:
            return Refused(why=f"it has more than one {name} header")


def _only(headers: Mapping[bytes, list[bytes]], name: bytes) -> bytes | None:
    """The value of a header that is there once."""
    values = headers.get(name, ())
    return values[0] if len(values) == 1 else None


def _id(value: bytes | None) -> str | None:
    return value.decode("ascii") if value is not None and _ID.fullmatch(value) else None


def _wire(name: str) -> bytes:
    return name.lower().encode()
