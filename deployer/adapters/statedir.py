"""The state directory: one daemon at a time, and who it is.

Owns the directory's lock and the note beside it that names the holder. Must not know what else is kept
there. Invariant: only the lock decides, and the kernel frees it when its process ends in whatever way; the
note is read only while the lock is held, so what a killed daemon left behind is never believed.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from deployer import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOCK = "lock"
_HOLDER = "holder.json"

_PROBE_SECONDS = 0.5
"""How long `lock` tries. Not to wait for another daemon, which does not end so soon, but because `holder`
takes a shared lock to see whether anybody is there: for microseconds, or a slice of a busy processor."""

_PROBE_EVERY_SECONDS = 0.02


class StateDirBusy(Exception):  # noqa: N818 - says what is the case, as the message does
    """Another daemon holds the state directory. The message names it and what to do."""


class StateDirUnusable(Exception):  # noqa: N818 - says what is the case, as the message does
    """The state directory cannot be made or used. The message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The daemon that holds a state directory, as far as it has said who it is: None is not known (yet)."""

    pid: int | None = None
    host: str | None = None
    started_at: datetime | None = None
    version: str | None = None

    def __str__(self) -> str:
        """Name it in a sentence: `process 4711 on build7, since 2026-11-22 10:42:00 UTC (deployer 0.1.0)`."""
        if self.pid is None or self.started_at is None:
            return "a process that has not said who it is"
        since = f"{self.started_at:%Y-%m-%d %H:%M:%S} UTC"
        return f"process {self.pid} on {self.host}, since {since} (deployer {self.version})"


@contextmanager
def lock(path: Path) -> Iterator[Path]:
    """Hold the state directory inside the `with` block, making it (0700) if it is not there.

    Raises StateDirBusy within a second if another daemon holds it, StateDirUnusable if it cannot be used.
    """
    # Without the kernel's lock a killed daemon would leave the directory locked for ever: no fallback.
    held = FileLock(path / _LOCK, mode=0o600, thread_local=False, fallback_to_soft=False)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        held.acquire(timeout=_PROBE_SECONDS, poll_interval=_PROBE_EVERY_SECONDS)
    except Timeout:
        raise StateDirBusy(_busy(path)) from None
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        try:
            _say_who(path)
        except OSError as error:
            raise _unusable(path, error) from error
        yield path
    finally:
        with suppress(OSError):
            (path / _HOLDER).unlink()
        held.release()


def holder(path: Path) -> Holder | None:
    """Who holds the state directory now; None if nobody does. Disturbs neither a holder nor one about to be.

    Raises StateDirUnusable if that cannot be known, for lack of permission.
    """
    try:
        probe = os.open(path / _LOCK, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unusable(path, error) from error
    try:
        # Shared: two that look at once do not see each other.
        fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_who(path)
    finally:
        os.close(probe)
    return None


def _say_who(path: Path) -> None:
    who = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
    }
    temporary = path / f"{_HOLDER}.new"
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(who), encoding="utf-8")
    temporary.rename(path / _HOLDER)


def _read_who(path: Path) -> Holder:
    try:
        who = json.loads((path / _HOLDER).read_text(encoding="utf-8"))
        return Holder(
            pid=who["pid"],
            host=who["host"],
            started_at=datetime.fromisoformat(who["started_at"]),
            version=who["version"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        # It has the lock and not yet written its name, or a person edited the file: that somebody holds
        # the directory is certain all the same.
        return Holder()


def _busy(path: Path) -> str:
    return (
        f"{path} is in use by {_read_who(path)}. One daemon per state directory: "
        "stop that one first, or give this one another state_dir."
    )


def _unusable(path: Path, error: OSError) -> StateDirUnusable:
    if isinstance(error, FileExistsError | NotADirectoryError):
        why = "it, or a part of its path, is a file and not a directory"
    else:
        why = error.strerror or str(error)
    return StateDirUnusable(
        f"cannot use the state directory {path}: {why}. It must be a directory on a local disk that the "
        "daemon's user may write to; set state_dir in the settings."
    )
