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

from deployer.core import body, gates, lineage, sentences
from deployer.core.actions import Action, KeepLog, Note, Probe, Put, Wait
from deployer.core.decide import NOBODY, decide
from deployer.core.events import DriftClass, Kind
from deployer.core.gates import GateState
from deployer.core.live import App, Live, Observation
from deployer.core.record import Record, Result
from deployer.core.rollouts import is_live, owned
from deployer.core.times import timestamp
from deployer.core.types import Absent, Desired, Invalid, NotRead, Release, Rewritten, Unverified, Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.core.events import Moment
    from deployer.core.gates import Gating
    from deployer.core.live import Deployment
    from deployer.core.record import Promotion, Rollout

_BROKEN = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})
_APART = frozenset({DriftClass.EDITED, DriftClass.MISSING, DriftClass.LOST})
"""The classes of drift in which the cluster does not run the release as it was sent."""
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
    PAUSED = "paused"
    HELD = "held"
    WAITING = "waiting"
    ORPHANED = "orphaned"


_WAITING_LINES = frozenset({8, 27, 28, 29, 30, 31})
"""The lines of the policy at which something outside has to change first: room, owners, a permission, a gate,
or a person has to act."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """When git was last seen to want this; and why it could not be asked since, as a sentence."""

    seen_at: datetime | None = None
    trouble: str | None = None


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
    line: int
    seconds: float | None
    git: Freshness = Freshness()
    gates: tuple[GateState, ...] = ()


def status(
    wanted: Wanted,
    live: Observation,
    record: Record,
    now: datetime,
    neighbours: Mapping[str, str] = NOBODY,
    gating: Gating = gates.NONE,
) -> Status:
    """Derive the status of an environment from what `decide` would see now."""
    wanted = lineage.admitted(wanted, record)
    release = wanted.release if isinstance(wanted, Desired) else None
    action = decide(wanted, live, record, now, neighbours, gating)
    seen = live if isinstance(live, Live) else None
    is_new = isinstance(wanted, Desired) and _is_to_come(wanted.release.digest, record)
    return Status(
        environment=record.environment,
        sync=_sync(wanted, live, record),
        health=_health(live, record),
        mode=_mode(wanted, record, action),
        message=_message(action),
        since=_since(record),
        live=live_release(record),
        wanted=release,
        phase=_phase(record),
        cluster=seen,
        record=record,
        line=action.line,
        seconds=action.seconds if isinstance(action, Wait) else None,
        gates=gates.gates(wanted, seen, record, now, gating, neighbours)
        if isinstance(wanted, Desired) and is_new
        else (),
    )


def _is_to_come(digest: str, record: Record) -> bool:
    """Whether a deploy of this may begin some time: it is neither live, nor on its way, nor held."""
    hold = record.hold_of(digest)
    is_held = hold is not None and not hold.may_retry
    is_on_its_way = record.rollout is not None and record.rollout.release.digest == digest
    return not (is_live(record, digest) or is_held or is_on_its_way)


def live_release(record: Record) -> Release | None:
    """The release the cluster serves: the good one, unless the last rollout failed and was not undone."""
    last = record.last
    if record.rollout is None and last is not None and last.result is Result.FAILED:
        return record.good if last.kind in (Kind.HEAL, Kind.RESTORE) else None
    return record.good


def view(status: Status) -> dict[str, Any]:
    """Return the JSON of `deployer status -o json`: fields may be added, none changed."""
    record, rollout, cluster = status.record, status.record.rollout, status.cluster
    others = _foreign(status)
    return {
        "environment": status.environment,
        "sequence": record.sequence,
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
            "timeline": [_moment(moment) for moment in rollout.timeline],
            "checks": [_check(rollout, index) for index in range(len(rollout.policy.checks))],
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
        "paused": record.paused
        and {
            "by": record.paused.actor,
            "reason": record.paused.reason,
            "since": timestamp(record.paused.at),
            "until": timestamp(record.paused.until),
        },
        "drift": record.drift
        and {
            "class": record.drift.drift.value,
            "message": record.drift.what,
            "since": timestamp(record.drift.since),
        },
        "starved": record.starved
        and {
            "digest": record.starved.digest,
            "tries": record.starved.tries,
            "since": timestamp(record.starved.since),
        },
        "last_failure": _last_failure(record),
        "git": {"seen_at": timestamp(status.git.seen_at), "trouble": status.git.trouble},
        "policy": {"line": status.line, "seconds": status.seconds},
        "gates": [
            {
                "name": gate.name,
                "verdict": gate.verdict.value,
                "evidence": gate.evidence,
                "next_check": timestamp(gate.next_check),
                "plan": gate.plan,
            }
            for gate in status.gates
        ],
        "promotion": record.promotion and _promotion(record.promotion),
        "apps": [_app(app) for name, app in sorted(cluster.apps.items()) if name not in others]
        if cluster
        else [],
        "foreign": list(others),
        "cluster": cluster
        and {
            "ray_version": cluster.ray_version,
            "session": cluster.session,
            "serve_started": cluster.serve_started,
            "proxies": dict(cluster.proxies),
        },
    }


def _promotion(promotion: Promotion) -> dict[str, Any]:
    return {
        "source": promotion.source,
        "rollout": promotion.rollout,
        "revision": promotion.commit,
        "by": promotion.by,
        "at": timestamp(promotion.at),
        "reason": promotion.reason,
        "skipped": list(promotion.skipped),
        "result": promotion.result.value,
        "why": promotion.why or None,
        "copied": promotion.copied,
        "pull_request": promotion.url,
    }


def _release(release: Release) -> dict[str, Any]:
    revision = release.revision
    return {
        "revision": revision.commit,
        "digest": release.digest,
        "subject": revision.subject,
        "author": str(revision.author),
        "committer": str(revision.committer),
        "co_authors": [str(person) for person in revision.co_authors],
        "merged": revision.merged
        and {"revision": revision.merged.commit, "subject": revision.merged.subject},
        "pull_request": revision.pull_request,
        "tag": revision.tag,
    }


def _foreign(status: Status) -> tuple[str, ...]:
    """The names of somebody else's applications on the cluster."""
    if status.cluster is None:
        return ()
    wanted = status.wanted.config.applications().keys() if status.wanted else ()
    return body.foreign(status.cluster, owned(status.record).union(wanted))


def _moment(moment: Moment) -> dict[str, Any]:
    return {
        "at": timestamp(moment.at),
        "phase": moment.phase or None,
        "states": [
            {
                "app": state.app,
                "deployment": state.deployment or None,
                "status": state.status,
                "running": state.running,
                "target": state.target,
                "failed_starts": state.failed_starts,
                "message": state.says,
            }
            for state in moment.states
        ],
    }


def _check(rollout: Rollout, index: int) -> dict[str, Any]:
    check, attempts = rollout.policy.checks[index], rollout.checks.get(index)
    return {
        "app": check.app,
        "path": check.path,
        "passed": attempts.passed if attempts else None,
        "attempts": attempts.made if attempts else 0,
        "message": attempts.message if attempts else "",
    }


def _last_failure(record: Record) -> dict[str, Any] | None:
    """Why the last rollout failed, if it did; or the one that the running rollback answers."""
    last = record.last
    if last is None or last.failure is None:
        return None
    failure = last.failure
    return {
        "rollout": last.id,
        "class": failure.failure_class.value,
        "message": failure.message,
        "detail": failure.detail,
        "timeline": [_moment(moment) for moment in failure.timeline],
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
        case Invalid() | Unverified() | Rewritten() | Absent():
            return Sync.OUT_OF_SYNC
        case Desired(release=release):
            drifted = record.drift is not None and record.drift.drift in _APART
            names = release.config.applications()
            is_there = not drifted and all(name in live.apps for name in names)
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
    last = record.last
    names = last.release.config.applications()
    apps = [live.apps.get(name) for name in names]
    is_failed = last.result is Result.FAILED and last.kind not in (Kind.HEAL, Kind.RESTORE)
    if is_failed or any(app is not None and _is_broken(app) for app in apps):
        return Health.DEGRADED
    if any(app is None for app in apps):
        return Health.MISSING
    return Health.HEALTHY if all(app is not None and _is_steady(app) for app in apps) else Health.PROGRESSING


def _is_broken(app: App) -> bool:
    return app.status in _BROKEN or any(deployment.status in _BROKEN for deployment in app.deployments)


def _is_steady(app: App) -> bool:
    return app.status == "RUNNING" and all(deployment.status in _STEADY for deployment in app.deployments)


def _mode(wanted: Wanted, record: Record, action: Action) -> Mode:
    if record.paused is not None:
        return Mode.PAUSED
    if isinstance(wanted, Desired):
        hold = record.hold_of(wanted.release.digest)
        if hold is not None and not hold.may_retry:
            return Mode.HELD
    if isinstance(wanted, Absent) and record.rollouts:
        return Mode.ORPHANED
    if isinstance(wanted, Unverified | Rewritten):
        return Mode.WAITING
    if isinstance(action, Wait) and action.line in _WAITING_LINES:
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
        case Probe(rollout=rollout, check=check):
            return sentences.progressing(rollout, f"checking {check.method} {check.path}")
        case KeepLog(source=source):
            return f"Reading the log of {source.replica}."
        case _:
            assert_never(action)


def _since(record: Record) -> datetime | None:
    if record.rollout is not None:
        return record.rollout.started_at
    return record.last.finished_at if record.last is not None else None


def _phase(record: Record) -> str | None:
    """Derive the rollout's phase.

    `applying` until the cluster has taken the config, then `build`, `schedule`, `start` as Serve goes on,
    `stabilize` during the stability window, `check`, and `soak`.
    """
    rollout = record.rollout
    if rollout is None:
        return None
    if rollout.pending or not rollout.timeline:
        return "applying"
    if rollout.settled_since is None:
        return rollout.timeline[-1].phase or "start"
    if rollout.healthy_at is None:
        return "stabilize"
    passed = sum(attempts.passed for attempts in rollout.checks.values())
    return "soak" if passed == len(rollout.policy.checks) else "check"
