"""`deployer logs`: the ends of the logs of an environment's replicas, read through Ray.

With them comes what was kept of a replica that failed. It is in the store, and so there when it is needed
most: while the cluster cannot be seen, or the daemon is down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from deployer.cli import client, completing, context, reads, server
from deployer.cli.client import Daemon
from deployer.cli.main import Exit, Failure, common_options, option
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from deployer.cli.server import Server

_ROLLOUTS = 10
"""The newest ones, among which a kept log is looked for."""


@click.command()
@click.argument("environment", shell_complete=completing.environments)
@click.argument("app", required=False, shell_complete=completing.applications)
@click.option("-n", "--lines", type=click.IntRange(min=1), default=50, show_default=True, help="Of each log.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    environment: str,
    app: str | None,
    lines: int,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Show the logs of the replicas of ENVIRONMENT (or of its application APP), those that fail first.

    With them comes the log that was kept when a replica last made a rollout fail.
    """
    daemon = client.daemon(ctx, environment)
    query = {"app": app} if app is not None else {}
    failure, found = None, {"environment": environment, "logs": [], "left_out": 0}
    try:
        found = daemon.get(environment, "logs", **query)
    except Failure as error:
        # What is wrong with the question, or who may not ask, gets no answer from the store either.
        if error.exit_code != Exit.FAILED:
            raise
        failure = error
    named = server.named(ctx)
    kept = _kept(ctx, environment, app) if named is None else _kept_there(named, environment, app)
    found = {**found, "failed": kept, "error": failure and failure.message}
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(found, form)
    else:
        _print_all(found, lines)
    if failure is not None:
        raise failure


def _kept(ctx: click.Context, environment: str, app: str | None) -> dict[str, Any] | None:
    """The log that was kept when a replica last made a rollout fail; Ray may not have it any more."""
    try:
        with context.reading(context.settings(ctx)) as store:
            entries = store.history(environment, limit=_ROLLOUTS)
    except Failure:
        # `deployer status` says what is wrong with it. The logs that there are can be shown all the same.
        return None
    for entry in entries:
        failure = entry.failure
        if failure is None or failure.log is None or not entry.log:
            continue
        if _is_of(app, failure.message):
            return {"rollout": entry.id, "replica": failure.log.replica, "text": entry.log}
    return None


def _kept_there(named: Server, environment: str, app: str | None) -> dict[str, Any] | None:
    """The same, of a daemon that was named."""
    try:
        source = reads.FromApi(Daemon.at(named))
        entries = source.history(reads.Wish(environment=environment, result="failed"), _ROLLOUTS)
        for entry in entries:
            if not _is_of(app, entry["failure"]["message"]):
                continue
            if text := source.rollout(entry["id"])["log"]:
                # Whose it is stands in the text alone.
                return {"rollout": entry["id"], "replica": None, "text": text}
    except Failure:
        # What is wrong with the daemon was said when it was asked for the logs.
        pass
    return None


def _is_of(app: str | None, message: str) -> bool:
    """Whether a failure is that of an application: its sentence begins with it, and its deployment."""
    return app is None or message.startswith(f"{app} / ")


def _print_all(found: dict[str, Any], lines: int) -> None:
    kept = found["failed"]
    if kept is not None:
        _print(
            f"{kept['rollout']} failed: {kept['replica'] or 'a replica'}, as kept then", kept["text"], lines
        )
    for one in found["logs"]:
        title = f"{one['app']} / {one['deployment']} / {one['replica']} ({one['state']})"
        _print(title, one["error"] or one["text"], lines)
    if not found["logs"] and found["error"] is None:
        click.echo("No replica has a log now.", err=True)
    if found["left_out"]:
        click.echo(f"{found['left_out']} more replicas were left out: name an application.", err=True)


def _print(title: str, text: Any, lines: int) -> None:  # noqa: ANN401 - from JSON
    click.echo(f"==> {' '.join(plain(title).split())} <==")
    for line in plain(str(text)).splitlines()[-lines:]:
        click.echo(line)
    click.echo()
