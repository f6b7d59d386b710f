"""One check of a log in a process of its own, for `audit`: `ours STORE NOTES KEY`, or `floor STORE`.

`ours` is what `core.audit` makes of it. `floor` reads the same columns and hashes them, and compares nothing.
"""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

_COLUMNS = "environment, sequence, type, at, actor, reason, rollout, data, previous_hash, hash"


def _ours(store: Path, notes: Path, key: Path) -> None:
    # The floor is to import none of it.
    from deployer.adapters.store import raw  # noqa: PLC0415
    from deployer.adapters.store.sqlite import Database  # noqa: PLC0415
    from deployer.core import audit, checkpoint, ssh_keys  # noqa: PLC0415

    anchors = [
        audit.Anchor(place=f"{notes}:{note.line}", note=note)
        for note in checkpoint.parse_all(notes.read_text())
    ]
    keys = ssh_keys.public_keys(key.read_text(), checkpoint.NAMESPACE)
    with closing(Database(store, read_only=True)) as database, raw.opened(database) as log:
        report = audit.verify(log.events(), store=log.facts(), anchors=anchors, keys=keys)
    if report.verdict is not audit.Verdict.VERIFIED:
        raise RuntimeError(report.summary)


def _floor(store: Path) -> None:
    with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        rows = connection.execute(f"SELECT {_COLUMNS} FROM events NOT INDEXED ORDER BY id")  # noqa: S608 - ours
        for name, _sequence, *texts in rows:
            hashlib.sha256(b"".join((name, *texts))).digest()


if __name__ == "__main__":
    if sys.argv[1] == "ours":
        _ours(*map(Path, sys.argv[2:]))
    else:
        _floor(Path(sys.argv[2]))
