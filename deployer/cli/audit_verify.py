"""`deployer audit verify`: whether the log is as it was written.

Owns where the log and its checkpoints are read from, and how the outcome is printed. Must not judge a log:
`core.audit` does. Invariant: of the same files it says what `contrib/verify-audit.py` says, in the same words
and with the same exit code, unless it is to look deeper; and it never asks a daemon, which could say
anything.
"""

from __future__ import annotations

import gzip
import sys
import zlib
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import context, kept, server
from deployer.cli.kept import CannotCheck, Kept
from deployer.cli.main import common_options, option
from deployer.core import raw_log

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from deployer.core.audit import Anchor, Report
    from deployer.core.raw_log import RawEvent
    from deployer.core.segments import Segment
    from deployer.settings import Settings

MOST_SHOWN = 50
"""Findings that are printed: enough to see what happened."""

_SQLITE = b"SQLite format 3\0"


@click.command("verify")
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True))
@kept.options
@click.option(
    "--deep",
    is_flag=True,
    help="Fold the log again, too, and compare the records and the history of the store with what it gives.",
)
@click.option("--quiet", is_flag=True, help="Print only what was found.")
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    file: Path | None,
    notes: tuple[Path, ...],
    keys: tuple[Path, ...],
    origin: str | None,
    *,
    deep: bool,
    quiet: bool,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Verify the log from its first event on: exit code 0 verified, 1 changed, 2 it could not be checked.

    FILE is a store, a backup of one, a raw export (`-` is standard input), or a folder of sealed segments.
    Without it the daemon's own store is verified, also while it runs, and also against the checkpoints in its
    state directory.
    """
    given = kept.named(notes, keys)
    if file is None:
        if server.named(ctx) is not None:
            message = (
                "`deployer audit verify` takes no --server (nor $DEPLOYER_SERVER): it reads the store itself,"
                " so type it on the daemon's machine, or name a FILE."
            )
            raise click.UsageError(message)
        settings = context.settings(ctx)
        # Read before the store is, so that none is newer than what is read of it.
        given = given.and_also(kept.at_home(settings))
        origin = origin or (settings.audit.name if settings.audit is not None else None)
        file = settings.state_dir / context.STORE_FILE
        if not file.exists():
            message = f"no daemon has run with this state_dir yet: there is no {file}. Name a FILE to verify."
            raise CannotCheck(message)
        show_misfit(settings)
    report = verified(file, given, origin)
    if deep and not report.findings:
        report = replace(report, findings=_folded_again(file))
    form = option(ctx, "output") or "table"
    if form == "table":
        show(report, is_quiet=quiet)
        if deep and not report.findings and not quiet:
            click.echo(
                "The records and the history of rollouts are what the log gives when it is folded again."
            )
    else:
        context.emit(to_json(report), form)
    ctx.exit(report.verdict.value)


def verified(file: Path, given: Kept, origin: str | None = None) -> Report:
    """What is found in a store's file, a raw export or a folder of segments. Raises CannotCheck."""
    from deployer.adapters.store import StoreCorrupt, StoreError, raw
    from deployer.core import audit

    against: dict[str, Any] = {"anchors": given.anchors, "keys": given.keys, "origin": origin}
    try:
        if file.is_dir():
            return _sealed(file, given, origin)
        if not is_store(file):
            with _lines(file) as lines:
                return audit.verify(raw_log.events(lines), **against)
        with raw.opened_file(file) as log:
            return audit.verify(log.events(), store=log.facts(), **against)
    except StoreCorrupt as error:
        return audit.verify((), store=raw.damaged(error), **against)
    except StoreError as error:
        raise CannotCheck(str(error)) from error
    except OSError as error:
        message = f"{file}: {error.strerror}."
        raise CannotCheck(message) from error


def _folded_again(file: Path) -> tuple[str, ...]:
    """What a store keeps beside its log that this does not give. Raises CannotCheck and UsageError."""
    from deployer.adapters.store import StoreError, refold

    if str(file) == "-" or file.is_dir() or not is_store(file):
        message = f"{file} holds nothing but the log: --deep takes a store, or a backup of one."
        raise click.UsageError(message)
    try:
        return tuple(refold.differences(file))
    except StoreError as error:
        raise CannotCheck(str(error)) from error


def show_misfit(settings: Settings) -> None:
    """Say on stderr, if it is so, why the daemon signs nothing any more: it may know what is not here."""
    known = kept.misfit(settings)
    if known:
        click.echo(known, err=True)


def show(report: Report, *, is_quiet: bool = False) -> None:
    """What was found, for people: on stdout, but for why less was checked than was asked for."""
    for finding in report.findings[:MOST_SHOWN]:
        click.echo(finding)
    more = len(report.findings) - MOST_SHOWN
    if more > 0:
        click.echo(f"And {more:,} finding{'' if more == 1 else 's'} more.")
    for reason in report.unchecked:
        click.echo(reason, err=True)
    if not is_quiet:
        click.echo(report.summary)


def to_json(report: Report) -> dict[str, Any]:
    """As docs/json.md has it."""
    return {
        "verdict": report.verdict.name.lower(),
        "message": report.summary,
        "findings": list(report.findings),
        "unchecked": list(report.unchecked),
        "events": report.events,
        "environments": report.environments,
        "checkpoints": report.checkpoints,
        "covered": report.covered,
    }


def _sealed(folder: Path, given: Kept, origin: str | None) -> Report:
    """What is found in a folder of segments. Raises CannotCheck and OSError."""
    from deployer.core import audit, segments

    parts = segments.found(path.name for path in folder.iterdir())
    if not parts:
        message = f"there is no segment of a log in {folder}."
        raise CannotCheck(message)
    own = [_only(folder / f"{part.name}{segments.CHECKPOINT}") for part in parts]
    texts = [kept.text_of(folder / f"{part.name}{segments.FRONTIER}") for part in parts]
    against: dict[str, Any] = {"anchors": (*given.anchors, *own), "keys": given.keys, "origin": origin}
    with suppress(raw_log.UnreadableLog):
        # If it is damaged, so is the first segment, and nothing is read.
        against["before"] = segments.frontier(texts[0], parts[0].name)
    return audit.verify(_events(folder, parts, own, texts), **against)


def _only(path: Path) -> Anchor:
    anchors = kept.anchors_of(path)
    if len(anchors) != 1:
        message = f"{path}: there is to be one checkpoint in it."
        raise CannotCheck(message)
    return anchors[0]


def _events(
    folder: Path, parts: Sequence[Segment], own: Sequence[Anchor], texts: Sequence[str]
) -> Iterator[RawEvent]:
    """The events of all segments. Raises UnreadableLog where they do not follow one another, and OSError."""
    from deployer.core import segments

    before = None
    for part, anchor, text in zip(parts, own, texts, strict=True):
        segments.require_next(part, anchor, segments.frontier(text, part.name), before)
        before = part, anchor
        name = f"{part.name}{segments.EVENTS}"
        with gzip.open(folder / name) as lines:
            try:
                yield from segments.within(part, raw_log.events(lines))
            except (gzip.BadGzipFile, EOFError, zlib.error):
                message = f"{name} is damaged"
                raise raw_log.UnreadableLog(message) from None
            except raw_log.UnreadableLog as error:
                message = f"{name}: {error}"
                raise raw_log.UnreadableLog(message) from None


def is_store(file: Path) -> bool:
    """Whether it is a store, and not a raw export. Raises CannotCheck for what is neither, and OSError."""
    if str(file) == "-":
        return False
    with file.open("rb") as opened:
        start = opened.read(len(_SQLITE))
    if start == _SQLITE or start[:1] == b"{":
        return start == _SQLITE
    message = f"{file} is neither a store of deployer nor a raw export of its log."
    raise CannotCheck(message)


@contextmanager
def _lines(file: Path) -> Iterator[Iterable[bytes]]:
    if str(file) == "-":
        yield sys.stdin.buffer
        return
    with file.open("rb") as opened:
        yield opened
