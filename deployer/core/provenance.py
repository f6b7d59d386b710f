"""Who brought a release to an environment: who made the commit, promoted it, approved it, skipped a gate.

Owns what of the log counts for one deploy. Must not know how events are found, nor decide anything: whose
approval counts is asked by the gate, before. Invariant: an opinion counts as the record counted it, each
person's last one on what git wanted when the deploy began; and whatever is told is in an event.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from deployer.core.events import (
    Approved,
    Good,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Proposed,
    Rejected,
    Seen,
    SyncAsked,
)
from deployer.core.history import Entry
from deployer.core.record import Pushing, login

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from deployer.core.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person approved it. `plan` is the digest of what it would have done; `review` is one at a forge."""

    actor: str
    at: datetime
    reason: str
    plan: str
    review: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A person had these gates skipped for the commit."""

    gates: tuple[str, ...]
    actor: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """A person wanted it deployed: where sync is manual, that is what a deploy waits for."""

    actor: str
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A person, or the daemon, promoted the commit from `source`, where `rollout` had proved it.

    `commits` are what it brought: that commit, and its copy, merge, or the top of its pull request. `source`
    and `rollout` are "" for who may not know them.
    """

    source: str
    rollout: str
    actor: str
    at: datetime
    reason: str
    skipped: tuple[str, ...]
    commits: tuple[str, ...]
    result: Pushing = Pushing.ASKED
    ended_at: datetime | None = None
    pull_request: int | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The deploy that brought a release, and who had a part in it. Lists are in the order of the log."""

    deploy: Entry
    approvals: tuple[Approval, ...] = ()
    skips: tuple[Skip, ...] = ()
    go: Go | None = None
    promotion: Promotion | None = None


@dataclass
class _Said:
    """What people said of the deploy until it began."""

    approvals: dict[str, Approval] = field(default_factory=dict)
    skips: list[Skip] = field(default_factory=list)
    go: Go | None = None

    def forget(self) -> None:
        """It was for another deploy."""
        self.approvals.clear()
        self.skips.clear()
        self.go = None


def provenance(deploy: Entry, before: Iterable[Event], after: Iterable[Event] = ()) -> Provenance:
    """Who brought it. `before` are events of its environment from before it began, `after` from then on.

    It needs those that are about its commit or its digest, or a promotion, of all of them the last that git
    wanted another digest, and of the good ones those of rollouts that had the same digest, and no other. What
    became of a promotion may be found out after the deploy began that it led to.
    """
    earlier = list(before)
    commits = _commits(deploy)
    said = _Said()
    for event in earlier:
        _hear(said, deploy, event)
    promotions = [
        one
        for one in _promotions(earlier, list(after))
        if one.result is not Pushing.FAILED and not commits.isdisjoint(one.commits)
    ]
    skipping = [
        Skip(gates=p.skipped, actor=p.actor, at=p.at, reason=p.reason) for p in promotions if p.skipped
    ]
    return Provenance(
        deploy=deploy,
        approvals=tuple(said.approvals.values()),
        skips=(*skipping, *said.skips),
        go=said.go,
        promotion=promotions[-1] if promotions else None,
    )


def _commits(deploy: Entry) -> frozenset[str]:
    """The commit, and what it brought in if it is a merge."""
    release = deploy.release
    return frozenset((release.revision, *([release.merged] if release.merged is not None else [])))


def _hear(said: _Said, deploy: Entry, event: Event) -> None:
    digest, commit = deploy.release.digest, deploy.release.revision
    match event:
        case Seen() if event.release.digest != digest:
            # What was said was of a plan to deploy something else. A skip is for a commit, and stays.
            said.approvals.clear()
        case Good():
            said.forget()
        case Approved() if event.digest == digest:
            # The last word counts, in its place.
            said.approvals.pop(login(event.actor), None)
            said.approvals[login(event.actor)] = Approval(
                actor=event.actor, at=event.at, reason=event.reason, plan=event.plan, review=event.review
            )
        case Rejected() if event.digest == digest:
            said.approvals.pop(login(event.actor), None)
        case SyncAsked() if event.commit == commit:
            said.go = Go(actor=event.actor, at=event.at, reason=event.reason)
            if event.skipped:
                said.skips.append(
                    Skip(gates=event.skipped, actor=event.actor, at=event.at, reason=event.reason)
                )
        case _:
            pass


def _promotions(before: Sequence[Event], after: Sequence[Event]) -> list[Promotion]:
    """Each that was asked for before, with what became of it."""
    found: list[Promotion] = []
    for event in (*before, *after):
        match event:
            case PromotionAsked():
                found.append(_asked(event))
            case Promoted() | Proposed() | PromotionFailed():
                at = _still_open(found, event.commit)
                if at is not None:
                    found[at] = _ended(found[at], event)
            case _:
                pass
    asked = sum(isinstance(event, PromotionAsked) for event in before)
    return found[:asked]


def _still_open(found: Sequence[Promotion], commit: str) -> int | None:
    """The newest promotion of this commit whose end is not known; a pull request may outlast later ones."""
    open_ = [
        at
        for at, one in enumerate(found)
        if one.commits[0] == commit and one.result not in (Pushing.PROMOTED, Pushing.FAILED)
    ]
    return open_[-1] if open_ else None


def _asked(event: PromotionAsked) -> Promotion:
    return Promotion(
        source=event.source,
        rollout=event.rollout,
        actor=event.actor,
        at=event.at,
        reason=event.reason,
        skipped=event.skipped,
        commits=(event.commit, *([event.copied] if event.copied is not None else [])),
    )


def _ended(asked: Promotion, event: Promoted | Proposed | PromotionFailed) -> Promotion:
    if isinstance(event, Promoted):
        more = (event.copied,) if event.copied is not None else ()
        return replace(asked, result=Pushing.PROMOTED, ended_at=event.at, commits=(*asked.commits, *more))
    if isinstance(event, Proposed):
        proposed = replace(asked, result=Pushing.PROPOSED, ended_at=event.at)
        commits = (*asked.commits, event.head)
        return replace(proposed, commits=commits, pull_request=event.number, url=event.url)
    # A push that did not get there, or a pull request that was closed.
    return replace(asked, result=Pushing.FAILED, ended_at=event.at)
