"""`deployer restore FILE`: a backup in the place of the store, while no daemon runs.

Owns the order of it, and what is said of it. Must not decide whether a copy may come in: `restorable` does.
Invariant: nothing is changed unless the copy verifies; events that are lost by it are counted before, given
up by a person with a reason, and the restored log says so.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deployer.adapters.checkpoint_file import CheckpointFile
from deployer.cli import client, context, kept, restorable
from deployer.cli.backup import digest_of, when
from deployer.cli.kept import Kept
from deployer.cli.main import Exit, Failure, common_options, option
from deployer.cli.restorable import in_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployer.core.audit import Anchor
    from deployer.core.events import Event
    from deployer.core.record import Record
    from deployer.settings import Settings


_MOST_GIVEN_UP = 64
"""Roots of checkpoints that the event names. The daemon is asked for the newest one of each place only."""

_PAUSED = "the store was restored from a backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What was typed, with the checkpoints and keys that were named."""

    file: Path
    given: Kept
    origin: str | None
    reason: str
    is_accepted: bool
    pauses: bool | None


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Restore FILE although it lacks events that the store here has, or that were signed. Say --reason.",
)
@click.option("--reason", default="", help="Why, for the audit log.")
@click.option(
    "--pause/--no-pause",
    "pause",
    default=None,
    help="Pause every environment, so that nothing is deployed or healed before somebody has looked and"
    " resumes it. Default: unless the store that is there shows that nothing happened since.",
)
@kept.options
@common_options
@click.pass_context
def command(
    ctx: click.Context,
    file: Path,
    reason: str,
    notes: tuple[Path, ...],
    keys: tuple[Path, ...],
    origin: str | None,
    *,
    accept_loss: bool,
    pause: bool | None,
    config: str | None,  # noqa: ARG001 - read from ctx
    output: str | None,  # noqa: ARG001 - read from ctx
) -> None:
    """Put FILE, which `deployer backup` made, in the place of the store, while no daemon runs.

    It is verified first, also against the checkpoints in the state directory. The store that is there is kept
    beside it. What the clusters run is not touched: the daemon decides when it is started again.
    """
    if accept_loss and not reason.strip():
        message = "--accept-loss gives up a part of the audit log: say why with --reason TEXT."
        raise click.UsageError(message)
    settings = context.settings(ctx)
    given = kept.named(notes, keys)
    wish = _Wish(
        file=file, given=given, origin=origin, reason=reason.strip(), is_accepted=accept_loss, pauses=pause
    )
    done = _locked(settings, wish)
    form = option(ctx, "output") or "table"
    if form == "table":
        _tell(done)
    else:
        context.emit(done, form)


def _locked(settings: Settings, wish: _Wish) -> dict[str, Any]:
    """Restore while no daemon can start. Raises Failure."""
    from deployer.adapters import statedir
    from deployer.adapters.store import StoreError, backup

    store = settings.state_dir / context.STORE_FILE
    restorable.require_backup(wish.file, store)
    restorable.require_owner(settings.state_dir, store)
    try:
        with statedir.lock(settings.state_dir):
            made = backup.bring(wish.file, store)
            try:
                return _restored(settings, wish, made)
            finally:
                backup.discard(made)
    except statedir.StateDirBusy as error:
        message = f"{error} A store is restored while no daemon runs. Nothing was changed."
        raise Failure(message, Exit.REFUSED) from error
    except (StoreError, statedir.StateDirUnusable) as error:
        raise Failure(str(error)) from error
    except OSError as error:
        message = f"cannot read {error.filename}: {error.strerror}."
        raise Failure(message) from error


def _restored(settings: Settings, wish: _Wish, made: Path) -> dict[str, Any]:
    from deployer.adapters.store import backup
    from deployer.core.events import DAEMON_LOG, StoreRestored
    from deployer.core.redact import one_line

    file = wish.file
    _warn_without_anchors(settings, wish)
    # Now that no daemon adds one.
    given = wish.given.and_also(kept.at_home(settings))
    store = settings.state_dir / context.STORE_FILE
    origin = wish.origin or (settings.audit.name if settings.audit is not None else None)
    digest = digest_of(file)
    extent = backup.extent(made)
    # The file of a newer version is refused by its own name, before anything is said of what is in it.
    restorable.require_known_version(file, made)
    later = restorable.verified(file, made, given, origin, extent.events)
    loss = restorable.loss(made, store, extent.events, later)
    if not loss.is_none and not wish.is_accepted:
        message = (
            f"{file} ends at event {extent.events:,}{when(extent.newest_at)}; {loss.says}. Nothing was"
            f" changed. Restore a newer backup, or give up what is missing: --accept-loss --reason TEXT."
        )
        raise Failure(message, Exit.REFUSED)
    now = datetime.now(UTC)
    actor, reason = f"{client.login_name()} (local)", one_line(wish.reason)
    event = StoreRestored(
        at=now,
        actor=actor,
        reason=reason,
        backup=digest,
        events=extent.events,
        lost=loss.count,
        signed=max((anchor.note.checkpoint.size for anchor in given.anchors), default=0),
        given_up=_roots(later),
    )
    is_behind = not (loss.is_none and loss.is_compared)
    # Where nobody knows what happened since, the daemon could put a cluster back to what it ran then.
    pauses = wish.pauses if wish.pauses is not None else is_behind
    backup.finish(
        made,
        DAEMON_LOG,
        event,
        others=partial(_paused, at=now, actor=actor, reason=reason or _PAUSED) if pauses else _as_they_are,
        revoked=backup.revoked(store) if store.exists() else {},
        is_behind=is_behind,
    )
    before = backup.put_in_place(made, store, f"{store.name}.before-restore-{now:%Y%m%dT%H%M%SZ}")
    moved = _move_checkpoints(settings, extent.events, now)
    return {
        "file": str(file),
        "sha256": digest.partition(":")[2],
        "events": extent.events,
        "newest_at": None if extent.newest_at is None else extent.newest_at.isoformat(),
        "lost": loss.count,
        "signed": event.signed,
        "paused": pauses,
        "store_before": None if before is None else str(before),
        "checkpoints_lost": None if moved is None else str(moved),
    }


def _warn_without_anchors(settings: Settings, wish: _Wish) -> None:
    """Say on stderr that nothing here tells what was signed, where the daemon signs."""
    path = kept.checkpoints_file(settings)
    if settings.audit is not None and not wish.given.anchors and not path.exists():
        click.echo(
            f"Warning: there is no {path}, so nothing here says how many events were signed. Give what is"
            " anchored elsewhere, or an old copy passes for new: --checkpoint NOTES --key PUBLIC_KEY.",
            err=True,
        )


def _roots(lost: Sequence[Anchor]) -> tuple[str, ...]:
    """Of the newest checkpoints that are given up, the newest first; those of one root once."""
    roots = dict.fromkeys(anchor.note.checkpoint.root.hex() for anchor in reversed(lost))
    return tuple(islice(roots, _MOST_GIVEN_UP))


def _paused(record: Record, *, at: datetime, actor: str, reason: str) -> tuple[Event, ...]:
    """Stop an environment's automation. A rollout that was in flight then is none to go on with."""
    from deployer.core.events import Cancelled, Paused

    pause = Paused(at=at, actor=actor, reason=reason)
    if record.rollout is None:
        return (pause,)
    return (Cancelled(at=at, actor=actor, reason=reason, rollout=record.rollout.id), pause)


def _as_they_are(_record: Record) -> tuple[Event, ...]:
    return ()


def _move_checkpoints(settings: Settings, events: int, now: datetime) -> Path | None:
    """Take those of events that are not there out of the daemon's file, into one of their own.

    Raises Failure: the store is restored by then.
    """
    from deployer.core.anchoring import Misfit

    file = CheckpointFile(settings.state_dir)
    try:
        moved = file.set_aside(events, now)
    except (OSError, Misfit) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        message = (
            f"The store is restored; but {file.path} could not be written, and still has checkpoints of"
            f" events that were given up: {why}. Make room, then start the daemon, which moves them."
        )
        raise Failure(message) from error
    with suppress(OSError):
        known = file.remembered()
        if known.misfit:
            # Of the store that was there. What is true of this one the daemon finds out when it starts.
            file.remember(replace(known, misfit=""))
    return moved


def _tell(done: dict[str, Any]) -> None:
    lost, count = done["lost"], in_words(done["events"])
    click.echo(f"Restored {count} from {done['file']}; the log says so, in @deployer.")
    if lost is None:
        click.echo("What came after them could not be counted, and was given up.")
    elif lost:
        click.echo(f"{in_words(lost)} after them {'was' if lost == 1 else 'were'} given up.")
    if done["store_before"]:
        click.echo(f"The store that was there is {done['store_before']}: remove it when you need it no more.")
    if done["checkpoints_lost"]:
        click.echo(f"Checkpoints of events that are lost are in {done['checkpoints_lost']}.")
    if done["paused"]:
        click.echo("Every environment is paused: `deployer resume ENV` lets one go on.")
    click.echo("Nothing was done to a cluster. Start the daemon: it looks at git and at what each one runs.")
