"""A Ray cluster in memory, on a clock of its own, for tests that need thousands of rollouts.

It imitates what `tests/contract/test_cluster*.py` pin down on a real one, and nothing else. What an
application does is chosen by its config: see `fake_behaviour.py`. A config without an `import_path` gets
the 400 that changes nothing, one with a number in `env_vars` the 400 that is half applied.
"""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from deployer.adapters.serve import LogUnavailable, Rejected, Unclear
from deployer.core.checks import Answer
from deployer.core.live import Live, Observation, Unreachable
from deployer.core.scrub import plain, scrub, secrets_of
from tests.support.fake_app import FakeApp
from tests.support.fake_behaviour import SAID
from tests.support.fake_part import NODE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deployer.core.events import LogSource
    from deployer.core.record import Rollout
    from deployer.core.types import Check

EPOCH = 1_800_000_000.0
"""When the cluster's clock starts: its stamps look like real ones, and none is 0."""

REFUSED_WHOLE = "for ServeDeploySchema"
"""What a 400 says that changed nothing."""


class FakeCluster:
    """The `Cluster` port over nothing.

    Switches: `reachable`; `sick` (nothing can start any more, what runs turns unhealthy);
    `drop_answer_once` (the next PUT is applied, but nobody hears of it); `reject_next` (the text of a 400,
    half applied unless it is about ServeDeploySchema); `ignore_next_put` (a 200 without effect, as while
    Serve shuts down). `puts` lists every PUT that arrived: rollout and digest; `probes` every probe. `free`
    are the free resources; `answers` are those to probes, by path; `logs` those of replicas, by their id.
    """

    def __init__(self, *, now: Callable[[], float] | None = None) -> None:
        """Start without Serve. `now` is a clock in seconds; without it the cluster has its own."""
        self._clock = now
        self._seconds = 0.0
        self._session = 1
        self._stamp = EPOCH
        self._started = False
        self._apps: dict[str, FakeApp] = {}
        self._ids = itertools.count(1)
        self._sick = False
        self.reachable = True
        self.drop_answer_once = False
        self.ignore_next_put = False
        self.reject_next: str | None = None
        self.puts: list[tuple[str, str]] = []
        self.free: dict[str, float] | None = {"CPU": 4.0}
        self.answers: dict[str, Answer] = {}
        self.probes: list[str] = []
        self.logs: dict[str, str] = {}
        self._secrets: frozenset[str] = frozenset()

    def observe(self, *, resources: bool = False) -> Observation:
        """Look once; `resources` also tells what is in `free`."""
        if not self.reachable:
            return Unreachable(why="The Ray cluster at http://fake cannot be seen: Connection refused.")
        seen = {name: app.seen(self._now()) for name, app in self._apps.items()}
        return Live(
            session=f"session_{self._session}",
            ray_version=SAID["ray_version"],
            serve_started=self._started,
            apps={name: app for name, app in seen.items() if app is not None},
            proxies={NODE: "HEALTHY"} if self._started else {},
            restores_unset_options=True,
            options=OPTIONS if self._started else {},
            free=self.free if resources else None,
        )

    def apply(self, rollout: Rollout, body: Mapping[str, Any]) -> None:
        """PUT `body` for a rollout. Raises Rejected and Unclear as the real one does."""
        if not self.reachable:
            raise Unclear(_NOT_KNOWN)
        self.puts.append((rollout.id, rollout.release.digest))
        body = deepcopy(dict(body))
        if self.ignore_next_put:
            self.ignore_next_put = False
            return
        refusal, self.reject_next = self.reject_next or _refusal(body), None
        if refusal is not None:
            is_half = REFUSED_WHOLE not in refusal
            if is_half:
                self._half_apply(body)
            raise Rejected(scrub(refusal, secrets_of(body)), half_applied=is_half)
        self._replace(body)
        if self.drop_answer_once:
            self.drop_answer_once = False
            raise Unclear(_NOT_KNOWN)

    def remember(self, config: Mapping[str, Any]) -> None:
        """Keep its secrets out of logs."""
        self._secrets |= secrets_of(config)

    def probe(self, check: Check, live: Live) -> Answer:
        """What is set for the path; else what Serve's proxy answers for the application there."""
        asked = f"{check.method} {check.path}"
        if not self.reachable:
            return Answer(seconds=check.timeout, error=f"{asked} got no answer: Connection refused.")
        self.probes.append(asked)
        given = self.answers.get(check.path)
        if given is not None:
            return given
        now = self._now()
        routed = {
            seen.route_prefix or "": app.answers(now)
            for app in self._apps.values()
            if (seen := app.seen(now)) is not None and _is_below(check.path, seen.route_prefix)
        }
        status = routed[max(routed, key=len)] if routed else 404
        return Answer(seconds=0.01, status=status, body=_BODIES[status])

    def log_tail(self, source: LogSource) -> str:
        """What is set for the replica; else what Serve writes into every log. Raises LogUnavailable."""
        if not self.reachable:
            why = f"The log of replica {source.replica} cannot be had: Connection refused."
            raise LogUnavailable(why)
        if not source.path.endswith(f"_{source.replica}.log"):
            why = f"The log of replica {source.replica} cannot be had: A file is not found at: {source.path}."
            raise LogUnavailable(why)
        text = self.logs.get(source.replica, _LOG.format(replica=source.replica))
        return scrub(text, self._secrets)

    def close(self) -> None:
        """Nothing to give back."""

    def advance(self, seconds: float) -> None:
        """Let time pass on the cluster's own clock; one given from outside moves by itself."""
        self._seconds += seconds

    def foreign_put(self, body: Mapping[str, Any]) -> None:
        """Somebody else PUTs this config."""
        self._replace(body)

    def serve_run(self, name: str) -> None:
        """Somebody starts an application with `serve run`."""
        self._started = True
        self._app(name).serve_run(self._next_stamp(), self._now())

    def lose_state(self) -> None:
        """The head is replaced: a new session, without Serve."""
        self._session += 1
        self._started = False
        self._apps.clear()

    @property
    def sick(self) -> bool:
        """Whether everything fails for the cluster's own reasons."""
        return self._sick

    @sick.setter
    def sick(self, sick: bool) -> None:
        if sick == self._sick:
            return
        self._sick = sick
        for app in self._apps.values():
            if sick:
                app.fall_sick(self._now())
            else:
                app.recover(self._now())

    def _now(self) -> float:
        return self._seconds if self._clock is None else self._clock()

    def _next_stamp(self) -> float:
        """A stamp that is new even where two PUTs come at the same moment."""
        self._stamp = max(self._stamp + 0.001, EPOCH + self._now())
        return self._stamp

    def _app(self, name: str) -> FakeApp:
        return self._apps.setdefault(name, FakeApp(name, self._ids))

    def _replace(self, body: Mapping[str, Any]) -> None:
        """The declarative applications are those of `body` from now on."""
        self._started = True
        now, stamp = self._now(), self._next_stamp()
        listed = {config["name"]: config for config in body["applications"]}
        for name, app in self._apps.items():
            seen = app.seen(now)
            if name not in listed and seen is not None and seen.source != "imperative":
                app.delete(now)
        for name, config in listed.items():
            self._app(name).put(config, stamp, now, is_sick=self._sick, free=self.free)

    def _half_apply(self, body: Mapping[str, Any]) -> None:
        """Serve's controller fails at the first bad application, or at the last if none is."""
        self._started = True
        now, stamp = self._now(), self._next_stamp()
        configs = list(body["applications"])
        hanging = next((n for n, config in enumerate(configs) if _bad_env_vars(config)), len(configs) - 1)
        for config in configs[:hanging]:
            self._app(config["name"]).put(config, stamp, now, is_sick=self._sick, free=self.free)
        for config in configs[hanging : hanging + 1]:
            self._app(config["name"]).hang(config, stamp, now)
        listed = {config["name"] for config in configs}
        for name, app in self._apps.items():
            if name not in listed:
                app.orphan(now)


OPTIONS: dict[str, Any] = {
    "http_options": {"host": "127.0.0.1", "port": 8000, "root_path": "", "request_timeout_s": None},
    "grpc_options": {"port": 9000, "grpc_servicer_functions": []},
    "proxy_location": "EveryNode",
}
"""As they are in effect: a PUT does not change them while Serve runs."""

_BODIES = {200: "{}", 404: "Path not found.", 503: "Deployment is unavailable."}

_LOG = "INFO 2026-11-22 10:42:00,000 {replica} -- Started initializing replica.\n"

_NOT_KNOWN = "It is not known whether the Ray cluster at http://fake took the config: it did not answer."


def _refusal(body: Mapping[str, Any]) -> str | None:
    """The text of the 400 that this config gets, if it gets one."""
    for index, config in enumerate(body["applications"]):
        if "import_path" not in config:
            missing = f"applications.{index}.import_path: Field required"
            return f"1 validation error {REFUSED_WHOLE}: {missing}"
    if any(_bad_env_vars(config) for config in body["applications"]):
        return plain(SAID["refusals"]["controller"]["text"]).rpartition("\n")[2]
    return None


def _is_below(path: str, prefix: str | None) -> bool:
    return prefix is not None and f"{path}/".startswith(f"{prefix.rstrip('/')}/")


def _bad_env_vars(config: Mapping[str, Any]) -> list[object]:
    values = config.get("runtime_env", {}).get("env_vars", {}).values()
    return [value for value in values if not isinstance(value, str)]
