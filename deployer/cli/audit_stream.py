"""The audit log as a stream: all that is there, and with --follow what happens from then on.

Owns in which order events come, and the waiting. Must not know how they are printed, nor where they are read
from. Invariant: each event that fits comes once, also where its rollout ended while the log was read; a
stream that waits ends as soon as nobody reads it any more; and that the log cannot be read for a while is
said once, and loses nothing.
"""

from __future__ import annotations

import errno
import logging
import select
import sys
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from deployer.cli import audit_log
from deployer.cli.client import NotNow
from deployer.core.cdevents import Past, pasts
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployer.cli.audit_log import Log, Wish

T = TypeVar("T")

_UNFINISHED = "in_progress"
"""The result of a rollout that has none yet."""


class Patience:
    """Reads, and with --follow goes on trying when that does not work, once it has worked."""

    def __init__(self, log: Log, *, is_patient: bool) -> None:
        """Without patience every read raises what it raises."""
        # Ctrl-C within a read closes its connection, which the pool would tell of with a traceback.
        logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
        self._log = log
        self._is_patient = is_patient
        self._has_read = False

    def __call__(self, read: Callable[[], T]) -> T:
        """Read once, or until it works: what is said stands on stderr."""
        is_told = False
        while True:
            try:
                found = read()
            except NotNow as error:
                if not (self._is_patient and self._has_read):
                    raise
                if not is_told:
                    click.echo(f"{plain(error.message)} It is tried again until Ctrl-C.", err=True)
                is_told = True
                self.pause()
            else:
                if is_told:
                    click.echo("The log can be read again: it goes on where it stopped.", err=True)
                self._has_read = True
                return found

    def pause(self) -> None:
        """Wait, and raise OSError (EPIPE) if nobody reads what is printed any more."""
        self._log.rest()
        wait_for_reader(self._log.pause_seconds)


class Stream:
    """The events that fit, look by look.

    Of a rollout that is in progress it is not known how it will end, so where a result is asked for its
    events come together, when it has ended so.
    """

    def __init__(self, log: Log, wish: Wish, read: Patience) -> None:
        """Nothing was read yet."""
        self._log = log
        self._wish = wish
        self._read = read
        self._place = 0
        self._unfinished: frozenset[str] = frozenset()

    def news(self) -> Iterator[dict[str, Any]]:
        """What is new since the last look, oldest first; at first all that is there."""
        environment = self._wish.environment
        newest = self._read(partial(self._log.newest, environment))
        if newest < self._place:
            click.echo(
                "The log is shorter than it was: another store is there, or a backup of it. What follows is"
                " what is new from here on.",
                err=True,
            )
            self._place = newest
        if newest == self._place:
            return
        # After the newest event is known: what had ended by that event is not among these.
        unfinished = self._in_progress()
        for rollout in sorted(self._unfinished - unfinished):
            if self._wish.rollout in {None, rollout}:
                yield from self._events(replace(self._wish, rollout=rollout), 0, self._place)
        for item in self._events(self._wish, self._place, newest):
            if item["rollout"] not in unfinished:
                yield item
        self._place, self._unfinished = newest, unfinished

    def _in_progress(self) -> frozenset[str]:
        if self._wish.result in {None, _UNFINISHED}:
            return frozenset()
        return self._read(partial(self._log.unfinished, self._wish.environment))

    def _events(self, wish: Wish, after: int, last: int) -> Iterator[dict[str, Any]]:
        """Those of this part of the log, page by page."""
        place = after
        while items := self._read(partial(self._log.between, wish, place, last)):
            yield from items
            if len(items) < audit_log.PAGE:
                return
            place = items[-1]["id"]


class Ledger:
    """What is known of rollouts and of those before them, read when it is asked for."""

    def __init__(self, log: Log, read: Patience) -> None:
        """Nothing was read yet."""
        self._log = log
        self._read = read
        self._history: dict[str, list[dict[str, Any]]] = {}
        self._pasts: dict[str, Past] = {}

    def past(self, rollout: str) -> Past | None:
        """What is known of a rollout of this id; None if there is none."""
        known = self._pasts.get(rollout)
        if known is None or not known.is_over:
            self._renew(rollout.rpartition("#")[0])
        return self._pasts.get(rollout)

    def _renew(self, environment: str) -> None:
        """Read those that are new, and those that were not over. Where one was, all before it were."""
        new: list[dict[str, Any]] = []
        before: str | None = None
        while True:
            page, before = self._read(partial(self._log.rollouts, environment, before))
            known = [self._is_over(one["id"]) for one in page]
            new += page[: known.index(True)] if True in known else page
            if True in known or before is None:
                break
        kept = [one for one in self._history.get(environment, []) if self._is_over(one["id"])]
        self._history[environment] = kept + [_short(one) for one in reversed(new)]
        self._pasts |= pasts(self._history[environment])

    def _is_over(self, rollout: str) -> bool:
        return rollout in self._pasts and self._pasts[rollout].is_over


def wait_for_reader(seconds: float) -> None:
    """Wait so long, but no longer than somebody reads stdout. Raises OSError (EPIPE) when nobody does.

    A write would say so too, but where nothing happens there is none, and `... --follow | head` would stay.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        # It is closed, or no file: in a test, or where a program runs the command.
        time.sleep(seconds)
        return
    waiting = select.poll()
    # No event is asked for: errors and a hang-up are always told.
    waiting.register(descriptor, 0)
    if waiting.poll(seconds * 1000):
        raise BrokenPipeError(errno.EPIPE, "nobody reads what is printed")


def _short(rollout: dict[str, Any]) -> dict[str, Any]:
    """What is made of it: there may be 100,000."""
    release = rollout["release"]
    return {
        "id": rollout["id"],
        "kind": rollout["kind"],
        "result": rollout["result"],
        "release": {"revision": release["revision"], "digest": release["digest"]},
    }
