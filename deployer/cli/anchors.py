"""From the settings to what signs the log and keeps what was signed.

Owns that translation, which the daemon, the doctor and `deployer audit checkpoint` share. Must not sign
anything, nor push. Invariant: without `audit` in the settings there is nothing of it; and the public half of
a key that a daemon begins to sign with is kept, for when there is another.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployer.adapters.checkpoint_file import CheckpointFile, remember_key
from deployer.cli.repositories import access
from deployer.core.anchoring import ref_below

if TYPE_CHECKING:
    from pathlib import Path

    from deployer.adapters.git import AnchorRef
    from deployer.adapters.store.sqlite import Database
    from deployer.engine.anchoring import Anchoring
    from deployer.settings import Audit, Settings

_MIRROR = "audit.anchors.git"
"""Beside the mirrors of the repositories, whose names hold no dot."""


def made(settings: Settings, database: Database) -> Anchoring | None:
    """What signs and anchors the log of this store; None if the settings do not want it."""
    # git, and the thread, are imported late: most commands need none of it.
    from deployer.adapters.store.leaves import Leaves
    from deployer.adapters.syslog import Syslog
    from deployer.engine.anchor_places import InGit, InSyslog, Place
    from deployer.engine.anchoring import Anchoring

    audit = settings.audit
    if audit is None:
        return None
    _remember_key(settings.state_dir, audit)
    places: list[Place] = []
    if audit.syslog is not None:
        places.append(InSyslog(Syslog(audit.syslog)))
    ref = pushed_to(audit, settings.state_dir / "mirrors" / _MIRROR)
    if ref is not None:
        places.append(InGit(ref, now=_now))
    return Anchoring(
        name=audit.name,
        every_seconds=audit.every,
        leaves=Leaves(database),
        key_file=audit.key_file,
        file=CheckpointFile(settings.state_dir),
        places=places,
        now=_now,
    )


def _remember_key(state_dir: Path, audit: Audit) -> None:
    """Keep the public half of the key, so that another one goes on with the same log."""
    from deployer.adapters.ssh_signing import CannotSign, public_key

    # Whoever signs says what is wrong with the key, or with the disk; a start does not fail for it.
    with suppress(CannotSign, OSError):
        remember_key(state_dir, public_key(audit.key_file).line)


def pushed_to(audit: Audit, mirror: Path, *, seconds: float | None = None) -> AnchorRef | None:
    """The ref that checkpoints are pushed to, worked on in `mirror`; None if they are not.

    `seconds` is how long a server may take for an answer, if not as long as the daemon lets it.
    """
    from deployer.adapters.git import AnchorRef

    push = audit.push
    if push is None:
        return None
    names = ("look_timeout_seconds", "fetch_timeout_seconds", "push_timeout_seconds")
    patience = {} if seconds is None else dict.fromkeys(names, seconds)
    return AnchorRef(mirror, push.url, ref_below(audit.name), access=access(push), **patience)


def _now() -> datetime:
    return datetime.now(UTC)
