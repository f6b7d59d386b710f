"""Writes git repositories byte by byte, without git: it would refuse most of what is wanted here.

Owns loose objects, packs and the files of a bare repository. Must not know what a case is about.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

GOOD = b"applications:\n- name: fruit\n  import_path: fruit:app\n  args: {price: 7}\n"
"""The config that is to be deployed, where one is."""

SECRET = "price: 666"
"""In every file that is none of deployer's business."""

FOLDER = "environments/staging"
CONFIG = f"{FOLDER}/serve_config.yaml"
POLICY = f"{FOLDER}/environment.yaml"

FILE, SCRIPT, LINK, TREE, SUBMODULE = b"100644", b"100755", b"120000", b"40000", b"160000"

ADA = b"Ada <ada@example.com> 1700000000 +0000"

Entry = tuple[bytes, bytes, str]
"""Mode, name and id, as they come into a tree."""


class Forge:
    """One hostile repository, and the places around it that nobody may touch."""

    def __init__(self, folder: Path, *, trap_url: str = "http://127.0.0.1:9/") -> None:
        """Make an empty bare repository below `folder`, and the canaries.

        `trap_url` is where nobody may call. `canary` is a program that nobody may run.
        """
        self.folder = folder
        self.trap_url = trap_url
        self.path = folder / "hostile.git"
        self.outside = folder / "outside"
        self.outside.mkdir(parents=True)
        self.secret = self.outside / "secret.yaml"
        self.secret.write_bytes(GOOD.replace(b"price: 7", SECRET.encode()))
        self.canary = folder / "canary.sh"
        self.canary.write_text(f'#!/bin/sh\necho "$0 $*" >>"{self.sung}"\nexit 1\n')
        self.canary.chmod(0o755)
        for name in ("objects/pack", "objects/info", "refs/heads", "refs/tags", "info"):
            (self.path / name).mkdir(parents=True)
        self.file("HEAD", "ref: refs/heads/main\n")
        self.config("")

    @property
    def sung(self) -> Path:
        """What the canary writes if it is run."""
        return self.folder / "CANARY-RAN"

    def file(self, name: str, content: str | bytes) -> Path:
        """Write a file of the repository."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content)
        return path

    def config(self, more: str, *, version: int = 0) -> None:
        """Write the repository's config."""
        self.file("config", f"[core]\n\trepositoryformatversion = {version}\n\tbare = true\n{more}")

    def ref(self, name: str, value: str) -> None:
        """Write a loose ref."""
        self.file(name, value + "\n")

    # --- objects -----------------------------------------------------------------------------------------

    def object(self, kind: str, data: bytes) -> str:
        """Write a loose object, whatever it is; its id."""
        raw = b"%s %d\0%s" % (kind.encode(), len(data), data)
        name = hashlib.sha1(raw, usedforsecurity=False).hexdigest()
        self.loose(name, zlib.compress(raw, 1))
        return name

    def loose(self, name: str, compressed: bytes) -> Path:
        """Write the file of a loose object."""
        return self.file(f"objects/{name[:2]}/{name[2:]}", compressed)

    def blob(self, data: bytes) -> str:
        """Write a blob."""
        return self.object("blob", data)

    def tree(self, *entries: Entry) -> str:
        """Write a tree with its entries in this order."""
        return self.object(
            "tree", b"".join(b"%s %s\0%s" % (mode, name, bytes.fromhex(id_)) for mode, name, id_ in entries)
        )

    def files(self, files: dict[str, bytes | Entry], *more: Entry) -> str:
        """Write a tree of files by path, folders and all; `more` goes into its root, unsorted if need be."""
        here: dict[bytes, Entry] = {}
        below: dict[str, dict[str, bytes | Entry]] = {}
        for path, content in files.items():
            head, _, rest = path.partition("/")
            if rest:
                below.setdefault(head, {})[rest] = content
            else:
                name = head.encode("utf-8", "surrogateescape")
                here[name] = (FILE, name, self.blob(content)) if isinstance(content, bytes) else content
        for head, inside in below.items():
            name = head.encode("utf-8", "surrogateescape")
            here[name] = (TREE, name, self.files(inside))
        for entry in more:
            here[entry[1]] = entry
        return self.tree(*sorted(here.values(), key=lambda entry: entry[1] + b"/" * (entry[0] == TREE)))

    def commit(
        self,
        tree: str,
        *parents: str,
        author: bytes = ADA,
        committer: bytes = ADA,
        headers: bytes = b"",
        message: bytes = b"change\n",
    ) -> str:
        """Write a commit; `headers` are whole lines after the committer's."""
        lines = [b"tree " + tree.encode(), *(b"parent " + parent.encode() for parent in parents)]
        lines += [b"author " + author, b"committer " + committer]
        return self.object("commit", b"\n".join([*lines, headers + b"\n" + message]))

    def good(self, *more: Entry, **commit: bytes) -> str:
        """Commit a config that can be deployed, with this beside it in the root, to main."""
        return self.main(self.commit(self.files({CONFIG: GOOD}, *more), **commit))

    def push(self, files: dict[str, bytes | Entry]) -> str:
        """Commit these files alone to main."""
        return self.main(self.commit(self.files(files)))

    def main(self, commit: str) -> str:
        """Put main at it."""
        self.ref("refs/heads/main", commit)
        return commit

    def pack(self, *objects: bytes, count: int | None = None) -> bytes:
        """A pack of entries as `packed` and `delta` make them."""
        body = b"PACK" + struct.pack(">II", 2, len(objects) if count is None else count) + b"".join(objects)
        return body + hashlib.sha1(body, usedforsecurity=False).digest()


_KINDS = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}


def packed(kind: str, data: bytes) -> bytes:
    """An object as an entry of a pack."""
    return _entry_head(_KINDS[kind], len(data)) + zlib.compress(data, 1)


def delta(base: str, size: int, result: int, instructions: bytes) -> bytes:
    """A delta against the object of that id, which has `size` bytes, that makes `result` bytes."""
    data = _varint(size) + _varint(result) + instructions
    return _entry_head(7, len(data)) + bytes.fromhex(base) + zlib.compress(data, 1)


def copy(offset: int, size: int) -> bytes:
    """An instruction of a delta: copy from the base. At most 0xFFFFFF bytes."""
    return bytes([0xFF]) + struct.pack("<I", offset) + struct.pack("<I", size)[:3]


def _entry_head(kind: int, size: int) -> bytes:
    first, size = (kind << 4) | (size & 15), size >> 4
    out = bytearray()
    while size:
        out.append(first | 0x80)
        first, size = size & 0x7F, size >> 7
    out.append(first)
    return bytes(out)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append((number & 0x7F) | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def blob_id(data: bytes) -> str:
    """The id that a blob of these bytes has."""
    return hashlib.sha1(b"blob %d\0%s" % (len(data), data), usedforsecurity=False).hexdigest()
