"""One application of the fake cluster: all that will be seen of it, worked out the moment it is PUT.

Times were measured on Ray 2.60 and an idle machine.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deployer.core.live import App, Deployment, Replica
from deployer.core.scrub import scrub, secrets_of
from tests.support import fake_behaviour as behaviour

if TYPE_CHECKING:
    from collections.abc import Iterator

TICK = 0.1
BUILD = 1.0
BUILD_FAILURE = 5.0
PLACE = 0.5
START = 0.4
RETRY = 1.2
RECONFIGURE = 0.4
WARNING = 30.0
RECOVER = 5.0
DELETE = 1.0

TRIES = 3
NODE = "node-1"

_Replicas = Mapping[str, tuple[Replica, ...]]


@dataclass(frozen=True, kw_only=True)
class _Alive:
    """The replicas of a deployment that run, and with what."""

    code: str
    user_config: object
    replicas: tuple[Replica, ...]


@dataclass(frozen=True, kw_only=True)
class _State:
    """What is seen of the application, and what Serve remembers of it.

    `built` is the code of the last good build. `failed` is the config whose replicas could not start: Serve
    does not try the same again.
    """

    app: App | None = None
    built: str | None = None
    failed: Mapping[str, Any] | None = None
    alive: Mapping[str, _Alive] = field(default_factory=dict)


class FakeApp:
    """One application of the fake cluster."""

    def __init__(self, name: str, ids: Iterator[int]) -> None:
        """An application that is not there yet. `ids` numbers the cluster's replicas."""
        self._name = name
        self._ids = ids
        self._steps: list[tuple[float, _State]] = [(-behaviour.FOR_EVER, _State())]

    def seen(self, now: float) -> App | None:
        """What a GET at this time shows; None if it is not there."""
        return self._state(now).app

    def put(self, config: Mapping[str, Any], stamp: float, now: float, *, is_sick: bool) -> None:
        """A PUT lists it with this config."""
        state = self._state(now)
        before = state.app
        if before is not None and before.status == "DELETING":
            state, before = _State(), None
        is_under_way = any(at > now for at, _ in self._steps)
        if before is not None and before.status == "DEPLOYING" and before.config == config and is_under_way:
            self._go_on(stamp, now)
            return
        app = self._listed(config, stamp)
        code = behaviour.code(config)
        wrong = behaviour.override_error(config)
        if before is None or before.source == "imperative" or state.built != code:
            self._steps = [(now, replace(state, app=app, built=None))]
            if error := behaviour.build_error(config):
                self._fail_build(now + BUILD_FAILURE, config, error)
                return
            now += BUILD
            self._then(now, built=code)
        else:
            # For a tick the deployments still show the verdict of the PUT before.
            self._steps = [(now, replace(state, app=replace(app, deployments=before.deployments)))]
            now += 0 if wrong else TICK
        if wrong:
            self._fail_build(now, config, wrong)
        else:
            self._roll_out(config, now, is_sick=is_sick)

    def hang(self, config: Mapping[str, Any], stamp: float, now: float) -> None:
        """A PUT failed on it in Serve's controller: it has the config, and nothing works on it."""
        state = replace(self._state(now), app=self._listed(config, stamp), built=None)
        self._steps = [(now, state)]

    def orphan(self, now: float) -> None:
        """A PUT without it failed half-way: it runs on, and Serve has forgotten its config."""
        state = self._state(now)
        if state.app is not None:
            self._steps = [(now, replace(state, app=replace(state.app, config=None)))]

    def serve_run(self, stamp: float, now: float) -> None:
        """Somebody starts it with `serve run`."""
        app = App(
            name=self._name,
            status="RUNNING",
            route_prefix=f"/{self._name}",
            last_deployed_time_s=stamp,
            source="imperative",
            deployments=(_healthy("D", self._start(1)),),
        )
        self._steps = [(now, _State(app=app))]

    def delete(self, now: float) -> None:
        """A PUT does not list it."""
        state = self._state(now)
        if state.app is not None and state.app.status != "DELETING":
            going = replace(state.app, status="DELETING", message="", config=None, deployments=())
            self._steps = [(now, replace(state, app=going)), (now + DELETE, _State())]

    def fall_sick(self, now: float) -> None:
        """The cluster breaks: what runs turns unhealthy, what starts fails."""
        state = self._state(now)
        app = state.app
        if app is None or app.status not in {"RUNNING", "DEPLOYING"}:
            return
        if app.status == "DEPLOYING":
            self._steps = [(now, state)]
            self._fail_start(app.config or {}, now, behaviour.SICK)
            return
        broken = tuple(
            replace(
                d,
                status="UNHEALTHY",
                status_trigger="HEALTH_CHECK_FAILED",
                message=behaviour.SICK,
                replicas=(),
            )
            for d in app.deployments
        )
        self._steps = [
            (now, replace(state, app=replace(app, status="UNHEALTHY", deployments=broken), alive={}))
        ]

    def recover(self, now: float) -> None:
        """The cluster works again: what was unhealthy heals by itself, what failed stays failed."""
        state = self._state(now)
        if state.app is None or state.app.status != "UNHEALTHY":
            return
        self._steps = [(now, state)]
        config = state.app.config or {}
        replicas = {
            name: self._start(behaviour.count(wanted))
            for name, wanted in behaviour.deployments(config).items()
        }
        self._settle(now + RECOVER, config, replicas, trigger="UNSPECIFIED")

    def _listed(self, config: Mapping[str, Any], stamp: float) -> App:
        """How it looks right after a PUT that lists it."""
        return App(
            name=self._name,
            status="DEPLOYING",
            route_prefix=config.get("route_prefix"),
            last_deployed_time_s=stamp,
            source="declarative",
            config=config,
        )

    def _state(self, now: float) -> _State:
        return next(state for at, state in reversed(self._steps) if at <= now)

    def _then(self, at: float, **changes: Any) -> None:
        """One more step: the last state with these changes; those of the app by their name."""
        last = self._steps[-1][1]
        of_state = {name: changes.pop(name) for name in ("built", "failed", "alive") if name in changes}
        app = replace(last.app, **changes) if last.app is not None else None
        self._steps.append((at, replace(last, app=app, **of_state)))

    def _go_on(self, stamp: float, now: float) -> None:
        """The same config again in the middle of its rollout: it goes on under a new stamp."""
        steps = [(now, self._state(now)), *((at, state) for at, state in self._steps if at > now)]
        self._steps = [
            (at, replace(state, app=state.app and replace(state.app, last_deployed_time_s=stamp)))
            for at, state in steps
        ]

    def _fail_build(self, at: float, config: Mapping[str, Any], error: str) -> None:
        message = scrub(error, secrets_of(config))
        self._then(at, status="DEPLOY_FAILED", message=message, deployments=())

    def _roll_out(self, config: Mapping[str, Any], now: float, *, is_sick: bool) -> None:
        """What the deployments do once the application is built."""
        state = self._steps[-1][1]
        wanted = behaviour.deployments(config)
        if state.failed == config:
            self._then(now, status="DEPLOY_FAILED", message=behaviour.failed_update(wanted))
            return
        alive = {name: state.alive[name] for name in wanted if name in state.alive}
        alive = {name: one for name, one in alive.items() if one.code == behaviour.code(config)}
        kept = {name: one.replicas[: behaviour.count(wanted[name])] for name, one in alive.items()}
        missing = {name: behaviour.count(wanted[name]) - len(kept.get(name, ())) for name in wanted}
        if error := behaviour.start_error(config) or (
            behaviour.SICK if is_sick and any(missing.values()) else None
        ):
            self._fail_start(config, now, error)
        elif any(missing.values()):
            replicas = {name: (*kept.get(name, ()), *self._start(count)) for name, count in missing.items()}
            self._start_up(config, now, replicas)
        else:
            if any(alive[name].user_config != wanted[name].get("user_config") for name in wanted):
                self._then(now, deployments=_updating(kept, "UPDATING"))
                now += RECONFIGURE
            self._settle(now, config, kept)

    def _start_up(self, config: Mapping[str, Any], now: float, replicas: _Replicas) -> None:
        self._then(now, deployments=_updating(replicas, "STARTING", node=None))
        if behaviour.has_no_room(config):
            self._warn(now + WARNING, "no_room")
            return
        self._then(now + PLACE, deployments=_updating(replicas, "STARTING"))
        seconds = START + behaviour.start_seconds(config)
        if seconds > WARNING:
            self._warn(now + PLACE + WARNING, "slow_start")
        self._settle(now + PLACE + seconds, config, replicas)

    def _settle(
        self,
        at: float,
        config: Mapping[str, Any],
        replicas: _Replicas,
        trigger: str = "CONFIG_UPDATE_COMPLETED",
    ) -> None:
        wanted = behaviour.deployments(config)
        self._then(
            at,
            status="RUNNING",
            message="",
            deployments=tuple(_healthy(name, running, trigger) for name, running in replicas.items()),
            failed=None,
            alive={
                name: _Alive(
                    code=behaviour.code(config), user_config=wanted[name].get("user_config"), replicas=running
                )
                for name, running in replicas.items()
            },
        )

    def _warn(self, at: float, what: str) -> None:
        app = self._steps[-1][1].app
        assert app is not None
        text = behaviour.warning(what)
        self._then(at, deployments=tuple(replace(d, message=text) for d in app.deployments))

    def _fail_start(self, config: Mapping[str, Any], now: float, error: str) -> None:
        wanted = behaviour.deployments(config)
        error = scrub(error, secrets_of(config))
        for tried in range(TRIES):
            replicas = {name: self._start(behaviour.count(one)) for name, one in wanted.items()}
            at = now + tried * RETRY
            message = behaviour.retrying(TRIES - tried, error) if tried else ""
            self._then(at, deployments=_updating(replicas, "STARTING", message, node=None), alive={})
            self._then(at + PLACE, deployments=_updating(replicas, "STARTING", message))
        self._then(
            now + TRIES * RETRY,
            status="DEPLOY_FAILED",
            message=behaviour.failed_update(wanted),
            deployments=tuple(
                Deployment(
                    name=name,
                    status="DEPLOY_FAILED",
                    status_trigger="REPLICA_STARTUP_FAILED",
                    message=behaviour.failed_start(error),
                    target_replicas=behaviour.count(one),
                )
                for name, one in wanted.items()
            ),
            failed=config,
        )

    def _start(self, count: int) -> tuple[Replica, ...]:
        """So many new replicas, as they will be once they run."""
        numbers = itertools.islice(self._ids, max(count, 0))
        return tuple(Replica(replica_id=f"r{n}", state="RUNNING", node_id=NODE) for n in numbers)


def _healthy(
    name: str, replicas: tuple[Replica, ...], trigger: str = "CONFIG_UPDATE_COMPLETED"
) -> Deployment:
    return Deployment(
        name=name,
        status="HEALTHY",
        status_trigger=trigger,
        target_replicas=len(replicas),
        replicas=replicas,
    )


def _updating(
    replicas: _Replicas, state: str, message: str = "", node: str | None = NODE
) -> tuple[Deployment, ...]:
    return tuple(
        Deployment(
            name=name,
            status="UPDATING",
            status_trigger="CONFIG_UPDATE_STARTED",
            message=message,
            target_replicas=len(group),
            replicas=tuple(replace(one, state=state, node_id=node) for one in group),
        )
        for name, group in replicas.items()
    )
