"""`deployer audit seal`: the log in segments, which both verifiers verify together, and each alone."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from deployer.adapters.store import SqlStore
from deployer.core import chain, raw_log
from deployer.core.merkle import Frontier
from deployer.core.raw_log import RawEvent
from tests.support import audited
from tests.support.audited import Files, Home, events
from tests.support.prerequisites import require
from tests.unit.cli.test_json_docs import differences, paths

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 256 events of 16 environments."""
    path = tmp_path_factory.mktemp("store") / "deployer.db"
    audited.build(path, 1)
    return path


@pytest.fixture
def home(store: Path, tmp_path: Path) -> Home:
    """A state directory with a copy of it, and a key of ssh-keygen's."""
    require("ssh-keygen", shutil.which("ssh-keygen") is not None, "apt-get install openssh-client")
    home = Home.make(tmp_path, store)
    for file in tmp_path.glob("audit_key*"):
        file.unlink()
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(tmp_path / "audit_key")]
    subprocess.run(make, check=True, timeout=20)
    return home


def seal(home: Home, *more: str) -> list[str]:
    """Seal what there is, and return the names of all files in the folder."""
    said = home.type("audit", "seal", str(home.folder / "sealed"), *more)
    assert said.exit_code == 0, said.output
    return sorted(path.name for path in (home.folder / "sealed").iterdir())


def three(home: Home) -> None:
    """Three segments: one by date, what was left, and what came then."""
    first = max(event.at for event in events(home.store)[:12])
    seal(home, "--until", first)
    seal(home)
    with closing(SqlStore.open(home.store)) as running:
        audited.add(running, range(1, 2))
    seal(home)


def both(home: Home, folder: Path | None = None) -> audited.Said:
    """What both verifiers say of the folder."""
    key = (home.folder / "audit_key.pub").read_text()
    return Files(folder=home.folder, log=folder or home.folder / "sealed", keys=[key]).both()


def test_the_log_is_sealed_in_segments(home: Home) -> None:
    """Each goes on where the last ended; all of them are one log."""
    three(home)
    names = sorted(path.name for path in (home.folder / "sealed").iterdir())
    firsts = sorted({tuple(map(int, name.partition(".")[0].split("-")[1:])) for name in names})
    assert len(names) == 9
    assert [last + 1 for _, last in firsts[:-1]] == [first for first, _ in firsts[1:]]
    assert (firsts[0][0], firsts[-1][1]) == (1, 512)
    said = both(home)
    assert (said.code, said.lines) == (
        0,
        (
            "Verified: 512 events of 16 environments, 3 signed checkpoints; the newest covers 512 of the"
            " events.",
        ),
    )
    packed = b"".join(
        gzip.decompress((home.folder / "sealed" / f"segment-{first}-{last}.jsonl.gz").read_bytes())
        for first, last in firsts
    )
    assert packed == home.type("audit", "export", "--format", "raw").stdout_bytes
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (home.folder / "sealed").iterdir())


def test_a_segment_is_verified_alone(home: Home) -> None:
    """The years before it are elsewhere; what it covers is said."""
    three(home)
    alone = home.folder / "alone"
    alone.mkdir()
    for path in (home.folder / "sealed").glob("segment-257-512.*"):
        shutil.copyfile(path, alone / path.name)
    said = both(home, alone)

    assert said.code == 0
    assert said.lines[-1].startswith("Verified: 256 events of 16 environments, 1 signed checkpoint;")
    assert said.lines[-1].endswith("the newest covers 256 of the events.")
    # Checkpoints of before are of no use to it, and do not disturb it.
    older = next((home.folder / "sealed").glob("segment-1-*.checkpoint"))
    files = Files(folder=home.folder, log=alone, notes=[older.read_text()])
    files.keys = [(home.folder / "audit_key.pub").read_text()]
    assert files.both().code == 0


def test_nothing_new_is_no_segment(home: Home) -> None:
    """It is said, and nothing is written; also where a date is before all that is left."""
    before = seal(home)
    assert "Nothing to seal" in home.type("audit", "seal", str(home.folder / "sealed")).stdout
    told = json.loads(home.type("audit", "seal", str(home.folder / "sealed"), "-o", "json").stdout)
    assert list(differences("audit seal -o", paths(told))) == []
    assert (told["segment"], told["first"], told["last"]) == (None, None, None)
    assert seal(home, "--until", "2020-01-01") == before
    assert before == [f"segment-1-256.{end}" for end in ("checkpoint", "frontier", "jsonl.gz")]


def repacked(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Another file of the same events, but for the change."""
    lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(gzip.compress(b"".join(change(lines))))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda lines: lines[:-1], "Event 512 is missing"),
        (lambda lines: [*lines[:5], *lines[6:]], "is missing"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "out of place"),
        (lambda lines: [lines[0].replace(b'"reason": "', b'"reason": "x'), *lines[1:]], "was changed after"),
        (lambda lines: [*lines, b"junk\n"], "is not JSON"),
    ],
)
def test_a_segment_that_was_changed_is_found(
    home: Home, change: Callable[[list[bytes]], list[bytes]], why: str
) -> None:
    """In the middle, at its end, and in what is beside it."""
    three(home)
    repacked(next((home.folder / "sealed").glob("segment-257-*.gz")), change)
    said = both(home)

    assert said.code == 1
    assert any(why in line for line in said.findings)


def test_an_event_behind_the_last_of_a_segment_is_found(home: Home) -> None:
    """Its chain fits, and no checkpoint covers it: anybody can append such a one to the last segment."""
    seal(home)

    def more(lines: list[bytes]) -> list[bytes]:
        last = RawEvent(**json.loads(lines[-1]))
        event = last._replace(id=257, sequence=last.sequence + 1, actor="eve", previous_hash=last.hash)
        event = event._replace(hash=chain.link(event.previous_hash, event.chained))
        return [*lines, *(line.encode() for line in raw_log.lines([event]))]

    repacked(home.folder / "sealed" / "segment-1-256.jsonl.gz", more)
    assert both(home).findings == (
        "After 256 events the log cannot be read on: segment-1-256.jsonl.gz: it has more events than its name"
        " says.",
    )


def test_a_segment_that_is_missing_or_damaged_is_named(home: Home) -> None:
    """The first, one in the middle, a torn one, and files beside one that are another's."""
    three(home)
    folder = home.folder / "sealed"
    last = folder / "segment-257-512"
    content = {path: path.read_bytes() for path in folder.iterdir()}
    second = next(path for path in content if path.name.endswith("-256.jsonl.gz"))
    name = second.name.removesuffix(".jsonl.gz")
    first = int(name.split("-")[1])

    second.unlink()
    assert f"no segment has the ids {first} to 256." in both(home).findings[-1]
    second.write_bytes(content[second][:-20])
    assert f"{second.name} is damaged." in both(home).findings[0]
    second.write_bytes(b"x" + content[second])
    assert f"{second.name} is damaged." in both(home).findings[0]
    second.write_bytes(content[second])

    frontier = last.with_name(f"{last.name}.frontier")
    for text, why in (
        ("256 AAAA\n", f"{last.name}.frontier is damaged."),
        ("0 \n", f"the frontier of {last.name} is of 0 events."),
    ):
        frontier.write_text(text)
        assert both(home).findings[-1].endswith(why)
    other = Frontier()
    for number in range(256):
        other.append(bytes([number]))
    frontier.write_text(f"{other.text}\n")
    assert both(home).findings[-1].endswith(f"{last.name} goes on from another log than {name}.")
    frontier.write_bytes(content[frontier])
    assert both(home).code == 0

    start = next(
        path for path in content if path.name.startswith("segment-1-") and path.suffix == ".frontier"
    )
    start.write_text("junk\n")
    assert both(home).findings[0].startswith("After 0 events the log cannot be read on: segment-1-")
    start.write_bytes(content[start])
    note = last.with_name(f"{last.name}.checkpoint")
    note.write_bytes(content[second.with_name(f"{name}.checkpoint")])
    assert f"the checkpoint of {last.name} is of 256 events." in both(home).findings[-1]
    note.write_bytes(content[note] * 2)
    assert both(home).code == 2
    note.unlink()
    assert both(home).code == 2
    shutil.rmtree(folder)
    folder.mkdir()
    assert both(home).code == 2


def test_what_cannot_be_sealed_is_said(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key; another log; a folder of another history; a server; a log that does not verify."""
    folder = str(home.folder / "sealed")
    seal(home)
    settings = (home.folder / "deployer.yaml").read_text()
    (home.folder / "deployer.yaml").write_text(settings.replace(audited.ORIGIN, "elsewhere"))
    assert "has segments of another log" in home.type("audit", "seal", folder).stderr
    (home.folder / "deployer.yaml").write_text(settings)

    kept = home.store.read_bytes()
    home.store.unlink()
    for suffix in ("-wal", "-shm"):
        home.store.with_name(f"deployer.db{suffix}").unlink(missing_ok=True)
    with closing(SqlStore.open(home.store)) as running:
        audited.add(running, range(7, 9))
    said = home.type("audit", "seal", folder)
    assert (said.exit_code, "was sealed of another log" in said.stderr) == (7, True)
    home.store.write_bytes(kept)

    home.sign(100)
    said = home.type("audit", "seal", folder)
    assert (said.exit_code, "The log does not verify" in said.stderr) == (1, True)
    home.checkpoints.unlink()
    (home.folder / "audit_key").unlink()
    with closing(SqlStore.open(home.store)) as running:
        audited.add(running, range(7, 8))
    said = home.type("audit", "seal", folder)
    assert (said.exit_code, "cannot sign with" in said.stderr) == (1, True)
    assert both(home).code == 0
    home.forget_key()
    assert home.type("audit", "seal", folder).exit_code == 7
    monkeypatch.setenv("DEPLOYER_SERVER", "https://a.example")
    assert home.type("audit", "seal", folder).exit_code == 64
