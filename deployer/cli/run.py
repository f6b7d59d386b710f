"""`deployer run`: the daemon in the foreground, as systemd starts it."""

from __future__ import annotations

import gc
import os
import sys
from functools import partial
from pathlib import Path

import click

from deployer import logs
from deployer.adapters.admin_token import AdminTokenUnusable
from deployer.adapters.statedir import StateDirBusy, StateDirUnusable
from deployer.adapters.store import StoreCorrupt, StoreUnavailable
from deployer.cli import context
from deployer.cli.daemon import running, stop_on_signals
from deployer.cli.doctor import report
from deployer.cli.main import Exit, Failure, common_options, option
from deployer.cli.targets import check_places
from deployer.core.errors import InvalidConfig
from deployer.settings import candidates, explained


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
    named = option(ctx, "config")
    try:
        files = candidates(Path(named) if named else None, os.environ)
        check_places(settings, str(next((one for one in files if one.is_file()), files[0])))
        origins = explained(settings, Path(named) if named else None, os.environ)
        with running(settings, explained=origins, doctor=partial(report, settings, named)) as controller:
            stop_on_signals(controller)
            click.echo("ready")
            # What is there by now stays, modules most of all. Each full collection looked through it, which
            # held up every thread for 110 ms with 500 environments, and without it for 15 to 30 ms.
            gc.collect()
            gc.freeze()
            controller.run_until_stopped()
    except (StateDirBusy, StateDirUnusable, AdminTokenUnusable, StoreUnavailable, StoreCorrupt) as error:
        raise Failure(str(error)) from error
    except InvalidConfig as error:
        # Apprise cannot use an address, or the file was changed since it was read a moment ago.
        raise Failure(str(error), Exit.INVALID_CONFIG) from error
