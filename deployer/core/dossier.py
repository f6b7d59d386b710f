"""All there is of one rollout: its entry, its events, what led to it, what it changed and what followed.

Owns the parts, and the JSON of a rollout that every face shows. Must not know where the parts are kept, nor
how they are written down. Invariant: of a config only what is masked is told, and everything in the JSON can
be derived again from the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer.core import event_shown, history, telling
from deployer.core.account import account
from deployer.core.diff import diff
from deployer.core.event_shown import Written
from deployer.core.events import GateEvidence, Promoted, Proposed, Started
from deployer.core.history import Entry
from deployer.core.plan_json import changes
from deployer.core.record import Record, Result
from deployer.core.redact import mask
from deployer.core.rollouts import is_live
from deployer.core.scrub import plain, scrub, secrets_of
from deployer.core.times import timestamp
from deployer.core.types import ServeConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployer.core.events import Event
    from deployer.core.hiding import Hiding

Dump = Callable[[object], str]
"""Writes plain data as YAML."""

WISHES = (
    "approved",
    "rejected",
    "sync_asked",
    "promotion_asked",
    "promoted",
    "proposed",
    "promotion_failed",
    "rollback_asked",
    "retry_asked",
)
"""Types of the events in which people, or other environments, say something of a release before it starts."""

_NOTHING: Mapping[str, Any] = {"against": None, "against_rollout": None, "changes": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """What is known of a rollout. Events are oldest first; `events` are its own, and the first is `Started`.

    `seen` is when git was last seen to want it, of a deploy; `wishes` is what people and other environments
    said of its commit before, see `WISHES`. `before` is the rollout that was the last to end well before it
    began, with its config. `answer` is what followed its failure, `follower` the event that began that.
    `record` is of its environment by now. `ray_version` says by whose rules its changes are told.
    """

    entry: Entry
    events: tuple[Written, ...]
    config: ServeConfig
    ray_version: str
    record: Record = field(repr=False)
    seen: Written | None = None
    wishes: tuple[Written, ...] = ()
    before: Entry | None = None
    config_before: ServeConfig | None = None
    follower: Written | None = None
    answer: Entry | None = None

    @property
    def started(self) -> Started | None:
        """Its first event."""
        return next((one.event for one in self.events if isinstance(one.event, Started)), None)

    @property
    def gates(self) -> tuple[GateEvidence, ...]:
        """The gates that it passed, as they stood when it began."""
        return self.started.gates if self.started is not None else ()

    @property
    def bodies(self) -> tuple[dict[str, Any], ...]:
        """The configs that it is about: its own, and that of the one before."""
        found = (self.config, self.config_before)
        return tuple(one.body() for one in found if one is not None)


def to_json(dossier: Dossier, dump: Dump) -> dict[str, Any]:
    """As `docs/json.md` describes it, for `deployer rollouts show`."""
    entry = dossier.entry
    story = telling.story(one.event for one in dossier.events)
    return {
        **history.to_json(entry),
        "story": _story(dossier),
        "gates": gates(dossier),
        "timeline": _timeline(dossier, story),
        "phases": [
            {
                "name": phase.name,
                "started_at": timestamp(phase.started_at),
                "finished_at": timestamp(phase.finished_at),
                "seconds": phase.seconds,
            }
            for phase in story.phases
        ],
        "checks": [
            {
                "app": check.app,
                "path": check.path,
                "passed": check.passed,
                "attempts": check.attempts,
                "message": check.message,
                "ms": check.ms,
            }
            for check in story.checks
        ],
        "detail": entry.failure.detail if entry.failure else "",
        "log": entry.log,
        "config": as_yaml(dossier.config, dump),
        **compared(dossier),
        "can_roll_back_to": _can_roll_back_to(entry, dossier.record),
    }


def event_in_full(one: Written, dossier: Dossier | None, hide: Hiding) -> dict[str, Any]:
    """One event as `docs/json.md` describes it, for `deployer audit show`; `dossier` is of its rollout."""
    commit, digest = _about(one.event, dossier.entry if dossier is not None else None)
    of_rollout = None
    if dossier is not None:
        of_rollout = {**history.to_json(dossier.entry), "story": _story(dossier)}
    changed = compared(dossier) if dossier is not None and isinstance(one.event, Started) else _NOTHING
    told = {
        **event_shown.to_json(one),
        "commit": commit,
        "digest": digest,
        "of_rollout": of_rollout,
        "against": changed["against"],
        "against_rollout": changed["against_rollout"],
        "changes": changed["changes"],
    }
    hidden: dict[str, Any] = hide.texts(told)
    return hidden


def _about(event: Event, entry: Entry | None) -> tuple[str | None, str | None]:
    """The commit and the digest that an event is about; of one of a rollout, those of its release."""
    release = getattr(event, "release", None)
    if release is not None:
        return release.revision.commit, release.digest
    if entry is not None:
        return entry.release.revision, entry.release.digest
    return getattr(event, "commit", None), getattr(event, "digest", None) or None


def gates(dossier: Dossier) -> list[dict[str, Any]]:
    """The gates that it passed, one object each."""
    return [{"name": gate.name, "verdict": gate.verdict, "evidence": gate.evidence} for gate in dossier.gates]


def compared(dossier: Dossier) -> dict[str, Any]:
    """What it changed of the release that was good before, and what that restarts."""
    entry, before, body = dossier.entry, dossier.before, dossier.config.body()
    old = dossier.config_before.body() if dossier.config_before else {**body, "applications": []}
    found = diff(old, body, dossier.ray_version)
    return {
        "config_digest": entry.release.digest,
        "against": f'{before.id} {before.release.revision[:7]} "{before.release.subject}"'
        if before
        else None,
        "against_rollout": before.id if before else None,
        "changes": changes(found),
    }


def as_yaml(config: ServeConfig, dump: Dump) -> str:
    """The config for people: every value masked that can be a secret."""
    body = config.body()
    secrets = secrets_of(body)
    return plain(dump(mask(body, lambda text: scrub(text, secrets))))


def commits_of(release: Mapping[str, str | None], promotions: Iterable[Event]) -> frozenset[str]:
    """The commits under which people spoke of a release: its own, what it merged, and what it copies.

    `release` has `revision` and `merged`; `promotions` are those to its environment before it began.
    """
    mine = {commit for commit in (release["revision"], release["merged"]) if commit}
    found = set(mine)
    for event in promotions:
        match event:
            case Promoted(commit=commit, copied=other) if not mine.isdisjoint({commit, other}):
                found.add(commit)
            case Proposed(commit=commit, head=other) if not mine.isdisjoint({commit, other}):
                found.add(commit)
            case _:
                pass
    return frozenset(found)


def _story(dossier: Dossier) -> list[dict[str, str]]:
    told = account(
        dossier.entry,
        [one.event for one in dossier.events],
        wishes=[one.event for one in dossier.wishes],
        gates=dossier.gates,
        answer=dossier.answer,
    )
    return [{"about": about, "says": says} for about, says in told]


def _timeline(dossier: Dossier, story: telling.Story) -> list[dict[str, Any]]:
    """From when git wanted it to what followed from its end."""
    begin = dossier.entry.started_at
    lines = [(one, step.phase) for one, step in zip(dossier.events, story.steps, strict=True)]
    if dossier.seen is not None:
        lines.insert(0, (dossier.seen, ""))
    if dossier.follower is not None:
        lines.append((dossier.follower, ""))
    return [
        {
            "id": one.id,
            "at": timestamp(one.event.at),
            "event": one.event.type,
            "phase": phase or None,
            "says": telling.says(one.event),
            "actor": one.event.actor,
            "reason": one.event.reason,
            "seconds": (one.event.at - begin).total_seconds(),
        }
        for one, phase in lines
    ]


def _can_roll_back_to(entry: Entry, record: Record) -> bool:
    """Whether `rollback --to` this one would do something: it is good, not held, and not what runs."""
    digest = entry.release.digest
    runs = is_live(record, digest) and record.drift is None
    return entry.result is Result.GOOD and record.hold_of(digest) is None and not runs
