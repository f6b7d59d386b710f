"""`deployer audit`: what happened, from the log; its subcommands but for `list` have modules of their own.

Owns which events are listed, and how. Must not read the store itself, nor judge a log. Invariant: what is
listed is what the log says, newest first.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from deployer.cli import (
    audit_checkpoint,
    audit_export,
    audit_log,
    audit_options,
    audit_seal,
    audit_show,
    audit_verify,
    context,
)
from deployer.cli.audit_log import Wish
from deployer.cli.main import common_options, option
from deployer.cli.tables import ago, print_table


@click.group()
@common_options
def command(config: str | None, output: str | None) -> None:
    """List what happened, export it, and verify that nobody changed the log of it."""


command.add_command(audit_checkpoint.command)
command.add_command(audit_export.command)
command.add_command(audit_seal.command)
command.add_command(audit_show.show)
command.add_command(audit_verify.command)


@command.command("list")
@audit_options.filtered
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many.")
@common_options
@click.pass_context
def list_(
    ctx: click.Context,
    /,
    limit: int,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
    **filters: Any,  # noqa: ANN401 - as `Wish` has them
) -> None:
    """List what happened, newest first."""
    wish = Wish(**filters)
    with audit_log.opened(ctx, wish.environment) as log:
        items = log.last(wish, limit)
        if not items and wish.environment is not None:
            # Or else it is one that the settings do not have any more.
            log.require(wish.environment)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(items, form)
        return
    if not items:
        click.echo("Nothing like that has happened.", err=True)
        return
    now = datetime.now(UTC)
    print_table(
        ("ID", "ENV", "SEQUENCE", "WHEN", "TYPE", "ACTOR", "WHAT", "REASON"),
        [_row(item, now) for item in items],
    )


def _row(item: dict[str, Any], now: datetime) -> tuple[str, ...]:
    return (
        str(item["id"]),
        item["environment"],
        str(item["sequence"]),
        f"{ago(item['at'], now)} ago",
        item["type"],
        item["actor"].partition(" <")[0],
        item["says"],
        item["reason"],
    )
