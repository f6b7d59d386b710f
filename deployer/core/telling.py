"""What each fact says to people, and the story of a rollout that its facts make: timeline, phases, checks.

Owns the sentences of the audit log and of a rollout's page. Must not know how they are shown, nor where
events are kept. Invariant: every type of event has a sentence, a sentence is one line, and it holds nothing
of a config (what Serve and git said was scrubbed before it became an event).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, assert_never

from deployer.core import sentences
from deployer.core.events import (
    Applied,
    Approved,
    Cancelled,
    Checked,
    CommandRefused,
    DaemonStarted,
    DaemonStopped,
    Drifted,
    DriftEnded,
    Event,
    Failed,
    Good,
    Healthy,
    Held,
    Kind,
    LogKept,
    LostSight,
    Measured,
    Observed,
    Paused,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Proposed,
    Refused,
    RegainedSight,
    Rejected,
    Resubmitted,
    Resumed,
    RetryAsked,
    RollbackAsked,
    Seen,
    Started,
    State,
    StoreRestored,
    Superseded,
    SyncAsked,
    TokenCreated,
    TokenRevoked,
)
from deployer.core.redact import one_line
from deployer.core.scrub import scrub

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STATES = 4
"""Of a moment are told; more are counted."""

_SHORT_DIGEST = 19
"""Characters: `sha256:` and twelve digits."""

_STARTS = {
    Kind.DEPLOY: "Deploy",
    Kind.ROLLBACK: "Rollback to",
    Kind.RESTORE: "Restore of",
    Kind.HEAL: "Heal to",
}


def says(event: Event) -> str:
    """What happened, as a sentence. Who did it and why stand beside it, in the event's actor and reason."""
    return one_line(_says(event))


def _without(skipped: Sequence[str]) -> str:
    return f" without waiting for {', '.join(skipped)}" if skipped else ""


def _says(event: Event) -> str:
    match event:
        case Seen(release=release, superseded=superseded, rewritten=rewritten, notes=notes):
            parts = [f"Git wants {sentences.name(release)}."]
            parts += [f"{len(superseded)} commits before it were never deployed."] if superseded else []
            parts += [f"It does not follow from what was deployed ({rewritten})."] if rewritten else []
            return " ".join((*parts, *notes))
        case Refused(message=message):
            return f"{sentences.sentence(message)} What runs was not touched."
        case Started(rollout=rollout, kind=kind, release=release, trigger=trigger, plan=plan):
            change = f": {plan}" if plan else ""
            return f"{_STARTS[kind]} {sentences.name(release)} began as {rollout} ({trigger}){change}"
        case Resubmitted(cause=cause):
            return sentences.sentence(f"The config is sent once more: {cause}")
        case Applied(read_back=True):
            return "The config was found on the cluster, so it need not be sent again."
        case Applied():
            return "The cluster took the config."
        case LostSight(why=why):
            return f"{sentences.sentence(why)} The deadlines stand still until it answers again."
        case RegainedSight():
            return "The cluster answers again; the deadlines go on."
        case Observed(settled=True):
            return "Every application is RUNNING, every deployment HEALTHY and complete."
        case Observed(states=states):
            return _seen(states)
        case Healthy():
            return "It stayed healthy for the whole stability window."
        case Checked(passed=passed, message=message, ms=ms):
            took = f"{ms:.0f} ms"
            return sentences.sentence(f"A check {'passed' if passed else 'failed'} in {took}: {message}")
        case Good():
            return "The release is good: it is the way back from the next one."
        case Failed(failure=failure):
            return sentences.sentence(f"It failed ({failure.failure_class.value}): {failure.message}")
        case Held():
            return "Its config is held: it is not tried again on its own."
        case LogKept(source=source, text=text):
            if text:
                return f"The end of the log of replica {source.replica} is kept as evidence."
            return f"The log of replica {source.replica} could not be had."
        case Superseded(by=by):
            return f"It was overtaken by {by[:7]}."
        case Cancelled():
            return "It was ended before it came to its end."
        case Drifted(drift=drift, what=what):
            return sentences.sentence(f"The cluster drifted ({drift.value}): {what}")
        case DriftEnded():
            return "The cluster runs the current release again."
        case Measured(free=free):
            listed = ", ".join(f"{name} {amount:g}" for name, amount in sorted(free.items()))
            return f"Free on the cluster: {listed or 'nothing'}."
        case Paused(until=until):
            end = f"until {until:%Y-%m-%d %H:%M} UTC" if until else "until somebody resumes it"
            return f"The automation is paused {end}."
        case Resumed():
            return "The automation goes on."
        case RetryAsked(accepts=str(commit)):
            return f"{commit[:7]} is wanted, although it does not follow from what was deployed."
        case RetryAsked(digest=digest):
            return f"One more try of {digest[:_SHORT_DIGEST]} is wanted."
        case RollbackAsked(release=release, made_good=made_good):
            return f"{sentences.name(release)}, which {made_good} made good, is wanted back."
        case Approved(plan=plan, commit=commit):
            return f"{commit[:7]} is approved, for what it would do now ({plan[:_SHORT_DIGEST]})."
        case Rejected(plan=plan, commit=commit):
            return f"{commit[:7]} is rejected, for what it would do now ({plan[:_SHORT_DIGEST]})."
        case SyncAsked(commit=commit, skipped=skipped):
            return f"{commit[:7]} is to be deployed{_without(skipped)}."
        case PromotionAsked(source=source, rollout=rollout, commit=commit, skipped=skipped):
            return f"{commit[:7]}, which is {rollout} in {source}, is to be promoted{_without(skipped)}."
        case Promoted(commit=commit, branch=branch, copied=str(copied)):
            return f"What {commit[:7]} says is on {branch} now, by {copied[:7]}."
        case Promoted(commit=commit, branch=branch, before=before):
            where = f"from {before[:7]} to {commit[:7]}" if before else f"to {commit[:7]}, as a new branch"
            return f"{branch} was pushed {where}."
        case Proposed(commit=commit, branch=branch, number=number, url=url):
            return f"Pull request #{number} to {branch} is open with {commit[:7]}: {url}"
        case PromotionFailed(commit=commit, why=why):
            return f"{commit[:7]} could not be promoted: {why.rstrip('.')}."
        case CommandRefused(command=command, why=why):
            return f"`{command}` was refused: {why.rstrip('.')}."
        case DaemonStarted() | DaemonStopped() | TokenCreated() | TokenRevoked() | StoreRestored():
            return _of_the_daemon(event)
        case _:
            assert_never(event)


def _of_the_daemon(
    event: DaemonStarted | DaemonStopped | TokenCreated | TokenRevoked | StoreRestored,
) -> str:
    match event:
        case DaemonStarted(version=version, clusters=clusters):
            count = f"{len(clusters)} environment{'' if len(clusters) == 1 else 's'}"
            return f"deployer {version} started, with {count}."
        case DaemonStopped():
            return "deployer was stopped, in order."
        case TokenRevoked():
            return f"The token {event.token} of {event.name} counts no more."
        case StoreRestored(events=events, lost=lost):
            return f"The store was restored from a backup of {_events(events)}{_given_up(lost)}."
        case TokenCreated(environments=names, expires_at=end):
            where = "every environment" if names is None else ", ".join(names)
            until = f", until {end:%Y-%m-%d %H:%M} UTC" if end is not None else ""
            return f"The token {event.token} of {event.name} gives the role {event.role} in {where}{until}."
        case _:
            assert_never(event)


def _given_up(lost: int | None) -> str:
    if lost is None:
        return "; what came after them could not be counted, and was given up"
    return f"; {_events(lost)} after them {'was' if lost == 1 else 'were'} given up" if lost else ""


def _events(number: int) -> str:
    return f"{number:,} event{'' if number == 1 else 's'}"


def _seen(states: Sequence[State]) -> str:
    """What was seen of applications that are on their way."""
    told = [_state(state) for state in states[:_STATES]]
    if len(states) > _STATES:
        told.append(f"and {len(states) - _STATES} more")
    return f"{'; '.join(told).rstrip('.') or 'Nothing of it is there'}."


def _state(state: State) -> str:
    name = f"{state.app} / {state.deployment}" if state.deployment else state.app
    counts = f" {state.running} of {state.target} replicas" if state.target is not None else ""
    failed = f", {state.failed_starts} failed to start" if state.failed_starts else ""
    message = f": {state.says}" if state.says else ""
    return f"{name} {state.status}{counts}{failed}{message}"


# --- the story of a rollout ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of a rollout: `applying build schedule start stabilize check soak`, as `status` names them.

    A phase comes again where something went back to it. `finished_at` is None for the one it is in.
    """

    name: str
    started_at: datetime
    finished_at: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took; 0 if the clock went back meanwhile, None while it lasts."""
        if self.finished_at is None:
            return None
        return max(0.0, (self.finished_at - self.started_at).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line of a rollout's timeline. `phase` is the one that it was in then; "" outside of all."""

    event: Event
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """How a check of a rollout came out. `passed` is None and `attempts` 0 where it was not made yet.

    `message` and `ms` are those of the last attempt.
    """

    app: str
    path: str
    passed: bool | None = None
    attempts: int = 0
    message: str = ""
    ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What the events of a rollout tell of it."""

    steps: tuple[Step, ...]
    phases: tuple[Phase, ...]
    checks: tuple[CheckResult, ...]


def story(events: Iterable[Event]) -> Story:
    """The story of one rollout, from its events in their order; the first is its `Started`."""
    steps: list[Step] = []
    phases: list[Phase] = []
    checks: list[CheckResult] = []
    planned: list[CheckResult] = []
    phase, is_healthy = "", False
    last: Observed | None = None
    for event in events:
        match event:
            case Started(policy=policy):
                planned = [
                    CheckResult(app=check.app, path=scrub(check.path, frozenset())) for check in policy.checks
                ]
                checks = [*planned]
            case Resubmitted():
                checks, is_healthy = [*planned], False
            case Healthy():
                is_healthy = True
            case Checked(check=index):
                checks[index] = _made(checks[index], event)
            case _:
                pass
        before, phase = phase, _phase(phase, event, checks, last, is_healthy=is_healthy)
        last = event if isinstance(event, Observed) else last
        if phase != before:
            if before:
                phases[-1] = Phase(name=before, started_at=phases[-1].started_at, finished_at=event.at)
            if phase:
                phases.append(Phase(name=phase, started_at=event.at))
        # The end of a rollout belongs to the phase that it came in.
        steps.append(Step(event=event, phase=phase or before))
    return Story(steps=tuple(steps), phases=tuple(phases), checks=tuple(checks))


def _phase(
    phase: str, event: Event, checks: Sequence[CheckResult], last: Observed | None, *, is_healthy: bool
) -> str:
    """The phase after an event: the same rules by which `status` derives it from the record.

    `last` is what was seen before it.
    """
    match event:
        case Started() | Resubmitted():
            return "applying"
        case Applied() if last is not None:
            return last.phase or "start"
        case Observed(settled=True) if not is_healthy:
            return "stabilize"
        case Observed(settled=False, phase=waits_for):
            return waits_for or "start"
        case Observed() | Healthy() | Checked():
            return "soak" if all(check.passed for check in checks) else "check"
        case Good() | Failed() | Superseded() | Cancelled():
            return ""
        case _:
            return phase


def _made(check: CheckResult, event: Checked) -> CheckResult:
    return CheckResult(
        app=check.app,
        path=check.path,
        passed=event.passed,
        attempts=check.attempts + 1,
        message=event.message,
        ms=event.ms,
    )


def unseen(environment: str) -> dict[str, Any]:
    """The JSON of `deployer status -o json` for an environment that no pass has looked at yet."""
    return {
        "environment": environment,
        "sequence": 0,
        "sync": "Unknown",
        "health": "Unknown",
        "mode": "auto",
        "message": "The daemon has not looked at this environment yet.",
        "since": None,
        "live": None,
        "wanted": None,
        "rollout": None,
        "held": [],
        "paused": None,
        "drift": None,
        "starved": None,
        "last_failure": None,
        "git": {"seen_at": None, "trouble": None},
        "policy": None,
        "gates": [],
        "promotion": None,
        "apps": [],
        "foreign": [],
        "cluster": None,
        "observed_at": None,
    }
