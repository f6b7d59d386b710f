"""`deployer token create|list|revoke`: who else may do what.

Owns how tokens are shown. Must not decide who may have one: the daemon does. Invariant: a new token is on
stdout, alone and once, so that it can go into a file without anybody seeing it; everything else that is said
then is on stderr.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import click

from deployer.cli import client, completing, context
from deployer.cli.client import Duration
from deployer.cli.main import common_options, option
from deployer.cli.tables import ago, print_table
from deployer.core.scrub import plain
from deployer.core.tokens import Role

_ID = re.compile(r"[0-9a-f]{8}")


@click.group()
@common_options
def command(config: str | None, output: str | None) -> None:
    """Give others the right to look, deploy, approve or administer, and take it back."""


@command.command("create")
@click.argument("name")
@click.option(
    "--role",
    required=True,
    type=click.Choice([role.value for role in Role]),
    help="What it is for. Each may look as well; admin may do everything.",
)
@click.option(
    "-e",
    "--environment",
    "environments",
    metavar="ENV",
    multiple=True,
    shell_complete=completing.environments,
    help="Only for this environment; can be given again. Default: for all.",
)
@click.option("--expires", "seconds", type=Duration(), help="After so long, such as 90d. Default: never.")
@click.option("--reason", default="", help="Why, for the daemon's log.")
@common_options
@click.pass_context
def create(
    ctx: click.Context,
    name: str,
    role: str,
    environments: tuple[str, ...],
    seconds: float | None,
    reason: str,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Make a token for NAME, a person or a machine, and print it: this once, it is kept nowhere.

    To have it in a file that only you can read: (umask 077; deployer token create NAME --role ROLE > FILE).
    """
    order = {
        "name": name,
        "role": role,
        "environments": list(environments) or None,
        "seconds": seconds,
        "reason": reason,
    }
    made: dict[str, Any] = client.daemon(ctx).write("/tokens", order)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(made, form)
        return
    until = made["expires_at"] or "it is revoked"
    click.echo(
        f"Token {made['id']} of {plain(made['name'])}: {made['role']} in {_where(made)}, until {until}."
        f" `deployer token revoke {made['id']}` takes it back. This is the token; it is not shown again:",
        err=True,
    )
    click.echo(made["secret"])


@command.command("list")
@common_options
@click.pass_context
def list_(
    ctx: click.Context,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """List the tokens, also those that have expired or were revoked. None is shown itself."""
    found: list[dict[str, Any]] = client.daemon(ctx).read("/tokens")["items"]
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(found, form)
        return
    if not found:
        click.echo("No tokens yet: `deployer token create NAME --role viewer` makes one.", err=True)
        return
    now = datetime.now(UTC)
    print_table(
        ("ID", "NAME", "ROLE", "ENVIRONMENTS", "STATE", "CREATED", "BY", "EXPIRES", "LAST USED"),
        [_row(one, now) for one in found],
    )


@command.command("revoke")
@click.argument("token_id", metavar="ID")
@click.option("--reason", default="", help="Why, for the daemon's log.")
@common_options
@click.pass_context
def revoke(
    ctx: click.Context,
    token_id: str,
    reason: str,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Take back the token with this ID, as `deployer token list` shows it: at once, and for good."""
    if not _ID.fullmatch(token_id):
        message = (
            f"'{plain(token_id)}' is no ID of a token: `deployer token list` shows them, such as 3f2a9c1b."
        )
        raise click.UsageError(message)
    gone: dict[str, Any] = client.daemon(ctx).write(
        f"/tokens/{token_id}", {"reason": reason}, method="DELETE"
    )
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(gone, form)
        return
    click.echo(f"The token {gone['id']} of {plain(gone['name'])} counts no more, since {gone['revoked_at']}.")


def _where(token: dict[str, Any]) -> str:
    return "all environments" if token["environments"] is None else ", ".join(token["environments"])


def _row(token: dict[str, Any], now: datetime) -> tuple[str, ...]:
    used = token["last_used_at"]
    return (
        token["id"],
        token["name"],
        token["role"],
        "all" if token["environments"] is None else _where(token),
        token["state"],
        f"{ago(token['created_at'], now)} ago",
        token["created_by"],
        (token["expires_at"] or "never")[:16].replace("T", " "),
        f"{ago(used, now)} ago" if used else "never",
    )
