"""What a person may say before a deploy: approve it, reject it, or want it now, also with a gate closed.

Owns the rules of these wishes, and their sentences. Must not know how a wish comes in, nor who may have it.
Invariant: a wish is bound to what the person saw: an approval to the digest of the effect, an override to the
commit and to the config that was named; what is not counted later is refused here already, with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core import approvals, gates, sentences
from deployer.core.commands import USAGE, Accepted, Answer, Declined
from deployer.core.events import Approved, Rejected, SyncAsked
from deployer.core.rollouts import is_live

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from deployer.core.gates import Rules
    from deployer.core.record import Record
    from deployer.core.types import Release

NOT_SHOWN = ""
"""In place of a config's digest: the person was shown none, so what they ask for deploys nothing."""

NO_OVERRIDE = (
    "--skip: to override gates is a right of its own: ask somebody whose token has the role overrider or"
    " admin there."
)
"""To who may deploy, and no more."""


def approve(
    record: Record,
    rules: Rules,
    *,
    plan: str,
    current: str | None,
    of: str | None,
    actor: str,
    login: str | None,
    reason: str,
    now: datetime,
    rejects: bool = False,
    review: str = "",
) -> Answer:
    """Approve, or reject, what git wants for the environment, for what it would do: `plan`.

    `current` is the plan that the last pass found; None if nothing waits for approvals. `of` is the digest of
    the config that git wanted in that pass. `login` is who has the personal token; None is somebody who has
    none. `review` is which review at a forge says it, "" if none does.
    """
    name, seen = record.environment, record.seen
    rule = rules.approvals
    if rule is None:
        return Declined(
            why=f"Nothing has to be approved in {name}: it has no `gates.approvals` in the settings."
        )
    if login is None:
        why = (
            "Who approves must be known for sure, and the token of this machine is everybody's who has it."
            f" `deployer token create NAME --role approver --environment {name}` makes a personal one;"
            " use it with `--token-file`."
        )
        return Declined(why=why)
    if seen is None or current is None:
        return Declined(why=f"Nothing waits for approvals in {name}: see `deployer status {name}`.")
    if of != seen.digest:
        why = (
            f"Git wants {sentences.name(seen)} in {name} since, and what that would do is not found yet: look"
            f" at `deployer plan {name}` again in a moment."
        )
        return Declined(why=why)
    if plan != current:
        why = (
            f"What {sentences.name(seen)} would do to {name} has changed since ({plan[:19]}, now"
            f" {current[:19]}): look at `deployer plan {name}` again."
        )
        return Declined(why=why)
    not_counted = approvals.why_not(login, rule, seen.revision, record)
    # Who found a fault in their own commit may say so.
    is_veto = rejects and login in rule.people
    if not_counted is not None and not is_veto:
        return Declined(why=sentences.sentence(not_counted))
    if rejects and not reason:
        command = f"deployer reject {name}"
        why = f'A reason is needed, for those who have to change it: `{command} --reason "..."`.'
        return Declined(why=why, exit_code=USAGE)
    kind = Rejected if rejects else Approved
    said = kind(
        at=now,
        actor=actor,
        reason=reason,
        plan=plan,
        digest=seen.digest,
        commit=seen.revision.commit,
        review=review,
    )
    message = f"{sentences.name(seen)} is rejected for {name}: it is not deployed as it is."
    if not rejects:
        counted = approvals.tally(rule, seen.revision, plan, record, now).approved
        have = len({one.by for one in counted} | {login})
        message = f"{sentences.name(seen)} is approved for {name} by {login}, as {have} of {rule.required}."
    return Accepted(events=(said,), message=message, target=seen)


def go(
    record: Record,
    rules: Rules,
    *,
    skip: Sequence[str],
    may_override: bool,
    digest: str | None = None,
    actor: str,
    reason: str,
    now: datetime,
) -> Answer:
    """Want what git wants deployed now: where sync is manual, and with the gates in `skip` closed or not.

    `digest` is that of the config that the person saw: no other is deployed by this. None is whatever git is
    known to want, `NOT_SHOWN` nothing.
    """
    name, seen = record.environment, record.seen
    refused = refused_skip(f"deployer sync {name}", skip, may_override=may_override, reason=reason)
    if refused is not None:
        return refused
    if digest == NOT_SHOWN:
        return Accepted(events=(), message="")
    if digest is not None and (seen is None or seen.digest != digest):
        wants = f"{sentences.name(seen)}, {seen.digest[:19]}" if seen is not None else "nothing yet"
        why = (
            f"{digest[:19]} is not what git is known to want in {name}, which is {wants}: look at"
            f" `deployer plan {name}` again."
        )
        return Declined(why=why)
    if seen is None or record.refused is not None or is_live(record, seen.digest):
        return Declined(why=_for_nothing(record)) if skip else Accepted(events=(), message="")
    if not skip and not rules.manual:
        return Accepted(events=(), message="")
    asked = SyncAsked(
        at=now,
        actor=actor,
        reason=reason,
        digest=seen.digest,
        commit=seen.revision.commit,
        skipped=tuple(skip),
    )
    return Accepted(events=(asked,), message=_going(seen, skip), target=seen)


def refused_skip(command: str, skip: Sequence[str], *, may_override: bool, reason: str) -> Declined | None:
    """Why these gates cannot be skipped by this person; None if they can."""
    unknown = [gate for gate in skip if gate not in gates.SKIPPABLE]
    if unknown:
        can = ", ".join(gates.SKIPPABLE)
        return Declined(why=f"--skip: {unknown[0]} cannot be skipped; these can: {can}.", exit_code=USAGE)
    if skip and not may_override:
        return Declined(why=NO_OVERRIDE)
    if skip and not reason:
        why = f'A reason is needed, for those who read the log later: `{command} --skip ... --reason "..."`.'
        return Declined(why=why, exit_code=USAGE)
    return None


def _for_nothing(record: Record) -> str:
    """Why there is nothing that a gate could hold up."""
    name, seen = record.environment, record.seen
    if seen is None:
        what = f"What git wants in {name} is not known yet"
    elif record.refused is not None:
        what = f"What git says of {name} cannot be deployed"
    else:
        what = f"{sentences.name(seen)} is what git is known to want in {name}, and it is there already"
    then = "so there is nothing to skip a gate for, and nothing was recorded"
    return f"{what}, {then}: see `deployer status {name}`."


def _going(seen: Release, skip: Sequence[str]) -> str:
    without = f" without waiting for {', '.join(skip)}" if skip else ""
    return f"{sentences.name(seen)} is to be deployed{without}."
