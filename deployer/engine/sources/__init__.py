"""What git wants of every environment: published by one thread per repository, read by anyone.

Owns the published mapping and the threads' lives. Must not know how a repository is read. Invariant:
`wanted` never waits. What is published is one immutable mapping, swapped as a whole, and an environment
is enqueued after the swap, so the pass that follows sees it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never
from urllib.parse import quote

import structlog

from deployer.adapters.git import local_git_dir
from deployer.core.status import Freshness
from deployer.core.types import Absent, Desired, Invalid, NotRead, Revision, Rewritten, Unverified, Wanted
from deployer.engine.sources._owner import Owner
from deployer.engine.sources._reading import schema_for
from deployer.engine.sources._values import (
    EnvironmentSource,
    Looks,
    RefMoved,
    RepositoryLook,
    RepositorySpec,
    Verify,
)
from deployer.engine.sources._watch import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from pathlib import Path


__all__ = ["EnvironmentSource", "Looks", "RefMoved", "RepositoryLook", "RepositorySpec", "Sources", "Verify"]

_SPREAD_SECONDS = 0.01
"""Between the first looks at two repositories: 500 git processes at once would be late all together."""

log = structlog.get_logger(__name__)


class Sources:
    """Follows repositories and publishes what they want of the environments."""

    def __init__(
        self,
        *,
        repositories: Sequence[RepositorySpec],
        environments: Sequence[EnvironmentSource],
        mirrors_dir: Path,
        enqueue: Callable[[str], None],
        on_look: Callable[[RepositoryLook], None] | None = None,
        watch: bool = True,
    ) -> None:
        """Take what to follow. `mirrors_dir` is ours alone.

        `enqueue` is called from the repositories' threads with an environment for which git wants
        something new; `on_look` with what a look brought. Neither may wait. `watch` off leaves local
        repositories to the poll as well. Raises ValueError for a URL that cannot be used.
        """
        self._enqueue = enqueue
        self._watcher = Watcher()
        self._watched = watch and any(local_git_dir(spec.url) is not None for spec in repositories)
        self._lock = threading.Lock()
        # One value, so that a pass never sees half of a change.
        self._published: Mapping[str, _Published] = {
            source.environment: _Published(
                wanted=NotRead(why=f"the first look at repository {source.repository} is under way")
            )
            for source in environments
        }
        self._owners = {
            spec.name: Owner(
                spec,
                [source for source in environments if source.repository == spec.name],
                # Any name is a file name so, also one with a slash.
                mirror_path=mirrors_dir / (quote(spec.name, safe="") + ".git"),
                publish=self._publish,
                on_look=on_look or _ignore,
            )
            for spec in repositories
        }
        self._owner_of = {source.environment: self._owners[source.repository] for source in environments}

    def wanted(self, environment: str) -> Wanted:
        """The newest published state. Never blocks. KeyError for an environment that is not followed."""
        return self._published[environment].wanted

    def runs(self, environment: str, ray_version: str) -> bool:
        """The environment's cluster runs this Ray; whether what is published was checked for it.

        If not, it is read again, and the environment is enqueued then. Does not wait. KeyError for an
        environment that is not followed.
        """
        owner = self._owner_of[environment]
        owner.runs(environment, ray_version)
        if self._published[environment].schema in {None, schema_for(ray_version).ray_version}:
            return True
        owner.wake()
        return False

    def compared(self, environment: str, since: Revision | None) -> bool:
        """The environment wanted `since` last; whether what is published was compared with that.

        If not, it is, and the environment is enqueued then. Does not wait. KeyError for an environment that
        is not followed.
        """
        published = self._published[environment]
        if since is None:
            return True
        owner = self._owner_of[environment]
        is_news = owner.follows_from(environment, since)
        wanted = published.wanted
        if not isinstance(wanted, Desired):
            return True
        if since == published.since or since.commit == wanted.release.revision.commit:
            return True
        if is_news:
            # Once: where it cannot be compared, the pauses go on growing.
            owner.wake()
        return False

    def freshness(self, environment: str) -> Freshness:
        """When what is published was last known to be true, and what is in the way since."""
        looks = self._owner_of[environment].looks
        return Freshness(seen_at=looks.seen_at, trouble=looks.trouble)

    def hooked(self, repository: str) -> None:
        """The forge says that something was pushed. Does not wait. KeyError if it is not followed."""
        self._owners[repository].hooked()

    def start(self) -> None:
        """Start one thread per repository; the first looks are spread out."""
        if self._watched:
            self._watcher.start()
        for position, owner in enumerate(self._owners.values()):
            owner.start(self._watcher, position * _SPREAD_SECONDS)

    def look_now(self, repository: str) -> int:
        """Look at a repository at once, whatever its pause. Does not wait. KeyError if it is not followed.

        Returns the number of that look: once `looks` has reached it, what was pushed before is published.
        """
        return self._owners[repository].look_now()

    def looks(self, repository: str) -> Looks:
        """How far the looks at a repository are. KeyError if it is not followed."""
        return self._owners[repository].looks

    def stop(self, timeout_seconds: float) -> None:
        """End all looks and threads; return after the time-out at the latest. Mirrors need no clean end."""
        deadline = time.monotonic() + timeout_seconds
        for owner in self._owners.values():
            owner.request_stop()
        for name, owner in self._owners.items():
            if not owner.join(max(0.0, deadline - time.monotonic())):
                log.warning("git_thread_left_behind", repository=name)
        self._watcher.stop()

    def _publish(self, environment: str, wanted: Wanted, schema: str, since: Revision | None) -> None:
        read_for = None if isinstance(wanted, NotRead) else schema
        after = _Published(wanted=wanted, schema=read_for, since=since)
        with self._lock:
            before = self._published[environment]
            self._published = {**self._published, environment: after}
        is_other = (before.schema, before.since) != (after.schema, after.since)
        if is_other or _meaning(before.wanted) != _meaning(wanted):
            self._enqueue(environment)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Published:
    """What git wants, the Ray whose schema it was read with, and what it was compared with."""

    wanted: Wanted
    schema: str | None = None
    since: Revision | None = None


def _meaning(wanted: Wanted) -> tuple[Hashable, ...]:
    """What makes work if it changes.

    The digest decides, the revision explains: a commit that touches another folder is published for every
    environment of its branch, and is work for none of them. A pass shows it when it next comes by.
    """
    match wanted:
        case Desired():
            return Desired, wanted.release.digest, wanted.policy, wanted.notes
        case Invalid():
            return Invalid, wanted.problems
        case Unverified():
            return Unverified, wanted.revision.commit, wanted.why
        case Rewritten():
            return Rewritten, wanted.revision.commit
        case Absent():
            return Absent, wanted.why
        case NotRead():
            return NotRead, wanted.why
        case _:
            assert_never(wanted)


def _ignore(look: RepositoryLook) -> None:
    """Nobody listens."""
