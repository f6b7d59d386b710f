"""`deployer live`: what the cluster last received, as Serve tells it now."""

from __future__ import annotations

from typing import Any

import click

from deployer.cli import client, completing, context
from deployer.cli.main import common_options, option
from deployer.core.scrub import plain


@click.command()
@click.argument("environment", shell_complete=completing.environments)
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
    live = client.daemon(ctx, environment).get(environment, "live")
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(live, form)
        return
    import yaml

    serve = "" if live["serve_started"] else ", Serve is not started"
    about = f"# {environment}: Ray {live['ray_version']}{serve}, session {live['session'] or 'not told'}"
    click.echo(_one_line(about))
    if live["foreign"]:
        click.echo(_one_line(f"# Also there, and not this environment's: {', '.join(live['foreign'])}"))
    for app in live["apps"]:
        click.echo(f"\n{_about(app)}")
        if app["config"] is not None:
            click.echo(plain(yaml.safe_dump([app["config"]], sort_keys=False, allow_unicode=True)), nl=False)
    if not live["apps"]:
        click.echo("\n# It runs no application of this environment.")


def _about(app: dict[str, Any]) -> str:
    how = "" if app["config"] is not None else ": no config (started with `serve run`, or left half applied)"
    return _one_line(f"# {app['name']} is {app['status']}{how}")


def _one_line(text: str) -> str:
    """Harmless: names on a cluster can be anything."""
    return " ".join(plain(text).split())
