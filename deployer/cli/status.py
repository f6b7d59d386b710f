"""`deployer status`: what every environment runs, and why; with --watch, live.

Reads what the daemon published last, so it works while the daemon is down (and says that it is).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import click

from deployer.cli import completing, context, reads, views
from deployer.cli.client import NotNow
from deployer.cli.main import common_options, option
from deployer.cli.tables import ago, print_table, short
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.cli.reads import Reads
    from deployer.cli.views import View

_FRESH_SECONDS = 60.0
"""A running daemon looks at an idle cluster every 15 s; what is older than four looks is worth a warning."""

_WATCH_SECONDS = 1.0
"""Between two reads of all statuses, which take milliseconds. At a terminal the seconds should tick; the
daemon looks at a rollout every 0.25 s to 2 s."""


@click.command()
@click.argument("environment", required=False, shell_complete=completing.environments)
@click.option("-w", "--watch", is_flag=True, help="Go on showing it until Ctrl-C: live at a terminal.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str | None,
    *,
    watch: bool,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Show what every environment (or ENVIRONMENT) runs, and why.

    With --watch, off a terminal: one line for each change; with -o json one object in one line for each.
    """
    form = option(ctx, "output") or "table"
    with reads.opened(ctx, environment) as source:
        if watch:
            _watch(source, environment, form)
        states = source.statuses(environment)
        is_running = source.is_running
    now = datetime.now(UTC)
    hint = _staleness(states, now, is_running=is_running)
    if form != "table":
        context.emit(states, form)
    else:
        print_table(
            ("ENV", "SYNC", "HEALTH", "MODE", "REVISION", "APPS", "SINCE"),
            [_row(state, now) for state in states],
        )
        for state in states:
            click.echo(f"{state['environment']}: {plain(state['message'])}{_git(state, now)}")
    if hint:
        click.echo(hint, err=True)


def _watch(source: Reads, environment: str | None, form: str) -> NoReturn:
    """Show every change, until a person or a broken pipe ends it."""
    # Before anything is drawn: what cannot be read at all is an error, and not a moment's trouble.
    states = source.statuses(environment)
    if form != "table":
        _follow(source, environment, states, views.Records(form))
    with views.opened(err=False, rollouts=source.newest) as view:
        _follow(source, environment, states, view)


def _follow(source: Reads, environment: str | None, states: Sequence[dict[str, Any]], view: View) -> NoReturn:
    while True:
        try:
            view.show(states, _staleness(states, datetime.now(UTC), is_running=source.is_running))
            time.sleep(_WATCH_SECONDS)
            states = source.statuses(environment)
        except NotNow as error:
            view.trouble(error.message)
            time.sleep(_WATCH_SECONDS)


def _staleness(states: Sequence[dict[str, Any]], now: datetime, *, is_running: bool) -> str:
    """Say that the daemon is down, or behind: what is printed is then not the present."""
    times = [state["observed_at"] for state in states if state["observed_at"]]
    if not is_running:
        seen = f"This is what it saw {ago(max(times), now)} ago." if times else "It has seen nothing yet."
        return f"The daemon is not running. {seen} Start it with `deployer run`."
    late = [t for t in times if (now - datetime.fromisoformat(t)).total_seconds() > _FRESH_SECONDS]
    return (
        f"The oldest of these was seen {ago(min(late), now)} ago: the cluster may not answer." if late else ""
    )


def _git(state: dict[str, Any], now: datetime) -> str:
    """That git has not been seen for long, with the reason."""
    git = state.get("git") or {}
    if not git.get("trouble"):
        return ""
    seen = (
        f"Its head was last seen {ago(git['seen_at'], now)} ago" if git.get("seen_at") else "It was not seen"
    )
    return f" {seen}: {plain(git['trouble'])}."


def _mode(state: dict[str, Any]) -> str:
    """The mode, and what it is about: `held: rolled back from c0ffee1`."""
    if state["mode"] != "held":
        return str(state["mode"])
    what = "rolled back from" if state["live"] else "failed:"
    return f"held: {what} {short(state['wanted']['revision'])}"


def _row(state: dict[str, Any], now: datetime) -> tuple[str, ...]:
    shown = state["live"] or state["wanted"]
    apps = state["apps"]
    running = sum(app["status"] == "RUNNING" for app in apps)
    others = sorted({app["status"] for app in apps} - {"RUNNING"})
    return (
        state["environment"],
        state["sync"],
        state["health"],
        _mode(state),
        short(shown["revision"]) if shown else "-",
        f"{running}/{len(apps)} {' '.join(others) or 'RUNNING'}" if apps else "-",
        ago(state["since"], now) if state["since"] else "-",
    )
