"""One line of history per rollout, folded from its events.

Owns what `deployer history` tells of a rollout. Must not know how entries are kept, nor decide anything:
no decision is made on an entry. Invariant: an entry is a pure fold of the events that name its rollout,
and holds nothing of the config but its digest.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from deployer.core.errors import IllegalEvent
from deployer.core.events import (
    Applied,
    Cancelled,
    Event,
    Failed,
    Failure,
    Good,
    Kind,
    LogKept,
    Started,
    Superseded,
)
from deployer.core.record import Result
from deployer.core.times import timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.core.types import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A release as people know it: the commit that explains it, the digest that decides.

    `merged` is the second parent of a merge, `pull_request` the number that its subject names, `tag` how it
    was found. `committed_at` is None in what an older version wrote.
    """

    revision: str
    digest: str
    subject: str
    author: str
    committer: str = ""
    co_authors: tuple[str, ...] = ()
    merged: str | None = None
    pull_request: int | None = None
    tag: str | None = None
    committed_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One rollout.

    `actor` is who wanted it: the commit's author for a deploy, the daemon for what it does on its own.
    `applied_at` is when the cluster first took the config. `followed_by` is the rollback that answered
    this failed rollout; `superseded_by` is what overtook it, as its event says. `log` is the end of the log
    of a replica that failed.
    """

    id: str
    environment: str
    kind: Kind
    release: Summary
    trigger: str
    actor: str
    started_at: datetime
    reason: str = ""
    plan: str = ""
    applied_at: datetime | None = None
    finished_at: datetime | None = None
    result: Result = Result.IN_PROGRESS
    failure: Failure | None = None
    followed_by: str | None = None
    superseded_by: str | None = None
    log: str = field(default="", repr=False)

    @property
    def took_seconds(self) -> float | None:
        """From start to end; 0 if the clock went back meanwhile, None while it is in progress."""
        if self.finished_at is None:
            return None
        return max(0.0, (self.finished_at - self.started_at).total_seconds())


def touched(event: Event) -> tuple[str, ...]:
    """The ids of the entries that `advance` needs or makes for this event."""
    match event:
        case Started():
            return (event.rollout, event.follows) if event.follows else (event.rollout,)
        case Applied() | Good() | Failed() | LogKept() | Superseded() | Cancelled():
            return (event.rollout,)
        case _:
            return ()


def advance(entries: Mapping[str, Entry], event: Event) -> Mapping[str, Entry]:
    """The entries by id after one more event. `entries` holds at least those that it touches.

    Raises IllegalEvent if the event names a rollout that is not there.
    """
    match event:
        case Started():
            return {**entries, **_followed(entries, event), event.rollout: _entry(event)}
        case Applied():
            entry = _of(entries, event.rollout)
            changed = replace(entry, applied_at=entry.applied_at or event.at)
        case Good():
            changed = _ended(entries, event, Result.GOOD)
        case Failed():
            changed = replace(_ended(entries, event, Result.FAILED), failure=event.failure)
        case LogKept():
            changed = replace(_of(entries, event.rollout), log=event.text)
        case Superseded():
            changed = replace(_ended(entries, event, Result.SUPERSEDED), superseded_by=event.by)
        case Cancelled():
            changed = _ended(entries, event, Result.CANCELLED)
        case _:
            return entries
    return {**entries, changed.id: changed}


def to_json(entry: Entry) -> dict[str, Any]:
    """The entry as `deployer history -o json` prints it. Scripts rely on it: add fields, change none."""
    failure = entry.failure
    return {
        "id": entry.id,
        "environment": entry.environment,
        "kind": entry.kind.value,
        "release": {
            "revision": entry.release.revision,
            "digest": entry.release.digest,
            "subject": entry.release.subject,
            "author": entry.release.author,
            "committer": entry.release.committer or None,
            "co_authors": list(entry.release.co_authors),
            "merged": entry.release.merged,
            "pull_request": entry.release.pull_request,
            "tag": entry.release.tag,
            "committed_at": timestamp(entry.release.committed_at),
        },
        "trigger": entry.trigger,
        "actor": entry.actor,
        "reason": entry.reason,
        "plan": entry.plan,
        "started_at": timestamp(entry.started_at),
        "applied_at": timestamp(entry.applied_at),
        "finished_at": timestamp(entry.finished_at),
        "took_seconds": entry.took_seconds,
        "result": entry.result.value,
        "failure": {"class": failure.failure_class.value, "message": failure.message} if failure else None,
        "followed_by": entry.followed_by,
        "superseded_by": entry.superseded_by,
    }


def _entry(event: Started) -> Entry:
    return Entry(
        id=event.rollout,
        environment=event.rollout.rpartition("#")[0],
        kind=event.kind,
        release=_summary(event.release),
        trigger=event.trigger,
        actor=event.actor,
        reason=event.reason,
        plan=event.plan,
        started_at=event.at,
    )


def _summary(release: Release) -> Summary:
    revision = release.revision
    return Summary(
        revision=revision.commit,
        digest=release.digest,
        subject=revision.subject,
        author=str(revision.author),
        committer=str(revision.committer),
        co_authors=tuple(str(person) for person in revision.co_authors),
        merged=revision.merged.commit if revision.merged is not None else None,
        pull_request=revision.pull_request,
        tag=revision.tag,
        committed_at=revision.committed_at,
    )


def _followed(entries: Mapping[str, Entry], event: Started) -> dict[str, Entry]:
    """The failed rollout that this one answers, pointing at it."""
    if event.follows is None:
        return {}
    return {event.follows: replace(_of(entries, event.follows), followed_by=event.rollout)}


def _ended(
    entries: Mapping[str, Entry], event: Good | Failed | Superseded | Cancelled, result: Result
) -> Entry:
    return replace(_of(entries, event.rollout), result=result, finished_at=event.at)


def _of(entries: Mapping[str, Entry], rollout: str) -> Entry:
    if rollout not in entries:
        message = f"the history has no rollout {rollout}, which an event names"
        raise IllegalEvent(message)
    return entries[rollout]
