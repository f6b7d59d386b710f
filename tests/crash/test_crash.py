"""The crash matrix in small: every story once, every place to be killed at. `make crash` plays hundreds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from tests.crash.kills import PLACES
from tests.crash.play import draw, play
from tests.crash.stories import STORIES

JOBS = 3
"""At once: a run mostly waits."""

_AGAIN = len(STORIES) + 1
"""From one seed to the next: another story, and another place of the first kill."""

SEEDS = [_AGAIN * number for number in range(len(STORIES))]


@pytest.mark.timeout(300)
def test_killed_anywhere_the_daemon_goes_on() -> None:
    """Nothing is lost, doubled, or applied while held; see `promises.py`, and the end of each story."""
    with ThreadPoolExecutor(JOBS) as pool:
        runs = list(pool.map(play, SEEDS))
    assert not [str(run) for run in runs if run.broken]
    assert {run.story for run in runs} == set(STORIES)
    missed = [run.planned[0] for run in runs if run.reached[0] != run.planned[0]]
    assert all(kill.startswith("PUT ") and kill.endswith(" 2") for kill in missed), (
        f"not every story has a second PUT; but these were missed: {missed}"
    )
    assert {"PUT", "GET", "event"} <= {kill.partition(" ")[0] for run in runs for kill in run.reached}


def test_every_place_has_its_turn() -> None:
    """As many runs as there are stories and places tell each story with each first kill."""
    stories = sorted(STORIES)
    drawn = [draw(seed, stories) for seed in range(len(STORIES) * len(PLACES))]
    assert {(story, kills[0].place) for story, kills in drawn} == set(product(stories, PLACES))
