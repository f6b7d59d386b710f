"""The directory of a mirror on disk: made, opened, swept, swapped.

Owns what lies in it. Must not know branches or the network. Invariant: the directory is ours alone, so
anything unexpected in it is litter and may be removed; one that was not finished counts as not there.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from deployer.adapters.git._commands import Children, Commands, Repository

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.adapters.git._remote import Remote

_MARK = "deployer-url"
"""The file that is written last into a new mirror: whose mirror it is, and that it is complete."""

_LITTER = ("*.lock", "gc.pid", "refs/**/*.lock", "objects/*/tmp_*", "objects/pack/.tmp-*")
"""What a git that was killed leaves. A lock on a branch stops every later fetch of it (measured)."""

_PACKS = 50
"""Packs that git puts up with (gc.autoPackLimit)."""


class Directory:
    """One mirror's directory."""

    def __init__(self, path: Path, remote: Remote, children: Children) -> None:
        """Take where it is, whose mirror it is, and where its git processes are counted."""
        self.path = path
        self._remote = remote
        self._children = children
        self._settled = False

    def ensure(self) -> bool:
        """Make the directory if it is not there or another repository's. True if it is new, so empty."""
        if not self._is_complete():
            self.create()
            return True
        if not self._settled:
            self.sweep()
            self.beside().remove()
            self._remote.lay_out(self.path)
            self._settled = True
        return False

    def create(self) -> None:
        """An empty mirror, in place of whatever is there."""
        self.remove()
        self.path.mkdir(parents=True, mode=0o700)
        commands = Commands(self.path)
        commands.prepare(self._children, self._remote.environment(self.path))
        # No template: it would bring hooks and files that nobody needs.
        commands.init("--quiet", "--bare", "--template=", "--initial-branch=none")
        self._remote.lay_out(self.path)
        (self.path / _MARK).write_text(self._remote.url, encoding="utf-8")

    def open(self) -> Repository:
        """Open it with GitPython. Close what you get."""
        repository = Repository(self.path, expand_vars=False)
        repository.git.prepare(self._children, self._remote.environment(self.path), self._renew)
        return repository

    def sweep(self) -> bool:
        """Remove what a killed git left behind; only while none of ours runs. True if there was anything."""
        litter = [path for pattern in _LITTER for path in self.path.glob(pattern)]
        for path in litter:
            path.unlink(missing_ok=True)
        return bool(litter)

    def is_crowded(self) -> bool:
        """Whether git itself would tidy up: it looks into each pack for every object that it reads.

        Each fetch leaves one, because what is checked (transfer.fsckObjects) is kept as it came.
        """
        return sum(1 for _ in (self.path / "objects" / "pack").glob("*.pack")) > _PACKS

    def beside(self) -> Directory:
        """Where a new mirror is built that is to take this one's place."""
        return Directory(self.path.with_name(self.path.name + ".fresh"), self._remote, self._children)

    def become(self, fresh: Directory) -> None:
        """Put `fresh` in this one's place. After a crash in the middle the next start makes a new one."""
        self.remove()
        fresh.path.rename(self.path)

    def remove(self) -> None:
        """Delete it, or whatever is in its place."""
        if self.path.is_symlink() or self.path.is_file():
            self.path.unlink()
        else:
            shutil.rmtree(self.path, ignore_errors=True)

    def _renew(self, printed: str) -> bool:
        return self._remote.renew(printed, self.path, self._children)

    def _is_complete(self) -> bool:
        try:
            mark = (self.path / _MARK).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return False
        parts = (
            (self.path / "HEAD").is_file(),
            (self.path / "objects").is_dir(),
            (self.path / "refs").is_dir(),
        )
        return mark == self._remote.url and all(parts)
