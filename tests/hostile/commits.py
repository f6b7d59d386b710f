"""Commits: headers, dates, sizes, encodings, and what a branch may point at instead of one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deployer.core.types import Absent, Desired, NotRead
from tests.hostile.case import Case
from tests.hostile.forge import ADA, CONFIG, GOOD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hostile.forge import Forge

NOT_A_COMMIT = "branch main of repository hostile stands for no commit"


def raw(pattern: bytes, replacement: bytes, *, count: int = 1) -> Callable[[Forge], object]:
    """A good commit in whose bytes the pattern is replaced."""

    def write(forge: Forge) -> object:
        tree = forge.files({CONFIG: GOOD})
        text = b"tree %s\nauthor %s\ncommitter %s\n\nchange\n" % (tree.encode(), ADA, ADA)
        changed = re.sub(pattern, replacement, text, count=count)
        assert changed != text
        return forge.main(forge.object("commit", changed))

    return write


def person(text: bytes) -> Callable[[Forge], object]:
    """This as author and as committer."""
    return lambda forge: forge.good(author=text, committer=text)


def _parents(count: int) -> Callable[[Forge], object]:
    def write(forge: Forge) -> object:
        tree = forge.files({CONFIG: GOOD})
        first = forge.commit(tree, message=b"first\n")
        return forge.main(forge.commit(tree, *[first] * count))

    return write


def _long_history(forge: Forge) -> object:
    tree = forge.files({CONFIG: GOOD})
    commit = forge.commit(tree)
    for number in range(3_000):
        commit = forge.commit(tree, commit, message=b"%d\n" % number)
    return forge.main(commit)


def _tags(count: int) -> Callable[[Forge], object]:
    """A chain of tags that ends in a good commit; main is at the last of them."""

    def write(forge: Forge) -> object:
        target, kind = forge.commit(forge.files({CONFIG: GOOD})), "commit"
        for number in range(count):
            text = f"object {target}\ntype {kind}\ntag t{number}\ntagger {ADA.decode()}\n\nx\n"
            target, kind = forge.object("tag", text.encode()), "tag"
        return forge.main(target)

    return write


def _tag_of_nothing(forge: Forge) -> object:
    text = f"object {'2' * 40}\ntype commit\ntag t\ntagger {ADA.decode()}\n\nx\n"
    return forge.main(forge.object("tag", text.encode()))


HEADERS = [
    Case(name=f"commit-{name}", what=what, ends=NotRead, says="cannot read", write=raw(pattern, replacement))
    for name, what, pattern, replacement in [
        ("no-author", "a commit without an author", rb"author.*\n", b""),
        ("no-committer", "a commit without a committer", rb"committer.*\n", b""),
        ("two-authors", "a commit with two authors", rb"author.*\n", b"author %s\nauthor %s\n" % (ADA, ADA)),
        ("two-trees", "a commit with two trees", rb"(tree.*\n)", rb"\1\1"),
        ("order", "headers in another order", rb"(author.*\n)(committer.*\n)", rb"\2\1"),
        ("no-email", "an author without an address", rb"author Ada <\S+>", b"author Ada"),
        ("open-email", "an address that does not end", rb"author Ada <(\S+)>", rb"author Ada <\1"),
        ("brackets", "an author named <<>>", rb"author Ada", b"author <<>>"),
        ("no-date", "an author without a time", rb"> 1700000000 \+0000", b">"),
        ("negative-date", "a time before 1970", rb"1700000000", b"-1700000000"),
        ("huge-date", "a time that fits into no number", rb"1700000000", b"9" * 40),
        ("zero-date", "a time with a zero before it", rb"1700000000", b"01700000000"),
        ("zone", "a time zone that is none", rb"\+0000", b"+99999999"),
        ("nul-header", "a NUL in a name", rb"author Ada", b"author A\\000da"),
        ("nul-message", "a NUL in the message", rb"change", b"cha\\000nge"),
        ("crlf", "headers that end with CR LF", rb"0000\n", b"0000\r\n"),
        ("tree-short", "an abbreviated tree", rb"tree (.{10}).*", rb"tree \1"),
        ("tree-upper", "a tree's id in capitals and garbage", rb"tree .{40}", b"tree " + b"Z" * 40),
    ]
]

OTHERS = [
    Case(name="commit-no-tree", what="a commit without a tree", ends=NotRead, write=raw(rb"tree.*\n", b"")),
    Case(
        name="commit-null-tree",
        what="a commit whose tree is all zeros",
        ends=NotRead,
        write=raw(rb"tree .{40}", b"tree " + b"0" * 40),
    ),
    Case(
        name="commit-missing-tree",
        what="a commit whose tree is not there",
        ends=NotRead,
        write=raw(rb"tree .{40}", b"tree " + b"3" * 40),
    ),
    Case(
        name="commit-blob-tree",
        what="a commit whose tree is a file",
        ends=NotRead,
        write=lambda forge: forge.main(forge.commit(forge.blob(GOOD))),
    ),
    Case(
        name="commit-missing-parent",
        what="a commit whose parent is not there",
        ends=Desired,
        write=lambda forge: forge.main(forge.commit(forge.files({CONFIG: GOOD}), "4" * 40)),
    ),
    Case(
        name="commit-blob-parent",
        what="a commit whose parent is a file",
        ends=Desired,
        write=lambda forge: forge.main(forge.commit(forge.files({CONFIG: GOOD}), forge.blob(GOOD))),
    ),
    Case(
        name="commit-100,000-parents",
        what="a commit with 100,000 parents",
        ends=Desired,
        write=_parents(100_000),
    ),
    Case(name="commit-long-history", what="a history of 3,000 commits", ends=Desired, write=_long_history),
    Case(
        name="commit-far-future",
        what="a time 292 billion years from now",
        ends=Desired,
        write=person(b"Ada <ada@example.com> 9223372036854775000 +0000"),
    ),
    Case(
        name="commit-year-10000",
        what="a time in the year 10,000",
        ends=Desired,
        write=person(b"Ada <ada@example.com> 253402300800 +0000"),
    ),
    Case(
        name="commit-name-escape",
        what="an author whose name moves the cursor",
        ends=Desired,
        write=person(b"\x1b[2J\x1b]0;x\x07Ada\xe2\x80\xae <ada@example.com> 1700000000 +0000"),
    ),
    Case(
        name="commit-name-long",
        what="an author whose name has 1 MB",
        ends=Desired,
        write=person(b"A" * 1_000_000 + b" <ada@example.com> 1700000000 +0000"),
    ),
    Case(
        name="commit-no-name",
        what="an author without a name",
        ends=Desired,
        write=person(b" <ada@example.com> 1700000000 +0000"),
    ),
    Case(
        name="commit-message-10MB",
        what="a message of 10 MB",
        ends=Desired,
        write=lambda forge: forge.good(message=b"x" * 10_000_000),
    ),
    Case(
        name="commit-message-20MB",
        what="a message of 20 MB",
        ends=NotRead,
        says="bytes; at most 16,777,216 are read: push one without such a message",
        write=lambda forge: forge.good(message=b"x" * 20_000_000),
    ),
    Case(
        name="commit-message-lines",
        what="a message of a million trailers",
        ends=Desired,
        write=lambda forge: forge.good(message=b"x\n\n" + b"Co-authored-by: A <a@b>\n" * 400_000),
    ),
    Case(
        name="commit-message-empty",
        what="no message",
        ends=Desired,
        write=lambda forge: forge.good(message=b""),
    ),
    Case(
        name="commit-message-hostile",
        what="a message of escapes, bidi and bytes that are no text",
        ends=Desired,
        write=lambda forge: forge.good(
            message=b"\x1b[31m\r\n\xff\xfe \xe2\x80\xae \xe2\x80\xa8 #1 (#99999999999999999)"
        ),
    ),
    Case(
        name="commit-headers-1MB",
        what="unknown headers of 1 MB",
        ends=Desired,
        write=lambda forge: forge.good(headers=b"x-odd 1\n" * 125_000),
    ),
    Case(
        name="commit-signature-garbage",
        what="a signature that is none",
        ends=Desired,
        write=lambda forge: forge.good(headers=b"gpgsig hello\n world\n"),
    ),
    Case(
        name="commit-mergetag-garbage",
        what="a mergetag that is none",
        ends=Desired,
        write=lambda forge: forge.good(headers=b"mergetag hello\n world\n"),
    ),
    *(
        Case(
            name=f"commit-encoding-{name}",
            what=f"the encoding {name}",
            ends=Desired,
            write=lambda forge, name=name: forge.good(  # type: ignore[misc]  # a default binds the loop's value
                headers=b"encoding %s\n" % name.encode(), message=b"caf\xe9 +AGE- \\x41\n"
            ),
        )
        for name in ("unicode_escape", "utf-7", "idna", "zlib_codec", "iso-8859-1", "x" * 90)
    ),
]

POINTED = [
    Case(
        name="branch-at-tag",
        what="main is at a tag of the commit",
        ends=Desired,
        write=_tags(1),
    ),
    Case(
        name="branch-at-tag-chain",
        what="main is at the last of a chain of 1,000 tags",
        ends=Absent,
        says=NOT_A_COMMIT,
        write=_tags(1_000),
    ),
    Case(
        name="branch-at-tag-of-nothing",
        what="main is at a tag of something that is not there",
        ends=NotRead,
        write=_tag_of_nothing,
    ),
    Case(
        name="branch-at-tree",
        what="main is at a tree",
        ends=Absent,
        says=NOT_A_COMMIT,
        write=lambda forge: forge.main(forge.files({CONFIG: GOOD})),
    ),
    Case(
        name="branch-at-blob",
        what="main is at a file",
        ends=Absent,
        says=NOT_A_COMMIT,
        write=lambda forge: forge.main(forge.blob(GOOD)),
    ),
    Case(
        name="branch-at-nothing",
        what="main is at an object that is not there",
        ends=NotRead,
        write=lambda forge: forge.main("5" * 40),
    ),
    Case(
        name="branch-at-null",
        what="main is at the null id",
        ends=NotRead,
        write=lambda forge: forge.main("0" * 40),
    ),
    Case(
        name="empty-tree",
        what="a commit without any file",
        ends=Absent,
        says="there is no",
        write=lambda forge: forge.main(forge.commit(forge.tree())),
    ),
]

CASES = [*HEADERS, *OTHERS, *POINTED]
