"""The plan: its digest is that of the effect, and what stands before a deploy is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployer.core import planning
from deployer.core.body import NONCE
from deployer.core.diff import diff
from deployer.core.events import Kind, Paused
from deployer.core.history import Entry, Summary
from deployer.core.live import Live, Unreachable
from deployer.core.planning import Duration, Gate
from deployer.core.record import Record, Result
from deployer.core.types import Policy, Release
from tests.support.build import app, at, deployment, live, record_of, release, running, started
from tests.unit.core.test_commands import failed, good
from tests.unit.core.test_diff import body, stand

NEWEST = "2.60.0"
A, B = release("a", "fruit"), release("b", "fruit", "math")
AWAY = Unreachable(why="The cluster is away.")


# --- what serves meanwhile -------------------------------------------------------------------------------


def served(old: dict[str, Any], new: dict[str, Any], seen: Live | None = None) -> list[tuple[str, int]]:
    """Each deployment that is forecast, with the lowest number that serves."""
    found = planning.served(diff(old, new, NEWEST), old, new, seen, NEWEST)
    return [(f"{one.application}/{one.deployment}", one.forecast.lowest) for one in found]


def test_only_what_is_replaced_or_reconfigured_is_forecast_and_the_worst_first() -> None:
    """Scaling takes nothing away; what is added or removed is said already."""
    old = body(
        {
            "deployments": [
                {"name": name, "num_replicas": count} for name, count in (("A", 4), ("B", 1), ("C", 1))
            ]
        }
    )
    new = body(
        {
            "deployments": [
                {"name": "A", "num_replicas": 4, "ray_actor_options": {"num_cpus": 0}},
                {"name": "B", "num_replicas": 1, "user_config": {"x": 1}},
                {"name": "C", "num_replicas": 2},
            ]
        },
        {"name": "new", "route_prefix": "/n", "deployments": [{"name": "N"}]},
    )
    assert served(old, new) == [("fruit/B", 0), ("fruit/A", 3)]


def test_the_cluster_knows_how_many_run() -> None:
    """What an autoscaler added serves, too."""
    old = body(stand(autoscaling_config={"min_replicas": 1, "max_replicas": 9}))
    new = body(
        stand(autoscaling_config={"min_replicas": 1, "max_replicas": 9}, ray_actor_options={"num_cpus": 0})
    )
    there = live(app("fruit", deployments=(deployment("Mango", target=5),)))
    assert served(old, new) == [("fruit/Mango", 0)]
    assert served(old, new, there) == [("fruit/Mango", 4)]
    assert served(old, new, live()) == [("fruit/Mango", 0)]


# --- the digest --------------------------------------------------------------------------------------


def digest(old: dict[str, Any], new: dict[str, Any], environment: str = "staging", config: str = "c") -> str:
    """The plan's digest."""
    found = diff(old, new, NEWEST)
    return planning.digest(environment, config, found, planning.served(found, old, new, None, NEWEST))


def test_the_digest_is_that_of_the_effect() -> None:
    """The same for the same effect, another for another config, environment, change or restart."""
    old, new = body(stand(num_replicas=2)), body(stand(num_replicas=3))
    same = digest(old, new)
    assert same == digest(body(stand(num_replicas=2)), body(stand(num_replicas=3)))
    others = {
        digest(old, new, "production"),
        digest(old, new, config="d"),
        digest(body(stand(num_replicas=1)), new),
        digest(old, body(stand(num_replicas=4))),
        digest(old, body(stand(num_replicas=3, max_ongoing_requests=2))),
    }
    assert len(others | {same}) == 6
    assert same.startswith("sha256:")


# --- the live side -----------------------------------------------------------------------------------


def test_the_live_side_is_what_the_cluster_last_received_of_ours() -> None:
    """Not what belongs to others or was started by hand; without the nonce; with what Serve does not tell."""
    sent = {"name": "fruit", "import_path": "good:app", "route_prefix": "/fruit"}
    stamped = {**sent, "runtime_env": {"pip": ["x"], "env_vars": {NONCE: "n", "A": "1"}}}
    seen = live(
        app("fruit", config=stamped),
        app("foreign", config={"name": "foreign"}),
        app("gone", "DELETING", config={"name": "gone"}),
        app("hand", config=None, source="imperative"),
        target_capacity=50.0,
    )
    found = planning.live_body(seen, record_of(*good(1, A)), Policy(owns=("gone", "hand")), {}, None)
    cleaned = {**sent, "runtime_env": {"pip": ["x"], "env_vars": {"A": "1"}}}
    assert found == {"target_capacity": 50.0, "applications": [cleaned]}


@pytest.mark.parametrize(
    ("received", "shown"),
    [
        ({"name": "fruit"}, {"name": "fruit"}),
        ({"name": "fruit", "runtime_env": {"pip": []}}, {"name": "fruit", "runtime_env": {"pip": []}}),
        (
            {"name": "fruit", "runtime_env": {"env_vars": {"A": "1"}}},
            {"name": "fruit", "runtime_env": {"env_vars": {"A": "1"}}},
        ),
        ({"name": "fruit", "runtime_env": {"env_vars": {NONCE: "n"}}}, {"name": "fruit", "runtime_env": {}}),
    ],
)
def test_the_nonce_is_not_what_anybody_wrote(received: dict[str, Any], shown: dict[str, Any]) -> None:
    """So it is no difference."""
    seen = live(app("fruit", config=received))
    found = planning.live_body(seen, Record(environment="staging"), Policy(owns=("fruit",)), {}, ())
    assert found == {"applications": [shown]}


def test_an_environment_that_has_nothing_yet_takes_over_what_it_wants() -> None:
    """Or, if it is not known what it wants, all that is no neighbour's."""
    apps = [app(name, config={"name": name}) for name in ("fruit", "math", "theirs")]
    for wanted, names in ((("fruit", "theirs"), ["fruit"]), (None, ["fruit", "math"])):
        found = planning.live_body(
            live(*apps), Record(environment="staging"), Policy(), {"theirs": "dev"}, wanted
        )
        assert [one["name"] for one in found["applications"]] == names


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
