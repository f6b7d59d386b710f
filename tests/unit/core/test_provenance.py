"""Who brought a release: approvals as they counted, skipped gates, promotions, and who wanted it."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core.events import (
    Approved,
    Event,
    Good,
    Paused,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Proposed,
    Rejected,
    Seen,
    SyncAsked,
)
from deployer.core.history import Entry, advance
from deployer.core.provenance import provenance
from deployer.core.record import Pushing
from deployer.core.types import Merged
from tests.support.build import at, release, started

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.core.provenance import Provenance

A, B = release("a"), release("b")
COPY, MERGE = "c" * 40, "e" * 40


def deploy_of(what: Any = A) -> Entry:
    """The deploy that brought it."""
    nothing: Mapping[str, Entry] = {}
    return reduce(advance, [started(what, 1, second=100)], nothing)["staging#1"]


def approved(who: str, second: float, what: Any = A, **more: Any) -> Approved:
    """Somebody approved it."""
    values = {"plan": "sha256:1", "digest": what.digest, "commit": what.revision.commit, **more}
    return Approved(at=at(second), actor=who, **values)


def rejected(who: str, second: float, what: Any = A) -> Rejected:
    """Somebody rejected it."""
    return Rejected(
        at=at(second),
        actor=who,
        reason="no",
        plan="sha256:1",
        digest=what.digest,
        commit=what.revision.commit,
    )


def asked(second: float, commit: str = A.revision.commit, **more: Any) -> PromotionAsked:
    """Somebody promoted a commit."""
    values = {"actor": "lin", "source": "dev", "rollout": "dev#3", **more}
    return PromotionAsked(at=at(second), commit=commit, **values)


def promoted(second: float, commit: str = A.revision.commit, copied: str | None = None) -> Promoted:
    """It got there."""
    return Promoted(at=at(second), actor="lin", commit=commit, branch="env/staging", copied=copied)


def proposed(second: float, head: str, commit: str = A.revision.commit) -> Proposed:
    """A pull request is open for it."""
    return Proposed(
        at=at(second), commit=commit, branch="main", head=head, number=7, url="https://forge.example/7"
    )


def of(*before: Event) -> Provenance:
    """Who brought A, after these events."""
    return provenance(deploy_of(), before)


APPROVALS: dict[str, tuple[tuple[Event, ...], list[str]]] = {
    "nobody": ((), []),
    "two people": ((approved("ada (token 1)", 1), approved("grace", 2)), ["ada (token 1)", "grace"]),
    "withdrawn": ((approved("ada (token 1)", 1), rejected("ada (token 2)", 2)), []),
    "withdrawn by another": ((approved("ada", 1), rejected("grace", 2)), ["ada"]),
    "withdrawn, and given again": ((approved("ada", 1), rejected("ada", 2), approved("ada", 3)), ["ada"]),
    "given twice": ((approved("ada", 1), approved("grace", 2), approved("ada", 3)), ["grace", "ada"]),
    "of another config": ((approved("ada", 1, B), rejected("grace", 2, B), approved("grace", 3)), ["grace"]),
    "a rejection of another config": ((approved("ada", 1), rejected("ada", 2, B)), ["ada"]),
    "of another commit with the same config": ((approved("ada", 1, commit="f" * 40),), ["ada"]),
    "git wanted another in between": ((approved("ada", 1), Seen(at=at(2), release=B)), []),
    "git wanted the same once more": ((approved("ada", 1), Seen(at=at(2), release=A)), ["ada"]),
    "it was deployed before, and is again": ((approved("ada", 1), Good(at=at(2), rollout="staging#0")), []),
    "what else happens": ((approved("ada", 1), Paused(at=at(2), actor="ada")), ["ada"]),
}


@pytest.mark.parametrize(("before", "actors"), APPROVALS.values(), ids=APPROVALS)
def test_whose_approval_stood_when_the_deploy_began(before: tuple[Event, ...], actors: list[str]) -> None:
    """As the gate counted it: each person's last word on what git wanted then."""
    assert [one.actor for one in of(*before).approvals] == actors


def test_an_approval_has_all_that_was_said() -> None:
    """When, why, for which plan, and by which review."""
    [one] = of(approved("ada", 1, reason="looks right", review="gh-12", plan="sha256:9")).approvals

    assert (one.at, one.reason, one.plan, one.review) == (at(1), "looks right", "sha256:9", "gh-12")


def test_who_wanted_it_deployed_and_what_was_skipped() -> None:
    """The last wish counts, each skip is told; what is for another commit is not."""
    commit = A.revision.commit
    found = of(
        SyncAsked(
            at=at(1), actor="ada", reason="hotfix", digest=A.digest, commit=commit, skipped=("windows",)
        ),
        Seen(at=at(2), release=B),
        SyncAsked(at=at(3), actor="eve", digest=B.digest, commit=B.revision.commit, skipped=("requires",)),
        SyncAsked(at=at(4), actor="grace", digest=A.digest, commit=commit),
    )

    assert found.go is not None
    assert (found.go.actor, found.go.at) == ("grace", at(4))
    assert [(one.gates, one.actor, one.reason) for one in found.skips] == [(("windows",), "ada", "hotfix")]
    after = of(
        *[SyncAsked(at=at(1), digest=A.digest, commit=commit, skipped=("drift",))],
        Good(at=at(2), rollout="x"),
    )
    assert (after.go, after.skips) == (None, ())


PROMOTIONS: dict[str, tuple[tuple[Event, ...], tuple[Event, ...], str | None, Pushing | None]] = {
    "nobody": ((), (), None, None),
    "pushed": ((asked(1), promoted(2)), (), "lin", Pushing.PROMOTED),
    "pushed, as was found out later": ((asked(1),), (promoted(120),), "lin", Pushing.PROMOTED),
    "nobody knows yet": ((asked(1),), (), "lin", Pushing.ASKED),
    "of another commit": ((asked(1, "f" * 40), promoted(2, "f" * 40)), (), None, None),
    "it did not get there": (
        (asked(1), PromotionFailed(at=at(2), commit=A.revision.commit, why="no")),
        (),
        None,
        None,
    ),
    "the second time it did": (
        (
            asked(1, actor="eve"),
            PromotionFailed(at=at(2), commit=A.revision.commit, why="no"),
            asked(3),
            promoted(4),
        ),
        (),
        "lin",
        Pushing.PROMOTED,
    ),
    "a copy, known before the push": (
        (asked(1, "f" * 40, copied=A.revision.commit),),
        (),
        "lin",
        Pushing.ASKED,
    ),
    "a copy, made anew": (
        (asked(1, "f" * 40, copied=COPY), promoted(2, "f" * 40, copied=A.revision.commit)),
        (),
        "lin",
        Pushing.PROMOTED,
    ),
    "the top of a pull request": (
        (asked(1, "f" * 40), proposed(2, A.revision.commit, "f" * 40)),
        (),
        "lin",
        Pushing.PROPOSED,
    ),
    "one that squashed it, as was found out later": (
        (asked(1, "f" * 40), proposed(2, COPY, "f" * 40)),
        (promoted(120, "f" * 40, copied=A.revision.commit),),
        "lin",
        Pushing.PROMOTED,
    ),
    "one that outlasted the next promotion, which failed": (
        (
            asked(1, "f" * 40),
            proposed(2, COPY, "f" * 40),
            asked(3, "e" * 40, actor="eve"),
            PromotionFailed(at=at(4), commit="e" * 40, why="no"),
            promoted(5, "f" * 40, copied=A.revision.commit),
        ),
        (),
        "lin",
        Pushing.PROMOTED,
    ),
    "an outcome of nothing that was asked for": ((promoted(2),), (), None, None),
    "an outcome of another": ((asked(1), promoted(2, "f" * 40)), (), "lin", Pushing.ASKED),
    "what was asked for after it began": ((), (asked(120), promoted(121)), None, None),
    "the last of two": (
        (asked(1, actor="eve"), promoted(2), asked(3), promoted(4)),
        (),
        "lin",
        Pushing.PROMOTED,
    ),
}


@pytest.mark.parametrize(("before", "after", "actor", "result"), PROMOTIONS.values(), ids=PROMOTIONS)
def test_who_promoted_it(
    before: tuple[Event, ...], after: tuple[Event, ...], actor: str | None, result: Pushing | None
) -> None:
    """The last who brought the very commit, or what says the same; not who failed to."""
    found = provenance(deploy_of(), before, after).promotion

    assert (found.actor if found else None, found.result if found else None) == (actor, result)


def test_a_merge_is_promoted_by_what_it_brought_in() -> None:
    """Its second parent is the top of the pull request."""
    merge = replace(A, revision=replace(A.revision, merged=Merged(commit=MERGE)))
    found = provenance(deploy_of(merge), [asked(1, "f" * 40), proposed(2, MERGE, "f" * 40)]).promotion

    assert found is not None
    assert (found.source, found.rollout, found.commits) == ("dev", "dev#3", ("f" * 40, MERGE))
    assert (found.pull_request, found.url, found.ended_at) == (7, "https://forge.example/7", at(2))


def test_a_promotion_skips_gates_too() -> None:
    """With its reason; that of one which failed does not count."""
    failed = PromotionFailed(at=at(2), commit=A.revision.commit, why="no")
    found = of(
        asked(1, skipped=("drift",)), failed, asked(3, skipped=("soak",), reason="hotfix"), promoted(4)
    )

    assert [(one.gates, one.actor, one.at, one.reason) for one in found.skips] == [
        (("soak",), "lin", at(3), "hotfix")
    ]
