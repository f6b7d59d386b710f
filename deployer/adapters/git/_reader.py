"""Reads commits, folders and files of a mirror by id, through one `git cat-file` that stays.

Owns the caches and the rule for what counts as a file. Must not know the mirror's directory or the network.
Invariant: nothing is read before its size is known, every byte is checked against the id it was asked by,
and a path is looked up folder by folder: a listing of the tree may have 10,000,000,000 lines (a git bomb).
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from deployer.adapters.git._errors import GitUnavailable, MirrorBroken, harmless
from deployer.adapters.git._objects import Blob, Commit, Entry, parse_commit, parse_tree
from deployer.core.errors import InvalidConfig, Problem

if TYPE_CHECKING:
    import git

_FILE_LIMIT = 1024 * 1024
"""Bytes of a file that is read: a Serve config of 200 applications is 77 KB."""

OBJECT_LIMIT = 16 * 1024 * 1024
"""Bytes of a commit or folder that is read: a folder of 300,000 entries."""

_CACHED_ENTRIES = 200_000
"""Folder entries kept parsed (some 40 MB): a repository of 1,000 environments needs a few thousand."""

_CACHED_COMMITS = 1_000
"""Commits kept parsed: one per followed branch and look."""

_TAGS_LIMIT = 10
"""Tags of tags that are followed. More is a joke."""

_TAGGED = re.compile(rb"object ([0-9a-f]{40})\n")

_LFS = b"version https://git-lfs.github.com/spec/"


class Reader:
    """Reads objects. Everything is cached by id, so no cache is ever wrong, only full."""

    def __init__(self) -> None:
        """Start with empty caches."""
        self._commits: dict[str, Commit] = {}
        self._folders: dict[str, dict[str, Entry]] = {}
        self._entries = 0

    def commit(self, git: git.Git, commit: str) -> Commit:
        """Read a commit by its full id.

        Raises MirrorBroken if the mirror does not have it whole, GitUnavailable if it is absurdly big.
        """
        if commit not in self._commits:
            if len(self._commits) >= _CACHED_COMMITS:
                self._commits.clear()
            try:
                raw = read_object(git, commit, "commit", OBJECT_LIMIT)
            except _TooBigError as error:
                message = f"cannot read commit {commit}: it has {error}: push one without such a message"
                raise GitUnavailable(message) from None
            self._commits[commit] = parse_commit(commit, raw)
        return self._commits[commit]

    def has(self, git: git.Git, commit: str) -> bool:
        """Whether the mirror has this commit."""
        try:
            return header(git, commit)[1] == "commit"
        except MirrorBroken:
            return False

    def peel(self, git: git.Git, id_: str) -> str | None:
        """The commit that an object is, or that it is a tag of; None if it is none.

        Raises MirrorBroken if the mirror does not have it whole.
        """
        for _ in range(_TAGS_LIMIT):
            found, kind, size = header(git, id_)
            if kind != "tag":
                return found if kind == "commit" else None
            if size > _FILE_LIMIT:
                return None
            target = _TAGGED.match(read_object(git, found, "tag", _FILE_LIMIT))
            if target is None:
                return None
            id_ = target[1].decode()
        return None

    def find(self, git: git.Git, commit: str, path: str) -> str | None:
        """The id of the file at `path`; None if nothing is there.

        Raises InvalidConfig for anything but a plain file, MirrorBroken.
        """
        *folders, name = PurePosixPath(path).parts
        tree = self.commit(git, commit).tree
        try:
            for depth, folder in enumerate(folders, start=1):
                entry = self._folder(git, tree).get(folder)
                if entry is None:
                    return None
                if not stat.S_ISDIR(entry.mode):
                    raise _unusable(path, f"{'/'.join(folders[:depth])} is {_kind(entry.mode)}, not a folder")
                tree = entry.id
            entry = self._folder(git, tree).get(name)
        except _TooBigError as error:
            raise _unusable(path, f"a folder above it has {error}") from None
        if entry is None:
            return None
        if not stat.S_ISREG(entry.mode):
            raise _unusable(path, f"this is {_kind(entry.mode)}, not a plain file")
        return entry.id

    def file(self, git: git.Git, commit: str, path: str) -> Blob | None:
        """Read the file at `path`; None if nothing is there.

        Raises what `find` does, and InvalidConfig for more than 1 MiB.
        """
        blob = self.find(git, commit, path)
        if blob is None:
            return None
        try:
            data = read_object(git, blob, "blob", _FILE_LIMIT)
        except _TooBigError as error:
            raise _unusable(path, f"this file has {error}") from None
        if data.startswith(_LFS):
            raise _unusable(path, "this is a Git LFS pointer: commit the file itself")
        return Blob(id=blob, data=data)

    def _folder(self, git: git.Git, tree: str) -> dict[str, Entry]:
        if tree not in self._folders:
            folder = parse_tree(read_object(git, tree, "tree", OBJECT_LIMIT))
            if self._entries + len(folder) > _CACHED_ENTRIES:
                self._folders.clear()
                self._entries = 0
            self._folders[tree] = folder
            self._entries += len(folder)
        return self._folders[tree]


class _TooBigError(Exception):
    """An object over its limit."""

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"{size:,} bytes; at most {limit:,} are read")


def header(git: git.Git, name: str) -> tuple[str, str, int]:
    """Full id, kind and size of the object of that name. Raises MirrorBroken if it cannot be read."""
    try:
        found, kind, size = git.get_object_header(name)
    # ValueError: missing, or git died of what it met. OSError: it died before it was asked.
    except (ValueError, OSError) as error:
        message = f"{name}: {harmless(str(error))}"
        raise MirrorBroken(message) from error
    # GitPython's annotation says str; what comes is bytes (3.2.1).
    return os.fsdecode(found), os.fsdecode(kind), size


def read_object(git: git.Git, name: str, kind: str, limit: int) -> bytes:
    """The content of an object, checked against its id. Raises MirrorBroken, GitUnavailable."""
    found, found_kind, size = header(git, name)
    if size > limit:
        raise _TooBigError(size, limit)
    try:
        data = git.get_object_data(found)[3]
    except (ValueError, OSError) as error:
        message = f"{kind} {name}: {harmless(str(error))}"
        raise MirrorBroken(message) from error
    # The disk may lie, and git checks no id when it reads.
    digest = hashlib.sha1(b"%s %d\0%s" % (found_kind.encode(), len(data), data), usedforsecurity=False)
    if digest.hexdigest() != name:
        message = f"{kind} {name} is damaged"
        raise MirrorBroken(message)
    if found_kind != kind:
        # Only what a branch points at: git checks the kinds of all the rest when it fetches.
        message = f"cannot read {kind} {name}: it is a {found_kind}, not a {kind}: put the branch at a {kind}"
        raise GitUnavailable(message)
    return data


def _kind(mode: int) -> str:
    match stat.S_IFMT(mode):
        case stat.S_IFDIR:
            return "a folder"
        case stat.S_IFREG:
            return "a file"
        case stat.S_IFLNK:
            return "a symbolic link"
        case _:
            # Git, too, takes every other mode for one.
            return "a submodule"


def _unusable(path: str, message: str) -> InvalidConfig:
    return InvalidConfig((Problem(file=path, line=0, column=0, message=message),))
