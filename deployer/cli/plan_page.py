"""How a plan looks: text for a terminal, Markdown for a pull request. For scripts: `core.plan_json`.

Owns the words and the layout. Must not add to what the plan says. Invariant: text from commits and configs
cannot change the terminal, nor the page that a comment is shown on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deployer.core.diff import Sign
from deployer.core.redact import one_line
from deployer.core.restart import Restart, worst

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.core.diff import Diff, Line
    from deployer.core.planning import Plan

_LINES = 200
"""Of one plan are shown; more are counted. A forge takes a comment of 65,536 characters."""

_FORECASTS = 8
"""Deployments whose availability is told, the worst first."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~@&:])")

_FIGURES = re.compile(r"It has (\d+ of \d+) approvals")
"""How `core.gates` begins to tell how many approvals there are."""

MARKER = "<!-- deployer plan -->"
"""By which a comment is found again, to be edited in place."""


def text(plan: Plan) -> str:
    """For a terminal."""
    lines = [f"{plan.environment}  {one_line(plan.wanted)}  against {one_line(plan.against)}"]
    lines += lines_of(plan.diff) if plan.has_changes else ["  no change: the cluster has all of it already"]
    lines += [f"{title}: {words}" for title, words in facts(plan)]
    return "\n".join([*lines, summary(plan)])


def lines_of(found: Diff) -> list[str]:
    """The differences as a table."""
    rows = [
        (f"{line.sign} {_subject(line)}", line.option, line.change, _effect(line)) for line in found.lines
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = [
        "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows[:_LINES]
    ]
    if len(rows) > _LINES:
        table.append(f"  and {len(rows) - _LINES} more")
    return [line.rstrip() for line in table]


def facts(plan: Plan) -> Iterator[tuple[str, str]]:
    """What is said below the differences: a title and a sentence, in the order in which it matters."""
    for one in plan.availability[:_FORECASTS]:
        failed = f" {one.forecast.failed_sentence}" if one.forecast.failed_sentence else ""
        yield "Availability", f"{one.forecast.sentence}{failed}"
    if len(plan.availability) > _FORECASTS:
        yield "Availability", f"and of {len(plan.availability) - _FORECASTS} more deployments."
    if plan.capacity is not None:
        needs = ", ".join(str(need) for need in plan.capacity.needs) or "nothing beyond what runs"
        notes = f" ({'; '.join(plan.capacity.notes)})" if plan.capacity.notes else ""
        yield "Capacity", f"{plan.capacity.verdict}: {needs}{notes}."
    if plan.has_changes:
        yield "Duration", f"{plan.duration}." if plan.duration else "no history yet."
    if plan.way_back is not None:
        to = f"to {one_line(plan.way_back.to)}, " if plan.way_back.to else ""
        yield "Way back", f"{plan.way_back.state} ({to}{'; '.join(map(one_line, plan.way_back.reasons))})."
    if plan.drift is not None:
        yield "Drift", one_line(plan.drift)
    for gate in plan.gates:
        yield f"Gate {gate.what}", one_line(gate.why)
    for remark in plan.remarks:
        yield "Note", one_line(remark)


def summary(plan: Plan) -> str:
    """The last line."""
    add, change, remove = plan.counts
    gates = closed([(gate.what, gate.why) for gate in plan.gates])
    return f"Plan: {add} to add, {change} to change, {remove} to remove.{gates} {plan.digest[:19]}"


def closed(gates: Sequence[tuple[str, str]]) -> str:
    """The gates that are closed, each by name and figures: ` Gate: approvals 0 of 1.`; "" without any."""
    if not gates:
        return ""
    names = []
    for what, why in gates:
        figures = _FIGURES.match(why)
        names.append(f"{what} {figures[1]}" if figures else what)
    return f" Gate{'s' * (len(names) > 1)}: {', '.join(names)}."


def _subject(line: Line) -> str:
    if not line.application:
        return "(cluster)"
    return f"{line.application} / {line.deployment}" if line.deployment else line.application


def _effect(line: Line) -> str:
    match line.restart:
        case Restart.DELETE:
            said = "REMOVED (not in the config; Serve deletes it)"
        case Restart.REBUILD:
            said = "REBUILDS the app: all replicas of all its deployments restart"
        case Restart.ROLLING:
            said = "RESTARTS its replicas, one after the other"
        case _:
            said = str(line.restart)
    return f"{said} ({line.note})" if line.note else said


# --- Markdown ----------------------------------------------------------------------------------------


def markdown(plans: Sequence[Plan]) -> str:
    """A comment on a pull request: one section for each environment, those without changes in one line."""
    parts = [MARKER, "### Deploy plan"]
    for plan in plans:
        name = _escaped(plan.environment)
        if not plan.has_changes:
            parts.append(f"**{name}**: no change")
            continue
        effect = worst([line.restart for line in plan.diff.lines])
        add, change, remove = plan.counts
        head = f"<b>{name}</b>: {add} to add, {change} to change, {remove} to remove; at most: {effect}"
        closed = "; <b>gates closed</b>" if plan.gates else ""
        parts += [
            f"<details><summary>{head}{closed}</summary>",
            f"{_escaped(plan.wanted)} against {_escaped(plan.against)}",
            _table(plan.diff),
            "\n".join(f"- **{_escaped(title)}**: {_escaped(words)}" for title, words in facts(plan)),
            f"Plan digest: `{plan.digest}`",
            "</details>",
        ]
    return "\n\n".join(parts)


def _table(found: Diff) -> str:
    rows = ["| | what | option | change | effect |", "|---|---|---|---|---|"]
    for line in found.lines[:_LINES]:
        cells = (_subject(line), line.option, line.change, _effect(line))
        rows.append(f"| {_SIGNS[line.sign]} | " + " | ".join(_escaped(cell) for cell in cells) + " |")
    if len(found.lines) > _LINES:
        rows.append(f"| | and {len(found.lines) - _LINES} more | | | |")
    return "\n".join(rows)


_SIGNS = {Sign.ADD: "\\+", Sign.REMOVE: "\\-", Sign.CHANGE: "\\~"}


def _escaped(words: str) -> str:
    """Text that Markdown and HTML show as it is: no link, no mention, no tag, no picture."""
    return _MARKDOWN.sub(lambda found: f"&#{ord(found[1])};", one_line(words))
