"""`deployer audit seal FOLDER`: what is not sealed yet of the log, as a file of its own with its checkpoint.

Owns which events go into a segment, and the order in which its files appear. Must not delete anything: the
store keeps every event. Invariant: a segment has its name when it is whole, goes on from the one before it,
and is of a log that verified; one that is there is never changed.
"""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import audit_verify, context, kept, server
from deployer.cli.main import Exit, Failure, common_options, option
from deployer.cli.when import When

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from deployer.cli.kept import Kept
    from deployer.core.checkpoint import SignedCheckpoint
    from deployer.core.merkle import Frontier
    from deployer.core.raw_log import RawEvent
    from deployer.core.segments import Segment
    from deployer.settings import Audit, Settings


@click.command("seal")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--until", type=When(), help="Only events before the first from then on: 2026-01-01, 30d.")
@kept.options
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    folder: Path,
    until: datetime | None,
    notes: tuple[Path, ...],
    keys: tuple[Path, ...],
    origin: str | None,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Write what is not sealed yet of the log into FOLDER, as one more segment with its signed checkpoint.

    For keeping years elsewhere: `deployer audit verify FOLDER` needs nothing but the key's public half.
    Nothing is deleted from the store.
    """
    if server.named(ctx) is not None:
        message = (
            "`deployer audit seal` takes no --server (nor $DEPLOYER_SERVER): it reads the store itself, so"
            " type it on the daemon's machine."
        )
        raise click.UsageError(message)
    settings = context.settings(ctx)
    if settings.audit is None:
        message = (
            "A segment is signed, and the settings have no `audit` with a key that signs: docs/audit.md says"
            " how to make one."
        )
        raise Failure(message, Exit.REFUSED)
    _require_fit(settings)
    _require_whole(settings, settings.audit, kept.named(notes, keys), origin)
    sealed = _sealed(settings, settings.audit, folder, until)
    form = option(ctx, "output") or "table"
    if form != "table":
        context.emit(to_json(folder, sealed), form)
    elif sealed is None:
        click.echo(f"Nothing to seal: {folder} has all of the log{' until then' if until else ''}.")
    else:
        count = sealed.last - sealed.first + 1
        click.echo(f"Sealed {count:,} event{'' if count == 1 else 's'}: {folder / sealed.name}.*")
        click.echo(f"`deployer audit verify {folder} --key ...` verifies all segments that are in it.")


def to_json(folder: Path, sealed: Segment | None) -> dict[str, Any]:
    """As docs/json.md has it."""
    return {
        "folder": str(folder),
        "segment": None if sealed is None else sealed.name,
        "first": None if sealed is None else sealed.first,
        "last": None if sealed is None else sealed.last,
    }


def _require_fit(settings: Settings) -> None:
    """Raise Failure where the daemon signs nothing any more: a segment would be signed with the same key."""
    known = kept.misfit(settings)
    if known:
        message = f"{known} So nothing is sealed either."
        raise Failure(message, Exit.REFUSED)


def _require_whole(settings: Settings, audit: Audit, given: Kept, origin: str | None) -> None:
    """Raise Failure for a log of which nothing is to be signed."""
    from deployer.core.audit import Verdict

    known = given.and_also(kept.at_home(settings))
    report = audit_verify.verified(settings.state_dir / context.STORE_FILE, known, origin or audit.name)
    if report.verdict is not Verdict.VERIFIED:
        audit_verify.show(report)
        message = "The log does not verify, so nothing of it is sealed: docs/audit.md says what finds what."
        raise Failure(message)


def _sealed(settings: Settings, audit: Audit, folder: Path, until: datetime | None) -> Segment | None:
    """Write the next segment; None if there is nothing for it. Raises Failure."""
    from deployer.adapters.ssh_signing import CannotSign
    from deployer.adapters.store import StoreError, raw
    from deployer.core import segments
    from deployer.core.merkle import Frontier
    from deployer.core.raw_log import UnreadableLog

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        before = _newest(audit, folder)
        with raw.opened_file(settings.state_dir / context.STORE_FILE) as log:
            events = log.events()
            tree = Frontier()
            _skip(events, tree, before)
            start = tree.text
            temporary = folder / f"segment{segments.EVENTS}.new"
            _write_events(temporary, _until(events, until), tree)
        if tree.text == start:
            temporary.unlink()
            return None
        first = Frontier.parse(start).size + 1
        made = segments.Segment(first=first, last=tree.size)
        note = _signed(audit, tree)
        _write(folder / f"{made.name}{segments.FRONTIER}", f"{start}\n")
        _write(folder / f"{made.name}{segments.CHECKPOINT}", note.text)
        temporary.rename(folder / f"{made.name}{segments.EVENTS}")
    except (StoreError, CannotSign) as error:
        raise Failure(str(error)) from error
    except UnreadableLog as error:
        message = f"The log cannot be read: {error}. Nothing was sealed."
        raise Failure(message) from error
    except OSError as error:
        message = f"cannot write to {folder}: {error.strerror or error}."
        raise Failure(message) from error
    return made


def _newest(audit: Audit, folder: Path) -> tuple[Segment, SignedCheckpoint] | None:
    """The last segment that is there, with its checkpoint. Raises Failure if they are of another log."""
    from deployer.core import segments

    there = segments.found(path.name for path in folder.iterdir())
    if not there:
        return None
    [anchor, *_] = kept.anchors_of(folder / f"{there[-1].name}{segments.CHECKPOINT}")
    origin = anchor.note.checkpoint.origin
    if origin != audit.name:
        message = f"{folder} has segments of another log, {origin}: name another folder for {audit.name}."
        raise Failure(message, Exit.REFUSED)
    return there[-1], anchor.note


def _skip(
    events: Iterator[RawEvent], tree: Frontier, before: tuple[Segment, SignedCheckpoint] | None
) -> None:
    """Read what is sealed already. Raises Failure if it was another log."""
    if before is None:
        return
    segment, note = before
    for event in events:
        tree.append(bytes.fromhex(event.hash))
        if tree.size == segment.last:
            break
    if (tree.size, tree.root) != (note.checkpoint.size, note.checkpoint.root):
        message = (
            f"{segment.name} was sealed of another log than the store has now: was an older backup restored?"
            " Name another folder."
        )
        raise Failure(message, Exit.REFUSED)


def _until(events: Iterable[RawEvent], until: datetime | None) -> Iterator[RawEvent]:
    from deployer.adapters.store import codec

    end = None if until is None else codec.stamp(until)
    for event in events:
        if end is not None and event.at >= end:
            return
        yield event


def _write_events(path: Path, events: Iterable[RawEvent], tree: Frontier) -> None:
    from deployer.core import raw_log

    def counted() -> Iterator[RawEvent]:
        for event in events:
            tree.append(bytes.fromhex(event.hash))
            yield event

    with _opened(path) as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed:
        for line in raw_log.lines(counted()):
            packed.write(line.encode())
        packed.close()
        raw.flush()
        os.fsync(raw.fileno())


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.new")
    with _opened(temporary) as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _opened(path: Path) -> Any:  # noqa: ANN401 - a binary file
    """A new file that only its owner can read, in place of what a seal left that was killed."""
    path.unlink(missing_ok=True)
    return open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")  # noqa: PTH123 - a descriptor


def _signed(audit: Audit, tree: Frontier) -> SignedCheckpoint:
    from deployer.adapters import ssh_signing
    from deployer.core import checkpoint

    made = checkpoint.Checkpoint(origin=audit.name, size=tree.size, root=tree.root)
    value = ssh_signing.sign(audit.key_file, checkpoint.NAMESPACE, made.text.encode())
    return checkpoint.signed(made, ssh_signing.public_key(audit.key_file), value)
