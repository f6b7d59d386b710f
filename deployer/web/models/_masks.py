"""What is said of one environment, for who may not see all the others: without their names.

Owns the places in which one environment's texts speak of another. Must not decide who may see what: callers
say that (`visible`; None is all). Invariant: nothing is put in place of a name because of what the name is,
but only because of where it stands; so whoever chooses a text (a commit's subject) cannot find out with it
which environments there are.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from deployer.core.events import PromotionAsked, PromotionFailed, Started
from deployer.core.gates import REQUIRES

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from deployer.core.events import Event, GateEvidence
    from deployer.core.record import Record

UNNAMED = "another environment"

_UNSEEN = "which one, and why, is shown to those who may see it"
"""In place of the reason for which something is held where the caller may not look."""

_NEIGHBOUR = re.compile(r"\benvironment ([a-z0-9][a-z0-9-]*) on the same cluster\b")
"""As `core.sentences.claims` and `core.body.obstacle` name whom an application belongs to."""

_IN_FULL = " It would be closed: "
"""What `core.gates` puts between who skipped a gate and what it says."""

_REQUIRED = {
    "open": "It is good for long enough wherever it has to be.",
    "closed": "It has to be good first in other environments, and you may not see all of these.",
}


def masked(
    view: dict[str, Any], requires: Collection[str], visible: Collection[str] | None
) -> dict[str, Any]:
    """The published status without names that the caller may not know; itself if it has none.

    `requires` are the environments that its gate of this name speaks of.
    """
    if visible is None:
        return view
    message, gates = view["message"], view.get("gates") or []
    if not all(name in visible for name in requires):
        for gate in gates:
            message = message.replace(gate["evidence"], _gate(gate)["evidence"])
        gates = [_gate(gate) for gate in gates]
    message = sentence(message, visible)
    promotion = view.get("promotion")
    if promotion is not None and promotion["source"] not in visible:
        promotion = {**promotion, "source": None, "rollout": None, "reason": "", "why": None}
    told = {"message": message, "gates": gates, "promotion": promotion}
    is_same = all(view.get(key, value) == value for key, value in told.items())
    return view if is_same else {**view, **told}


def sentence(text: str, visible: Collection[str] | None) -> str:
    """A sentence of the policy without the name of a neighbour on the same cluster."""
    if visible is None:
        return text
    return _NEIGHBOUR.sub(
        lambda found: found[0] if found[1] in visible else f"{UNNAMED} on the same cluster", text
    )


def upstream(
    records: Mapping[str, Record], digest: str, visible: Collection[str] | None
) -> Mapping[str, Record]:
    """The records, those that the caller may not see as one without a name, if the digest is held there."""
    if visible is None:
        return records
    found = {name: record for name, record in records.items() if name in visible}
    for name, record in records.items():
        hold = record.hold_of(digest)
        if name not in visible and hold is not None and not hold.may_retry:
            found[UNNAMED] = replace(record, held=(replace(hold, reason=_UNSEEN),))
    return found


def plan(
    planned: dict[str, Any], requires: Collection[str], visible: Collection[str] | None
) -> dict[str, Any]:
    """A plan, as JSON: what of its gates can name another environment, but for what is held upstream."""
    if visible is None or not planned["gates"]:
        return planned
    is_hidden = not all(name in visible for name in requires)
    gates = [
        {**gate, "why": _REQUIRED["closed"] if gate["what"] == REQUIRES and is_hidden else gate["why"]}
        for gate in planned["gates"]
    ]
    return {**planned, "gates": [{**gate, "why": sentence(gate["why"], visible)} for gate in gates]}


def event(one: Event, visible: Collection[str] | None) -> Event:
    """An event without the name of the environment that a commit was promoted from, nor the reason for it.

    Of the gates that a deploy passed, that of other environments is told without them: which it spoke of then
    is not known any more.
    """
    if visible is None:
        return one
    if isinstance(one, Started):
        return replace(one, gates=tuple(_passed(gate, visible) for gate in one.gates))
    if not isinstance(one, PromotionAsked | PromotionFailed) or one.source in visible:
        return one
    if isinstance(one, PromotionFailed):
        return replace(one, source="", why="why is shown to those who may see where it comes from")
    return replace(one, source=UNNAMED, rollout="good", reason="")


def _passed(gate: GateEvidence, visible: Collection[str]) -> GateEvidence:
    told = _gate({"name": gate.name, "verdict": gate.verdict, "evidence": gate.evidence})
    return replace(gate, evidence=sentence(told["evidence"], visible))


def _gate(gate: Mapping[str, Any]) -> Mapping[str, Any]:
    if gate["name"] != REQUIRES:
        return gate
    said = _REQUIRED.get(gate["verdict"])
    if said is None:
        # Skipped: who did it and why is told as it is.
        said = gate["evidence"].partition(_IN_FULL)[0]
    return {**gate, "evidence": said}
