"""Waits for an ending, telling what happens meanwhile.

Owns the polling, and the words at the end. Must not know what is waited for, nor how it is shown. Invariant:
it ends by its time-out, and a daemon that is restarted meanwhile is waited for too.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import context, views
from deployer.cli.client import NotNow
from deployer.cli.main import option
from deployer.cli.waiting import timed_out
from deployer.core.durations import render
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from deployer.cli.client import Daemon
    from deployer.cli.waiting import Ending

_POLL_SECONDS = 0.5
"""One read of the daemon's store. A rollout takes seconds to minutes; the daemon itself looks every 0.25 s
to 2 s meanwhile."""


def wait(
    daemon: Daemon,
    environment: str,
    ending: Callable[[dict[str, Any]], Ending | None],
    *,
    timeout_seconds: float,
) -> Ending:
    """Poll the status until `ending` finds one; that may ask the daemon something too.

    What happens meanwhile is shown on stderr.
    """
    deadline = time.monotonic() + timeout_seconds
    state: dict[str, Any] | None = None
    with views.opened(err=True) as view:
        while True:
            found = None
            try:
                state = daemon.poll(environment)
                found = ending(state)
                view.show([state])
            except NotNow as error:
                view.trouble(f"{environment}: {error.message}")
            if found is not None:
                return found
            if time.monotonic() >= deadline:
                return timed_out(state, render(timeout_seconds))
            time.sleep(_POLL_SECONDS)


def end(ctx: click.Context, environment: str, ending: Ending) -> None:
    """Print how it ended, and end the command with its exit code."""
    form = option(ctx, "output") or "table"
    if form == "table":
        click.echo(f"{environment}: {plain(ending.message)}")
    else:
        told = {
            "environment": environment,
            "outcome": ending.outcome,
            "message": ending.message,
            "rollout": ending.rollout,
            "exit_code": int(ending.exit_code),
        }
        context.emit(told, form)
    ctx.exit(ending.exit_code)
