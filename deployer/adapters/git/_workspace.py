"""Where those who push to a repository work: a directory of their own, and the turn that they share.

Owns a bare directory beside the mirror, what is fetched into it, and who may use it when. Must not know what
is pushed, nor why. Invariant: of all who write to one repository, one works at a time; and a directory is a
cache: whatever is wrong with it, it is made anew, but not for what the server or the network did.
"""

from __future__ import annotations

import configparser
import re
import threading
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import git
import structlog

from deployer.adapters.git._commands import Children
from deployer.adapters.git._directory import Directory
from deployer.adapters.git._errors import (
    Failed,
    GitUnavailable,
    Interrupted,
    MirrorBroken,
    TimedOut,
    translated,
)
from deployer.adapters.git._listing import list_refs
from deployer.adapters.git._push_answer import CommitMissing
from deployer.adapters.git._reader import Reader, header

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from deployer.adapters.git._commands import Commands, Repository
    from deployer.adapters.git._remote import Remote

LOOK_SECONDS = 30.0
"""For an ls-remote, as in the mirror."""

FETCH_SECONDS = 300.0
"""For a fetch: of commits alone, it takes seconds; a server that knows no filter sends everything."""

PUSH_SECONDS = 120.0
"""For a push: next to nothing is sent, but the server may run checks of its own before it answers."""

TURN_SECONDS = 60.0
"""For who waits until another promotion of this repository, or a look, is done."""

_QUIETLY = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--no-write-fetch-head")

_NO_SUCH_COMMIT = ("not our ref", "unadvertised object", "couldn't find remote ref")
"""How servers say that they do not give a commit by its id; the second without protocol 2."""

_COMMIT = re.compile(r"[0-9a-f]{40}")

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Stock:
    """What a directory holds: how it is fetched, and the command that fails where some of it is damaged."""

    fetch: tuple[str, ...]
    probe: tuple[str, ...]


COMMITS = Stock(("--filter=tree:0",), ("rev-list", "--all", "--count"))
"""Whole lines of commits and nothing else. To go through 100,000 takes a second."""

SNAPSHOTS = Stock(("--depth=1",), ("fsck", "--no-progress", "--no-dangling"))
"""All files of single commits. A damaged file shows only where git reads it, as when it unpacks a fetch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """In seconds, for each kind of question to the server."""

    look: float = LOOK_SECONDS
    fetch: float = FETCH_SECONDS
    push: float = PUSH_SECONDS


class Turn:
    """Who writes to a repository, one at a time, and the end of it all."""

    def __init__(self, url: str) -> None:
        """Start with nobody."""
        self.children = Children()
        self.stopping = threading.Event()
        self._url = url
        self._lock = threading.RLock()

    @contextmanager
    def taken(self, patience_seconds: float = TURN_SECONDS) -> Iterator[None]:
        """Keep it for this thread while the block runs. Raises GitUnavailable before that."""
        if not self._lock.acquire(timeout=patience_seconds):
            other = f"another promotion of {self._url}, or a look at it, has been under way"
            message = f"{other} for {patience_seconds:g} s: try again"
            raise GitUnavailable(message)
        try:
            yield
        finally:
            self._lock.release()

    def interrupt(self) -> None:
        """End whatever runs and refuse what comes, from another thread."""
        self.stopping.set()
        self.children.interrupt()


class Workspace:
    """One directory. What reads, fetches or pushes is called inside `in_turn`."""

    def __init__(self, path: Path, remote: Remote, stock: Stock, turn: Turn, timeouts: Timeouts) -> None:
        """Take them; touch nothing yet."""
        self.url = remote.url
        self.path = path
        self.remote = remote
        self.turn = turn
        self.timeouts = timeouts
        self.reader = Reader()
        self._stock = stock
        self._directory = Directory(path, remote, turn.children)
        self._repository: Repository | None = None

    @contextmanager
    def in_turn(self, patience_seconds: float = TURN_SECONDS) -> Iterator[None]:
        """Use it while the block runs. Whatever git, network or disk raise there becomes `GitUnavailable`."""
        with self.turn.taken(patience_seconds):
            try:
                with self.translated():
                    self.turn.children.check()
                    self.remote.prepare(self.path, self.turn.children)
                    yield
            finally:
                self._close()

    def translated(self) -> AbstractContextManager[None]:
        """Turn what git, network and disk raise into `GitUnavailable`."""
        return translated(self.url, self.path)

    @property
    def git(self) -> Commands:
        """Git in the directory, which is made if it is not there."""
        if self._repository is None:
            self._directory.ensure()
            try:
                self._repository = self._directory.open()
            except (git.GitError, configparser.Error, ValueError):
                # GitPython reads the config itself, and raises what its parser does.
                self._directory.create()
                self._repository = self._directory.open()
        return self._repository.git

    def steadily(self, work: Callable[[], T]) -> T:
        """Work; if that fails for what may be the directory's fault, do it again with a new directory."""
        try:
            return self._work_swept(work)
        except (Failed, MirrorBroken) as error:
            self.turn.children.check()
            if isinstance(error, Failed) and self._is_sound():
                # The server's fault, or the network's: what was fetched is not fetched again for that.
                raise
            log.info("writer_made_anew", repository=self.url, why=str(error))
        self.anew()
        try:
            return work()
        except MirrorBroken as error:
            message = f"cannot read {self.url}: {error}, also after a new fetch: try again"
            raise GitUnavailable(message) from error

    def _work_swept(self, work: Callable[[], T]) -> T:
        """Work, and once more if a git that was killed had left a lock, on which every later one fails."""
        try:
            return work()
        except (Failed, MirrorBroken):
            self.turn.children.check()
            if not self._directory.sweep():
                raise
        return work()

    def ask(self, refs: set[str]) -> dict[str, str]:
        """Where these refs are; one that is not there is not in the answer."""
        arguments = ("--refs", "--", self.url, *sorted(refs))
        try:
            printed = list_refs(self.git, arguments, seconds=self.timeouts.look)
        except Failed:
            # Also this needs a directory that git can use, though nothing of what is in it.
            if self._is_usable():
                raise
            self.anew()
            printed = list_refs(self.git, arguments, seconds=self.timeouts.look)
        # A pattern of ls-remote matches the end of a name too.
        lines = (line.partition("\t") for line in printed.splitlines())
        found = {ref: id_ for id_, _, ref in lines if ref in refs}
        if not all(map(_COMMIT.fullmatch, found.values())):
            message = f"cannot read {self.url}: deployer cannot read SHA-256 object names"
            raise GitUnavailable(message)
        return found

    def fetch(self, refspecs: Iterable[str]) -> None:
        """Fetch what the directory holds of these."""
        wanted = tuple(refspecs)
        if wanted:
            self.git.fetch(
                *_QUIETLY, *self._stock.fetch, "--", self.url, *wanted, kill_after_timeout=self.timeouts.fetch
            )

    def fetch_by_id(self, commit: str, ours: str) -> None:
        """Fetch a commit by its id, which not every server lets one do. Raises CommitMissing."""
        try:
            self.fetch([f"+{commit}:{ours}"])
        except Failed as error:
            if not any(sign in error.printed for sign in _NO_SUCH_COMMIT):
                raise
            what = f"cannot read {self.url}: it does not give commit {commit[:7]}, which no branch leads to"
            message = f"{what}: push it to a branch"
            raise CommitMissing(message) from error

    def has(self, id_: str) -> bool:
        """Whether the object is here."""
        try:
            header(self.git, id_)
        except MirrorBroken:
            return False
        return True

    def tidy(self) -> None:
        """Pack what many fetches left. Where that fails, it stays: nothing but time depends on it."""
        if self._directory.is_crowded():
            with suppress(Failed, TimedOut, Interrupted):
                self.git.gc("--quiet", "--prune=now", kill_after_timeout=self.timeouts.fetch)

    def anew(self) -> None:
        """Begin again with nothing."""
        self._close()
        self._directory.create()

    def _is_usable(self) -> bool:
        try:
            self.git.for_each_ref("--count=1")
        except Failed:
            return False
        return True

    def _is_sound(self) -> bool:
        try:
            self.git.told(*self._stock.probe, seconds=self.timeouts.fetch)
        except Failed:
            return False
        return True

    def _close(self) -> None:
        if self._repository is not None:
            self._repository.close()
            self._repository = None
        self.reader = Reader()


def check_commit(commit: str) -> None:
    """Raise ValueError for what is not the full id of a commit."""
    if not _COMMIT.fullmatch(commit):
        message = f"{commit!r} is not the full id of a commit"
        raise ValueError(message)
