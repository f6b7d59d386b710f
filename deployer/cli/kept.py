"""What was kept of the log elsewhere: signed checkpoints, and the keys that signed them, out of files.

Owns reading those files, and where the daemon keeps its own. Must not judge a log. Invariant: what cannot be
read ends the command with exit code 2 and the file's name, as in `contrib/verify-audit.py`; a checkpoint is
never passed over.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deployer.adapters.checkpoint_file import FILE, KEYS, CheckpointFile
from deployer.cli.main import Failure
from deployer.core import anchoring
from deployer.core.audit import Anchor
from deployer.core.ssh_keys import PublicKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployer.settings import Settings

_OPTIONS = (
    click.option(
        "--checkpoint",
        "notes",
        metavar="NOTES",
        multiple=True,
        type=click.Path(path_type=Path),
        help="A file of signed checkpoints that was kept elsewhere, or what `git log` prints of a branch of"
        " them; can be given again.",
    ),
    click.option(
        "--key",
        "keys",
        metavar="PUBLIC_KEY",
        multiple=True,
        type=click.Path(path_type=Path),
        help="Who signed them: a .pub file, or allowed signers; can be given again.",
    ),
    click.option("--origin", metavar="NAME", help="Which log the checkpoints are to be of."),
)


_DAMAGED = (
    " The daemon wrote this file, and it was damaged: stop the daemon, keep a copy, move the file away, and"
    " give what is anchored elsewhere instead: --checkpoint NOTES --key PUBLIC_KEY."
)


class CannotCheck(Failure):
    """What was given cannot be read or used: exit code 2, as of the verifier in contrib."""

    def __init__(self, why: str) -> None:
        """Take a sentence."""
        super().__init__(f"cannot check: {why}", 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Checkpoints with where they stand, and the keys that may have signed them."""

    anchors: tuple[Anchor, ...] = ()
    keys: tuple[PublicKey, ...] = ()

    def and_also(self, other: Kept) -> Kept:
        """Both of them. The anchors of this one come first, and so say which log it is."""
        keys = dict.fromkeys((*self.keys, *other.keys))
        return Kept(anchors=(*self.anchors, *other.anchors), keys=tuple(keys))


def options(function: Callable[..., None]) -> Callable[..., None]:
    """--checkpoint, --key and --origin, as `notes`, `keys` and `origin`."""
    for one in reversed(_OPTIONS):
        function = one(function)
    return function


def named(notes: Sequence[Path], keys: Sequence[Path]) -> Kept:
    """What these files hold. Raises CannotCheck."""
    from deployer.core.checkpoint import NAMESPACE
    from deployer.core.ssh_keys import InvalidKeys, public_keys

    anchors = [anchor for path in notes for anchor in anchors_of(path)]
    found: dict[PublicKey, None] = {}
    for path in keys:
        try:
            found |= dict.fromkeys(public_keys(text_of(path), NAMESPACE))
        except InvalidKeys as error:
            message = f"{path}: {error}."
            raise CannotCheck(message) from error
    return Kept(anchors=tuple(anchors), keys=tuple(found))


def anchors_of(path: Path) -> list[Anchor]:
    """The checkpoints of a file. Raises CannotCheck, also if there is none."""
    return _anchors(path, text_of(path))


def at_home(settings: Settings) -> Kept:
    """What the daemon itself has signed, and the public halves of its keys; nothing where it signs nothing.

    Raises CannotCheck if its checkpoints are there and cannot be read.
    """
    path = checkpoints_file(settings)
    # One whose writing was cut off, or goes on at this moment, is none yet.
    text = anchoring.split(text_of(path, _DAMAGED))[0] if path.exists() else ""
    anchors = _anchors(path, text, _DAMAGED) if text else []
    keys = dict.fromkeys((*_own_keys(settings), *_former_keys(settings)))
    return Kept(anchors=tuple(anchors), keys=tuple(keys))


def misfit(settings: Settings) -> str:
    """Why the daemon signs nothing any more: the log is not the one that was signed. "" if it does.

    Raises CannotCheck.
    """
    if settings.audit is None:
        return ""
    try:
        return CheckpointFile(settings.state_dir).remembered().misfit
    except OSError as error:
        message = f"{error.filename}: {error.strerror}."
        raise CannotCheck(message) from error


def checkpoints_file(settings: Settings) -> Path:
    """What the daemon has signed, one note below another."""
    return settings.state_dir / FILE


def text_of(path: Path, step: str = "") -> str:
    """A file of notes or keys. Raises CannotCheck, with the next step if it is no text."""
    try:
        return path.read_bytes().decode()
    except OSError as error:
        message = f"{path}: {error.strerror}."
        raise CannotCheck(message) from error
    except UnicodeDecodeError as error:
        message = f"{path}: it is not text in UTF-8.{step}"
        raise CannotCheck(message) from error


def _anchors(path: Path, text: str, step: str = "") -> list[Anchor]:
    from deployer.core.checkpoint import InvalidCheckpoint, parse_all

    try:
        notes = parse_all(text)
    except InvalidCheckpoint as error:
        message = f"{path}: {error}.{step}"
        raise CannotCheck(message) from error
    return [Anchor(place=f"{path}:{note.line}", note=note) for note in notes]


def _own_keys(settings: Settings) -> tuple[PublicKey, ...]:
    """The public half of the daemon's key, also for who may not read the private one; none without any."""
    from deployer.adapters.ssh_signing import CannotSign, public_key
    from deployer.core.checkpoint import NAMESPACE
    from deployer.core.ssh_keys import InvalidKeys, public_keys

    if settings.audit is None:
        return ()
    file = settings.audit.key_file
    with suppress(CannotSign):
        return (public_key(file),)
    with suppress(OSError, UnicodeDecodeError, InvalidKeys):
        return public_keys(file.with_name(f"{file.name}.pub").read_text(), NAMESPACE)
    return ()


def _former_keys(settings: Settings) -> tuple[PublicKey, ...]:
    """All that a daemon with this state directory signed with. Raises CannotCheck."""
    from deployer.core.checkpoint import NAMESPACE
    from deployer.core.ssh_keys import InvalidKeys, public_keys

    path = settings.state_dir / KEYS
    if not path.exists():
        return ()
    step = " The daemon wrote this file: move it away, and name the keys that signed with --key PUBLIC_KEY."
    try:
        return public_keys(text_of(path, step), NAMESPACE)
    except InvalidKeys as error:
        message = f"{path}: {error}.{step}"
        raise CannotCheck(message) from error
