"""The sentences that people read: each says what is, why, and what to do next.

Owns the wording, so that the log, the status, the pages and the messages say the same. Must not decide
anything. Invariant: one line, no secret values (the texts that come in are scrubbed already).
"""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING, assert_never

from deployer.core.durations import render
from deployer.core.events import DriftClass, Kind
from deployer.core.record import Result
from deployer.core.types import Absent, Invalid, NotRead, OnDrift, Rewritten, Unverified

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from deployer.core.gates import GateState
    from deployer.core.record import Finished, Hold, Record, Rollout
    from deployer.core.types import Policy, Release

_VERBS = {
    Kind.DEPLOY: "deploying",
    Kind.ROLLBACK: "rolling back to",
    Kind.RESTORE: "restoring",
    Kind.HEAL: "healing to",
}


def name(release: Release) -> str:
    """A release as people call it: `a1b2c3d "raise Mango price"`."""
    return f'{release.revision.short} "{release.revision.subject}"'


def sentence(text: str) -> str:
    """The text with a full stop, and a capital letter unless it begins with a file's name."""
    begin = text[:1].upper() if text.partition(" ")[0].isalpha() else text[:1]
    return ended(f"{begin}{text[1:]}")


def ended(text: str) -> str:
    """The text with a full stop, as it goes on behind a colon, or begins with a name."""
    return f"{text.rstrip('.')}."


def clock(at: datetime) -> str:
    """A time of day: `10:42 UTC`."""
    return f"{at:%H:%M} UTC"


def moment(at: datetime) -> str:
    """A time in a sentence: `2026-11-03 13:00:00 UTC`."""
    try:
        return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:
        # Its year in UTC is 0 or 10000.
        return at.isoformat(" ", "seconds")


def span(limit: timedelta) -> str:
    """A duration as it is written in a config: `1m30s`."""
    return render(limit.total_seconds())


def took(span: timedelta) -> str:
    """How long something took: `0.8 s`, `31 s`, `5m12s`."""
    seconds = span.total_seconds()
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - one digit more below 10
    return render(round(seconds))


def problems(invalid: Invalid) -> str:
    """Why a file cannot be deployed: the first problem, and how many more there are."""
    first = invalid.problems[0]
    more = len(invalid.problems) - 1
    tail = f" (and {more} more)" if more else ""
    return f"{first.place}: {first.sentence}{tail}"


def blind(why: str, record: Record) -> str:
    """The cluster cannot be seen. If git cannot be deployed either, that is said too: both want a person."""
    if record.rollout is not None:
        what = f"{record.rollout.id} goes on when it answers"
        return f"{sentence(why)} {what}; nothing is rolled back because of it."
    also = f" {sentence(record.refused.message)}" if record.refused else ""
    return f"{sentence(why)} Nothing is changed until it answers.{also}"


def progressing(rollout: Rollout, text: str) -> str:
    """A rollout is on its way."""
    return f"{_VERBS[rollout.kind]} {name(rollout.release)}: {text}"


def synced(release: Release, record: Record, restart: tuple[str, ...] = ()) -> str:
    """Git wants what is live. `restart` are options that only a restart of Serve would bring into effect."""
    live = record.good
    if live is None or live.revision.commit == release.revision.commit:
        what = f"{name(release)} is live."
    else:
        what = f"{name(release)} has the config that is live since {name(live)}."
    if not restart:
        return what
    return (
        f"{what} Needs a restart of Serve, which ignores such a change while it runs: {'; '.join(restart)}."
    )


def lost(record: Record, due: datetime) -> str:
    """The cluster lost what was brought to it, and is restored soon."""
    what = record.drift.what if record.drift else "The cluster lost its state."
    release = name(record.good) if record.good else "the current release"
    return f"{what} {release} is restored at {due:%H:%M:%S} UTC."


def drifted(record: Record, policy: Policy) -> str:
    """The cluster differs from the current release, and what becomes of it."""
    found = record.drift
    if found is None:
        return ""
    what = found.what
    if found.drift is DriftClass.SICK:
        logs = f"`deployer logs {record.environment}` may say why."
        return f"{what} Serve tries to start it again by itself; {logs}"
    if found.drift is DriftClass.UNKNOWN:
        return f"{what} Nothing is changed because of it."
    if record.paused is not None:
        return f"{what} It is not healed while the environment is paused."
    if policy.drift is not OnDrift.HEAL:
        return f"{what} The policy says `drift: {policy.drift.value}`, so it is left as it is."
    if not policy.heals_per_hour:
        return f"{what} The policy says `heals_per_hour: 0`, so it is left as it is."
    retry = f"`deployer retry {record.environment} --reason ...` heals it once more."
    times = "once" if len(record.repairs) == 1 else f"{len(record.repairs)} times"
    return (
        f"{what} It was healed or restored {times} within the hour, so it is left as it"
        f" is: somebody else changes this cluster. {retry}"
    )


def paused(record: Record) -> str:
    """A person stopped the automation."""
    pause = record.paused
    if pause is None:
        return ""
    until = f"until {pause.until:%Y-%m-%d %H:%M} UTC" if pause.until else "until somebody resumes it"
    why = f" ({pause.reason})" if pause.reason else ""
    return (
        f"Paused by {pause.actor} at {clock(pause.at)}{why}, {until}: nothing is deployed or healed."
        f" `deployer resume {record.environment}` ends it."
    )


def no_room(record: Record, due: datetime | None) -> str:
    """What git wants found no room on the cluster."""
    last = record.seen
    release = name(last) if last else "it"
    when = f"not before {clock(due)}, and " if due else ""
    tail = f" {_aftermath(record)}" if record.good else ""
    return (
        f"{release} found no room on the cluster and is tried again {when}when more resources are free;"
        f" `deployer retry {record.environment} --reason ...` tries at once.{tail}"
    )


def removes(release: Release, gone: tuple[str, ...]) -> str:
    """What git wants deletes most of what runs."""
    return (
        f"{name(release)} waits: it removes {', '.join(gone)}, and Serve would delete what it does not list."
        " If that is meant, say `allow: {delete: true}` in environment.yaml in that same commit."
    )


def obstacle(release: Release, why: str) -> str:
    """The PUT would harm applications of somebody else."""
    return f"{name(release)} waits: {why}"


def gated(release: Release, closed: Sequence[GateState]) -> str:
    """Gates are closed: the first with its evidence, the others by name."""
    first, *others = closed
    also = f" Also closed: {', '.join(gate.name for gate in others)}." if others else ""
    return f"{name(release)} waits for the gate {first.name}. {first.evidence}{also}"


def claims(release: Release, app: str, neighbour: str) -> str:
    """What git wants claims an application of another environment."""
    return (
        f"{name(release)} waits: `owns` in environment.yaml claims {app}, which belongs to environment"
        f" {neighbour} on the same cluster: take it out of one of the two."
    )


def held(hold: Hold, record: Record) -> str:
    """What git wants is held. Says what became of the cluster, since that is the first question."""
    retry = f"Push a fix, or `deployer retry {record.environment} --reason ...`."
    if hold.by_person:
        what = f"{hold.release.revision.short} was {hold.reason} at {clock(hold.since)} and is held."
        return f"{what} {_aftermath(record)} {retry}"
    return f"{_failed(hold.release, hold.since, hold.reason)} and is held. {_aftermath(record)} {retry}"


def stalled(last: Finished, record: Record) -> str:
    """The last rollout failed and nothing is held that explains it: the good release itself failed."""
    what = f"{_failed(last.release, last.finished_at, _why(last))}. {_aftermath(record)}"
    return (
        what
        if last.kind is not Kind.DEPLOY
        else f"{what} Push a commit, or `deployer retry {record.environment} --reason ...`."
    )


def not_repaired(last: Finished) -> str:
    """A heal or a restore failed, and Serve has not given up."""
    what = f"{_VERBS[last.kind].capitalize()} {name(last.release)} failed at {clock(last.finished_at)}"
    return f"{what} ({_why(last)}). Serve goes on with it by itself; where it gives up, it is tried again."


def not_admitted(wanted: Unverified | Rewritten, record: Record) -> str:
    """What git wants could be deployed, and must not be: it is not signed, or does not follow."""
    match wanted:
        case Unverified(revision=revision, why=why):
            return f"{revision.short} is not deployed: {why}"
        case Rewritten(revision=revision, why=why):
            retry = f"deployer retry {record.environment} --reason ..."
            return f"{revision.short} is not deployed: {why}. If that is meant, type `{retry}`."
        case _:
            assert_never(wanted)


def nothing_to_deploy(wanted: Invalid | Unverified | Rewritten | Absent | NotRead, record: Record) -> str:
    """Git is not known, has no config, or has one that cannot be read or must not be deployed."""
    match wanted:
        case Unverified() | Rewritten():
            what = sentence(not_admitted(wanted, record))
        case Absent(why=why) if record.rollouts:
            what = f"{sentence(why)} {record.environment} is orphaned: what runs stays."
        case Invalid():
            what = f"{wanted.revision.short} cannot be deployed: {problems(wanted)}. Push a fix."
        case Absent(why=why) | NotRead(why=why):
            what = sentence(why)
        case _:
            assert_never(wanted)
    return f"{what} {_aftermath(record)}"


def _failed(release: Release, at: datetime, why: str) -> str:
    return f"{release.revision.short} failed at {clock(at)} ({why})"


def _why(last: Finished) -> str:
    return last.failure.message if last.failure else "no reason was recorded"


def _aftermath(record: Record) -> str:
    """What the cluster runs now, after whatever went wrong."""
    last, good = record.last, record.good
    if last is None:
        return "Nothing was ever deployed here."
    if last.result is Result.GOOD:
        return f"{name(last.release)} is live."
    if last.kind is Kind.DEPLOY:
        if good is None:
            return "There is no good release to go back to."
        return f"The cluster was left on it; the last good release is {name(good)}."
    if last.kind in (Kind.HEAL, Kind.RESTORE):
        return f"{_VERBS[last.kind].capitalize()} {name(last.release)} failed ({_why(last)})."
    return (
        f"{_VERBS[last.kind].capitalize()} {name(last.release)} failed too ({_why(last)}):"
        f" the environment is DEGRADED and nothing is tried again until somebody pushes a commit or types"
        f" `deployer rollback {record.environment}`."
    )
