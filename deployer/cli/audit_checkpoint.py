"""`deployer audit checkpoint`: the newest signed checkpoint of the log, and where it is anchored.

Owns how that is told. Must not sign, nor ask anybody. Invariant: what is printed on stdout is the checkpoint
and nothing else, so that a file of it is one for `--checkpoint`; and it is read from the state directory,
never told by a daemon.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import context, server
from deployer.cli.main import Exit, Failure, common_options, option
from deployer.cli.tables import ago
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from deployer.core.anchoring import Anchorage, Kept
    from deployer.core.checkpoint import SignedCheckpoint
    from deployer.settings import Settings


@click.command("checkpoint")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Print the newest signed checkpoint of the log; on stderr where it is anchored, and what is newer.

    Exit code 1 if there is none, or nothing is signed any more, because the store is not the one that was.
    """
    if server.named(ctx) is not None:
        message = (
            "`deployer audit checkpoint` takes no --server (nor $DEPLOYER_SERVER): it reads the state"
            " directory, so type it on the daemon's machine."
        )
        raise click.UsageError(message)
    settings = context.settings(ctx)
    note, known = _read(settings)
    with context.reading(settings) as store:
        from deployer.adapters.store.leaves import Leaves

        events = Leaves(store.database).newest()
    form = option(ctx, "output") or "table"
    if form == "table":
        click.echo(note.text, nl=False)
        for line in _lines(note, known, events, datetime.now(UTC)):
            click.echo(line, err=True)
    else:
        context.emit(to_json(note, known, events), form)
    ctx.exit(Exit.FAILED if known.misfit or note.checkpoint.size > events else Exit.OK)


def to_json(note: SignedCheckpoint, known: Anchorage, events: int) -> dict[str, Any]:
    """As docs/json.md has it."""
    signed = note.checkpoint
    return {
        "checkpoint": note.text,
        "name": signed.origin,
        "size": signed.size,
        "root": signed.root.hex(),
        "newer": max(0, events - signed.size),
        "misfit": known.misfit or None,
        "kept": [
            {
                "place": one.place,
                "where": one.where,
                "size": one.size,
                "at": None if one.at is None else one.at.isoformat(timespec="seconds"),
                "trouble": one.trouble or None,
            }
            for one in known.kept
        ],
    }


def _read(settings: Settings) -> tuple[SignedCheckpoint, Anchorage]:
    from deployer.adapters.checkpoint_file import CheckpointFile
    from deployer.core.anchoring import Misfit

    if settings.audit is None:
        message = "Nothing is signed: the settings have no `audit`. docs/audit.md says how to make a key."
        raise Failure(message)
    file = CheckpointFile(settings.state_dir)
    try:
        note, known = file.newest(), file.remembered()
    except (OSError, Misfit) as error:
        why = error.strerror if isinstance(error, OSError) else f"{error}"
        message = f"The checkpoints in {file.path} cannot be read: {why}."
        raise Failure(message) from error
    if note is None:
        message = (
            f"There is no checkpoint in {file.path} yet: the daemon signs the first when it starts. Its log"
            " says why, if it cannot."
        )
        raise Failure(message)
    return note, known


def _lines(note: SignedCheckpoint, known: Anchorage, events: int, now: datetime) -> list[str]:
    newer = events - note.checkpoint.size
    lines = [f"{newer:,} event{' is' if newer == 1 else 's are'} newer than this checkpoint."]
    if newer < 0:
        lines = [
            f"The store has {events:,} events, and more were signed: `deployer audit verify` tells more."
        ]
    lines += [_line(one, note.checkpoint.size, now) for one in known.kept]
    return [*lines, known.misfit] if known.misfit else lines


def _line(one: Kept, size: int, now: datetime) -> str:
    if one.at is None or not one.size:
        state = "not there yet"
    else:
        what = "there" if one.size >= size else f"there is one of {one.size:,} events"
        state = f"{what}, since {ago(one.at.isoformat(), now)}"
    trouble = f": {one.trouble}" if one.trouble else "."
    return plain(f"{one.place} ({one.where}): {state}{trouble}")
