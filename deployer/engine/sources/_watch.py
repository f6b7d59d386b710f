"""Tells the moment a branch of a repository on this machine moves.

Owns the file watches. Must not know what follows: it wakes whoever follows the repository. Invariant: a
watch is only ever faster than the poll. Where none can be set, or one is lost, the poll still sees all.
"""

from __future__ import annotations

import os
import warnings
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

from deployer.adapters.git import local_git_dir

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
        # Said when a folder appears inside a new folder (watchdog 7.1): it sets the same watch twice.
        warnings.filterwarnings("ignore", "Callback with id .* already exists", RuntimeWarning)
        try:
            observer = Observer()
            observer.start()
        except OSError as error:
            log.warning("watch_unavailable", why=str(error))
        else:
            self._observer = observer

    def watch(self, url: str, changed: Callable[[], None]) -> RepositoryWatch:
        """A watch of a repository's branches. Nothing is watched before its `keep`."""
        return RepositoryWatch(self._observer, url, changed)

    def stop(self) -> None:
        """End every watch."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(_JOIN_SECONDS)


class RepositoryWatch:
    """The watches of one repository, kept by the one thread that follows it."""

    def __init__(self, observer: BaseObserver | None, url: str, changed: Callable[[], None]) -> None:
        """Take whom to wake. `observer` is None where nothing can be watched."""
        self._observer = observer
        self._url = url
        self._branches = _Handler(changed, only=None)
        self._packed = _Handler(changed, only="packed-refs")
        self._directory: tuple[int, int] | None = None
        self._watches: list[ObservedWatch] = []
        self._said = ""

    def keep(self) -> None:
        """Set the watches if they are not set, or if the repository was replaced by another one.

        Cheap enough for every look: two stats.
        """
        git_dir = local_git_dir(self._url)
        if self._observer is None or git_dir is None:
            return
        try:
            heads = (git_dir / "refs" / "heads").stat()
            directory = heads.st_dev, heads.st_ino
            # Both: one that was moved away is still watched, and a new one may get a deleted one's number.
            if directory != self._directory or not self._is_alive(self._observer):
                self._set(self._observer, git_dir)
                self._directory = directory
        except FileNotFoundError:
            self._directory = None  # the look says it better
        except OSError as error:
            if str(error) != self._said:
                log.warning("watch_unavailable", repository=str(git_dir), why=str(error))
            self._said = str(error)

    def _is_alive(self, observer: BaseObserver) -> bool:
        """Whether the watches still watch: one ends when its folder is deleted."""
        alive = {emitter.watch for emitter in observer.emitters.copy() if emitter.is_alive()}
        return alive.issuperset(self._watches)

    def _set(self, observer: BaseObserver, git_dir: Path) -> None:
        while self._watches:
            observer.unschedule(self._watches.pop())
        # Never the whole repository: `objects` has 256 folders, and every push writes into them.
        for handler, path, deep in (
            (self._branches, git_dir / "refs" / "heads", True),
            (self._packed, git_dir, False),
        ):
            self._watches.append(observer.schedule(handler, path, recursive=deep, event_filter=_CHANGES))


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
