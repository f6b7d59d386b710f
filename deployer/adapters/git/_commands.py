"""GitPython's command object, made fit for a daemon: clean environment, own session, an end to everything.

Owns git's child processes. Must not know what they are for. Invariant: a child that outlives its time, prints
without end, or outlives the mirror, is killed with everything it started, and is reaped; it gets the
environment that was prepared for it and nothing of ours.

GitPython's own `execute` passes our whole environment on, reads whatever a child prints, asks `pgrep` for the
children when time is up, and cannot be ended from another thread; so children are started here.
"""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import git

from deployer.adapters.git import _limits
from deployer.adapters.git._errors import Failed, Interrupted, TimedOut, TooMuch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_LOCAL_SECONDS = 30.0
"""For a command that only touches the mirror: milliseconds on a healthy disk."""

_REAP_SECONDS = 5.0
"""For a killed process group to let go of its pipes. SIGKILL works at once unless the disk hangs."""

_OUTPUT_BYTES = 16 * 1024 * 1024
"""That a command may print: an `ls-remote` of 200,000 branches."""

_STDERR_BYTES = 64 * 1024
"""That are kept of what a command says on stderr, half of the beginning and half of the end: a server may say
whatever it likes before git says what is wrong."""

_CHUNK_BYTES = 64 * 1024


class Children:
    """What runs for one mirror, so that another thread can end it."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ends: list[Callable[[], None]] = []
        self._interrupted = False

    def interrupt(self) -> None:
        """End what runs and start nothing any more. Safe in any thread."""
        with self._lock:
            self._interrupted = True
            for child in self._running:
                kill_group(child)
            for end in self._ends:
                end()

    def start(self, spawn: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Start a child under the lock: an interrupt comes before it or finds it."""
        with self._lock:
            self._refuse()
            self._running = {child for child in self._running if child.returncode is None}
            child = spawn()
            self._running.add(child)
            return child

    @contextmanager
    def ending(self, end: Callable[[], None]) -> Iterator[None]:
        """Have `end` called by an interrupt that comes while the block runs. It must not wait."""
        with self._lock:
            self._refuse()
            self._ends.append(end)
        try:
            yield
        finally:
            with self._lock:
                self._ends.remove(end)

    def check(self) -> None:
        """Raise `Interrupted` if that is why something ended early."""
        with self._lock:
            self._refuse()

    def _refuse(self) -> None:
        if self._interrupted:
            raise Interrupted


class Commands(git.Git):
    """`git.Git` whose children are ours to end. `prepare` must be called before the first command."""

    def prepare(
        self,
        children: Children,
        environment: Mapping[str, str],
        renew: Callable[[str], bool] | None = None,
    ) -> None:
        """Take the mirror's children and the whole environment that every command gets.

        `renew` is asked when a command has failed, with what it printed: whether something is different now,
        so that the command is worth a second try.
        """
        self._children = children
        self.update_environment(**environment)
        self._renew = renew

    def execute(self, command: Sequence[str], **options: Any) -> Any:  # type: ignore[override]  # noqa: ANN401 - overloads by flag
        """Run git; every command of GitPython ends up here.

        Returns the output as text without its last line break, or the process when `as_process` is set.
        Raises Failed, TimedOut, TooMuch, Interrupted; git.GitCommandNotFound if git is not installed.
        """
        if options.get("as_process"):
            child = self._start(command, stdin=options.get("istream"), stderr=subprocess.DEVNULL)
            _limits.limit(child.pid, _limits.BATCH_CPU_SECONDS)
            return git.Git.AutoInterrupt(child, command)
        return self._run_twice(command, options.get("kill_after_timeout"))[0]

    def told(self, *command: str, seconds: float) -> tuple[str, str]:
        """Run `git <command>` and return what it printed, and the gist of what it said on stderr.

        Raises what `execute` does.
        """
        return self._run_twice([str(self.GIT_PYTHON_GIT_EXECUTABLE), *command], seconds)

    def _run_twice(self, command: Sequence[str], seconds: float | None) -> tuple[str, str]:
        try:
            return self._run(command, seconds)
        except Failed as error:
            if self._renew is None or not self._renew(error.printed):
                raise
        return self._run(command, seconds)

    def _run(self, command: Sequence[str], seconds: float | None) -> tuple[str, str]:
        # A command that is given its time reaches for others, which are to be limited too.
        starts_others = seconds is not None
        child = self._start(command, stderr=subprocess.PIPE, limited=starts_others)
        try:
            _limits.limit(child.pid, _limits.CPU_SECONDS)
            out, err = _collect(child, _LOCAL_SECONDS if seconds is None else seconds)
        finally:
            _end(child)
        said = err.decode("utf-8", "replace")
        if child.returncode:
            self._children.check()
            if child.returncode < 0:
                said += f"\nerror: git died of signal {-child.returncode}"
            raise Failed(said)
        return out.decode("utf-8", "surrogateescape").removesuffix("\n"), said

    def _start(
        self, command: Sequence[str], *, stdin: int | None = None, stderr: int, limited: bool = False
    ) -> subprocess.Popen[bytes]:
        environment = self.environment()
        path = environment.get("PATH", os.defpath)
        program = shutil.which(command[0], path=path)
        if program is None:
            raise git.GitCommandNotFound(command[0], "not found in PATH")
        limits = _limits.prefix(path) if limited else ()
        return self._children.start(
            lambda: subprocess.Popen(  # noqa: S603 - a list, of which each operand was checked
                [*limits, program, *command[1:]],
                env=environment,
                # Everything it works on is named by a whole path; the mirror may be deleted underneath.
                cwd="/",
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        )


class Repository(git.Repo):
    """`git.Repo` that uses `Commands`."""

    GitCommandWrapperType = Commands
    git: Commands


def kill_group(child: subprocess.Popen[bytes]) -> None:
    """Kill a child and all that it started. Until it is reaped, nobody else can have its number."""
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)


def _collect(child: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, bytes]:
    """What it prints on stdout, and the gist of stderr, once it has ended. Raises TimedOut, TooMuch."""
    deadline = time.monotonic() + seconds
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as waiting:
        for pipe, kept in ((child.stdout, out), (child.stderr, err)):
            assert pipe is not None  # noqa: S101 - for mypy: both were asked for
            waiting.register(pipe, selectors.EVENT_READ, kept)
        while waiting.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimedOut(seconds)
            for key, _ in waiting.select(left):
                data = os.read(key.fd, _CHUNK_BYTES)
                key.data.extend(data)
                if not data:
                    waiting.unregister(key.fileobj)
                if len(out) > _OUTPUT_BYTES:
                    raise TooMuch(_OUTPUT_BYTES)
                if len(err) > _STDERR_BYTES:
                    del err[_STDERR_BYTES // 2 : -_STDERR_BYTES // 2]
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise TimedOut(seconds) from error
    return bytes(out), bytes(err)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Leave nothing of it, whatever state it is in."""
    kill_group(child)
    for pipe in (child.stdout, child.stderr):
        if pipe is not None:
            pipe.close()
    with suppress(subprocess.TimeoutExpired):
        child.wait(_REAP_SECONDS)
