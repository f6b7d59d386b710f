"""A glance at a repository for a person: what a ref is now, and files at it.

Owns the way from a ref as people write it (a branch, a tag, a commit) to a commit and its files. Must not
know what the files mean. Invariant: it writes nowhere but into the scratch folder that it is given, and
never runs a hook, a filter or a checkout.

A local repository, or a mirror of the daemon's, is read where it is. A remote one is asked for the branch,
which is fetched into the scratch folder as the daemon fetches it (ADR 0006).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, assert_never

from deployer.adapters.git._commands import Children, Repository
from deployer.adapters.git._errors import Failed, GitUnavailable, MirrorBroken, TimedOut
from deployer.adapters.git._local import local_git_dir
from deployer.adapters.git._reader import Reader
from deployer.adapters.git._remote import Access, Remote, check_ref
from deployer.adapters.git.mirror import Mirror
from deployer.core.source import TAGS, Branch, Pinned, Tags

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.adapters.git._objects import Blob
    from deployer.core.source import Source
    from deployer.core.types import Revision

_COMMIT = re.compile(r"[0-9a-f]{4,64}")
_PLAIN = re.compile(r"[A-Za-z0-9_./@{}~^+-]{1,250}")


class Glance:
    """One repository, for one command. Close it."""

    def __init__(
        self,
        url: str,
        *,
        scratch: Path,
        mirror: Path | None = None,
        access: Access | None = None,
    ) -> None:
        """Take the repository and how to be let in.

        `scratch` is an empty folder of ours. `mirror` is where the daemon keeps its copy; it helps where a
        commit is named, or nobody answers. Raises ValueError for a URL that cannot be used.
        """
        self.url = url
        self._remote = Remote(url=url, access=access or Access())
        local = local_git_dir(url)
        self._kept = local if local is not None else mirror
        self._is_local = local is not None
        self._mirror = Mirror(scratch / "mirror.git", url, access=access)
        self._reader = Reader()
        self._repository: Repository | None = None
        self._fetched: set[str] = set()
        self.notes: list[str] = []

    def close(self) -> None:
        """End the git processes."""
        self._mirror.close()
        if self._repository is not None:
            self._repository.close()

    def commit(self, ref: str) -> str | None:
        """The full id of the commit that a branch, tag or commit id names; None if there is none.

        Raises GitUnavailable if the repository cannot be read.
        """
        if not _PLAIN.fullmatch(ref) or ref.startswith("-"):
            return None
        if self._is_local:
            return self._resolve(ref)
        branch = ref if ref.startswith("refs/heads/") else f"refs/heads/{ref}"
        try:
            heads = self._mirror.fetch(self._mirror.heads([check_ref(branch)]))
        except ValueError:
            heads = {}
        except GitUnavailable as error:
            # What the daemon fetched last is better than nothing, if it is said.
            found = self._resolve(branch) or (self._resolve(ref) if _COMMIT.fullmatch(ref) else None)
            if found is None:
                raise
            self.notes.append(f"{error.why}; read from what the daemon fetched last")
            return found
        if branch in heads:
            self._fetched.add(heads[branch])
            return heads[branch]
        return self._resolve(ref) if _COMMIT.fullmatch(ref) else None

    def followed(self, source: Source) -> str | None:
        """The full id of the commit that an environment with this source follows now; None if there is none.

        Raises GitUnavailable if the repository cannot be read.
        """
        match source:
            case Branch():
                return self.commit(source.ref)
            case Tags():
                there = self._mirror.heads((), (source.refs,))
                tag = source.newest([ref.removeprefix(TAGS) for ref in there])
                ref, id_ = (TAGS + tag, there[TAGS + tag]) if tag is not None else ("", "")
            case Pinned():
                ref, id_ = source.ref, source.commit
            case _:
                assert_never(source)
        found = self._mirror.fetch({ref: id_} if ref else {}).get(ref)
        commit = self._mirror.commit_of(found) if found is not None else None
        if commit is not None:
            self._fetched.add(commit)
        return commit

    def revision(self, commit: str) -> Revision:
        """Who made the commit, when, and what it says of itself."""
        if commit in self._fetched:
            return self._mirror.revision(commit)
        try:
            return self._reader.commit(self._open().git, commit).revision
        except MirrorBroken as error:
            raise self._unreadable(error) from error

    def read(self, commit: str, path: str) -> Blob | None:
        """The file at `path` of the commit; None if nothing is there.

        Raises GitUnavailable, and InvalidConfig for what is no plain file.
        """
        if commit in self._fetched:
            return self._mirror.read(commit, path)
        try:
            return self._reader.file(self._open().git, commit, path)
        except MirrorBroken as error:
            raise self._unreadable(error) from error

    def _resolve(self, ref: str) -> str | None:
        if self._kept is None or not (self._kept / "HEAD").is_file():
            if self._is_local:
                message = f"there is no git repository at {self.url}"
                raise GitUnavailable(message)
            return None
        # In the mirror the branches have names of their own (`_directory`).
        names = [ref] if self._is_local else [ref.replace("refs/heads/", "refs/deployer/heads/", 1), ref]
        for name in names:
            try:
                found = self._open().git.rev_parse(
                    "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}"
                )
            except Failed:
                continue
            except TimedOut as error:
                raise self._unreadable(error) from error
            return str(found)
        return None

    def _open(self) -> Repository:
        if self._repository is None:
            assert self._kept is not None  # noqa: S101 - for mypy: only what was resolved there is read there
            self._repository = Repository(self._kept, expand_vars=False)
            self._repository.git.prepare(Children(), self._remote.environment(self._kept))
        return self._repository

    def _unreadable(self, error: Exception) -> GitUnavailable:
        return GitUnavailable(f"cannot read {self.url}: {error}")
