"""The ways to bring what is good in one environment to the next: a fast-forward, and a copy.

Owns what each of them looks at, prepares and pushes. Must not know events, nor who asks: that order is
`engine.promoting`. Invariant: nothing is pushed that was not looked at in this very call; a copy is
made anew whenever the branch moved; and what is pushed to the target's branch is never forced.
"""

from __future__ import annotations

import difflib
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from deployer.adapters.git import (
    OUR_OWN,
    AlreadyThere,
    GitUnavailable,
    Lane,
    Moved,
    NotFastForward,
    Pushed,
    Snapshot,
    push_commands,
)
from deployer.core import copying, promotion
from deployer.core.commands import INVALID, Declined
from deployer.core.copying import CannotCopy, Copy, FieldPolicy
from deployer.core.errors import InvalidConfig
from deployer.core.record import login
from deployer.core.redact import mentions_secret
from deployer.core.types import Person
from deployer.core.yaml_secrets import secret_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from typing import Any

    from deployer.core.commands import GoodRelease
    from deployer.core.events import PromotionAsked
    from deployer.core.types import Revision

COMMITTER = Person(name="deployer", email="deployer@localhost")
"""Who makes the commits of copies. Who asked for one is in its message."""

_PATIENCE_SECONDS = 60.0
"""For the turn of who has it already, as a rule."""

_COPIES = 3
"""Times that a copy is made anew because the branch moved meanwhile."""


_HUNK = re.compile(r"@@ -(?P<old>\d+)(?:,\d+)? \+(?P<new>\d+)")
"""The head of a part of a unified diff."""


class Writer(Protocol):
    """A repository's writer: `deployer.adapters.git.Writer`."""

    @property
    def can_push(self) -> bool:
        """Whether there is a credential for it."""

    def lane(
        self, source_commit: str, target_branch: str, *, source_ref: str = "", patience_seconds: float = ...
    ) -> Lane:
        """How the branch stands to the commit."""

    def revisions(self, commits: Sequence[str], source_ref: str) -> tuple[Revision, ...]:
        """Those of these commits that can be read."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep others out inside the block."""

    def fast_forward(
        self, commit: str, branch: str, *, source_ref: str = ""
    ) -> Pushed | NotFastForward | AlreadyThere:
        """Push the commit to the branch."""

    def propose(self, commit: str, branch: str, *, source_ref: str = "") -> Pushed:
        """Push the commit to a branch of deployer's own."""

    def interrupt(self) -> None:
        """End what runs."""


class Copier(Protocol):
    """Makes commits in a repository: `deployer.adapters.git.Copier`."""

    def read(self, branch: str, file: str, *, patience_seconds: float = ...) -> Snapshot:
        """The file at the head of the branch."""

    def commit(
        self, snapshot: Snapshot, file: str, data: bytes, message: str, *, author: Person, at: datetime
    ) -> str:
        """A commit that changes the file, here alone."""

    def push(self, commit: str, branch: str, *, before: str) -> Pushed | Moved:
        """Push it if the branch is where it was seen."""

    def propose(self, commit: str, branch: str) -> Pushed:
        """Push it to a branch of deployer's own."""

    def interrupt(self) -> None:
        """End what runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What is good in `source` is promoted to `target`, which follows this branch (`env/production`).

    `repository` is the name of the one that both are in, at `url`; `source_ref` the full ref that the source
    follows, "" where it follows no branch or tag of its own. `auto`: without being asked. `copied_to` is the
    file of the target into which what the source's says is copied, where both follow one branch ("": the
    branch is pushed to the very commit), by `fields`. `by_pull_request`: a person merges it at the forge.
    """

    source: str
    target: str
    repository: str
    url: str
    branch: str
    source_ref: str = ""
    auto: bool = False
    copied_to: str = ""
    fields: FieldPolicy = field(default_factory=FieldPolicy)
    by_pull_request: bool = False

    @property
    def ends(self) -> tuple[str, str]:
        """The two environments."""
        return self.source, self.target

    @property
    def proposals(self) -> str:
        """The branch of its pull requests."""
        return f"deployer/{self.source}-to-{self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a promotion would bring. `lane`: as of the branch; a copy has no commits yet, but a `copy`."""

    lane: Lane
    copy: Copy | None = None
    snapshot: Snapshot | None = None

    @property
    def is_there(self) -> bool:
        """Whether there is nothing to bring."""
        if self.copy is not None:
            return not self.copy.changes
        return self.lane.head is not None and not self.lane.ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """It is on the target's branch, which was at `before`. `copied` is the commit of a copy.

    `is_new` is False if it was there already.
    """

    before: str | None
    copied: str | None = None
    changes: int = 0
    is_new: bool = True


class Way(Protocol):
    """How what is good gets from one environment to the next. Everything raises GitUnavailable."""

    @property
    def can_push(self) -> bool:
        """Whether there is a credential for it."""

    def alone(self) -> AbstractContextManager[None]:
        """Keep others out of the repository inside the block."""

    def prepare(self, chosen: GoodRelease, *, patience_seconds: float) -> Prepared | Declined:
        """What would be brought. Declined: no program can."""

    def commands(self, chosen: GoodRelease, prepared: Prepared, branch: str) -> tuple[str, ...]:
        """What a person types to bring it to this branch; nothing where that cannot be shown."""

    def carry(
        self,
        chosen: GoodRelease,
        prepared: Prepared,
        asked: PromotionAsked,
        anew: Callable[[str], None],
    ) -> Carried | NotFastForward | Declined:
        """Bring it to the target's branch. As `Writer.fast_forward` raises.

        `anew` is told each commit that is made in place of the one in `asked`, before it is pushed.
        """

    def top(self, chosen: GoodRelease, prepared: Prepared, asked: PromotionAsked) -> str:
        """The commit that a pull request for it has at its top."""

    def propose(self, top: str) -> None:
        """Bring that commit to the branch of pull requests."""

    def interrupt(self) -> None:
        """End what runs."""


class FastForward:
    """The target's branch is pushed to the very commit."""

    def __init__(self, edge: Edge, writer: Writer) -> None:
        """Take both."""
        self._edge = edge
        self._writer = writer

    @property
    def can_push(self) -> bool:
        """Whether there is a credential for it."""
        return self._writer.can_push

    def alone(self) -> AbstractContextManager[None]:
        """Keep others out of the repository inside the block."""
        return self._writer.alone()

    def prepare(self, chosen: GoodRelease, *, patience_seconds: float) -> Prepared | Declined:
        """How the branch stands to the commit."""
        edge, commit = self._edge, chosen.release.revision.commit
        return Prepared(
            lane=self._writer.lane(
                commit, edge.branch, source_ref=edge.source_ref, patience_seconds=patience_seconds
            )
        )

    def commands(
        self,
        chosen: GoodRelease,
        prepared: Prepared,  # noqa: ARG002 - a copy needs it
        branch: str,
    ) -> tuple[str, ...]:
        """Two commands of git's."""
        edge, commit = self._edge, chosen.release.revision.commit
        return push_commands(edge.url, commit, branch, source_ref=edge.source_ref)

    def carry(
        self,
        chosen: GoodRelease,
        prepared: Prepared,  # noqa: ARG002 - the writer looks again
        asked: PromotionAsked,  # noqa: ARG002 - a fast-forward has no message of its own
        anew: Callable[[str], None],  # noqa: ARG002 - it is this commit or none
    ) -> Carried | NotFastForward | Declined:
        """Push it, if the branch is behind it."""
        commit, edge = chosen.release.revision.commit, self._edge
        answer = self._writer.fast_forward(commit, edge.branch, source_ref=edge.source_ref)
        match answer:
            case NotFastForward():
                return answer
            case Pushed(before=before):
                return Carried(before=before)
            case AlreadyThere():
                return Carried(before=None, is_new=False)

    def top(
        self,
        chosen: GoodRelease,
        prepared: Prepared,  # noqa: ARG002 - as above
        asked: PromotionAsked,  # noqa: ARG002 - as above
    ) -> str:
        """The very commit."""
        return chosen.release.revision.commit

    def propose(self, top: str) -> None:
        """The branch of pull requests is put on it."""
        self._writer.propose(top, self._edge.proposals, source_ref=self._edge.source_ref)

    def interrupt(self) -> None:
        """End what runs."""
        self._writer.interrupt()


class Copying:
    """What the source's file says is copied into that of the target, in a commit on the branch of both."""

    def __init__(
        self,
        edge: Edge,
        writer: Writer,
        copier: Copier,
        base: Callable[[Edge], Mapping[str, Any] | None],
    ) -> None:
        """Take the edge and the ports. `base` is the config that was promoted last on it, if it is known."""
        self._edge = edge
        self._writer = writer
        self._copier = copier
        self._base = base

    @property
    def can_push(self) -> bool:
        """Whether there is a credential for it."""
        return self._writer.can_push

    def alone(self) -> AbstractContextManager[None]:
        """Keep others out of the repository inside the block."""
        return self._writer.alone()

    def prepare(self, chosen: GoodRelease, *, patience_seconds: float) -> Prepared | Declined:
        """What the copy would change in the file that the branch has now."""
        edge = self._edge
        snapshot = self._copier.read(edge.branch, edge.copied_to, patience_seconds=patience_seconds)
        lane = Lane(head=snapshot.head, ahead=(), in_the_way=(), is_more=False)
        if snapshot.data is None:
            why = f"{edge.copied_to} is not on branch {edge.branch}: write one for {edge.target} first"
            return Declined(why=promotion.cannot_copy(edge.target, chosen, why), exit_code=INVALID)
        try:
            made = copying.copy(
                chosen.release.config.body(),
                snapshot.data,
                edge.copied_to,
                base=self._base(edge),
                policy=edge.fields,
            )
        except CannotCopy as error:
            return Declined(why=promotion.cannot_copy(edge.target, chosen, error.why), exit_code=INVALID)
        except InvalidConfig as error:
            return Declined(why=promotion.cannot_copy(edge.target, chosen, str(error)), exit_code=INVALID)
        return Prepared(lane=lane, copy=made, snapshot=snapshot)

    def commands(self, chosen: GoodRelease, prepared: Prepared, branch: str) -> tuple[str, ...]:
        """The change as git applies it; nothing where that would show a secret."""
        edge, made, snapshot = self._edge, prepared.copy, prepared.snapshot
        if made is None or snapshot is None or snapshot.data is None:
            return ()
        old, new = (_lines(data) for data in (snapshot.data, made.data))
        lines = list(difflib.unified_diff(old, new, f"a/{edge.copied_to}", f"b/{edge.copied_to}"))
        # What a file's last line lacks, git wants to be told.
        told = [one if one.endswith("\n") else f"{one}\n\\ No newline at end of file\n" for one in lines]
        patch = "".join(told)
        # Values that are not told, and what only the lines around them say.
        sides = (snapshot.data, "-"), (made.data, "+")
        is_secret = any(secret_lines(data) & _shown(lines, side) for data, side in sides)
        if any(not one.old for one in made.changes) or is_secret or mentions_secret(patch) or "\r" in patch:
            return ()
        url, title = shlex.quote(edge.url), shlex.quote(f"Promote {chosen.rollout} to {edge.target}")
        trailer = shlex.quote(f"Promoted-From: {chosen.rollout}@{chosen.release.revision.commit}")
        return (
            f"git fetch {url} {shlex.quote(f'refs/heads/{edge.branch}')}",
            "git checkout --detach FETCH_HEAD",
            f"git apply --index <<'END-OF-PATCH'\n{patch}END-OF-PATCH",
            f"git commit -m {title} -m {trailer}",
            f"git push {_force(branch)}{url} {shlex.quote(f'HEAD:refs/heads/{branch}')}",
        )

    def carry(
        self,
        chosen: GoodRelease,
        prepared: Prepared,
        asked: PromotionAsked,
        anew: Callable[[str], None],
    ) -> Carried | NotFastForward | Declined:
        """Commit the copy and push it; if the branch moved, make it anew on what is there now."""
        edge = self._edge
        for _ in range(_COPIES):
            made, snapshot = prepared.copy, prepared.snapshot
            if prepared.is_there or made is None or snapshot is None:
                return Carried(before=prepared.lane.head, is_new=False)
            commit = self.top(chosen, prepared, asked)
            if commit != asked.copied:
                anew(commit)
            answer = self._copier.push(commit, edge.branch, before=snapshot.head)
            if isinstance(answer, Pushed):
                return Carried(before=answer.before, copied=commit, changes=len(made.changes))
            again = self.prepare(chosen, patience_seconds=_PATIENCE_SECONDS)
            if isinstance(again, Declined):
                return again
            prepared = again
        message = (
            f"cannot push to {edge.branch} of {edge.url}: the branch moved while it was pushed, {_COPIES}"
            " times in a row: try again later"
        )
        raise GitUnavailable(message)

    def top(self, chosen: GoodRelease, prepared: Prepared, asked: PromotionAsked) -> str:
        """The commit of the copy. The same whoever makes it how often, as its time is that of the proof."""
        made, snapshot, edge = prepared.copy, prepared.snapshot, self._edge
        if made is None or snapshot is None:
            message = "a copy that was not prepared"
            raise ValueError(message)
        revision = chosen.release.revision
        message = copying.message(
            edge.source,
            edge.target,
            chosen.rollout,
            revision.commit,
            revision.subject,
            made.changes,
            login(asked.actor),
            asked.reason,
            people=(revision.author, revision.committer, *revision.co_authors),
        )
        return self._copier.commit(
            snapshot, edge.copied_to, made.data, message, author=COMMITTER, at=chosen.at
        )

    def propose(self, top: str) -> None:
        """The branch of pull requests is put on it."""
        self._copier.propose(top, self._edge.proposals)

    def interrupt(self) -> None:
        """End what runs."""
        self._writer.interrupt()
        self._copier.interrupt()


def _force(branch: str) -> str:
    """Branches of pull requests are replaced, whatever is there; no other is."""
    return "--force " if branch.startswith(OUR_OWN) else ""


def _shown(lines: Sequence[str], mine: str) -> frozenset[int]:
    """The numbers, from 0, of the lines of one side that a unified diff shows: `-` the old, `+` the new."""
    shown, number = set(), 0
    for line in lines[2:]:
        found = _HUNK.match(line)
        if found is not None:
            number = max(0, int(found["new" if mine == "+" else "old"]) - 1)
        elif line[0] in {" ", mine}:
            shown.add(number)
            number += 1
    return frozenset(shown)


def _lines(data: bytes) -> list[str]:
    """As git counts lines: only a line feed ends one."""
    *whole, rest = data.decode(errors="replace").split("\n")
    return [*(f"{one}\n" for one in whole), *([rest] if rest else [])]
