"""What a git child may use of the machine: memory, processor time, the size of a file.

Owns the figures, the argument for each, and how they are set. Must not know what a child is for. Invariant: a
limit is only ever lowered, so what the operator set (systemd's `LimitFSIZE=`) stays in force.
"""

from __future__ import annotations

import resource
import shutil
from contextlib import suppress
from functools import cache

MEMORY_MIB = 768
"""Of data that a child holds. Less than the unit's MemoryMax (1 GiB) leaves beside the daemon: over that,
systemd would end the daemon too."""

FILE_GIB = 2
"""Of one file that a child writes, so of what one fetch may bring: more than 300 s bring at 7 MB/s."""

CPU_SECONDS = 900
"""For a command, which ends after 300 s by the clock: git works with two threads (`_environment`)."""

BATCH_CPU_SECONDS = 60
"""For the `cat-file` that stays for a look, without a limit by the clock. A look takes milliseconds."""

_GIB = 1024**3

_OPTIONS = {
    resource.RLIMIT_DATA: "data",
    resource.RLIMIT_FSIZE: "fsize",
    resource.RLIMIT_CPU: "cpu",
    resource.RLIMIT_CORE: "core",
}
"""What prlimit calls them."""


def prefix(path: str) -> tuple[str, ...]:
    """What to put before a command that starts others, so that they are limited from their first instruction.

    Nothing where util-linux is not installed (in `path`, a search path): then `limit` has to do.
    """
    program = _prlimit(path)
    if program is None:
        return ()
    limits = (f"--{_OPTIONS[number]}={value}" for number, value in _values(CPU_SECONDS).items())
    return (program, *limits, "--")


def limit(pid: int, cpu_seconds: int) -> None:
    """Limit a process of ours that runs. Costs 5 us, where `prefix` costs a millisecond."""
    for number, value in _values(cpu_seconds).items():
        # It may have ended already.
        with suppress(ProcessLookupError, PermissionError):
            resource.prlimit(pid, number, (value, value))


def _values(cpu_seconds: int) -> dict[int, int]:
    """The limits by their numbers: ours, or what this process may have at most, if that is less."""
    wanted = {
        # Not the address space: git maps whole packs, which costs nothing.
        resource.RLIMIT_DATA: MEMORY_MIB * 1024 * 1024,
        resource.RLIMIT_FSIZE: FILE_GIB * _GIB,
        resource.RLIMIT_CPU: cpu_seconds,
        # A core dump of `git-remote-https` would hold the token.
        resource.RLIMIT_CORE: 0,
    }
    return {number: _lower(number, value) for number, value in wanted.items()}


def _lower(number: int, value: int) -> int:
    allowed = [one for one in resource.getrlimit(number) if one != resource.RLIM_INFINITY]
    return min([value, *allowed])


@cache
def _prlimit(path: str) -> str | None:
    return shutil.which("prlimit", path=path)
