"""What a forge that keeps deployments is told of each rollout: queued, in progress, and how it ended.

Owns which fact changes which deployment, and its words. Must not know forges, nor how it gets there.
Invariant: one deployment for each deploy and rollback; once a release is good, the deployment of the one
before is inactive. A repair deploys nothing: it has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from deployer.core import sentences
from deployer.core.events import (
    Applied,
    Cancelled,
    Failed,
    Good,
    Kind,
    RollbackAsked,
    Started,
    Superseded,
)
from deployer.core.messages import DEPLOYMENT, Message
from deployer.core.scrub import plain, scrub, secrets_of
from deployer.core.types import Release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.events import Event
    from deployer.core.record import Record, Rollout

_TEXT = 1_000

_TOLD = frozenset({Kind.DEPLOY, Kind.ROLLBACK})


class Progress(StrEnum):
    """How a deployment stands. Inactive was live once; cancelled never was, and never will be."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    INACTIVE = "inactive"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentChange:
    """The new state of the deployment of one rollout. `is_rollback` is what it is made as."""

    rollout: str
    release: Release
    state: Progress
    text: str
    is_rollback: bool = False


def changes(before: Record, event: Event) -> tuple[DeploymentChange, ...]:
    """The deployments that this fact changes, given the record before it."""
    return tuple(_changes(before, event))


def message(environment: str, audience: str, change: DeploymentChange) -> Message:
    """The change as a message to the forge."""
    revision = change.release.revision
    return Message(
        kind=DEPLOYMENT,
        audience=audience,
        key=f"deployment {change.rollout}",
        text=f"{change.rollout} is {change.state.value} as a deployment: {change.text}",
        payload={
            "rollout": change.rollout,
            "environment": environment,
            "commit": revision.commit,
            "tag": revision.tag,
            "task": "rollback" if change.is_rollback else "deploy",
            "state": change.state.value,
            "text": change.text,
        },
    )


def _changes(before: Record, event: Event) -> Iterator[DeploymentChange]:
    rollout = before.rollout
    match event:
        case Started(rollout=id_, kind=kind, release=release) if kind in _TOLD:
            yield DeploymentChange(
                rollout=id_,
                release=release,
                state=Progress.QUEUED,
                text="Waits to be sent to the cluster.",
                is_rollback=kind is Kind.ROLLBACK,
            )
        case RollbackAsked(made_good=made_good):
            yield from _left(before, made_good)
        case Applied() if rollout is not None and rollout.kind in _TOLD and rollout.applied_at is None:
            yield _of(rollout, Progress.IN_PROGRESS, "The cluster has taken it.")
        case Good(at=at) if rollout is not None and rollout.kind in _TOLD:
            took = sentences.took(at - rollout.started_at)
            yield _of(rollout, Progress.SUCCESS, f"Live after {took}.")
            yield from _left(before, rollout.id)
        case Failed(failure=failure) if rollout is not None and rollout.kind in _TOLD:
            yield _of(rollout, Progress.FAILURE, sentences.sentence(failure.message))
        case Superseded(by=by) if rollout is not None and rollout.kind in _TOLD:
            yield _of(rollout, Progress.CANCELLED, f"Overtaken by {by[:7]} before it was live.")
        case Cancelled(actor=actor) if rollout is not None and rollout.kind in _TOLD:
            yield _of(rollout, Progress.CANCELLED, f"Cancelled by {actor}.")
        case _:
            return


def _of(rollout: Rollout, state: Progress, text: str) -> DeploymentChange:
    return DeploymentChange(
        rollout=rollout.id,
        release=rollout.release,
        state=state,
        text=_clean(text, rollout.release),
        is_rollback=rollout.kind is Kind.ROLLBACK,
    )


def _left(before: Record, by: str) -> Iterator[DeploymentChange]:
    """The one that was live until now."""
    if before.good is not None and before.good_rollout is not None and before.good_rollout != by:
        yield DeploymentChange(
            rollout=before.good_rollout,
            release=before.good,
            state=Progress.INACTIVE,
            text=f"{by} has taken its place.",
        )


def _clean(text: str, release: Release) -> str:
    secrets = secrets_of(release.config.body())
    return " ".join(plain(scrub(text, secrets)).split())[:_TEXT]
