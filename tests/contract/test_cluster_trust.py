"""More of what the daemon relies on of a cluster: slow failures, other people, what is beside Serve's API.

One test per fact, on the fake one and on a real Ray, as in `test_cluster.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.serve import LogUnavailable
from deployer.core.events import LogSource
from tests.contract.lab import SETTLES_SECONDS, Bench, RayLab, app, ids, last_line, only
from tests.support.hostile_http import Hostile, answer

if TYPE_CHECKING:
    from deployer.core.live import App
    from tests.support.ray_head import ServeHead

# An empty log is what Ray 2.60 now and then sends instead when the machine is busy.
NOT_THERE = r"^The log of replica abc cannot be had.*: (A file is not found|it sent an empty log)"

UNREACHABLE = {"working_dir": "http://127.0.0.1:1/code.zip"}


def one_replica(**more: Any) -> dict[str, Any]:
    """The deployment of `frail` with one replica instead of two."""
    return {"name": "D", "num_replicas": 1, **more}


def running(seen: App) -> set[str]:
    """Its replicas that run."""
    return {one.replica_id for d in seen.deployments for one in d.replicas if one.state == "RUNNING"}


# --- failures --------------------------------------------------------------------------------------------


def test_a_failed_start_leaves_an_old_replica_that_serves(bench: Bench) -> None:
    """Serve replaces one of two replicas, tries that six times, and counts down in its message.

    The message is there after the first failure, long before the verdict. A replica that failed is soon
    among the dead only, the newest last, and still has its log.
    """
    bench.put(app("a", "frail:app"))
    good = bench.until("a", "RUNNING")
    bench.put(app("a", "frail:app", args={"fault": "raise"}))
    left: list[int] = []

    def failed() -> App | None:
        seen = bench.look().apps["a"]
        if seen.deployments and (found := re.search(r"Retrying (\d+) more", only(seen).message)):
            assert len(running(seen) & ids(good)) == 1
            assert (seen.status, only(seen).status) == ("DEPLOYING", "UPDATING")
            assert ids(seen) - ids(good)
            left.append(int(found[1]))
        assert seen.status == "DEPLOY_FAILED", left
        return seen

    seen: App = bench.lab.until(failed, SETTLES_SECONDS)
    assert set(left) <= {5, 4, 3, 2, 1}
    assert left == sorted(left, reverse=True)
    assert left
    assert only(seen).status_trigger == "REPLICA_STARTUP_FAILED"
    assert only(seen).message.startswith("The deployment failed to start 6 times in a row")
    assert last_line(only(seen).message) == "FileNotFoundError: no model file at models/fruit.bin"
    assert len(running(seen)) == 1
    assert running(seen) < ids(good)
    assert bench.ask("/a") == 200

    dead = only(bench.until_true(lambda live: len(only(live.apps["a"]).dead) > 5).apps["a"]).dead
    assert {one.state for one in dead} == {"STOPPED"}
    assert dead[0].replica_id in ids(good)
    assert dead[-1].replica_id not in ids(good)
    assert dead[-1].replica_id in bench.log(dead[-1])

    bench.put(app("a", "frail:app"))
    assert running(seen) < ids(bench.until("a", "RUNNING"))


def test_a_failed_first_health_check_ends_like_a_failed_constructor(bench: Bench) -> None:
    """Only the error differs."""
    bench.put(app("a", "frail:app", args={"fault": "sick"}, deployments=[one_replica()]))
    retrying = bench.until_true(lambda live: any(d.message for d in live.apps["a"].deployments)).apps["a"]
    assert only(retrying).message.startswith("A replica failed to start with exception. Retrying ")
    failed = only(bench.until("a", "DEPLOY_FAILED"))
    assert (failed.status, failed.status_trigger) == ("DEPLOY_FAILED", "REPLICA_STARTUP_FAILED")
    assert last_line(failed.message) == "RuntimeError: the model does not answer"
    assert bench.ask("/a") == 503


@pytest.mark.parametrize("fault", ["crash_later", "sick_later"])
def test_a_replica_that_dies_after_its_start_flaps_and_never_fails(bench: Bench, fault: str) -> None:
    """RUNNING and HEALTHY, then UNHEALTHY, then HEALTHY again with another replica and no trigger.

    The same config again does not heal it: it is taken, under a new stamp, and is as UNHEALTHY as before.
    """
    sent = app("a", "frail:app", args={"fault": fault}, deployments=[one_replica()])
    bench.put(sent)
    first = bench.until("a", "RUNNING")
    assert only(first).status_trigger == "CONFIG_UPDATE_COMPLETED"
    sick = bench.until("a", "UNHEALTHY")
    assert sick.message == "The deployments ['D'] are UNHEALTHY."
    assert (only(sick).status, only(sick).status_trigger) == ("UNHEALTHY", "HEALTH_CHECK_FAILED")
    assert only(sick).message.startswith("A replica's health check failed.")
    again = bench.until("a", "RUNNING")
    assert only(again).status_trigger == "UNSPECIFIED"
    assert only(again).message == again.message == ""
    assert not ids(first) & ids(again)
    assert ids(first) <= {one.replica_id for one in only(again).dead}

    def sent_again() -> App:
        # A slow PUT may come after the replica was replaced: then the next flap is taken.
        sick = bench.look().apps["a"]
        assert only(sick).status == "UNHEALTHY"
        seen = bench.put(sent).apps["a"]
        assert seen.last_deployed_time_s > sick.last_deployed_time_s
        assert only(seen).status == "UNHEALTHY"
        return seen

    seen: App = bench.lab.until(sent_again, SETTLES_SECONDS)
    assert only(seen).status_trigger == "HEALTH_CHECK_FAILED"
    assert only(bench.until("a", "RUNNING")).status_trigger == "UNSPECIFIED"


def test_a_rollout_without_room_has_stopped_an_old_replica_already(bench: Bench) -> None:
    """The other one goes on; the new one is STARTING on no node, for good, and without a log."""
    bench.put(app("a", "frail:app"))
    good = bench.until("a", "RUNNING")
    nowhere = {"name": "D", "ray_actor_options": {"num_cpus": 0, "resources": {"nowhere": 1}}}
    bench.put(app("a", "frail:app", deployments=[nowhere]))

    def is_stuck(seen: App) -> bool:
        return [one.state for one in only(seen).replicas if one.replica_id not in ids(good)] == ["STARTING"]

    seen = bench.until_true(lambda live: is_stuck(live.apps["a"])).apps["a"]
    assert (seen.status, only(seen).status, only(seen).target_replicas) == ("DEPLOYING", "UPDATING", 2)
    assert len(running(seen)) == 1
    assert running(seen) < ids(good)
    (stuck,) = [one for one in only(seen).replicas if one.replica_id not in ids(good)]
    assert (stuck.node_id, stuck.log_path) == (None, "")
    assert bench.ask("/a") == 200
    bench.put(app("a", "frail:app"))
    assert running(seen) < ids(bench.until("a", "RUNNING"))


def test_an_environment_that_cannot_be_set_up_is_told_by_the_application(bench: Bench) -> None:
    """As with a failed build nothing is shown of the old replicas, and they serve and are found again."""
    bench.put(app("a"))
    good = bench.until("a", "RUNNING")
    bench.put(app("a", runtime_env=UNREACHABLE))
    failed = bench.until("a", "DEPLOY_FAILED")
    assert failed.message.startswith("Runtime env setup for app ")
    assert failed.deployments == ()
    assert bench.ask("/a") == 200
    bench.put(app("a"))
    assert ids(bench.until("a", "RUNNING")) == ids(good)


@pytest.mark.ray
@pytest.mark.timeout(240)
def test_a_failed_environment_is_not_set_up_again_before_its_key_changes(fresh_serve: ServeHead) -> None:
    """Ray remembers the failure for ten minutes: a retry needs another value in the environment.

    Not imitated: only a server that hears the downloads can tell the two apart.
    """
    with Hostile(lambda _request, _connection: answer(404)) as server, RayLab(fresh_serve) as lab:
        bench = Bench(lab)
        heard: list[int] = []
        for nonce in ("1", "1", "2"):
            environment = {"working_dir": f"{server.address}/code.zip", "env_vars": {"NONCE": nonce}}
            bench.put(app("a", runtime_env=environment))
            assert bench.until("a", "DEPLOY_FAILED").message.startswith("Runtime env setup for app ")
            heard.append(len(server.requests))
    assert 0 < heard[0] == heard[1] < heard[2]


# --- other people ----------------------------------------------------------------------------------------


def test_somebody_elses_application_lives_as_long_as_it_is_listed(bench: Bench) -> None:
    """Its config as Serve reports it, sent back, restarts nothing; left out, it is deleted."""
    theirs = app("theirs", deployments=[{"name": "D", "user_config": {"answer": "ours"}, "num_replicas": 2}])
    bench.lab.foreign_put({"applications": [theirs]})
    before = bench.until("theirs", "RUNNING")
    assert before.config is not None
    bench.put(app("a"), dict(before.config))
    bench.until("a", "RUNNING")
    after = bench.until("theirs", "RUNNING")
    assert (after.config, ids(after)) == (before.config, ids(before))
    assert after.last_deployed_time_s > before.last_deployed_time_s
    bench.put(app("a"))
    bench.until_true(lambda live: "theirs" not in live.apps)


def test_what_serve_run_has_started_is_not_touched_until_it_is_listed(bench: Bench) -> None:
    """It has no config, and no PUT deletes it. Listing its name takes it over; `serve run` takes it back."""
    bench.lab.serve_run("imp")
    before = bench.until("imp", "RUNNING")
    assert (before.source, before.config) == ("imperative", None)
    bench.put(app("a"))
    bench.until("a", "RUNNING")
    bench.put()
    seen = bench.until_true(lambda live: "a" not in live.apps)
    assert seen.apps["imp"] == before
    assert bench.put(app("imp")).apps["imp"].source == "declarative"
    taken = bench.until("imp", "RUNNING")
    assert (taken.source, taken.config) == ("declarative", app("imp"))
    assert not ids(taken) & ids(before)
    bench.lab.serve_run("imp")
    back = bench.until_true(lambda live: live.apps["imp"].source == "imperative").apps["imp"]
    assert (back.config, back.last_deployed_time_s) == (taken.config, taken.last_deployed_time_s)


def test_an_edit_by_hand_shows_in_the_config_and_in_the_stamp(bench: Bench) -> None:
    """And so does an application that somebody deleted, and one that somebody added."""
    bench.put(app("a"), app("b"))
    ours = bench.until("a", "RUNNING")
    bench.until("b", "RUNNING")
    edited = app("a", deployments=[{"name": "D", "user_config": {"answer": "by hand"}}])
    bench.lab.foreign_put({"applications": [edited, app("c")]})
    seen = bench.look().apps["a"]
    assert seen.config == edited
    assert seen.last_deployed_time_s > ours.last_deployed_time_s
    live = bench.until_true(lambda live: "b" not in live.apps)
    assert set(live.apps) == {"a", "c"}
    assert ids(bench.until("a", "RUNNING")) == ids(ours)


def test_a_new_head_has_another_session_and_nothing_on_it(bench: Bench) -> None:
    """All that Serve knew is gone, and Serve does not run before the next PUT."""
    bench.put(app("a"))
    before = bench.look()
    bench.lab.replace_head()
    after = bench.look()
    assert after.session
    assert after.session != before.session
    assert (after.serve_started, after.apps, after.options, after.proxies) == (False, {}, {}, {})


# --- what is in effect -----------------------------------------------------------------------------------


def test_the_effective_options_are_those_of_the_code_and_of_the_config(bench: Bench) -> None:
    """What neither says has its default; what the config no longer says is the code's again."""
    tuned = {"name": "D", "health_check_period_s": 2, "max_ongoing_requests": 7}
    bench.put(app("a", deployments=[tuned]))
    effective = only(bench.until("a", "RUNNING")).effective
    assert effective is not None
    assert {key: effective[key] for key in tuned} == tuned
    assert effective["graceful_shutdown_timeout_s"] == 1
    assert (effective["num_replicas"], effective["user_config"]) == (1, None)
    assert bench.look().restores_unset_options
    bench.put(app("a"))
    bench.until("a", "RUNNING")
    effective = only(bench.until("a", "RUNNING")).effective
    assert effective is not None
    assert (effective["health_check_period_s"], effective["max_ongoing_requests"]) == (1, 5)


def test_the_options_of_a_running_serve_do_not_change(bench: Bench) -> None:
    """They are told as they are in effect, and a PUT of others gets its 200 all the same."""
    before = bench.put(app("a")).options
    assert isinstance(before["http_options"]["port"], int)
    assert before["http_options"]["host"] == "127.0.0.1"
    assert before["grpc_options"]["port"]
    assert before["proxy_location"] in {"HeadOnly", "EveryNode"}
    other = {"host": "0.0.0.0", "port": before["http_options"]["port"] + 1}
    seen = bench.put(app("a"), http_options=other, proxy_location="Disabled", grpc_options={"port": 1})
    assert seen.options == before
    bench.until("a", "RUNNING")
    assert bench.ask("/a") == 200


# --- beside Serve's API ----------------------------------------------------------------------------------


def test_free_resources_are_told_where_they_are_asked_for(bench: Bench) -> None:
    """By the names that a config asks for them with."""
    assert bench.look().free is None

    def told() -> dict[str, float]:
        # Ray's monitor writes the first report some seconds after its start, and one every few seconds.
        free = bench.look(resources=True).free
        assert free is not None
        assert free.get("CPU") == 4.0
        return dict(free)

    assert bench.lab.until(told, SETTLES_SECONDS)


def test_what_the_proxy_answers(bench: Bench) -> None:
    """404 where nobody has a route, 200 of a replica, also when a build over it fails; below its prefix."""
    assert bench.put().apps == {}
    assert bench.ask("/a") == 404
    bench.put(app("a"), app("b", "import_error:app"))
    bench.until("a", "RUNNING")
    assert bench.lab.until(lambda: bench.ask("/a") == 200, SETTLES_SECONDS)
    assert (bench.ask("/a/b"), bench.ask("/ab")) == (200, 404)
    bench.until("b", "DEPLOY_FAILED")
    assert bench.ask("/b") == 404
    bench.put(app("a", "import_error:app"))
    bench.until("a", "DEPLOY_FAILED")
    assert bench.ask("/a") == 200


def test_the_log_of_a_replica_is_its_own(bench: Bench) -> None:
    """And a log that is not there is said to be so, in a sentence."""
    bench.put(app("a"))
    (replica,) = only(bench.until("a", "RUNNING")).replicas
    assert replica.log_path.startswith("serve/")
    text = bench.log(replica)
    assert replica.replica_id in text
    assert "Started initializing replica." in text
    nowhere = LogSource(replica="abc", node_id=replica.node_id or "", path="serve/nowhere.log")
    with pytest.raises(LogUnavailable, match=NOT_THERE):
        bench.lab.cluster.log_tail(nowhere)
