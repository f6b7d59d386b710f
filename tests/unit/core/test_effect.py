"""What a deploy would do: what serves meanwhile, what is compared, and the digest that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deployer.core import effect
from deployer.core.body import NONCE
from deployer.core.diff import diff
from deployer.core.record import Record
from deployer.core.types import Policy
from tests.support.build import app, deployment, live, record_of, release
from tests.unit.core.test_commands import good
from tests.unit.core.test_diff import body, stand

if TYPE_CHECKING:
    from deployer.core.live import Live

NEWEST = "2.60.0"
DEFAULTS = Policy()
A = release("a", "fruit")


# --- what serves meanwhile -------------------------------------------------------------------------------


def served(old: dict[str, Any], new: dict[str, Any], seen: Live | None = None) -> list[tuple[str, int]]:
    """Each deployment that is forecast, with the lowest number that serves."""
    found = effect.served(diff(old, new, NEWEST), old, new, seen, NEWEST)
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


def digest(
    old: dict[str, Any],
    new: dict[str, Any],
    environment: str = "staging",
    config: str = "c",
    policy: Policy = DEFAULTS,
) -> str:
    """The plan's digest."""
    found = diff(old, new, NEWEST)
    return effect.digest(environment, config, policy, found, old, new, NEWEST)


def test_the_digest_is_that_of_the_effect() -> None:
    """The same for the same effect, another for another config, policy, environment, change or restart."""
    old, new = body(stand(num_replicas=2)), body(stand(num_replicas=3))
    same = digest(old, new)
    assert same == digest(body(stand(num_replicas=2)), body(stand(num_replicas=3)))
    others = {
        digest(old, new, "production"),
        digest(old, new, config="d"),
        digest(old, new, policy=Policy(rollback=False)),
        digest(body(stand(num_replicas=1)), new),
        digest(old, body(stand(num_replicas=4))),
        digest(old, body(stand(num_replicas=3, max_ongoing_requests=2))),
    }
    assert len(others | {same}) == 7
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
    found = effect.live_body(seen, record_of(*good(1, A)), Policy(owns=("gone", "hand")), {}, None)
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
    found = effect.live_body(seen, Record(environment="staging"), Policy(owns=("fruit",)), {}, ())
    assert found == {"applications": [shown]}


def test_an_environment_that_has_nothing_yet_takes_over_what_it_wants() -> None:
    """Or, if it is not known what it wants, all that is no neighbour's."""
    apps = [app(name, config={"name": name}) for name in ("fruit", "math", "theirs")]
    for wanted, names in ((("fruit", "theirs"), ["fruit"]), (None, ["fruit", "math"])):
        found = effect.live_body(
            live(*apps), Record(environment="staging"), Policy(), {"theirs": "dev"}, wanted
        )
        assert [one["name"] for one in found["applications"]] == names


def test_a_deployment_that_scales_by_itself_is_the_same_effect() -> None:
    """An approval is not void because traffic came."""
    scales: dict[str, Any] = {"autoscaling_config": {"min_replicas": 1, "max_replicas": 9}}
    was, will = body(stand(**scales)), body(stand(**scales, ray_actor_options={"num_cpus": 0}))
    before, after = release("was", *was["applications"]), release("will", *will["applications"])
    record = record_of(*good(1, before))
    few, many = (
        live(
            app(
                "fruit",
                config=before.config.applications()["fruit"],
                deployments=(deployment("Mango", target=count),),
            )
        )
        for count in (1, 5)
    )
    one, other = (effect.effect(after, Policy(), there, record, {}) for there in (few, many))
    assert one == other
    assert one.digest != effect.effect(before, Policy(), few, record, {}).digest
    forecasts = {effect.served(one.diff, one.old, one.new, there, NEWEST) for there in (few, many)}
    assert len(forecasts) == 2
