"""What a person may say before a deploy, and what they are told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from deployer.core import consent
from deployer.core.approvals import ApprovalRule
from deployer.core.commands import Accepted, Declined
from deployer.core.events import Approved, Refused, Rejected, SyncAsked
from deployer.core.gates import Rules
from deployer.core.record import evolve
from tests.support.build import at, record_of, release, seen
from tests.unit.core.test_commands import good

if TYPE_CHECKING:
    from deployer.core.commands import Answer
    from deployer.core.record import Record

A, B = release("a"), release("b")
NOW = at(100)
PLAN, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
RULES = Rules(approvals=ApprovalRule(required=2, people=frozenset({"lin", "bob"})))
WAITS = record_of(*good(1, A), seen(B, 50))


def approve(record: Record = WAITS, rules: Rules = RULES, **more: Any) -> Answer:
    """Lin approves what is waited for, unless told otherwise."""
    wish: dict[str, Any] = {
        "plan": PLAN,
        "current": PLAN,
        "of": B.digest,
        "actor": "lin (token x)",
        "login": "lin",
        "reason": "",
        "now": NOW,
    }
    return consent.approve(record, rules, **{**wish, **more})


def test_an_approval_is_for_what_it_would_do() -> None:
    """And says how many there are by now; who repeats it counts once."""
    answer = approve(reason="looked at it")
    assert isinstance(answer, Accepted)
    (event,) = answer.events
    assert event == Approved(
        at=NOW,
        actor="lin (token x)",
        reason="looked at it",
        plan=PLAN,
        digest=B.digest,
        commit=B.revision.commit,
    )
    named = f'{B.revision.short} "commit b"'
    assert answer.message == f"{named} is approved for staging by lin, as 1 of 2."
    record = evolve(WAITS, event)
    again, other = approve(record), approve(record, login="bob", actor="bob (token y)")
    assert isinstance(again, Accepted)
    assert isinstance(other, Accepted)
    assert again.message.endswith("as 1 of 2.")
    assert other.message.endswith("as 2 of 2.")


def test_only_what_counts_is_counted() -> None:
    """Neither what is too old by now, nor one of somebody who may not approve any more."""
    answer = approve()
    assert isinstance(answer, Accepted)
    record = evolve(WAITS, answer.events[0])
    late = approve(record, login="bob", actor="bob (token y)", now=NOW + timedelta(days=8))
    assert isinstance(late, Accepted)
    assert late.message.endswith("as 1 of 2.")
    only_bob = Rules(approvals=ApprovalRule(required=2, people=frozenset({"bob"})))
    other = approve(record, only_bob, login="bob", actor="bob (token y)")
    assert isinstance(other, Accepted)
    assert other.message.endswith("as 1 of 2.")


def test_a_rejection_needs_a_reason() -> None:
    """For those who have to change it."""
    silent = approve(rejects=True)
    assert isinstance(silent, Declined)
    assert (silent.exit_code, silent.why.startswith("A reason is needed")) == (64, True)
    answer = approve(rejects=True, reason="too dear")
    assert isinstance(answer, Accepted)
    (event,) = answer.events
    assert isinstance(event, Rejected)
    assert answer.message.endswith("is rejected for staging: it is not deployed as it is.")


def test_who_made_it_may_reject_it_and_not_approve_it() -> None:
    """Whoever finds the fault in their own commit says so; a stranger to the gate says neither."""
    rules = Rules(approvals=ApprovalRule(required=1, people=frozenset({"ada", "lin"})))
    own: dict[str, Any] = {"login": "ada", "actor": "ada (token z)", "reason": "a leak", "rules": rules}
    assert isinstance(approve(**own), Declined)
    assert isinstance(approve(**own, rejects=True), Accepted)
    assert isinstance(approve(**{**own, "login": "eve"}, rejects=True), Declined)


@pytest.mark.parametrize(
    ("record", "more", "says"),
    [
        (WAITS, {"rules": Rules()}, "Nothing has to be approved in staging"),
        (WAITS, {"login": None}, "Who approves must be known for sure"),
        (WAITS, {"current": None}, "Nothing waits for approvals in staging"),
        (record_of(), {}, "Nothing waits for approvals in staging"),
        (
            WAITS,
            {"of": A.digest},
            "what that would do is not found yet: look at `deployer plan staging` again",
        ),
        (WAITS, {"of": None}, "what that would do is not found yet"),
        (WAITS, {"current": OTHER}, "has changed since (sha256:111111111111, now sha256:222222222222)"),
        (WAITS, {"login": "eve"}, "Eve is not among those who may approve: bob, lin."),
    ],
)
def test_what_would_not_count_is_refused(record: Record, more: dict[str, Any], says: str) -> None:
    """With the reason, rather than counted out later."""
    answer = approve(record, **more)
    assert isinstance(answer, Declined)
    assert answer.exit_code == 7
    assert says in answer.why


def go(record: Record = WAITS, rules: Rules = RULES, **more: Any) -> Answer:
    """Somebody wants it deployed now."""
    wish: dict[str, Any] = {
        "skip": (),
        "may_override": False,
        "actor": "lin (token x)",
        "reason": "",
        "now": NOW,
    }
    return consent.go(record, rules, **{**wish, **more})


def test_where_sync_is_manual_a_person_says_go() -> None:
    """For what git is known to want; where nothing waits for it, nothing is written."""
    answer = go(rules=Rules(manual=True))
    assert isinstance(answer, Accepted)
    (event,) = answer.events
    assert isinstance(event, SyncAsked)
    assert (event.digest, event.commit, event.skipped) == (B.digest, B.revision.commit, ())
    assert answer.message == f'{B.revision.short} "commit b" is to be deployed.'
    refused = evolve(WAITS, Refused(at=at(60), message="it is gone"))
    for record, rules in (
        (WAITS, Rules()),
        (record_of(), Rules(manual=True)),
        (record_of(*good(1, A)), Rules(manual=True)),
        (refused, Rules(manual=True)),
    ):
        assert go(record, rules) == Accepted(events=(), message="")


def test_gates_are_skipped_by_who_may_with_a_reason() -> None:
    """And only those that can be."""
    answer = go(skip=("windows", "requires"), may_override=True, reason="fire")
    assert isinstance(answer, Accepted)
    (event,) = answer.events
    assert isinstance(event, SyncAsked)
    assert event.skipped == ("windows", "requires")
    assert answer.message.endswith("is to be deployed without waiting for windows, requires.")
    refusals = [
        go(skip=("approvals",), may_override=True, reason="fire"),
        go(skip=("windows",), reason="fire"),
        go(skip=("windows",), may_override=True),
    ]
    assert [one.exit_code for one in refusals if isinstance(one, Declined)] == [64, 7, 64]


def test_only_the_config_that_was_shown_is_deployed() -> None:
    """Another one is refused, wherever sync is manual or not; and who was shown none deploys nothing."""
    manual = Rules(manual=True)
    shown = go(rules=manual, digest=B.digest)
    assert isinstance(shown, Accepted)
    assert [event.type for event in shown.events] == ["sync_asked"]
    assert go(rules=manual, digest=consent.NOT_SHOWN) == Accepted(events=(), message="")
    for rules in (manual, Rules()):
        other = go(rules=rules, digest=A.digest)
        assert isinstance(other, Declined)
        assert other.exit_code == 7
        assert f'which is {B.revision.short} "commit b", {B.digest[:19]}: look at' in other.why
    nothing = go(record_of(), digest=A.digest)
    assert isinstance(nothing, Declined)
    assert "which is nothing yet: look at" in nothing.why


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (record_of(), "What git wants in staging is not known yet, so there is nothing to skip a gate for"),
        (
            evolve(WAITS, Refused(at=at(60), message="it is gone")),
            "What git says of staging cannot be deployed",
        ),
        (record_of(*good(1, A)), f'{A.revision.short} "commit a" is what git is known to want in staging'),
    ],
)
def test_a_gate_is_not_skipped_for_nothing(record: Record, says: str) -> None:
    """Who overrides one is told that nothing was recorded, rather than that all is well."""
    answer = go(record, skip=("windows",), may_override=True, reason="fire")
    assert isinstance(answer, Declined)
    assert answer.exit_code == 7
    assert answer.why.startswith(says)
    assert "nothing was recorded: see `deployer status staging`." in answer.why
