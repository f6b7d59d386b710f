"""Refs: what stands in their files, what they are named, how many there are, and what replaces objects."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from deployer.core.types import Absent, Desired, NotRead
from tests.hostile.case import Case
from tests.hostile.forge import ADA, CONFIG, GOOD

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.hostile.forge import Forge

EVIL = GOOD.replace(b"7", b"666")
ODD_FILE = "is no plain file of a sensible size"

OPTION = "--upload-pack=touch"
LONG = "/".join(["n" * 200] * 21)


def ref_file(content: str | bytes) -> Callable[[Forge], object]:
    """This in the file of main; a good commit is there."""

    def write(forge: Forge) -> None:
        commit = forge.good()
        text = content.replace("COMMIT", commit) if isinstance(content, str) else content
        forge.file("refs/heads/main", text)

    return write


def _main_is_folder(forge: Forge) -> None:
    forge.ref("refs/heads/main/x", forge.commit(forge.files({CONFIG: GOOD})))


def _headless(forge: Forge) -> None:
    forge.good()
    (forge.path / "HEAD").unlink()


def _large(forge: Forge) -> None:
    forge.good()
    os.truncate(forge.path / "refs/heads/main", 100_000_000)


def packed(content: str) -> Callable[[Forge], object]:
    """This as packed-refs, with COMMIT for a good one; no loose ref."""

    def write(forge: Forge) -> None:
        commit = forge.good()
        (forge.path / "refs/heads/main").unlink()
        forge.file("packed-refs", content.replace("COMMIT", commit))

    return write


def on(name: str) -> Callable[[Forge], object]:
    """A good commit on a branch of that name, packed, since no file is named so."""

    def write(forge: Forge) -> None:
        commit = forge.good()
        (forge.path / "refs/heads/main").unlink()
        forge.file("packed-refs", f"{commit} refs/heads/{name}\n")

    return write


def special(name: str, *, link: str = "") -> Callable[[Forge], object]:
    """A fifo, or a symbolic link, in place of a file of a good repository."""

    def write(forge: Forge) -> None:
        forge.good()
        if name == "packed-refs":
            (forge.path / "refs/heads/main").unlink()
        path = forge.path / name
        path.unlink(missing_ok=True)
        if link:
            path.symlink_to(link)
        else:
            os.mkfifo(path)

    return write


def _links_outside(forge: Forge) -> None:
    commit = forge.good()
    (forge.outside / "ref").write_text(commit + "\n")
    (forge.path / "refs/heads/main").unlink()
    (forge.path / "refs/heads/main").symlink_to(forge.outside / "ref")


def _links_to_secret(forge: Forge) -> None:
    forge.good()
    (forge.path / "refs/heads/main").unlink()
    (forge.path / "refs/heads/main").symlink_to(forge.secret)


def _folder_links_outside(forge: Forge) -> None:
    commit = forge.good()
    (forge.outside / "main").write_text(commit + "\n")
    shutil.rmtree(forge.path / "refs/heads")
    (forge.path / "refs/heads").symlink_to(forge.outside)


def _chain(length: int) -> Callable[[Forge], object]:
    def write(forge: Forge) -> None:
        commit = forge.good()
        forge.ref(f"refs/heads/s{length}", commit)
        for number in range(1, length):
            forge.ref(f"refs/heads/s{number}", f"ref: refs/heads/s{number + 1}")
        forge.ref("refs/heads/main", "ref: refs/heads/s1")

    return write


def _loop(forge: Forge) -> None:
    forge.good()
    forge.ref("refs/heads/main", "ref: refs/heads/other")
    forge.ref("refs/heads/other", "ref: refs/heads/main")


def _many(count: int, *, loose: bool = False) -> Callable[[Forge], object]:
    def write(forge: Forge) -> None:
        commit = forge.good()
        if loose:
            for number in range(count):
                forge.ref(f"refs/heads/x/{number:06}", commit)
            return
        (forge.path / "refs/heads/main").unlink()
        names = ["refs/heads/main", *(f"refs/heads/z/{number:07}" for number in range(count))]
        lines = ["# pack-refs with: peeled fully-peeled sorted ", *(f"{commit} {name}" for name in names), ""]
        forge.file("packed-refs", "\n".join(lines))

    return write


def _replaced(kind: str) -> Callable[[Forge], object]:
    """A replace ref that puts an evil object in the place of the good one."""

    def write(forge: Forge) -> None:
        commit = forge.good()
        if kind == "commit":
            forge.ref(f"refs/replace/{commit}", forge.commit(forge.files({CONFIG: EVIL})))
        else:
            forge.ref(f"refs/replace/{forge.blob(GOOD)}", forge.blob(EVIL))

    return write


def _grafted(forge: Forge) -> None:
    commit = forge.good()
    forge.file("info/grafts", f"{commit} {forge.commit(forge.files({CONFIG: EVIL}), message=b'evil')}\n")


def _shallow(content: str) -> Callable[[Forge], object]:
    def write(forge: Forge) -> None:
        tree = forge.files({CONFIG: GOOD})
        commit = forge.main(forge.commit(tree, "6" * 40))
        forge.file("shallow", content.replace("COMMIT", commit))

    return write


def _pulls(forge: Forge) -> None:
    commit = forge.good()
    for name in (
        "refs/pull/1/head",
        "refs/notes/commits",
        "refs/stash",
        "refs/deployer/heads/main",
        "refs/tags/main",
    ):
        forge.ref(name, forge.commit(forge.files({CONFIG: EVIL}), commit, message=name.encode()))


def _tag_of_same_name(forge: Forge) -> None:
    forge.good()
    evil = forge.commit(forge.files({CONFIG: EVIL}))
    text = f"object {evil}\ntype commit\ntag refs/heads/main\ntagger {ADA.decode()}\n\nx\n"
    forge.ref("refs/tags/refs/heads/main", forge.object("tag", text.encode()))
    forge.ref("refs/refs/heads/main", evil)
    forge.ref("main", evil)


FILES = [
    Case(
        name="ref-garbage",
        what="the branch's file holds no id",
        ends=NotRead,
        write=ref_file(b"\xff\0 hello\n"),
    ),
    Case(
        name="ref-empty",
        what="the branch's file is empty, as after a power cut",
        ends=NotRead,
        write=ref_file(""),
    ),
    Case(
        name="ref-short",
        what="an abbreviated id in the branch's file",
        ends=NotRead,
        write=ref_file("abcdef1\n"),
    ),
    Case(name="ref-upper", what="the id in capitals", ends=NotRead, write=ref_file("A" * 40 + "\n")),
    Case(
        name="ref-more", what="lines after the id", ends=Desired, write=ref_file("COMMIT\nhello\n\x1b[2J\n")
    ),
    Case(name="ref-100MB", what="a branch's file of 100 MB", ends=NotRead, says=ODD_FILE, write=_large),
    Case(
        name="ref-fifo",
        what="the branch's file is a pipe that nobody writes to",
        ends=NotRead,
        says=ODD_FILE,
        write=special("refs/heads/main"),
    ),
    Case(
        name="ref-device",
        what="the branch's file is a link to /dev/zero",
        ends=NotRead,
        says=ODD_FILE,
        write=special("refs/heads/main", link="/dev/zero"),
    ),
    Case(
        name="ref-link-outside",
        what="the branch's file is a link to a file outside that holds the commit's id",
        ends=NotRead,
        says=ODD_FILE,
        write=_links_outside,
    ),
    Case(
        name="ref-link-secret",
        what="the branch's file is a link to a secret",
        ends=NotRead,
        says=ODD_FILE,
        write=_links_to_secret,
    ),
    Case(
        name="ref-link-loop",
        what="the branch's file is a link to itself",
        ends=NotRead,
        says=ODD_FILE,
        write=special("refs/heads/main", link="main"),
    ),
    Case(
        name="refs-folder-outside",
        what="refs/heads is a link to a folder outside",
        ends=NotRead,
        says=ODD_FILE,
        write=_folder_links_outside,
    ),
    Case(name="ref-symbolic", what="main is a symbolic ref to another branch", ends=Desired, write=_chain(1)),
    Case(
        name="ref-symbolic-chain",
        what="a chain of ten symbolic refs: git follows five",
        ends=Absent,
        says="there is no branch main",
        write=_chain(10),
    ),
    Case(
        name="ref-symbolic-loop",
        what="two symbolic refs that name each other",
        ends=Absent,
        says="there is no branch main",
        write=_loop,
    ),
    Case(
        name="ref-symbolic-outside",
        what="a symbolic ref to ../outside/ref",
        ends=Absent,
        says="there is no branch main",
        write=ref_file("ref: ../outside/ref\n"),
    ),
    Case(
        name="ref-symbolic-option",
        what="a symbolic ref to an option",
        ends=Absent,
        says="there is no branch main",
        write=ref_file("ref: --upload-pack=touch CANARY-RAN\n"),
    ),
    Case(
        name="ref-is-folder",
        what="main is a folder: there is main/x",
        ends=Absent,
        says="there is no branch main",
        write=_main_is_folder,
    ),
    Case(name="head-missing", what="no HEAD", ends=NotRead, write=_headless),
    Case(
        name="head-garbage",
        what="HEAD that is none",
        ends=NotRead,
        write=lambda forge: (forge.good(), forge.file("HEAD", b"\xff\0")),
    ),
    Case(
        name="head-fifo",
        what="HEAD is a pipe that nobody writes to",
        ends=NotRead,
        says=ODD_FILE,
        write=special("HEAD"),
    ),
    Case(
        name="head-outside",
        what="HEAD names a ref outside",
        ends=NotRead,
        write=lambda forge: (forge.good(), forge.file("HEAD", "ref: ../../outside/secret.yaml\n")),
    ),
    Case(
        name="packed-garbage", what="packed-refs that is none", ends=NotRead, write=packed("\0\xff hello\n")
    ),
    Case(
        name="packed-half",
        what="packed-refs that ends in the middle of an id",
        ends=NotRead,
        write=packed("COMMIT refs/heads/a\n1234"),
    ),
    Case(
        name="packed-twice",
        what="main twice in packed-refs",
        ends=NotRead,
        write=packed("COMMIT refs/heads/main\n" + "7" * 40 + " refs/heads/main\n"),
    ),
    Case(
        name="packed-unsorted",
        what="packed-refs that says it is sorted, and is not",
        ends=Desired,
        write=packed(
            "# pack-refs with: sorted \nCOMMIT refs/heads/z\nCOMMIT refs/heads/main\nCOMMIT refs/heads/a\n"
        ),
    ),
    Case(
        name="packed-fifo",
        what="packed-refs is a pipe that nobody writes to",
        ends=NotRead,
        says=ODD_FILE,
        write=special("packed-refs"),
    ),
    Case(
        name="packed-device",
        what="packed-refs is a link to /dev/zero",
        ends=NotRead,
        says=ODD_FILE,
        write=special("packed-refs", link="/dev/zero"),
    ),
]

NAMES = [
    Case(
        name="branch-option",
        what="a branch beside main that is named like an option",
        ends=Desired,
        write=packed(f"COMMIT refs/heads/{OPTION}\nCOMMIT refs/heads/-\nCOMMIT refs/heads/main\n"),
    ),
    Case(
        name="branch-long",
        what="a branch whose name has 4 KB",
        branch=LONG,
        ends=NotRead,
        says="cannot lock ref",
        write=on(LONG),
    ),
    Case(
        name="branch-bidi",
        what="a branch whose name turns the text around",
        branch="a\u202eb",
        ends=Desired,
        write=on("a\u202eb"),
    ),
    Case(
        name="branch-shell",
        what="a branch whose name is for a shell",
        branch="$(./canary.sh)`./canary.sh`;x",
        ends=Desired,
        write=on("$(./canary.sh)`./canary.sh`;x"),
    ),
    Case(name="branch-HEAD", what="a branch named HEAD", branch="HEAD", ends=Desired, write=on("HEAD")),
    Case(
        name="names-beside",
        what="refs beside main with names that git does not allow",
        ends=Desired,
        write=packed(
            "COMMIT refs/heads/../../x\nCOMMIT refs/heads/\x1b[2J\nCOMMIT refs/heads/a b\nCOMMIT"
            " refs/heads/main\n"
        ),
    ),
    Case(name="refs-100,000", what="100,000 branches", ends=Desired, write=_many(100_000)),
    Case(
        name="refs-5,000-loose",
        what="5,000 branches, each in a file",
        ends=Desired,
        write=_many(5_000, loose=True),
    ),
    Case(
        name="refs-others",
        what="refs of pull requests, notes, and in the folder that the mirror uses",
        ends=Desired,
        write=_pulls,
    ),
    Case(
        name="refs-same-name",
        what="other refs that git might take for refs/heads/main",
        ends=Desired,
        write=_tag_of_same_name,
    ),
]

REPLACED = [
    Case(
        name="replace-commit",
        what="a replace ref with another commit in place of the head",
        ends=Desired,
        write=_replaced("commit"),
    ),
    Case(
        name="replace-blob", what="a replace ref with another config", ends=Desired, write=_replaced("blob")
    ),
    Case(name="grafts", what="info/grafts with another parent", ends=Desired, write=_grafted),
    Case(name="shallow", what="a shallow repository", ends=Desired, write=_shallow("COMMIT\n")),
    Case(name="shallow-garbage", what="a shallow file that is none", ends=NotRead, write=_shallow("hello\n")),
    Case(
        name="shallow-missing",
        what="a shallow file with a commit that is not there",
        ends=Desired,
        write=_shallow("COMMIT\n" + "8" * 40 + "\n"),
    ),
]

CASES = [*FILES, *NAMES, *REPLACED]
