"""A repository of a team over each kind of remote that takes pushes, and what pushes to it."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer.adapters.git import Access, Copier, Writer
from tests.contract.git_mirror.conftest import FAKE_SSH
from tests.contract.git_mirror.world import put_program
from tests.support.git_server import serving
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from tests.support.sshd import SshServer

STAGING, PRODUCTION = "env/staging", "env/production"
SOURCE = f"refs/heads/{STAGING}"
TOKEN = "s3cret-token-of-the-forge"

KINDS = ("file", "http", "ssh", "sshd")
"""`ssh` speaks only the oldest protocol."""

ONCE = 'mkdir "$GIT_DIR/first" 2>/dev/null || exit 0\n'
"""For a hook that does what it does only the first time."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A repository of a team, and how one gets to it."""

    origin: BareRepo
    folder: Path
    url: str
    access: Access

    def writer(self, **options: Any) -> Writer:
        """The writer; every one of a site has the same directory."""
        return Writer(self.folder / "o.write.git", self.url, access=self.access, **options)

    def copier(self, writer: Writer | None = None, **options: Any) -> Copier:
        """The copier; every one of a site has the same directory."""
        return Copier(self.folder / "o.copy.git", writer or self.writer(), **options)

    @property
    def written(self) -> BareRepo:
        """The writer's directory, to look into."""
        return BareRepo(self.folder / "o.write.git")

    @property
    def copied(self) -> BareRepo:
        """The copier's directory, to look into."""
        return BareRepo(self.folder / "o.copy.git")

    def hook(self, name: str, script: str) -> None:
        """Give the repository a hook."""
        path = self.origin.path / "hooks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}")
        path.chmod(0o755)

    def commits(self, *subjects: str, branch: str = STAGING) -> list[str]:
        """More commits on a branch, oldest first."""
        return [self.origin.commit({"f": one}, branch=branch, message=one) for one in subjects]

    def forward(self, commit: str, writer: Writer | None = None) -> Any:
        """Promote to production, as the engine does."""
        return (writer or self.writer()).fast_forward(commit, PRODUCTION, source_ref=SOURCE)


def local_site(folder: Path) -> Site:
    """A repository on this machine."""
    origin = BareRepo(folder / "origin.git")
    return Site(origin=origin, folder=folder, url=origin.url, access=Access())


@contextmanager
def reached(kind: str, folder: Path, sshd: SshServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A repository over one of `KINDS`."""
    origin = BareRepo(folder / "origin.git")
    make = partial(Site, origin=origin, folder=folder)
    with ExitStack() as servers:
        match kind:
            case "http":
                server = servers.enter_context(serving(folder, token=TOKEN))
                (folder / "token").write_text(TOKEN + "\n")
                yield make(url=server.url("origin.git"), access=Access(token_file=folder / "token"))
            case "ssh":
                script = FAKE_SSH.replace("exec sh", "unset GIT_PROTOCOL; exec sh")
                put_program(folder / "ssh-bin" / "ssh", script, monkeypatch)
                yield make(url=f"ssh://git@git.example.com{origin.path}", access=Access())
            case "sshd":
                access = Access(ssh_key_file=sshd.key_file, known_hosts_file=sshd.known_hosts_file)
                yield make(url=sshd.url(origin.path), access=access)
            case _:
                yield make(url=origin.url, access=Access())
