"""What a running cluster can be adopted as: the Serve config that it runs, and what of it cannot be had.

Owns the way back from an observation to a config. Must not know files, nor how it is written down. Invariant:
a PUT of the config that comes out changes nothing on that cluster; and whatever runs there is in it, or is
named as left out.

Serve tells the config of each application as it received it, less the keys that it does not know, and of the
top of the file only what is in effect (2.9.3 to 2.60).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployer.core.redact import is_secret, one_line, quote
from deployer.core.scrub import REDACTED, scrub
from deployer.core.serve_schema import ray_release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployer.core.live import App, Live
    from deployer.core.redact import Path
    from deployer.core.serve_schema import Schema

_WHOLE_CAPACITY = 100

# Serve's own defaults, the same from 2.9.3 to 2.60. What is not here is written down whatever it is.
_HTTP: Mapping[str, Any] = {
    "host": "0.0.0.0",  # noqa: S104 - Serve's default, not ours
    "port": 8000,
    "root_path": "",
    "request_timeout_s": None,
    "ssl_keyfile": None,
    "ssl_certfile": None,
    "ssl_ca_certs": None,
}
_GRPC: Mapping[str, Any] = {"port": 9000, "request_timeout_s": None}
_EVERY_NODE = "EveryNode"
_KEEP_ALIVE = "keep_alive_timeout_s"
_SHORT_UNTIL, _LONG_FROM = (2, 47), (2, 50)
"""Ray keeps idle connections for 5 s up to the first, and for 90 s from the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What there is to adopt. All texts are sentences for people, none holds a value.

    `body` is in the multi-application form, applications by name. `left_out` is what runs and is not in it,
    `notes` what else is to be known. `secrets` are places of the body that may hold one, such as
    `env_vars.HF_TOKEN of application 'fruit'`; `hidden` are those of which Ray told no value.
    """

    body: dict[str, Any] = field(repr=False)
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()


def adopt(live: Live, schema: Schema) -> Adoption:
    """What this cluster runs, as a config. `schema` is that of its Ray."""
    body: dict[str, Any] = dict(_start_options(live, schema))
    notes = [*_about_start(body)]
    capacity = live.target_capacity
    if capacity is not None and capacity != _WHOLE_CAPACITY:
        body["target_capacity"] = int(capacity) if capacity.is_integer() else capacity
        notes.append(
            f"The cluster runs with a `target_capacity` of {capacity:g}, so it is in the file: remove it when"
            " the cluster is to run all its replicas."
        )
    taken: list[dict[str, Any]] = []
    left_out: list[str] = []
    for name in sorted(live.apps):
        app = live.apps[name]
        why = _not_taken(app)
        if why or app.config is None:
            left_out.append(one_line(f"Application {quote(name)} {why}"))
            continue
        taken.append({"name": name, **app.config})
        if app.status != "RUNNING":
            told = f"Application {quote(name)} is {app.status} now. Its config is taken as it is."
            notes.append(one_line(told))
    body["applications"] = taken
    if any("logging_config" in application for application in taken):
        notes.append(
            "Serve copies a `logging_config` from the top of a config into its applications, and tells only"
            " the copies: these are in the file."
        )
    places = [(name, *found) for name, found in _walk_all(taken)]
    return Adoption(
        body=body,
        left_out=tuple(left_out),
        notes=tuple(notes),
        secrets=tuple(_place(name, path) for name, path, value in places if _may_be_secret(path, value)),
        hidden=tuple(
            _place(name, path) for name, path, value in places if "env_vars" in path and value == REDACTED
        ),
    )


def _not_taken(app: App) -> str:
    """Why an application is left out, as the rest of a sentence; "" if it is not."""
    if app.status == "DELETING":
        return "is being deleted, and is left out."
    if app.source == "imperative":
        return (
            "was started with `serve run`, and Serve tells no config of it: it is left out, and no deploy"
            " touches it. `deployer init --from-app MODULE:APP` writes a config for its code."
        )
    if app.config is None:
        return (
            "is left over from a change that Serve applied only half, and Serve tells no config of it: it is"
            " left out. Deploy it again, or delete it, before the first deploy."
        )
    return ""


def _start_options(live: Live, schema: Schema) -> Iterator[tuple[str, Any]]:
    """What only a start of Serve sets, where it is not Serve's default.

    A running Serve ignores it. But when the head is replaced, the next PUT starts Serve with what stands
    there, and without it the applications would come back at another address.
    """
    location = live.options.get("proxy_location", _EVERY_NODE)
    if location != _EVERY_NODE:
        yield "proxy_location", location
    http = _options(live, "http_options", "HTTPOptionsSchema", schema)
    defaults = {**_HTTP, _KEEP_ALIVE: _keep_alive(live.ray_version)}
    http = {key: value for key, value in http.items() if key not in defaults or value != defaults[key]}
    if http:
        yield "http_options", http
    grpc = _options(live, "grpc_options", "gRPCOptionsSchema", schema)
    if grpc.get("grpc_servicer_functions"):
        # Without any, no gRPC server is started.
        yield (
            "grpc_options",
            {key: value for key, value in grpc.items() if key not in _GRPC or value != _GRPC[key]},
        )


def _options(live: Live, section: str, model: str, schema: Schema) -> dict[str, Any]:
    """What Serve tells of a section, less what may not stand in a file."""
    told = live.options.get(section)
    if not isinstance(told, Mapping):
        return {}
    return {key: value for key, value in told.items() if schema.knows(model, key)}


def _keep_alive(ray_version: str) -> int | None:
    release = ray_release(ray_version)
    if release is None or _SHORT_UNTIL < release < _LONG_FROM:
        return None
    return 5 if release <= _SHORT_UNTIL else 90


def _about_start(body: Mapping[str, Any]) -> Iterator[str]:
    if body:
        names = " and ".join(f"`{name}`" for name in body)
        yield (
            f"Serve was started with another {names} than its default, so that is in the file: it is read"
            " again only when Serve starts."
        )
    if body.get("http_options", {}).get("ssl_keyfile"):
        yield "If the `ssl_keyfile` has a password, add it as `ssl_keyfile_password`: it is not read here."


def _walk_all(applications: list[dict[str, Any]]) -> Iterator[tuple[str, tuple[Path, object]]]:
    for application in applications:
        for found in _walk(application, ()):
            yield application["name"], found


def _walk(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    """Every value that is no collection, with its path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _walk(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _walk(inner, (*path, index))
    else:
        yield path, value


def _may_be_secret(path: Path, value: object) -> bool:
    if value is None:
        return False
    # Also an address with a password in it.
    return is_secret(path) or (isinstance(value, str) and scrub(value, frozenset()) != value)


def _place(name: str, path: Path) -> str:
    """Where it is, without positions in lists: `env_vars.HF_TOKEN`."""
    shown = ".".join(str(key) for key in path if isinstance(key, str))
    return one_line(f"{shown} of application {quote(name)}")
