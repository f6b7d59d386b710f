"""When deploys may begin: windows that let them through, and freezes that do not.

Owns the times: when an occurrence begins and ends, what is open now, when that changes, and the sentence for
it. Must not know gates, nor who may override them. Invariant: a freeze counts more than a window; an answer
depends on the arguments alone; and it comes after a bounded number of steps, whatever was written.

An occurrence begins when the clock of its zone shows a time of the cron expression, and lasts its duration
as it really passes, also where a clock is put forward or back meanwhile. Where clocks are put forward, what
would begin in the time that is left out begins at its end. Where they are put back, what begins at a certain
time begins when that comes first, and what begins every so often (`*` or `*/15` as minute or hour) each time,
as in Debian's cron. Occurrences that overlap or touch are one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, assert_never
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from deployer.core.durations import render
from deployer.core.redact import one_line, quote

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_CHANCE = "No later time was found that is in a window and in no freeze: change the settings."

_FIELDS = 5
"""Minute, hour, day, month, weekday. cronsim takes seconds as well, which no window needs."""

_LOOKS = 2_000
"""So often one search looks whether one window or freeze is on, or begins next: 50 ms at 25 us each. Each
step goes past all that is closed: a window in every minute under a freeze of ten years takes four looks, and
a window and a freeze on each day are looked through for most of a year. A change after that is not told."""

_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - what a clock on a wall shows, wherever it hangs
"""From here cronsim looks through 50 years. Weekdays and leap days come again after 28, up to 2100."""

_MINUTE, _SECOND, _NOTHING = timedelta(minutes=1), timedelta(seconds=1), timedelta()

_OUT_OF_TIME = (OverflowError, StopIteration)
"""Python's last year is 9999; cronsim gives up after 50."""

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
"""Not `%a`, which speaks the language of the machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurring:
    """What comes again and again: it begins by a cron expression, and lasts `duration` seconds.

    Raises ValueError for an expression that cannot be read or never comes, a zone that is not known, and a
    duration that is not more than 0.
    """

    cron: str
    duration: float
    time_zone: str
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be computed with."""
        check_cron(self.cron)
        if not is_zone(self.time_zone):
            message = f"there is no time zone {quote(self.time_zone)}"
            raise ValueError(message)
        if self.duration <= 0:
            message = f"a duration must be more than 0, and not {self.duration:g} s"
            raise ValueError(message)

    def __str__(self) -> str:
        """As it stands in a sentence."""
        return f"`{one_line(self.cron)}` for {render(self.duration)} ({self.time_zone})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What comes once, from `begins` until before `ends`. Times are shown in the zone of `begins`.

    Raises ValueError where they are naive, or in the wrong order.
    """

    begins: datetime
    ends: datetime
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be computed with."""
        if self.begins.tzinfo is None or self.ends.tzinfo is None:
            message = "begins and ends need a time zone"
            raise ValueError(message)
        # Two times of one zone would be compared as its clocks show them, which is wrong where those change.
        if self.begins.astimezone(UTC) >= self.ends.astimezone(UTC):
            message = "begins must be before ends"
            raise ValueError(message)

    def __str__(self) -> str:
        """As it stands in a sentence."""
        return f"from {_clock(self.begins, self)} to {_clock(self.ends, self)}"


Span = Recurring | Fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """Whether deploys may begin. `evidence` is a sentence or two.

    `next_change` (UTC) of what is open is when it closes. Of what is closed it is when a deploy may begin:
    the first time that is in a window and in no freeze. None: never, or not within what is looked through.
    """

    is_open: bool
    evidence: str
    next_change: datetime | None


def check_cron(text: str) -> None:
    """Raise ValueError, with a sentence, for what is no cron expression of five fields, or never comes."""
    count = len(text.split())
    if count != _FIELDS:
        message = f"{quote(text)} has {count} of the five fields: write minute, hour, day, month and weekday"
        raise ValueError(message)
    try:
        comes = next(CronSim(text, _EPOCH), None) is not None
    except (CronSimError, ValueError) as error:
        # Its own sentences are `Bad minute` and the like; Python's is about numbers of 5,000 digits.
        field = str(error).removeprefix("Bad ") if isinstance(error, CronSimError) else "number"
        message = f"{quote(text)} has a {field} that cannot be read, or never comes"
        raise ValueError(message) from None
    if not comes:
        message = f"{quote(text)} never comes: there is no such day"
        raise ValueError(message)


def is_zone(name: str) -> bool:
    """Whether the time zone database has a zone of this name."""
    try:
        ZoneInfo(name)
    # The last two: what is no name, and a folder.
    except (KeyError, ValueError, OSError):
        return False
    return True


def windows(spans: Sequence[Span], freezes: Sequence[Span], now: datetime) -> Opening:
    """Whether one of these windows is open. Without any, it is always open.

    The freezes only count for when a deploy may begin.
    """
    if not spans:
        return Opening(is_open=True, evidence="No windows are set: every time is right.", next_change=None)
    now = now.astimezone(UTC)
    inside = _lasting(spans, now)
    if inside is None:
        return _outside(spans, freezes, now)
    span, _ = inside
    closes = _end_of_all(spans, now)
    until = f": open until {_clock(closes, span)}" if closes else ""
    return Opening(is_open=True, evidence=f"Inside the window {span}{until}.", next_change=closes)


def is_on(spans: Sequence[Span], at: datetime) -> bool:
    """Whether one of these is on at this time (aware)."""
    return _lasting(spans, at.astimezone(UTC)) is not None


def freezes(spans: Sequence[Span], windows: Sequence[Span], now: datetime) -> Opening:
    """Whether none of these freezes is on. The windows only count for when a deploy may begin."""
    now = now.astimezone(UTC)
    frozen = _lasting(spans, now)
    if frozen is None:
        return _not_frozen(spans, now)
    span, _ = frozen
    ends = _end_of_all((span,), now)
    begin = _first_chance(windows, spans, now)
    why = f" ({one_line(span.reason)})" if span.reason else ""
    evidence = f"Frozen{why} until {_clock(ends, span)}." if ends else f"Frozen{why}: {span}."
    if begin is None:
        evidence += f" {_NO_CHANCE}"
    elif begin != ends:
        evidence += f" A deploy may begin {_clock(begin, span)}."
    return Opening(is_open=False, evidence=evidence, next_change=begin)


def _outside(spans: Sequence[Span], freezes: Sequence[Span], now: datetime) -> Opening:
    """No window is open: which one is next, and whether a freeze lets it."""
    none = "" if len(spans) == 1 else f"None of the {len(spans)} windows is open. "
    begins, begin = _next(spans, now), _first_chance(spans, freezes, now)
    if begins is None:
        evidence = f"{none}No window opens any more: change the settings."
        return Opening(is_open=False, evidence=evidence, next_change=None)
    span, opens = begins
    evidence = f"{none}The window {span} opens {_clock(opens, span)}."
    if begin is None:
        evidence += f" {_NO_CHANCE}"
    elif begin != opens:
        evidence += f" It is frozen then: a deploy may begin {_clock(begin, span)}."
    return Opening(is_open=False, evidence=evidence, next_change=begin)


def _not_frozen(spans: Sequence[Span], now: datetime) -> Opening:
    begins = _next(spans, now)
    if begins is None:
        return Opening(is_open=True, evidence="No freeze is on, and none comes.", next_change=None)
    span, at = begins
    why = f" ({one_line(span.reason)})" if span.reason else ""
    evidence = f"No freeze is on. The next{why} begins {_clock(at, span)}."
    return Opening(is_open=True, evidence=evidence, next_change=at)


# --- the search ---------------------------------------------------------------------------------------------


def _first_chance(windows: Sequence[Span], freezes: Sequence[Span], now: datetime) -> datetime | None:
    """The first time, now or later, that is in a window (if there are any) and in no freeze."""
    at = now
    for _ in range(_LOOKS // (2 * len(windows) + len(freezes))):
        if (frozen := _lasting(freezes, at)) is not None:
            _, at = frozen
        elif not windows or _lasting(windows, at) is not None:
            return at
        elif (begins := _next(windows, at)) is not None:
            _, at = begins
        else:
            return None
    return None


def _end_of_all(spans: Sequence[Span], now: datetime) -> datetime | None:
    """The first time, now or later, when none of these is on."""
    at = now
    for _ in range(_LOOKS // len(spans)):
        lasting = _lasting(spans, at)
        if lasting is None:
            return at
        _, at = lasting
    return None


def _lasting(spans: Sequence[Span], at: datetime) -> tuple[Span, datetime] | None:
    """What is on at this time, and when it ends: of several the one that ends last."""
    found = [(span, end) for span in spans if (end := _end(span, at)) is not None]
    return max(found, key=itemgetter(1), default=None)


def _next(spans: Sequence[Span], after: datetime) -> tuple[Span, datetime] | None:
    """What begins first after this time, and when."""
    found = [(span, begin) for span in spans if (begin := _begin(span, after)) is not None]
    return min(found, key=itemgetter(1), default=None)


def _end(span: Span, at: datetime) -> datetime | None:
    """When the occurrence that is on at this time ends; None if none is."""
    match span:
        case Fixed():
            begins, ends = span.begins.astimezone(UTC), span.ends.astimezone(UTC)
            return ends if begins <= at < ends else None
        case Recurring():
            try:
                end = _last_beginning(span, at) + timedelta(seconds=span.duration)
            # Time has an end for Python: behind a freeze until 9999 nothing can be said.
            except _OUT_OF_TIME:
                return None
            return end if at < end else None
        case _:
            assert_never(span)


def _begin(span: Span, after: datetime) -> datetime | None:
    """When it begins next after this time; None if it does not any more."""
    match span:
        case Fixed():
            begins = span.begins.astimezone(UTC)
            return begins if after < begins else None
        case Recurring():
            try:
                return _next_beginning(span, after)
            except _OUT_OF_TIME:
                return None
        case _:
            assert_never(span)


# --- clocks -------------------------------------------------------------------------------------------------
# cronsim is given what a clock shows, without its zone: with one it goes by whole hours, and loses its way
# where clocks are changed by half of one (2.8: `*/15 2 * * *` on Lord Howe misses 02:00 on 2026-04-05).


def _last_beginning(span: Recurring, at: datetime) -> datetime:
    """The last beginning at or before this time. Raises one of _OUT_OF_TIME."""
    shown, again_after = _shown(span, at)
    found: list[datetime] = []
    walls = CronSim(span.cron, shown + again_after + _SECOND, reverse=True)
    while True:
        wall = next(walls)
        found += [one for one in _times(span, wall) if one <= at]
        # What is shown twice comes in another order than it happens.
        if found and wall <= shown:
            return max(found)


def _next_beginning(span: Recurring, after: datetime) -> datetime:
    """The first beginning after this time. Raises one of _OUT_OF_TIME."""
    shown, again_after = _shown(span, after)
    found: list[datetime] = []
    walls = CronSim(span.cron, shown - again_after)
    while True:
        wall = next(walls)
        found += [one for one in _times(span, wall) if one > after]
        if found and wall > shown:
            return min(found)


def _shown(span: Recurring, at: datetime) -> tuple[datetime, timedelta]:
    """What the clock shows then, to the second, and after how long it shows that again; 0 if it does not."""
    shown = at.astimezone(ZoneInfo(span.time_zone)).replace(tzinfo=None, microsecond=0, fold=0)
    first, second = _twice(span, shown)
    return shown, second - first


def _times(span: Recurring, wall: datetime) -> tuple[datetime, ...]:
    """When what begins as the clock shows this begins: once, or twice where it shows it twice."""
    first, second = _twice(span, wall)
    while second < first:
        wall += _MINUTE
        first, second = _twice(span, wall)
    minute, hour, *_ = span.cron.split()
    is_every = minute.startswith("*") or hour.startswith("*")
    return (first, second) if is_every and first < second else (first,)


def _twice(span: Recurring, wall: datetime) -> tuple[datetime, datetime]:
    """The first and the second time at which the clock shows this; mostly they are one.

    For what it never shows, because clocks are put forward, the second is before the first (PEP 495).
    """
    first = wall.replace(tzinfo=ZoneInfo(span.time_zone))
    return first.astimezone(UTC), first.replace(fold=1).astimezone(UTC)


def _clock(at: datetime, span: Span) -> str:
    """A time as people read it there, and in UTC: `Mon 2026-11-30 09:00 (08:00 UTC)`."""
    zone = span.begins.tzinfo if isinstance(span, Fixed) else ZoneInfo(span.time_zone)
    there, utc = at.astimezone(zone), at.astimezone(UTC)
    shown = f"{_day(there)} {_hour(there)}"
    if there.utcoffset() == _NOTHING:
        return f"{shown} UTC"
    other_day = "" if there.date() == utc.date() else f"{_day(utc)} "
    return f"{shown} ({other_day}{_hour(utc)} UTC)"


def _day(at: datetime) -> str:
    return f"{_DAYS[at.weekday()]} {at:%Y-%m-%d}"


def _hour(at: datetime) -> str:
    return f"{at:%H:%M:%S}".removesuffix(":00")
