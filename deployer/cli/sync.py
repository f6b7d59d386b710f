"""`deployer sync`: look at git now, and deploy where that waits for it; with --wait, until it has ended.

What is waited for is that git's newest commit is good, or certainly will not be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deployer.cli import client, completing, waiting
from deployer.cli.client import Duration, of_a_start, say, skipping, writing
from deployer.cli.main import common_options
from deployer.cli.patience import end, wait

if TYPE_CHECKING:
    from deployer.cli.waiting import Ending


@click.command()
@click.argument("environment", shell_complete=completing.environments)
@click.option(
    "--wait", "is_waiting", is_flag=True, help="Return when git's newest commit is good, or cannot be."
)
@click.option(
    "--timeout", type=Duration(), default="30m", show_default=True, help="How long to wait at most."
)
@click.option(
    "--digest",
    metavar="DIGEST",
    help="Only if git wants this config: `config_digest` of `deployer plan -o json`. Default: any.",
)
@skipping
@writing
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str,
    is_waiting: bool,  # noqa: FBT001 - click passes a flag as a boolean
    timeout: float,
    digest: str | None,
    skip: tuple[str, ...],
    reason: str,
    dry_run: bool,  # noqa: FBT001 - as above
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Look at git, then at ENVIRONMENT, without waiting for the next poll.

    Where sync is manual, what git wants now is deployed; look at it with `deployer plan` before. --skip
    deploys it also with a gate closed, which takes the right to administer, and --reason. --digest makes sure
    that it is what was looked at.

    With --wait, made for CI: progress on stderr (live at a terminal), the ending on stdout, and in the exit
    code: 0 good, 4 failed and rolled back, 5 the rollback failed too, 6 superseded or timed out, 7 held,
    paused or waiting for a gate, 3 not valid.
    """
    daemon = client.daemon(ctx, environment)
    order: dict[str, Any] = {"reason": reason, "dry_run": dry_run}
    if digest is not None:
        order["digest"] = digest
    if skip:
        order["skip"] = list(skip)
    answer = daemon.post(environment, "sync", order)
    if dry_run or not is_waiting:
        say(ctx, answer)
        return
    sync = waiting.Sync.of(answer)

    def ending(state: dict[str, Any]) -> Ending | None:
        if not sync.is_answered_by(state):
            sync.ask_again(of_a_start(state))
            return None
        return sync.ending(state)

    end(ctx, environment, wait(daemon, environment, ending, timeout_seconds=timeout))
