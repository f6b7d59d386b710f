"""The signed checkpoints of a log, in a file of the state directory, and beside it where they are anchored.

Owns the two files. Must not know what a checkpoint says, nor who signs it. Invariant: what was appended is on
disk before that is said, one below the other as `--checkpoint` reads them; one whose writing was cut off is
taken away before the next; no other leaves the file before it is on disk beside it; and all are for their
owner alone.
"""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from itertools import chain, count
from typing import TYPE_CHECKING

from deployer.core import anchoring

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deployer.core.anchoring import Anchorage
    from deployer.core.checkpoint import SignedCheckpoint

FILE = "checkpoints.txt"
STATE = "anchors.json"
KEYS = "audit_keys.pub"
LOST = "checkpoints-lost"
"""What the file of those begins with that are of events which are lost."""

_TAIL_BYTES = 128 * 1024
"""That are read from the end: a note has 400, and one with 64 signatures 30,000."""


class CheckpointFile:
    """Both files. One thread writes; whoever may read them reads."""

    def __init__(self, state_dir: Path) -> None:
        """Take the directory; touch nothing yet."""
        self.path = state_dir / FILE
        self._state = state_dir / STATE

    def newest(self) -> SignedCheckpoint | None:
        """The last one that is whole; None before the first. Raises Misfit, and OSError."""
        return anchoring.newest(self._tail()[0])

    def signed_at(self) -> datetime | None:
        """When the last one was written; None before the first. Raises OSError."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return datetime.fromtimestamp(found.st_mtime, UTC) if found.st_size else None

    def append(self, note: str) -> None:
        """Write one behind the others; it is on disk when this returns. Raises OSError, then nothing is."""
        self._repair()
        is_new = not self.path.exists()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            try:
                _write(descriptor, note.encode())
            except OSError:
                os.ftruncate(descriptor, size)
                raise
        finally:
            os.close(descriptor)
        if is_new:
            _sync(self.path.parent)

    def set_aside(self, beyond: int, now: datetime) -> Path | None:
        """Move those of more than `beyond` events into a file of their own beside this one; which that is.

        None, and nothing is touched, where there is none. Interrupted at any moment, each is in one of the
        two, or in both: then it is done again. Raises OSError, and Misfit where the file holds anything else.
        """
        try:
            notes = anchoring.notes(self.path.read_bytes().decode("utf-8", "replace"))
        except FileNotFoundError:
            return None
        lost = [note.text for note in notes if note.checkpoint.size > beyond]
        if not lost:
            return None
        aside = self._unused(f"{LOST}-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}")
        _replace(aside, lost)
        _replace(self.path, [note.text for note in notes if note.checkpoint.size <= beyond])
        return aside

    def remember(self, known: Anchorage) -> None:
        """Keep where they are anchored. Raises OSError."""
        temporary = self._state.with_name(f"{STATE}.new")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
            file.write(known.text)
        # Without a sync: what a power cut takes is found out again.
        temporary.rename(self._state)

    def remembered(self) -> Anchorage:
        """What was kept last; nothing where there is none, or no such thing. Raises OSError."""
        try:
            return anchoring.anchorage(self._state.read_text(encoding="utf-8", errors="replace"))
        except FileNotFoundError:
            return anchoring.anchorage("")

    def _unused(self, stem: str) -> Path:
        """A file's name that nobody has: two may be set aside within a second."""
        names = (f"{stem}{more}.txt" for more in chain([""], (f"-{number}" for number in count(2))))
        return next(path for path in map(self.path.with_name, names) if not path.exists())

    def _tail(self) -> tuple[str, str]:
        """The end of the file as far as it is whole, and what is not."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - _TAIL_BYTES))
                content = file.read()
        except FileNotFoundError:
            return "", ""
        # A place in the middle of a character, or bytes that are none, stay as many bytes.
        return anchoring.split(content.decode("utf-8", "surrogateescape"))

    def _repair(self) -> None:
        torn = self._tail()[1].encode("utf-8", "surrogateescape")
        if torn:
            os.truncate(self.path, self.path.stat().st_size - len(torn))


def remember_key(state_dir: Path, line: str) -> None:
    """Keep the public half of a key that signs: once another does, what it signed is still checked with it.

    It is on disk when this returns. Raises OSError.
    """
    path = state_dir / KEYS
    known = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    if line not in known:
        _replace(path, [f"{one}\n" for one in (*known, line)])


def _write(descriptor: int, content: bytes) -> None:
    if os.write(descriptor, content) != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)


def _replace(path: Path, texts: Sequence[str]) -> None:
    """Write a file whole or not at all; it is on disk under its name when this returns."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
        file.writelines(texts)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
