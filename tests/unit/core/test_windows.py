"""When deploys may begin: every change of a clock, every overlap, and the sentences; a slow model agrees."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.core import windows as module
from deployer.core.windows import Fixed, Opening, Recurring, Span, check_cron, freezes, windows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HOUR = 3600.0
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


def at(text: str) -> datetime:
    """A time; UTC if it says nothing else."""
    read = datetime.fromisoformat(text)
    return read if read.tzinfo else read.replace(tzinfo=UTC)


def utc(text: str) -> datetime:
    """A time with its offset, in UTC."""
    return at(text).astimezone(UTC)


def recurring(cron: str, hours: float, zone: str = "Europe/Berlin", reason: str = "") -> Recurring:
    """One that lasts so many hours."""
    return Recurring(cron=cron, duration=hours * HOUR, time_zone=zone, reason=reason)


def fixed(begins: str, ends: str, zone: str = "UTC", reason: str = "") -> Fixed:
    """One by the clock of a zone."""
    there = ZoneInfo(zone)
    return Fixed(
        begins=datetime.fromisoformat(begins).replace(tzinfo=there),
        ends=datetime.fromisoformat(ends).replace(tzinfo=there),
        reason=reason,
    )


def openings(span: Span, begin: str, count: int) -> list[tuple[datetime, datetime]]:
    """The first times that the span is open from then on, each from when until when."""
    now = at(begin)
    found: list[tuple[datetime, datetime]] = []
    while len(found) < count:
        opening = windows((span,), (), now)
        assert opening.next_change is not None
        if opening.is_open:
            found.append((now, opening.next_change))
        now = opening.next_change
    return found


def by_clock(span: Span, times: tuple[datetime, datetime]) -> tuple[str, str]:
    """Times as the span's own clock shows them, with the offset that says which of two is meant."""
    zone = ZoneInfo(span.time_zone) if isinstance(span, Recurring) else UTC
    first, last = (one.astimezone(zone).strftime("%d %H:%M %z") for one in times)
    return first, last


NIGHT = [
    # A clock in Berlin goes from 02:00 to 03:00 on 29 March, and from 03:00 to 02:00 on 25 October.
    pytest.param(
        recurring("30 2 * * *", 1),
        "2026-03-28T12:00",
        [("29 03:00 +0200", "29 04:00 +0200"), ("30 02:30 +0200", "30 03:30 +0200")],
        id="what begins in the hour that is left out begins after it",
    ),
    pytest.param(
        recurring("0 1 * * *", 2),
        "2026-03-28T12:00",
        [("29 01:00 +0100", "29 04:00 +0200"), ("30 01:00 +0200", "30 03:00 +0200")],
        id="two hours are two hours, whatever the clock shows",
    ),
    pytest.param(
        recurring("30 2 * * *", 0.5),
        "2026-10-24T12:00",
        [("25 02:30 +0200", "25 02:00 +0100"), ("26 02:30 +0100", "26 03:00 +0100")],
        id="what is there twice begins the first time",
    ),
    pytest.param(
        recurring("50 2 * * *", 1),
        "2026-10-24T12:00",
        [("25 02:50 +0200", "25 02:50 +0100")],
        id="and lasts while the clock shows less than when it began",
    ),
    pytest.param(
        recurring("*/30 2 * * *", 0.25),
        "2026-10-24T12:00",
        [
            ("25 02:00 +0200", "25 02:15 +0200"),
            ("25 02:30 +0200", "25 02:45 +0200"),
            ("25 02:00 +0100", "25 02:15 +0100"),
            ("25 02:30 +0100", "25 02:45 +0100"),
            ("26 02:00 +0100", "26 02:15 +0100"),
            ("26 02:30 +0100", "26 02:45 +0100"),
        ],
        id="what begins every so often begins each time",
    ),
    pytest.param(
        recurring("0 */2 * * *", 1),
        "2026-10-25T00:00",
        [("25 02:00 +0200", "25 03:00 +0100"), ("25 04:00 +0100", "25 05:00 +0100")],
        id="every two hours: the one at two is there twice, and touches itself",
    ),
    # New York: 8 March and 1 November.
    pytest.param(
        recurring("15 2 * * *", 1, "America/New_York"),
        "2026-03-08T00:00",
        [("08 03:00 -0400", "08 04:00 -0400")],
        id="New York, forward",
    ),
    pytest.param(
        recurring("15 1 * * *", 2, "America/New_York"),
        "2026-11-01T00:00",
        [("01 01:15 -0400", "01 02:15 -0500")],
        id="New York, back",
    ),
    # Lord Howe changes by half an hour: 02:00 is 02:30 on 4 October, and 01:30 on 5 April.
    pytest.param(
        recurring("0 2 * * *", 1, "Australia/Lord_Howe"),
        "2026-10-03T12:00",
        [("04 02:30 +1100", "04 03:30 +1100")],
        id="Lord Howe, forward",
    ),
    pytest.param(
        recurring("45 1 * * *", 0.25, "Australia/Lord_Howe"),
        "2026-04-04T12:00",
        [("05 01:45 +1100", "05 01:30 +1030")],
        id="Lord Howe, back",
    ),
    pytest.param(
        recurring("*/30 2 * * *", 0.25, "Australia/Lord_Howe"),
        "2026-04-04T12:00",
        [("05 02:00 +1030", "05 02:15 +1030"), ("05 02:30 +1030", "05 02:45 +1030")],
        id="Lord Howe, back: cronsim alone misses 02:00",
    ),
    # Havana has no midnight on 8 March 2026, Samoa had no 30 December 2011.
    pytest.param(
        recurring("0 0 * * *", 1, "America/Havana"),
        "2026-03-08T00:00",
        [("08 01:00 -0400", "08 02:00 -0400")],
        id="a day without its midnight",
    ),
    pytest.param(
        recurring("0 12 30 12 *", 1, "Pacific/Apia"),
        "2011-12-30T00:00",
        [("31 00:00 +1400", "31 01:00 +1400")],
        id="a day that was left out",
    ),
    # The calendar.
    pytest.param(
        recurring("0 0 29 2 *", 24, "UTC"),
        "2027-12-31T00:00",
        [("29 00:00 +0000", "01 00:00 +0000")],
        id="a leap day",
    ),
    pytest.param(
        recurring("0 22 31 12 *", 4, "UTC"),
        "2026-12-31T00:00",
        [("31 22:00 +0000", "01 02:00 +0000")],
        id="over the end of the year",
    ),
    pytest.param(
        recurring("0 12 L * *", 1, "UTC"),
        "2026-02-01T00:00",
        [("28 12:00 +0000", "28 13:00 +0000")],
        id="the last day of a month",
    ),
    # Overlapping occurrences.
    pytest.param(
        recurring("0 9,11 * * *", 3, "UTC"),
        "2026-11-23T00:00",
        [("23 09:00 +0000", "23 14:00 +0000")],
        id="occurrences that overlap are one",
    ),
    pytest.param(
        recurring("0 9,11 * * *", 2, "UTC"),
        "2026-11-23T00:00",
        [("23 09:00 +0000", "23 13:00 +0000")],
        id="and those that touch",
    ),
    pytest.param(
        recurring("0 0 * * FRI", 72, "UTC"),
        "2026-11-23T00:00",
        [("27 00:00 +0000", "30 00:00 +0000")],
        id="longer than a day",
    ),
    pytest.param(
        fixed("2026-11-24T09:00", "2026-11-24T10:30"),
        "2026-11-23T00:00",
        [("24 09:00 +0000", "24 10:30 +0000")],
        id="once",
    ),
]


@pytest.mark.parametrize(("span", "begin", "expected"), NIGHT)
def test_when_it_is_open(span: Span, begin: str, expected: list[tuple[str, str]]) -> None:
    """From one change to the next, and asked at any time in between."""
    found = openings(span, begin, len(expected))
    assert [by_clock(span, one) for one in found] == expected
    first, last = found[0][0] - timedelta(hours=1), found[-1][1] + timedelta(minutes=5)
    for minutes in range(0, int((last - first) / MINUTE), 10):
        now = first + minutes * MINUTE
        is_open = any(begin <= now < end for begin, end in found)
        assert windows((span,), (), now).is_open is is_open, now


def test_a_weekday_counts_beside_a_day_of_the_month() -> None:
    """Where both are said, one is enough, as in every cron."""
    both = recurring("0 0 13 * FRI", 1, "UTC")
    assert [one.day for one, _ in openings(both, "2026-11-01T00:00", 3)] == [6, 13, 20]


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "why"),
    [
        ("0 0 30 2 *", "has a day-of-month that cannot be read, or never comes"),
        ("0 0 31 2,4 *", "has a day-of-month that cannot be read, or never comes"),
        ("0 0 */29 2 MON#2", "never comes: there is no such day"),
        ("60 0 * * *", "has a minute that cannot be read"),
        ("0 24 * * *", "has a hour that cannot be read"),
        ("0 0 * * MO", "has a day-of-week that cannot be read"),
        (f"{'1' * 5000} 0 * * *", "has a number that cannot be read"),
        ("0 9 * *", "has 4 of the five fields"),
        ("0 0 9 * * *", "has 6 of the five fields"),
        ("", "has 0 of the five fields"),
    ],
)
def test_crons_that_are_refused(cron: str, why: str) -> None:
    """With a sentence that says where."""
    with pytest.raises(ValueError, match=r"\A'") as caught:
        check_cron(cron)
    assert why in str(caught.value)
    assert len(str(caught.value)) < 200


@given(st.text("0123456789*/,-#LWMONSUJAX ²\t", max_size=30))
def test_anything_is_a_cron_or_a_sentence(text: str) -> None:
    """No other exception."""
    with suppress(ValueError):
        check_cron(text)


def test_a_rare_day_is_one_all_the_same() -> None:
    """A fifth Monday in February comes every 28 years."""
    rare = recurring("0 0 * 2 MON#5", 1, "UTC")
    assert windows((rare,), (), at("2026-11-23")).next_change == at("2044-02-29")


@pytest.mark.parametrize("zone", ["Europe/Berln", "Europe", "", "../etc/passwd", "Europe/\0"])
def test_zones_that_are_refused(zone: str) -> None:
    """A folder of the database is none either."""
    with pytest.raises(ValueError, match="there is no time zone"):
        recurring("0 9 * * *", 1, zone)


def test_times_that_are_refused() -> None:
    """Those without a zone, in the wrong order, or of no length."""
    with pytest.raises(ValueError, match="more than 0, and not 0 s"):
        recurring("0 9 * * *", 0)
    naive = at("2026-11-23").replace(tzinfo=None)
    for begins, ends in ((naive, at("2026-11-24")), (at("2026-11-22"), naive)):
        with pytest.raises(ValueError, match="need a time zone"):
            Fixed(begins=begins, ends=ends)
    with pytest.raises(ValueError, match="begins must be before ends"):
        fixed("2026-11-23", "2026-11-23")
    berlin = ZoneInfo("Europe/Berlin")
    first = datetime(2026, 10, 25, 2, 30, tzinfo=berlin)
    with pytest.raises(ValueError, match="begins must be before ends"):
        Fixed(begins=first.replace(fold=1), ends=first)
    hour = Fixed(begins=first, ends=first.replace(fold=1))
    assert windows((hour,), (), utc("2026-10-25T02:45+02:00")).is_open


# --- sentences ------------------------------------------------------------------------------------------

OFFICE = recurring("0 9 * * MON-THU", 8)
NEW_YORK = recurring("0 22 * * *", 1, "America/New_York")
WEEKEND = recurring("0 0 * * FRI", 72, "UTC", reason="weekend")
CHRISTMAS = fixed("2026-12-20", "2027-01-04", "Europe/Berlin", reason="Christmas")
ALWAYS = Recurring(cron="* * * * *", duration=60, time_zone="UTC", reason="closed for good")
MONDAY, THURSDAY, EVE = at("2026-11-23T10:00"), at("2026-11-26T17:00"), at("2026-12-24T18:00")
NO_CHANCE = "No later time was found that is in a window and in no freeze: change the settings."

WINDOWS = [
    pytest.param((), (), MONDAY, True, "No windows are set: every time is right.", None, id="none"),
    pytest.param(
        (OFFICE,),
        (),
        MONDAY,
        True,
        "Inside the window `0 9 * * MON-THU` for 8h (Europe/Berlin): open until Mon 2026-11-23 17:00"
        " (16:00 UTC).",
        "2026-11-23T16:00",
        id="open",
    ),
    pytest.param(
        (OFFICE,),
        (),
        THURSDAY,
        False,
        "The window `0 9 * * MON-THU` for 8h (Europe/Berlin) opens Mon 2026-11-30 09:00 (08:00 UTC).",
        "2026-11-30T08:00",
        id="closed",
    ),
    pytest.param(
        (OFFICE, NEW_YORK),
        (),
        THURSDAY,
        False,
        "None of the 2 windows is open. The window `0 22 * * *` for 1h (America/New_York) opens Thu"
        " 2026-11-26 22:00 (Fri 2026-11-27 03:00 UTC).",
        "2026-11-27T03:00",
        id="the next of two",
    ),
    pytest.param(
        (OFFICE,),
        (CHRISTMAS,),
        EVE,
        False,
        "The window `0 9 * * MON-THU` for 8h (Europe/Berlin) opens Mon 2026-12-28 09:00 (08:00 UTC). It is"
        " frozen then: a deploy may begin Mon 2027-01-04 09:00 (08:00 UTC).",
        "2027-01-04T08:00",
        id="the next one is frozen",
    ),
    pytest.param(
        (OFFICE,),
        (ALWAYS,),
        EVE,
        False,
        "The window `0 9 * * MON-THU` for 8h (Europe/Berlin) opens Mon 2026-12-28 09:00 (08:00 UTC)."
        f" {NO_CHANCE}",
        None,
        id="a freeze without an end",
    ),
    pytest.param(
        (fixed("2026-11-22", "2026-11-23"),),
        (),
        MONDAY,
        False,
        "No window opens any more: change the settings.",
        None,
        id="over",
    ),
    pytest.param(
        (fixed("2026-11-23", "2026-11-24"),),
        (),
        MONDAY,
        True,
        "Inside the window from Mon 2026-11-23 00:00 UTC to Tue 2026-11-24 00:00 UTC: open until Tue"
        " 2026-11-24 00:00 UTC.",
        "2026-11-24",
        id="once, with a name of its own",
    ),
    pytest.param(
        (ALWAYS,),
        (),
        MONDAY,
        True,
        "Inside the window `* * * * *` for 1m (UTC).",
        None,
        id="a window without an end",
    ),
]
FREEZES = [
    pytest.param((), (), MONDAY, True, "No freeze is on, and none comes.", None, id="none"),
    pytest.param(
        (CHRISTMAS, WEEKEND),
        (),
        MONDAY,
        True,
        "No freeze is on. The next (weekend) begins Fri 2026-11-27 00:00 UTC.",
        "2026-11-27",
        id="the next of two",
    ),
    pytest.param(
        (replace(WEEKEND, reason=""),),
        (),
        MONDAY,
        True,
        "No freeze is on. The next begins Fri 2026-11-27 00:00 UTC.",
        "2026-11-27",
        id="without a reason",
    ),
    pytest.param(
        (CHRISTMAS,),
        (),
        EVE,
        False,
        "Frozen (Christmas) until Mon 2027-01-04 00:00 (Sun 2027-01-03 23:00 UTC).",
        "2027-01-03T23:00",
        id="frozen",
    ),
    pytest.param(
        (fixed("2026-11-23", "2026-11-23T10:00:30"),),
        (),
        MONDAY,
        False,
        "Frozen until Mon 2026-11-23 10:00:30 UTC.",
        "2026-11-23T10:00:30",
        id="without a reason, and by the second",
    ),
    pytest.param(
        (CHRISTMAS,),
        (OFFICE,),
        EVE,
        False,
        "Frozen (Christmas) until Mon 2027-01-04 00:00 (Sun 2027-01-03 23:00 UTC). A deploy may begin Mon"
        " 2027-01-04 09:00 (08:00 UTC).",
        "2027-01-04T08:00",
        id="and then outside of the windows",
    ),
    pytest.param(
        (CHRISTMAS, fixed("2027-01-03T12:00", "2027-01-05", reason="inventory")),
        (),
        EVE,
        False,
        "Frozen (Christmas) until Mon 2027-01-04 00:00 (Sun 2027-01-03 23:00 UTC). A deploy may begin Tue"
        " 2027-01-05 01:00 (00:00 UTC).",
        "2027-01-05",
        id="another freeze follows",
    ),
    pytest.param(
        (WEEKEND, CHRISTMAS),
        (),
        at("2026-12-20T12:00"),
        False,
        "Frozen (Christmas) until Mon 2027-01-04 00:00 (Sun 2027-01-03 23:00 UTC). A deploy may begin Mon"
        " 2027-01-04 01:00 (00:00 UTC).",
        "2027-01-04",
        id="of two the one that ends last",
    ),
    pytest.param(
        (ALWAYS,),
        (),
        MONDAY,
        False,
        f"Frozen (closed for good): `* * * * *` for 1m (UTC). {NO_CHANCE}",
        None,
        id="without an end",
    ),
    pytest.param(
        (replace(CHRISTMAS, reason="a\x1b[2Jb"),),
        (),
        EVE,
        False,
        "Frozen (a\\x1b[2Jb) until Mon 2027-01-04 00:00 (Sun 2027-01-03 23:00 UTC).",
        "2027-01-03T23:00",
        id="a reason moves no cursor",
    ),
]


def told(opening: Opening, evidence: str, change: str | None, *, is_open: bool) -> None:
    """This is the verdict, its sentence, and when it is another."""
    assert (opening.is_open, opening.evidence) == (is_open, evidence)
    assert opening.next_change == (change and at(change))


@pytest.mark.parametrize(("spans", "denying", "now", "is_open", "evidence", "change"), WINDOWS)
def test_what_is_said_of_windows(
    spans: tuple[Span, ...],
    denying: tuple[Span, ...],
    now: datetime,
    is_open: bool,
    evidence: str,
    change: str | None,
) -> None:
    """Which one, in whose time, and when it changes."""
    told(windows(spans, denying, now), evidence, change, is_open=is_open)


@pytest.mark.parametrize(("spans", "allowing", "now", "is_open", "evidence", "change"), FREEZES)
def test_what_is_said_of_freezes(
    spans: tuple[Span, ...],
    allowing: tuple[Span, ...],
    now: datetime,
    is_open: bool,
    evidence: str,
    change: str | None,
) -> None:
    """Why, until when, and when a deploy may begin if that is not the same."""
    told(freezes(spans, allowing, now), evidence, change, is_open=is_open)


def test_the_zone_in_which_now_is_told_does_not_matter() -> None:
    """Nor does a fraction of a second before the next beginning."""
    there = EVE.astimezone(ZoneInfo("Asia/Kathmandu"))
    assert freezes((CHRISTMAS,), (OFFICE,), there) == freezes((CHRISTMAS,), (OFFICE,), EVE)
    assert windows((OFFICE,), (), there) == windows((OFFICE,), (), EVE)
    begin = at("2026-11-30T08:00")
    moment = begin - timedelta(microseconds=1)
    assert windows((OFFICE,), (), moment).next_change == begin
    assert not windows((OFFICE,), (), moment).is_open
    assert windows((OFFICE,), (), begin + timedelta(microseconds=1)).is_open


# --- it is never looked for long ------------------------------------------------------------------------


class Counting(tuple[Span, ...]):  # noqa: SLOT001 - it counts, so it needs an attribute
    """Spans that count how often one of them is looked at."""

    looks = 0

    def __iter__(self) -> Iterator[Span]:
        """Give one after the other, and count."""
        for span in super().__iter__():
            self.looks += 1
            yield span


def test_a_long_freeze_is_one_step() -> None:
    """However many windows would have opened in it."""
    decade, minutes = Counting((fixed("2026-01-01", "2036-01-01"),)), Counting((ALWAYS,))
    assert freezes(decade, minutes, MONDAY).next_change == at("2036-01-01")
    assert decade.looks + minutes.looks < 10


DAILY = recurring("0 9 * * *", 1)


@pytest.mark.parametrize("ask", [windows, freezes])
@pytest.mark.parametrize(
    ("spans", "others"),
    [
        pytest.param((DAILY,), (DAILY,), id="they begin together each day"),
        pytest.param((ALWAYS,) * 7, (ALWAYS,) * 7, id="on in every minute"),
        pytest.param((ALWAYS,) * 5000, (), id="more than may be looked at"),
    ],
)
def test_looking_has_an_end(
    ask: Callable[[Sequence[Span], Sequence[Span], datetime], Opening],
    spans: tuple[Span, ...],
    others: tuple[Span, ...],
) -> None:
    """Where there is no time at all, it gives up."""
    counted, more = Counting(spans), Counting(others)
    opening = ask(counted, more, at("2026-11-23T08:30"))
    assert opening.next_change == (at("2026-11-23T09:00") if opening.is_open and spans == (DAILY,) else None)
    # Two searches, and what is looked at before them.
    assert counted.looks + more.looks < 2 * module._LOOKS + 4 * len(spans)


def test_time_has_an_end() -> None:
    """A freeze until Python's last day, or a clock that shows its first."""
    forever = fixed("2026-01-01", "9999-12-31T23:59")
    assert freezes((forever,), (OFFICE,), MONDAY).next_change is None
    assert freezes((forever,), (), MONDAY).next_change == at("9999-12-31T23:59")
    leap = recurring("0 0 29 2 *", 1, "UTC")
    assert not windows((leap,), (), datetime(1, 1, 2, tzinfo=UTC)).is_open


# --- a slow model ---------------------------------------------------------------------------------------

MINUTES = [("0", {0}), ("30", {30}), ("5,50", {5, 50}), ("*/20", {0, 20, 40}), ("*", set(range(60)))]
HOURS = [
    ("0", {0}),
    ("2", {2}),
    ("1-3", {1, 2, 3}),
    ("9", {9}),
    ("*/6", {0, 6, 12, 18}),
    ("*", set(range(24))),
]
DAYS = [("*", set(range(1, 32))), ("1", {1}), ("7-21", set(range(7, 22)))]
WEEKDAYS = [("*", set(range(7))), ("SUN", {6}), ("MON-FRI", set(range(5))), ("6", {5})]
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",
    "America/Santiago",
    "Asia/Kathmandu",
    "Africa/Casablanca",
)


@dataclass(frozen=True)
class Modelled:
    """A recurring span, and what its fields mean by the model's own reading."""

    span: Recurring
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    weekdays: frozenset[int]

    def matches(self, wall: datetime) -> bool:
        """Whether a clock that shows this shows a time of the expression."""
        if wall.minute not in self.minutes or wall.hour not in self.hours:
            return False
        _, _, day, _, weekday = self.span.cron.split()
        here = (wall.day in self.days, wall.weekday() in self.weekdays)
        return all(here) if "*" in {day, weekday} else any(here)

    def begins(self, before: datetime, now: datetime) -> bool:
        """Whether it begins now; `before` is what the clock showed a minute ago."""
        left_out = before.replace(fold=0) + MINUTE
        while left_out < now:
            if self.matches(left_out):
                return True
            left_out += MINUTE
        is_every = any(field.startswith("*") for field in self.span.cron.split()[:2])
        return self.matches(now) and (is_every or not now.fold)

    def on(self, begin: datetime, minutes: int) -> list[bool]:
        """For each of these minutes, whether it is on."""
        lasts = int(self.span.duration // 60)
        zone = ZoneInfo(self.span.time_zone)
        clock = [
            (begin + index * MINUTE).astimezone(zone).replace(tzinfo=None)
            for index in range(-lasts - 1, minutes)
        ]
        left, found = 0, []
        for before, now in pairwise(clock):
            left = lasts if self.begins(before, now) else left - 1
            found.append(left > 0)
        return found[lasts:]


def changes(zone: str) -> list[datetime]:
    """The days in 2026 on which the clocks of this zone change; New Year where they never do."""
    days = [at("2026-01-01") + timedelta(days=day) for day in range(366)]
    found = [
        day
        for day, next_day in pairwise(days)
        if day.astimezone(ZoneInfo(zone)).utcoffset() != next_day.astimezone(ZoneInfo(zone)).utcoffset()
    ]
    return found or [at("2027-01-01")]


NEAR = sorted({day for zone in ZONES for day in changes(zone)})


@st.composite
def modelled(draw: st.DrawFn) -> Modelled:
    """Any of the expressions, in any of the zones, for up to a day and a half."""
    fields = [draw(st.sampled_from(choices)) for choices in (MINUTES, HOURS, DAYS, WEEKDAYS)]
    (minute, minutes), (hour, hours), (day, days), (weekday, weekdays) = fields
    lasts = draw(st.sampled_from((1, 7, 45, 60, 90, 8 * 60, 36 * 60)))
    zone = draw(st.sampled_from(ZONES))
    cron = f"{minute} {hour} {day} * {weekday}"
    span = Recurring(cron=cron, duration=lasts * 60.0, time_zone=zone)
    return Modelled(span, *map(frozenset, (minutes, hours, days, weekdays)))


moments = st.builds(
    lambda day, minutes: day + timedelta(minutes=minutes), st.sampled_from(NEAR), st.integers(-1440, 2 * 1440)
)
LOOKED = 36 * 60
"""Minutes that the model looks ahead."""


def first_other(flags: Sequence[bool], wanted: bool) -> int | None:
    """The first minute that is as wanted."""
    return next((index for index, flag in enumerate(flags) if flag is wanted), None)


@settings(max_examples=40, deadline=None)
@given(
    allowing=st.lists(modelled(), max_size=2),
    denying=st.lists(modelled(), max_size=2),
    now=moments,
    second=st.integers(0, 59),
)
def test_the_model_agrees(
    allowing: list[Modelled], denying: list[Modelled], now: datetime, second: int
) -> None:
    """What is open, and when that changes, found by looking at every minute."""
    spans = tuple(one.span for one in allowing)
    frozen = tuple(one.span for one in denying)
    on = [one.on(now, LOOKED) for one in allowing]
    off = [one.on(now, LOOKED) for one in denying]
    inside = [not on or any(flags) for flags in (zip(*on, strict=True) if on else ((),) * LOOKED)]
    outside = [not any(flags) for flags in (zip(*off, strict=True) if off else ((),) * LOOKED)]
    both = [one and other for one, other in zip(inside, outside, strict=True)]
    moment = now + timedelta(seconds=second)
    for opening, flags in (
        (windows(spans, frozen, moment), inside),
        (freezes(frozen, spans, moment), outside),
    ):
        assert opening.is_open is flags[0]
        expected = first_other(flags, wanted=False) if opening.is_open else first_other(both, wanted=True)
        if expected is not None:
            assert opening.next_change == now + timedelta(minutes=expected)
        elif opening.next_change is not None:
            assert opening.next_change >= now + timedelta(minutes=LOOKED)


@settings(max_examples=25, deadline=None)
@given(allowing=st.lists(modelled(), max_size=2), denying=st.lists(modelled(), max_size=2), now=moments)
def test_it_changes_when_it_is_said_to(
    allowing: list[Modelled], denying: list[Modelled], now: datetime
) -> None:
    """One second before it has not changed, and then it has."""
    spans = tuple(one.span for one in allowing)
    frozen = tuple(one.span for one in denying)

    def may_begin(moment: datetime) -> bool:
        return windows(spans, frozen, moment).is_open and freezes(frozen, spans, moment).is_open

    def is_in_window(moment: datetime) -> bool:
        return windows(spans, frozen, moment).is_open

    def is_not_frozen(moment: datetime) -> bool:
        return freezes(frozen, spans, moment).is_open

    for opening, own in (
        (windows(spans, frozen, now), is_in_window),
        (freezes(frozen, spans, now), is_not_frozen),
    ):
        change = opening.next_change
        if change is None:
            continue
        assert change > now
        judge = own if opening.is_open else may_begin
        assert judge(change - SECOND) is opening.is_open
        assert judge(change) is not opening.is_open


@settings(max_examples=10, deadline=None)
@given(one=modelled(), now=moments)
def test_a_freeze_beats_the_same_window(one: Modelled, now: datetime) -> None:
    """Then there is no time at all."""
    opening = windows((one.span,), (one.span,), now)
    assert opening.is_open or opening.next_change is None
    assert windows((one.span,), (), now).is_open is not freezes((one.span,), (), now).is_open
