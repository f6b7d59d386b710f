"""A run from its seed: which story, killed where, and what came of it."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.crash import kills, promises
from tests.crash.fronts import FakeFront, RealFront
from tests.crash.run import Run
from tests.crash.stories import REAL, STORIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.support.ray_head import ServeHead


@dataclass(frozen=True, kw_only=True)
class Played:
    """What came of a run. `broken` is "" if all promises were kept."""

    seed: int
    story: str
    planned: tuple[str, ...]
    reached: tuple[str, ...]
    seconds: float
    broken: str = ""
    folder: str = ""

    def __str__(self) -> str:
        """One line."""
        verdict = f"BROKEN: {self.broken} (kept in {self.folder})" if self.broken else "ok"
        where = ", ".join(self.reached)
        return f"seed {self.seed}: {self.story}; killed at: {where}; {self.seconds:.1f} s; {verdict}"


def draw(seed: int, stories: Sequence[str]) -> tuple[str, list[kills.Kill]]:
    """The story of this seed, and where the daemon is to be killed in it.

    Consecutive seeds go through all stories, and for each of them through all places of the first kill.
    """
    first = kills.PLACES[seed // len(stories) % len(kills.PLACES)]
    return stories[seed % len(stories)], kills.draw(random.Random(seed), first)


def play(seed: int, head: ServeHead | None = None) -> Played:
    """Play the run of this seed, on the fake or a real head. Its folder is kept if a promise was broken."""
    story, planned = draw(seed, REAL if head else sorted(STORIES))
    front = RealFront(head) if head else FakeFront()
    plan = tuple(map(str, planned))
    root = Path(tempfile.mkdtemp(prefix=f"crash-{seed}-"))
    began = time.monotonic()
    broken = ""
    with Run(root=root, front=front, kills=planned) as run:
        try:
            STORIES[story](run)
            if not run.reached:
                # What was planned did not come to pass: the story was over before.
                run.kills.clear()
                run.kill_now("at rest")
                run.until_quiet()
            promises.compare(run)
        except AssertionError as error:
            broken = str(error)
        except Exception:  # noqa: BLE001 - it is reported with its seed
            broken = traceback.format_exc()
        reached = tuple(run.reached)
    if not broken:
        shutil.rmtree(root)
    return Played(
        seed=seed,
        story=story,
        planned=plan,
        reached=reached,
        seconds=time.monotonic() - began,
        broken=broken,
        folder=str(root) if broken else "",
    )
