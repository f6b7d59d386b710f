"""What is stored decodes to an equal value, says so when it cannot, and never holds a config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import is_dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.adapters.store.codec import ENTRY, EVENT, RECORD, Unreadable, stamp, unstamp
from deployer.core.events import Applied, Event, Good, Refused, Seen
from deployer.core.history import Entry, advance
from deployer.core.record import Record
from deployer.core.types import ServeConfig
from tests.support.build import at, release, started

CANARY = "canary-5up3r-s3cr3t"
CONFIGS = {
    f"sha256:{number}": ServeConfig(text=f"{CANARY} {number}", digest=f"sha256:{number}")
    for number in range(3)
}

TIMES = st.datetimes(timezones=st.just(UTC))
LEAVES: dict[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=12),
    int: st.integers(0, 2**60),
    # Not a number is not equal to itself, and no clock of Serve's and no deadline is one.
    float: st.floats(allow_nan=False),
    datetime: TIMES,
    timedelta: st.timedeltas(timedelta(), timedelta(days=400)),
    ServeConfig: st.sampled_from(list(CONFIGS.values())),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type as fields have it. Of a dataclass every field is made, so a new one is covered too."""
    if hint in LEAVES:
        return LEAVES[hint]
    if isinstance(hint, type) and is_dataclass(hint):
        return st.builds(hint, **{name: values(field) for name, field in get_type_hints(hint).items()})
    origin, arguments = get_origin(hint), [values(argument) for argument in _types(hint)]
    if origin in {Union, UnionType}:
        return st.one_of(arguments)
    if origin is tuple:
        return st.lists(arguments[0], max_size=2).map(tuple)
    if origin is frozenset:
        return st.frozensets(arguments[0], max_size=3)
    if origin is Mapping:
        return st.dictionaries(*arguments, max_size=2)
    return st.from_type(hint)


def _types(hint: Any) -> list[Any]:
    """The types in a generic one: not the values of a Literal, nor the dots of a tuple."""
    return [] if get_origin(hint) is Literal else [one for one in get_args(hint) if one is not ...]


GOOD = Good(at=at(1), rollout="staging#1")


def nowhere(digest: str) -> ServeConfig:
    """No config is asked for."""
    raise AssertionError(digest)


@given(st.sampled_from(get_args(Event)).flatmap(values))
def test_events_come_back_equal(event: Event) -> None:
    """Every type, with every float and microsecond exact, of the same type, and without the config's text."""
    text = EVENT.encode(event)
    decoded = EVENT.decode(text, CONFIGS.__getitem__)

    assert decoded == event
    assert type(decoded) is type(event)
    assert CANARY not in text


@given(values(Record))
def test_records_come_back_equal(record: Record) -> None:
    """The cache is as good as the fold."""
    text = RECORD.encode(record)

    assert RECORD.decode(text, CONFIGS.__getitem__) == record
    assert CANARY not in text


@given(values(Entry))
def test_entries_come_back_equal(entry: Entry) -> None:
    """History needs no config at all."""
    assert ENTRY.decode(ENTRY.encode(entry), nowhere) == entry


def test_an_entry_of_an_older_version_is_read() -> None:
    """It did not keep when its commit was made."""
    [entry] = advance({}, started(release("one"))).values()
    written = json.loads(ENTRY.encode(entry))
    assert written["release"].pop("committed_at") == "2026-11-22T10:42:00.000000Z"

    read = ENTRY.decode(json.dumps(written), nowhere)
    assert read == replace(entry, release=replace(entry.release, committed_at=None))


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
    # Years of four digits, whatever the zone makes of the first and the last day.
    moment = moment.replace(year=2024)

    assert unstamp(stamp(moment.astimezone(zone))) == moment
    assert stamp(moment) == stamp(moment.astimezone(zone))
    assert (stamp(moment) < stamp(at(0))) is (moment < at(0))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00.000000Z"),
        ("9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999999Z"),
    ],
)
def test_a_time_that_utc_has_not_is_the_nearest_that_it_has(text: str, kept: str) -> None:
    """Somebody may ask for the log since then."""
    assert stamp(datetime.fromisoformat(text)) == kept
