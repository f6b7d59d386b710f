"""The facts: what happened to an environment, in the past tense. The events are the audit log.

Owns the event types. Must not know how they are stored or what follows from them. Invariant: an event
holds a release by its digest once it is written (the content lives beside it, because it can hold
secrets), and an event that makes no sense does not construct.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from deployer.core.types import Policy, Release

DAEMON = "deployer"
"""The actor of what the daemon does on its own."""


class Kind(StrEnum):
    """Why a rollout exists."""

    DEPLOY = "deploy"
    ROLLBACK = "rollback"
    RESTORE = "restore"
    HEAL = "heal"


class FailureClass(StrEnum):
    """What kind of failure it was: what follows depends on it."""

    CONFIG = "config"
    CODE = "code"
    RUNTIME_ENV = "runtime_env"
    DEADLINE = "deadline"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a rollout failed. `message` is one line for people; `detail` is the first error in full."""

    failure_class: FailureClass
    message: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What every event has: when (aware, UTC), who, and why in a person's words if there are any."""

    at: datetime
    actor: str = DAEMON
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen(Fact):
    """Git wants this release now. `actor` is the commit's author; `notes` are remarks on its file."""

    type: Literal["seen"] = "seen"
    release: Release
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Fact):
    """What git says cannot be deployed (invalid file, vanished branch). What runs was not touched."""

    type: Literal["refused"] = "refused"
    message: str
    commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Fact):
    """A rollout began: the durable intent for its first PUT.

    `rollout` is `<environment>#<number>`. `before` is each application's `last_deployed_time_s` as seen
    just before: a status belongs to this rollout only if it is newer. `follows` is the failed rollout
    that a rollback answers. `plan` is the change in one line.
    """

    type: Literal["started"] = "started"
    rollout: str
    kind: Kind
    release: Release
    policy: Policy
    trigger: str
    before: Mapping[str, float] = field(default_factory=dict)
    follows: str | None = None
    plan: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resubmitted(Fact):
    """The durable intent for one more PUT of the same rollout, because the last one did not hold."""

    type: Literal["resubmitted"] = "resubmitted"
    rollout: str
    cause: str
    before: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied(Fact):
    """The cluster took the config. `read_back`: found there after a crash or a lost answer, not by a 200."""

    type: Literal["applied"] = "applied"
    rollout: str
    session: str | None = None
    read_back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LostSight(Fact):
    """The cluster stopped answering during a rollout: deadlines stand still until it answers again."""

    type: Literal["lost_sight"] = "lost_sight"
    rollout: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegainedSight(Fact):
    """The cluster answers again; the deadlines go on."""

    type: Literal["regained_sight"] = "regained_sight"
    rollout: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy(Fact):
    """Every application was seen RUNNING and every deployment HEALTHY, on this rollout's config."""

    type: Literal["healthy"] = "healthy"
    rollout: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Good(Fact):
    """The rollout ended well: its release is good, and the way back from the next one."""

    type: Literal["good"] = "good"
    rollout: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Fact):
    """The rollout ended badly."""

    type: Literal["failed"] = "failed"
    rollout: str
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Held(Fact):
    """A digest is held: never applied again on its own, by any path. `reason` on it is the failure."""

    type: Literal["held"] = "held"
    rollout: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded(Fact):
    """A newer digest overtook the rollout before it ended."""

    type: Literal["superseded"] = "superseded"
    rollout: str
    by: str


Event = (
    Seen
    | Refused
    | Started
    | Resubmitted
    | Applied
    | LostSight
    | RegainedSight
    | Healthy
    | Good
    | Failed
    | Held
    | Superseded
)
"""Any fact about an environment."""
