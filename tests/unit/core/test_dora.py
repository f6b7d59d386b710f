"""The four numbers of DORA: what counts, what does not, and how many samples each is made of."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core.dora import gather, numbers
from deployer.core.events import DAEMON, Kind
from deployer.core.history import Entry, Summary
from deployer.core.record import Result
from tests.support.build import START, at

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR, DAY = 3600.0, 86400.0
NOW = at(30 * DAY)


def rollout(
    number: int,
    *,
    end: float | None,
    result: Result = Result.GOOD,
    kind: Kind = Kind.DEPLOY,
    name: str = "",
    digest: str = "",
    committed: float | None = None,
    actor: str = DAEMON,
    start: float | None = None,
) -> Entry:
    """A rollout of commit `name` (its own, unless given) that ended `end` seconds after the beginning."""
    revision = name or f"commit {number}"
    started = start if start is not None else (end or 0.0) - 60
    return Entry(
        id=f"staging#{number}",
        environment="staging",
        kind=kind,
        release=Summary(
            revision=revision,
            digest=digest or f"digest of {revision}",
            subject="",
            author="",
            committed_at=None if committed is None else at(committed),
        ),
        trigger="push",
        actor=actor,
        started_at=at(started),
        finished_at=None if end is None else at(end),
        result=result,
    )


def of(*entries: Entry, days: float = 30) -> dict[str, Any]:
    """The numbers; the order in which entries come must not matter."""
    shuffled = list(entries)
    random.Random(1).shuffle(shuffled)
    found = numbers(shuffled, now=NOW, days=days)
    assert found == numbers(entries, now=NOW, days=days)
    return found


def test_nothing_yet() -> None:
    """Without a rollout there are counts of 0, and nothing is made up."""
    assert of() == {
        "days": 30,
        "from": "2026-11-22T10:42:00.000Z",
        "until": "2026-12-22T10:42:00.000Z",
        "deployment_frequency": {"per_day": 0.0, "deploys": 0},
        "lead_time": {"median_seconds": None, "p90_seconds": None, "deploys": 0},
        "change_failure_rate": {"ratio": None, "deploys": 0, "failed": 0, "rolled_back_by_hand": 0},
        "time_to_restore": {
            "median_seconds": None,
            "p90_seconds": None,
            "restored": 0,
            "not_restored": 0,
        },
    }


def test_deployment_frequency_counts_good_deploys() -> None:
    """By days of the period; not what failed, was overtaken, is in flight, or brought something back."""
    found = of(
        rollout(1, end=DAY),
        rollout(2, end=2 * DAY, result=Result.FAILED),
        rollout(3, end=2 * DAY, kind=Kind.ROLLBACK),
        rollout(4, end=3 * DAY, kind=Kind.RESTORE),
        rollout(5, end=3 * DAY, kind=Kind.HEAL),
        rollout(6, end=4 * DAY, result=Result.SUPERSEDED),
        rollout(7, end=4 * DAY, result=Result.CANCELLED),
        rollout(8, end=5 * DAY),
        rollout(9, end=None, start=6 * DAY, result=Result.IN_PROGRESS),
    )

    assert found["deployment_frequency"] == {"per_day": 2 / 30, "deploys": 2}


def test_the_period_is_about_when_deploys_ended() -> None:
    """What ended at its very beginning is outside, and what ends after now (a clock that was set) too."""
    found = of(
        rollout(1, end=20 * DAY),
        rollout(2, end=20 * DAY + 1, start=19 * DAY),
        rollout(3, end=30 * DAY),
        rollout(4, end=30 * DAY + 1),
        days=10,
    )

    assert found["deployment_frequency"] == {"per_day": 0.2, "deploys": 2}
    assert (found["from"], found["days"]) == ("2026-12-12T10:42:00.000Z", 10)


def test_lead_time_is_from_the_commit_to_good() -> None:
    """Median and the 90th percentile, which is a value that occurred."""
    minutes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 100]
    entries = [
        rollout(number, end=number * DAY, committed=number * DAY - minute * 60)
        for number, minute in enumerate(minutes, start=1)
    ]

    assert of(*entries)["lead_time"] == {"median_seconds": 330.0, "p90_seconds": 540.0, "deploys": 10}
    assert of(entries[9])["lead_time"] == {"median_seconds": 6000.0, "p90_seconds": 6000.0, "deploys": 1}


def test_lead_time_of_a_commit_counts_once() -> None:
    """Deployed again it is nothing new, also if the first time is before the period.

    A deploy that failed has not delivered it.
    """
    found = of(
        rollout(1, end=1 * DAY, name="old", committed=0),
        rollout(2, end=21 * DAY, name="old", committed=0),
        rollout(3, end=22 * DAY, name="new", committed=21 * DAY, result=Result.FAILED),
        rollout(4, end=23 * DAY, name="new", committed=21 * DAY),
        rollout(5, end=24 * DAY, name="new", committed=21 * DAY),
        days=10,
    )

    assert found["lead_time"] == {"median_seconds": 2 * DAY, "p90_seconds": 2 * DAY, "deploys": 1}
    assert found["deployment_frequency"]["deploys"] == 3


def test_lead_time_without_a_commits_time_or_with_one_in_the_future() -> None:
    """An older version did not keep it: no sample. A committer's clock that is ahead is no time travel."""
    found = of(rollout(1, end=DAY), rollout(2, end=2 * DAY, committed=3 * DAY))

    assert found["lead_time"] == {"median_seconds": 0.0, "p90_seconds": 0.0, "deploys": 1}


def test_change_failure_rate_is_of_the_deploys_that_had_an_outcome() -> None:
    """Superseded and cancelled had none; failed rollbacks, heals and restores are no changes."""
    found = of(
        rollout(1, end=1 * HOUR),
        rollout(2, end=2 * HOUR, result=Result.FAILED),
        rollout(3, end=3 * HOUR, result=Result.FAILED, kind=Kind.ROLLBACK),
        rollout(4, end=4 * HOUR, result=Result.FAILED, kind=Kind.HEAL),
        rollout(5, end=5 * HOUR, result=Result.FAILED, kind=Kind.RESTORE),
        rollout(6, end=6 * HOUR, result=Result.SUPERSEDED),
        rollout(7, end=7 * HOUR, result=Result.CANCELLED),
        rollout(8, end=8 * HOUR),
        rollout(9, end=9 * HOUR),
    )

    assert found["change_failure_rate"] == {
        "ratio": 0.25,
        "deploys": 4,
        "failed": 1,
        "rolled_back_by_hand": 0,
    }


HAND = "ada (local)"


@pytest.mark.parametrize(
    ("history", "by_hand"),
    [
        # From b, which was good, back to a; and once more to what was before that.
        ([("a", "deploy", ""), ("b", "deploy", ""), ("a", "rollback", HAND)], 1),
        (
            [
                ("z", "deploy", ""),
                ("a", "deploy", ""),
                ("b", "deploy", ""),
                ("a", "rollback", HAND),
                ("z", "rollback", HAND),
            ],
            2,
        ),
        # The automation did it; it answers a failure; a repair in between changes nothing.
        ([("a", "deploy", ""), ("b", "deploy", ""), ("a", "rollback", DAEMON)], 0),
        ([("a", "deploy", ""), ("b", "failed deploy", ""), ("a", "rollback", HAND)], 0),
        ([("a", "deploy", ""), ("b", "deploy", ""), ("b", "heal", DAEMON), ("a", "rollback", HAND)], 1),
        # Back to what was live all the time, from a deploy that was in flight and is cancelled by that.
        ([("a", "deploy", ""), ("b", "cancelled deploy", ""), ("a", "rollback", HAND)], 0),
        # Nothing before it, as far as these entries go.
        ([("a", "rollback", HAND), ("b", "deploy", "")], 0),
        ([("a", "rollback", DAEMON), ("b", "rollback", HAND)], 0),
    ],
)
def test_a_good_deploy_that_a_person_takes_back_has_failed(
    history: list[tuple[str, str, str]], by_hand: int
) -> None:
    """Our checks did not see it, they did."""
    results = {"failed": Result.FAILED, "cancelled": Result.CANCELLED}
    entries = [
        rollout(
            number,
            end=number * HOUR,
            name=name,
            kind=Kind(what.split()[-1]),
            result=results.get(what.split()[0], Result.GOOD),
            actor=actor or "Ada <ada@example.com>",
        )
        for number, (name, what, actor) in enumerate(history, start=1)
    ]
    rate = of(*entries)["change_failure_rate"]

    assert rate["rolled_back_by_hand"] == by_hand
    assert rate["ratio"] is None or rate["ratio"] * rate["deploys"] == rate["failed"] + by_hand


def test_time_to_restore_ends_with_the_next_good_rollout() -> None:
    """By the rollback, the fix where there was none, or whatever came first; if none has, that is said."""
    found = of(
        rollout(1, end=1 * HOUR),
        rollout(2, end=2 * HOUR, result=Result.FAILED),
        rollout(3, end=2 * HOUR + 60, kind=Kind.ROLLBACK),
        rollout(4, end=3 * HOUR, result=Result.FAILED),
        rollout(5, end=3 * HOUR + 60, kind=Kind.ROLLBACK, result=Result.FAILED),
        rollout(6, end=4 * HOUR),
        rollout(7, end=5 * HOUR, result=Result.FAILED),
        rollout(8, end=5 * HOUR + 30, kind=Kind.RESTORE),
        rollout(9, end=6 * HOUR, result=Result.FAILED),
        rollout(10, end=None, start=6 * HOUR, kind=Kind.ROLLBACK, result=Result.IN_PROGRESS),
    )

    assert found["time_to_restore"] == {
        "median_seconds": 60.0,
        "p90_seconds": HOUR,
        "restored": 3,
        "not_restored": 1,
    }


def test_time_to_restore_with_a_clock_that_went_back() -> None:
    """What came next is known by its number."""
    found = of(rollout(1, end=2 * HOUR, result=Result.FAILED), rollout(2, end=1 * HOUR, kind=Kind.ROLLBACK))

    assert found["time_to_restore"]["median_seconds"] == 0.0
    assert found["time_to_restore"]["not_restored"] == 0


def test_gather_reads_no_further_than_it_must() -> None:
    """Pages are asked for until one ends before the period; what is in flight does not end the search."""
    stored = [
        rollout(5, end=None, start=29 * DAY, result=Result.IN_PROGRESS),
        *(rollout(number, end=number * 7 * DAY) for number in (4, 3, 2, 1)),
    ]
    asked: list[str | None] = []

    def page(before: str | None) -> Sequence[Entry]:
        asked.append(before)
        first = 0 if before is None else [entry.id for entry in stored].index(before) + 1
        return stored[first : first + 1]

    assert gather(page, begin=NOW - timedelta(days=10)) == stored[:4]
    assert asked == [None, "staging#5", "staging#4", "staging#3"]
    assert gather(page, begin=START) == stored
    assert gather(lambda _before: (), begin=START) == []
