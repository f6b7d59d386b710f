"""Which page makes a request: one of ours, none at all, or somebody else's.

Owns the names that the daemon answers to, and what browsers say of where a request comes from. Must not know
who the request is of. Invariant: no page but ours gets anything done or read through somebody's browser, not
even from another port of this machine, which browsers call the same site and send our cookie to (Chromium
156); and none gets in under a name of its own (DNS rebinding). An address is no such name: nobody can have
it resolved to another machine, so the daemon answers to any.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.types import Scope

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(rf"(?P<scheme>https?)://(?P<host>{_HOST.pattern})")
_LOOPBACK = re.compile(r"127(?:\.[0-9]{1,3}){3}|\[::1\]|localhost")
"""Names that nobody else can give to another machine."""

_DEFAULT_PORTS = {"http": "80", "https": "443"}


class Source(Enum):
    """Where a request comes from."""

    OURS = auto()
    """One of our pages, or the person at the address bar."""
    UNSAID = auto()
    """No browser; or one that does not say (on http beyond this machine they do not)."""
    LINK = auto()
    """Somebody followed a link of another site: let in to look, as whoever has shown nothing."""
    ELSEWHERE = auto()
    """Another site's page. Refused."""


class Origins:
    """The names of this daemon."""

    def __init__(self, hosts: Iterable[str], public_url: str | None) -> None:
        """Take names beside those of loopback, and the URL by which people know the daemon."""
        public = urlsplit(public_url or "")
        self._public = f"{public.scheme}://{public.netloc}" if public_url else None
        self._public_name = _name(public.netloc) if public_url else None
        self._names = {*hosts, *([self._public_name] if self._public_name else [])}

    def host(self, scope: Scope) -> str | None:
        """The Host of the request if it is an address or a name of this daemon, with its port; else None."""
        given = _all(scope, b"host")
        host = given[0].lower() if len(given) == 1 else ""
        name = _name(host)
        return host if name and (name in self._names or name == "localhost" or _is_address(name)) else None

    def source(self, scope: Scope, host: str) -> Source:
        """Where the request comes from. `host` is what `host` gave."""
        origins, sites = _all(scope, b"origin"), _all(scope, b"sec-fetch-site")
        if len(origins) > 1 or len(sites) > 1:
            return Source.ELSEWHERE
        if sites and sites[0] not in {"same-origin", "none"}:
            return Source.LINK if _is_link(scope) else Source.ELSEWHERE
        if origins and not self._is_ours(origins[0], host, scope["scheme"]):
            return Source.ELSEWHERE
        return Source.OURS if origins or sites else Source.UNSAID

    def _is_ours(self, origin: str, host: str, scheme: str) -> bool:
        match = _ORIGIN.fullmatch(origin.lower())
        if match is None:
            return False
        if _without_default_port(match["scheme"], match["host"]) == self._public:
            # Also behind a proxy that does not pass the Host on.
            return True
        if match["name"] == self._public_name:
            # The same name over http, say, which whoever is on the way can fill with a page.
            return False
        if match["scheme"] != scheme and match["scheme"] != "https":
            return False
        return _without_default_port(match["scheme"], match["host"]) == _without_default_port(
            match["scheme"], host
        )


def is_loopback(host: str) -> bool:
    """Whether this Host is this machine's name for itself."""
    return _LOOPBACK.fullmatch(_name(host) or "") is not None


def _is_link(scope: Scope) -> bool:
    """Whether a browser's window goes there: no frame, no image, no script."""
    modes, targets = _all(scope, b"sec-fetch-mode"), _all(scope, b"sec-fetch-dest")
    return scope["method"] == "GET" and modes == ["navigate"] and targets == ["document"]


def _all(scope: Scope, name: bytes) -> list[str]:
    headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for header, value in headers if header == name]


def _name(host: str) -> str | None:
    match = _HOST.fullmatch(host)
    return match["name"] if match else None


def _is_address(name: str) -> bool:
    try:
        ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _without_default_port(scheme: str, host: str) -> str:
    return f"{scheme}://{host.removesuffix(f':{_DEFAULT_PORTS[scheme]}')}"
