"""A ref of ours to which signed texts are pushed: each is the message of a commit on top of the one before.

Owns a bare directory of its own, with the newest of these commits. Must not know what the texts say.
Invariant: nothing that is there is ever replaced. What is pushed follows from the very commit that was read a
moment ago, which the server compares in one step; what came in between is read first.

The commits hold no files, so a fetch or a push is a few hundred bytes.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.adapters.git._errors import Failed, GitUnavailable
from deployer.adapters.git._planting import seal, write_object
from deployer.adapters.git._push_answer import PushRefused, refusal
from deployer.adapters.git._reader import OBJECT_LIMIT, header, read_object
from deployer.adapters.git._remote import Access, Remote, check_ref
from deployer.adapters.git._settling import Push, Pushed, Tried, settle
from deployer.adapters.git._workspace import (
    FETCH_SECONDS,
    LOOK_SECONDS,
    PUSH_SECONDS,
    SNAPSHOTS,
    Timeouts,
    Turn,
    Workspace,
)
from deployer.core.types import Person

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime  # noqa: TC004 - nobody evaluates the annotations of Tip
    from pathlib import Path

_OURS = "refs/deployer/anchor"
"""Where the newest commit is kept."""

_BY = Person(name="deployer", email="deployer@localhost")

_MESSAGE_LIMIT = 64 * 1024
"""Bytes of a message that are taken. More is no text of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """The newest commit, its message, and when whoever made it says that they did."""

    commit: str
    message: str
    at: datetime


class AnchorRef:
    """One ref of one repository. Thread-safe: one call at a time, the others wait for their turn.

    Every method but `interrupt` may raise `GitUnavailable`; nothing else comes out of git, network or disk.
    """

    def __init__(
        self,
        path: Path,
        url: str,
        below: str,
        *,
        access: Access | None = None,
        look_timeout_seconds: float = LOOK_SECONDS,
        fetch_timeout_seconds: float = FETCH_SECONDS,
        push_timeout_seconds: float = PUSH_SECONDS,
    ) -> None:
        """Take the directory, which is ours alone, the repository, and the ref's name below `refs/`.

        Raises ValueError as `Mirror` does, and for what cannot be a ref.
        """
        check_ref(f"refs/heads/{below}")
        self.url = url
        self.ref = f"refs/{below}"
        self._below = below
        timeouts = Timeouts(look=look_timeout_seconds, fetch=fetch_timeout_seconds, push=push_timeout_seconds)
        self._turn = Turn(url)
        remote = Remote(url=url, access=access or Access(), is_written=True)
        self._workspace = Workspace(path, remote, SNAPSHOTS, self._turn, timeouts)

    def tip(self) -> Tip | None:
        """What is there now; None where there is no such ref."""
        with self._workspace.in_turn():
            return self._workspace.steadily(self._tip)

    def put(self, make: Callable[[Tip | None], str | None], at: datetime) -> Pushed | None:
        """Push a commit on top of what is there, with the message that `make` makes of that.

        `make` is asked again where something came in between; where it has no message, nothing is pushed.
        Raises PushRefused where the server does not want the push, PushUnclear where nobody knows whether it
        took it: what `make` sees next time tells.
        """
        what = f"cannot push to {self.ref} of {self.url}"

        def look(tried: Tried | None) -> Push | Pushed | None:
            tip = self._workspace.steadily(self._tip)
            if tip is not None and tried is not None and tip.commit == tried.push.commit:
                return Pushed(before=tried.push.seen, after=tip.commit)
            message = make(tip)
            if message is None:
                return None
            return self._workspace.steadily(lambda: self._made(message, tip, at))

        with self._named(), self._workspace.in_turn():
            try:
                return settle(self._workspace, what, look)
            finally:
                self._workspace.tidy()

    def rehearse(self, at: datetime) -> Tip | None:
        """Ask the server whether it would take a push, without one; what is there now.

        Raises PushRefused where it would not, as far as a server tells before it is sent anything.
        """
        workspace = self._workspace
        what = f"cannot push to {self.ref} of {self.url}"
        with self._named(), workspace.in_turn():
            tip = workspace.steadily(self._tip)
            push = workspace.steadily(lambda: self._made("rehearsal", tip, at))
            command = ("push", "--dry-run", "--no-verify", "--", workspace.url, f"{push.commit}:{self.ref}")
            try:
                workspace.git.told(*command, seconds=workspace.timeouts.push)
            except Failed as error:
                answer = refusal(what, error.printed, workspace.url, workspace.remote.secrets())
                if isinstance(answer, PushRefused):
                    raise answer from error
                message = f"{what}: {answer.value}: try again"
                raise GitUnavailable(message) from error
            return tip

    def interrupt(self) -> None:
        """End whatever runs and refuse what comes, from another thread: who waits gets `GitUnavailable`."""
        self._turn.interrupt()

    # --- in turn -----------------------------------------------------------------------------------------

    def _tip(self) -> Tip | None:
        workspace = self._workspace
        head = workspace.ask({self.ref}).get(self.ref)
        if head is None:
            return None
        if not workspace.has(head):
            workspace.fetch([f"+{self.ref}:{_OURS}"])
            # It may have moved on since.
            head = header(workspace.git, _OURS)[0]
        at = workspace.reader.commit(workspace.git, head).revision.committed_at
        raw = read_object(workspace.git, head, "commit", OBJECT_LIMIT)
        message = raw.partition(b"\n\n")[2][:_MESSAGE_LIMIT].decode("utf-8", "replace")
        return Tip(commit=head, message=message, at=at)

    def _made(self, message: str, tip: Tip | None, at: datetime) -> Push:
        workspace = self._workspace
        # Written, not only named: git knows the empty folder without having it, and other servers may not.
        tree = write_object(workspace, "tree", b"")
        parent = None if tip is None else tip.commit
        commit = seal(workspace, tree, parent, message, _BY, at)
        return Push(commit=commit, branch=self._below, seen=parent, is_leased=True, space="refs/")

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Have what is wrong with the credential said of the setting that it is in."""
        try:
            yield
        except PushRefused as error:
            message = error.why.replace("the repository's `write`", "`audit.push`")
            raise PushRefused(
                message.replace("the repository one as `write`", "one in `audit.push`")
            ) from error
