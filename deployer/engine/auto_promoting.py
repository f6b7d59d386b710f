"""Promotes by itself where an edge is `auto`, and settles what was cut off everywhere.

Owns one thread for each repository, when it looks, and what is in the way of each edge. Must not know how a
promotion is carried out. Invariant: no pass waits for it; it asks the store whether there is anything to do,
and git or the forge only if there is, however often something wakes it not more often than the timer; what
fails is tried again with growing pauses, or at once when there is another candidate; and a stop ends a push
that hangs.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from deployer.adapters.forge import ForgeUnavailable
from deployer.adapters.git import GitUnavailable
from deployer.adapters.store import StoreError
from deployer.core.commands import Declined, GoodRelease
from deployer.core.events import (
    DAEMON,
    Approved,
    DriftEnded,
    Good,
    Held,
    Paused,
    Resumed,
    RetryAsked,
    Seen,
    SyncAsked,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployer.core.events import Event
    from deployer.core.gates import GateState
    from deployer.core.record import Promotion, Record
    from deployer.core.status import Status
    from deployer.engine.promoting import Promoter
    from deployer.engine.ways import Edge

_EVERY_SECONDS = 15.0
"""Between looks at the store when no event asks for one: a window opens, a time of proving is over."""

_SETTLE_SECONDS = 0.2
"""After a look, before the next: many events at once are one look."""

_FIRST_RETRY_SECONDS = 2.0
"""After the first failure, as for a repository that cannot be read."""

_TENDED_LATER_SECONDS = 60.0
"""Between looks at a pull request that has been open for ten minutes. 50 of them take 3,000 requests an hour,
of the 5,000 that GitHub allows."""

_TENDED_SOON = timedelta(minutes=10)

_UNTENDED_SECONDS = 60.0
"""After a look at a pull request that failed."""

_LAST_RETRY_SECONDS = 1800.0
"""The longest pause."""

_WAKING = (Approved, DriftEnded, Held, Paused, Resumed, RetryAsked, Seen, SyncAsked)
"""Events of a target that may let something through. `Good` counts wherever it happens: see `requires`."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failing:
    """What is in the way of an edge. `commit` is what was to be promoted, "" if it did not get so far."""

    why: str
    commit: str
    times: int
    until: float


class AutoPromoter:
    """The threads. `start` and `stop` once each; a listener of what becomes durable."""

    def __init__(
        self,
        promoter: Promoter,
        *,
        load: Callable[[str], Record],
        may: Callable[[str, GoodRelease], str | None],
        gates: Callable[[str, GoodRelease], Sequence[GateState]] = lambda _target, _release: (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        every_seconds: float = _EVERY_SECONDS,
        first_retry_seconds: float = _FIRST_RETRY_SECONDS,
    ) -> None:
        """Take who promotes. `load` gives an environment's record.

        `may` says in a sentence why a candidate is not to be promoted to a target now, or None: the gates of
        the target, but for approvals and manual, which are for what its branch has. Where a person merges a
        pull request, that one waits instead: `gates` is what it is told of them.
        """
        self._promoter = promoter
        self._load = load
        self._may = may
        self._gates = gates
        self._now = now
        self._every_seconds = every_seconds
        self._first_retry_seconds = first_retry_seconds
        self._failing: dict[str, _Failing] = {}
        self._waiting: dict[str, str] = {}
        # Why a pull request could not be seen to, and until when it is left alone.
        self._untended: dict[str, tuple[str, float]] = {}
        # By target: when its pull request was looked at last.
        self._tended: dict[str, float] = {}
        # By target: an intent that has no outcome yet, why, and until when nobody looks for one.
        self._unsettled: dict[str, tuple[Promotion | None, Declined, float]] = {}
        # By target: the candidate that its branch was seen to have, and what the target had seen then.
        self._there: dict[str, tuple[str, str | None]] = {}
        self._targets = frozenset(promoter.edges)
        self._stopping = threading.Event()
        repositories: dict[str, list[Edge]] = {}
        for edge in promoter.edges.values():
            repositories.setdefault(edge.repository, []).append(edge)
        self._wakes = {name: threading.Event() for name in repositories}
        self._threads = [
            threading.Thread(target=self._run, args=(edges, wake), name=f"promote-{name}", daemon=True)
            for (name, edges), wake in zip(repositories.items(), self._wakes.values(), strict=True)
        ]

    def trouble(self, target: str) -> str | None:
        """Why the last promotion to the target failed, as a sentence, while it is to be tried again."""
        failing = self._failing.get(target)
        return failing.why if failing is not None else self._untended.get(target, ("", 0.0))[0] or None

    def waits(self, target: str) -> str | None:
        """What the next promotion to the target waits for, as a sentence."""
        return self._waiting.get(target)

    def recorded(self, record: Record, event: Event) -> None:
        """Wake up if the event may let something through. Does not wait."""
        if isinstance(event, Good) or (isinstance(event, _WAKING) and record.environment in self._targets):
            for wake in self._wakes.values():
                wake.set()

    def observed(self, status: Status) -> None:
        """Nothing follows from what was only seen."""

    def start(self) -> None:
        """Settle what was cut off, then look again and again."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End every push and thread; return after the time-out at the latest."""
        self._stopping.set()
        self._promoter.interrupt()
        for wake in self._wakes.values():
            wake.set()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        with suppress(StoreError):
            # Else the next start reads the branch.
            self._promoter.conclude()

    # --- in a thread -------------------------------------------------------------------------------------

    def _run(self, edges: Sequence[Edge], wake: threading.Event) -> None:
        while not self._stopping.is_set():
            wake.clear()
            for edge in edges:
                if self._stopping.is_set():
                    return
                self._attempt(edge)
            self._stopping.wait(_SETTLE_SECONDS)
            wake.wait(self._pause_seconds(edges))

    def _attempt(self, edge: Edge) -> None:
        """One look at an edge. Whatever is in the way costs this edge this look, never the thread."""
        commit = ""
        try:
            if self._is_paused(edge.target, ""):
                return
            unsettled = self._settle(edge)
            self._tend(edge)
            if not edge.auto:
                self._failing.pop(edge.target, None)
                return
            if unsettled is not None:
                self._waiting[edge.target] = unsettled.why
                self._failing.pop(edge.target, None)
                return
            chosen = self._next(edge)
            if chosen is None:
                self._failing.pop(edge.target, None)
                return
            commit = chosen.release.revision.commit
            if not self._is_paused(edge.target, commit):
                self._promote(edge, chosen)
        except (GitUnavailable, ForgeUnavailable, StoreError) as error:
            if not self._stopping.is_set():
                self._failed(edge.target, commit, str(error))
        except Exception as error:
            log.exception("promotion_crashed", target=edge.target)
            what = f"deployer itself failed on the promotion to {edge.target} ({type(error).__name__})"
            self._failed(edge.target, commit, f"{what}: that is a bug in deployer; see its log")

    def _settle(self, edge: Edge) -> Declined | None:
        """Settle what was cut off, which asks git and maybe the forge, each time that there is no outcome."""
        target = edge.target
        intent, unsettled, until = self._unsettled.pop(target, (None, None, 0.0))
        if unsettled is not None and time.monotonic() < until and self._load(target).promotion == intent:
            self._unsettled[target] = intent, unsettled, until
            return unsettled
        found = self._promoter.settle(target, retrying=self._wanted(edge))
        if found is not None:
            until = time.monotonic() + self._every_seconds
            self._unsettled[target] = self._load(target).promotion, found, until
        return found

    def _tend(self, edge: Edge) -> None:
        """See to the open pull request, in whose way nothing else waits."""
        at, target = time.monotonic(), edge.target
        record = self._load(target)
        if record.proposal is None:
            self._untended.pop(target, None)
            return
        if at < self._untended.get(target, ("", 0.0))[1]:
            return
        if target in self._tended and at < self._tended[target] + self._pace_seconds(record, record.proposal):
            return
        self._tended[target] = at
        try:
            self._promoter.tend(target, partial(self._gates, target))
        except (GitUnavailable, ForgeUnavailable) as error:
            if self._stopping.is_set():
                return
            asked = error.retry_after_seconds if isinstance(error, ForgeUnavailable) else None
            until = time.monotonic() + max(_UNTENDED_SECONDS, asked or 0.0)
            self._untended[target] = error.why, until
            log.warning("pull_request_not_tended", target=target, why=error.why)
        else:
            self._untended.pop(target, None)

    def _pace_seconds(self, record: Record, proposed: Promotion) -> float:
        """The least time between looks at a pull request: longer once it was open for a while.

        But not where the target has seen what is its merge: a gate may wait for what that proves.
        """
        seen = record.seen.revision if record.seen is not None else None
        is_merged = seen is not None and (
            seen.commit == proposed.head
            or (seen.merged is not None and seen.merged.commit == proposed.head)
            or (seen.pull_request is not None and seen.pull_request == proposed.number)
        )
        is_young = self._now() - proposed.at < _TENDED_SOON
        return self._every_seconds if is_young or is_merged else _TENDED_LATER_SECONDS

    def _wanted(self, edge: Edge) -> str:
        """The commit that is to be promoted when it may be, "" if there is none."""
        chosen = self._promoter.candidate(edge.target) if edge.auto else None
        if not isinstance(chosen, GoodRelease) or self._promoter.is_there(edge.target, chosen):
            return ""
        return chosen.release.revision.commit

    def _next(self, edge: Edge) -> GoodRelease | None:
        """What is to be promoted now, if anything."""
        self._waiting.pop(edge.target, None)
        chosen = self._promoter.candidate(edge.target)
        if isinstance(chosen, Declined):
            return None
        commit, record = chosen.release.revision.commit, self._load(edge.target)
        if self._promoter.is_there(edge.target, chosen):
            return None
        if self._there.get(edge.target) == (commit, _seen(record)):
            return None
        why = self._promoter.not_by_itself(edge.target, chosen)
        if why is None and not edge.by_pull_request:
            why = self._may(edge.target, chosen)
        if why is not None:
            self._waiting[edge.target] = why
            return None
        return chosen

    def _promote(self, edge: Edge, chosen: GoodRelease) -> None:
        seen, commit = _seen(self._load(edge.target)), chosen.release.revision.commit
        # No reason: it could only name the source, which not everybody who reads the target's log may know.
        answer = self._promoter.promote(edge.target, release=commit, actor=DAEMON, reason="", by_itself=True)
        if isinstance(answer, Declined):
            self._failed(edge.target, commit, answer.why)
            return
        self._failing.pop(edge.target, None)
        self._there[edge.target] = commit, seen

    def _is_paused(self, target: str, commit: str) -> bool:
        failing = self._failing.get(target)
        return failing is not None and failing.commit == commit and time.monotonic() < failing.until

    def _failed(self, target: str, commit: str, why: str) -> None:
        before = self._failing.get(target)
        times = before.times + 1 if before is not None and before.commit == commit else 1
        # The exponent is capped, or a month of failures would overflow a float.
        pause = min(self._first_retry_seconds * 2.0 ** min(times - 1, 20), _LAST_RETRY_SECONDS)
        is_news = before is None or before.why != why
        (log.warning if is_news else log.debug)("not_promoted", target=target, commit=commit, why=why)
        until = time.monotonic() + pause
        self._failing[target] = _Failing(why=why, commit=commit, times=times, until=until)

    def _pause_seconds(self, edges: Sequence[Edge]) -> float:
        """Until the next retry of one of these edges, or the timer."""
        retries = [self._failing[edge.target].until for edge in edges if edge.target in self._failing]
        left = min(retries, default=float("inf")) - time.monotonic()
        return max(0.0, min(left, self._every_seconds))


def _seen(record: Record) -> str | None:
    return record.seen.revision.commit if record.seen is not None else None
