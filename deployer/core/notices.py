"""What people are told of an environment: what goes wrong, that it is well again, and what went well.

Owns which fact becomes a notice, how grave it is, and what is known to be wrong. Must not know who is told,
nor how it gets there. Invariant: transitions only. Of one cause nothing is told twice in a row with the
same `mark`; each failure that is told has exactly one recovery, once all is well, and none without it.

What is known to be wrong is a fold over the events (`Memory`), so a daemon that starts knows what one before
has told. It is no part of the record, which is about what to do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from deployer.core import sentences
from deployer.core.announce import announcement
from deployer.core.events import (
    Applied,
    DriftClass,
    Drifted,
    DriftEnded,
    Failed,
    FailureClass,
    Good,
    Kind,
    LostSight,
    Promoted,
    PromotionFailed,
    Proposed,
    Refused,
    RegainedSight,
    Seen,
)
from deployer.core.gates import closed
from deployer.core.record import evolve, tells_of_sickness
from deployer.core.rollouts import is_live
from deployer.core.scrub import plain, scrub, secrets_of
from deployer.core.types import Release

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deployer.core.commit_status import CommitStatus
    from deployer.core.events import Event
    from deployer.core.record import Record, Rollout
    from deployer.core.status import Status

_TEXT = 1_000
"""Characters of a sentence."""

_TELLINGS = 100
"""How often a cause was told that is remembered, for who of several routes hears of its end."""

_REPAIRS = frozenset({Kind.HEAL, Kind.RESTORE})

_NOTHING = "Nothing is left to do."


class Cause(StrEnum):
    """What something can be wrong with. Of each, one thing at a time is known to be wrong."""

    RELEASE = "release"
    CLUSTER = "cluster"
    GIT = "git"
    SIGHT = "sight"
    PROMOTION = "promotion"


class About(StrEnum):
    """What a notice is about; routes choose by it. A recovery is about what it ends."""

    FAILED = "failed"
    REPAIR_FAILED = "repair_failed"
    DRIFT = "drift"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    PROMOTION = "promotion"
    WAITING = "waiting"
    GOOD = "good"
    ROLLED_BACK = "rolled_back"


class Severity(IntEnum):
    """How grave it is. Critical: nothing good serves, as far as is known."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def label(self) -> str:
        """As it is written."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """That something was told: by this a route knows whether it heard of it."""

    about: About
    severity: Severity
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is known to be wrong. `mark` tells it from another failure of the same cause."""

    cause: Cause
    mark: str
    says: str
    since: datetime
    thread: str
    tellings: tuple[Telling, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell: a sentence with the cause, and the next step.

    `ends` are the tellings that it ends: it is a recovery if there are any. `thread` is the same for all that
    is told of one rollout, and for a recovery that of what it ends.
    """

    environment: str
    about: About
    severity: Severity
    at: datetime
    sentence: str
    next_step: str
    thread: str
    cause: Cause | None = None
    rollout: str | None = None
    ends: tuple[Telling, ...] = ()

    @property
    def text(self) -> str:
        """All of it in one line."""
        return f"{self.sentence} {self.next_step}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is known to be wrong in an environment, at most one of each cause."""

    troubles: tuple[Trouble, ...] = ()

    def of(self, cause: Cause) -> Trouble | None:
        """What is wrong with this."""
        return next((one for one in self.troubles if one.cause is cause), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wrong:
    """What a fact says is wrong."""

    cause: Cause
    about: About
    severity: Severity
    mark: str
    says: str
    next_step: str


def step(memory: Memory, before: Record, event: Event) -> tuple[Memory, tuple[Notice, ...]]:
    """What is wrong after this fact, and what is told of it, given the record before it.

    Raises IllegalEvent if the event cannot follow.
    """
    after = evolve(before, event)
    said: list[Notice] = []
    kept: list[Trouble] = []
    for one in memory.troubles:
        how = _ended(one.cause, before, after, event)
        if how:
            said.append(_recovery(one, how, before, event))
        else:
            kept.append(one)
    known = Memory(troubles=tuple(kept))
    wrong = _wrong(before, event)
    if wrong is None:
        return known, (*said, *_news(memory, known, before, event))
    trouble = known.of(wrong.cause)
    if trouble is not None and trouble.mark == wrong.mark:
        return known, tuple(said)
    notice = _notice(wrong, before, event)
    says = sentences.ended(_clean(wrong.says, before, event))
    return _with(known, trouble, wrong, notice, says), (*said, notice)


def waiting(status: Status, found: CommitStatus, at: datetime) -> Notice:
    """What a commit waits for."""
    name = status.environment
    is_asked = any(gate.name == "approvals" for gate in closed(status.gates))
    what = (
        f"`deployer approve {name}` shows what it would do"
        if is_asked
        else f"`deployer explain {name}` says more"
    )
    return Notice(
        environment=name,
        about=About.WAITING,
        severity=Severity.INFO,
        at=at,
        sentence=clean(f"{name}: {found.commit[:7]}: {found.text}", (status.wanted,)),
        next_step=f"{what}.",
        thread=f"{name}/{found.commit}",
    )


def clean(text: str, releases: Iterable[Release | None]) -> str:
    """One harmless line, cut, without what is secret in these releases."""
    found = (one for one in releases if one is not None)
    secrets = frozenset(secret for one in found for secret in secrets_of(one.config.body()))
    line = " ".join(plain(scrub(text, secrets)).split())
    return line if len(line) <= _TEXT else f"{line[: _TEXT - 1]}…"


# --- what is wrong ------------------------------------------------------------------------------------------


def _wrong(before: Record, event: Event) -> _Wrong | None:
    name = before.environment
    match event:
        case Failed() if before.rollout is not None:
            return _failed(before, before.rollout, event)
        case Drifted(drift=drift, what=what):
            if drift is DriftClass.SICK and not tells_of_sickness(before, event):
                return None
            is_lost = drift is DriftClass.LOST
            return _Wrong(
                cause=Cause.CLUSTER,
                about=About.DRIFT,
                severity=Severity.CRITICAL if is_lost else Severity.WARNING,
                mark=f"drift {drift.value}",
                says=what,
                next_step=f"`deployer explain {name}` says what becomes of it.",
            )
        case Refused(message=why):
            return _Wrong(
                cause=Cause.GIT,
                about=About.REFUSED,
                severity=Severity.WARNING,
                mark=why,
                says=why,
                next_step="What runs was not touched: push a fix.",
            )
        case LostSight(why=why):
            return _Wrong(
                cause=Cause.SIGHT,
                about=About.UNREACHABLE,
                severity=Severity.WARNING,
                mark="lost",
                says=why,
                next_step="`deployer doctor` says what does not answer.",
            )
        case PromotionFailed(commit=commit, why=why):
            return _Wrong(
                cause=Cause.PROMOTION,
                about=About.PROMOTION,
                severity=Severity.WARNING,
                mark=f"{commit} {why}",
                says=why,
                next_step=f"Mend that, then type `deployer promote {name}`.",
            )
        case _:
            return None


def _failed(before: Record, rollout: Rollout, event: Failed) -> _Wrong:
    name, failure = before.environment, event.failure
    is_repair = rollout.kind in _REPAIRS
    good = before.good
    goes_back = rollout.policy.rollback and good is not None and good.digest != rollout.release.digest
    if rollout.kind is Kind.DEPLOY and failure.failure_class is FailureClass.CAPACITY:
        next_step = f"`deployer explain {name}` says what it waits for."
    elif rollout.kind is Kind.DEPLOY:
        next_step = f"`deployer rollouts show {rollout.id}` has the evidence."
    elif is_repair:
        next_step = f"`deployer logs {name}` may say why."
    else:
        next_step = f"Push a fix, or type `deployer rollback {name}`."
    return _Wrong(
        cause=Cause.CLUSTER if is_repair else Cause.RELEASE,
        about=About.REPAIR_FAILED if is_repair else About.FAILED,
        severity=Severity.WARNING if rollout.kind is Kind.DEPLOY and goes_back else Severity.CRITICAL,
        mark=f"{rollout.kind.value} {rollout.release.digest} {failure.message}",
        says=f"{sentences.name(rollout.release)} failed: {failure.message}",
        next_step=next_step,
    )


def _notice(wrong: _Wrong, before: Record, event: Event) -> Notice:
    rollout = before.rollout.id if before.rollout is not None else None
    said = announcement(before, event) or f"{before.environment}: {wrong.says}"
    return Notice(
        environment=before.environment,
        about=wrong.about,
        severity=wrong.severity,
        at=event.at,
        sentence=sentences.ended(_clean(said, before, event)),
        next_step=wrong.next_step,
        thread=rollout or f"{before.environment}/{wrong.cause.value}",
        cause=wrong.cause,
        rollout=rollout,
    )


def _with(known: Memory, trouble: Trouble | None, wrong: _Wrong, notice: Notice, says: str) -> Memory:
    """What is wrong, with this; it goes on under the same cause since it began."""
    telling = Telling(about=wrong.about, severity=wrong.severity, at=notice.at)
    if trouble is None:
        new = Trouble(
            cause=wrong.cause,
            mark=wrong.mark,
            says=says,
            since=notice.at,
            thread=notice.thread,
            tellings=(telling,),
        )
    else:
        tellings = (*trouble.tellings, telling)[-_TELLINGS:]
        new = replace(trouble, mark=wrong.mark, says=says, thread=notice.thread, tellings=tellings)
    others = (one for one in known.troubles if one.cause is not wrong.cause)
    return Memory(troubles=(*others, new))


# --- what is well -------------------------------------------------------------------------------------------


def _ended(cause: Cause, before: Record, after: Record, event: Event) -> str:
    """What ended it, in words; "" if it goes on."""
    match cause, event:
        case Cause.RELEASE, Good() if before.rollout is not None:
            rollout = before.rollout
            wanted = after.seen
            is_wanted = wanted is not None and is_live(after, wanted.digest)
            is_asked = rollout.kind is Kind.ROLLBACK and rollout.follows is None
            if rollout.kind is Kind.DEPLOY or is_asked or is_wanted:
                return f"{sentences.name(rollout.release)} is live"
            return ""
        case Cause.RELEASE, Seen(release=release) if is_live(after, release.digest):
            return f"{sentences.name(release)} has the config that is live"
        case Cause.CLUSTER, Good():
            return "the cluster runs the current release"
        case Cause.CLUSTER, DriftEnded():
            return "the cluster runs the current release again"
        case Cause.GIT, Seen(release=release):
            return f"{sentences.name(release)} can be deployed"
        case Cause.SIGHT, RegainedSight() | Applied() | Good():
            return "the cluster answers"
        case Cause.PROMOTION, Promoted(commit=commit):
            return f"{commit[:7]} was promoted"
        case Cause.PROMOTION, Proposed(url=url):
            return f"it is proposed at {url}"
        case _:
            return ""


def _recovery(trouble: Trouble, how: str, before: Record, event: Event) -> Notice:
    # A clock that went back must not make it negative.
    took = sentences.took(max(event.at - trouble.since, timedelta()))
    text = _clean(f"{before.environment}: well again after {took}: {how}.", before, event)
    return Notice(
        environment=before.environment,
        about=trouble.tellings[-1].about,
        severity=Severity.INFO,
        at=event.at,
        sentence=_clean(f"{text} It was: {trouble.says}", before, event),
        next_step=_NOTHING,
        thread=trouble.thread,
        cause=trouble.cause,
        rollout=before.rollout.id if before.rollout is not None else None,
        ends=trouble.tellings,
    )


def _news(was: Memory, known: Memory, before: Record, event: Event) -> Iterator[Notice]:
    """What went well, where that is not told as a recovery."""
    rollout = before.rollout
    if not isinstance(event, Good) or rollout is None or rollout.kind in _REPAIRS:
        return
    if was.of(Cause.RELEASE) is not None and known.of(Cause.RELEASE) is None:
        return
    is_back = rollout.kind is Kind.ROLLBACK
    held = f"What failed stays held: push a fix, or type `deployer retry {before.environment} --reason ...`."
    yield Notice(
        environment=before.environment,
        about=About.ROLLED_BACK if is_back else About.GOOD,
        severity=Severity.INFO,
        at=event.at,
        sentence=_clean(announcement(before, event) or "", before, event),
        next_step=held if is_back and known.of(Cause.RELEASE) is not None else _NOTHING,
        thread=rollout.follows or rollout.id,
        rollout=rollout.id,
    )


def _clean(text: str, before: Record, event: Event) -> str:
    rollout = before.rollout.release if before.rollout is not None else None
    release = getattr(event, "release", None)
    return clean(text, (rollout, before.seen, before.good, release if isinstance(release, Release) else None))
