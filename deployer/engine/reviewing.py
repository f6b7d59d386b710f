"""Makes approvals, and rejections, of what people say of a pull request at a forge.

Owns which review counts, and what it takes the place of. Must not know threads, nor how a forge is asked.
Invariant: the forge's clock is compared with itself alone; a review and a command are told apart by the looks
that found the one before and after the other; and where nobody knows which was first, a rejection counts.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

import structlog

from deployer.adapters.forge import Opinion, PullRequest
from deployer.adapters.store import Conflict, StoreError
from deployer.core import consent
from deployer.core.commands import Accepted
from deployer.core.gates import Rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deployer.adapters.forge import Review
    from deployer.core import record as core
    from deployer.core.events import Event
    from deployer.core.record import Record

_PARTS = 4
"""Of a review's key: the number of the pull request, the login, what it says, and when."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a look at the reviews of a pull request found. `began` is of our clock, `keys` are the reviews."""

    number: int
    began: datetime
    keys: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What waits for approvals in an environment: a config, what it would do, and what brought it."""

    environment: str
    rules: Rules
    digest: str
    plan: str
    brought: PullRequest

    @property
    def told(self) -> str:
        """Where it was said, for people."""
        return f"review of pull request #{self.brought.number}"

    def key(self, login: str, state: Opinion, at: datetime) -> str:
        """By what a review is known. A store of before has it so."""
        return f"{self.brought.number} {login} {state.value} {at.isoformat()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Which review a person's standing word came from."""

    number: int
    login: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Word:
    """What is to be recorded of a person."""

    who: str
    login: str
    key: str
    rejects: bool
    reason: str


class Reviewing:
    """Who hears the reviews. One thread for each environment."""

    def __init__(
        self,
        *,
        load: Callable[[str], Record],
        commit: Callable[[Record, Sequence[Event]], Record],
        wake: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        """`load` and `commit` are the store's; `wake` has an environment looked at, and must not wait."""
        self._load = load
        self._commit = commit
        self._wake = wake
        self._now = now

    def hear(self, case: Case, reviews: Sequence[Review], began: datetime, before: Look | None) -> Look:
        """Record what is new of all the reviews that there are. `before` is the look before this one."""
        rule, number = case.rules.approvals, case.brought.number
        keys = {case.key(one.login, one.state, one.at) for one in reviews}
        if before is not None and before.number != number:
            before = None
        logins = (
            {there.casefold(): who for who, names in rule.forge.items() for there in names} if rule else {}
        )
        known = [(who, one) for one in reviews if (who := logins.get(one.login.casefold())) is not None]
        against = {who for who, one in known if one.state is Opinion.CHANGES_REQUESTED}
        for who, review in known:
            if review.state is Opinion.APPROVED and (who in against or self._is_void(case, review)):
                continue
            record = self._load(case.environment)
            word = _word(case, who, review, record, before)
            if word is not None and not self._say(case, record, word):
                # For the next look it is as new as it was for this one.
                keys.discard(word.key)
        for word in _gone(case, reviews, self._load(case.environment)):
            self._say(case, self._load(case.environment), word)
        return Look(number=number, began=began, keys=frozenset(keys))

    def _is_void(self, case: Case, review: Review) -> bool:
        """Whether an approval is none: too old, of another head, or by who opened or merged it."""
        rule, brought = case.rules.approvals, case.brought
        if rule is None or self._now() - review.at >= timedelta(seconds=rule.expire_after):
            return True
        made_by = {one.casefold() for one in (brought.author, brought.merged_by or "")}
        is_own = rule.prevent_self_approval and review.login.casefold() in made_by
        return is_own or review.commit not in {"", brought.head_commit}

    def _say(self, case: Case, record: Record, word: _Word) -> bool:
        """Whether that is settled; not if another pass was quicker."""
        answer = consent.approve(
            record,
            case.rules,
            plan=case.plan,
            current=case.plan,
            of=case.digest,
            actor=f"{word.who} (at the forge as {word.login})",
            login=word.who,
            reason=word.reason,
            now=self._now(),
            rejects=word.rejects,
            review=word.key,
        )
        if not isinstance(answer, Accepted):
            return True
        try:
            self._commit(record, answer.events)
        except (Conflict, StoreError):
            return False
        log.info("review_counted", environment=case.environment, by=word.who, rejects=word.rejects)
        self._wake(case.environment)
        return True


def _word(case: Case, who: str, review: Review, record: Record, before: Look | None) -> _Word | None:
    """What follows from a person's review; None if nothing does, or it did already."""
    standing = next((one for one in record.opinions if one.by == who), None)
    key = case.key(review.login, review.state, review.at)
    is_own = _is_of(standing, case, review.login)
    match review.state:
        case Opinion.APPROVED:
            counts, reason = _approves(key, review, standing, record, before, is_own=is_own), case.told
        case Opinion.CHANGES_REQUESTED:
            counts = _rejects(key, standing, record, before, is_own=is_own)
            reason = f"{case.told}: changes are requested"
        case Opinion.DISMISSED:
            counts = is_own and standing is not None and standing.is_approval
            reason = f"{case.told}: it was dismissed"
        case Opinion.COMMENTED:
            return None
        case _:
            assert_never(review.state)
    if not counts:
        return None
    rejects = review.state is not Opinion.APPROVED
    return _Word(who=who, login=review.login, key=key, rejects=rejects, reason=reason)


def _approves(
    key: str,
    review: Review,
    standing: core.Opinion | None,
    record: Record,
    before: Look | None,
    *,
    is_own: bool,
) -> bool:
    """Whether an approval is new, and newer than what the person said last."""
    if key in record.reviews:
        # Once: what it would do by now they have not seen.
        return False
    if standing is None or is_own:
        # The forge tells the last word of each login.
        return True
    source = _source(standing)
    if source is not None:
        return review.at > source.at
    if standing.is_approval:
        return review.at > standing.at
    # A rejection by command. Two clocks do not tell which was first, but a look does that did not find it.
    return before is not None and before.began > standing.at and key not in before.keys


def _rejects(
    key: str, standing: core.Opinion | None, record: Record, before: Look | None, *, is_own: bool
) -> bool:
    """Whether a request for changes counts: always, but where the person approved after it was heard."""
    if standing is None:
        return True
    if not standing.is_approval and standing.review == key:
        return False
    # GitLab does not say when: it goes by the same key when it comes again.
    is_heard = key in record.reviews and (before is None or key in before.keys)
    return not is_heard or (is_own and standing.is_approval)


def _gone(case: Case, reviews: Sequence[Review], record: Record) -> Iterator[_Word]:
    """The approvals that came from reviews of this pull request which are not there any more."""
    there = {one.login.casefold() for one in reviews if one.state is not Opinion.COMMENTED}
    for standing in record.opinions:
        source = _source(standing)
        if not standing.is_approval or source is None or source.number != case.brought.number:
            continue
        if source.login.casefold() not in there:
            key = case.key(source.login, Opinion.DISMISSED, source.at)
            reason = f"{case.told}: it was taken back"
            yield _Word(who=standing.by, login=source.login, key=key, rejects=True, reason=reason)


def _is_of(standing: core.Opinion | None, case: Case, login: str) -> bool:
    """Whether a person's standing word came from what this login said of this pull request."""
    source = _source(standing) if standing is not None else None
    return (
        source is not None
        and source.number == case.brought.number
        and source.login.casefold() == login.casefold()
    )


def _source(standing: core.Opinion) -> _Source | None:
    """The review that it came from; None if that was a command."""
    parts = standing.review.split(" ")
    if len(parts) != _PARTS:
        return None
    with suppress(ValueError):
        return _Source(number=int(parts[0]), login=parts[1], at=datetime.fromisoformat(parts[3]))
    return None
