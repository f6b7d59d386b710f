"""A repository on this machine: where it is, and where its branches are, without starting git.

Owns the reading of git's own files. Must not write one. Invariant: it never guesses; what is not exactly as
git's manual has it (gitrepository-layout) is left to git.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection

_COMMIT = re.compile(rb"([0-9a-f]{40})\n?")


class _NotPlainError(Exception):
    """Something that only git can read: a symbolic branch, a branch being written by something else."""


def local_git_dir(url: str) -> Path | None:
    """The git directory of a repository on this machine, whether it exists or not; None for a remote one."""
    if url.startswith("file://"):
        path = Path(unquote(urlsplit(url).path))
    elif url.startswith("/"):
        path = Path(url)
    else:
        return None
    return path / ".git" if (path / ".git").is_dir() else path


def local_heads(git_dir: Path, refs: Collection[str]) -> dict[str, str] | None:
    """Where these branches are, or None if git must be asked. Takes 0.05 ms; `git ls-remote` takes 6 ms."""
    # Without HEAD it is no repository; the other two keep their branches elsewhere.
    if not (git_dir / "HEAD").is_file() or any(
        (git_dir / name).exists() for name in ("reftable", "commondir")
    ):
        return None
    try:
        # In this order: `git pack-refs` writes the packed file before it deletes a loose one.
        loose = {ref: _loose(git_dir / ref) for ref in refs}
        packed = _packed(git_dir / "packed-refs", [ref for ref, commit in loose.items() if commit is None])
    except (OSError, _NotPlainError):
        return None
    return packed | {ref: commit for ref, commit in loose.items() if commit is not None}


def _loose(path: Path) -> str | None:
    try:
        found = _COMMIT.fullmatch(path.read_bytes())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    if found is None:
        raise _NotPlainError
    return found[1].decode()


def _packed(path: Path, refs: Collection[str]) -> dict[str, str]:
    if not refs:
        return {}
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    lines = {
        ref: re.search(rb"^([0-9a-f]{40}) %s$" % re.escape(ref.encode()), content, re.MULTILINE)
        for ref in refs
    }
    return {ref: line[1].decode() for ref, line in lines.items() if line is not None}
