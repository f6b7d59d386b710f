"""Follows one hostile repository through the real `Sources`, beside a healthy one, and watches the canaries.

Owns what is promised of every case: it ends in the state that it names, in time and again at the next look;
nothing runs, nothing outside is opened or changed, nobody is called; this process stays small; the neighbour
is read.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from deployer.core.source import Branch
from deployer.core.types import Absent, Desired, Invalid, NotRead, Rewritten, Unverified
from deployer.engine.sources import EnvironmentSource, RepositorySpec, Sources
from tests.hostile.forge import CONFIG, FOLDER, GOOD, SECRET, Forge
from tests.hostile.server import serving
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployer.core.types import Wanted
    from tests.hostile.case import Case

DEADLINE_SECONDS = 45.0
"""For a repository to end in its state, and for each look at it. Alone on a machine the slowest takes 6 s;
beside other programs some took more than 20 s."""

NEIGHBOUR_SECONDS = 30.0
"""For a push to the healthy repository to be published, whatever the other does."""

MEMORY_KIB = 200 * 1024
"""So much may this process grow."""

CHILD_KIB = 800 * 1024
"""So large may a process of git be."""

UNDER_WAY = "the first look at repository hostile is under way"
NEVER = 3600.0

_IN_OPEN, _IN_ISDIR = 0x20, 0x40000000


@dataclass(kw_only=True)
class Outcome:
    """What became of a case: what was published, after how many seconds, and which promises were broken."""

    state: str
    sentence: str
    seconds: float
    grown_kib: int
    child_kib: int
    broken: list[str] = field(default_factory=list)


def play(case: Case, folder: Path) -> Outcome:
    """Write the repository below the folder, follow it, and look at all that must not have happened."""
    with ExitStack() as stack:
        trap = stack.enter_context(closing(Trap()))
        forge = Forge(folder / "site", trap_url=trap.url)
        case.write(forge)
        neighbour = BareRepo(folder / "neighbour.git")
        neighbour.commit({CONFIG: GOOD})
        url = stack.enter_context(serving(forge.path)) if case.served else forge.path.as_uri()
        before = _snapshot(forge.folder)
        # Of other tests of this process: a server that a fixture keeps.
        others = _below()
        _reset_peak()
        sources = _sources({"hostile": (url, case.branch), "neighbour": (neighbour.url, "main")}, folder)
        small = _peak_kib()
        with _opened(forge.outside) as opened, _largest_child(others) as largest:
            began = time.monotonic()
            sources.start()
            try:
                outcome = _follow(case, sources, neighbour, began)
            finally:
                sources.stop(5.0)
        outcome.grown_kib, outcome.child_kib = _peak_kib() - small, max(largest)
        after = _snapshot(forge.folder)
        broken = outcome.broken
        if forge.sung.exists():
            broken.append(f"something was run: {forge.sung.read_text()}")
        if calls := trap.calls():
            broken.append(f"somebody was called {calls} times")
        if opened and not case.shares:
            broken.append(f"opened outside: {sorted(opened)}")
        if before != after:
            broken.append(f"changed: {sorted(before.symmetric_difference(after))[:5]}")
        if outcome.grown_kib > MEMORY_KIB:
            broken.append(f"this process grew by {outcome.grown_kib:,} KiB")
        if outcome.child_kib > CHILD_KIB:
            broken.append(f"a process of git had {outcome.child_kib:,} KiB")
        left = [thread.name for thread in threading.enumerate() if thread.name.startswith("git-")]
        if left or (left := sorted(map(str, _below() - others))):
            broken.append(f"left behind: {left}")
        return outcome


def _sources(urls: dict[str, tuple[str, str]], folder: Path) -> Sources:
    return Sources(
        repositories=[
            RepositorySpec(name=name, url=url, poll_seconds=NEVER) for name, (url, _) in urls.items()
        ],
        environments=[
            EnvironmentSource(environment=name, repository=name, source=Branch(branch), path=FOLDER)
            for name, (_, branch) in urls.items()
        ],
        mirrors_dir=folder / "mirrors",
        enqueue=_ignore,
    )


def _ignore(environment: str) -> None:
    """No pass follows."""


def _follow(case: Case, sources: Sources, neighbour: BareRepo, began: float) -> Outcome:
    """Wait for the state; push to the neighbour meanwhile; look again."""
    broken: list[str] = []
    hangs = case.says == UNDER_WAY

    def is_published() -> bool:
        return hangs or sources.wanted("hostile") != NotRead(why=UNDER_WAY)

    if not _within(DEADLINE_SECONDS, is_published):
        broken.append(f"nothing was published within {DEADLINE_SECONDS:g} s")
    seconds = time.monotonic() - began
    first = sources.wanted("hostile")
    commit = neighbour.commit({CONFIG: GOOD.replace(b"7", b"8")})
    if not _within(NEIGHBOUR_SECONDS, lambda: _commit(sources.wanted("neighbour")) == commit):
        broken.append(f"the neighbour was not read: {sources.wanted('neighbour')}")
    last = sources.wanted("hostile")
    if not hangs:
        number = sources.look_now("hostile")
        if not _within(DEADLINE_SECONDS, lambda: sources.looks("hostile").ended >= number):
            broken.append("the second look did not end")
        last = sources.wanted("hostile")
    sentence = _sentence(last)
    if _sentence(first) != sentence:
        broken.append(f"the first look said: {_sentence(first)}")
    if type(last) is not case.ends or case.says not in sentence:
        broken.append(f"wanted {case.ends.__name__} ({case.says}), found {last}")
    broken += _odd_text(sentence)
    if isinstance(last, Desired) and '"price":7' not in last.release.config.text:
        broken.append("another config was deployed")
    return Outcome(
        state=type(last).__name__, sentence=sentence, seconds=seconds, grown_kib=0, child_kib=0, broken=broken
    )


def _commit(wanted: Wanted) -> str | None:
    return wanted.release.revision.commit if isinstance(wanted, Desired) else None


def _sentence(wanted: Wanted) -> str:
    match wanted:
        case Desired():
            return " ".join(wanted.notes)
        case Invalid():
            return "\n".join(map(str, wanted.problems))
        case Absent() | NotRead() | Unverified() | Rewritten():
            return wanted.why
        case _:
            assert_never(wanted)


def _odd_text(sentence: str) -> list[str]:
    if SECRET in sentence or any(not line.isprintable() for line in sentence.splitlines()):
        return [f"the sentence is not for people: {sentence!r}"]
    if len(sentence) > 50_000 or any(len(line) > 1_000 for line in sentence.splitlines()):
        return [f"the sentence is too long: {sentence[:100]} ..."]
    return []


def _within(seconds: float, is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not (seen := is_so()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return seen


# --- canaries --------------------------------------------------------------------------------------------


class Trap:
    """A port of loopback that nobody may call."""

    def __init__(self) -> None:
        """Listen. Close it."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.0)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"

    def calls(self) -> int:
        """How often it was called since this was asked before."""
        count = 0
        with suppress(BlockingIOError):
            while True:
                self._listener.accept()[0].close()
                count += 1
        return count

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()


@contextmanager
def _opened(folder: Path) -> Iterator[set[str]]:
    """The files of the folder that anybody opens in the block; known when it ends. By inotify(7)."""
    names: set[str] = set()
    libc = ctypes.CDLL(None)
    inotify = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        assert libc.inotify_add_watch(inotify, os.fsencode(folder), _IN_OPEN) > 0
        yield names
        with suppress(BlockingIOError):
            while events := os.read(inotify, 1 << 16):
                while events:
                    _, kind, _, length = struct.unpack_from("iIII", events)
                    if not kind & _IN_ISDIR:
                        names.add(os.fsdecode(events[16 : 16 + length].rstrip(b"\0")))
                    events = events[16 + length :]
    finally:
        os.close(inotify)


def _snapshot(folder: Path) -> set[tuple[str, int, int, int]]:
    """Name, mode, size and time of everything below."""
    found = set()
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(root, name)  # noqa: PTH118 - 100,000 of them
            status = os.lstat(path)
            found.add((path, status.st_mode, status.st_size, status.st_mtime_ns))
    return found


@contextmanager
def _largest_child(others: set[int]) -> Iterator[list[int]]:
    """What the processes below this one, but for `others`, had at most in the block, in KiB."""
    seen, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            for pid in _below() - others:
                with suppress(OSError, StopIteration):
                    seen.append(_peak_kib(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _below() -> set[int]:
    """The processes that this one has started, and those have."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            # After the name in brackets: state, parent.
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {os.getpid()}


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_kib(pid: int | str = "self") -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
