#!/usr/bin/env python3
# ruff: noqa: T201 - it prints
# ruff: noqa: EM101, EM102, TRY003 - short sentences, each raised in one place
# ruff: noqa: PLR2004 - lengths out of the formats
# ruff: noqa: B905 - Python 3.9 is enough for it
"""Verify the audit log of deployer, offline: one file, nothing but Python 3.9 or newer.

    verify-audit.py FILE [--checkpoint NOTES]... [--key PUBLIC_KEY]... [--origin NAME] [--quiet]

FILE is a store (deployer.db, or a backup of it; it is only read), a raw export (JSON Lines, one event on
each line with the stored text of its columns; `-` reads one from standard input), or a folder of sealed
segments (raw exports that go on from one another, each with a checkpoint and the tree before it).

What is checked: that the events of each environment follow one another from 1 without a gap; that each has
the hash of the one before it and its own hash fits all it says; that ids have no gap; in a store also that
its records and its history agree with the log, that the triggers which keep the log from being changed are
there, and that the contents of releases fit their digests. Against each checkpoint: that the log is not
shorter, that the root of the Merkle tree over its first events is the one that was signed, that all
checkpoints are of one log, and that each is signed with a key that was given.

Without a checkpoint that was kept elsewhere, nobody can tell a whole log from one that was cut off or
written anew.

Exit codes: 0 verified; 1 something was changed or is missing; 2 it could not be checked.

This shares no code with deployer, which has the same check as `deployer audit verify`: read it before you
trust it. The format is in docs/adr/0024-checkpoints.md.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import json
import re
import sqlite3
import sys
import zlib
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Point = tuple[int, int, int, int]
    Row = tuple[Any, ...]

VERIFIED, CHANGED, UNCHECKED = 0, 1, 2

NAMESPACE = "deployer-audit"
KEY_TYPE = b"\xffsshsig/deployer-audit\n"
SSH_KIND = b"ssh-ed25519"

COLUMNS = (
    "id",
    "environment",
    "sequence",
    "type",
    "at",
    "actor",
    "reason",
    "rollout",
    "data",
    "previous_hash",
    "hash",
)
GENESIS = b"0" * 64
MOST_SHOWN = 50
REPLACED = "\N{REPLACEMENT CHARACTER}"


class CannotCheck(Exception):  # noqa: N818 - says what the outcome is
    """What was given cannot be read or used. The message is a sentence."""


# --- what is printed -----------------------------------------------------------------------------------


def shown(value: object) -> str:
    """What a row holds, as it may stand in a sentence."""
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytearray) else str(value)
    harmless = "".join(one if one.isprintable() else REPLACED for one in text[:80])
    return harmless if len(text) <= 80 else harmless + "..."


def count(number: int, what: str) -> str:
    """`1 event`, `1,000 events`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def span(what: str, first: int, last: int, of: str = "") -> str:
    """`Event 7 is`, `Events 7 to 9 are`."""
    if first == last:
        return f"{what} {first}{of} is"
    return f"{what}s {first} to {last}{of} are"


# --- Ed25519 (RFC 8032) --------------------------------------------------------------------------------

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
NEUTRAL = (0, 1, 1, 0)


def point(encoded: bytes) -> Point | None:
    """The point of these 32 bytes; None if there is none, or it is written otherwise than it is to be."""
    y = int.from_bytes(encoded, "little")
    odd, y = y >> 255, y & ((1 << 255) - 1)
    if len(encoded) != 32 or y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square or (x == 0 and odd):
        return None
    if x % 2 != odd:
        x = P - x
    return (x, y, 1, x * y % P)


def add(p: Point, q: Point) -> Point:
    """The sum of two points, which may be the same."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    return ((b - a) * (d - c) % P, (d + c) * (b + a) % P, (d - c) * (d + c) % P, (b - a) * (b + a) % P)


def times(number: int, p: Point) -> Point:
    """A point so many times, four bits at a time."""
    multiples = [NEUTRAL]
    for _ in range(15):
        multiples.append(add(multiples[-1], p))
    result = NEUTRAL
    for digit in f"{number:x}":
        for _ in range(4):
            result = add(result, result)
        result = add(result, multiples[int(digit, 16)])
    return result


def same(p: Point, q: Point) -> bool:
    """Whether two points are one."""
    return (p[0] * q[2] - q[0] * p[2]) % P == 0 and (p[1] * q[2] - q[1] * p[2]) % P == 0


BASE_X = 15112221349535400772501151409588531511454012693041857206046113283949847762202
BASE_Y = 4 * pow(5, P - 2, P) % P
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def is_key(key: bytes) -> bool:
    """Whether these 32 bytes are a key: a point, and not one of the eight with which anything fits."""
    a = point(key)
    return a is not None and not same(times(8, a), NEUTRAL)


def signed(key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the owner of the key signed the message."""
    a, r = point(key), point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= ORDER or not is_key(key):
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % ORDER
    return same(times(s, BASE), add(r, times(k, a)))


# --- keys and signatures of ssh (PROTOCOL.sshsig) ------------------------------------------------------


class BadSignature(Exception):  # noqa: N818 - as above
    """A clause without a full stop."""


def ssh_string(content: bytes) -> bytes:
    """A string as ssh writes it."""
    return len(content).to_bytes(4, "big") + content


def key_blob(key: bytes) -> bytes:
    """A public key as ssh writes it."""
    return ssh_string(SSH_KIND) + ssh_string(key)


def fingerprint(key: bytes) -> str:
    """As `ssh-keygen -l` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key_blob(key)).digest()).decode().rstrip("=")


def cut(blob: bytes, size: int) -> tuple[bytes, bytes]:
    """The first bytes of a blob, and the rest."""
    if len(blob) < size:
        raise BadSignature("it ends in the middle")
    return blob[:size], blob[size:]


def cut_string(blob: bytes) -> tuple[bytes, bytes]:
    """The string with which a blob begins, and the rest."""
    size, rest = cut(blob, 4)
    return cut(rest, int.from_bytes(size, "big"))


def of_our_kind(blob: bytes, size: int) -> bytes:
    """The value in a public key or a signature of Ed25519."""
    kind, rest = cut_string(blob)
    if kind != SSH_KIND:
        raise BadSignature("it is not of an ssh-ed25519 key")
    value, rest = cut_string(rest)
    if len(value) != size or rest:
        raise BadSignature("its key or its value has not the length of ssh-ed25519")
    return value


def require_signed(blob: bytes, text: bytes, key: bytes) -> None:
    """Return if this is the signature of that text by the owner of the key. Raises BadSignature."""
    magic, rest = cut(blob, 6)
    if magic != b"SSHSIG":
        raise BadSignature("it does not begin as an ssh signature does")
    version, rest = cut(rest, 4)
    if version != b"\0\0\0\1":
        number = int.from_bytes(version, "big")
        raise BadSignature(f"it is an ssh signature of version {number}, and only version 1 is known")
    fields = []
    for _ in range(5):
        field, rest = cut_string(rest)
        fields.append(field)
    signer, namespace, reserved, algorithm, value = fields
    if rest:
        raise BadSignature("something stands behind its end")
    if reserved:
        raise BadSignature("it holds something where ssh reserves a place and writes nothing")
    if algorithm not in (b"sha256", b"sha512"):
        raise BadSignature("its hash is neither sha256 nor sha512")
    try:
        purpose = namespace.decode()
    except UnicodeDecodeError:
        raise BadSignature("its namespace is not text") from None
    signer, value = of_our_kind(signer, 32), of_our_kind(value, 64)
    if signer != key:
        raise BadSignature(f"it was made with the key {fingerprint(signer)}, not with {fingerprint(key)}")
    if purpose != NAMESPACE:
        other = purpose if re.fullmatch(r"[A-Za-z0-9@._/-]{1,64}", purpose) else "something else"
        raise BadSignature(f"it was made for {other}, not for {NAMESPACE}")
    digest = hashlib.new(algorithm.decode(), text).digest()
    if not signed(key, magic + b"".join(map(ssh_string, (namespace, b"", algorithm, digest))), value):
        raise BadSignature("the key did not sign this text")


KINDS = re.compile(
    r"(?:ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-nistp[0-9]+|sk-(?:ssh-ed25519|ecdsa-sha2-nistp256))"
    r"(?:-cert-v01)?(?:@openssh\.com)?"
)


def read_keys(text: str) -> list[bytes]:
    """The keys of a .pub file, or of lines of allowed signers."""
    keys = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        words = re.findall(r'(?:[^\s"]|"[^"]*")+', line)
        kinds = [place for place, word in enumerate(words[:3]) if KINDS.fullmatch(word)]
        if not kinds or len(words) < kinds[0] + 2:
            raise CannotCheck(f"line {number} is neither of a .pub file nor of allowed signers")
        kind, encoded = words[kinds[0]], words[kinds[0] + 1]
        if kind.encode() == SSH_KIND and is_admitted(words[1 : kinds[0]], number):
            keys.append(read_key(encoded, number))
    if not keys:
        raise CannotCheck(f"there is no ssh-ed25519 key for {NAMESPACE} in it")
    return keys


def is_admitted(words: list[str], number: int) -> bool:
    """Whether the options of a line of allowed signers let its key sign checkpoints."""
    for option in re.findall(r'(?:[^,"]|"[^"]*")+', ",".join(words)):
        name, _, value = option.partition("=")
        if name.lower() != "namespaces":
            raise CannotCheck(
                f"line {number} has an option that a checkpoint cannot be held against, as it has no time and"
                " no certificate: only namespaces can be given"
            )
        yes = no = False
        for pattern in value.strip('"').split(","):
            form = re.escape(pattern.removeprefix("!")).replace(r"\*", ".*").replace(r"\?", ".")
            fits = re.fullmatch(form, NAMESPACE) is not None
            yes, no = yes or (fits and pattern[:1] != "!"), no or (fits and pattern[:1] == "!")
        if no or not yes:
            return False
    return True


def read_key(encoded: str, number: int) -> bytes:
    """The 32 bytes of a public key."""
    start = key_blob(bytes(32))[:-32]
    try:
        blob = base64.b64decode(encoded, validate=True)
    except ValueError:
        blob = b""
    if blob[: len(start)] != start or not is_key(blob[len(start) :]):
        raise CannotCheck(f"line {number} holds no ssh-ed25519 key: is it whole?")
    return blob[len(start) :]


# --- checkpoints (c2sp.org/tlog-checkpoint in c2sp.org/signed-note) ------------------------------------


class Note:
    """A signed checkpoint, and where it stands."""

    def __init__(
        self, place: str, origin: str, size: int, root: bytes, signatures: list[tuple[str, bytes]]
    ) -> None:
        """Take what was read."""
        self.place, self.origin, self.size, self.root = place, origin, size, root
        self.signatures = signatures
        self.text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()

    def doubt(self, origin: str, keys: Sequence[bytes]) -> str:
        """Why this note is not to be believed; "" if it is."""
        if self.origin != origin:
            return f"is of another log: its origin is {shown(self.origin)}, not {shown(origin)}"
        known = 0
        for key in keys:
            # Signed notes, "Signature types": 0xff, a longer name, and then the key.
            own = hashlib.sha256(origin.encode() + b"\n" + KEY_TYPE + key_blob(key)).digest()[:4]
            for name, content in self.signatures:
                if name == origin and content[:4] == own:
                    known += 1
                    try:
                        require_signed(content[4:], self.text, key)
                    except BadSignature as error:
                        return f"has a signature that is no good: {error}"
        return "" if known or not keys else "is not signed with a key that was given"


def is_name(text: str) -> bool:
    """Whether this can be the origin of a checkpoint and the name of its key."""
    return text.isprintable() and re.fullmatch(r"[^\s+]+", text) is not None


def decoded(text: str) -> bytes:
    """What this is the base64 of; b"" if it is none, or not as it is always written."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        return b""
    return content if base64.b64encode(content).decode() == text else b""


def read_notes(text: str, name: str) -> list[Note]:
    """The notes of a file, one below the other."""
    bad = re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    if bad:
        number = text.count("\n", 0, bad.start()) + 1
        raise CannotCheck(f"line {number} has a control character")
    lines = text.split("\n")
    if lines.pop():
        raise CannotCheck(f"line {len(lines) + 1} does not end: it was cut off")
    if lines and re.fullmatch(r"commit [0-9a-f]{40,64}( .*)?", lines[0]):
        # What `git log` prints, where each message is a note.
        lines = [line[4:] if line[:4] == "    " else "" for line in lines]
    notes, place = [], 0
    while place < len(lines):
        if lines[place]:
            note, place = read_note(lines, place, name)
            notes.append(note)
        else:
            place += 1
    if not notes:
        raise CannotCheck("there is no checkpoint in it")
    return notes


def read_note(lines: list[str], start: int, name: str) -> tuple[Note, int]:
    """The note that begins at this line, and the line behind it."""
    origin, size, root, border = (lines[start : start + 4] + [""] * 4)[:4]
    if not is_name(origin):
        raise CannotCheck(f"line {start + 1} is no origin: a name without spaces and without a plus")
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", size) or int(size) >= 2**63:
        raise CannotCheck(f"line {start + 2} is no number of events")
    if len(decoded(root)) != 32:
        raise CannotCheck(f"line {start + 3} is no root: 32 bytes in base64")
    if border:
        raise CannotCheck(f"line {start + 4} is to be empty: a checkpoint has three lines")
    end, signatures = start + 4, []
    while end < len(lines) and lines[end].startswith("\u2014 "):
        key_name, _, encoded = lines[end][2:].partition(" ")
        if not is_name(key_name) or len(decoded(encoded)) <= 4:
            raise CannotCheck(f"line {end + 1} is no signature: a dash, the name of a key, and base64")
        signatures.append((key_name, decoded(encoded)))
        end += 1
    if not 0 < len(signatures) <= 64:
        number = "more than 64 signatures" if signatures else "no signature"
        raise CannotCheck(f"the checkpoint in line {start + 1} has {number}")
    return Note(f"{name}:{start + 1}", origin, int(size), decoded(root), signatures), end


# --- the log -------------------------------------------------------------------------------------------


def framed(tag: bytes, content: bytes) -> bytes:
    """A field as it goes into a hash: of which kind it is, how long, and what it holds."""
    return tag + len(content).to_bytes(8, "big") + content


class Headers(dict[int, bytes]):
    """By length: what goes before a text. Each is made once, since ten million are asked for."""

    def __missing__(self, length: int) -> bytes:
        """Make it."""
        self[length] = header = framed(b"s", bytes(length))[:9]
        return header


BEFORE = Headers()
HEAD = framed(b"d", b"deployer-event-v1")


def event_digest(row: Row) -> bytes:
    """The hash of what a row says; b"" if it holds anything of which none can have been made."""
    _, name, sequence, type_, at, actor, reason, rollout, data, previous, _ = row
    texts = (name, type_, at, actor, reason, rollout, data, previous)
    if tuple(map(type, row[1:-1])) != HASHED:
        return b""
    if not all(map(bytearray.isascii, texts)):
        try:
            for text in texts:
                text.decode()
        except UnicodeDecodeError:
            return b""
    fields = [piece for text in texts[1:-1] for piece in (BEFORE[len(text)], text)]
    start = (HEAD, framed(b"p", previous), BEFORE[len(name)], name, framed(b"i", b"%d" % sequence))
    return hashlib.sha256(b"".join((*start, *fields))).digest()


HASHED = (bytearray, int) + (bytearray,) * 7
TYPES = (*HASHED, bytearray)
"""Of the columns behind the id. Texts come as bytearray, which tells them from what SQLite keeps as bytes."""


class Environment:
    """How far its log was followed. Once it is broken, its events are only counted."""

    def __init__(self) -> None:
        """Begin before its first event."""
        self.sequence, self.started, self.broken = 0, 0, False
        self.hash: object = GENESIS


class Log:
    """What was read of a log: the findings, and the roots at the sizes that were asked for."""

    def __init__(self, sizes: set[int]) -> None:
        """Begin before the first event."""
        self.sizes = frozenset(sizes)
        self.events, self.newest_id, self.whole = 0, 0, True
        self.absent = 0
        self.peaks: list[bytes] = []
        self.environments: dict[bytes, Environment] = {}
        self.findings: list[str] = []
        self.roots = {0: hashlib.sha256().digest()}

    def begin_after(self, size: int, peaks: list[bytes]) -> None:
        """Go on with a tree over events that are not there."""
        if size:
            self.absent, self.newest_id, self.peaks = size, size, list(peaks)
            self.roots = {size: folded(peaks)}

    def follow(self, rows: Iterable[Row]) -> None:
        """Read all rows. Where they cannot be read on, that is a finding; not where the disk cannot be."""
        try:
            self._follow(rows)
        except sqlite3.OperationalError:
            raise
        except (CannotCheck, sqlite3.DatabaseError) as error:
            self.whole = False
            self.findings.append(f"After {count(self.events, 'event')} the log cannot be read on: {error}.")

    def _follow(self, rows: Iterable[Row]) -> None:
        sha256, environments, peaks = hashlib.sha256, self.environments, self.peaks
        for row in rows:
            self.events += 1
            if row[0] != self.newest_id + 1 or type(row[0]) is not int:
                self._jumped(row)
            else:
                self.newest_id = row[0]
            name, hash_ = row[1], row[10]
            key = bytes(name) if type(name) is bytearray else str(name).encode("utf-8", "surrogatepass")
            environment = environments.get(key)
            if environment is None:
                environment = environments[key] = Environment()
                if self.absent and type(row[2]) is int and row[2] > 1:
                    # Where it was before is not there; its hash is of that.
                    environment.sequence, environment.hash = row[2] - 1, row[9]
            if row[3] == b"started":
                environment.started += 1
            digest = event_digest(row)
            if not environment.broken:
                environment.sequence += 1
                if (
                    row[2] != environment.sequence
                    or row[9] != environment.hash
                    or hash_ != digest.hex().encode()
                ):
                    environment.broken = True
                    self.findings.append(fault(row, environment.sequence, environment.hash))
                environment.hash = hash_
            if self.sizes:
                node, full = sha256(b"\0" + digest).digest(), self.absent + self.events - 1
                while full & 1:
                    node, full = sha256(b"\1" + peaks.pop() + node).digest(), full >> 1
                peaks.append(node)
                if self.absent + self.events in self.sizes:
                    self.roots[self.absent + self.events] = folded(peaks)

    def _jumped(self, row: Row) -> None:
        """The id is not the next one."""
        if type(row[0]) is not int:
            self.findings.append(f"{which(row)} is damaged: its id is not a number.")
        elif row[0] > self.newest_id:
            missing = span("Id", self.newest_id + 1, row[0] - 1)
            self.findings.append(f"{missing} missing: {which(row, 'event')} comes next.")
            self.newest_id = row[0]
        else:
            self.findings.append(f"{which(row)} is out of place: it comes after id {self.newest_id}.")


def folded(peaks: list[bytes]) -> bytes:
    """The root over the roots of full trees, the largest first."""
    root = peaks[-1]
    for peak in peaks[-2::-1]:
        root = hashlib.sha256(b"\1" + peak + root).digest()
    return root


def which(row: Row, word: str = "Event") -> str:
    """The event that a row holds."""
    return f"{word} {shown(row[2])} of {shown(row[1])} (id {shown(row[0])})"


def fault(row: Row, expected: int, previous: object) -> str:
    """What is wrong with a row that is not the next event of its environment."""
    for column, value, kind in zip(COLUMNS[1:], row[1:], TYPES):
        # A str is text that cannot be encoded; it has no hash.
        if type(value) is not kind and not (kind is bytearray and type(value) is str):
            return "{} is damaged: its {} is not {}.".format(
                which(row), column, "text" if kind is bytearray else "a number"
            )
    if row[2] > expected:
        missing = span("Event", expected, row[2] - 1, f" of {shown(row[1])}")
        return f"{missing} missing: {which(row, 'event')} comes next."
    if row[2] < expected:
        return f"{which(row)} is out of place: event {expected} was to come."
    if row[9] != previous:
        return f"{which(row)} does not follow the one before it: its previous hash is another."
    return f"{which(row)} was changed after it was written: its hash is not of what it says."


def held_against(log: Log, notes: list[Note]) -> list[str]:
    """What the checkpoints show: events missing at the end, and the first part that is another."""
    found = []
    largest = max(notes, key=lambda note: note.size, default=None)
    length = log.absent + log.events
    if log.whole and largest is not None and largest.size > length:
        missing = span("Event", length + 1, largest.size)
        found.append(
            f"{missing} missing: the log has {count(length, 'event')}, but {largest.size:,} were signed"
            f" (checkpoint at {largest.place})."
        )
    fits = 0
    for note in sorted(notes, key=lambda note: note.size):
        if log.roots.get(note.size, note.root) != note.root:
            what = "The first " + count(note.size, "event") if note.size else "No events"
            found.append(
                f"{what} are not what was signed (checkpoint at {note.place}): the log was changed after"
                f" event {fits:,} of all, and written anew from there."
            )
            break
        if note.size in log.roots:
            fits = note.size
    return found


# --- where the log is read from ------------------------------------------------------------------------


def export_rows(file: Iterable[bytes]) -> Iterator[Row]:
    """The rows of a raw export, one from each line."""
    decode, names = json.JSONDecoder(object_pairs_hook=once).decode, set(COLUMNS)
    for number, line in enumerate(file, start=1):
        try:
            found = decode(line.decode())
        except (ValueError, RecursionError):
            raise CannotCheck(f"line {number} is not JSON") from None
        if type(found) is not dict or found.keys() != names:
            raise CannotCheck(f"line {number} is not an object with {', '.join(COLUMNS)}")
        values = [found[column] for column in COLUMNS]
        try:
            yield tuple([bytearray(one.encode()) if type(one) is str else one for one in values])
        except UnicodeEncodeError:
            yield tuple([as_stored(one) for one in values])


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object none of whose names is there twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def as_stored(value: object) -> object:
    """Text as its bytes; what cannot be encoded stays as it is."""
    try:
        return bytearray(value, "utf-8") if type(value) is str else value
    except UnicodeEncodeError:
        return value


TRIGGERS = {"events_no_update": "UPDATE", "events_no_delete": "DELETE"}


class Store:
    """A store, opened so that nothing is ever written to it."""

    def __init__(self, path: str) -> None:
        """Open the file. Raises CannotCheck."""
        self.path = Path(path)
        self.began = self.state()
        # While a daemon has it open, its newest commits are in a second file, which SQLite must be let use.
        # Without one, nothing but the file itself is read, and none is made beside it.
        self.alone = not any(Path(f"{path}{suffix}").exists() for suffix in ("-wal", "-journal"))
        uri = self.path.absolute().as_uri() + "?mode=ro" + ("&immutable=1" if self.alone else "")
        self.connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)
        self.connection.text_factory = bytearray
        for pragma in ("query_only=ON", "trusted_schema=OFF", "cell_size_check=ON"):
            self.connection.execute("PRAGMA " + pragma)
        self.connection.execute("BEGIN")
        # Read first, so that all that follows is of one state.
        tables = {bytes(name) for (name,) in self.ask("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {b"events", b"records", b"rollouts", b"releases", b"sqlite_sequence"} <= tables:
            raise CannotCheck(f"{path} is a database, but no store of deployer.")

    def state(self) -> tuple[int, int]:
        """What changes when somebody writes to the file."""
        found = self.path.stat()
        return found.st_mtime_ns, found.st_size

    def require_unchanged(self) -> None:
        """Raise CannotCheck if somebody wrote to the file while it was read as one that nobody writes to."""
        if self.alone and (self.began != self.state() or Path(f"{self.path}-wal").exists()):
            raise CannotCheck(f"{self.path} was written to meanwhile: check a copy of it, or once more.")

    def ask(self, query: str) -> list[Any]:
        """All rows of a small answer."""
        return self.connection.execute(query).fetchall()

    def rows(self) -> Iterator[Row]:
        """The events in the order of their ids, some at a time."""
        columns = ", ".join(COLUMNS)
        return self.connection.execute(f"SELECT {columns} FROM events NOT INDEXED ORDER BY id")  # noqa: S608 - ours

    def faults(self) -> list[str]:
        """What is wrong with the store beside its log."""
        found = []
        # Its quick one does not look whether an index has every row: one that has not hides the others.
        [state, *_] = self.ask("PRAGMA integrity_check(1)")[0]
        if state != b"ok":
            found.append(f"The file is damaged: {shown(bytearray(b' '.join(state.split())))}.")
        query = "SELECT name, sql, tbl_name, lower(tbl_name) FROM sqlite_master WHERE type = 'trigger'"
        triggers = {bytes(name).decode("utf-8", "replace"): rest for name, *rest in self.ask(query)}
        for name, verb in TRIGGERS.items():
            form = rf"CREATE TRIGGER {name} BEFORE {verb} ON events BEGIN SELECT RAISE\(ABORT, '[^']*'\); END"
            if name not in triggers:
                found.append(f"The trigger {name}, which keeps the log from being changed, is missing.")
            elif not re.fullmatch(form, shown_sql(triggers[name][0])):
                found.append(f"The trigger {name}, which keeps the log from being changed, is another.")
        for name in sorted(triggers.keys() - TRIGGERS.keys()):
            _, table, lower = triggers[name]
            where = "the log" if lower == b"events" else f"the table {shown(table)}"
            found.append(f"There is a trigger on {where} that deployer does not make: {shown(name)}.")
        for id_, event in self.ask(
            "SELECT r.id, r.started_event FROM rollouts r NOT INDEXED"
            " LEFT JOIN events e ON e.id = r.started_event"
            " WHERE e.type IS NOT 'started' OR e.rollout IS NOT r.id OR e.environment IS NOT r.environment"
            " ORDER BY r.started_event, r.id"
        ):
            of = f"the event with id {shown(event)}"
            found.append(f"Rollout {shown(id_)} of the history was not started by {of}.")
        for digest, config in self.connection.execute("SELECT digest, config FROM releases NOT INDEXED"):
            fits = (
                b"sha256:" + hashlib.sha256(config).hexdigest().encode() if type(config) is bytearray else b""
            )
            if digest != fits:
                found.append(f"The content of the release {shown(digest)} is not what its digest says.")
        # The first version's history did not name them in a column of their own.
        if self.ask("SELECT 1 FROM pragma_table_info('rollouts') WHERE name = 'digest'"):
            for (digest,) in self.ask(
                "SELECT DISTINCT r.digest FROM rollouts r NOT INDEXED"
                " LEFT JOIN releases c ON c.digest = r.digest WHERE c.digest IS NULL ORDER BY r.digest"
            ):
                found.append(
                    f"The content of the release {shown(digest)}, which the history names, is missing."
                )
        return found

    def counted(self, log: Log) -> list[str]:
        """Where the store counts otherwise than its log."""
        found = []
        records = {
            as_key(name): last
            for name, last in self.ask("SELECT environment, sequence FROM records NOT INDEXED")
        }
        query = "SELECT environment, count(*) FROM rollouts NOT INDEXED GROUP BY environment"
        rollouts = {as_key(name): number for name, number in self.ask(query)}
        for name in sorted({*log.environments, *records, *rollouts}):
            of, label = log.environments.get(name, Environment()), shown(bytearray(name))
            if of.broken:
                continue
            if records.get(name) != (of.sequence or None):
                ends = f"ends at event {of.sequence}" if of.sequence else "is empty"
                record = f"is of event {shown(records[name])}" if name in records else "is missing"
                found.append(f"The log of {label} {ends}, but its record {record}: its end was changed.")
            if rollouts.get(name, 0) != of.started:
                started, listed = count(of.started, "rollout"), rollouts.get(name, 0)
                found.append(f"The log of {label} starts {started}, but its history has {listed}.")
        [(last,)] = self.ask("SELECT max(seq) FROM sqlite_sequence WHERE name = 'events'")
        given = last or 0
        if given != log.newest_id:
            ends = f"The newest event has id {log.newest_id}"
            found.append(
                f"{ends}, but ids up to {shown(given)} were given out: the end of the log was changed."
            )
        return found


def as_key(name: object) -> bytes:
    """The name of an environment as the log has it."""
    return bytes(name) if type(name) is bytearray else str(name).encode("utf-8", "surrogatepass")


def shown_sql(sql: object) -> str:
    """A statement on one line."""
    return " ".join(bytes(sql).decode("utf-8", "replace").split()) if type(sql) is bytearray else ""


SEGMENT = re.compile(r"segment-([1-9][0-9]{0,17})-([1-9][0-9]{0,17})\.jsonl\.gz")


class Folder:
    """Sealed segments of one log: names with their first and last id, and their checkpoints."""

    def __init__(self, path: str) -> None:
        """Find them. Raises CannotCheck and OSError."""
        self.path = Path(path)
        found = [SEGMENT.fullmatch(one.name) for one in self.path.iterdir()]
        self.parts = sorted((int(one[1]), int(one[2])) for one in found if one)
        if not self.parts:
            raise CannotCheck(f"there is no segment of a log in {path}.")
        self.notes: list[Note] = []
        self.texts: list[str] = []
        for part in self.parts:
            file = str(self.path / (self.name(part) + ".checkpoint"))
            notes = each([file], read_notes)
            if len(notes) != 1:
                raise CannotCheck(f"{file}: there is to be one checkpoint in it.")
            self.notes += notes
            # Read as a file of notes is, with the file's name in what goes wrong.
            self.texts += each([str(self.path / (self.name(part) + ".frontier"))], lambda text, _: [text])

    def name(self, part: tuple[int, int]) -> str:
        """With which the names of a segment's files begin."""
        return f"segment-{part[0]}-{part[1]}"

    def read(self, log: Log) -> tuple[list[str], list[str]]:
        """Follow the log through all of them; nothing is wrong beside it."""
        with suppress(CannotCheck):  # the first segment will say so
            log.begin_after(*self.tree(0))
        log.follow(self.rows())
        return [], []

    def tree(self, place: int) -> tuple[int, list[bytes]]:
        """The tree before a segment: how many events, and the roots of its full parts, the largest first."""
        text = self.texts[place]
        found = re.fullmatch(r"(0|[1-9][0-9]{0,18}) ([A-Za-z0-9+/]*={0,2})\n?", text)
        size, hashes = (int(found[1]), decoded(found[2])) if found else (0, b"-")
        if len(hashes) != bin(size).count("1") * 32:  # noqa: FURB161 - Python 3.9 has no other way
            raise CannotCheck(f"{self.name(self.parts[place])}.frontier is damaged")
        return size, [hashes[start : start + 32] for start in range(0, len(hashes), 32)]

    def rows(self) -> Iterator[Row]:
        """The events of all of them. Raises CannotCheck where one does not go on from the one before it."""
        for place, (first, last) in enumerate(self.parts):
            name, note = self.name((first, last)), self.notes[place]
            size, peaks = self.tree(place)
            if last < first or note.size != last:
                raise CannotCheck(f"the checkpoint of {name} is of {note.size:,} events")
            if size != first - 1:
                raise CannotCheck(f"the frontier of {name} is of {size:,} events")
            if place:
                ended = self.parts[place - 1][1]
                if first > ended + 1:
                    raise CannotCheck(f"no segment has the ids {ended + 1} to {first - 1}")
                if first <= ended:
                    raise CannotCheck(f"{name} begins before {self.name(self.parts[place - 1])} ends")
                if folded(peaks) != self.notes[place - 1].root:
                    raise CannotCheck(
                        f"{name} goes on from another log than {self.name(self.parts[place - 1])}"
                    )
            with gzip.open(self.path / f"{name}.jsonl.gz") as file:
                try:
                    yield from at_most(last - first + 1, export_rows(file))
                except (gzip.BadGzipFile, EOFError, zlib.error):
                    raise CannotCheck(f"{name}.jsonl.gz is damaged") from None
                except CannotCheck as error:
                    raise CannotCheck(f"{name}.jsonl.gz: {error}") from None


def at_most(number: int, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows of a segment. Raises CannotCheck where more come: its checkpoint does not cover them."""
    yield from islice(rows, number)
    if next(rows, None) is not None:
        raise CannotCheck("it has more events than its name says")


# --- the command ---------------------------------------------------------------------------------------


class Report:
    """What came out."""

    def __init__(self, findings: list[str], unchecked: list[str], log: Log, notes: Sequence[Note]) -> None:
        """Take the findings, why less was checked than was asked for, and what there was."""
        self.findings, self.unchecked = findings, unchecked
        what = "{} of {}".format(count(log.events, "event"), count(len(log.environments), "environment"))
        if findings:
            self.code = CHANGED
            self.summary = "NOT as it was written: {} in {}.".format(count(len(findings), "finding"), what)
        elif unchecked:
            self.code, self.summary = UNCHECKED, f"Not fully checked: {what}."
        elif notes:
            newest = max(note.size for note in notes) - log.absent
            checkpoints = count(len(notes), "signed checkpoint")
            self.code = VERIFIED
            self.summary = f"Verified: {what}, {checkpoints}; the newest covers {newest:,} of the events."
        else:
            warning = "no checkpoint was given, so a log cut off or written anew would not be noticed"
            self.code, self.summary = VERIFIED, f"Verified: {what}; {warning}."


def check(
    path: str, notes: Sequence[Note] = (), keys: Sequence[bytes] = (), origin: str | None = None
) -> Report:
    """Check a store or a raw export. Raises CannotCheck, OSError or sqlite3.Error if it cannot be read."""
    folder = Folder(path) if path != "-" and Path(path).is_dir() else None
    notes = [*notes, *(folder.notes if folder else [])]
    doubts, trusted = [], []
    for note in notes:
        doubt = note.doubt(origin or notes[0].origin, keys)
        if doubt:
            doubts.append(f"The checkpoint at {note.place} {doubt}.")
        else:
            trusted.append(note)
    log = Log({note.size for note in trusted})
    before, after = folder.read(log) if folder else read(path, log)
    unchecked = []
    if notes and not keys:
        unchecked.append("No key was given, so no signature was checked: a checkpoint could be anybody's.")
    findings = [*before, *log.findings, *after, *doubts, *held_against(log, trusted)]
    return Report(findings, unchecked, log, notes)


def read(path: str, log: Log) -> tuple[list[str], list[str]]:
    """Read the log; return what is wrong beside it, to be said before and after what is wrong in it."""
    if path == "-":
        log.follow(export_rows(sys.stdin.buffer))
        return [], []
    with Path(path).open("rb") as file:
        start = file.read(16)
        if start[:1] == b"{":
            file.seek(0)
            log.follow(export_rows(file))
            return [], []
    if start != b"SQLite format 3\0":
        raise CannotCheck(f"{path} is neither a store of deployer nor a raw export of its log.")
    before: list[str] = []
    after: list[str] = []
    try:
        store = Store(path)
        with closing(store.connection):
            before += store.faults()
            log.follow(store.rows())
            after += store.counted(log) if log.whole else []
            store.require_unchanged()
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        before.append(f"The file is damaged: {shown(error)}.")
        log.whole = False
    except UnicodeDecodeError:
        # Python's sqlite3 cannot pass on a message in which SQLite quotes what is damaged.
        before.append("The file is damaged: what SQLite says of it is no text.")
        log.whole = False
    return before, after


def read_text(path: str) -> str:
    """A file of notes or keys."""
    try:
        return Path(path).read_bytes().decode()
    except UnicodeDecodeError:
        raise CannotCheck("it is not text in UTF-8") from None


def each(paths: list[str], reader: Callable[[str, str], list[Any]]) -> list[Any]:
    """What a reader finds in all of these files. Raises CannotCheck with the file's name."""
    found = []
    for path in paths:
        try:
            found += reader(read_text(path), path)
        except CannotCheck as error:
            raise CannotCheck(f"{path}: {error}.") from None
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    summary, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="verify-audit.py",
        description=summary,
        epilog=rest.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        help="a store, a raw export (- for one on standard input), or a folder of segments",
    )
    parser.add_argument(
        "--checkpoint", metavar="NOTES", action="append", default=[], help="a file of signed notes"
    )
    parser.add_argument(
        "--key", metavar="PUBLIC_KEY", action="append", default=[], help="a .pub or allowed_signers"
    )
    parser.add_argument("--origin", metavar="NAME", help="which log the checkpoints are to be of")
    parser.add_argument("--quiet", action="store_true", help="print only what was found")
    chosen = parser.parse_args(arguments)
    try:
        notes = each(chosen.checkpoint, read_notes)
        keys = each(chosen.key, lambda text, _: read_keys(text))
        report = check(chosen.file, notes, keys, chosen.origin)
    except OSError as error:
        print(f"verify-audit: cannot check: {error.filename}: {error.strerror}.", file=sys.stderr)
        return UNCHECKED
    except (CannotCheck, sqlite3.Error) as error:
        print(f"verify-audit: cannot check: {error}", file=sys.stderr)
        return UNCHECKED
    for finding in report.findings[:MOST_SHOWN]:
        print(finding)
    if len(report.findings) > MOST_SHOWN:
        print("And {} more.".format(count(len(report.findings) - MOST_SHOWN, "finding")))
    for reason in report.unchecked:
        print(reason, file=sys.stderr)
    if not chosen.quiet:
        print(report.summary)
    return report.code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception as error:  # noqa: BLE001 - Python's own exit code would be 1, and say that a log was changed
        print(f"verify-audit: cannot check: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(UNCHECKED)
