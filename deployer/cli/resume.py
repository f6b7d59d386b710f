"""`deployer resume`: let the automation of a paused environment go on."""

from __future__ import annotations

import click

from deployer.cli import context
from deployer.cli.client import Daemon, say, writing
from deployer.cli.main import common_options


@click.command()
@click.argument("environment")
@writing
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str,
    reason: str,
    dry_run: bool,  # noqa: FBT001 - click passes a flag as a boolean
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Let the automation of ENVIRONMENT go on, after `deployer pause`."""
    settings = context.settings(ctx)
    context.known_environment(settings, environment)
    say(ctx, Daemon(settings).post(environment, "resume", {"reason": reason, "dry_run": dry_run}))
