"""What each change did to the replicas of a real Serve, beside what was predicted.

`python -m tests.contract.restarts` writes it to `docs/restart-classes.md`. Owns the observation and the page.
Must not know why. Invariant: a class is observed, from replica ids, from what the replicas wrote down, and
from what Serve tells to be in effect; the prediction is only printed beside it.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from deployer.cli.local_ray import LocalRay, free_port
from deployer.core.compare import first_difference
from deployer.core.restart import Change, Restart, whole
from tests.contract.restart_lanes import GONE, START, A, D, Lane, Step, after, beside, lanes, with_beside
from tests.support.eventually import eventually
from tests.support.ray_head import APPS, PUT_SECONDS, ROOT, ServeHead

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

PAGE = ROOT / "docs" / "restart-classes.md"
RAY = "2.60.0"

SETTLES_SECONDS = 120.0
"""Ten applications at once: 30 replicas take 25 s on two idle cores."""

LOOK_SECONDS = 60.0
"""While ten builds run on two cores, a GET takes more than ten."""

_ABSENT = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One change. What was observed is empty in a prediction."""

    option: str
    said: str
    predicted: Restart
    note: str
    observed: Restart | None = None
    replicas: str = ""
    called: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """What can be predicted without a cluster."""
        return (f"`{self.option}`", self.said, self.predicted.value, self.note)


@dataclass(frozen=True, slots=True)
class Look:
    """What Serve tells, and what the replicas wrote down until now."""

    answer: dict[str, Any]
    calls: Counter[tuple[str, str]]
    """By replica and kind."""

    def ids(self, app: str, deployment: str) -> set[str]:
        """The replicas of a deployment."""
        found = self.answer["applications"][app]["deployments"][deployment]["replicas"]
        return {replica["replica_id"] for replica in found}

    def told(self, app: str, path: str) -> object:
        """The value that is in effect, where Serve tells it."""
        at: Any = self.answer
        if path.startswith(D):
            at, path = at["applications"][app]["deployments"]["D"]["deployment_config"], path.removeprefix(D)
        elif path.startswith(A):
            at, path = at["applications"][app], path.removeprefix(A)
        for key in path.split("."):
            at = at.get(key, _ABSENT) if isinstance(at, dict) else _ABSENT
        return at


class Bench:
    """A cluster, and the file that the replicas on it write to."""

    def __init__(self, head: ServeHead, folder: Path) -> None:
        """Take a head with nothing on it, and an empty folder."""
        self._url = f"{head.address}/api/serve/applications/"
        self.journal = folder / "journal"
        self.journal.touch()
        self.config: dict[str, Any] = {"applications": []}

    def put(self, config: dict[str, Any]) -> Look:
        """PUT it, and look when all has come to rest."""
        before = self._stamps()
        requests.put(self._url, json=config, timeout=PUT_SECONDS).raise_for_status()
        self.config = config
        names = {application["name"] for application in config["applications"]}
        seen: list[Any] = []

        def at_rest() -> Look | None:
            answer = requests.get(self._url, timeout=LOOK_SECONDS).json()
            apps = answer["applications"]
            assert set(apps) == names, set(apps)
            for name, one in apps.items():
                assert one["last_deployed_time_s"] != before.get(name), name
                assert one["status"] == "RUNNING", (name, one["status"], one["message"])
                for deployment in one["deployments"].values():
                    states = [replica["state"] for replica in deployment["replicas"]]
                    assert deployment["status"] == "HEALTHY", (name, deployment["status"], states)
                    assert states == ["RUNNING"] * deployment["target_num_replicas"], (name, states)
            # An autoscaled deployment can be RUNNING for a moment although it is not done (2.60).
            shape = {n: [sorted(_ids(d)) for d in one["deployments"].values()] for n, one in apps.items()}
            seen.append(shape)
            return Look(answer, self._calls()) if seen[-3:] == [shape] * 3 else None

        return eventually(at_rest, within=SETTLES_SECONDS, every=0.1, what="all RUNNING and HEALTHY")

    def _stamps(self) -> dict[str, float]:
        apps = requests.get(self._url, timeout=LOOK_SECONDS).json()["applications"]
        return {name: one["last_deployed_time_s"] for name, one in apps.items()}

    def _calls(self) -> Counter[tuple[str, str]]:
        lines = (line.split() for line in self.journal.read_text(encoding="utf-8").splitlines())
        return Counter((replica, kind) for replica, kind in lines)


def _ids(deployment: Mapping[str, Any]) -> list[str]:
    return [replica["replica_id"] for replica in deployment["replicas"]]


def observe(before: Look, now: Look, app: str, step: Step) -> tuple[Restart, str, str]:
    """The class, what became of the replicas, and whose `reconfigure` was called."""
    was, will = before.ids(app, "D"), now.ids(app, "D")
    calls = {
        kind
        for (replica, kind), count in (now.calls - before.calls).items()
        if count and replica in was & will
    }
    called = {"replica": "Serve's", "class": "ours"}
    said = " and ".join(called[kind] for kind in ("replica", "class") if kind in calls) or "no"
    if not was & will:
        all_of_it = not before.ids(app, "Behind") & now.ids(app, "Behind")
        return (
            (Restart.REBUILD, "all new, of all deployments", said)
            if all_of_it
            else (Restart.ROLLING, "all new, of this deployment", said)
        )
    assert before.ids(app, "Behind") == now.ids(app, "Behind") or step.options.keys() & {
        f"{D}name",
        "target_capacity",
    }
    assert was <= will or will <= was, "some replaced, some kept"
    replicas = "kept" if was == will else f"{len(was)} -> {len(will)}, the others kept"
    if calls:
        return Restart.RECONFIGURE, replicas, said
    if was != will:
        return Restart.SCALE, replicas, said
    in_effect = step.shows and any(
        _in_effect(value, before.told(app, path), now.told(app, path)) for path, value in step.options.items()
    )
    return (Restart.CONTROLLER if in_effect else Restart.IGNORED), replicas, said


def _in_effect(value: object, before: object, now: object) -> bool:
    """Whether what Serve tells has become this."""
    if now is _ABSENT or (before is not _ABSENT and first_difference({"x": before}, {"x": now}) is None):
        return False
    return (
        value is GONE
        or first_difference({"user_config": value}, {"user_config": now}) is None
        or (first_difference({"x": value}, {"x": now}) is None)
    )


def predict(old: Mapping[str, Any], new: Mapping[str, Any], app: str, step: Step) -> tuple[Restart, str]:
    """The class and the note of the step's first option."""
    effect = whole(old, new, RAY)
    path = next(iter(step.options))
    if path == f"{D}name":
        return effect.apps[app].deployments["D"], ""
    if not path.startswith(A):
        keys = tuple(path.split("."))
        found = [change for change in effect.top if change.path == keys[: len(change.path)]]
        change: Change | None = found[0] if found else None
    elif path.startswith(D):
        change = effect.apps[app].of("D", tuple(path.removeprefix(D).split(".")))
    else:
        change = effect.apps[app].of(None, tuple(path.removeprefix(A).split(".")))
    return (change.restart, change.note) if change else (Restart.IGNORED, "the same to Serve")


def _rounds(
    journal: str, logs_dir: str, only: Collection[str] = ()
) -> Iterator[tuple[dict[str, Any], dict[str, Any], list[tuple[Lane, Step]]]]:
    """The configs before and after each round, and the steps taken in it; in these lanes, or in all."""
    every = [lane for lane in lanes(logs_dir) if not only or lane.name in only]
    apps = {lane.name: lane.start(journal) for lane in every}
    for number in range(max(len(lane.steps) for lane in every)):
        old = {"applications": list(apps.values())}
        taken = [(lane, lane.steps[number]) for lane in every if number < len(lane.steps)]
        for lane, step in taken:
            apps[lane.name] = after(apps[lane.name], step)
        yield old, {"applications": list(apps.values())}, taken


def predictions(only: Collection[str] = ()) -> list[Row]:
    """The rows of these lanes, or all, without a cluster."""
    rows = []
    for old, new, taken in _rounds("journal", "logs", only):
        rows += [_row(old, new, lane.name, step) for lane, step in taken if not step.setup]
    small = _small("journal")
    rows += [_row(small, with_beside(small, START), "small", step) for step in _start_steps()]
    for step in beside("logs"):
        bigger = with_beside(small, step.options)
        rows.append(_row(small, bigger, "small", step))
        small = bigger
    effect = whole(small, {**small, "applications": [{**small["applications"][0], "name": "renamed"}]}, RAY)
    assert effect.apps["renamed"].restart is Restart.ADD
    rows.append(
        Row(
            option=f"{A}name", said="another name", predicted=effect.apps["small"].restart,
            note="and the new one is added: another application",
        )
    )  # fmt: skip
    return sorted(rows, key=lambda row: row.option)


def _row(old: Mapping[str, Any], new: Mapping[str, Any], app: str, step: Step) -> Row:
    restart, note = predict(old, new, app, step)
    return Row(option=", ".join(step.options), said=step.said, predicted=restart, note=note)


def _start_steps() -> Iterator[Step]:
    for path, value in START.items():
        yield Step(options={path: value}, said="set", shows=value is not None)


def _small(journal: str) -> dict[str, Any]:
    return {"applications": [Lane(name="small", steps=()).start(journal)]}


def run(head: ServeHead, folder: Path, only: Collection[str] = ()) -> list[Row]:
    """Take every step, or those of these lanes, on this head, which has nothing on it."""
    bench = Bench(head, folder)
    journal, logs_dir = str(bench.journal), str(folder / "logs")
    rows: list[Row] = []
    look: Look | None = None
    for old, new, taken in _rounds(journal, logs_dir, only):
        before = look or bench.put(old)
        look = bench.put(new)
        for lane, step in taken:
            if not step.setup:
                rows.append(
                    _observed(_row(old, new, lane.name, step), observe(before, look, lane.name, step))
                )
    return sorted([*rows, *_beside(bench, journal, logs_dir)], key=lambda row: row.option)


def _observed(row: Row, seen: tuple[Restart, str, str]) -> Row:
    observed, replicas, called = seen
    return Row(
        option=row.option, said=row.said, predicted=row.predicted, note=row.note, observed=observed,
        replicas=replicas, called=called,
    )  # fmt: skip


def _beside(bench: Bench, journal: str, logs_dir: str) -> Iterator[Row]:
    small = _small(journal)
    before = bench.put(small)
    all_at_once = with_beside(small, START)
    now = bench.put(all_at_once)
    for step in _start_steps():
        row = _row(small, all_at_once, "small", step)
        seen = observe(before, now, "small", step)
        # Taken and not in effect, which is IGNORED: the prediction adds that a restart of Serve helps.
        same = now.answer["controller_info"] == before.answer["controller_info"] and (
            {n: one["actor_id"] for n, one in now.answer["proxies"].items()}
            == {n: one["actor_id"] for n, one in before.answer["proxies"].items()}
        )
        ignored = seen[0] is Restart.IGNORED and same
        yield _observed(row, (Restart.SERVE_RESTART if ignored else seen[0], *seen[1:]))
    for step in beside(logs_dir):
        bigger = with_beside(small, step.options)
        before, now = now, bench.put(bigger)
        yield _observed(_row(small, bigger, "small", step), observe(before, now, "small", step))
        small = bigger
    renamed = bench.put({**small, "applications": [{**small["applications"][0], "name": "renamed"}]})
    assert not now.ids("small", "D") & renamed.ids("renamed", "D")
    (row,) = (row for row in predictions() if row.option == f"{A}name")
    yield _observed(row, (Restart.DELETE, "all new, of all deployments", "no"))


def page(rows: Sequence[Row]) -> str:
    """The page, from what was observed."""
    lines = [
        "# What each change of a config does to what runs",
        "",
        f"Written by `python -m tests.contract.restarts` on a real Ray {RAY}; do not edit.",
        f"{len(rows)} changes, each on a live deployment `D` beside a deployment `Behind` that the config",
        "does not name. The class is what `deployer plan` predicts; each was observed too: by the ids of the",
        "replicas, by what they wrote down when called, and by what Serve tells to be in effect.",
        "",
        "- *replicas*: what became of those that ran.",
        "- *called*: `reconfigure` of the replicas that were kept: Serve's own, and that of our class.",
        "",
        "| option | change | class | replicas | called | note |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        option, said, restart, note = row.cells
        lines.append(f"| {option} | {said} | {restart} | {row.replicas} | {row.called} | {note} |")
    return "\n".join(lines) + "\n"


def read(text: str) -> list[tuple[str, ...]]:
    """The cells that can be predicted, of each row of a page."""
    rows: list[tuple[str, ...]] = []
    for line in text.splitlines():
        if line.startswith("| `"):
            option, said, restart, _, _, note = (cell.strip() for cell in line[2:-2].split(" | ", 5))
            rows.append((option, said, restart, note))
    return rows


def wrong(rows: Sequence[Row]) -> list[Row]:
    """Where Serve did something else than was predicted."""
    return [row for row in rows if row.observed is not row.predicted]


def main() -> None:
    """Write the page; fail if a prediction was wrong."""
    with tempfile.TemporaryDirectory() as folder, LocalRay(pythonpath=[ROOT, APPS]) as local:
        head = ServeHead(address=local.address, http=f"http://127.0.0.1:{free_port()}")
        head.empty()
        rows = run(head, Path(folder))
    if bad := wrong(rows):
        sys.exit("\n".join(str(row) for row in bad))
    PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
