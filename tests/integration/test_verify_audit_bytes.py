"""Every byte of the audit log of a real store is another one, one at a time: both verifiers find it.

They are `contrib/verify-audit.py` and `deployer audit verify`, and say the same in the same words. CI tries a
seeded part; `long` every byte of every column of 1,024 events, and ten thousand bytes of the file. The result
of that is in docs/audit-bytes.md.
"""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from deployer.cli import audit_verify
from tests.support import audited
from tests.support.audited import MANY, Files, events, notes
from tests.support.tampering import TEXTS

if TYPE_CHECKING:
    from pathlib import Path

Kept = Callable[[str, object], None]
"""`--junitxml FILE -o junit_family=legacy` has it then."""

SEED = 20261123
SIZE = 1024
NO_TRIGGERS = tuple(
    f"The trigger {name}, which keeps the log from being changed, is missing."
    for name in ("events_no_update", "events_no_delete")
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 1,024 events of 64 environments, as a daemon leaves it that ended in order."""
    path = tmp_path_factory.mktemp("store") / "deployer.db"
    audited.build(path, 1, MANY)
    assert len(audited.rows(path)) == SIZE
    return path


@pytest.fixture(scope="module")
def signed(store: Path) -> str:
    """Checkpoints that were signed while it grew."""
    return notes(store, 1, 100, 600, SIZE)


@pytest.fixture
def files(store: Path, signed: str, tmp_path: Path) -> Files:
    """A copy of the store to change, its checkpoints, and the key."""
    return Files.copy(store, tmp_path, signed)


@pytest.fixture
def _all_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both print all that they find, not the first fifty."""
    monkeypatch.setattr(audited.script, "MOST_SHOWN", 1000)
    monkeypatch.setattr(audit_verify, "MOST_SHOWN", 1000)


# --- every byte of every column ----------------------------------------------------------------------------

Change = tuple[int, str, Any]
"""Of which event, which column, and what it holds then."""


def changes(path: Path) -> dict[str, list[Change]]:
    """By environment, in an order of chance: each byte of each text of its events, each bit of a sequence.

    Bytes are bytes: what is no text any more is stored as text all the same.
    """
    chance = random.Random(SEED)
    found: dict[str, list[Change]] = {name: [] for name in MANY}
    for event in events(path):
        mine = found[event.environment]
        for column in ("environment", *TEXTS):
            text = getattr(event, column).encode()
            mine += [(event.id, column, changed(text, place, chance)) for place in range(len(text))]
        mine += [(event.id, "sequence", event.sequence ^ 1 << bit) for bit in range(12)]
    for one in found.values():
        chance.shuffle(one)
    return found


def changed(text: bytes, place: int, chance: random.Random) -> bytes:
    """The text with another byte at a place."""
    content = bytearray(text)
    content[place] ^= chance.randrange(1, 256)
    return bytes(content)


def open_up(connection: sqlite3.Connection) -> None:
    """As somebody does who may write to the file."""
    connection.execute("PRAGMA journal_mode=OFF")
    connection.execute("PRAGMA synchronous=OFF")
    for name in ("events_no_update", "events_no_delete"):
        connection.execute(f"DROP TRIGGER {name}")


def find_changes(files: Files, part: slice) -> tuple[int, int]:
    """Change one event in each environment at once, again and again, and see each of them named.

    How many changes were found, and how many SQLite refused: of two events with one sequence.
    """
    by_id = {event.id: event for event in events(files.log)}
    chosen = {name: one[part] for name, one in changes(files.log).items()}
    found = refused = 0
    with files.connect() as connection:
        open_up(connection)
        while any(chosen.values()):
            now = []
            connection.execute("BEGIN")
            for id_, column, value in [one.pop() for one in chosen.values() if one]:
                new = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
                try:
                    connection.execute(f"UPDATE events SET {column} = {new} WHERE id = ?", (value, id_))  # noqa: S608 - ours
                except sqlite3.IntegrityError:
                    refused += 1
                else:
                    now.append((id_, column))
            connection.execute("COMMIT")
            said = files.both()
            connection.execute("BEGIN")
            for id_, column in now:
                connection.execute(
                    f"UPDATE events SET {column} = ? WHERE id = ?",  # noqa: S608 - ours
                    (getattr(by_id[id_], column), id_),
                )
            connection.execute("COMMIT")
            named = {int(id_) for line in said.lines for id_ in re.findall(r"\(id ([0-9]+)\)", line)}
            assert said.code == 1
            assert {id_ for id_, _ in now} <= named, now
            found += len(now)
    assert files.both().findings == NO_TRIGGERS
    return found, refused


@pytest.mark.usefixtures("_all_shown")
def test_a_byte_of_a_row_cannot_be_another(files: Files) -> None:
    """Each such row is named, by both verifiers, wherever in it the byte is."""
    files.notes = []
    found, refused = find_changes(files, slice(0, 8))
    assert found + refused == 8 * len(MANY)
    assert refused < 10


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("_all_shown")
@pytest.mark.parametrize("part", range(8))
def test_no_byte_of_any_row_can_be_another(files: Files, part: int, record_property: Kept) -> None:
    """Every byte of every text of every event, and every bit of a sequence: some 580,000."""
    files.notes = []
    found, refused = find_changes(files, slice(part, None, 8))
    record_property("found, refused", (found, refused))
    assert found > 70_000
    assert refused < 700


def find_ids(files: Files, part: slice) -> tuple[int, int]:
    """Give events other ids, one at a time; return how many were found, and how many SQLite refused."""
    found = refused = 0
    moves = [(event.id, event.id ^ 1 << bit) for event in events(files.log) for bit in range(14)]
    random.Random(SEED).shuffle(moves)
    with files.connect() as connection:
        open_up(connection)
        for now, then in moves[part]:
            try:
                connection.execute("UPDATE events SET id = ? WHERE id = ?", (then, now))
            except sqlite3.IntegrityError:
                refused += 1
                continue
            said = files.both()
            connection.execute("UPDATE events SET id = ? WHERE id = ?", (now, then))
            assert said.code == 1
            assert set(said.findings) > set(NO_TRIGGERS), (now, then)
            found += 1
    assert files.both().findings == NO_TRIGGERS
    return found, refused


def test_an_id_cannot_be_another(files: Files) -> None:
    """What SQLite lets be written is found."""
    files.notes = []
    found, refused = find_ids(files, slice(0, 200))
    assert found > 40
    assert found + refused == 200


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_no_id_can_be_another(files: Files, record_property: Kept) -> None:
    """All of them, bit by bit: 14,336."""
    files.notes = []
    found, refused = find_ids(files, slice(None))
    record_property("found, refused", (found, refused))
    assert found > 3_000
    assert found + refused == 14 * SIZE


# --- every byte of the file --------------------------------------------------------------------------------


def find_damage(
    files: Files, positions: list[int], read: Callable[[Path], Any], *, compare: int = 10
) -> dict[int, int]:
    """Change single bytes of the file; return how often each exit code came.

    Where nothing is found, all that is verified reads as before. Of `compare`, one is also given to our own
    verifier: a damaged file is not always read in the same words, but neither of them verifies what the other
    does not.
    """
    before, original = read(files.log), files.log.read_bytes()
    chance = random.Random(SEED)
    codes = {0: 0, 1: 0, 2: 0}
    for position in positions:
        damaged = bytearray(original)
        damaged[position] ^= chance.randrange(1, 256)
        files.log.write_bytes(damaged)
        code = files.contrib().code
        codes[code] += 1
        assert code or read(files.log) == before, position
        if position % compare == 0:
            assert bool(files.ours().code) is bool(code), position
    return codes


def test_a_byte_of_the_file_cannot_be_another(files: Files) -> None:
    """Unless it is one that holds nothing, or something that is not part of the log."""
    size = files.log.stat().st_size
    codes = find_damage(files, random.Random(SEED).sample(range(size), 300), audited.content)
    assert codes[1] > 50


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_bytes_of_the_file_cannot_be_others(
    files: Files, part: int, record_property: Kept
) -> None:
    """A thousand for each part; the first also has those of the file's header."""
    size = files.log.stat().st_size
    positions = random.Random(SEED + 1 + part).sample(range(size), 1000)
    positions += list(range(100)) * (part == 0)
    codes = find_damage(files, positions, audited.content, compare=1)
    record_property("codes", codes)
    assert codes[1] > 200


def test_a_byte_of_an_export_cannot_be_another(files: Files) -> None:
    """Unless it reads as before: a space that is another, an escape that is written otherwise."""
    files.log = files.folder / "log.jsonl"
    audited.export(files.folder / "deployer.db", files.log)
    size = files.log.stat().st_size
    codes = find_damage(files, [0, size - 1, *random.Random(SEED).sample(range(size), 150)], audited.parsed)
    assert codes[1] > 100
    assert codes[0] < 10
