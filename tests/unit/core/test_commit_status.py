"""What is shown beside commits: a table of stories, and what holds after any history."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from deployer.core import commit_status
from deployer.core.commit_status import CommitStatus, Standing, changes, waiting
from deployer.core.errors import IllegalEvent
from deployer.core.events import (
    Cancelled,
    FailureClass,
    Good,
    Kind,
    Paused,
    Refused,
    RetryAsked,
    RollbackAsked,
    Started,
    Superseded,
)
from deployer.core.gates import Gating, Rules
from deployer.core.messages import COMMIT_STATUS
from deployer.core.record import Record, Result, evolve
from deployer.core.rollouts import is_live
from deployer.core.status import status
from deployer.core.types import Check, Policy, Release
from tests.support.build import (
    applied,
    at,
    desired,
    ended_well,
    failed,
    held,
    live,
    observed,
    record_of,
    release,
    running,
    seen,
    started,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from deployer.core.events import Event

A, B, C = release("a"), release("b", "math"), release("c", {"name": "fruit", "args": {"x": 1}})
SAME_AS_A = replace(A, revision=release("revert").revision)


def commit(what: Release) -> str:
    """The commit that brought it."""
    return what.revision.commit


def told(events: Iterable[Event]) -> list[tuple[str, str, str]]:
    """Every status of a history: the commit, its state, what is said."""
    record, found = Record(environment="staging"), []
    for event in events:
        found += [(one.commit, one.state.value, one.text) for one in changes(record, event)]
        record = evolve(record, event)
    return found


def shown(events: Iterable[Event]) -> dict[str, str]:
    """The last state of each commit."""
    return {of: state for of, state, _ in told(events)}


GOOD_A: list[Event] = [seen(A), started(A), applied(), *ended_well()]
BAD_B: list[Event] = [seen(B, 20), started(B, 2, second=20), applied(2, 21), failed(2, second=30), held(2)]
BACK_TO_A: list[Event] = [
    started(A, 3, kind=Kind.ROLLBACK, second=31, follows="staging#2"),
    applied(3, 32),
    *ended_well(3, 40),
]


def test_a_commit_that_ends_well() -> None:
    """It waits, is on its way, waits for its soak, and is live."""
    assert told(GOOD_A) == [
        (commit(A), "pending", "Waits to be deployed."),
        (commit(A), "running", "Being deployed."),
        (commit(A), "running", "Healthy. Waits for its soak."),
        (commit(A), "success", "Live after 10 s."),
    ]


def test_a_commit_that_fails_and_the_one_that_comes_back() -> None:
    """The bad one stays red with the cause; the restored one is told on its way, and turns green again."""
    after = told([*GOOD_A, *BAD_B, *BACK_TO_A])[4:]

    assert after == [
        (commit(B), "pending", "Waits to be deployed."),
        (commit(B), "running", "Being deployed."),
        (commit(B), "failure", after[2][2]),
        (commit(A), "running", "Being brought back."),
        (commit(A), "running", "Healthy. Waits for its soak."),
        (commit(A), "success", "Live again after 9.0 s."),
    ]
    assert after[2][2].endswith(".")
    assert shown([*GOOD_A, *BAD_B, *BACK_TO_A]) == {commit(A): "success", commit(B): "failure"}


def test_a_rollback_that_fails() -> None:
    """Nothing good runs then: both are red."""
    story: list[Event] = [*GOOD_A, *BAD_B, BACK_TO_A[0], applied(3, 32), failed(3, second=50)]

    assert shown(story) == {commit(A): "failure", commit(B): "failure"}
    assert told(story)[-1][2].startswith("The rollback to it failed: ")


def test_what_is_checked_is_said() -> None:
    """Healthy is not good yet."""
    policy = Policy(checks=(Check(app="fruit", path="/"),))
    record = record_of(seen(A), started(A, policy=policy), applied(), observed(second=2))
    (one,) = changes(record, ended_well()[1])

    assert one.text == "Healthy. Waits for its checks and its soak."


def test_what_git_wanted_before_is_never_left_waiting() -> None:
    """Overtaken before it was begun, while it was on its way, or after it had ended."""
    waiting_b: list[Event] = [*GOOD_A, seen(B, 20), seen(C, 21)]
    assert told(waiting_b)[-2:] == [
        (commit(B), "cancelled", f"Overtaken by {C.revision.short} before it was deployed."),
        (commit(C), "pending", "Waits to be deployed."),
    ]

    on_its_way: list[Event] = [*GOOD_A, seen(B, 20), started(B, 2, second=20), applied(2, 21), seen(C, 22)]
    overtaken = Superseded(at=at(23), rollout="staging#2", by=commit(C))
    assert shown([*on_its_way, overtaken]) == {
        commit(A): "success",
        commit(B): "cancelled",
        commit(C): "pending",
    }
    assert told([*on_its_way, overtaken])[-1][2] == f"Overtaken by {commit(C)[:7]} before it was live."
    assert shown([*GOOD_A, *BAD_B, seen(C, 60)])[commit(B)] == "failure"
    assert shown([*GOOD_A, seen(B, 20), seen(B, 21)])[commit(B)] == "pending"


def test_one_that_found_no_room_stays_red_until_it_is_tried_again() -> None:
    """It is not held, and what overtakes it does not change what became of it."""
    starved: list[Event] = [*GOOD_A, seen(B, 20), started(B, 2, second=20), applied(2, 21)]
    starved.append(failed(2, 30, FailureClass.CAPACITY))
    again = started(B, 3, second=90)

    assert shown(starved)[commit(B)] == "failure"
    assert shown([*starved, seen(C, 60)])[commit(B)] == "failure"
    assert told([*starved, seen(B, 60)])[-1] == told(starved)[-1]
    assert shown([*starved, again])[commit(B)] == "running"


def test_a_commit_that_changes_nothing_here() -> None:
    """It is as live as the one whose config it has; a held config is red whoever brings it."""
    back: list[Event] = [*GOOD_A, *BAD_B, *BACK_TO_A]
    revert = told([*back, seen(SAME_AS_A, 60)])[-1]
    again = replace(B, revision=release("again").revision)

    assert revert == (commit(SAME_AS_A), "success", f"Live: it has the config of {A.revision.short}.")
    assert told([*GOOD_A, seen(A, 60)])[-1][1:] == ("success", "Live.")
    assert told([*back, seen(again, 60)])[-1][1:2] == ("failure",)
    assert told([*back, seen(again, 60)])[-1][2].startswith("Held, and not deployed: ")


def test_a_later_commit_of_what_is_on_its_way_shares_its_end() -> None:
    """Nothing is started for it, so nothing else would tell."""
    way: list[Event] = [seen(A), started(A), applied(), seen(SAME_AS_A, 5)]

    assert told(way)[-1] == (
        commit(SAME_AS_A),
        "running",
        "On its way: staging#1 deploys the same config.",
    )
    assert shown([*way, *ended_well()]) == {commit(A): "success", commit(SAME_AS_A): "success"}
    assert shown([*way, failed()]) == {commit(A): "failure", commit(SAME_AS_A): "failure"}
    assert shown([*way, seen(B, 6)]) == {
        commit(A): "running",
        commit(SAME_AS_A): "cancelled",
        commit(B): "pending",
    }


def test_what_cannot_be_deployed_is_red() -> None:
    """With the sentence, made harmless; without a commit there is nothing to show it beside."""
    refused = Refused(at=at(1), message="serve_config.yaml:3:\x1b[31m no\u202e\nsuch key", commit="f" * 40)

    assert told([refused]) == [("f" * 40, "failure", "serve_config.yaml:3: no such key")]
    assert told([replace(refused, commit=None)]) == []


def test_one_more_try_waits_again() -> None:
    """Of what git wants; what it wants no more, or what is live, is let be."""
    bad: list[Event] = [*GOOD_A, *BAD_B, *BACK_TO_A]
    retry = RetryAsked(at=at(70), actor="ada", reason="a flake", digest=B.digest)

    asked = "Waits to be tried once more: asked for by ada (a flake)."
    assert told([*bad, retry])[-1] == (commit(B), "pending", asked)
    assert told([*bad, replace(retry, reason="")])[-1][2] == asked.replace(" (a flake)", "")
    assert told([*bad, replace(retry, digest=C.digest)]) == told(bad)
    assert told([*GOOD_A, replace(retry, digest=A.digest)]) == told(GOOD_A)
    assert told([replace(retry, digest=A.digest)]) == []


def test_a_rewrite_that_somebody_accepts_waits() -> None:
    """It was red, because it does not follow."""
    refused = Refused(at=at(60), message="It does not follow.", commit=commit(B), is_rewrite=True)
    accepted = RetryAsked(at=at(61), actor="ada", digest="", accepts=commit(B))

    assert told([*GOOD_A, refused, accepted])[-2:] == [
        (commit(B), "failure", "It does not follow."),
        (commit(B), "pending", "ada wants it deployed, although it does not follow."),
    ]


def asked_back(second: float = 60) -> RollbackAsked:
    """A person wants A again."""
    return RollbackAsked(at=at(second), actor="ada", reason="it is slow", release=A, made_good="staging#1")


def test_what_a_person_goes_away_from_is_red() -> None:
    """What is live, and what git wants; not what they go to, nor what is red for a cause of its own."""
    live_b: list[Event] = [*GOOD_A, seen(B, 20), started(B, 2, second=20), applied(2, 21), *ended_well(2, 30)]
    back = f"Rolled back: ada went back to {A.revision.short} (it is slow)."

    assert told([*live_b, asked_back()])[-1:] == [(commit(B), "failure", back)]
    assert told([*live_b, seen(C, 50), asked_back()])[-2:] == [
        (commit(B), "failure", back),
        (commit(C), "failure", back),
    ]
    bad: list[Event] = [*GOOD_A, *BAD_B]
    assert told([*bad, asked_back()]) == told(bad)
    assert told([replace(asked_back(), at=at(0))]) == []


def test_what_is_ended_by_a_rollback_is_red_and_what_is_ended_alone_is_not() -> None:
    """Who goes back holds what was on its way."""
    on_its_way: list[Event] = [*GOOD_A, seen(B, 20), started(B, 2, second=20), applied(2, 21)]
    cancelled = Cancelled(at=at(61), actor="ada", reason="it is slow", rollout="staging#2")

    assert told([*on_its_way, asked_back(), cancelled])[-1] == (
        commit(B),
        "failure",
        "Cancelled by ada (it is slow).",
    )
    assert shown([*on_its_way, cancelled])[commit(B)] == "cancelled"


@pytest.mark.parametrize("kind", [Kind.HEAL, Kind.RESTORE])
def test_a_repair_is_told_when_it_fails_and_when_all_is_well_again(kind: Kind) -> None:
    """The commit is not to blame for the cluster; and one that is healed each hour fills no list."""
    ends_well: list[Event] = [started(A, 2, kind=kind, second=30), applied(2, 31), *ended_well(2, 40)]
    fails: list[Event] = [started(A, 2, kind=kind, second=30), applied(2, 31), failed(2, second=40)]
    again: list[Event] = [started(A, 3, kind=kind, second=50), applied(3, 51), *ended_well(3, 60)]

    assert told([*GOOD_A, *ends_well]) == told(GOOD_A)
    more = told([*GOOD_A, *fails, *again])[len(told(GOOD_A)) :]
    assert [(of, state) for of, state, _ in more] == [(commit(A), "failure"), (commit(A), "success")]
    assert more[0][2].startswith("It could not be ")


def test_what_is_secret_in_the_release_is_not_told() -> None:
    """By value: the cluster's words are clean already, a person's reason may not be."""
    secret = release("s", {"name": "fruit", "runtime_env": {"env_vars": {"KEY": "hunter2-hunter2"}}})
    retry = RetryAsked(at=at(70), actor="ada", reason="the key is hunter2-hunter2", digest=secret.digest)
    story: list[Event] = [seen(secret), started(secret), applied(), failed(), held(), retry]

    assert "hunter2" not in str(told(story))
    assert "<redacted>" in told(story)[-1][2]


def test_a_long_text_is_cut() -> None:
    """The outbox keeps no novels."""
    assert len(told([Refused(at=at(1), message="x" * 9000, commit="f" * 40)])[0][2]) == 1000


# --- what no event tells ---------------------------------------------------------------------------------

GATED = Gating(rules=Rules(manual=True, requires={"dev": 60.0}))


def waits(*events: Event, wanted: Release = B, gating: Gating = GATED) -> CommitStatus | None:
    """What is waited for after these events."""
    record = record_of(*events)
    return waiting(status(desired(wanted), running(A), record, at(100), {}, gating))


def test_what_a_commit_waits_for_is_told() -> None:
    """The closed gates by name, and the sentence of the first."""
    found = waits(*GOOD_A, seen(B, 20))
    assert found is not None
    assert (found.commit, found.state) == (commit(B), Standing.PENDING)
    assert found.text.startswith("Waits for requires, manual. Nothing is known of dev yet")
    assert found.waits_for == "gates requires, manual"


def test_a_pause_is_told_where_nothing_else_is_in_the_way() -> None:
    """It says what is waited for: somebody who resumes."""
    paused: list[Event] = [*GOOD_A, seen(B, 20), Paused(at=at(30), actor="ada")]
    found = waits(*paused, gating=Gating())

    assert found is not None
    assert (found.text, found.waits_for) == ("Waits while staging is paused.", "pause")
    assert waits(*GOOD_A, seen(B, 20), gating=Gating()) is None


def test_what_does_not_wait_is_not_told_to() -> None:
    """Live, on its way, held, not noted yet; or nothing is wanted."""
    assert waits(*GOOD_A, wanted=A) is None
    assert waits(*GOOD_A, seen(B, 20), started(B, 2, second=20)) is None
    assert waits(*GOOD_A, *BAD_B, *BACK_TO_A) is None
    assert waits(*GOOD_A, wanted=B) is None
    assert waits(wanted=B) is None
    record = record_of(*GOOD_A, seen(B, 20))
    assert waiting(replace(status(desired(B), live(), record, at(100)), wanted=None)) is None


def test_a_status_is_one_message_for_each_context_and_commit() -> None:
    """A newer one takes the place of an older; only a wait that is the same is not written again."""
    found = CommitStatus(commit="f" * 40, state=Standing.SUCCESS, text="Live.", rollout="staging#1")
    message = commit_status.message("staging", "forge/configs", found)

    assert (message.kind, message.audience) == (COMMIT_STATUS, "forge/configs")
    assert (message.key, message.mark) == (f"deployer/staging {'f' * 40}", "")
    assert message.text == "deployer/staging of fffffff is success: Live."
    assert message.payload == {
        "commit": "f" * 40,
        "context": "deployer/staging",
        "state": "success",
        "text": "Live.",
        "environment": "staging",
        "rollout": "staging#1",
    }
    wait = replace(found, state=Standing.PENDING, rollout=None, waits_for="pause")
    assert commit_status.message("staging", "forge/configs", wait).mark == "pending  pause"


# --- any history -----------------------------------------------------------------------------------------

RELEASES = (A, B, C, SAME_AS_A)


def menu(record: Record, second: float) -> list[Event]:
    """What may come next, legal or not."""
    number = record.rollouts if record.rollout is not None else record.rollouts + 1
    id_ = f"staging#{number}"
    wanted = record.seen or A
    good = record.good or A
    well = ended_well(number, second)
    return [
        *(seen(one, second) for one in RELEASES),
        started(wanted, number, second=second),
        started(good, number, kind=Kind.ROLLBACK, second=second),
        started(good, number, kind=Kind.HEAL, second=second),
        applied(number, second),
        *well,
        failed(number, second=second),
        failed(number, second, FailureClass.CAPACITY),
        held(number, second),
        Superseded(at=at(second), rollout=id_, by="f" * 40),
        Cancelled(at=at(second), actor="ada", rollout=id_),
        RetryAsked(at=at(second), actor="ada", digest=wanted.digest),
        RollbackAsked(at=at(second), actor="ada", release=A, made_good="staging#1"),
        Refused(at=at(second), message="no", commit="e" * 40),
    ]


def may_be(record: Record, event: Event, went_well: Collection[str]) -> bool:
    """Whether the daemon could note this, beside its being legal."""
    match event:
        case Superseded():
            # Nothing overtakes what git wants.
            return record.seen != getattr(record.rollout, "release", None)
        case RollbackAsked(release=to):
            return to.digest in went_well
        case Started(kind=kind):
            return kind is Kind.DEPLOY or record.good is not None
        case _:
            return True


@settings(deadline=None, max_examples=300)
@given(st.lists(st.integers(0, 18), max_size=60))
def test_after_any_history_each_commit_shows_what_is_true_of_it(choices: list[int]) -> None:
    """Whatever is on its way is shown so; what is over is; what git wants shows how it stands."""
    record, last = Record(environment="staging"), dict[str, Standing]()
    went_well, said = set[str](), list[object]()
    for second, choice in enumerate(choices):
        event = menu(record, second)[choice]
        try:
            after = evolve(record, event)
        except IllegalEvent:
            continue
        if not may_be(record, event, went_well):
            continue
        if isinstance(event, Good) and record.rollout is not None:
            went_well.add(record.rollout.release.digest)
        last |= {one.commit: one.state for one in changes(record, event)}
        record = after
        said.append((event.type, getattr(getattr(event, "release", None), "digest", "")[7:10], choice))
    note(said)

    under_way = {Standing.PENDING, Standing.RUNNING}
    rollout, wanted = record.rollout, record.seen
    current = {commit(one.release) for one in [rollout] if one is not None}
    current |= {commit(wanted)} if wanted is not None else set()
    assert all(state not in under_way for of, state in last.items() if of not in current)
    if rollout is not None and rollout.kind in (Kind.DEPLOY, Kind.ROLLBACK):
        assert last[commit(rollout.release)] is Standing.RUNNING
    if rollout is None and record.last is not None and record.last.kind in (Kind.DEPLOY, Kind.ROLLBACK):
        ended = last[commit(record.last.release)]
        assert record.last.result is not Result.GOOD or ended is not Standing.CANCELLED
    if wanted is not None and rollout is None:
        hold = record.hold_of(wanted.digest)
        if hold is not None and not hold.may_retry:
            assert last[commit(wanted)] is Standing.FAILURE
        if is_live(record, wanted.digest):
            assert last[commit(wanted)] is Standing.SUCCESS
