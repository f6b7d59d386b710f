"""The plan: how long it takes, and what stands before a deploy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deployer.core import planning
from deployer.core.diff import diff
from deployer.core.events import Kind, Paused
from deployer.core.history import Entry, Summary
from deployer.core.live import Unreachable
from deployer.core.planning import Duration, Gate
from deployer.core.record import Record, Result
from deployer.core.types import Policy, Release
from tests.support.build import app, at, record_of, release, running, started
from tests.unit.core.test_commands import failed, good
from tests.unit.core.test_diff import body

NEWEST = "2.60.0"

A, B = release("a", "fruit"), release("b", "fruit", "math")
AWAY = Unreachable(why="The cluster is away.")


# --- how long ----------------------------------------------------------------------------------------


def entry(
    number: int, seconds: float | None, kind: Kind = Kind.DEPLOY, result: Result = Result.GOOD
) -> Entry:
    """A rollout that took so long."""
    return Entry(
        id=f"staging#{number}",
        environment="staging",
        kind=kind,
        release=Summary(revision="r", digest="d", subject="s", author="a"),
        trigger="push",
        actor="ada",
        started_at=at(0),
        finished_at=None if seconds is None else at(seconds),
        result=result,
    )


def test_the_duration_is_that_of_good_deploys_of_the_same_applications() -> None:
    """Not of rollbacks, failures, others, or what is in progress."""
    entries = [
        entry(1, 31),
        entry(2, 130),
        entry(3, 5, kind=Kind.ROLLBACK),
        entry(4, 6, result=Result.FAILED),
        entry(5, 7),
        entry(6, None),
    ]
    names = frozenset({"fruit"})
    by_rollout = {f"staging#{number}": names for number in (1, 2, 3, 4, 6)} | {
        "staging#5": frozenset({"math"})
    }
    found = planning.duration(entries, by_rollout, names)
    assert found == Duration(shortest=31, longest=130, deploys=2)
    assert str(found) == "31 s to 2m10s (the last 2 deploys)"


def test_without_history_there_is_no_duration() -> None:
    """And with one, one number."""
    assert planning.duration([], {}, frozenset({"fruit"})) is None
    one = planning.duration([entry(1, 31)], {"staging#1": frozenset({"fruit"})}, frozenset({"fruit"}))
    assert str(one) == "31 s (the last deploy)"


# --- what stands before it ---------------------------------------------------------------------------


def gates(
    record: Record,
    what: Release = B,
    seen: Any = None,
    upstream: dict[str, Record] | None = None,
) -> list[tuple[str, str]]:
    """Each gate."""
    found = planning.gates(what, Policy(), record, seen or running(A), at(100), {}, upstream or {})
    assert all(isinstance(gate, Gate) for gate in found)
    return [(gate.what, gate.why) for gate in found]


def test_nothing_stands_before_an_ordinary_deploy() -> None:
    """Nor before what is live already, and the cluster need not be asked."""
    assert gates(record_of(*good(1, A))) == []
    assert gates(record_of(*good(1, A)), A) == []
    assert gates(record_of(*good(1, A)), seen=AWAY) == []


def test_what_is_held_is_told_here_and_elsewhere() -> None:
    """Before the merge, because it would not be deployed after it."""
    held = record_of(*good(1, A), *failed(2, B))
    assert [what for what, _ in gates(held)] == ["held"]
    ((what, why),) = gates(record_of(*good(1, A)), upstream={"dev": held})
    assert what == "held upstream"
    assert why.startswith("The same config failed in dev, where it is held: ")
    asked = replace(held, held=tuple(replace(one, may_retry=True) for one in held.held))
    assert gates(record_of(*good(1, A)), upstream={"dev": asked}) == []


def test_a_pause_and_a_rollout_in_flight_are_told() -> None:
    """With who paused, and what is under way."""
    paused = record_of(*good(1, A), Paused(at=at(50), actor="ada", reason="lunch"))
    assert [what for what, _ in gates(paused)] == ["paused"]
    under_way = record_of(*good(1, A), started(release("c", "fruit"), 2))
    ((what, why),) = gates(under_way)
    assert what == "in flight"
    assert why.lower().startswith("staging#2 is under way (deploy of ")
    assert gates(record_of(*good(1, A), started(B, 2))) == []


def test_what_the_policy_would_wait_for_is_told() -> None:
    """Here somebody else's application of a wanted name."""
    seen = running(A)
    foreign = replace(
        seen, apps={**seen.apps, "math": app("math", config={"name": "math", "route_prefix": "/x"})}
    )
    ((what, why),) = gates(record_of(*good(1, A)), seen=foreign)
    assert what == "policy"
    assert "math" in why


def test_drift_is_told_unless_something_is_under_way() -> None:
    """As a sentence; a cluster that was not seen has none."""
    record = record_of(*good(1, A))
    other = running(release("x", {"name": "fruit", "import_path": "other:app"}))
    assert "fruit has another config" in str(planning.drifted(other, record))
    assert planning.drifted(running(A), record) is None
    assert planning.drifted(AWAY, record) is None
    assert planning.drifted(None, record) is None
    assert planning.drifted(other, record_of(*good(1, A), started(B, 2))) is None


def test_what_a_plan_counts() -> None:
    """Applications to add, change and remove."""
    old = body({"name": "a"}, {"name": "b", "args": {"x": 1}})
    new = body({"name": "b", "args": {"x": 2}}, {"name": "c"})
    found = diff(old, new, NEWEST)
    plan = planning.Plan(
        environment="staging",
        wanted="w",
        against="a",
        digest="d",
        config_digest="c",
        ray_version=NEWEST,
        diff=found,
    )
    assert plan.counts == (1, 1, 1)
    assert plan.has_changes
