"""What does not follow from what was deployed waits for a person; what is not signed, for a signature."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployer.core import commands, lineage, sentences
from deployer.core.actions import Note, Wait
from deployer.core.announce import announcement
from deployer.core.decide import decide
from deployer.core.events import Event, Refused, RetryAsked, RollbackAsked, Seen, Started
from deployer.core.record import Record, evolve
from deployer.core.status import Mode, Sync, status
from deployer.core.types import Desired, Lineage, Person, Rewritten, Signature, Unverified, Wanted
from tests.support.build import applied, at, ended_well, record_of, release, revision, running, seen, started

A, B, C = release("a"), release("b"), release("c")
GOOD = (seen(A), started(A), applied(), *ended_well())
WHY = "branch main was rewritten: it does not hold 86f7e43"
SIGNED = Signature(commit=B.revision.commit, signer="ada@example.com", key="SHA256:x")
UNSIGNED = Unverified(revision=B.revision, commit=C.revision.commit, why="commit 84a5169 is not signed")


def rewritten(*, since: str = "a", accepts: bool = False) -> Desired:
    """Git wants B, which does not follow from the commit of that name."""
    return Desired(
        release=B,
        lineage=Lineage(since=revision(since).commit, rewritten=WHY),
        accepts_rewrites=accepts,
        signatures=(SIGNED,),
    )


def noted(wanted: Wanted, record: Record) -> tuple[Record, list[Event], Wait | None]:
    """All that is noted of these facts, and the wait after that, if it comes to one."""
    events: list[Event] = []
    while isinstance(action := decide(wanted, running(A), record, at(50)), Note):
        for event in action.events:
            record = evolve(record, event)
            events.append(event)
    return record, events, action if isinstance(action, Wait) else None


def test_a_rewritten_branch_waits_and_says_for_what() -> None:
    """Once refused with the commit and its author; nothing is started, what runs stays."""
    record, events, wait = noted(rewritten(), record_of(*GOOD))

    (refused,) = events
    assert isinstance(refused, Refused)
    assert (refused.commit, refused.is_rewrite, refused.actor) == (
        B.revision.commit,
        True,
        "Ada <ada@example.com>",
    )
    assert wait is not None
    says = f"e9d71f5 is not deployed: {WHY}. If that is meant, type `deployer retry staging --reason ...`."
    assert wait.reason == f"{says} {sentences.name(A)} is live."
    told = status(rewritten(), running(A), record, at(51))
    assert (told.sync, told.mode, told.wanted) == (Sync.OUT_OF_SYNC, Mode.WAITING, None)
    assert announcement(record_of(*GOOD), refused) == f"staging: {says}"


def test_a_person_accepts_the_very_commit_that_they_saw() -> None:
    """`deployer retry` lets that one through; another rewrite waits again."""
    record, _, _ = noted(rewritten(), record_of(*GOOD))
    answer = commands.retry(record, actor="ada (local)", reason="history was cleaned", now=at(60))
    assert isinstance(answer, commands.Accepted)
    assert answer.message == f"e9d71f5 is deployed, although it does not follow from {sentences.name(A)}."
    (asked,) = answer.events
    assert isinstance(asked, RetryAsked)
    assert announcement(record, asked) == (
        "staging: ada (local) wants e9d71f5 deployed, although it does not follow (history was cleaned)."
    )
    accepted = evolve(record, asked)

    other = replace(rewritten(), release=C)
    assert isinstance(lineage.admitted(other, accepted), Rewritten)

    after, events, _ = noted_first(rewritten(), accepted)
    saw, start = events
    assert isinstance(saw, Seen)
    assert isinstance(start, Started)
    assert (saw.rewritten, saw.signatures) == (WHY, (SIGNED,))
    assert announcement(accepted, saw) == (
        f"staging: {sentences.name(B)}: it does not follow from what was deployed ({WHY}), and is accepted."
    )
    assert after.accepted is None


def noted_first(wanted: Wanted, record: Record) -> tuple[Record, list[Event], None]:
    """What is noted up to the start of a rollout."""
    events: list[Event] = []
    while record.rollout is None:
        action = decide(wanted, running(A), record, at(70))
        assert isinstance(action, Note)
        for event in action.events:
            record = evolve(record, event)
            events.append(event)
    return record, events, None


def test_the_settings_can_accept_every_rewrite() -> None:
    """It is deployed at once, and recorded all the same."""
    _, events, _ = noted_first(rewritten(accepts=True), record_of(*GOOD))
    assert isinstance(events[0], Seen)
    assert events[0].rewritten == WHY


@pytest.mark.parametrize(
    ("wanted", "record"),
    [
        pytest.param(rewritten(since="c"), record_of(*GOOD), id="compared with what is not the last"),
        pytest.param(rewritten(), record_of(), id="nothing was wanted before"),
        pytest.param(Desired(release=B), record_of(*GOOD), id="not compared"),
        pytest.param(
            Desired(release=B, lineage=Lineage(since=A.revision.commit)), record_of(*GOOD), id="it follows"
        ),
    ],
)
def test_what_is_not_known_to_be_rewritten_passes(wanted: Desired, record: Record) -> None:
    """The rule needs a comparison with the very commit that git wanted last."""
    assert lineage.admitted(wanted, record) is wanted
    assert lineage.rewritten(wanted, record) == ""


def test_the_commits_in_between_are_recorded_as_superseded() -> None:
    """With the release that overtook them; a comparison with something else tells nothing."""
    between = (revision("y").commit, revision("x").commit)
    people = (Person(name="Lin", email="lin@example.com"),)
    compared = Lineage(since=A.revision.commit, between=between, people=people)
    wanted = Desired(release=B, lineage=compared)
    _, events, _ = noted_first(wanted, record_of(*GOOD))
    assert isinstance(events[0], Seen)
    assert (events[0].superseded, events[0].people) == (between, people)
    assert lineage.people(wanted, record_of(seen(C))) == (C.revision.author,), "it was never good"
    assert lineage.between(wanted, record_of(seen(C))) == ()


def test_what_is_not_signed_waits() -> None:
    """The sentence says which commit; a retry cannot help, a signature does."""
    record, events, wait = noted(UNSIGNED, record_of(*GOOD))
    (refused,) = events
    assert isinstance(refused, Refused)
    assert not refused.is_rewrite
    assert refused.message == "e9d71f5 is not deployed: commit 84a5169 is not signed"
    assert wait is not None
    assert "84a5169 is not signed" in wait.reason
    assert sentences.name(A) in wait.reason
    told = status(UNSIGNED, running(A), record, at(51))
    assert (told.sync, told.mode) == (Sync.OUT_OF_SYNC, Mode.WAITING)
    answer = commands.retry(record, actor="ada", reason="please", now=at(60))
    assert isinstance(answer, commands.Declined)
    assert "84a5169 is not signed" in answer.why

    signed = Desired(release=B, signatures=(SIGNED,))
    _, events, _ = noted_first(signed, record)
    assert isinstance(events[0], Seen)
    assert events[0].signatures == (SIGNED,)


def test_what_was_accepted_is_forgotten_when_git_says_something_else() -> None:
    """A later force-push to that commit waits again; so does one after a rollback."""
    record, _, _ = noted(rewritten(), record_of(*GOOD))
    asked = RetryAsked(at=at(60), actor="ada", digest="", accepts=B.revision.commit)
    accepted = evolve(record, asked)
    assert accepted.accepted == B.revision.commit
    same = Refused(at=at(61), message="x", commit=B.revision.commit)
    assert evolve(accepted, same).accepted == B.revision.commit
    assert evolve(accepted, Refused(at=at(61), message="x", commit=C.revision.commit)).accepted is None
    back = RollbackAsked(at=at(61), release=A, made_good="staging#1")
    assert evolve(accepted, back).accepted is None
