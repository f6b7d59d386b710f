"""Builders for values of the core, so that a test says only what it is about."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from deployer.core.actions import Action, Note
from deployer.core.decide import NOBODY, decide
from deployer.core.events import (
    Applied,
    Event,
    Failed,
    Failure,
    FailureClass,
    Good,
    Healthy,
    Held,
    Kind,
    LogSource,
    Observed,
    Seen,
    Started,
    State,
)
from deployer.core.live import App, Deployment, Live, Observation, Replica
from deployer.core.record import Record, evolve, fold
from deployer.core.types import Desired, Person, Policy, Release, Revision, ServeConfig, Wanted
from tests.support.canaries import plain_canary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

START = datetime(2026, 11, 22, 10, 42, tzinfo=UTC)
ADA = Person(name="Ada", email="ada@example.com")
CANARY = plain_canary("release")


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
    chosen = apps or (
        {
            "name": "fruit",
            "import_path": "good:app",
            # Looked for after each test: see `canary_watch`.
            "args": {"version": name, "api_key": CANARY},
        },
    )
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


def seen(what: Release, second: float = 0) -> Seen:
    """Git wants it."""
    return Seen(at=at(second), release=what)


def started(
    what: Release, number: int = 1, kind: Kind = Kind.DEPLOY, second: float = 0, **more: Any
) -> Started:
    """A rollout's intent."""
    values = {"policy": Policy(), "trigger": "push", "before": {"fruit": 1.0}, **more}
    return Started(at=at(second), rollout=f"staging#{number}", kind=kind, release=what, **values)


def applied(number: int = 1, second: float = 1, session: str | None = "session_1") -> Applied:
    """Its PUT was taken."""
    return Applied(at=at(second), rollout=f"staging#{number}", session=session)


def observed(
    number: int = 1,
    second: float = 2,
    *,
    settled: bool = False,
    sick: bool = False,
    phase: str = "",
    states: tuple[State, ...] = (),
) -> Observed:
    """Its applications were seen in another state."""
    return Observed(
        at=at(second),
        rollout=f"staging#{number}",
        states=states,
        settled=settled,
        sick=sick,
        phase=phase or ("" if settled else "start"),
    )


def ended_well(number: int = 1, second: float = 10) -> tuple[Observed, Healthy, Good]:
    """It was settled, healthy, and good."""
    rollout = f"staging#{number}"
    return (
        observed(number, second, settled=True),
        Healthy(at=at(second), rollout=rollout),
        Good(at=at(second), rollout=rollout),
    )


def failed(
    number: int = 1,
    second: float = 30,
    failure_class: FailureClass = FailureClass.CODE,
    log: LogSource | None = None,
) -> Failed:
    """It failed."""
    failure = Failure(failure_class=failure_class, message="fruit / D: ValueError: bad price", log=log)
    return Failed(at=at(second), rollout=f"staging#{number}", failure=failure)


def held(number: int = 1, second: float = 30) -> Held:
    """Its digest is held."""
    return Held(at=at(second), rollout=f"staging#{number}", reason="fruit / D: ValueError: bad price")


def decided(
    wanted: Wanted,
    observation: Observation,
    record: Record,
    second: float,
    neighbours: Mapping[str, str] = NOBODY,
) -> tuple[Record, tuple[Event, ...], Action]:
    """What a pass of these facts notes, and the order at its end, which is not carried out."""
    events: tuple[Event, ...] = ()
    action = decide(wanted, observation, record, at(second), neighbours)
    while isinstance(action, Note):
        for event in action.events:
            record = evolve(record, event)
        events += action.events
        assert len(events) < 20, f"it does not converge: {[event.type for event in events]}"
        action = decide(wanted, observation, record, at(second), neighbours)
    return record, events, action
