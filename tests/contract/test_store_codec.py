"""What is stored decodes to an equal value, says so when it cannot, and never holds a config."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.adapters.store.codec import ENTRY, EVENT, RECORD, Unreadable, stamp, unstamp
from deployer.core.events import (
    Applied,
    Event,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    LostSight,
    Refused,
    RegainedSight,
    Resubmitted,
    Seen,
    Started,
    Superseded,
)
from deployer.core.history import Entry, Summary
from deployer.core.record import Finished, Hold, Record, Result, Rollout
from deployer.core.types import Deadlines, Person, Policy, Release, Revision, ServeConfig
from tests.support.build import at, release

CANARY = "canary-5up3r-s3cr3t"
CONFIGS = {
    f"sha256:{number}": ServeConfig(text=f"{CANARY} {number}", digest=f"sha256:{number}")
    for number in range(3)
}

TEXT = st.text(max_size=12)
TIMES = st.datetimes(timezones=st.just(UTC))
# Not a number is not equal to itself, and no clock of Serve's and no deadline is one.
FLOATS = st.floats(allow_nan=False)
PEOPLE = st.builds(Person, name=TEXT, email=TEXT)
REVISIONS = st.builds(
    Revision, commit=TEXT, author=PEOPLE, committer=PEOPLE, subject=TEXT, committed_at=TIMES
)
RELEASES = st.builds(Release, revision=REVISIONS, config=st.sampled_from(list(CONFIGS.values())))
POLICIES = st.builds(
    Policy,
    deadlines=st.builds(Deadlines, build=FLOATS, schedule=FLOATS, start=FLOATS),
    rollback=st.booleans(),
    rollback_deadline=FLOATS,
)
KINDS = st.sampled_from(Kind)
STAMPS = st.dictionaries(TEXT, FLOATS, max_size=3)
FAILURES = st.builds(Failure, failure_class=st.sampled_from(FailureClass), message=TEXT, detail=TEXT)
FACT: dict[str, Any] = {"at": TIMES, "actor": TEXT, "reason": TEXT}
EVENTS: dict[type[Any], st.SearchStrategy[Any]] = {
    Seen: st.builds(Seen, release=RELEASES, **FACT),
    Refused: st.builds(Refused, message=TEXT, commit=st.none() | TEXT, **FACT),
    Started: st.builds(
        Started,
        rollout=TEXT,
        kind=KINDS,
        release=RELEASES,
        policy=POLICIES,
        trigger=TEXT,
        before=STAMPS,
        follows=st.none() | TEXT,
        plan=TEXT,
        **FACT,
    ),
    Resubmitted: st.builds(Resubmitted, rollout=TEXT, cause=TEXT, before=STAMPS, **FACT),
    Applied: st.builds(Applied, rollout=TEXT, session=st.none() | TEXT, read_back=st.booleans(), **FACT),
    LostSight: st.builds(LostSight, rollout=TEXT, why=TEXT, **FACT),
    RegainedSight: st.builds(RegainedSight, rollout=TEXT, **FACT),
    Healthy: st.builds(Healthy, rollout=TEXT, **FACT),
    Good: st.builds(Good, rollout=TEXT, **FACT),
    Failed: st.builds(Failed, rollout=TEXT, failure=FAILURES, **FACT),
    Held: st.builds(Held, rollout=TEXT, **FACT),
    Superseded: st.builds(Superseded, rollout=TEXT, by=TEXT, **FACT),
}
ROLLOUTS = st.builds(
    Rollout,
    id=TEXT,
    kind=KINDS,
    release=RELEASES,
    policy=POLICIES,
    trigger=TEXT,
    started_at=TIMES,
    before=STAMPS,
    follows=st.none() | TEXT,
    pending=st.booleans(),
    puts=st.integers(),
    applied_at=st.none() | TIMES,
    put_at=st.none() | TIMES,
    healthy_at=st.none() | TIMES,
    blind_since=st.none() | TIMES,
    blind=st.timedeltas(min_value=timedelta(), max_value=timedelta(days=400)),
)
FINISHED = st.builds(
    Finished,
    id=TEXT,
    kind=KINDS,
    release=RELEASES,
    policy=POLICIES,
    result=st.sampled_from(Result),
    finished_at=TIMES,
    failure=st.none() | FAILURES,
    wanted=st.none() | TEXT,
)
HOLDS = st.builds(Hold, release=RELEASES, reason=TEXT, since=TIMES, rollout=TEXT)
RECORDS = st.builds(
    Record,
    environment=TEXT,
    sequence=st.integers(0, 2**60),
    rollouts=st.integers(0, 2**60),
    seen=st.none() | RELEASES,
    refused=st.none() | EVENTS[Refused],
    good=st.none() | RELEASES,
    good_rollout=st.none() | TEXT,
    good_at=st.none() | TIMES,
    rollout=st.none() | ROLLOUTS,
    last=st.none() | FINISHED,
    held=st.lists(HOLDS, max_size=2).map(tuple),
    apps=st.frozensets(TEXT, max_size=3),
)
ENTRIES = st.builds(
    Entry,
    id=TEXT,
    environment=TEXT,
    kind=KINDS,
    release=st.builds(Summary, revision=TEXT, digest=TEXT, subject=TEXT, author=TEXT),
    trigger=TEXT,
    actor=TEXT,
    started_at=TIMES,
    reason=TEXT,
    plan=TEXT,
    applied_at=st.none() | TIMES,
    finished_at=st.none() | TIMES,
    result=st.sampled_from(Result),
    failure=st.none() | FAILURES,
    followed_by=st.none() | TEXT,
    superseded_by=st.none() | TEXT,
)
GOOD = Good(at=at(1), rollout="staging#1")


def nowhere(digest: str) -> ServeConfig:
    """No config is asked for."""
    raise AssertionError(digest)


def test_every_event_has_a_strategy() -> None:
    """A new event type must be added here."""
    assert set(EVENTS) == set(get_args(Event))


@given(st.one_of(*EVENTS.values()))
def test_events_come_back_equal(event: Event) -> None:
    """Every type, with every float and microsecond exact, of the same type, and without the config's text."""
    text = EVENT.encode(event)
    decoded = EVENT.decode(text, CONFIGS.__getitem__)

    assert decoded == event
    assert type(decoded) is type(event)
    assert CANARY not in text


@given(RECORDS)
def test_records_come_back_equal(record: Record) -> None:
    """The cache is as good as the fold."""
    text = RECORD.encode(record)

    assert RECORD.decode(text, CONFIGS.__getitem__) == record
    assert CANARY not in text


@given(ENTRIES)
def test_entries_come_back_equal(entry: Entry) -> None:
    """History needs no config at all."""
    assert ENTRY.decode(ENTRY.encode(entry), nowhere) == entry


def test_the_config_is_its_digest() -> None:
    """It is the only thing about it that is written."""
    written = json.loads(EVENT.encode(Seen(at=at(0), release=release("one"))))

    assert written["release"]["config"] == release("one").digest


def test_equal_records_are_equal_texts() -> None:
    """A set has no order, but its text has."""
    names = [f"app{number}" for number in range(20)]
    texts = {RECORD.encode(Record(environment="s", apps=frozenset(order))) for order in (names, names[::-1])}

    assert len(texts) == 1


@pytest.mark.parametrize(
    ("change", "place"),
    [
        pytest.param({"mood": CANARY}, "good.mood", id="unknown field"),
        pytest.param({"type": "celebrated"}, "celebrated", id="unknown event"),
        pytest.param({"rollout": 7}, "good.rollout", id="another type"),
        pytest.param({"at": "yesterday"}, "good.at", id="no time"),
        pytest.param({"at": 1763808120}, "good.at", id="time as a number"),
    ],
)
def test_what_this_version_does_not_write_is_refused(change: dict[str, Any], place: str) -> None:
    """The message names the place; the value stays out of it."""
    text = json.dumps({**json.loads(EVENT.encode(GOOD)), **change})
    with pytest.raises(Unreadable, match=place) as caught:
        EVENT.decode(text, nowhere)

    assert CANARY not in f"{caught.value} {caught.value.__context__}"


def test_a_field_of_a_newer_version_deep_inside_is_refused() -> None:
    """Not only at the top: a policy that this version would not keep must not be lost."""
    record = Record(environment="s", refused=Refused(at=at(0), message="no"))
    text = RECORD.encode(record).replace('"commit":null', f'"commit":null,"{CANARY[:6]}":"{CANARY}"')
    with pytest.raises(Unreadable, match=r"refused\.canary") as caught:
        RECORD.decode(text, nowhere)

    assert CANARY not in str(caught.value)


def test_a_missing_field_is_refused() -> None:
    """Half a text is no event."""
    with pytest.raises(Unreadable, match=r"good\.rollout"):
        EVENT.decode('{"type": "good", "at": "2026-11-22T10:42:00Z"}', nowhere)
    with pytest.raises(Unreadable, match="Invalid JSON"):
        EVENT.decode(EVENT.encode(GOOD)[:-5], nowhere)


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(Good(at=datetime(2026, 11, 22, 10, 42), rollout="staging#1"), id="no zone"),  # noqa: DTZ001
        pytest.param(Good(at=at(1), rollout="\ud800"), id="no Unicode"),
        pytest.param(Applied(at=at(1), rollout="staging#1", session=7), id="type"),  # type: ignore[arg-type]  # the point
    ],
)
def test_what_would_not_come_back_is_not_written(bad: Event) -> None:
    """It fails before anything is durable, not when the daemon starts next time."""
    with pytest.raises(ValueError, match=r"time zone|surrogates|Expected"):
        EVENT.encode(bad)


@given(TIMES, st.integers(-12, 12))
def test_times_are_kept_in_utc(moment: datetime, hours: int) -> None:
    """Whatever zone they come in, and in an order that text has too."""
    zone = timezone(timedelta(hours=hours))
    moment = moment.replace(year=2026)

    assert unstamp(stamp(moment.astimezone(zone))) == moment
    assert stamp(moment) == stamp(moment.astimezone(zone))
    assert (stamp(moment) < stamp(at(0))) is (moment < at(0))
