"""The four numbers of DORA for one environment, from its own history.

Owns their definitions: how often something new goes live, how long it takes from the commit, how often it
fails, and how long it takes to be good again. Must not know where entries are kept. Invariant: only deploys
count as changes. Restores and heals bring back what was live already, and a rollback is the answer to a
change; what was superseded or cancelled never had an outcome. A number with nothing behind it is None, and
each says how many samples it is made of.

Where our records and the definitions of https://dora.dev/guides/dora-metrics/ meet:

- Deployment frequency: deploys that ended good, by days of the period.
- Lead time for changes: from the commit's time (git's committer date) until the deploy of it was good. A
  commit counts once, at its first good deploy; one that was superseded before it was deployed does not count.
- Change failure rate: of the deploys that ended good or failed, those that failed, and those that were good
  until a person went back. Each attempt is one.
- Time to restore (failed deployment recovery time): from the moment a deploy was found to have failed until
  the next rollout of whatever kind ended good: the rollback, or the fix.
"""

from __future__ import annotations

import math
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING, Any

from deployer.core.events import DAEMON, Kind
from deployer.core.record import Result
from deployer.core.times import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from deployer.core.history import Entry

    _Ended = tuple[Entry, datetime]

_P90 = 0.9


def numbers(entries: Iterable[Entry], *, now: datetime, days: float) -> dict[str, Any]:
    """The four numbers of the last `days`, in the shape that scripts rely on: add fields, change none.

    `entries` are of one environment, in any order; those that ended before the period are only used to tell
    what was live before. Durations are seconds. A clock that went back makes a duration 0, never negative.
    """
    begin = now - timedelta(days=days)
    history = _ended(entries)
    deploys = [(one, end) for one, end in history if one.kind is Kind.DEPLOY and begin < end <= now]
    good = {one.id for one, _ in deploys if one.result is Result.GOOD}
    failed = [(one, end) for one, end in deploys if one.result is Result.FAILED]
    by_hand = good & _rolled_back_by_hand(history)
    lead = _lead_times(history, good)
    restored = _restore_times(history, failed)
    outcomes = len(good) + len(failed)
    return {
        "days": days,
        "from": timestamp(begin),
        "until": timestamp(now),
        "deployment_frequency": {"per_day": len(good) / days, "deploys": len(good)},
        "lead_time": {**_spread(lead), "deploys": len(lead)},
        "change_failure_rate": {
            "ratio": (len(failed) + len(by_hand)) / outcomes if outcomes else None,
            "deploys": outcomes,
            "failed": len(failed),
            "rolled_back_by_hand": len(by_hand),
        },
        "time_to_restore": {
            **_spread(restored),
            "restored": len(restored),
            "not_restored": len(failed) - len(restored),
        },
    }


def gather(page: Callable[[str | None], Sequence[Entry]], *, begin: datetime) -> list[Entry]:
    """The entries that may have ended since `begin`.

    `page` gives the rollouts of one environment before the one of this id (None: the newest), newest first,
    and none at the end.
    """
    entries: list[Entry] = []
    before: str | None = None
    while found := page(before):
        entries += found
        before = found[-1].id
        if found[-1].finished_at is not None and found[-1].finished_at < begin:
            break
    return entries


def _ended(entries: Iterable[Entry]) -> list[_Ended]:
    """Those that ended, with their end, in the order of their numbers: clocks go back, numbers do not."""
    found = [(entry, entry.finished_at) for entry in entries if entry.finished_at is not None]
    return sorted(found, key=lambda one: _number(one[0]))


def _number(entry: Entry) -> int:
    return int(entry.id.rpartition("#")[2])


def _rolled_back_by_hand(history: Sequence[_Ended]) -> set[str]:
    """The ids of the good deploys from which a person went back to another release.

    Where what came last had failed, that failure is what they answered.
    """
    found: set[str] = set()
    deploy_of: dict[str, str] = {}
    last: Entry | None = None
    for entry, _ in history:
        if entry.kind not in (Kind.DEPLOY, Kind.ROLLBACK):
            continue
        digest = entry.release.digest
        is_by_hand = entry.kind is Kind.ROLLBACK and entry.actor != DAEMON
        if is_by_hand and last is not None and last.result is Result.GOOD and last.release.digest != digest:
            found.add(deploy_of.get(last.release.digest, ""))
        if entry.result in (Result.GOOD, Result.FAILED):
            last = entry
        if entry.kind is Kind.DEPLOY and entry.result is Result.GOOD:
            deploy_of[digest] = entry.id
    return found


def _lead_times(history: Sequence[_Ended], counted: set[str]) -> list[float]:
    """Seconds from the commit to its first good deploy, for those deploys that are counted.

    What was written by a version that did not keep the commit's time has none.
    """
    seen: set[str] = set()
    found = []
    for entry, end in history:
        if entry.kind is not Kind.DEPLOY or entry.result is not Result.GOOD:
            continue
        is_first = entry.release.revision not in seen
        seen.add(entry.release.revision)
        if is_first and entry.id in counted and entry.release.committed_at is not None:
            found.append(_seconds(entry.release.committed_at, end))
    return found


def _restore_times(history: Sequence[_Ended], failed: Sequence[_Ended]) -> list[float]:
    """Seconds from each failure to the end of the first rollout after it that ended good, if one has."""
    good = [(_number(entry), end) for entry, end in history if entry.result is Result.GOOD]
    found = []
    for entry, failed_at in failed:
        later = [end for number, end in good if number > _number(entry)]
        found += [_seconds(failed_at, end) for end in later[:1]]
    return found


def _seconds(begin: datetime, end: datetime) -> float:
    return max(0.0, (end - begin).total_seconds())


def _spread(samples: Sequence[float]) -> dict[str, float | None]:
    """Median and 90th percentile (nearest rank: a value that occurred)."""
    if not samples:
        return {"median_seconds": None, "p90_seconds": None}
    ordered = sorted(samples)
    return {"median_seconds": median(ordered), "p90_seconds": ordered[math.ceil(_P90 * len(ordered)) - 1]}
