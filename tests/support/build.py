"""Builders for values of the core, so that a test says only what it is about."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from deployer.core.live import App, Deployment, Live, Replica
from deployer.core.record import Record, fold
from deployer.core.types import Desired, Person, Policy, Release, Revision, ServeConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployer.core.events import Event

START = datetime(2026, 11, 22, 10, 42, tzinfo=UTC)
ADA = Person(name="Ada", email="ada@example.com")


def at(seconds: float) -> datetime:
    """So many seconds after the start of the test's time."""
    return START + timedelta(seconds=seconds)


def config(*apps: str | dict[str, Any]) -> ServeConfig:
    """A config of these applications; a string is the name of one that imports `good:app`."""
    listed = [
        {"name": app, "import_path": "good:app", "route_prefix": f"/{app}"} if isinstance(app, str) else app
        for app in apps
    ]
    listed.sort(key=lambda one: str(one["name"]))
    text = json.dumps({"applications": listed}, sort_keys=True, separators=(",", ":"))
    return ServeConfig(text=text, digest=f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


def revision(name: str) -> Revision:
    """A commit whose id is made of `name`."""
    commit = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
    return Revision(commit=commit, author=ADA, committer=ADA, subject=f"commit {name}", committed_at=START)


def release(name: str, *apps: str | dict[str, Any]) -> Release:
    """The release of commit `name`; its config differs by name unless `apps` are given."""
    chosen = apps or ({"name": "fruit", "import_path": "good:app", "args": {"version": name}},)
    return Release(revision=revision(name), config=config(*chosen))


def desired(wanted: Release, policy: Policy | None = None) -> Desired:
    """Git wants this release."""
    return Desired(release=wanted, policy=policy or Policy())


def deployment(
    name: str = "D", status: str = "HEALTHY", *, running: int = 1, target: int | None = 1, **more: Any
) -> Deployment:
    """A deployment with that many RUNNING replicas."""
    replicas = tuple(Replica(replica_id=f"r{n}", state="RUNNING", node_id="n1") for n in range(running))
    return Deployment(
        **{"name": name, "status": status, "target_replicas": target, "replicas": replicas, **more}
    )


def app(name: str, status: str = "RUNNING", **more: Any) -> App:
    """An application; with one healthy deployment and stamp 1.0 unless told otherwise."""
    values = {"deployments": (deployment(),), "last_deployed_time_s": 1.0, "source": "declarative", **more}
    return App(name=name, status=status, **values)


def live(*apps: App, **more: Any) -> Live:
    """A cluster that runs these applications."""
    values = {"session": "session_1", "ray_version": "2.60.0", "serve_started": True, **more}
    return Live(apps={one.name: one for one in apps}, **values)


def running(what: Release, stamp: float = 2.0, status: str = "RUNNING", **more: Any) -> Live:
    """A cluster that reports this release's config, all applications stamped alike."""
    return live(
        *(
            app(name, status, config=sent, last_deployed_time_s=stamp, **more)
            for name, sent in what.config.applications().items()
        )
    )


def record_of(*events: Event) -> Record:
    """The record of an environment `staging` with this history."""
    return folded(events)


def folded(events: Iterable[Event]) -> Record:
    """The same, from any iterable."""
    return fold("staging", events)
