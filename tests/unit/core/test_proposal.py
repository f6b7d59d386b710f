"""The texts of a pull request: what it brings, and nothing in them that others could make a command."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployer.core import proposal
from deployer.core.commands import GoodRelease
from deployer.core.copying import Change, Copy
from deployer.core.gates import CheckState, GateState, Verdict
from tests.support.build import at, release, revision

ENDS = ("staging", "production")
GOOD = GoodRelease(rollout="staging#37", release=release("a"), at=at(0))
COMMIT = GOOD.release.revision.commit


def body(**more: Any) -> str:
    """The text with what a test cares about."""
    return proposal.body(ENDS, GOOD, **{"by": "ada", "reason": "", **more})


def test_a_fast_forward_lists_its_commits() -> None:
    """And those that only the target has, where it is to be merged."""
    said = body(commits=[revision("x")], in_the_way=[revision("y")], is_more=True, reason="season")
    x, y = revision("x"), revision("y")
    assert said == (
        f"`{COMMIT}` became good in **staging** as `staging#37`: `commit a`\n\n"
        f"Commits that it brings, and more:\n\n- `{x.short}` `commit x` by `Ada`\n\n"
        f"Commits that only production has:\n\n- `{y.short}` `commit y` by `Ada`\n\n"
        "Asked for by `ada`, because: `season`.\n\n"
        "Merge it to deploy it to production, once the gates there are open. deployer keeps this pull request"
        " up to date: a newer release that becomes good in staging takes its place."
    )
    assert "Commits that it brings:" in body(commits=[revision("x")])
    assert "Commits" not in body()
    assert "Asked for by `ada`." in body()


def test_a_copy_lists_what_changes_and_what_stays() -> None:
    """Up to so many of each."""
    changes = tuple(Change(where="fruit", field=f"args.f{number}", old="1", new="2") for number in range(31))
    made = Copy(data=b"", changes=changes, kept=("fruit / D num_replicas",))
    said = body(copied=made)
    assert f"What changes:\n\n- `{changes[0]}`\n" in said
    assert f"`{changes[29]}`\n- and 1 more\n\nDiffers, and stays as it is in production:\n\n- `fruit" in said
    assert str(changes[30]) not in said


def test_the_title_is_one_short_line() -> None:
    """However long the subject is."""
    assert proposal.title("production", GOOD) == "Promote staging#37 to production: commit a"
    long = GoodRelease(rollout="staging#37", release=release("x" * 200), at=at(0))
    title = proposal.title("production", long)
    assert len(title) <= 100
    assert title.endswith("...")


@given(st.text(min_size=1))
def test_no_text_gets_out_of_its_code(text: str) -> None:
    """Backquotes, line breaks and control characters included."""
    made = proposal.code(text)
    assert made == "" or (made[0], made[-1]) == ("`", "`")
    assert "`" not in made[1:-1]
    assert made.isprintable()


@pytest.mark.parametrize(
    ("verdict", "state"),
    [
        (Verdict.OPEN, CheckState.SUCCESS),
        (Verdict.SKIPPED, CheckState.SUCCESS),
        (Verdict.CLOSED, CheckState.PENDING),
    ],
)
def test_each_gate_is_a_status(verdict: Verdict, state: CheckState) -> None:
    """With as much of its evidence as a forge takes."""
    gate = GateState(name="windows", verdict=verdict, evidence="It opens\nat nine. " * 20)
    told = proposal.statuses("production", [gate])
    assert list(told) == ["deployer/production/windows"]
    found, description = told["deployer/production/windows"]
    assert found is state
    assert len(description) <= 140
    assert description.startswith("It opens\\nat nine.")


def test_what_failed_its_own_proof_is_red() -> None:
    """No time opens that."""
    gate = GateState(name="soak", verdict=Verdict.CLOSED, evidence="It is held.")
    assert proposal.statuses("production", [gate]) == {
        "deployer/production/soak": (CheckState.FAILURE, "It is held.")
    }
