"""Is the cluster where this release wants it? One pure look at one observation.

Owns the reading of Serve's statuses: settled, failing, or on the way, and in which phase. Must not know
what follows from it. Invariant: the application's status is read first, because for one tick of Serve's
loop (~0.1 s) after a PUT the deployments still show the verdict of the one before (measured, 2.60).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from deployer.core.events import Failure, FailureClass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployer.core.live import App, Deployment, Live

_ERROR_LINE = re.compile(r"^[A-Za-z_][\w.]*: \S")
"""The last line of a traceback: `ModuleNotFoundError: No module named 'torch'`, at column 0."""

_DETAIL_LIMIT = 20_000
"""Characters of the first error that are kept on the record: a traceback is 2-6 kB (measured, 2.60)."""

_MESSAGE_LIMIT = 300
"""Characters of the one line for people."""


class Phase(StrEnum):
    """What an unsettled rollout is waiting for."""

    BUILD = "build"
    SCHEDULE = "schedule"
    START = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Every application RUNNING, every deployment HEALTHY, with as many running replicas as wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Serve gave up on it."""

    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressing:
    """Not there yet. `text` says how far: `fruit DEPLOYING: MangoStand 1/3`."""

    phase: Phase
    text: str


Verdict = Settled | Failing | Progressing
"""What one look says about a release."""


def judge(live: Live, names: Iterable[str]) -> Verdict:
    """Judge the applications `names`, which the cluster must report with our config (see `decide`)."""
    apps = [live.apps[name] for name in sorted(names)]
    failed = [app for app in apps if app.status == "DEPLOY_FAILED" and not _may_heal(app)]
    if failed:
        return Failing(failure=_failure(failed[0]))
    unsettled = [app for app in apps if not is_settled(app)]
    if not unsettled:
        return Settled()
    phase = min((_phase(app) for app in unsettled), key=list(Phase).index)
    return Progressing(phase=phase, text="; ".join(progress(app) for app in unsettled))


def is_settled(app: App) -> bool:
    """RUNNING with every deployment HEALTHY and complete.

    RUNNING alone is not proof: an autoscaling decision during a rolling update shows RUNNING before any
    new replica has started (measured, 2.60); and `deployments` is empty while Serve still builds.
    """
    return app.status == "RUNNING" and bool(app.deployments) and all(map(_is_complete, app.deployments))


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


def _may_heal(app: App) -> bool:
    """Whether this DEPLOY_FAILED can still become RUNNING by itself.

    A replica that crashed after its start gives DEPLOY_FAILED with the trigger HEALTH_CHECK_FAILED, and
    Serve went back to RUNNING 13 s later (measured, 2.60). The start deadline ends the wait.
    """
    failed = [d for d in app.deployments if d.status in {"DEPLOY_FAILED", "UNHEALTHY"}]
    return bool(failed) and all(d.status_trigger == "HEALTH_CHECK_FAILED" for d in failed)


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


def _failure(app: App) -> Failure:
    """The first error in full and its one line, from where Serve puts it.

    A failed build: the application's message, with no deployments. A failed start: the deployment's
    message; the application's then only lists names (measured, 2.60).
    """
    broken = next((d for d in app.deployments if d.status in {"DEPLOY_FAILED", "UNHEALTHY"}), None)
    if broken is None or not broken.message:
        failure_class = _class_of_app_message(app.message)
        where, text = app.name, app.message
    else:
        failure_class = FailureClass.CODE
        where, text = f"{app.name} / {broken.name}", broken.message
    return Failure(
        failure_class=failure_class, message=f"{where}: {cause(text)}", detail=text[-_DETAIL_LIMIT:]
    )


def _class_of_app_message(message: str) -> FailureClass:
    # "Runtime env setup for app 'x' failed" (2.60); an import error inside a working env is the config's.
    return FailureClass.RUNTIME_ENV if "runtime env" in message.lower() else FailureClass.CONFIG
