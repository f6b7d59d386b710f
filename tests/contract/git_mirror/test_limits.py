"""Servers and programs without end: each ends in one sentence, in time, and costs us no memory."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.git import GitUnavailable
from deployer.adapters.git._commands import Children, Commands
from deployer.adapters.git._errors import Failed, TimedOut, TooMuch
from tests.contract.git_mirror.world import CONFIG, MAIN, NewMirror, World, bring, children, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REFS = 20_000
"""Refs that are sent in one piece."""


def line(content: bytes) -> bytes:
    """One line of git's protocol."""
    return b"%04x" % (len(content) + 4) + content


def memory_mib() -> float:
    """What this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1024**2


@contextmanager
def saying(say: Callable[[Callable[[bytes], None]], None]) -> Iterator[str]:
    """A server of git's protocol that says this to whoever comes; its URL."""

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                with near, suppress(OSError):
                    near.recv(65536)
                    say(near.sendall)
                    # A close with something unread would be a reset, and could overtake what was said.
                    near.shutdown(socket.SHUT_WR)
                    while near.recv(65536):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"git://127.0.0.1:{listener.getsockname()[1]}/x.git"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)


def refs(first: int) -> bytes:
    """Many refs, of which each ends like the one that is asked for."""
    return b"".join(
        line(b"%040x refs/heads/%d/refs/heads/main\n" % (number + 1, number))
        for number in range(first, first + REFS)
    )


def a_long_list(send: Callable[[bytes], None]) -> None:
    """300,000 branches, and the end."""
    for part in range(15):
        send(refs(part * REFS))
    send(b"0000")


def a_list_without_end(send: Callable[[bytes], None]) -> None:
    """Branches as long as anybody listens."""
    part = 0
    while True:
        send(refs(part * REFS))
        part += 1


def a_line_without_end(send: Callable[[bytes], None]) -> None:
    """A line as long as git's protocol has them, again and again, and never a line break."""
    while True:
        send(line(b"x" * 65_000))


@pytest.mark.parametrize(
    ("say", "why"),
    [
        (a_long_list, "it sends more than the 16 MiB that are read of an answer: check that it is the right"),
        (a_list_without_end, r"would need more than the 768 MiB of memory|no answer within 20 s"),
        (a_line_without_end, "git says: fatal: |not a git server|no answer within 20 s"),
    ],
)
def test_a_server_that_sends_without_end_costs_its_time_and_no_memory_of_ours(
    new_mirror: NewMirror, say: Callable[[Callable[[bytes], None]], None], why: str
) -> None:
    """One sentence; git holds what it was sent, up to its limit, and we hold nothing of it."""
    with saying(say) as url:
        mirror = new_mirror(url, look_timeout_seconds=20.0)
        mirror.known_heads()
        before, began = memory_mib(), time.monotonic()

        with pytest.raises(GitUnavailable, match=why):
            mirror.heads([MAIN])

        assert time.monotonic() - began < 25.0
        assert memory_mib() - before < 64
    mirror.release()
    assert children() == []


@pytest.fixture
def commands() -> Commands:
    """What runs programs for a mirror."""
    made = Commands("/")
    made.prepare(Children(), {"PATH": os.environ["PATH"]})
    return made


@pytest.mark.parametrize(
    ("script", "error"),
    [
        pytest.param("yes", TooMuch, id="output"),
        pytest.param("yes >&2", TimedOut, id="complaints"),
        pytest.param("yes | tr -d '\\n'", TooMuch, id="one-line"),
        pytest.param("exec >&- 2>&-; sleep 60", TimedOut, id="silent"),
        pytest.param("sleep 60 & exit 0", TimedOut, id="left-a-child"),
        pytest.param("trap '' TERM INT; sleep 60", TimedOut, id="stubborn"),
    ],
)
def test_a_program_that_does_not_end_is_ended_with_all_it_started(
    commands: Commands, script: str, error: type[Exception]
) -> None:
    """In its time, whatever it prints and whoever holds its pipes, and nothing of it is left."""
    before, began = memory_mib(), time.monotonic()

    with pytest.raises(error):
        commands.execute(["sh", "-c", script], kill_after_timeout=0.7)

    assert time.monotonic() - began < 20.0  # by itself none would end within 60 s
    assert memory_mib() - before < 40
    assert children() == []


def test_the_beginning_and_the_end_of_long_complaints_are_kept(commands: Commands) -> None:
    """A server may say whatever it likes before git says what is wrong."""
    script = "echo first >&2; seq 100000 >&2; echo fatal: last >&2; exit 1"

    with pytest.raises(Failed) as caught:
        commands.execute(["sh", "-c", script])

    printed = caught.value.printed
    assert printed.startswith("first\n1\n")
    assert printed.endswith("100000\nfatal: last\n")
    assert len(printed) < 70_000


def test_a_command_that_takes_no_memory_it_may_not_have(commands: Commands) -> None:
    """The limit holds for what a command starts, from its first instruction."""
    script = "python3 -c 'bytearray(900 * 1024 * 1024)'"

    with pytest.raises(Failed, match="MemoryError"):
        commands.execute(["sh", "-c", script], kill_after_timeout=20.0)


@contextmanager
def at_most(limit: int, value: int) -> Iterator[None]:
    """What the operator allows the daemon, and so its children."""
    soft, hard = resource.getrlimit(limit)
    resource.setrlimit(limit, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(limit, (soft, hard))


def test_a_fetch_that_brings_too_much_is_ended_and_leaves_what_was_there(local: World) -> None:
    """A file over the limit: one sentence; what was fetched is still read, and the next push is too."""
    first = local.origin.commit({CONFIG: "1"})
    mirror = local.mirror()
    bring(mirror)
    mirror.release()
    local.origin.commit({"big": os.urandom(400_000)})

    with (
        at_most(resource.RLIMIT_FSIZE, 100_000),
        pytest.raises(GitUnavailable, match="git may not write a file as big as that"),
    ):
        bring(mirror)

    assert mirror.known_heads() == {MAIN: first}
    assert text(mirror, first) == "1"
    assert not list(local.folder.glob("mirror.git.*"))
    third = local.origin.commit({CONFIG: "3", "big": None})
    assert bring(mirror) == {MAIN: third}


def test_a_fetch_of_many_files_stays_within_its_memory(local: World) -> None:
    """20,000 files and a blob of 60 MB: generous is what the limit is to be."""
    files: dict[str, str | bytes] = {f"f/{number % 100}/{number}": str(number) for number in range(20_000)}
    commit = local.origin.commit({CONFIG: "1", "blob": os.urandom(60_000_000), **files})
    mirror = local.mirror()

    assert bring(mirror) == {MAIN: commit}
    assert text(mirror, commit) == "1"


def test_an_empty_answer_that_is_no_git_servers_deletes_no_branch(new_mirror: NewMirror) -> None:
    """A gateway that says 200 and nothing more: git takes it for a repository without branches."""

    def ok(send: Callable[[bytes], None]) -> None:
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with saying(ok) as url:
        mirror = new_mirror(url.replace("git://", "http://"))
        printed = subprocess.run(
            ["git", "ls-remote", url.replace("git://", "http://")],
            capture_output=True,
            check=False,
            timeout=10,
        )
        assert (printed.returncode, printed.stdout) == (0, b""), "git has learnt: the second question may go"

        with pytest.raises(GitUnavailable, match="not a git server: check the URL; the answer is empty"):
            mirror.heads([MAIN])
