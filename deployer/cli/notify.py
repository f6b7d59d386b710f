"""`deployer notify list|test`: who is told what by the settings, and whether a message gets there.

Owns how routes are shown, and the test message. Must not know how anything is delivered. Invariant: a test
message says that it is one, goes to its route alone, past quiet hours and filters, and is sent once.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from deployer.cli import context
from deployer.cli.main import Failure, common_options, option
from deployer.cli.tables import print_table
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from deployer.core.routes import Route
    from deployer.settings import Settings


@click.group()
@common_options
def command(config: str | None, output: str | None) -> None:
    """Show who is told what happens, and try whether a message gets there."""


@command.command("list")
@common_options
@click.pass_context
def list_(
    ctx: click.Context,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """List the routes of the settings: where each goes, and what is told there."""
    from deployer.settings import routes

    settings = context.settings(ctx)
    found = [_route(settings, route) for route in routes(settings)]
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit({"routes": found}, form)
        return
    if not found:
        click.echo("Nobody is told: the settings have no `notify`. See docs/notify.md.")
        return
    print_table(
        ("ROUTE", "TO", "ENVIRONMENTS", "KINDS", "FROM", "QUIET HOURS", "ALWAYS"),
        [_row(one) for one in found],
    )


@command.command("test")
@click.argument("name", metavar="ROUTE")
@common_options
@click.pass_context
def test(
    ctx: click.Context,
    name: str,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Send one test message to ROUTE now, from this machine: exit code 1 if it is not taken.

    It needs the route's secret, so type it as the daemon's user.
    """
    from deployer.cli.targets import receiver
    from deployer.engine.targets import Away, Refused
    from deployer.settings import routes

    settings = context.settings(ctx)
    by_name = {route.name: route for route in routes(settings)}
    route = by_name.get(name)
    if route is None:
        known = f"There are: {', '.join(by_name)}." if by_name else "There is none: add it to `notify`."
        message = f"No route '{plain(name)}' in the settings. {known}"
        raise click.UsageError(message)
    try:
        receiver(settings, route).test(datetime.now(UTC))
    except (Away, Refused) as error:
        message = f"{name}: the test message was not delivered: {error.why}"
        raise Failure(message) from error
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit({"route": name, "delivered": True}, form)
        return
    click.echo(f"{name}: {_shown(settings, name)} took the test message.")


def _route(settings: Settings, route: Route) -> dict[str, Any]:
    one = settings.notify[route.name]
    return {
        "name": route.name,
        "to": _shown(settings, route.name),
        "environments": list(one.environments) or None,
        "kinds": list(one.kinds) or None,
        "severity": one.severity,
        "quiet_hours": [str(window) for window in route.quiet],
        "always": list(one.always),
    }


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    return (
        one["name"],
        one["to"],
        ", ".join(one["environments"] or ["all"]),
        ", ".join(one["kinds"] or ["all"]),
        one["severity"],
        "; ".join(one["quiet_hours"]) or "-",
        ", ".join(one["always"]) or "-",
    )


def _shown(settings: Settings, name: str) -> str:
    """The receiver without the path, which may be a secret of its own; of apprise the file alone."""
    one = settings.notify[name]
    if one.webhook is not None:
        parts = urlsplit(one.webhook.url)
        return f"{parts.scheme}://{parts.netloc}"
    return f"apprise, by {one.apprise.url_file}" if one.apprise is not None else ""
