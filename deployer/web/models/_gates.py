"""What stands between git and the cluster: each gate, whether it is open, and the evidence.

Owns the list of gates for one environment: those that every environment has, then those of the settings, as a
release meets them. Must not look at a cluster, so that it is answered at once: what only a look can tell
(room, somebody else's applications, what would be approved) is what the last pass has published. Invariant: a
gate that keeps a release from being deployed is closed here, with the sentence that the status has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.core import planning, sentences
from deployer.core.explain import GATED, explain
from deployer.core.times import timestamp
from deployer.core.types import Desired

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from deployer.core.record import Record
    from deployer.core.types import Wanted

OPEN, CLOSED = "open", "closed"

_OPEN = {
    "paused": "Nobody has paused the environment.",
    "held": "What git wants is not held here.",
    "held upstream": "What git wants is not held in any other environment.",
    "in flight": "No other release is on its way.",
}
"""The gates that the record tells of, by the words of `core.planning`, and what is said of each when open."""


def gates(
    wanted: Wanted, record: Record, upstream: Mapping[str, Record], view: Mapping[str, Any], now: datetime
) -> list[dict[str, Any]]:
    """The gates in the order in which a release meets them. `wanted` is what was admitted."""
    everywhere = [
        {"name": name, "verdict": verdict, "evidence": evidence, "next_check": next_check, "plan": None}
        for name, verdict, evidence, next_check in _gates(wanted, record, upstream, view, now)
    ]
    return [*everywhere, *_published(wanted, view)]


def _gates(
    wanted: Wanted, record: Record, upstream: Mapping[str, Record], view: Mapping[str, Any], now: datetime
) -> Iterator[tuple[str, str, str, str | None]]:
    again = explain(view)["looks_again_at"]
    if not isinstance(wanted, Desired):
        yield "git", CLOSED, sentences.nothing_to_deploy(wanted, record), again
    else:
        yield "git", OPEN, f"Git wants {sentences.name(wanted.release)}.", None
    if view["cluster"] is None:
        yield "cluster", CLOSED, view["message"], again
    else:
        yield "cluster", OPEN, f"The cluster answers (Ray {view['cluster']['ray_version']}).", None
    closed = _closed(wanted, record, upstream, now)
    for name, evidence in _OPEN.items():
        until = _next_check(name, record, again)
        yield (name, CLOSED, closed[name], until) if name in closed else (name, OPEN, evidence, None)
    if view["mode"] == "waiting" and isinstance(wanted, Desired) and not _is_gated(view):
        yield "policy", CLOSED, view["message"], again
    else:
        yield "policy", OPEN, "Nothing else keeps what git wants from being deployed.", None


def _closed(wanted: Wanted, record: Record, upstream: Mapping[str, Record], now: datetime) -> dict[str, str]:
    """Of the gates that the record tells of, those that are closed, with why."""
    if not isinstance(wanted, Desired):
        return {"paused": sentences.paused(record)} if record.paused is not None else {}
    found = planning.gates(wanted.release, wanted.policy, record, None, now, {}, upstream)
    return {gate.what: gate.why for gate in reversed(found)}


def _published(wanted: Wanted, view: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The gates of the settings, where the last pass saw what git wants now."""
    seen = view["wanted"]
    is_same = isinstance(wanted, Desired) and seen is not None and seen["digest"] == wanted.release.digest
    return list(view.get("gates") or ()) if is_same else []


def _is_gated(view: Mapping[str, Any]) -> bool:
    """Whether it is the gates of the settings that are waited for: each says so itself."""
    return (view.get("policy") or {}).get("line") == GATED


def _next_check(name: str, record: Record, again: str | None) -> str | None:
    """When it may open by itself; None where only a person, or a new commit, can open it."""
    if name == "paused":
        return timestamp(record.paused.until) if record.paused else None
    return again if name == "in flight" else None
