"""A plan for scripts: the shape that `docs/json.md` describes, the same from the command line and the API.

Owns the names of the fields. Must not add to what the plan says. Invariant: fields are added, none changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deployer.core.capacity import Capacity
    from deployer.core.diff import Diff
    from deployer.core.planning import Plan


def to_json(plan: Plan) -> dict[str, Any]:
    """As `docs/json.md` describes it."""
    add, change, remove = plan.counts
    back, duration = plan.way_back, plan.duration
    return {
        "environment": plan.environment,
        "digest": plan.digest,
        "config_digest": plan.config_digest,
        "ray_version": plan.ray_version,
        "wanted": plan.wanted,
        "against": plan.against,
        "add": add,
        "change": change,
        "remove": remove,
        "changes": changes(plan.diff),
        "availability": [
            {
                "application": one.application,
                "deployment": one.deployment,
                "lowest": one.forecast.lowest,
                "lowest_failed": one.forecast.lowest_failed,
                "message": one.forecast.sentence,
                "message_failed": one.forecast.failed_sentence or None,
            }
            for one in plan.availability
        ],
        "capacity": plan.capacity and _capacity(plan.capacity),
        "duration": duration
        and {
            "shortest_seconds": duration.shortest,
            "longest_seconds": duration.longest,
            "deploys": duration.deploys,
        },
        "way_back": back and {"state": back.state.value, "to": back.to, "reasons": list(back.reasons)},
        "gates": [{"what": gate.what, "why": gate.why} for gate in plan.gates],
        "drift": plan.drift,
        "remarks": list(plan.remarks),
    }


def _capacity(capacity: Capacity) -> dict[str, Any]:
    return {
        "verdict": capacity.verdict.value,
        "needs": [
            {
                "resource": need.resource,
                "needed": need.needed,
                "free": need.free,
                "verdict": need.verdict.value,
            }
            for need in capacity.needs
        ],
        "notes": list(capacity.notes),
    }


def changes(found: Diff) -> list[dict[str, Any]]:
    """The differences, one object each."""
    return [
        {
            "sign": line.sign.value,
            "application": line.application or None,
            "deployment": line.deployment or None,
            "option": line.option or None,
            "change": line.change or None,
            "effect": line.restart.value,
            "note": line.note or None,
        }
        for line in found.lines
    ]
