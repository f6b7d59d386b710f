"""Mirrors to test: of a local repository, over HTTP with a token, over ssh."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from deployer.adapters.git import Mirror
from tests.contract.git_mirror.world import TOKEN, NewMirror, World, put_program
from tests.support.git_server import serving
from tests.support.repos import BareRepo

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


@pytest.fixture(params=["file", "http", "ssh"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, new_mirror: NewMirror, fake_ssh: None
) -> Iterator[World]:
    """One repository, over each kind of remote."""
    origin = BareRepo(tmp_path / "origin.git")
    match request.param:
        case "http":
            token_file = tmp_path / "token"
            token_file.write_text(TOKEN + "\n")
            with serving(tmp_path, token=TOKEN) as server:
                make = partial(new_mirror, server.url("origin.git"), token_file=token_file)
                yield World(folder=tmp_path, origin=origin, mirror=make, server=server)
        case "ssh":
            make = partial(new_mirror, f"ssh://git@git.example.com{origin.path}")
            yield World(folder=tmp_path, origin=origin, mirror=make)
        case _:
            yield World(folder=tmp_path, origin=origin, mirror=partial(new_mirror, origin.url))


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
