"""`deployer outbox list|retry|drop`: what was not delivered, to whom, and what becomes of it.

Owns how targets and dead letters are shown. Must not deliver anything: the daemon does. Invariant: what is
listed first is what somebody has to act on, with the reason.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import click

from deployer.cli import client, context
from deployer.cli.main import common_options, option
from deployer.cli.tables import ago, print_table
from deployer.core.scrub import plain

_ID = re.compile(r"all|[0-9]{1,15}")

_target = click.option(
    "--target", metavar="NAME", default=None, help="Only of this target. Default: of all that have it."
)
_reason = click.option("--reason", default="", help="Why, for the daemon's log.")


@click.group()
@common_options
def command(config: str | None, output: str | None) -> None:
    """Show the messages that were not delivered, and have them tried again or dropped."""


@command.command("list")
@common_options
@click.pass_context
def list_(
    ctx: click.Context,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """List who is told, what waits for each, and the dead letters: what is not tried again by itself."""
    found: dict[str, Any] = client.daemon(ctx).read("/outbox")
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(found, form)
        return
    now = datetime.now(UTC)
    print_table(
        ("TARGET", "WAITING", "SINCE", "DEAD", "LAST DELIVERED", "TROUBLE"),
        [_target_row(one, now) for one in found["targets"]],
    )
    if not found["dead"]:
        return
    click.echo()
    print_table(
        ("ID", "TARGET", "DEAD SINCE", "MESSAGE", "WHY"), [_letter_row(one, now) for one in found["dead"]]
    )
    click.echo(
        "Mend what is in the way, then type `deployer outbox retry ID` (or all);"
        " `deployer outbox drop ID` forgets one.",
        err=True,
    )


@command.command("retry")
@click.argument("message_id", metavar="ID")
@_target
@_reason
@common_options
@click.pass_context
def retry(
    ctx: click.Context,
    message_id: str,
    target: str | None,
    reason: str,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Have the dead letter with this ID tried again, as `deployer outbox list` shows it; or all of them."""
    _handle(ctx, message_id, "retry", target, reason)


@command.command("drop")
@click.argument("message_id", metavar="ID")
@_target
@_reason
@common_options
@click.pass_context
def drop(
    ctx: click.Context,
    message_id: str,
    target: str | None,
    reason: str,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Forget the dead letter with this ID, or all of them: nobody is told that any more."""
    _handle(ctx, message_id, "drop", target, reason)


def _handle(ctx: click.Context, message_id: str, what: str, target: str | None, reason: str) -> None:
    if not _ID.fullmatch(message_id):
        message = f"'{plain(message_id)}' is no ID, such as 417, nor all: `deployer outbox list` shows them."
        raise click.UsageError(message)
    order = {"target": target, "reason": reason}
    answer: dict[str, Any] = client.daemon(ctx).write(f"/outbox/{message_id}/{what}", order)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(answer, form)
        return
    done = "retried" if what == "retry" else "dropped"
    letters = answer[done]
    if not letters:
        click.echo("There are no dead letters.")
        return
    said = "is tried again" if what == "retry" else "is dropped"
    for one in letters:
        click.echo(f"{one['id']} to {plain(one['target'])} {said}: {plain(one['message'])}")


def _target_row(one: dict[str, Any], now: datetime) -> tuple[str, ...]:
    trouble = one["why"] or ""
    if trouble and one["next_at"]:
        trouble = f"{trouble} (tried {one['attempts']} times; again at {one['next_at'][11:19]} UTC)"
    return (
        plain(one["name"]),
        str(one["waiting"]),
        f"{ago(one['oldest_at'], now)} ago" if one["oldest_at"] else "-",
        str(one["dead"]),
        f"{ago(one['delivered_at'], now)} ago" if one["delivered_at"] else "never",
        plain(trouble) or "-",
    )


def _letter_row(one: dict[str, Any], now: datetime) -> tuple[str, ...]:
    return (
        str(one["id"]),
        plain(one["target"]),
        f"{ago(one['died_at'], now)} ago",
        plain(one["message"]),
        plain(one["why"]),
    )
