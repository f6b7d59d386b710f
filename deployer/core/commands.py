"""What a person may ask of an environment, and what the daemon answers: events, or a refusal.

Owns the rules of pause, resume, retry and rollback, and their sentences. Must not know how a wish comes in,
nor what the policy makes of the events. Invariant: events that are returned can follow the record, and a
refusal says why and what to do instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from deployer.core import pinned, sentences
from deployer.core.events import Event, Kind, Paused, Resumed, RetryAsked, RollbackAsked
from deployer.core.record import Result
from deployer.core.rollouts import is_live
from deployer.core.types import Policy, Release

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from deployer.core.record import Hold, Record

INVALID = 3
"""The exit code of a command that met a config which cannot be used, as of `deployer validate`."""

REFUSED = 7
"""The exit code of a wish that makes sense, but that is not granted now."""

USAGE = 64
"""The exit code of a wish that makes no sense as it was typed."""

_LISTED = 8
"""Good releases that a refusal lists. Who wants an older one finds it with `deployer history`."""

_SHORTEST_COMMIT = 4
"""Digits: as few as git itself takes."""

_COMMIT = re.compile(rf"[0-9a-f]{{{_SHORTEST_COMMIT},64}}")
_NUMBER = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class GoodRelease:
    """A release, the rollout that made it good, when, by which policy, and with which nonce it was sent."""

    rollout: str
    release: Release
    at: datetime
    policy: Policy = field(default_factory=Policy)
    nonce: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """Write these facts; none means that nothing has to be done, or (`under_way`) that it is being done.

    `target` is the release that it is about.
    """

    events: tuple[Event, ...]
    message: str
    target: Release | None = None
    under_way: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Declined:
    """Do nothing. `why` is for the person, with the next step."""

    why: str
    exit_code: int = REFUSED


Answer = Accepted | Declined
"""What becomes of a wish."""


def pause(record: Record, *, until: datetime | None, actor: str, reason: str, now: datetime) -> Answer:
    """Stop the automation, until a time or until `resume`. A second pause replaces the first."""
    name = record.environment
    if not reason:
        return Declined(why=_no_reason(f"deployer pause {name}"), exit_code=USAGE)
    if until is not None and until <= now:
        return Declined(
            why=f"{name} cannot be paused until {_when(until)}: that is over. Give a later time.",
            exit_code=USAGE,
        )
    how_long = f"until {_when(until)}" if until else "until somebody resumes it"
    goes_on = f" {record.rollout.id} is in flight and goes on to its end." if record.rollout else ""
    return Accepted(
        events=(Paused(at=now, actor=actor, reason=reason, until=until),),
        message=f"{name} is paused {how_long}: nothing new is deployed, and drift is not healed.{goes_on}"
        f" `deployer resume {name}` ends it.",
    )


def resume(record: Record, *, actor: str, reason: str, now: datetime) -> Answer:
    """Let the automation go on."""
    name = record.environment
    if record.paused is None:
        return Accepted(events=(), message=f"{name} is not paused: nothing to do.")
    return Accepted(
        events=(Resumed(at=now, actor=actor, reason=reason),),
        message=f"{name} is no longer paused: what git wants is looked at now.",
    )


def retry(record: Record, *, actor: str, reason: str, now: datetime) -> Answer:
    """Try what git wants once more: held, failed, without room, or no longer healed."""
    name, seen = record.environment, record.seen
    if not reason:
        return Declined(why=_no_reason(f"deployer retry {name}"), exit_code=USAGE)
    if seen is None:
        return Declined(why=f"Git has said nothing yet that could be deployed to {name}. Push a config.")
    if record.refused is not None and record.refused.is_rewrite and record.refused.commit is not None:
        commit = record.refused.commit
        return Accepted(
            events=(RetryAsked(at=now, actor=actor, reason=reason, digest="", accepts=commit),),
            message=f"{commit[:7]} is deployed, although it does not follow from {sentences.name(seen)}.",
        )
    if record.refused is not None:
        return Declined(
            why=f"What git wants cannot be deployed, so there is nothing to retry: {record.refused.message}"
        )
    rollout = record.rollout
    if rollout is not None and rollout.kind is Kind.DEPLOY and rollout.release.digest == seen.digest:
        return Declined(why=f"{rollout.id} is trying {sentences.name(seen)} right now: {_see(name)}.")
    what = _failing(record, seen)
    if what is None:
        return Declined(
            why=f"Nothing is held or failed in {name}, so there is nothing to retry: {_see(name)}."
        )
    after = f" when {rollout.id} has ended" if rollout is not None else ""
    if record.paused is not None:
        after += f", after `deployer resume {name}`: it is paused"
    return Accepted(
        events=(RetryAsked(at=now, actor=actor, reason=reason, digest=seen.digest),),
        message=f"{what} is tried once more{after}. If it fails, it is held.",
        target=seen,
    )


def rollback(
    record: Record,
    *,
    to: str | None,
    releases: Sequence[GoodRelease],
    actor: str,
    reason: str,
    now: datetime,
) -> Answer:
    """Go back to a good release: the one that `to` names, or the last one before what runs.

    `releases` are the environment's good ones, newest first. `to` is a rollout (`staging#3`, `3`), the
    beginning of a commit, or a digest.
    """
    name = record.environment
    under_way = _under_way(record)
    if to is None and under_way is not None:
        return _already_under_way(name, under_way)
    chosen = _named(name, to, releases) if to is not None else _way_back(record, releases)
    if isinstance(chosen, Declined):
        return chosen
    target = chosen.release
    if under_way is not None and under_way.digest == target.digest:
        return _already_under_way(name, target)
    hold = record.hold_of(target.digest)
    if hold is not None:
        return Declined(why=_is_held(record, hold))
    if is_live(record, target.digest) and record.drift is None:
        message = f"{sentences.name(target)} is what {name} runs: nothing to do."
        message += "" if to else " `--to` names an older one."
        return Accepted(events=(), message=message, target=target)
    asked = RollbackAsked(
        at=now,
        actor=actor,
        reason=reason,
        release=target,
        made_good=chosen.rollout,
        policy=chosen.policy,
        nonce=chosen.nonce,
    )
    return Accepted(events=(asked,), message=_rolling_back(record, target), target=target)


def _failing(record: Record, seen: Release) -> str | None:
    """What a retry is about, as the subject of a sentence; None if all is well."""
    last = record.last
    if record.hold_of(seen.digest) is not None:
        return f"{sentences.name(seen)}, which is held,"
    if record.starved is not None and record.starved.digest == seen.digest:
        return f"{sentences.name(seen)}, which found no room,"
    if last is not None and last.result is Result.FAILED:
        return f"What failed as {last.id}"
    if record.drift is not None and is_live(record, seen.digest):
        return f"The heal of {record.environment}"
    return None


def _under_way(record: Record) -> Release | None:
    """Where a rollback that was begun or asked for leads."""
    if record.asked is not None:
        return record.asked.release
    rollout = record.rollout
    return rollout.release if rollout is not None and rollout.kind is Kind.ROLLBACK else None


def _already_under_way(name: str, target: Release) -> Accepted:
    message = f"{name} is on its way back to {sentences.name(target)} already: {_see(name)}."
    message = f"{message} `--to` names another release."
    return Accepted(events=(), message=message, target=target, under_way=True)


def _way_back(record: Record, releases: Sequence[GoodRelease]) -> GoodRelease | Declined:
    """The release before what runs, or before what just failed, also if the rollback is done already."""
    name, good = record.environment, record.good
    if good is None or record.good_rollout is None or record.good_at is None:
        return Declined(
            why=f"There is no good release of {name} to go back to: nothing became good here yet. Push a fix."
        )
    rollout, last = record.rollout, record.last
    if rollout is not None:
        is_good_left = rollout.kind is Kind.DEPLOY
    else:
        hold = record.hold_of(record.seen.digest) if record.seen is not None else None
        is_rolled_back = hold is not None and not hold.by_person
        is_good_left = is_rolled_back or (last is not None and last.result is Result.FAILED)
    if is_good_left:
        return GoodRelease(
            rollout=record.good_rollout,
            release=good,
            at=record.good_at,
            policy=record.good_policy,
            nonce=record.good_nonce,
        )
    for one in releases:
        if one.release.digest != good.digest and record.hold_of(one.release.digest) is None:
            return one
    return Declined(
        why=f"There is no other good release of {name} than {sentences.name(good)}, which it runs."
        f"{_which_are_held(record, releases)} Push what should run instead."
    )


def _which_are_held(record: Record, releases: Sequence[GoodRelease]) -> str:
    held = [one for one in _distinct(releases) if record.hold_of(one.release.digest) is not None]
    return f" Held are:\n{_listed(held)}\n" if held else ""


def find_good(name: str, to: str, releases: Sequence[GoodRelease]) -> GoodRelease | None:
    """The good release of an environment that `to` names: a rollout, its number, a commit or a digest.

    None if there is none, or more than one that it could be.
    """
    found = _candidates(name, to, releases)
    return found[0] if len(found) == 1 else None


def _candidates(name: str, to: str, releases: Sequence[GoodRelease]) -> list[GoodRelease]:
    return _by_rollout(name, to, releases) or _distinct(_by_content(to.lower(), releases))


def _named(name: str, to: str, releases: Sequence[GoodRelease]) -> GoodRelease | Declined:
    """The good release that a person means."""
    found = _candidates(name, to, releases)
    if len(found) == 1:
        return found[0]
    if found:
        why = (
            f"'{to}' could be any of these good releases of {name}; name it by its rollout:\n{_listed(found)}"
        )
    elif releases:
        why = f"{name} has no good release '{to}'. It has these:\n{_listed(_distinct(releases))}"
    else:
        why = f"{name} has no good release '{to}', nor any other: nothing became good here yet. Push a fix."
    return Declined(why=why, exit_code=USAGE)


def _by_rollout(name: str, to: str, releases: Sequence[GoodRelease]) -> list[GoodRelease]:
    rollout = f"{name}#{int(to)}" if _NUMBER.fullmatch(to) else to
    return [one for one in releases if one.rollout == rollout][:1]


def _by_content(to: str, releases: Sequence[GoodRelease]) -> Iterable[GoodRelease]:
    if to.startswith("sha256:"):
        return [one for one in releases if one.release.digest.startswith(to) and to != "sha256:"]
    if _COMMIT.fullmatch(to):
        return [one for one in releases if one.release.revision.commit.startswith(to)]
    return []


def _distinct(releases: Iterable[GoodRelease]) -> list[GoodRelease]:
    """The newest of each digest, in the order given."""
    found: dict[str, GoodRelease] = {}
    for one in releases:
        found.setdefault(one.release.digest, one)
    return list(found.values())


def _listed(releases: Sequence[GoodRelease]) -> str:
    lines = [
        f"  {one.rollout}  {sentences.name(one.release)}, good since {_when(one.at)}"
        for one in releases[:_LISTED]
    ]
    if len(releases) > _LISTED:
        lines.append(f"  and {len(releases) - _LISTED} more: see `deployer history`")
    return "\n".join(lines)


def _is_held(record: Record, hold: Hold) -> str:
    name = record.environment
    seen = record.seen
    is_wanted = seen is not None and seen.digest == hold.digest
    how = (
        f"`deployer retry {name} --reason ...` tries it once more"
        if is_wanted
        else f"ask git for it, then `deployer retry {name} --reason ...` tries it once more"
    )
    return f"{sentences.name(hold.release)} is held since {_when(hold.since)} ({hold.reason}): {how}."


def _rolling_back(record: Record, target: Release) -> str:
    name, seen = record.environment, record.seen
    begin = f"{name} goes back to {sentences.name(target)}."
    uris = ", ".join(pinned.shown(uri) for uri in pinned.changeable(target))
    if uris:
        begin += f" Its code may not be what it was: {uris} names no version or commit."
    if seen is None or seen.digest == target.digest:
        return begin
    held = f"{sentences.name(seen)}, which git wants, is held until git says something else"
    return f"{begin} {held}; `deployer retry {name} --reason ...` undoes that."


def _no_reason(command: str) -> str:
    return f'A reason is needed, for those who read the log later: `{command} --reason "..."`.'


def _see(name: str) -> str:
    return f"see `deployer status {name}`"


def _when(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
