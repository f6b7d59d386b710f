"""The live picture at a terminal: environments, their applications and deployments, how far a rollout is.

Owns what is drawn, and the drawing over what was drawn before. Must not know where statuses come from.
Invariant: text from git and Serve is made harmless, and is never read as markup; a frame is never higher or
wider than the terminal, but for the last one, which stays; and the cursor is shown again on every way out.

The only module that imports rich.
"""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.text import Text
from rich.tree import Tree

from deployer.cli.reads import newest
from deployer.cli.tables import short
from deployer.core import sentences
from deployer.core.durations import render
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from rich.console import RenderableType

_ENDS = (signal.SIGTERM, signal.SIGHUP)
"""As when a session is closed, or a machine goes down."""

_HIDE, _SHOW, _ERASE_BELOW = "\x1b[?25l", "\x1b[?25h", "\x1b[J"

_BAR = 30
"""Characters of the bar, where there is room."""

_LOOKED_BACK_ON = 10
"""So many good rollouts of one kind tell how long the next one takes, as for `deployer plan`."""

_GOOD = frozenset({"Healthy", "Synced", "RUNNING", "HEALTHY", "good"})
_BAD = frozenset({"Degraded", "Missing", "DEPLOY_FAILED", "UNHEALTHY", "failed"})
_DOUBTFUL = frozenset(
    {"OutOfSync", "Unknown", "held", "paused", "waiting", "orphaned", "superseded", "cancelled"}
)


class Signals:
    """Signals that end the process: Ctrl-C, SIGTERM, SIGHUP.

    A mask would not do: the system gives a signal to any thread that takes it, and Python then runs the
    handler in the main thread, masked or not.
    """

    def __init__(self) -> None:
        """Nothing is held, and nothing has come."""
        self._is_held = False
        self._came: list[Callable[[], object]] = []

    @contextmanager
    def held(self) -> Iterator[None]:
        """What comes inside the block, ends the process at its end."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            if self._came:
                self._came.pop(0)()

    @contextmanager
    def leaving_well(self) -> Iterator[None]:
        """The signals end the block as an exception does, with the exit code that a shell would give."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def end(number: int, frame: FrameType | None) -> None:
            handler = before[number]
            if number == signal.SIGINT and callable(handler):
                handler(number, frame)
            sys.exit(128 + number)

        def come(number: int, frame: FrameType | None) -> None:
            if self._is_held:
                self._came.append(partial(end, number, frame))
            else:
                end(number, frame)

        # Whoever runs this in the background ignores Ctrl-C, and so it stays.
        is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        numbers: list[int] = [*_ENDS] if is_ignored else [*_ENDS, signal.SIGINT]
        before = {number: signal.getsignal(number) for number in numbers}
        try:
            for number in numbers:
                signal.signal(number, come)
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Picture:
    """Draws each frame over the one before. Use it as `with drawing(...)`."""

    def __init__(
        self,
        stream: TextIO,
        rollouts: Callable[[dict[str, Any]], list[dict[str, Any]]] = newest,
        signals: Signals | None = None,
    ) -> None:
        """Draw on this terminal. `rollouts` gives the newest ones of the environment of a status."""
        self._stream = stream
        self._rollouts = rollouts
        self._console = Console(
            file=stream,
            force_terminal=True,
            force_interactive=True,
            markup=False,
            emoji=False,
            highlight=False,
            soft_wrap=False,
        )
        self._states: Sequence[dict[str, Any]] = ()
        self._note = ""
        self._widths: list[int] = []
        self._signals = signals or Signals()

    def show(self, states: Sequence[dict[str, Any]], note: str = "") -> None:
        """This is the case now; `note` is a sentence about all of it."""
        self._states, self._note = states, note
        self._draw(self._console.height - 1)

    def trouble(self, message: str) -> None:
        """Nothing can be known now, and why."""
        self._note = message
        self._draw(self._console.height - 1)

    def finish(self) -> None:
        """Leave the last frame there, all of it."""
        if self._states or self._note:
            self._draw(None)
            self._stream.write("\n")

    def _draw(self, rows: int | None) -> None:
        """Draw over the frame before, at most so many rows; None is as many as it takes.

        All in one write, so that nobody sees half of it.
        """
        width = self._console.width
        with self._console.capture() as captured:
            self._console.print(self._frame(rows))
        lines = captured.get().rstrip("\n").split("\n")[:rows]
        # Where the terminal has become narrower, what was one line may be several by now.
        before = sum(max(1, -(-one // width)) for one in self._widths)
        up = f"\x1b[{before - 1}A" if before > 1 else ""
        widths = [Text.from_ansi(line).cell_len for line in lines]
        # Ctrl-C between the two would have the last frame drawn over what it does not know.
        with self._signals.held():
            self._stream.write(f"\r{up}{_ERASE_BELOW}" + "\n".join(lines))
            self._stream.flush()
            self._widths = widths

    def _frame(self, rows: int | None) -> RenderableType:
        now = datetime.now(UTC)
        notes = [_text(self._note, "yellow")] if self._note else []
        if rows is None or len(self._states) == 1:
            return Group(*(self._forms(state, now)[0] for state in self._states), *notes)
        # One row is for how many are left out.
        room = rows - sum(map(self._height, notes)) - 1
        order = sorted(range(len(self._states)), key=lambda index: _urgency(self._states[index]))
        urgent = sum(_urgency(state) != _CALM for state in self._states)
        drawn: dict[int, RenderableType] = {}
        for index in order:
            # Each of the urgent ones has a row at least, before one of them has more.
            urgent -= 1
            free = room - max(0, urgent)
            if free < 1:
                break
            forms = self._forms(self._states[index], now)
            drawn[index] = next((form for form in forms[:-1] if self._height(form) <= free), forms[-1])
            room -= self._height(drawn[index])
        if left_out := len(self._states) - len(drawn):
            notes.append(_text(f"and {left_out} more: make the window higher, or name one", "dim"))
        return Group(*(drawn[index] for index in sorted(drawn)), *notes)

    def _forms(self, state: dict[str, Any], now: datetime) -> tuple[RenderableType, ...]:
        """An environment as it is drawn, the largest form first; the last has one row."""
        heading = _heading(state)
        if len(self._states) > 1 and _urgency(state) == _CALM:
            return (heading,)
        brief = Tree(heading, guide_style="dim")
        for line in _progress(state, self._rollouts(state), now):
            brief.add(line)
        return (environment(state, self._rollouts(state), now), brief, heading)

    def _height(self, drawn: RenderableType) -> int:
        return len(self._console.render_lines(drawn, pad=False))


@contextmanager
def drawing(
    stream: TextIO, rollouts: Callable[[dict[str, Any]], list[dict[str, Any]]] = newest
) -> Iterator[Picture]:
    """Draw inside the `with` block; the last frame stays. A signal that ends the process shows the cursor."""
    signals = Signals()
    picture = Picture(stream, rollouts, signals)
    stream.write(_HIDE)
    stream.flush()
    try:
        with signals.leaving_well():
            try:
                yield picture
            finally:
                picture.finish()
    finally:
        stream.write(_SHOW)
        stream.flush()


def environment(state: dict[str, Any], rollouts: Sequence[dict[str, Any]], now: datetime) -> Tree:
    """One environment: its heading, the rollout, its applications, and what is said of it."""
    tree = Tree(_heading(state), guide_style="dim")
    for line in _progress(state, rollouts, now):
        tree.add(line)
    for app in state["apps"]:
        branch = tree.add(_serve(app["name"], app["status"], "", app["message"]))
        for deployment in app["deployments"]:
            target = deployment["target_replicas"]
            count = f"{deployment['running_replicas']}/{'?' if target is None else target}"
            branch.add(_serve(deployment["name"], deployment["status"], count, deployment["message"]))
    tree.add(_text(state["message"]))
    return tree


def expected(rollouts: Sequence[dict[str, Any]], kind: str) -> tuple[float, float] | None:
    """The shortest and the longest time, in seconds, of the newest good rollouts of a kind."""
    took = [
        one["took_seconds"]
        for one in rollouts
        if one["kind"] == kind and one["result"] == "good" and one["took_seconds"] is not None
    ][:_LOOKED_BACK_ON]
    return (min(took), max(took)) if took else None


def _heading(state: dict[str, Any]) -> Text:
    shown = state["live"] or state["wanted"]
    line = Text().append_text(_text(state["environment"], "bold"))
    for word in (state["sync"], state["health"], *(() if state["mode"] == "auto" else (state["mode"],))):
        line.append("  ").append_text(_word(word))
    if shown:
        line.append(f"  {short(shown['revision'])} ").append_text(_text(shown["subject"], "dim"))
    return _one_row(line)


def _progress(
    state: dict[str, Any], rollouts: Sequence[dict[str, Any]], now: datetime
) -> Iterator[RenderableType]:
    """The rollout in flight, how long it has taken and how long it may; or how the last one ended."""
    rollout = state["rollout"]
    if rollout is None:
        if rollouts:
            last = rollouts[0]
            took = "" if last["took_seconds"] is None else f" after {_took(last['took_seconds'])}"
            line = _text(f"{last['id']} {last['kind']}").append(" ").append_text(_word(last["result"]))
            line.append(took)
            yield _one_row(line)
        return
    seconds = max(0.0, (now - datetime.fromisoformat(rollout["started_at"])).total_seconds())
    span = expected(rollouts, rollout["kind"])
    line = Text(f"{rollout['id']} {rollout['kind']}: ").append_text(
        _text(rollout["phase"] or "", "bold cyan")
    )
    line.append(f", {render(int(seconds))}")
    if span is not None:
        line.append(f"; {typically(span)}")
    yield line
    if span is not None:
        # As long as the longest; full, and in the colour of doubt, where it takes longer than any before.
        yield ProgressBar(
            total=max(span[1], 1.0),
            completed=seconds,
            width=_BAR,
            complete_style="cyan",
            finished_style="yellow",
        )


def typically(span: tuple[float, float]) -> str:
    """In words: `typically 31 s to 2m10s`."""
    ends = [_took(end) for end in span]
    return f"typically {ends[0]}" if ends[0] == ends[1] else f"typically {ends[0]} to {ends[1]}"


def _took(seconds: float) -> str:
    return sentences.took(timedelta(seconds=seconds))


def _serve(name: str, status: str, count: str, message: str) -> Text:
    """In Serve's own words."""
    line = _text(name).append("  ").append_text(_word(status))
    if count:
        line.append(f"  {count}")
    if message:
        line.append("  ").append_text(_text(message, "dim"))
    return line


def _word(word: str) -> Text:
    styles = {"green": _GOOD, "red": _BAD, "yellow": _DOUBTFUL}
    return _text(word, next((style for style, words in styles.items() if word in words), "cyan"))


def _text(text: str, style: str = "") -> Text:
    """One harmless line."""
    return Text(" ".join(plain(str(text)).split()), style=style)


def _one_row(line: Text) -> Text:
    line.no_wrap, line.overflow = True, "ellipsis"
    return line


_IN_FLIGHT, _TROUBLED, _CALM = range(3)


def _urgency(state: dict[str, Any]) -> int:
    """What is drawn first, and larger, where there is no room for all."""
    if state["rollout"]:
        return _IN_FLIGHT
    is_calm = state["health"] == "Healthy" and state["sync"] == "Synced" and state["mode"] == "auto"
    return _CALM if is_calm else _TROUBLED
