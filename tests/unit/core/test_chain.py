"""The hash chain: what it binds, and every kind of change that it must find."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from deployer.core.chain import GENESIS, Link, link, verify

FIELDS = st.lists(st.text(max_size=8) | st.integers(), max_size=6)


def log(length: int) -> list[Link]:
    """An intact log."""
    rows: list[Link] = []
    previous = GENESIS
    for sequence in range(1, length + 1):
        fields = ("staging", sequence, f"event {sequence}")
        current = link(previous, fields)
        rows.append(Link(sequence=sequence, fields=fields, previous=previous, hash=current))
        previous = current
    return rows


def test_the_hash_is_what_every_version_before_computed() -> None:
    """A changed encoding would make every log written so far look edited."""
    expected = "10cf271797b01e7f67757535b213ddd26880d490c7436b03d25d6384d4d9f1a6"

    assert link(GENESIS, ["staging", 1, "seen", ""]) == expected


@given(FIELDS, FIELDS)
def test_different_fields_have_different_hashes(one: list[str | int], other: list[str | int]) -> None:
    """No two lists of fields are the same bytes: neither by moving a border nor by another type."""
    assume([(type(field), field) for field in one] != [(type(field), field) for field in other])

    assert link(GENESIS, one) != link(GENESIS, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(["ab", "c"], ["a", "bc"], id="moved border"),
        pytest.param(["1"], [1], id="number or text"),
        pytest.param([""], [], id="empty or missing"),
    ],
)
def test_lists_that_look_alike_are_told_apart(one: list[str | int], other: list[str | int]) -> None:
    """The classical confusions of joined fields, by name."""
    assert link(GENESIS, one) != link(GENESIS, other)


def test_a_hash_covers_the_one_before() -> None:
    """The same event at another place has another hash."""
    assert link(GENESIS, ["x"]) != link(link(GENESIS, ["x"]), ["x"])


@pytest.mark.parametrize("length", [0, 1, 5])
def test_an_intact_log_passes(length: int) -> None:
    """Also an empty one, and with its length known."""
    assert verify(log(length)) is None
    assert verify(log(length), length) is None


@given(st.integers(1, 6), st.sampled_from(["fields", "previous", "hash", "sequence"]))
def test_a_changed_row_is_found(place: int, column: str) -> None:
    """Whatever is changed in a row, that row is named."""
    rows = log(6)
    changed: dict[str, object] = {
        "fields": ("staging", place, "another event"),
        "previous": "1" * 64,
        "hash": "1" * 64,
        "sequence": 7,
    }
    rows[place - 1] = replace(rows[place - 1], **{column: changed[column]})  # type: ignore[arg-type]  # by name

    assert verify(rows) == place


@given(st.integers(1, 5))
def test_a_row_rewritten_with_its_hash_breaks_the_next(place: int) -> None:
    """Who recomputes the hash of the row that was edited is found one row later."""
    rows = log(6)
    before = rows[place - 1]
    fields = ("staging", place, "another event")
    rows[place - 1] = replace(before, fields=fields, hash=link(before.previous, fields))

    assert verify(rows) == place + 1


@given(st.integers(1, 5))
def test_a_removed_row_is_found(place: int) -> None:
    """A gap is named by the sequence that is missing."""
    rows = log(6)
    del rows[place - 1]

    assert verify(rows) == place


@given(st.integers(1, 6))
def test_a_repeated_row_is_found(place: int) -> None:
    """An inserted row is named, and so is a pair in the wrong order."""
    rows = log(6)
    rows.insert(place, rows[place - 1])

    assert verify(rows) == place + 1


@given(st.integers(0, 5))
def test_a_log_cut_off_is_found_by_its_length(left: int) -> None:
    """Without the length it looks intact: a chain alone cannot know how long it was."""
    assert verify(log(6)[:left]) is None
    assert verify(log(6)[:left], 6) == left + 1


def test_a_log_longer_than_recorded_is_found() -> None:
    """Events that the record does not know were not written together with it."""
    assert verify(log(6), 5) == 7
