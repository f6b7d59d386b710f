"""A promoter in a process of its own, which stops at a point to be killed there: see `test_promotion_kills`.

`python -m tests.integration.killed_promoter JOB`, where the job is JSON: see `Job`. What it is stopped at is
made known by a file in the folder, `reached`; then it waits for its end.
"""

from __future__ import annotations

import json
import signal
import sys
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from deployer.adapters.forge import Kind, forge
from deployer.adapters.store import SqlStore
from tests.integration.test_copies import PROJECT, TOKEN, Folders
from tests.integration.test_promoting import Site
from tests.support.repos import BareRepo

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from deployer.core.events import Event
    from deployer.core.record import Record

FAST_FORWARD, COPY, PROPOSAL, PROPOSED_COPY = (
    "a fast-forward",
    "a copy",
    "a pull request of a branch",
    "a pull request of a copy",
)
WAYS = (FAST_FORWARD, COPY, PROPOSAL, PROPOSED_COPY)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is done in `folder`: `promote` or `settle`. `stops` is "", or the point where it stops.

    A point is `before` or `after` a type of event (`after promotion_asked`), or `before` `create` or `update`
    of a pull request.
    """

    folder: str
    way: str
    does: str
    stops: str = ""
    settled_seconds: float = 0.0
    forge_kind: Kind = "github"
    forge_url: str = ""

    def __str__(self) -> str:
        """As it is handed over."""
        return json.dumps(asdict(self))


def site_of(job: Job, store: SqlStore) -> Site:
    """The repository, the store and the forge, as they are there."""
    folder = Path(job.folder)
    origin = BareRepo(folder / "origin.git")
    if job.way in {FAST_FORWARD, PROPOSAL}:
        return Site(folder=folder, origin=origin, store=store)
    return Folders(
        folder=folder,
        origin=origin,
        store=store,
        environments=("staging",),
        by_pull_request=job.way == PROPOSED_COPY,
        forge=forge_of(job),
    )


def forge_of(job: Job) -> Any:
    """The adapter for the fake of the parent; None where there is none."""
    if not job.forge_url:
        return None
    return forge(job.forge_kind, api_url=job.forge_url, project=PROJECT, token=lambda: TOKEN, ca_file=None)


def options(job: Job, known: Any) -> dict[str, Any]:
    """What the promoter of that way is made with."""
    more = {"forges": {"configs": known}} if job.way == PROPOSAL else {}
    return {"settled_seconds": job.settled_seconds, **more}


def main(job: Job) -> None:
    """Do it, or stop on the way."""
    with closing(SqlStore.open(Path(job.folder) / "store.db")) as store:
        site, known = site_of(job, store), forge_of(job)
        real = site.commit

        def commit(record: Record, events: Sequence[Event]) -> Record:
            (event,) = events
            _stop(job, f"before {event.type}")
            after = real(record, events)
            _stop(job, f"after {event.type}")
            return after

        site.commit = commit  # type: ignore[method-assign] # it is ours
        for name in ("create", "update"):
            for one in (known, getattr(site, "forge", None)):
                if one is not None:
                    setattr(one, name, _stopping(job, name, getattr(one, name)))
        promoter = site.promoter(**options(job, known))
        if job.does == "settle":
            promoter.settle("production")
            return
        more: dict[str, Any] = {"by_pull_request": True} if job.way == PROPOSAL else {}
        promoter.promote("production", actor="ada", reason="season", **more)


def _stopping(job: Job, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(real)
    def asked(*given: Any, **named: Any) -> Any:
        _stop(job, f"before {name}")
        return real(*given, **named)

    return asked


def _stop(job: Job, point: str) -> None:
    if job.stops == point:
        _wait(job)


def _wait(job: Job) -> NoReturn:
    (Path(job.folder) / "reached").touch()
    while True:
        signal.pause()


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
