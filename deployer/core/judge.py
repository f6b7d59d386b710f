"""Is the cluster where this rollout wants it? The classifier: a pure function over what was observed.

Owns the reading of Serve's statuses: what one look shows (`see`), and what the look and the timeline before
it mean (`judge`): settled, failing and in which class, or on the way and in which phase. Must not know what
follows from it. Invariant: the application's status is read first, because for one tick of Serve's
loop (~0.1 s) after a PUT the deployments still show the verdict of the one before (measured, 2.60).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from deployer.core.events import Failure, FailureClass, Kind, LogSource, State

if TYPE_CHECKING:
    from datetime import datetime

    from deployer.core.live import App, Deployment, Live
    from deployer.core.record import Rollout

STALE = timedelta(seconds=1)
"""So long after a PUT a deployment may still show what came of the one before: ten ticks of Serve's loop."""

GRACE_SECONDS = 30.0
"""The shortest stability window and the longest spell of UNHEALTHY, unless health checks are slower: Serve
looks every 10 s and calls a replica unhealthy after three strikes (2.60's defaults)."""

_ERROR_LINE = re.compile(r"^(?:[A-Za-z_][\w.]*(?:\(|: \S|(?:Error|Exception|Exit)$)|\s*ERROR: )")
"""The last line of a traceback: `ModuleNotFoundError: No module named 'torch'`, `ActorDiedError()`, and
`AssertionError` without a word; and what pip says, indented: `ERROR: No matching distribution for x`."""

_RETRYING = re.compile(r"Retrying (\d+) more time")
"""Serve counts down the starts that it will still try: "Retrying 5 more time(s)" (2.40 to 2.60)."""

_MOST_STARTS = 20
_STARTS_PER_REPLICA = 3
"""Serve gives up after the smaller of 20 and three per target replica, unless its code or environment says
less (2.60)."""

_DETAIL_LIMIT = 20_000
"""Characters of the first error that are kept on the record: a traceback is 2-6 kB (measured, 2.60)."""

_MESSAGE_LIMIT = 300
"""Characters of the one line for people."""

_BROKEN = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})
_SCALING = frozenset({"UPSCALING", "DOWNSCALING"})


class Phase(StrEnum):
    """What an unsettled rollout is waiting for."""

    BUILD = "build"
    SCHEDULE = "schedule"
    START = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one look shows of a rollout's applications: what `Observed` takes, and the words for it.

    `phase` is None when settled.
    """

    states: tuple[State, ...]
    settled: bool
    sick: bool
    phase: Phase | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Every application RUNNING, every deployment HEALTHY and complete, none of the old replicas left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """It will not get there. `may_retry`: another PUT of the same config would make Serve try again."""

    failure: Failure
    may_retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressing:
    """Not there yet. `text` says how far: `fruit DEPLOYING: MangoStand 1/3`."""

    phase: Phase
    text: str


Verdict = Settled | Failing | Progressing
"""What the look and the timeline say about a rollout."""


def see(live: Live, rollout: Rollout) -> Sighting:
    """Reduce a look to what matters of it. The cluster must report the rollout's own config."""
    apps = [live.apps[name] for name in sorted(rollout.release.config.applications())]
    unsettled = [app for app in apps if not _is_settled(app, rollout)]
    states = tuple(state for app in apps for state in _states(app))
    phase = min((_phase(app) for app in unsettled), key=list(Phase).index) if unsettled else None
    return Sighting(
        states=states,
        settled=not unsettled,
        sick=any(_is_sick(app) for app in apps) or (not unsettled and _missed_a_flap(rollout, states)),
        phase=phase,
        text="; ".join(progress(app) for app in unsettled),
    )


def judge(live: Live, rollout: Rollout, sighting: Sighting, now: datetime, *, serving: bool) -> Verdict:
    """Classify the rollout. `serving`: a good release was there before, so waiting costs more than it gives.

    Flapping and failed starts end only a deploy: what is brought back has proved itself before, and to give
    up on it would help nobody.
    """
    apps = [live.apps[name] for name in sorted(rollout.release.config.applications())]
    failed = [app for app in apps if app.status == "DEPLOY_FAILED" and not _may_heal(app)]
    if failed:
        failure = _failure(failed[0], rollout)
        is_env = failure.failure_class is FailureClass.RUNTIME_ENV
        return Failing(failure=failure, may_retry=is_env and not failed[0].deployments)
    if rollout.kind is Kind.DEPLOY and rollout.put_at is not None:
        # A clock that was put back since says nothing about it.
        is_stale = timedelta() <= now - rollout.put_at < STALE
        early = _failing_fast(apps, rollout, serving=serving, is_stale=is_stale)
        if early is None and not is_stale:
            early = _flapping(apps, rollout, now)
        if early is not None:
            return Failing(failure=early)
    if sighting.phase is None:
        return Settled()
    return Progressing(phase=sighting.phase, text=sighting.text)


def stability_window(rollout: Rollout, live: Live) -> timedelta:
    """How long a rollout must stay settled before its release is healthy. What is brought back need not."""
    if rollout.kind is not Kind.DEPLOY:
        return timedelta()
    given = rollout.policy.stability_window
    if given is not None:
        return timedelta(seconds=given)
    return _longest_spell(rollout, [live.apps[name] for name in rollout.release.config.applications()])


def progress(app: App) -> str:
    """One application's state in Serve's words: `fruit DEPLOYING: MangoStand 1/3, OrangeStand 0/1`."""
    if not app.deployments:
        return f"{app.name} {app.status}"
    counts = ", ".join(f"{d.name} {d.running_replicas}/{_target(d)} {d.status}" for d in app.deployments)
    return f"{app.name} {app.status}: {counts}"


def cause(text: str) -> str:
    """The one line of a Serve message that tells the cause: the traceback's last line, or the first line.

    Serve's messages are whole tracebacks; the useful line is the last that looks like `SomeError: text`.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "Serve gave no reason"
    errors = [line for line in text.splitlines() if _ERROR_LINE.match(line)]
    line = errors[-1].strip() if errors else lines[0]
    return line if len(line) <= _MESSAGE_LIMIT else f"{line[: _MESSAGE_LIMIT - 1]}…"


def failed_starts(deployment: Deployment) -> int:
    """How many starts of the new version have failed, as far as Serve's message tells; 0 if it tells of none.

    The message counts down what is left of a budget that only Serve knows for sure.
    """
    left = _RETRYING.search(deployment.message)
    if left is None:
        return 0
    budget = min(_MOST_STARTS, _STARTS_PER_REPLICA * _target(deployment))
    return max(1, budget - int(left[1]))


def _states(app: App) -> tuple[State, ...]:
    whole = State(app=app.name, status=app.status, says=_says(app.message))
    return (whole, *(_state(app, deployment) for deployment in app.deployments))


def _state(app: App, deployment: Deployment) -> State:
    # While replicas come and go the set says nothing; once all are there, another one means a replacement.
    running = sorted(r.replica_id for r in deployment.replicas if r.state == "RUNNING")
    is_healthy = deployment.status == "HEALTHY"
    return State(
        app=app.name,
        deployment=deployment.name,
        status=deployment.status,
        trigger=deployment.status_trigger,
        running=len(running),
        target=deployment.target_replicas,
        replicas=hashlib.sha256(" ".join(running).encode()).hexdigest()[:12] if is_healthy else "",
        failed_starts=failed_starts(deployment),
        says=_says(deployment.message),
    )


def _says(message: str) -> str:
    return cause(message) if message else ""


def _is_settled(app: App, rollout: Rollout) -> bool:
    """RUNNING with every deployment HEALTHY and complete.

    RUNNING alone is not proof: an autoscaling decision during a rolling update shows RUNNING before any
    new replica has started (measured, 2.60); and `deployments` is empty while Serve still builds. Once it
    was settled, autoscaling may move the counts.
    """
    if app.status != "RUNNING" or not app.deployments:
        return False
    leaving = frozenset(rollout.leaving)
    return all(
        (_is_complete(d) or (rollout.was_settled and d.status in _SCALING))
        and not any(replica.replica_id in leaving for replica in d.replicas)
        for d in app.deployments
    )


def _is_complete(deployment: Deployment) -> bool:
    return deployment.status == "HEALTHY" and deployment.running_replicas >= _target(deployment)


def _target(deployment: Deployment) -> int:
    # Ray 2.9.3 reports no target; HEALTHY then has to be enough.
    return len(deployment.replicas) if deployment.target_replicas is None else deployment.target_replicas


def _phase(app: App) -> Phase:
    if not app.deployments:
        return Phase.BUILD
    # A STARTING replica has no node until Ray has found room for it (2.60).
    homeless = any(r.state == "STARTING" and r.node_id is None for d in app.deployments for r in d.replicas)
    return Phase.SCHEDULE if homeless else Phase.START


def _is_sick(app: App) -> bool:
    return (
        app.status == "UNHEALTHY" or any(d.status == "UNHEALTHY" for d in app.deployments) or _may_heal(app)
    )


def _may_heal(app: App) -> bool:
    """Whether this DEPLOY_FAILED can still become RUNNING by itself.

    A replica that crashed after its start gives DEPLOY_FAILED with the trigger HEALTH_CHECK_FAILED, and
    Serve went back to RUNNING 13 s later (measured, 2.60). Its grace ends the wait.
    """
    failed = [d for d in app.deployments if d.status in _BROKEN]
    return (
        app.status == "DEPLOY_FAILED"
        and bool(failed)
        and all(d.status_trigger == "HEALTH_CHECK_FAILED" for d in failed)
    )


def _missed_a_flap(rollout: Rollout, states: tuple[State, ...]) -> bool:
    """Whether something was UNHEALTHY between two settled looks.

    HEALTHY with the trigger UNSPECIFIED means recovered from UNHEALTHY (2.60). The trigger stays, so a
    second time shows only in the replicas: as many as before, but others.
    """
    last = rollout.timeline[-1] if rollout.was_settled else None
    if last is None or not last.settled:
        return False
    before = {(state.app, state.deployment): state for state in last.states}
    return any(
        state.status == "HEALTHY"
        and state.trigger == "UNSPECIFIED"
        and (old := before.get((state.app, state.deployment))) is not None
        and old.status == "HEALTHY"
        and (old.trigger != "UNSPECIFIED" or (old.target == state.target and old.replicas != state.replicas))
        for state in states
    )


def _failing_fast(apps: list[App], rollout: Rollout, *, serving: bool, is_stale: bool) -> Failure | None:
    """The failure of a start that Serve still repeats: each repetition may load a model for minutes.

    Where starts were failing before the PUT too, what is read within a second of it may be about those.
    """
    given = rollout.policy.fail_fast_after
    limit = (1 if serving else 2) if given is None else given
    if limit == 0:
        return None
    for app in apps:
        for deployment in app.deployments:
            name = f"{app.name}/{deployment.name}"
            starts = failed_starts(deployment) - rollout.starting.get(name, 0)
            if starts <= 0 or (is_stale and name in rollout.starting):
                continue
            failure = _failure_of(app, deployment, rollout)
            # Setting an environment up depends on the network: Serve's own next try is its one retry.
            is_env = failure.failure_class is FailureClass.RUNTIME_ENV
            if starts >= limit + is_env:
                return failure
    return None


def _flapping(apps: list[App], rollout: Rollout, now: datetime) -> Failure | None:
    policy = rollout.policy
    too_many = rollout.flaps > policy.max_flaps
    too_long = rollout.sick_since is not None and now - rollout.sick_since > _longest_spell(rollout, apps)
    if not too_many and not too_long:
        return None
    sick = next((app for app in apps if _is_sick(app)), None)
    broken = _broken(sick) if sick else None
    what = f"UNHEALTHY {rollout.flaps} times" if rollout.flaps > 1 else "UNHEALTHY"
    last = next((m for m in reversed(rollout.timeline) if m.sick), None)
    says = broken.message if broken else next((s.says for s in last.states if s.says), "") if last else ""
    where = f"{sick.name} / {broken.name}" if sick and broken else " and ".join(app.name for app in apps)
    after = "after it had started well" if rollout.was_settled else "while it started"
    return Failure(
        failure_class=FailureClass.FLAPPING,
        message=f"{where} was {what} {after}: {cause(says)}",
        detail=says[-_DETAIL_LIMIT:],
        log=_log(broken, rollout) if broken else None,
    )


def _longest_spell(rollout: Rollout, apps: list[App]) -> timedelta:
    """The larger of 30 s and three times the longest health check period, in the config or in the code."""
    given = [
        deployment.get("health_check_period_s")
        for app in rollout.release.config.applications().values()
        for deployment in app.get("deployments", ())
    ]
    effective = [(d.effective or {}).get("health_check_period_s") for app in apps for d in app.deployments]
    periods = [float(period) for period in (*given, *effective) if isinstance(period, int | float)]
    return timedelta(seconds=max([GRACE_SECONDS, *(3 * period for period in periods)]))


def _broken(app: App) -> Deployment | None:
    """The deployment to blame: the one that Serve gave up on, before those that wait for it."""
    broken = [d for d in app.deployments if d.status in _BROKEN]
    return min(broken, key=lambda d: d.status != "DEPLOY_FAILED", default=None)


def _failure(app: App, rollout: Rollout) -> Failure:
    """The first error in full and its one line, from where Serve puts it.

    A failed build: the application's message, with no deployments. A failed start: the deployment's
    message; the application's then only lists names (measured, 2.60).
    """
    broken = _broken(app)
    if broken is not None and broken.message:
        return _failure_of(app, broken, rollout)
    is_env = _is_about_runtime_env(app.message)
    return Failure(
        failure_class=FailureClass.RUNTIME_ENV if is_env else FailureClass.CONFIG,
        message=f"{app.name}: {cause(app.message)}",
        detail=app.message[-_DETAIL_LIMIT:],
    )


def _failure_of(app: App, deployment: Deployment, rollout: Rollout) -> Failure:
    is_env = _is_about_runtime_env(deployment.message)
    return Failure(
        failure_class=FailureClass.RUNTIME_ENV if is_env else FailureClass.CODE,
        message=f"{app.name} / {deployment.name}: {cause(deployment.message)}",
        detail=deployment.message[-_DETAIL_LIMIT:],
        # Without an environment no replica started, and none wrote a log.
        log=None if is_env else _log(deployment, rollout),
    )


def _is_about_runtime_env(message: str) -> bool:
    """Whether the set-up of an environment failed.

    For an application: "Runtime env setup for app 'x' failed"; for a deployment: "Exception when allocating
    ...: Failed to set up runtime environment" (2.60). An import error inside a working one is the config's.
    """
    text = message.lower()
    return "runtime env setup" in text or "failed to set up runtime environment" in text


def _log(deployment: Deployment, rollout: Rollout) -> LogSource | None:
    """The log of a replica that shows the failure: of the one that is ending, or that ended last.

    The one that failed is STOPPING in the look that brings the message, and listed among the dead a tenth of
    a second later; one whose process exited is dead at once (2.60). Before that, the next try's, or any.
    """
    replicas = deployment.replicas
    likely = (
        *(replica for replica in replicas if replica.state == "STOPPING"),
        *reversed(deployment.dead),
        *(replica for replica in replicas if replica.state == "STARTING"),
        *replicas,
    )
    for replica in likely:
        if replica.log_path and replica.node_id and replica.replica_id not in rollout.leaving:
            return LogSource(replica=replica.replica_id, node_id=replica.node_id, path=replica.log_path)
    return None
