"""A repository's one writer: what a fast-forward would bring, and the push of it.

Owns a bare directory of its own, beside the mirror, and the credential for writing. Must not know
environments, nor whether something may be promoted. Invariant: nothing is ever forced but a branch of our own
(`deployer/...`): any other only moves to a commit that follows from where it is, and the server compares in
one step.

The server has what is pushed already, and is asked whether it does (`push.negotiate`), so nothing has to be
sent.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from deployer.adapters.git import _lane
from deployer.adapters.git._remote import Access, Remote, check_ref
from deployer.adapters.git._settling import (
    OUR_OWN,
    Push,
    Pushed,
    Tried,
    check_may_push,
    check_own,
    replacing,
    settle,
)
from deployer.adapters.git._workspace import (
    COMMITS,
    FETCH_SECONDS,
    LOOK_SECONDS,
    PUSH_SECONDS,
    TURN_SECONDS,
    Timeouts,
    Turn,
    Workspace,
    check_commit,
)
from deployer.core.types import Revision

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from deployer.adapters.git._lane import Lane

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFastForward:
    """Nothing was pushed: the branch has commits that the other does not have (see `Lane`)."""

    in_the_way: tuple[Revision, ...]
    is_more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadyThere:
    """Nothing was pushed: the branch, which is at `head`, has the commit."""

    head: str


class Writer:
    """One repository's writer. Thread-safe: one call at a time, the others wait for their turn.

    Every method that looks or pushes may raise `GitUnavailable`, which is `CommitMissing` where there is no
    such commit; nothing else comes out of git, network or disk. ValueError is for a branch or a commit that
    cannot be one.
    """

    def __init__(
        self,
        path: Path,
        url: str,
        *,
        access: Access | None = None,
        can_push: bool = True,
        look_timeout_seconds: float = LOOK_SECONDS,
        fetch_timeout_seconds: float = FETCH_SECONDS,
        push_timeout_seconds: float = PUSH_SECONDS,
    ) -> None:
        """Take the directory, which is ours alone, and the repository; touch neither yet.

        `access` is the credential for writing. Where none is configured, that for reading and no `can_push`
        make a writer that tells what a push would bring. Raises ValueError as `Mirror` does.
        """
        self.url = url
        self.can_push = can_push
        self.remote = Remote(url=url, access=access or Access(), is_written=can_push)
        self.turn = Turn(url)
        timeouts = Timeouts(look=look_timeout_seconds, fetch=fetch_timeout_seconds, push=push_timeout_seconds)
        self._workspace = Workspace(path, self.remote, COMMITS, self.turn, timeouts)

    def lane(
        self,
        source_commit: str,
        target_branch: str,
        *,
        source_ref: str = "",
        patience_seconds: float = TURN_SECONDS,
    ) -> Lane:
        """How the branch (`env/production`) stands to the commit.

        `source_ref` is the full ref that led to the commit. Without one, or if it does not lead there any
        more, the commit is asked for by its id, which a server without protocol 2 may refuse. Who has no
        `patience_seconds` for their turn gets `GitUnavailable`.
        """
        _check(source_commit, target_branch, source_ref)
        with self._workspace.in_turn(patience_seconds):
            return _lane.look(self._workspace, source_commit, target_branch, source_ref)

    def revisions(self, commits: Sequence[str], source_ref: str) -> tuple[Revision, ...]:
        """Those of these commits that the ref leads to, or has led to, as they can be read. See `lane`."""
        with self._workspace.in_turn(TURN_SECONDS):
            return _lane.revisions(self._workspace, commits, source_ref)

    def alone(self) -> AbstractContextManager[None]:
        """Keep the turn for the calls of this thread inside the block. Raises GitUnavailable before it."""
        return self.turn.taken()

    def fast_forward(
        self, commit: str, branch: str, *, source_ref: str = ""
    ) -> Pushed | NotFastForward | AlreadyThere:
        """Push the commit to the branch if the branch is behind it, or not there. See `lane`.

        If the branch moves meanwhile, or the answer is lost, it looks again and tries again, a few times.
        Raises PushRefused where the server does not want the push, PushUnclear where nobody knows whether it
        took it.
        """
        _check(commit, branch, source_ref)

        def look(tried: Tried | None) -> Pushed | NotFastForward | AlreadyThere | Push:
            lane = _lane.look(self._workspace, commit, branch, source_ref)
            if lane.head == commit and tried is not None:
                # By us, as far as anybody can tell: over http, curl repeats a request that was cut off.
                return Pushed(before=tried.push.seen, after=commit)
            if lane.head is not None and not lane.ahead:
                return AlreadyThere(head=lane.head)
            if lane.in_the_way:
                return NotFastForward(in_the_way=lane.in_the_way, is_more=lane.is_more)
            return Push(commit=commit, branch=branch, seen=lane.head)

        return self._settle(commit, branch, look)

    def propose(self, commit: str, branch: str, *, source_ref: str = "") -> Pushed:
        """Put a branch of our own, that of a pull request, at the commit, wherever the branch is. See `lane`.

        Replaced is what was seen there a moment ago and nothing else; what came meanwhile is looked at, and
        then replaced. Raises what `fast_forward` does, and ValueError for a branch that does not begin with
        `deployer/`.
        """
        check_own(branch)
        _check(commit, branch, source_ref)

        def look(tried: Tried | None) -> Pushed | Push:
            head = _lane.look(self._workspace, commit, branch, source_ref).head
            return replacing(commit, branch, head, tried)

        return self._settle(commit, branch, look)

    def interrupt(self) -> None:
        """End whatever runs and refuse what comes, from another thread: who waits gets `GitUnavailable`."""
        self.turn.interrupt()

    def _settle(self, commit: str, branch: str, look: Callable[[Tried | None], T | Push]) -> T | Pushed:
        what = f"cannot push {commit[:7]} to {branch} of {self.url}"
        check_may_push(what, can_push=self.can_push)
        with self._workspace.in_turn():
            try:
                return settle(self._workspace, what, look)
            finally:
                self._workspace.tidy()


def push_commands(url: str, commit: str, branch: str, *, source_ref: str = "") -> tuple[str, ...]:
    """What a person types in any clone of it to promote a commit. git refuses what is no fast-forward.

    But for a branch of pull requests, which is replaced.
    """
    fetched, pushed = shlex.quote(source_ref or commit), shlex.quote(f"{commit}:refs/heads/{branch}")
    force = "--force " if branch.startswith(OUR_OWN) else ""
    return (f"git fetch {shlex.quote(url)} {fetched}", f"git push {force}{shlex.quote(url)} {pushed}")


def _check(commit: str, branch: str, source_ref: str) -> None:
    """Refuse what git could take for something else. Raises ValueError."""
    check_commit(commit)
    check_ref(f"refs/heads/{branch}")
    if source_ref:
        check_ref(source_ref.replace("refs/tags/", "refs/heads/", 1))
