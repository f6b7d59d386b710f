"""Each kind of value in an answer is what it is said to be, or refused by what should have been there."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.forge import CheckResult, ForgeUnavailable, State
from deployer.adapters.forge import _values as read
from tests.contract.forge.server import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.adapters.forge import Forge, Kind
    from tests.contract.forge.server import FakeForge

COMMIT = "c0ffee" + "0" * 34


@pytest.mark.parametrize(
    ("reader", "good", "found"),
    [
        (read.number, 7, 7),
        (read.commit, COMMIT, COMMIT),
        (read.commit, None, None),
        (read.commit, "", None),
        (read.line, " a\t\nb\x1b[2J ", "a b"),
        (read.line, None, ""),
        (read.text, "a\nb\r", "a\nb"),
        (read.moment, "2026-01-01T12:00:00.123+02:00", datetime(2026, 1, 1, 10, 0, 0, 123000, UTC)),
        (read.link, "https://x.example/a?b#c", "https://x.example/a?b#c"),
    ],
)
def test_what_is_right_is_read(reader: Callable[..., Any], good: Any, found: Any) -> None:
    """In the one form that the rest of the program knows."""
    assert reader({"key": good}, "key") == found


@pytest.mark.parametrize(
    ("reader", "wrong", "wanted"),
    [
        (read.number, 0, "a number as `key`"),
        (read.number, True, "a number as `key`"),
        (read.number, 1.5, "a number as `key`"),
        (read.number, "1", "a number as `key`"),
        (read.commit, COMMIT[:39], "a commit as `key`"),
        (read.commit, COMMIT.upper(), "a commit as `key`"),
        (read.commit, COMMIT + "\n", "a commit as `key`"),
        (read.line, 1, "a text as `key`"),
        (read.moment, "2026-01-01T12:00:00", "a time as `key`"),
        (read.moment, "soon", "a time as `key`"),
        (read.moment, None, "a time as `key`"),
        (read.moment, "0001-01-01T00:00:00+14:00", "a time as `key`"),
    ],
)
def test_what_is_wrong_is_refused(reader: Callable[..., Any], wrong: Any, wanted: str) -> None:
    """By what should have been there, without what is there."""
    with pytest.raises(read.Malformed) as caught:
        reader({"key": wrong}, "key")
    assert caught.value.wanted == wanted


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        "",
        "javascript:alert(1)",
        "//x.example",
        "https://",
        "https://[x",
        "https://ada:secret@x.example/",
        "https://x.example/a b",
        "https://x.example/\u202e",
        "https://x.example/\n",
        "https://x.example/" + "x" * 2000,
    ],
)
def test_a_link_that_is_none_is_left_out(wrong: Any) -> None:
    """What it stands beside counts without it."""
    assert read.link({"key": wrong}, "key") is None


def test_the_order_in_which_checks_come_does_not_matter() -> None:
    """The newest counts, also where it comes first; and one of each source."""
    for ages in ((1, 2), (2, 1)):
        checks = read.Checks()
        for age in ages:
            state = State.SUCCESS if age == 2 else State.FAILURE
            checks.add(age, CheckResult(name="ci", state=state, url=None, description=""))
        assert [check.state for check in checks.result()] == [State.SUCCESS]


_REVIEW: dict[str, Any] = {"id": 1, "user": {"login": "ada"}, "submitted_at": "2026-01-01T12:00:00Z"}

STRANGE = [
    pytest.param("github", "reviews", [{**_REVIEW, "state": "BLESSED"}], "review's `state`", id="review"),
    pytest.param(
        "gitea",
        "reviews",
        [{**_REVIEW, "state": "APPROVED", "dismissed": "no"}],
        "true or false as `dismissed`",
        id="dismissed",
    ),
    pytest.param(
        "github",
        "checks",
        {"statuses": [{"id": 1, "context": "ci", "state": "blessed"}], "check_runs": []},
        "status' `state`",
        id="github-status",
    ),
    pytest.param(
        "gitea",
        "checks",
        {"statuses": [{"id": 1, "context": "ci", "status": "blessed"}]},
        "status' `status`",
        id="gitea-status",
    ),
]


@pytest.mark.parametrize(("kind", "what", "value", "wanted"), STRANGE)
def test_a_word_that_nobody_knows_is_not_guessed_at(
    asking: Forge, fake: FakeForge, what: str, value: Any, wanted: str
) -> None:
    """It may be a new one that says no."""
    fake.canned = Reply(value=value)

    with pytest.raises(ForgeUnavailable, match=f"something else where .*{wanted} should be"):
        asking.reviews(1) if what == "reviews" else asking.checks(COMMIT)


@pytest.mark.parametrize("kind", ["gitlab"])
def test_a_word_of_gitlab_that_nobody_knows_is_not_green(asking: Forge, fake: FakeForge) -> None:
    """GitLab has had new ones now and then; its own word stands beside it."""
    fake.canned = Reply(value=[{"id": 1, "name": "ci", "status": "blessed"}])

    (check,) = asking.checks(COMMIT)

    assert (check.state, check.description) == (State.FAILURE, "blessed")


@pytest.mark.parametrize("kind", ["gitlab"])
def test_an_approval_of_nobody_counts_for_nobody(asking: Forge, fake: FakeForge, kind: Kind) -> None:
    """Who is gone approves nothing, and asks for nothing."""
    approved = {"approved_by": [{"user": None, "approved_at": "2026-01-01T12:00:00Z"}]}
    against = [{"user": None, "state": "requested_changes", "created_at": "2026-01-01T12:00:00Z"}]
    fake.instead = lambda asked: Reply(value=against if asked.path.endswith("/reviewers") else approved)

    assert asking.reviews(1) == ()


@pytest.mark.parametrize("body", [b"[]", b"null", b"{", b"\xff"])
def test_a_refusal_without_words_is_said_without_them(asking: Forge, fake: FakeForge, body: bytes) -> None:
    """Nothing is quoted where there is nothing."""
    fake.canned = Reply(status=500, raw=body)

    with pytest.raises(ForgeUnavailable, match=r"it answered 500: the next look tries again$"):
        asking.checks(COMMIT)
