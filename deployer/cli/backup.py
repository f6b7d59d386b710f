"""`deployer backup FILE`: a copy of the daemon's store, made while it runs, and checked.

Owns what is said of it. Must not decide whether a log is whole: `core.audit` does. Invariant: a file has its
name only when it is whole, was checked and verified; nothing in the state directory is ever taken for a place
to copy to, nor a file that somebody else made for one to work in.
"""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployer.cli import audit_verify, context, kept
from deployer.cli.main import Exit, Failure, common_options, option

if TYPE_CHECKING:
    from datetime import datetime

    from deployer.adapters.store.backup import Extent
    from deployer.cli.kept import Kept
    from deployer.core.audit import Report
    from deployer.settings import Settings


@click.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@kept.options
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    file: Path,
    notes: tuple[Path, ...],
    keys: tuple[Path, ...],
    origin: str | None,
    *,
    force: bool,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Copy the store to FILE, also while the daemon runs, and verify the copy.

    It holds the audit log, the contents of releases with the secrets in them, and the hashes of tokens: only
    its owner can read it. `deployer restore FILE` puts it back.
    """
    settings = context.settings(ctx)
    store = settings.state_dir / context.STORE_FILE
    given = kept.named(notes, keys)
    _require_place(file, store, force=force)
    # A name of its own: another backup to the same FILE may be under way, which would empty this one.
    made = file.with_name(f"{file.name}.{secrets.token_hex(8)}.new")
    try:
        report, extent = _made(settings, store, made, given, origin)
        digest = digest_of(made)
        _keep(made, file)
    finally:
        made.unlink(missing_ok=True)
    audit_verify.show_misfit(settings)
    form = option(ctx, "output") or "table"
    if form == "table":
        _tell(file, report, extent, digest)
    else:
        context.emit(to_json(file, report, extent, digest), form)


def digest_of(file: Path) -> str:
    """The sha256 of a file, as `sha256sum` prints it, with its name before it. Raises OSError."""
    with file.open("rb") as opened:
        return f"sha256:{hashlib.file_digest(opened, 'sha256').hexdigest()}"


def to_json(file: Path, report: Report, extent: Extent, digest: str) -> dict[str, Any]:
    """As docs/json.md has it."""
    return {
        "file": str(file),
        "sha256": digest.partition(":")[2],
        "newest_at": None if extent.newest_at is None else extent.newest_at.isoformat(),
        **audit_verify.to_json(report),
    }


def when(at: datetime | None) -> str:
    """The time of the newest event, in a sentence about events."""
    from deployer.core import sentences

    return "" if at is None else f", the newest of {sentences.moment(at)}"


def _require_place(file: Path, store: Path, *, force: bool) -> None:
    """Raise Failure for a place where no copy may be put."""
    home, place = store.resolve(), file.resolve()
    if place in {home.with_name(f"{home.name}{suffix}") for suffix in ("", "-wal", "-shm", "-journal")}:
        message = f"{file} is the store itself: name another FILE, best on another disk."
        raise Failure(message, Exit.USAGE)
    if home.parent in place.parents:
        message = (
            f"{file} is in the daemon's state directory, {home.parent}: name a FILE elsewhere, best on"
            " another disk."
        )
        raise Failure(message, Exit.USAGE)
    if file.is_dir():
        message = f"{file} is a directory: name a file in it, such as {file / 'deployer-backup.db'}."
        raise Failure(message, Exit.USAGE)
    if (file.exists() or file.is_symlink()) and not force:
        message = f"{file} is there already, and was left as it is: name another, or replace it with --force."
        raise Failure(message, Exit.REFUSED)


def _made(
    settings: Settings, store: Path, made: Path, given: Kept, origin: str | None
) -> tuple[Report, Extent]:
    """Copy the store to this file and look at all of it. Raises Failure if it is not whole."""
    from deployer.adapters.store import StoreError, backup, sqlite
    from deployer.core.audit import Verdict

    # Read before the store is, so that none is newer than what is read of it.
    known = given.and_also(kept.at_home(settings))
    origin = origin or (settings.audit.name if settings.audit is not None else None)
    try:
        if not sqlite.find(store):
            message = (
                f"no daemon has run with this state_dir yet: there is no {store}. There is nothing to copy."
            )
            raise Failure(message)
        backup.copy(store, made)
        extent = backup.extent(made)
    except StoreError as error:
        raise Failure(str(error)) from error
    report = audit_verify.verified(made, known, origin)
    if report.verdict is Verdict.CHANGED:
        audit_verify.show(report)
        message = (
            f"{store} is not as it was written, so what was copied of it is no backup, and was removed. Stop"
            f" the daemon, keep a copy of the file, and restore an older backup: `deployer restore FILE`."
        )
        raise Failure(message)
    return report, extent


def _keep(made: Path, file: Path) -> None:
    from deployer.adapters.store import StoreError, backup

    try:
        backup.keep(made, file)
    except StoreError as error:
        raise Failure(str(error)) from error


def _tell(file: Path, report: Report, extent: Extent, digest: str) -> None:
    from deployer.core.scrub import plain

    count = f"{extent.events:,} event{'' if extent.events == 1 else 's'}"
    click.echo(f"Copied {count}{when(extent.newest_at)}, to {plain(str(file))}.")
    click.echo(digest)
    audit_verify.show(report)
    click.echo(
        f"Keep it where the store is not: it holds what configs hold, secrets too. `deployer restore {file}`"
        " puts it back."
    )
