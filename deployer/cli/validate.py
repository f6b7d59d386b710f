"""`deployer validate`: check configs before the merge, without a cluster and without Ray."""

from __future__ import annotations

import json
from pathlib import Path

import click

from deployer.cli import checking, context, reports
from deployer.cli.main import Exit, Failure, common_options, option


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option(
    "--format",
    "form",
    type=click.Choice(reports.FORMATS),
    help="How to print. github: annotations; gitlab: Code Quality; sarif and junit: for other tools.",
)
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
@click.option(
    "--ray-version",
    metavar="VERSION",
    help="Check against this Ray. Default: what environment.yaml says, else the newest that is known.",
)
@click.option(
    "--ray/--no-ray",
    "ask_ray",
    default=None,
    help="Ask Ray's own validator too (takes 2 s). Default: if Ray is installed, in the version checked for.",
)
@click.option("--output-file", type=click.Path(), help="Write there instead of to standard output.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    paths: tuple[str, ...],
    form: str | None,
    *,
    strict: bool,
    ray_version: str | None,
    ask_ray: bool | None,
    output_file: str | None,
    config: str | None,  # noqa: ARG001 - not needed: nothing here asks a daemon
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Check the configs in and below each PATH: an environment's folder, any folder above, or a file.

    Without a PATH it is `environments`, or else this folder. What has an error here is refused by the
    daemon. Warnings are lints: docs/lints.md says why, and how to silence one.
    """
    options = checking.Options(ray_version=ray_version, ask_ray=ask_ray)
    report = reports.Report(
        environments=tuple(checking.check(target, options) for target in checking.find(paths))
    )
    told = option(ctx, "output")
    text = reports.render(report, form or ("json" if told in {"json", "yaml"} else "text"))
    if form is None and told == "yaml":
        text = context.as_yaml(json.loads(text))
    if output_file is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        try:
            Path(output_file).write_text(text, encoding="utf-8")
        except OSError as error:
            message = f"{output_file} cannot be written: {error.strerror}."
            raise Failure(message) from error
    if report.errors or (strict and report.warnings):
        ctx.exit(Exit.INVALID_CONFIG)
