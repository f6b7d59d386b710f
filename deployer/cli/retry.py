"""`deployer retry`: try what git wants once more, although it is held, failed, or found no room."""

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
    """Try what git wants for ENVIRONMENT once more. Needs --reason.

    If it fails again, it is held again. `deployer sync ENVIRONMENT --wait` tells how it ends.
    """
    say(
        ctx,
        client.daemon(ctx, environment).post(environment, "retry", {"reason": reason, "dry_run": dry_run}),
    )
