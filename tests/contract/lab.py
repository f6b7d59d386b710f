"""A cluster to try things on: a fake one whose clock is moved, or a real Ray that takes its time."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, Self

import requests

from deployer.adapters.serve import ServeCluster
from deployer.cli.local_ray import LocalRay
from deployer.core.events import Kind, LogSource
from deployer.core.live import App, Deployment, Live, Replica
from deployer.core.record import Rollout
from deployer.core.types import Check, Policy, Release
from tests.support.build import START, config, revision
from tests.support.eventually import eventually
from tests.support.fake_cluster import FakeCluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.engine.ports import Cluster
    from tests.support.ray_head import ServeHead

SETTLES_SECONDS = 90.0
"""A build, a start or six failed ones take 2-30 s on an idle machine, and a multiple on a busy one."""

_HTTP_SECONDS = 30.0


class Lab(Protocol):
    """A cluster, and ways to be somebody else on it."""

    @property
    def cluster(self) -> Cluster:
        """The port."""

    def foreign_put(self, body: dict[str, Any]) -> None:
        """Somebody else PUTs this."""

    def serve_run(self, name: str) -> None:
        """Somebody starts `good:app` under this name with `serve run`."""

    def replace_head(self) -> None:
        """The head is gone, and there is a new one."""

    def until(self, condition: Callable[[], Any], within: float) -> Any:
        """Let time pass until `condition` gives something true, and return that."""


class FakeLab:
    """The fake cluster; its clock is moved instead of waiting."""

    def __init__(self) -> None:
        """An empty cluster."""
        self.cluster = FakeCluster()

    def foreign_put(self, body: dict[str, Any]) -> None:
        """Somebody else PUTs this."""
        self.cluster.foreign_put(body)

    def serve_run(self, name: str) -> None:
        """Somebody starts an application with `serve run`."""
        self.cluster.serve_run(name)

    def replace_head(self) -> None:
        """The head is gone, and there is a new one."""
        self.cluster.lose_state()

    def until(self, condition: Callable[[], Any], within: float) -> Any:
        """Move the clock until the condition holds."""
        step = 0.02
        for _ in range(int(within / step)):
            try:
                if value := condition():
                    return value
            except AssertionError:
                pass
            self.cluster.advance(step)
        return condition()


class RayLab:
    """A real Ray, emptied before."""

    def __init__(self, head: ServeHead) -> None:
        """Take a head with nothing on it."""
        self._head = head
        self._address = head.address
        self._stack = ExitStack()
        self._imperative: set[str] = set()
        self.cluster = ServeCluster(head.address)

    def __enter__(self) -> Self:
        """Nothing to start."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop what was started, and make deletable what `serve run` has left: only a PUT can do that."""
        self.cluster.close()
        self._stack.close()
        if self._imperative:
            self._address = self._head.address
            self.foreign_put({"applications": [app(name) for name in self._imperative]})

    def foreign_put(self, body: dict[str, Any]) -> None:
        """Somebody else PUTs this."""
        url = f"{self._address}/api/serve/applications/"
        requests.put(url, json=body, timeout=_HTTP_SECONDS).raise_for_status()

    def serve_run(self, name: str) -> None:
        """Run the program that `serve run` is, on the cluster."""
        self._imperative.add(name)
        program = (
            "from ray import serve; import good;"
            f" serve.run(good.app({{}}), name={name!r}, route_prefix='/{name}')"
        )
        jobs = f"{self._address}/api/jobs/"
        entrypoint = shlex.join([sys.executable, "-c", program])
        job = requests.post(jobs, json={"entrypoint": entrypoint}, timeout=_HTTP_SECONDS).json()

        def has_ended() -> bool:
            seen = requests.get(f"{jobs}{job['submission_id']}", timeout=_HTTP_SECONDS).json()
            assert seen["status"] == "SUCCEEDED", seen
            return True

        eventually(has_ended, within=SETTLES_SECONDS)

    def replace_head(self) -> None:
        """To stop the head of all tests would cost every one its own, so the new one comes beside it."""
        self.cluster.close()
        local = self._stack.enter_context(LocalRay(num_cpus=1))
        self._address = local.address
        self.cluster = ServeCluster(local.address)

    def until(self, condition: Callable[[], Any], within: float) -> Any:
        """Wait. A look costs both sides some 10 ms."""
        return eventually(condition, within=within, every=0.1)


class Bench:
    """What a test works with: a cluster of either kind, and the way to wait for it."""

    def __init__(self, lab: Lab) -> None:
        """Take the cluster and its time."""
        self.lab = lab
        self._puts = 0

    def put(self, *apps: dict[str, Any], **options: Any) -> Live:
        """PUT these applications, and look once, at once. `options` stand beside the applications."""
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
        self.lab.cluster.apply(rollout, {"applications": list(apps), **options})
        return self.look()

    def look(self, *, resources: bool = False) -> Live:
        """What the cluster says now."""
        seen = self.lab.cluster.observe(resources=resources)
        assert isinstance(seen, Live), seen
        return seen

    def ask(self, path: str) -> int:
        """The status that Serve's proxy answers now."""
        answer = self.lab.cluster.probe(Check(app="a", path=path, timeout=20), self.look())
        assert not answer.error, answer
        return answer.status

    def log(self, replica: Replica) -> str:
        """The end of its log."""
        source = LogSource(replica=replica.replica_id, node_id=replica.node_id or "", path=replica.log_path)
        return self.lab.cluster.log_tail(source)

    def until(self, name: str, *statuses: str, within: float = SETTLES_SECONDS) -> App:
        """Wait until it has one of these statuses; RUNNING counts with every deployment HEALTHY."""

        def there() -> App | None:
            app = self.look().apps.get(name)
            assert app is not None, f"{name} is not there"
            assert app.status in statuses, (app.status, app.message, app.deployments)
            if app.status == "RUNNING":
                assert {d.status for d in app.deployments} == {"HEALTHY"}, app.deployments
            return app

        found = self.lab.until(there, within)
        assert isinstance(found, App)
        return found

    def until_true(self, condition: Callable[[Live], object], within: float = SETTLES_SECONDS) -> Live:
        """Wait until a look makes this true."""

        def there() -> Live | None:
            seen = self.look()
            assert condition(seen), seen
            return seen

        found = self.lab.until(there, within)
        assert isinstance(found, Live)
        return found


def app(name: str, import_path: str = "good:app", **more: Any) -> dict[str, Any]:
    """An application of `tests/support/apps`."""
    return {"name": name, "import_path": import_path, "route_prefix": f"/{name}", **more}


def only(seen: App) -> Deployment:
    """The one deployment that it has."""
    (deployment,) = seen.deployments
    return deployment


def ids(seen: App) -> set[str]:
    """Its replicas."""
    return {replica.replica_id for deployment in seen.deployments for replica in deployment.replicas}


def last_line(text: str) -> str:
    """Where Python's tracebacks tell the error."""
    return text.rstrip().splitlines()[-1]
