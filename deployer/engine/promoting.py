"""Promotions: the intent, the push or the pull request, the outcome, whoever wants them.

Owns the order of those steps. Must not know HTTP, nor threads, nor what a gate asks for: what may be promoted
is `core.promotion`, how it gets there `engine.ways`. Invariant: an intent is durable before a push, and every
intent gets an outcome that is true: where nobody knows what became of a push (a crash, a stop, a lost
answer), the branch is asked, and for as long as the server may still be at it, that it is not there yet is no
outcome.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

import structlog

from deployer.adapters.forge import ForgeUnavailable
from deployer.adapters.git import CommitMissing, GitUnavailable, Lane, NotFastForward, PushUnclear
from deployer.core import promotion
from deployer.core.commands import Declined, GoodRelease
from deployer.core.events import Event, PromotionAsked
from deployer.core.record import Pushing, login
from deployer.engine.proposing import Proposals
from deployer.engine.settling import FAILED, SETTLED_SECONDS, Outcomes, Ports
from deployer.engine.ways import Copying, Edge, FastForward, Prepared

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from datetime import datetime
    from typing import Any

    from deployer.core.events import Seen
    from deployer.core.gates import GateState
    from deployer.core.record import Record
    from deployer.core.types import Person
    from deployer.engine.proposing import Forge
    from deployer.engine.settling import Store
    from deployer.engine.ways import Copier, Way, Writer

_LOOK_PATIENCE_SECONDS = 5.0
"""For who only looks, until the writer is free."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a promotion would do now. `commands` do the same by hand.

    `is_proposal`: by a pull request, which somebody merges.
    """

    edge: Edge
    chosen: GoodRelease
    prepared: Prepared
    commands: tuple[str, ...]
    can_push: bool
    is_proposal: bool = False
    has_forge: bool = False

    @property
    def lane(self) -> Lane:
        """How the branch stands to the commit."""
        return self.prepared.lane


class Outcome(StrEnum):
    """What came of a wish to promote."""

    PLANNED = "planned"
    PROMOTED = "promoted"
    PROPOSED = "proposed"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """It was promoted, would be, or need not be. `message` is for the person."""

    outcome: Outcome
    message: str
    plan: Plan


class Promoter:
    """Carries promotions out. Thread-safe; two to one target never run at once."""

    def __init__(
        self,
        *,
        edges: Sequence[Edge],
        store: Store,
        writers: Mapping[str, Writer],
        look_now: Callable[[str], object],
        now: Callable[[], datetime],
        commit: Callable[[Record, Sequence[Event]], Record],
        copiers: Mapping[str, Copier] | None = None,
        forges: Mapping[str, Forge] | None = None,
        page: Callable[[str], str | None] = lambda _: None,
        seen: Callable[[str], Sequence[Seen]] = lambda _: (),
        settled_seconds: float = SETTLED_SECONDS,
    ) -> None:
        """Take the edges, one for each target at most, and the ports.

        `writers` has one for each repository of an edge, `copiers` for each in which something is copied,
        `forges` for each that has one. `look_now` is told a repository that was pushed to; `commit` makes
        events durable and tells who listens; `page` is where an environment is seen, `seen` what git wanted
        there, newest first. So long after a push was
        cut off the server may still be at it: `settled_seconds`.
        """
        self.edges = {edge.target: edge for edge in edges}
        self._store = store
        self._writers = writers
        self._seen = seen
        self._ways: dict[str, Way] = {
            edge.target: Copying(edge, writers[edge.repository], (copiers or {})[edge.repository], self._base)
            if edge.copied_to
            else FastForward(edge, writers[edge.repository])
            for edge in edges
        }
        self._proposals = {
            edge.target: Proposals(edge, forge, page(edge.target))
            for edge in edges
            if (forge := (forges or {}).get(edge.repository)) is not None
        }
        self._look_now = look_now
        self._now = now
        self._locks = {target: threading.Lock() for target in self.edges}
        self._stopping = threading.Event()
        ports = Ports(
            store=store,
            writers=writers,
            ways=self._ways,
            proposals=self._proposals,
            choose=lambda edge, commit: self._choose(edge, commit, {promotion.SOAK}),
            alone=self._alone,
            look_now=look_now,
            now=now,
            commit=commit,
        )
        self._outcomes = Outcomes(ports, settled_seconds)

    def plan(
        self,
        target: str,
        *,
        release: str | None = None,
        skip: Collection[str] = (),
        by_pull_request: bool = False,
    ) -> Plan | Declined:
        """What would be promoted to the target now, and how its branch stands to that.

        `by_pull_request`: also where the edge is not so. Raises GitUnavailable, soon where the repository is
        being pushed to; KeyError for an environment that nothing is promoted to.
        """
        edge, way = self.edges[target], self._ways[target]
        chosen = self._choose(edge, release, skip)
        if isinstance(chosen, Declined):
            return chosen
        prepared = way.prepare(chosen, patience_seconds=_LOOK_PATIENCE_SECONDS)
        if isinstance(prepared, Declined):
            return prepared
        is_proposal = by_pull_request or edge.by_pull_request
        return Plan(
            edge=edge,
            chosen=chosen,
            prepared=prepared,
            commands=way.commands(chosen, prepared, edge.proposals if is_proposal else edge.branch),
            can_push=way.can_push,
            is_proposal=is_proposal,
            has_forge=target in self._proposals,
        )

    def promote(
        self,
        target: str,
        *,
        release: str | None = None,
        actor: str,
        reason: str = "",
        skip: Collection[str] = (),
        dry_run: bool = False,
        by_itself: bool = False,
        by_pull_request: bool = False,
    ) -> Done | Declined:
        """Promote to the target, or say why not. When it returns, the outcome is durable.

        `by_itself`: nobody asked, so not what the source's branch does not have any more; `release` is a full
        commit then. What fails again as it failed before keeps its intent, and is no news.
        Raises GitUnavailable where not even the branch could be looked at, so that nothing was begun; what
        the store raises; KeyError for an environment that nothing is promoted to.
        """
        edge = self.edges[target]
        why = reason or ("to see what it would do" if dry_run else "")
        declined = promotion.misuse(edge.source, target, name=release, skip=skip, reason=why)
        if declined is not None:
            return declined
        look = partial(self.plan, target, release=release, skip=skip, by_pull_request=by_pull_request)
        if dry_run:
            plan = look()
            return plan if isinstance(plan, Declined) else _verdict(plan, skip) or _planned(plan)
        # The writer's turn first, so that no intent waits for somebody else's look.
        with self._alone(target) as is_alone:
            if not is_alone:
                return Declined(why=f"A promotion to {target} is under way: see `deployer status {target}`.")
            with self._ways[target].alone():
                declined = self._outcomes.settle(edge, (by_itself and release) or "")
                if declined is not None:
                    return declined
                self._outcomes.conclude_proposal(edge)
                plan = look()
                if isinstance(plan, Declined):
                    return plan
                answer = _verdict(plan, skip)
                if answer is not None:
                    return answer
                if by_itself and self._is_dropped(plan):
                    return Declined(why=promotion.dropped(edge.source, target, plan.chosen))
                if not plan.can_push:
                    return Declined(why=_by_hand(plan))
                asked = PromotionAsked(
                    at=self._now(),
                    actor=actor,
                    reason=reason,
                    source=edge.source,
                    rollout=plan.chosen.rollout,
                    commit=plan.chosen.release.revision.commit,
                    skipped=tuple(sorted(skip)),
                    by_pull_request=plan.is_proposal,
                    people=self._people(plan),
                )
                if plan.prepared.copy is not None:
                    # Before the push, so that it is known whatever becomes of that.
                    asked = replace(asked, copied=self._top(plan, asked))
                if plan.is_proposal:
                    standing = self._standing(plan, asked)
                    if standing is not None:
                        return standing
                else:
                    self._outcomes.replace_proposal(edge, asked.commit[:7])
                return self._carry_out(plan, asked, is_retried=by_itself)

    def settle(self, target: str, *, retrying: str = "") -> Declined | None:
        """Read back what became of a promotion that was cut off, or say that nobody can know that yet.

        The commit that is `retrying` keeps its intent. Raises as `promote`.
        """
        with self._alone(target) as is_alone:
            # Whoever is at it settles it.
            return self._outcomes.settle(self.edges[target], retrying) if is_alone else None

    def conclude(self) -> None:
        """Give the intents that are to be tried again an outcome, at a stop. Raises what the store does."""
        for target in self._outcomes.open:
            self.settle(target)

    def interrupt(self) -> None:
        """End every push under way, from another thread, and begin none: the next start reads them back."""
        self._stopping.set()
        for way in self._ways.values():
            way.interrupt()
        for proposals in self._proposals.values():
            proposals.interrupt()

    def candidate(self, target: str) -> GoodRelease | Declined:
        """What would be promoted to the target, if its branch is not there yet. Asks the store alone."""
        return self._choose(self.edges[target], None, ())

    def not_by_itself(self, target: str, chosen: GoodRelease) -> str | None:
        """Why the candidate is not promoted without being asked, as far as the store knows, or None."""
        edge = self.edges[target]
        source, good = self._store.load(edge.source), self._store.good_releases(edge.source)
        return promotion.not_by_itself(source, good, target, chosen)

    def is_there(self, target: str, chosen: GoodRelease) -> bool:
        """Whether the target has the candidate, as far as the store knows.

        Both ends of a copy follow one branch: that the target has seen a commit of it says nothing.
        """
        record, edge = self._store.load(target), self.edges[target]
        commit = chosen.release.revision.commit
        # Once: if its branch is elsewhere by now, or a pull request was closed, somebody knows why.
        if any(one.commit == commit and one.source == edge.source for one in record.promoted):
            return True
        return not edge.copied_to and promotion.is_promoted(record, chosen)

    def tend(self, target: str, gates: Callable[[GoodRelease], Sequence[GateState]]) -> None:
        """Keep the open pull request true, as `Outcomes.tend`, which says what it raises."""
        self._outcomes.tend(self.edges[target], gates)

    # --- the steps ---------------------------------------------------------------------------------------

    @contextmanager
    def _alone(self, target: str) -> Iterator[bool]:
        is_alone = self._locks[target].acquire(blocking=False)
        try:
            yield is_alone
        finally:
            if is_alone:
                self._locks[target].release()

    def _choose(self, edge: Edge, release: str | None, skip: Collection[str]) -> GoodRelease | Declined:
        source, target = self._store.load(edge.source), self._store.load(edge.target)
        good = self._store.good_releases(edge.source)
        return promotion.candidate(
            source, good, target, name=release, skip=skip, is_copied=bool(edge.copied_to)
        )

    def _people(self, plan: Plan) -> tuple[Person, ...]:
        """Who made what is promoted, each once: they do not approve it as somebody else's.

        A copy brings what changed the source's config since it was promoted last, also what was overtaken
        there before it was tried.
        """
        edge, made = plan.edge, list(plan.lane.ahead)
        if edge.copied_to:
            changes = promotion.changes(
                self._seen(edge.source), plan.chosen.release.revision.commit, self._copied_last(edge)
            )
            made += [plan.chosen.release.revision, *(one.release.revision for one in changes)]
            overtaken = [commit for one in changes for commit in one.superseded]
            if overtaken:
                made += self._writers[edge.repository].revisions(overtaken, edge.source_ref)
        found = (person for one in made for person in one.people)
        return tuple(dict.fromkeys(found))

    def _is_dropped(self, plan: Plan) -> bool:
        """Whether the source's branch does not have the commit any more."""
        edge = plan.edge
        if not edge.copied_to:
            return plan.lane.is_dropped
        commit = plan.chosen.release.revision.commit
        try:
            lane = self._writers[edge.repository].lane(commit, edge.branch, source_ref=edge.source_ref)
        except CommitMissing:
            return True
        return lane.is_dropped

    def _copied_last(self, edge: Edge) -> str | None:
        """The commit of the source that was promoted last on this edge, if that is known."""
        promoted = self._store.load(edge.target).promoted
        return next(
            (
                one.commit
                for one in reversed(promoted)
                if one.source == edge.source and one.result is Pushing.PROMOTED
            ),
            None,
        )

    def _base(self, edge: Edge) -> Mapping[str, Any] | None:
        """What the source said when it was promoted on this edge last, if that is known."""
        promoted = [
            one.commit
            for one in self._store.load(edge.target).promoted
            if one.source == edge.source and one.result is Pushing.PROMOTED
        ]
        good = {one.release.revision.commit: one for one in self._store.good_releases(edge.source)}
        last = next((good[commit] for commit in reversed(promoted) if commit in good), None)
        return last.release.config.body() if last is not None else None

    def _carry_out(self, plan: Plan, asked: PromotionAsked, *, is_retried: bool) -> Done | Declined:
        """The intent, the push, and its outcome."""
        edge, commit = plan.edge, asked.commit
        known = self._outcomes.known(edge.target, commit) if is_retried else None
        self._outcomes.begin(edge.target, asked)
        try:
            return self._propose(plan, asked, known) if plan.is_proposal else self._push(plan, asked, known)
        finally:
            self._outcomes.ended(edge.target)

    def _push(self, plan: Plan, asked: PromotionAsked, known: str | None) -> Done | Declined:
        edge, commit, chosen = plan.edge, asked.commit, plan.chosen

        def anew(copied: str) -> None:
            # Before the push, as the first one: so that this one is known, too.
            self._outcomes.write(edge.target, replace(asked, at=self._now(), copied=copied))

        try:
            answer = self._ways[edge.target].carry(chosen, plan.prepared, asked, anew)
        except PushUnclear as error:
            # No outcome yet: the branch has to be looked at for it.
            return Declined(why=error.why, exit_code=FAILED)
        except GitUnavailable as error:
            if self._stopping.is_set():
                return self._stopped(edge, f"pushed {commit[:7]} to branch {edge.branch}")
            return self._outcomes.failed(edge, asked, error.why, known)
        if isinstance(answer, Declined):
            return self._outcomes.failed(edge, asked, answer.why, known)
        if isinstance(answer, NotFastForward):
            return self._outcomes.failed(edge, asked, _in_the_way(plan, answer), known)
        self._outcomes.write(
            edge.target, self._outcomes.promoted(edge, commit, asked.actor, answer.before, answer.copied)
        )
        self._look_now(edge.repository)
        if not answer.is_new:
            return _nothing(plan)
        log.info("promoted", target=edge.target, source=edge.source, commit=commit, branch=edge.branch)
        if answer.copied is not None:
            message = promotion.copied(edge.target, edge.branch, chosen, answer.copied, answer.changes)
        else:
            message = promotion.pushed(edge.target, edge.branch, chosen, answer.before)
        return Done(outcome=Outcome.PROMOTED, message=message, plan=plan)

    def _standing(self, plan: Plan, asked: PromotionAsked) -> Done | Declined | None:
        """That the open pull request has it already; None if there is something to do."""
        edge, chosen = plan.edge, plan.chosen
        try:
            standing = self._proposals[edge.target].standing()
        except ForgeUnavailable as error:
            return Declined(why=error.why, exit_code=FAILED)
        last, top = self._store.load(edge.target).proposal, self._top(plan, asked)
        is_recorded = last is not None and last.head == top
        if standing is None or standing.head_commit != top or not is_recorded:
            return None
        message = promotion.proposed_already(edge.target, chosen, standing.number, standing.url)
        return Done(outcome=Outcome.NOTHING, message=message, plan=plan)

    def _propose(self, plan: Plan, asked: PromotionAsked, known: str | None) -> Done | Declined:
        edge, chosen, way = plan.edge, plan.chosen, self._ways[plan.edge.target]
        try:
            top = self._top(plan, asked)
            way.propose(top)
            one, is_new = self._proposals[edge.target].put(
                chosen, plan.prepared, asked.reason, login(asked.actor)
            )
        except (GitUnavailable, ForgeUnavailable) as error:
            if self._stopping.is_set():
                return self._stopped(edge, f"opened a pull request to branch {edge.branch}")
            if isinstance(error, ForgeUnavailable) and not error.is_refusal:
                # No outcome yet: it may be open, and the forge has to be asked.
                return Declined(why=error.why, exit_code=FAILED)
            return self._outcomes.failed(edge, asked, error.why, known)
        self._outcomes.write(edge.target, self._outcomes.proposed(edge, asked.commit, asked.actor, top, one))
        log.info("proposed", target=edge.target, source=edge.source, commit=asked.commit, url=one.url)
        message = promotion.proposed(edge.target, chosen, one.number, one.url, is_new=is_new)
        return Done(outcome=Outcome.PROPOSED, message=message, plan=plan)

    def _top(self, plan: Plan, asked: PromotionAsked) -> str:
        """The commit of a copy, or at the top of a pull request.

        That one is the same whenever it is made, so that it is known whether the pull request has it.
        """
        of = replace(asked, at=plan.chosen.at) if plan.is_proposal else asked
        return self._ways[plan.edge.target].top(plan.chosen, plan.prepared, of)

    def _stopped(self, edge: Edge, what: str) -> Declined:
        then = f"its next start looks whether that got there: see `deployer status {edge.target}`"
        return Declined(why=f"deployer was stopped while it {what}; {then}.", exit_code=FAILED)


def _verdict(plan: Plan, skip: Collection[str]) -> Done | Declined | None:
    """Why nothing is to be pushed; None if it is."""
    if plan.prepared.is_there:
        late = set(skip) - {promotion.SOAK}
        if late:
            return Declined(why=promotion.skipped_too_late(plan.edge.target, plan.chosen, late))
        return _nothing(plan)
    if plan.is_proposal:
        return promotion.by_pull_request(plan.edge.target, plan.chosen, skip=skip, has_forge=plan.has_forge)
    if plan.lane.in_the_way:
        return Declined(why=_in_the_way(plan, plan.lane))
    return None


def _in_the_way(plan: Plan, found: Lane | NotFastForward) -> str:
    edge = plan.edge
    return promotion.in_the_way(
        edge.ends,
        edge.branch,
        plan.chosen,
        found.in_the_way,
        is_more=found.is_more,
        has_forge=plan.has_forge,
    )


def _nothing(plan: Plan) -> Done:
    edge = plan.edge
    if edge.copied_to:
        message = promotion.nothing_to_copy(edge.target, edge.branch, edge.copied_to, plan.chosen)
    else:
        message = promotion.nothing_to_do(edge.target, edge.branch, plan.chosen)
    return Done(outcome=Outcome.NOTHING, message=message, plan=plan)


def _planned(plan: Plan) -> Done:
    lane, edge, made = plan.lane, plan.edge, plan.prepared.copy
    branch = edge.proposals if plan.is_proposal else edge.branch
    if made is not None:
        changes = [str(one) for one in made.changes]
        message = promotion.copying(edge.target, branch, edge.copied_to, plan.chosen, changes)
    else:
        message = promotion.planned(edge.target, branch, plan.chosen, len(lane.ahead), is_more=lane.is_more)
    return Done(outcome=Outcome.PLANNED, message=message, plan=plan)


def _by_hand(plan: Plan) -> str:
    edge, made = plan.edge, plan.prepared.copy
    if plan.commands or made is None:
        return promotion.by_hand(edge.repository, plan.commands)
    return promotion.edit_by_hand(edge.repository, edge.copied_to, [str(one) for one in made.changes])
