"""Reads an OpenAPI 3.0 description: which operation a request is, whether it is right, and what an answer is.

JSON Schema has no `nullable`, so it is written as JSON Schema has it; every other word that the excerpt uses
means the same in both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]  # it publishes none


def _is_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(urlsplit(value).scheme)


FORMATS = FormatChecker(formats=[])
FORMATS.checks("date-time", raises=ValueError)(_is_time)
FORMATS.checks("uri", raises=ValueError)(_is_uri)


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One operation, and what stands for its parameters in the path."""

    path: str
    method: str
    spec: dict[str, Any]
    values: dict[str, str]


class Description:
    """A whole description."""

    def __init__(self, document: dict[str, Any]) -> None:
        """Take it as it is published."""
        self._document = without_nullable(document)

    def find(self, method: str, parts: list[str]) -> Operation | None:
        """The operation with this method, at the path with these parts."""
        for path, methods in self._document["paths"].items():
            names = path.strip("/").split("/")
            pairs = list(zip(names, parts, strict=False))
            if len(names) != len(parts) or method.lower() not in methods:
                continue
            if all(name == part or name.startswith("{") for name, part in pairs):
                values = {name[1:-1]: part for name, part in pairs if name.startswith("{")}
                return Operation(path=path, method=method, spec=methods[method.lower()], values=values)
        return None

    def faults(self, operation: Operation, query: dict[str, str], body: object) -> list[str]:
        """What is wrong with a request for it. A name that the description does not know is a fault too."""
        found: list[str] = []
        parameters = [self.resolved(parameter) for parameter in operation.spec.get("parameters", [])]
        for place, given in (("path", operation.values), ("query", query)):
            known = {one["name"]: one for one in parameters if one["in"] == place}
            found += [f"{place} has no parameter {name!r}" for name in given.keys() - known.keys()]
            for name, one in known.items():
                if name not in given:
                    found += [f"{place} lacks {name!r}"] if one.get("required") else []
                    continue
                value = _typed(given[name], self.resolved(one["schema"]))
                found += [f"{place} {name}: {fault}" for fault in self.mismatches(one["schema"], value)]
        content = operation.spec.get("requestBody")
        if content is None:
            return found + (["a body where none belongs"] if body is not None else [])
        schema = self.resolved(content["content"]["application/json"]["schema"])
        found += [f"body: {fault}" for fault in self.mismatches(schema, body)]
        if isinstance(body, dict):
            found += [f"body has no {name!r}" for name in body.keys() - schema["properties"].keys()]
        return found

    def answer_schema(self, operation: Operation, status: int) -> dict[str, Any] | None:
        """What an answer with this status looks like; None if there is none with it."""
        response = operation.spec["responses"].get(str(status))
        if response is None:
            return None
        schema = self.resolved(response)["content"]["application/json"]["schema"]
        assert isinstance(schema, dict)
        return schema

    def mismatches(self, schema: dict[str, Any], value: object) -> list[str]:
        """Where a value is not what the schema says."""
        # Beside it, so that `#/components/...` is found.
        root = {"allOf": [schema], "components": self._document["components"]}
        errors = Draft202012Validator(root, format_checker=FORMATS).iter_errors(value)
        return [f"{error.json_path}: {error.message[:200]}" for error in errors]

    def resolved(self, value: dict[str, Any]) -> dict[str, Any]:
        """What a reference refers to; anything else as it is."""
        while "$ref" in value:
            _, _, kind, name = value["$ref"].split("/")
            value = self._document["components"][kind][name]
        return value

    def sample(self, schema: dict[str, Any]) -> Any:
        """The smallest value that fits."""
        schema = self.resolved(schema)
        for combined in ("anyOf", "oneOf", "allOf"):
            if combined in schema:
                return self.sample(schema[combined][0])
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema.get("type", "object")
        match kind[0] if isinstance(kind, list) else kind:
            case "object":
                properties = schema.get("properties", {})
                return {name: self.sample(properties[name]) for name in schema.get("required", ())}
            case "array":
                return []
            case "string":
                formats = {"uri": "https://forge.example/x", "date-time": "2026-01-01T12:00:00Z"}
                return formats.get(schema.get("format", ""), "x")
            case "integer" | "number":
                return 1
            case "boolean":
                return False
            case _:
                message = f"no sample of {schema}"
                raise AssertionError(message)

    def named(self, name: str) -> dict[str, Any]:
        """The schema of that name."""
        found = self._document["components"]["schemas"][name]
        assert isinstance(found, dict)
        return found


def without_nullable(value: Any) -> Any:
    """A copy of a description (OpenAPI 3.0) with each `nullable: true` as JSON Schema writes it."""
    if isinstance(value, list):
        return [without_nullable(one) for one in value]
    if not isinstance(value, dict):
        return value
    # A property of that name would be a mapping.
    nullable = value.get("nullable") is True
    copy = {
        key: without_nullable(inner)
        for key, inner in value.items()
        if key != "nullable" or isinstance(inner, dict)
    }
    return {"anyOf": [copy, {"type": "null"}]} if nullable else copy


def _typed(text: str, schema: dict[str, Any]) -> object:
    """A parameter's text as the value that it stands for."""
    return int(text) if schema.get("type") == "integer" and re.fullmatch(r"-?[0-9]+", text) else text
