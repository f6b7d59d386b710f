"""Where signed checkpoints go: to a ref of a repository, and to syslog.

Owns what the adapters' failures mean for who keeps them. Must not decide when, nor sign. Invariant: a place
either has the checkpoint once `keep` returns, or says in a sentence why not; and to git nothing is added
before what is newest there was judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from deployer.adapters.git import AnchorRef, GitUnavailable, Tip
from deployer.core import anchoring
from deployer.core.anchoring import KeptNote
from deployer.core.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from deployer.adapters.syslog import Syslog
    from deployer.core.checkpoint import SignedCheckpoint

    Judge = Callable[[KeptNote], bool]
    """Whether it is of the log that there is; False if it was given up. Raises Misfit."""


class NotKept(Exception):  # noqa: N818 - says what is the case
    """The place does not have the checkpoint now. One sentence without its full stop."""


class Place(Protocol):
    """One place where checkpoints are kept."""

    @property
    def kind(self) -> str:
        """What it is: syslog, git."""

    @property
    def where(self) -> str:
        """Which one."""

    def look(self, judge: Judge) -> int | None:
        """How many events the newest checkpoint there covers; None if it cannot be read back.

        Raises NotKept, and what `judge` does.
        """

    def keep(self, note: SignedCheckpoint, judge: Judge) -> int:
        """Have it there; how many events the newest one there covers now. Raises as `look` does."""

    def interrupt(self) -> None:
        """End what runs, from another thread, and begin nothing any more."""


class InGit:
    """A ref to which each is pushed as the message of a commit."""

    kind = "git"

    def __init__(self, ref: AnchorRef, *, now: Callable[[], datetime]) -> None:
        """Take the ref."""
        self._ref = ref
        self._now = now
        self.where = f"{ref.ref} of {ref.url}"

    def look(self, judge: Judge) -> int:
        """See `Place`."""
        try:
            return _covered(self._ref.tip(), judge)
        except GitUnavailable as error:
            raise NotKept(error.why) from error

    def keep(self, note: SignedCheckpoint, judge: Judge) -> int:
        """See `Place`."""
        covered = 0

        def make(tip: Tip | None) -> str | None:
            nonlocal covered
            covered = _covered(tip, judge)
            return None if covered >= note.checkpoint.size else note.text

        try:
            self._ref.put(make, self._now())
        except GitUnavailable as error:
            raise NotKept(error.why) from error
        return max(covered, note.checkpoint.size)

    def interrupt(self) -> None:
        """See `Place`."""
        self._ref.interrupt()


class InSyslog:
    """Syslog, which takes each as a line."""

    kind = "syslog"

    def __init__(self, syslog: Syslog) -> None:
        """Take the adapter."""
        self._syslog = syslog
        self.where = syslog.address

    def look(self, judge: Judge) -> int | None:  # noqa: ARG002 - nothing can be read back
        """See `Place`."""
        return None

    def keep(self, note: SignedCheckpoint, judge: Judge) -> int:  # noqa: ARG002 - as above
        """See `Place`."""
        try:
            self._syslog.send(anchoring.line(note))
        except (OSError, ValueError) as error:
            # A name that cannot be one of a machine is a UnicodeError.
            why = one_line(getattr(error, "strerror", None) or str(error))
            message = f"syslog at {self.where} did not take it: {why}: correct `audit.syslog`, or start it"
            raise NotKept(message) from error
        return note.checkpoint.size

    def interrupt(self) -> None:
        """It takes two seconds at most."""


def _covered(tip: Tip | None, judge: Judge) -> int:
    if tip is None:
        return 0
    note = anchoring.read(tip.message)
    return note.checkpoint.size if judge(KeptNote(note=note, at=tip.at)) else 0
