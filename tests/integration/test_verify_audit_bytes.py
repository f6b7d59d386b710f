"""Every byte of the audit log of a real store is another one, one at a time: both verifiers find it.

CI tries a seeded part; `long` every byte of every column of 1,024 events, and ten thousand bytes of the file.
"""

from __future__ import annotations

import random
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import audited
from tests.support.audited import ENVIRONMENTS, Files, events, notes
from tests.support.tampering import TEXTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEED = 20261123
SIZE = 1024
NO_TRIGGERS = tuple(
    f"The trigger {name}, which keeps the log from being changed, is missing."
    for name in ("events_no_update", "events_no_delete")
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 1,024 events of 16 environments, as a daemon leaves it that ended in order."""
    path = tmp_path_factory.mktemp("store") / "deployer.db"
    audited.build(path)
    return path


@pytest.fixture(scope="module")
def signed(store: Path) -> str:
    """Checkpoints that were signed while it grew."""
    return notes(store, 1, 100, 600, SIZE)


@pytest.fixture
def files(store: Path, signed: str, tmp_path: Path) -> Files:
    """A copy of the store to change, its checkpoints, and the key."""
    return Files.copy(store, tmp_path, signed)


# --- every byte of every column ----------------------------------------------------------------------------


def places(path: Path) -> dict[str, list[tuple[int, str, int]]]:
    """By environment, in an order of chance: each byte of each text of each of its events."""
    chance = random.Random(SEED)
    found: dict[str, list[tuple[int, str, int]]] = {name: [] for name in ENVIRONMENTS}
    for event in events(path):
        for column in TEXTS:
            length = len(getattr(event, column).encode())
            found[event.environment] += [(event.id, column, place) for place in range(length)]
    for one in found.values():
        chance.shuffle(one)
    return found


def changed(text: str, place: int, chance: random.Random) -> bytes:
    """The text with another byte at a place."""
    content = bytearray(text.encode())
    content[place] ^= chance.randrange(1, 256)
    return bytes(content)


def find_bytes(files: Files, part: slice, *, compare: bool) -> int:
    """Change a byte in each environment at once, again and again, and see each row named. How many bytes."""
    chance = random.Random(SEED)
    by_id = {event.id: event for event in events(files.log)}
    chosen = {name: one[part] for name, one in places(files.log).items()}
    count = 0
    with files.connect() as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        for name in ("events_no_update", "events_no_delete"):
            connection.execute(f"DROP TRIGGER {name}")
        while any(chosen.values()):
            now = [one.pop() for one in chosen.values() if one]
            connection.execute("BEGIN")
            for id_, column, place in now:
                value = changed(getattr(by_id[id_], column), place, chance)
                connection.execute(
                    f"UPDATE events SET {column} = CAST(? AS TEXT) WHERE id = ?",  # noqa: S608 - ours
                    (value, id_),
                )
            connection.execute("COMMIT")
            said = files.both() if compare else files.contrib()
            connection.execute("BEGIN")
            for id_, column, _ in now:
                connection.execute(
                    f"UPDATE events SET {column} = ? WHERE id = ?",  # noqa: S608 - ours
                    (getattr(by_id[id_], column), id_),
                )
            connection.execute("COMMIT")
            named = {line.partition(")")[0] for line in said.lines}
            expected = {
                f"Event {by_id[id_].sequence} of {by_id[id_].environment} (id {id_}" for id_, _, _ in now
            }
            assert said.code == 1
            assert expected <= named, now
            count += len(now)
    assert files.contrib().findings == NO_TRIGGERS
    return count


def test_a_byte_of_a_row_cannot_be_another(files: Files) -> None:
    """Each such row is named, by both verifiers, wherever in it the byte is."""
    files.notes = []
    assert find_bytes(files, slice(0, 20), compare=True) == 20 * len(ENVIRONMENTS)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(8))
def test_no_byte_of_any_row_can_be_another(files: Files, part: int) -> None:
    """Every byte of every text of every event: some 560,000."""
    files.notes = []
    assert find_bytes(files, slice(part, None, 8), compare=False) > 50_000


def others(path: Path) -> list[tuple[int, str, Any]]:
    """Every byte of a name and every bit of a number: each of them another value for a row."""
    chance = random.Random(SEED)
    found: list[tuple[int, str, Any]] = []
    for event in events(path):
        name = event.environment
        found += [(event.id, "environment", changed(name, place, chance)) for place in range(len(name))]
        found += [(event.id, "sequence", event.sequence ^ 1 << bit) for bit in range(12)]
        found += [(event.id, "id", event.id ^ 1 << bit) for bit in range(14)]
    chance.shuffle(found)
    return found


def find_values(files: Files, part: slice, *, compare: bool) -> tuple[int, int]:
    """Give rows other values, one at a time; return how many were found, and how many SQLite refused."""
    found = refused = 0
    originals = {event.id: event for event in events(files.log)}
    with files.connect() as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        for name in ("events_no_update", "events_no_delete"):
            connection.execute(f"DROP TRIGGER {name}")
        for id_, column, value in others(files.log)[part]:
            new = "CAST(? AS TEXT)" if column == "environment" else "?"
            try:
                connection.execute(f"UPDATE events SET {column} = {new} WHERE id = ?", (value, id_))  # noqa: S608 - ours
            except sqlite3.IntegrityError:
                refused += 1
                continue
            said = files.both() if compare else files.contrib()
            connection.execute(
                f"UPDATE events SET {column} = ? WHERE id = ?",  # noqa: S608 - ours
                (getattr(originals[id_], column), value if column == "id" else id_),
            )
            assert said.code == 1
            assert set(said.findings) > set(NO_TRIGGERS), (id_, column, value)
            found += 1
    assert files.contrib().findings == NO_TRIGGERS
    return found, refused


def test_a_name_or_a_number_of_a_row_cannot_be_another(files: Files) -> None:
    """What SQLite lets be written is found."""
    files.notes = []
    found, refused = find_values(files, slice(0, 200), compare=True)
    assert found > 50
    assert found + refused == 200


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(4))
def test_no_name_and_no_number_of_any_row_can_be_another(files: Files, part: int) -> None:
    """All of them: some 34,000."""
    files.notes = []
    found, refused = find_values(files, slice(part, None, 4), compare=False)
    assert found > 3_000
    assert found + refused > 8_000


# --- every byte of the file --------------------------------------------------------------------------------


def find_damage(
    files: Files, positions: list[int], read: Callable[[Path], Any], *, compare: int = 10
) -> dict[int, int]:
    """Change single bytes of the file; return how often each exit code came.

    Where nothing is found, all that is verified reads as before. Of so many, one is also given to our own
    verifier: a damaged file is not read in the same words, but neither of them verifies what the other does
    not.
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
            for suffix in ("-wal", "-shm"):
                files.log.with_name(f"{files.log.name}{suffix}").unlink(missing_ok=True)
    return codes


def test_a_byte_of_the_file_cannot_be_another(files: Files) -> None:
    """Unless it is one that holds nothing, or something that is not part of the log."""
    size = files.log.stat().st_size
    codes = find_damage(files, random.Random(SEED).sample(range(size), 300), audited.content)
    assert codes[1] > 50


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(10))
def test_ten_thousand_bytes_of_the_file_cannot_be_others(files: Files, part: int) -> None:
    """A thousand for each part; the first also has those of the file's header."""
    size = files.log.stat().st_size
    positions = random.Random(SEED + 1 + part).sample(range(size), 1000)
    codes = find_damage(files, positions + list(range(100)) * (part == 0), audited.content)
    assert codes[1] > 200


def test_a_byte_of_an_export_cannot_be_another(files: Files) -> None:
    """Unless it reads as before: a space that is another, an escape that is written otherwise."""
    files.log = files.folder / "log.jsonl"
    audited.export(files.folder / "deployer.db", files.log)
    size = files.log.stat().st_size
    codes = find_damage(files, [0, size - 1, *random.Random(SEED).sample(range(size), 150)], audited.parsed)
    assert codes[1] > 100
    assert codes[0] < 10
