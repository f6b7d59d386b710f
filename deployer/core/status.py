"""What to tell people about one environment: sync, health, mode, and one sentence.

Owns the derivation. Must not store anything: no phase field exists, this is computed from the same values
that `decide` gets. Invariant: the sentence is the one of the policy line that decided, so that what is
said and what is done cannot differ; and the JSON shape of `view` is a promise (product.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, assert_never

from deployer.core import sentences
from deployer.core.actions import Action, Note, Put, Wait
from deployer.core.belongs import foreign_apps
from deployer.core.decide import decide, is_live
from deployer.core.live import App, Live, Observation
from deployer.core.record import Record, Result
from deployer.core.times import timestamp
from deployer.core.types import Absent, Desired, Invalid, NotRead, Release, Wanted

if TYPE_CHECKING:
    from deployer.core.live import Deployment

_BROKEN = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})
_STEADY = frozenset({"HEALTHY", "UPSCALING", "DOWNSCALING"})
"""A RUNNING application scales by itself; that is health, not progress."""


class Sync(StrEnum):
    """Does the environment run what git wants?"""

    SYNCED = "Synced"
    OUT_OF_SYNC = "OutOfSync"
    UNKNOWN = "Unknown"


class Health(StrEnum):
    """Do its applications serve?"""

    HEALTHY = "Healthy"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    MISSING = "Missing"
    UNKNOWN = "Unknown"


class Mode(StrEnum):
    """What the daemon does with the next change by itself."""

    AUTO = "auto"
    HELD = "held"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """One environment as people see it. `since` is when this state began; None before anything happened."""

    environment: str
    sync: Sync
    health: Health
    mode: Mode
    message: str
    since: datetime | None
    live: Release | None
    wanted: Release | None
    phase: str | None
    cluster: Live | None
    record: Record


def status(wanted: Wanted, live: Observation, record: Record, now: datetime) -> Status:
    """Derive the status of an environment from what `decide` would see now."""
    release = wanted.release if isinstance(wanted, Desired) else None
    action = decide(wanted, live, record, now)
    return Status(
        environment=record.environment,
        sync=_sync(wanted, live, record),
        health=_health(live, record),
        mode=_mode(wanted, live, record),
        message=_message(action),
        since=_since(record),
        live=live_release(record),
        wanted=release,
        phase=_phase(record),
        cluster=live if isinstance(live, Live) else None,
        record=record,
    )


def live_release(record: Record) -> Release | None:
    """The release the cluster serves: the good one, unless the last rollout failed and was not undone."""
    if record.rollout is None and record.last is not None and record.last.result is Result.FAILED:
        return None
    return record.good


def view(status: Status) -> dict[str, Any]:
    """Return the JSON of `deployer status -o json`: fields may be added, none changed."""
    record, rollout, cluster = status.record, status.record.rollout, status.cluster
    return {
        "environment": status.environment,
        "sync": status.sync.value,
        "health": status.health.value,
        "mode": status.mode.value,
        "message": status.message,
        "since": timestamp(status.since),
        "live": status.live and {"release": record.good_rollout, **_release(status.live)},
        "wanted": status.wanted and _release(status.wanted),
        "rollout": rollout
        and {
            "id": rollout.id,
            "kind": rollout.kind.value,
            "phase": status.phase,
            "started_at": timestamp(rollout.started_at),
        },
        "held": [
            {
                "digest": hold.digest,
                "revision": hold.release.revision.commit,
                "reason": hold.reason,
                "since": timestamp(hold.since),
            }
            for hold in record.held
        ],
        "apps": [_app(app) for _, app in sorted(cluster.apps.items())] if cluster else [],
        "cluster": cluster
        and {
            "ray_version": cluster.ray_version,
            "session": cluster.session,
            "serve_started": cluster.serve_started,
            "proxies": dict(cluster.proxies),
        },
    }


def _release(release: Release) -> dict[str, Any]:
    return {
        "revision": release.revision.commit,
        "digest": release.digest,
        "subject": release.revision.subject,
        "author": str(release.revision.author),
    }


def _app(app: App) -> dict[str, Any]:
    return {
        "name": app.name,
        "status": app.status,
        "message": app.message,
        "deployments": [_deployment(deployment) for deployment in app.deployments],
    }


def _deployment(deployment: Deployment) -> dict[str, Any]:
    return {
        "name": deployment.name,
        "status": deployment.status,
        "message": deployment.message,
        "target_replicas": deployment.target_replicas,
        "running_replicas": deployment.running_replicas,
    }


def _sync(wanted: Wanted, live: Observation, record: Record) -> Sync:
    if not isinstance(live, Live):
        return Sync.UNKNOWN
    match wanted:
        case NotRead():
            return Sync.UNKNOWN
        case Invalid() | Absent():
            return Sync.OUT_OF_SYNC
        case Desired(release=release):
            names = release.config.applications()
            is_there = all(name in live.apps for name in names)
            return Sync.SYNCED if is_there and is_live(record, release.digest) else Sync.OUT_OF_SYNC
        case _:
            assert_never(wanted)


def _health(live: Observation, record: Record) -> Health:
    if not isinstance(live, Live):
        return Health.UNKNOWN
    if record.rollout is not None:
        return Health.PROGRESSING
    if record.last is None:
        return Health.MISSING
    names = record.last.release.config.applications()
    apps = [live.apps.get(name) for name in names]
    if record.last.result is Result.FAILED or any(app is not None and _is_broken(app) for app in apps):
        return Health.DEGRADED
    if any(app is None for app in apps):
        return Health.MISSING
    return Health.HEALTHY if all(app is not None and _is_steady(app) for app in apps) else Health.PROGRESSING


def _is_broken(app: App) -> bool:
    return app.status in _BROKEN or any(deployment.status in _BROKEN for deployment in app.deployments)


def _is_steady(app: App) -> bool:
    return app.status == "RUNNING" and all(deployment.status in _STEADY for deployment in app.deployments)


def _mode(wanted: Wanted, live: Observation, record: Record) -> Mode:
    if not isinstance(wanted, Desired):
        return Mode.AUTO
    if record.hold_of(wanted.release.digest) is not None:
        return Mode.HELD
    is_due = not is_live(record, wanted.release.digest)
    if is_due and isinstance(live, Live) and foreign_apps(live, record, wanted.release):
        return Mode.WAITING
    return Mode.AUTO


def _message(action: Action) -> str:
    match action:
        case Wait(reason=reason):
            return reason
        case Note(events=events):
            return f"Noting {', '.join(event.type for event in events)}."
        case Put(rollout=rollout):
            return sentences.progressing(rollout, "sending the config to the cluster")
        case _:
            assert_never(action)


def _since(record: Record) -> datetime | None:
    if record.rollout is not None:
        return record.rollout.started_at
    return record.last.finished_at if record.last is not None else None


def _phase(record: Record) -> str | None:
    """Derive the rollout's phase: `applying` until the cluster has taken the config, then `waiting`."""
    if record.rollout is None:
        return None
    return "applying" if record.rollout.pending else "waiting"
