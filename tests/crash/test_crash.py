"""The crash matrix in small: half of the stories, each killed elsewhere. `make crash` plays hundreds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import TYPE_CHECKING

import pytest

from tests.crash.kills import PLACES
from tests.crash.play import draw, play
from tests.crash.stories import STORIES

if TYPE_CHECKING:
    from collections.abc import Sequence

JOBS = 3
"""At once: a run mostly waits."""

_AGAIN = len(STORIES) + 1
"""From one seed to the next: another story, and another place of the first kill."""

SEEDS = [_AGAIN * number for number in range(len(STORIES))]
"""Every story once."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "seeds", [SEEDS[::2], pytest.param(SEEDS[1::2], marks=pytest.mark.long)], ids=["even", "odd"]
)
def test_killed_anywhere_the_daemon_goes_on(seeds: Sequence[int]) -> None:
    """Nothing is lost, doubled, or applied while held; see `promises.py`, and the end of each story."""
    with ThreadPoolExecutor(JOBS) as pool:
        runs = list(pool.map(play, seeds))
    assert not [str(run) for run in runs if run.broken]
    assert {run.story for run in runs} == {draw(seed, sorted(STORIES))[0] for seed in seeds}
    missed = [run.planned[0] for run in runs if run.reached[0] != run.planned[0]]
    assert all(kill.startswith("PUT ") and kill.endswith(" 2") for kill in missed), (
        f"not every story has a second PUT; but these were missed: {missed}"
    )
    assert {"PUT", "GET", "event"} <= {kill.partition(" ")[0] for run in runs for kill in run.reached}


def test_every_place_has_its_turn() -> None:
    """As many runs as there are stories and places tell each story with each first kill."""
    assert {draw(seed, sorted(STORIES))[0] for seed in SEEDS} == set(STORIES)
    stories = sorted(STORIES)
    drawn = [draw(seed, stories) for seed in range(len(STORIES) * len(PLACES))]
    assert {(story, kills[0].place) for story, kills in drawn} == set(product(stories, PLACES))
