"""Runs one command and, when its own parent is gone, ends everything that the command started.

Owns the processes below it. Must not import anything but the standard library: it is started by its path,
in an interpreter of its own, and must be up in milliseconds. Invariant: when it exits, no process that
descends from it lives, and the folder it was given is gone.

    python -I keeper.py FOLDER COMMAND [ARGUMENT ...]

Its standard input is a pipe whose other end the parent holds. The end of that pipe is the order to stop:
it comes when the parent closes it, and also when the parent is killed and can give no order.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

GRACE_SECONDS = 3.0
"""From SIGTERM to SIGKILL. `ray start --block` without applications ends itself in 2.3 s; with some it
still waits for them after 5 s (measured, 2.60), and nobody who pressed Ctrl-C wants to."""

LAST_SECONDS = 10.0
"""To see the killed ones disappear: a process in the middle of a disk access takes its time."""

_POLL_SECONDS = 0.02
"""Between two looks at what is left: a killed process is gone in about a millisecond."""

_PR_SET_CHILD_SUBREAPER = 36
"""From <linux/prctl.h>: orphans among our descendants become our children instead of init's, so that none
can get out of sight (Ray's workers are grandchildren in process groups of their own)."""


def main(folder: Path, command: list[str]) -> int:
    """Run `command` until it ends or the parent is gone. Returns its exit code."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ended = threading.Event()
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - our own caller's command

        def end() -> None:
            _end(child.pid, ended)

        # Also on a SIGTERM to ourselves. In a thread, because the main one has to go on collecting.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=end, daemon=True).start())
        threading.Thread(target=_with_parent, args=[end], daemon=True).start()
        child.returncode = _wait_for(child.pid)
        ended.set()
        _kill_descendants()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return child.returncode


def _with_parent(end: Callable[[], None]) -> None:
    os.read(sys.stdin.fileno(), 1)
    end()


def _end(pid: int, ended: threading.Event) -> None:
    """Ask it to end, then make it."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        if not ended.is_set():
            with suppress(ProcessLookupError):
                os.kill(pid, order)
        ended.wait(GRACE_SECONDS)


def _wait_for(pid: int) -> int:
    """Collect orphans as they end, until `pid` does."""
    while True:
        ended, status = os.wait()
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def _kill_descendants() -> None:
    """Kill whatever is left, and what it starts meanwhile, until nothing is."""
    deadline = time.monotonic() + LAST_SECONDS
    while (pids := descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def descendants(of: int) -> list[int]:
    """The processes below this one, from /proc."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            # "pid (name) state ppid ...": the name can hold spaces and brackets.
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found: list[int] = []
    todo = [of]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
