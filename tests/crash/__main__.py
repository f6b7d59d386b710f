"""`make crash`: many seeded runs, and what came of them as `docs/crash.md`."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TYPE_CHECKING

import requests

from deployer.cli.local_ray import LocalRay, free_port
from tests.crash import report
from tests.crash.play import Played, play
from tests.crash.stories import REAL
from tests.support.ray_head import APPS, ROOT, ServeHead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def main() -> int:
    """Play the runs that are asked for, write the page, and fail if a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash")
    parser.add_argument("--runs", type=int, default=500, help="with the fake cluster")
    parser.add_argument("--ray", type=int, default=20, help="with a real Ray")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--jobs", type=int, default=2, help="runs at the same time, with the fake cluster")
    parser.add_argument("--page", action="store_true", help="write docs/crash.md")
    given = parser.parse_args()
    fake = list(_told(_on_fake(range(given.seed, given.seed + given.runs), given.jobs)))
    # From one to the next another story and another place: twenty are too few for all of them.
    step = len(REAL) + 1
    real = list(_told(_on_ray(range(given.seed, given.seed + step * given.ray, step))))
    if given.page:
        command = f"make crash RUNS={given.runs} RAY={given.ray} SEED={given.seed}"
        report.write(command, fake, real)
    broken = [one for one in (*fake, *real) if one.broken]
    print(  # noqa: T201 - the result
        f"{len(fake) + len(real)} runs, {len(broken)} broken: {[one.seed for one in broken]}"
    )
    return 1 if broken else 0


def _on_fake(seeds: Iterable[int], jobs: int) -> Iterator[Played]:
    # Not forked: the runs have threads.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(play, seed) for seed in seeds]):
            yield done.result()


def _on_ray(seeds: range) -> Iterator[Played]:
    if not seeds:
        return
    with LocalRay(num_cpus=4, pythonpath=[ROOT, APPS]) as ray:
        head = ServeHead(address=ray.address, http=f"http://127.0.0.1:{free_port()}")
        for seed in seeds:
            head.empty()
            yield play(seed, head)


def _told(runs: Iterable[Played]) -> Iterator[Played]:
    for one in runs:
        print(one, flush=True)  # noqa: T201 - progress
        yield one


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, requests.RequestException) as error:
        sys.exit(f"{type(error).__name__}: {error}")
