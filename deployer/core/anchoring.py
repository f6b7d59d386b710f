"""What is anchored of the log, and whether it is still the log that was signed.

Owns the judgement over a checkpoint that was kept, how one is written for git and for syslog, and what is
told of the places where they are kept. Must not know how anything is sent. Invariant: of a log that is not
the one that was signed nothing is signed any more, unless a person has given up, in the log itself, what is
missing.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from deployer.core.audit import shown
from deployer.core.checkpoint import InvalidCheckpoint, SignedCheckpoint, parse, parse_all
from deployer.core.events import StoreRestored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployer.core.events import Event
    from deployer.core.merkle import Frontier

REFS = "deployer/audit/"
"""Below `refs/`: where checkpoints are pushed to, each log below its own name."""

LAST_LINE = "\u2014 "
"""What a signature begins with, which ends a note."""

_ANOTHER = (
    "The store is not the one that was signed: {why} ({where}). Nothing is signed any more. Stop the daemon,"
    " keep a copy of its state directory, and see what `deployer audit verify --checkpoint ANCHORS --key KEY`"
    " says. Then put the right store back; or restore a backup and give up what is missing: `deployer restore"
    " FILE --accept-loss --reason TEXT --checkpoint ANCHORS --key KEY`. ANCHORS is a file of what"
    " `git log --format=%B` prints of the ref, once it is fetched; KEY is the public half of the key."
)
_NOT_OURS = (
    "The newest checkpoint of this machine is not of this log: {why} ({where}). Nothing is signed any more."
    " Give the log its name back (audit.name), or move that file away to begin anew; then start the daemon"
    " again."
)

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
_HASH = re.compile("[0-9a-f]{64}")


class Misfit(Exception):  # noqa: N818 - says what is the case
    """A log, or a checkpoint of it, is not what it was. The message is a clause without a full stop.

    `is_proof`: it shows that the store is not the one that was signed, and not only that a place where
    checkpoints are kept holds something else.
    """

    def __init__(self, message: str, *, is_proof: bool = True) -> None:
        """Take the clause."""
        super().__init__(message)
        self.is_proof = is_proof


def refusal(error: Misfit, where: str) -> str:
    """Why nothing is signed any more, and what to do. `where` names the checkpoint that does not fit."""
    return (_ANOTHER if error.is_proof else _NOT_OURS).format(why=error, where=where)


class Loss(NamedTuple):
    """The events after the first `kept`, up to `had`, were given up by who restored an older copy then.

    `roots` are those of the signed checkpoints that they knew of these events, in hex.
    """

    kept: int
    had: int
    at: datetime
    roots: frozenset[str] = frozenset()


class KeptNote(NamedTuple):
    """A checkpoint, and when it came where it is kept."""

    note: SignedCheckpoint
    at: datetime


def ref_below(name: str) -> str:
    """Where the checkpoints of the log with this name are, below `refs/`: no two names share one.

    A name may hold what a ref may not, and may begin as another one does. So all but letters, digits, `-`,
    `_` and single dots inside is written as in a URL.
    """
    last = len(name) - 1
    safe = (
        one
        if one in _PLAIN or (one == "." and 0 < place < last and name[place + 1] != ".")
        else "".join(f"%{byte:02X}" for byte in one.encode())
        for place, one in enumerate(name)
    )
    return REFS + re.sub(r"\.lock$", "%2Elock", "".join(safe))


def losses(events: Iterable[Event]) -> list[Loss]:
    """What these events say that people gave up."""
    return [
        Loss(
            kept=one.events,
            had=max(one.signed, one.events + (one.lost or 0)),
            at=one.at,
            roots=frozenset(one.given_up),
        )
        for one in events
        if isinstance(one, StoreRestored)
    ]


def grow(tree: Frontier, rows: Iterable[tuple[object, object]]) -> None:
    """Add the events with these ids and hashes, which are to come next. Raises Misfit where one does not."""
    for id_, hash_ in rows:
        if id_ != tree.size + 1:
            message = f"after its event {tree.size:,} comes one with id {shown(id_)}"
            raise Misfit(message)
        if not isinstance(hash_, str) or not _HASH.fullmatch(hash_):
            message = f"the hash of the event with id {tree.size + 1} is none"
            raise Misfit(message)
        tree.append(bytes.fromhex(hash_))


def fits(kept: KeptNote, origin: str, events: int, root: bytes | None, losses: Iterable[Loss] = ()) -> bool:
    """Whether a log of so many events is the one of which this was signed; False if it was given up.

    `root` is that over the first events, as many as were signed; it is not looked at where there are fewer.
    Raises Misfit if it is another log.
    """
    signed = kept.note.checkpoint
    if signed.origin != origin:
        message = f"it is of another log: its origin is {shown(signed.origin)}, not {shown(origin)}"
        raise Misfit(message, is_proof=False)
    if signed.size <= events and signed.root == root:
        return True
    if excused(kept, losses) is not None:
        return False
    if signed.size > events:
        message = f"{signed.size:,} events were signed, and the store has {events:,}"
        raise Misfit(message)
    message = f"the first {signed.size:,} events of the store are not those that were signed"
    raise Misfit(message)


def excused(kept: KeptNote, losses: Iterable[Loss]) -> int | None:
    """How many events were left when what this covers was given up, the last time; None if it was not.

    What was signed after that is not excused by it. A root that was named is, whenever that was: the clock
    may have been ahead when it was signed, and the date of a commit is the word of who pushed it.
    """
    size, root = kept.note.checkpoint.size, kept.note.checkpoint.root.hex()
    return max(
        (
            loss.kept
            for loss in losses
            if loss.kept < size <= loss.had and (kept.at <= loss.at or root in loss.roots)
        ),
        default=None,
    )


def remembers(known: Kept, events: int, losses: Iterable[Loss]) -> None:
    """See that a log of so many events is not shorter than what is remembered, where no checkpoint is left.

    An older copy that a person restored since, or that was said to lack so many, is. Raises Misfit.
    """
    if known.size <= events:
        return
    for loss in losses:
        if loss.kept < known.size and (known.size <= loss.had or known.at is None or known.at <= loss.at):
            return
    message = f"{known.size:,} events were signed, and the store has {events:,}"
    raise Misfit(message)


def read(message: str) -> SignedCheckpoint:
    """The checkpoint that a commit's message is. Raises Misfit."""
    try:
        return parse(message if message.endswith("\n") else f"{message}\n")
    except InvalidCheckpoint as error:
        what = f"it is no checkpoint ({error})"
        raise Misfit(what, is_proof=False) from error


def split(text: str) -> tuple[str, str]:
    """What of a file of notes is whole, and the beginning of one whose writing was cut off."""
    end = 0
    place = 0
    for line in text.splitlines(keepends=True):
        place += len(line)
        if line.startswith(LAST_LINE) and line.endswith("\n"):
            end = place
    return text[:end], text[end:]


def newest(text: str) -> SignedCheckpoint | None:
    """The last of the notes in a text that ends with one; None where there is none at all. Raises Misfit.

    What stands before it is not looked at: a part of it may be missing.
    """
    lines = text.splitlines(keepends=True)
    start = len(lines)
    while start and lines[start - 1].startswith(LAST_LINE):
        start -= 1
    return read("".join(lines[max(0, start - 4) :])) if lines else None


def notes(text: str) -> list[SignedCheckpoint]:
    """All that are whole in a file of notes. Raises Misfit where it holds anything else."""
    whole = split(text)[0]
    try:
        return parse_all(whole) if whole else []
    except InvalidCheckpoint as error:
        what = f"it is no file of checkpoints ({error})"
        raise Misfit(what, is_proof=False) from error


def line(note: SignedCheckpoint) -> str:
    """The note in one line, for syslog, which has no others. docs/audit.md says how it is made one again.

    One signature is enough there: ours, which is the first.
    """
    origin, size, root = note.checkpoint.text.splitlines()
    mine = note.signatures[0].line.removeprefix(LAST_LINE).rstrip("\n")
    return f"audit checkpoint {origin} {size} {root} {mine}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How far the log is anchored in one place.

    `place` is file, syslog or git, and `where` which one. `size` is how many events the newest checkpoint
    there covers, which came there `at`; 0 and None before the first. `trouble` says why a newer one is not
    there, in a sentence; "" if nothing is wrong.
    """

    place: str
    where: str
    size: int = 0
    at: datetime | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchorage:
    """All places where checkpoints are kept. `misfit` says why nothing is signed any more; "" if all fits."""

    kept: tuple[Kept, ...] = field(default=())
    misfit: str = ""

    @property
    def text(self) -> str:
        """As JSON, for `anchorage`."""
        kept = [
            {
                "place": one.place,
                "where": one.where,
                "size": one.size,
                "at": None if one.at is None else one.at.isoformat(),
                "trouble": one.trouble,
            }
            for one in self.kept
        ]
        return json.dumps({"misfit": self.misfit, "kept": kept}, indent=1) + "\n"

    def of(self, place: str, where: str) -> Kept:
        """What is known of this place: nothing yet, as a rule, if it was another one before."""
        found = (one for one in self.kept if (one.place, one.where) == (place, where))
        return next(found, Kept(place=place, where=where))


def anchorage(text: str) -> Anchorage:
    """What `Anchorage.text` wrote; that of a log without anchors if this is nothing of the kind."""
    # Also of numbers that are none, and of what is nested without an end.
    try:
        found: Any = json.loads(text)
        kept = tuple(
            Kept(
                place=str(one["place"]),
                where=str(one["where"]),
                size=int(one["size"]),
                at=None if one["at"] is None else _moment(one["at"]),
                trouble=str(one["trouble"]),
            )
            for one in found["kept"]
        )
        return Anchorage(kept=kept, misfit=str(found["misfit"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return Anchorage()


def _moment(text: str) -> datetime:
    """Raises ValueError for one without a zone, which nothing can be compared with."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found
