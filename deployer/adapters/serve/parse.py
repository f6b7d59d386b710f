"""Reads what Serve's REST API answers into a `Live`.

Owns the shape of the JSON documents, for every Ray from 2.9.3 to 2.60. Must not know HTTP. Invariant:
an unknown field, an unknown status or a missing field never stops the reading; only a document that is
not Serve's at all does; and each text that a person may read went through `clean`.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from deployer.adapters.serve.answers import is_web_page
from deployer.adapters.serve.errors import BadAnswer
from deployer.core.live import App, Deployment, Live, Replica
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

UNKNOWN = "UNKNOWN"
"""The status of what does not say."""

_SECRET_OPTIONS = {"ssl_keyfile_password"}
"""Serve tells it in clear (2.60)."""

_PAIR = 2
"""Used and total, in this order."""

_NOT_FOR_SALE = re.compile(r"node:|object_store_memory$|.*_group_(?:\d+_)?[0-9a-f]{32,}$")
"""Resources that no replica waits for: each node's own name, the memory for objects, which changes all the
time, and what placement groups have reserved."""


def document(text: str) -> dict[str, Any]:
    """The JSON object in an answer. Raises BadAnswer with what it is instead."""
    if is_web_page(text):
        raise BadAnswer(cause="it answered with a web page: a login page, or another service")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        # A body cut short without a stated length arrives as a complete 200.
        raise BadAnswer(cause="its answer is not JSON, or was cut short") from error
    if not isinstance(value, dict):
        raise BadAnswer(cause="its answer is JSON, but no object")
    return value


def live(version: Mapping[str, Any], details: Mapping[str, Any], clean: Callable[[str], str]) -> Live:
    """The observation in the answers of `/api/version` and `/api/serve/applications/`.

    `clean` takes secrets and terminal codes out of a message. Raises BadAnswer.
    """
    if not isinstance(version.get("ray_version"), str):
        raise BadAnswer(cause="its answer to /api/version names no Ray version")
    applications = details.get("applications")
    if not isinstance(applications, dict):
        raise BadAnswer(cause="its answer lists no applications")
    session = version.get("session_name")
    apps = [_app(name, _object(app, "an application"), clean) for name, app in applications.items()]
    proxies = _mapping(details.get("proxies"))
    return Live(
        # Ray 2.9.3 does not name its session.
        session=plain(session) if isinstance(session, str) and session else None,
        ray_version=plain(version["ray_version"]),
        # Without Serve the same document comes with everything in it empty.
        serve_started=bool(_mapping(details.get("controller_info")) or proxies or applications),
        apps={app.name: app for app in apps},
        proxies={plain(node): _status(proxy) for node, proxy in proxies.items()},
        target_capacity=_number(details.get("target_capacity")),
        restores_unset_options=details.get("restores_unset_config_options") is True,
        options=_options(details),
    )


def free(status: Mapping[str, Any]) -> dict[str, float] | None:
    """The free resources by name in the answer of `/api/cluster_status`; None if it does not tell.

    The autoscaler's monitor writes them every 5 s, also where nothing is scaled (2.60); a cluster with the
    second autoscaler (KubeRay's) has none there.
    """
    report = status
    for key in ("data", "clusterStatus", "loadMetricsReport"):
        report = _mapping(report.get(key))
    usage = _mapping(report.get("usage"))
    # Ray writes the keys of this document in camel case, so "object_store_memory" and a custom "t4_gpu" too;
    # the totals per kind of node are in a list, where names stay as they are.
    names = {_camel(name): name for name in _node_resources(report.get("nodeTypes"))}
    found: dict[str, float] = {}
    for key, pair in usage.items():
        used, total = map(_number, pair) if isinstance(pair, list) and len(pair) == _PAIR else (None, None)
        name = names.get(key, key)
        if used is not None and total is not None and not _NOT_FOR_SALE.match(name):
            found[plain(name)] = max(total - used, 0.0)
    return found or None


def _node_resources(kinds: object) -> Iterator[str]:
    for kind in _list(kinds):
        yield from _mapping(next(iter(_list(kind)), None))


def _camel(name: str) -> str:
    """As Ray's dashboard does it: `object_store_memory` is `objectStoreMemory`."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _options(details: Mapping[str, Any]) -> dict[str, Any]:
    """What only a start of Serve sets. A Serve that does not run tells none of it."""
    found: dict[str, Any] = {}
    for key in ("http_options", "grpc_options"):
        if isinstance(details.get(key), dict):
            found[key] = {name: value for name, value in details[key].items() if name not in _SECRET_OPTIONS}
    if location := _word(details.get("proxy_location")):
        found["proxy_location"] = location
    return found


def _app(name: str, app: Mapping[str, Any], clean: Callable[[str], str]) -> App:
    config = app.get("deployed_app_config")
    deployments = _mapping(app.get("deployments"))
    prefix = app.get("route_prefix")
    return App(
        name=plain(name),
        status=_status(app),
        message=_message(app, clean),
        route_prefix=plain(prefix) if isinstance(prefix, str) else None,
        last_deployed_time_s=_number(app.get("last_deployed_time_s")) or 0.0,
        source=_word(app.get("source")),
        config=config if isinstance(config, dict) else None,
        deployments=tuple(
            _deployment(name, _object(deployment, "a deployment"), clean)
            for name, deployment in deployments.items()
        ),
    )


def _deployment(name: str, deployment: Mapping[str, Any], clean: Callable[[str], str]) -> Deployment:
    target = deployment.get("target_num_replicas")
    effective = deployment.get("deployment_config")
    return Deployment(
        name=plain(name),
        status=_status(deployment),
        status_trigger=_word(deployment.get("status_trigger")),
        message=_message(deployment, clean),
        target_replicas=target if isinstance(target, int) else None,
        replicas=tuple(_replica(_object(one, "a replica")) for one in _list(deployment.get("replicas"))),
        dead=tuple(
            _replica(one) for one in _list(deployment.get("recent_dead_replicas")) if isinstance(one, dict)
        ),
        effective=effective if isinstance(effective, dict) else None,
    )


def _replica(replica: Mapping[str, Any]) -> Replica:
    # A STARTING replica has no `node_id` key at all until it is placed (2.60).
    return Replica(
        replica_id=_word(replica.get("replica_id")),
        state=_word(replica.get("state")) or UNKNOWN,
        node_id=_word(replica.get("node_id")) or None,
        # Serve writes "/serve/replica_...", which is below the session's log folder and not below the root.
        log_path=_word(replica.get("log_file_path")).lstrip("/"),
    )


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadAnswer(cause=f"its answer has {what} that is no object")
    return value


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _status(value: object) -> str:
    return _word(_mapping(value).get("status")) or UNKNOWN


def _message(value: Mapping[str, Any], clean: Callable[[str], str]) -> str:
    message = value.get("message")
    return clean(message) if isinstance(message, str) and message else ""


def _word(value: object) -> str:
    return plain(value) if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """A finite number: Python's JSON also reads NaN and Infinity, which compare with nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
