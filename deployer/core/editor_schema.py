"""JSON Schemas of the files that people write, for their editors.

Owns the schemas of `serve_config.yaml` and `environment.yaml` in the form that editors understand (draft
2020-12). Must not know where a schema is kept, nor check anything itself: `deployer validate` does, and more
of it. Invariant: what deployer takes, no schema here complains of; and none lets an unknown key pass that
deployer refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployer.core import policy
from deployer.core.durations import render
from deployer.core.fields import EACH
from deployer.core.types import Check, OnDrift, Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployer.core.redact import Path
    from deployer.core.serve_schema import Node, Schema

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
"""The name of the language that the schemas are written in."""

_UNITS = ("d", "h", "m", "s", "ms")
_AMOUNTS = "".join(f"(?:[0-9]{{1,12}}{unit})?" for unit in _UNITS)
_IDENTIFIER = r"[^\s:.]+"
_MODULE = rf"{_IDENTIFIER}(?:\.{_IDENTIFIER})*"

# What deployer refuses although Ray's own models take it: see `serve_config` and `serve_rules`, which also
# say why. Only what a schema can say of one value, and every Ray has.
_STRICTER: Mapping[str, Json] = {
    "ServeApplicationSchema": {
        "name": {"type": "string", "minLength": 1, "pattern": "^[^/]*$"},
        "import_path": {
            "type": "string",
            "pattern": rf"^{_MODULE}(?::{_MODULE}|\.{_IDENTIFIER})$",
            "description": "The application, or the function that builds it: `package.module:name`.",
        },
        "route_prefix": {"type": ["string", "null"], "pattern": "^/$|^/[^{}]*[^/{}]$"},
    },
    "DeploymentSchema": {"name": {"type": "string", "minLength": 1}},
    "RuntimeEnv": {
        "env_vars": {"type": ["object", "null"], "additionalProperties": {"type": "string"}},
    },
}
_REQUIRED = {"ServeApplicationSchema": ["name", "import_path"]}
_MISPLACED = {"ServeApplicationSchema": ("host", "port")}
"""Keys of a model that belong elsewhere, and stop the whole config."""

_OPEN = frozenset({"RuntimeEnv"})
"""A plug-in of the cluster may have a key of its own there."""


def serve(schema: Schema) -> Json:
    """The schema of a `serve_config.yaml` for the Ray of `schema`, in the form with `applications`.

    What may not stand together is not in it. For a Ray newer than all that is known, unknown keys pass.
    """
    defs = {name: _model(name, node, schema) for name, node in schema.root["$defs"].items()}
    root = _closed({**_plain(schema.root), "properties": _properties(schema.root, schema)}, schema)
    capacity = root["properties"]["target_capacity"]
    # 0 stands for no replica at all; of every other share Serve runs one at least.
    root["properties"]["target_capacity"] = {
        "anyOf": [
            {**choice, "minimum": 0, "exclusiveMinimum": 0} if choice.get("type") == "number" else choice
            for choice in capacity["anyOf"]
        ]
    }
    return {
        "$schema": DIALECT,
        "title": f"serve_config.yaml of an environment that runs Ray {schema.ray_version}",
        **root,
        "$defs": defs,
    }


def environment() -> Json:
    """The schema of an `environment.yaml`: every key of `policy.KEYS`, and nothing else."""
    return {
        "$schema": DIALECT,
        "title": "environment.yaml: how a rollout is judged",
        **_group(()),
    }


def duration(*, zero: bool = False) -> Json:
    """A length of time as text with its unit; nothing at all (`0s`) only with `zero`."""
    more_than_nothing = "(?=.*[0-9])" if zero else "(?=.*[1-9])"
    return {"type": "string", "pattern": f"^{more_than_nothing}{_AMOUNTS}$"}


def _model(name: str, node: Node, schema: Schema) -> Json:
    if "properties" not in node:
        return dict(node)
    misplaced = _MISPLACED.get(name, ())
    properties = {key: each for key, each in _properties(node, schema).items() if key not in misplaced}
    properties |= {key: each for key, each in _STRICTER.get(name, {}).items() if key in properties}
    if name == "DeploymentSchema":
        properties["num_replicas"] = _without_null(properties["num_replicas"])
    model = {**_plain(node), "properties": properties}
    if name in _REQUIRED:
        model["required"] = _REQUIRED[name]
    return model if name in _OPEN else _closed(model, schema)


def _closed(model: Json, schema: Schema) -> Json:
    return {**model, "additionalProperties": not schema.complete}


def _plain(node: Node) -> Json:
    return {key: value for key, value in node.items() if key not in {"properties", "$defs"}}


def _properties(node: Node, schema: Schema) -> Json:
    return {key: _value(each, schema) for key, each in node["properties"].items()}


def _value(node: Node, schema: Schema) -> Json:
    """One value, with the nameless mappings in it closed as models are."""
    if "anyOf" in node:
        choices = [_value(choice, schema) for choice in node["anyOf"]]
        if any("$ref" in choice for choice in choices):
            # The mapping that takes anything is there for Python: deployer goes by the one with names.
            choices = [choice for choice in choices if choice.get("additionalProperties") is not True]
        return {"anyOf": choices}
    if "items" in node:
        return {**node, "items": _value(node["items"], schema)}
    if "properties" in node:
        return _closed({**_plain(node), "properties": _properties(node, schema)}, schema)
    return dict(node)


def _without_null(node: Json) -> Json:
    """An empty value stops Serve's whole control loop (2.60)."""
    return {"anyOf": [choice for choice in node["anyOf"] if choice.get("type") != "null"]}


def _group(path: Path) -> Json:
    """One mapping of `environment.yaml`. An empty one counts as not there, but for an item of a list."""
    is_item = path[-1:] == (EACH,)
    found: Json = {
        "type": "object" if is_item else ["object", "null"],
        "properties": {key: _key((*path, key)) for key in policy.KEYS[path].obeyed},
        "additionalProperties": False,
    }
    if is_item:
        found["required"] = ["app", "path"]
    return found


def _key(path: Path) -> Json:
    if path in policy.KEYS:
        return {"description": _GROUPS[path], **_group(path)}
    if (*path, EACH) in policy.KEYS:
        what = {"type": ["array", "null"], "maxItems": policy.MAX_CHECKS, "items": _group((*path, EACH))}
        return {"description": _GROUPS[path], **what}
    return _LEAVES[path]


def _leaf(description: str, schema: Json, default: object = None) -> Json:
    return {"description": description, **schema, **({} if default is None else {"default": default})}


def _count(least: int = 0, most: int | None = None) -> Json:
    return {"type": "integer", "minimum": least, **({} if most is None else {"maximum": most})}


_GROUPS: Mapping[Path, str] = {
    ("health",): "When a release is healthy.",
    ("health", "deadlines"): "How long each phase of a rollout may take.",
    ("checks",): "HTTP requests that must be answered as expected once the release is healthy.",
    ("checks", EACH, "expect"): "What the answer must be. All of it must hold of one answer.",
    ("rollback",): "What follows a failure.",
    ("allow",): "What is held back unless it is said in that same commit.",
}

_DEFAULT, _ONE, _SWITCH = Policy(), Check(app="", path="/"), {"type": "boolean"}
_CHECK: Path = ("checks", EACH)
_LEAVES: Mapping[Path, Json] = {
    ("ray_version",): _leaf(
        'The Ray whose schema serve_config.yaml is checked against, quoted: "2.60". Default: the cluster\'s.',
        {"type": "string", "pattern": r"^[0-9]{1,4}\.[0-9]{1,4}(?:\.[0-9]{1,4})?(?:[.+a-z-].*)?$"},
    ),
    ("soak",): _leaf(
        "How long the release must stay healthy after its checks before it is good.",
        duration(zero=True),
        render(_DEFAULT.soak),
    ),
    ("drift",): _leaf(
        "What follows when somebody changes the cluster by hand: put it right, say so, or nothing.",
        {"enum": [str(one) for one in OnDrift]},
        str(_DEFAULT.drift),
    ),
    ("heals_per_hour",): _leaf(
        "How often within an hour the cluster is put right.", _count(), _DEFAULT.heals_per_hour
    ),
    ("owns",): _leaf(
        "The application names of this environment. Default: those in serve_config.yaml.",
        {
            "type": ["array", "null"],
            "items": {"type": "string", "minLength": 1},
            "minItems": 1,
            "uniqueItems": True,
        },
    ),
    ("health", "stability_window"): _leaf(
        "How long everything must be RUNNING and HEALTHY without a break."
        " Default: the larger of 30s and three times the longest health check period.",
        duration(zero=True),
    ),
    ("health", "max_flaps"): _leaf(
        "How many spells of UNHEALTHY are forgiven before the release is good.",
        _count(),
        _DEFAULT.max_flaps,
    ),
    ("health", "fail_fast_after"): _leaf(
        "How many failed starts of the new version end the rollout; 0 waits for Serve's verdict."
        " Default: 1 where a good release serves, else 2.",
        _count(),
    ),
    ("health", "deadlines", "build"): _leaf(
        "Serve imports the code and sets up runtime environments.",
        duration(),
        render(_DEFAULT.deadlines.build),
    ),
    ("health", "deadlines", "schedule"): _leaf(
        "Replicas find room.", duration(), render(_DEFAULT.deadlines.schedule)
    ),
    ("health", "deadlines", "start"): _leaf(
        "Constructors run and first health checks pass.", duration(), render(_DEFAULT.deadlines.start)
    ),
    (*_CHECK, "app"): _leaf(
        "The application of serve_config.yaml that is asked.", {"type": "string", "minLength": 1}
    ),
    (*_CHECK, "path"): _leaf(
        "The whole path, with the application's route_prefix and a query if need be.",
        {"type": "string", "pattern": '^/(?!/)[!"$-~]*$'},
    ),
    (*_CHECK, "method"): _leaf("Default: GET, or POST if there is a body.", {"enum": [*policy.METHODS]}),
    (*_CHECK, "body"): _leaf("Sent as JSON.", {}),
    (*_CHECK, "timeout"): _leaf(
        f"How long one attempt may take, up to {render(policy.MAX_TIMEOUT_SECONDS)}.",
        duration(),
        render(_ONE.timeout),
    ),
    (*_CHECK, "retries"): _leaf(
        "Attempts after the first one.", _count(most=policy.MAX_RETRIES), _ONE.retries
    ),
    (*_CHECK, "expect", "status"): _leaf("The status code.", _count(200, 599), _ONE.status),
    (*_CHECK, "expect", "json"): _leaf(
        "Keys and values that the answer, as JSON, must have.", {"type": "object"}
    ),
    (*_CHECK, "expect", "latency"): _leaf("The answer is complete within this time.", duration()),
    ("rollback", "on"): _leaf("Whether the last good release is put back.", _SWITCH, _DEFAULT.rollback),
    ("rollback", "deadline"): _leaf(
        "How long a rollback may take as a whole.", duration(), render(_DEFAULT.rollback_deadline)
    ),
    ("allow", "delete"): _leaf(
        "Whether this commit may delete more than one application and more than 30 % of them, or leave none.",
        _SWITCH,
        _DEFAULT.allow_delete,
    ),
}
