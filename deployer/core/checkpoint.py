"""Checkpoints: what the log was at a time, small enough to be kept elsewhere, and signed.

Owns the text of a checkpoint (https://c2sp.org/tlog-checkpoint) in a signed note
(https://c2sp.org/signed-note), and how our signature stands in it. Must not know the log, nor who keeps
checkpoints. Invariant: what is parsed and formatted again is the same bytes, and what those two pages do
not allow is refused with its line.

    deployer.example.com/audit                      the origin: which log
    1024                                            how many events
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=    the root of the tree over their hashes

    — deployer.example.com/audit Az3grlgtzPICa5...  a signature by the key of that name

The signature is one that ssh makes, for which signed notes have no number of their own. So its type is what
they keep for such: 0xff and a longer name (`KEY_TYPE`). Signatures of other keys, of witnesses for
instance, are let stand.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployer.core import merkle, sshsig

if TYPE_CHECKING:
    from deployer.core.ssh_keys import PublicKey

NAMESPACE = "deployer-audit"
"""What signatures of checkpoints are made for, so that none is taken for one of a commit, or the reverse."""

KEY_TYPE = b"\xffsshsig/deployer-audit\n"
"""The type of our signatures in the id of a key. Behind it comes the public key as ssh writes it."""

_KEY_ID_BYTES = 4
_DASH = "\u2014 "
_NEWLINE = "\n"
_MAX_SIZE = 2**63 - 1
_MAX_SIGNATURES = 64
"""Signed notes are to be taken with 16 at least."""

_NAME = re.compile(r"[^\s+]+")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_GIT_LOG = re.compile(r"commit [0-9a-f]{40,64}( .*)?")
"""The first line of what `git log` prints."""


class InvalidCheckpoint(ValueError):  # noqa: N818 - says what was wrong with it, not that it is an error
    """The text is no checkpoint. One sentence without its full stop, with the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The first `size` events of a log were those with this root."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse what could not be written down. Raises InvalidCheckpoint."""
        if not is_name(self.origin):
            message = "the origin of a checkpoint is a name without spaces and without a plus"
            raise InvalidCheckpoint(message)
        if not 0 <= self.size <= _MAX_SIZE or len(self.root) != merkle.HASH_BYTES:
            message = "a checkpoint has a size from 0 to 2^63 - 1, and a root of 32 bytes"
            raise InvalidCheckpoint(message)

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteSignature:
    """A line below a note: the name of a key, its id, and what it made."""

    name: str
    key_id: bytes
    value: bytes

    @property
    def line(self) -> str:
        """As it stands in the note."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedCheckpoint:
    """A checkpoint and what was signed below it. `line` is where it begins, in the text it was read from."""

    checkpoint: Checkpoint
    signatures: tuple[NoteSignature, ...]
    line: int = 1

    @property
    def text(self) -> str:
        """The whole note."""
        return f"{self.checkpoint.text}\n{''.join(signature.line for signature in self.signatures)}"

    def is_signed_by(self, key: PublicKey) -> bool:
        """Whether a line is by this key, under the name of the log. False if there is none of it at all.

        Raises InvalidSignature if there is one that does not fit: then the whole note is to be thrown away.
        """
        own = key_id(self.checkpoint.origin, key)
        ours = [one for one in self.signatures if (one.name, one.key_id) == (self.checkpoint.origin, own)]
        for signature in ours:
            sshsig.verify(signature.value, self.checkpoint.text.encode(), namespace=NAMESPACE, key=key)
        return bool(ours)


def is_name(text: str) -> bool:
    """Whether this can be the origin of a checkpoint and the name of its key."""
    return bool(_NAME.fullmatch(text)) and text.isprintable()


def key_id(name: str, key: PublicKey) -> bytes:
    """The four bytes that stand before a signature of this key under this name."""
    return hashlib.sha256(name.encode() + b"\n" + KEY_TYPE + key.blob).digest()[:_KEY_ID_BYTES]


def signed(checkpoint: Checkpoint, key: PublicKey, value: bytes) -> SignedCheckpoint:
    """The checkpoint with what ssh signed of its text. Raises InvalidSignature if it does not fit."""
    line = NoteSignature(name=checkpoint.origin, key_id=key_id(checkpoint.origin, key), value=value)
    note = SignedCheckpoint(checkpoint=checkpoint, signatures=(line,))
    note.is_signed_by(key)
    return note


def parse(text: str) -> SignedCheckpoint:
    """Read one note, with nothing before or behind it. Raises InvalidCheckpoint."""
    first, *more = parse_all(text)
    if more or first.text != text:
        message = "there is to be one checkpoint, and nothing before or behind it"
        raise InvalidCheckpoint(message)
    return first


def parse_all(text: str) -> list[SignedCheckpoint]:
    """Read notes that stand below one another, as in a file of anchors, with or without empty lines between.

    What `git log` prints is taken as well, where the message of each commit is a note: its own lines are
    passed over, and the spaces that it puts before those of a message. Raises InvalidCheckpoint, also if
    there is none.
    """
    lines = _lines(text)
    notes: list[SignedCheckpoint] = []
    place = 0
    while place < len(lines):
        if lines[place]:
            note, place = _note(lines, place)
            notes.append(note)
        else:
            place += 1
    if not notes:
        message = "there is no checkpoint in it"
        raise InvalidCheckpoint(message)
    return notes


def _lines(text: str) -> list[str]:
    found = _CONTROL.search(text)
    if found:
        message = f"line {text.count(_NEWLINE, 0, found.start()) + 1} has a control character"
        raise InvalidCheckpoint(message)
    *lines, rest = text.split(_NEWLINE)
    if rest:
        message = f"line {len(lines) + 1} does not end: it was cut off"
        raise InvalidCheckpoint(message)
    if lines and _GIT_LOG.fullmatch(lines[0]):
        return [line[4:] if line.startswith("    ") else "" for line in lines]
    return lines


def _note(lines: list[str], start: int) -> tuple[SignedCheckpoint, int]:
    """The note that begins there, and where the next one can begin."""
    # So that what is missing at the end is an empty line.
    origin, size, root, border, *_ = [*lines[start : start + 4], "", "", "", ""]
    end = start + 4
    if not is_name(origin):
        message = f"line {start + 1} is no origin: a name without spaces and without a plus"
        raise InvalidCheckpoint(message)
    if not _SIZE.fullmatch(size) or int(size) > _MAX_SIZE:
        message = f"line {start + 2} is no number of events"
        raise InvalidCheckpoint(message)
    hash_ = _decoded(root)
    if hash_ is None or len(hash_) != merkle.HASH_BYTES:
        message = f"line {start + 3} is no root: 32 bytes in base64"
        raise InvalidCheckpoint(message)
    if border:
        message = f"line {end} is to be empty: a checkpoint has three lines"
        raise InvalidCheckpoint(message)
    signatures: list[NoteSignature] = []
    while end < len(lines) and lines[end].startswith(_DASH):
        signatures.append(_signature(lines[end], end + 1))
        end += 1
    if not 0 < len(signatures) <= _MAX_SIGNATURES:
        count = f"more than {_MAX_SIGNATURES} signatures" if signatures else "no signature"
        message = f"the checkpoint in line {start + 1} has {count}"
        raise InvalidCheckpoint(message)
    checkpoint = Checkpoint(origin=origin, size=int(size), root=hash_)
    return SignedCheckpoint(checkpoint=checkpoint, signatures=tuple(signatures), line=start + 1), end


def _signature(line: str, number: int) -> NoteSignature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    content = _decoded(encoded)
    if not is_name(name) or content is None or len(content) <= _KEY_ID_BYTES:
        message = f"line {number} is no signature: a dash, the name of a key, and base64"
        raise InvalidCheckpoint(message)
    return NoteSignature(name=name, key_id=content[:_KEY_ID_BYTES], value=content[_KEY_ID_BYTES:])


def _decoded(text: str) -> bytes | None:
    """What this is the base64 of; None if it is none, or not as it is always written."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:  # also for what is not ASCII
        return None
    return content if base64.b64encode(content).decode() == text else None
