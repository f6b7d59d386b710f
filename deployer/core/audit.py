"""Whether the log is as it was written: its chains, its count, and the checkpoints that were kept elsewhere.

Owns the check and its sentences. Must not know where events and checkpoints come from. Invariant: of an
environment's log the first bad record is named, and `contrib/verify-audit.py`, which shares no code with
this, says the same in the same words.

What finds what: the chain of an environment finds each edited, missing, inserted or moved event; the ids,
which have no gap, and what the store counts find a log that was cut off carelessly; a signed checkpoint
finds one that was cut off or replaced by an older copy with care, or written anew from the edit on. What is
newer than the newest checkpoint is bound by the chains alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from deployer.core import chain
from deployer.core.checkpoint import SignedCheckpoint
from deployer.core.merkle import EMPTY, Frontier
from deployer.core.raw_log import RawEvent, UnreadableLog
from deployer.core.sshsig import InvalidSignature

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from deployer.core.ssh_keys import PublicKey

_SHOWN = 80
"""Characters of a name that are shown: what a damaged row holds in its place can be of any length."""

_HARMLESS = "\N{REPLACEMENT CHARACTER}"

_TYPES = (str, int, str, str, str, str, str, str, str, str)
"""Of the columns behind the id."""


class Verdict(Enum):
    """What came out. The values are the exit codes of the commands."""

    VERIFIED = 0
    CHANGED = 1
    UNCHECKED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A checkpoint that was kept elsewhere. `place` says where it stands, as in `anchors.txt:12`."""

    place: str
    note: SignedCheckpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreFacts:
    """What a store says of its log elsewhere than in it.

    By environment: the sequence that its record is of, and how many rollouts its history has. `newest_id`
    is the last id that was given out. `faults` are sentences about what the store sees by itself; without
    `is_readable` there is nothing else, and its log cannot be read either.
    """

    records: Mapping[str, int]
    rollouts: Mapping[str, int]
    newest_id: int
    faults: tuple[str, ...] = ()
    is_readable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found, in sentences; why less was checked than was asked for; and how much there was.

    `covered` is how many of the events a checkpoint vouches for.
    """

    findings: tuple[str, ...]
    unchecked: tuple[str, ...]
    events: int
    environments: int
    checkpoints: int
    covered: int

    @property
    def verdict(self) -> Verdict:
        """A finding counts for more than what could not be looked at."""
        if self.findings:
            return Verdict.CHANGED
        return Verdict.UNCHECKED if self.unchecked else Verdict.VERIFIED

    @property
    def summary(self) -> str:
        """One sentence with the counts."""
        what = f"{_count(self.events, 'event')} of {_count(self.environments, 'environment')}"
        if self.verdict is Verdict.CHANGED:
            return f"NOT as it was written: {_count(len(self.findings), 'finding')} in {what}."
        if self.verdict is Verdict.UNCHECKED:
            return f"Not fully checked: {what}."
        if not self.checkpoints:
            warning = "no checkpoint was given, so a log cut off or written anew would not be noticed"
            return f"Verified: {what}; {warning}."
        checkpoints = _count(self.checkpoints, "signed checkpoint")
        return f"Verified: {what}, {checkpoints}; the newest covers {self.covered:,} of the events."


def verify(
    events: Iterable[RawEvent],
    *,
    anchors: Sequence[Anchor] = (),
    keys: Sequence[PublicKey] = (),
    origin: str | None = None,
    store: StoreFacts | None = None,
    before: Frontier | None = None,
) -> Report:
    """Check all events of a log, in the order of their ids, against what was kept of it.

    Without an `origin` it is that of the first anchor. Without keys the anchors are compared all the same,
    but the verdict is then not that the log is verified. `events` may raise UnreadableLog: that is a
    finding too. `before` is the tree over the events before the first of these, which are not there.
    """
    believed, doubts = trusted(anchors, keys, origin)
    log = _Log(sizes={anchor.note.checkpoint.size for anchor in believed})
    if before is not None and before.size:
        log.begin_after(before)
    findings = [*store.faults] if store else []
    log.whole = store is None or store.is_readable
    try:
        for event in events if log.whole else ():
            log.take(event)
    except UnreadableLog as error:
        log.whole = False
        log.findings.append(f"After {_count(log.events, 'event')} the log cannot be read on: {error}.")
    findings += log.findings
    if store and log.whole:
        findings += _compared(log, store)
    findings += doubts
    findings += _held_against(log, believed)
    unchecked: tuple[str, ...] = ()
    if anchors and not keys:
        unchecked = ("No key was given, so no signature was checked: a checkpoint could be anybody's.",)
    return Report(
        findings=tuple(findings),
        unchecked=unchecked,
        events=log.events,
        environments=len(log.places),
        checkpoints=len(anchors),
        covered=max((0, *(anchor.note.checkpoint.size - log.absent for anchor in believed))),
    )


def trusted(
    anchors: Sequence[Anchor], keys: Sequence[PublicKey], origin: str | None = None
) -> tuple[list[Anchor], list[str]]:
    """The anchors that are of this log and signed, and why the others are not: a sentence for each.

    Without keys no signature is checked.
    """
    found, doubts = [], []
    for anchor in anchors:
        doubt = _doubt(anchor, keys, origin or anchors[0].note.checkpoint.origin)
        if doubt:
            doubts.append(f"The checkpoint at {anchor.place} {doubt}.")
        else:
            found.append(anchor)
    return found, doubts


def shown(value: object) -> str:
    """What a row holds, as it may stand in a sentence: whoever changed the row chose it."""
    text = str(value)
    harmless = "".join(one if one.isprintable() else _HARMLESS for one in text[:_SHOWN])
    return harmless if len(text) <= _SHOWN else f"{harmless}..."


@dataclass(slots=True)
class _Place:
    """How far an environment's log was followed. Once `broken`, its events are only counted."""

    sequence: int = 0
    hash: str = chain.GENESIS
    started: int = 0
    broken: bool = False


@dataclass(slots=True, kw_only=True)
class _Log:
    """What was read so far. `roots` are those at the `sizes` that were asked for.

    `absent` events came before the first that is read.
    """

    sizes: set[int]
    absent: int = 0
    events: int = 0
    newest_id: int = 0
    whole: bool = True
    places: dict[str, _Place] = field(default_factory=dict)
    roots: dict[int, bytes] = field(default_factory=lambda: {0: EMPTY})
    findings: list[str] = field(default_factory=list)
    _tree: Frontier = field(default_factory=Frontier)

    @property
    def size(self) -> int:
        """How long the log is, as far as it was read."""
        return self.absent + self.events

    def begin_after(self, before: Frontier) -> None:
        """Go on with a tree. Where each environment then is, its first event says: its hash is of that."""
        self.absent = self.newest_id = before.size
        self._tree = Frontier.parse(before.text)
        self.roots = {before.size: before.root}

    def take(self, event: RawEvent) -> None:
        """Follow the log by one event."""
        self.events += 1
        self._count_id(event)
        computed = _computed(event)
        name = str(event.environment)
        place = self.places.get(name)
        if place is None:
            place = self.places[name] = _Place()
            if self.absent and type(event.sequence) is int and event.sequence > 1:
                place.sequence, place.hash = event.sequence - 1, event.previous_hash
        self._follow(event, place, computed)
        if self.sizes:
            self._tree.append(bytes.fromhex(computed))
            if self.size in self.sizes:
                self.roots[self.size] = self._tree.root

    def _count_id(self, event: RawEvent) -> None:
        expected = self.newest_id + 1
        if type(event.id) is not int:
            self.findings.append(f"{_which(event)} is damaged: its id is not a number.")
        elif event.id > expected:
            missing = _span("id", expected, event.id - 1)
            self.findings.append(f"{missing} missing: {_which(event, begins=False)} comes next.")
            self.newest_id = event.id
        elif event.id < expected:
            self.findings.append(f"{_which(event)} is out of place: it comes after id {self.newest_id}.")
        else:
            self.newest_id = expected

    def _follow(self, event: RawEvent, place: _Place, computed: str) -> None:
        place.started += event.type == "started"
        if place.broken:
            return
        expected = place.sequence + 1
        if (event.sequence, event.previous_hash, event.hash) != (expected, place.hash, computed):
            place.broken = True
            self.findings.append(_fault(event, expected, place.hash))
        place.sequence, place.hash = expected, event.hash


def _computed(event: RawEvent) -> str:
    """The hash of what the event says; "" if that is nothing of which one could have been made."""
    if tuple(map(type, event[1:-1])) != _TYPES[:-1]:
        return ""
    try:
        return chain.link(event.previous_hash, event.chained)
    except UnicodeEncodeError:
        return ""


def _fault(event: RawEvent, expected: int, previous: str) -> str:
    """What is wrong with an event that is not the next one of its environment."""
    kinds = zip(event._fields[1:], event[1:], _TYPES, strict=True)
    wrong = next(((name, kind) for name, value, kind in kinds if type(value) is not kind), None)
    if wrong:
        return (
            f"{_which(event)} is damaged: its {wrong[0]} is not {'text' if wrong[1] is str else 'a number'}."
        )
    if event.sequence > expected:
        missing = _span("event", expected, event.sequence - 1, f" of {shown(event.environment)}")
        return f"{missing} missing: {_which(event, begins=False)} comes next."
    if event.sequence < expected:
        return f"{_which(event)} is out of place: event {expected} was to come."
    if event.previous_hash != previous:
        return f"{_which(event)} does not follow the one before it: its previous hash is another."
    return f"{_which(event)} was changed after it was written: its hash is not of what it says."


def _compared(log: _Log, store: StoreFacts) -> list[str]:
    """Where the store counts otherwise than the log; not where that is broken: its length is not known."""
    found = []
    for name in sorted({*log.places, *store.records, *store.rollouts}, key=str):
        place = log.places.get(name, _Place())
        if place.broken:
            continue
        recorded, listed = store.records.get(name), store.rollouts.get(name, 0)
        if recorded != (place.sequence or None):
            ends = f"ends at event {place.sequence}" if place.sequence else "is empty"
            record = "is missing" if recorded is None else f"is of event {shown(recorded)}"
            found.append(f"The log of {shown(name)} {ends}, but its record {record}: its end was changed.")
        if listed != place.started:
            started = _count(place.started, "rollout")
            found.append(f"The log of {shown(name)} starts {started}, but its history has {shown(listed)}.")
    if log.newest_id != store.newest_id:
        given = f"but ids up to {shown(store.newest_id)} were given out"
        found.append(f"The newest event has id {log.newest_id}, {given}: the end of the log was changed.")
    return found


def _doubt(anchor: Anchor, keys: Sequence[PublicKey], origin: str) -> str:
    found = anchor.note.checkpoint.origin
    if found != origin:
        return f"is of another log: its origin is {shown(found)}, not {shown(origin)}"
    try:
        # A list: one signature that does not fit is enough to throw the note away.
        signed = [anchor.note.is_signed_by(key) for key in keys]
    except InvalidSignature as error:
        return f"has a signature that is no good: {error}"
    return "" if not keys or any(signed) else "is not signed with a key that was given"


def _held_against(log: _Log, believed: Sequence[Anchor]) -> list[str]:
    """What the checkpoints show: events missing at the end, and the first part that is another."""
    found = []
    signed = {anchor.note.checkpoint.size: anchor for anchor in believed}
    largest = max(signed, default=0)
    if log.whole and largest > log.size:
        there, place = _count(log.size, "event"), signed[largest].place
        missing = _span("event", log.size + 1, largest)
        found.append(
            f"{missing} missing: the log has {there}, but {largest:,} were signed (checkpoint at {place})."
        )
    reached = sorted(
        (anchor for anchor in believed if anchor.note.checkpoint.size in log.roots),
        key=lambda anchor: anchor.note.checkpoint.size,
    )
    fits = 0
    for anchor in reached:
        size = anchor.note.checkpoint.size
        if anchor.note.checkpoint.root != log.roots[size]:
            which = f"The first {_count(size, 'event')}" if size else "No events"
            found.append(
                f"{which} are not what was signed (checkpoint at {anchor.place}): the log was changed after"
                f" event {fits:,} of all, and written anew from there."
            )
            break
        fits = size
    return found


def _which(event: RawEvent, *, begins: bool = True) -> str:
    """The event, to begin a sentence with or to go on with."""
    word = "Event" if begins else "event"
    return f"{word} {shown(event.sequence)} of {shown(event.environment)} (id {shown(event.id)})"


def _span(what: str, first: int, last: int, of: str = "") -> str:
    """`Event 7 is`, or `Events 7 to 9 are`."""
    if first == last:
        return f"{what.capitalize()} {first}{of} is"
    return f"{what.capitalize()}s {first} to {last}{of} are"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
