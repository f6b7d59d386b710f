"""How a command that goes on for a while shows what happens: a live picture at a terminal, else plain lines.

Owns the choice, the lines, and the records for scripts. Must not know what is waited for. Invariant: off a
terminal a line is printed when something changed, never because time passed; and rich is imported for a
picture only.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import click

from deployer.cli import context
from deployer.cli.reads import newest
from deployer.cli.waiting import Progress
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_FIGURES = re.compile(r"\d+(?:\.\d+)?(?: ?[smhd]\b)?")
"""`31 s`, `4m`, `3`: what changes while nothing happens."""

_TICKING = ("observed_at", "pass_number")
"""Fields of a status that change with each look at an environment in which nothing happened."""


class View(Protocol):
    """Shows statuses as they come."""

    def show(self, states: Sequence[dict[str, Any]], note: str = "") -> None:
        """This is the case now; `note` is a sentence about all of it."""

    def trouble(self, message: str) -> None:
        """Nothing can be known now, and why."""


class Lines:
    """One line for each change."""

    def __init__(self, *, err: bool) -> None:
        """Print them on stderr, or on stdout."""
        self._err = err
        self._progress: dict[str, Progress] = {}
        self._notes = _Notes()

    def show(self, states: Sequence[dict[str, Any]], note: str = "") -> None:
        """The line of each environment where there is another message or phase."""
        for state in states:
            name = state["environment"]
            line = self._progress.setdefault(name, Progress()).line(state)
            if line is not None:
                click.echo(f"{name}: {plain(line)}", err=self._err)
        self._notes.say(note)

    def trouble(self, message: str) -> None:
        """Said once, until it is over."""
        self._notes.say(message)


class Records:
    """One object for each change, for scripts: JSON lines, or documents of YAML."""

    def __init__(self, form: str) -> None:
        """`form` is json or yaml."""
        self._form = form
        self._last: dict[str, Any] = {}
        self._notes = _Notes()

    def show(self, states: Sequence[dict[str, Any]], note: str = "") -> None:
        """Each status that differs from the one before in more than figures that tick."""
        for state in states:
            steady = _steady(state)
            if self._last.get(state["environment"]) != steady:
                self._last[state["environment"]] = steady
                context.emit_line(state, self._form)
        self._notes.say(note)

    def trouble(self, message: str) -> None:
        """Said once, until it is over."""
        self._notes.say(message)


class _Notes:
    """Sentences on stderr: each one once, for as long as it holds, whatever figures in it tick."""

    def __init__(self) -> None:
        self._last = ""

    def say(self, note: str) -> None:
        shape = _FIGURES.sub("", note)
        if note and shape != self._last:
            click.echo(plain(note), err=True)
        self._last = shape


@contextmanager
def opened(
    *, err: bool, rollouts: Callable[[dict[str, Any]], list[dict[str, Any]]] = newest
) -> Iterator[View]:
    """A view on stderr or stdout inside the `with` block: live if a person can see it move.

    `rollouts` gives the newest ones of the environment of a status.
    """
    stream = sys.stderr if err else sys.stdout
    if not is_live(stream):
        yield Lines(err=err)
        return
    from deployer.cli.picture import drawing

    with drawing(stream, rollouts) as picture:
        yield picture


def is_live(stream: Any) -> bool:  # noqa: ANN401 - a text stream, or what a test put in its place
    """Whether this is a terminal on which a cursor can be moved, and lines can be drawn."""
    if os.environ.get("TERM", "") in {"", "dumb", "unknown"}:
        return False
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    return encoding == "utf8" and bool(stream.isatty())


def _steady(state: dict[str, Any]) -> dict[str, Any]:
    """What of a status is worth a record."""
    kept = {key: value for key, value in state.items() if key not in _TICKING}
    git = {key: value for key, value in state["git"].items() if key not in {"seen_at", "looks"}}
    return {**kept, "git": git, "policy": None, "message": _FIGURES.sub("0", state["message"])}
