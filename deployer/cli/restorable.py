"""Whether a backup may take the place of the store: what `deployer restore` refuses, and what would be lost.

Owns these questions. Must not change anything. Invariant: a copy is let through only if it verifies against
each checkpoint that is not newer, and every event that it lacks is counted, or is known not to be countable.
"""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import click

from deployer.cli import audit_verify
from deployer.cli.backup import when
from deployer.cli.kept import CannotCheck, Kept
from deployer.cli.main import Exit, Failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deployer.core.audit import Anchor, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the store that was there, and the checkpoints, have beyond a copy.

    `beyond` are events of that store, None if they could not be counted; `is_compared` says that there was
    one. `signed` is how many were signed at most, at `place`, 0 without any.
    """

    events: int
    beyond: int | None = 0
    is_compared: bool = True
    newest_at: datetime | None = None
    signed: int = 0
    place: str = ""

    @property
    def count(self) -> int | None:
        """How many events would be lost; None if that is not known."""
        return None if self.beyond is None else max(self.beyond, self.signed - self.events)

    @property
    def is_none(self) -> bool:
        """Whether nothing is lost."""
        return self.count == 0

    @property
    def says(self) -> str:
        """Up to two clauses, as they stand in a refusal."""
        said = []
        if self.beyond is None:
            said.append("the store that is there cannot be read, so what it holds beyond that is not known")
        elif self.beyond:
            has = f"the store that is there has {in_words(self.beyond)} that it has not"
            said.append(f"{has}{when(self.newest_at)}")
        if self.signed > self.events:
            said.append(f"{in_words(self.signed)} were signed (checkpoint at {self.place})")
        return ", and ".join(said)


def require_backup(file: Path, store: Path) -> None:
    """Raise Failure for what is no store, or the one that is there."""
    with suppress(OSError):
        if file.samefile(store):
            message = f"{file} is the store that is there: name a backup of it."
            raise Failure(message, Exit.USAGE)
    try:
        is_store = audit_verify.is_store(file)
    except OSError as error:
        message = f"cannot read {file}: {error.strerror}."
        raise Failure(message) from error
    if not is_store:
        message = f"{file} is an export of the log, which holds no releases: name a backup of the store."
        raise Failure(message)


def require_owner(state_dir: Path, store: Path) -> None:
    """Raise Failure if the daemon could not open what this user would write."""
    there = next((path for path in (store, state_dir) if path.exists()), None)
    # Of a directory only root is asked: that of a container is often another's.
    if there is None or (there is state_dir and os.geteuid() != 0):
        return
    owner = there.stat().st_uid
    if owner != os.geteuid():
        with suppress(KeyError):
            name = pwd.getpwuid(owner).pw_name
            message = f"{there} is {name}'s, who runs the daemon: type it as that user, `sudo -u {name} ...`."
            raise Failure(message)
        message = f"{there} is of user {owner}, who runs the daemon: type it as that user."
        raise Failure(message)


def require_known_version(file: Path, made: Path) -> None:
    """Raise Failure for a backup that a newer version made. Raises StoreError."""
    from deployer.adapters.store import revision, schema

    found = schema.found_in(made)
    if found > revision.NEWEST:
        message = (
            f"{file} was written by a newer version of deployer (schema {found}, this one knows"
            f" {revision.NEWEST}). Nothing was changed. Install that version, and restore it with that."
        )
        raise Failure(message)


def verified(file: Path, made: Path, given: Kept, origin: str | None, events: int) -> list[Anchor]:
    """Verify a copy against the checkpoints that are not newer; return the others, the newest last."""
    from deployer.adapters.store import backup
    from deployer.core import audit

    backup.require_integrity(made, str(file))
    believed, doubts = audit.trusted(given.anchors, given.keys, origin)
    within = [anchor for anchor in believed if anchor.note.checkpoint.size <= events]
    report = audit_verify.verified(made, Kept(anchors=tuple(within), keys=given.keys), origin)
    if report.findings or doubts:
        _show(report, doubts)
        message = f"{file} was not restored, for what is said above. Nothing was changed."
        raise Failure(message)
    if given.anchors and not given.keys:
        message = (
            "there are checkpoints, and no key to check them with: name its public half with --key. Nothing"
            " was changed."
        )
        raise CannotCheck(message)
    later = [anchor for anchor in believed if anchor not in within]
    return sorted(later, key=lambda anchor: anchor.note.checkpoint.size)


def _show(report: Report, doubts: Sequence[str]) -> None:
    for line in (*report.findings[: audit_verify.MOST_SHOWN], *doubts):
        click.echo(line, err=True)


def loss(made: Path, store: Path, events: int, later: Sequence[Anchor]) -> Loss:
    """What a store and checkpoints of more events have beyond a copy of so many."""
    from deployer.adapters.store import StoreError, backup

    beyond: int | None = 0
    newest_at = None
    is_there = store.exists() or backup.is_there(store.with_name(f"{store.name}-wal"))
    if is_there:
        try:
            beyond, newest_at = backup.beyond(made, store), backup.extent(store).newest_at
        except (StoreError, OSError):
            beyond = None
    newest = later[-1] if later else None
    return Loss(
        events=events,
        beyond=beyond,
        is_compared=is_there,
        newest_at=newest_at,
        signed=newest.note.checkpoint.size if newest else 0,
        place=newest.place if newest else "",
    )


def in_words(number: int) -> str:
    """So many events, in a sentence."""
    return f"{number:,} event{'' if number == 1 else 's'}"
