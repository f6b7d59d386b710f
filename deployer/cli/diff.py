"""`deployer diff`: what differs between two of a ref, a release, the cluster, a file."""

from __future__ import annotations

import click

from deployer.adapters import schemas
from deployer.cli import completing, context, plan_page
from deployer.cli.desk import Desk
from deployer.cli.main import Exit, common_options, option
from deployer.core import plan_json
from deployer.core.diff import diff
from deployer.core.live import Live
from deployer.engine.planner import LIVE


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "-e",
    "--environment",
    metavar="ENV",
    shell_complete=completing.environments,
    help="Whose refs, releases and cluster are meant.",
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if they differ.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    a: str,
    b: str,
    environment: str | None,
    *,
    detailed_exitcode: bool,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Show what would change on a cluster that has A if it got B.

    Each is written [ENV@]WHAT: `live` for the cluster; the path of a folder or file; a good release, as
    `rollback --to` takes it; or a branch, a tag or a commit. `deployer diff staging@live staging@main`
    """
    settings = context.settings_if_any(ctx)
    if environment is not None:
        context.known_environment(context.settings(ctx), environment)
    with Desk(settings) as desk:
        for name in (a, b):
            # First: the schema that a ref is read with is that of the cluster's Ray.
            if name.rpartition("@")[2] == LIVE:
                desk.side(name, environment)
        one, other = desk.side(a, environment), desk.side(b, environment)
        seen = [each.ray_version for each in desk.observations if isinstance(each, Live)]
    found = diff(one.body, other.body, seen[0] if seen else schemas.NEWEST)
    form = option(ctx, "output") or "table"
    if form == "table":
        click.echo(f"{one.label}  ->  {other.label}")
        click.echo("\n".join(plan_page.lines_of(found)) if found.lines else "  no difference")
    else:
        context.emit(plan_json.changes(found), form)
    if detailed_exitcode and found.lines:
        ctx.exit(Exit.CHANGES)
