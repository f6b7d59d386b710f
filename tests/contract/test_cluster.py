"""What `decide` relies on of a cluster, one test per fact, on the fake one and on a real Ray.

A fact that is not here may not be relied on, and the fake may not imitate it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from deployer.adapters.serve import Rejected, ServeCluster
from deployer.core.events import Kind
from deployer.core.live import App, Live
from deployer.core.record import Rollout
from deployer.core.scrub import REDACTED
from deployer.core.types import Policy, Release
from tests.support.build import START, config, revision
from tests.support.eventually import eventually
from tests.support.fake_cluster import FakeCluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployer.engine.ports import Cluster
    from tests.support.ray_head import ServeHead

SETTLES_SECONDS = 90.0
"""A build, a start or three failed ones take 2-10 s on an idle machine, and a multiple on a busy one."""

FAR_LESS_SECONDS = 4.0
"""Too short for a build and three starts on any machine, long enough for a few turns of Serve's loop."""


class Until(Protocol):
    """Lets time pass until `condition` gives something true, and returns that."""

    def __call__(self, condition: Callable[[], Any], within: float) -> Any:
        """Fail after `within` seconds of the cluster's time."""


class Lab:
    """A cluster to try things on, and the way to wait for it."""

    def __init__(self, cluster: Cluster, until: Until) -> None:
        """Take the cluster and its time."""
        self._cluster = cluster
        self._until = until
        self._puts = 0

    def put(self, *apps: dict[str, Any]) -> Live:
        """PUT these applications, and look once, at once."""
        self._puts += 1
        release = Release(revision=revision("lab"), config=config(*apps))
        rollout = Rollout(
            id=f"lab#{self._puts}",
            kind=Kind.DEPLOY,
            release=release,
            policy=Policy(),
            trigger="test",
            started_at=START + timedelta(seconds=self._puts),
            before={},
        )
        self._cluster.apply(rollout)
        return self.look()

    def look(self) -> Live:
        """What the cluster says now."""
        seen = self._cluster.observe()
        assert isinstance(seen, Live), seen
        return seen

    def until(self, name: str, *statuses: str, within: float = SETTLES_SECONDS) -> App:
        """Wait until it has one of these statuses; RUNNING counts with every deployment HEALTHY."""

        def there() -> App | None:
            app = self.look().apps.get(name)
            assert app is not None, f"{name} is not there"
            assert app.status in statuses, (app.status, app.message, app.deployments)
            if app.status == "RUNNING":
                assert {d.status for d in app.deployments} == {"HEALTHY"}, app.deployments
            return app

        found = self._until(there, within)
        assert isinstance(found, App)
        return found

    def until_true(self, condition: Callable[[Live], object], within: float = SETTLES_SECONDS) -> Live:
        """Wait until a look makes this true."""

        def there() -> Live | None:
            seen = self.look()
            assert condition(seen), seen
            return seen

        found = self._until(there, within)
        assert isinstance(found, Live)
        return found


def fake_time(fake: FakeCluster) -> Until:
    """Moves the fake cluster's clock instead of waiting."""

    def until(condition: Callable[[], Any], within: float) -> Any:
        step = 0.02
        for _ in range(int(within / step)):
            try:
                if value := condition():
                    return value
            except AssertionError:
                pass
            fake.advance(step)
        return condition()

    return until


@pytest.fixture(
    params=["fake", pytest.param("real", marks=[pytest.mark.ray, pytest.mark.timeout(240)])], ids=str
)
def lab(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """An empty cluster of either kind."""
    if request.param == "fake":
        fake = FakeCluster()
        yield Lab(fake, fake_time(fake))
        return
    head: ServeHead = request.getfixturevalue("fresh_serve")
    cluster = ServeCluster(head.address)
    yield Lab(cluster, lambda condition, within: eventually(condition, within=within))
    cluster.close()


def app(name: str, import_path: str = "good:app", **more: Any) -> dict[str, Any]:
    """An application of `tests/support/apps`."""
    return {"name": name, "import_path": import_path, "route_prefix": f"/{name}", **more}


def ids(seen: App) -> set[str]:
    """Its replicas."""
    return {replica.replica_id for deployment in seen.deployments for replica in deployment.replicas}


def last_line(text: str) -> str:
    """Where Python's tracebacks tell the error."""
    return text.rstrip().splitlines()[-1]


def test_a_put_is_seen_in_the_first_look_after_it_under_one_stamp(lab: Lab) -> None:
    """After the 200 each application shows our config, one new stamp, DEPLOYING and no deployments."""
    sent = [app("a"), app("b", args={"version": "1"})]
    seen = lab.put(*sent)
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
        done = lab.until(name, "RUNNING")
        assert done.last_deployed_time_s == stamp
        (deployment,) = done.deployments
        assert (deployment.name, deployment.target_replicas, deployment.running_replicas) == ("D", 1, 1)
        assert all(replica.node_id for replica in deployment.replicas)
        assert (done.message, deployment.message) == ("", "")
    assert set(lab.look().proxies.values()) <= {"STARTING", "HEALTHY"}
    assert lab.look().session == seen.session


def test_an_identical_put_restarts_nothing_and_moves_the_stamp(lab: Lab) -> None:
    """This is what makes repeating a PUT of unknown outcome safe, and a stamp the proof that it arrived."""
    lab.put(app("a"))
    before = lab.until("a", "RUNNING")
    first = lab.put(app("a")).apps["a"]
    assert first.last_deployed_time_s > before.last_deployed_time_s
    assert first.status in {"DEPLOYING", "RUNNING"}
    assert {d.status for d in first.deployments} == {"HEALTHY"}
    after = lab.until("a", "RUNNING", within=FAR_LESS_SECONDS)
    assert ids(first) == ids(before) == ids(after)


def test_an_application_left_out_is_deleted_and_the_others_keep_their_replicas(lab: Lab) -> None:
    """The list is the whole truth; an empty one leaves Serve running with nothing on it."""
    lab.put(app("a"), app("b"))
    before = lab.until("a", "RUNNING")
    lab.until("b", "RUNNING")
    shown = lab.put(app("a")).apps.get("b")
    assert shown is None or (shown.status, shown.config) == ("DELETING", None)
    left = lab.until_true(lambda seen: "b" not in seen.apps)
    assert ids(left.apps["a"]) == ids(before)
    assert left.apps["a"].last_deployed_time_s > before.last_deployed_time_s
    lab.put()
    assert lab.until_true(lambda seen: not seen.apps).serve_started


def test_what_a_change_restarts_and_how_the_config_is_reported(lab: Lab) -> None:
    """A new `user_config` and another replica leave the running ones alone; new code replaces them.

    Serve reports the config that it received, but for the type of numbers.
    """
    lab.put(app("a"))
    first = lab.until("a", "RUNNING")
    tuned = {
        "name": "D",
        "user_config": {"answer": "hi"},
        "num_replicas": 2,
        "graceful_shutdown_timeout_s": 1,
    }
    shown = lab.put(app("a", deployments=[tuned])).apps["a"]
    assert shown.config == app("a", deployments=[tuned])
    second = lab.until("a", "RUNNING")
    assert (second.deployments[0].target_replicas, second.deployments[0].running_replicas) == (2, 2)
    assert ids(first) < ids(second)
    lab.put(app("a", args={"version": "2"}))
    third = lab.until("a", "RUNNING")
    assert not ids(third) & ids(second)


def test_a_failed_build_is_told_by_the_application_and_costs_no_replica(lab: Lab) -> None:
    """DEPLOY_FAILED, no deployments, the error in the last line; the way back finds the old replicas."""
    lab.put(app("a"), app("b"))
    before = {name: lab.until(name, "RUNNING") for name in ("a", "b")}
    lab.put(app("a"), app("b", "import_error:app"))
    failed = lab.until("b", "DEPLOY_FAILED")
    assert failed.deployments == ()
    error = "ModuleNotFoundError: No module named 'a_module_that_nobody_installed'"
    assert last_line(failed.message) == error
    assert ids(lab.until("a", "RUNNING")) == ids(before["a"])
    lab.put(app("a"), app("b"))
    assert ids(lab.until("b", "RUNNING")) == ids(before["b"])


def test_a_failed_constructor_is_told_by_the_deployment_and_not_tried_again(lab: Lab) -> None:
    """The application only names the deployment; the same PUT again calls no constructor; good heals."""
    lab.put(app("a"))
    lab.until("a", "RUNNING")
    lab.put(app("a", "constructor_raises:app"))
    retrying = lab.until_true(lambda seen: any(d.message for d in seen.apps["a"].deployments)).apps["a"]
    assert (retrying.status, retrying.deployments[0].status) == ("DEPLOYING", "UPDATING")
    assert retrying.deployments[0].message.startswith("A replica failed to start with exception. Retrying ")
    failed = lab.until("a", "DEPLOY_FAILED")
    (deployment,) = failed.deployments
    assert (deployment.status, deployment.status_trigger) == ("DEPLOY_FAILED", "REPLICA_STARTUP_FAILED")
    assert deployment.message.startswith("The deployment failed to start 3 times in a row")
    assert last_line(deployment.message) == "FileNotFoundError: no model file at models/fruit.bin"
    assert failed.message == "Failed to update the deployments ['D']."

    again = lab.put(app("a", "constructor_raises:app")).apps["a"]
    assert again.last_deployed_time_s > failed.last_deployed_time_s
    # One turn of Serve's loop later at most; until then the deployment shows its old verdict.
    assert {d.status for d in again.deployments} == {"DEPLOY_FAILED"}
    refused = lab.until("a", "DEPLOY_FAILED", within=FAR_LESS_SECONDS)
    assert refused.deployments[0].message == deployment.message

    lab.put(app("a"))
    assert lab.until("a", "RUNNING").message == ""


def test_a_failed_reconfigure_ends_like_a_failed_constructor_and_good_heals(lab: Lab) -> None:
    """The code is the same, so Serve does not build; the replicas with the bad `user_config` cannot start."""
    lab.put(app("a"))
    lab.until("a", "RUNNING")
    lab.put(app("a", deployments=[{"name": "D", "user_config": {"fail": True}}]))
    failed = lab.until("a", "DEPLOY_FAILED")
    (deployment,) = failed.deployments
    assert (deployment.status, deployment.status_trigger) == ("DEPLOY_FAILED", "REPLICA_STARTUP_FAILED")
    assert last_line(deployment.message) == "ValueError: cannot use {'fail': True}"
    lab.put(app("a"))
    lab.until("a", "RUNNING")


def test_a_deployment_that_the_code_does_not_have_fails_in_the_first_look(lab: Lab) -> None:
    """With the code unchanged nothing is built, so the verdict is there at once."""
    lab.put(app("a"))
    lab.until("a", "RUNNING")
    seen = lab.put(app("a", deployments=[{"name": "Nobody", "num_replicas": 1}])).apps["a"]
    assert (seen.status, seen.deployments) == ("DEPLOY_FAILED", ())
    assert last_line(seen.message) == "ValueError: Deployment 'Nobody' does not exist. Available: ['D']"


def test_a_replica_without_room_is_starting_on_no_node_and_a_new_put_overtakes_it(lab: Lab) -> None:
    """Serve never gives up on it by itself; the next config does not wait for it."""
    nowhere = {"name": "D", "ray_actor_options": {"num_cpus": 0, "resources": {"nowhere": 1}}}
    lab.put(app("a", deployments=[nowhere]))
    seen = lab.until_true(
        lambda seen: any(d.replicas for d in seen.apps["a"].deployments), within=SETTLES_SECONDS
    ).apps["a"]
    assert (seen.status, seen.deployments[0].status) == ("DEPLOYING", "UPDATING")
    assert {(r.state, r.node_id) for r in seen.deployments[0].replicas} == {("STARTING", None)}
    lab.put(app("a"))
    lab.until("a", "RUNNING")


def test_a_config_against_the_schema_changes_nothing(lab: Lab) -> None:
    """Such a 400 is the one that needs no repair."""
    lab.put(app("a"))
    before = lab.until("a", "RUNNING")
    with pytest.raises(Rejected) as refused:
        lab.put(app("a", args={"version": "2"}), {"name": "b", "route_prefix": "/b"})
    assert not refused.value.half_applied
    assert "applications.1.import_path: Field required" in refused.value.message
    assert lab.look().apps == {"a": before}


def test_a_config_that_breaks_the_controller_is_half_applied_and_a_good_one_heals(lab: Lab) -> None:
    """The first application has its new config, the second hangs for good; the next PUT cures both."""
    lab.put(app("a"), app("b"))
    before = lab.until("a", "RUNNING")
    lab.until("b", "RUNNING")
    bad = app("b", runtime_env={"env_vars": {"NUMBER": 123456789}})
    with pytest.raises(Rejected) as refused:
        lab.put(app("a"), bad)
    assert refused.value.half_applied
    assert "123456789" not in refused.value.message
    assert REDACTED in refused.value.message
    seen = lab.look()
    assert (seen.apps["b"].status, seen.apps["b"].deployments) == ("DEPLOYING", ())
    assert seen.apps["a"].last_deployed_time_s > before.last_deployed_time_s
    lab.put(app("a"), app("b"))
    assert ids(lab.until("a", "RUNNING")) == ids(before)
    lab.until("b", "RUNNING")


def test_an_environment_variable_is_in_the_config_but_in_no_message(lab: Lab) -> None:
    """Serve tells everything to everybody; what people read of it is masked."""
    secret = 'hunter2\'s "password"'
    broken = app("a", runtime_env={"env_vars": {"GREETER_RAISES": secret}})
    shown = lab.put(broken).apps["a"]
    assert shown.config == broken
    failed = lab.until("a", "DEPLOY_FAILED")
    assert last_line(failed.deployments[0].message) == f"RuntimeError: {REDACTED}"
    assert "hunter2" not in failed.message + failed.deployments[0].message
    assert "hunter2" not in repr(failed)
