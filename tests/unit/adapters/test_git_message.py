"""The pull request and the co-authors that a commit's message names, in the forms that forges give it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.adapters.git._objects import parse_commit


def raw(message: str | bytes, *parents: str) -> bytes:
    """A commit object with this message."""
    text = message.encode() if isinstance(message, str) else message
    lines = [b"tree " + b"1" * 40, *(f"parent {parent}".encode() for parent in parents)]
    lines += [role + b" Ada <ada@example.com> 1700000000 +0000" for role in (b"author", b"committer")]
    return b"\n".join([*lines, b"", text])


@pytest.mark.parametrize(
    ("message", "number"),
    [
        ("Merge pull request #12 from lin/fix\n\nRaise the price", 12),
        ("Raise the price (#7)\n\n* one\n* two", 7),
        ('Revert "Raise the price (#7)" (#9)', 9),
        ("Merge pull request 'Raise the price' (#31) from fix into main", 31),
        ("Merge branch 'fix' into 'main'\n\nRaise the price\n\nSee merge request ml/serve-configs!45", 45),
        ("Merged in fix (pull request #8)\n\nRaise the price", 8),
        ("Pull request #77: Raise the price\n\nMerge in ML/configs from fix to main", 77),
        ("Merged PR 5: Raise the price", 5),
        ("Raise the price", None),
        ("Fix (#7) for real", None),
        ("Close #12", None),
        ("Raise the price\n\nAs in (#7)", None),
        ("Merge pull request #12345678901234 from x", None),
    ],
)
def test_the_number_of_the_pull_request(message: str, number: int | None) -> None:
    """Each forge's merge and squash; no number that is merely mentioned."""
    assert parse_commit("0" * 40, raw(message)).revision.pull_request == number


def test_the_co_authors_of_the_last_paragraph() -> None:
    """In any case, each once; not what stands in the middle of the text."""
    message = (
        "Raise the price\n\nCo-authored-by: Not <not@example.com>\n\nText.\n\n"
        "Signed-off-by: Ada <ada@example.com>\nCo-authored-by: Lin <lin@example.com>\n"
        "co-authored-by: Max <max@example.com>\nCo-Authored-By: Lin <lin@example.com>\n"
    )
    revision = parse_commit("0" * 40, raw(message)).revision
    assert [str(one) for one in revision.co_authors] == ["Lin <lin@example.com>", "Max <max@example.com>"]


def test_what_a_merge_brought_in() -> None:
    """The second parent; an ordinary commit has none, and a malformed one is not taken for one."""
    one, two = "a" * 40, "b" * 40
    commit = parse_commit("0" * 40, raw("x", one, two))
    assert commit.parents == (one, two)
    assert commit.revision.merged is not None
    assert commit.revision.merged.commit == two
    assert parse_commit("0" * 40, raw("x", one)).revision.merged is None
    assert parse_commit("0" * 40, raw("x", one, "../../x")).revision.merged is None
    assert len(parse_commit("0" * 40, raw("x", *[one] * 100_000)).parents) == 100


def test_a_parent_is_read_where_git_reads_it() -> None:
    """One further down is no parent to git, and would make a rewritten branch look like one that goes on."""
    lie = raw("x").replace(b"\n\n", b"\nparent " + b"a" * 40 + b"\n\n", 1)
    assert parse_commit("0" * 40, lie).parents == ()
    assert parse_commit("0" * 40, raw("x", "b" * 40)).parents == ("b" * 40,)


@given(st.binary(max_size=300))
def test_no_message_makes_it_raise(message: bytes) -> None:
    """Anybody who can push writes it."""
    revision = parse_commit("0" * 40, raw(b"Co-authored-by: " + message)).revision
    assert len(revision.co_authors) <= 20
