"""What was live in an environment at a moment, told by its rollouts.

Owns which rollout it was, how that one stood by then, and what was the way back. Must not know how rollouts
are found, nor who approved them (`provenance`). Invariant: what is told of a moment is what the log said by
then, and the log's order decides, not its clocks; only `following` is of later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from deployer.core.events import Kind
from deployer.core.history import Entry, Summary
from deployer.core.record import Result
from deployer.core.sentences import moment
from deployer.core.telling import says

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.core.events import Observed

_BROKEN = frozenset({"DEPLOY_FAILED", "UNHEALTHY"})
"""States, in Serve's words, of what does not serve as it should."""


class Standing(StrEnum):
    """How a rollout that the cluster had taken stood at a moment.

    `judging`: on its way to be good; `failing`: likewise, but what was last seen of it was broken.
    `rolling_back`: it had failed, and the rollback that had begun was not on the cluster yet.
    """

    GOOD = "good"
    JUDGING = "judging"
    FAILING = "failing"
    FAILED = "failed"
    ROLLING_BACK = "rolling_back"
    SUPERSEDED = "superseded"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The rollout whose config the cluster last had taken, at `since`.

    `release_since`: since then the cluster had been sent no other config, by whichever rollouts. `seen` is
    what was last seen of it while it was `failing`, as a sentence.
    """

    rollout: Entry
    since: datetime
    release_since: datetime
    standing: Standing
    seen: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A rollout that had begun after the live one, and that the cluster had not taken by then."""

    rollout: Entry
    result: Result


@dataclass(frozen=True, slots=True, kw_only=True)
class WayBack:
    """The release that was good. `rollout` had made it so, at `at`; both are None where that is not known."""

    release: Summary
    rollout: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What was live in an environment at `at`; `live` is None before the cluster had taken anything.

    `attempt` is the newest one. `following` is the rollout that the cluster took next, if it has by now.
    """

    environment: str
    at: datetime
    live: Live | None
    attempt: Attempt | None
    good: WayBack | None
    following: Entry | None

    @property
    def until(self) -> datetime | None:
        """When another rollout took the live one's place; None: it is live still, or nothing was live."""
        return self.following.applied_at if self.live is not None and self.following is not None else None

    @property
    def first_at(self) -> datetime | None:
        """Where nothing was live yet: when the cluster took something for the first time; None: never."""
        return self.following.applied_at if self.live is None and self.following is not None else None


def refused(environment: str, at: datetime, now: datetime) -> str | None:
    """Why nothing can be told of this moment, as a sentence; None if it can."""
    if at <= now:
        return None
    return (
        f"{moment(at)} is in the future, it is {moment(now)} now: nobody knows what will be live then."
        f" `deployer history {environment} --at now` tells what is."
    )


def was_live(environment: str, rollouts: Sequence[Entry], at: datetime) -> Past:
    """What was live at this moment. `rollouts` are the environment's, in the order in which they began.

    Of many it needs few: back from the live one, the newest with another config that the cluster took and the
    first that it took after it; the newest that was good or no deploy, and the one that had made that
    release good; and all from the live one to the next that the cluster took.
    """
    place = max((number for number, one in enumerate(rollouts) if _is_by(one.applied_at, at)), default=-1)
    after = rollouts[place + 1 :]
    begun = [one for one in after if one.started_at <= at]
    return Past(
        environment=environment,
        at=at,
        live=_live(rollouts[: place + 1], begun, at),
        attempt=Attempt(rollout=begun[-1], result=_result(begun[-1], at)) if begun else None,
        good=_way_back(rollouts, at),
        following=next((one for one in after if one.applied_at is not None), None),
    )


def is_judging(past: Past) -> bool:
    """Whether the live rollout was on its way, so that what was seen of it by then tells more."""
    return past.live is not None and past.live.standing is Standing.JUDGING


def with_seen(past: Past, last: Observed | None) -> Past:
    """The same with what was last seen of the live rollout by then: it may have been failing."""
    live = past.live
    if live is None or last is None or live.standing is not Standing.JUDGING or not _is_broken(last):
        return past
    return replace(past, live=replace(live, standing=Standing.FAILING, seen=says(last)))


def _live(rollouts: Sequence[Entry], begun: Sequence[Entry], at: datetime) -> Live | None:
    """The last of these rollouts. `begun` came after it by then, and the cluster had taken none of them."""
    taken = [(one, one.applied_at) for one in rollouts if one.applied_at is not None]
    if not taken:
        return None
    live, since = taken[-1]
    release_since = since
    for one, applied_at in reversed(taken):
        if one.release.digest != live.release.digest:
            break
        release_since = applied_at
    return Live(rollout=live, since=since, release_since=release_since, standing=_standing(live, begun, at))


def _standing(live: Entry, begun: Sequence[Entry], at: datetime) -> Standing:
    match _result(live, at):
        case Result.IN_PROGRESS:
            return Standing.JUDGING
        case Result.FAILED if any(_is_rolling_back(one, at) for one in begun):
            return Standing.ROLLING_BACK
        case ended:
            return Standing(ended.value)


def _is_rolling_back(one: Entry, at: datetime) -> bool:
    return one.kind is Kind.ROLLBACK and _result(one, at) is Result.IN_PROGRESS


def _result(one: Entry, at: datetime) -> Result:
    """How it had ended by then."""
    return one.result if _is_by(one.finished_at, at) else Result.IN_PROGRESS


def _way_back(rollouts: Sequence[Entry], at: datetime) -> WayBack | None:
    """The good release by then: the newest that was made so, or went back to, whichever came last.

    Whatever is no deploy brings the good release: one that a person asked for is good from then on.
    """
    made: dict[tuple[str, str], Entry] = {}
    found: Summary | None = None
    for one in rollouts:
        if one.kind is not Kind.DEPLOY and one.started_at <= at:
            found = one.release
        if _result(one, at) is Result.GOOD:
            found = one.release
            made[_key(found)] = one
    if found is None:
        return None
    maker = made.get(_key(found))
    return WayBack(
        release=found,
        rollout=maker.id if maker is not None else None,
        at=maker.finished_at if maker is not None else None,
    )


def _key(release: Summary) -> tuple[str, str]:
    return release.revision, release.digest


def _is_by(one: datetime | None, at: datetime) -> bool:
    return one is not None and one <= at


def _is_broken(last: Observed) -> bool:
    return last.sick or any(one.failed_starts or one.status in _BROKEN for one in last.states)
