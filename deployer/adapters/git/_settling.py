"""A push, until it is known what became of it.

Owns the tries: look, push, look again. Must not know what is looked for. Invariant: what became of a push is
read back, never guessed; and nothing is replaced that is not where it was seen a moment ago, which the
server compares in one step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import structlog

from deployer.adapters.git._errors import Failed, GitUnavailable, Interrupted, TimedOut, TooMuch
from deployer.adapters.git._push_answer import PushRefused, PushUnclear, Unsettled, before, refusal
from deployer.adapters.git._remote import check_ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.adapters.git._workspace import Workspace

_PAUSES_SECONDS = (0.0, 0.2, 1.0, 3.0)
"""Before each look at the branch. A push follows each but the last, until one is settled."""

OUR_OWN = "deployer/"
"""What the branches begin with that are ours to replace."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """The branch was pushed. `before` is where it was; None if it was not there, or nobody knows any more."""

    before: str | None
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """What to push, by who looked and saw the branch at `seen`; None: not there.

    `is_leased`: from there and from nowhere else, and then also what does not follow from it. Without it
    any place will do that the commit follows from. `space` is what stands before the branch in the full ref.
    """

    commit: str
    branch: str
    seen: str | None
    is_leased: bool = False
    space: str = "refs/heads/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A push of which it is not known what became of it."""

    push: Push
    why: Unsettled


def settle(workspace: Workspace, what: str, look: Callable[[Tried | None], T | Push]) -> T | Pushed:
    """Push what `look` says, until a push is settled or `look` has another answer.

    `what` begins the sentence if it fails; `look` is given the last try. Raises PushRefused, PushUnclear,
    GitUnavailable.
    """
    tried: Tried | None = None
    for left, pause in zip(range(len(_PAUSES_SECONDS))[::-1], _PAUSES_SECONDS, strict=True):
        if workspace.turn.stopping.wait(pause):
            raise Interrupted
        found = _looked(workspace, what, look, tried)
        if not isinstance(found, Push):
            return found
        if not left:
            break
        answer = _push(workspace, what, found)
        if isinstance(answer, Pushed):
            return answer
        tried = Tried(push=found, why=answer)
        log.info("push_unsettled", repository=workspace.url, branch=found.branch, why=answer.value)
    why = tried.why.value if tried is not None else ""
    message = f"{what}: {why}, {len(_PAUSES_SECONDS) - 1} times in a row: try again later"
    if tried is not None and tried.why is Unsettled.LOST:
        # A server that was not heard may still be at it.
        raise PushUnclear(message)
    raise GitUnavailable(message)


def replacing(commit: str, branch: str, head: str | None, tried: Tried | None) -> Pushed | Push:
    """What is to be done so that a branch of our own, which is at `head`, is at the commit."""
    if head != commit:
        return Push(commit=commit, branch=branch, seen=head, is_leased=True)
    return Pushed(before=commit if tried is None else tried.push.seen, after=commit)


def check_own(branch: str) -> None:
    """Raise ValueError for a branch that is not ours to replace."""
    check_ref(f"refs/heads/{branch}")
    if not branch.startswith(OUR_OWN):
        message = f"{branch!r} is not a branch of deployer's own: those begin with {OUR_OWN}"
        raise ValueError(message)


def check_may_push(what: str, *, can_push: bool) -> None:
    """Raise PushRefused for a writer without a credential."""
    if not can_push:
        message = f"{what}: deployer has no credential for pushing: set the repository's `write`"
        raise PushRefused(message)


def _looked(
    workspace: Workspace, what: str, look: Callable[[Tried | None], T | Push], tried: Tried | None
) -> T | Push:
    """A look, of which it is said what it was for if it fails after a push."""
    try:
        with workspace.translated():
            return look(tried)
    except Interrupted:
        raise
    except GitUnavailable as error:
        if tried is None or tried.why is not Unsettled.LOST:
            raise
        lost = f"{what}: {tried.why.value}, and whether it got there is not known"
        message = f"{lost}: {error.why}"
        raise PushUnclear(message) from error


def _push(workspace: Workspace, what: str, push: Push) -> Pushed | Unsettled:
    # Whole ids, to read where the branch was; what we have not, the server is asked for.
    options = ("-c", "core.abbrev=no", "-c", "push.negotiate=true")
    plainly = ("--no-verify", "--no-signed", "--no-follow-tags", "--recurse-submodules=no")
    ref = f"{push.space}{push.branch}"
    # Nothing behind the colon: only if it is not there.
    lease = (f"--force-with-lease={ref}:{push.seen or ''}",) if push.is_leased else ()
    command = (*options, "push", *plainly, *lease, "--", workspace.url, f"{push.commit}:{ref}")
    try:
        _, printed = workspace.git.told(*command, seconds=workspace.timeouts.push)
    except Failed as error:
        answer = refusal(what, error.printed, workspace.url, workspace.remote.secrets())
        if isinstance(answer, Unsettled):
            return answer
        raise answer from error
    except (TimedOut, TooMuch):
        return Unsettled.LOST
    return Pushed(before=push.seen if push.is_leased else before(printed, push.commit), after=push.commit)
