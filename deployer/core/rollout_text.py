"""A rollout as plain text, out of its JSON: the account, the timeline, the checks, what changed.

Owns how these look on a page of fixed width. Must not add to what the JSON says. Invariant: a line is at most
as wide as the page, unless a word or a table is wider; and nothing in a line ends it.
"""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import TYPE_CHECKING, Any

from deployer.core.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_WIDTH = 110

_WORDS = {True: "passed", False: "failed", None: "not made"}


def columns(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """What it is about, and the sentence, which goes on below itself."""
    found = [*pairs]
    width = max((len(about) for about, _ in found), default=0)
    return [line for about, says in found for line in _wrapped(f"{about:<{width}}  ", says)]


def story(told: Mapping[str, Any]) -> list[str]:
    """The account, in sentences."""
    return columns((one["about"], one["says"]) for one in told["story"])


def timeline(told: Mapping[str, Any]) -> Iterator[str]:
    """What happened, by day, in UTC: when, in which phase, what, by whom if it was a person, and why."""
    for day, found in groupby(told["timeline"], key=lambda one: one["at"].partition("T")[0]):
        yield day
        for one in found:
            clock = one["at"].partition("T")[2].rstrip("Z")
            by = f" (by {one['actor']})" if one["actor"] != "deployer" else ""
            why = f" ({one['reason']})" if one["reason"] else ""
            head = f"  {clock}  {one['phase'] or '-':<9}  {one['event']:<14}  "
            yield from _wrapped(head, f"{one['says']}{by}{why}")


def checks(told: Mapping[str, Any]) -> Iterator[str]:
    """How each check came out."""
    for one in told["checks"]:
        tries = f" after {one['attempts']} attempts" if one["attempts"] > 1 else ""
        says = f": {one['message']}" if one["message"] else ""
        yield from _wrapped(f"{_WORDS[one['passed']]:<8}  ", f"{one['app']} {one['path']}{tries}{says}")


def changes(told: Mapping[str, Any]) -> list[str]:
    """What it changed, with what each change does to the replicas."""
    against = told["against"] or "nothing: no release had been good"
    rows = [_change(one) for one in told["changes"]] or [("no difference", "", "", "")]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = (
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    )
    return [one_line(f"against {against}"), *(f"  {one_line(line).rstrip()}" for line in table)]


def _change(one: Mapping[str, Any]) -> tuple[str, str, str, str]:
    names: Sequence[str] = [name for name in (one["application"], one["deployment"]) if name]
    effect = f"{one['effect']} ({one['note']})" if one["note"] else one["effect"]
    return (
        f"{one['sign']} {' / '.join(names) or '(cluster)'}",
        one["option"] or "",
        one["change"] or "",
        effect,
    )


def _wrapped(head: str, text: str) -> list[str]:
    lines = textwrap.wrap(
        one_line(text),
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [head.rstrip()]
