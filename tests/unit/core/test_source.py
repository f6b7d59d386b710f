"""Which tag is followed, and when a tag betrays what was deployed by it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core.source import Branch, Pinned, Tags
from tests.support.build import revision

TAGS = Tags("v*", ">=1.2 <2")
ALL = ("v1.1.9", "v1.2.0", "v1.10.0", "v1.9.0", "v2.0.0", "v1.11.0-rc.1", "1.12.0", "v", "vx", "env/v1.13.0")


def test_sources_say_what_they_are() -> None:
    """For messages: `there is no branch env/staging in repository configs`."""
    pinned = Pinned("ab" * 20)
    assert [str(one) for one in (Branch("env/staging"), TAGS, pinned)] == [
        "branch env/staging",
        "tag v* of version >=1.2 <2",
        "commit abababa",
    ]
    assert Branch("env/staging").ref == "refs/heads/env/staging"
    assert TAGS.refs == "refs/tags/v*"
    assert pinned.ref == f"refs/commits/{'ab' * 20}"


def test_the_highest_version_in_the_range_is_followed() -> None:
    """By version and not by name; no pre-release, nothing out of the range, no other tags."""
    assert TAGS.newest(ALL) == "v1.10.0"
    assert Tags("v*", ">=1.11.0-rc.0 <2").newest(ALL) == "v1.11.0-rc.1"
    assert Tags("env/v*", "*").newest(ALL) == "env/v1.13.0"
    assert Tags("*-fruit", "1.x").newest(["1.0.0-fruit", "1.1.0-math", "-fruit"]) == "1.0.0-fruit"
    assert TAGS.newest(["v2.0.0", "latest"]) is None
    assert TAGS.newest([]) is None


@given(st.permutations(ALL))
def test_the_order_in_which_tags_come_does_not_matter(tags: list[str]) -> None:
    """Two daemons choose the same."""
    assert TAGS.newest(tags) == "v1.10.0"
    assert Tags("v*", "*").newest(["v1.0.0+b", "v1.0.0+a"]) == Tags("v*", "*").newest(
        ["v1.0.0+a", "v1.0.0+b"]
    )


@pytest.mark.parametrize(
    ("seen", "tag", "commit", "tags", "why"),
    [
        pytest.param("v1.2.0", "v1.3.0", "b", {"v1.2.0", "v1.3.0"}, "", id="newer"),
        pytest.param("v1.2.0", "v1.2.0", "a", {"v1.2.0"}, "", id="the same"),
        pytest.param(
            "v1.2.0", "v1.2.0", "b", {"v1.2.0"}, "tag v1.2.0 was moved from 86f7e43 to e9d71f5", id="moved"
        ),
        pytest.param("v1.3.0", "v1.2.0", "b", {"v1.2.0"}, "tag v1.3.0 (86f7e43) is gone", id="deleted"),
        pytest.param("v1.2.0", "v1.3.0", "b", {"v1.3.0"}, "tag v1.2.0 (86f7e43) is gone", id="replaced"),
        pytest.param("v3.0.0", "v1.2.0", "b", {"v1.2.0", "v3.0.0"}, "", id="the range was changed"),
        pytest.param("other-1", "v1.2.0", "b", {"v1.2.0"}, "", id="the pattern was changed"),
        pytest.param(None, "v1.2.0", "b", {"v1.2.0"}, "", id="it was a branch"),
    ],
)
def test_a_tag_that_was_moved_or_deleted(
    seen: str | None, tag: str, commit: str, tags: set[str], why: str
) -> None:
    """Those who deployed by it are told; what the operator changed in the settings is no betrayal."""
    before = replace(revision("a"), tag=seen)
    assert TAGS.betrayed(before, tag, revision(commit).commit, tags) == why
