"""Tells a person at a terminal what the daemon does, as it happens: one short line per step.

Owns the lines. Must not decide or change anything. Invariant: a line is printed when something changed,
never just because time passed; text from git and Serve is made harmless first.
"""

from __future__ import annotations

import re
import threading
from datetime import datetime
from typing import TYPE_CHECKING, assert_never

import click

from deployer.core import sentences
from deployer.core.events import (
    Applied,
    Approved,
    Cancelled,
    Checked,
    CommandRefused,
    DaemonStarted,
    DaemonStopped,
    Drifted,
    DriftEnded,
    Event,
    Failed,
    Good,
    Healthy,
    Held,
    Kind,
    LogKept,
    LostSight,
    Measured,
    Observed,
    Paused,
    Promoted,
    PromotionAsked,
    PromotionFailed,
    Proposed,
    Refused,
    RegainedSight,
    Rejected,
    Resubmitted,
    Resumed,
    RetryAsked,
    RollbackAsked,
    Seen,
    Started,
    StoreRestored,
    Superseded,
    SyncAsked,
    TokenCreated,
    TokenRevoked,
)
from deployer.core.scrub import plain
from deployer.core.telling import says

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from deployer.core.record import Record
    from deployer.core.status import Status

_COLOURS = {
    "FAILED": "red",
    "refused": "red",
    "rejected": "red",
    "held": "yellow",
    "drift": "yellow",
    "good": "green",
    "healthy": "green",
}


_WISHES = {
    "approved": "approved",
    "rejected": "rejected",
    "sync_asked": "sync",
    "promotion_asked": "promote",
}
"""The words for what people want, by the event."""

_LENGTH_OF_TIME = re.compile(r"\b[0-9][0-9.]*\s?(?:ms|[dhms])(?:[0-9]+(?:ms|[hms]))*\b")
"""`3.0 s`, `31 s`, `5m12s`: what is left of a wait changes from look to look, and is no news."""


class Narrator:
    """A listener of the passes that prints."""

    def __init__(
        self,
        write: Callable[[str], None] = click.echo,
        *,
        environments: Collection[str] = (),
        on_settled: Callable[[], None] | None = None,
    ) -> None:
        """`on_settled` is called once, when each environment's first rollout has ended, well or badly."""
        self._write = write
        self._unsettled = set(environments)
        self._on_settled = on_settled
        self._ended: set[str] = set()
        self._width = max(map(len, environments), default=0)
        self._last: dict[str, str] = {}
        self._lock = threading.Lock()

    def recorded(self, record: Record, event: Event) -> None:
        """Say what became durable; `record` is the one before it."""
        line = _line(record, event)
        if line is None:
            return
        self._last.pop(record.environment, None)
        self._say(record.environment, *line)
        if isinstance(event, Good) or (isinstance(event, Failed) and record.good is None):
            self._ended.add(record.environment)

    def observed(self, status: Status) -> None:
        """Say how far it is, when that changed."""
        news = _LENGTH_OF_TIME.sub("", status.message)
        if self._last.get(status.environment) == news:
            return
        self._last[status.environment] = news
        rollout = status.record.rollout
        if rollout is not None:
            # The lines above this one have said which release it is.
            text = status.message.removeprefix(sentences.progressing(rollout, ""))
            self._say(status.environment, "waiting", text)
            return
        self._say(status.environment, "status", status.message)
        if status.environment in self._ended:
            self._settle(status.environment)

    def _settle(self, environment: str) -> None:
        with self._lock:
            is_last = self._unsettled == {environment}
            self._unsettled.discard(environment)
        if is_last and self._on_settled is not None:
            self._on_settled()

    def _say(self, environment: str, word: str, text: str) -> None:
        now = f"{datetime.now().astimezone():%H:%M:%S}"
        colour = _COLOURS.get(word)
        shown = click.style(f"{word:<9}", fg=colour) if colour else f"{word:<9}"
        with self._lock:
            self._write(f"{now}  {environment:<{self._width}}  {shown} {' '.join(plain(text).split())}")


def _line(record: Record, event: Event) -> tuple[str, str] | None:
    """Choose the word and the text for a fact; `record` is the one before it. None: the status says it."""
    rollout = record.rollout
    match event:
        case Seen(release=release) if record.good is not None and record.good.digest == release.digest:
            return None
        case Seen(release=release, notes=notes):
            return "fetched", " ".join(
                (f"{sentences.name(release)} by {release.revision.author.name}.", *notes)
            )
        case Refused(message=message):
            return "refused", f"{message} What runs is not touched."
        case Started(kind=kind, release=release, plan=plan):
            text = f"{event.rollout} {sentences.name(release)}: {plan}"
            return ("plan" if kind is Kind.DEPLOY else kind.value), text
        case Resubmitted(cause=cause):
            return "again", f"the config is sent once more: {cause}"
        case Applied(read_back=True):
            return "applied", "found on the cluster; it need not be sent again"
        case Applied():
            return "applied", "the cluster took the config; waiting until it is healthy"
        case LostSight(why=why):
            return "no sight", f"{why} The deadlines stand still."
        case RegainedSight():
            return "sight", "the cluster answers again"
        case Observed() | Measured():
            return None
        case Healthy():
            return "healthy", "every application RUNNING, every deployment HEALTHY, and stayed so"
        case Checked(passed=passed, message=message):
            return "check", f"{'passed' if passed else 'failed'}: {message}"
        case Good():
            took = f" after {sentences.took(event.at - rollout.started_at)}" if rollout else ""
            what = sentences.name(rollout.release) if rollout else event.rollout
            again = " again" if rollout and rollout.kind is not Kind.DEPLOY else ""
            return "good", f"{what} is live{again}{took}"
        case Failed(failure=failure):
            return "FAILED", failure.message
        case Held():
            last = record.last
            what = last.release.revision.short if last else event.rollout
            return "held", f"{what} is not tried again; the next new config deploys by itself"
        case LogKept(source=source, text=text, reason=reason):
            kept = f"the end of the log of replica {source.replica} is kept with the rollout"
            return "log", kept if text else f"the log of replica {source.replica} could not be had: {reason}"
        case Superseded(by=by):
            return "overtaken", f"by {by[:7]}"
        case Cancelled():
            return "cancelled", f"the rollout is ended {_by(event)}"
        case Drifted(what=what):
            return "drift", what
        case DriftEnded():
            return "drift", "the cluster runs the current release again"
        case Paused(until=until):
            return (
                "paused",
                f"{_by(event)} until {sentences.clock(until) if until else 'somebody resumes it'}",
            )
        case Resumed():
            return "resumed", _by(event)
        case RetryAsked():
            return "retry", f"asked {_by(event)}"
        case RollbackAsked(release=release):
            return "rollback", f"to {sentences.name(release)}, asked {_by(event)}"
        case Approved() | Rejected() | SyncAsked() | PromotionAsked():
            return _WISHES[event.type], f"{says(event).removesuffix('.')}, {_by(event)}"
        case Promoted() | Proposed() | PromotionFailed():
            return "promote", says(event)
        case CommandRefused():
            return "refused", f"{says(event).removesuffix('.')}, {_by(event)}"
        case DaemonStarted() | DaemonStopped() | TokenCreated() | TokenRevoked() | StoreRestored():
            return "daemon", says(event)
        case _:
            assert_never(event)


def _by(event: Event) -> str:
    """Say who did it, and why."""
    return f"by {event.actor}" + (f" ({event.reason})" if event.reason else "")
