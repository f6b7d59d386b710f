"""The ways on which commits are promoted: what is on each of them, and the wish to promote.

Owns what is shown of a way, and for how long an answer of git is good enough to be shown. Must not decide
what may be promoted, nor push: that is `engine.promoting`. Invariant: a way is shown to who may see both of
its ends, and nobody else learns that there is one; and git is asked once for everybody who looks, as long as
nothing has happened at either end.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

from deployer.adapters.git import GitUnavailable
from deployer.core import commands, consent, promotion
from deployer.core.commands import Declined
from deployer.core.redact import one_line
from deployer.core.times import timestamp
from deployer.engine.promoting import Outcome, Plan
from deployer.web.access import Right
from deployer.web.problems import USAGE, Problem, Unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from deployer.core.commands import GoodRelease
    from deployer.core.types import Revision
    from deployer.engine.promoting import Done, Promoter
    from deployer.engine.ways import Edge
    from deployer.web.access import Caller
    from deployer.web.models import Models
    from deployer.web.service import Service

FAST_FORWARD, COPY = "fast-forward", "copy"
"""How a commit is promoted: its branch is pushed to it, or what it says is copied into another folder."""

_KEPT_SECONDS = 60.0
"""So long an answer of git is shown while nothing happens: a push to either end is an event here soon."""

_TROUBLE_SECONDS = 5.0
"""So long that git did not answer."""

_ALL_SECONDS = 20.0
"""For all ways of a page. A look at one takes half a second, or 30 s where a server hangs."""

_SHOWN = ("revision", "digest", "subject", "author")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What git said of a way, or why it could not be asked; at which state of its ends, until when."""

    at: tuple[int, int]
    until: float
    answer: Plan | Declined | str


class ByItself(Protocol):
    """What promotes without being asked: `deployer.engine.auto_promoting.AutoPromoter`."""

    def trouble(self, target: str) -> str | None:
        """Why the last promotion to the target failed, as a sentence, while it is to be tried again."""

    def waits(self, target: str) -> str | None:
        """What the next promotion to the target waits for, as a sentence."""


class Promotions:
    """What the faces show of promotions, and ask for. Thread-safe."""

    def __init__(
        self,
        promoter: Promoter,
        service: Service,
        models: Models,
        by_itself: ByItself | None = None,
    ) -> None:
        """Take the parts."""
        self._promoter = promoter
        self._by_itself = by_itself
        self._edges = promoter.edges
        self._service = service
        self._models = models
        self._looked: dict[str, _Looked] = {}
        self._turns = {target: threading.Lock() for target in self._edges}

    def lanes(self, visible: Collection[str] | None) -> list[dict[str, Any]]:
        """Every way of which both ends are among these (None: all), those that come first, first."""
        edges = [
            edge
            for edge in sorted(self._edges.values(), key=self._depth)
            if visible is None or {edge.source, edge.target}.issubset(visible)
        ]
        names = {name for edge in edges for name in (edge.source, edge.target)}
        views = (
            {one["environment"]: one for one in self._models.environments(names, visible)} if names else {}
        )
        deadline = time.monotonic() + _ALL_SECONDS
        return [
            {
                **_lane(edge, views[edge.target], self._look(edge, views, deadline)),
                **self._standing(edge, visible),
            }
            for edge in edges
        ]

    def promote(
        self,
        target: str,
        *,
        source: str | None,
        release: str | None,
        skip: Sequence[str] = (),
        by_pull_request: bool = False,
        caller: Caller,
        actor: str,
        reason: str,
        dry_run: bool,
    ) -> dict[str, Any]:
        """Promote a release, the newest good one by default. Raises Problem if it is not, with the reason.

        What comes back is as of `Service.sync`, with `source`, and `rollout`, which made it good there.
        """
        edge = self._edge(target, source, caller)
        before = self._service.stand(target)
        done = self._promoted(
            edge, release, skip, caller, actor, reason, dry_run=dry_run, by_pull_request=by_pull_request
        )
        looked = self._service.look(target, dry_run=dry_run)
        return {**before, **looked, **_answer(edge, done), "dry_run": dry_run}

    def asked(
        self, target: str, *, source: str | None, release: str | None, caller: Caller, actor: str
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What `promote` would do, and the way as of `lanes` with that release on it. Raises as `promote`."""
        edge = self._edge(target, source, caller)
        done = self._promoted(edge, release, (), caller, actor, "", dry_run=True)
        view = self._models.environments({target}, caller.environments)[0]
        lane = {**_lane(edge, view, done.plan), **self._standing(edge, caller.environments)}
        return {**_answer(edge, done), "dry_run": True}, lane

    # --- helpers -----------------------------------------------------------------------------------------

    def _edge(self, target: str, source: str | None, caller: Caller) -> Edge:
        """The way to the target. Raises Problem where there is none that the caller may know of."""
        edge = self._edges.get(target)
        if edge is None or not caller.may(Right.READ, edge.source):
            if source is not None and not caller.may(Right.READ, source):
                raise Unknown(source, ())
            detail = (
                f"Nothing is promoted to {target}, as far as you may see: write `promote_from` at it in the"
                " daemon's settings."
            )
            raise Problem(HTTPStatus.CONFLICT, detail, exit_code=USAGE)
        if source not in {None, edge.source}:
            detail = f"What is promoted to {target} comes from {edge.source}, and from nowhere else."
            raise Problem(HTTPStatus.CONFLICT, detail, exit_code=USAGE)
        return edge

    def _promoted(
        self,
        edge: Edge,
        release: str | None,
        skip: Sequence[str],
        caller: Caller,
        actor: str,
        reason: str,
        *,
        dry_run: bool,
        by_pull_request: bool = False,
    ) -> Done:
        """Promote, or say what would be. Raises Problem."""
        if skip and not caller.may(Right.OVERRIDE, edge.target):
            detail = consent.NO_OVERRIDE
            if not dry_run:
                self._service.refused(edge.target, "promote", actor, detail, reason)
            raise Problem(HTTPStatus.CONFLICT, detail, exit_code=commands.REFUSED)
        try:
            answer = self._promoter.promote(
                edge.target,
                release=release,
                skip=skip,
                actor=actor,
                reason=one_line(reason),
                dry_run=dry_run,
                by_pull_request=by_pull_request,
            )
        except GitUnavailable as error:
            raise Problem(HTTPStatus.BAD_GATEWAY, f"{error.why.rstrip('.')}. Nothing was done.") from error
        finally:
            if not dry_run:
                self._looked.pop(edge.target, None)
        if isinstance(answer, Declined):
            if not dry_run:
                self._service.declined(edge.target, "promote", actor, answer, reason)
            raise Problem(HTTPStatus.CONFLICT, answer.why, exit_code=answer.exit_code)
        return answer

    def _standing(self, edge: Edge, visible: Collection[str] | None) -> dict[str, Any]:
        """What is in the way of the promotions that nobody asks for."""
        auto = self._by_itself
        failing = auto.trouble(edge.target) if auto is not None else None
        waits = auto.waits(edge.target) if auto is not None else None
        if waits is not None and visible is not None:
            # A gate's sentence names environments that this caller may not know.
            waits = f"{edge.target} does not let it in yet: see `deployer status {edge.target}`."
        return {"failing": failing, "waits": waits}

    def _depth(self, edge: Edge) -> int:
        """How many ways come before this one."""
        seen = {edge.target}
        while (before := self._edges.get(edge.source)) is not None and edge.source not in seen:
            seen.add(edge.source)
            edge = before
        return len(seen)

    def _look(
        self, edge: Edge, views: Mapping[str, Mapping[str, Any]], deadline: float
    ) -> Plan | Declined | str:
        """What would be promoted; a sentence where git could not be asked."""
        at = (views[edge.source]["sequence"], views[edge.target]["sequence"])
        turn = self._turns[edge.target]
        if time.monotonic() >= deadline or not turn.acquire(timeout=max(0.0, deadline - time.monotonic())):
            return "it was not asked yet, because other looks take long. Load this again in a moment."
        try:
            found = self._looked.get(edge.target)
            if found is None or found.at != at or time.monotonic() >= found.until:
                answer = self._ask(edge)
                kept = _TROUBLE_SECONDS if isinstance(answer, str) else _KEPT_SECONDS
                found = _Looked(at=at, until=time.monotonic() + kept, answer=answer)
                self._looked[edge.target] = found
            return found.answer
        finally:
            turn.release()

    def _ask(self, edge: Edge) -> Plan | Declined | str:
        try:
            return self._promoter.plan(edge.target)
        except GitUnavailable as error:
            return f"{error.why.rstrip('.')}."


def _answer(edge: Edge, done: Done) -> dict[str, Any]:
    release = done.plan.chosen.release
    return {
        "message": done.message,
        "events": _EVENTS.get(_would_be(done), []),
        "target": {"revision": release.revision.commit, "digest": release.digest},
        "source": edge.source,
        "rollout": done.plan.chosen.rollout,
        "by_pull_request": done.plan.is_proposal,
    }


_EVENTS = {
    Outcome.PROMOTED: ["promotion_asked", "promoted"],
    Outcome.PROPOSED: ["promotion_asked", "proposed"],
}


def _would_be(done: Done) -> Outcome:
    """What comes of it, or would."""
    if done.outcome is not Outcome.PLANNED:
        return done.outcome
    return Outcome.PROPOSED if done.plan.is_proposal else Outcome.PROMOTED


def _lane(edge: Edge, target: Mapping[str, Any], looked: Plan | Declined | str) -> dict[str, Any]:
    plan = None if isinstance(looked, Declined | str) else looked
    lane = plan.lane if plan is not None else None
    why = looked.why if isinstance(looked, Declined) else None
    return {
        "source": edge.source,
        "target": edge.target,
        "how": COPY if edge.copied_to else FAST_FORWARD,
        "by_pull_request": edge.by_pull_request,
        "auto": edge.auto,
        "candidate": _candidate(plan.chosen) if plan is not None else None,
        "why": why if plan is None else _why(edge, plan),
        "wanted": _shown(target["wanted"]),
        "live": _shown(target["live"]),
        "commits": [_revision(one) for one in lane.ahead] if lane is not None else [],
        "in_the_way": [_revision(one) for one in lane.in_the_way] if lane is not None else [],
        "changes": _changes(plan),
        "kept": list(plan.prepared.copy.kept) if plan is not None and plan.prepared.copy is not None else [],
        "is_more": lane.is_more if lane is not None else False,
        "commands": list(plan.commands) if plan is not None and _is_by_hand(plan) else [],
        "gates": list(target.get("gates") or ()),
        "trouble": looked if isinstance(looked, str) else None,
        "last": target.get("promotion"),
    }


def _is_by_hand(plan: Plan) -> bool:
    """Whether a person has to push it."""
    return not plan.can_push and not plan.lane.in_the_way and not plan.prepared.is_there


def _changes(plan: Plan | None) -> list[dict[str, str]]:
    """What a copy would change."""
    made = plan.prepared.copy if plan is not None else None
    if made is None:
        return []
    return [{"where": one.where, "field": one.field, "old": one.old, "new": one.new} for one in made.changes]


def _why(edge: Edge, plan: Plan) -> str | None:
    """Why it is not promoted, although there is something; None if it can be."""
    lane = plan.lane
    if plan.prepared.is_there and edge.copied_to:
        return promotion.nothing_to_copy(edge.target, edge.branch, edge.copied_to, plan.chosen)
    if plan.prepared.is_there:
        return promotion.nothing_to_do(edge.target, edge.branch, plan.chosen)
    if lane.in_the_way and not plan.is_proposal:
        return promotion.in_the_way(
            edge.ends,
            edge.branch,
            plan.chosen,
            lane.in_the_way,
            is_more=lane.is_more,
            has_forge=plan.has_forge,
        )
    return None


def _candidate(chosen: GoodRelease) -> dict[str, Any]:
    release = chosen.release
    return {
        "rollout": chosen.rollout,
        "revision": release.revision.commit,
        "digest": release.digest,
        "subject": release.revision.subject,
        "author": str(release.revision.author),
        "good_at": timestamp(chosen.at),
    }


def _revision(one: Revision) -> dict[str, Any]:
    return {
        "revision": one.commit,
        "subject": one.subject,
        "author": str(one.author),
        "committed_at": timestamp(one.committed_at),
    }


def _shown(release: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if release is None else {key: release[key] for key in _SHOWN}
