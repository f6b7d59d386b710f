"""What was live at a moment: a table of cases, and the same answer as a replay of the log."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import reduce
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.events import (
    Applied,
    Cancelled,
    Event,
    Failed,
    Good,
    Kind,
    Observed,
    Resubmitted,
    Started,
    State,
    Superseded,
)
from deployer.core.history import Entry, advance
from deployer.core.past import Standing, is_judging, refused, was_live, with_seen
from deployer.core.sentences import moment
from tests.support.build import applied, at, failed, observed, release, started

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployer.core.past import Past

A, B, C = release("a"), release("b"), release("c")


def entries(*events: Event) -> list[Entry]:
    """The rollouts of this log, in the order in which they began."""
    nothing: Mapping[str, Entry] = {}
    return list(reduce(advance, events, nothing).values())


def good(number: int, second: float) -> Good:
    """It ended well."""
    return Good(at=at(second), rollout=f"staging#{number}")


def asked(what: Any, number: int, second: float, kind: Kind = Kind.ROLLBACK) -> Started:
    """A rollout that is no deploy."""
    return started(what, number, kind, second, trigger="asked for")


def told(log: Sequence[Event], second: float) -> dict[str, Any]:
    """What matters of the answer, by name."""
    return flat(was_live("staging", entries(*log), at(second)))


def flat(past: Past) -> dict[str, Any]:
    """The same, of an answer."""
    live, attempt, way_back = past.live, past.attempt, past.good
    return {
        "live": live.rollout.id if live else None,
        "standing": live.standing.value if live else None,
        "since": live.since if live else None,
        "release_since": live.release_since if live else None,
        "until": past.until,
        "next": past.following.id if past.following else None,
        "first_at": past.first_at,
        "attempt": (attempt.rollout.id, attempt.result.value) if attempt else None,
        "good": (way_back.release.digest, way_back.rollout, way_back.at) if way_back else None,
    }


FIRST = (started(A, 1, second=10), applied(1, 11), good(1, 20))
"""A is good from second 20 on."""

FAILING = (started(B, 2, second=30), applied(2, 31), failed(2, 40))
"""And B is not."""

BACK = (asked(A, 3, 42), applied(3, 44), good(3, 50))
"""So A comes back."""

CASES: dict[str, tuple[tuple[Event, ...], float, dict[str, Any]]] = {
    "nothing ever": ((), 5, {"live": None, "first_at": None, "attempt": None, "good": None}),
    "before the first rollout": (
        FIRST,
        5,
        {"live": None, "first_at": at(11), "attempt": None, "until": None, "next": "staging#1"},
    ),
    "begun, and not taken": (FIRST, 10.5, {"live": None, "attempt": ("staging#1", "in_progress")}),
    "taken just then": (
        FIRST,
        11,
        {"live": "staging#1", "standing": "judging", "since": at(11), "attempt": None, "good": None},
    ),
    "judged": (FIRST, 19.9, {"standing": "judging", "good": None, "until": None, "next": None}),
    "good just then": (FIRST, 20, {"standing": "good", "good": (A.digest, "staging#1", at(20))}),
    "good, and the next is not taken yet": (
        (*FIRST, *FAILING),
        30,
        {"live": "staging#1", "standing": "good", "until": at(31), "attempt": ("staging#2", "in_progress")},
    ),
    "another is judged, the way back is the one before": (
        (*FIRST, *FAILING),
        35,
        {"live": "staging#2", "standing": "judging", "good": (A.digest, "staging#1", at(20))},
    ),
    "failed, and nothing follows yet": ((*FIRST, *FAILING, *BACK), 41, {"standing": "failed"}),
    "being rolled back": (
        (*FIRST, *FAILING, *BACK),
        43,
        {
            "live": "staging#2",
            "standing": "rolling_back",
            "attempt": ("staging#3", "in_progress"),
            "good": (A.digest, "staging#1", at(20)),
            "until": at(44),
        },
    ),
    "rolled back, and judged": (
        (*FIRST, *FAILING, *BACK),
        45,
        {
            "live": "staging#3",
            "standing": "judging",
            # Another release was there in between.
            "release_since": at(44),
            "good": (A.digest, "staging#1", at(20)),
        },
    ),
    "rolled back, and good again": (
        (*FIRST, *FAILING, *BACK),
        60,
        {"live": "staging#3", "standing": "good", "until": None, "good": (A.digest, "staging#3", at(50))},
    ),
    "a rollback that failed before it was taken": (
        (*FIRST, *FAILING, asked(A, 3, 42), failed(3, 48)),
        49,
        {"live": "staging#2", "standing": "failed", "attempt": ("staging#3", "failed")},
    ),
    "failed without ever being taken": (
        (*FIRST, started(B, 2, second=30), failed(2, 40)),
        50,
        {
            "live": "staging#1",
            "standing": "good",
            "since": at(11),
            "until": None,
            "attempt": ("staging#2", "failed"),
            "good": (A.digest, "staging#1", at(20)),
        },
    ),
    "healed: the release was there all along": (
        (*FIRST, asked(A, 2, 30, Kind.HEAL), applied(2, 31), good(2, 35)),
        40,
        {
            "live": "staging#2",
            "since": at(31),
            "release_since": at(11),
            "good": (A.digest, "staging#2", at(35)),
        },
    ),
    "what was never taken does not interrupt": (
        (*FIRST, started(B, 2, second=25), failed(2, 26), asked(A, 3, 30, Kind.RESTORE), applied(3, 31)),
        40,
        {"live": "staging#3", "since": at(31), "release_since": at(11), "standing": "judging"},
    ),
    "overtaken, and the next is not taken yet": (
        (*FIRST, *FAILING[:2], Superseded(at=at(33), rollout="staging#2", by="c"), started(C, 3, second=33)),
        34,
        {"live": "staging#2", "standing": "superseded", "attempt": ("staging#3", "in_progress")},
    ),
    "ended by a person who went back": (
        (*FIRST, *FAILING[:2], Cancelled(at=at(33), rollout="staging#2"), asked(A, 3, 33)),
        34,
        {"live": "staging#2", "standing": "cancelled", "attempt": ("staging#3", "in_progress")},
    ),
    "a person went back to what was good before": (
        (
            *FIRST,
            started(B, 2, second=30),
            applied(2, 31),
            good(2, 40),
            asked(A, 3, 50),
            applied(3, 51),
            failed(3, 60),
        ),
        55,
        # From when it began, however it ends.
        {"live": "staging#3", "standing": "judging", "good": (A.digest, "staging#1", at(20))},
    ),
    "nobody knows what had made it good": (
        (asked(A, 1, 10), applied(1, 11)),
        15,
        {"live": "staging#1", "good": (A.digest, None, None)},
    ),
    "only the first time that it was taken counts": (
        (*FIRST, Resubmitted(at=at(21), rollout="staging#1", cause="it was lost"), applied(1, 22)),
        30,
        {"since": at(11)},
    ),
    "a clock that was set back: the log's order decides": (
        (started(A, 1, second=100), applied(1, 101), good(1, 110), started(B, 2, second=50), applied(2, 51)),
        105,
        {"live": "staging#2", "since": at(51), "until": None, "good": None},
    ),
}


@pytest.mark.parametrize(("log", "second", "expected"), CASES.values(), ids=CASES)
def test_what_was_live(log: tuple[Event, ...], second: float, expected: dict[str, Any]) -> None:
    """One case each, with all that it is about."""
    found = told(log, second)

    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("seen", "standing"),
    [
        (None, Standing.JUDGING),
        (observed(2, 32), Standing.JUDGING),
        (observed(2, 32, settled=True), Standing.JUDGING),
        (observed(2, 32, sick=True), Standing.FAILING),
        (observed(2, 32, states=(State(app="fruit", status="DEPLOY_FAILED"),)), Standing.FAILING),
        (observed(2, 32, states=(State(app="fruit", status="UPDATING", failed_starts=1),)), Standing.FAILING),
        (observed(2, 32, states=(State(app="fruit", status="UPDATING"),)), Standing.JUDGING),
    ],
)
def test_what_was_seen_of_it_tells_whether_it_was_failing(seen: Observed | None, standing: Standing) -> None:
    """Sick, given up, or with failed starts; and then also what was seen is told."""
    past = was_live("staging", entries(*FIRST, *FAILING), at(35))
    told_more = with_seen(past, seen)

    assert is_judging(past)
    assert told_more.live is not None
    assert told_more.live.standing is standing
    assert bool(told_more.live.seen) is (standing is Standing.FAILING)


def test_what_was_seen_before_it_ended_changes_nothing() -> None:
    """It was good, or nothing was live at all."""
    was_good = was_live("staging", entries(*FIRST), at(30))
    was_nothing = was_live("staging", entries(*FIRST), at(1))
    sick = observed(1, 15, sick=True)

    assert (with_seen(was_good, sick), is_judging(was_good)) == (was_good, False)
    assert (with_seen(was_nothing, sick), is_judging(was_nothing)) == (was_nothing, False)


def test_a_moment_in_the_future_is_refused() -> None:
    """With both times, and what to type; now and before can be told."""
    why = refused("staging", at(60), at(0))

    assert why == (
        "2026-11-22 10:43:00 UTC is in the future, it is 2026-11-22 10:42:00 UTC now: nobody knows what will"
        " be live then. `deployer history staging --at now` tells what is."
    )
    assert refused("staging", at(0), at(0)) is None
    assert moment(at(3)) == "2026-11-22 10:42:03 UTC"
    last = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))
    assert (refused("staging", last, at(0)) or "").startswith("9999-12-31 23:00:00-05:00 is in the future")


# --- the same as a replay ----------------------------------------------------------------------------------

GAPS = st.integers(min_value=0, max_value=20)
ANY_GAPS = st.integers(min_value=-30, max_value=20)
"""A clock that is set back now and then."""

ENDS = st.sampled_from(["good", "failed", "superseded", "cancelled"])


@st.composite
def logs(draw: st.DrawFn) -> list[Event]:
    """Rollouts one after another, of few releases: some are never taken, the last may be on its way."""
    gaps = draw(st.sampled_from([GAPS, ANY_GAPS]))
    now = 0
    found: list[Event] = []
    count = draw(st.integers(min_value=0, max_value=8))
    for number in range(1, count + 1):
        rollout = f"staging#{number}"
        now += draw(gaps)
        kind = draw(st.sampled_from([Kind.DEPLOY, Kind.DEPLOY, *Kind]))
        found.append(started(draw(st.sampled_from([A, B, C])), number, kind, now))
        is_last = number == count
        puts = draw(st.integers(min_value=0, max_value=2))
        for _ in range(puts):
            now += draw(gaps)
            found.append(Applied(at=at(now), rollout=rollout))
        end = draw(ENDS) if not is_last or draw(st.booleans()) else ""
        now += draw(gaps)
        match end:
            case "good" if puts:
                found.append(good(number, now))
            case "failed" | "good":
                found.append(failed(number, now))
            case "superseded":
                found.append(Superseded(at=at(now), rollout=rollout, by="next"))
            case "cancelled":
                found.append(Cancelled(at=at(now), rollout=rollout))
            case _:
                pass
    return found


def replayed(log: Sequence[Event], second: float) -> dict[str, Any]:
    """The same answer by playing the log again, event after event, without the later ones."""
    of: dict[str, Started] = {}
    first_put: dict[str, Applied] = {}
    for event in log:
        if isinstance(event, Started):
            of[event.rollout] = event
        elif isinstance(event, Applied):
            first_put.setdefault(event.rollout, event)
    live, ended, way_back = "", {}, None
    made: dict[str, tuple[str, Any]] = {}
    for event in log:
        if event.at > at(second):
            continue
        match event:
            case Started(kind=kind, release=what) if kind is not Kind.DEPLOY:
                way_back = what.digest
            case Applied(rollout=rollout) if first_put[rollout] is event:
                live = rollout
            case Good(rollout=rollout):
                ended[rollout] = "good"
                way_back = of[rollout].release.digest
                made[way_back] = (rollout, event.at)
            case Failed(rollout=rollout) | Superseded(rollout=rollout) | Cancelled(rollout=rollout):
                ended[rollout] = event.type
            case _:
                pass
    names = list(of)
    later = names[names.index(live) + 1 :] if live else names
    begun = [one for one in later if of[one].at <= at(second)]
    following = next((one for one in later if one in first_put), None)
    next_at = first_put[following].at if following else None
    standing = ended.get(live, "judging") if live else None
    is_going_back = any(of[one].kind is Kind.ROLLBACK and one not in ended for one in begun)
    since = None
    for one in reversed(names[: names.index(live) + 1] if live else []):
        if one in first_put and of[one].release.digest != of[live].release.digest:
            break
        since = first_put[one].at if one in first_put else since
    return {
        "live": live or None,
        "standing": "rolling_back" if standing == "failed" and is_going_back else standing,
        "since": first_put[live].at if live else None,
        "release_since": since,
        "until": next_at if live else None,
        "next": following,
        "first_at": None if live else next_at,
        "attempt": (begun[-1], ended.get(begun[-1], "in_progress")) if begun else None,
        "good": (way_back, *made.get(way_back, (None, None))) if way_back else None,
    }


@given(log=logs(), second=st.integers(min_value=-40, max_value=300))
def test_it_is_what_a_replay_of_the_log_finds(log: list[Event], second: int) -> None:
    """Whatever happened, whenever somebody asks, and also where the clock was set back."""
    assert told(log, second) == replayed(log, second)


@given(log=logs(), second=st.integers(min_value=0, max_value=300))
def test_what_is_told_was_known_by_then(log: list[Event], second: int) -> None:
    """What happened later changes nothing of it, but for what followed."""
    known = [event for event in log if event.at <= at(second)]
    if any(one.at > two.at for one, two in pairwise(log)):
        return
    later, then = told(log, second), told(known, second)

    assert {**later, "until": None, "next": None, "first_at": None} == then
