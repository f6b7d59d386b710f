"""`deployer stats`: how often, how fast, how well, from the history; also while the daemon is down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import client, completing, context, server
from deployer.cli.main import common_options, option
from deployer.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.adapters.store import SqlReader
    from deployer.core.history import Entry

_PAGE = 200
"""Rollouts read at a time: a month of most environments."""

_LONGEST_DAYS = 3650


@click.command()
@click.argument("environment", required=False, shell_complete=completing.environments)
@click.option(
    "--days",
    type=click.IntRange(min=1, max=_LONGEST_DAYS),
    default=30,
    show_default=True,
    help="How many days back.",
)
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str | None,
    days: int,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Show the four DORA numbers of every environment (or of ENVIRONMENT).

    Deployment frequency, lead time from the commit, change failure rate and time to restore; only deploys
    count, not what the daemon does to keep or bring back what was live. docs/metrics.md has the definitions.
    """
    named = server.named(ctx)
    if named is not None:
        stats = client.Daemon.at(named).read("/stats", environment=environment, days=days)["items"]
    else:
        stats = _here(ctx, environment, days)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(stats, form)
        return
    print_table(
        ("ENV", "DEPLOYS", "PER DAY", "LEAD TIME", "P90", "FAILED", "RATE", "RESTORED IN", "P90"),
        [_row(one) for one in stats],
    )
    open_ = {one["environment"]: one["time_to_restore"]["not_restored"] for one in stats}
    for name, count in open_.items():
        if count:
            click.echo(f"{name}: {count} failed and nothing has been good since: deployer status {name}")
    click.echo(f"Of the last {days} days. Medians; '-' where there was nothing to measure.", err=True)


def _here(ctx: click.Context, environment: str | None, days: int) -> list[dict[str, Any]]:
    """From the store of this machine's daemon."""
    settings = context.settings(ctx)
    names = [context.known_environment(settings, environment)] if environment else [*settings.environments]
    now = datetime.now(UTC)
    with context.reading(settings) as store:
        return [_of(store, name, now, days) for name in names]


def _of(store: SqlReader, environment: str, now: datetime, days: int) -> dict[str, Any]:
    from deployer.core import dora

    def page(before: str | None) -> Sequence[Entry]:
        return store.history(environment, limit=_PAGE, before=before)

    entries = dora.gather(page, begin=now - timedelta(days=days))
    return {"environment": environment, **dora.numbers(entries, now=now, days=days)}


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    frequency, lead = one["deployment_frequency"], one["lead_time"]
    failures, restore = one["change_failure_rate"], one["time_to_restore"]
    failed = failures["failed"] + failures["rolled_back_by_hand"]
    return (
        one["environment"],
        str(frequency["deploys"]),
        f"{frequency['per_day']:.2f}",
        _took(lead["median_seconds"]),
        _took(lead["p90_seconds"]),
        f"{failed} of {failures['deploys']}",
        "-" if failures["ratio"] is None else f"{failures['ratio']:.0%}",
        _took(restore["median_seconds"]),
        _took(restore["p90_seconds"]),
    )


def _took(seconds: float | None) -> str:
    from deployer.core import sentences

    return "-" if seconds is None else sentences.took(timedelta(seconds=seconds))
