"""What is sent in a PUT: this environment's applications, and everybody else's as they are.

Owns the body of a PUT and the reasons not to send one. Must not know how it is sent, nor what follows from
an obstacle. Invariant: a body lists every declarative application that the cluster runs and that is not
ours, with the config it has there, because a PUT deletes what it does not list (measured, Ray 2.60).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deployer.core.compare import by_name, code_version
from deployer.core.redact import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from deployer.core.live import App, Live
    from deployer.core.types import Release

NONCE = "DEPLOYER_NONCE"
"""The environment variable that makes the same config another code version to Serve."""

_REDACTED = "<redacted>"
"""What Ray's dashboard shows to a browser instead of an environment variable (2.60)."""

_MERGED = ("ray_actor_options", "autoscaling_config")
"""Options of a deployment that are mappings of options themselves."""


def applications(release: Release, nonce: str) -> dict[str, dict[str, Any]]:
    """The applications as they are sent, by name: each with the nonce in its `runtime_env`, if any."""
    sent = release.config.applications()
    for application in sent.values():
        runtime_env = application.get("runtime_env", {})
        # What is no mapping is refused by Serve as a whole, and is to be.
        if nonce and isinstance(runtime_env, Mapping):
            env_vars = {**(runtime_env.get("env_vars") or {}), NONCE: nonce}
            application["runtime_env"] = {**runtime_env, "env_vars": env_vars}
    return sent


def compose(release: Release, nonce: str, live: Live, ours: Collection[str]) -> dict[str, Any]:
    """The whole body. `ours` are the names that this environment owns: what it does not list of them goes."""
    listed = applications(release, nonce)
    for app in _carried(live, {*ours, *listed}):
        if app.config is not None:
            listed[app.name] = dict(app.config)
    return {**release.config.body(), "applications": [listed[name] for name in sorted(listed)]}


def foreign(live: Live, ours: Collection[str]) -> tuple[str, ...]:
    """The names of the applications there, declarative or not, that are somebody else's."""
    return tuple(app.name for app in _foreign(live, ours))


def obstacle(
    release: Release,
    live: Live,
    ours: Collection[str],
    neighbours: Mapping[str, str],
    *,
    adopts: bool = False,
) -> str | None:
    """Why the body must not be sent now, as a sentence with the next step; None if nothing is in the way.

    `ours` are the names that this environment has on the cluster or owns by policy, without those that the
    release would add: an application of that name may be somebody else's. `neighbours` are the
    applications of this daemon's other environments on the cluster, with their environment. `adopts`: a
    declarative application of a wanted name is taken over, as it is to be when an environment begins.
    """
    wanted = release.config.applications()
    others = [app for app in _foreign(live, ours) if app.name not in wanted]
    sentence = (
        _taken_name(wanted, live, ours, neighbours, adopts=adopts)
        or _taken_prefix(wanted, others)
        or _not_carried(others)
    )
    return None if sentence is None else one_line(sentence)


def needs_rebuild(release: Release, live: Live, *, nonce: str = "") -> bool:
    """Whether a PUT of `release` with this nonce would leave options in force that it does not set.

    Before Ray 2.60 an option that a config added stays when a later config omits it (measured on 2.9.3,
    2.40, 2.59); only another code version starts from the code's own values again.
    """
    if live.restores_unset_options:
        return False
    for name, sent in applications(release, nonce).items():
        app = live.apps.get(name)
        if app is None or app.config is None or code_version(sent) != code_version(app.config):
            continue
        if _options(app.config) - _options(sent):
            return True
    return False


def _foreign(live: Live, ours: Collection[str]) -> list[App]:
    """Somebody else's applications, in the order of their names. One that is being deleted is nobody's."""
    apps = (live.apps[name] for name in sorted(live.apps) if name not in ours)
    return [app for app in apps if app.status != "DELETING"]


def _carried(live: Live, ours: Collection[str]) -> list[App]:
    """Those that a PUT would delete if it did not list them: all but those that `serve run` started.

    Ray 2.9.3 does not say which these are: there none is left out.
    """
    return [app for app in _foreign(live, ours) if app.source != "imperative"]


def _taken_name(
    wanted: Mapping[str, Any],
    live: Live,
    ours: Collection[str],
    neighbours: Mapping[str, str],
    *,
    adopts: bool,
) -> str | None:
    for name in wanted:
        if name in neighbours:
            return (
                f"Application {name} belongs to environment {neighbours[name]} on the same cluster: "
                "give one of the two another name."
            )
        app = live.apps.get(name)
        if app is None or app.status == "DELETING" or name in ours:
            continue
        if app.source != "imperative" and not adopts:
            return (
                f"Application {name} runs on the cluster already, and is not this environment's: give ours "
                "another name, or list it under `owns` in environment.yaml to replace it."
            )
        if app.source == "imperative":
            return (
                f"Application {name} was started on the cluster with `serve run`, and is not this "
                f"environment's: delete it with `serve.delete({name!r})`, give ours another name, or list "
                "it under `owns` in environment.yaml to replace it."
            )
    return None


def _taken_prefix(wanted: Mapping[str, Mapping[str, Any]], others: list[App]) -> str | None:
    """Serve refuses a prefix that two declarative applications have, and lets one steal a `serve run`'s."""
    users: dict[str, str] = {}
    for app in others:
        for prefix in {app.route_prefix, *_prefixes(app.config)} - {None}:
            users[str(prefix)] = f"{app.name}, which is not this environment's"
    for name, sent in wanted.items():
        for prefix in _prefixes(sent):
            if prefix in users:
                return (
                    f"Application {name} wants the route prefix {prefix}, and so does {users[prefix]}: "
                    "give one of them another `route_prefix`."
                )
            users[prefix] = name
    return None


def _prefixes(config: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The route prefix that a config asks for, if it does. Serve's default is `/`; null is none at all."""
    prefix = None if config is None else config.get("route_prefix", "/")
    return (prefix,) if isinstance(prefix, str) else ()


def _not_carried(others: list[App]) -> str | None:
    for app in others:
        if app.source == "imperative":
            continue
        if app.config is None:
            return (
                f"Application {app.name} is not this environment's, and Serve tells no config of it, so "
                "that it would be deleted: its owner has to deploy it again, or to delete it."
            )
        if _is_redacted(app.config):
            return (
                f"Application {app.name} is not this environment's, and Ray hides the values of its "
                "environment variables, so that they would be lost: set RAY_DASHBOARD_REDACT_RUNTIME_ENV=0 "
                "on the head node, or take out what makes our requests look like a browser's."
            )
    return None


def _is_redacted(value: object) -> bool:
    """Whether a `runtime_env` anywhere in it has a masked environment variable."""
    if isinstance(value, list):
        return any(map(_is_redacted, value))
    if not isinstance(value, Mapping):
        return False
    runtime_env = value.get("runtime_env")
    env_vars = runtime_env.get("env_vars") if isinstance(runtime_env, Mapping) else None
    if isinstance(env_vars, Mapping) and _REDACTED in env_vars.values():
        return True
    return any(map(_is_redacted, value.values()))


def _options(config: Mapping[str, Any]) -> set[tuple[str, ...]]:
    """The paths of the options that an application's config sets, but for those of its code version.

    Not its `logging_config`: Serve copies one into it that stood at the top of anybody's config.
    """
    known = {"name", "import_path", "runtime_env", "args", "logging_config", "deployments"}
    return {(key,) for key in config if key not in known} | set(_deployment_options(config))


def _deployment_options(config: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name, deployment in by_name(config.get("deployments")).items():
        for key, value in deployment.items():
            if key == "name":
                continue
            yield (name, key)
            if key in _MERGED and isinstance(value, Mapping):
                yield from ((name, key, nested) for nested in value)
