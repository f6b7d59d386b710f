"""The account of a rollout: what it was, who wanted it, why, how it ended, the first error, what followed.

Owns these sentences, and their order. Must not decide anything, nor know who reads them. Invariant: each is
true for ever (none says what is now), one line, and made of what the events say; and what is not known is
not told.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from deployer.core import sentences, telling
from deployer.core.event_shown import known_by
from deployer.core.events import Approved, Cancelled, Held, Kind, LogKept, PromotionAsked, Rejected, SyncAsked
from deployer.core.record import Result
from deployer.core.redact import one_line
from deployer.core.sentences import moment

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.core.events import Event, GateEvidence
    from deployer.core.history import Entry, Summary

_KINDS = {
    Kind.DEPLOY: "a deploy of",
    Kind.ROLLBACK: "a rollback to",
    Kind.RESTORE: "a restore of",
    Kind.HEAL: "a heal to",
}

_TRIGGERS = {
    "push": "Git wanted it.",
    "there may be room now": "It had found no room before, and there could be room now.",
    "asked for": "A person asked for it.",
    "drift": "The cluster was not as the current release says.",
}
"""Why it began, by `Started.trigger`. Another one is the failure that it answers, and a sentence itself."""


def account(
    entry: Entry,
    events: Sequence[Event],
    *,
    wishes: Sequence[Event] = (),
    gates: Sequence[GateEvidence] = (),
    answer: Entry | None = None,
) -> list[tuple[str, str]]:
    """Pairs of what a sentence is about and the sentence. See `core.dossier.Dossier` for the parts."""
    told = [
        *_begin(entry),
        *_said_before(wishes),
        *((f"gate {gate.name}", f"{gate.verdict.capitalize()}. {gate.evidence}") for gate in gates),
        *_end(entry, events),
        *_after(entry, events, answer),
    ]
    return [(about, one_line(says)) for about, says in told]


def _begin(entry: Entry) -> Iterator[tuple[str, str]]:
    release = entry.release
    yield "what", f"{entry.id} was {_KINDS[entry.kind]} {_name(release)} ({release.digest})."
    if entry.plan:
        yield "change", entry.plan
    yield "who", f"{entry.actor}: {known_by(entry.actor)}."
    yield "commit", _commit(release)
    why = _TRIGGERS.get(entry.trigger, sentences.sentence(entry.trigger))
    reason = f" {sentences.sentence(entry.reason)}" if entry.reason else ""
    yield "why", f"{why}{reason} It began at {moment(entry.started_at)}."


def _commit(release: Summary) -> str:
    parts = [f"{release.revision} by {release.author}"]
    if release.committer not in {"", release.author}:
        parts.append(f"committed by {release.committer}")
    parts += [f"with {person}" for person in release.co_authors]
    if release.merged is not None:
        parts.append(f"merging {release.merged[:7]}")
    if release.pull_request is not None:
        parts.append(f"pull request #{release.pull_request}")
    if release.tag is not None:
        parts.append(f"tag {release.tag}")
    if release.committed_at is not None:
        parts.append(f"of {moment(release.committed_at)}")
    return f"{', '.join(parts)}."


def _said_before(wishes: Sequence[Event]) -> Iterator[tuple[str, str]]:
    for event in wishes:
        about = "approval" if isinstance(event, Approved | Rejected) else "before"
        says = telling.says(event).removesuffix(".")
        is_a_persons = isinstance(event, Approved | Rejected | SyncAsked | PromotionAsked)
        by = f", by {event.actor}" if is_a_persons else ""
        why = f" ({event.reason})" if event.reason else ""
        yield about, f"{says}{by}{why}, at {moment(event.at)}."


def _end(entry: Entry, events: Sequence[Event]) -> Iterator[tuple[str, str]]:
    if entry.finished_at is None:
        phases = telling.story(events).phases[-1:]
        yield "outcome", f"It was under way{''.join(f', in the phase {phase.name}' for phase in phases)}."
        return
    took = sentences.took(timedelta(seconds=entry.took_seconds or 0.0))
    when = f"after {took}, at {moment(entry.finished_at)}"
    if entry.failure is not None:
        yield "outcome", f"It failed {when} ({entry.failure.failure_class.value})."
        yield "first error", _as_it_is(entry.failure.message)
    elif entry.result is Result.GOOD:
        yield "outcome", f"It ended good {when}: its release became the way back from the next one."
    elif entry.superseded_by is not None:
        yield "outcome", f"It was overtaken by {entry.superseded_by[:40]} {when}."
    for event in events:
        if isinstance(event, Cancelled):
            why = f" ({event.reason})" if event.reason else ""
            yield "outcome", f"It was ended by {event.actor}{why} {when}."
    for event in events:
        if isinstance(event, LogKept):
            why = f" {sentences.sentence(event.reason)}" if event.reason else ""
            yield "log", f"{telling.says(event)}{why}"


def _after(entry: Entry, events: Sequence[Event], answer: Entry | None) -> Iterator[tuple[str, str]]:
    """What followed from a failure. What could be done then is told too: the same helps later."""
    if entry.result is not Result.FAILED:
        return
    if any(isinstance(event, Held) for event in events):
        retry = f"deployer retry {entry.environment} --reason ..."
        yield (
            "held",
            f"Its config was held. A fix that is pushed is deployed as usual; `{retry}` tries it again.",
        )
    if answer is None:
        yield "after", f"No rollback answered it. `deployer status {entry.environment}` says what runs."
        return
    what = f"{answer.id} answered it, {_KINDS[answer.kind]} {_name(answer.release)}"
    if answer.finished_at is None:
        yield "after", f"{what}. That was under way."
        return
    took = sentences.took(timedelta(seconds=answer.took_seconds or 0.0))
    why = f": {_as_it_is(answer.failure.message)}" if answer.failure is not None else "."
    yield "after", f"{what}. That ended {answer.result.value} after {took}{why}"


def _name(release: Summary) -> str:
    return f'{release.revision[:7]} "{release.subject}"'


def _as_it_is(message: str) -> str:
    """What Serve said begins with the name of an application, which has no other first letter."""
    return f"{message.rstrip('.')}."
