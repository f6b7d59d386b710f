"""`deployer reject`: say that what git wants must not be deployed as it is."""

from __future__ import annotations

import click

from deployer.cli import opinion
from deployer.cli.client import writing
from deployer.cli.main import common_options


@click.command()
@opinion.of_a_plan
@writing
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str,
    plan: str | None,
    reason: str,
    dry_run: bool,  # noqa: FBT001 - click passes a flag as a boolean
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Reject what a deploy to ENVIRONMENT would do: its plan is shown first. Needs --reason.

    It is not deployed until another commit does something else, or who rejected it approves it after all. It
    needs a token of your own (--token-file), as `deployer approve` does.
    """
    order = {"reason": reason, "dry_run": dry_run}
    opinion.give(ctx, "reject", environment, order, plan)
