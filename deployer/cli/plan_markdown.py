"""How plans look below a pull request: Markdown that GitHub, GitLab and Gitea show alike.

Owns the words and the layout. Must not add to what the plans say. Invariant: text from commits and configs is
shown as it is: it makes no link, no mention, no picture and no mark of ours; and the page is never longer
than a forge takes, and says so where something was left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.cli.plan_page import LINES, effect, facts, subject
from deployer.core.diff import Sign
from deployer.core.planning import Plan
from deployer.core.redact import one_line
from deployer.core.restart import worst

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.core.diff import Diff

MARKER = "<!-- deployer plan -->"
"""By which a comment is found again, to be edited in place."""

CHARACTERS = 58_000
"""Of a page. GitHub takes 65,536, and the adapter that sends it cuts at 60,000."""

_SHORTER = ((LINES, 40), (50, 40), (10, 10), (0, 3), (0, 0))
"""How many differences and facts of an environment are shown, until the page is short enough."""

_WORDS = 300
"""Characters of one cell, and twice as many of one fact."""

_HELD = frozenset({"held", "held upstream"})

_SPECIAL = re.compile(r"[\\`*_{}\[\]<>()#+\-.!|~@&:$%^](?=(\S?))")

_LEADS = frozenset("@#!~&:$%^")
"""With what is right behind them these are a mention, a reference or a picture, also when they are written as
entities: forges look for those in the finished page. What has no width keeps the two apart."""

_APART = "&#8203;"

_SIGNS = {Sign.ADD: "\\+", Sign.REMOVE: "\\-", Sign.CHANGE: "\\~"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One environment. Without a plan `why` says why there is none; without that it is not touched."""

    environment: str
    plan: Plan | None = None
    why: str = ""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing would change."""
        return not self.why and (self.plan is None or not self.plan.has_changes)


def markdown(parts: Sequence[Part], of: str = "") -> str:
    """One comment: a section for each environment, and those without changes in one that is folded.

    `of` says what was planned, for the first line.
    """
    loud = [part for part in parts if not part.is_quiet]
    head = [MARKER, "### Deploy plan", *([f"Planned: {_cut(of, _WORDS)}"] if of else [])]
    quiet = _quiet([part for part in parts if part.is_quiet])
    tail = [quiet] if quiet else []
    for index, (lines, told) in enumerate(_SHORTER):
        sections = [_section(part, lines, told) for part in loud]
        note = [_shortened(loud[0].environment)] if index and loud else []
        page = "\n\n".join([*head, *sections, *note, *tail])
        if len(page) <= CHARACTERS:
            return page
    return _as_many_as_fit(head, loud)


def _as_many_as_fit(head: list[str], loud: list[Part]) -> str:
    """Of very many environments the first ones; those without changes are only counted among the rest."""
    page = "\n\n".join(head)
    for index, part in enumerate(loud):
        section = _section(part, 0, 0)
        rest = f"The other environments, {len(loud) - index} of them with changes, are left out."
        longer = f"{page}\n\n{section}"
        if len(longer) + len(rest) + len(_shortened(loud[0].environment)) + 4 > CHARACTERS:
            return "\n\n".join([page, rest, _shortened(part.environment)])
        page = longer
    return "\n\n".join([page, _shortened(loud[0].environment)]) if loud else page


def _shortened(environment: str) -> str:
    return (
        "This is shortened, because a forge takes no more:"
        f" `deployer plan {environment.replace('`', '')}` shows all of it."
    )


def _section(part: Part, lines: int, told: int) -> str:
    name, plan = escaped(part.environment), part.plan
    if plan is None:
        head = f"<details open><summary><b>{name}</b>: cannot be deployed</summary>"
        return "\n\n".join([head, _why(part), "</details>"])
    at_most = worst([line.restart for line in plan.diff.lines])
    add, change, remove = plan.counts
    head = f"<b>{name}</b>: {add} to add, {change} to change, {remove} to remove; at most: {at_most}"
    shut = "; <b>gates closed</b>" if plan.gates else ""
    held = [gate for gate in plan.gates if gate.what in _HELD]
    flag = "; <b>HELD</b>" if held else ""
    listed = list(facts(plan))
    shown = [f"- **{escaped(title)}**: {_cut(words, 2 * _WORDS)}" for title, words in listed[:told]]
    if len(listed) > told:
        shown.append(f"- and {len(listed) - told} more")
    inner = [
        *(f"**This config is held, and would not be deployed.** {_cut(one.why, 2 * _WORDS)}" for one in held),
        f"What would be deployed: {_cut(plan.wanted, _WORDS)}, against {_cut(plan.against, _WORDS)}",
        _table(plan.diff, lines),
        "\n".join(shown),
        f"Plan digest: `{plan.digest}`",
    ]
    return "\n\n".join([f"<details><summary>{head}{flag}{shut}</summary>", *inner, "</details>"])


def _why(part: Part) -> str:
    lines = part.why.splitlines()
    shown = [f"- {_cut(line, 2 * _WORDS)}" for line in lines[:10]]
    return "\n".join([*shown, *([f"- and {len(lines) - 10} more"] if len(lines) > 10 else [])])  # noqa: PLR2004


def _quiet(parts: list[Part]) -> str:
    if not parts:
        return ""
    names = [f"- **{escaped(part.environment)}**: no change" for part in parts[:LINES]]
    if len(parts) > LINES:
        names.append(f"- and {len(parts) - LINES} more")
    head = f"<details><summary>No change: {len(parts)} environment{'s' * (len(parts) != 1)}</summary>"
    return "\n\n".join([head, "\n".join(names), "</details>"])


def _table(found: Diff, lines: int) -> str:
    rows = ["| | what | option | change | effect |", "|---|---|---|---|---|"]
    for line in found.lines[:lines]:
        cells = (subject(line), line.option, line.change, effect(line))
        rows.append(f"| {_SIGNS[line.sign]} | " + " | ".join(_cut(cell, _WORDS) for cell in cells) + " |")
    if len(found.lines) > lines:
        rows.append(f"| | and {len(found.lines) - lines} more | | | |")
    return "\n".join(rows)


def _cut(words: str, characters: int) -> str:
    return escaped(words if len(words) <= characters else words[: characters - 3] + "...")


def escaped(words: str) -> str:
    """Text that Markdown and HTML show as it is: no link, no mention, no tag, no picture."""
    return _SPECIAL.sub(_entity, one_line(words))


def _entity(found: re.Match[str]) -> str:
    sign, at = found[0], found.start()
    # GH-1 is a reference, too.
    is_lead = sign in _LEADS or (sign == "-" and found.string[max(0, at - 2) : at].upper() == "GH")
    return f"&#{ord(sign)};{_APART if is_lead and found[1] else ''}"
