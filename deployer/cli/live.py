"""`deployer live`: what the cluster last received, as Serve tells it now."""

from __future__ import annotations

from typing import Any

import click
import yaml

from deployer.cli import context
from deployer.cli.client import Daemon
from deployer.cli.main import common_options, option
from deployer.core.scrub import plain


@click.command()
@click.argument("environment")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Show the config that the cluster of ENVIRONMENT last received for each of its applications.

    Values of env_vars, and of what is named like a secret, are masked. Needs the running daemon, which has
    the cluster's credentials.
    """
    settings = context.settings(ctx)
    context.known_environment(settings, environment)
    live = Daemon(settings).get(environment, "live")
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(live, form)
        return
    serve = "" if live["serve_started"] else ", Serve is not started"
    click.echo(f"# {environment}: Ray {live['ray_version']}{serve}, session {live['session'] or 'not told'}")
    if live["foreign"]:
        click.echo(f"# Also there, and not this environment's: {', '.join(live['foreign'])}")
    for app in live["apps"]:
        click.echo(f"\n{_about(app)}")
        if app["config"] is not None:
            click.echo(plain(yaml.safe_dump([app["config"]], sort_keys=False, allow_unicode=True)), nl=False)
    if not live["apps"]:
        click.echo("\n# It runs no application of this environment.")


def _about(app: dict[str, Any]) -> str:
    how = "" if app["config"] is not None else ": no config (started with `serve run`, or left half applied)"
    return f"# {app['name']} is {app['status']}{how}"
