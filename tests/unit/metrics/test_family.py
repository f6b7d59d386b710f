"""The text format: read back by the library's own parser, whatever is in a label."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from deployer.web.metrics.family import Buckets, Family, quoted

HOSTILE = ['a"} 1\nup 0', "\\", '\\"', "\n# HELP x", "{}", "\\n", "ü\u202e\x1b[31m", ""]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_label_stays_inside_its_quotes(value: str) -> None:
    """It neither ends the line nor begins another metric, and comes back as it was."""
    [family] = text_string_to_metric_families(f"x{{name={quoted(value)}}} 1\n")

    assert [(one.name, one.labels, one.value) for one in family.samples] == [("x", {"name": value}, 1.0)]


def test_help_is_one_line() -> None:
    """Also with a line break or a backslash in it."""
    family = Family(name="deployer_x", type="gauge", help="one\ntwo \\ three")

    assert family.head == "# HELP deployer_x one\\ntwo \\\\ three\n# TYPE deployer_x gauge\n"


@given(st.lists(st.floats(min_value=0, max_value=10_000), max_size=30))
def test_a_histogram_is_what_the_library_makes_of_it(values: list[float]) -> None:
    """The same buckets, the same sum, the same count."""
    bounds = (1.0, 5.0, 1200.0)
    registry = CollectorRegistry()
    theirs = Histogram("x", "x", ["name"], buckets=bounds, registry=registry).labels(name="a")
    ours = Buckets(bounds=bounds)
    for value in values:
        theirs.observe(value)
        ours.observe(value)

    assert _samples(ours.lines("x", {"name": "a"})) == _samples(generate_latest(registry).decode())


def _samples(text: str) -> dict[tuple[str, str, float | None], float]:
    return {
        (one.name, one.labels["name"], float(one.labels["le"]) if "le" in one.labels else None): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
        if not one.name.endswith("_created")
    }
