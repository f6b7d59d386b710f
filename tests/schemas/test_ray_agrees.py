"""Our strict check and Ray's own validator, on the same configs. Needs Ray's models, but no cluster."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployer.adapters import ray_schema, schemas
from deployer.core import serve_config
from deployer.core.errors import InvalidConfig
from tests.support.prerequisites import require

if TYPE_CHECKING:
    from deployer.core.serve_config import Reading

pytestmark = pytest.mark.usefixtures("ray_models")

CONFIGS = Path(__file__).with_name("configs")
GOOD = sorted(CONFIGS.glob("*.yaml"))
WORST: list[Any] = [
    *(None, True, False, 0, 1, 2, -1, 101, 0.5, 1.0, -0.5, "", "x", "5", "1.5", "auto", "/x", "/x/"),
    *("a:b", "a.b.c", "a:", "::", "INFO", "JSON", "true", "https://example.com/a.zip", "local:///a", "./x"),
    *([], [1], ["x"], {}, {"x": 1}, {"CPU": 1}, [{}], [{"CPU": 1}], {"name": "A"}),
    {"min_replicas": 3, "max_replicas": 2},
]
KEYS = [
    *("name", "host", "port", "num_replicas", "autoscaling_config", "max_replicas_per_node", "user_config"),
    *("args", "import_path", "resources", "runtime_env", "route_prefix", "typo", "external_scaler_enabled"),
    *("max_queued_requests", "logging_config", "ssl_certfile", "target_capacity", "label_selector"),
    *("placement_group_bundles", "placement_group_strategy", "placement_group_bundle_label_selector"),
    *("gang_scheduling_config", "initial_replicas"),
]


@pytest.fixture(scope="session")
def ray_models() -> None:
    """Ray's models; where there are none, the tests are skipped visibly, or fail in CI."""
    require("Ray", ray_schema.installed() is not None, "pip install 'ray[serve]'")
    # Imported here, where Ray's use of pydantic may warn of what it likes.
    assert not [*ray_schema.faults({"applications": []})]


def ours(body: Any) -> Reading | list[str]:
    """What the strict check makes of a body, as a file of its own."""
    try:
        return serve_config.read(json.dumps(body).encode(), "f", schemas.schema())
    except InvalidConfig as error:
        return [problem.sentence for problem in error.problems]


def theirs(body: Any) -> list[str]:
    """What Ray's validator refuses."""
    return [fault.message for fault in ray_schema.faults(body)]


def test_the_committed_schema_is_that_of_the_installed_ray() -> None:
    """Made again from its models, it is the same, down to the last key.

    In a process of its own, as `make schema` makes it: uvicorn, for one, adds a log level to Python's.
    """
    installed = ray_schema.installed()
    assert installed == schemas.NEWEST
    made = subprocess.run(
        [sys.executable, "-m", "tests.schemas.generate"], capture_output=True, check=True, timeout=120
    )
    assert json.loads(made.stdout) == schemas.schema(installed).root


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_every_documented_style_passes_both(file: Path) -> None:
    """Multi-app, single-app, args, gRPC, autoscaling, logging, LLM, placement and what is newest."""
    reading = serve_config.read(file.read_bytes(), file.name, schemas.schema())
    assert not reading.warnings
    assert theirs(reading.config.body()) == []


BODIES = [serve_config.read(file.read_bytes(), file.name).config.body() for file in GOOD]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a tree, but for what is inside values that anything may be in."""
    if path and path[-1] in {"args", "user_config", "env_vars"}:
        return [path]
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(below for key, item in inside for below in places(item, (*path, key)))]


@pytest.mark.long
@settings(max_examples=3000, deadline=None)
@given(data=st.data())
def test_what_we_pass_ray_passes_at_length(data: st.DataObject) -> None:
    """The same, much more of it."""
    passes(data)


@settings(max_examples=500, deadline=None)
@given(data=st.data())
def test_what_we_pass_ray_passes(data: st.DataObject) -> None:
    """However a good config is bent: see `passes`."""
    passes(data)


def passes(data: st.DataObject) -> None:
    """However a good config is bent: a value replaced, a key taken away or put in."""
    body = copy.deepcopy(data.draw(st.sampled_from(BODIES)))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([one for one in places(body) if one] or [("applications",)]))
        if path[0] not in body:
            break
        holder = body
        for key in path[:-1]:
            holder = holder[key]
        match data.draw(st.sampled_from(["replace", "remove", "add"])):
            case "replace":
                holder[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(WORST)))
            case "remove":
                del holder[path[-1]]
            case _:
                if not isinstance(holder[path[-1]], dict):
                    continue
                key = data.draw(st.sampled_from(KEYS))
                holder[path[-1]][key] = copy.deepcopy(data.draw(st.sampled_from(WORST)))
    found = ours(body)
    if isinstance(found, list):
        return
    assert theirs(body) == [], body
