"""`deployer status`: what every environment runs, and why.

Reads what the daemon published last, so it works while the daemon is down (and says that it is).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from deployer.adapters import statedir
from deployer.cli import context
from deployer.cli.main import common_options, option
from deployer.cli.tables import ago, print_table, short
from deployer.core.scrub import plain
from deployer.core.times import timestamp

_FRESH_SECONDS = 60.0
"""A running daemon looks at an idle cluster every 15 s; what is older than four looks is worth a warning."""


@click.command()
@click.argument("environment", required=False)
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str | None,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Show what every environment (or ENVIRONMENT) runs, and why."""
    settings = context.settings(ctx)
    names = [context.known_environment(settings, environment)] if environment else list(settings.environments)
    now = datetime.now(UTC)
    with context.reading(settings) as store:
        views = store.views()
        is_running = statedir.holder(settings.state_dir) is not None
    states = [
        {**views[name][1], "observed_at": timestamp(views[name][0])} if name in views else _never_seen(name)
        for name in names
    ]
    hint = _staleness(states, now, is_running=is_running)
    form = option(ctx, "output") or "table"
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


def _never_seen(name: str) -> dict[str, Any]:
    return {
        "environment": name,
        "sequence": 0,
        "sync": "Unknown",
        "health": "Unknown",
        "mode": "auto",
        "message": "The daemon has not looked at this environment yet.",
        "since": None,
        "live": None,
        "wanted": None,
        "rollout": None,
        "held": [],
        "paused": None,
        "drift": None,
        "starved": None,
        "last_failure": None,
        "git": {"seen_at": None, "trouble": None},
        "policy": None,
        "apps": [],
        "foreign": [],
        "cluster": None,
        "observed_at": None,
    }


def _staleness(states: list[dict[str, Any]], now: datetime, *, is_running: bool) -> str:
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
