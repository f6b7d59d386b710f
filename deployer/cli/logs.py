"""`deployer logs`: the ends of the logs of an environment's replicas, read through Ray."""

from __future__ import annotations

from typing import Any

import click

from deployer.cli import context
from deployer.cli.client import Daemon
from deployer.cli.main import common_options, option
from deployer.core.scrub import plain


@click.command()
@click.argument("environment")
@click.argument("app", required=False)
@click.option("-n", "--lines", type=click.IntRange(min=1), default=50, show_default=True, help="Of each log.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str,
    app: str | None,
    lines: int,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Show the logs of the replicas of ENVIRONMENT (or of its application APP), those that fail first.

    With them comes the log that was kept when a replica last made a rollout fail.
    """
    settings = context.settings(ctx)
    context.known_environment(settings, environment)
    query = {"app": app} if app is not None else {}
    found = Daemon(settings).get(environment, "logs", **query)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(found, form)
        return
    kept = found["failed"]
    if kept is not None:
        _print(f"{kept['rollout']} failed: {kept['replica']}, as kept then", kept["text"], lines)
    for one in found["logs"]:
        title = f"{one['app']} / {one['deployment']} / {one['replica']} ({one['state']})"
        _print(title, one["error"] or one["text"], lines)
    if not found["logs"]:
        click.echo("No replica has a log now.", err=True)
    if found["left_out"]:
        click.echo(f"{found['left_out']} more replicas were left out: name an application.", err=True)


def _print(title: str, text: Any, lines: int) -> None:  # noqa: ANN401 - from JSON
    click.echo(f"==> {title} <==")
    for line in plain(str(text)).splitlines()[-lines:]:
        click.echo(line)
    click.echo()
