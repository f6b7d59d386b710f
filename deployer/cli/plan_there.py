"""The plans of a daemon that was named (--server): what git wants there, against what its clusters run.

Owns how such a plan looks at a terminal: as `plan_page` has it, out of the JSON. Must not add to what it
says. Invariant: text of the daemon cannot change the terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deployer.cli import context
from deployer.cli.client import Daemon, possible_environment
from deployer.cli.main import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployer.cli.server import Server


def show(
    ctx: click.Context, named: Server, environments: Sequence[str], form: str, *, detailed_exitcode: bool
) -> None:
    """Print the plan for each; ends the command with exit code 2 if that is asked for, and any changes.

    `form` is text, table, json or yaml. Raises click.UsageError for what only a local plan can do.
    """
    if form == "markdown":
        message = "--format markdown is made where the repository is: leave out --server."
        raise click.UsageError(message)
    if not environments:
        message = "Which environment? Name one or more."
        raise click.UsageError(message)
    daemon = Daemon.at(named)
    plans = [daemon.get(possible_environment(name), "plan") for name in environments]
    if form in {"json", "yaml"}:
        context.emit(plans, form)
    else:
        click.echo("\n\n".join(map(text, plans)))
    if detailed_exitcode and any(one["changes"] for one in plans):
        ctx.exit(Exit.CHANGES)


def text(plan: dict[str, Any]) -> str:
    """For a terminal."""
    from deployer.cli.plan_page import closed
    from deployer.core.redact import one_line

    lines = [f"{plan['environment']}  {plan['wanted']}  against {plan['against']}"]
    lines += _changes(plan["changes"]) or ["  no change: the cluster has all of it already"]
    lines += [f"{title}: {words}" for title, words in _facts(plan)]
    gates = closed([(gate["what"], gate["why"]) for gate in plan["gates"]])
    counts = f"{plan['add']} to add, {plan['change']} to change, {plan['remove']} to remove."
    lines.append(f"Plan: {counts}{gates} {plan['digest'][:19]}")
    return "\n".join(map(one_line, lines))


def _changes(changes: Sequence[dict[str, Any]]) -> list[str]:
    rows = []
    for one in changes:
        subject = " / ".join(filter(None, (one["application"], one["deployment"]))) or "(cluster)"
        effect = f"{one['effect']} ({one['note']})" if one["note"] else one["effect"]
        rows.append((f"{one['sign']} {subject}", one["option"] or "", one["change"] or "", effect))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return [
        "  " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    ]


def _facts(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from deployer.core.capacity import Need
    from deployer.core.planning import Duration

    for one in plan["availability"]:
        yield "Availability", " ".join(filter(None, (one["message"], one["message_failed"])))
    if (capacity := plan["capacity"]) is not None:
        needs = [
            Need(resource=need["resource"], needed=need["needed"], free=need["free"])
            for need in capacity["needs"]
        ]
        told = ", ".join(map(str, needs)) or "nothing beyond what runs"
        notes = f" ({'; '.join(capacity['notes'])})" if capacity["notes"] else ""
        yield "Capacity", f"{capacity['verdict']}: {told}{notes}."
    if (took := plan["duration"]) is not None:
        duration = Duration(
            shortest=took["shortest_seconds"], longest=took["longest_seconds"], deploys=took["deploys"]
        )
        yield "Duration", f"{duration}."
    if (back := plan["way_back"]) is not None:
        to = f"to {back['to']}, " if back["to"] else ""
        yield "Way back", f"{back['state']} ({to}{'; '.join(back['reasons'])})."
    if plan["drift"] is not None:
        yield "Drift", plan["drift"]
    for gate in plan["gates"]:
        yield f"Gate {gate['what']}", gate["why"]
    for remark in plan["remarks"]:
        yield "Note", remark
