"""`deployer plan`: what a deploy would do, before the merge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deployer.cli import completing, context, server
from deployer.cli.main import Exit, common_options, option

if TYPE_CHECKING:
    from deployer.core.planning import Plan


@click.command()
@click.argument("environments", nargs=-1, metavar="ENV...", shell_complete=completing.environments)
@click.option("--ref", metavar="REF", help="Plan this branch, tag or commit. Default: the branch it follows.")
@click.option(
    "--from",
    "folder",
    type=click.Path(),
    help="Plan what is in this folder instead, such as a checkout of a pull request.",
)
@click.option(
    "--against",
    metavar="WHAT",
    help="live: what the cluster runs (default); release: the last good release, which asks no cluster; or a"
    " ref, a release or a file, as for `deployer diff`.",
)
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 if anything would change.")
@click.option("--format", "form", type=click.Choice(["text", "json", "markdown"]), help="How to print.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environments: tuple[str, ...],
    ref: str | None,
    folder: str | None,
    against: str | None,
    form: str | None,
    *,
    detailed_exitcode: bool,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Show what a deploy to each ENV would change, restart and need, and whether there is a way back.

    Nothing is changed anywhere. It works without the daemon; what the daemon knows (history, what is held) is
    read from its store. With --server it is the plan of that daemon, for what git wants.
    """
    # Late, for a shell that completes a name waits for what stands above.
    from deployer.cli.desk import Desk
    from deployer.cli.plan_there import show
    from deployer.cli.planner import Comparison, plan
    from deployer.engine.planner import LIVE

    named = server.named(ctx)
    if named is not None:
        if ref is not None or folder is not None or against not in {None, LIVE}:
            message = "--ref, --from and --against are read on this machine: leave out --server."
            raise click.UsageError(message)
        told = form or option(ctx, "output") or "text"
        show(ctx, named, environments, told, detailed_exitcode=detailed_exitcode)
        return
    settings = context.settings(ctx)
    for name in environments:
        context.known_environment(settings, name)
    if not environments:
        message = f"Which environment? There are: {', '.join(settings.environments)}."
        raise click.UsageError(message)
    if ref is not None and folder is not None:
        message = "--ref and --from exclude each other: one names what is planned."
        raise click.UsageError(message)
    wish = Comparison(ref=ref, folder=folder, against=against or LIVE)
    with Desk(settings) as desk:
        plans = [plan(desk, name, wish) for name in environments]
    _print(plans, form or option(ctx, "output") or "text")
    if detailed_exitcode and any(one.has_changes for one in plans):
        ctx.exit(Exit.CHANGES)


def _print(plans: list[Plan], form: str) -> None:
    from deployer.cli import plan_markdown, plan_page
    from deployer.core import plan_json

    match form:
        case "json" | "yaml":
            context.emit([plan_json.to_json(one) for one in plans], form)
        case "markdown":
            click.echo(
                plan_markdown.markdown(
                    [plan_markdown.Part(environment=one.environment, plan=one) for one in plans]
                )
            )
        case _:
            click.echo("\n\n".join(plan_page.text(one) for one in plans))
