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

from deployer.adapters.git import GitUnavailable, Mirror
from deployer.core.types import NotRead
from deployer.engine.sources._reading import EnvironmentReader, schema_for
from deployer.engine.sources._values import Looks, RefMoved, RepositoryLook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from deployer.core.types import Wanted
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

"""The commit of an environment that was never published."""

log = structlog.get_logger(__name__)


class Owner:
    """Follows one repository in its own thread, from `start` to `stop`."""

    def __init__(
        self,
        spec: RepositorySpec,
        sources: Sequence[EnvironmentSource],
        *,
        mirror_path: Path,
        publish: Callable[[str, Wanted, str], None],
        on_look: Callable[[RepositoryLook], None],
    ) -> None:
        """Take the repository and its environments. Raises ValueError for a URL that cannot be used.

        `publish` is also told which Ray's schema it was read with.
        """
        self._spec = spec
        self._mirror = Mirror(
            mirror_path, spec.url, token_file=spec.token_file, username=spec.username, ca_file=spec.ca_file
        )
        self._readers = [EnvironmentReader(source) for source in sources]
        self._refs = sorted({source.ref for source in sources})
        self._publish = publish
        self._on_look = on_look
        # By environment: the commit that what was published came from, None if its branch was not there; and
        # the schema that it was read with, by its version of Ray.
        self._published_at: dict[str, tuple[str | None, str]] = {}
        self._ray_versions: dict[str, str] = {}
        self._active_until = 0.0
        self._failures = 0
        self._trouble: str | None = None
        self._since: datetime | None = None
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
                self._wake.wait(delay_seconds)
                if self._stopping.is_set():
                    return
                self._wake.clear()
                self._begun += 1
                try:
                    self._attempt(watch)
                except Exception as error:
                    # A bug must cost one look of one repository, never its thread.
                    log.exception("git_look_failed", repository=self._spec.name)
                    what = f"deployer itself failed on repository {self._spec.name} ({type(error).__name__})"
                    self._failed(f"{what}: that is a bug in deployer; see its log")
                self.looks = Looks(ended=self._begun, trouble=self._trouble)
                self._stopping.wait(_SETTLE_SECONDS)
                delay_seconds = self._pause_seconds()
        finally:
            self._mirror.close()

    def _attempt(self, watch: RepositoryWatch) -> None:
        """One look, and what follows if the repository cannot be read."""
        try:
            # Before the look: what moves between the two is seen by the watch.
            watch.keep()
            self._look()
        except GitUnavailable as error:
            if not self._stopping.is_set():
                self._failed(error.why)
                self._read_from_disk(error.why)
        else:
            self._succeeded()
        finally:
            self._mirror.release()

    def _look(self) -> None:
        heads = self._mirror.heads(self._refs)
        before = self._mirror.known_heads()
        now = self._mirror.fetch(heads)
        self._announce(before, now)
        self._read(now)
        self._mirror.tidy()

    def _announce(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        """Tell which branches moved."""
        moved = []
        for ref in self._refs:
            old, new = before.get(ref), now.get(ref)
            if old == new:
                continue
            self._active_until = time.monotonic() + _ACTIVE_SECONDS
            log.info("git_moved", repository=self._spec.name, ref=ref, old=old, new=new)
            with suppress(GitUnavailable):  # reading the environment fails the same way, and says so
                revision = None if new is None else self._mirror.revision(new)
                moved.append(RefMoved(ref=ref, old=old, new=revision))
        if moved:
            self._tell(RepositoryLook(repository=self._spec.name, moved=tuple(moved)))

    def _read(self, heads: Mapping[str, str]) -> None:
        """Publish each environment whose branch moved; trouble with one does not keep the others waiting."""
        trouble = None
        for reader in self._readers:
            name = reader.source.environment
            schema = schema_for(self._ray_versions.get(name))
            read_with = heads.get(reader.source.ref), schema.ray_version
            if self._stopping.is_set() or self._published_at.get(name) == read_with:
                continue
            try:
                wanted = reader.read(self._mirror, heads, schema)
            except GitUnavailable as error:
                trouble = trouble or error
                continue
            self._publish(name, wanted, schema.ray_version)
            self._published_at[name] = read_with
        if trouble is not None:
            raise trouble

    def _read_from_disk(self, why: str) -> None:
        """For environments of which nothing is known yet: what the mirror has, or why there is nothing."""
        unread = [reader for reader in self._readers if reader.source.environment not in self._published_at]
        known: Mapping[str, str] = {}
        with suppress(GitUnavailable):
            known = self._mirror.known_heads() if unread else {}
        for reader in unread:
            name, ref = reader.source.environment, reader.source.ref
            wanted: Wanted = NotRead(why=why)
            schema = schema_for(self._ray_versions.get(name))
            if ref in known:
                try:
                    wanted = reader.read(self._mirror, known, schema)
                    self._published_at[name] = known[ref], schema.ray_version
                except GitUnavailable:
                    known = {}  # the mirror is damaged as well: each try would cost a time-out
            self._publish(name, wanted, schema.ray_version)

    def _succeeded(self) -> None:
        since, self._since = self._since, None
        self._failures, self._trouble = 0, None
        if since is not None:
            log.info("git_recovered", repository=self._spec.name, since=since.isoformat())
            self._tell(RepositoryLook(repository=self._spec.name, since=since))

    def _failed(self, why: str) -> None:
        self._failures += 1
        self._since = self._since or datetime.now(UTC)
        is_news, self._trouble = why != self._trouble, why
        (log.warning if is_news else log.debug)(
            "git_unavailable", repository=self._spec.name, why=why, since=self._since.isoformat()
        )
        if is_news:
            self._tell(RepositoryLook(repository=self._spec.name, unavailable=why, since=self._since))

    def _tell(self, look: RepositoryLook) -> None:
        try:
            self._on_look(look)
        except Exception:
            log.exception("look_listener_failed", repository=self._spec.name)

    def _pause_seconds(self) -> float:
        if self._failures:
            # The exponent is capped, or a month of failures would overflow a float.
            seconds = min(_FIRST_RETRY_SECONDS * 2.0 ** min(self._failures - 1, 10), _LAST_RETRY_SECONDS)
        elif time.monotonic() < self._active_until:
            seconds = min(self._spec.poll_seconds, _SOON_SECONDS)
        else:
            seconds = self._spec.poll_seconds
        return seconds * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - jitter, not a secret
