"""`deployer audit export`: the audit log as a file, or as a stream for another program.

Owns the formats' names, and what goes to stderr beside them. Must not know how an event is written in one.
Invariant: on stdout is nothing but the format, line by line as it is read.
"""

from __future__ import annotations

import re
import sys
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import audit_log, audit_options, context, server
from deployer.cli.audit_log import Wish
from deployer.cli.main import Failure, common_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deployer.cli.audit_stream import Patience

_EVENT_FORMATS = ("cloudevents", "cdevents")
"""Of which each line names where it comes from."""

_RAW = "raw"
"""All that its hash covers of every event: see `core.raw_log`."""

_PIECE_LINES = 1_000
"""Of the raw log that are written at once."""

_DEPLOYER = "/deployer"
"""What CloudEvents name as their source where nothing says by which URL people know the daemon."""

_URI_REFERENCE = re.compile(r"[A-Za-z0-9:/\[\]@!$&'()*+,;=%._~-]+")
"""Without a query or a fragment: a path is put behind it."""


@click.command("export")
@audit_options.filtered
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "cloudevents", "cdevents", "raw"]),
    default="jsonl",
    show_default=True,
    help="JSON Lines; CSV for spreadsheets; CloudEvents 1.0, one in a line; CDEvents 0.5 in CloudEvents; or"
    " raw: all of the log as it is stored, for `audit verify`.",
)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option(
    "--source",
    metavar="URI",
    help="What CloudEvents and CDEvents name as the deployer that they come from. Default:"
    f" server.public_url of the settings, or --server, or else {_DEPLOYER}.",
)
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    form: str,
    *,
    follow: bool,
    source: str | None,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,
    **filters: Any,  # noqa: ANN401 - as `Wish` has them
) -> None:
    """Print all of what happened, oldest first, as it is read: for a file, or another program."""
    from deployer.cli.audit_stream import Patience

    wish = Wish(**filters)
    _require_sense(form, wish, source, output, follow=follow)
    if form == _RAW:
        _print_raw(ctx)
        return
    with audit_log.opened(ctx, wish.environment) as log:
        read = Patience(log, is_patient=follow)
        items = _items(log, wish, read, follow=follow)
        if form not in _EVENT_FORMATS:
            _print(_plain_lines(items, form))
            return
        deployer = (source or _source(ctx)).rstrip("/")
        if form == "cloudevents":
            _print(_cloud_lines(items, deployer))
        else:
            _print_cdevents(items, log, read, deployer)


def _require_sense(form: str, wish: Wish, source: str | None, output: str | None, *, follow: bool) -> None:
    """Raise UsageError for options that mean nothing together."""
    if output is not None:
        message = "`deployer audit export` takes no --output: say --format jsonl or csv."
        raise click.UsageError(message)
    if form == _RAW and (follow or wish != Wish()):
        message = (
            "--format raw is all of the log, for a part of it cannot be verified: leave --follow and the"
            " filters out, or take another format."
        )
        raise click.UsageError(message)
    if follow and wish.until is not None:
        message = "--follow goes on until Ctrl-C: leave --until out, or --follow."
        raise click.UsageError(message)
    if source is not None and form not in _EVENT_FORMATS:
        message = f"--source is for --format cloudevents and cdevents: {form} names none."
        raise click.UsageError(message)
    if source is not None and not _URI_REFERENCE.fullmatch(source):
        message = "--source must be a URI, such as https://deployer.example.com, without ? and #."
        raise click.UsageError(message)


def _print_raw(ctx: click.Context) -> None:
    """The log as it is stored, out of the store itself: a server gives readings of it."""
    from deployer.adapters.store import StoreError, raw, schema, sqlite
    from deployer.core import raw_log

    if server.named(ctx) is not None:
        message = (
            "--format raw takes no --server (nor $DEPLOYER_SERVER): it reads the store itself, so type it on"
            " the daemon's machine."
        )
        raise click.UsageError(message)
    path = context.settings(ctx).state_dir / context.STORE_FILE
    out = sys.stdout.buffer
    try:
        schema.require_current(path)
        with closing(sqlite.Database(path, read_only=True)) as database, raw.opened(database) as log:
            lines = raw_log.lines(log.events())
            while piece := "".join(islice(lines, _PIECE_LINES)):
                out.write(piece.encode())
        out.flush()
    except StoreError as error:
        raise Failure(str(error)) from error
    except raw_log.UnreadableLog as error:
        message = f"{path} is damaged: {error}. What was printed ends there. Restore a backup."
        raise Failure(message) from error


def _source(ctx: click.Context) -> str:
    named = server.named(ctx)
    if named is not None:
        return named.url
    return context.settings(ctx).server.public_url or _DEPLOYER


def _items(log: audit_log.Log, wish: Wish, read: Patience, *, follow: bool) -> Iterator[dict[str, Any]]:
    """The events, and with `follow` no end of them."""
    from deployer.cli.audit_stream import Stream

    stream = Stream(log, wish, read)
    is_any = False
    for item in stream.news():
        is_any = True
        yield item
    if not is_any and wish.environment is not None:
        log.require(wish.environment)
    while follow:
        read.pause()
        yield from stream.news()


def _print(lines: Iterable[str]) -> None:
    """Each line reaches who reads it at once: `echo` flushes."""
    for line in lines:
        click.echo(line, nl=False)


def _plain_lines(items: Iterable[dict[str, Any]], form: str) -> Iterator[str]:
    from deployer.core.export import AUDIT_COLUMNS, csv_lines, json_lines

    return csv_lines(items, AUDIT_COLUMNS) if form == "csv" else json_lines(items)


def _cloud_lines(items: Iterable[dict[str, Any]], deployer: str) -> Iterator[str]:
    from deployer.core.cloudevents import cloud_event
    from deployer.core.export import json_lines

    return json_lines(cloud_event(item, deployer) for item in items)


def _print_cdevents(
    items: Iterable[dict[str, Any]], log: audit_log.Log, read: Patience, deployer: str
) -> None:
    """Those with a counterpart; how many have none is said at the end, also if that is Ctrl-C."""
    from deployer.cli.audit_stream import Ledger
    from deployer.core.cdevents import cd_events, is_told
    from deployer.core.export import json_lines

    ledger, left_out = Ledger(log, read), 0
    try:
        for item in items:
            past = ledger.past(item["rollout"]) if is_told(item) else None
            told = cd_events(item, past, deployer)
            left_out += not told
            _print(json_lines(told))
    finally:
        if left_out:
            what = "event has" if left_out == 1 else "events have"
            were = "was" if left_out == 1 else "were"
            click.echo(f"{left_out} {what} no counterpart in CDEvents, and {were} left out.", err=True)
