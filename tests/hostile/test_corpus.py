"""Every hostile repository, through the real `Sources`, beside a healthy one."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from deployer.core.types import Desired
from tests.hostile.corpus import CORPUS, PARTS
from tests.hostile.play import play
from tests.support.prerequisites import require

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hostile.case import Case
    from tests.hostile.forge import Forge


EVERY = 4
"""Of so many cases that are made alike, beside one another in the corpus, `make test` follows one."""

LARGE = frozenset({"wide", "wide-above", "served-delta-bomb"})
"""Seconds of CPU each, where the others take half of one. Their like that stops sooner is among the rest."""

CASES = [
    pytest.param(case, id=name, marks=pytest.mark.long if number % EVERY or name in LARGE else ())
    for number, (name, case) in enumerate(CORPUS.items())
]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", CASES)
def test_it_ends_in_its_state_and_no_canary_sings(case: Case, tmp_path: Path) -> None:
    """In time, at every look; nothing runs, nothing outside is opened or changed, the neighbour is read.

    `make hostile` follows all of them and writes the page.
    """
    require(
        "Linux", sys.platform == "linux", "run this on Linux: the canaries are watched by inotify and /proc"
    )

    outcome = play(case, tmp_path)

    assert outcome.broken == []
    # Some are large, and pytest keeps the folders of three runs.
    shutil.rmtree(tmp_path)


def test_the_names_are_unique() -> None:
    """Or one case would hide another."""
    assert len(CORPUS) == sum(len(part.CASES) for part in PARTS)


def _called(forge: Forge) -> None:
    forge.good()
    host, _, port = forge.trap_url.removeprefix("http://").rstrip("/").partition(":")
    socket.create_connection((host, int(port)), timeout=5).close()


def _ran(forge: Forge) -> None:
    forge.good()
    subprocess.run([str(forge.canary)], check=False, timeout=5)


@pytest.mark.parametrize(
    ("case", "seen"),
    [
        pytest.param(
            replace(CORPUS["config-include"], shares=False), "opened outside: ['secret", id="opened"
        ),
        pytest.param(
            replace(CORPUS["hooks-and-commands"], write=_called), "somebody was called", id="called"
        ),
        pytest.param(replace(CORPUS["hooks-and-commands"], write=_ran), "something was run", id="ran"),
        pytest.param(replace(CORPUS["empty"], ends=Desired), "wanted Desired", id="state"),
    ],
)
def test_a_canary_that_should_sing_does(case: Case, seen: str, tmp_path: Path) -> None:
    """Else the test above would prove nothing."""
    (broken,) = play(case, tmp_path).broken

    assert broken.startswith(seen)
