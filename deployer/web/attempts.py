"""How often an address may be told that it is not known: some times at once, then one every few seconds.

Owns the count. Must not know what was tried. Invariant: whoever shows what is right is never counted, so
nobody's failures lock anybody out; and memory is bounded, whatever addresses come. Tokens cannot be guessed:
what is limited is the work and the log of those who try. For the event loop's thread alone.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = 20
"""A page without its session asks for a few things, a script that was set up wrongly for more."""

EACH_SECONDS = 3.0
"""Then one in so many seconds."""

ADDRESSES = 4096
"""Remembered at most, some 200 bytes each; the one that failed longest ago is forgotten first."""

_ONE_CUSTOMER = 64
"""Bits of an IPv6 address that are one customer's, who has all addresses below."""


class Attempts:
    """A bucket for each address."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Nobody has failed. `monotonic` gives seconds."""
        self._monotonic = monotonic
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def failed(self, peer: str) -> int | None:
        """Count a failure. None: tell what failed; else whole seconds after which to try again."""
        now, key = self._monotonic(), _customer(peer)
        left, at = self._buckets.pop(key, (float(AT_ONCE), now))
        left = min(float(AT_ONCE), left + (now - at) / EACH_SECONDS)
        is_over = left < 1
        self._buckets[key] = (left if is_over else left - 1, now)
        if len(self._buckets) > ADDRESSES:
            self._buckets.popitem(last=False)
        return math.ceil((1 - left) * EACH_SECONDS) if is_over else None


def _customer(peer: str) -> str:
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    if isinstance(address, IPv6Address) and address.ipv4_mapped is None:
        return str(ip_network((address, _ONE_CUSTOMER), strict=False))
    return peer
