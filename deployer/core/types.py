"""The nouns: revision, Serve config, release, policy, and what git says an environment should be.

Owns the values that every layer passes around. Must not know where they come from (git, files) or
where they go (Serve, the store). Invariant: a value of these types is complete and immutable, and the
config text inside a release never shows in a repr, a log or an event: it can hold secrets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from deployer.core.errors import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A name and an e-mail address as git records them: a claim, not a proof."""

    name: str
    email: str

    def __str__(self) -> str:
        """Render as git does: `Ada <ada@example.com>`."""
        return f"{self.name} <{self.email}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What a merge brought in: its second parent. `subject` is "" where that commit was not fetched."""

    commit: str
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """A commit: who, when, what it says of itself. It explains; the digest decides.

    `commit` is the full object id (40 hex digits). `committed_at` is aware, in UTC. `co_authors` are those of
    its `Co-authored-by` lines. `merged` is the second parent of a merge, with its subject where that was
    fetched. `pull_request` is the number in the subject that a forge gives a merge or a squash. `tag` is the
    name of the tag that it was found by.
    """

    commit: str
    author: Person
    committer: Person
    subject: str
    committed_at: datetime
    co_authors: tuple[Person, ...] = ()
    merged: Merged | None = None
    pull_request: int | None = None
    tag: str | None = None

    @property
    def people(self) -> tuple[Person, ...]:
        """Who made this very commit: its author, its committer, its co-authors."""
        return (self.author, self.committer, *self.co_authors)

    @property
    def short(self) -> str:
        """The first seven digits, for people."""
        return self.commit[:7]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """One environment's whole Serve config, resolved and canonical.

    `text` is the canonical JSON (sorted keys, no spaces) of the multi-application form: it is both the
    PUT body and what the digest is taken of. `digest` is `sha256:<hex>` of `text`.
    Built only by `deployer.core.serve_config.parse` and by the store, which keeps `text` by digest.
    """

    text: str = field(repr=False)
    digest: str

    def body(self) -> dict[str, Any]:
        """The PUT body as a fresh object that the caller may change."""
        body: dict[str, Any] = json.loads(self.text)
        return body

    def applications(self) -> dict[str, dict[str, Any]]:
        """The applications by name, in the order of their names."""
        return {application["name"]: application for application in self.body()["applications"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What one commit says for one environment: (revision, digest, resolved config)."""

    revision: Revision
    config: ServeConfig

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the canonical config."""
        return self.config.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """How long each phase of a rollout may take, in seconds, from when it begins; all of it, their sum.

    `build`: Serve imports the code and sets up runtime environments. `schedule`: replicas find room.
    `start`: constructors and first health checks. Serve itself never gives up on the last two
    (measured on 2.60: watched for 75 s, still DEPLOYING), so these are the only end.
    """

    build: float = 600.0
    schedule: float = 300.0
    start: float = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One HTTP request through the Serve proxy, and what its answer must be like.

    `path` is the whole path, with the application's route prefix. `body` is JSON text to send; with it a
    check is a POST unless `method` says otherwise. `json` is JSON text: each key in it must be in the
    answer with that value, mappings inside likewise. `latency` is the longest time for an answer that
    passes, `timeout` that of one attempt, both in seconds. `retries` come after the first attempt.
    """

    app: str
    path: str
    method: str = "GET"
    body: str | None = field(default=None, repr=False)
    status: int = 200
    json: str | None = field(default=None, repr=False)
    latency: float | None = None
    timeout: float = 5.0
    retries: int = 4


class OnDrift(StrEnum):
    """What follows when the cluster differs from the current release."""

    HEAL = "heal"
    ALERT = "alert"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How a rollout is judged: `environment.yaml` at the commit being deployed.

    `stability_window` (seconds): so long must everything be HEALTHY before the release is; None is the
    larger of 30 s and three times its longest health check period. `max_flaps`: so many spells of
    UNHEALTHY are forgiven. `fail_fast_after`: failed starts of the new version that end the rollout; 0 is
    never, None is 1 where a good release serves, else 2. `soak` (seconds) comes after the checks.
    `rollback` off means: a failed release stays where it is, held and loud.
    `rollback_deadline` is the whole time a rollback may take from its `Applied`, in seconds.
    `owns`: application names of this environment besides those in its Serve config.
    `allow_delete`: this very commit may remove most applications.
    `ray_version`: the config is checked against the schema of this Ray; None is that of the cluster.
    """

    deadlines: Deadlines = Deadlines()
    stability_window: float | None = None
    max_flaps: int = 0
    fail_fast_after: int | None = None
    checks: tuple[Check, ...] = ()
    soak: float = 120.0
    rollback: bool = True
    rollback_deadline: float = 600.0
    drift: OnDrift = OnDrift.HEAL
    heals_per_hour: int = 3
    owns: tuple[str, ...] = ()
    allow_delete: bool = False
    ray_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A commit's signature that counts: whose, as the operator's file calls them, and by which key.

    `key` is a fingerprint: `SHA256:...` of an ssh key, 40 hex digits of a GPG key.
    """

    commit: str
    signer: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """How a release's commit stands to the one that git wanted before.

    `since` is that one. `rewritten` says why it does not follow from it; "" if it does. `between` are the
    commits after `since` and before this one, the newest first, on the line of first parents; of very many
    only the newest. `people` made the commits that came along, those behind a merge too.
    """

    since: str
    rewritten: str = ""
    between: tuple[str, ...] = ()
    people: tuple[Person, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """Git wants this release, judged by this policy. `notes` are remarks for people (an old format).

    `signatures` are those that were asked for, the newest commit's first. `lineage` is None where there is
    nothing to compare with; `accepts_rewrites` says that the operator wants a rewritten branch deployed.
    """

    release: Release
    policy: Policy = Policy()
    notes: tuple[str, ...] = ()
    signatures: tuple[Signature, ...] = ()
    lineage: Lineage | None = None
    accepts_rewrites: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Unverified:
    """Git wants something whose signature does not count. What runs stays.

    `commit` is the one that is to blame, which may be one before `revision`; `why` is a sentence that says
    whose it is and by which key.
    """

    revision: Revision
    commit: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """Git wants something, but it cannot be read as a config. What runs stays."""

    revision: Revision
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """Git wants something that does not follow from what it wanted before. What runs stays.

    `why` says so in half a sentence. See `deployer.core.lineage`.
    """

    revision: Revision
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """The branch or the folder is not there. Never a reason to undeploy: what runs stays.

    `why` is a sentence that names the branch or the path and the repository.
    """

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotRead:
    """Git has not answered since the daemon started, so nothing is known of what it wants.

    `why` is a sentence: the error with its cause, or that the first look is under way.
    """

    why: str


Wanted = Desired | Invalid | Unverified | Rewritten | Absent | NotRead
"""What git says of one environment."""
