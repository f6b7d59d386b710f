"""`deployer audit list|export|verify`: what happened, from the log, and whether anybody changed that log.

Owns which events are shown, and how. Must not judge a log: the store does. Invariant: `verify` reads the
whole log of each environment from the store itself, never from what a daemon says of it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import audit_export, audit_log, audit_options, audit_show, context, server
from deployer.cli.audit_log import Wish
from deployer.cli.main import Exit, common_options, option
from deployer.cli.tables import ago, print_table

if TYPE_CHECKING:
    from deployer.adapters.store import SqlReader


@click.group()
@common_options
def command(config: str | None, output: str | None) -> None:
    """List what happened, export it, and verify that nobody changed the log of it."""


command.add_command(audit_export.command)
command.add_command(audit_show.show)


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


@command.command("verify")
@common_options
@click.pass_context
def verify(ctx: click.Context, config: str | None, output: str | None) -> None:  # noqa: ARG001 - read from ctx
    """Verify each log from its first event on: exit code 1 if one was changed."""
    if server.named(ctx) is not None:
        message = (
            "`deployer audit verify` takes no --server (nor $DEPLOYER_SERVER): it reads the store itself,"
            " so type it on the daemon's machine."
        )
        raise click.UsageError(message)
    settings = context.settings(ctx)
    with context.reading(settings) as store:
        # Also those that the settings do not have any more: what happened there stays. And the daemon's own.
        names = dict.fromkeys((*settings.environments, *store.logs()))
        found = [_verified(store, name) for name in names]
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(found, form)
    else:
        for one in found:
            click.echo(f"{one['environment']}: {one['message']}")
    ctx.exit(Exit.OK if all(one["intact"] for one in found) else Exit.FAILED)


def _verified(store: SqlReader, environment: str) -> dict[str, Any]:
    first = store.verify(environment)
    message = "the log is as it was written"
    if first is not None:
        what = f"event {first} is not as it was written, or is missing"
        message = f"{what}: keep a copy of the store, and restore a backup"
    return {"environment": environment, "intact": first is None, "first_bad": first, "message": f"{message}."}


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
