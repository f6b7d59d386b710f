"""From starting `git push` to the PUT coming in: the daemon, and the loop that people write first.

The loop runs `git pull` over HTTP and, if HEAD moved, the real `serve deploy`; then it sleeps for 5 s. The
daemon is measured three times, each a process of its own on a repository of its own: a local repository,
which is watched; over HTTP with a webhook, sent when the push has ended; and over HTTP with nothing but a
poll every 5 s, like the loop (for two minutes after a push it looks every 3 s, as it does for everybody). All
deploy to the same server, which takes every PUT at once.

The pushes are spread evenly over the loop's sleep, so that a few rounds give the mean. Means are compared.
"""

from __future__ import annotations

import os
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import servers
from benchmarks.detection import GOLDEN
from benchmarks.push_to_put import config
from benchmarks.site import Daemon, Repository, milliseconds
from benchmarks.stub_serve import StubServe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SLEEP_SECONDS = 5.0
_PUT_SECONDS = 60.0
_SERVE = Path(sys.executable).parent / "serve"

_LOOP = """
cd "$1"
while :; do
    git pull --quiet --ff-only
    head=$(git rev-parse HEAD)
    if [ "$head" != "$deployed" ]; then
        "$2" deploy environments/one/serve_config.yaml --address "$3" && deployed=$head
    fi
    sleep "$4"
done
"""


def run(rounds: int) -> dict[str, Any]:
    """Measure `rounds` pushes of each, after one that warms up."""
    stub = StubServe()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stack.callback(stub.stop)
        root = Path(folder)
        repositories = {name: _repository(root / name) for name in ("watch", "webhook", "poll", "loop")}
        remote = stack.enter_context(servers.serving(root))
        secret = secrets.token_hex(32)
        (root / "secret").write_text(secret)
        (root / "secret").chmod(0o600)
        reached: dict[str, dict[str, object]] = {
            "watch": {},
            "webhook": {"webhook": {"scheme": "github", "secret_file": str(root / "secret")}},
            "poll": {"poll_interval": f"{_SLEEP_SECONDS:.0f}s"},
        }
        pushes: dict[str, Callable[[], None]] = {}
        for name, settings in reached.items():
            repository, before = repositories[name], len(stub.puts)
            if name != "watch":
                settings["url"] = f"{remote.git}/{name}/configs.git"
            daemon = Daemon(root / name, repository, {"one": stub.address(name)}, settings)
            stack.enter_context(daemon)
            stub.wait_for_put(before, _PUT_SECONDS)
            pushes[name] = repository.push
            if name == "webhook":
                pushes[name] = _pushing_and_telling(repository, daemon.url, secret)
        before = len(stub.puts)
        stack.enter_context(_looping(root, f"{remote.git}/loop/configs.git", stub.address("loop")))
        stub.wait_for_put(before, _PUT_SECONDS)
        pushes["loop"] = repositories["loop"].push
        seconds: dict[str, list[float]] = {name: [] for name in pushes}
        for number in range(1, rounds + 2):
            began = time.monotonic()
            for name, push in pushes.items():
                if name == "loop":
                    # Since the loop's last PUT; what the others took is a part of it.
                    due = began + number * GOLDEN % 1 * _SLEEP_SECONDS
                    time.sleep((due - time.monotonic()) % _SLEEP_SECONDS)
                found = _once(stub, repositories[name], name, number, push)
                if number > 1:
                    seconds[name].append(found)
    means = {name: statistics.fmean(values) for name, values in seconds.items()}
    return {
        **{
            name: {"mean_ms": round(means[name] * 1000, 1), **milliseconds(values)}
            for name, values in seconds.items()
        },
        "loop_to_deployer": {name: round(means["loop"] / means[name], 1) for name in reached},
    }


def _once(stub: StubServe, repository: Repository, name: str, number: int, push: Callable[[], None]) -> float:
    repository.commit({"one": config(number)}, f"price {number}")
    before = len(stub.puts)
    began = time.monotonic()
    push()
    put_at = stub.wait_for_put(before, _PUT_SECONDS)
    if stub.puts[before][1] != name:
        message = f"{stub.puts[before][1]} deployed when {name} was to"
        raise RuntimeError(message)
    return put_at - began


def _pushing_and_telling(repository: Repository, url: str, secret: str) -> Callable[[], None]:
    def push() -> None:
        repository.push()
        servers.hook(url, "configs", secret)

    return push


def _repository(root: Path) -> Repository:
    root.mkdir()
    made = Repository(root, ["one"])
    made.commit({"one": config(0)}, "begin")
    made.push()
    return made


@contextmanager
def _looping(root: Path, url: str, address: str) -> Iterator[None]:
    """Run the loop in the block, in a clone of its own."""
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    clone = root / "pulled"
    subprocess.run(["git", "clone", "--quiet", url, str(clone)], env=environment, check=True, timeout=60)
    arguments = [str(clone), str(_SERVE), address, str(_SLEEP_SECONDS)]
    with (root / "loop.log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", "-c", _LOOP, "loop", *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
