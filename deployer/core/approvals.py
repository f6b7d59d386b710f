"""Who approved a deploy: whose opinion counts for a commit and for what it would do, and whose does not.

Owns the rule and the reasons. Must not know the gate that asks, nor where an opinion comes from.
Invariant: what does not count has a reason; nobody who is known to have made, merged or promoted the commit
approves it, and who may be one of them counts as one: better one too many than one too few.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from deployer.core import sentences
from deployer.core.record import Opinion, Pushing
from deployer.core.types import Person

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from deployer.core.record import Promotion, Record
    from deployer.core.types import Revision

_NO_REPLY = re.compile(r"(?:\d+[+-])?(?P<login>[^@+]+)@(?:users\.)?noreply\.")
"""The addresses that forges write for people who hide theirs: `1234+ada@users.noreply.github.com`, and with
a `-` GitLab's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRule:
    """Who approves: so many of these people. Seconds count from the approval.

    `emails` has the addresses with which the people commit, `forge` their names at the forge, by login name.
    `reviews`: a review of the pull request that brought the commit is an approval.
    """

    required: int
    people: frozenset[str]
    prevent_self_approval: bool = True
    expire_after: float = 7 * 86400.0
    emails: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    forge: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reviews: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The opinions on a commit, for one plan, oldest first. `not_counted` are approvals, each with why.

    `may` are those who may approve it still.
    """

    approved: tuple[Opinion, ...]
    not_counted: tuple[tuple[Opinion, str], ...]
    rejected: tuple[Opinion, ...]
    may: tuple[str, ...]


def tally(
    rule: ApprovalRule,
    revision: Revision,
    plan: str,
    record: Record,
    now: datetime,
    made_by: Sequence[str] = (),
) -> Tally:
    """Which of the record's opinions count. `made_by` as in `why_not`."""
    approvals = [one for one in record.opinions if one.is_approval]
    reasons = [(one, _why_not(one, rule, revision, plan, record, now, made_by)) for one in approvals]
    approved = tuple(one for one, why in reasons if why is None)
    left = rule.people - {one.by for one in approved} - _authors(rule, revision, record, made_by)
    return Tally(
        approved=approved,
        not_counted=tuple((one, why) for one, why in reasons if why is not None),
        # Whatever else it would do by now, and however long ago that was; and who made it may veto it.
        rejected=tuple(one for one in record.opinions if not one.is_approval and one.by in rule.people),
        may=tuple(sorted(left)),
    )


def why_not(
    login: str, rule: ApprovalRule, revision: Revision, record: Record, made_by: Sequence[str] = ()
) -> str | None:
    """Why what this person says of the commit does not count; None if it does.

    `made_by` are the names at the forge of who opened and who merged the pull request that brought it.
    """
    if login not in rule.people:
        return f"{login} is not among those who may approve: {', '.join(sorted(rule.people))}"
    if login in _authors(rule, revision, record, made_by):
        return f"{login} is among those who made or promoted this commit, and nobody approves their own"
    return None


def _why_not(
    one: Opinion,
    rule: ApprovalRule,
    revision: Revision,
    plan: str,
    record: Record,
    now: datetime,
    made_by: Sequence[str],
) -> str | None:
    if one.plan != plan:
        return "what the deploy would do has changed since"
    if now - one.at >= timedelta(seconds=rule.expire_after):
        return f"it is older than {sentences.span(timedelta(seconds=rule.expire_after))}"
    return why_not(one.by, rule, revision, record, made_by)


def _authors(
    rule: ApprovalRule, revision: Revision, record: Record, made_by: Sequence[str]
) -> frozenset[str]:
    """Of those who may approve the people who made this commit, merged it, or promoted it."""
    if not rule.prevent_self_approval:
        return frozenset()
    is_wanted = record.seen is not None and record.seen.revision.commit == revision.commit
    # A later commit that changes nothing here is not what is deployed by it.
    revisions = (revision, *((record.first,) if is_wanted and record.first is not None else ()))
    made = {who for one in revisions for who in one.people} | {*(record.makers if is_wanted else ())}
    found = {login for login in rule.people if any(_is(login, person, rule) for person in made)}
    there = {one.casefold() for one in made_by}
    found |= {who for who in rule.people if any(one.casefold() in there for one in rule.forge.get(who, ()))}
    for one in (*record.promoted, *([record.promotion] if record.promotion is not None else [])):
        if any(_is_brought(each, one) for each in revisions):
            by = (Person(name=one.by, email=one.by), *one.people)
            found |= {login for login in rule.people if any(_is(login, person, rule) for person in by)}
    return frozenset(found)


def _is_brought(revision: Revision, promotion: Promotion) -> bool:
    """Whether the commit is of this promotion; what may be the merge of its pull request counts as well."""
    commits = {revision.commit, *([revision.merged.commit] if revision.merged is not None else [])}
    if not commits.isdisjoint(promotion.commits):
        return True
    return promotion.result is Pushing.PROPOSED and revision.committed_at >= promotion.at


def _is(login: str, person: Person, rule: ApprovalRule) -> bool:
    """Whether git's person may be the one with this login: better one too many than one too few."""
    email, wanted = person.email.casefold(), login.casefold()
    hidden = _NO_REPLY.match(email)
    known = {one.casefold() for one in rule.emails.get(login, ())}
    return (
        email in known
        or wanted in (person.name.casefold(), email.partition("@")[0])
        or (hidden is not None and hidden["login"] == wanted)
    )
