"""What `decide` relies on of a cluster, one test per fact, on the fake one and on a real Ray.

A fact that is neither here nor in `test_cluster_trust.py` may not be relied on, and the fake may not
imitate it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.serve import Rejected
from deployer.core.scrub import REDACTED
from tests.contract.lab import app, ids, last_line

if TYPE_CHECKING:
    from deployer.core.live import App
    from tests.contract.lab import Bench


def tried(seen: App) -> set[str]:
    """Its replicas, the dead ones too."""
    return ids(seen) | {replica.replica_id for one in seen.deployments for replica in one.dead}


def asking(**options: Any) -> list[dict[str, Any]]:
    """The deployment, whose replica asks for these resources."""
    return [{"name": "D", "ray_actor_options": {"num_cpus": 0, **options}}]


def test_a_put_is_seen_in_the_first_look_after_it_under_one_stamp(bench: Bench) -> None:
    """After the 200 each application shows our config, one new stamp, DEPLOYING and no deployments."""
    sent = [app("a"), app("b", args={"version": "1"})]
    seen = bench.put(*sent)
    assert seen.serve_started
    assert seen.session
    assert seen.ray_version
    assert set(seen.apps) == {"a", "b"}
    (stamp,) = {one.last_deployed_time_s for one in seen.apps.values()}
    assert stamp > 0
    for one in sent:
        shown = seen.apps[one["name"]]
        assert (shown.status, shown.source, shown.config) == ("DEPLOYING", "declarative", one)
        assert shown.deployments == ()
    for name in ("a", "b"):
        done = bench.until(name, "RUNNING")
        assert done.last_deployed_time_s == stamp
        (deployment,) = done.deployments
        assert (deployment.name, deployment.target_replicas, deployment.running_replicas) == ("D", 1, 1)
        assert all(replica.node_id for replica in deployment.replicas)
        assert (done.message, deployment.message) == ("", "")
    assert set(bench.look().proxies.values()) <= {"STARTING", "HEALTHY"}
    assert bench.look().session == seen.session


def test_an_identical_put_restarts_nothing_and_moves_the_stamp(bench: Bench) -> None:
    """This is what makes repeating a PUT of unknown outcome safe, and a stamp the proof that it arrived."""
    bench.put(app("a"))
    before = bench.until("a", "RUNNING")
    first = bench.put(app("a")).apps["a"]
    assert first.last_deployed_time_s > before.last_deployed_time_s
    assert first.status in {"DEPLOYING", "RUNNING"}
    assert {d.status for d in first.deployments} == {"HEALTHY"}
    after = bench.until("a", "RUNNING")
    assert ids(first) == ids(before) == ids(after)


def test_an_application_left_out_is_deleted_and_the_others_keep_their_replicas(bench: Bench) -> None:
    """The list is the whole truth; an empty one leaves Serve running with nothing on it."""
    bench.put(app("a"), app("b"))
    before = bench.until("a", "RUNNING")
    bench.until("b", "RUNNING")
    shown = bench.put(app("a")).apps.get("b")
    assert shown is None or (shown.status, shown.config) == ("DELETING", None)
    left = bench.until_true(lambda seen: "b" not in seen.apps)
    assert ids(left.apps["a"]) == ids(before)
    assert left.apps["a"].last_deployed_time_s > before.last_deployed_time_s
    bench.put()
    assert bench.until_true(lambda seen: not seen.apps).serve_started


def test_what_a_change_restarts_and_how_the_config_is_reported(bench: Bench) -> None:
    """A new `user_config` and another replica leave the running ones alone; new code replaces them.

    Serve reports the config that it received, but for the type of numbers.
    """
    bench.put(app("a"))
    first = bench.until("a", "RUNNING")
    tuned = {
        "name": "D",
        "user_config": {"answer": "hi"},
        "num_replicas": 2,
        "graceful_shutdown_timeout_s": 1,
    }
    shown = bench.put(app("a", deployments=[tuned])).apps["a"]
    assert shown.config == app("a", deployments=[tuned])
    second = bench.until("a", "RUNNING")
    assert (second.deployments[0].target_replicas, second.deployments[0].running_replicas) == (2, 2)
    assert ids(first) < ids(second)
    bench.put(app("a", args={"version": "2"}))
    third = bench.until("a", "RUNNING")
    assert not ids(third) & ids(second)


def test_a_failed_build_is_told_by_the_application_and_costs_no_replica(bench: Bench) -> None:
    """DEPLOY_FAILED, no deployments, the error in the last line; the way back finds the old replicas."""
    bench.put(app("a"), app("b"))
    before = {name: bench.until(name, "RUNNING") for name in ("a", "b")}
    bench.put(app("a"), app("b", "import_error:app"))
    failed = bench.until("b", "DEPLOY_FAILED")
    assert failed.deployments == ()
    error = "ModuleNotFoundError: No module named 'a_module_that_nobody_installed'"
    assert last_line(failed.message) == error
    assert ids(bench.until("a", "RUNNING")) == ids(before["a"])
    bench.put(app("a"), app("b"))
    assert ids(bench.until("b", "RUNNING")) == ids(before["b"])


def test_a_failed_constructor_is_told_by_the_deployment_and_not_tried_again(bench: Bench) -> None:
    """The application only names the deployment; the same PUT again calls no constructor; good heals."""
    bench.put(app("a"))
    bench.until("a", "RUNNING")
    bench.put(app("a", "constructor_raises:app"))
    retrying = bench.until_true(lambda seen: any(d.message for d in seen.apps["a"].deployments)).apps["a"]
    assert (retrying.status, retrying.deployments[0].status) == ("DEPLOYING", "UPDATING")
    assert retrying.deployments[0].message.startswith("A replica failed to start with exception. Retrying ")
    failed = bench.until("a", "DEPLOY_FAILED")
    (deployment,) = failed.deployments
    assert (deployment.status, deployment.status_trigger) == ("DEPLOY_FAILED", "REPLICA_STARTUP_FAILED")
    assert deployment.message.startswith("The deployment failed to start 3 times in a row")
    assert last_line(deployment.message) == "FileNotFoundError: no model file at models/fruit.bin"
    assert failed.message == "Failed to update the deployments ['D']."

    again = bench.put(app("a", "constructor_raises:app")).apps["a"]
    assert again.last_deployed_time_s > failed.last_deployed_time_s
    # One turn of Serve's loop later at most; until then the deployment shows its old verdict.
    assert {d.status for d in again.deployments} == {"DEPLOY_FAILED"}
    refused = bench.until("a", "DEPLOY_FAILED")
    assert refused.deployments[0].message == deployment.message
    assert tried(refused) == tried(failed)

    bench.put(app("a"))
    assert bench.until("a", "RUNNING").message == ""


def test_a_failed_reconfigure_ends_like_a_failed_constructor_and_good_heals(bench: Bench) -> None:
    """The code is the same, so Serve does not build; the replicas with the bad `user_config` cannot start."""
    bench.put(app("a"))
    bench.until("a", "RUNNING")
    bench.put(app("a", deployments=[{"name": "D", "user_config": {"fail": True}}]))
    failed = bench.until("a", "DEPLOY_FAILED")
    (deployment,) = failed.deployments
    assert (deployment.status, deployment.status_trigger) == ("DEPLOY_FAILED", "REPLICA_STARTUP_FAILED")
    assert last_line(deployment.message) == "ValueError: cannot use {'fail': True}"
    bench.put(app("a"))
    bench.until("a", "RUNNING")


def test_a_deployment_that_the_code_does_not_have_fails_in_the_first_look(bench: Bench) -> None:
    """With the code unchanged nothing is built, so the verdict is there at once."""
    bench.put(app("a"))
    bench.until("a", "RUNNING")
    seen = bench.put(app("a", deployments=[{"name": "Nobody", "num_replicas": 1}])).apps["a"]
    assert (seen.status, seen.deployments) == ("DEPLOY_FAILED", ())
    assert last_line(seen.message) == "ValueError: Deployment 'Nobody' does not exist. Available: ['D']"


def test_a_replica_without_room_is_starting_on_no_node_and_a_new_put_overtakes_it(bench: Bench) -> None:
    """Serve never gives up on it by itself; the next config does not wait for it, and takes what is free.

    There are four CPUs.
    """
    bench.put(app("a", deployments=asking(num_cpus=8)))
    seen = bench.until_true(lambda seen: any(d.replicas for d in seen.apps["a"].deployments)).apps["a"]
    assert (seen.status, seen.deployments[0].status) == ("DEPLOYING", "UPDATING")
    assert {(r.state, r.node_id) for r in seen.deployments[0].replicas} == {("STARTING", None)}
    bench.put(app("a", deployments=asking(num_cpus=1)))
    bench.until("a", "RUNNING")


def test_a_config_against_the_schema_changes_nothing(bench: Bench) -> None:
    """Such a 400 is the one that needs no repair."""
    bench.put(app("a"))
    before = bench.until("a", "RUNNING")
    with pytest.raises(Rejected) as refused:
        bench.put(app("a", args={"version": "2"}), {"name": "b", "route_prefix": "/b"})
    assert not refused.value.half_applied
    assert "applications.1.import_path: Field required" in refused.value.message
    assert bench.look().apps == {"a": before}


def test_a_config_that_breaks_the_controller_is_half_applied_and_a_good_one_heals(bench: Bench) -> None:
    """The first application has its new config, the second hangs for good; the next PUT cures both."""
    bench.put(app("a"), app("b"))
    before = bench.until("a", "RUNNING")
    bench.until("b", "RUNNING")
    bad = app("b", runtime_env={"env_vars": {"NUMBER": 123456789}})
    with pytest.raises(Rejected) as refused:
        bench.put(app("a"), bad)
    assert refused.value.half_applied
    assert "123456789" not in refused.value.message
    assert REDACTED in refused.value.message
    seen = bench.look()
    assert (seen.apps["b"].status, seen.apps["b"].deployments) == ("DEPLOYING", ())
    assert seen.apps["a"].last_deployed_time_s > before.last_deployed_time_s
    bench.put(app("a"), app("b"))
    assert ids(bench.until("a", "RUNNING")) == ids(before)
    bench.until("b", "RUNNING")


def test_an_environment_variable_is_in_the_config_but_in_no_message(bench: Bench) -> None:
    """Serve tells everything to everybody; what people read of it is masked."""
    secret = 'hunter2\'s "password"'
    broken = app("a", runtime_env={"env_vars": {"GREETER_RAISES": secret}})
    shown = bench.put(broken).apps["a"]
    assert shown.config == broken
    failed = bench.until("a", "DEPLOY_FAILED")
    assert last_line(failed.deployments[0].message) == f"RuntimeError: {REDACTED}"
    assert "hunter2" not in failed.message + failed.deployments[0].message
    assert "hunter2" not in repr(failed)
