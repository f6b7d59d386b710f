"""What must be true of a run's whole history, whatever was killed when."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from deployer.adapters.store import raw
from deployer.core import audit
from deployer.core.events import (
    Failed,
    FailureClass,
    Good,
    Held,
    Kind,
    Resubmitted,
    RetryAsked,
    RollbackAsked,
    Seen,
    Started,
)
from deployer.core.record import fold
from tests.crash.run import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.events import Event
    from tests.crash.run import Run

_NEVER_LOGGED = {"pass_failed", "store_corrupt", "api_failed"}


def compare(run: Run) -> None:
    """Raise AssertionError with everything that is not as promised."""
    wrong = [*run.violations, *_history(run), *_events(run), *_logs(run)]
    if wrong:
        raise AssertionError("; ".join(wrong))


def _history(run: Run) -> Iterator[str]:
    broken_at = run.reader().verify(ENVIRONMENT)
    if broken_at is not None:
        yield f"the chain breaks at event {broken_at}"
    # The whole store: also the daemon's own log, the ids, and what it counts elsewhere.
    with raw.opened(run.reader().database) as log:
        report = audit.verify(log.events(), store=log.facts())
    if report.verdict is not audit.Verdict.VERIFIED:
        yield f"the log is not as it was written: {' '.join(report.findings)}"
    if fold(ENVIRONMENT, run.facts()) != run.record():
        yield "the record is not the fold of its events"


def _events(run: Run) -> Iterator[str]:
    facts = run.facts()
    intents = sum(isinstance(event, Started | Resubmitted) for event in facts)
    if run.puts > intents + len(run.reached):
        yield f"{run.puts} PUTs for {intents} intents and {len(run.reached)} kills"
    yield from _held(facts)
    yield from _doubled(facts)
    yield from _answers(facts, run.disturbed)


def _held(facts: list[Event]) -> Iterator[str]:
    """A digest that is held starts only where a person asked for it, once."""
    held: dict[str, int] = {}
    started: dict[str, Started] = {}
    wanted: str | None = None
    good: str | None = None
    for event in facts:
        match event:
            case Seen():
                wanted = event.release.digest
                # A permission to try once more was for what git wanted then.
                held = {digest: tries if digest == wanted else 0 for digest, tries in held.items()}
            case Started():
                started[event.rollout] = event
                digest = event.release.digest
                if digest in held:
                    held[digest] -= 1
                    if held[digest] < 0:
                        yield f"{event.rollout} starts a held digest"
            case Held():
                held[started[event.rollout].release.digest] = 0
            case Good():
                good = started[event.rollout].release.digest
                held.pop(good, None)
            case RetryAsked() if event.digest in held:
                held[event.digest] = 1
            case RollbackAsked():
                for left in (wanted, good):
                    if left is not None and left != event.release.digest:
                        held.setdefault(left, 0)
                good = event.release.digest
            case _:
                pass


def _doubled(facts: list[Event]) -> Iterator[str]:
    """One commit, one deploy; another one only for want of room, or if a person asked for it."""
    deploys: dict[str, list[str]] = {}
    excused: dict[str, int] = {}
    started: dict[str, Started] = {}
    for event in facts:
        match event:
            case Started(kind=Kind.DEPLOY):
                started[event.rollout] = event
                deploys.setdefault(event.release.revision.commit, []).append(event.rollout)
            case RetryAsked():
                same = [one.release for one in started.values() if one.release.digest == event.digest]
                for one in {release.revision.commit for release in same}:
                    excused[one] = excused.get(one, 0) + 1
            case Failed() if (
                event.failure.failure_class is FailureClass.CAPACITY and event.rollout in started
            ):
                one = started[event.rollout].release.revision.commit
                excused[one] = excused.get(one, 0) + 1
            case _:
                pass
    for commit, rollouts in deploys.items():
        if len(rollouts) > 1 + excused.get(commit, 0):
            yield f"{commit[:7]} was deployed more than once: {rollouts}"


def _answers(facts: list[Event], disturbed: int) -> Iterator[str]:
    """One rollback for a failure or a wish, one repair for what was done to the cluster."""
    answered: dict[str, list[str]] = {}
    wishes: list[str] = []
    repairs: list[str] = []
    asked = 0
    for event in facts:
        match event:
            case RollbackAsked():
                asked += 1
            case Started(kind=Kind.ROLLBACK, follows=None):
                wishes.append(event.rollout)
            case Started(kind=Kind.ROLLBACK):
                answered.setdefault(str(event.follows), []).append(event.rollout)
            case Started(kind=Kind.HEAL | Kind.RESTORE):
                repairs.append(event.rollout)
            case _:
                pass
    for failed, rollouts in answered.items():
        if len(rollouts) > 1:
            yield f"{failed} was rolled back more than once: {rollouts}"
    if len(wishes) > asked:
        yield f"{asked} rollbacks were asked for, and these started: {wishes}"
    if len(repairs) > disturbed:
        yield f"the cluster was changed {disturbed} times, and repaired by {repairs}"


def _logs(run: Run) -> Iterator[str]:
    for log in sorted(run.root.glob("log-*")):
        for line in log.read_text(errors="replace").splitlines():
            if not line.startswith("{"):
                yield f"{log.name} has something else than events: {line[:200]}"
                break
            try:
                event = json.loads(line)
            except ValueError:
                # Cut off by the kill.
                continue
            if event.get("event") in _NEVER_LOGGED:
                yield f"{log.name}: {line[:1500]}"
