"""`deployer render`: the config of an environment as it would be sent."""

from __future__ import annotations

import json

import click
import yaml

from deployer.cli import context
from deployer.cli.desk import Desk
from deployer.cli.main import common_options, option
from deployer.core.redact import mask
from deployer.core.scrub import plain, scrub


@click.command()
@click.argument("environment", metavar="[ENV@]WHAT")
@click.option("--ref", metavar="REF", help="At this branch, tag or commit. Default: the branch it follows.")
@click.option("--show-secrets", is_flag=True, help="Do not mask env_vars and what is named like a secret.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str,
    ref: str | None,
    *,
    show_secrets: bool,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Print the config of ENV as it would be sent: resolved, in the multi-application form, sorted.

    Also of any WHAT that `deployer diff` takes. Values of env_vars, and of what is named like a secret, are
    masked unless --show-secrets is given.
    """
    settings = context.settings_if_any(ctx)
    with Desk(settings) as desk:
        if settings is not None and environment in settings.environments:
            side = desk.ref(environment, ref)
        else:
            if ref is not None:
                context.known_environment(context.settings(ctx), environment)
            side = desk.side(environment, None)
    for note in side.notes:
        click.echo(f"note: {note}", err=True)
    body = side.body if show_secrets else mask(side.body, lambda text: scrub(text, frozenset()))
    if option(ctx, "output") == "json":
        click.echo(json.dumps(body, indent=2, ensure_ascii=False))
        return
    if side.release is not None:
        click.echo(f"# {plain(side.label)}, {side.release.digest}")
    click.echo(plain(yaml.safe_dump(body, sort_keys=True, allow_unicode=True)), nl=False)
