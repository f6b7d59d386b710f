"""What may not stand together in a Serve config, and which forms a text must have.

Owns the rules of Serve that no JSON schema says: those that Ray's models check in code, and those that Serve
checks only once the rollout has begun. Must not know keys and types (`serve_schema`), nor files. Invariant:
a rule speaks only of values that have the type of their option; whatever has not is said elsewhere.

Every rule is one of Ray 2.60's `serve/schema.py`, `config.py` or `_private/label_utils.py`, or was measured
there; older versions have fewer of them, and none that contradicts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard
from urllib.parse import urlsplit

from deployer.core.document import kind
from deployer.core.redact import Path, quote
from deployer.core.serve_schema import REFUSED, Fault

FAILS_LATE = "Serve would take it with a 200, and the rollout would fail"

_SCHEMES = frozenset(
    {"http", "https", "s3", "gs", "azure", "abfss", "file", "gcs", "local", "pip", "conda", "uv"}
)
"""Of the addresses in `working_dir` and `py_modules` (2.60)."""

# Kubernetes' syntax of labels, which Ray takes over.
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_SELECTOR = re.compile(rf"!?(?:in)?\({_LABEL}(?:, ?{_LABEL})*\)|!?{_LABEL}|")
_PREFIX = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LABEL_KEY = re.compile(rf"{_LABEL}|{_LABEL}(?:\.{_LABEL})*/{_LABEL}")


def faults(config: Mapping[str, Any]) -> Iterator[Fault]:
    """Every rule that a whole config (the multi-application form) breaks."""
    yield from _cluster(config)
    prefixes: dict[str, object] = {}
    for index, application in _mappings(config.get("applications")):
        path: Path = ("applications", index)
        yield from _application(application, path)
        yield from _prefix(application, path, prefixes)
        for position, deployment in _mappings(application.get("deployments")):
            yield from _deployment(deployment, (*path, "deployments", position))


def _cluster(config: Mapping[str, Any]) -> Iterator[Fault]:
    http = _mapping(config.get("http_options"))
    if bool(http.get("ssl_certfile")) != bool(http.get("ssl_keyfile")):
        why = "`ssl_certfile` and `ssl_keyfile` need each other: give both, or none"
        yield Fault(path=("http_options",), message=why, code="together")
    for section in ("http_options", "grpc_options"):
        port = _mapping(config.get(section)).get("port")
        if _is_number(port) and not 0 <= port <= 65535:  # noqa: PLR2004 - the ports of TCP
            why = "`port` is a number from 0 to 65535"
            yield Fault(path=(section, "port"), message=why, then=FAILS_LATE, code="out-of-range")
    ratio = _mapping(config.get("tracing_config")).get("sampling_ratio")
    if _is_number(ratio) and not 0 <= ratio <= 1:
        why = "`sampling_ratio` is a share from 0 to 1"
        yield Fault(path=("tracing_config", "sampling_ratio"), message=why, code="out-of-range")


def _application(application: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    for key in ("host", "port"):
        if key in application:
            why = f"`{key}` stands in an application: put it into `http_options` at the top"
            yield Fault(path=(*path, key), message=why, code="misplaced", at_key=True)
    yield from _import_path(application.get("import_path"), (*path, "import_path"))
    yield from _uris(_mapping(application.get("runtime_env")), path)
    if application.get("external_scaler_enabled") is True:
        for position, deployment in _mappings(application.get("deployments")):
            if deployment.get("autoscaling_config") or deployment.get("num_replicas") == "auto":
                key = "autoscaling_config" if deployment.get("autoscaling_config") else "num_replicas"
                yield Fault(
                    path=(*path, "deployments", position, key),
                    message="with `external_scaler_enabled` no deployment of it can scale itself",
                    code="together",
                )


def _import_path(import_path: object, path: Path) -> Iterator[Fault]:
    if not isinstance(import_path, str) or not import_path:
        return
    separator = ":" if ":" in import_path else "."
    module, _, attribute = import_path.rpartition(separator)
    if not module or not attribute or ":" in module:
        why = f"`import_path` names a module and what to take of it (`market:app`), not {quote(import_path)}"
        yield Fault(path=path, message=why, code="import-path")
    elif not all(part.isidentifier() for part in re.split("[.:]", import_path)):
        why = f"no module or name of Python can be called {quote(import_path)}"
        yield Fault(path=path, message=why, then=FAILS_LATE, code="import-path")


def _prefix(application: Mapping[str, Any], path: Path, seen: dict[str, object]) -> Iterator[Fault]:
    given = "route_prefix" in application
    # Serve's own default, which two applications without one share.
    prefix = application.get("route_prefix", "/")
    if not isinstance(prefix, str):
        return
    here: Path = (*path, "route_prefix")
    if given and (why := _wrong_prefix(prefix)):
        yield Fault(path=here, message=why, then=FAILS_LATE, code="route-prefix")
    if prefix in seen:
        default = "" if given else " (the default)"
        why = (
            f"the route prefix {quote(prefix)}{default} is that of application {quote(str(seen[prefix]))} too"
        )
        yield Fault(path=here if given else path, message=f"{why}: give it another", code="duplicate")
    seen.setdefault(prefix, application.get("name", "default"))


def _wrong_prefix(prefix: str) -> str:
    if not prefix.startswith("/"):
        return (
            f"`route_prefix` begins with a slash: write `{quote(f'/{prefix}')[1:-1]}`"
            if prefix
            else "`route_prefix` is empty: write `/`"
        )
    if len(prefix) > 1 and prefix.endswith("/"):
        return "`route_prefix` ends with a slash: take it away"
    if "{" in prefix or "}" in prefix:
        return "`route_prefix` cannot hold wildcards (`{` and `}`)"
    return ""


def _deployment(deployment: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    def wrong(key: str, message: str, code: str = "together", then: str = REFUSED) -> Fault:
        return Fault(path=(*path, key), message=message, code=code, then=then)

    replicas, autoscaling = deployment.get("num_replicas"), deployment.get("autoscaling_config")
    if _is_whole(replicas) and autoscaling is not None:
        yield wrong(
            "num_replicas", "a fixed `num_replicas` and `autoscaling_config` cannot stand together: keep one"
        )
    yield from _autoscaling(_mapping(autoscaling), (*path, "autoscaling_config"))
    queued = deployment.get("max_queued_requests")
    if _is_whole(queued) and queued < 1 and queued != -1:
        yield wrong(
            "max_queued_requests", "`max_queued_requests` is 1 or more, or -1 for no limit", "out-of-range"
        )
    per_node, bundles = deployment.get("max_replicas_per_node"), deployment.get("placement_group_bundles")
    if _is_whole(per_node) and not 1 <= per_node <= 100:  # noqa: PLR2004 - Ray's own limit
        yield wrong(
            "max_replicas_per_node",
            "`max_replicas_per_node` is a whole number from 1 to 100",
            "out-of-range",
            FAILS_LATE,
        )
    if per_node is not None and bundles is not None:
        yield wrong(
            "max_replicas_per_node", "`max_replicas_per_node` cannot stand beside `placement_group_bundles`"
        )
    yield from _bundles(deployment, path)
    yield from _gang(deployment, path)
    options = _mapping(deployment.get("ray_actor_options"))
    yield from _actor(options, (*path, "ray_actor_options"))


def _autoscaling(config: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    """Serve's schema lets these pass; its `AutoscalingConfig` refuses them in the rollout."""
    least, most = config.get("min_replicas", 1), config.get("max_replicas", 1)
    first = config.get("initial_replicas")
    if not _is_whole(least) or not _is_whole(most):
        return
    if most < least or most == 0:
        key = "max_replicas" if "max_replicas" in config else "min_replicas"
        default = (
            "" if "max_replicas" in config and "min_replicas" in config else " (1 where it is not given)"
        )
        why = f"`max_replicas` must not be less than `min_replicas`{default}"
        yield Fault(path=(*path, key), message=why, then=FAILS_LATE, code="out-of-range")
    elif _is_whole(first) and not least <= first <= most:
        why = "`initial_replicas` lies outside `min_replicas` and `max_replicas`"
        yield Fault(path=(*path, "initial_replicas"), message=why, then=FAILS_LATE, code="out-of-range")


def _bundles(deployment: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    bundles = deployment.get("placement_group_bundles")
    here: Path = (*path, "placement_group_bundles")
    if isinstance(bundles, list):
        if not bundles:
            yield Fault(
                path=here,
                message="a placement group needs at least one bundle",
                then=FAILS_LATE,
                code="out-of-range",
            )
        for index, bundle in _mappings(bundles):
            amounts = [amount for amount in bundle.values() if _is_number(amount)]
            if len(amounts) == len(bundle) and (min(amounts, default=0) < 0 or max(amounts, default=0) == 0):
                why = "a bundle asks for at least one resource, and for no negative amount"
                yield Fault(path=(*here, index), message=why, then=FAILS_LATE, code="out-of-range")
    selectors = deployment.get("placement_group_bundle_label_selector")
    if isinstance(selectors, list):
        here = (*path, "placement_group_bundle_label_selector")
        if bundles is None:
            yield Fault(
                path=here,
                message="label selectors of bundles need `placement_group_bundles`",
                code="together",
            )
        elif isinstance(bundles, list) and len(selectors) not in {1, len(bundles)}:
            why = (
                f"there are {len(selectors)} selectors for {len(bundles)} bundles: give one, or one for each"
            )
            yield Fault(path=here, message=why, code="together")
        for index, selector in _mappings(selectors):
            yield from _labels(selector, (*here, index))


def _gang(deployment: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    gang = deployment.get("gang_scheduling_config")
    if not isinstance(gang, Mapping):
        return
    for key in ("max_replicas_per_node", "placement_group_strategy"):
        if deployment.get(key) is not None:
            why = f"`{key}` cannot stand beside `gang_scheduling_config`"
            yield Fault(path=(*path, key), message=why, code="together")
    size = gang.get("gang_size")
    if not _is_whole(size) or size < 1:
        return
    counts: dict[Path, object] = {("num_replicas",): deployment.get("num_replicas")}
    autoscaling = _mapping(deployment.get("autoscaling_config"))
    for key in ("min_replicas", "max_replicas", "initial_replicas"):
        counts["autoscaling_config", key] = autoscaling.get(key)
    for where, count in counts.items():
        if _is_whole(count) and count % size:
            why = f"`{where[-1]}` is no multiple of the `gang_size` {size}"
            yield Fault(path=(*path, *where), message=why, code="together")


def _actor(options: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    resources = _mapping(options.get("resources"))
    for name, amount in resources.items():
        here = (*path, "resources", name)
        if not _is_number(amount) or amount < 0:
            why = f"the amount of resource {quote(name)} is a number of 0 or more"
            yield Fault(path=here, message=why, then=FAILS_LATE, code="out-of-range")
        elif name in {"CPU", "GPU", "memory"}:
            key = {"CPU": "num_cpus", "GPU": "num_gpus"}.get(name, name)
            why = f"{name} is no custom resource: give it as `{key}` of `ray_actor_options`"
            yield Fault(path=here, message=why, then=FAILS_LATE, code="misplaced", at_key=True)
    yield from _labels(_mapping(options.get("label_selector")), (*path, "label_selector"))
    yield from _uris(_mapping(options.get("runtime_env")), path)


def _labels(selector: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    for key, value in selector.items():
        if not _LABEL_KEY.fullmatch(key):
            why = f"no label of a node can be called {quote(key)}"
            yield Fault(path=(*path, key), message=why, code="label", at_key=True)
        elif isinstance(value, str) and not _SELECTOR.fullmatch(value):
            why = "a label is selected as `value`, `!value`, `in(a, b)` or `!in(a, b)`"
            yield Fault(path=(*path, key), message=why, code="label")


def _uris(runtime_env: Mapping[str, Any], path: Path) -> Iterator[Fault]:
    modules = runtime_env.get("py_modules", [])
    if not isinstance(modules, list):
        why = f"`py_modules` is a list of addresses, not {kind(modules)}"
        yield Fault(path=(*path, "runtime_env", "py_modules"), message=why, code="wrong-type")
    named: list[tuple[Path, object]] = [(("working_dir",), runtime_env.get("working_dir"))]
    named += [
        (("py_modules", at), one) for at, one in enumerate(modules if isinstance(modules, list) else ())
    ]
    for below, uri in named:
        here = (*path, "runtime_env", *below)
        if uri is None or (below == ("working_dir",) and uri == ""):
            continue
        if not isinstance(uri, str):
            yield Fault(
                path=here, message=f"`{below[0]}` names code by an address, as text", code="wrong-type"
            )
        elif _scheme(uri) not in _SCHEMES:
            why = (
                f"`{below[0]}` is the address of an archive, such as https://...zip, or `local:///folder` on"
                " every node: Serve takes no path of this machine"
            )
            yield Fault(path=here, message=why, code="code-address")


def _scheme(uri: str) -> str:
    try:
        return urlsplit(uri).scheme
    except ValueError:
        return ""


def _mappings(items: object) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for index, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, Mapping):
            yield index, item


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
