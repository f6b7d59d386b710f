"""What the daemon promises of rollouts, told by the real command over real git.

The cluster is the fake one behind Ray's REST paths, ten times as fast as a real one: its contract suite is
passed by a real Ray too. What only a real Ray can show is in `test_promises_on_ray.py`.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import requests

from deployer.core.live import Live
from tests.e2e.site import BRANCH, FOLDER, QUICK, Site, git
from tests.support.arrivals import Arrival, Moment
from tests.support.eventually import eventually
from tests.support.fake_cluster import FakeCluster
from tests.support.fake_ray_http import APPLICATIONS, FakeRay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SPEED = 10.0
"""So much faster than a real one goes the fake cluster. The daemon has the real clock."""

SECONDS = 60.0
"""For what takes a second or two on an idle machine."""


class Ray(FakeRay):
    """The fake over HTTP. `sent` are the bodies of the daemon's PUTs."""

    def __init__(self) -> None:
        """An empty cluster."""
        began = time.monotonic()
        self.sent: list[dict[str, Any]] = []
        super().__init__(FakeCluster(now=lambda: (time.monotonic() - began) * SPEED), self._note)

    def _note(self, arrival: Arrival, moment: Moment) -> bool:
        if (arrival.method, arrival.path, moment) == ("PUT", APPLICATIONS, Moment.ARRIVED):
            self.sent.append(json.loads(arrival.body))
        return True

    def apps(self) -> dict[str, Any]:
        """The configs that the cluster has, by application."""
        return {name: app.config for name, app in self.seen().apps.items() if app.status != "DELETING"}

    def has(self, config: dict[str, Any]) -> bool:
        """Whether the cluster has this config, and no other application."""
        return self.apps() == {one["name"]: one for one in config["applications"]}

    def edit(self, config: dict[str, Any]) -> None:
        """Somebody else PUTs this, and waits until it runs: before, a heal finds the old replicas again."""
        with self.lock:
            self.fake.foreign_put(config)
        until(lambda: {app.status for app in self.seen().apps.values()} == {"RUNNING"}, "the edit runs")

    def seen(self) -> Live:
        """What a look shows."""
        with self.lock:
            live = self.fake.observe()
        assert isinstance(live, Live)
        return live

    def free(self, cpus: float) -> None:
        """So many CPUs are free from now on."""
        with self.lock:
            self.fake.free = {"CPU": cpus}

    def fall_sick(self, *, sick: bool) -> None:
        """Nothing can start any more, or all can again."""
        with self.lock:
            self.fake.sick = sick


@pytest.fixture
def ray() -> Iterator[Ray]:
    """An empty cluster."""
    with Ray() as ray:
        yield ray


@pytest.fixture
def site(sites: Callable[[str], Site], ray: Ray) -> Site:
    """A repository and settings for it."""
    return sites(ray.address)


def app(name: str = "fruit", import_path: str = "good:app", **more: Any) -> dict[str, Any]:
    """One application."""
    return {"name": name, "route_prefix": f"/{name}", "import_path": import_path, **more}


def config(*apps: dict[str, Any]) -> dict[str, Any]:
    """A Serve config of these."""
    return {"applications": list(apps)}


def version(number: int, cpus: float = 0) -> dict[str, Any]:
    """A Serve config like another one, whose replica needs so many CPUs."""
    deployment = {"name": "D", "ray_actor_options": {"num_cpus": cpus}}
    return config(app(args={"version": str(number)}, deployments=[deployment]))


IMPATIENT = QUICK.replace("0s}", "0s, deadlines: {schedule: 500ms}}")

ONE, TWO, THREE = version(1), version(2), version(3)
BAD = config(app(import_path="constructor_raises:app"))


def push(site: Site, what: dict[str, Any], policy: str = "", *, judged: str = QUICK) -> str:
    """Push a config, and with it the policy that it is judged by; the commit."""
    (site.clone / FOLDER).mkdir(parents=True, exist_ok=True)
    (site.clone / FOLDER / "environment.yaml").write_text(judged + policy)
    return site.push(what, "change")


def push_what_is_there(site: Site) -> str:
    """Push what git itself has made in the clone; the commit."""
    git(site.clone, "push", "--quiet", "origin", BRANCH)
    return git(site.clone, "rev-parse", "HEAD")


def look(site: Site) -> None:
    """Have git and the cluster looked at now. The daemon does it by itself within 15 s."""
    api = json.loads((site.root / "state/api.json").read_text())
    url = f"{api['url']}/api/v1/environments/staging/sync"
    headers = {"Authorization": f"Bearer {api['token']}"}
    requests.post(url, headers=headers, json={"by": "ada"}, timeout=20).raise_for_status()


def until(condition: Callable[[], object], what: str) -> None:
    """Wait until this is so."""
    eventually(condition, within=SECONDS, every=0.1, what=what)


def until_stuck(site: Site, kind: str) -> None:
    """Wait until a rollout of this kind waits for room, which it will not find."""

    def stuck() -> bool:
        rollout = site.look()["rollout"]
        assert rollout is not None, site.look()["message"]
        return (rollout["kind"], rollout["phase"]) == (kind, "schedule")

    until(stuck, f"a {kind} is stuck")


# --- how a failed deploy ends ----------------------------------------------------------------------------


def test_a_rollback_that_fails_too_ends_in_5_and_waits_for_a_person(site: Site, ray: Ray) -> None:
    """`sync --wait` says so; nothing is sent before somebody acts; a person's rollback brings it back."""
    good = push(site, ONE)
    site.start()
    site.until_live(good)
    ray.fall_sick(sick=True)
    bad = push(site, TWO)
    done = site.command("sync", "staging", "--wait")
    assert done.returncode == 5, done
    assert f"{bad[:7]} failed (code): " in done.stdout
    assert f"the rollback to {good[:7]} failed too: " in done.stdout
    site.until_history("rollback failed", "deploy failed", "deploy good")

    state = site.until_message("the environment is DEGRADED and nothing is tried again until somebody")
    assert (state["health"], state["mode"], state["live"]) == ("Degraded", "held", None)
    ray.fall_sick(sick=False)
    sent = len(ray.sent)
    assert site.command("sync", "staging", "--wait").returncode == 5
    assert len(ray.sent) == sent

    done = site.command("rollback", "staging", "--wait", "--reason", "the disks are empty again")
    assert done.returncode == 0, done
    state = site.until_wanted(bad)
    assert (state["health"], state["mode"], state["live"]["revision"]) == ("Healthy", "held", good)


def test_without_rollback_it_is_left_on_the_failed_release_and_held(site: Site, ray: Ray) -> None:
    """And it is said, in the command's ending, the status and the announcement; a fix deploys."""
    good = push(site, ONE)
    daemon = site.start()
    site.until_live(good)
    bad = push(site, BAD, "rollback: {on: false}\n")
    done = site.command("sync", "staging", "--wait")
    assert done.returncode == 1, done
    left = f'The cluster was left on it; the last good release is {good[:7]} "change".'
    assert left in done.stdout

    look(site)
    state = site.until_wanted(bad)
    assert (state["health"], state["mode"], state["live"]) == ("Degraded", "held", None)
    assert left in state["message"]
    assert [held["revision"] for held in state["held"]] == [bad]
    assert [entry["result"] for entry in site.rollouts()] == ["failed", "good"]
    assert ray.sent == [ONE, BAD]
    assert ray.has(BAD)
    announced = [event["message"] for event in daemon.events() if event["event"] == "announced"]
    assert "Rollback is off: the cluster was left on it." in announced[-1]

    site.until_live(push(site, TWO))
    assert ray.has(TWO)


def test_a_held_config_comes_back_under_no_other_commit(site: Site, ray: Ray) -> None:
    """Not as the revert of its revert, not cherry-picked, not below another commit; another one deploys."""
    good = push(site, ONE)
    site.start()
    site.until_live(good)
    bad = push(site, BAD)
    site.until_history("rollback good", "deploy failed", "deploy good")

    def revert() -> str:
        git(site.clone, "revert", "--no-edit", "HEAD")
        return push_what_is_there(site)

    def is_still_held(commit: str) -> None:
        state = site.until_wanted(commit)
        assert (state["mode"], state["sync"], state["live"]["revision"]) == ("held", "OutOfSync", good)
        assert state["message"].startswith(f"{bad[:7]} failed at ")
        assert " and is held. " in state["message"]

    is_still_held(bad)
    assert site.until_wanted(revert())["sync"] == "Synced"
    is_still_held(revert())
    assert site.until_wanted(revert())["sync"] == "Synced"
    git(site.clone, "cherry-pick", bad)
    is_still_held(push_what_is_there(site))
    on_top = site.push_file("/README.md", "Prices of our market.\n", "say what this is")

    def is_seen() -> bool:
        look(site)
        return bool(site.look()["wanted"]["revision"] == on_top)

    until(is_seen, "the commit on top, which changes nothing here, is seen")
    is_still_held(on_top)
    assert ray.sent == [ONE, BAD, ONE]

    site.until_live(push(site, TWO))
    assert ray.sent == [ONE, BAD, ONE, TWO]


# --- room ------------------------------------------------------------------------------------------------


def test_a_release_without_room_is_put_back_and_not_held(site: Site, ray: Ray) -> None:
    """It waits and says so; a retry, once there is room, makes it good.

    That it is tried again by itself needs a minute: `tests/integration/test_room.py` moves the clock.
    """
    good = push(site, ONE)
    site.start()
    site.until_live(good)
    full = push(site, version(2, cpus=8), judged=IMPATIENT)
    _, failed, _ = site.until_history("rollback good", "deploy failed", "deploy good")
    assert failed["failure"]["class"] == "capacity"
    state = site.until_message("found no room on the cluster and is tried again not before")
    assert (state["mode"], state["health"], state["held"]) == ("waiting", "Healthy", [])
    assert (state["live"]["revision"], state["wanted"]["revision"]) == (good, full)
    assert ray.has(ONE)

    ray.free(cpus=8)
    done = site.command("retry", "staging", "--reason", "the batch job is over")
    assert done.returncode == 0, done
    site.until_live(full)
    assert ray.has(version(2, cpus=8))


# --- drift -----------------------------------------------------------------------------------------------


def test_drift_is_healed_as_often_as_the_policy_says(site: Site, ray: Ray) -> None:
    """Then it is left alone and said, until a retry; `alert` only says it, `ignore` not even that."""
    site.push_file("environment.yaml", f"{QUICK}drift: heal\nheals_per_hour: 1\n", "one heal per hour")
    daemon = site.start()
    good = site.push(ONE, "open the market")
    site.until_live(good)

    def kinds() -> list[str]:
        return [f"{entry['kind']} {entry['result']}" for entry in reversed(site.rollouts())]

    ray.edit(TWO)
    look(site)
    site.until_history("heal good", "deploy good")
    assert ray.has(ONE)

    ray.edit(TWO)
    look(site)
    state = site.until_message("within the hour, so it is left as it is")
    assert "`deployer retry staging --reason ...` heals it once more" in state["message"]
    assert (state["sync"], state["drift"]["class"]) == ("OutOfSync", "edited")
    look(site)
    site.until_message("within the hour, so it is left as it is")
    assert kinds() == ["deploy good", "heal good"]
    assert ray.has(TWO)
    assert site.command("retry", "staging", "--reason", "the notebook is closed").returncode == 0
    site.until_history("heal good", "heal good", "deploy good")
    assert ray.has(ONE)

    commit = site.push_file("environment.yaml", f"{QUICK}drift: alert\n", "do not heal")
    site.until_wanted(commit)
    ray.edit(THREE)
    look(site)
    state = site.until_message("The policy says `drift: alert`, so it is left as it is.")
    assert (state["sync"], state["drift"]["class"]) == ("OutOfSync", "edited")
    drifts = "staging: drift: fruit has another config than the release, first at args."

    def told() -> int:
        return sum(event.get("message") == drifts for event in daemon.events())

    until(lambda: told() == 3, "each drift is announced, this one too")

    commit = site.push_file("environment.yaml", f"{QUICK}drift: ignore\n", "leave it to us")
    state = site.until_wanted(commit)
    ray.edit(TWO)
    look(site)
    until(lambda: site.look()["drift"] is None and site.look()["sync"] == "Synced", "no drift is told")
    assert ray.has(TWO)
    assert told() == 3
    assert kinds() == ["deploy good", "heal good", "heal good"]


# --- deletes ---------------------------------------------------------------------------------------------


def test_what_removes_most_applications_waits_for_a_word_in_the_same_commit(site: Site, ray: Ray) -> None:
    """So does an empty list; a deleted folder or branch deletes nothing at all."""
    everything = config(*(app(name) for name in ("fruit", "math", "tea", "wine")))
    good = push(site, everything)
    site.start()
    site.until_live(good)

    def waits(removing: str) -> None:
        state = site.until_message(f" waits: it removes {removing}, and Serve would delete ")
        assert (state["mode"], state["sync"], state["health"]) == ("waiting", "OutOfSync", "Healthy")
        assert "say `allow: {delete: true}` in environment.yaml in that same commit" in state["message"]

    push(site, config(app("fruit")))
    waits("math, tea, wine")
    assert ray.sent == [everything]
    allowed = "allow: {delete: true}\n"
    site.until_live(push(site, config(app("fruit")), allowed))
    until(lambda: ray.has(config(app("fruit"))), "one is left")

    push(site, config())
    waits("fruit")
    assert ray.has(config(app("fruit")))
    site.until_live(push(site, config(), allowed))
    until(lambda: ray.has(config()), "nothing is left")
    good = push(site, everything)
    site.until_live(good)
    sent = len(ray.sent)

    def stays() -> None:
        state = site.look()
        assert (state["sync"], state["health"], state["live"]["revision"]) == ("OutOfSync", "Healthy", good)
        assert (len(ray.sent), ray.has(everything)) == (sent, True)

    git(site.clone, "rm", "-r", "--quiet", FOLDER)
    git(site.clone, "commit", "--quiet", "-m", "tidy up")
    push_what_is_there(site)
    site.until_message(f"There is no {FOLDER}/serve_config.yaml on")
    stays()
    assert site.until_wanted(push(site, everything))["sync"] == "Synced"
    git(site.clone, "push", "--quiet", "origin", "--delete", BRANCH)
    site.until_message(f"There is no branch {BRANCH} in repository")
    stays()


# --- what is newer ---------------------------------------------------------------------------------------


def test_a_newer_config_overtakes_what_is_stuck(site: Site, ray: Ray) -> None:
    """A deploy, then a heal: at once, long before its deadline, and recorded as superseded; not held."""
    good = push(site, ONE)
    site.start()
    site.until_live(good)
    push(site, version(2, cpus=8))
    until_stuck(site, "deploy")
    small = push(site, version(3, cpus=1))
    site.until_live(small)
    _, stuck, _ = site.until_history("deploy good", "deploy superseded", "deploy good")
    assert (stuck["superseded_by"], site.look()["held"]) == (small, [])

    ray.free(cpus=0)
    ray.edit(version(4))
    look(site)
    until_stuck(site, "heal")
    newest = push(site, version(5))
    site.until_live(newest)
    _, stuck, *_ = site.until_history("deploy good", "heal superseded", "deploy good")
    assert (stuck["superseded_by"], site.look()["held"]) == (newest, [])
    assert ray.has(version(5))
