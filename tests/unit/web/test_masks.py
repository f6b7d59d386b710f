"""Who may not see an environment does not read its name in what is said of another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployer.core import body, gates, sentences, telling
from deployer.core.approvals import ApprovalRule
from deployer.core.events import Promoted, PromotionAsked, Seen
from deployer.core.gates import Gating, Proof, Rules
from deployer.core.record import evolve
from deployer.core.status import status, view
from deployer.web.models import masks
from tests.support.build import (
    applied,
    at,
    desired,
    ended_well,
    failed,
    held,
    live,
    record_of,
    release,
    running,
    seen,
    started,
)

A, B = release("a"), release("b")
SECRET = "europe"
ASKED = PromotionAsked(
    at=at(50),
    actor="ada (local)",
    reason=f"{SECRET} made it good",
    source=SECRET,
    rollout=f"{SECRET}#3",
    commit=B.revision.commit,
)
GOOD = record_of(seen(A), started(A), applied(), *ended_well())


def shown(proof: Proof, *events: Any) -> dict[str, Any]:
    """What is published of staging, which requires `europe` and approvals."""
    rules = Rules(requires={SECRET: 60.0}, approvals=ApprovalRule(required=1, people=frozenset({"lin"})))
    record = GOOD
    for event in (seen(B, 40), *events):
        record = evolve(record, event)
    gating = Gating(rules=rules, proofs={SECRET: proof})
    return view(status(desired(B), running(A), record, at(60), gating=gating))


@pytest.mark.parametrize(
    "proof",
    [
        Proof(why=f"{SECRET} has not had it: nothing is good there yet."),
        Proof(why=f"{SECRET}#4 is trying it in {SECRET}."),
        Proof(good_since=at(55)),
        Proof(good_since=at(-900)),
    ],
)
def test_a_gate_that_requires_another_environment_does_not_name_it(proof: Proof) -> None:
    """Neither the gate, nor the sentence of the status that has the gate's evidence in it."""
    found = shown(proof)
    assert SECRET in str(found)

    told = masks.masked(found, [SECRET], {"staging"})

    assert SECRET not in str(told)
    assert told["gates"][0]["evidence"].startswith("It ")
    assert told["message"].startswith(B.revision.short)
    assert [gate["name"] for gate in told["gates"]] == ["requires", "approvals"]
    assert told["gates"][1] == found["gates"][1]


def test_who_skipped_it_is_told_all_the_same() -> None:
    """But not what it says."""
    found = shown(
        Proof(why=f"{SECRET} has not had it."),
        replace(ASKED, reason="a fix", skipped=("requires",)),
        Promoted(at=ASKED.at, commit=ASKED.commit, branch="env/staging"),
    )

    told = masks.masked(found, [SECRET], {"staging"})

    assert told["gates"][0]["evidence"] == "Skipped by ada: a fix."
    assert SECRET not in str(told)


def test_a_promotion_does_not_name_where_it_came_from() -> None:
    """The rest of it is told."""
    found = shown(Proof(good_since=at(-900)), ASKED)
    assert found["promotion"]["source"] == SECRET

    told = masks.masked(found, [], {"staging"})["promotion"]

    assert told == {**found["promotion"], "source": None, "rollout": None, "reason": ""}
    assert SECRET not in str(told)
    assert masks.masked(found, [], {"staging", SECRET})["promotion"] == found["promotion"]


def test_the_log_does_not_either() -> None:
    """What a person reads of the event; any other event stays what it is."""
    told = masks.event(ASKED, {"staging"})
    assert SECRET not in telling.says(told)
    assert told.reason == ""
    assert masks.event(ASKED, {"staging", SECRET}) is ASKED
    assert masks.event(ASKED, None) is ASKED
    other = Seen(at=at(1), release=A)
    assert masks.event(other, {"staging"}) is other


def test_whom_an_application_belongs_to_is_not_told() -> None:
    """In the two sentences of the policy that say it; whether there is such an environment makes none."""
    cluster = live(*running(A).apps.values())
    obstacle = body.obstacle(A, cluster, frozenset(), {"fruit": SECRET}, adopts=False)
    assert obstacle is not None
    for said in (obstacle, sentences.claims(A, "fruit", SECRET)):
        assert SECRET in said
        assert SECRET not in masks.sentence(said, {"staging"})
        assert f"{masks.UNNAMED} on the same cluster" in masks.sentence(said, {"staging"})
        assert masks.sentence(said, {SECRET}) == masks.sentence(said, None) == said
    invented = f'{A.revision.short} "environment nowhere on the same cluster" is live.'
    assert "nowhere" not in masks.sentence(invented, {"staging"})


def test_where_it_is_held_is_not_told() -> None:
    """Nor why; that it is, is."""
    other = replace(record_of(seen(B), started(B), failed(), held()), environment=SECRET)
    records = {SECRET: other, "dev": GOOD}

    told = masks.upstream(records, B.digest, {"staging", "dev"})

    assert told.keys() == {"dev", masks.UNNAMED}
    hold = told[masks.UNNAMED].hold_of(B.digest)
    was = other.hold_of(B.digest)
    assert hold is not None
    assert was is not None
    assert was.reason not in hold.reason
    assert masks.upstream(records, B.digest, {SECRET}) == {SECRET: other}
    assert masks.upstream(records, A.digest, {"staging"}) == {}
    assert masks.upstream(records, B.digest, None) is records


def test_a_plan_does_not_name_them() -> None:
    """Its gates are told as those of the status."""
    closed = {"what": gates.REQUIRES, "why": f"{SECRET} has not had it."}
    claims = {"what": "policy", "why": sentences.claims(A, "fruit", SECRET)}
    planned = {"digest": "sha256:1", "gates": [closed, claims]}

    told = masks.plan(planned, [SECRET], {"staging"})

    assert SECRET not in str(told)
    assert [gate["what"] for gate in told["gates"]] == ["requires", "policy"]
    assert masks.plan(planned, [SECRET], None) is planned
    assert masks.plan(planned, [SECRET], {"staging", SECRET}) == planned


def test_what_names_nobody_is_left_as_it_is() -> None:
    """The very same object, so that what was made of it can be kept."""
    found = view(status(desired(A), running(A), GOOD, at(60)))
    assert masks.masked(found, [SECRET], {"staging"}) is found
    assert masks.masked(found, [SECRET], None) is found
    gated = shown(Proof(good_since=at(-900)))
    assert masks.masked(gated, [SECRET], {"staging", SECRET}) is gated
