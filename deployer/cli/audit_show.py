"""`deployer audit show`: one event in full, with the diff where a rollout began.

Owns how it looks. Must not know how it is found, nor what is hidden of it. Invariant: the same event is shown
in the same way from here and from another machine.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from deployer.cli import context, dossiers, server
from deployer.cli.client import Daemon
from deployer.cli.main import Exit, Failure, common_options, option
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Iterator


@click.command("show")
@click.argument("event", metavar="ID")
@common_options
@click.pass_context
def show(
    ctx: click.Context,
    event: str,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Show one event in full: ID is its ID in `audit list`, or ENV:SEQUENCE, as production:17.

    Who, how that is known, why, every field, its hashes and whether they are right; of an event of a rollout
    also what that was, and where one began what it changed and what that restarts.
    """
    from deployer.core.event_shown import NO_ID, named

    if named(event) is None:
        said = f"'{plain(event)}' is no event: {NO_ID[0].lower()}{NO_ID[1:]}."
        if "#" in event:
            said = f"{said} `deployer rollouts show '{plain(event)}'` shows a rollout."
        raise click.UsageError(said)
    there = server.named(ctx)
    told = Daemon.at(there).read(f"/audit/{quote(event, safe='')}") if there else _here(ctx, event)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(told, form)
        return
    for line in _page(told):
        click.echo(plain(line))


def _here(ctx: click.Context, event: str) -> dict[str, Any]:
    from deployer.core.event_shown import named

    place = named(event)
    with dossiers.opened(ctx) as source:
        found = source.event(place) if place is not None else None
        if found is None:
            message = f"There is no event {plain(event)}: `deployer audit list` shows their IDs."
            raise Failure(message, Exit.USAGE)
        return source.told(found)


def _page(told: dict[str, Any]) -> Iterator[str]:
    """For a terminal."""
    from deployer.core import rollout_text

    yield f"Event {told['id']}: {told['type']}, {told['environment']}:{told['sequence']}"
    yield from rollout_text.columns(_facts(told))
    yield from ("", "Fields:", *(f"  {line}" for line in rollout_text.columns(_flat(told["fields"]))))
    rollout = told["of_rollout"]
    if rollout is not None:
        yield from ("", f"The rollout {rollout['id']} ({rollout['kind']}, {rollout['result']}):")
        yield from (f"  {line}" for line in rollout_text.story(rollout))
    if told["changes"] is not None:
        yield from ("", "Changes, and what they restart:", *rollout_text.changes(told))


def _facts(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "says", told["says"]
    yield "at", told["at"]
    yield "actor", f"{told['actor']}: {told['known_by']}"
    for name in ("reason", "rollout", "commit", "digest"):
        if told[name]:
            yield name, told[name]
    wrong = "WRONG: this event was changed after it was written. `deployer audit verify` checks the whole log"
    yield "hash", f"{told['hash']}  {'right' if told['hash_is_right'] else wrong}"
    follows = (
        "right" if told["previous_is_right"] else "WRONG: the event before it has another, or is missing"
    )
    yield "previous hash", f"{told['previous_hash']}  {follows}"


def _flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Each value with its path: `failure.timeline[0].at`. A text of several lines is shown as JSON has it."""
    match value:
        case dict() if value:
            for key, inner in value.items():
                yield from _flat(inner, f"{path}.{key}" if path else str(key))
        case list() if value:
            for number, inner in enumerate(value):
                yield from _flat(inner, f"{path}[{number}]")
        case str() if value and "\n" not in value:
            yield path, value
        case _ if path:
            yield path, json.dumps(value, ensure_ascii=False)
        case _:
            yield "none", "it says no more than its type"
