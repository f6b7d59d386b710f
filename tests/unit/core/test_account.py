"""The account of a rollout: a sentence each for what, who, why, how it ended, and what followed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core.account import account
from deployer.core.events import (
    Approved,
    Cancelled,
    GateEvidence,
    Kind,
    LogKept,
    LogSource,
    Promoted,
    PromotionAsked,
    Superseded,
)
from deployer.core.history import Entry, Summary, advance
from tests.support.build import ADA, applied, at, ended_well, failed, held, release, revision, started

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.core.events import Event

A, B = release("a"), release("b")
SOURCE = LogSource(replica="fruit#Mango#x1", node_id="n1", path="r.log")


def entries(*events: Event) -> Mapping[str, Entry]:
    """The history that they make."""
    found: Mapping[str, Entry] = {}
    for event in events:
        found = advance(found, event)
    return found


def told(*events: Event, number: int = 1, **more: Any) -> dict[str, str]:
    """The sentences about a rollout, by what they are about; of several the last."""
    found = entries(*events)
    entry = found[f"staging#{number}"]
    mine = [event for event in events if getattr(event, "rollout", "") == entry.id]
    return dict(account(entry, mine, **more))


def test_a_deploy_that_ended_well() -> None:
    """All of it, in this order."""
    begun = started(A, plan="~ fruit: n 1 -> 2", actor="Ada <ada@example.com>", reason="sale")
    events = (begun, applied(), *ended_well())
    assert account(entries(*events)["staging#1"], events) == [
        ("what", f'staging#1 was a deploy of {A.revision.short} "commit a" ({A.digest}).'),
        ("change", "~ fruit: n 1 -> 2"),
        (
            "who",
            "Ada <ada@example.com>: git says so: a name in a commit is a claim, and only a signature proves"
            " it.",
        ),
        ("commit", f"{A.revision.commit} by Ada <ada@example.com>, of 2026-11-22 10:42:00 UTC."),
        ("why", "Git wanted it. Sale. It began at 2026-11-22 10:42:00 UTC."),
        (
            "outcome",
            "It ended good after 10 s, at 2026-11-22 10:42:10 UTC: its release became the way back from the"
            " next one.",
        ),
    ]


def test_a_failure_with_what_followed() -> None:
    """The first error, the log, that it is held, and the rollback with its end."""
    begun = (started(A), failed(log=SOURCE), held())
    kept = LogKept(at=at(31), rollout="staging#1", source=SOURCE, text="the end")
    back = started(B, 2, Kind.ROLLBACK, 40, follows="staging#1", trigger="staging#1 failed")
    found = entries(*begun, kept, back)
    says = told(*begun, kept, back, answer=found["staging#2"])

    assert says["outcome"] == "It failed after 30 s, at 2026-11-22 10:42:30 UTC (code)."
    assert says["first error"] == "fruit / D: ValueError: bad price."
    assert says["log"] == "The end of the log of replica fruit#Mango#x1 is kept as evidence."
    assert "`deployer retry staging --reason ...`" in says["held"]
    name = f'staging#2 answered it, a rollback to {B.revision.short} "commit b".'
    assert says["after"] == f"{name} That was under way."

    good = entries(*begun, back, *ended_well(2, 45))["staging#2"]
    assert told(*begun, back, answer=good)["after"] == f"{name} That ended good after 5.0 s."
    bad = entries(*begun, back, failed(2, 45))["staging#2"]
    ended = "That ended failed after 5.0 s: fruit / D: ValueError: bad price."
    assert told(*begun, back, answer=bad)["after"] == f"{name} {ended}"
    assert told(*begun, back, number=2)["why"].startswith("staging#1 failed. It began at")


def test_a_failure_that_nothing_answered() -> None:
    """And a log that could not be had, with the reason."""
    kept = LogKept(at=at(31), rollout="staging#1", source=SOURCE, text="", reason="the node is gone")
    says = told(started(A), failed(), kept)
    assert says["log"] == "The log of replica fruit#Mango#x1 could not be had. The node is gone."
    assert says["after"] == "No rollback answered it. `deployer status staging` says what runs."
    assert "held" not in says


@pytest.mark.parametrize(
    ("end", "says"),
    [
        ((), "It was under way, in the phase start."),
        (
            (Superseded(at=at(8), rollout="staging#1", by="f" * 40),),
            f"It was overtaken by {'f' * 40} after 8.0 s, at 2026-11-22 10:42:08 UTC.",
        ),
        (
            (Cancelled(at=at(8), actor="ada (local)", rollout="staging#1"),),
            "It was ended by ada (local) after 8.0 s, at 2026-11-22 10:42:08 UTC.",
        ),
        (
            (Cancelled(at=at(8), actor="ada (local)", reason="wrong one", rollout="staging#1"),),
            "It was ended by ada (local) (wrong one) after 8.0 s, at 2026-11-22 10:42:08 UTC.",
        ),
    ],
    ids=["in progress", "superseded", "cancelled", "cancelled, with a reason"],
)
def test_how_else_a_rollout_ends(end: tuple[Event, ...], says: str) -> None:
    """Or does not, yet."""
    from tests.support.build import observed  # noqa: PLC0415 - only here

    found = told(started(A), applied(), observed(), *end)
    assert found["outcome"] == says
    assert "after" not in found


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (Kind.ROLLBACK, "was a rollback to"),
        (Kind.RESTORE, "was a restore of"),
        (Kind.HEAL, "was a heal to"),
    ],
)
def test_every_kind_has_its_words(kind: Kind, what: str) -> None:
    """And what set it off."""
    says = told(started(A, kind=kind, trigger="drift", reason="n is 7, not 3."))
    assert what in says["what"]
    assert says["who"] == "deployer: the daemon did it on its own."
    assert says["why"].startswith(
        "The cluster was not as the current release says. N is 7, not 3. It began at"
    )
    assert set(says) == {"what", "who", "commit", "why", "outcome"}


def test_who_else_is_behind_a_commit() -> None:
    """Committer, co-authors, what it merged, the pull request, the tag; and an entry that knows no time."""
    summary = Summary(
        revision="c" * 40,
        digest="sha256:x",
        subject="s",
        author="Ada <a@x>",
        committer="forge <f@x>",
        co_authors=("Lin <l@x>",),
        merged="d" * 40,
        pull_request=12,
        tag="v1",
    )
    entry = replace(entries(started(A))["staging#1"], release=summary)
    found = dict(account(entry, ()))
    assert found["commit"] == (
        f"{'c' * 40} by Ada <a@x>, committed by forge <f@x>, with Lin <l@x>, merging ddddddd, pull request"
        " #12, tag v1."
    )
    assert found["outcome"] == "It was under way."
    own = replace(entry, release=replace(summary, committer="Ada <a@x>"))
    assert "committed by" not in dict(account(own, ()))["commit"]


def test_what_was_said_before_and_the_gates() -> None:
    """Who approved it and when; how it was promoted; each gate as it stood."""
    commit = A.revision.commit
    wishes = (
        PromotionAsked(at=at(-9), actor="ada (token 1)", source="dev", rollout="dev#3", commit=commit),
        Promoted(at=at(-8), commit=commit, branch="main", before=revision("x").commit),
        Approved(at=at(-5), actor="lin (token 2)", reason="fine", plan="sha256:p", digest="d", commit=commit),
    )
    gates = (GateEvidence(name="freezes", verdict="skipped", evidence="Skipped by ada."),)
    entry = entries(started(A))["staging#1"]
    said = [one for one in account(entry, (), wishes=wishes, gates=gates) if one[0] not in {"what", "who"}]
    short = A.revision.short
    assert said[2:-1] == [
        (
            "before",
            f"{short}, which is dev#3 in dev, is to be promoted, by ada (token 1), at 2026-11-22 10:41:51"
            " UTC.",
        ),
        (
            "before",
            f"main was pushed from {revision('x').short} to {short}, at 2026-11-22 10:41:52 UTC.",
        ),
        (
            "approval",
            f"{short} is approved, for what it would do now (sha256:p), by lin (token 2) (fine), at"
            " 2026-11-22 10:41:55 UTC.",
        ),
        ("gate freezes", "Skipped. Skipped by ada."),
    ]


def test_a_sentence_is_one_line() -> None:
    """Whatever a reason holds."""
    says = told(started(A, reason="first\nsecond \u202e third", actor=str(ADA)))
    assert "first\\nsecond \\u202e third." in says["why"]
