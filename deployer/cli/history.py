"""`deployer history`: the rollouts, newest first; and what was live at a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import click

from deployer.cli import completing, context, moments, reads
from deployer.cli.main import common_options, option
from deployer.cli.tables import ago, print_table, short
from deployer.cli.when import When
from deployer.core.scrub import plain

_KINDS = ("deploy", "rollback", "restore", "heal")
"""`deployer.core.events.Kind`, whose import a shell that completes a name would wait for."""

_RESULTS = ("in_progress", "good", "failed", "superseded", "cancelled")
"""`deployer.core.record.Result`, likewise."""


@click.command()
@click.argument("environment", required=False, shell_complete=completing.environments)
@click.option("-n", "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@click.option("--kind", type=click.Choice(_KINDS), help="Only these.")
@click.option("--result", type=click.Choice(_RESULTS), help="Only those that ended so.")
@click.option("--since", type=When(), help="Only what began since: 2h (ago), 2026-11-23, or a full time.")
@click.option("--until", type=When(), help="Only what began before then.")
@click.option(
    "--author", metavar="NAME", help="Only commits of this author: `Ada`, or `Ada <ada@example.com>`."
)
@click.option(
    "--at",
    type=moments.AMoment(),
    help="What was live in ENVIRONMENT then, and who approved it: now, 2h (ago), 2026-11-03T14:00 (of this"
    " machine's zone), or a full time.",
)
@partial(common_options, more=("jsonl",))
@click.pass_context
def command(
    ctx: click.Context,
    environment: str | None,
    limit: int,
    kind: str | None,
    result: str | None,
    since: datetime | None,
    until: datetime | None,
    author: str | None,
    at: moments.Moment | None,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """List the rollouts of every environment (or of ENVIRONMENT), newest first; or tell what was live."""
    if at is not None:
        moments.show(ctx, environment, at)
        return
    wish = reads.Wish(
        environment=environment, kind=kind, result=result, since=since, until=until, author=author
    )
    with reads.opened(ctx, environment) as source:
        entries = source.history(wish, limit)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(entries, form)
        return
    if not entries:
        is_choosy = wish != reads.Wish(environment=environment)
        none = "No rollouts yet: nothing that can be deployed was pushed."
        click.echo("No rollout is like that." if is_choosy else none, err=True)
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
    from deployer.core import sentences

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
