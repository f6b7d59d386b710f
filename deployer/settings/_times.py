"""What times may be in the settings: durations, cron expressions, time zones, and moments by a clock.

Owns their rules. Must not know the models or where a value stands in a file. Invariant: as in `_values`; and
what is taken here, `deployer.core.windows` takes too.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import partial
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, available_timezones

from deployer.core import durations, windows
from deployer.core.redact import quote

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.settings._values import Base

_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?)?", re.ASCII)


def at_least(least: float) -> Callable[[str, Base], float]:
    """A duration of so many seconds or more."""
    return partial(_duration, least=least)


def _duration(text: str, _base: Base, *, least: float) -> float:
    try:
        seconds = durations.parse(text)
    except ValueError as error:
        message = f"cannot be read: {error}"
        raise ValueError(message) from None
    if seconds < least:
        message = f"must be at least {durations.render(least)}"
        raise ValueError(message)
    return seconds


def cron(text: str, _base: Base) -> str:
    """When something begins, as cron has it."""
    try:
        windows.check_cron(text)
    except ValueError as error:
        message = f"must be a cron expression such as 0 9 * * MON-THU: {error}"
        raise ValueError(message) from None
    return " ".join(text.split())


def time_zone(text: str, _base: Base) -> str:
    """A zone by its name in the time zone database."""
    if windows.is_zone(text):
        return text
    # It opens every file of the database, which takes a while.
    known = available_timezones()
    if not known:
        message = "cannot be checked, because this machine knows no time zones: install its package tzdata"
        raise ValueError(message)
    by_lower = {name.lower(): name for name in known}
    close = get_close_matches(text.lower(), by_lower, n=1)
    hint = f"did you mean {quote(by_lower[close[0]])}?" if close else "such as Europe/Berlin or UTC"
    message = f"must be the name of a time zone, and {quote(text)} is none ({hint})"
    raise ValueError(message)


def moment(text: str, _base: Base) -> datetime:
    """What a clock shows, without its zone; a day alone is its first moment."""
    try:
        if _MOMENT.fullmatch(text):
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    message = "must be a time such as 2026-12-20T18:00, by the clock of time_zone"
    raise ValueError(message)


def fixed(begins: datetime, ends: datetime, zone: str, reason: str) -> windows.Fixed:
    """What lasts from one moment to another by the clock of a zone.

    Where the clock shows one of them twice, or never, it lasts as long as can be meant. Raises ValueError.
    """
    there = ZoneInfo(zone)

    def both(moment: datetime) -> list[datetime]:
        return [moment.replace(tzinfo=there, fold=fold).astimezone(UTC) for fold in (0, 1)]

    try:
        first, last = min(both(begins)), max(both(ends))
    except OverflowError:
        message = "is too far away: write a year from 2 to 9998"
        raise ValueError(message) from None
    return windows.Fixed(begins=first.astimezone(there), ends=last.astimezone(there), reason=reason)
