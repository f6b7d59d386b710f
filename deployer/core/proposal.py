"""What a pull request says that deployer opens, and what it says there of the gates.

Owns those texts. Must not know a forge, nor what may be promoted. Invariant: what somebody else wrote (a
commit's subject, a reason) stands in code, where it is no markup, mentions nobody and closes no issue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployer.core.gates import CheckState, Verdict
from deployer.core.promotion import SOAK
from deployer.core.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.core.commands import GoodRelease
    from deployer.core.copying import Copy
    from deployer.core.gates import GateState
    from deployer.core.types import Revision

_TITLE = 100
"""Characters of a title."""

_LISTED = 30
"""Commits, or changes, that are listed."""

_DESCRIPTION = 140
"""Characters of a status: GitHub takes no more."""


def title(target: str, chosen: GoodRelease) -> str:
    """One line."""
    text = f"Promote {chosen.rollout} to {target}: {one_line(chosen.release.revision.subject)}"
    return _cut(text, _TITLE)


def body(
    ends: tuple[str, str],
    chosen: GoodRelease,
    *,
    commits: Sequence[Revision] = (),
    in_the_way: Sequence[Revision] = (),
    copied: Copy | None = None,
    is_more: bool = False,
    by: str,
    reason: str,
) -> str:
    """The text, as Markdown: what it brings, from where, and what follows when it is merged."""
    source, target = ends
    release = chosen.release
    commit, subject = code(release.revision.commit), code(release.revision.subject)
    parts = [f"{commit} became good in **{source}** as {code(chosen.rollout)}: {subject}"]
    if copied is not None:
        parts.append(_listed("What changes:", [code(str(one)) for one in copied.changes]))
        parts.append(_listed(f"Differs, and stays as it is in {target}:", [code(one) for one in copied.kept]))
    else:
        more = ", and more" if is_more else ""
        parts.append(_listed(f"Commits that it brings{more}:", [_commit(one) for one in commits]))
        parts.append(_listed(f"Commits that only {target} has:", [_commit(one) for one in in_the_way]))
    why = f", because: {code(reason)}" if reason else ""
    parts.append(f"Asked for by {code(by)}{why}.")
    parts.append(
        f"Merge it to deploy it to {target}, once the gates there are open. deployer keeps this pull request"
        f" up to date: a newer release that becomes good in {source} takes its place."
    )
    return "\n\n".join(part for part in parts if part)


def statuses(target: str, gates: Sequence[GateState]) -> dict[str, tuple[CheckState, str]]:
    """Each gate as a commit status: its context, and what it says.

    What is closed may open; but what failed its own proof, `soak`, is red: it should not be merged.
    """

    def state(gate: GateState) -> CheckState:
        if gate.verdict is not Verdict.CLOSED:
            return CheckState.SUCCESS
        return CheckState.FAILURE if gate.name == SOAK else CheckState.PENDING

    return {
        f"deployer/{target}/{gate.name}": (state(gate), _cut(one_line(gate.evidence), _DESCRIPTION))
        for gate in gates
    }


def code(text: str) -> str:
    """The text in a span of code, which nothing in it can end."""
    plain = one_line(text).replace("`", "'").strip()
    return f"`{plain}`" if plain else ""


def _listed(heading: str, items: Sequence[str]) -> str:
    if not items:
        return ""
    shown = [f"- {one}" for one in items[:_LISTED]]
    if len(items) > _LISTED:
        shown.append(f"- and {len(items) - _LISTED} more")
    return "\n".join([heading, "", *shown])


def _commit(one: Revision) -> str:
    return f"{code(one.short)} {code(one.subject)} by {code(one.author.name)}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3].rstrip()}..."
