"""How many replicas served during updates on a real Serve under load, beside what was forecast.

`python -m tests.contract.availability` writes it to `docs/availability.md`. Owns the shapes, the load and the
page. Must not know how the forecast comes about. Invariant: what is counted are the replicas that Serve shows
as RUNNING, in every look from the PUT until all has come to rest.

A new replica takes at least START_SECONDS in its constructor (or its `reconfigure`), so a replica that is
missing is missing for several looks: a look takes 20 ms, and there is one every 100 ms or, on a busy
machine, every few.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from deployer.cli.local_ray import LocalRay, free_port
from deployer.core.availability import Forecast, forecast, shape
from deployer.core.restart import Restart, whole
from tests.contract.restarts import LOOK_SECONDS, RAY
from tests.support.eventually import eventually
from tests.support.ray_head import APPS, PUT_SECONDS, ROOT, ServeHead

PAGE = ROOT / "docs" / "availability.md"
_HEAD = "| deployment | update"

START_SECONDS = 2.0
SETTLES_SECONDS = 240.0
"""Twenty replicas at once, twice, on two busy cores."""
REQUEST_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A deployment, and an update of it."""

    name: str
    said: str
    options: Mapping[str, Any]
    update: Mapping[str, Any]
    fails: bool = False
    """No new replica starts."""


_RESTARTS = {"ray_actor_options": {"num_cpus": 0, "resources": {"s": 0}}}
_RAISES = {"ray_actor_options": {"num_cpus": 0, "runtime_env": {"env_vars": {"COUNTED_RAISES": "no model"}}}}
_SLOW = {"user_config": {"answer": 1}}

CASES = (
    Case(name="one", said="1 replica, no surge", options={"num_replicas": 1}, update=_RESTARTS),
    Case(
        name="surge",
        said="1 replica, surge 100",
        options={"num_replicas": 1, "max_surge_percent": 100},
        update=_RESTARTS,
    ),
    Case(name="four", said="4 replicas", options={"num_replicas": 4}, update=_RESTARTS),
    Case(
        name="half",
        said="10 replicas, half of them at a time",
        options={"num_replicas": 10, "rolling_update_percentage": 0.5},
        update=_RESTARTS,
    ),
    Case(name="slow", said="2 replicas, a slow `reconfigure`", options={"num_replicas": 2}, update=_SLOW),
    Case(
        name="failing",
        said="2 replicas, and no new one starts",
        options={"num_replicas": 2},
        update=_RAISES,
        fails=True,
    ),
    Case(
        name="saved",
        said="1 replica, surge 100, and no new one starts",
        options={"num_replicas": 1, "max_surge_percent": 100},
        update=_RAISES,
        fails=True,
    ),
    Case(
        name="lost",
        said="1 replica, no surge, and no new one starts",
        options={"num_replicas": 1},
        update=_RAISES,
        fails=True,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A case, its forecast, and what was counted."""

    case: Case
    restart: Restart
    forecast: Forecast
    observed: int | None = None
    answered: int = 0
    lost: int = 0
    slowest: float = 0.0

    @property
    def expected(self) -> int:
        """The lowest number that is forecast."""
        return self.forecast.lowest_failed if self.case.fails else self.forecast.lowest

    @property
    def sentence(self) -> str:
        """In words."""
        return self.forecast.failed_sentence if self.case.fails else self.forecast.sentence


def application(case: Case, journal: str, *, updated: bool) -> dict[str, Any]:
    """The application of a case, before its update or with it."""
    # In all cases the constructor and `reconfigure` take their time, so that a look sees that one is missing.
    args = {"journal": journal, "start_seconds": START_SECONDS, "reconfigure_seconds": START_SECONDS}
    options = {**case.options, **(case.update if updated else {})}
    return {
        "name": case.name,
        "route_prefix": f"/{case.name}",
        "import_path": "counted:alone",
        "args": args,
        "deployments": [{"name": "D", **copy.deepcopy(options)}],
    }


def predictions() -> list[Row]:
    """All rows, without a cluster."""
    rows = []
    for case in CASES:
        old, new = (application(case, "journal", updated=updated) for updated in (False, True))
        restart = (
            whole({"applications": [old]}, {"applications": [new]}, RAY).apps[case.name].deployments["D"]
        )
        of = shape(old["deployments"][0], new["deployments"][0], RAY)
        rows.append(Row(case=case, restart=restart, forecast=forecast("D", restart, of, RAY)))
    return rows


@dataclass(slots=True)
class Load:
    """A request at a time to each application, until it is told to stop."""

    url: str
    names: Sequence[str]
    answers: dict[str, list[tuple[int, float]]] = field(default_factory=lambda: defaultdict(list))
    """By application: the status, 0 for none, and how long it took."""
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        """One thread for each."""
        self._threads = [threading.Thread(target=self._ask, args=(name,)) for name in self.names]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, name: str) -> None:
        while not self._stop.wait(0.2):
            began = time.monotonic()
            try:
                status = requests.get(f"{self.url}/{name}", timeout=REQUEST_SECONDS).status_code
            except requests.RequestException:
                status = 0
            self.answers[name].append((status, time.monotonic() - began))


def run(head: ServeHead, folder: Path, only: Collection[str] = ()) -> list[Row]:
    """Update all cases at once, or those named, under load, on this head, which has nothing on it."""
    cases = [case for case in CASES if not only or case.name in only]
    url = f"{head.address}/api/serve/applications/"
    journal = folder / "journal"
    journal.touch()

    def put(*, updated: bool) -> None:
        apps = [application(case, str(journal), updated=updated) for case in cases]
        requests.put(url, json={"applications": apps}, timeout=PUT_SECONDS).raise_for_status()

    def look() -> dict[str, Any]:
        found: dict[str, Any] = requests.get(url, timeout=LOOK_SECONDS).json()["applications"]
        return found

    def at_rest(apps: Mapping[str, Any], *, updated: bool) -> bool:
        for case in cases:
            failed = case.fails and updated
            one = apps[case.name]
            assert one["status"] == ("DEPLOY_FAILED" if failed else "RUNNING"), (case.name, one["status"])
            states = {deployment["status"] for deployment in one["deployments"].values()}
            assert states == ({"DEPLOY_FAILED"} if failed else {"HEALTHY"}), (case.name, states)
        return True

    put(updated=False)
    eventually(lambda: at_rest(look(), updated=False), within=SETTLES_SECONDS)
    lowest: dict[str, int] = {case.name: int(case.options["num_replicas"]) for case in cases}
    load = Load(head.http, [case.name for case in cases if not (case.fails and case.name == "lost")])
    load.start()
    try:
        put(updated=True)

        def counted() -> bool:
            apps = look()
            for name, fewest in lowest.items():
                replicas = apps[name]["deployments"]["D"]["replicas"]
                running = sum(replica["state"] == "RUNNING" for replica in replicas)
                lowest[name] = min(fewest, running)
            return at_rest(apps, updated=True)

        eventually(counted, within=SETTLES_SECONDS, every=0.1)
    finally:
        load.stop()
    return [
        _observed(row, lowest[row.case.name], load.answers[row.case.name])
        for row in predictions()
        if row.case in cases
    ]


def _observed(row: Row, lowest: int, answers: Sequence[tuple[int, float]]) -> Row:
    answered = sum(status == requests.codes.ok for status, _ in answers)
    return Row(
        case=row.case,
        restart=row.restart,
        forecast=row.forecast,
        observed=lowest,
        answered=answered,
        lost=len(answers) - answered,
        slowest=max((took for _, took in answers), default=0.0),
    )


def page(rows: Sequence[Row]) -> str:
    """The page, from what was observed."""
    lines = [
        "# How many replicas serve during an update",
        "",
        f"Written by `python -m tests.contract.availability` on a real Ray {RAY}; do not edit. Each is one",
        "deployment `D` that is updated under load; the constructor and `reconfigure` take two seconds. The",
        "forecast is what `deployer plan` says; observed is the lowest number of RUNNING replicas in",
        "any look at Serve, every 0.1 s.",
        "",
        f"{_HEAD} | lowest, forecast | observed | requests answered | lost | slowest | in words |",
        "|---|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        asked = [f"{row.answered}", f"{row.lost}", f"{row.slowest:.1f} s"] if row.answered else ["-"] * 3
        cells = [row.case.said, row.restart.value, f"{row.expected}", f"{row.observed}", *asked, row.sentence]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Where no replica serves, requests wait in Serve's proxy; they are lost only where that takes longer",
        "than the request timeout. Nobody asks the last one, which never serves again.",
    ]
    return "\n".join(lines) + "\n"


def read(text: str) -> list[tuple[str, str, str, str]]:
    """The cells that can be predicted, of each row of a page."""
    rows = []
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith(_HEAD):
            cells = [cell.strip() for cell in line[1:-1].split("|")]
            rows.append((cells[0], cells[1], cells[2], cells[-1]))
    return rows


def expected(rows: Sequence[Row]) -> list[tuple[str, str, str, str]]:
    """What `read` finds on the page."""
    return [(row.case.said, row.restart.value, f"{row.expected}", row.sentence) for row in rows]


def main() -> None:
    """Write the page; fail if a forecast was wrong."""
    with tempfile.TemporaryDirectory() as folder, LocalRay(pythonpath=[ROOT, APPS]) as local:
        head = ServeHead(address=local.address, http=f"http://127.0.0.1:{free_port()}")
        head.empty()
        rows = run(head, Path(folder))
    if bad := [row for row in rows if row.observed != row.expected]:
        sys.exit("\n".join(str(row) for row in bad))
    PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
