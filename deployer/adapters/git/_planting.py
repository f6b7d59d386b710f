"""A commit that changes one file of another one, made without a working tree.

Owns the bytes of the file, of the folders above it, and of the commit. Must not know branches, nor why.
Invariant: all but the file and the folders above it stays as it was, byte for byte; the same input makes the
same commit; and what was written is read back before anything is built on it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deployer.adapters.git._errors import MirrorBroken
from deployer.adapters.git._reader import OBJECT_LIMIT, read_object

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from deployer.adapters.git._workspace import Workspace
    from deployer.core.types import Person

_ENTRY = re.compile(rb"([0-7]{1,11}) ([^\0]+)\0(.{20})", re.DOTALL)

_FILE, _FOLDER = b"100644", b"40000"

_NOT_IN_NAMES = ".,:;<>\"\\' "
"""What git takes off the ends of a name; one of nothing else it refuses."""

_NAME_LIMIT = 200
"""Characters of a name or an address."""


def check_path(path: str) -> None:
    """Raise ValueError for what is no path of a file inside a repository."""
    if "\0" in path or any(part.lower() in {b"", b".", b"..", b".git"} for part in _parts(path)):
        message = f"{path!r} is not a path inside a repository: write it as folder/serve_config.yaml"
        raise ValueError(message)


def plant(workspace: Workspace, commit: str, path: str, data: bytes, *, onto: str | None = None) -> str:
    """Write the folders of a commit with this file in them; the id of the uppermost.

    A file that is there keeps its mode. `onto` are the folders with what was planted before. Raises
    InvalidConfig where something else than a file is there, MirrorBroken.
    """
    workspace.reader.find(workspace.git, commit, path)
    parts = _parts(path)
    id_: str | None = onto or workspace.reader.commit(workspace.git, commit).tree
    folders = []
    for part in parts:
        folder = b"" if id_ is None else read_object(workspace.git, id_, "tree", OBJECT_LIMIT)
        folders.append(folder)
        id_ = next((found for _, name, found in _entries(folder) if name == part), None)
    new, mode = write_object(workspace, "blob", data), _FILE
    for part, folder in zip(reversed(parts), reversed(folders), strict=True):
        new, mode = write_object(workspace, "tree", planted(folder, part, mode, new)), _FOLDER
    return new


def planted(folder: bytes, name: bytes, mode: bytes, id_: str) -> bytes:
    """A raw folder with this entry in place of the one of that name, whose mode it keeps, or as a new one."""
    entries = _entries(folder)
    if any(found == name for _, found, _ in entries):
        listed = [(had, found, id_ if found == name else old) for had, found, old in entries]
    else:
        before = [one for one in entries if _order(one[0], one[1]) < _order(mode, name)]
        listed = [*before, (mode, name, id_), *entries[len(before) :]]
    return b"".join(b"%s %s\0%s" % (had, found, bytes.fromhex(old)) for had, found, old in listed)


def seal(
    workspace: Workspace, tree: str, parent: str | None, message: str, author: Person, at: datetime
) -> str:
    """Write a commit; its id. Who it is by is made fit for git, and so is the message."""
    name, email = _harmless(author.name), _harmless(author.email)
    name = name.strip(_NOT_IN_NAMES) or email.strip(_NOT_IN_NAMES) or "unknown"
    date = f"@{int(at.timestamp())} +0000"
    identity = {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (("NAME", name), ("EMAIL", email), ("DATE", date))
    }
    text = message.encode("utf-8", "replace").replace(b"\0", b"")
    with _written(workspace, text) as path, workspace.git.custom_environment(**identity):
        commit = str(workspace.git.commit_tree(tree, *(("-p", parent) if parent else ()), "-F", str(path)))
    workspace.reader.commit(workspace.git, commit)
    return commit


def _parts(path: str) -> list[bytes]:
    return path.encode("utf-8", "surrogateescape").split(b"/")


def _entries(folder: bytes) -> list[tuple[bytes, bytes, str]]:
    """Mode, name and id of each entry. Raises MirrorBroken rather than lose one."""
    found, position = [], 0
    while position < len(folder):
        entry = _ENTRY.match(folder, position)
        if entry is None:
            message = "it has a folder with malformed entries"
            raise MirrorBroken(message)
        found.append((entry[1], entry[2], entry[3].hex()))
        position = entry.end()
    return found


def _order(mode: bytes, name: bytes) -> bytes:
    """What git sorts entries by."""
    return name + b"/" if mode.lstrip(b"0") == _FOLDER else name


def write_object(workspace: Workspace, kind: str, data: bytes) -> str:
    """Write a blob or a folder; its id. Raises MirrorBroken if it cannot be read back."""
    with _written(workspace, data) as path:
        id_ = str(workspace.git.hash_object("-w", "--no-filters", "-t", kind, "--", str(path)))
    # With a check: git does not write what it has, also where the disk has lost the content since.
    read_object(workspace.git, id_, kind, max(OBJECT_LIMIT, len(data)))
    return id_


@contextmanager
def _written(workspace: Workspace, data: bytes) -> Iterator[Path]:
    """A file for git to read. It is named like litter: the next start removes one that was left."""
    _ = workspace.git
    path = workspace.path / "deployer-object.lock"
    path.write_bytes(data)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _harmless(text: str) -> str:
    """One printable line that cannot end the field of a commit that it stands in."""
    line = "".join(one if one.isprintable() and one not in "<>" else " " for one in text)
    return " ".join(line.split())[:_NAME_LIMIT]
