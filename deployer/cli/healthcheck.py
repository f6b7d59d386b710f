"""`deployer healthcheck`: is the daemon well? For a container's HEALTHCHECK, and for a monitor.

Owns the line and the exit code. Must not know what makes a daemon well: it says so itself. Invariant: one
line on stdout, whatever happens, within the time-out and a little; and no token is sent.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import click

from deployer.cli import client, context
from deployer.cli.client import Duration
from deployer.cli.main import Exit, Failure, InvalidSettings, common_options, option
from deployer.core.scrub import plain


@click.command()
@click.option(
    "--timeout", type=Duration(), default="5s", show_default=True, help="How long to wait for each answer."
)
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    timeout: float,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Ask the daemon whether it answers (/healthz) and can do its work (/readyz).

    Exit code 0 if both, else 1.
    """
    if timeout <= 0:
        message = "--timeout must be longer than 0s."
        raise click.UsageError(message)
    told = _ask(ctx, timeout)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(told, form)
    else:
        click.echo(told["message"])
    ctx.exit(Exit.OK if told["ready"] else Exit.FAILED)


def _ask(ctx: click.Context, seconds: float) -> dict[str, Any]:
    told: dict[str, Any] = {"url": None, "healthy": False, "ready": False, "message": ""}
    try:
        daemon = client.daemon(ctx)
        for key, path in (("healthy", "/healthz"), ("ready", "/readyz")):
            status, content = daemon.peek(path, seconds)
            told["url"] = daemon.url
            if status != HTTPStatus.OK:
                told["message"] = f"not well: {daemon.url}{path}: {_why(status, content)}"
                return told
            told[key] = True
    except InvalidSettings:
        # Every problem of the file, with its place: more than a line, and not the daemon's.
        raise
    except Failure as error:
        told["message"] = f"not well: {' '.join(error.message.split())}"
        return told
    told["message"] = f"ok: {daemon.url} answers and is ready"
    return told


def _why(status: int, content: Any) -> str:  # noqa: ANN401 - JSON of whoever answers
    if isinstance(content, dict) and isinstance(content.get("detail"), str):
        return " ".join(plain(content["detail"]).split())
    return f"HTTP {status}"
