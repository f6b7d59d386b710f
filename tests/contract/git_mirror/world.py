"""A repository, mirrors of it, and what was run: the pieces of the mirror's contract tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from deployer.adapters.git import Mirror, local_git_dir
from tests.support.git_server import GitServer
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    import pytest

MAIN = "refs/heads/main"
CONFIG = "environments/staging/serve_config.yaml"
TOKEN = "s3cret-token-of-the-forge"


class NewMirror(Protocol):
    """Makes a mirror that is closed when the test ends."""

    def __call__(self, url: str, name: str = "mirror.git", **options: Any) -> Mirror:
        """A mirror of `url`; the same name is the same directory."""


@dataclass(kw_only=True)
class World:
    """A repository that a team pushes to, and mirrors of it over one kind of remote."""

    folder: Path
    origin: BareRepo
    mirror: Callable[[], Mirror]
    server: GitServer | None = None

    @property
    def is_local(self) -> bool:
        """Whether the mirrors name the repository by its place on this machine."""
        return local_git_dir(self.mirror()._remote.url) is not None

    @property
    def mirrored(self) -> BareRepo:
        """The mirror's directory, to look into."""
        return BareRepo(self.folder / "mirror.git")


def put_program(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a script that is found before any other program of its name."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")


def bring(mirror: Mirror, *refs: str) -> dict[str, str]:
    """One look: ask, then fetch what moved."""
    return dict(mirror.fetch(mirror.heads(refs or (MAIN,))))


def text(mirror: Mirror, commit: str, path: str = CONFIG) -> str | None:
    """The content of a file at a commit; None if it is not there."""
    blob = mirror.read(commit, path)
    return None if blob is None else blob.data.decode()


def children() -> list[str]:
    """The command lines of this process's children, and theirs."""
    found, todo = [], [os.getpid()]
    while todo:
        listed = subprocess.run(
            ["pgrep", "-P", str(todo.pop())], capture_output=True, text=True, check=False, timeout=5
        )
        for pid in map(int, listed.stdout.split()):
            command = proc(pid, "cmdline").replace("\0", " ")
            # The ssh server is there for all tests.
            if command and not command.startswith(("pgrep", "sshd:")):
                found.append(command)
                todo.append(pid)
    return found


def proc(pid: int, name: str) -> str:
    """A file of a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""
