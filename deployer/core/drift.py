"""Does the cluster still run the current release?

Owns the comparison of a cluster at rest with the release that was brought to it, and its classes. Must not
know what git wants, nor what follows. Invariant: no false alarm. What Serve itself does to a config, what
autoscaling does to counts, and what others do to their own applications is no drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deployer.core.body import applications, foreign
from deployer.core.compare import first_difference
from deployer.core.events import DriftClass
from deployer.core.redact import is_secret, one_line, quote
from deployer.core.rollouts import failed_on_good

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from deployer.core.live import App, Live
    from deployer.core.record import Record
    from deployer.core.types import Release

_SICK = frozenset({"UNHEALTHY", "DEPLOY_FAILED"})
_APP_STATUSES = _SICK | {"NOT_STARTED", "DEPLOYING", "RUNNING"}
"""Of an application that is not DELETING, in every Ray from 2.9.3 to 2.60."""
_DEPLOYMENT_STATUSES = _SICK | {"UPDATING", "HEALTHY", "UPSCALING", "DOWNSCALING"}

_NAMES = 3
"""So many names stand in a sentence; the others are counted."""

_WHOLE_CAPACITY = 100
"""What Serve takes where `target_capacity` is not set."""

_START_OPTIONS = ("grpc_options", "http_options")
"""The mappings of options that only a start of Serve sets; `proxy_location` is a plain one."""

_ABSENT = object()

Found = tuple[DriftClass, str]
"""A class, and a sentence."""


def find(live: Live, record: Record) -> Found | None:
    """How the cluster differs from `record.good`, and a sentence that says where; None if it does not.

    The classes are tried in the order of what they ask for: where an application is missing, it is of no
    use to say that another one is sick.
    """
    if record.good is None:
        return None
    # What failed was sent all the same.
    failed = failed_on_good(record)
    sent = applications(record.good, record.good_nonce if failed is None else failed.nonce)
    found = (
        _lost(live, record, sent)
        or _missing(live, sent)
        or _edited(live, record, sent)
        or _unknown(live, sent)
        or _sick(live, sent)
    )
    return None if found is None else (found[0], one_line(found[1]))


def restart_needed(live: Live, release: Release) -> tuple[str, ...]:
    """The options that the release sets and that only a restart of Serve would bring into effect.

    `http_options.port is 8000, the file says 8100`. Serve takes such a change with a 200 and ignores it
    (measured, 2.60). Where Serve does not tell what is in effect, nothing is said.
    """
    body = release.config.body()
    options: dict[tuple[str, ...], Any] = {}
    if "proxy_location" in body:
        options["proxy_location",] = body["proxy_location"]
    for section in _START_OPTIONS:
        options |= {(section, key): value for key, value in _mapping(body.get(section)).items()}
    return tuple(_restarts(options, live.options))


def _restarts(options: Mapping[tuple[str, ...], Any], effective: Mapping[str, Any]) -> Iterator[str]:
    for path, wanted in sorted(options.items()):
        holder = effective if len(path) == 1 else _mapping(effective.get(path[0]))
        is_there = holder.get(path[-1], _ABSENT)
        if is_there is _ABSENT or first_difference({path[-1]: wanted}, {path[-1]: is_there}) is None:
            continue
        name = ".".join(path)
        if is_secret(path):
            yield one_line(f"{name} is not what the file says")
        else:
            yield one_line(f"{name} is {_shown(is_there)}, the file says {_shown(wanted)}")


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _shown(value: object) -> str:
    return "not set" if value is None else str(value) or "empty"


def _lost(live: Live, record: Record, sent: Mapping[str, Any]) -> Found | None:
    if not sent:
        return None
    if live.session is not None and record.session is not None and live.session != record.session:
        return DriftClass.LOST, (
            f"The Ray head is another one (session {live.session}) than the one that the release was "
            f"brought to ({record.session})."
        )
    if not live.serve_started:
        return DriftClass.LOST, "Serve does not run on the cluster any more."
    if not any(_is_there(live, name) for name in sent):
        return DriftClass.LOST, f"Nothing of the release is on the cluster any more: {_names(sent)}."
    return None


def _missing(live: Live, sent: Mapping[str, Any]) -> Found | None:
    missing = [name for name in sent if not _is_there(live, name)]
    if not missing:
        return None
    verb = "is" if len(missing) == 1 else "are"
    return DriftClass.MISSING, f"{_names(missing)} {verb} not on the cluster any more."


def _edited(live: Live, record: Record, sent: Mapping[str, Mapping[str, Any]]) -> Found | None:
    for name, application in sent.items():
        app = live.apps[name]
        if app.source == "imperative":
            return DriftClass.EDITED, f"{name} was replaced by a `serve run`."
        if app.config is None:
            continue
        where = first_difference(application, app.config)
        if where is not None:
            return DriftClass.EDITED, f"{name} has another config than the release, first at {where}."
    for name in sorted({*record.apps, *record.good_policy.owns} - sent.keys()):
        if _is_there(live, name) and live.apps[name].source != "imperative":
            return DriftClass.EDITED, f"{name} is on the cluster, and the release does not list it."
    return _capacity_edited(live, record)


def _capacity_edited(live: Live, record: Record) -> Found | None:
    """The whole cluster has one capacity: where somebody else deploys too, it may be theirs."""
    others = foreign(live, {*record.apps, *record.good_policy.owns})
    if any(live.apps[name].source != "imperative" for name in others):
        return None
    wanted = record.good.config.body().get("target_capacity") if record.good else None
    difference = first_difference(
        {"target_capacity": _WHOLE_CAPACITY if wanted is None else wanted},
        {"target_capacity": _WHOLE_CAPACITY if live.target_capacity is None else live.target_capacity},
    )
    if difference is None:
        return None
    return DriftClass.EDITED, "The cluster's target_capacity is not that of the release."


def _unknown(live: Live, sent: Iterable[str]) -> Found | None:
    for name in sent:
        app = live.apps[name]
        if app.config is None:
            return DriftClass.UNKNOWN, f"{name} is on the cluster, but Serve tells no config of it."
        if app.status not in _APP_STATUSES:
            return DriftClass.UNKNOWN, f"{name} has a status that is not known: {quote(app.status)}."
        for deployment in app.deployments:
            if deployment.status not in _DEPLOYMENT_STATUSES:
                status = quote(deployment.status)
                return (
                    DriftClass.UNKNOWN,
                    f"{name}/{deployment.name} has a status that is not known: {status}.",
                )
    return None


def _sick(live: Live, sent: Iterable[str]) -> Found | None:
    for name in sent:
        app = live.apps[name]
        for deployment in app.deployments:
            if deployment.status in _SICK:
                return DriftClass.SICK, f"{name}/{deployment.name} is {deployment.status}."
        if app.status in _SICK:
            return DriftClass.SICK, f"{name} is {app.status}."
    return None


def _is_there(live: Live, name: str) -> bool:
    app: App | None = live.apps.get(name)
    return app is not None and app.status != "DELETING"


def _names(names: Iterable[str]) -> str:
    listed = sorted(names)
    more = f" and {len(listed) - _NAMES} more" if len(listed) > _NAMES else ""
    return ", ".join(listed[:_NAMES]) + more
