"""The message of a commit that copies a release to the next environment, and where it says it came from.

Owns its words and its trailers. Must not know git. Invariant: whatever stands in a subject, a name, a reason
or a value is on one line behind our words, so it forges no other line; and the last paragraph, which is where
git looks for trailers, holds ours alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deployer.core.diff import cut
from deployer.core.redact import one_line
from deployer.core.scrub import plain, scrub

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.core.types import Person

CHANGES = 50
"""More changes are counted, not listed."""
WIDTH = 500
"""Characters of a subject, a name or a reason that are written."""

_FROM = re.compile(r"Promoted-From: ([^\s@]+#\d+)@([0-9a-f]{40}(?:[0-9a-f]{24})?)")
_PARAGRAPHS = re.compile(r"\n[ \t]*\n")


def message(
    source: str,
    target: str,
    rollout: str,
    commit: str,
    subject: str,
    changes: Sequence[object],
    by: str,
    reason: str,
    people: Sequence[Person] = (),
) -> str:
    """The message for a promotion from `source`, where `rollout` made `commit` good, to `target`.

    `changes` are written as they print. `by` is who asked for it; an empty `reason` is left out. `people`
    made what is copied: they are co-authors of the copy, so that none of them approves it as another's.
    """
    listed = [f"- {_line(str(change))}" for change in changes[:CHANGES]]
    if len(changes) > CHANGES:
        listed.append(f"- and {len(changes) - CHANGES} more")
    reasons = [f"Reason: {_line(reason)}"] if reason.strip() else []
    paragraphs = [
        [f"Promote {_line(rollout)} to {_line(target)}"],
        [
            f'What is good in {_line(source)}, {_line(commit[:7])} "{_line(subject)}", in {_line(target)}:',
            *listed,
        ],
        reasons,
        [
            f"Promoted-From: {_line(rollout)}@{_line(commit)}",
            f"Promoted-By: {_line(by) or 'unknown'}",
            *dict.fromkeys(f"Co-authored-by: {_person(one)}" for one in people),
        ],
    ]
    return "\n\n".join("\n".join(lines) for lines in paragraphs if lines) + "\n"


def promoted_from(message: str) -> tuple[str, str] | None:
    """The rollout and the full commit that a message says it copied: `("staging#37", "3f2c...")`.

    Only of the last paragraph, below a subject. It is what the message says, not a proof. None if it says
    nothing, or two things.
    """
    text = message.replace("\r\n", "\n").strip()
    _subject, *paragraphs = _PARAGRAPHS.split(text)
    lines = paragraphs[-1].split("\n") if paragraphs else []
    found = {match.groups() for line in lines if (match := _FROM.fullmatch(line.rstrip()))}
    if len(found) != 1:
        return None
    ((rollout, commit),) = found
    return rollout, commit


def _person(one: Person) -> str:
    name, email = (_line(part).replace("<", "").replace(">", "").strip() for part in (one.name, one.email))
    return f"{name or email or 'unknown'} <{email}>"


def _line(text: str) -> str:
    return cut(one_line(scrub(plain(" ".join(text.split())), frozenset())), WIDTH)
