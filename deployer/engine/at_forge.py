"""What the forge says of the commits that wait for it: their checks, and the reviews of what brought them.

Owns one thread for each repository with a forge, when it asks, and for how long an answer counts. Must not
decide: checks are evidence for a gate, and what becomes of reviews is `engine.reviewing`'s.
Invariant: no pass waits for a forge; what it said is forgotten after a while, so that no gate stays open for
what was true once; and a review is used once, so that what it approved is what the deploy would do then.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from deployer.adapters.forge import ForgeUnavailable
from deployer.core import gates
from deployer.core.gates import AtForge, CheckState, ForgeCheck, Rules, Verdict
from deployer.engine.reviewing import Case, Look, Reviewing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from deployer.adapters.forge import CheckResult, PullRequest, Review
    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.core.status import Status

_EVERY_SECONDS = 15.0
"""Between two questions about a commit that waits. GitHub allows 5,000 requests an hour; one takes three."""

_LATER_SECONDS = 60.0
"""The same once it has waited for ten minutes."""

_SOON_SECONDS = 600.0

_COUNTS_SECONDS = 180.0
"""So long an answer counts: three missed ones."""

_WANTED_SECONDS = 120.0
"""So long a commit is asked for after somebody wanted to know."""

log = structlog.get_logger(__name__)


class Forge(Protocol):
    """A project at a forge: `deployer.adapters.forge.Forge`. Everything raises ForgeUnavailable."""

    def checks(self, commit: str) -> Sequence[CheckResult]:
        """The newest of each name."""

    def pull_request_of(self, commit: str, base: str | None = None) -> PullRequest | None:
        """The merged one that brought the commit to this branch."""

    def reviews(self, number: int) -> Sequence[Review]:
        """The last word of each person."""

    def interrupt(self) -> None:
        """End what runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One environment as this needs it: its repository, the branch that it follows, its rules."""

    repository: str
    branch: str
    rules: Rules


@dataclass(slots=True, kw_only=True)
class _Asked:
    """One commit of one environment. Times are of this process's clock."""

    commit: str
    since: float
    wanted_at: float
    answered_at: float = -float("inf")
    due: float = 0.0
    answer: AtForge | None = None
    look: Look | None = None


class ForgeWatch:
    """The threads. `start` and `stop` once each; a listener of what is seen."""

    def __init__(
        self,
        forges: Mapping[str, Forge],
        places: Mapping[str, Place],
        *,
        load: Callable[[str], Record],
        commit: Callable[[Record, Sequence[Event]], Record],
        wake: Callable[[str], None],
        now: Callable[[], datetime],
        every_seconds: float = _EVERY_SECONDS,
    ) -> None:
        """Take the forges by repository, and the environments that ask them.

        `load` and `commit` are the store's; `wake` has an environment looked at, and must not wait.
        """
        self._forges = forges
        self._places = {
            name: place
            for name, place in places.items()
            if place.repository in forges and (place.rules.checks or _has_reviews(place.rules))
        }
        self._reviewing = Reviewing(load=load, commit=commit, wake=wake, now=now)
        self._wake = wake
        self._now = now
        self._every_seconds = every_seconds
        self._lock = threading.Lock()
        # By environment: what is deployed next, and what may be promoted to it.
        self._asked: dict[tuple[str, str], _Asked] = {}
        self._waiting: dict[str, Status] = {}
        self._stopping = threading.Event()
        self._news = {name: threading.Event() for name in forges}
        self._threads = [
            threading.Thread(target=self._run, args=(name,), name=f"forge-{name}", daemon=True)
            for name in sorted({place.repository for place in self._places.values()})
        ]

    def of(self, environment: str, commit: str) -> AtForge | None:
        """What the forge said of the commit, if that still counts. Asks nobody."""
        with self._lock:
            asked = self._asked.get((environment, commit))
            if asked is None or asked.answer is None:
                return None
            if asked.answer.trouble is None and time.monotonic() - asked.answered_at > _COUNTS_SECONDS:
                return AtForge(trouble="it was not asked for a while, and is asked again now")
            return asked.answer

    def want(self, environment: str, commit: str) -> None:
        """Somebody wants to know of this commit soon. Does not wait."""
        place = self._places.get(environment)
        if place is None:
            return
        at = time.monotonic()
        with self._lock:
            asked = self._asked.get((environment, commit))
            if asked is None:
                asked = _Asked(commit=commit, since=at, wanted_at=at)
                self._asked[environment, commit] = asked
                self._news[place.repository].set()
            asked.wanted_at = at

    def observed(self, status: Status) -> None:
        """What waits for a gate is asked about, until it does not."""
        name = status.environment
        if name not in self._places:
            return
        if status.wanted is None or not gates.closed(status.gates):
            with self._lock:
                self._waiting.pop(name, None)
            return
        with self._lock:
            self._waiting[name] = status
        self.want(name, status.wanted.revision.commit)

    def recorded(self, record: Record, event: Event) -> None:
        """Nothing follows from an event."""

    def start(self) -> None:
        """Ask again and again."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End every request and thread; return after the time-out at the latest."""
        self._stopping.set()
        for name, news in self._news.items():
            self._forges[name].interrupt()
            news.set()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    # --- in a thread -------------------------------------------------------------------------------------

    def _run(self, repository: str) -> None:
        news = self._news[repository]
        while not self._stopping.is_set():
            news.clear()
            heard = _Round(self._forges[repository], self._now())
            for environment, asked in self._due(repository):
                if self._stopping.is_set():
                    return
                self._ask(environment, asked, heard)
            news.wait(self._every_seconds)

    def _due(self, repository: str) -> list[tuple[str, _Asked]]:
        """What is to be asked now; what nobody wants any more is forgotten."""
        at = time.monotonic()
        with self._lock:
            for (name, commit), asked in list(self._asked.items()):
                wanted = status.wanted if (status := self._waiting.get(name)) is not None else None
                is_waiting = wanted is not None and wanted.revision.commit == commit
                if not is_waiting and at - asked.wanted_at > _WANTED_SECONDS:
                    del self._asked[name, commit]
            return [
                (name, asked)
                for (name, _), asked in self._asked.items()
                if self._places[name].repository == repository and at >= asked.due
            ]

    def _ask(self, environment: str, asked: _Asked, heard: _Round) -> None:
        """Ask about one; `heard` is what was heard in this round, for the others that want the same."""
        place = self._places[environment]
        pause = self._every_seconds if time.monotonic() - asked.since < _SOON_SECONDS else _LATER_SECONDS
        try:
            answer = self._answer(heard, place, environment, asked)
        except ForgeUnavailable as error:
            if self._stopping.is_set():
                return
            answer = AtForge(trouble=error.why)
            pause = max(pause, error.retry_after_seconds or 0.0)
        except Exception as error:
            log.exception("forge_crashed", environment=environment)
            answer = AtForge(trouble=f"deployer itself failed on it ({type(error).__name__}): see its log")
        at = time.monotonic()
        with self._lock:
            is_news, before = asked.answer != answer, asked.answer
            asked.answer, asked.answered_at, asked.due = answer, at, at + pause
        if is_news:
            if answer.trouble is not None and (before is None or before.trouble != answer.trouble):
                log.warning("forge_unavailable", environment=environment, why=answer.trouble)
            self._wake(environment)

    def _answer(self, heard: _Round, place: Place, environment: str, asked: _Asked) -> AtForge:
        found, commit = AtForge(), asked.commit
        if place.rules.checks:
            wanted = set(place.rules.checks)
            found = replace(
                found,
                checks={
                    one.name: ForgeCheck(state=CheckState(one.state.value), url=one.url)
                    for one in heard.checks(commit)
                    if one.name in wanted
                },
            )
        if _has_reviews(place.rules):
            brought = heard.pull_request_of(commit, place.branch or None)
            if brought is not None and commit in {brought.merge_commit, brought.head_commit}:
                made_by = tuple(one for one in (brought.author, brought.merged_by) if one)
                found = replace(found, made_by=made_by)
                self._hear(heard, place, environment, asked, brought)
        return found

    def _hear(
        self, heard: _Round, place: Place, environment: str, asked: _Asked, brought: PullRequest
    ) -> None:
        """Make approvals, and rejections, of the reviews that are new."""
        with self._lock:
            status = self._waiting.get(environment)
        gate = _awaited(status, asked.commit)
        if status is None or status.wanted is None or gate is None:
            return
        case = Case(
            environment=environment,
            rules=place.rules,
            digest=status.wanted.digest,
            plan=gate.plan or "",
            brought=brought,
        )
        reviews = heard.reviews(brought.number)
        asked.look = self._reviewing.hear(case, reviews, heard.began, asked.look)


class _Round:
    """A forge that is asked each question once: many environments want to know of one commit."""

    def __init__(self, forge: Forge, began: datetime) -> None:
        """Take the forge, and when the first question is asked at the earliest."""
        self.began = began
        self._forge = forge
        self._heard: dict[tuple[str, ...], Any] = {}

    def checks(self, commit: str) -> Sequence[CheckResult]:
        """As the forge."""
        found: Sequence[CheckResult] = self._once(("checks", commit), lambda: self._forge.checks(commit))
        return found

    def pull_request_of(self, commit: str, base: str | None = None) -> PullRequest | None:
        """As the forge."""
        found: PullRequest | None = self._once(
            ("of", commit, base or ""), lambda: self._forge.pull_request_of(commit, base)
        )
        return found

    def reviews(self, number: int) -> Sequence[Review]:
        """As the forge."""
        found: Sequence[Review] = self._once(("reviews", str(number)), lambda: self._forge.reviews(number))
        return found

    def _once(self, key: tuple[str, ...], ask: Callable[[], Any]) -> Any:  # noqa: ANN401 - what was asked for
        if key not in self._heard:
            self._heard[key] = ask()
        return self._heard[key]


def _has_reviews(rules: Rules) -> bool:
    return rules.approvals is not None and rules.approvals.reviews


def _awaited(status: Status | None, commit: str) -> gates.GateState | None:
    """The gate of approvals that this commit waits for."""
    if status is None or status.wanted is None or status.wanted.revision.commit != commit:
        return None
    return next(
        (
            gate
            for gate in status.gates
            if gate.name == gates.APPROVALS and gate.plan is not None and gate.verdict is not Verdict.SKIPPED
        ),
        None,
    )
