"""GitPython's command object, made fit for a daemon: clean environment, own session, an end to every wait.

Owns git's child processes. Must not know what they are for. Invariant: a child that outlives its time, or
the mirror, is killed with everything it started, and is reaped.

GitPython's own `kill_after_timeout` asks `pgrep` for the children and cannot be used from another thread
to stop early; both matter here, so it is done on top of its `as_process`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import git

from deployer.adapters.git._errors import Failed, Interrupted, TimedOut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LOCAL_SECONDS = 30.0
"""For a command that only touches the mirror: milliseconds on a healthy disk."""

_REAP_SECONDS = 5.0
"""For a killed process group to let go of its pipes. SIGKILL works at once unless the disk hangs."""


class Children:
    """The running git processes of one mirror, so that another thread can end them."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._interrupted = False

    def interrupt(self) -> None:
        """Kill what runs and start nothing any more. Safe in any thread."""
        with self._lock:
            self._interrupted = True
            for child in self._running:
                kill_group(child)

    def start(self, spawn: Callable[[], object]) -> git.Git.AutoInterrupt:
        """Start a child under the lock: an interrupt comes before it or finds it."""
        with self._lock:
            if self._interrupted:
                raise Interrupted
            self._running = {child for child in self._running if child.returncode is None}
            process = cast("git.Git.AutoInterrupt", spawn())
            self._running.add(cast("subprocess.Popen[bytes]", process.proc))
            return process

    def check(self) -> None:
        """Raise `Interrupted` if that is why a child ended early."""
        with self._lock:
            if self._interrupted:
                raise Interrupted


class Commands(git.Git):
    """`git.Git` whose children are ours to end. `prepare` must be called before the first command."""

    def prepare(self, children: Children, environment: Mapping[str, str]) -> None:
        """Take the mirror's children and the environment that every command gets."""
        self._children = children
        self.update_environment(**environment)
        # GitPython starts from our own environment. What it says of git is not ours to pass on: it may
        # name another repository, other programs, or switch certificate checks off.
        strays = sorted(name for name in os.environ if _is_git(name) and name not in environment)
        self._cleaner = ["env", *(f"-u{name}" for name in strays)] if strays else []

    def execute(self, command: Sequence[str], **options: Any) -> Any:  # type: ignore[override]  # noqa: ANN401 - overloads by flag
        """Run git; every command of GitPython ends up here.

        Returns the output as text without its last line break, or the process when `as_process` is set.
        Raises Failed, TimedOut, Interrupted; git.GitCommandNotFound if git is not installed.
        """
        argv = [*self._cleaner, *command]
        process = self._children.start(
            lambda: super(Commands, self).execute(
                argv, istream=options.get("istream"), as_process=True, start_new_session=True
            )
        )
        if options.get("as_process"):
            return process
        seconds = options.get("kill_after_timeout", _LOCAL_SECONDS)
        child = cast("subprocess.Popen[bytes]", process.proc)
        try:
            out, err = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            kill_group(child)
            with suppress(subprocess.TimeoutExpired):
                child.communicate(timeout=_REAP_SECONDS)
            raise TimedOut(seconds) from error
        if child.returncode:
            self._children.check()
            raise Failed(err.decode("utf-8", "replace"))
        return out.decode("utf-8", "surrogateescape").removesuffix("\n")


class Repository(git.Repo):
    """`git.Repo` that uses `Commands`."""

    GitCommandWrapperType = Commands
    git: Commands


def _is_git(name: str) -> bool:
    return name.startswith("GIT_") and not name.startswith("GIT_PYTHON_")


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill a child and all that it started. Until it is reaped, nobody else can have its number."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
