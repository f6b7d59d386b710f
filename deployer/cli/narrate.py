"""Tells a person at a terminal what the daemon does, as it happens: one short line per step.

Owns the lines. Must not decide or change anything. Invariant: a line is printed when something changed,
never just because time passed; text from git and Serve is made harmless first.
"""

from __future__ import annotations

import threading
from datetime import datetime
from typing import TYPE_CHECKING, assert_never

import click

from deployer.core import sentences
from deployer.core.events import (
    Applied,
    Event,
    Failed,
    Good,
    Healthy,
    Held,
    Kind,
    LostSight,
    Refused,
    RegainedSight,
    Resubmitted,
    Seen,
    Started,
    Superseded,
)
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.core.record import Record
    from deployer.core.status import Status

_COLOURS = {"FAILED": "red", "held": "yellow", "refused": "red", "good": "green", "healthy": "green"}


class Narrator:
    """A listener of the passes that prints. `on_good` is called after the line that ends a rollout well."""

    def __init__(
        self, write: Callable[[str], None] = click.echo, on_settled: Callable[[], None] | None = None
    ) -> None:
        """`on_settled` is called once, after the first rollout that ended, well or badly."""
        self._write = write
        self._on_settled = on_settled
        self._last: dict[str, str] = {}
        self._lock = threading.Lock()

    def recorded(self, record: Record, event: Event) -> None:
        """Say what became durable."""
        word, text = _line(record, event)
        self._last.pop(record.environment, None)
        self._say(record.environment, word, text)
        ended = isinstance(event, Good) or (isinstance(event, Failed) and record.good is None)
        if ended and self._on_settled is not None:
            on_settled, self._on_settled = self._on_settled, None
            on_settled()

    def observed(self, status: Status) -> None:
        """Say how far it is, when that changed."""
        if self._last.get(status.environment) == status.message:
            return
        self._last[status.environment] = status.message
        rollout = status.record.rollout
        if rollout is None:
            self._say(status.environment, "status", status.message)
        else:
            # The lines above this one have said which release it is.
            text = status.message.removeprefix(sentences.progressing(rollout, ""))
            self._say(status.environment, "waiting", text)

    def _say(self, environment: str, word: str, text: str) -> None:
        now = f"{datetime.now().astimezone():%H:%M:%S}"
        colour = _COLOURS.get(word)
        shown = click.style(f"{word:<9}", fg=colour) if colour else f"{word:<9}"
        with self._lock:
            self._write(f"{now}  {environment}  {shown} {' '.join(plain(text).split())}")


def _line(record: Record, event: Event) -> tuple[str, str]:
    """Choose the word and the text for a fact; `record` is the one before it."""
    rollout = record.rollout
    match event:
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
        case Healthy():
            return "healthy", "every application RUNNING, every deployment HEALTHY"
        case Good():
            took = f" after {sentences.took(event.at - rollout.started_at)}" if rollout else ""
            what = sentences.name(rollout.release) if rollout else event.rollout
            again = " again" if rollout and rollout.kind is Kind.ROLLBACK else ""
            return "good", f"{what} is live{again}{took}"
        case Failed(failure=failure):
            return "FAILED", failure.message
        case Held():
            last = record.last
            what = last.release.revision.short if last else event.rollout
            return "held", f"{what} is not tried again; the next new config deploys by itself"
        case Superseded(by=by):
            return "overtaken", f"by {by[:7]}"
        case _:
            assert_never(event)
