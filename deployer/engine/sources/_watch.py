"""Tells the moment a branch of a repository on this machine moves.

Owns the file watches. Must not know what follows: it wakes whoever follows the repository. Invariant: a
watch is only ever faster than the poll. Where none can be set, or one is lost, the poll still sees all.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import structlog
from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from watchdog.observers.api import BaseObserver, ObservedWatch

_JOIN_SECONDS = 2.0
"""For watchdog's threads to end; they wait on nothing outside this process."""

_CHANGES: list[type[FileSystemEvent]] = [
    # Not opening and closing: our own look reads these files, and would wake itself for ever.
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]

log = structlog.get_logger(__name__)


class Watcher:
    """The watches of all local repositories: one watchdog observer."""

    def __init__(self) -> None:
        """Start no thread yet."""
        self._observer: BaseObserver | None = None

    def start(self) -> None:
        """Start watchdog's thread. Without inotify (a limit, a platform) everything is left to the poll."""
        observer = Observer()
        try:
            observer.start()
        except OSError as error:
            log.warning("watch_unavailable", why=str(error))
            return
        self._observer = observer

    def watch(self, git_dir: Path, changed: Callable[[], None]) -> RepositoryWatch:
        """A watch of a repository's branches; set with its `keep`."""
        return RepositoryWatch(self._observer, git_dir, changed)

    def stop(self) -> None:
        """End every watch."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(_JOIN_SECONDS)


class RepositoryWatch:
    """The watches of one repository, kept by the one thread that follows it."""

    def __init__(self, observer: BaseObserver | None, git_dir: Path, changed: Callable[[], None]) -> None:
        self._observer = observer
        self._git_dir = git_dir
        self._branches = _Handler(changed, only=None)
        self._packed = _Handler(changed, only="packed-refs")
        self._directory: tuple[int, int] | None = None
        self._watches: list[ObservedWatch] = []

    def keep(self) -> None:
        """Set the watches if they are not set, or if the repository was replaced by another one.

        Cheap enough for every look: one stat.
        """
        if self._observer is None:
            return
        heads = self._git_dir / "refs" / "heads"
        try:
            found = os.stat(heads)
            if (found.st_dev, found.st_ino) == self._directory:
                return
            self._release(self._observer)
            # Never the whole repository: `objects` has 256 folders, and every push writes into them.
            self._watches = [
                self._observer.schedule(self._branches, heads, recursive=True, event_filter=_CHANGES),
                self._observer.schedule(self._packed, self._git_dir, event_filter=_CHANGES),
            ]
            self._directory = found.st_dev, found.st_ino
        except OSError as error:
            if self._directory is not None or not isinstance(error, FileNotFoundError):
                log.warning("watch_unavailable", repository=str(self._git_dir), why=str(error))
            self._directory = None

    def _release(self, observer: BaseObserver) -> None:
        for watch in self._watches:
            observer.unschedule(watch)
        self._watches = []


class _Handler(FileSystemEventHandler):
    """Called in watchdog's thread."""

    def __init__(self, changed: Callable[[], None], *, only: str | None) -> None:
        self._changed = changed
        self._only = only

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Wake, unless it is a lock on its way: a push writes `main.lock` and moves it to `main`."""
        name = os.path.basename(os.fsdecode(event.dest_path or event.src_path))  # noqa: PTH119 - a hot path
        if not name.endswith(".lock") and self._only in {None, name}:
            self._changed()
