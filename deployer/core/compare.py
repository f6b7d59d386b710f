"""Is what the cluster reports what we sent?

Owns what Serve does to an application's config between a PUT and the `deployed_app_config` that it reports.
Must not know who sent what, nor why it matters. Invariant: a config that Serve took from us always matches;
one that differs in a value, or in a key that every Serve knows, never does.

What Serve does (measured on 2.60, less of it on 2.9.3): it drops keys that it does not know and keeps the
others only where they were set, in an order of its own; it converts plain values to its fields' types (10 to
10.0, "5" to 5, true to 1, log level 10 to "DEBUG"); it sorts out repeated log attributes; and it copies a
top-level `logging_config` into applications without one.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from deployer.core.redact import Path, one_line

# Serve hands these to Ray or to the user's code as they are: nothing inside is converted or dropped.
_OPAQUE = frozenset({"args", "user_config", "runtime_env"})
# Every Serve from 2.9.3 on knows these, so none of them is dropped as unknown. Where one is missing in the
# report, somebody else has put a config without it.
_ALWAYS_KNOWN = frozenset(
    {
        "name", "route_prefix", "import_path", "args", "runtime_env", "deployments",
        "num_replicas", "user_config", "autoscaling_config", "ray_actor_options",
        "health_check_period_s", "health_check_timeout_s",
        "graceful_shutdown_wait_loop_s", "graceful_shutdown_timeout_s",
        "num_cpus", "num_gpus", "resources",
    }
)  # fmt: skip
# What pydantic, with which Serve reads, takes for a boolean.
_TRUE = frozenset({"1", "true", "t", "yes", "y", "on"})
_FALSE = frozenset({"0", "false", "f", "no", "n", "off"})
_ABSENT = object()


def matches(sent: Mapping[str, Any], reported: Mapping[str, Any] | None, *, strict: bool) -> bool:
    """Whether `reported` (Serve's `deployed_app_config`) is what Serve makes of the application `sent`.

    `strict` also demands that no key of `sent` is missing, known to Serve or not, and that the deployments
    have their order. That is the proof, after a crash, that a PUT of ours arrived; where it fails although
    the PUT did arrive (a key that Serve dropped), the same PUT is sent again, which changes nothing.
    """
    return reported is not None and first_difference(sent, reported, strict=strict) is None


def first_difference(
    sent: Mapping[str, Any], reported: Mapping[str, Any], *, strict: bool = False
) -> str | None:
    """Where the two differ first, as `deployments.D.num_replicas`; None if they match. Never a value."""
    path = _mapping(sent, reported, (), strict=strict)
    return None if path is None else one_line(".".join(str(key) for key in path))


def code_version(application: Mapping[str, Any]) -> str:
    """What differs where Serve takes an application for other code, and replaces all its replicas.

    Serve 2.60 also counts autoscaling policies, request routers and deployment actors; 2.40 does not.
    """
    runtime_env, args = application.get("runtime_env"), application.get("args")
    return _exactly([application.get("import_path"), runtime_env or {}, args or {}])


def by_name(deployments: object) -> dict[str, Mapping[str, Any]]:
    """The deployments in a config, by name. Of two with one name Serve takes the last."""
    return {
        deployment["name"]: deployment
        for deployment in (deployments if isinstance(deployments, list) else ())
        if isinstance(deployment, Mapping) and isinstance(deployment.get("name"), str)
    }


def _mapping(
    sent: Mapping[str, Any], reported: Mapping[str, Any], path: Path, *, strict: bool
) -> Path | None:
    for key in sorted({*sent, *reported}):
        here = (*path, key)
        ours, theirs = sent.get(key, _ABSENT), reported.get(key, _ABSENT)
        if here == ("logging_config",) and ours in (_ABSENT, None):
            continue
        if theirs is _ABSENT:
            if strict or (key in _ALWAYS_KNOWN and ours is not None):
                return here
        elif ours is _ABSENT:
            return here
        elif (difference := _value(ours, theirs, here, strict=strict)) is not None:
            return difference
    return None


def _value(sent: object, reported: object, path: Path, *, strict: bool) -> Path | None:
    """The path of the first difference at or below `path`."""
    if path[-1] in _OPAQUE:
        return None if _exactly(sent) == _exactly(reported) else path
    if isinstance(sent, Mapping) and isinstance(reported, Mapping):
        return _mapping(sent, reported, path, strict=strict)
    if isinstance(sent, list) and isinstance(reported, list):
        if path == ("deployments",):
            return _deployments(sent, reported, strict=strict)
        if path[-1] == "additional_log_standard_attrs":
            return None if set(map(str, sent)) == set(map(str, reported)) else path
        return _list(sent, reported, path, strict=strict)
    return None if _same(sent, reported, path) else path


def _deployments(sent: list[Any], reported: list[Any], *, strict: bool) -> Path | None:
    path: Path = ("deployments",)
    ours, theirs = by_name(sent), by_name(reported)
    if ours.keys() != theirs.keys() or len(theirs) != len(reported) or (strict and [*ours] != [*theirs]):
        return path
    for name in ours:
        difference = _mapping(ours[name], theirs[name], (*path, name), strict=strict)
        if difference is not None:
            return difference
    return None


def _list(sent: list[Any], reported: list[Any], path: Path, *, strict: bool) -> Path | None:
    if len(sent) != len(reported):
        return path
    for index, (ours, theirs) in enumerate(zip(sent, reported, strict=True)):
        difference = _value(ours, theirs, (*path, index), strict=strict)
        if difference is not None:
            return difference
    return None


def _same(sent: object, reported: object, path: Path) -> bool:
    """Whether Serve's schema makes `reported` of the plain value `sent`."""
    match reported:
        case bool() if isinstance(sent, str):
            return sent.lower() in (_TRUE if reported else _FALSE)
        case bool():
            return sent == reported
        case int() | float() if isinstance(sent, str | int):
            return _number(sent, type(reported)) == reported
        case str() if path[-1] == "log_level" and isinstance(sent, int):
            return logging.getLevelName(sent) == reported
        case _:
            return sent == reported


def _number(value: str | int, kind: type[int | float]) -> float | None:
    """The value in a field of this type: as `float` a large integer loses digits, as `int` "5.0" is 5."""
    for read in (kind, float):
        try:
            return read(value)
        except (ValueError, OverflowError):
            continue
    return None


def _exactly(value: object) -> str:
    """A text that differs for 1, 1.0 and true, which Python calls equal."""
    return json.dumps(value, sort_keys=True)
