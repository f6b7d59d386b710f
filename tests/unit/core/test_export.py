"""What files of items look like."""

from __future__ import annotations

import csv
import io
import json

import pytest

from deployer.core.export import csv_lines, json_lines

ITEM = {"id": 3, "release": {"subject": 'raise "the" price, twice\n'}, "failure": None, "took_seconds": -1.5}


def test_json_lines_are_objects_line_by_line() -> None:
    """Whatever is in them."""
    lines = list(json_lines([ITEM, ITEM]))
    assert [json.loads(line) for line in lines] == [ITEM, ITEM]
    assert all(line.count("\n") == 1 for line in lines)


def test_csv_has_a_line_of_names_and_one_for_each_item() -> None:
    """What is not there is empty, also inside of what is not there; numbers stay numbers."""
    columns = ("id", "release.subject", "failure.class", "took_seconds", "other")
    rows = list(csv.reader(io.StringIO("".join(csv_lines([ITEM], columns)))))
    assert rows == [[*columns], ["3", 'raise "the" price, twice\n', "", "-1.5", ""]]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)"])
def test_no_cell_is_a_formula(text: str) -> None:
    """As a spreadsheet would carry it out."""
    _, row = csv.reader(io.StringIO("".join(csv_lines([{"says": text}], ("says",)))))
    assert row == [f"'{text}"]
