"""Who a request is of: a token, a browser's session of one, the word of a trusted proxy, or nobody.

Owns what is believed of which header, and from whom. Must not know routes, nor what a caller may do there.
Invariant: a secret is compared as its hash or in constant time, and is in nothing that comes out of here;
what was shown and does not count is never passed over for something weaker, but for a session that has ended;
and the proxy's header is refused, not ignored, when it comes from anybody else.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Literal, assert_never

from deployer.core import tokens as rules
from deployer.core.tokens import LOCAL, RIGHTS, Right, Role, Verdict
from deployer.web.access import Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Address

    from starlette.types import Scope

    from deployer.adapters.store.tokens import Tokens
    from deployer.core.tokens import Token
    from deployer.settings import Server

COOKIE = "__Host-deployer"
"""Browsers take a cookie of this name only from the host itself, for all of its paths, over https. Chromium
(156) takes it on http://127.0.0.1, http://localhost and http://[::1] as well: ADR 0020."""

SESSION = timedelta(hours=12)
"""A working day. It is what somebody has for whom a cookie got out."""

_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Strict"

_ASK = "Ask whoever administers this daemon for another (`deployer token create`)."


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why a request is of nobody: 401, or 403 for a claim that only the proxy may make."""

    status: HTTPStatus
    why: str


class Callers:
    """Finds out who calls. For any thread."""

    def __init__(
        self,
        *,
        local: str,
        tokens: Tokens,
        server: Server,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Take the token in the state directory, all others, and what the settings say."""
        self._local = local.encode()
        self._key = rules.session_key(local)
        self._tokens = tokens
        self._now = now
        self._anonymous_read = server.anonymous_read
        self._proxy = server.trusted_proxy
        self._networks = [ip_network(one) for one in self._proxy.addresses] if self._proxy else []
        self._user_header = self._proxy.user_header.lower().encode() if self._proxy else None

    def of(self, scope: Scope, *, cookie_counts: bool) -> Caller | Refused:
        """Who this request is of. Without `cookie_counts` its session is as good as not sent."""
        headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
        users = [value for name, value in headers if name == self._user_header]
        if users and not self.is_proxy(scope):
            why = f"{self._header} may come from server.trusted_proxy.addresses alone, and this did not."
            return Refused(status=HTTPStatus.FORBIDDEN, why=why)
        given = [value for name, value in headers if name == b"authorization"]
        if given:
            return self._of_bearer(given)
        session = self._of_session(headers) if cookie_counts else None
        if session is not None:
            return session
        if any(users):
            return self._of_proxy(users)
        if self._anonymous_read:
            return Caller(name="anonymous", how="anonymous", rights=frozenset({Right.READ}))
        why = (
            "This needs a token: `Authorization: Bearer ...`, or a browser that has signed in. The deployer"
            " command on the daemon's machine has one; `deployer token create` makes them for everybody else."
        )
        return Refused(status=HTTPStatus.UNAUTHORIZED, why=why)

    def of_secret(self, secret: str) -> Caller | Refused:
        """Whose token this is."""
        # In constant time, so that how long it takes tells nothing about the token.
        if hmac.compare_digest(secret.encode(errors="replace"), self._local):
            return Caller(name=LOCAL, how="local", rights=RIGHTS[Role.ADMIN])
        token = self._tokens.find(rules.digest(secret)) if rules.is_token(secret) else None
        verdict = rules.verdict(token, self._now())
        if token is not None and verdict is Verdict.OK:
            return _caller(token, "token")
        return Refused(status=HTTPStatus.UNAUTHORIZED, why=_why_not(token, verdict))

    def counts(self, one: Caller) -> bool:
        """Whether what this caller showed still counts: a stream outlives a token, and a session."""
        if one.until is not None and self._now() >= one.until:
            return False
        if one.token is None or one.token == LOCAL:
            return True
        return rules.verdict(self._tokens.get(one.token), self._now()) is Verdict.OK

    def is_use_due(self, one: Caller) -> bool:
        """Whether that it was used has to be written: `note_use`, which waits for a disk."""
        return one.token is not None and self._tokens.is_use_due(one.token, self._now())

    def note_use(self, one: Caller) -> None:
        """Write that its token was used. Raises StoreUnavailable."""
        if one.token is not None:
            self._tokens.used(one.token, self._now())

    def is_proxy(self, scope: Scope) -> bool:
        """Whether the request comes from the proxy that the settings trust."""
        address = peer(scope)
        return address is not None and any(address in network for network in self._networks)

    def cookie(self, one: Caller) -> str:
        """The Set-Cookie of a session of this caller, who has shown a token."""
        until = self._now() + SESSION
        value = rules.session(self._key, one.token or LOCAL, until)
        return f"{COOKIE}={value}; Max-Age={int(SESSION.total_seconds())}; {_ATTRIBUTES}"

    @property
    def _header(self) -> str:
        return self._proxy.user_header if self._proxy else ""

    def _of_bearer(self, given: Sequence[bytes]) -> Caller | Refused:
        scheme, _, secret = given[0].decode("latin-1").partition(" ")
        if len(given) > 1 or scheme.lower() != "bearer":
            why = "Send one header `Authorization: Bearer ...` with your token, and nothing else in it."
            return Refused(status=HTTPStatus.UNAUTHORIZED, why=why)
        return self.of_secret(secret.strip())

    def _of_session(self, headers: Sequence[tuple[bytes, bytes]]) -> Caller | None:
        """Whose session it is; None without one that counts. A browser goes on sending one that has ended."""
        pairs = (
            pair.partition("=")
            for name, value in headers
            if name == b"cookie"
            for pair in value.decode("latin-1").split(";")
        )
        found = [value.strip() for name, _, value in pairs if name.strip() == COOKIE]
        session = rules.read_session(self._key, found[0], self._now()) if len(found) == 1 else None
        if session is None:
            return None
        id_, until = session
        if id_ == LOCAL:
            return Caller(name="admin", how="session", token=LOCAL, rights=RIGHTS[Role.ADMIN], until=until)
        token = self._tokens.get(id_)
        if token is None or rules.verdict(token, self._now()) is not Verdict.OK:
            return None
        return _caller(token, "session", until)

    def _of_proxy(self, users: Sequence[bytes]) -> Caller | Refused:
        try:
            name = users[0].decode()
        except UnicodeDecodeError:
            name = ""
        if self._proxy is None or len(users) > 1 or not rules.is_name(name):
            why = (
                f"{self._header} must be there once, with a login name: letters, digits and . @ + - _ alone."
            )
            return Refused(status=HTTPStatus.UNAUTHORIZED, why=why)
        return Caller(name=name, how="proxy", rights=RIGHTS[Role(self._proxy.role)])


def peer(scope: Scope) -> IPv4Address | IPv6Address | None:
    """The address at the other end of the connection; None for what is no address."""
    try:
        address = ip_address((scope.get("client") or ("",))[0])
    except ValueError:
        return None
    # How a socket that takes both shows IPv4.
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def no_cookie() -> str:
    """The Set-Cookie that ends a session in the browser that gets it."""
    return f"{COOKIE}=; Max-Age=0; {_ATTRIBUTES}"


def _caller(token: Token, how: Literal["token", "session"], until: datetime | None = None) -> Caller:
    return Caller(
        name=token.name,
        how=how,
        token=token.id,
        rights=RIGHTS[token.role],
        environments=token.environments,
        until=until,
    )


def _why_not(token: Token | None, verdict: Verdict) -> str:
    """Only who has the token itself is told what became of it."""
    whose = f"The token {token.id} of {token.name}" if token is not None else ""
    match verdict:
        case Verdict.EXPIRED:
            return f"{whose} has expired. {_ASK}"
        case Verdict.REVOKED:
            return f"{whose} was revoked. {_ASK}"
        case Verdict.UNKNOWN | Verdict.OK:
            return f"This daemon does not know this token. {_ASK}"
        case _:
            assert_never(verdict)
