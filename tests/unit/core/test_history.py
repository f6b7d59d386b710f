"""History: one entry per rollout, folded from its events, in the shape that scripts rely on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta, timezone
from functools import reduce
from typing import TYPE_CHECKING, get_args

import pytest

from deployer.core.errors import IllegalEvent
from deployer.core.events import (
    Applied,
    Approved,
    Cancelled,
    Checked,
    DriftClass,
    Drifted,
    DriftEnded,
    Event,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    LogKept,
    LogSource,
    LostSight,
    Measured,
    Observed,
    Paused,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Proposed,
    Refused,
    RegainedSight,
    Rejected,
    Resubmitted,
    Resumed,
    RetryAsked,
    RollbackAsked,
    Seen,
    Started,
    Superseded,
    SyncAsked,
)
from deployer.core.history import Entry, advance, to_json, touched
from deployer.core.record import Result
from deployer.core.types import Policy
from tests.support.build import at, release
from tests.support.daemon_events import COMMAND_REFUSED, OF_THE_DAEMON

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST, SECOND = "staging#1", "staging#2"
BROKEN = Failure(failure_class=FailureClass.CODE, message="no module named torch", detail="Traceback ...")
STARTED = Started(
    at=at(1),
    actor="Ada <ada@example.com>",
    reason="because",
    rollout=FIRST,
    kind=Kind.DEPLOY,
    release=release("one"),
    policy=Policy(),
    trigger="push",
    plan="1 to add",
)
ROLLBACK = Started(
    at=at(9),
    rollout=SECOND,
    kind=Kind.ROLLBACK,
    release=release("zero"),
    policy=Policy(),
    trigger="failure",
    follows=FIRST,
)
WITHOUT_EFFECT: tuple[Event, ...] = (
    Seen(at=at(2), release=release("one")),
    Refused(at=at(2), message="no such branch"),
    Resubmitted(at=at(2), rollout=FIRST, cause="lost"),
    LostSight(at=at(2), rollout=FIRST, why="timed out"),
    RegainedSight(at=at(2), rollout=FIRST),
    Observed(at=at(2), rollout=FIRST, states=(), settled=True),
    Checked(at=at(2), rollout=FIRST, check=0, passed=True, message="GET / answered 200", ms=1.0),
    Healthy(at=at(2), rollout=FIRST),
    Held(at=at(2), rollout=FIRST),
    Drifted(at=at(2), drift=DriftClass.EDITED, what="fruit differs."),
    DriftEnded(at=at(2)),
    Measured(at=at(2), free={"CPU": 1.0}),
    Paused(at=at(2), actor="ada"),
    Resumed(at=at(2)),
    RetryAsked(at=at(2), digest="sha256:1"),
    RollbackAsked(at=at(2), release=release("zero"), made_good="staging#0"),
    Approved(at=at(2), plan="sha256:1", digest="sha256:2", commit="c0ffee"),
    Rejected(at=at(2), plan="sha256:1", digest="sha256:2", commit="c0ffee"),
    SyncAsked(at=at(2), digest="sha256:2", commit="c0ffee"),
    PromotionAsked(at=at(2), source="dev", rollout="dev#1", commit="c0ffee"),
    Promoted(at=at(2), commit="c0ffee", branch="env/staging"),
    Proposed(at=at(2), commit="c0ffee", branch="main", head="badcafe", number=7, url="https://forge/7"),
    PromotionFailed(at=at(2), commit="c0ffee", why="It is protected."),
    COMMAND_REFUSED,
    *OF_THE_DAEMON,
)
LOG = LogSource(replica="r1", node_id="n1", path="serve/r1.log")
WITH_EFFECT: tuple[Event, ...] = (
    STARTED,
    Applied(at=at(2), rollout=FIRST),
    Good(at=at(5), rollout=FIRST),
    Failed(at=at(5), rollout=FIRST, failure=BROKEN),
    LogKept(at=at(6), rollout=FIRST, source=LOG, text="ImportError: torch"),
    Superseded(at=at(5), rollout=FIRST, by="sha256:new"),
    Cancelled(at=at(5), rollout=FIRST),
)


def history(*events: Event) -> Mapping[str, Entry]:
    """The entries after these events."""
    nothing: Mapping[str, Entry] = {}
    return reduce(advance, events, nothing)


def name_of(event: Event) -> str:
    """The id of a test case."""
    return "rollback started" if event is ROLLBACK else event.type


def test_a_started_rollout_is_in_progress() -> None:
    """Everything that is known at the start is in the entry; the rest is empty."""
    entry = history(STARTED)[FIRST]

    assert entry.environment == "staging"
    assert entry.result is Result.IN_PROGRESS
    assert entry.actor == "Ada <ada@example.com>"
    assert entry.release.digest == release("one").digest
    assert (entry.applied_at, entry.finished_at, entry.took_seconds, entry.failure) == (
        None,
        None,
        None,
        None,
    )


def test_a_good_rollout_tells_how_long_it_took() -> None:
    """The first `Applied` counts, and the end is the end."""
    applied_again = Applied(at=at(3), rollout=FIRST)
    entry = history(STARTED, Applied(at=at(2), rollout=FIRST), applied_again, Good(at=at(5), rollout=FIRST))[
        FIRST
    ]

    assert entry.result is Result.GOOD
    assert (entry.applied_at, entry.finished_at, entry.took_seconds) == (at(2), at(5), 4.0)


def test_a_failed_rollout_points_at_the_rollback_that_followed() -> None:
    """Two rollouts, the first pointing at the second; the second is the daemon's own."""
    entries = history(STARTED, Failed(at=at(5), rollout=FIRST, failure=BROKEN), ROLLBACK)

    assert entries[FIRST].result is Result.FAILED
    assert entries[FIRST].failure == BROKEN
    assert entries[FIRST].followed_by == SECOND
    assert (entries[SECOND].kind, entries[SECOND].actor) == (Kind.ROLLBACK, "deployer")


def test_a_superseded_rollout_names_what_overtook_it() -> None:
    """The entry ends without a failure."""
    entry = history(STARTED, Superseded(at=at(5), rollout=FIRST, by="sha256:new"))[FIRST]

    assert (entry.result, entry.superseded_by, entry.failure) == (Result.SUPERSEDED, "sha256:new", None)


def test_a_cancelled_rollout_ends_without_a_failure() -> None:
    """A person wanted something else."""
    entry = history(STARTED, Cancelled(at=at(5), rollout=FIRST))[FIRST]

    assert (entry.result, entry.finished_at, entry.failure) == (Result.CANCELLED, at(5), None)


def test_the_log_of_a_failed_rollout_is_kept_and_not_printed() -> None:
    """`deployer logs` shows it; a list of rollouts would be drowned by it."""
    entry = history(
        STARTED,
        Failed(at=at(5), rollout=FIRST, failure=BROKEN),
        LogKept(at=at(6), rollout=FIRST, source=LOG, text="ImportError: torch"),
    )[FIRST]

    assert (entry.log, entry.result, entry.finished_at) == ("ImportError: torch", Result.FAILED, at(5))
    assert "ImportError" not in repr(entry)
    assert "ImportError" not in str(to_json(entry))


@pytest.mark.parametrize("event", WITHOUT_EFFECT, ids=name_of)
def test_other_events_change_no_entry(event: Event) -> None:
    """They are steps inside a rollout, or belong to none."""
    entries = history(STARTED)

    assert advance(entries, event) == entries
    assert touched(event) == ()


def test_every_event_is_considered() -> None:
    """A new event type must be added to one of the two lists here."""
    assert {type(event) for event in (*WITHOUT_EFFECT, *WITH_EFFECT)} == set(get_args(Event))


@pytest.mark.parametrize("event", [*WITH_EFFECT, ROLLBACK], ids=name_of)
def test_the_touched_entries_are_enough(event: Event) -> None:
    """The store loads only what `touched` names: with nothing else the outcome is the same."""
    other = replace(STARTED, rollout="staging#9")
    everything = history(STARTED, other)
    needed = {name: entry for name, entry in everything.items() if name in touched(event)}

    assert {**everything, **advance(needed, event)} == advance(everything, event)
    assert set(touched(event)) == set(advance(needed, event))


@pytest.mark.parametrize("event", [*WITH_EFFECT[1:], ROLLBACK], ids=name_of)
def test_an_event_of_an_unknown_rollout_is_refused(event: Event) -> None:
    """It is named, instead of being dropped without a word."""
    with pytest.raises(IllegalEvent, match=r"no rollout staging#1"):
        advance({}, event)


def test_a_clock_that_went_back_gives_no_negative_time() -> None:
    """What is printed to people stays sensible."""
    entry = history(STARTED, Good(at=at(-60), rollout=FIRST))[FIRST]

    assert entry.took_seconds == 0.0


def test_json_is_what_scripts_rely_on() -> None:
    """The documented object, whole: a key that is renamed or dropped fails here."""
    applied = Applied(at=at(2.25), rollout=FIRST)
    failed = Failed(at=at(5), rollout=FIRST, failure=BROKEN)

    assert to_json(history(STARTED, applied, failed, ROLLBACK)[FIRST]) == {
        "id": "staging#1",
        "environment": "staging",
        "kind": "deploy",
        "release": {
            "revision": release("one").revision.commit,
            "digest": release("one").digest,
            "subject": "commit one",
            "author": "Ada <ada@example.com>",
            "committer": "Ada <ada@example.com>",
            "co_authors": [],
            "merged": None,
            "pull_request": None,
            "tag": None,
            "committed_at": "2026-11-22T10:42:00.000Z",
        },
        "trigger": "push",
        "actor": "Ada <ada@example.com>",
        "reason": "because",
        "plan": "1 to add",
        "started_at": "2026-11-22T10:42:01.000Z",
        "applied_at": "2026-11-22T10:42:02.250Z",
        "finished_at": "2026-11-22T10:42:05.000Z",
        "took_seconds": 4.0,
        "result": "failed",
        "failure": {"class": "code", "message": "no module named torch"},
        "followed_by": "staging#2",
        "superseded_by": None,
    }


def test_json_of_a_rollout_in_progress_has_the_same_keys() -> None:
    """What is not known yet is null, not missing."""
    printed = to_json(history(STARTED)[FIRST])

    assert printed.keys() == to_json(history(STARTED, Good(at=at(5), rollout=FIRST))[FIRST]).keys()
    assert (printed["finished_at"], printed["took_seconds"], printed["failure"]) == (None, None, None)
    assert printed["result"] == "in_progress"


def test_json_times_are_utc() -> None:
    """A time in another zone is the same moment."""
    elsewhere = at(1).astimezone(timezone(timedelta(hours=2)))
    printed = to_json(history(replace(STARTED, at=elsewhere))[FIRST])

    assert printed["started_at"] == "2026-11-22T10:42:01.000Z"
