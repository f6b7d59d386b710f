"""`make crash`: many seeded runs, and what came of them as `docs/crash.md`."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from deployer.cli.local_ray import LocalRay, free_port
from tests.crash import report
from tests.crash.play import Played, play
from tests.crash.stories import REAL
from tests.support.ray_head import APPS, ROOT, ServeHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence


def main() -> int:
    """Play the runs that are asked for, write the page, and fail if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("--runs", type=int, default=500, help="with the fake cluster")
    parser.add_argument("--ray", type=int, default=20, help="with a real Ray")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time, with the fake cluster")
    parser.add_argument("--page", action="store_true", help="write docs/crash.md")
    parser.add_argument(
        "--kept", type=Path, help="a file to keep each finished run in; those in it are not played again"
    )
    given = parser.parse_args()
    kept = Kept(given.kept)
    fake = list(kept.all("fake", range(given.seed, given.seed + given.runs), partial(_on_fake, given.jobs)))
    # From one to the next another story and another place: twenty are too few for all of them.
    step = len(REAL) + 1
    real = list(kept.all("real", range(given.seed, given.seed + step * given.ray, step), _on_ray))
    if given.page:
        command = f"make crash RUNS={given.runs} RAY={given.ray} SEED={given.seed}"
        report.write(command, fake, real, kept.commits)
    broken = [one for one in (*fake, *real) if one.broken]
    print(  # noqa: T201 - the result
        f"{len(fake) + len(real)} runs, {len(broken)} broken: {[one.seed for one in broken]}"
    )
    return 1 if broken else 0


class Kept:
    """The finished runs, in a file if there is one: half an hour's work that an interrupt does not cost."""

    def __init__(self, path: Path | None) -> None:
        """Read what is there."""
        self.path = path
        self.commits: dict[str, set[str]] = {}
        self._runs: dict[tuple[str, int], Played] = {}
        for line in path.read_text().splitlines() if path is not None and path.exists() else ():
            found = json.loads(line)
            run = Played(
                **{**found["run"], **{key: tuple(found["run"][key]) for key in ("planned", "reached")}}
            )
            self._runs[found["on"], run.seed] = run
            self.commits.setdefault(found["on"], set()).add(found["commit"])

    def all(
        self, on: str, seeds: Sequence[int], play_all: Callable[[Sequence[int]], Iterable[Played]]
    ) -> Iterator[Played]:
        """Each run of these seeds: kept, or played now and kept."""
        missing = [seed for seed in seeds if (on, seed) not in self._runs]
        yield from (self._runs[on, seed] for seed in seeds if (on, seed) in self._runs)
        commit = report.commit()
        for run in play_all(missing):
            print(run, flush=True)  # noqa: T201 - progress
            self.commits.setdefault(on, set()).add(commit)
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps({"on": on, "commit": commit, "run": asdict(run)}) + "\n")
            yield run


def _on_fake(jobs: int, seeds: Sequence[int]) -> Iterator[Played]:
    # Not forked: the runs have threads.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(play, seed) for seed in seeds]):
            yield done.result()


def _on_ray(seeds: Sequence[int]) -> Iterator[Played]:
    if not seeds:
        return
    with LocalRay(num_cpus=4, pythonpath=[ROOT, APPS]) as ray:
        head = ServeHead(address=ray.address, http=f"http://127.0.0.1:{free_port()}")
        for seed in seeds:
            head.empty()
            yield play(seed, head)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, requests.RequestException) as error:
        sys.exit(f"{type(error).__name__}: {error}")
