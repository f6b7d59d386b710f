"""A repository's copier: a commit that changes files of a branch, and the push of it.

Owns a bare directory of its own with single commits and all their files. Must not know environments, nor
what is in the file. Invariant: what is pushed to a branch follows from the very commit that was read, or
nothing is; and the turn is the writer's: of all who write to one repository, one works at a time.

Keep the turn (`Writer.alone`) from reading to pushing: whoever reads in between may tidy a commit away that
was not pushed. Then it is made again, with the same id.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NoReturn, TypeVar

from deployer.adapters.git._errors import Failed, GitUnavailable, MirrorBroken, harmless
from deployer.adapters.git._planting import check_path, plant, seal
from deployer.adapters.git._push_answer import CommitMissing
from deployer.adapters.git._reader import header
from deployer.adapters.git._remote import check_ref
from deployer.adapters.git._settling import (
    Push,
    Pushed,
    Tried,
    check_may_push,
    check_own,
    replacing,
    settle,
)
from deployer.adapters.git._workspace import (
    FETCH_SECONDS,
    LOOK_SECONDS,
    PUSH_SECONDS,
    SNAPSHOTS,
    TURN_SECONDS,
    Timeouts,
    Workspace,
    check_commit,
)
from deployer.core.errors import InvalidConfig
from deployer.core.yaml import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

    from deployer.adapters.git._pushing import Writer
    from deployer.core.types import Person

T = TypeVar("T")

_OURS = "refs/deployer/snapshot"
"""Where the newest snapshot is kept."""

_CONFLICT = ("conflicts during merge", "Cannot merge binary files")
"""What `git merge-file` says (LC_ALL=C, 2.39) where both sides changed the same lines, or a side has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A branch at a moment: its commit, and the bytes of a file there; None where there is no such file."""

    head: str
    data: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Nothing was pushed: the branch is elsewhere than it was read at. `head` is where; None: it is gone."""

    head: str | None


class Copier:
    """Copies into one repository. Thread-safe: it takes the writer's turn, the others wait for theirs.

    Every method may raise `GitUnavailable`; nothing else comes out of git, network or disk. ValueError is for
    a branch, a commit or a path that cannot be one.
    """

    def __init__(
        self,
        path: Path,
        writer: Writer,
        *,
        look_timeout_seconds: float = LOOK_SECONDS,
        fetch_timeout_seconds: float = FETCH_SECONDS,
        push_timeout_seconds: float = PUSH_SECONDS,
    ) -> None:
        """Take the directory, which is ours alone, and the writer of the repository; touch nothing yet."""
        self.url = writer.url
        self._writer = writer
        timeouts = Timeouts(look=look_timeout_seconds, fetch=fetch_timeout_seconds, push=push_timeout_seconds)
        self._workspace = Workspace(path, writer.remote, SNAPSHOTS, writer.turn, timeouts)

    def read(self, branch: str, file: str, *, patience_seconds: float = TURN_SECONDS) -> Snapshot:
        """The branch (`main`) where it is now, and the file there.

        GitUnavailable also where the branch is not there, or where the file is no plain one of at most
        256 KiB. Who has no `patience_seconds` for their turn gets it, too.
        """
        check_ref(f"refs/heads/{branch}")
        check_path(file)
        with self._workspace.in_turn(patience_seconds):
            try:
                return self._workspace.steadily(lambda: self._read(branch, file))
            finally:
                self._workspace.tidy()

    def at(self, commit: str, file: str) -> bytes | None:
        """The bytes of the file in a commit that the server has; None where there is no such file.

        Raises CommitMissing as well; GitUnavailable also where it is no plain file of at most 256 KiB.
        """
        check_commit(commit)
        check_path(file)

        def read() -> bytes | None:
            if not self._workspace.has(commit):
                self._workspace.fetch_by_id(commit, _OURS)
            return self._file(commit, file)

        with self._workspace.in_turn():
            return self._workspace.steadily(read)

    def merged(self, ours: bytes, *, base: bytes, theirs: bytes) -> bytes | None:
        """What `ours` is with all that changed from `base` to `theirs`, line by line; None for a conflict."""

        def merge() -> bytes | None:
            git = self._workspace.git
            # Named like litter: the next start removes what a kill left.
            paths = [self._workspace.path / f"deployer-{name}.lock" for name in ("ours", "base", "theirs")]
            try:
                for path, data in zip(paths, (ours, base, theirs), strict=True):
                    path.write_bytes(data)
                git.merge_file(*map(str, paths))
                return paths[0].read_bytes()
            except Failed as error:
                if any(sign in error.printed for sign in _CONFLICT):
                    return None
                raise
            finally:
                for path in paths:
                    path.unlink(missing_ok=True)

        with self._workspace.in_turn():
            return self._workspace.steadily(merge)

    def commit(
        self, snapshot: Snapshot, file: str, data: bytes, message: str, *, author: Person, at: datetime
    ) -> str:
        """Make a commit on top of the snapshot that changes this one file; its id. See `commit_files`."""
        return self.commit_files(snapshot.head, {file: data}, message, author=author, at=at)

    def commit_files(
        self, head: str, files: Mapping[str, bytes], message: str, *, author: Person, at: datetime
    ) -> str:
        """Make a commit on top of `head`, which was read, that changes these files; its id. It is not pushed.

        A file that is there keeps its mode; a new one is a plain one, in new folders if need be. Author and
        committer are the same person. `at` has a time zone. The same arguments give the same id.
        """
        check_commit(head)
        for file in files:
            check_path(file)
        if at.tzinfo is None:
            message = "the time of a commit needs a time zone"
            raise ValueError(message)

        def make() -> str:
            self._bring(head)
            tree: str | None = None
            for file, data in files.items():
                tree = self._plainly(head, file, partial(plant, self._workspace, head, file, data, onto=tree))
            if tree is None:
                nothing = "a commit that changes nothing"
                raise ValueError(nothing)
            commit = seal(self._workspace, tree, head, message, author, at)
            self._go_through(commit)
            return commit

        with self._workspace.in_turn():
            return self._workspace.steadily(make)

    def push(self, commit: str, branch: str, *, before: str) -> Pushed | Moved:
        """Move the branch from `before`, which the commit was made on, to the commit.

        If the answer is lost, it looks where the branch is and tries again, a few times. Raises PushRefused
        where the server does not want the push, PushUnclear where nobody knows whether it took it.
        """
        check_ref(f"refs/heads/{branch}")
        check_commit(before)

        def look(tried: Tried | None) -> Pushed | Moved | Push:
            head = self._head(branch)
            if head == commit or (tried is not None and head != before and self._is_in(commit, branch)):
                return Pushed(before=before, after=commit)
            if head != before:
                return Moved(head=head)
            # With a lease: it is a fast-forward, but from there alone and not from what lies behind.
            return Push(commit=commit, branch=branch, seen=before, is_leased=True)

        return self._settle(commit, branch, look, on=before)

    def propose(self, commit: str, branch: str) -> Pushed:
        """Put a branch of our own, that of a pull request, at the commit. See `Writer.propose`."""
        check_own(branch)
        return self._settle(
            commit, branch, lambda tried: replacing(commit, branch, self._head(branch), tried)
        )

    def interrupt(self) -> None:
        """End whatever runs and refuse what comes, also of the writer, from another thread."""
        self._writer.interrupt()

    # --- in turn -----------------------------------------------------------------------------------------

    def _settle(
        self, commit: str, branch: str, look: Callable[[Tried | None], T | Push], *, on: str | None = None
    ) -> T | Pushed:
        check_commit(commit)
        what = f"cannot push {commit[:7]} to {branch} of {self.url}"
        check_may_push(what, can_push=self._writer.can_push)

        def look_and_have(tried: Tried | None) -> T | Push:
            found = look(tried)
            if isinstance(found, Push):
                self._check_made(commit, on, what)
            return found

        with self._workspace.in_turn():
            return settle(self._workspace, what, look_and_have)

    def _check_made(self, commit: str, on: str | None, what: str) -> None:
        """Raise GitUnavailable if the commit is not here whole, ValueError if it was not made on that one."""
        try:
            parents = self._go_through(commit)
        except (Failed, MirrorBroken) as error:
            self._workspace.anew()
            message = f"{what}: it is not in {self._workspace.path} any more: try again"
            raise GitUnavailable(message) from error
        if on is not None and parents != (on,):
            message = f"{commit} was not made on {on}"
            raise ValueError(message)

    def _go_through(self, commit: str) -> tuple[str, ...]:
        """Its parents, and git has read all that is new in it. Raises Failed, MirrorBroken.

        As a push will: a damage that is met only there reads as if the server had broken it off.
        """
        parents = self._workspace.reader.commit(self._workspace.git, commit).parents
        self._workspace.git.rev_list("--objects", commit, *(f"^{one}" for one in parents), "--")
        return parents

    def _read(self, branch: str, file: str) -> Snapshot:
        workspace, head = self._workspace, self._head(branch)
        if head is None:
            what = f"cannot read {self.url}: it has no branch {branch}"
            message = f"{what}: make it, or correct the environment's `branch`"
            raise GitUnavailable(message)
        if not workspace.has(head):
            workspace.fetch([f"+refs/heads/{branch}:{_OURS}"])
            # It may have moved on since.
            head = header(workspace.git, _OURS)[0]
        return Snapshot(head=head, data=self._file(head, file))

    def _file(self, commit: str, file: str) -> bytes | None:
        workspace = self._workspace
        blob = self._plainly(commit, file, lambda: workspace.reader.file(workspace.git, commit, file))
        if blob is not None and len(blob.data) > MAX_BYTES:
            self._refuse(commit, file, f"it has {len(blob.data):,} bytes")
        return None if blob is None else blob.data

    def _head(self, branch: str) -> str | None:
        return self._workspace.ask({f"refs/heads/{branch}"}).get(f"refs/heads/{branch}")

    def _bring(self, commit: str) -> None:
        """Have a commit that was read before, also if the directory was made anew since."""
        if self._workspace.has(commit):
            return
        try:
            self._workspace.fetch_by_id(commit, _OURS)
        except CommitMissing as error:
            message = f"cannot read {self.url}: it does not have {commit[:7]} any more: try again"
            raise GitUnavailable(message) from error

    def _is_in(self, commit: str, branch: str) -> bool:
        """Whether the branch, which somebody else has moved on, has the commit."""
        try:
            return not self._writer.lane(commit, branch).ahead
        except CommitMissing:
            return False

    def _plainly(self, commit: str, file: str, work: Callable[[], T]) -> T:
        try:
            return work()
        except InvalidConfig as error:
            self._refuse(commit, file, error.problems[0].message)

    def _refuse(self, commit: str, file: str, why: str) -> NoReturn:
        what = f"cannot copy to {harmless(file)}, as it is in commit {commit[:7]} of {self.url}: {why}"
        message = f"{what}; it must be a plain file of at most {MAX_BYTES // 1024} KiB"
        raise GitUnavailable(message)
