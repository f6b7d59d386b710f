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

from deployer.core.types import Person, Policy, Release, Signature

DAEMON = "deployer"
"""The actor of what the daemon does on its own."""

DAEMON_LOG = "@deployer"
"""The log of what happens to the daemon itself. No environment can be called so."""


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
    FLAPPING = "flapping"
    CHECKS = "checks"
    RUNTIME_ENV = "runtime_env"
    CAPACITY = "capacity"
    DEADLINE = "deadline"

    @property
    def holds(self) -> bool:
        """Whether a deploy that failed so holds its digest: not when the cluster merely had no room."""
        return self is not FailureClass.CAPACITY


class DriftClass(StrEnum):
    """How the cluster differs from the current release.

    `missing`: some of its applications are gone; `lost`: all of them, or the Ray head is another one;
    `edited`: somebody changed a config; `sick`: all is as sent, but does not serve; `unknown`: Serve says
    what this version does not understand. Somebody else's applications (`foreign`) are no difference.
    """

    EDITED = "edited"
    MISSING = "missing"
    LOST = "lost"
    SICK = "sick"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSource:
    """Where a replica's log is: `path` on the node, relative to the session's log folder."""

    replica: str
    node_id: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """One deployment (or, with `deployment` "", one application) as it was seen at a moment of a rollout.

    `replicas` stands for the set of running ones: it differs if one was replaced. `failed_starts` counts
    those of the new version that Serve has told of; `says` is the one line of Serve's message.
    """

    app: str
    status: str
    deployment: str = ""
    trigger: str = ""
    running: int = 0
    target: int | None = None
    replicas: str = ""
    failed_starts: int = 0
    says: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What was seen of a rollout's applications from `at` on, until the next moment. See `Observed`."""

    at: datetime
    states: tuple[State, ...]
    settled: bool
    sick: bool = False
    phase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a rollout failed. `message` is one line for people; the rest is the evidence.

    `detail` is the first error in full, `timeline` what was seen before, `log` where the log of a replica
    that failed can be read, if Serve named one.
    """

    failure_class: FailureClass
    message: str
    detail: str = ""
    log: LogSource | None = None
    timeline: tuple[Moment, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What every event has: when (aware, UTC), who, and why in a person's words if there are any."""

    at: datetime
    actor: str = DAEMON
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen(Fact):
    """Git wants this release now. `actor` is the commit's author; `notes` are remarks on its file.

    `superseded` are the commits between the one that git wanted before and this one, the newest first: they
    were never deployed. `rewritten` says why this one does not follow from that one, if it does not, and
    still may be deployed. `signatures` are those that were asked for, the newest commit's first. `people`
    made what came along: `superseded`, what is behind a merge, and what was wanted before and never good.
    """

    type: Literal["seen"] = "seen"
    release: Release
    notes: tuple[str, ...] = ()
    superseded: tuple[str, ...] = ()
    rewritten: str = ""
    signatures: tuple[Signature, ...] = ()
    people: tuple[Person, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused(Fact):
    """What git says cannot be deployed (invalid file, vanished branch). What runs was not touched.

    `is_rewrite`: it could be, but does not follow from what git wanted before.
    """

    type: Literal["refused"] = "refused"
    message: str
    commit: str | None = None
    is_rewrite: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GateEvidence:
    """How a gate stood when a deploy began: `verdict` is `open` or `skipped`, `evidence` a sentence."""

    name: str
    verdict: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(Fact):
    """A rollout began: the durable intent for its first PUT.

    `rollout` is `<environment>#<number>`. `before` is each application's `last_deployed_time_s` as seen
    just before: a status belongs to this rollout only if it is newer. `follows` is the failed rollout
    that a rollback answers. `plan` is the change in one line. `nonce` is not empty where the same config
    must be another version to Serve (see `deployer.core.body`). `leaving` are the replicas that must be gone
    at the end, because the code of their application changes. `starting` is how many replicas of a
    deployment (`app/deployment`) were starting before, of those that told of trouble: Serve counts their
    failures as the new version's. `gates` are those that a deploy passed, in their order; `effect` is the
    digest of what it was about to do (`core.effect`), which approvals are for; both are empty for what
    waits for no gate. `ray_version` and `session` are of the cluster as it was seen just before.
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
    nonce: str = ""
    leaving: tuple[str, ...] = ()
    starting: Mapping[str, int] = field(default_factory=dict)
    gates: tuple[GateEvidence, ...] = ()
    effect: str = ""
    ray_version: str = ""
    session: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resubmitted(Fact):
    """The durable intent for one more PUT of the same rollout, because the last one did not hold.

    `is_retry`: it held, but failed in a way that is worth one more try, with another `nonce`.
    """

    type: Literal["resubmitted"] = "resubmitted"
    rollout: str
    cause: str
    before: Mapping[str, float] = field(default_factory=dict)
    is_retry: bool = False
    nonce: str = ""
    starting: Mapping[str, int] = field(default_factory=dict)


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
class Observed(Fact):
    """The rollout's applications were seen in another state than before: one line of its timeline.

    `settled`: every application RUNNING, every deployment HEALTHY and complete. `sick`: something that
    should serve is UNHEALTHY, or had been since the look before. `phase` is what it waits for: `build`,
    `schedule` or `start`; "" when settled.
    """

    type: Literal["observed"] = "observed"
    rollout: str
    states: tuple[State, ...]
    settled: bool
    sick: bool = False
    phase: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked(Fact):
    """One attempt of one check. `check` is its place in the policy; `message` says what was answered."""

    type: Literal["checked"] = "checked"
    rollout: str
    check: int
    passed: bool
    message: str
    ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Healthy(Fact):
    """Every application stayed RUNNING and every deployment HEALTHY for the whole stability window."""

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
class LogKept(Fact):
    """The end of a failed replica's log, kept as evidence.

    `text` is "" if it could not be had; `reason` says why.
    """

    type: Literal["log_kept"] = "log_kept"
    rollout: str
    source: LogSource
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Superseded(Fact):
    """A newer digest overtook the rollout before it ended."""

    type: Literal["superseded"] = "superseded"
    rollout: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(Fact):
    """A person ended the rollout before it ended by itself."""

    type: Literal["cancelled"] = "cancelled"
    rollout: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifted(Fact):
    """The cluster differs from the current release, in another way than before. `what` is a sentence."""

    type: Literal["drifted"] = "drifted"
    drift: DriftClass
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftEnded(Fact):
    """The cluster runs the current release again, without our doing."""

    type: Literal["drift_ended"] = "drift_ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured(Fact):
    """The cluster's free resources, while a release waits for more of them."""

    type: Literal["measured"] = "measured"
    free: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(Fact):
    """A person stopped the automation. `until` is when it goes on by itself; None is not before `Resumed`."""

    type: Literal["paused"] = "paused"
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Fact):
    """A person let the automation go on, or the pause was over."""

    type: Literal["resumed"] = "resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAsked(Fact):
    """A person wants what git says tried once more, although it is held or the environment is stalled.

    `accepts` is a commit that does not follow from what git wanted before, and that they want all the same;
    `digest` is then "".
    """

    type: Literal["retry_asked"] = "retry_asked"
    digest: str
    accepts: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackAsked(Fact):
    """A person wants this release back, at once. What git wants now is held from here on.

    `made_good` is the rollout that made it good, judged by `policy`, sent with `nonce`.
    """

    type: Literal["rollback_asked"] = "rollback_asked"
    release: Release
    made_good: str
    policy: Policy = field(default_factory=Policy)
    nonce: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved(Fact):
    """A person approved what `plan` would do to the environment, brought by `commit`.

    `plan` is the digest of the effect (`deployer.core.effect`): the approval is for nothing else. `review` is
    which review at a forge said it, "" if none did: no review is used twice.
    """

    type: Literal["approved"] = "approved"
    plan: str
    digest: str
    commit: str
    review: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected(Fact):
    """A person does not want what `plan` would do to the environment, brought by `commit`. As `Approved`."""

    type: Literal["rejected"] = "rejected"
    plan: str
    digest: str
    commit: str
    review: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncAsked(Fact):
    """A person wants `commit` deployed, with its `digest`: where sync is manual, that is what it waits for.

    `skipped` are the gates that need not be open for this commit.
    """

    type: Literal["sync_asked"] = "sync_asked"
    digest: str
    commit: str
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionAsked(Fact):
    """`commit` is to be promoted to this environment: the intent for the push.

    It proved itself in `source` as `rollout`. `skipped` are the gates that need not be open for it.
    `by_pull_request`: a pull request is to be opened for it. `people` made the commits that it brings along.
    `copied` is the commit that a copy is first tried with, and the top of a pull request for one.
    """

    type: Literal["promotion_asked"] = "promotion_asked"
    source: str
    rollout: str
    commit: str
    skipped: tuple[str, ...] = ()
    by_pull_request: bool = False
    people: tuple[Person, ...] = ()
    copied: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted(Fact):
    """`branch` was pushed to `commit`; before, it was at `before` (None: it was not there).

    `copied` is the commit that it was pushed to where that is another one: it copies what `commit` says.
    `is_more`: it is a merge, and may say more than what proved itself.
    """

    type: Literal["promoted"] = "promoted"
    commit: str
    branch: str
    before: str | None = None
    copied: str | None = None
    is_more: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed(Fact):
    """A pull request to `branch` is open at the forge, `number` at `url`, with `commit` or a copy of it.

    `head` is the commit at its top.
    """

    type: Literal["proposed"] = "proposed"
    commit: str
    branch: str
    head: str
    number: int
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionFailed(Fact):
    """The push of `commit` was refused, or could not be made. `why` is a sentence, and may name `source`."""

    type: Literal["promotion_failed"] = "promotion_failed"
    commit: str
    why: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRefused(Fact):
    """A person wanted something of this environment that the rules, or their rights, do not allow.

    `command` is what they typed or pressed, such as `rollback`; `why` the sentence that they were told.
    """

    type: Literal["command_refused"] = "command_refused"
    command: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStarted(Fact):
    """The daemon runs, with these settings: the versions, and where each environment's cluster is.

    `settings` is the digest of the settings' file, `schema` the store's. What is not followed by a
    `DaemonStopped` did not end in order.
    """

    type: Literal["daemon_started"] = "daemon_started"
    version: str
    python: str
    schema: str
    settings: str
    clusters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStopped(Fact):
    """The daemon ended in order: nothing is done from here until it starts again."""

    type: Literal["daemon_stopped"] = "daemon_stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCreated(Fact):
    """Somebody was given rights. `token` is its public id, `name` who has it, `environments` None is all."""

    type: Literal["token_created"] = "token_created"
    token: str
    name: str
    role: str
    environments: tuple[str, ...] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRevoked(Fact):
    """A token counts no more."""

    type: Literal["token_revoked"] = "token_revoked"
    token: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreRestored(Fact):
    """The store was replaced by a backup of it, while no daemon ran.

    `backup` is the sha256 of its file, `events` how many it held. `lost` is how many the store that was there
    had beyond it (None: that could not be counted), and `signed` how many had been signed at most. `given_up`
    are the roots, in hex, of the newest signed checkpoints known of what is lost: those are excused.
    """

    type: Literal["store_restored"] = "store_restored"
    backup: str
    events: int
    lost: int | None = 0
    signed: int = 0
    given_up: tuple[str, ...] = ()


Event = (
    Seen
    | Refused
    | Started
    | Resubmitted
    | Applied
    | LostSight
    | RegainedSight
    | Observed
    | Healthy
    | Checked
    | Good
    | Failed
    | Held
    | LogKept
    | Superseded
    | Cancelled
    | Drifted
    | DriftEnded
    | Measured
    | Paused
    | Resumed
    | RetryAsked
    | RollbackAsked
    | Approved
    | Rejected
    | SyncAsked
    | PromotionAsked
    | Promoted
    | Proposed
    | PromotionFailed
    | CommandRefused
    | DaemonStarted
    | DaemonStopped
    | TokenCreated
    | TokenRevoked
    | StoreRestored
)
"""Any fact about an environment."""
