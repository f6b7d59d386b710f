"""`deployer explain`: the policy line by line, which one decided, on what evidence, and when it looks again.

Reads what the daemon published last, so it works while the daemon is down (and says that it is).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from deployer.cli import completing, context, reads
from deployer.cli.main import Failure, common_options, option
from deployer.cli.tables import ago
from deployer.core.scrub import plain

_SIGNS = {"decided": "=>", "passed over": " -"}
"""By the marks of `core.explain`, whose import a shell that completes a name would wait for."""


@click.command()
@click.argument("environment", shell_complete=completing.environments)
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Show why ENVIRONMENT is as it is: which line of the policy decided, and on what evidence."""
    with reads.opened(ctx, environment) as source:
        told = source.explain(environment)
        is_running = source.is_running
    if told is None:
        message = f"The daemon has not looked at {environment} yet."
        raise Failure(message if is_running else f"{message} Start it with `deployer run`.")
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(told, form)
    else:
        _print(told)
    if not is_running:
        seen = ago(told["observed_at"], datetime.now(UTC))
        click.echo(
            f"The daemon is not running. This is what it saw {seen} ago. Start it with `deployer run`.",
            err=True,
        )


def _print(told: dict[str, Any]) -> None:
    click.echo(f"{told['environment']}: {plain(told['message'])}")
    click.echo(f"{told['sync']}, {told['health']}, {told['mode']}. {_again(told)}")
    click.echo("\nThe policy; the first line that fits decides (=>), those before it did not fit (-):")
    for line in told["policy"]:
        sign = _SIGNS.get(line["mark"], "  ")
        click.echo(plain(f"  {sign} {line['line']:>2}  {line['condition']} -> {line['consequence']}"))
    click.echo("\nThe evidence:")
    width = max(len(one["about"]) for one in told["evidence"])
    for one in told["evidence"]:
        click.echo(f"  {one['about']:<{width}}  {' '.join(plain(one['says']).split())}")


def _again(told: dict[str, Any]) -> str:
    seen = f"Seen at {told['observed_at']}"
    if told["looks_again_at"] is None:
        return f"{seen}; it looks again at once."
    return f"{seen}; it looks again by {told['looks_again_at']}, or when git or a person says something."
