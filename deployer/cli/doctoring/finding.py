"""What a check is, what it finds, and how many of them run at once.

Owns the deadlines: a check that waits for a server that never answers costs its own time and nobody else's.
Must not know what is checked. Invariant: every check ends in at least one finding, in the order in which the
checks were given, whatever it raises and however long it hangs.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from deployer.core.durations import render

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_AT_ONCE = 64
"""Checks that run at the same time: threads that mostly wait."""

GROUPS = ("settings", "git", "files", "clusters", "clock", "disk", "store", "daemon")
"""What `--only` may name, in the order in which they are printed."""


class State(StrEnum):
    """How a thing is. Only `fail` makes the command fail; `skip`: it could not, or need not be looked at."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what is (`says`, without a full stop), and what to do about it (`next_step`, sentences).

    `seconds` is how long the thing took to answer, where that tells something.
    """

    state: State
    says: str
    next_step: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A question: `ask` runs in a thread of its own, and is given up after `limit` seconds."""

    group: str
    subject: str
    limit: float
    ask: Callable[[], Iterable[Finding]]


def ok(says: str, *, seconds: float | None = None) -> Finding:
    """It is as it should be."""
    return Finding(state=State.OK, says=says, seconds=seconds)


def warn(says: str, next_step: str) -> Finding:
    """It works, and somebody should know."""
    return Finding(state=State.WARN, says=says, next_step=next_step)


def fail(says: str, next_step: str) -> Finding:
    """It does not work, or must not stay so."""
    return Finding(state=State.FAIL, says=says, next_step=next_step)


def skip(says: str) -> Finding:
    """Nothing was found out, and nothing needs to be done about that."""
    return Finding(state=State.SKIP, says=says)


def run(checks: Sequence[Check], *, at_once: int = _AT_ONCE) -> Iterator[tuple[Check, list[Finding]]]:
    """Run all of them, and yield each with what it found, in their order, as soon as it is known."""
    answers: queue.SimpleQueue[tuple[int, list[Finding]]] = queue.SimpleQueue()
    found: dict[int, list[Finding]] = {}
    ends: dict[int, float] = {}
    waiting = deque(range(len(checks)))
    for wanted, check in enumerate(checks):
        while wanted not in found:
            now = time.monotonic()
            for late in [number for number, end in ends.items() if end <= now]:
                found[late] = [_late(checks[late])]
                del ends[late]
            while waiting and len(ends) < at_once:
                number = waiting.popleft()
                _start(number, checks[number], answers)
                ends[number] = now + checks[number].limit
            if wanted in found:
                break
            try:
                number, findings = answers.get(timeout=max(0.0, min(ends.values()) - now))
            except queue.Empty:
                continue
            # What comes after its deadline was answered for already.
            if ends.pop(number, None) is not None:
                found[number] = findings
        yield check, found.pop(wanted)


def _start(number: int, check: Check, answers: queue.SimpleQueue[tuple[int, list[Finding]]]) -> None:
    def ask() -> None:
        try:
            findings = list(check.ask())
        except Exception as error:  # noqa: BLE001 - one check that breaks must not take the others along
            findings = [_broken(error)]
        answers.put((number, findings))

    # A daemon thread: one that hangs for ever (a dead network disk) does not keep the command from ending.
    threading.Thread(target=ask, name=f"doctor-{number}", daemon=True).start()


def _late(check: Check) -> Finding:
    return fail(
        f"it is not known: no end within {render(check.limit)}",
        "Check the server, the network or the disk behind it, then type `deployer doctor` again.",
    )


def _broken(error: Exception) -> Finding:
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return fail(
            f"it cannot be looked at:{where} {error.strerror or type(error).__name__}",
            "Type this as the user that the daemon runs as, or correct the permissions.",
        )
    # Without its text, which may quote what was read.
    return fail(
        f"the check itself failed ({type(error).__name__})", "That is a fault of deployer: please report it."
    )
