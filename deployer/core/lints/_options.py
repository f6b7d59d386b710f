"""Lints about the options of Serve: what they do to an update, to a rollback and to requests.

Owns what is a bad idea in a config that Serve takes as it is meant. Must not know the file's syntax, nor
what is an error. Invariant: a lint speaks only of what stands in the file. What the code of an application
sets is not known here, so a deployment that the file does not list is never warned about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deployer.core.pinned import addresses, may_change, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.errors import Problem
    from deployer.core.lints._subject import Subject
    from deployer.core.redact import Path

    Warnings = Iterator[Problem]

_CODE = ("working_dir", "py_modules", "pip", "uv", "conda")
"""The fields of a `runtime_env` that bring code, and not only settings."""
_AT_START = ("proxy_location", "http_options", "grpc_options", "controller_options", "tracing_config")
"""The sections that a running Serve does not take over (`put_all_applications` in Ray 2.60)."""
_MOVED = ("host", "port")
"""Options of `http_options` that the single-application form has at the top."""
_WHOLE_CAPACITY = 100
_AUTO_LIMIT = 100
"""`max_replicas` of `num_replicas: auto` (`AutoscalingConfig.default()`, the same from 2.24 to 2.60)."""


def find(subject: Subject) -> Warnings:
    """Every warning about an option."""
    yield from _cluster(subject)
    for path, application in subject.applications:
        for below, uri in addresses(application):
            if may_change(uri):
                key = next(key for key in reversed(below) if isinstance(key, str))
                yield subject.warning(
                    "mutable-code-uri",
                    (*path, *below),
                    f"`{key}` names code that can change, {shown(uri)}: name a commit, a version or a digest",
                    "A rollback of the config would not bring the old code back",
                )
        yield from _runtime_env(subject, application, path)
        for here, deployment in _each(application, path):
            yield from _runtime_env(
                subject, _mapping(deployment.get("ray_actor_options")), (*here, "ray_actor_options")
            )
            yield from _replicas(subject, deployment, here)
            yield from _autoscaling(subject, deployment, here)
            if deployment.get("health_check_period_s") is None:
                yield subject.warning(
                    "no-health-check-period",
                    here,
                    "`health_check_period_s` is not set: choose how soon a sick replica must be found",
                    "At Serve's default of 10 s, and three strikes, it serves for up to 30 s more",
                )


def _cluster(subject: Subject) -> Warnings:
    body = subject.body
    for section in _AT_START:
        # What asks for `request_timeout_s` must not complain of it.
        value = body.get(section)
        options = value.keys() - {"request_timeout_s"} if isinstance(value, Mapping) else value
        if options:
            yield _at_start(subject, section)
    http = _mapping(body.get("http_options"))
    if http.get("request_timeout_s") is None and body.get("proxy_location") != "Disabled":
        yield subject.warning(
            "no-request-timeout",
            ("http_options",),
            "`http_options` sets no `request_timeout_s`: set the longest that a client may wait",
            "A request to a replica that hangs waits for as long as its client does",
            at_key=True,
        )
    capacity = body.get("target_capacity")
    if isinstance(capacity, int | float) and 0 < capacity < _WHOLE_CAPACITY:
        yield subject.warning(
            "target-capacity-set",
            ("target_capacity",),
            f"`target_capacity` is {capacity:g}: remove it, unless this cluster is being filled or emptied",
            "Every deployment on the cluster runs only that share of its replicas, and at least one",
        )


def _at_start(subject: Subject, section: str) -> Problem:
    written = [(section,), *((key,) for key in _MOVED)]
    path = next(path for path in written if path in subject.document.marks)
    if section == "tracing_config":
        message = "`tracing_config` reaches only what starts after it: restart the replicas after a change"
        then = "Replicas that run already keep the tracing that they started with"
    else:
        message = f"`{path[0]}` has an effect only when Serve starts: restart Serve after a change"
        then = "A running Serve answers 200 and keeps what it started with"
    return subject.warning("ignored-by-running-serve", path, message, then, at_key=True)


def _runtime_env(subject: Subject, holder: Mapping[str, Any], path: Path) -> Warnings:
    runtime_env = _mapping(holder.get("runtime_env"))
    # In the order of the file: the first is where the warning stands.
    given = [key for key, value in runtime_env.items() if key in _CODE and value]
    if subject.protected and given:
        names = " and ".join(f"`{key}`" for key in given)
        verb = "brings" if len(given) == 1 else "bring"
        yield subject.warning(
            "runtime-env-in-protected",
            (*path, "runtime_env", given[0]),
            f"{names} {verb} code into a protected environment at run time: put it into the image instead",
            "Each node that a replica starts on fetches it again, and no replica starts while that fails",
            at_key=True,
        )


def _replicas(subject: Subject, deployment: Mapping[str, Any], path: Path) -> Warnings:
    surge = deployment.get("max_surge_percent", 0)
    fewest = _fewest(deployment)
    if (isinstance(surge, int) and surge > 0) or fewest is None:
        return
    below, what = fewest
    yield subject.warning(
        "one-replica-without-surge",
        (*path, *below),
        f"{what}: have 2, or set `max_surge_percent: 100` (Ray 2.60 and newer)",
        "An update stops the old replica before the new one serves, and a failed one leaves none",
        at_key=below == ("autoscaling_config",),
    )


def _fewest(deployment: Mapping[str, Any]) -> tuple[Path, str] | None:
    """Where and how the file leaves a deployment with one replica; None if it does not."""
    count, autoscaling = deployment.get("num_replicas"), _mapping(deployment.get("autoscaling_config"))
    if autoscaling:
        least = autoscaling.get("min_replicas")
        if least is None:
            return ("autoscaling_config",), "`min_replicas` is not set, and Serve's default is one replica"
        if isinstance(least, int) and least <= 1:
            return ("autoscaling_config", "min_replicas"), f"`min_replicas` is {least:d}, without surge"
        return None
    if count is None:
        return (), "`num_replicas` is not set, and Serve's default is one replica, without surge"
    if count == "auto":
        return ("num_replicas",), "`num_replicas: auto` can go down to one replica, without surge"
    if isinstance(count, int) and count <= 1:
        return ("num_replicas",), "there is one replica, without surge"
    return None


def _autoscaling(subject: Subject, deployment: Mapping[str, Any], path: Path) -> Warnings:
    """What came of `num_replicas: auto` and `autoscaling_config`, tried with Serve's own classes (2.60)."""
    autoscaling = _mapping(deployment.get("autoscaling_config"))
    if not autoscaling:
        return
    is_auto = deployment.get("num_replicas") == "auto"
    if is_auto and "max_replicas" in autoscaling:
        yield subject.warning(
            "num-replicas-with-autoscaling",
            (*path, "num_replicas"),
            "`num_replicas: auto` changes nothing beside this `autoscaling_config`: remove it",
            "Serve takes each limit from `autoscaling_config`, and the same defaults with and without `auto`",
        )
    elif is_auto:
        yield subject.warning(
            "num-replicas-with-autoscaling",
            (*path, "num_replicas"),
            f"`num_replicas: auto` lets this grow to {_AUTO_LIMIT} replicas: set `max_replicas` in"
            " `autoscaling_config`",
            "Without `auto` the limit that is not set would be 1",
        )
    elif "max_replicas" not in autoscaling:
        yield subject.warning(
            "autoscaling-without-max",
            (*path, "autoscaling_config"),
            "`autoscaling_config` sets no `max_replicas`, and Serve's default is 1: set it",
            "As it is, the deployment never has more than one replica",
            at_key=True,
        )


def _each(application: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for index, deployment in enumerate(application.get("deployments") or ()):
        yield (*path, "deployments", index), deployment


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
