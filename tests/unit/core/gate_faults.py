"""Seeded faults around the real policy, each of which `test_gates_property.py` must notice.

A gate that is left out tells all the same that it was open: a fault does not give itself away.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deployer.core import decide as policy
from deployer.core.actions import Action, Note, Wait
from deployer.core.effect import effect
from deployer.core.events import GateEvidence, Kind, Started
from deployer.core.gates import AtForge, Rules
from deployer.core.live import Live
from deployer.core.types import Desired
from tests.unit.core.gate_book import ORDER

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from deployer.core.gates import Gating
    from deployer.core.live import Observation
    from deployer.core.record import Record
    from deployer.core.types import Wanted
    from deployer.engine.reconcile import Policy as Decide

    Others = Mapping[str, str]

NONE = Rules()


def leaves_out(*names: str, if_in_flight: bool = False) -> Decide:
    """These gates are not looked at; `if_in_flight`: by what overtakes another rollout."""

    def fault(
        wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
    ) -> Action:
        if if_in_flight and record.rollout is None:
            return policy.decide(wanted, live, record, now, others, gating)
        less: dict[str, Any] = {name: getattr(NONE, name) for name in names}
        fewer = replace(gating, rules=replace(gating.rules, **less))
        action = policy.decide(wanted, live, record, now, others, fewer)
        gone = {name for name in names if getattr(gating.rules, name) != getattr(NONE, name)}
        return _started(action, lambda begun: replace(begun, gates=_with(begun, gone)))

    return fault


def of_record(change: Callable[[Record, Wanted, Observation, datetime], Record]) -> Decide:
    """The gates read something else than what is recorded."""

    def fault(
        wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
    ) -> Action:
        return policy.decide(wanted, live, change(record, wanted, live, now), now, others, gating)

    return fault


def of_gating(change: Callable[[Gating], Gating]) -> Decide:
    """The gates are told something else."""

    def fault(
        wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
    ) -> Action:
        return policy.decide(wanted, live, record, now, others, change(gating))

    return fault


def of_start(change: Callable[[Started], Started]) -> Decide:
    """What begins tells something else of itself."""

    def fault(
        wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
    ) -> Action:
        return _started(policy.decide(wanted, live, record, now, others, gating), change)

    return fault


def holds_up(kind: Kind) -> Decide:
    """A rollout that puts right waits where a deploy would have to."""

    def fault(
        wanted: Wanted, live: Observation, record: Record, now: datetime, others: Others, gating: Gating
    ) -> Action:
        action = policy.decide(wanted, live, record, now, others, gating)
        if gating.rules != NONE and any(
            isinstance(event, Started) and event.kind is kind for event in getattr(action, "events", ())
        ):
            return Wait(line=31, reason="a gate is closed", seconds=15)
        return action

    return fault


# --- of the record, and of what is known elsewhere -------------------------------------------------------


def _skips_go_on(record: Record, wanted: Wanted, _live: Observation, _now: datetime) -> Record:
    """What was skipped for one commit is skipped for the next."""
    go = record.go
    if go is None or not isinstance(wanted, Desired):
        return record
    return replace(record, go=replace(go, commit=wanted.release.revision.commit))


def _failed_skips(record: Record, _wanted: Wanted, _live: Observation, _now: datetime) -> Record:
    """A promotion that was not pushed skips what it was to skip."""
    found = record.promotion
    return record if found is None else replace(record, promoted=(*record.promoted, found))


def _any_plan(record: Record, wanted: Wanted, live: Observation, _now: datetime) -> Record:
    """An approval counts for whatever the deploy would do by now."""
    if not isinstance(wanted, Desired) or not isinstance(live, Live):
        return record
    plan = effect(wanted.release, wanted.policy, live, record, {}).digest
    return replace(record, opinions=tuple(replace(one, plan=plan) for one in record.opinions))


def _for_ever(record: Record, _wanted: Wanted, _live: Observation, now: datetime) -> Record:
    """An approval does not expire."""
    return replace(record, opinions=tuple(replace(one, at=now) for one in record.opinions))


def _no_veto(record: Record, _wanted: Wanted, _live: Observation, _now: datetime) -> Record:
    """A rejection is passed over."""
    return replace(record, opinions=tuple(one for one in record.opinions if one.is_approval))


def _own(gating: Gating) -> Gating:
    """People approve what they made."""
    rule = gating.rules.approvals
    easy = replace(rule, prevent_self_approval=False) if rule is not None else None
    return replace(gating, rules=replace(gating.rules, approvals=easy))


def _silent(gating: Gating) -> Gating:
    """A forge that does not tell who merged has nothing against anybody."""
    is_silent = gating.forge is None or gating.forge.trouble is not None
    return replace(gating, forge=AtForge()) if is_silent else gating


def _started(action: Action, change: Callable[[Started], Started]) -> Action:
    """The order, with the start of a deploy changed."""
    if not isinstance(action, Note):
        return action
    events = tuple(
        change(event) if isinstance(event, Started) and event.kind is Kind.DEPLOY else event
        for event in action.events
    )
    return replace(action, events=events)


def _with(begun: Started, gone: Collection[str]) -> tuple[GateEvidence, ...]:
    told = {one.name: one for one in begun.gates}
    told |= {name: GateEvidence(name=name, verdict="open", evidence="It is open.") for name in gone}
    return tuple(told[name] for name in ORDER if name in told)


FAULTS: dict[str, tuple[Decide, str]] = {
    **{
        f"leaves out {name}": (leaves_out(name), rf"the closed gate {name}|{name} is closed")
        for name in ORDER
    },
    "overtakes through closed gates": (
        leaves_out(*ORDER, if_in_flight=True),
        "the closed gate|is closed, and told",
    ),
    "skips for the next commit too": (of_record(_skips_go_on), "the closed gate|is closed, and told"),
    "skips though it was not pushed": (of_record(_failed_skips), "the closed gate|is closed, and told"),
    "counts an approval of another plan": (of_record(_any_plan), "the closed gate approvals"),
    "counts an approval for ever": (of_record(_for_ever), "the closed gate approvals"),
    "passes over a rejection": (of_record(_no_veto), "the closed gate approvals"),
    "lets people approve their own": (of_gating(_own), "the closed gate approvals"),
    "does not wait for who merged it": (of_gating(_silent), "the closed gate approvals"),
    "tells no gates": (of_start(lambda begun: replace(begun, gates=())), "told of"),
    "tells another effect": (of_start(lambda begun: replace(begun, effect="x")), "another effect"),
    "holds up a rollback": (holds_up(Kind.ROLLBACK), "what is no deploy"),
    "holds up a restore": (holds_up(Kind.RESTORE), "what is no deploy"),
}
"""By what is wrong: the policy that does it, and the promise that it breaks."""
