"""The sentences that people read: each says what is, why, and what to do next.

Owns the wording, so that the log, the status, the pages and the messages say the same. Must not decide
anything. Invariant: one line, no secret values (the texts that come in are scrubbed already).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from deployer.core.durations import render
from deployer.core.events import Kind
from deployer.core.record import Result
from deployer.core.types import Absent, Invalid, NotRead

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from deployer.core.record import Finished, Hold, Record, Rollout
    from deployer.core.types import Release

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
    return f"{begin}{text[1:].rstrip('.')}."


def clock(at: datetime) -> str:
    """A time of day: `10:42 UTC`."""
    return f"{at:%H:%M} UTC"


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
    place = f"{first.file}:{first.line}:{first.column}" if first.line else first.file
    more = len(invalid.problems) - 1
    tail = f" (and {more} more)" if more else ""
    return f"{place}: {first.message}{tail}"


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


def synced(release: Release, record: Record) -> str:
    """Git wants what is live."""
    live = record.good
    if live is None or live.revision.commit == release.revision.commit:
        return f"{name(release)} is live."
    return f"{name(release)} has the config that is live since {name(live)}."


def lost(release: Release, apps: list[str]) -> str:
    """The cluster no longer runs what was brought to it."""
    return (
        f"{name(release)} was live, but the cluster no longer runs {', '.join(apps)}: Ray was restarted, or"
        " somebody deleted it. This version does not restore it by itself: push a change of the config."
    )


def held(hold: Hold, record: Record) -> str:
    """What git wants is held. Says what became of the cluster, since that is the first question."""
    return f"{_failed(hold.release, hold.since, hold.reason)} and is held. {_aftermath(record)}"


def stalled(last: Finished, record: Record) -> str:
    """The last rollout failed and nothing is held that explains it: the good release itself failed."""
    return f"{_failed(last.release, last.finished_at, _why(last))}. {_aftermath(record)}"


def nothing_to_deploy(wanted: Invalid | Absent | NotRead, record: Record) -> str:
    """Git is not known, has no config, or has one that cannot be read."""
    match wanted:
        case Invalid():
            what = f"{wanted.revision.short} cannot be deployed: {problems(wanted)}. Push a fix."
        case Absent(why=why) | NotRead(why=why):
            what = sentence(why)
        case _:
            assert_never(wanted)
    return f"{what} {_aftermath(record)}"


def foreign(release: Release, apps: tuple[str, ...]) -> str:
    """The PUT would delete applications of somebody else."""
    names = ", ".join(apps)
    return (
        f"{name(release)} waits: the cluster runs {names}, which this environment never deployed, and a PUT"
        f" would delete what it does not list. Add {names} to serve_config.yaml, or remove it from Serve."
    )


def _failed(release: Release, at: datetime, why: str) -> str:
    return f"{release.revision.short} failed at {clock(at)} ({why})"


def _why(last: Finished) -> str:
    return last.failure.message if last.failure else "no reason was recorded"


def _aftermath(record: Record) -> str:
    """What the cluster runs now, after whatever went wrong, and what a person can do."""
    last, good = record.last, record.good
    if last is None:
        return "Nothing was ever deployed here."
    if last.result is Result.GOOD:
        return f"{name(last.release)} is live. The next new config deploys by itself."
    if last.kind is Kind.DEPLOY:
        if good is None:
            return "There is no good release to go back to. Push a fix; it deploys by itself."
        return f"The cluster was left on it; the last good release is {name(good)}. Push a fix."
    return (
        f"{_VERBS[last.kind].capitalize()} {name(last.release)} failed too ({_why(last)}):"
        " the environment is DEGRADED and nothing is tried again until a new commit is pushed."
    )
