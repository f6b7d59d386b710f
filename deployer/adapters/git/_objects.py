"""Raw git objects as values: a commit becomes a revision, a tree a folder.

Owns the parsing of bytes that anybody who can push may choose. Must not do I/O. Invariant: no input makes
it raise; what cannot be understood becomes text with replacement characters, or the epoch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from deployer.adapters.git._message import co_authors, pull_request
from deployer.core.types import Merged, Person, Revision

_TEXT_LIMIT = 500
"""Characters kept of a name, an address or a subject. Git itself has no limit; an audit log needs one."""

_MESSAGE_LIMIT = 64 * 1024
"""Bytes of a message that are looked through for pull request and co-authors."""

_PARENTS = re.compile(rb"\Atree [0-9a-f]{40}\n((?:parent [0-9a-f]{40}\n)*)")

_PARENTS_LIMIT = 100
"""Parents that are kept. A merge of more is a joke."""

_ENCODINGS = re.compile(
    r"(?:iso-?8859-\d{1,2}|latin-?1|(?:windows-|cp)125\d|koi8-[ru]|shift_?jis|euc-(?:jp|kr)|gbk|gb18030|big5)"
)
"""The legacy encodings that a commit may name. Not any codec of Python: `punycode` and `unicode_escape` are
codecs too, and some of them are slow on hostile input."""

_IDENTITY = re.compile(rb"(?P<name>[^<]*)<(?P<email>.*)>(?: (?P<time>-?\d{1,18})(?: [+-]\d+)?)?", re.DOTALL)

_ENTRY = re.compile(rb"(?P<mode>[0-7]{1,11}) (?P<name>[^\0]+)\0(?P<id>.{20})", re.DOTALL)

_EPOCH = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A regular file at a commit. `id` is the hex id of its content: equal ids, equal bytes."""

    id: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """A commit, the id of its root tree, and those of its parents."""

    revision: Revision
    tree: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder: what it is (as `stat` says it; 0o160000 is a submodule) and its object's id."""

    mode: int
    id: str


def parse_tree(raw: bytes) -> dict[str, Entry]:
    """Read a raw tree object: entries by name, up to the first that is malformed.

    GitPython's own parser refuses a whole folder for one name that some file system would not take.
    """
    entries, position = {}, 0
    # One after the other: a search would also find what stands inside another entry's name.
    while (entry := _ENTRY.match(raw, position)) is not None:
        name = entry["name"].decode("utf-8", "surrogateescape")
        entries[name] = Entry(int(entry["mode"], 8), entry["id"].hex())
        position = entry.end()
    return entries


def parse_commit(commit: str, raw: bytes) -> Commit:
    """Read a raw commit object. The format: header lines, an empty line, the message."""
    head, _, message = raw.partition(b"\n\n")
    headers: dict[bytes, bytes] = {}
    for line in head.split(b"\n"):
        # A line that starts with a space goes on with the one before it (a signature): its key is b"".
        key, _, value = line.partition(b" ")
        headers.setdefault(key, value)
    encoding = headers.get(b"encoding", b"").decode("ascii", "replace").lower()
    codec = encoding if _ENCODINGS.fullmatch(encoding) else "utf-8"
    author, _ = _identity(headers.get(b"author", b""), codec)
    committer, committed_at = _identity(headers.get(b"committer", b""), codec)
    subject = _line(message.lstrip(b"\n").split(b"\n\n", 1)[0], codec)
    # Where git reads them and nowhere else: a line further down is another tool's, or a lie.
    listed = _PARENTS.match(raw)
    parents = tuple(
        line[7:].decode() for line in (listed[1] if listed else b"").splitlines()[:_PARENTS_LIMIT]
    )
    told = message[:_MESSAGE_LIMIT]
    revision = Revision(
        commit=commit,
        author=author,
        committer=committer,
        subject=subject,
        committed_at=committed_at,
        co_authors=tuple(_identity(identity, codec)[0] for identity in co_authors(told)),
        merged=Merged(commit=parents[1]) if len(parents) > 1 else None,
        pull_request=pull_request(subject, told.decode("utf-8", "replace")),
    )
    tree = headers.get(b"tree", b"").decode("ascii", "replace")
    return Commit(revision=revision, tree=tree, parents=parents)


def _identity(value: bytes, codec: str) -> tuple[Person, datetime]:
    """`Name <address> seconds zone`. Git keeps `<` and `>` out of both; other tools may not."""
    found = _IDENTITY.fullmatch(value)
    if found is None:
        return Person(name=_line(value, codec), email=""), _EPOCH
    try:
        time = datetime.fromtimestamp(int(found["time"] or 0), UTC)
    except (ValueError, OverflowError, OSError):  # the year 10000 is a legal commit time
        time = _EPOCH
    return Person(name=_line(found["name"], codec), email=_line(found["email"], codec)), time


def _line(text: bytes, codec: str) -> str:
    """One line of text: line breaks of every kind (also U+2028) and runs of spaces become one space."""
    try:
        decoded = text.decode(codec, "replace")
    except LookupError:  # a name that fits the pattern and still is no codec: iso-8859-99
        decoded = text.decode("utf-8", "replace")
    line = " ".join(decoded.split())
    return line if len(line) <= _TEXT_LIMIT else line[: _TEXT_LIMIT - 1] + "…"
