"""Durations as people write them in a config: `30s`, `10m`, `1h30m`.

Owns the text form of a length of time. Must not know what is being timed. Invariant: `parse(render(x)) == x`
for every whole number of milliseconds up to the limit.
"""

from __future__ import annotations

import re

from deployer.core.redact import quote

LIMIT_SECONDS = 365 * 86_400.0
"""A year: longer is a slip, and far more would not fit a `timedelta`."""

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
"""Milliseconds in each unit, the largest first."""
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,12}}){unit})?" for unit in _UNITS))
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


def parse(text: str) -> float:
    """Seconds. Raises ValueError, with a sentence that says how to write it."""
    if _NUMBER.fullmatch(text):
        shown = text[:40]
        message = f"{shown} has no unit: write {shown}s for seconds or {shown}m for minutes"
        raise ValueError(message)
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        message = (
            f"{quote(text)} is not a duration: write whole numbers with units, as in 30s, 10m, 1h30m or 500ms"
        )
        raise ValueError(message)
    seconds = (
        sum(int(count or 0) * unit for count, unit in zip(match.groups(), _UNITS.values(), strict=True))
        / 1000
    )
    if seconds > LIMIT_SECONDS:
        message = f"{text[:40]} is longer than {render(LIMIT_SECONDS)}"
        raise ValueError(message)
    return seconds


def render(seconds: float) -> str:
    """The shortest text that `parse` reads as this, to the millisecond: `1m30s`."""
    rest = round(abs(seconds) * 1000)
    parts = []
    for unit, milliseconds in _UNITS.items():
        count, rest = divmod(rest, milliseconds)
        if count:
            parts.append(f"{count}{unit}")
    sign = "-" if seconds < 0 and parts else ""
    return sign + ("".join(parts) or "0s")
