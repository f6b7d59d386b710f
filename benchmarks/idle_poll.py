"""What a look costs that finds nothing new, in a large repository and in a small one.

Large is 100,000 commits and 10,000 files; small is 10 and 3, and is measured twice (an A/A pair). Two more
are as small but for their refs: 20,000 branches of which one is followed, and 20,000 tags of which the newest
version is, so that all of them have to be asked for. Each over HTTP (`git http-backend` on loopback, in a
process of its own) and by its path; beside each, in turns, the same `git ls-remote` alone.

A look is what the thread of a repository does with its mirror when nothing has moved, call by call. Its CPU
is that of this process and of the git children that it waited for, not the server's; wall holds both.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from benchmarks import servers
from benchmarks.site import git
from deployer.adapters.git import Mirror
from deployer.core.source import HEADS, TAGS, Branch, Tags

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_COMMITS, _FILES, _REFS = 100_000, 10_000, 20_000
_WARM_UP = 2
_GIT_SECONDS = 120.0
_PER_FOLDER = 100
_MAIN = Branch("main")
_NEWEST = Tags(pattern="v*", versions="*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """A repository to make, and what of it is followed."""

    commits: int = 10
    files: int = 3
    branches: int = 0
    tags: int = 0

    @property
    def asked(self) -> tuple[list[str], list[str]]:
        """Branches and patterns of tags."""
        return ([], [_NEWEST.refs]) if self.tags else ([_MAIN.ref], [])


_SHAPES = {
    "small": _Shape(),
    "small_again": _Shape(),
    "large": _Shape(commits=_COMMITS, files=_FILES),
    "branches_20000": _Shape(branches=_REFS),
    "tags_20000": _Shape(tags=_REFS),
}


@dataclass(frozen=True, slots=True)
class _Cost:
    wall: float
    cpu: float


def run(rounds: int) -> dict[str, Any]:
    """Measure `rounds` looks at each, after two that warm up."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, shape in _SHAPES.items():
            _make(root / f"{name}.git", shape)
        with servers.serving(root) as remote:
            measured = {
                "http": {name: f"{remote.git}/{name}.git" for name in _SHAPES},
                "path": {name: str(root / f"{name}.git") for name in _SHAPES},
            }
            looks: dict[tuple[str, str, str], Callable[[], None]] = {}
            for transport, urls in measured.items():
                for name, url in urls.items():
                    mirror = Mirror(root / f"{transport}-{name}.mirror", url)
                    looks[transport, name, "look"] = _looking(mirror, _SHAPES[name])
                    looks[transport, name, "ls_remote"] = _listing(url, _SHAPES[name])
            costs: dict[tuple[str, str, str], list[_Cost]] = {key: [] for key in looks}
            for number in range(_WARM_UP + rounds):
                for key, look in looks.items():
                    cost = _cost(look)
                    if number >= _WARM_UP:
                        costs[key].append(cost)
    return {transport: _report(transport, costs) for transport in measured}


def _report(transport: str, costs: dict[tuple[str, str, str], list[_Cost]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in _SHAPES:
        wall, cpu = _middle(costs[transport, name, "look"])
        floor, floor_cpu = _middle(costs[transport, name, "ls_remote"])
        small, small_cpu = _middle(costs[transport, "small", "look"])
        found[name] = {
            "wall_ms": round(wall * 1000, 2),
            "cpu_ms": round(cpu * 1000, 2),
            "ls_remote_wall_ms": round(floor * 1000, 2),
            "ls_remote_cpu_ms": round(floor_cpu * 1000, 2),
            "ratio_to_small": {"wall": round(wall / small, 2), "cpu": round(cpu / small_cpu, 2)},
            "ratio_to_ls_remote": {"wall": round(wall / floor, 2), "cpu": round(cpu / floor_cpu, 2)},
        }
    return found


def _middle(costs: list[_Cost]) -> tuple[float, float]:
    """The medians of wall and CPU, in seconds."""
    return statistics.median(cost.wall for cost in costs), statistics.median(cost.cpu for cost in costs)


# --- what is measured --------------------------------------------------------------------------------------


def _looking(mirror: Mirror, shape: _Shape) -> Callable[[], None]:
    """A look, as `deployer.engine.sources` takes it; the first one fetches."""
    seen: Mapping[str, str] = {}
    chosen: Mapping[str, str] = {}

    def look() -> None:
        nonlocal seen, chosen
        try:
            there = mirror.heads(*shape.asked)
            if shape.tags:
                if there != seen:
                    newest = _NEWEST.newest([ref.removeprefix(TAGS) for ref in there])
                    seen, chosen = there, {ref: id_ for ref, id_ in there.items() if ref == f"{TAGS}{newest}"}
                there = chosen
            mirror.known_heads()
            if mirror.fetch(there) != there or len(there) != 1:
                message = "the look did not find the one ref that is followed"
                raise RuntimeError(message)
            mirror.tidy()
        finally:
            mirror.release()

    return look


def _listing(url: str, shape: _Shape) -> Callable[[], None]:
    """The same question, by git alone."""
    branches, tags = shape.asked
    command = ["git", "ls-remote", "--tags" if tags else "--heads", "--refs", "--", url, *branches, *tags]
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}

    def ask() -> None:
        subprocess.run(
            command, env=environment, cwd="/", capture_output=True, check=True, timeout=_GIT_SECONDS
        )

    return ask


def _cost(work: Callable[[], None]) -> _Cost:
    cpu, began = _cpu(), time.monotonic()
    work()
    return _Cost(time.monotonic() - began, _cpu() - cpu)


def _cpu() -> float:
    """Seconds of this process and of all children that ended, to the microsecond (/proc counts 10 ms)."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


# --- repositories ------------------------------------------------------------------------------------------


def _make(bare: Path, shape: _Shape) -> None:
    """Make it with one `git fast-import`. All refs are packed, as a server keeps them."""
    git(bare.parent, "init", "--quiet", "--bare", "--initial-branch", _MAIN.name, str(bare))
    command = ["git", "--git-dir", str(bare), "fast-import", "--quiet"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as importing:
        assert importing.stdin is not None  # noqa: S101 - a pipe was asked for
        _stream(shape, importing.stdin)
    if importing.returncode:
        message = f"git fast-import ended with {importing.returncode}"
        raise RuntimeError(message)
    git(bare, "pack-refs", "--all")


def _stream(shape: _Shape, to: IO[bytes]) -> None:
    """A history in which each commit after the first changes one file."""
    for file in range(shape.files):
        content = b"file %d\n" % file
        to.write(b"blob\nmark :%d\ndata %d\n%s\n" % (file + 1, len(content), content))
    for commit in range(shape.commits):
        message = b"commit %d\n" % commit
        to.write(b"commit %s\ncommitter B <b@localhost> %d +0000\n" % (_MAIN.ref.encode(), 1 + commit))
        to.write(b"data %d\n%s" % (len(message), message))
        changed = [commit % shape.files] if commit else range(shape.files)
        for file in changed:
            content_of = (file + 7 * commit) % shape.files + 1
            folder, name = divmod(file, _PER_FOLDER)
            to.write(b"M 100644 :%d d%02d/f%02d\n" % (content_of, folder, name))
        to.write(b"\n")
    refs = [f"{HEADS}b{number}" for number in range(shape.branches)]
    refs += [f"{TAGS}v1.0.{number}" for number in range(shape.tags)]
    for ref in refs:
        to.write(b"reset %s\nfrom %s\n\n" % (ref.encode(), _MAIN.ref.encode()))
