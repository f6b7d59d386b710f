"""How a plan looks on a terminal. For a pull request: `cli.plan_markdown`. For scripts: `core.plan_json`.

Owns the words and the layout. Must not add to what the plan says. Invariant: text from commits and configs
cannot change the terminal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deployer.core.redact import one_line
from deployer.core.restart import Restart

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.core.diff import Diff, Line
    from deployer.core.planning import Plan

LINES = 200
"""Of one plan are shown; more are counted."""

_FORECASTS = 8
"""Deployments whose availability is told, the worst first."""

_FIGURES = re.compile(r"It has (\d+ of \d+) approvals")
"""How `core.gates` begins to tell how many approvals there are."""


def text(plan: Plan) -> str:
    """For a terminal."""
    lines = [f"{plan.environment}  {one_line(plan.wanted)}  against {one_line(plan.against)}"]
    lines += lines_of(plan.diff) if plan.has_changes else ["  no change: the cluster has all of it already"]
    lines += [f"{title}: {words}" for title, words in facts(plan)]
    return "\n".join([*lines, summary(plan)])


def lines_of(found: Diff) -> list[str]:
    """The differences as a table."""
    rows = [(f"{line.sign} {subject(line)}", line.option, line.change, effect(line)) for line in found.lines]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    table = [
        "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows[:LINES]
    ]
    if len(rows) > LINES:
        table.append(f"  and {len(rows) - LINES} more")
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


def subject(line: Line) -> str:
    """What it is about."""
    if not line.application:
        return "(cluster)"
    return f"{line.application} / {line.deployment}" if line.deployment else line.application


def effect(line: Line) -> str:
    """What it does to what runs."""
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
