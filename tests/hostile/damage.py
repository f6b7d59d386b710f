"""Objects that are missing, damaged or swapped, and packs that are larger than they look."""

from __future__ import annotations

import hashlib
import zlib
from typing import TYPE_CHECKING

from deployer.core.types import Desired, Invalid, NotRead
from tests.hostile.case import Case
from tests.hostile.forge import ADA, CONFIG, FILE, GOOD, TREE, Forge, blob_id, copy, delta, packed
from tests.support.repos import run_git

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVIL = GOOD.replace(b"7", b"666")
MEGABYTE = 1024 * 1024


def config_object(spoil: Callable[[Path], object]) -> Callable[[Forge], object]:
    """A good repository, with something done to the object of the config."""

    def write(forge: Forge) -> None:
        forge.good()
        blob = blob_id(GOOD)
        spoil(forge.path / "objects" / blob[:2] / blob[2:])

    return write


def missing(which: str) -> Callable[[Forge], object]:
    """One object is not there."""

    def write(forge: Forge) -> None:
        commit = forge.good()
        name = {"commit": commit, "tree": forge.files({CONFIG: GOOD})}[which]
        (forge.path / "objects" / name[:2] / name[2:]).unlink()

    return write


def repacked(spoil: Callable[[Path], object]) -> Callable[[Forge], object]:
    """A good repository in one pack, with something done to the pack or its index."""

    def write(forge: Forge) -> None:
        forge.good()
        run_git(f"--git-dir={forge.path}", "repack", "-adq")
        (pack,) = (forge.path / "objects" / "pack").glob("*.pack")
        for path in (pack, pack.with_suffix(".idx")):
            path.chmod(0o644)
        spoil(pack)

    return write


def _flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(len(data) * at)] ^= 0xFF
    path.write_bytes(data)


def _links_to_secret(forge: Forge) -> None:
    config_object(lambda path: path.unlink())(forge)
    blob = blob_id(GOOD)
    (forge.path / "objects" / blob[:2] / blob[2:]).symlink_to(forge.secret)


def _zlib_bomb(path: Path) -> None:
    """It says 10 bytes and holds 200 MB."""
    path.write_bytes(zlib.compress(b"blob 10\0" + b"a" * 200 * MEGABYTE, 1))


def _zlib_lie(path: Path) -> None:
    """It says 10 TB and holds 10 bytes."""
    path.write_bytes(zlib.compress(b"blob 10000000000000\0" + b"a" * 10, 1))


def served(
    *, with_config: Callable[[], tuple[str, list[bytes]]], trailer: bytes = b"", count: int = 0
) -> Callable[[Forge], object]:
    """A pack for the server that sends bytes as they are: a commit whose config is what the maker gives."""

    def write(forge: Forge) -> None:
        blob, entries = with_config()
        inner = _tree((FILE, b"serve_config.yaml", blob))
        staging = _tree((TREE, b"staging", _id("tree", inner)))
        root = _tree((TREE, b"environments", _id("tree", staging)))
        commit = b"tree %s\nauthor %s\ncommitter %s\n\nx\n" % (_id("tree", root).encode(), ADA, ADA)
        objects = [
            packed("commit", commit),
            *(packed("tree", tree) for tree in (root, staging, inner)),
            *entries,
        ]
        forge.file("pack", forge.pack(*objects, count=len(objects) + count) + trailer)
        forge.file("served", f"{_id('commit', commit)} refs/heads/main\n")

    return write


def _with_refs(*names: str) -> Callable[[Forge], object]:
    """The good pack, and more branches at its commit."""

    def write(forge: Forge) -> None:
        served(with_config=_plain)(forge)
        line = (forge.path / "served").read_text()
        forge.file("served", line + "".join(f"{line.split()[0]} {name}\n" for name in names))

    return write


def _other_commit(forge: Forge) -> None:
    served(with_config=_plain)(forge)
    forge.file("served", "a" * 40 + " refs/heads/main\n")


def _plain() -> tuple[str, list[bytes]]:
    return blob_id(GOOD), [packed("blob", GOOD)]


def _twice() -> tuple[str, list[bytes]]:
    return blob_id(GOOD), [packed("blob", GOOD)] * 50


def _base_missing() -> tuple[str, list[bytes]]:
    return blob_id(GOOD), [delta("9" * 40, 10, 20, copy(0, 10) * 2)]


def _delta_bomb(megabytes: int) -> Callable[[], tuple[str, list[bytes]]]:
    """A file of so many megabytes, made by copying one of a megabyte again and again."""

    def make() -> tuple[str, list[bytes]]:
        base = b"#" * MEGABYTE
        name = _id("blob", base, times=megabytes)
        bomb = delta(blob_id(base), MEGABYTE, megabytes * MEGABYTE, copy(0, MEGABYTE) * megabytes)
        return name, [packed("blob", base), bomb]

    return make


def _delta_past_end() -> tuple[str, list[bytes]]:
    base = b"#" * 100
    return blob_id(GOOD), [packed("blob", base), delta(blob_id(base), 100, 4000, copy(50, 4000))]


def _inflates() -> tuple[str, list[bytes]]:
    """A file of 300 MB that is 300 KB in the pack."""
    data = b"\0" * 300 * MEGABYTE
    return blob_id(data), [packed("blob", data)]


def _huge_header() -> tuple[str, list[bytes]]:
    """An entry that says it has 100 TB."""
    head = bytearray([0x80 | (3 << 4) | 0xF, *[0xFF] * 5, 0x7F])
    return blob_id(GOOD), [bytes(head) + zlib.compress(b"x")]


def _tree(*entries: tuple[bytes, bytes, str]) -> bytes:
    return b"".join(b"%s %s\0%s" % (mode, name, bytes.fromhex(id_)) for mode, name, id_ in entries)


def _id(kind: str, data: bytes, *, times: int = 1) -> str:
    digest = hashlib.sha1(b"%s %d\0" % (kind.encode(), len(data) * times), usedforsecurity=False)
    for _ in range(times):
        digest.update(data)
    return digest.hexdigest()


LOOSE = [
    Case(
        name="object-missing-blob",
        what="the config's object is not there",
        ends=NotRead,
        write=config_object(lambda path: path.unlink()),
    ),
    Case(
        name="object-missing-tree", what="the root's object is not there", ends=NotRead, write=missing("tree")
    ),
    Case(
        name="object-missing-commit",
        what="the commit's object is not there",
        ends=NotRead,
        write=missing("commit"),
    ),
    Case(
        name="object-empty",
        what="the config's object is an empty file",
        ends=NotRead,
        write=config_object(lambda path: path.write_bytes(b"")),
    ),
    Case(
        name="object-cut",
        what="the config's object ends too early",
        ends=NotRead,
        write=config_object(lambda path: path.write_bytes(path.read_bytes()[:-8])),
    ),
    Case(
        name="object-bad-zlib",
        what="the config's object does not inflate",
        ends=NotRead,
        write=config_object(lambda path: path.write_bytes(b"hello" * 20)),
    ),
    Case(
        name="object-other-content",
        what="another config under the config's id",
        ends=NotRead,
        write=config_object(lambda path: path.write_bytes(zlib.compress(b"blob %d\0%s" % (len(EVIL), EVIL)))),
    ),
    Case(
        name="object-other-kind",
        what="a tag under the config's id",
        ends=NotRead,
        write=config_object(lambda path: path.write_bytes(zlib.compress(b"tag 5\0hello"))),
    ),
    Case(
        name="object-kind-unknown",
        what="an object of a kind that there is not",
        ends=NotRead,
        write=config_object(lambda path: path.write_bytes(zlib.compress(b"evil 5\0hello"))),
    ),
    Case(
        name="object-zlib-bomb",
        what="an object that says 10 bytes and holds 200 MB",
        ends=NotRead,
        write=config_object(_zlib_bomb),
    ),
    Case(
        name="object-zlib-lie",
        what="an object that says 10 TB and holds 10 bytes",
        ends=NotRead,
        write=config_object(_zlib_lie),
    ),
    Case(
        name="object-link-secret",
        what="the config's object is a link to a secret",
        ends=NotRead,
        shares=True,
        write=_links_to_secret,
    ),
]

PACKS = [
    Case(
        name="pack-flipped",
        what="a pack with a byte turned over",
        ends=NotRead,
        write=repacked(lambda pack: _flip(pack, 0.5)),
    ),
    Case(
        name="pack-cut",
        what="a pack that ends too early",
        ends=NotRead,
        write=repacked(lambda pack: pack.write_bytes(pack.read_bytes()[:-60])),
    ),
    Case(
        name="pack-no-index",
        what="a pack without its index",
        ends=NotRead,
        write=repacked(lambda pack: pack.with_suffix(".idx").unlink()),
    ),
    Case(
        name="pack-index-flipped",
        what="an index with a byte turned over in its table",
        ends=NotRead,
        write=repacked(lambda pack: _flip(pack.with_suffix(".idx"), 0.1)),
    ),
    Case(
        name="pack-index-garbage",
        what="an index that is none",
        ends=NotRead,
        write=repacked(
            lambda pack: pack.with_suffix(".idx").write_bytes(b"\xfftOc\0\0\0\2" + b"\xff" * 2000)
        ),
    ),
]

SERVED = [
    Case(
        name="served-good",
        what="a server that sends bytes as they are: the good pack",
        ends=Desired,
        served=True,
        write=served(with_config=_plain),
    ),
    Case(
        name="served-twice",
        what="the config 50 times in one pack",
        ends=NotRead,
        served=True,
        write=served(with_config=_twice),
    ),
    Case(
        name="served-trailing",
        what="bytes after the pack, which git does not read",
        ends=Desired,
        served=True,
        write=served(with_config=_plain, trailer=b"hello" * 100),
    ),
    Case(
        name="served-fewer",
        what="a pack that says it has more objects",
        ends=NotRead,
        served=True,
        write=served(with_config=_plain, count=1),
    ),
    Case(
        name="served-billions",
        what="a pack that says it has 4,000,000,000 objects",
        ends=NotRead,
        served=True,
        write=served(with_config=_plain, count=4_000_000_000),
    ),
    Case(
        name="served-no-base",
        what="a delta whose base is not there",
        ends=NotRead,
        served=True,
        write=served(with_config=_base_missing),
    ),
    Case(
        name="served-delta-past-end",
        what="a delta that copies past the end of its base",
        ends=NotRead,
        served=True,
        write=served(with_config=_delta_past_end),
    ),
    Case(
        name="served-delta-bomb",
        what="a config of 8 GB from a pack of a few KB",
        ends=NotRead,
        served=True,
        write=served(with_config=_delta_bomb(8 * 1024)),
    ),
    Case(
        name="served-inflates",
        what="a config of 300 MB that is 300 KB in the pack",
        ends=Invalid,
        served=True,
        says="this file has 314,572,800 bytes; at most 1,048,576 are read",
        write=served(with_config=_inflates),
    ),
    Case(
        name="served-100TB",
        what="an object that says it has 100 TB",
        ends=NotRead,
        served=True,
        write=served(with_config=_huge_header),
    ),
    Case(
        name="served-other-commit",
        what="a pack without the commit that was promised",
        ends=NotRead,
        served=True,
        write=_other_commit,
    ),
    Case(
        name="served-ref-option",
        what="a branch --upload-pack=..., and names that move the cursor",
        ends=Desired,
        served=True,
        write=_with_refs(
            "refs/heads/--upload-pack=touch", "refs/heads/\x1b[2J", "refs/heads/a:b", "refs/heads/../x"
        ),
    ),
    Case(
        name="served-ref-long",
        what="a branch whose name has 60 KB",
        ends=Desired,
        served=True,
        write=_with_refs("refs/heads/" + "n" * 60_000),
    ),
    Case(
        name="served-refs-100,000",
        what="100,000 branches from a server",
        ends=Desired,
        served=True,
        write=_with_refs(*(f"refs/heads/z/{number:06}" for number in range(100_000))),
    ),
]

CASES = [*LOOSE, *PACKS, *SERVED]
