"""What a new config does to the replicas that run: the restart class of each change.

Owns the comparison of two configs, as Serve compares them, and the class that follows. Must not know the
cluster, nor what the values are: none is shown. Invariant: what is predicted is what Serve does, or heavier
where only the code could tell (`tests/contract/test_restart_class.py` tries every option on a real Ray).

Two questions decide (2.60.0, below `ray/serve/_private/`). Is the *code version* of the application another
one (`deploy_utils.get_app_code_version`)? Then its code is imported again and all its replicas are
replaced. Has a deployment changed at all (`deployment_settings_changed` in `DeploymentState.deploy`)? Only
then are the hashes of `version.py` compared, which restart or reconfigure its replicas. What the first of
them does not see, such as another placement group, has no effect until something else changes in the same
deployment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from deployer.core import restart_rules as rules
from deployer.core.compare import by_name
from deployer.core.restart_options import ABSENT, Option, code_parts, differing, equal
from deployer.core.restart_rules import Restart, worst

__all__ = ["AppEffect", "Change", "Effects", "Path", "Restart", "effects", "top_level", "whole", "worst"]

Path = tuple[str, ...]

UNKNOWN: Final = "this Ray does not know the option, and drops it"
WAITS: Final = "not applied until something else changes in this deployment, and then with a rolling restart"
SAME_TO_PYTHON: Final = "equal to Serve until something else changes in this deployment; then: {}"
STICKS: Final = "this Ray keeps the old value until the application is rebuilt"
FROM_CODE: Final = "the value in the code counts again"
NOT_CALLED: Final = (
    "`reconfigure` is not called without a user_config: unless the code has one, what it did stays until a "
    "restart"
)
ORDER: Final = "only their order changes, which Serve takes for other code"
FOR_ALL: Final = "also for each application without a logging_config of its own"
AUTOSCALED: Final = "the number of replicas is autoscaled from now on"
FIXED: Final = "the number of replicas is not autoscaled any more"
NEW_REPLICAS: Final = "replicas that start from now on use it; the proxies only after a restart of Serve"
SAME_CAPACITY: Final = "the same capacity as before"
FIRST_IN_GANGS: Final = (
    "Serve (2.60) loses sight of the replicas that run without a gang: they run on, and the application can "
    "then not be deleted any more"
)

_WHOLE_CAPACITY: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One changed option: `deployment` is None for those of the application or of the whole cluster."""

    deployment: str | None = None
    path: Path
    """Inside the deployment, the application or the config: `("ray_actor_options", "num_cpus")`."""
    restart: Restart
    note: str = ""
    """Why, or what is surprising about it: half a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppEffect:
    """What becomes of one application."""

    restart: Restart
    """The heaviest of all; IGNORED also where nothing changes."""
    changes: tuple[Change, ...] = ()
    deployments: Mapping[str, Restart]
    """Of those that the config names and that something changes in. Others are touched only by a rebuild,
    which replaces the replicas of all deployments, named or not, and by a new `route_prefix`, which
    reconfigures the ingress: no config says which one that is."""

    @property
    def rebuilt(self) -> bool:
        """Whether all replicas of all its deployments are replaced."""
        return self.restart is Restart.REBUILD

    def of(self, deployment: str | None, path: Path) -> Change | None:
        """The change that this path is in: `("args", "price")` is in `("args",)`."""
        for change in self.changes:
            if change.deployment == deployment and change.path == path[: len(change.path)]:
                return change
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """What becomes of a whole config."""

    top: tuple[Change, ...]
    apps: Mapping[str, AppEffect]
    """Those of either config, by name."""


def whole(old: Mapping[str, Any], new: Mapping[str, Any], ray_version: str) -> Effects:
    """What PUTting `new` does where `old` was PUT before. Of two applications with one name the last counts.

    An application with another name is another application: the old one is removed, the new one is added.
    """
    before, after = _applications(old), _applications(new)
    changed = _capacity(old) != _capacity(new)
    apps = {
        name: effects(before.get(name), after.get(name), ray_version, capacity_changed=changed)
        for name in {**before, **after}
    }
    return Effects(top=top_level(old, new, ray_version), apps=apps)


def top_level(old: Mapping[str, Any], new: Mapping[str, Any], ray_version: str) -> tuple[Change, ...]:
    """The changes beside the applications.

    The options of proxies and controller are read only where Serve starts (`_private/api.py`); a running one
    takes them with a 200.
    """
    ray = rules.version(ray_version)
    changes = []
    for key in sorted({*old, *new} - {"applications"}):
        restart = rules.of_top_level(key, ray)
        before, after = old.get(key, ABSENT), new.get(key, ABSENT)
        if restart is None:
            changes += [Change(path=(key,), restart=Restart.IGNORED, note=UNKNOWN)] * (before != after)
        elif key == "target_capacity":
            changes += _capacity_change(before, after)
        elif restart is Restart.SERVE_RESTART and isinstance(before, Mapping) and isinstance(after, Mapping):
            note = NEW_REPLICAS if key == "tracing_config" else ""
            for field in sorted({*before, *after}):
                if not equal(field, before.get(field, ABSENT), after.get(field, ABSENT)):
                    changes.append(Change(path=(key, field), restart=restart, note=note))
        elif not equal(key, before, after):
            note = {"logging_config": FOR_ALL, "tracing_config": NEW_REPLICAS}.get(key, "")
            changes.append(Change(path=(key,), restart=restart, note=note))
    return tuple(changes)


def effects(
    old: Mapping[str, Any] | None,
    new: Mapping[str, Any] | None,
    ray_version: str,
    *,
    capacity_changed: bool = False,
) -> AppEffect:
    """What becomes of an application whose config was `old`, None if there was none, and is now `new`.

    Both as sent. An option that one of them does not set has the value of the code, which may be the same:
    the class is then what follows at most. `capacity_changed`: `target_capacity` changes in the same PUT.
    """
    if old is None or new is None:
        restart = Restart.DELETE if new is None else Restart.ADD
        names = by_name((new or old or {}).get("deployments"))
        return AppEffect(restart=restart, deployments=dict.fromkeys(names, restart))
    ray = rules.version(ray_version)
    before, after = code_parts(old, ray), code_parts(new, ray)
    code = {part for part in before if before[part] != after[part]}
    changes = [_of_application(option, code, ray) for option in differing(old, new, "", ray)]
    touched = {change.path[0] for change in changes}
    was, will = by_name(old.get("deployments")), by_name(new.get("deployments"))
    deployments: dict[str, Restart] = {}
    for name in {**was, **will}:
        entry = will.get(name, {})
        logs_anew = "logging_config" in touched and entry.get("logging_config") is None
        reached = bool(code) or capacity_changed or logs_anew or "route_prefix" in touched
        found = _of_deployment(name, was.get(name, {}), entry, code, ray, reached=reached)
        classes = [change.restart for change in found]
        if logs_anew:
            classes.append(Restart.RECONFIGURE)
        if code:
            classes.append(Restart.REBUILD)
        if classes:
            deployments[name] = worst(classes)
        changes += found
    if code and not any(change.restart is Restart.REBUILD for change in changes):
        changes.append(Change(path=("deployments",), restart=Restart.REBUILD, note=ORDER))
    restart = worst([change.restart for change in changes])
    return AppEffect(restart=restart, changes=tuple(changes), deployments=deployments)


def _of_application(option: Option, code: set[str], ray: rules.Version) -> Change:
    change = Change(path=option.path, restart=option.restart or Restart.IGNORED)
    if option.restart is None:
        return replace(change, note=UNKNOWN)
    if option.name == "route_prefix" and option.removed and ray < rules.RESTORES_UNSET and not code:
        return replace(change, restart=Restart.IGNORED, note=STICKS)
    return change


def _of_deployment(
    name: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    code: set[str],
    ray: rules.Version,
    *,
    reached: bool,
) -> list[Change]:
    """`reached`: Serve looks at the deployment whatever its own options are."""
    options = list(differing(old, new, "deployments", ray))
    sticks = ray < rules.RESTORES_UNSET and not code
    reached = reached or any(_reaches(option, sticks=sticks) for option in options)
    changes = []
    for option in options:
        restart, note = _class(option, code, sticks=sticks, reached=reached)
        if (
            option.name == "num_replicas"
            and _autoscaled(old) != _autoscaled(new)
            and restart is Restart.SCALE
        ):
            # Its replicas are told that they are autoscaled, and how to measure (from 2.12.0 on).
            restart = rules.of_deployment("autoscaling_config", ray) or restart
            note = AUTOSCALED if _autoscaled(new) else FIXED
        if option.name == "user_config" and restart is Restart.RECONFIGURE and new.get(option.name) is None:
            note = NOT_CALLED
        if option.name == "gang_scheduling_config" and option.restart and not old.get(option.name):
            note = FIRST_IN_GANGS
        changes.append(Change(deployment=name, path=option.path, restart=restart, note=note))
    return changes


def _reaches(option: Option, *, sticks: bool) -> bool:
    """Whether Serve looks at the deployment for it.

    It keeps the names of the options that configs have set with a deployment, and compares them too.
    """
    if option.restart is None or option.hidden or (option.removed and sticks):
        return False
    return option.added or option.removed or option.name not in rules.PLACEMENT


def _class(option: Option, code: set[str], *, sticks: bool, reached: bool) -> tuple[Restart, str]:
    if option.restart is None:
        return Restart.IGNORED, UNKNOWN
    if option.name in code or (option.name == "autoscaling_config" and "autoscaling_config.policy" in code):
        return Restart.REBUILD, ""
    if option.removed and sticks:
        return Restart.IGNORED, STICKS
    if option.hidden and not reached:
        return Restart.IGNORED, SAME_TO_PYTHON.format(option.restart)
    if option.name in rules.PLACEMENT and not reached:
        return Restart.IGNORED, WAITS
    return option.restart, FROM_CODE if option.removed else ""


def _autoscaled(deployment: Mapping[str, Any]) -> bool:
    return deployment.get("num_replicas") == "auto" or isinstance(
        deployment.get("autoscaling_config"), Mapping
    )


def _applications(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """By name, each with the logging that Serve gives to those without (`ServeController.apply_config`)."""
    logging = config.get("logging_config")
    return {
        application.get("name", "default"): application
        if application.get("logging_config") is not None or logging is None
        else {**application, "logging_config": logging}
        for application in config.get("applications") or ()
    }


def _capacity(config: Mapping[str, Any]) -> object:
    return config.get("target_capacity")


def _capacity_change(old: object, new: object) -> Iterator[Change]:
    path = ("target_capacity",)
    if equal(path[0], old, new):
        return
    before, after = (_WHOLE_CAPACITY if value in (ABSENT, None) else value for value in (old, new))
    if equal(path[0], before, after):
        yield Change(path=path, restart=Restart.CONTROLLER, note=SAME_CAPACITY)
    else:
        yield Change(path=path, restart=Restart.SCALE)
