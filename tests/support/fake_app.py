"""One application of the fake cluster: all that will be seen of it, worked out the moment it is PUT.

Times were measured on Ray 2.60 and an idle machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deployer.core.live import App, Replica
from deployer.core.scrub import scrub, secrets_of
from tests.support import fake_behaviour as behaviour
from tests.support.fake_part import Alive, Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

TICK = 0.1
BUILD = 1.0
BUILD_FAILURE = 5.0
ENVIRONMENT_FAILURE = 2.0
PLACE = 0.5
START = 0.4
RETRY = 1.2
RECONFIGURE = 0.4
WARNING = 30.0
RECOVER = 5.0
DELETE = 1.0
EXIT = 4.0


@dataclass(frozen=True, kw_only=True)
class _State:
    """What is seen of the application, and what Serve remembers of it.

    `built` is the code of the last good build. `failed` is the config whose replicas could not start: Serve
    does not try the same again. `alive` serve, also while nothing of them is shown.
    """

    app: App | None = None
    built: str | None = None
    failed: Mapping[str, Any] | None = None
    alive: Mapping[str, tuple[Alive, ...]] = field(default_factory=dict)
    dead: Mapping[str, tuple[Replica, ...]] = field(default_factory=dict)


class FakeApp:
    """One application of the fake cluster."""

    def __init__(self, name: str, ids: Iterator[int]) -> None:
        """An application that is not there yet. `ids` numbers the cluster's replicas."""
        self._name = name
        self._ids = ids
        self._steps: list[tuple[float, _State]] = []
        self._go_on: Callable[[], None] | None = None
        self._begin(-behaviour.FOR_EVER, _State())

    def seen(self, now: float) -> App | None:
        """What a GET at this time shows; None if it is not there."""
        return self._state(now).app

    def answers(self, now: float) -> int:
        """The status that a request to it gets: 503 without a replica, 404 where none was ever wanted."""
        state = self._state(now)
        if any(state.alive.values()):
            return 200
        return 503 if state.app is not None and state.app.deployments else 404

    def put(
        self,
        config: Mapping[str, Any],
        stamp: float,
        now: float,
        *,
        is_sick: bool,
        free: Mapping[str, float] | None,
    ) -> None:
        """A PUT lists it with this config. `free` are the resources that its replicas find."""
        state = self._state(now)
        before = state.app
        if before is not None and before.status == "DELETING":
            state, before = _State(), None
        if before is not None and before.config == config and self._is_under_way(before, now):
            self._restamp(stamp, now)
            return
        app = self._listed(config, stamp)
        code = behaviour.code(config)
        wrong = behaviour.override_error(config)
        if before is None or before.source == "imperative" or state.built != code:
            self._begin(now, replace(state, app=app, built=None))
            if error := behaviour.environment_error(config):
                self._fail_build(now + ENVIRONMENT_FAILURE, config, error)
                return
            if error := behaviour.build_error(config):
                self._fail_build(now + BUILD_FAILURE, config, error)
                return
            now += BUILD
            self._then(now, built=code)
        else:
            # For a tick the deployments still show the verdict of the PUT before.
            self._begin(now, replace(state, app=replace(app, deployments=before.deployments)))
            now += 0 if wrong else TICK
        if wrong:
            self._fail_build(now, config, wrong)
        else:
            has_no_room = behaviour.has_no_room(config, free)
            self._roll_out(config, now, is_sick=is_sick, has_no_room=has_no_room)

    def hang(self, config: Mapping[str, Any], stamp: float, now: float) -> None:
        """A PUT failed on it in Serve's controller: it has the config, and nothing works on it."""
        self._begin(now, replace(self._state(now), app=self._listed(config, stamp), built=None))

    def orphan(self, now: float) -> None:
        """A PUT without it failed half-way: it runs on, and Serve has forgotten its config."""
        state = self._state(now)
        if state.app is not None:
            self._begin(now, replace(state, app=replace(state.app, config=None)))

    def serve_run(self, stamp: float, now: float) -> None:
        """Somebody starts it with `serve run`: over one that is there, stamp and config stay as they were."""
        before = self._state(now).app
        part = Part(self._name, "D", {}, (), (), self._new_replica)
        _start(part)
        app = App(
            name=self._name,
            status="RUNNING",
            route_prefix=f"/{self._name}",
            last_deployed_time_s=before.last_deployed_time_s if before else stamp,
            source="imperative",
            config=before.config if before else None,
            deployments=(part.on_its_way(),),
        )
        self._begin(now, _State(app=app, alive={"D": part.alive}))

    def delete(self, now: float) -> None:
        """A PUT does not list it."""
        app = self._state(now).app
        if app is not None and app.status != "DELETING":
            going = replace(app, status="DELETING", message="", config=None, deployments=())
            self._begin(now, _State(app=going))
            self._steps.append((now + DELETE, _State()))

    def fall_sick(self, now: float) -> None:
        """The cluster breaks: what runs turns unhealthy, what starts fails."""
        state = self._state(now)
        app = state.app
        if app is None or app.status not in {"RUNNING", "DEPLOYING"}:
            return
        config = app.config or {}
        self._begin(now, state)
        parts = self._parts(config)
        if app.status == "DEPLOYING" and not all(part.is_done for part in parts):
            self._fail_start(parts, now, config, behaviour.SICK)
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
        message = behaviour.unhealthy(d.name for d in broken)
        unhealthy = replace(app, status="UNHEALTHY", message=message, deployments=broken)
        self._begin(now, replace(state, app=unhealthy, alive={}))

    def recover(self, now: float) -> None:
        """The cluster works again: what was unhealthy heals by itself, what failed stays failed."""
        state = self._state(now)
        if state.app is None or state.app.status != "UNHEALTHY":
            return
        self._begin(now, state)
        config = state.app.config or {}
        parts = self._parts(config)
        for part in parts:
            _start(part)
        self._settle(now + RECOVER, config, parts, trigger="UNSPECIFIED")

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

    def _is_under_way(self, app: App, now: float) -> bool:
        """Whether the same config again changes nothing: its rollout goes on, or its flapping."""
        is_rolling_out = app.status == "DEPLOYING" and any(at > now for at, _ in self._steps)
        return app.source == "declarative" and (is_rolling_out or self._go_on is not None)

    def _state(self, now: float) -> _State:
        while self._go_on is not None and self._steps[-1][0] <= now:
            self._go_on()
        return next(state for at, state in reversed(self._steps) if at <= now)

    def _begin(self, at: float, state: _State) -> None:
        """Whatever was to come does not."""
        self._go_on = None
        self._steps = [(at, state)]

    def _then(self, at: float, **changes: Any) -> None:
        """One more step: the last state with these changes; those of the app by their name."""
        last = self._steps[-1][1]
        of_state = {
            name: changes.pop(name) for name in ("built", "failed", "alive", "dead") if name in changes
        }
        app = replace(last.app, **changes) if last.app is not None else None
        self._steps.append((at, replace(last, app=app, **of_state)))

    def _show(self, at: float, parts: Iterable[Part]) -> None:
        """One more step of a rollout that goes on."""
        self._then(at, deployments=tuple(part.on_its_way() for part in parts), **_replicas(parts))

    def _restamp(self, stamp: float, now: float) -> None:
        """What goes on goes on under a new stamp."""
        steps = [(now, self._state(now)), *((at, state) for at, state in self._steps if at > now)]
        self._steps = [
            (at, replace(state, app=state.app and replace(state.app, last_deployed_time_s=stamp)))
            for at, state in steps
        ]

    def _fail_build(self, at: float, config: Mapping[str, Any], error: str) -> None:
        message = scrub(error, secrets_of(config))
        self._then(at, status="DEPLOY_FAILED", message=message, deployments=())

    def _parts(self, config: Mapping[str, Any]) -> list[Part]:
        state = self._steps[-1][1]
        return [
            Part(
                self._name,
                name,
                config,
                state.alive.get(name, ()),
                state.dead.get(name, ()),
                self._new_replica,
            )
            for name in behaviour.deployments(config)
        ]

    def _roll_out(self, config: Mapping[str, Any], now: float, *, is_sick: bool, has_no_room: bool) -> None:
        """What the deployments do once the application is built."""
        if self._steps[-1][1].failed == config:
            message = behaviour.failed_update(behaviour.deployments(config))
            self._then(now, status="DEPLOY_FAILED", message=message)
            return
        parts = self._parts(config)
        error = behaviour.start_error(config)
        if any(part.untold for part in parts):
            for part in parts:
                part.distrust() if error else part.tell()
            if not error:
                self._show(now, parts)
                now += RECONFIGURE
        while not all(part.is_done for part in parts):
            error = error or (behaviour.SICK if is_sick else None)
            if error:
                self._fail_start(parts, now, config, error)
                return
            for part in parts:
                part.begin_round()
            self._show(now, parts)
            if has_no_room:
                self._warn(now + WARNING, "no_room")
                return
            now = self._start_round(parts, now, behaviour.start_seconds(config))
        self._settle(now, config, parts)

    def _start_round(self, parts: list[Part], now: float, start_seconds: float) -> float:
        """Returns when they have started."""
        now += PLACE
        for part in parts:
            part.place()
        self._show(now, parts)
        if START + start_seconds > WARNING:
            self._warn(now + WARNING, "slow_start")
        for part in parts:
            part.run()
        return now + START + start_seconds

    def _settle(
        self,
        at: float,
        config: Mapping[str, Any],
        parts: list[Part],
        trigger: str = "CONFIG_UPDATE_COMPLETED",
    ) -> None:
        for part in parts:
            part.message = ""
            part.bury()
        self._then(
            at,
            status="RUNNING",
            message="",
            deployments=tuple(part.seen("HEALTHY", trigger) for part in parts),
            failed=None,
            **_replicas(parts),
        )
        if behaviour.exits(config):
            self._go_on = lambda: self._flap(config)

    def _flap(self, config: Mapping[str, Any]) -> None:
        """The oldest replica of each deployment exits, and Serve starts another."""
        at = self._steps[-1][0] + EXIT
        parts = self._parts(config)
        for part in parts:
            part.lose(part.fresh[0])
            part.begin_round()
            part.message = behaviour.flapping()
        message = behaviour.unhealthy(part.name for part in parts)
        for later in (0, PLACE):
            self._then(
                at + later,
                status="UNHEALTHY",
                message=message,
                deployments=tuple(part.seen("UNHEALTHY", "HEALTH_CHECK_FAILED") for part in parts),
                **_replicas(parts),
            )
            for part in parts:
                part.place()
        for part in parts:
            part.run()
        self._settle(at + PLACE + START, config, parts, trigger="UNSPECIFIED")

    def _warn(self, at: float, what: str) -> None:
        app = self._steps[-1][1].app
        assert app is not None
        text = behaviour.warning(what)
        self._then(at, deployments=tuple(replace(d, message=text) for d in app.deployments))

    def _fail_start(self, parts: list[Part], now: float, config: Mapping[str, Any], error: str) -> None:
        """No replica starts. The old ones that the rollout has not stopped yet go on serving."""
        error = scrub(error, secrets_of(config))
        failing = [part for part in parts if not part.is_done]
        for part in failing:
            part.distrust()
            part.begin_round()
        while True:
            self._show(now, parts)
            for part in parts:
                part.place()
            self._show(now + PLACE, parts)
            for part in failing:
                part.fail(error)
            now += RETRY
            if any(part.failures >= part.budget for part in failing):
                break
        self._then(
            now,
            status="DEPLOY_FAILED",
            message=behaviour.failed_update(part.name for part in failing),
            deployments=tuple(
                part.seen("DEPLOY_FAILED", "REPLICA_STARTUP_FAILED") if part in failing else part.on_its_way()
                for part in parts
            ),
            failed=config,
            **_replicas(parts),
        )

    def _new_replica(self) -> Replica:
        return Replica(replica_id=f"r{next(self._ids)}", state="STARTING")


def _start(part: Part) -> None:
    """Start what is missing, all in one step."""
    part.begin_round()
    part.place()
    part.run()


def _replicas(parts: Iterable[Part]) -> dict[str, Any]:
    """What Serve remembers of them."""
    return {
        "alive": {part.name: part.alive for part in parts},
        "dead": {p.name: tuple(p.dead) for p in parts},
    }
