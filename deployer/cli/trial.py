"""A trial of one config: a throwaway Ray, and the real daemon on a throwaway repository that holds it.

Owns what is started, in which order, and what the daemon's facts mean for the trial. Must not know files of
the person, nor how a verdict is printed. Invariant: the judgement is the daemon's own, and whatever was
started is stopped when the block is left, on every way out.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployer import logs
from deployer.cli.daemon import running
from deployer.cli.local_ray import LocalRay
from deployer.cli.narrate import Narrator
from deployer.cli.scaffold import dump
from deployer.cli.throwaway import git, start_serve
from deployer.core.capacity import Verdict as Fit
from deployer.core.capacity import capacity
from deployer.core.diff import diff
from deployer.core.events import Checked, Event, Failed, FailureClass, Good, LogKept, Refused
from deployer.core.live import Live
from deployer.settings import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.record import Record
    from deployer.core.status import Status

_BRANCH = "main"
_LOG_SECONDS = 15.0
"""To have a replica's log once the verdict is there: the adapter itself gives up after 10 s."""

_START_OPTIONS = ("proxy_location", "http_options", "grpc_options", "controller_options", "tracing_config")
"""What only a start of Serve takes: given to it then, and not again."""

_CERTIFICATES = re.compile("ssl_.*")
"""The files are those of the real cluster."""

_FLAGS = {"GPU": "--num-gpus", "memory": "--memory"}


class Outcome(StrEnum):
    """How a trial ended."""

    GOOD = "good"
    FAILED = "failed"
    INVALID = "invalid"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The end of a trial. `message` is a sentence.

    `detail` is the first error in full, `log` the end of the log of a replica that failed; "" is none.
    """

    outcome: Outcome
    message: str
    failure_class: FailureClass | None = None
    detail: str = ""
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be tried. `body` is the whole Serve config, `rules` what `environment.yaml` says.

    `resources` is what Ray believes to have, by its own names. `port` is that of Serve's proxy; None is a
    free one. `paths` are the folders that applications are imported from.
    """

    name: str
    body: Mapping[str, Any] = field(repr=False)
    rules: Mapping[str, Any]
    resources: Mapping[str, float]
    ray_version: str
    port: int | None = None
    paths: Sequence[Path] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A trial under way: where it can be looked at, and its end. `verdict` waits so many seconds for it."""

    dashboard: str
    http: str
    verdict: Callable[[float], Verdict]


def misfit(order: Order) -> Verdict | None:
    """The verdict if what the config asks for cannot fit: Serve would wait for it for ever.

    Only what the config itself says counts; what the code asks for shows when it runs.
    """
    nothing: dict[str, Any] = {"applications": []}
    cluster = Live(
        session=None, ray_version=order.ray_version, serve_started=True, apps={}, free=order.resources
    )
    changes = diff(nothing, order.body, order.ray_version)
    found = capacity(changes, nothing, order.body, cluster, order.ray_version)
    short = [need for need in found.needs if need.verdict is Fit.SHORT and need.resource in _told(order)]
    if not short:
        return None
    needs = ", ".join(map(str, short))
    pretended = {**order.resources, **{need.resource: _whole(need.needed) for need in short}}
    message = (
        f"It does not fit here: {needs}. Where the code does not really need it, pretend:"
        f" --resources '{json.dumps(pretended)}'"
    )
    return Verdict(outcome=Outcome.FAILED, message=message, failure_class=FailureClass.CAPACITY)


def _told(order: Order) -> set[str]:
    """The resources of which it is certain how much is asked for."""
    deployments = [one for app in order.body["applications"] for one in app.get("deployments", ())]
    asked = {key for one in deployments for key in one.get("ray_actor_options", {}).get("resources", {})}
    asked |= {
        key for one in deployments for bundle in one.get("placement_group_bundles", ()) for key in bundle
    }
    cpus = all("num_cpus" in one.get("ray_actor_options", {}) for one in deployments)
    return asked | {"GPU"} | ({"CPU"} if cpus else set()) | ({"memory"} & order.resources.keys())


@contextmanager
def trial(order: Order, tell: Callable[[str], None]) -> Iterator[Running]:
    """Run it inside the block. Raises LocalRayError if there is no Ray, and Failure for git or Serve."""
    with ExitStack() as stack:
        # Only for us: the repository holds the values of environment variables.
        folder = Path(tempfile.mkdtemp(prefix="deployer-try-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        logs.configure(stack.enter_context((folder / "daemon.log").open("w")), json=True, level="info")
        _commit(folder / "configs", order)
        tell("Starting a local Ray head (about 10 s) ...")
        ray = stack.enter_context(
            LocalRay(
                num_cpus=_whole(order.resources["CPU"]),
                pythonpath=order.paths,
                options=_flags(order.resources),
            )
        )
        stack.callback(tell, "Stopping what was started ...")
        http = f"http://127.0.0.1:{start_serve(ray.address, port=order.port, options=_start(order.body))}"
        tell(f"Ray is up: {ray.address} (dashboard), {http} (the applications, once they run)")
        watch = _Watch()
        narrator = Narrator(tell, environments=[order.name])
        path = _settings(folder, order.name, ray.address)
        stack.enter_context(running(load(path, {}), listeners=[narrator, watch]))
        yield Running(dashboard=ray.address, http=http, verdict=watch.verdict)


def _flags(resources: Mapping[str, float]) -> list[str]:
    """The words for `ray start`. The processors have an option of `LocalRay`."""
    words = [f"{flag}={_whole(resources[name])}" for name, flag in _FLAGS.items() if name in resources]
    custom = {name: amount for name, amount in resources.items() if name not in {*_FLAGS, "CPU"}}
    return [*words, f"--resources={json.dumps(custom)}"] if custom else words


def _whole(amount: float) -> int:
    """Ray takes no fractions of its own resources."""
    return math.ceil(amount)


def _start(body: Mapping[str, Any]) -> dict[str, Any]:
    options = {key: body[key] for key in _START_OPTIONS if body.get(key) is not None}
    if "http_options" in options:
        http = options["http_options"]
        options["http_options"] = {key: http[key] for key in http if not _CERTIFICATES.fullmatch(key)}
    return options


def _settings(folder: Path, name: str, address: str) -> Path:
    path = folder / "deployer.yaml"
    environment = {"repository": "configs", "branch": _BRANCH, "path": name, "cluster": {"address": address}}
    settings = {
        "state_dir": str(folder / "state"),
        "server": {"listen": "127.0.0.1:0"},
        "repositories": {"configs": {"url": str(folder / "configs")}},
        "environments": {name: environment},
    }
    path.write_text(json.dumps(settings), encoding="utf-8")
    return path


def _commit(repository: Path, order: Order) -> None:
    """The config and its rules as one commit."""
    folder = repository / order.name
    folder.mkdir(parents=True)
    body = {key: value for key, value in order.body.items() if key not in _START_OPTIONS}
    (folder / "serve_config.yaml").write_text(dump(body), encoding="utf-8")
    (folder / "environment.yaml").write_text(dump(order.rules), encoding="utf-8")
    git(repository, "init", "--quiet", "--initial-branch", _BRANCH)
    for key, value in (
        ("user.name", "deployer try"),
        ("user.email", "try@localhost"),
        ("commit.gpgsign", "false"),
    ):
        git(repository, "config", key, value)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "-m", f"try {order.name}")


class _Watch:
    """A listener of the passes that knows when it is over."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._judged = threading.Event()
        self._lock = threading.Lock()
        self._verdict: Verdict | None = None
        self._checks: set[int] = set()
        self._last = "Nothing was done yet."

    def recorded(self, record: Record, event: Event) -> None:  # noqa: ARG002 - a listener's
        """Read a fact."""
        with self._lock:
            match event:
                case Checked(check=check, passed=True):
                    self._checks.add(check)
                case Good():
                    checks = f"{len(self._checks)} check{'' if len(self._checks) == 1 else 's'} passed"
                    message = (
                        f"Every application was RUNNING and every deployment HEALTHY to the end; {checks}."
                    )
                    self._end(Verdict(outcome=Outcome.GOOD, message=message))
                case Failed(failure=failure):
                    verdict = Verdict(
                        outcome=Outcome.FAILED,
                        message=failure.message,
                        failure_class=failure.failure_class,
                        detail=failure.detail,
                    )
                    self._end(verdict, is_all=failure.log is None)
                case LogKept(text=text) if self._verdict is not None:
                    self._end(
                        Verdict(
                            outcome=self._verdict.outcome,
                            message=self._verdict.message,
                            failure_class=self._verdict.failure_class,
                            detail=self._verdict.detail,
                            log=text,
                        )
                    )
                case Refused(message=message):
                    self._end(Verdict(outcome=Outcome.INVALID, message=message))
                case _:
                    pass

    def observed(self, status: Status) -> None:
        """Remember where it stands."""
        with self._lock:
            self._last = status.message

    def verdict(self, seconds: float) -> Verdict:
        """Wait for it so long, and for the log that belongs to it."""
        if self._judged.wait(seconds):
            self._over.wait(_LOG_SECONDS)
        with self._lock:
            if self._verdict is not None:
                return self._verdict
            return Verdict(outcome=Outcome.TIMED_OUT, message=f"It is not over. Last: {self._last}")

    def _end(self, verdict: Verdict, *, is_all: bool = True) -> None:
        # The first one counts: what failed for want of room is tried again, and is no news.
        if self._over.is_set():
            return
        self._verdict = verdict
        self._judged.set()
        if is_all:
            self._over.set()
