"""`deployer resume`: let the automation of a paused environment go on."""

from __future__ import annotations

import click

from deployer.cli import client, completing
from deployer.cli.client import say, writing
from deployer.cli.main import common_options


@click.command()
@click.argument("environment", shell_complete=completing.environments)
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
    say(
        ctx,
        client.daemon(ctx, environment).post(environment, "resume", {"reason": reason, "dry_run": dry_run}),
    )
