"""`deployer run`: the daemon in the foreground, as systemd starts it."""

from __future__ import annotations

import sys

import click

from deployer import logs
from deployer.adapters.statedir import StateDirBusy, StateDirUnusable
from deployer.adapters.store import StoreCorrupt, StoreUnavailable
from deployer.cli import context
from deployer.cli.daemon import running, stop_on_signals
from deployer.cli.main import Failure, common_options


@click.command()
@common_options
@click.pass_context
def command(ctx: click.Context, config: str | None, output: str | None) -> None:  # noqa: ARG001 - read from ctx
    """Run the daemon until SIGTERM or Ctrl-C.

    Prints one line `ready` on stdout once the first pass of every environment has been scheduled; the log
    goes to stderr. A rollout that a stop cuts off goes on at the next start.
    """
    settings = context.settings(ctx, check_files=True)
    logs.configure(sys.stderr, json=settings.log.json_or_none, level=settings.log.level)
    try:
        with running(settings) as controller:
            stop_on_signals(controller)
            click.echo("ready")
            controller.run_until_stopped()
    except (StateDirBusy, StateDirUnusable, StoreUnavailable, StoreCorrupt) as error:
        raise Failure(str(error)) from error
