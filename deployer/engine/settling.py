"""What became of promotions: their outcomes, written and read back, and pull requests that are open.

Owns the events that end an intent, and the looks that find out about one that was cut off. Must not know who
asks, nor what may be promoted. Invariant: an outcome is true: where nobody knows what became of a push, the
branch, or the forge, is asked, and while a server may still be at it, that it is not there is no outcome.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import structlog

from deployer.adapters.forge import ForgeUnavailable
from deployer.adapters.git import CommitMissing, GitUnavailable
from deployer.adapters.store import Conflict
from deployer.core import promotion
from deployer.core.commands import Declined, GoodRelease
from deployer.core.events import DAEMON, Event, Promoted, PromotionAsked, PromotionFailed, Proposed
from deployer.core.record import Pushing, Record
from deployer.engine.proposing import Proposals
from deployer.engine.ways import Edge, Prepared, Way, Writer

if TYPE_CHECKING:
    from deployer.adapters.forge import PullRequest
    from deployer.core.gates import GateState
    from deployer.core.record import Promotion

FAILED = 1
"""The exit code of a promotion whose push failed."""

SETTLED_SECONDS = 180.0
"""After a push that was cut off: the time-out of a push, and a margin. A server's hook goes on without us."""

_ATTEMPTS = 5
"""To commit an event, as for any wish: a pass commits a few times a second at most."""

_PATIENCE_SECONDS = 60.0
"""For who reads back what was cut off, until the writer is free."""

_TEND_PATIENCE_SECONDS = 5.0
"""For who only looks."""

log = structlog.get_logger(__name__)


class Store(Protocol):
    """What promotions need of the store."""

    def load(self, environment: str) -> Record:
        """The record of an environment."""

    def good_releases(self, environment: str) -> Sequence[GoodRelease]:
        """What became good, newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """What promotions are carried out with. `ways` and `proposals` by target, `writers` by repository.

    `choose` says which release a commit is, on an edge; `alone` keeps others from promoting to a target
    inside its block, if nobody does already. `look_now` is told a repository that was pushed to;
    `commit` makes events durable and tells who listens.
    """

    store: Store
    writers: Mapping[str, Writer]
    ways: Mapping[str, Way]
    proposals: Mapping[str, Proposals]
    choose: Callable[[Edge, str], GoodRelease | Declined]
    alone: Callable[[str], AbstractContextManager[bool]]
    look_now: Callable[[str], object]
    now: Callable[[], datetime]
    commit: Callable[[Record, Sequence[Event]], Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """An intent whose push did not get there, as this process knows, and which is to be tried again."""

    commit: str
    why: str


class Outcomes:
    """The outcomes of every target's promotions. One thread for each target at a time."""

    def __init__(self, ports: Ports, settled_seconds: float) -> None:
        """Take the ports. So long after a push was cut off the server may still be at it."""
        self._ports = ports
        self._settled_seconds = settled_seconds
        # When a push was cut off, on the clock of this process; what another process began was by its start.
        self._began = time.monotonic()
        self._cut_off: dict[str, float] = {}
        self._open: dict[str, _Open] = {}
        # At which head of a pull request, and commit of the target, it was not empty.
        self._looked: dict[str, tuple[str | None, str | None]] = {}

    @property
    def open(self) -> tuple[str, ...]:
        """The targets with an intent that is to be tried again."""
        return tuple(self._open)

    def begin(self, target: str, asked: PromotionAsked) -> None:
        """Write the intent, unless it stands open: from here on it does because of this push."""
        if self._open.pop(target, None) is None:
            self.write(target, asked)

    def ended(self, target: str) -> None:
        """A push has ended, or was cut off."""
        self._cut_off[target] = time.monotonic()

    def known(self, target: str, commit: str) -> str | None:
        """Why the last push of this commit failed, as the log says or as this process keeps for itself."""
        standing = self._open.get(target)
        if standing is not None:
            return standing.why
        last = self._ports.store.load(target).promotion
        is_known = last is not None and last.commit == commit and last.result is Pushing.FAILED
        return last.why if last is not None and is_known else None

    def settle(self, edge: Edge, retrying: str) -> Declined | None:
        """Give an intent without an outcome its outcome, or say that there is none yet."""
        asked = self._ports.store.load(edge.target).promotion
        if asked is None or asked.result is not Pushing.ASKED:
            self._open.pop(edge.target, None)
            return None
        standing = self._open.get(edge.target)
        if standing is not None and standing.commit == retrying:
            return None
        found = standing.why if standing is not None else self._found(edge, asked)
        if not isinstance(found, str):
            self.write(edge.target, found)
            self._ports.look_now(edge.repository)
            return None
        left = self._cut_off.get(edge.target, self._began) + self._settled_seconds - time.monotonic()
        if standing is None and left > 0:
            return Declined(why=promotion.unsettled(edge.target, asked.commit, math.ceil(left)))
        self.write(edge.target, self._failure(edge, asked.commit, DAEMON, found))
        self._open.pop(edge.target, None)
        return None

    def failed(self, edge: Edge, asked: PromotionAsked, why: str, known: str | None) -> Declined:
        """It did not get there: written, unless it is what was `known`, and the answer to who asked."""
        if why == known:
            # It is in the log; what is tried for days is not to tell everybody every time.
            self._open[edge.target] = _Open(commit=asked.commit, why=why)
            return Declined(why=why, exit_code=FAILED)
        self.write(edge.target, self._failure(edge, asked.commit, asked.actor, why))
        log.warning("promotion_failed", target=edge.target, commit=asked.commit, why=why)
        return Declined(why=why, exit_code=FAILED)

    def write(self, target: str, event: Event) -> None:
        """Append to the target's history, whatever a pass writes in between."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._ports.commit(self._ports.store.load(target), (event,))
            except Conflict:
                if attempt == _ATTEMPTS:
                    raise
            else:
                return

    def promoted(
        self, edge: Edge, commit: str, actor: str, before: str | None, copied: str | None
    ) -> Promoted:
        """The branch has it."""
        return Promoted(
            at=self._ports.now(), actor=actor, commit=commit, branch=edge.branch, before=before, copied=copied
        )

    def proposed(self, edge: Edge, commit: str, actor: str, top: str, one: PullRequest) -> Proposed:
        """A pull request has it."""
        return Proposed(
            at=self._ports.now(),
            actor=actor,
            commit=commit,
            branch=edge.branch,
            head=top,
            number=one.number,
            url=one.url,
        )

    def _found(self, edge: Edge, cut_off: Promotion) -> Promoted | Proposed | str:
        """What became of a promotion that was cut off: its outcome, or why it did not get there."""
        commit, again = cut_off.commit, "It was not pushed: the push was cut off. Promote it again."
        if not edge.copied_to and not cut_off.by_pull_request:
            try:
                lane = self._ports.writers[edge.repository].lane(
                    commit, edge.branch, source_ref=edge.source_ref
                )
            except CommitMissing as error:
                return error.why
            return again if lane.ahead else self.promoted(edge, commit, DAEMON, None, None)
        chosen = self._chosen(edge, cut_off)
        if isinstance(chosen, Declined):
            return chosen.why
        prepared = self._ports.ways[edge.target].prepare(chosen, patience_seconds=_PATIENCE_SECONDS)
        if isinstance(prepared, Declined):
            return prepared.why
        if prepared.is_there:
            return self.promoted(edge, commit, DAEMON, None, cut_off.copied)
        if not cut_off.by_pull_request or edge.target not in self._ports.proposals:
            return again
        top, proposals = cut_off.copied or commit, self._ports.proposals[edge.target]
        try:
            standing = proposals.standing()
            if standing is None or standing.head_commit != top:
                return again
            # Its text may be still that of what its branch had before.
            one, _ = proposals.put(chosen, prepared, cut_off.reason, cut_off.by)
        except ForgeUnavailable as error:
            # As for a repository that cannot be looked at.
            raise GitUnavailable(error.why) from error
        return self.proposed(edge, commit, DAEMON, top, one)

    def tend(self, edge: Edge, gates: Callable[[GoodRelease], Sequence[GateState]]) -> None:
        """Keep the pull request that was opened last true: how the gates stand; closed once it is empty.

        `gates` says how they stand for a release. Raises GitUnavailable, ForgeUnavailable, and what the store
        does.
        """
        target = edge.target
        last, proposals = self._open_proposal(edge)
        if last is None or proposals is None or last.number is None:
            return
        standing = proposals.of(last.number)
        if standing.state != "open":
            self._closed(edge, last, standing)
            return
        chosen = self._chosen(edge, last)
        if isinstance(chosen, Declined):
            proposals.tell(standing.head_commit, (promotion.no_proof(chosen.why),))
            return
        if standing.head_commit != last.head:
            # What somebody pushed to our branch has proved nothing, whatever was green before.
            why = promotion.foreign_head(edge.proposals, chosen, standing.head_commit)
            proposals.tell(standing.head_commit, (promotion.no_proof(why),))
            return
        # Only a commit there can make it empty.
        seen = self._ports.store.load(target).seen
        at = last.head, seen.revision.commit if seen is not None else None
        if self._looked.get(target) != at:
            prepared = self._ports.ways[target].prepare(chosen, patience_seconds=_TEND_PATIENCE_SECONDS)
            if isinstance(prepared, Prepared) and prepared.is_there:
                proposals.close(standing.number, promotion.superseded(edge.target, edge.branch))
                self._ended(edge, last, self.promoted(edge, last.commit, DAEMON, None, None))
                return
            self._looked[target] = at
        proof = promotion.proof(self._ports.store.load(edge.source), chosen, last.skipped)
        proposals.tell(standing.head_commit, (proof, *gates(chosen)))

    def conclude_proposal(self, edge: Edge) -> None:
        """Find out how the pull request that was opened last ended, if it did, before anything else is begun.

        A forge that does not answer keeps nobody from pushing. The caller has the target alone.
        """
        last, proposals = self._open_proposal(edge)
        if last is None or proposals is None or last.number is None:
            return
        try:
            standing = proposals.of(last.number)
        except ForgeUnavailable as error:
            log.warning("pull_request_not_known", target=edge.target, number=last.number, why=error.why)
            return
        if standing.state != "open":
            self.write(edge.target, self._end_of(edge, last, standing))

    def replace_proposal(self, edge: Edge, by: str) -> None:
        """Close the pull request that is open, as something else is pushed instead: `by`, a short commit."""
        last, proposals = self._open_proposal(edge)
        if last is None or proposals is None or last.number is None:
            return
        why = promotion.replaced(edge.target, last.number, by)
        try:
            proposals.close(last.number, why)
        except ForgeUnavailable as error:
            log.warning("pull_request_not_closed", target=edge.target, number=last.number, why=error.why)
        self.write(edge.target, self._failure(edge, last.commit, DAEMON, why))

    def _open_proposal(self, edge: Edge) -> tuple[Promotion | None, Proposals | None]:
        """The promotion that was proposed last, if it has not ended, and the pull requests of the edge."""
        return self._ports.store.load(edge.target).proposal, self._ports.proposals.get(edge.target)

    def _chosen(self, edge: Edge, last: Promotion) -> GoodRelease | Declined:
        """What was promoted: a commit that no rollout was for is that of who made its config good."""
        found = self._ports.choose(edge, last.commit)
        if not isinstance(found, Declined) or edge.copied_to:
            return found
        same = self._ports.choose(edge, last.rollout)
        if isinstance(same, Declined):
            return found
        revision = replace(same.release.revision, commit=last.commit)
        return replace(same, release=replace(same.release, revision=revision))

    def _closed(self, edge: Edge, last: Promotion, found: PullRequest) -> None:
        """The pull request was merged, or closed by somebody, who knows why."""
        self._ended(edge, last, self._end_of(edge, last, found))

    def _end_of(self, edge: Edge, last: Promotion, found: PullRequest) -> Promoted | PromotionFailed:
        if found.state == "closed":
            why = f"Pull request #{found.number} was closed, and not merged."
            return self._failure(edge, last.commit, DAEMON, why)
        made = found.merge_commit or last.head
        # A copy that was merged as it was says what proved itself; and so does a fast-forward.
        is_ours = found.head_commit == last.head and (bool(edge.copied_to) or made == last.head)
        copied = made if made != last.commit else None
        promoted = self.promoted(edge, last.commit, DAEMON, None, copied)
        return replace(promoted, is_more=not is_ours)

    def _ended(self, edge: Edge, last: Promotion, event: Promoted | PromotionFailed) -> None:
        """Write how what was proposed ended, unless another promotion has begun meanwhile."""
        with self._ports.alone(edge.target) as is_alone:
            if not is_alone or self._ports.store.load(edge.target).proposal != last:
                return
            self.write(edge.target, event)
        log.info("pull_request_ended", target=edge.target, commit=last.commit, how=event.type)
        self._ports.look_now(edge.repository)

    def _failure(self, edge: Edge, commit: str, actor: str, why: str) -> PromotionFailed:
        return PromotionFailed(at=self._ports.now(), actor=actor, commit=commit, why=why, source=edge.source)
