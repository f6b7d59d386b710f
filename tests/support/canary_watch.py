"""After each test: is a canary in its store, or in what it printed?

Owns where is looked, which must cost next to nothing: it is done after every test. Must not look where
configs are meant to be whole: in repositories, and in the contents of a store's releases.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.canaries import glimpsed

if TYPE_CHECKING:
    from collections.abc import Iterator

_STORES = (".db", ".db-wal")
_LOGS = (".log", ".jsonl")
_LONGEST = 64 * 1024 * 1024
"""Bytes of a file that is searched. Longer ones are of benchmarks."""


def left_in(folder: Path | None, *printed: str) -> list[str]:
    """What holds a canary and must not, in words."""
    found = (
        ["what it printed"] if any(glimpsed(one.encode(errors="replace")) for one in printed if one) else []
    )
    if folder is not None and folder.is_dir():
        found += [str(path.relative_to(folder)) for path in _files(folder) if _holds_one(path)]
    return found


def _files(folder: Path) -> Iterator[Path]:
    for place, below, names in os.walk(folder):
        # Repositories, and the daemon's mirrors of them.
        below[:] = [one for one in below if not one.endswith(".git") and one != "mirrors"]
        yield from (Path(place, name) for name in names if name.endswith(_STORES + _LOGS))


def _holds_one(path: Path) -> bool:
    if path.stat().st_size > _LONGEST:
        return False
    is_there = glimpsed(path.read_bytes())
    return is_there and (not path.name.endswith(_STORES) or _beside_contents(path))


def _beside_contents(path: Path) -> bool:
    """Whether one is in the store elsewhere than in the contents of releases."""
    store = path.with_name(path.name.removesuffix("-wal"))
    try:
        with (
            closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as opened,
            closing(sqlite3.connect(":memory:", isolation_level=None)) as copy,
        ):
            opened.backup(copy)
            copy.execute("PRAGMA secure_delete=ON")
            copy.execute("UPDATE releases SET config = ''")
            return glimpsed(copy.serialize())
    except sqlite3.Error:
        # One that a test has damaged: nobody can say what is where.
        return False
