"""The raw log: the columns of the store, a line for each event, and what is no such line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.adapters.store.tables import CHAINED, EVENTS
from deployer.core.raw_log import RawEvent, UnreadableLog, events, lines

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
EVENTS_OF_ANY_KIND = st.builds(
    RawEvent, st.integers(), TEXT, st.integers(), *[TEXT] * 8
)  # fmt: skip
ONE = RawEvent(
    1, "staging", 1, "seen", "2026-11-22T10:42:00.000000Z", "ada", "", "", '{"a": 1}', "0" * 64, "1" * 64
)
[LINE] = lines([ONE])


def test_its_columns_are_those_of_the_table() -> None:
    """In their order; and what a hash covers is what the store says that it covers."""
    assert RawEvent._fields == tuple(column.name for column in EVENTS.columns)
    assert ONE.chained == tuple(getattr(ONE, name) for name in CHAINED)


def test_a_line_holds_the_stored_text() -> None:
    """`data` as text, as it was hashed; one object on one line of ASCII."""
    odd = ONE._replace(actor="\u00fc\u2028\x1b[2J\n", data='{"b":1.10, "a": "\\u00e4"}')
    [line] = lines([odd])

    assert json.loads(line)["data"] == odd.data
    assert (line.count("\n"), line[-1], line.isascii(), line[:-1].isprintable()) == (1, "\n", True, True)
    assert list(json.loads(line)) == list(RawEvent._fields)


@given(st.lists(EVENTS_OF_ANY_KIND, max_size=5))
def test_what_is_written_is_read(given_events: list[RawEvent]) -> None:
    """Every event comes back equal."""
    assert list(events(line.encode() for line in lines(given_events))) == given_events


def test_the_form_of_the_json_does_not_matter() -> None:
    """Another order of the members, other spaces, no line end at the end: the same event."""
    other = json.dumps(dict(reversed(json.loads(LINE).items())), separators=(" , ", " :  "))

    assert list(events([LINE.encode(), other.encode()])) == [ONE, ONE]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("", "line 2 is not JSON"),
        ("\n", "line 2 is not JSON"),
        (LINE[:-5], "line 2 is not JSON"),
        (LINE * 2, "line 2 is not JSON"),
        (LINE.replace('"id": 1', '"id": 1, "id": 1'), "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        (LINE.replace('"id": 1', f'"id": {"1" * 5000}'), "line 2 is not JSON"),
        ("\ufeff" + LINE, "line 2 is not JSON"),
        ("[]", "line 2 is not an object with id, environment,"),
        ("{}", "line 2 is not an object with id, environment,"),
        (LINE.replace('"id"', '"Id"'), "line 2 is not an object with id, environment,"),
        (LINE.replace('"id": 1', '"id": 1, "more": 1'), "line 2 is not an object with id, environment,"),
    ],
)
def test_what_is_no_event_ends_the_reading(line: str, why: str) -> None:
    """After what came before it, which may be sound."""
    read = events([LINE.encode(), line.encode(), LINE.encode()])

    assert next(read) == ONE
    with pytest.raises(UnreadableLog) as caught:
        next(read)
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_a_line_is_in_utf_8(encoding: str) -> None:
    """Readers of JSON that guess the encoding would take other bytes for the same event."""
    line = LINE.replace("ada", "\u00e4da").encode(encoding)

    with pytest.raises(UnreadableLog, match="line 1 is not JSON"):
        list(events([line]))
