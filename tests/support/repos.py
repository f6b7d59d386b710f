"""Bare git repositories to test against, filled by real git in one process per commit."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_GIT_SECONDS = 20.0

ADA = "Ada <ada@example.com>"


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link in a tree."""

    target: str


@dataclass(frozen=True, slots=True)
class Submodule:
    """A submodule in a tree: the commit of another repository."""

    commit: str = "1" * 40


@dataclass(frozen=True, slots=True)
class Script:
    """An executable file."""

    text: str


Content = str | bytes | Link | Submodule | Script | None
"""What a path shall hold; None removes it."""


def run_git(*arguments: str, data: bytes | None = None) -> bytes:
    """Run git without the configuration of this machine; its output."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    clean |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
    return subprocess.run(
        ["git", *arguments], input=data, env=clean, capture_output=True, check=True, timeout=_GIT_SECONDS
    ).stdout


class BareRepo:
    """A bare repository on this machine: what a team pushes to."""

    def __init__(self, path: Path) -> None:
        """Create it, if there is none at `path`."""
        self.path = path
        self._seconds = 1_700_000_000
        if not path.exists():
            run_git("init", "--quiet", "--bare", "--initial-branch=main", str(path))

    @property
    def url(self) -> str:
        """Its file:// URL."""
        return self.path.as_uri()

    def git(self, *arguments: str, data: bytes | None = None) -> str:
        """Run a git command in it."""
        return run_git(f"--git-dir={self.path}", *arguments, data=data).decode("utf-8", "replace").strip()

    def commit(
        self,
        files: Mapping[str, Content],
        *,
        branch: str = "main",
        message: str | bytes = "change",
        author: str | bytes = ADA,
        encoding: str = "",
        orphan: bool = False,
    ) -> str:
        """Commit on top of a branch, which is made if it is not there; the new commit's id.

        `orphan`: forget the branch's history, as a forced push does.
        """
        self._seconds += 1
        who = author.encode() if isinstance(author, str) else author
        text = message.encode() if isinstance(message, str) else message
        lines = [f"commit refs/heads/{branch}".encode()]
        lines += [role + b" " + who + b" %d +0000" % self._seconds for role in (b"author", b"committer")]
        lines += [f"encoding {encoding}".encode()] * bool(encoding)
        lines += [b"data %d" % len(text), text]
        if not orphan and (tip := self.head(branch)):
            lines += [f"from {tip}".encode()]
        for path, content in files.items():
            lines += _change(path, content)
        self.git("fast-import", "--quiet", "--force", data=b"\n".join([*lines, b"", b""]))
        return self.head(branch) or ""

    def head(self, branch: str = "main") -> str | None:
        """Where a branch is; None if there is no such branch."""
        return self.git("for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}") or None

    def branch(self, name: str, commit: str) -> None:
        """Put a branch at a commit."""
        self.git("update-ref", f"refs/heads/{name}", commit)

    def delete(self, branch: str) -> None:
        """Delete a branch."""
        self.git("update-ref", "-d", f"refs/heads/{branch}")

    def pack_refs(self) -> None:
        """Move all branches into the packed-refs file, as `git gc` does."""
        self.git("pack-refs", "--all", "--prune")

    def push_to(self, other: BareRepo, branch: str = "main") -> None:
        """Really push a branch, by force."""
        self.git("push", "--quiet", "--force", other.url, f"refs/heads/{branch}:refs/heads/{branch}")


def _change(path: str, content: Content) -> list[bytes]:
    name = path.encode("utf-8", "surrogateescape")
    match content:
        case None:
            return [b"D " + name]
        case Submodule(commit=commit):
            return [f"M 160000 {commit} ".encode() + name]
        case Link(target=target):
            return _inline(b"120000", name, target.encode())
        case Script(text=text):
            return _inline(b"100755", name, text.encode())
        case str():
            return _inline(b"100644", name, content.encode())
        case bytes():
            return _inline(b"100644", name, content)
        case _:
            assert_never(content)


def _inline(mode: bytes, name: bytes, data: bytes) -> list[bytes]:
    return [b"M " + mode + b" inline " + name, b"data %d" % len(data), data]
