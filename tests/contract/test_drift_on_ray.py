"""Drift on a real Ray: none where nobody changed anything, and each class where somebody did.

The observations are the adapter's, the bodies are those that the daemon would send.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from deployer.adapters.serve import ServeCluster
from deployer.core import serve_config
from deployer.core.belongs import leaving
from deployer.core.body import applications, compose, foreign, obstacle
from deployer.core.compare import first_difference
from deployer.core.drift import find, restart_needed
from deployer.core.events import DriftClass
from deployer.core.live import App, Live
from deployer.core.record import Record
from deployer.core.types import Release
from tests.contract.every_option import everything, left_out
from tests.support.build import revision
from tests.support.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.ray_head import ServeHead

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]

SETTLES_SECONDS = 180.0
"""Eight builds at once take 25 s on two idle cores, and took 100 s on busy ones."""

ANSWERS_SECONDS = 30.0
"""The first PUT to a cluster waits for Serve's start; all others take well below a second."""


class Lab:
    """A real cluster, and what an environment remembers of what it put there."""

    def __init__(self, head: ServeHead) -> None:
        """Connect to nothing yet."""
        self._url = head.address
        self._cluster = ServeCluster(head.address)
        self.close = self._cluster.close

    def look(self) -> Live:
        """What the daemon sees."""
        seen = self._cluster.observe()
        assert isinstance(seen, Live), seen
        return seen

    def raw(self) -> dict[str, Any]:
        """What Serve answers."""
        answer = requests.get(f"{self._url}/api/serve/applications/", timeout=ANSWERS_SECONDS)
        assert answer.ok, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def controller(self) -> int:
        """The process id of Serve's controller. After a restart Serve itself does not tell it (2.60)."""
        predicates = {
            "filter_keys": "name",
            "filter_predicates": "=",
            "filter_values": "SERVE_CONTROLLER_ACTOR",
        }
        answer = requests.get(f"{self._url}/api/v0/actors", params=predicates, timeout=ANSWERS_SECONDS)
        assert answer.ok, answer.text
        (alive,) = (
            actor["pid"] for actor in answer.json()["data"]["result"]["result"] if actor["state"] == "ALIVE"
        )
        return int(alive)

    def put(self, body: dict[str, Any], expect: int = 200) -> None:
        """A PUT by anybody."""
        url = f"{self._url}/api/serve/applications/"
        answer = requests.put(url, json=body, timeout=ANSWERS_SECONDS)
        assert answer.status_code == expect, answer.text

    def deploy(self, body: dict[str, Any], nonce: str = "", ours: tuple[str, ...] = ()) -> Record:
        """What a rollout of a file with this content does; returns the record after it.

        `ours` are the applications that the environment has beside those of the file.
        """
        config, _ = serve_config.parse(json.dumps(body).encode(), "serve_config.yaml")
        release = Release(revision=revision("lab"), config=config)
        names = frozenset(config.applications())
        assert obstacle(release, self.look(), names.union(ours), {}) is None
        self.put(compose(release, nonce, self.look(), names.union(ours)))
        self.settled(names)
        return Record(
            environment="lab", good=release, good_nonce=nonce, apps=names, session=self.look().session
        )

    def settled(self, names: frozenset[str]) -> Live:
        """Wait until all of them are RUNNING and HEALTHY."""

        def there() -> Live:
            seen = self.look()
            for name in names:
                app = seen.apps[name]
                assert app.status == "RUNNING", (name, app.status, app.message, app.deployments)
                assert {d.status for d in app.deployments} == {"HEALTHY"}, app.deployments
            return seen

        return eventually(there, within=SETTLES_SECONDS, what="everything RUNNING and HEALTHY")

    def until(self, condition: Callable[[Live], object]) -> Live:
        """Wait until a look makes this true."""

        def there() -> Live:
            seen = self.look()
            assert condition(seen), seen
            return seen

        return eventually(there, within=SETTLES_SECONDS)

    def undisturbed(self, record: Record, condition: Callable[[], object]) -> set[DriftClass]:
        """The classes of drift seen while waiting until this is true."""
        classes = set()

        def there() -> bool:
            seen = self._cluster.observe()
            found = find(seen, record) if isinstance(seen, Live) else None
            if found is not None:
                classes.add(found[0])
            return bool(isinstance(seen, Live) and condition())

        eventually(there, within=SETTLES_SECONDS)
        return classes

    def run(self, code: str) -> None:
        """Run this on the cluster, as a person with a notebook does."""
        entrypoint = f'{sys.executable} -c "{code}"'
        answer = requests.post(
            f"{self._url}/api/jobs/", json={"entrypoint": entrypoint}, timeout=ANSWERS_SECONDS
        )
        answer.raise_for_status()
        job = f"{self._url}/api/jobs/{answer.json()['submission_id']}"

        def done() -> dict[str, Any]:
            state: dict[str, Any] = requests.get(job, timeout=ANSWERS_SECONDS).json()
            assert state["status"] not in {"PENDING", "RUNNING"}, state
            return state

        state = eventually(done, within=SETTLES_SECONDS)
        assert state["status"] == "SUCCEEDED", state["message"]


@pytest.fixture
def lab(ray_head: ServeHead) -> Iterator[Lab]:
    """A cluster with Serve on it, and whatever the test before left there."""
    cluster = Lab(ray_head)
    if not cluster.look().serve_started:
        ray_head.empty()
    yield cluster
    cluster.close()


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A config with every option."""
    return everything(str(tmp_path_factory.mktemp("logs")))


@pytest.fixture
def whole(lab: Lab, body: dict[str, Any]) -> Record:
    """Every option is deployed: again, if the test before did that too, which changes nothing."""
    return lab.deploy(body)


def app(name: str, **more: Any) -> dict[str, Any]:
    """A small application."""
    return {"name": name, "import_path": "good:app", "route_prefix": f"/{name}", **more}


@pytest.fixture
def small(lab: Lab) -> Record:
    """Two small applications are deployed, and nothing else; what the test before left of them stays."""
    body = {"applications": [app("fruit"), app("math")]}
    lab.put(body)
    lab.until(lambda seen: all(one.status != "DELETING" for one in seen.apps.values()))
    return lab.deploy(body)


def ids(seen: App) -> set[str]:
    """Its replicas."""
    return {replica.replica_id for deployment in seen.deployments for replica in deployment.replicas}


def test_no_option_is_left_out(body: dict[str, Any]) -> None:
    """A later Ray with a new option fails here, so that it gets a sample."""
    assert left_out(body) == set()
    assert "DeploymentSchema.num_replicas" in left_out({})


def test_every_option_is_no_drift(lab: Lab, whole: Record) -> None:
    """Nothing was dropped or changed beyond recognition: it is proof, too, that the PUT arrived."""
    seen = lab.look()
    assert find(seen, whole) is None
    assert whole.good is not None
    for name, sent in applications(whole.good, "").items():
        reported = seen.apps[name].config
        assert reported is not None
        assert reported != sent or name == "silent", "Serve reports it as it was sent: no test at all"
        assert first_difference(sent, reported, strict=True) is None


def test_counts_that_autoscaling_changed_are_no_drift(lab: Lab, whole: Record) -> None:
    """A policy wants two replicas where the config starts with one."""

    def grown(seen: Live) -> bool:
        (one,) = seen.apps["scaled"].deployments
        return one.running_replicas == one.target_replicas == 2

    seen = lab.until(grown)
    assert find(seen, whole) is None
    (nowhere,) = (one for one in seen.apps["nowhere"].deployments if one.name == "D")
    assert nowhere.target_replicas == 0


def test_the_same_from_somebody_else_is_no_drift(lab: Lab, whole: Record) -> None:
    """In another order and spelling, as their tool writes it: at no moment, and after it."""

    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return value

    assert whole.good is not None
    theirs = whole.good.config.body()
    theirs["applications"] = [turned(one) for one in reversed(theirs["applications"])]
    before = lab.look().apps
    lab.put(theirs)

    def again() -> bool:
        seen = lab.look().apps
        return all(
            seen[name].status == "RUNNING"
            and seen[name].last_deployed_time_s > before[name].last_deployed_time_s
            for name in whole.apps
        )

    assert lab.undisturbed(whole, again) == set()
    assert find(lab.settled(whole.apps), whole) is None


def process(pid: int, title: str) -> int:
    """The pid, once it is sure whose it is."""
    assert title in Path(f"/proc/{pid}/cmdline").read_text()
    return pid


def test_a_controller_that_restarts_is_no_drift(lab: Lab, whole: Record) -> None:
    """It reads back what it had stored: at no moment does anything look lost."""
    before = lab.controller()
    os.kill(process(before, "ray::ServeController"), signal.SIGKILL)
    assert lab.undisturbed(whole, lambda: lab.controller() != before) == set()
    seen = lab.settled(whole.apps)
    assert find(seen, whole) is None


def test_a_replica_that_died_is_sick_at_most_until_it_is_replaced(lab: Lab, whole: Record) -> None:
    """And no drift once it is."""
    before = lab.raw()["applications"]["silent"]["deployments"]["D"]["replicas"]
    dead = before[0]["replica_id"]
    os.kill(process(before[0]["pid"], "ray::ServeReplica"), signal.SIGKILL)

    def replaced() -> bool:
        return dead not in ids(lab.look().apps["silent"])

    assert lab.undisturbed(whole, replaced) <= {DriftClass.SICK}
    assert find(lab.settled(whole.apps), whole) is None


def test_what_only_a_restart_brings_into_effect_is_told(lab: Lab, whole: Record) -> None:
    """Serve took it with a 200. Nothing is said of what is in effect as the file says."""
    assert whole.good is not None
    seen = lab.look()
    said = restart_needed(seen, whole.good)
    port = seen.options["http_options"]["port"]
    assert f"http_options.port is {port}, the file says 8000" in said
    assert "http_options.root_path is empty, the file says /root" in said
    assert "grpc_options.enable_reflection is True, the file says 0" in said
    assert len(said) == 12
    same = {name: seen.options[name] for name in ("http_options", "grpc_options", "proxy_location")}
    record = lab.deploy({"applications": [app("fruit")], **same}, ours=tuple(whole.apps))
    assert record.good is not None
    assert restart_needed(lab.look(), record.good) == ()


def test_a_nonce_is_no_drift_and_its_loss_is(lab: Lab, small: Record) -> None:
    """What counts is what was sent; and it replaces what runs."""
    assert small.good is not None
    before = lab.look()
    going = leaving(before, small.good, small.good, nonce="n1")
    assert set(going) == ids(before.apps["fruit"]) | ids(before.apps["math"])
    record = lab.deploy(small.good.config.body(), nonce="n1")
    seen = lab.look()
    assert find(seen, record) is None
    assert not set(going) & (ids(seen.apps["fruit"]) | ids(seen.apps["math"]))
    found = find(seen, small)
    assert found == (DriftClass.EDITED, "fruit has another config than the release, first at runtime_env.")


def test_somebody_elses_application_keeps_its_config_and_its_replicas(lab: Lab, small: Record) -> None:
    """Also when our file sets logging for everything: Serve copies it into theirs, that is no drift."""
    before = lab.look()
    record = lab.deploy(
        {"logging_config": {"log_level": "DEBUG"}, "applications": [app("ours", args={"x": 1})]}
    )
    seen = lab.settled(small.apps | record.apps)
    assert foreign(seen, record.apps) == ("fruit", "math")
    for name in small.apps:
        assert ids(seen.apps[name]) == ids(before.apps[name])
        assert seen.apps[name].config == {
            **(before.apps[name].config or {}), "logging_config": {"log_level": "DEBUG"},
        }  # fmt: skip
    assert find(seen, small) is None
    assert find(seen, record) is None
    # And an application of ours that the file does not list any more goes.
    lab.deploy({"applications": [app("other")]}, ours=("ours",))
    gone = lab.until(lambda seen: "ours" not in seen.apps)
    assert find(gone, small) is None
    assert find(gone, record) is not None


EDITS = [
    pytest.param(
        [app("fruit"), app("math", args={"price": 7})],
        {},
        "math has another config than the release, first at args.",
        id="another value",
    ),
    pytest.param(
        [app("fruit", deployments=[{"name": "D", "num_replicas": 2}]), app("math")],
        {},
        "fruit has another config than the release, first at deployments.",
        id="a key that appeared",
    ),
    pytest.param(
        [app("fruit"), app("math"), app("old")],
        {},
        "old is on the cluster, and the release does not list it.",
        id="one of ours is back",
    ),
    pytest.param(
        [app("fruit"), app("math")],
        {"target_capacity": 50},
        "The cluster's target_capacity is not that of the release.",
        id="another capacity",
    ),
]


@pytest.mark.parametrize(("edited", "top", "sentence"), EDITS)
def test_an_edit_by_hand_is_found(
    lab: Lab, small: Record, edited: list[dict[str, Any]], top: dict[str, Any], sentence: str
) -> None:
    """In the first look after it."""
    record = replace(small, apps=small.apps | {"old"})
    assert find(lab.look(), record) is None
    lab.put({"applications": edited, **top})
    assert find(lab.look(), record) == (DriftClass.EDITED, sentence)


def test_what_was_deleted_by_hand_is_missing_then_lost(lab: Lab, small: Record) -> None:
    """From the first look on, in which it is still there as DELETING, until it is gone."""
    lab.put({"applications": [app("fruit")]})
    missing = (DriftClass.MISSING, "math is not on the cluster any more.")
    assert find(lab.look(), small) == missing
    gone = lab.until(lambda seen: "math" not in seen.apps)
    assert find(gone, small) == missing
    lab.put({"applications": []})
    lost = (DriftClass.LOST, "Nothing of the release is on the cluster any more: fruit, math.")
    assert find(lab.look(), small) == lost
    gone = lab.until(lambda seen: not seen.apps)
    assert find(gone, small) == lost


def test_a_serve_run_over_ours_is_found_and_one_beside_it_is_not_touched(lab: Lab, small: Record) -> None:
    """Over REST only the source tells of it: config and stamp stay what they were."""
    before = lab.look().apps["fruit"]
    run = "serve.run(good.app({}), name='%s', route_prefix='/%s')"
    lab.run(f"import good; from ray import serve; {run % ('fruit', 'fruit')}; {run % ('script', 'script')}")
    seen = lab.until(lambda seen: seen.apps["script"].status == "RUNNING")
    after = seen.apps["fruit"]
    assert (after.config, after.last_deployed_time_s) == (before.config, before.last_deployed_time_s)
    assert find(seen, small) == (DriftClass.EDITED, "fruit was replaced by a `serve run`.")
    assert foreign(seen, small.apps) == ("script",)

    assert small.good is not None
    body = compose(small.good, "", seen, small.apps)
    assert [one["name"] for one in body["applications"]] == ["fruit", "math"]
    assert obstacle(small.good, seen, small.apps, {}) is None
    lab.put(body)
    healed = lab.settled(frozenset({"fruit", "math", "script"}))
    assert find(healed, small) is None

    config, _ = serve_config.parse(json.dumps({"applications": [app("script")]}).encode(), "f")
    said = obstacle(Release(revision=revision("b"), config=config), healed, (), {})
    assert said is not None
    assert said.startswith("Application script was started on the cluster with `serve run`")
    # Taken over, it goes with the next PUT.
    lab.put({"applications": [app("script")]})
    lab.put({"applications": []})
    lab.until(lambda seen: not seen.apps)


def test_what_does_not_start_any_more_is_sick(lab: Lab, small: Record) -> None:
    """All is as it was sent; it only does not serve."""
    broken = app("fruit", import_path="constructor_raises:app")
    lab.put({"applications": [broken, app("math")]})
    config, _ = serve_config.parse(json.dumps({"applications": [broken, app("math")]}).encode(), "f")
    record = replace(small, good=Release(revision=revision("b"), config=config))
    seen = lab.until(lambda seen: seen.apps["fruit"].status == "DEPLOY_FAILED")
    assert find(seen, record) == (DriftClass.SICK, "fruit/D is DEPLOY_FAILED.")


def test_what_a_half_applied_put_left_is_unknown_and_in_everybodys_way(lab: Lab, small: Record) -> None:
    """Serve runs it and tells no config of it. Another environment's PUT would delete it."""
    lab.put({"applications": [app("other", runtime_env={"env_vars": {"A": 1}})]}, expect=400)
    seen = lab.look()
    assert find(seen, small) == (
        DriftClass.UNKNOWN,
        "fruit is on the cluster, but Serve tells no config of it.",
    )
    config, _ = serve_config.parse(json.dumps({"applications": [app("new")]}).encode(), "f")
    said = obstacle(Release(revision=revision("b"), config=config), seen, ("other",), {})
    assert said is not None
    assert said.startswith("Application fruit is not this environment's, and Serve tells no config of it")
    assert small.good is not None
    lab.put(compose(small.good, "", seen, {*small.apps, "other"}))
    assert find(lab.settled(small.apps), small) is None
