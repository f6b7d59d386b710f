"""A bare mirror of the branches we follow, of one repository.

Owns the mirror's directory and what may be asked of it. Must not know environments or when to look.
Invariant: the mirror is a cache. Whatever is wrong with it (a killed git, a full disk, flipped bits) is
answered by fetching anew beside it and swapping, never by an error that a person has to clean up.

GitPython does the work: `repo.git.<command>` for what needs a process, `get_object_header` and
`get_object_data` (one `git cat-file --batch` that stays) for reading. It is not thread-safe and keeps
descriptors in unclosed objects: one thread uses a mirror, and calls `release` when a look is over. Only
`interrupt` may come from another thread.
"""

from __future__ import annotations

import configparser
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, TypeVar

import git
import structlog

from deployer.adapters.git._commands import Children
from deployer.adapters.git._directory import Directory
from deployer.adapters.git._errors import Failed, GitUnavailable, MirrorBroken, translated
from deployer.adapters.git._local import local_git_dir, local_heads
from deployer.adapters.git._reader import Reader, header
from deployer.adapters.git._remote import Remote, check_ref

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from deployer.adapters.git._commands import Repository
    from deployer.adapters.git._objects import Blob
    from deployer.core.types import Revision

_LOOK_SECONDS = 30.0
"""For an ls-remote: 0.3 s over ssh; a forge under load, or 20,000 refs over a slow line, takes seconds."""

_FETCH_SECONDS = 300.0
"""For a fetch: the first one moves a whole tree (1 GB at 4 MB/s), later ones take milliseconds."""

_OURS = "refs/deployer/"
"""Where the branches are kept: `refs/heads/x` as `refs/deployer/heads/x`."""

_QUIETLY = ("--quiet", "--no-tags", "--no-recurse-submodules", "--no-auto-gc", "--no-write-fetch-head")

T = TypeVar("T")

log = structlog.get_logger(__name__)


class Mirror:
    """One repository's mirror. Every method but `interrupt` is for one owner thread.

    Every method that looks may raise `GitUnavailable`; nothing else comes out of git, network or disk.
    """

    def __init__(
        self,
        path: Path,
        url: str,
        *,
        token_file: Path | None = None,
        username: str = "git",
        ca_file: Path | None = None,
        look_timeout_seconds: float = _LOOK_SECONDS,
        fetch_timeout_seconds: float = _FETCH_SECONDS,
    ) -> None:
        """Take the mirror's directory, which is ours alone, and the repository; touch neither yet.

        Raises ValueError if the URL holds a credential or is of a kind we do not use.
        """
        self._remote = Remote(url=url, token_file=token_file, username=username, ca_file=ca_file)
        self._look_seconds = look_timeout_seconds
        self._fetch_seconds = fetch_timeout_seconds
        self._children = Children()
        self._directory = Directory(path, self._remote, self._children)
        self._repository: Repository | None = None
        self._heads: dict[str, str] | None = None
        self._reader = Reader()

    def heads(self, refs: Collection[str]) -> Mapping[str, str]:
        """Ask where the branches are: commit by full ref. One that is not there is not in the answer.

        One request at most, and nothing is fetched.
        """
        wanted = {check_ref(ref) for ref in refs}
        if not wanted:
            return {}
        local = local_git_dir(self._remote.url)
        if local is not None and (found := local_heads(local, wanted)) is not None:
            return found
        with self._edge():
            self._remote.check_token()
            lines = (line.partition("\t") for line in self._ls_remote(wanted).splitlines())
            # A pattern of ls-remote matches the end of a name too.
            found = {ref: commit for commit, _, ref in lines if ref in wanted}
        if any(len(commit) != 40 for commit in found.values()):  # noqa: PLR2004 - hex digits of SHA-1
            message = f"cannot read {self._remote.url}: deployer cannot read SHA-256 object names"
            raise GitUnavailable(message)
        return found

    def known_heads(self) -> Mapping[str, str]:
        """Where the branches were when they were last fetched: what the mirror on disk has, no network."""
        with self._edge():
            return dict(self._known())

    def fetch(self, heads: Mapping[str, str]) -> Mapping[str, str]:
        """Make the mirror have exactly these branches, as `heads` answered; fetch only those that moved.

        Returns what it has now: a branch may have moved on since.
        """
        with self._edge():
            if self._known() != heads:
                try:
                    self._update(heads)
                except (Failed, MirrorBroken) as error:
                    self._recover(heads, str(error))
            return dict(self._known())

    def revision(self, commit: str) -> Revision:
        """Who made a fetched commit, when, and what it says of itself."""
        with self._edge():
            return self._reading(lambda git: self._reader.commit(git, commit)).revision

    def find(self, commit: str, path: str) -> str | None:
        """The id of the file at `path` of a fetched commit; None if nothing is there. Equal ids, equal files.

        For a folder that was looked into before this reads nothing: 5 us. Raises as `read` does.
        """
        with self._edge():
            return self._reading(lambda git: self._reader.find(git, commit, path))

    def read(self, commit: str, path: str) -> Blob | None:
        """Read the file at `path` of a fetched commit; None if nothing is there.

        Raises InvalidConfig for anything but a regular file of at most 1 MiB.
        """
        with self._edge():
            return self._reading(lambda git: self._reader.file(git, commit, path))

    def tidy(self) -> None:
        """Pack the mirror if many fetches crowded it: up to seconds, so call it when nothing waits."""
        with self._edge():
            if self._directory.is_crowded():
                self._open().git.gc("--quiet", "--prune=now", kill_after_timeout=self._fetch_seconds)

    def release(self) -> None:
        """Close what a look opened: the cat-file processes and their pipes. The next call opens it again."""
        if self._repository is not None:
            self._repository.close()
            self._repository = None

    close = release

    def interrupt(self) -> None:
        """End whatever runs and refuse what comes, from another thread: the owner gets `GitUnavailable`."""
        self._children.interrupt()

    # --- the mirror --------------------------------------------------------------------------------------

    def _open(self) -> Repository:
        if self._repository is None:
            if self._directory.ensure():
                self._heads = {}
            try:
                self._repository = self._directory.open()
            except (git.GitError, configparser.Error, ValueError) as error:
                # GitPython reads the mirror's config itself, and raises what its parser does.
                self._heads = self._empty(str(error))
                self._repository = self._directory.open()
        return self._repository

    def _known(self) -> dict[str, str]:
        if self._heads is None:
            repository = self._open()
            try:
                self._heads = _listed(repository)
            except Failed as error:
                self._heads = self._empty(str(error))
        return self._heads

    def _empty(self, why: str) -> dict[str, str]:
        """Start the mirror anew, since git cannot even list it."""
        log.warning("mirror_emptied", repository=self._remote.url, why=why)
        self.release()
        self._directory.create()
        return {}

    def _ls_remote(self, refs: Collection[str]) -> str:
        try:
            return self._ask(refs)
        except Failed:
            # A damaged mirror stops every command of git, also this one that does not need a mirror.
            repository, self._heads = self._open(), None
            self._known()
            if repository is self._repository:
                raise
            return self._ask(refs)

    def _ask(self, refs: Collection[str]) -> str:
        # --heads keeps tags and the refs of pull requests out of the answer, which can be thousands.
        arguments = ("--heads", "--", self._remote.url, *sorted(refs))
        return str(self._open().git.ls_remote(*arguments, kill_after_timeout=self._look_seconds))

    def _update(self, heads: Mapping[str, str]) -> None:
        """Delete the branches that are gone, fetch those that moved."""
        repository, known = self._open(), self._known()
        for ref in sorted(known.keys() - heads.keys()):
            # First, because `env` that is gone stands in the way of `env/staging`.
            repository.git.update_ref("-d", _ours(ref))
            del known[ref]
        moved = [check_ref(ref) for ref, commit in heads.items() if known.get(ref) != commit]
        # Shallow only what is new: the first fetch is 20 times cheaper so, a later one is not.
        self._run_fetch(repository, [ref for ref in moved if ref not in known], "--depth=1")
        self._run_fetch(repository, [ref for ref in moved if ref in known])
        for ref in moved:
            known[ref] = header(repository.git, _ours(ref))[0]

    def _recover(self, heads: Mapping[str, str], why: str) -> None:
        """Try again without what may be in the way; then, in case the mirror is to blame, into a new one."""
        if self._directory.sweep():
            with suppress(Failed, MirrorBroken):
                self._update(heads)
                return
        self._rebuild(heads, why)

    def _run_fetch(self, repository: Repository, refs: Collection[str], *options: str) -> None:
        if refs:
            refspecs = [f"+{ref}:{_ours(ref)}" for ref in sorted(refs)]
            repository.git.fetch(
                *_QUIETLY, *options, "--", self._remote.url, *refspecs, kill_after_timeout=self._fetch_seconds
            )

    def _rebuild(self, heads: Mapping[str, str], why: str) -> None:
        """Fetch everything anew beside the mirror and swap.

        If that fails too, the mirror is not to blame, and stays.
        """
        fresh = self._directory.beside()
        try:
            fresh.create()
            repository = fresh.open()
            try:
                self._run_fetch(repository, heads.keys(), "--depth=1")
                fetched = _listed(repository)
            finally:
                repository.close()
            self.release()
            self._directory.become(fresh)
        finally:
            fresh.remove()
        self._heads = fetched
        log.warning("mirror_rebuilt", repository=self._remote.url, why=why)

    # --- reading -----------------------------------------------------------------------------------------

    def _reading(self, read: Callable[[git.Git], T]) -> T:
        """Read; if the mirror turns out to be damaged, fetch it anew and read again."""
        try:
            return read(self._open().git)
        except MirrorBroken as error:
            self._rebuild(self._known(), str(error))
        try:
            return read(self._open().git)
        except MirrorBroken as error:
            message = (
                f"cannot read {self._remote.url}: {error}, also after a new fetch: the next look tries again"
            )
            raise GitUnavailable(message) from error

    def _edge(self) -> AbstractContextManager[None]:
        return translated(self._remote.url, self._directory.path)


def _listed(repository: Repository) -> dict[str, str]:
    """The branches on disk, by the names they have at the remote."""
    printed = str(repository.git.for_each_ref("--format=%(refname) %(objectname)", _ours("refs/heads/")))
    pairs = (line.split(" ") for line in printed.splitlines())
    return {"refs/" + ref.removeprefix(_OURS): commit for ref, commit in pairs}


def _ours(ref: str) -> str:
    return _OURS + ref.removeprefix("refs/")
