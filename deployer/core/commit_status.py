"""What the forge shows beside a commit: one status for each environment, `deployer/<environment>`.

Owns which fact changes which commit's status, and its words. Must not know forges, nor how it gets there.
Invariant: transitions only; the last status of a commit is what the facts say of it, whatever came before;
and a commit is never left pending: what will not be deployed any more is told so.

What is pending waits to be deployed, what is running is on its way. A repair (heal, restore) is about the
cluster, not the commit: it is told only when it fails, and when all is well after that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

from deployer.core import sentences
from deployer.core.events import (
    Cancelled,
    Failed,
    Good,
    Healthy,
    Kind,
    Refused,
    RetryAsked,
    RollbackAsked,
    Seen,
    Started,
    Superseded,
)
from deployer.core.gates import closed
from deployer.core.messages import COMMIT_STATUS, Message
from deployer.core.record import Result, evolve
from deployer.core.rollouts import is_live
from deployer.core.scrub import plain, scrub, secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.events import Event
    from deployer.core.record import Record, Rollout
    from deployer.core.status import Status
    from deployer.core.types import Release

_TEXT = 1_000
"""Characters of a text. A forge shows 140 or 255 of them."""

_REPAIRS = frozenset({Kind.HEAL, Kind.RESTORE})

_BEGINS = {Kind.DEPLOY: "Being deployed", Kind.ROLLBACK: "Being brought back"}
_DONE = {
    Kind.DEPLOY: "Live",
    Kind.ROLLBACK: "Live again",
    Kind.RESTORE: "Restored",
    Kind.HEAL: "Healed",
}
_BROKEN = {
    Kind.DEPLOY: "",
    Kind.ROLLBACK: "The rollback to it failed: ",
    Kind.RESTORE: "It could not be restored: ",
    Kind.HEAL: "It could not be healed: ",
}


class Standing(StrEnum):
    """How a commit stands in an environment. Forges have no more words than these."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitStatus:
    """The new status of one commit. `rollout` is what to look at; None is the environment.

    `waits_for` tells two waits apart; it is "" for what is no wait.
    """

    commit: str
    state: Standing
    text: str
    rollout: str | None = None
    waits_for: str = ""


def changes(before: Record, event: Event) -> tuple[CommitStatus, ...]:
    """The statuses that this fact changes, given the record before it."""
    return tuple(_changes(before, event))


def waiting(status: Status) -> CommitStatus | None:
    """What the commit that git wants waits for, where it is neither live, nor on its way, nor held."""
    wanted, record = status.wanted, status.record
    seen = record.seen
    if wanted is None or seen is None or seen.revision.commit != wanted.revision.commit:
        return None
    if _of_wanted(record, wanted).state is not Standing.PENDING:
        return None
    if shut := closed(status.gates):
        names = ", ".join(gate.name for gate in shut)
        return _wait(wanted, f"Waits for {names}. {shut[0].evidence}", f"gates {names}")
    if record.paused is not None:
        return _wait(wanted, sentences.sentence(f"waits while {record.environment} is paused"), "pause")
    return None


def message(environment: str, audience: str, status: CommitStatus) -> Message:
    """The status as a message to the forge."""
    context = f"deployer/{environment}"
    mark = " ".join((status.state.value, status.rollout or "", status.waits_for))
    return Message(
        kind=COMMIT_STATUS,
        audience=audience,
        key=f"{context} {status.commit}",
        # Else a status that a fact changes is written, whatever was there.
        mark=mark if status.waits_for else "",
        text=f"{context} of {status.commit[:7]} is {status.state.value}: {status.text}",
        payload={
            "commit": status.commit,
            "context": context,
            "state": status.state.value,
            "text": status.text,
            "environment": environment,
            "rollout": status.rollout,
        },
    )


def _changes(before: Record, event: Event) -> Iterator[CommitStatus]:
    match event:
        case Seen(release=release):
            yield from _overtaken(before, release)
            yield _of_wanted(evolve(before, event), release)
        case Refused(commit=str(commit), message=why):
            yield CommitStatus(commit=commit, state=Standing.FAILURE, text=_clean(why))
        case RetryAsked(accepts=str(commit), actor=actor):
            yield CommitStatus(
                commit=commit,
                state=Standing.PENDING,
                text=_clean(f"{actor} wants it deployed, although it does not follow."),
            )
        case RetryAsked():
            yield from _tried_again(before, event)
        case RollbackAsked():
            yield from _left(before, event)
        case Started(kind=kind, release=release, rollout=id_) if kind not in _REPAIRS:
            text = f"{_BEGINS[kind]}."
            yield CommitStatus(commit=_commit(release), state=Standing.RUNNING, text=text, rollout=id_)
        case Healthy() | Good() | Failed() | Superseded() | Cancelled() if before.rollout is not None:
            yield from _of_rollout(before, before.rollout, event)
        case _:
            return


def _of_rollout(
    before: Record, rollout: Rollout, event: Healthy | Good | Failed | Superseded | Cancelled
) -> Iterator[CommitStatus]:
    """What changes for the commit that is on its way, and for a later one that says the same."""
    state, text = _told(before, rollout, event)
    if rollout.kind in _REPAIRS and not _is_told_of_repair(before, event):
        return
    commits = [_commit(rollout.release)]
    seen = before.seen
    if seen is not None and seen.digest == rollout.release.digest and _commit(seen) not in commits:
        commits.append(_commit(seen))
    shown = _clean(text, rollout.release)
    yield from (
        CommitStatus(commit=commit, state=state, text=shown, rollout=rollout.id) for commit in commits
    )


def _told(
    before: Record, rollout: Rollout, event: Healthy | Good | Failed | Superseded | Cancelled
) -> tuple[Standing, str]:
    match event:
        case Healthy():
            checks = "its checks and " if rollout.policy.checks else ""
            return Standing.RUNNING, f"Healthy. Waits for {checks}its soak."
        case Good(at=at):
            took = sentences.took(at - rollout.started_at)
            return Standing.SUCCESS, f"{_DONE[rollout.kind]} after {took}."
        case Failed(failure=failure):
            text = f"{_BROKEN[rollout.kind]}{sentences.sentence(failure.message)}"
            return Standing.FAILURE, text
        case Superseded(by=by):
            return Standing.CANCELLED, f"Overtaken by {by[:7]} before it was live."
        case Cancelled(actor=actor, reason=reason):
            # Who asks for another release holds this one: it was not merely stopped.
            is_held = before.hold_of(rollout.release.digest) is not None
            state = Standing.FAILURE if is_held else Standing.CANCELLED
            return state, f"Cancelled by {actor}{_because(reason)}."
        case _:
            assert_never(event)


def _is_told_of_repair(before: Record, event: Healthy | Good | Failed | Superseded | Cancelled) -> bool:
    """A repair that failed, and the first one after it that went well."""
    last = before.last
    failed_before = last is not None and last.kind in _REPAIRS and last.result is Result.FAILED
    return isinstance(event, Failed) or (isinstance(event, Good) and failed_before)


def _of_wanted(record: Record, release: Release) -> CommitStatus:
    """How a commit stands that git wants, as far as the record tells."""
    commit, digest, good = _commit(release), release.digest, record.good
    hold, rollout = record.hold_of(digest), record.rollout
    if hold is not None and not hold.may_retry:
        text = _clean(f"Held, and not deployed: {sentences.sentence(hold.reason)}", release)
        return CommitStatus(commit=commit, state=Standing.FAILURE, text=text, rollout=hold.rollout)
    if rollout is not None and rollout.release.digest == digest:
        text = f"On its way: {rollout.id} deploys the same config."
        return CommitStatus(commit=commit, state=Standing.RUNNING, text=text, rollout=rollout.id)
    if good is not None and is_live(record, digest):
        same = "Live." if _commit(good) == commit else f"Live: it has the config of {good.revision.short}."
        return CommitStatus(commit=commit, state=Standing.SUCCESS, text=same, rollout=record.good_rollout)
    last = record.last
    if last is not None and _commit(last.release) == commit and last.wanted is not None and last.failure:
        # It is not held: the cluster had no room, and it is tried again when there is some.
        text = _clean(sentences.sentence(last.failure.message), release)
        return CommitStatus(commit=commit, state=Standing.FAILURE, text=text, rollout=last.id)
    return CommitStatus(commit=commit, state=Standing.PENDING, text="Waits to be deployed.")


def _overtaken(before: Record, release: Release) -> Iterator[CommitStatus]:
    """The commit that git wanted before, if nothing was done for it yet: nothing will be."""
    seen = before.seen
    if seen is None or _commit(seen) == _commit(release):
        return
    # What is on its way tells its own end, but then to who is wanted: no more to one that only says the same.
    is_on_its_way = before.rollout is not None and _commit(before.rollout.release) == _commit(seen)
    is_open = _of_wanted(before, seen).state in (Standing.PENDING, Standing.RUNNING)
    if is_open and not is_on_its_way:
        text = f"Overtaken by {release.revision.short} before it was deployed."
        yield CommitStatus(commit=_commit(seen), state=Standing.CANCELLED, text=text)


def _tried_again(before: Record, event: RetryAsked) -> Iterator[CommitStatus]:
    after = evolve(before, event)
    seen = after.seen
    if seen is None or seen.digest != event.digest:
        return
    if _of_wanted(after, seen).state is Standing.PENDING:
        asked = f"Waits to be tried once more: asked for by {event.actor}{_because(event.reason)}."
        yield CommitStatus(commit=_commit(seen), state=Standing.PENDING, text=_clean(asked, seen))


def _left(before: Record, event: RollbackAsked) -> Iterator[CommitStatus]:
    """What a person goes away from. What is on its way is told by the event that ends it."""
    rollout = before.rollout
    target = event.release.digest
    left = {
        _commit(release): release
        for release in (before.good, before.seen)
        if release is not None
        and release.digest != target
        and before.hold_of(release.digest) is None
        and (rollout is None or rollout.release.digest != release.digest)
    }
    for commit, release in left.items():
        back = f"{event.actor} went back to {event.release.revision.short}{_because(event.reason)}."
        yield CommitStatus(
            commit=commit, state=Standing.FAILURE, text=_clean(f"Rolled back: {back}", release)
        )


def _wait(release: Release, text: str, waits_for: str) -> CommitStatus:
    return CommitStatus(
        commit=_commit(release), state=Standing.PENDING, text=_clean(text, release), waits_for=waits_for
    )


def _commit(release: Release) -> str:
    return release.revision.commit


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""


def _clean(text: str, release: Release | None = None) -> str:
    """One harmless line, without what is secret in the release that it is about."""
    secrets = secrets_of(release.config.body()) if release is not None else frozenset[str]()
    return " ".join(plain(scrub(text, secrets)).split())[:_TEXT]
