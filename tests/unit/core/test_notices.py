"""What people are told: a table of stories in their own words, and what holds after any history."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from deployer.core import commit_status
from deployer.core.approvals import ApprovalRule
from deployer.core.errors import IllegalEvent
from deployer.core.events import (
    Cancelled,
    DriftClass,
    Drifted,
    DriftEnded,
    Event,
    Failed,
    FailureClass,
    Good,
    Kind,
    LostSight,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Proposed,
    Refused,
    RegainedSight,
    RollbackAsked,
    Superseded,
)
from deployer.core.gates import Gating, Rules
from deployer.core.notices import About, Cause, Memory, Notice, Severity, clean, step, waiting
from deployer.core.record import Record, evolve
from deployer.core.status import status
from deployer.core.types import Policy
from tests.support.build import (
    applied,
    at,
    desired,
    ended_well,
    failed,
    held,
    record_of,
    release,
    running,
    seen,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

A, B, C = release("a"), release("b", "math"), release("c", {"name": "fruit", "args": {"x": 1}})
SAME_AS_A = replace(A, revision=release("revert").revision)

GOOD_A: list[Event] = [seen(A), started(A), applied(), *ended_well()]
BAD_B: list[Event] = [seen(B, 20), started(B, 2, second=20), applied(2, 21), failed(2, second=30), held(2)]
BACK_TO_A: list[Event] = [
    started(A, 3, kind=Kind.ROLLBACK, second=31, follows="staging#2"),
    applied(3, 32),
    *ended_well(3, 40),
]
NO_BACK = Policy(rollback=False)


def told(events: Iterable[Event]) -> list[Notice]:
    """All that is told of a history."""
    record, memory, found = Record(environment="staging"), Memory(), list[Notice]()
    for event in events:
        memory, notices = step(memory, record, event)
        found += notices
        record = evolve(record, event)
    return found


def texts(events: Iterable[Event]) -> list[str]:
    """The same, in words."""
    return [f"{one.severity.label} {one.about.value}: {one.text}" for one in told(events)]


def promotion(commit: str = "f" * 40) -> PromotionAsked:
    """Somebody wants it promoted."""
    return PromotionAsked(at=at(50), actor="ada", source="dev", rollout="dev#1", commit=commit)


HOSTILE = "<img src=x onerror=1> **b** @channel \x1b[31m\u202e\n[x](javascript:1) " + "z" * 5_000

STORIES: dict[str, list[Event]] = {
    "a commit that ends well": GOOD_A,
    "one that fails, the way back, and the fix": [
        *GOOD_A,
        *BAD_B,
        *BACK_TO_A,
        seen(C, 60),
        started(C, 4, second=61),
        applied(4, 62),
        *ended_well(4, 100),
    ],
    "one that fails, and git goes back itself": [*GOOD_A, *BAD_B, *BACK_TO_A, seen(SAME_AS_A, 60)],
    "one that fails, and the way back fails, and a person helps": [
        *GOOD_A,
        *BAD_B,
        BACK_TO_A[0],
        applied(3, 32),
        failed(3, second=50),
        RollbackAsked(at=at(60), actor="ada", release=A, made_good="staging#1"),
        started(A, 4, kind=Kind.ROLLBACK, second=61),
        applied(4, 62),
        *ended_well(4, 70),
    ],
    "a rollback by hand, where nothing had failed": [
        *GOOD_A,
        seen(B, 20),
        started(B, 2, second=20),
        applied(2, 21),
        *ended_well(2, 30),
        RollbackAsked(at=at(60), actor="ada", release=A, made_good="staging#1"),
        started(A, 3, kind=Kind.ROLLBACK, second=61),
        applied(3, 62),
        *ended_well(3, 70),
    ],
    "the first one fails": [seen(A), started(A), applied(), failed(), held()],
    "no room, twice, then some": [
        *GOOD_A,
        seen(B, 20),
        started(B, 2, second=20),
        applied(2, 21),
        failed(2, 30, FailureClass.CAPACITY),
        started(B, 3, second=40),
        applied(3, 41),
        failed(3, 50, FailureClass.CAPACITY),
        started(B, 4, second=60),
        applied(4, 61),
        *ended_well(4, 70),
    ],
    "rollback is off": [
        *GOOD_A,
        seen(B, 20),
        started(B, 2, second=20, policy=NO_BACK),
        applied(2, 21),
        failed(2, second=30),
        held(2),
    ],
    "drift, a heal that fails, and one that does not": [
        *GOOD_A,
        Drifted(at=at(20), drift=DriftClass.EDITED, what="fruit was edited."),
        started(A, 2, kind=Kind.HEAL, second=30),
        applied(2, 31),
        failed(2, second=40),
        started(A, 3, kind=Kind.HEAL, second=50),
        applied(3, 51),
        *ended_well(3, 60),
    ],
    "lost, and there again": [
        *GOOD_A,
        Drifted(at=at(20), drift=DriftClass.LOST, what="The cluster lost its state."),
        Drifted(at=at(21), drift=DriftClass.LOST, what="The cluster lost it all."),
        DriftEnded(at=at(25)),
    ],
    "sick now and then": [
        *GOOD_A,
        Drifted(at=at(20), drift=DriftClass.SICK, what="fruit is sick."),
        DriftEnded(at=at(25)),
        Drifted(at=at(30), drift=DriftClass.SICK, what="fruit is sick."),
        DriftEnded(at=at(35)),
        Drifted(at=at(4000), drift=DriftClass.SICK, what="fruit is sick."),
    ],
    "git says what cannot be deployed": [
        Refused(at=at(1), message="serve_config.yaml:3: no such key. Push a fix.", commit="e" * 40),
        Refused(at=at(2), message="serve_config.yaml:3: no such key. Push a fix.", commit="d" * 40),
        Refused(at=at(3), message="The branch is gone.", commit=None),
        seen(A, 5),
    ],
    "the cluster does not answer for a while": [
        seen(A),
        started(A),
        applied(),
        LostSight(at=at(3), rollout="staging#1", why="the cluster does not answer"),
        RegainedSight(at=at(9), rollout="staging#1"),
    ],
    "it does not answer until the next rollout": [
        seen(A),
        started(A),
        LostSight(at=at(3), rollout="staging#1", why="the cluster does not answer"),
        Cancelled(at=at(4), actor="ada", rollout="staging#1"),
        started(A, 2, second=5),
        applied(2, 6),
    ],
    "a promotion that fails": [
        promotion(),
        PromotionFailed(at=at(51), commit="f" * 40, why="The push was refused."),
        promotion(),
        Promoted(at=at(52), commit="f" * 40, branch="main"),
    ],
    "a promotion that fails, and is proposed then": [
        promotion(),
        PromotionFailed(at=at(51), commit="f" * 40, why="The push was refused."),
        promotion(),
        Proposed(
            at=at(52), commit="f" * 40, branch="main", head="e" * 40, number=7, url="https://x.example/7"
        ),
    ],
    "hostile words": [
        seen(replace(A, revision=replace(A.revision, subject=HOSTILE))),
        Refused(at=at(2), message=HOSTILE),
    ],
}


def shown() -> str:
    """All stories with what is told of them."""
    lines = list[str]()
    for title, events in STORIES.items():
        lines += [f"## {title}", *texts(events), ""]
    return "\n".join(lines)


def test_every_message_is_a_sentence_with_cause_and_next_step() -> None:
    """`UPDATE_SNAPSHOTS=1` writes the file anew; git shows what changed."""
    file = Path(__file__).parent / "snapshots" / "notices.txt"
    if "UPDATE_SNAPSHOTS" in os.environ:
        file.parent.mkdir(exist_ok=True)
        file.write_text(shown())
    assert file.read_text() == shown()


@pytest.mark.parametrize("title", STORIES)
def test_every_message_has_a_next_step_and_is_one_plain_line(title: str) -> None:
    """Whatever stood in a commit: no control characters, and not without an end."""
    for one in told(STORIES[title]):
        assert one.sentence.endswith((".", "…"))
        assert one.next_step.endswith(".")
        assert one.text.isprintable()
        assert len(one.text) < 1200


def test_one_thread_for_a_rollout_and_its_way_back() -> None:
    """What failed, the way back from it and its end; what is of no rollout has a thread of its own."""
    story = STORIES["one that fails, the way back, and the fix"]
    assert [(one.about, one.thread) for one in told(story)[1:]] == [
        (About.FAILED, "staging#2"),
        (About.ROLLED_BACK, "staging#2"),
        (About.FAILED, "staging#2"),
    ]
    assert [one.thread for one in told(STORIES["a promotion that fails"])] == ["staging/promotion"] * 2


def test_a_recovery_knows_what_it_ends() -> None:
    """Each time that it was told."""
    last = told(STORIES["git says what cannot be deployed"])[-1]
    assert [(one.about, one.at) for one in last.ends] == [(About.REFUSED, at(1)), (About.REFUSED, at(3))]
    assert last.cause is Cause.GIT


def test_what_is_secret_in_a_release_is_not_told() -> None:
    """By value, in whatever words it comes."""
    secret = release("s", {"name": "fruit", "runtime_env": {"env_vars": {"KEY": "hunter2-hunter2"}}})
    story: list[Event] = [seen(secret), Refused(at=at(3), message="the key is hunter2-hunter2")]

    assert "hunter2" not in str(told(story))
    assert "<redacted>" in str(told(story))
    assert clean("x", [None]) == "x"


def test_what_is_of_no_use_alone_is_not_told() -> None:
    """An end of a rollout without one in flight makes no sense, and never gets here from a store."""
    with pytest.raises(IllegalEvent):
        step(Memory(), Record(environment="staging"), failed())


# --- what a commit waits for --------------------------------------------------------------------------------


def waits(rules: Rules) -> Notice:
    """What is told of B that waits for this."""
    record = record_of(*GOOD_A, seen(B, 20))
    found = status(desired(B), running(A), record, at(100), {}, Gating(rules=rules))
    standing = commit_status.waiting(found)
    assert standing is not None
    return waiting(found, standing, at(100))


def test_what_waits_for_people_says_how_to_approve() -> None:
    """Else it says where there is more."""
    asked = waits(Rules(approvals=ApprovalRule(required=1, people=frozenset({"ada"}))))
    manual = waits(Rules(manual=True))

    assert asked.about is About.WAITING
    assert asked.severity is Severity.INFO
    assert asked.next_step == "`deployer approve staging` shows what it would do."
    assert manual.next_step == "`deployer explain staging` says more."
    assert manual.sentence.startswith("staging: e9d71f5: Waits for manual.")


# --- any history --------------------------------------------------------------------------------------------


def menu(record: Record, second: float) -> list[Event]:
    """What may come next, legal or not."""
    number = record.rollouts if record.rollout is not None else record.rollouts + 1
    id_ = f"staging#{number}"
    wanted, good = record.seen or A, record.good or A
    return [
        *(seen(one, second) for one in (A, B, C, SAME_AS_A)),
        started(wanted, number, second=second),
        started(good, number, kind=Kind.ROLLBACK, second=second, follows="staging#1"),
        started(good, number, kind=Kind.ROLLBACK, second=second),
        started(good, number, kind=Kind.HEAL, second=second),
        applied(number, second),
        *ended_well(number, second),
        failed(number, second),
        failed(number, second, FailureClass.CAPACITY),
        held(number, second),
        Superseded(at=at(second), rollout=id_, by="f" * 40),
        Cancelled(at=at(second), actor="ada", rollout=id_),
        LostSight(at=at(second), rollout=id_, why="no answer"),
        RegainedSight(at=at(second), rollout=id_),
        Refused(at=at(second), message="no"),
        Refused(at=at(second), message="still no"),
        *(Drifted(at=at(second), drift=one, what=f"{one.value}.") for one in DriftClass),
        DriftEnded(at=at(second)),
        promotion(),
        PromotionFailed(at=at(second), commit="f" * 40, why="The push was refused."),
        Promoted(at=at(second), commit="f" * 40, branch="main"),
    ]


FAILURES = (Failed, Refused, LostSight, PromotionFailed)


@settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 28), st.sampled_from([1, 1, 1, 2000])), max_size=80))
def test_after_any_history_each_failure_is_told_once_and_ends_once(choices: list[tuple[int, int]]) -> None:
    """No two that are equal in a row; each failure is told; whatever recovers is told so exactly once."""
    record, memory, second = Record(environment="staging"), Memory(), 0
    last: dict[Cause, str] = {}
    for choice, pause in choices:
        second += pause
        event = menu(record, second)[choice]
        try:
            after = evolve(record, event)
        except IllegalEvent:
            continue
        known, notices = step(memory, record, event)
        note((event.type, [(one.about, one.cause, bool(one.ends)) for one in notices]))
        for one in notices:
            if one.cause is None:
                continue
            trouble = known.of(one.cause)
            if one.ends:
                assert last.pop(one.cause), "it was told, and has not ended yet"
                assert trouble is None
            else:
                assert trouble is not None
                assert last.get(one.cause) != trouble.mark, "it is told twice in a row"
                last[one.cause] = trouble.mark
        # Whatever is not known to be wrong any more was told so.
        assert {one.cause: one.mark for one in known.troubles} == last
        if isinstance(event, FAILURES) or (isinstance(event, Drifted) and event.drift is not DriftClass.SICK):
            is_told = any(not one.ends for one in notices)
            assert is_told or known.troubles == memory.troubles, "it was told in these words before"
            assert known.troubles
        if isinstance(event, Good) and record.rollout is not None and record.rollout.kind is Kind.DEPLOY:
            assert known.of(Cause.RELEASE) is None
            assert known.of(Cause.CLUSTER) is None
        record, memory = after, known
