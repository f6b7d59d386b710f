"""Whether what git wants follows from what it wanted before, and what becomes of it if it does not.

Owns that one rule. Must not know how commits are compared. Invariant: a rewritten branch or a moved tag is
deployed only where the operator's settings or a person said so, and only for the very commit they saw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core.types import Desired, Rewritten

if TYPE_CHECKING:
    from deployer.core.record import Record
    from deployer.core.types import Lineage, Person, Wanted


_PEOPLE = 200
"""Who made what comes along. Far more than may approve it."""


def admitted(wanted: Wanted, record: Record) -> Wanted:
    """What git wants, unless it was rewritten and nobody has accepted that: then it is `Rewritten`."""
    if not isinstance(wanted, Desired):
        return wanted
    revision, why = wanted.release.revision, rewritten(wanted, record)
    if not why or wanted.accepts_rewrites or record.accepted == revision.commit:
        return wanted
    return Rewritten(revision=revision, why=why)


def rewritten(desired: Desired, record: Record) -> str:
    """Why it does not follow from what git wanted last; "" if it does, or if there is nothing to compare."""
    lineage = _compared(desired, record)
    return "" if lineage is None else lineage.rewritten


def between(desired: Desired, record: Record) -> tuple[str, ...]:
    """The commits that it overtook, if it was compared with what git wanted last."""
    lineage = _compared(desired, record)
    return () if lineage is None else lineage.between


def people(desired: Desired, record: Record) -> tuple[Person, ...]:
    """Who made the commits that came along with it, as far as that is known, the newest first.

    Those since what git wanted last, and, where that never became good, that one's and what came with it.
    """
    lineage, seen, good = _compared(desired, record), record.seen, record.good
    found = lineage.people if lineage is not None else ()
    if seen is not None and (good is None or good.digest != seen.digest):
        found = (*found, *seen.revision.people, *record.makers)
    return tuple(dict.fromkeys(found))[:_PEOPLE]


def _compared(desired: Desired, record: Record) -> Lineage | None:
    """The comparison, if it is one with what git wanted last."""
    lineage, seen = desired.lineage, record.seen
    return (
        lineage
        if lineage is not None and seen is not None and lineage.since == seen.revision.commit
        else None
    )
