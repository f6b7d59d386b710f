"""`deployer rollback`: go back to a good release, at once."""

from __future__ import annotations

import click

from deployer.cli import client, completing, waiting
from deployer.cli.client import Duration, say, writing
from deployer.cli.main import common_options
from deployer.cli.patience import end, wait
from deployer.core.scrub import plain


@click.command()
@click.argument("environment", shell_complete=completing.environments)
@click.option(
    "--to",
    metavar="RELEASE",
    shell_complete=completing.releases,
    help="A rollout that ended well (staging#3 or 3), the beginning of a commit, or a digest."
    " Default: the release before what runs, or before what is failing.",
)
@click.option("--wait", "is_waiting", is_flag=True, help="Return when the rollback has ended.")
@click.option(
    "--timeout", type=Duration(), default="30m", show_default=True, help="How long to wait at most."
)
@writing
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str,
    to: str | None,
    is_waiting: bool,  # noqa: FBT001 - click passes a flag as a boolean
    timeout: float,
    reason: str,
    dry_run: bool,  # noqa: FBT001 - as above
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Go back to a good release of ENVIRONMENT, whatever is in flight, also while it is paused.

    What git wants is held from then on, until git says something else; `deployer retry` undoes that.
    """
    daemon = client.daemon(ctx, environment)
    answer = daemon.post(environment, "rollback", {"to": to, "reason": reason, "dry_run": dry_run})
    if dry_run or not is_waiting:
        say(ctx, answer)
        return
    click.echo(plain(answer["message"]), err=True)
    asked = waiting.Rollback(
        target=answer["target"]["digest"],
        after=answer["after"],
        is_asked=bool(answer["events"]) or answer["under_way"],
    )
    end(ctx, environment, wait(daemon, environment, asked.ending, timeout_seconds=timeout))
