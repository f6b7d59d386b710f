"""The first page, `/`, with 500 environments and 100,000 rollouts in the store, in process.

Each request goes through the whole application (guard, routes, read models, templates) without a socket, as
`GET /` of a browser does. Beside it, in turns: the JSON of the same, `/api/v1/environments`, and the floor,
`json.dumps` of those views. Before each round ten environments have changed, as they do while one looks; once
more the same without a change; and once for the one who comes first after a start.

The store takes minutes to make, so it is kept in the folder for temporary files, by what makes it.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import inspect
import json
import shutil
import statistics
import tempfile
import time
from contextlib import ExitStack
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from benchmarks.site import percentile
from deployer.adapters.store import SqlStore, tables
from tests.support import large_store
from tests.support.asgi import HOST, scope_of, talk
from tests.support.store_faces import standing

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Table

    from tests.support.store_faces import StoreFaces

_ENVIRONMENTS = 500
_ROUNDS = 300
_LOOK_ROUNDS = 50
_CHANGED = 10
"""Environments between two requests: more than change in a second, while nothing special happens."""


def run(rollouts: int) -> dict[str, Any]:
    """Measure with `rollouts` of each environment in the store."""
    rounds = _ROUNDS if rollouts >= 100 else 20
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        path = Path(folder, "deployer.db")
        shutil.copyfile(made(rollouts), path)
        names = [f"env-{number:03}" for number in range(_ENVIRONMENTS)]
        faces = stack.enter_context(standing(path, names))
        for name in names:
            faces.publish(name)
        # As `deployer run` does.
        gc.collect()
        gc.freeze()
        return {
            "environments": len(names),
            "rollouts": count(path, tables.ROLLOUTS),
            **asyncio.run(_measure(faces, rounds)),
        }


async def _measure(faces: StoreFaces, rounds: int) -> dict[str, Any]:
    def floor() -> None:
        json.dumps(faces.models.environments(None))

    began = time.perf_counter()
    size = await _get(faces, "/", "text/html")
    first = time.perf_counter() - began
    walls: dict[str, list[float]] = {}
    cpus: dict[str, list[float]] = {}

    async def timed(name: str, ask: Callable[[], Any]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        answer = ask()
        if inspect.isawaitable(answer):
            await answer
        walls.setdefault(name, []).append(time.perf_counter() - wall)
        cpus.setdefault(name, []).append(time.process_time() - cpu)

    def page() -> Any:  # noqa: ANN401 - whatever is timed
        return _get(faces, "/", "text/html")

    def data() -> Any:  # noqa: ANN401 - whatever is timed
        return _get(faces, "/api/v1/environments", "application/json")

    changing = cycle(faces.names)
    said = dict.fromkeys(faces.names, "")
    for number in range(rounds):
        if number % _LOOK_ROUNDS == 0:
            # All were looked at again, and are as they were.
            for environment, says in said.items():
                faces.publish(environment, says)
        # In turns which of the two finds what is new, and so has to read it.
        for name, ask in [("page", page), ("json", data)][:: 1 if number % 2 else -1]:
            for environment in islice(changing, _CHANGED):
                said[environment] = f"Look {number} found nothing good." if number % 3 else ""
                faces.publish(environment, said[environment])
            await timed(name, ask)
        await timed("page_unchanged", page)
        await timed("json_unchanged", data)
        await timed("floor", floor)
        await timed("page_unchanged_again", page)
    found = {name: _told(walls[name], cpus[name]) for name in walls}
    medians = {name: statistics.median(values) for name, values in walls.items()}
    return {
        "page_bytes": size,
        "first_ms": round(first * 1000, 1),
        **found,
        "ratio_to_json": round(medians["page"] / medians["json"], 2),
        "ratio_to_floor": round(medians["page"] / medians["floor"], 2),
        "ratio_a_a": round(medians["page_unchanged"] / medians["page_unchanged_again"], 2),
    }


def _told(walls: list[float], cpus: list[float]) -> dict[str, float]:
    return {
        "median_ms": round(statistics.median(walls) * 1000, 1),
        "p99_ms": round(percentile(walls, 0.99) * 1000, 1),
        "best_ms": round(min(walls) * 1000, 1),
        "median_cpu_ms": round(statistics.median(cpus) * 1000, 1),
        "p99_cpu_ms": round(percentile(cpus, 0.99) * 1000, 1),
    }


async def _get(faces: StoreFaces, path: str, accept: str) -> int:
    """One request; how many bytes the answer has."""
    headers = [("Authorization", f"Bearer {faces.token}"), ("Accept", accept)]
    answer = await talk(faces.app, scope_of("GET", path, headers, host=HOST))
    if answer.status != 200:
        message = f"{path}: {answer.status} {answer.text[:500]}"
        raise RuntimeError(message)
    return len(answer.body)


def made(rollouts: int, environments: int = _ENVIRONMENTS) -> Path:
    """A store as it is after years, made now or by a run before. `rollouts` are of each environment."""
    source = "".join(inspect.getsource(module) for module in (large_store, tables))
    digest = hashlib.sha256(f"{environments} {rollouts} {source}".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir(), f"deployer-benchmark-{digest}.db")
    if not path.exists():
        with tempfile.TemporaryDirectory() as folder:
            new = Path(folder, "made.db")
            large_store.make(new, environments=environments, rollouts=rollouts)
            # Beside the store SQLite has its log, which is empty once it is closed.
            shutil.move(new, path)
    return path


def count(path: Path, table: Table) -> int:
    """How many rows a table of the store has."""
    store = SqlStore.open_readonly(path)
    try:
        with store.database.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
    finally:
        store.close()
