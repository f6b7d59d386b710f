"""What the log says of a rollout when it begins: the gates it passed, what it is about to do, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployer.core.actions import Note
from deployer.core.decide import decide
from deployer.core.effect import effect
from deployer.core.events import GateEvidence, Kind, Started, SyncAsked
from deployer.core.gates import Gating, Proof, Rules
from deployer.core.windows import Fixed
from tests.support.build import at, desired, record_of, release, running, seen
from tests.unit.core.test_commands import failed, good

if TYPE_CHECKING:
    from deployer.core.types import Release

A, B = release("a"), release("b")
LIVE = running(A)


def start(*more: SyncAsked, gating: Gating, newest: Release = B) -> Started:
    """What begins when git wants the newest."""
    record = record_of(*good(1, A), seen(newest, 50), *more)
    action = decide(desired(newest), LIVE, record, at(100), {}, gating)
    assert isinstance(action, Note)
    (event,) = action.events
    assert isinstance(event, Started)
    return event


def test_a_deploy_tells_its_gates_and_its_effect() -> None:
    """In the order in which they were met, with what each of them said then."""
    rules = Rules(requires={"us": 30.0}, manual=True)
    go = SyncAsked(at=at(60), actor="ada (local)", commit=B.revision.commit, digest=B.digest)
    event = start(go, gating=Gating(rules=rules, proofs={"us": Proof(good_since=at(10))}))
    assert [(one.name, one.verdict) for one in event.gates] == [("requires", "open"), ("manual", "open")]
    assert event.gates[0] == GateEvidence(
        name="requires", verdict="open", evidence="It is good in us for long enough."
    )
    assert event.gates[1].evidence.startswith("ada wants it deployed, since ")
    record = record_of(*good(1, A), seen(B, 50))
    assert event.effect == effect(B, desired(B).policy, LIVE, record, {}).digest
    assert (event.ray_version, event.session) == (LIVE.ray_version, LIVE.session)


def test_a_gate_that_was_skipped_stays_one() -> None:
    """With who skipped it, and what it would have said."""
    freeze = Fixed(begins=at(0), ends=at(1000), reason="Christmas")
    go = SyncAsked(
        at=at(60),
        actor="ada (local)",
        reason="prices",
        commit=B.revision.commit,
        digest=B.digest,
        skipped=("freezes",),
    )
    (gate,) = start(go, gating=Gating(rules=Rules(freezes=(freeze,)))).gates
    assert (gate.name, gate.verdict) == ("freezes", "skipped")
    assert gate.evidence.startswith("Skipped by ada: prices. It would be closed: ")


@pytest.mark.parametrize("rules", [Rules(), Rules(drift=True)])
def test_what_waits_for_no_gate_has_none(rules: Rules) -> None:
    """A rollback is not held up, so it tells none; where it runs it tells all the same."""
    assert len(start(gating=Gating(rules=rules)).gates) == rules.drift
    record = record_of(*good(1, A), *failed(2, B))
    action = decide(desired(B), running(B), record, at(100), {}, Gating(rules=rules))
    assert isinstance(action, Note)
    (event,) = action.events
    assert isinstance(event, Started)
    assert (event.kind, event.gates, event.effect) == (Kind.ROLLBACK, (), "")
    assert event.session == LIVE.session
