"""What merging an open pull request would do, as one comment below it that is kept up to date.

Owns one thread for each repository whose forge wants plans: which pull requests are open, when they are
planned anew, and which comment is theirs. Must not make a plan, nor know how one looks. Invariant: nothing
is checked out and nothing of a pull request is run; its commit is fetched from the project itself, whoever's
fork it is from; no pass waits for any of it; and there is one comment, found by its mark and its author,
after a crash or a lost answer as well.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from deployer.adapters.forge import ForgeUnavailable
from deployer.adapters.git import GitUnavailable
from deployer.core.events import Cancelled, Failed, Good, Paused, Resumed, RetryAsked, Seen, Started
from deployer.core.source import HEADS, PINNED
from deployer.engine.after_merge import proposed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from deployer.adapters.forge import Comment, PullRequest
    from deployer.adapters.git import Mirror
    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.core.status import Status
    from deployer.engine.after_merge import Place, Proposed

EVERY_SECONDS = 60.0
"""Between two looks at what is open: one request for each branch that is followed."""

LEAST_SECONDS = 5.0
"""Between two looks, however much happens."""

MOST_SECONDS = 600.0
"""Between two looks while the forge, or git, does not answer."""

_AGAIN_SECONDS = 1800.0
"""After which one is planned anew, although nothing moved: a cluster may have been away, or be full."""

_PULLS = 50
"""That are planned, of those open in one repository: the newest."""

_GONE = frozenset({404, 410})
_ITS_OWN = frozenset({400, 404, 410, 422})
"""What a forge says of one pull request alone: such as a conversation that somebody has locked."""

_NEWS = (Cancelled, Failed, Good, Paused, Resumed, RetryAsked, Seen, Started)

log = structlog.get_logger(__name__)


class Forge(Protocol):
    """A project at a forge: `deployer.adapters.forge.Forge`. Everything raises ForgeUnavailable."""

    def open_pull_requests(self, base: str) -> Sequence[PullRequest]:
        """All open ones to this branch."""

    def own_comments(self, number: int) -> Sequence[Comment]:
        """What we wrote below one, the oldest first."""

    def write_comment(self, number: int, body: str) -> int:
        """Write below it; the id."""

    def change_comment(self, number: int, id_: int, body: str) -> None:
        """Have a comment say something else."""

    def interrupt(self) -> None:
        """End what runs."""


@dataclass(slots=True, kw_only=True)
class _Known:
    """What was done for one pull request. `at` is of this process's clock."""

    key: object = None
    at: float = -float("inf")
    comment: int | None = None
    said: str | None = None
    trouble: str = ""


class PullPlans:
    """The threads. `start` and `stop` once each; a listener of what happens."""

    def __init__(
        self,
        forges: Mapping[str, Forge],
        mirrors: Mapping[str, Mirror],
        places: Mapping[str, Place],
        *,
        load: Callable[[str], Record],
        page: Callable[[PullRequest, str, Sequence[Proposed], Sequence[str]], str],
        marker: str,
    ) -> None:
        """Take the forges and a mirror of its own for each repository, and the environments.

        `load` is the store's. `page` makes the comment, which begins with `marker`: of a pull request, the
        head of its base, what it touches, and the environments that it does not touch.
        """
        self._forges = forges
        self._mirrors = mirrors
        self._places = places
        self._load = load
        self._page = page
        self._marker = marker
        self._stopping = threading.Event()
        self._news = {name: threading.Event() for name in forges}
        self._known: dict[str, dict[int, _Known]] = {name: {} for name in forges}
        self._threads = [
            threading.Thread(target=self._run, args=(name,), name=f"plans-{name}", daemon=True)
            for name in forges
        ]

    def recorded(self, record: Record, event: Event) -> None:  # noqa: ARG002 - as listeners have it
        """What is live may be another now, or what is held. Does not wait."""
        if isinstance(event, _NEWS):
            for news in self._news.values():
                news.set()

    def observed(self, status: Status) -> None:
        """Nothing to do."""

    def start(self) -> None:
        """Look again and again."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_seconds: float) -> None:
        """End every request and thread; return after the time-out at the latest."""
        self._stopping.set()
        for name, news in self._news.items():
            self._forges[name].interrupt()
            self._mirrors[name].interrupt()
            news.set()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    # --- in a thread -------------------------------------------------------------------------------------

    def _run(self, repository: str) -> None:
        news, trouble, pause = self._news[repository], "", EVERY_SECONDS
        while not self._stopping.is_set():
            news.clear()
            try:
                self.look(repository)
                trouble, pause = "", EVERY_SECONDS
            except (ForgeUnavailable, GitUnavailable) as error:
                if self._stopping.is_set():
                    break
                if error.why != trouble:
                    log.warning("plans_unavailable", repository=repository, why=error.why)
                wanted = error.retry_after_seconds if isinstance(error, ForgeUnavailable) else None
                trouble, pause = error.why, max(min(2 * pause, MOST_SECONDS), wanted or 0.0)
            except Exception:
                log.exception("plans_crashed", repository=repository)
                pause = MOST_SECONDS
            finally:
                self._mirrors[repository].release()
            self._stopping.wait(pause if trouble else LEAST_SECONDS)
            if not trouble:
                news.wait(max(0.0, pause - LEAST_SECONDS))

    def look(self, repository: str) -> None:
        """One look at what is open there. Raises ForgeUnavailable, and GitUnavailable."""
        forge, known = self._forges[repository], self._known[repository]
        environments = {name: one for name, one in self._places.items() if one.repository == repository}
        branches = sorted({one.branch for one in environments.values()})
        found = [pull for branch in branches for pull in forge.open_pull_requests(branch)]
        found = sorted(found, key=lambda pull: pull.number, reverse=True)[:_PULLS]
        for number in known.keys() - {pull.number for pull in found}:
            # Closed or merged: what was said there last stays.
            del known[number]
        if not found:
            return
        mirror = self._mirrors[repository]
        heads = dict(mirror.heads([HEADS + branch for branch in {pull.base for pull in found}]))
        heads = dict(mirror.fetch(heads | {PINNED + pull.head_commit: pull.head_commit for pull in found}))
        marks = tuple(_marks(self._load(name)) for name in self._places)
        for pull in found:
            if self._stopping.is_set():
                return
            base = heads.get(HEADS + pull.base)
            if base is None or PINNED + pull.head_commit not in heads:
                # Moved on meanwhile, or gone: the next look sees it.
                continue
            one = known.setdefault(pull.number, _Known())
            key = (pull.head_commit, base, marks)
            if one.key == key and time.monotonic() - one.at < _AGAIN_SECONDS:
                continue
            touched, untouched = proposed(mirror, pull, base, environments)
            # What touches no environment has no comment; but it may have one, from before a later push.
            text = self._page(pull, base, touched, untouched)
            self._keep(repository, pull, one, text, is_wanted=bool(touched))
            one.key, one.at = key, time.monotonic()

    def _keep(self, repository: str, pull: PullRequest, known: _Known, text: str, *, is_wanted: bool) -> None:
        """Have the comment say this. Raises ForgeUnavailable where the forge itself is in trouble."""
        forge, number = self._forges[repository], pull.number
        try:
            if known.comment is None:
                own = self._own(forge, number)
                known.comment, known.said = (own.id, own.body) if own is not None else (None, None)
            if _same(known.said, text) or (known.comment is None and not is_wanted):
                return
            self._say(forge, number, known, text)
            known.trouble = ""
        except ForgeUnavailable as error:
            if error.status not in _ITS_OWN or error.retry_after_seconds is not None:
                raise
            if known.trouble != error.why:
                log.warning("plan_not_shown", repository=repository, pull_request=number, why=error.why)
            known.trouble = error.why

    def _say(self, forge: Forge, number: int, known: _Known, text: str) -> None:
        if known.comment is not None:
            try:
                forge.change_comment(number, known.comment, text)
            except ForgeUnavailable as error:
                if error.status not in _GONE:
                    raise
                # Somebody deleted it.
                known.comment, known.said = None, None
            else:
                known.said = text
                return
        # Forgotten until it is told which one it is: an answer that is lost may be of one that is there.
        known.comment, known.said = forge.write_comment(number, text), text

    def _own(self, forge: Forge, number: int) -> Comment | None:
        return next(
            (one for one in forge.own_comments(number) if one.body.lstrip().startswith(self._marker)), None
        )


def _marks(record: Record) -> tuple[object, ...]:
    """What of an environment a plan depends on: all that is not there while nothing happens."""
    return (
        record.environment,
        record.good.digest if record.good is not None else None,
        record.good_rollout,
        record.rollout.id if record.rollout is not None else None,
        record.paused is not None,
        tuple(_holds(record)),
    )


def _holds(record: Record) -> Iterator[tuple[str, bool]]:
    for hold in record.held:
        yield hold.digest, hold.may_retry


def _same(held: str | None, text: str) -> bool:
    """A forge may keep lines ends of its own, and no space at the end."""
    return held is not None and held.replace("\r\n", "\n").strip() == text.strip()
