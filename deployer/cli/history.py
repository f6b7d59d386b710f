"""`deployer history`: the rollouts, newest first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from deployer.cli import context
from deployer.cli.main import common_options, option
from deployer.cli.tables import ago, print_table, short
from deployer.core import sentences
from deployer.core.history import to_json
from deployer.core.scrub import plain


@click.command()
@click.argument("environment", required=False)
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str | None,
    limit: int,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """List the rollouts of every environment (or of ENVIRONMENT), newest first."""
    settings = context.settings(ctx)
    if environment:
        context.known_environment(settings, environment)
    with context.reading(settings) as store:
        entries = [to_json(entry) for entry in store.history(environment, limit=limit)]
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(entries, form)
        return
    if not entries:
        click.echo("No rollouts yet: nothing that can be deployed was pushed.", err=True)
        return
    now = datetime.now(UTC)
    print_table(
        ("ID", "KIND", "RESULT", "REVISION", "SUBJECT", "AUTHOR", "TRIGGER", "STARTED", "TOOK"),
        [_row(entry, now) for entry in entries],
    )
    for entry in entries:
        if entry["failure"]:
            click.echo(f"{entry['id']}: {plain(entry['failure']['message'])}")


def _row(entry: dict[str, Any], now: datetime) -> tuple[str, ...]:
    release = entry["release"]
    result, took = entry["result"], entry["took_seconds"]
    if entry["followed_by"]:
        result = f"{result} -> {entry['followed_by']}"
    return (
        entry["id"],
        entry["kind"],
        result,
        short(release["revision"]),
        release["subject"],
        release["author"].partition(" <")[0],
        entry["trigger"],
        f"{ago(entry['started_at'], now)} ago",
        "-" if took is None else sentences.took(timedelta(seconds=took)),
    )
