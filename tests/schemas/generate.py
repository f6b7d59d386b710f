"""`python -m tests.schemas.generate`: the JSON Schema of the Serve config, from the Ray that is importable.

Ray's own models are the source; what they say for people (titles, descriptions) and their defaults are left
out. What they accept or check in code, and so do not write into their schema, is added: null where pydantic 1
takes it, the model behind `autoscaling_config` (older schemas call it any mapping), the words that a text may
be, and the fields of a `runtime_env`.

`make schemas` runs it with every supported version of Ray and writes `deployer/adapters/schemas/data`; the
contract test runs it with the installed one and compares.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any

_DROPPED = frozenset({"title", "description", "default", "examples"})
_NULL = {"type": "null"}


def schema() -> dict[str, Any]:
    """The schema of a whole config file: a closed world of `$defs`, sorted."""
    from ray.serve.config import AutoscalingConfig
    from ray.serve.schema import ServeDeploySchema

    found = _of(ServeDeploySchema)
    defs = found.setdefault("$defs", {})
    autoscaling = _of(AutoscalingConfig)
    defs |= autoscaling.pop("$defs", {})
    defs["AutoscalingConfig"] = autoscaling
    defs["RuntimeEnv"] = {
        "additionalProperties": True,
        "properties": {name: {} for name in _runtime_env_fields()},
        "type": "object",
    }
    _complete(defs)
    return {
        "$defs": dict(sorted(defs.items())),
        **{key: found[key] for key in sorted(found) if key != "$defs"},
    }


def _complete(defs: dict[str, Any]) -> None:
    """Put in what Ray's models check in code."""
    from ray.util.placement_group import VALID_PLACEMENT_GROUP_STRATEGIES

    deployment = defs["DeploymentSchema"]["properties"]
    nulls = [_NULL] if _takes_null(deployment["autoscaling_config"]) else []
    deployment["autoscaling_config"] = {"anyOf": [{"$ref": "#/$defs/AutoscalingConfig"}, *nulls]}
    for choice in deployment["num_replicas"].get("anyOf", ()):
        if choice == {"type": "string"}:
            choice["enum"] = ["auto"]
    if "placement_group_strategy" in deployment:
        strategies = sorted(VALID_PLACEMENT_GROUP_STRATEGIES)
        deployment["placement_group_strategy"] = {"enum": strategies, "type": "string"}
    for name in ("ServeApplicationSchema", "RayActorOptionsSchema"):
        options = defs[name]["properties"]
        nulls = [_NULL] if _takes_null(options["runtime_env"]) else []
        there = {"$ref": "#/$defs/RuntimeEnv"}
        options["runtime_env"] = {"anyOf": [there, *nulls]} if nulls else there
    if "ControllerOptions" in defs:
        # The one key that its validator lets through.
        variables = {"additionalProperties": {"type": "string"}, "type": "object"}
        only = {"additionalProperties": False, "properties": {"env_vars": variables}, "type": "object"}
        defs["ControllerOptions"]["properties"]["runtime_env"] = {"anyOf": [only, _NULL]}
    if "LoggingConfig" in defs:
        _logging(defs["LoggingConfig"]["properties"])


def _logging(options: dict[str, Any]) -> None:
    names, numbers = sorted(logging._nameToLevel), sorted(logging._levelToName)
    options["log_level"] = {
        "anyOf": [{"enum": names, "type": "string"}, {"enum": numbers, "type": "integer"}]
    }
    options["encoding"] = {"enum": ["JSON", "TEXT"], "type": "string"}
    if "additional_log_standard_attrs" in options:
        # Imported there in every version, from a place of its own.
        from ray.serve import schema as models

        attributes = {"enum": sorted(models.LOGRECORD_STANDARD_ATTRS), "type": "string"}
        options["additional_log_standard_attrs"]["items"] = attributes


def _runtime_env_fields() -> list[str]:
    from ray.runtime_env import RuntimeEnv

    return sorted(RuntimeEnv.known_fields)


def _of(model: Any) -> Any:
    if hasattr(model, "model_json_schema"):
        return _clean(model.model_json_schema())
    found = _clean(model.schema())
    for name, each in _models(model).items():
        holder = found if each is model else found["$defs"][name]
        for field in each.__fields__.values():
            if field.allow_none and field.alias in holder.get("properties", {}):
                holder["properties"][field.alias] = _or_null(holder["properties"][field.alias])
    return found


def _models(model: Any) -> dict[str, Any]:
    """A model of pydantic 1 and all that its fields lead to."""
    found: dict[str, Any] = {}
    todo = [model]
    while todo:
        each = todo.pop()
        if each.__name__ in found:
            continue
        found[each.__name__] = each
        for field in each.__fields__.values():
            todo += _below(field)
    return found


def _below(field: Any) -> list[Any]:
    inner = [one for sub in field.sub_fields or () for one in _below(sub)]
    return [field.type_, *inner] if hasattr(field.type_, "__fields__") else inner


def _takes_null(value: dict[str, Any]) -> bool:
    return _NULL in value.get("anyOf", ())


def _or_null(value: dict[str, Any]) -> dict[str, Any]:
    if _takes_null(value) or not value:
        return value
    return {"anyOf": [*value["anyOf"], _NULL]} if [*value] == ["anyOf"] else {"anyOf": [value, _NULL]}


def _clean(node: Any, *, names: bool = False) -> Any:
    """Without what is for people; `names`: the keys are somebody's names, and all stay."""
    if isinstance(node, list):
        return [_clean(one) for one in node]
    if not isinstance(node, dict):
        return node
    cleaned: dict[str, Any] = {}
    for key, value in sorted(node.items()):
        if names:
            cleaned[key] = _clean(value)
        elif key in ("properties", "$defs", "definitions"):
            cleaned["properties" if key == "properties" else "$defs"] = _clean(value, names=True)
        elif key == "$ref":
            cleaned[key] = value.replace("#/definitions/", "#/$defs/")
        elif key == "allOf" and len(value) == 1:
            cleaned |= _clean(value[0])
        elif key not in _DROPPED and key != "env_names":
            cleaned[key] = _clean(value)
    return cleaned


if __name__ == "__main__":
    json.dump(schema(), sys.stdout, indent=1)
