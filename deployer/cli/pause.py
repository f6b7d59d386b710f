"""`deployer pause`: stop the automation of an environment, for a time or until `deployer resume`."""

from __future__ import annotations

import click

from deployer.cli import client, completing
from deployer.cli.client import Duration, say, writing
from deployer.cli.main import common_options


@click.command()
@click.argument("environment", shell_complete=completing.environments)
@click.option("--for", "seconds", type=Duration(), help="For how long, such as 2h; else until it is resumed.")
@writing
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str,
    seconds: float | None,
    reason: str,
    dry_run: bool,  # noqa: FBT001 - click passes a flag as a boolean
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Stop the automation of ENVIRONMENT: no deploys, no healing of drift. Needs --reason.

    What is in flight goes on to its end; a rollback, and a restore of what a new Ray head lost, still happen.
    """
    order = {"reason": reason, "dry_run": dry_run, "seconds": seconds}
    say(ctx, client.daemon(ctx, environment).post(environment, "pause", order))
