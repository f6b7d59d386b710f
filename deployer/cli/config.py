"""`deployer config show|validate|schema`: the settings in effect, whether they are right, what they may be.

Owns how they are shown. Must not know what a setting means. Invariant: nothing is changed, and no secret is
shown: the settings hold names of files alone, and those files are not read here.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import context
from deployer.cli.main import Exit, common_options, option
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from deployer.core.errors import Problem


@click.group()
@common_options
def command(config: str | None, output: str | None) -> None:
    """Show and check the settings of the daemon (deployer.yaml)."""


@command.command("show")
@common_options
@click.pass_context
def show(ctx: click.Context, config: str | None, output: str | None) -> None:  # noqa: ARG001 - read from ctx
    """Show every setting as it is in effect, and where it came from: a line, a variable, or the default."""
    from deployer.settings import explained

    settings = context.settings(ctx)
    found = explained(settings, _path(ctx), os.environ)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit([{"key": one.key, "value": one.value, "origin": one.origin} for one in found], form)
        return
    rows = [(one.key, _value(one.value), one.origin) for one in found]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for key, value, origin in rows:
        click.echo(plain(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}"))


@command.command("validate")
@click.option(
    "--no-files", is_flag=True, help="Do not look at the files that it names: they may be the daemon's."
)
@common_options
@click.pass_context
def validate(
    ctx: click.Context,
    *,
    no_files: bool,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Check the settings as the daemon does at its start: exit code 3, and every problem, if any is there.

    Also whether the files that they name are there, and nobody else can read them: type it as the daemon's
    user.
    """
    from deployer.core.errors import InvalidConfig
    from deployer.settings import candidates, load

    files = candidates(_path(ctx), os.environ)
    file = next((one for one in files if one.is_file()), files[0])
    problems: tuple[Problem, ...] = ()
    summary = ""
    try:
        settings = load(_path(ctx), os.environ, check_files=not no_files)
        if not no_files and any(one.apprise is not None for one in settings.notify.values()):
            from deployer.cli.targets import check_places

            check_places(settings, str(file))
        counts = (
            _count(len(settings.environments), "environment"),
            _count(len(settings.repositories), "repositor"),
        )
        summary = f"{file}: valid: {' and '.join(counts)}."
    except InvalidConfig as error:
        problems = error.problems
        summary = str(error)
    form = option(ctx, "output") or "table"
    if form != "table":
        told = {"file": str(file), "valid": not problems, "problems": [_problem(one) for one in problems]}
        context.emit(told, form)
    else:
        click.echo(plain(summary))
    ctx.exit(Exit.INVALID_CONFIG if problems else Exit.OK)


@command.command("schema")
@common_options
@click.pass_context
def schema(ctx: click.Context, config: str | None, output: str | None) -> None:  # noqa: ARG001 - read from ctx
    """Print the JSON Schema of the settings: the same as `deployer schema settings`."""
    from deployer.cli.schema import as_text, settings

    is_yaml = option(ctx, "output") == "yaml"
    click.echo(context.as_yaml(settings()) if is_yaml else as_text(settings()), nl=False)


def _path(ctx: click.Context) -> Path | None:
    given = option(ctx, "config")
    return Path(given) if given else None


def _value(value: Any) -> str:  # noqa: ANN401 - of any setting
    match value:
        case None:
            return "-"
        case bool():
            return str(value).lower()
        case list():
            return ", ".join(map(str, value)) or "-"
        case _:
            return str(value)


def _count(number: int, of: str) -> str:
    one, more = ("y", "ies") if of.endswith("or") else ("", "s")
    return f"{number} {of}{one if number == 1 else more}"


def _problem(problem: Problem) -> dict[str, Any]:
    """As `deployer validate -o json` has it."""
    return {
        "file": plain(problem.file),
        "line": problem.line or None,
        "column": problem.column or None,
        "message": plain(problem.message),
    }
