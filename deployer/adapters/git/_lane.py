"""How a branch stands to a commit that is to be promoted to it.

Owns that comparison and the commits that are fetched for it. Must not push. Invariant: only commits are
fetched, whole lines of them, so that no answer depends on where a shallow history ends (100,000 are 23 MB,
once); and what is compared was read with a check, so that no damage reads as "already there".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.core.types import Revision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.adapters.git._workspace import Workspace

LINE = 50
"""Commits that a lane names, of each kind."""

_TARGET, _SOURCE, _BY_ID = "refs/deployer/target", "refs/deployer/source", "refs/deployer/by-id"
"""Where what was fetched is kept. Three names for all branches: none can stand in another's way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """How a branch stands to a commit that is to be promoted to it.

    `head` is where the branch is; None if it is not there. `ahead` is what the promotion would bring, none if
    the branch has the commit already; `in_the_way` what only the branch has, so that it cannot be
    fast-forwarded. Both on the line of first parents, newest first; `is_more` says that one of them goes on.
    `is_dropped`: the `source_ref` that was given is gone, or does not lead to the commit any more.
    """

    head: str | None
    ahead: tuple[Revision, ...]
    in_the_way: tuple[Revision, ...]
    is_more: bool
    is_dropped: bool = False


def look(workspace: Workspace, commit: str, branch: str, source_ref: str) -> Lane:
    """One look. See `Writer.lane`."""
    return workspace.steadily(lambda: _lane(workspace, commit, branch, source_ref))


def revisions(workspace: Workspace, commits: Sequence[str], source_ref: str) -> tuple[Revision, ...]:
    """Those of these commits that can be read, after one look at the ref."""

    def read() -> tuple[Revision, ...]:
        there = workspace.ask({source_ref})
        if source_ref in there and not workspace.has(there[source_ref]):
            workspace.fetch([f"+{source_ref}:{_SOURCE}"])
        known = (one for one in commits if workspace.has(one))
        return tuple(workspace.reader.commit(workspace.git, one).revision for one in known)

    return workspace.steadily(read)


def _lane(workspace: Workspace, commit: str, branch: str, source_ref: str) -> Lane:
    target = f"refs/heads/{branch}"
    there = workspace.ask({target, source_ref} - {""})
    wanted = {_TARGET: target, _SOURCE: source_ref}
    workspace.fetch(
        f"+{ref}:{ours}" for ours, ref in wanted.items() if ref in there and not workspace.has(there[ref])
    )
    if not workspace.has(commit):
        workspace.fetch_by_id(commit, _BY_ID)
    head = there.get(target)
    # git believes the disk; these are read with a check.
    for one in {commit, head} - {None}:
        workspace.reader.commit(workspace.git, str(one))
    ahead = _range(workspace, commit, head)
    in_the_way = _range(workspace, head, commit) if head is not None else ()
    is_dropped = bool(source_ref) and not _leads_to(workspace, there.get(source_ref), commit)
    return Lane(
        head=head,
        ahead=ahead[:LINE],
        in_the_way=in_the_way[:LINE],
        is_more=max(len(ahead), len(in_the_way)) > LINE,
        is_dropped=is_dropped,
    )


def _range(workspace: Workspace, having: str, lacking: str | None) -> tuple[Revision, ...]:
    """The commits that one has and the other has not; one more than a lane names, if there are."""
    less = (f"^{lacking}",) if lacking is not None else ()
    limit = f"--max-count={LINE + 1}"
    printed = str(workspace.git.rev_list("--first-parent", limit, having, *less, "--"))
    return tuple(workspace.reader.commit(workspace.git, one).revision for one in printed.split())


def _leads_to(workspace: Workspace, id_: str | None, commit: str) -> bool:
    if id_ is None:
        return False
    return not str(workspace.git.rev_list("--max-count=1", commit, f"^{id_}", "--")).strip()
