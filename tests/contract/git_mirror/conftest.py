"""Mirrors to test: of a local repository, over HTTP and TLS with a token, ssh, git's own protocol."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.git import Access, Mirror
from tests.contract.git_mirror.world import TOKEN, NewMirror, World, put_program
from tests.support.git_daemon import git_daemon
from tests.support.git_server import serving
from tests.support.repos import BareRepo
from tests.support.sshd import SshServer
from tests.support.tls import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FAKE_SSH = """\
#!/bin/sh
# The far end of an ssh connection, without the network: the last argument is the command for that machine.
for command; do :; done
exec sh -c "$command"
"""

SPY = """\
#!/bin/sh
# Writes down how git was called, then is git.
printf '%s\\n' "$*" >>"{log}"
env >>"{log}.env"
PATH="{path}" exec git "$@"
"""


@pytest.fixture
def new_mirror(tmp_path: Path) -> Iterator[NewMirror]:
    """What makes mirrors in this test's folder."""
    made = []

    def make(url: str, name: str = "mirror.git", **options: Any) -> Mirror:
        made.append(Mirror(tmp_path / name, url, **options))
        return made[-1]

    yield make
    for mirror in made:
        mirror.release()


@pytest.fixture
def fake_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every ssh host this machine."""
    put_program(tmp_path / "ssh-bin" / "ssh", FAKE_SSH, monkeypatch)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority whose certificates the https servers have."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    """An ssh server for all tests: it serves whatever repository is named."""
    server = SshServer(tmp_path_factory.mktemp("ssh"))
    with server.running():
        yield server


@pytest.fixture(params=["file", "http", "https", "ssh", "sshd", "git"])
def world(request: pytest.FixtureRequest, tmp_path: Path, new_mirror: NewMirror) -> Iterator[World]:
    """One repository, over each kind of remote. `ssh` is the user's own ssh, `sshd` that with a key file."""
    origin = BareRepo(tmp_path / "origin.git")
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\n")
    access = Access()
    with ExitStack() as servers:
        server = None
        match request.param:
            case "http" | "https" as scheme:
                tls = None
                access = Access(token_file=token_file)
                if scheme == "https":
                    authority: Authority = request.getfixturevalue("authority")
                    tls, access = authority.server(), replace(access, ca_file=authority.file)
                server = servers.enter_context(serving(tmp_path, token=TOKEN, tls=tls))
                url = server.url("origin.git")
            case "ssh":
                request.getfixturevalue("fake_ssh")
                url = f"ssh://git@git.example.com{origin.path}"
            case "sshd":
                sshd: SshServer = request.getfixturevalue("sshd")
                access = Access(ssh_key_file=sshd.key_file, known_hosts_file=sshd.known_hosts_file)
                url = sshd.url(origin.path)
            case "git":
                url = servers.enter_context(git_daemon(tmp_path)).url("origin.git")
            case _:
                url = origin.url
        make = partial(new_mirror, url, access=access)
        yield World(folder=tmp_path, origin=origin, mirror=make, server=server)


@pytest.fixture
def local(tmp_path: Path, new_mirror: NewMirror) -> World:
    """One repository on this machine, for what does not depend on the kind of remote."""
    origin = BareRepo(tmp_path / "origin.git")
    return World(folder=tmp_path, origin=origin, mirror=partial(new_mirror, origin.url))


@pytest.fixture
def mirror(world: World) -> Mirror:
    """A mirror of the world's repository."""
    return world.mirror()


@pytest.fixture
def git_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """What the mirror called git with since the last time this was called."""
    log = tmp_path / "git.log"
    put_program(tmp_path / "git-bin" / "git", SPY.format(log=log, path=os.environ["PATH"]), monkeypatch)

    def read() -> list[str]:
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return [line for line in lines if line != "http-backend"]

    return read
