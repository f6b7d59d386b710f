"""Whatever the bytes are, they end in a config or in InvalidConfig: soon, and without a secret."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deployer.core import serve_config
from deployer.core.errors import Problem
from tests.fuzz import target
from tests.fuzz.generate import make
from tests.fuzz.hostile import HOSTILE, SIZE
from tests.fuzz.play import MAX_GROWTH_KIB, MAX_SECONDS, Sums, play
from tests.fuzz.target import CANARY, Input, run

ROOT = Path(__file__).parents[2]
PARTS = 10
INPUTS = 10_000

A_FEW = [pytest.param(part, marks=pytest.mark.long if part > 2 else ()) for part in range(PARTS)]
"""Three of ten in `make test`, all with `make long`."""


@pytest.mark.parametrize("part", A_FEW)
def test_ten_thousand_inputs_keep_every_promise(part: int) -> None:
    """The same ones each time, in parts that can run side by side; `make fuzz` runs a million."""
    size = INPUTS // PARTS
    sums = play(1, range(part * size, (part + 1) * size))

    assert sums.broken == {}
    assert sums.inputs == size
    # That the inputs are what they should be: sound ones and others, of both kinds, many with a secret.
    assert min(sums.valid["config"], sums.invalid["config"]) > size / 20
    assert min(sums.valid["policy"], sums.invalid["policy"]) > size / 40
    assert sums.planted > size / 10
    assert len(sums.codes) > 12


def test_an_input_is_made_of_its_seed_and_number() -> None:
    """So that one which breaks something can be made again alone."""
    assert make(3, 7) == make(3, 7)
    assert make(3, 7) != make(3, 8)
    assert make(3, 7) != make(4, 7)


def test_sums_of_parts_are_those_of_the_whole() -> None:
    """All that does not depend on the clock."""
    parts, whole = play(1, range(20)), play(1, range(40))
    parts.add(play(1, range(20, 40)))

    def countable(sums: Sums) -> list[object]:
        return [sums.inputs, sums.size, sums.valid, sums.invalid, sums.codes, sums.compared, sums.planted]

    assert countable(parts) == countable(whole)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("part", A_FEW)
def test_hostile_files_end_soon_and_in_little_memory(part: int) -> None:
    """Each in seconds and 200 MB, in a process with limits: one that blows up ends that alone."""
    # Every tenth: neighbours are of one kind, so three parts have some of each.
    names = [*HOSTILE][part::PARTS]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.worst", *names],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=170,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["name"] for one in found] == names, done.stderr[-2000:]
    assert {one["name"]: one["broken"] for one in found if one["broken"]} == {}
    # Beside other programs a second of CPU does a third of its work; what grows in the square takes minutes.
    assert {one["name"]: one["seconds"] for one in found if one["seconds"] > 3 * MAX_SECONDS} == {}
    assert {one["name"]: one["growth_kib"] for one in found if one["growth_kib"] > MAX_GROWTH_KIB} == {}


def test_hostile_files_are_as_large_as_is_read() -> None:
    """Larger ones are refused at once, which is one of them."""
    sizes = {name: len(one.config or b"") for name, one in HOSTILE.items()}
    assert [name for name, size in sizes.items() if size > SIZE] == ["too many bytes"]


# --- that the target can tell ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"env_vars: {{A: {CANARY}}}", True),
        (f"env_vars: {{A: {CANARY}}}\nb: {CANARY}", False),
        (f"env_vars: {{A: 1}} # {CANARY}", False),
        (f"a: https://u:{CANARY}@h/x", True),
        (f"a: https://u/{CANARY}@h/x", False),
        (f"a: &a {CANARY}\nhf_token: *a", True),
        (f"a: {CANARY}", False),
        (f"env_vars: [{CANARY}", True),
        (f"envvars: [{CANARY}", False),
    ],
)
def test_what_counts_as_a_secret(text: str, secret: bool) -> None:
    """The value below such a key or in such an address, if it stands nowhere else."""
    assert target._is_secret(text.encode()) is secret


def test_each_broken_promise_is_seen() -> None:
    """Of a problem that breaks it."""

    def wrong(message: str, line: int = 1, column: int = 1) -> list[str]:
        problem = Problem(file="f", line=line, column=column, message=message)
        return [*target._wrong_with(problem, f"token: {CANARY}".encode())]

    assert wrong("fine") == []
    assert "outside of the file" in wrong("fine", 2)[0]
    assert "outside of the file" in wrong("fine", 1, 99)[0]
    assert "characters about" in wrong("x" * 3000)[0]
    assert "a control character" in wrong("a\x1bb")[0]
    assert "no sentence" in wrong("a\nb")[0]
    assert "shows a secret" in wrong(CANARY)[0]

    assert run(Input(config=5)).broken == ["TypeError: object of type 'int' has no len()"]  # type: ignore[arg-type]  # on purpose


def test_what_pyyaml_reads_otherwise_is_seen() -> None:
    """With a document that says something else than its file."""
    data = b"applications: []"
    one = Input(config=data, compared=True)
    reading = serve_config.read(data, "f")
    other = replace(reading.document, value={"applications": None})

    assert [*target._differences(one, target._Read(document=reading.document), target._Read())] == []
    assert [*target._differences(one, target._Read(document=other), target._Read())] != []
