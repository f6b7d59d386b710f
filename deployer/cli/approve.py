"""`deployer approve`: say that what git wants may be deployed, for what its plan says and no more."""

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
    """Approve what a deploy to ENVIRONMENT would do: its plan is shown first.

    The approval is for that plan: when a deploy would do something else, it counts no more. It needs a token
    of your own (--token-file), since nobody approves their own changes. Afterwards it says what is missing.
    """
    order = {"reason": reason, "dry_run": dry_run}
    opinion.give(ctx, "approve", environment, order, plan)
