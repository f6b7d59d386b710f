"""`deployer try` on a Ray of its own: the daemon's verdict, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
import requests

from deployer.cli.local_ray import free_port
from tests.support.prerequisites import require

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.ray, pytest.mark.e2e, pytest.mark.timeout(300)]

WAIT_SECONDS = 240.0
"""A head takes 7 s on two idle cores and a multiple on busy ones; so does an application."""
TOKEN = "hunter2-and-more"

CODE = """
import os
from ray import serve

@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class D:
    def __init__(self):
        if os.environ.get("BROKEN"):
            raise ValueError("no use for " + os.environ["TOKEN"])

    def __call__(self):
        return {"price": 3}

app = D.bind()
"""
APP: dict[str, Any] = {
    "name": "fruit",
    "route_prefix": "/fruit",
    "import_path": "market_of_the_test:app",
}
HTTP = {"request_timeout_s": 20, "port": 1}
RULES = """\
health: {stability_window: 1s}
checks: [{app: fruit, path: /fruit, expect: {json: {price: 3}}}]
soak: 1h
"""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """A folder with the code and two environments; all that was tried in it has ended when the test does."""
    require("Ray", find_spec("ray") is not None, "pip install 'ray[serve]'")
    (tmp_path / "market_of_the_test.py").write_text(CODE)
    for name, env_vars in (("good", {}), ("bad", {"BROKEN": "1", "TOKEN": TOKEN})):
        folder = tmp_path / "environments" / name
        folder.mkdir(parents=True)
        app = {**APP, "runtime_env": {"env_vars": env_vars}}
        config = {"http_options": HTTP, "applications": [app]}
        (folder / "serve_config.yaml").write_text(json.dumps(config))
        (folder / "environment.yaml").write_text(RULES)
    (tmp_path / "tmp").mkdir()
    yield tmp_path
    # Ray itself leaves an empty `pymp-...` of Python's multiprocessing.
    assert list((tmp_path / "tmp").glob("deployer-*")) == []


def started(here: Path, *args: str) -> subprocess.Popen[str]:
    """`deployer try ARGS`, as a person types it in this folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "deployer", "try", *args],
        cwd=here,
        env={
            **os.environ,
            "TMPDIR": str(here / "tmp"),
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_good_config(here: Path) -> None:
    """Judged by the environment's own rules, but for what an option says; on the port that is asked for."""
    port = free_port()
    running = started(here, "good", "--soak", "1s", "--keep", "--port", str(port))
    try:
        assert running.stdout is not None
        said = running.stdout.readline()
        assert said.startswith("environments/good: good. ")
        assert "1 check passed" in said
        with requests.Session() as session:
            session.trust_env = False
            assert session.get(f"http://127.0.0.1:{port}/fruit", timeout=20).json() == {"price": 3}
        running.send_signal(signal.SIGINT)
        _, progress = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 0, progress
    assert "soaking" in progress
    assert f"It runs on at http://127.0.0.1:{port}" in progress
    assert "port" not in "".join(line for line in progress.splitlines() if "the file says" in line)


def test_a_broken_config(here: Path) -> None:
    """The first error in one line and in full, without the secret; and nothing of it keeps running."""
    running = started(here, "bad")
    said, progress = running.communicate(timeout=WAIT_SECONDS)
    assert running.returncode == 1, progress
    assert said.startswith("environments/bad: failed (code). fruit / D: ValueError: no use for <redacted>")
    assert "market_of_the_test.py" in said
    assert TOKEN not in said + progress
    address = progress.partition("Ray is up: ")[2].partition(" ")[0]
    with requests.Session() as session:
        session.trust_env = False
        with pytest.raises(requests.ConnectionError):
            session.get(address, timeout=5)


def test_an_end_before_the_end(here: Path) -> None:
    """Too long, or interrupted in the middle: said so, and all of it is stopped."""
    running = started(here, "good", "--timeout", "1s")
    said, progress = running.communicate(timeout=WAIT_SECONDS)
    assert running.returncode == 6, progress
    assert said.startswith("environments/good: timed out. It is not over. Last: ")

    running = started(here, "good")
    assert running.stderr is not None
    for line in running.stderr:
        if "soaking" in line:
            break
    running.send_signal(signal.SIGTERM)
    said, progress = running.communicate(timeout=60)
    assert (running.returncode, said) == (130, "")
    assert "Stopping what was started" in progress
