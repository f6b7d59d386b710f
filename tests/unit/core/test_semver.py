"""Versions are ordered as semver.org says, and ranges take what node-semver takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core import semver

# The order of https://semver.org/#spec-item-11, and around it.
ORDER = [
    "0.0.0-0",
    "0.0.0",
    "0.9.9",
    "1.0.0-1",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0",
]


def version(text: str) -> semver.Version:
    """A version that must be one."""
    found = semver.parse(text)
    assert found is not None, text
    return found


def test_versions_are_ordered_as_the_standard_says() -> None:
    """Numbers as numbers, pre-releases before their version, more parts after fewer."""
    assert sorted(map(version, reversed(ORDER))) == [version(text) for text in ORDER]
    assert [str(version(text)) for text in ORDER] == ORDER


def test_how_it_was_built_takes_no_part() -> None:
    """What follows the plus is dropped."""
    assert version("1.2.3+build.5") == version("1.2.3")


@pytest.mark.parametrize(
    "text",
    [
        *("", "1", "1.2", "1.2.3.4", "01.2.3", "1.02.3", "v1.2.3", "1.2.3-", "1.2.3-01", "1.2.3-a..b"),
        *("1.2.3+", "1.2.x", "1.2.3 ", "\N{ARABIC-INDIC DIGIT ONE}.2.3", "-1.2.3", "1.2.3-ä"),
        "9" * 300 + ".0.0",
    ],
)
def test_what_is_no_version(text: str) -> None:
    """Near misses are none, and neither is what is absurdly long."""
    assert semver.parse(text) is None


@pytest.mark.parametrize(
    ("text", "fitting", "others"),
    [
        (">=1.2 <2", "1.2.0 1.9.9", "1.1.9 2.0.0 2.0.0-rc.1 1.3.0-rc.1"),
        (">= 1.2  < 2", "1.2.0 1.9.9", "1.1.9 2.0.0"),
        ("1.2.3", "1.2.3 1.2.3+x", "1.2.4 1.2.3-rc.1"),
        ("=v1.2.3", "1.2.3", "1.2.2"),
        ("1.2", "1.2.0 1.2.9", "1.1.9 1.3.0"),
        ("1.x", "1.0.0 1.9.0", "0.9.0 2.0.0"),
        ("1.2.*", "1.2.0 1.2.9", "1.3.0"),
        ("*", "0.0.0 9.9.9", "1.0.0-rc.1"),
        (">=*", "0.0.1", "1.0.0-rc.1"),
        ("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0"),
        ("^1.x", "1.0.0 1.9.0", "2.0.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0 0.2.2"),
        ("^0.0.3", "0.0.3", "0.0.4 0.1.0"),
        ("^0", "0.0.1 0.9.9", "1.0.0"),
        ("^0.0", "0.0.1", "0.1.0"),
        ("~1.2.3", "1.2.3 1.2.9", "1.3.0 1.2.2"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0"),
        ("~1", "1.0.0 1.9.0", "2.0.0"),
        (">1.2", "1.3.0", "1.2.9 1.2.0"),
        (">1.2.3", "1.2.4", "1.2.3"),
        ("<1.2", "1.1.9", "1.2.0"),
        ("<=1.2", "1.2.9", "1.3.0"),
        ("<=1.2.3", "1.2.3", "1.2.4"),
        (">=1.2.3-rc.2", "1.2.3-rc.2 1.2.3-rc.10 1.2.3 1.9.0", "1.2.3-rc.1 1.3.0-rc.5"),
        ("1.x || >=3 <3.5", "1.5.0 3.4.9", "2.0.0 3.5.0"),
    ],
)
def test_what_fits_a_range(text: str, fitting: str, others: str) -> None:
    """Each form takes what it says, and no pre-release that it does not name."""
    found = semver.parse_range(text)
    assert [one for one in fitting.split() if version(one) not in found] == []
    assert [one for one in others.split() if version(one) in found] == []


@pytest.mark.parametrize(
    "text", ["", "  ", "latest", "1.2 ||", "|| 1", ">", ">>1", "1.2-rc.1", "<*", ">x", "1,2", "1." * 200]
)
def test_what_is_no_range(text: str) -> None:
    """It is refused with a sentence that shows how one looks."""
    with pytest.raises(ValueError, match="must be a range of versions, such as >=1"):
        semver.parse_range(text)


@given(st.text(max_size=30))
def test_any_text_is_a_range_or_a_sentence(text: str) -> None:
    """Nothing else comes out of what somebody writes into the settings."""
    try:
        found: object = semver.parse_range(text)
    except ValueError as error:
        found = str(error)
    assert isinstance(found, semver.Range) or "must be a range of versions" in str(found)


@given(st.lists(st.sampled_from(ORDER), min_size=2, max_size=2))
def test_a_version_is_at_least_itself(pair: list[str]) -> None:
    """Ranges and order agree."""
    low, high = sorted(map(version, pair))
    assert (high in semver.parse_range(f">={low}")) or high.pre
