"""`deployer audit list|export|verify`: what happened, from the log, and whether anybody changed that log.

Owns which events are shown, and how. Must not judge a log: the store does. Invariant: `verify` reads the
whole log of each environment from the store itself, never from what a daemon says of it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import completing, context, server
from deployer.cli.client import Daemon, possible_environment
from deployer.cli.main import Exit, common_options, option
from deployer.cli.tables import ago, print_table
from deployer.cli.when import When

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from deployer.adapters.store import SqlReader
    from deployer.adapters.store.search import Logged

_PAGE = 200
"""The most that the API gives at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which events. `actor` is all of `ada (local)`, or what stands before the bracket.

    `since` and `until` are of when they happened; `until` itself is not in.
    """

    environment: str | None = None
    actor: str | None = None
    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@click.group()
@common_options
def command(config: str | None, output: str | None) -> None:
    """List what happened, export it, and verify that nobody changed the log of it."""


_FILTERS = (
    click.option(
        "-e", "--environment", metavar="ENV", shell_complete=completing.environments, help="Only of this one."
    ),
    click.option("--actor", metavar="NAME", help="Only what this person, or `deployer` by itself, did."),
    click.option(
        "--type", "type_", metavar="TYPE", help="Only events of this type, such as paused or rollback_asked."
    ),
    click.option("--since", type=When(), help="Only since: 2h (ago), 2026-11-23, or a full time."),
    click.option("--until", type=When(), help="Only before then."),
)


def _filtered(command_of: Callable[..., None]) -> Callable[..., None]:
    """The options that say which events."""
    for one in reversed(_FILTERS):
        command_of = one(command_of)
    return command_of


@command.command("list")
@_filtered
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="How many.")
@common_options
@click.pass_context
def list_(
    ctx: click.Context,
    environment: str | None,
    actor: str | None,
    type_: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """List what happened, newest first."""
    wish = Wish(environment=environment, actor=actor, type=type_, since=since, until=until)
    named = server.named(ctx)
    items = _there(Daemon.at(named), wish, limit) if named is not None else _here(ctx, wish, limit)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(items, form)
        return
    if not items:
        click.echo("Nothing like that has happened.", err=True)
        return
    now = datetime.now(UTC)
    print_table(
        ("ENV", "SEQUENCE", "WHEN", "TYPE", "ACTOR", "WHAT", "REASON"), [_row(item, now) for item in items]
    )


@command.command("export")
@_filtered
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="JSON Lines, or CSV for spreadsheets.",
)
@common_options
@click.pass_context
def export(
    ctx: click.Context,
    environment: str | None,
    actor: str | None,
    type_: str | None,
    since: datetime | None,
    until: datetime | None,
    form: str,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,
) -> None:
    """Print all of what happened, oldest first, as it is read: for a file, or another program."""
    from deployer.core.export import AUDIT_COLUMNS, csv_lines, json_lines

    if output is not None:
        message = "`deployer audit export` takes no --output: say --format jsonl or csv."
        raise click.UsageError(message)
    wish = Wish(environment=environment, actor=actor, type=type_, since=since, until=until)
    named = server.named(ctx)
    items = _all_there(Daemon.at(named), wish) if named is not None else _all_here(ctx, wish)
    for line in csv_lines(items, AUDIT_COLUMNS) if form == "csv" else json_lines(items):
        click.echo(line, nl=False)


@command.command("verify")
@common_options
@click.pass_context
def verify(ctx: click.Context, config: str | None, output: str | None) -> None:  # noqa: ARG001 - read from ctx
    """Verify the log of each environment from its first event on: exit code 1 if one was changed."""
    if server.named(ctx) is not None:
        message = (
            "`deployer audit verify` takes no --server (nor $DEPLOYER_SERVER): it reads the store itself,"
            " so type it on the daemon's machine."
        )
        raise click.UsageError(message)
    settings = context.settings(ctx)
    with context.reading(settings) as store:
        # Also those that the settings do not have any more: what happened there stays.
        names = [*settings.environments, *sorted(store.views().keys() - settings.environments.keys())]
        found = [_verified(store, name) for name in names]
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(found, form)
    else:
        for one in found:
            click.echo(f"{one['environment']}: {one['message']}")
    ctx.exit(Exit.OK if all(one["intact"] for one in found) else Exit.FAILED)


def _verified(store: SqlReader, environment: str) -> dict[str, Any]:
    first = store.verify(environment)
    message = "the log is as it was written"
    if first is not None:
        what = f"event {first} is not as it was written, or is missing"
        message = f"{what}: keep a copy of the store, and restore a backup"
    return {"environment": environment, "intact": first is None, "first_bad": first, "message": f"{message}."}


def _here(ctx: click.Context, wish: Wish, limit: int) -> list[dict[str, Any]]:
    """From the store."""
    settings = context.settings(ctx)
    with context.reading(settings) as store:
        from deployer.adapters.store.filters import EventFilter
        from deployer.adapters.store.search import Search

        found = Search(store.database).events(EventFilter(**asdict(wish)), limit=limit)
    if not found and wish.environment is not None:
        # Or else it is one that the settings do not have any more.
        context.known_environment(settings, wish.environment)
    return [_item(one) for one in found]


def _all_here(ctx: click.Context, wish: Wish) -> Iterator[dict[str, Any]]:
    """All from the store, oldest first, some at a time."""
    settings = context.settings(ctx)
    with context.reading(settings) as store:
        from deployer.adapters.store.filters import EventFilter
        from deployer.adapters.store.search import Search

        search, after = Search(store.database), 0
        while found := search.events(EventFilter(**asdict(wish), after=after), limit=_PAGE):
            yield from map(_item, found)
            after = found[-1].id
    if not after and wish.environment is not None:
        # Or else it is one that the settings do not have any more.
        context.known_environment(settings, wish.environment)


def _all_there(daemon: Daemon, wish: Wish) -> Iterator[dict[str, Any]]:
    """All from the API, oldest first, page by page."""
    if wish.environment is not None:
        possible_environment(wish.environment)
    after = "0"
    while items := daemon.read("/audit", **asdict(wish), limit=_PAGE, after=after)["items"]:
        yield from items
        after = str(items[-1]["id"])


def _there(daemon: Daemon, wish: Wish, limit: int) -> list[dict[str, Any]]:
    """From the API, page by page."""
    if wish.environment is not None:
        possible_environment(wish.environment)
    found: list[dict[str, Any]] = []
    before: str | None = None
    while len(found) < limit:
        page = daemon.read("/audit", **asdict(wish), limit=min(limit, _PAGE), before=before)
        found += page["items"]
        before = page["next"]
        if before is None:
            break
    return found[:limit]


def _item(logged: Logged) -> dict[str, Any]:
    from deployer.core.telling import says
    from deployer.core.times import timestamp

    event = logged.event
    return {
        "id": logged.id,
        "environment": logged.environment,
        "sequence": logged.sequence,
        "type": event.type,
        "at": timestamp(event.at),
        "actor": event.actor,
        "reason": event.reason,
        "rollout": logged.rollout or None,
        "hash": logged.hash,
        "says": says(event),
    }


def _row(item: dict[str, Any], now: datetime) -> tuple[str, ...]:
    return (
        item["environment"],
        str(item["sequence"]),
        f"{ago(item['at'], now)} ago",
        item["type"],
        item["actor"].partition(" <")[0],
        item["says"],
        item["reason"],
    )
