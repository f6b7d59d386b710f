"""What the values of `server` may be: where to listen, names, proxies.

Owns their rules and normal forms. Must not know the models or where a value stands in a file. Invariant: as
in `_values`; and a name or an address that is taken here means one thing, whoever reads it.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from deployer.core.redact import quote
from deployer.settings._values import http_address, wrong_kind

if TYPE_CHECKING:
    from deployer.settings._values import Base

_LISTEN = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:]+)\]|(?P<host>[A-Za-z0-9.-]+)):(?P<port>[0-9]{1,5})")
_MAX_PORT = 65_535
_HOST_NAME = re.compile(
    r"(?!.{254})[a-z0-9](?:[a-z0-9-]{0,62})(?:\.[a-z0-9](?:[a-z0-9-]{0,62}))*|\[[0-9a-f:]+\]"
)
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")

_OTHERS_HEADERS = frozenset({"authorization", "cookie", "host", "origin", "accept", "content-length"})
"""They mean something else, and a browser or a client sends them by itself."""


def listen(text: str, _base: Base) -> str:
    """An address of this machine and a port; port 0 stands for a free one."""
    match = _LISTEN.fullmatch(text)
    if match is None or int(match["port"]) > _MAX_PORT:
        _refuse("must be an address and a port, such as 127.0.0.1:8700")
    host = (match["v6"] or match["host"]).lower().replace("localhost", "127.0.0.1")
    try:
        address = ip_address(host)
    except ValueError:
        _refuse(
            "must begin with an IP address of this machine, such as 127.0.0.1:8700: names can change hands"
        )
    return f"[{address}]:{match['port']}" if match["v6"] else f"{address}:{match['port']}"


def is_loopback(listened: str) -> bool:
    """Whether what `listen` gave is for this machine alone."""
    return ip_address(listened.rpartition(":")[0].strip("[]")).is_loopback


def host_names(value: object) -> tuple[str, ...]:
    """Names, as they stand in the Host of a request, without a port."""
    names = tuple(name.lower() for name in listed(value, "names such as deployer.example.com"))
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            _refuse(
                f"must be names of hosts such as deployer.example.com, without a port: {quote(name)} is none"
            )
    return names


def networks(value: object) -> tuple[str, ...]:
    """Addresses, or ranges of them, in their normal form. At least one."""
    wanted = "addresses such as 10.0.0.7 or 10.0.0.0/24"
    found = []
    for text in listed(value, wanted):
        try:
            found.append(str(ip_network(text)))
        except ValueError:
            _refuse(f"must be {wanted}, and {quote(text)} is none")
    if not found:
        _refuse(f"must be {wanted}: without one there is no proxy to trust")
    return tuple(found)


def header(text: str, _base: Base) -> str:
    """The name of a header that a proxy sets."""
    if not _HEADER.fullmatch(text):
        _refuse("must be the name of a header, such as X-Forwarded-User")
    if text.lower() in _OTHERS_HEADERS:
        _refuse(f"cannot be {text}, which everybody sends: have the proxy set one of its own")
    return text


def public_url(text: str, base: Base) -> str:
    """The URL by which people know the daemon: scheme, host and perhaps a port."""
    url = http_address(
        text, base, what="this daemon, such as https://deployer.example.com", instead_of_login="remove them"
    )
    parts = urlsplit(url)
    if parts.path:
        _refuse("must end with its host: the daemon cannot be put below a path of another site")
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        _refuse("must begin with https://: over http browsers keep nobody signed in, and tokens can be read")
    return url


def flag(value: object) -> bool:
    """Yes or no. Text comes from an environment variable."""
    if isinstance(value, str) and value.lower() in {"true", "false"}:
        value = value.lower() == "true"
    if not isinstance(value, bool):
        _refuse("must be true or false")
    return value


def listed(value: object, wanted: str) -> list[str]:
    """A list of texts. One text, with commas, comes from an environment variable."""
    listed: Any = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(listed, list):
        _refuse(wrong_kind(value, f"a list of {wanted}"))
    for one in listed:
        if not isinstance(one, str):
            _refuse(wrong_kind(one, f"a list of {wanted}"))
    return listed


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)
