"""`deployer sync`: look at git now; with --wait, until its newest commit is good or certainly will not be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deployer.cli import context, waiting
from deployer.cli.client import Daemon, Duration, say, writing
from deployer.cli.main import common_options
from deployer.cli.patience import end, wait

if TYPE_CHECKING:
    from deployer.cli.waiting import Ending


@click.command()
@click.argument("environment")
@click.option(
    "--wait", "is_waiting", is_flag=True, help="Return when git's newest commit is good, or cannot be."
)
@click.option(
    "--timeout", type=Duration(), default="30m", show_default=True, help="How long to wait at most."
)
@writing
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str,
    is_waiting: bool,  # noqa: FBT001 - click passes a flag as a boolean
    timeout: float,
    reason: str,
    dry_run: bool,  # noqa: FBT001 - as above
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Look at git, then at ENVIRONMENT, without waiting for the next poll.

    With --wait, made for CI: progress on stderr, the ending on stdout, and in the exit code: 0 good, 4 failed
    and rolled back, 5 the rollback failed too, 6 superseded or timed out, 7 held or paused, 3 not valid.
    """
    settings = context.settings(ctx)
    context.known_environment(settings, environment)
    daemon = Daemon(settings)
    order = {"reason": reason, "dry_run": dry_run}
    answer = daemon.post(environment, "sync", order)
    if dry_run or not is_waiting:
        say(ctx, answer)
        return
    sync = waiting.Sync.of(answer)

    def ending(state: dict[str, Any]) -> Ending | None:
        if not sync.is_answered_by(state):
            sync.ask_again(daemon.post(environment, "sync", order))
            return None
        return sync.ending(state)

    end(ctx, environment, wait(daemon, environment, ending, timeout_seconds=timeout))
