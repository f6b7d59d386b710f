"""Reads what Serve's REST API answers into a `Live`.

Owns the shape of the two JSON documents, for every Ray from 2.9.3 to 2.60. Must not know HTTP. Invariant:
an unknown field, an unknown status or a missing field never stops the reading; only a document that is
not Serve's at all does; and each text that a person may read went through `clean`.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from deployer.adapters.serve.answers import is_web_page
from deployer.adapters.serve.errors import BadAnswer
from deployer.core.live import App, Deployment, Live, Replica
from deployer.core.scrub import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

UNKNOWN = "UNKNOWN"
"""The status of what does not say."""


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
    )


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
    replicas = deployment.get("replicas")
    return Deployment(
        name=plain(name),
        status=_status(deployment),
        status_trigger=_word(deployment.get("status_trigger")),
        message=_message(deployment, clean),
        target_replicas=target if isinstance(target, int) else None,
        replicas=tuple(
            _replica(_object(replica, "a replica"))
            for replica in (replicas if isinstance(replicas, list) else [])
        ),
    )


def _replica(replica: Mapping[str, Any]) -> Replica:
    # A STARTING replica has no `node_id` key at all until it is placed (2.60).
    return Replica(
        replica_id=_word(replica.get("replica_id")),
        state=_word(replica.get("state")) or UNKNOWN,
        node_id=_word(replica.get("node_id")) or None,
    )


def _object(value: object, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadAnswer(cause=f"its answer has {what} that is no object")
    return value


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


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
