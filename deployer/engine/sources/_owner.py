"""The one thread that owns a repository's mirror: when to look, what to publish, what to say.

Owns the timing and the trouble of one repository. Must not know other repositories. Invariant: nothing
that git, the network or a file does ends the thread, and nothing that was published is taken back because
a repository cannot be read.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from deployer.adapters.git import GitUnavailable, Mirror, local_git_dir
from deployer.core.source import TAGS, Branch, Pinned, Tags
from deployer.core.types import NotRead
from deployer.engine.sources._reading import EnvironmentReader, Found, schema_for
from deployer.engine.sources._values import Looks, RefMoved, RepositoryLook

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence
    from pathlib import Path

    from deployer.core.types import Revision, Wanted
    from deployer.engine.sources._values import EnvironmentSource, RepositorySpec
    from deployer.engine.sources._watch import RepositoryWatch, Watcher

_SOON_SECONDS = 3.0
"""Between looks after activity: who pushed once pushes again, and waits for it."""

_ACTIVE_SECONDS = 120.0
"""How long a branch that moved counts as activity."""

_FIRST_RETRY_SECONDS = 2.0
"""After the first failure. Most are a network that blinks, or a machine that is still booting."""

_LAST_RETRY_SECONDS = 300.0
"""The longest pause. Forges count failing requests too: 50 repositories in error ate a token's quota."""

_JITTER = 0.1
"""Part of every pause that is left to chance, or 100 repositories ask one server in the same instant."""

_SETTLE_SECONDS = 0.02
"""After a look, before the next. A push of many branches is one look and one more, not one for each."""

_SETTLE_TOLD_SECONDS = 0.5
"""The same after a look at a server that somebody asked for: a storm of webhooks is two looks a second."""

_HOOKED_SECONDS = 3600.0
"""How long a webhook that came shows that webhooks come."""

_HOOKED_POLL_SECONDS = 60.0
"""Between looks while they do: the poll only makes sure. One that finds what no webhook told ends this."""

log = structlog.get_logger(__name__)


class _SomeUnreadError(GitUnavailable):
    """The repository answered, and something in it that one environment needs could not be read."""


class Owner:
    """Follows one repository in its own thread, from `start` to `stop`."""

    def __init__(
        self,
        spec: RepositorySpec,
        sources: Sequence[EnvironmentSource],
        *,
        mirror_path: Path,
        publish: Callable[[str, Wanted, str, Revision | None], None],
        on_look: Callable[[RepositoryLook], None],
    ) -> None:
        """Take the repository and its environments. Raises ValueError for a URL that cannot be used.

        `publish` is also told which Ray's schema it was read with, and what it was compared with.
        """
        self._spec = spec
        self._mirror = Mirror(mirror_path, spec.url, access=spec.access)
        # Not below the mirror, which is swapped.
        homes = mirror_path.with_suffix(".signers")
        self._readers = [EnvironmentReader(source, homes / source.environment) for source in sources]
        follows = [source.source for source in sources]
        self._refs = sorted({source.ref for source in follows if isinstance(source, Branch)})
        self._tags = sorted({source.refs for source in follows if isinstance(source, Tags)})
        self._pinned = {source.ref: source.commit for source in follows if isinstance(source, Pinned)}
        self._is_local = local_git_dir(spec.url) is not None
        self._publish = publish
        self._on_look = on_look
        # By environment: what was published was made of this.
        self._published_at: dict[str, Hashable] = {}
        # The environments of which something was published that a look or the disk brought.
        self._told: set[str] = set()
        self._ray_versions: dict[str, str] = {}
        self._since: dict[str, Revision] = {}
        # The newest answer of the repository, what is followed of it, and the names of its tags.
        self._there: Mapping[str, str] | None = None
        self._chosen: Mapping[str, str] = {}
        self._tags_there: frozenset[str] = frozenset()
        self._hooked_until = 0.0
        self._active_until = 0.0
        self._failures = 0
        self._trouble: str | None = None
        self._trouble_since: datetime | None = None
        # Published as one value, for who waits for a look in another thread.
        self.looks = Looks()
        self._begun = 0
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, watcher: Watcher, delay_seconds: float) -> None:
        """Look for the first time after the delay, then again and again until `request_stop`."""
        arguments = (watcher.watch(self._spec.url, self.wake), delay_seconds)
        self._thread = threading.Thread(
            target=self._run, args=arguments, name=f"git-{self._spec.name}", daemon=True
        )
        self._thread.start()

    def wake(self) -> None:
        """Look at once, or once more if a look is under way. Safe in any thread."""
        self._wake.set()

    def look_now(self) -> int:
        """Wake it, and return the number of the first look that begins after this."""
        number = self._begun + 1
        self.wake()
        return number

    def hooked(self) -> None:
        """The forge says that something was pushed: look at once, and rely on it for a while."""
        self._hooked_until = time.monotonic() + _HOOKED_SECONDS
        self.wake()

    def follows_from(self, environment: str, since: Revision) -> bool:
        """Take what an environment wanted last: the next look compares with it. Whether that is news."""
        is_news = self._since.get(environment) != since
        self._since[environment] = since
        return is_news

    def runs(self, environment: str, ray_version: str) -> None:
        """Take the Ray version of an environment's cluster: the next look reads for it."""
        self._ray_versions[environment] = ray_version

    def request_stop(self) -> None:
        """End the look that is under way, and the thread. Does not wait."""
        self._stopping.set()
        self._wake.set()
        self._mirror.interrupt()

    def join(self, timeout_seconds: float) -> bool:
        """Wait for the thread to end; whether it did."""
        if self._thread is not None:
            self._thread.join(timeout_seconds)
        return self._thread is None or not self._thread.is_alive()

    # --- in the thread -----------------------------------------------------------------------------------

    def _run(self, watch: RepositoryWatch, delay_seconds: float) -> None:
        try:
            while True:
                was_told = self._wake.wait(delay_seconds)
                if self._stopping.is_set():
                    return
                self._wake.clear()
                self._begun += 1
                begun_at, seen_at = datetime.now(UTC), self.looks.seen_at
                try:
                    self._attempt(watch, was_told=was_told)
                except Exception as error:
                    # A bug must cost one look of one repository, never its thread.
                    log.exception("git_look_failed", repository=self._spec.name)
                    what = f"deployer itself failed on repository {self._spec.name} ({type(error).__name__})"
                    self._failed(f"{what}: that is a bug in deployer; see its log")
                seen_at = seen_at if self._trouble else begun_at
                failed = self.looks.failed + (self._trouble is not None)
                self.looks = Looks(ended=self._begun, trouble=self._trouble, seen_at=seen_at, failed=failed)
                is_storm = was_told and not self._is_local
                self._stopping.wait(_SETTLE_TOLD_SECONDS if is_storm else _SETTLE_SECONDS)
                delay_seconds = self._pause_seconds()
        finally:
            self._mirror.close()

    def _attempt(self, watch: RepositoryWatch, *, was_told: bool) -> None:
        """One look, and what follows if the repository cannot be read."""
        try:
            # Before the look: what moves between the two is seen by the watch.
            watch.keep()
            self._look(was_told=was_told)
        except _SomeUnreadError as error:
            # The repository answers: the others are not to wait longer because of one.
            self._failures = 0
            if not self._stopping.is_set():
                self._failed(error.why, is_whole=False)
        except GitUnavailable as error:
            if not self._stopping.is_set():
                self._failed(error.why)
                self._read_from_disk(error.why)
        else:
            self._succeeded()
        finally:
            self._mirror.release()

    def _look(self, *, was_told: bool) -> None:
        there = {**self._mirror.heads(self._refs, self._tags), **self._pinned}
        if there != self._there:
            # Of the tags only those that are chosen are fetched. To choose among 20,000 takes 0.14 s.
            chosen = {reader.choose(there) for reader in self._readers}
            self._chosen = {ref: id_ for ref, id_ in there.items() if ref in chosen}
            self._tags_there = frozenset(ref.removeprefix(TAGS) for ref in there if ref.startswith(TAGS))
            self._there = there
        heads = self._chosen
        before = self._mirror.known_heads()
        now = self._mirror.fetch(heads)
        if before != now and not was_told:
            self._hooked_until = 0.0
        self._announce(before, now)
        try:
            self._read(now)
        finally:
            self._mirror.tidy()

    def _announce(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        """Tell which branches moved, and which tags are followed now."""
        moved = []
        for ref in sorted(before.keys() | now.keys()):
            old, new = before.get(ref), now.get(ref)
            if old == new:
                continue
            self._active_until = time.monotonic() + _ACTIVE_SECONDS
            log.info("git_moved", repository=self._spec.name, ref=ref, old=old, new=new)
            with suppress(GitUnavailable):  # reading the environment fails the same way, and says so
                commit = None if new is None else self._mirror.commit_of(new)
                revision = None if commit is None else self._mirror.revision(commit)
                moved.append(RefMoved(ref=ref, old=old, new=revision))
        if moved:
            self._tell(RepositoryLook(repository=self._spec.name, moved=tuple(moved)))

    def _read(self, heads: Mapping[str, str]) -> None:
        """Publish each environment whose branch moved; trouble with one does not keep the others waiting."""
        trouble = None
        for reader in self._readers:
            made_of = self._made_of(reader, heads)
            if self._stopping.is_set() or self._published_at.get(reader.source.environment) == made_of:
                continue
            try:
                self._read_one(reader, heads, self._tags_there)
                self._published_at[reader.source.environment] = made_of
            except GitUnavailable as error:
                trouble = trouble or error
                if reader.source.environment not in self._told:
                    self._publish(reader.source.environment, NotRead(why=error.why), "", None)
        if trouble is not None:
            raise _SomeUnreadError(trouble.why) from trouble

    def _made_of(self, reader: EnvironmentReader, heads: Mapping[str, str]) -> Hashable:
        """All that what is published of an environment depends on."""
        name = reader.source.environment
        ref, since = reader.choose(heads), self._since.get(name)
        schema = schema_for(self._ray_versions.get(name))
        return ref, heads.get(ref or ""), schema.ray_version, since, reader.state()

    def _read_one(
        self, reader: EnvironmentReader, heads: Mapping[str, str], tags: frozenset[str] | None
    ) -> None:
        name = reader.source.environment
        ref, since = reader.choose(heads), self._since.get(name)
        found = Found(ref, heads[ref], tags) if ref is not None and ref in heads else None
        schema = schema_for(self._ray_versions.get(name))
        wanted = reader.read(self._mirror, found, schema, since)
        self._publish(name, wanted, schema.ray_version, since)
        self._told.add(name)

    def _read_from_disk(self, why: str) -> None:
        """What the mirror has, or why there is nothing: for environments of which nothing is known yet.

        Also for those that are to be compared with another commit by now.
        """
        known: Mapping[str, str] = {}
        with suppress(GitUnavailable):
            known = self._mirror.known_heads()
        failed = 0
        for reader in self._readers:
            name = reader.source.environment
            made_of = self._made_of(reader, known)
            if self._published_at.get(name) == made_of:
                continue
            if reader.choose(known) in known:
                try:
                    self._read_one(reader, known, None)
                except GitUnavailable:
                    failed += 1
                    if failed > 1:
                        known = {}  # the mirror is damaged as well: each try would cost a time-out
                else:
                    if not isinstance(reader.source.source, Tags):
                        # Of the tags the mirror has only what was chosen last: the next look compares again.
                        self._published_at[name] = made_of
                    continue
            if name not in self._told:
                schema = schema_for(self._ray_versions.get(name))
                self._publish(name, NotRead(why=why), schema.ray_version, None)

    def _succeeded(self) -> None:
        since, self._trouble_since = self._trouble_since, None
        self._failures, self._trouble = 0, None
        if since is not None:
            log.info("git_recovered", repository=self._spec.name, since=since.isoformat())
            self._tell(RepositoryLook(repository=self._spec.name, since=since))

    def _failed(self, why: str, *, is_whole: bool = True) -> None:
        self._failures += is_whole
        self._trouble_since = self._trouble_since or datetime.now(UTC)
        is_news, self._trouble = why != self._trouble, why
        (log.warning if is_news else log.debug)(
            "git_unavailable", repository=self._spec.name, why=why, since=self._trouble_since.isoformat()
        )
        if is_news:
            self._tell(RepositoryLook(repository=self._spec.name, unavailable=why, since=self._trouble_since))

    def _tell(self, look: RepositoryLook) -> None:
        try:
            self._on_look(look)
        except Exception:
            log.exception("look_listener_failed", repository=self._spec.name)

    def _pause_seconds(self) -> float:
        if self._failures:
            # The exponent is capped, or a month of failures would overflow a float.
            seconds = min(_FIRST_RETRY_SECONDS * 2.0 ** min(self._failures - 1, 10), _LAST_RETRY_SECONDS)
        elif time.monotonic() < self._hooked_until:
            seconds = max(self._spec.poll_seconds, _HOOKED_POLL_SECONDS)
        elif time.monotonic() < self._active_until:
            seconds = min(self._spec.poll_seconds, _SOON_SECONDS)
        else:
            seconds = self._spec.poll_seconds
        return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter, not a secret
